//! What time it is for everything that the operator writes down.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// The time of day, read once and then counted on. So times that are compared never go back, and a test that drives
/// tokio's clock drives this one, too.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Timestamp,
    started: Instant,
}

/// How long it is from `now` until `end`; nothing when that is over.
pub fn left_until(end: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(end.duration_since(now)).unwrap_or_default()
}

// === impl Clock ===

impl Clock {
    /// The clock of this machine, as it goes from now on.
    pub fn start() -> Self {
        Self { start: Timestamp::now(), started: Instant::now() }
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        self.start.checked_add(self.started.elapsed()).unwrap_or(Timestamp::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_goes_as_tokios_clock_does() {
        let clock = Clock::start();
        let first = clock.now();
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(clock.now().duration_since(first).as_secs(), 90);
    }
}
