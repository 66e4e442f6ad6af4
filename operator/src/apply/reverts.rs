//! Pure: another writer that reverts our pod template. It is answered once; then it has its way, for each round would
//! replace every pod twice. A person who edits something now and then is always put back.

use std::time::Duration;

use tokio::time::Instant;

use crate::seen::Seen;

/// A revert that follows an answer this soon is a fight.
pub const FIGHT: Duration = Duration::from_secs(600);

/// The reverts of one Deployment's template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reverts {
    /// What the ThanosQuery asked for when this began.
    asked: Option<Seen>,
    /// Hash of the template that was written or seen to be there last.
    applied: Option<String>,
    /// An answer is decided and not known to be written.
    is_answering: bool,
    /// When the last revert was answered.
    answered: Option<Instant>,
    has_stopped: bool,
}

/// What is known about a template that is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// Hash of it.
    pub template: &'a str,
    /// The Deployment carries this hash: also before a restart of the operator, this very template was applied. Some
    /// writers put a whole object back, without it; so what was applied is remembered here, too.
    pub is_noted: bool,
    /// It is there now.
    pub is_there: bool,
    /// Who wrote the template last, if that is known.
    pub by: Option<&'a str>,
    /// What the ThanosQuery asks for.
    pub asked: &'a Seen,
}

/// What to do about a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Apply it, unless it is there.
    Apply,
    /// Leave it as it is.
    Stop {
        /// Who changes it.
        by: String,
    },
}

// === impl Reverts ===

impl Reverts {
    /// As an earlier process left it when it had stopped: a restart is no reason to begin again.
    pub fn stopped(asked: &Seen) -> Self {
        Self { asked: Some(asked.clone()), has_stopped: true, ..Self::default() }
    }

    /// Decides. Once stopped, this stays so until the ThanosQuery itself changes or the other writer gives in; other
    /// endpoints are no reason to begin again.
    pub fn decide(&mut self, look: Look<'_>, now: Instant) -> Decision {
        if self.asked.as_ref() != Some(look.asked) {
            *self = Self { asked: Some(look.asked.clone()), ..Self::default() };
        }
        if look.is_there {
            if self.has_stopped {
                (self.has_stopped, self.answered) = (false, None);
            }
            // The answer was written although nobody could tell.
            self.written(look.template, now);
            return Decision::Apply;
        }
        if !self.has_stopped {
            let is_applied = look.is_noted || self.applied.as_deref() == Some(look.template);
            if !is_applied {
                // Another template: whoever reverted the last one may have nothing against it.
                (self.is_answering, self.answered) = (false, None);
                return Decision::Apply;
            }
            if self.is_answering {
                return Decision::Apply;
            }
            if self.answered.is_none_or(|answered| now.saturating_duration_since(answered) >= FIGHT) {
                self.is_answering = true;
                return Decision::Apply;
            }
            self.has_stopped = true;
        }
        Decision::Stop { by: look.by.unwrap_or("somebody else").to_owned() }
    }

    /// The template of this hash was written. A write that fails answers nothing, and is no second attempt when it is
    /// repeated.
    pub fn written(&mut self, template: &str, now: Instant) {
        self.applied = Some(template.to_owned());
        if std::mem::take(&mut self.is_answering) {
            self.answered = Some(now);
        }
    }

    /// Whether the other writer has its way.
    #[cfg(test)]
    fn has_stopped(&self) -> bool {
        self.has_stopped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(generation: i64) -> Seen {
        Seen { generation: Some(generation), labels: None, annotations: None }
    }

    /// A writer, a clock and what we remember.
    struct Fight {
        reverts: Reverts,
        start: Instant,
    }

    impl Fight {
        fn new() -> Self {
            Self { reverts: Reverts::default(), start: Instant::now() }
        }

        fn look(&mut self, second: u64, generation: i64, is_noted: bool, is_there: bool) -> Decision {
            let asked = seen(generation);
            // What is not noted is another template, unless a test says otherwise.
            let template = if is_noted { "t" } else { "new" };
            let look = Look { template, is_noted, is_there, by: Some("argocd"), asked: &asked };
            self.reverts.decide(look, self.start + Duration::from_secs(second))
        }

        fn written(&mut self, second: u64) {
            self.reverts.written("t", self.start + Duration::from_secs(second));
        }

        /// A revert that is seen, answered and seen to be answered.
        fn revert(&mut self, second: u64) -> Decision {
            let decision = self.look(second, 1, true, false);
            if decision == Decision::Apply {
                self.written(second);
                assert_eq!(self.look(second + 1, 1, true, true), Decision::Apply);
            }
            decision
        }
    }

    fn stop() -> Decision {
        Decision::Stop { by: "argocd".to_owned() }
    }

    #[test]
    fn a_writer_that_reverts_is_answered_once() {
        let mut fight = Fight::new();
        assert_eq!(fight.look(0, 1, false, false), Decision::Apply, "the first apply is no answer");
        fight.written(0);
        assert_eq!(fight.revert(10), Decision::Apply);
        assert_eq!(fight.revert(20), stop());
        assert_eq!(fight.revert(9999), stop(), "no matter how long");
        assert!(fight.reverts.has_stopped());
    }

    #[test]
    fn two_edits_hours_apart_are_both_put_back() {
        let mut fight = Fight::new();
        assert_eq!(fight.revert(0), Decision::Apply);
        assert_eq!(fight.revert(7200), Decision::Apply);
        assert_eq!(fight.revert(7200 + 599), stop());
        let mut fight = Fight::new();
        assert_eq!(fight.revert(0), Decision::Apply);
        assert_eq!(fight.revert(600), Decision::Apply);
    }

    #[test]
    fn a_change_of_the_query_begins_anew() {
        let mut fight = Fight::new();
        fight.revert(0);
        assert_eq!(fight.revert(10), stop());
        assert_eq!(fight.look(20, 2, false, false), Decision::Apply);
        fight.written(20);
        assert_eq!(fight.look(30, 2, true, false), Decision::Apply);
        fight.written(30);
        assert_eq!(fight.look(40, 2, true, false), stop());
    }

    #[test]
    fn other_endpoints_do_not_begin_anew() {
        let mut fight = Fight::new();
        fight.revert(0);
        assert_eq!(fight.revert(10), stop());
        assert_eq!(fight.look(20, 1, false, false), stop());
    }

    #[test]
    fn each_template_is_answered_once() {
        let mut fight = Fight::new();
        assert_eq!(fight.revert(0), Decision::Apply);
        assert_eq!(
            fight.look(10, 1, false, false),
            Decision::Apply,
            "other endpoints, before it has stopped"
        );
        fight.written(10);
        assert_eq!(fight.revert(20), Decision::Apply);
        assert_eq!(fight.revert(30), stop());
    }

    #[test]
    fn a_writer_that_gives_in_is_forgiven() {
        let mut fight = Fight::new();
        fight.revert(0);
        assert_eq!(fight.revert(10), stop());
        assert_eq!(fight.look(20, 1, true, true), Decision::Apply);
        assert!(!fight.reverts.has_stopped());
        assert_eq!(fight.revert(30), Decision::Apply);
        assert_eq!(fight.revert(40), stop());
    }

    #[test]
    fn an_answer_that_failed_is_repeated() {
        let mut fight = Fight::new();
        for second in 0..5 {
            assert_eq!(fight.look(second, 1, true, false), Decision::Apply, "{second}");
        }
        fight.written(5);
        assert_eq!(fight.look(6, 1, true, false), stop());
    }

    #[test]
    fn an_answer_whose_success_nobody_heard_of_counts() {
        let mut fight = Fight::new();
        assert_eq!(fight.look(0, 1, true, false), Decision::Apply);
        assert_eq!(fight.look(1, 1, true, true), Decision::Apply);
        assert_eq!(fight.look(2, 1, true, false), stop());
    }

    #[test]
    fn a_writer_that_puts_back_the_whole_object_is_noticed_without_the_note() {
        let asked = seen(1);
        let mut reverts = Reverts::default();
        let now = Instant::now();
        let look = |is_there| Look { template: "t", is_noted: false, is_there, by: None, asked: &asked };
        assert_eq!(reverts.decide(look(false), now), Decision::Apply, "new");
        reverts.written("t", now);
        assert_eq!(reverts.decide(look(false), now), Decision::Apply, "the answer");
        reverts.written("t", now);
        assert!(matches!(reverts.decide(look(false), now), Decision::Stop { .. }));

        // After a restart, with the template there.
        let mut reverts = Reverts::default();
        assert_eq!(reverts.decide(look(true), now), Decision::Apply);
        assert_eq!(reverts.decide(look(false), now), Decision::Apply, "the answer");
        reverts.written("t", now);
        assert!(matches!(reverts.decide(look(false), now), Decision::Stop { .. }));
    }

    #[test]
    fn a_writer_without_a_name_is_somebody_else() {
        let asked = seen(1);
        let mut reverts = Reverts { asked: Some(asked.clone()), has_stopped: true, ..Reverts::default() };
        let look = Look { template: "t", is_noted: true, is_there: false, by: None, asked: &asked };
        let decision = reverts.decide(look, Instant::now());
        assert_eq!(decision, Decision::Stop { by: "somebody else".to_owned() });
    }
}
