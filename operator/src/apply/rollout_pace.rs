//! Pure: how often endpoints may replace the pods. One rollout after the other, and only so many in a while; what users
//! and the operator's defaults change of a template is not paced here.

use std::{collections::VecDeque, time::Duration};

use jiff::Timestamp;
use tokio::time::Instant;

use crate::rollout::Rollout;

/// Rollouts by endpoints that one Deployment may have within [`WINDOW`].
pub const MOST: usize = 5;
/// The time in which they are counted.
pub const WINDOW: Duration = Duration::from_secs(600);
/// A change that Kubernetes has not looked at for this long is waited for no longer: who does not look replaces no pods,
/// and who looks later finds the newest template.
const LONGEST_UNOBSERVED: Duration = Duration::from_secs(60);
/// How long a rollout may take of which Kubernetes will not say that it takes too long; its default.
const OWN_DEADLINE: Duration = Duration::from_secs(600);
/// While a rollout is waited for, the Deployment is looked at this often although nobody told of a change.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// The rollouts by endpoints of one Deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RolloutPace {
    /// Those within `WINDOW`, the oldest first.
    started: VecDeque<Started>,
    /// What the next one waits for, and since when.
    waiting: Option<(Rollout, Instant)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Started {
    at: Instant,
    clock: Timestamp,
}

/// Whether the next rollout by endpoints starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextRollout {
    /// Now.
    Starts,
    /// The one before is under way.
    Waits {
        /// When to look again, whatever happens.
        look_again: Instant,
    },
    /// There were too many.
    Held {
        /// For status.
        held: RolloutHeld,
        /// When the oldest does not count any more.
        look_again: Instant,
    },
}

/// Endpoints have replaced the pods too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RolloutHeld {
    /// Rollouts within ten minutes.
    pub rollouts: usize,
    /// When the next one starts, in full seconds. The same at every look, since status tells it.
    pub until: Timestamp,
}

// === impl RolloutPace ===

impl RolloutPace {
    /// Whether a change of the endpoint flags may start a rollout after `last`. Too many are told before one that is
    /// under way, so that what status says does not come and go with each pod.
    pub fn next(&mut self, last: Rollout, now: Instant) -> NextRollout {
        if last == Rollout::Idle {
            self.waiting = None;
            return NextRollout::Starts;
        }
        self.started.retain(|started| now < started.at + WINDOW);
        if let Some(oldest) = self.started.front().filter(|_| self.started.len() >= MOST) {
            let held = RolloutHeld { rollouts: self.started.len(), until: oldest.leaves() };
            return NextRollout::Held { held, look_again: oldest.at + WINDOW };
        }
        let longest = match last {
            Rollout::Idle | Rollout::Complete | Rollout::Stuck => Some(Duration::ZERO),
            Rollout::Unobserved => Some(LONGEST_UNOBSERVED),
            Rollout::UnderWay { has_deadline: true } => None,
            Rollout::UnderWay { has_deadline: false } => Some(OWN_DEADLINE),
        };
        let since = self.waiting.filter(|(waiting, _)| *waiting == last).map_or(now, |(_, since)| since);
        let until = longest.map(|longest| since + longest);
        if until.is_some_and(|until| until <= now) {
            self.waiting = None;
            return NextRollout::Starts;
        }
        self.waiting = Some((last, since));
        let look = now + LOOK_INTERVAL;
        NextRollout::Waits { look_again: until.map_or(look, |until| until.min(look)) }
    }

    /// A change of the endpoint flags was written after `last`; `now` and `clock` are the same moment.
    pub fn started(&mut self, last: Rollout, now: Instant, clock: Timestamp) {
        // It replaces nothing: it does not count.
        if last != Rollout::Idle {
            self.started.push_back(Started { at: now, clock });
        }
    }

    /// No change of the endpoint flags waits.
    pub fn nothing_waits(&mut self) {
        self.waiting = None;
    }
}

// === impl Started ===

impl Started {
    /// When it is `WINDOW` ago, in the next full second.
    fn leaves(&self) -> Timestamp {
        let leaves = self.clock.as_second().saturating_add_unsigned(WINDOW.as_secs()).saturating_add(1);
        Timestamp::from_second(leaves).unwrap_or(Timestamp::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNDER_WAY: Rollout = Rollout::UnderWay { has_deadline: true };

    /// A clock and what we remember.
    struct Clock {
        pace: RolloutPace,
        start: Instant,
    }

    impl Clock {
        fn new() -> Self {
            Self { pace: RolloutPace::default(), start: Instant::now() }
        }

        fn at(&self, second: u64) -> Instant {
            self.start + Duration::from_secs(second)
        }

        fn next(&mut self, second: u64, last: Rollout) -> NextRollout {
            let now = self.at(second);
            self.pace.next(last, now)
        }

        fn starts(&mut self, second: u64, last: Rollout) -> bool {
            let starts = self.next(second, last) == NextRollout::Starts;
            if starts {
                let clock = Timestamp::from_second(i64::try_from(second).expect("small")).expect("a time");
                let now = self.at(second);
                self.pace.started(last, now, clock);
            }
            starts
        }
    }

    #[test]
    fn the_next_rollout_starts_when_the_last_is_complete_or_stuck() {
        let mut clock = Clock::new();
        assert!(clock.starts(0, Rollout::Complete));
        for second in 1..10_000 {
            let look_again = clock.at(second + 60);
            assert_eq!(clock.next(second, UNDER_WAY), NextRollout::Waits { look_again }, "{second}");
        }
        assert!(clock.starts(10_000, Rollout::Complete));
        assert!(clock.starts(10_001, Rollout::Stuck));
    }

    #[test]
    fn a_change_that_kubernetes_does_not_look_at_is_waited_for_a_minute() {
        let mut clock = Clock::new();
        let look_again = clock.at(60);
        assert_eq!(clock.next(0, Rollout::Unobserved), NextRollout::Waits { look_again });
        assert_eq!(clock.next(59, Rollout::Unobserved), NextRollout::Waits { look_again });
        assert_eq!(clock.next(60, Rollout::Unobserved), NextRollout::Starts);
    }

    #[test]
    fn a_rollout_without_a_deadline_is_waited_for_ten_minutes() {
        let mut clock = Clock::new();
        let endless = Rollout::UnderWay { has_deadline: false };
        assert!(matches!(clock.next(0, endless), NextRollout::Waits { .. }));
        let look_again = clock.at(600);
        assert_eq!(clock.next(599, endless), NextRollout::Waits { look_again });
        assert_eq!(clock.next(600, endless), NextRollout::Starts);
    }

    #[test]
    fn each_thing_that_is_waited_for_has_its_own_time() {
        let mut clock = Clock::new();
        clock.next(0, Rollout::Unobserved);
        clock.next(30, UNDER_WAY);
        let look_again = clock.at(160);
        assert_eq!(clock.next(100, Rollout::Unobserved), NextRollout::Waits { look_again });
        clock.pace.nothing_waits();
        let look_again = clock.at(220);
        assert_eq!(clock.next(160, Rollout::Unobserved), NextRollout::Waits { look_again });
    }

    #[test]
    fn the_sixth_within_ten_minutes_is_held_until_the_first_does_not_count() {
        let mut clock = Clock::new();
        for second in [0, 10, 20, 30, 40] {
            assert!(clock.starts(second, Rollout::Complete), "{second}");
        }
        let until = Timestamp::from_second(601).expect("a time");
        let held = NextRollout::Held { held: RolloutHeld { rollouts: 5, until }, look_again: clock.at(600) };
        for second in [50, 51, 599] {
            for last in [Rollout::Complete, Rollout::Stuck, Rollout::Unobserved, UNDER_WAY] {
                assert_eq!(clock.next(second, last), held, "{second} {last:?}: the same at every look");
            }
        }
        assert!(matches!(clock.next(600, UNDER_WAY), NextRollout::Waits { .. }));
        assert!(clock.starts(601, Rollout::Complete));
        assert!(matches!(clock.next(602, Rollout::Complete), NextRollout::Held { .. }), "five again");
        assert!(clock.starts(610, Rollout::Complete), "until the second does not count");
    }

    #[test]
    fn five_in_each_ten_minutes_are_never_held() {
        let mut clock = Clock::new();
        assert!((0..100).all(|index| clock.starts(index * 120, Rollout::Complete)));
    }

    #[test]
    fn what_replaces_no_pods_neither_waits_nor_counts() {
        let mut clock = Clock::new();
        assert!((0..100).all(|second| clock.starts(second, Rollout::Idle)));
        assert_eq!(clock.pace, RolloutPace::default());
    }
}
