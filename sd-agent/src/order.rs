//! Which document counts when two sources show different ones. Pure: a state and one question.
//!
//! The order is the generation inside the document, never a clock or a resourceVersion. The API is trusted
//! more than the mount, which lags by up to 90 s; so the mount only ever moves the state forward, and only when
//! it `may_lead`. Everything unusual from the API (older, different under the same number, or given up before) counts
//! only after a quorum read said the same, because an API server's cache may lag, too. A mount that is ahead of the API
//! is a reason to ask the quorum: the watch may be dead.

use std::cmp::Ordering;

use crate::payload::Meta;

/// What identifies a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// UID of the ThanosQuery.
    pub owner: String,
    /// Its place in the order.
    pub generation: u64,
    /// Its content.
    pub sha256: String,
}

/// Where a document was seen, and what that is worth now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Witness {
    /// The API; `confirmed` by a quorum read.
    Api {
        /// Read from the quorum, not from a cache or a watch.
        confirmed: bool,
    },
    /// The mounted copy.
    Mount {
        /// Whether it may move the state: at the start, without an API, or with one that has been gone for long.
        may_lead: bool,
    },
}

/// What to do with a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Apply it.
    Apply(Step),
    /// It is what is applied already.
    Same,
    /// Ask the quorum before believing it.
    Confirm,
    /// Keep what is applied.
    Ignore(Ignored),
}

/// In which way an applied document follows the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing was applied before.
    First,
    /// A higher generation.
    Forward,
    /// A lower generation, confirmed: restored from a backup.
    Regress,
    /// Another content under the same generation, confirmed.
    Conflict,
    /// Of another ThanosQuery: deleted and made again.
    NewOwner,
}

/// Why a document of the mount is not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// Older than what is applied, or than what was given up after a regress.
    Behind,
    /// Another content under the same generation.
    Conflict,
    /// Of another ThanosQuery.
    Owner,
}

/// The applied document and what the mount may no longer bring back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    current: Option<Mark>,
    mount_floor: Option<u64>,
}

// === impl Mark ===

impl From<&Meta> for Mark {
    fn from(meta: &Meta) -> Self {
        Self { owner: meta.owner.clone(), generation: meta.generation, sha256: meta.sha256.clone() }
    }
}

// === impl Order ===

impl Order {
    /// As it was when the agent stopped.
    pub fn restored(current: Mark, mount_floor: Option<u64>) -> Self {
        Self { current: Some(current), mount_floor }
    }

    /// The applied document.
    pub fn current(&self) -> Option<&Mark> {
        self.current.as_ref()
    }

    /// The highest generation that was given up. Up to here the mount is not believed, and the API only if confirmed.
    pub fn mount_floor(&self) -> Option<u64> {
        self.mount_floor
    }

    /// What to do with `seen`.
    pub fn judge(&self, seen: &Mark, witness: Witness) -> Verdict {
        let Some(current) = &self.current else { return self.judge_first(seen, witness) };
        if seen == current {
            return Verdict::Same;
        }
        match witness {
            Witness::Api { confirmed } => self.judge_api(current, seen, confirmed),
            Witness::Mount { may_lead } => self.judge_mount(current, seen, may_lead),
        }
    }

    /// Records that `seen` was applied as `step`.
    pub fn accept(&mut self, seen: Mark, step: Step) {
        let given_up = self.current.as_ref().map(|current| current.generation);
        if matches!(step, Step::Regress | Step::Conflict) {
            self.mount_floor = self.mount_floor.max(given_up);
        }
        self.current = Some(seen);
    }

    fn judge_first(&self, seen: &Mark, witness: Witness) -> Verdict {
        match witness {
            Witness::Mount { .. } if self.was_given_up(seen) => Verdict::Ignore(Ignored::Behind),
            Witness::Mount { may_lead: false } => Verdict::Confirm,
            _ => Verdict::Apply(Step::First),
        }
    }

    fn judge_api(&self, current: &Mark, seen: &Mark, confirmed: bool) -> Verdict {
        let step = match seen.generation.cmp(&current.generation) {
            Ordering::Less => Step::Regress,
            Ordering::Equal => Step::Conflict,
            Ordering::Greater if seen.owner == current.owner => Step::Forward,
            Ordering::Greater => Step::NewOwner,
        };
        // A higher number needs no second opinion, whoever wrote it, unless it was given up before: a cache that lags
        // still shows that.
        let is_ordinary = seen.generation > current.generation && !self.was_given_up(seen);
        if confirmed || is_ordinary { Verdict::Apply(step) } else { Verdict::Confirm }
    }

    fn judge_mount(&self, current: &Mark, seen: &Mark, may_lead: bool) -> Verdict {
        if seen.owner != current.owner {
            Verdict::Ignore(Ignored::Owner)
        } else if seen.generation == current.generation {
            Verdict::Ignore(Ignored::Conflict)
        } else if seen.generation < current.generation || self.was_given_up(seen) {
            Verdict::Ignore(Ignored::Behind)
        } else if may_lead {
            Verdict::Apply(Step::Forward)
        } else {
            Verdict::Confirm
        }
    }

    fn was_given_up(&self, seen: &Mark) -> bool {
        self.mount_floor >= Some(seen.generation)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const API: Witness = Witness::Api { confirmed: false };
    const QUORUM: Witness = Witness::Api { confirmed: true };
    const MOUNT: Witness = Witness::Mount { may_lead: false };
    const LEADING_MOUNT: Witness = Witness::Mount { may_lead: true };

    fn mark(generation: u64, content: &str) -> Mark {
        Mark { owner: "owner".to_owned(), generation, sha256: content.to_owned() }
    }

    fn foreign(generation: u64) -> Mark {
        Mark { owner: "other".to_owned(), ..mark(generation, "foreign") }
    }

    fn at(generation: u64) -> Order {
        Order::restored(mark(generation, "a"), None)
    }

    #[test]
    fn the_first_document_is_taken_from_the_api_or_a_leading_mount() {
        assert_eq!(Order::default().judge(&mark(1, "a"), API), Verdict::Apply(Step::First));
        assert_eq!(Order::default().judge(&mark(1, "a"), LEADING_MOUNT), Verdict::Apply(Step::First));
        assert_eq!(Order::default().judge(&mark(1, "a"), MOUNT), Verdict::Confirm);
    }

    #[test]
    fn a_mount_that_lags_is_ignored() {
        assert_eq!(at(10).judge(&mark(9, "a"), LEADING_MOUNT), Verdict::Ignore(Ignored::Behind));
        assert_eq!(at(10).judge(&mark(10, "a"), MOUNT), Verdict::Same);
    }

    #[test]
    fn a_mount_moves_forward_only_when_it_may_lead_and_else_is_a_reason_to_ask_the_quorum() {
        assert_eq!(at(10).judge(&mark(11, "b"), MOUNT), Verdict::Confirm);
        assert_eq!(at(10).judge(&mark(11, "b"), LEADING_MOUNT), Verdict::Apply(Step::Forward));
    }

    #[test]
    fn a_lower_generation_from_the_api_needs_confirmation() {
        assert_eq!(at(10).judge(&mark(5, "b"), API), Verdict::Confirm);
        assert_eq!(at(10).judge(&mark(5, "b"), QUORUM), Verdict::Apply(Step::Regress));
    }

    #[test]
    fn after_a_regress_the_mount_cannot_flip_back() {
        let mut order = at(10);
        order.accept(mark(5, "b"), Step::Regress);
        assert_eq!(order.judge(&mark(10, "a"), LEADING_MOUNT), Verdict::Ignore(Ignored::Behind));
        assert_eq!(order.judge(&mark(11, "c"), LEADING_MOUNT), Verdict::Apply(Step::Forward));
        // Nor can an API server whose cache lags.
        assert_eq!(order.judge(&mark(10, "a"), API), Verdict::Confirm);
        assert_eq!(order.judge(&mark(6, "c"), QUORUM), Verdict::Apply(Step::Forward));
        assert_eq!(order.judge(&mark(11, "c"), API), Verdict::Apply(Step::Forward));
    }

    #[test]
    fn another_content_under_the_same_generation_counts_from_the_quorum_only() {
        assert_eq!(at(10).judge(&mark(10, "b"), MOUNT), Verdict::Ignore(Ignored::Conflict));
        assert_eq!(at(10).judge(&mark(10, "b"), LEADING_MOUNT), Verdict::Ignore(Ignored::Conflict));
        assert_eq!(at(10).judge(&mark(10, "b"), API), Verdict::Confirm);
        assert_eq!(at(10).judge(&mark(10, "b"), QUORUM), Verdict::Apply(Step::Conflict));
    }

    #[test]
    fn another_owner_counts_from_the_api_only() {
        assert_eq!(at(10).judge(&foreign(11), LEADING_MOUNT), Verdict::Ignore(Ignored::Owner));
        assert_eq!(at(10).judge(&foreign(11), API), Verdict::Apply(Step::NewOwner));
        assert_eq!(at(10).judge(&foreign(3), API), Verdict::Confirm);
        assert_eq!(at(10).judge(&foreign(3), QUORUM), Verdict::Apply(Step::Regress));
    }

    #[test]
    fn two_sources_that_disagree_do_not_flap() {
        let mut order = at(10);
        for _ in 0..1000 {
            assert!(matches!(order.judge(&mark(10, "b"), LEADING_MOUNT), Verdict::Ignore(_)));
            assert_eq!(order.judge(&mark(10, "a"), API), Verdict::Same);
        }
        order.accept(mark(10, "c"), Step::Conflict);
        assert!(matches!(order.judge(&mark(10, "a"), LEADING_MOUNT), Verdict::Ignore(_)));
    }

    proptest! {
        /// An operator writes rising generations and may restore an old one; a watch, a lagging cache and a
        /// lagging mount show any of them in any order. The state goes down by confirmation only, and ends
        /// where the quorum is.
        #[test]
        fn any_interleaving_ends_at_the_quorum_and_goes_down_only_when_confirmed(
            written in proptest::collection::vec(1u64..30, 1..12),
            seen in proptest::collection::vec((0usize..12, 0u8..4), 0..60),
        ) {
            // The content follows from the place in the history, so a number used twice is a conflict.
            let history: Vec<Mark> =
                written.iter().enumerate().map(|(at, generation)| mark(*generation, &at.to_string())).collect();
            let quorum = history.last().expect("not empty");
            let mut order = Order::default();
            for (index, how) in seen {
                let doc = &history[index % history.len()];
                let (doc, witness) = match how {
                    0 => (doc, API),
                    1 => (doc, MOUNT),
                    2 => (doc, LEADING_MOUNT),
                    _ => (quorum, QUORUM),
                };
                let (taken, step, confirmed) = match order.judge(doc, witness) {
                    Verdict::Apply(step) => (doc, step, witness == QUORUM),
                    Verdict::Confirm => match order.judge(quorum, QUORUM) {
                        Verdict::Apply(step) => (quorum, step, true),
                        _ => continue,
                    },
                    _ => continue,
                };
                if let Some(before) = order.current() {
                    let down = taken.generation < before.generation;
                    prop_assert_eq!(down, step == Step::Regress);
                    let is_new = before.generation.max(order.mount_floor().unwrap_or_default()) < taken.generation;
                    prop_assert!(confirmed || is_new);
                }
                let floor = order.mount_floor();
                order.accept(taken.clone(), step);
                prop_assert!(order.mount_floor() >= floor);
            }
            // In the end the watch delivers the last write, and what looks odd is confirmed.
            match order.judge(quorum, API) {
                Verdict::Same => {}
                Verdict::Apply(step) => order.accept(quorum.clone(), step),
                Verdict::Confirm => match order.judge(quorum, QUORUM) {
                    Verdict::Apply(step) => order.accept(quorum.clone(), step),
                    other => prop_assert!(false, "{other:?}"),
                },
                other => prop_assert!(false, "{other:?}"),
            }
            prop_assert_eq!(order.current(), Some(quorum));
        }
    }
}
