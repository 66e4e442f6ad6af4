//! Where the sources leave what they saw, and the main loop picks it up.
//!
//! One slot per kind, the newest wins: many changes in a row become one, memory is bounded, and a source never
//! waits for the main loop.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::{sync::Notify, time::Instant};

use crate::payload::Payload;

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
    pub fn leave(&self, change: impl FnOnce(&mut Slots)) {
        change(&mut self.lock());
        self.news.notify_one();
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
