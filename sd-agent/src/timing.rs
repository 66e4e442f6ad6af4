//! Every time span that the agent's behaviour depends on, in one place; tests shorten them.

use std::time::Duration;

use crate::dns::verdict::Spans;

/// The spans. The defaults are what is documented and measured.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// How long the start waits for the API before the mount alone decides.
    pub boot_budget: Duration,
    /// How long the API must be down before the mount may lead.
    pub api_grace: Duration,
    /// How often the file and the mount's link are looked at.
    pub tick: Duration,
    /// How often a folder that another agent holds is tried.
    pub lock_retry: Duration,
    /// First and longest wait before a failed write is tried again.
    pub write_retry: (Duration, Duration),
    /// From a write to each event that a Thanos below 0.38 still needs, see [`crate::publish::nudge`].
    pub nudges: [Duration; 2],
    /// Limit of one API request: until its end for a read, until its headers for a watch.
    pub request: Duration,
    /// Shortest and longest watch that is asked for.
    pub watch: (Duration, Duration),
    /// A watch that says nothing for this long is dead. An API server sends a bookmark about every minute.
    pub silence: Duration,
    /// Shortest and longest time between two reads that catch what a watch might have lost.
    pub recheck: (Duration, Duration),
    /// First and longest bound of the wait between two tries of the API.
    pub api_retry: (Duration, Duration),
    /// Bound of the first wait after a watch broke: a thousand agents whose API server restarted come back over this
    /// span. Later bounds double from here.
    pub reconnect: Duration,
    /// The longest bound while the ConfigMap does not exist: without, and with a file in place.
    pub missing_retry: (Duration, Duration),
    /// How often Thanos' counters are read. Thanos looks up every 5 s and a person needs minutes, so a failure is told
    /// soon enough, and reading 100 kB costs next to nothing.
    pub dns_tick: Duration,
    /// The longest time that is spent on looking names up at once.
    pub dns_round: Duration,
    /// When a look-up counts as failing, and when that is over.
    pub dns_spans: Spans,
    /// How often Thanos is asked which stores it has.
    pub stores_tick: Duration,
}

// === impl Timing ===

impl Default for Timing {
    fn default() -> Self {
        let (seconds, millis) = (Duration::from_secs, Duration::from_millis);
        Self {
            boot_budget: seconds(2),
            api_grace: seconds(30),
            tick: seconds(2),
            lock_retry: seconds(1),
            write_retry: (seconds(1), seconds(30)),
            nudges: [millis(50), seconds(1)],
            request: seconds(10),
            watch: (seconds(150), seconds(200)),
            silence: seconds(90),
            recheck: (seconds(270), seconds(330)),
            api_retry: (millis(200), seconds(24)),
            reconnect: seconds(12),
            missing_retry: (seconds(1), seconds(5)),
            dns_tick: seconds(10),
            dns_round: seconds(60),
            stores_tick: seconds(10),
            dns_spans: Spans { quiet: seconds(30), persists: seconds(20), others: seconds(60) },
        }
    }
}
