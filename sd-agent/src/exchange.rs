//! Where the sources leave what they saw, and the main loop picks it up.
//!
//! One slot per kind, what was left last wins: many changes in a row become one, memory is bounded, and a source never
//! waits for the main loop. What comes last is not always the newest; then the quorum is asked, so nothing is lost.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::{sync::Notify, time::Instant};

use crate::{order::Mark, payload::Payload};

/// The meeting point.
#[derive(Debug)]
pub struct Exchange {
    slots: Mutex<Slots>,
    news: Notify,
    /// The main loop asks the API source for a quorum read.
    pub confirm: Notify,
    /// The main loop asks the mount source to read again.
    pub reread_mount: Notify,
}

/// What was seen since the main loop last looked.
#[derive(Debug)]
pub struct Slots {
    /// From a watch, or from a read that may be old.
    pub api: Option<Payload>,
    /// From a quorum read.
    pub confirmed: Option<Payload>,
    /// From the mount.
    pub mount: Option<Payload>,
    /// How the API does; stays.
    pub api_health: Health,
    /// How the mount does; stays.
    pub mount_health: Health,
}

/// How a source does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Not used by this agent.
    Off,
    /// No answer yet.
    Starting,
    /// It can be read.
    Up,
    /// It can be read, and has no document.
    Absent {
        /// For people.
        why: String,
    },
    /// It cannot be read.
    Down {
        /// For people.
        why: String,
        /// Since when.
        since: Instant,
    },
}

// === impl Exchange ===

impl Exchange {
    /// Nothing seen yet.
    pub fn new(with_api: bool, with_mount: bool) -> Self {
        let health = |used| if used { Health::Starting } else { Health::Off };
        Self {
            slots: Mutex::new(Slots {
                api: None,
                confirmed: None,
                mount: None,
                api_health: health(with_api),
                mount_health: health(with_mount),
            }),
            news: Notify::new(),
            confirm: Notify::new(),
            reread_mount: Notify::new(),
        }
    }

    /// Leaves something for the main loop.
    pub fn leave<T>(&self, change: impl FnOnce(&mut Slots) -> T) -> T {
        let left = change(&mut self.lock());
        self.news.notify_one();
        left
    }

    /// Looks at the slots, without waking anyone.
    pub fn look<T>(&self, look: impl FnOnce(&mut Slots) -> T) -> T {
        look(&mut self.lock())
    }

    /// Returns when something was left since the last time.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Slots ===

impl Slots {
    /// Puts a document of the API that may be old in its slot. True when it hides another one that was not looked at
    /// and is not older: then only the quorum can tell.
    pub fn show(&mut self, payload: Payload) -> bool {
        let mark = |payload: &Payload| payload.meta().ok().map(|meta| Mark::from(&meta));
        let shown = self.api.is_some().then(|| mark(&payload));
        let hidden = self.api.replace(payload);
        let (Some(Some(shown)), Some(hidden)) = (shown, hidden.as_ref().and_then(mark)) else { return false };
        shown != hidden && shown.generation <= hidden.generation
    }

    /// Puts a document of the quorum in its slot. What the API showed before is not newer.
    pub fn confirm(&mut self, payload: Payload) {
        self.confirmed = Some(payload);
        self.api = None;
    }

    /// Whether both sources said something, be it that they have nothing.
    pub fn both_answered(&self) -> bool {
        let api = self.api_health != Health::Starting || self.api.is_some() || self.confirmed.is_some();
        api && (self.mount_health != Health::Starting || self.mount.is_some())
    }
}

// === impl Health ===

impl Health {
    /// Down now, since before if it was down already.
    pub fn fail(&mut self, why: String) {
        let since = match self {
            Self::Down { since, .. } => *since,
            _ => Instant::now(),
        };
        *self = Self::Down { why, since };
    }

    /// Why there is no document, if there is none.
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Up | Self::Off => None,
            Self::Starting => Some("no answer yet"),
            Self::Absent { why } | Self::Down { why, .. } => Some(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::Document;

    fn payload(generation: u64) -> Payload {
        Payload::pack(&Document::default(), "uid", generation, Timestamp::UNIX_EPOCH).expect("fits")
    }

    #[test]
    fn a_newer_document_that_nobody_looked_at_is_not_hidden_unseen_by_an_older_one() {
        let exchange = Exchange::new(true, true);
        assert!(!exchange.leave(|slots| slots.show(payload(11))));
        assert!(!exchange.leave(|slots| slots.show(payload(12))), "a burst");
        assert!(!exchange.leave(|slots| slots.show(payload(12))), "the same");
        assert!(exchange.leave(|slots| slots.show(payload(11))), "a read from a cache that lags");
        assert!(exchange.look(|slots| slots.api.take()).is_some());
        assert!(!exchange.leave(|slots| slots.show(payload(3))), "the other was looked at");
    }

    #[test]
    fn the_quorum_supersedes_what_the_api_showed_before() {
        let exchange = Exchange::new(true, true);
        exchange.leave(|slots| slots.show(payload(12)));
        exchange.leave(|slots| slots.confirm(payload(5)));
        exchange
            .look(|slots| assert_eq!((slots.api.take(), slots.confirmed.take()), (None, Some(payload(5)))));
    }

    #[test]
    fn a_source_is_down_since_its_first_failure() {
        let mut health = Health::Up;
        health.fail("first".to_owned());
        let Health::Down { since, .. } = health else { unreachable!("it failed") };
        health.fail("second".to_owned());
        assert_eq!(health, Health::Down { why: "second".to_owned(), since });
    }
}
