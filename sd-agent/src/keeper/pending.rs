//! What could not be written yet, and when it is tried again.

use std::time::Duration;

use tokio::time::Instant;

use crate::{Payload, order::Step, origin::Origin};

/// A document that counts.
#[derive(Debug)]
pub(super) struct Candidate {
    pub payload: Payload,
    pub generation: u64,
    pub step: Step,
    pub origin: Origin,
}

/// Something that is not in the file yet.
#[derive(Debug)]
pub(super) enum Unwritten {
    /// The document that is kept already: the file was altered, or could not be written at the start.
    Kept,
    /// A newer one.
    Document(Candidate),
}

/// A write that failed.
#[derive(Debug)]
pub(super) struct Pending {
    pub unwritten: Unwritten,
    pub at: Instant,
    wait: Duration,
}

/// The one write that is to be tried again, at first soon and then ever more seldom.
#[derive(Debug)]
pub(super) struct Retry {
    first: Duration,
    longest: Duration,
    pending: Option<Pending>,
}

// === impl Pending ===

impl Pending {
    /// Whether it is a document after `generation`.
    pub fn is_after(&self, generation: u64) -> bool {
        match &self.unwritten {
            Unwritten::Kept => false,
            Unwritten::Document(candidate) => candidate.generation > generation,
        }
    }
}

// === impl Retry ===

impl Retry {
    /// Nothing is pending.
    pub fn new((first, longest): (Duration, Duration)) -> Self {
        Self { first, longest, pending: None }
    }

    pub fn pending(&self) -> Option<&Pending> {
        self.pending.as_ref()
    }

    /// The wait after a first failure.
    pub fn first_wait(&self) -> Duration {
        self.first
    }

    /// `unwritten` takes the place of what was pending, and is due in `wait`.
    pub fn postpone(&mut self, unwritten: Unwritten, wait: Duration) {
        self.pending = Some(Pending { unwritten, at: Instant::now() + wait, wait });
    }

    pub fn clear(&mut self) {
        self.pending = None;
    }

    /// What is due at `now`, and how long to wait should it fail again.
    pub fn take_due(&mut self, now: Instant) -> Option<(Unwritten, Duration)> {
        let Pending { unwritten, wait, .. } = self.pending.take_if(|pending| pending.at <= now)?;
        Some((unwritten, (wait * 2).min(self.longest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_tried_again_ever_more_seldom_up_to_the_longest_wait() {
        let seconds = Duration::from_secs;
        let mut retry = Retry::new((seconds(1), seconds(30)));
        let mut wait = retry.first_wait();
        let mut waits = vec![];
        for _ in 0..7 {
            waits.push(wait.as_secs());
            retry.postpone(Unwritten::Kept, wait);
            assert!(retry.take_due(Instant::now()).is_none());
            wait = retry.take_due(Instant::now() + wait).expect("due").1;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        assert!(retry.pending().is_none());
    }
}
