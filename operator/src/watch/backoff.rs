//! How long a broken watch rests before it is started again.

use std::time::Duration;

use kube_runtime::utils::Backoff;
use tokio::time::Instant;

const FIRST: Duration = Duration::from_millis(200);
/// Short: the operator is one process with a few watches, and until they are back nobody follows a change. kube's
/// own default rests for up to a minute after an outage of a minute.
const LONGEST: Duration = Duration::from_secs(5);
/// A watch that held this long has recovered. An event is no sign of that: kube tells the start of a list, too.
const RECOVERED: Duration = Duration::from_secs(60);

/// 0.2 s, doubled with each failure up to 5 s.
#[derive(Clone, Debug)]
pub struct WatchBackoff {
    next: Duration,
    last_failure: Option<Instant>,
}

// === impl WatchBackoff ===

impl Default for WatchBackoff {
    fn default() -> Self {
        Self { next: FIRST, last_failure: None }
    }
}

impl Iterator for WatchBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let now = Instant::now();
        if self.last_failure.is_some_and(|last| now.duration_since(last) > RECOVERED) {
            self.next = FIRST;
        }
        self.last_failure = Some(now);
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST);
        Some(wait)
    }
}

impl Backoff for WatchBackoff {
    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn after_a_long_outage_a_watch_still_tries_every_five_seconds() {
        let mut backoff = WatchBackoff::default();
        let mut waited = Duration::ZERO;
        while waited < Duration::from_secs(600) {
            let wait = backoff.next().expect("for ever");
            assert!(wait <= LONGEST);
            backoff.reset();
            tokio::time::advance(wait).await;
            waited += wait;
        }
        assert_eq!(backoff.next(), Some(LONGEST));
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_held_for_a_while_starts_from_the_beginning() {
        let mut backoff = WatchBackoff::default();
        assert_eq!(backoff.next(), Some(FIRST));
        assert_eq!(backoff.next(), Some(FIRST * 2));
        tokio::time::advance(RECOVERED * 2).await;
        assert_eq!(backoff.next(), Some(FIRST));
    }
}
