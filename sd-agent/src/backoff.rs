//! Waiting: how long before the next try, and with how much chance in it.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

/// Full jitter: each wait is random between nothing and a bound that doubles up to a cap.
///
/// The randomness is what spreads a thousand agents after an API server's restart.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    bound: Duration,
}

// === impl Backoff ===

impl Backoff {
    /// Waits of at most `first`, then twice that, up to `cap`.
    pub fn new(first: Duration, cap: Duration) -> Self {
        Self { first, cap, bound: first }
    }

    /// How long to wait now.
    pub fn next_wait(&mut self) -> Duration {
        let wait = jitter(Duration::ZERO, self.bound);
        self.bound = (self.bound * 2).min(self.cap);
        wait
    }

    /// Makes the bound of the next wait at least `over`, so that those who were cut off together come back spread.
    pub fn spread(&mut self, over: Duration) {
        self.bound = self.bound.max(over);
    }

    /// It worked: begin small again.
    pub fn reset(&mut self) {
        self.bound = self.first;
    }
}

/// A random time from `least` to `most`.
pub fn jitter(least: Duration, most: Duration) -> Duration {
    least + (most.saturating_sub(least)).mul_f64(random() as f64 / u64::MAX as f64)
}

/// A random number. Every `RandomState` has other keys; for spreading load and for telling answers apart that is random
/// enough, and needs no crate.
pub fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_stay_under_a_bound_that_doubles_and_starts_again() {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
        for bound in [200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000] {
            assert!(backoff.next_wait() <= Duration::from_millis(bound));
        }
        backoff.reset();
        assert!(backoff.next_wait() <= Duration::from_millis(200));
    }

    #[test]
    fn after_a_break_the_first_wait_is_spread_and_later_ones_are_not_shorter() {
        let second = Duration::from_secs;
        let mut backoff = Backoff::new(Duration::from_millis(200), second(30));
        backoff.spread(second(12));
        for bound in [12, 24, 30, 30] {
            assert_eq!(backoff.bound, second(bound));
            assert!(backoff.next_wait() <= second(bound));
        }
        backoff.spread(second(12));
        assert_eq!(backoff.bound, second(30));
        backoff.reset();
        assert_eq!(backoff.bound, Duration::from_millis(200));
    }

    #[test]
    fn jitter_spreads_over_the_whole_range() {
        let (least, most) = (Duration::from_secs(150), Duration::from_secs(200));
        let waits: Vec<Duration> = (0..1000).map(|_| jitter(least, most)).collect();
        assert!(waits.iter().all(|wait| (least..=most).contains(wait)));
        assert!(waits.iter().any(|wait| *wait < Duration::from_secs(160)));
        assert!(waits.iter().any(|wait| *wait > Duration::from_secs(190)));
    }
}
