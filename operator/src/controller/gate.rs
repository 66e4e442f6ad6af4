//! Whose turn it is to get the operator's new defaults.

use std::sync::Arc;

use super::Context;
use crate::{
    apply::{DefaultsGate, Turns},
    config::DefaultRollouts,
    watch::{Look, QueryRef},
};

/// What one ThanosQuery has to pass before its pods get new defaults.
pub struct Gate<'a> {
    /// How the operator was started.
    pub mode: DefaultRollouts,
    /// Whose turn it is.
    pub turns: &'a Turns<QueryRef>,
    /// Who asks.
    pub own: &'a QueryRef,
    /// The hashes that a person accepted, separated by commas.
    pub accepted: Option<&'a String>,
}

// === impl Gate ===

impl DefaultsGate for Gate<'_> {
    fn holds(&self, hash: &str, is_stuck: bool) -> Option<bool> {
        let Self { mode, turns, own, accepted } = self;
        if accepted.is_some_and(|accepted| accepted.split(',').any(|own| own.trim() == hash)) {
            return None;
        }
        match mode {
            DefaultRollouts::Manual => Some(true),
            DefaultRollouts::Paced => (is_stuck || !turns.claim(own)).then_some(false),
        }
    }
}

// === impl Context ===

impl Context {
    /// Ends the turn of `own`, if it has it, and wakes who waits.
    pub fn end_turn(&self, own: &QueryRef) {
        self.wake_for_a_look(self.turns.release(own));
    }

    /// Notes that `own` was looked at. Before each was looked at once, nobody knows whether a rollout is under way
    /// that an earlier process began.
    pub(super) fn looked_at(&self, own: &QueryRef) {
        self.states.handle(own).noted.lock().looked_at = true;
        if !self.turns.is_open() && self.wakes.known().iter().all(|query| self.states.was_looked_at(query)) {
            self.wake_for_a_look(self.turns.open());
        }
    }

    /// Opens the turns although not everything was looked at: what cannot be looked at, in a namespace that may not be
    /// read, must not hold up all others.
    pub fn open_turns(&self) {
        self.wake_for_a_look(self.turns.open());
    }

    /// Marks and wakes ThanosQuery objects.
    pub fn look(&self) -> Look {
        Look::new(Arc::clone(&self.wakes), Arc::clone(&self.states))
    }

    fn wake_for_a_look(&self, waiting: Vec<QueryRef>) {
        let look = self.look();
        waiting.iter().for_each(|query| look.at(query));
    }
}
