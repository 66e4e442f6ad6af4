//! Wakes a ThanosQuery because more than its endpoints may have changed: it looks at everything.

use std::sync::Arc;

use super::{QueryRef, Scope, Wakes};
use crate::query_state::QueryStates;

/// Marks and wakes.
#[derive(Clone)]
pub struct Look {
    wakes: Arc<Wakes>,
    states: Arc<QueryStates>,
}

// === impl Look ===

impl Look {
    /// Through these queues, by these marks.
    pub fn new(wakes: Arc<Wakes>, states: Arc<QueryStates>) -> Self {
        Self { wakes, states }
    }

    /// The queues.
    pub fn wakes(&self) -> &Wakes {
        &self.wakes
    }

    /// `query` looks at everything. One that was never seen will do so when it arrives.
    pub fn at(&self, query: &QueryRef) {
        if self.states.knows(query) {
            self.states.handle(query).noted.lock().gap = true;
            self.wakes.one(query);
        }
    }

    /// Everything in `scope` looks at everything.
    pub fn at_all(&self, scope: &Scope) {
        self.states.note_gap(scope);
        self.wakes.all(scope);
    }

    /// An owned object of `query` changed into `version`; none when it was deleted.
    pub fn at_owned(&self, query: &QueryRef, version: Option<String>) {
        if self.states.knows(query) {
            self.states.handle(query).noted.lock().touch(version);
            self.wakes.one(query);
        }
    }
}
