//! Pure: conditions, merged so that a time changes only when a status does.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// A condition as it shall be now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its type.
    pub type_: &'static str,
    /// True, False or Unknown.
    pub status: Verdict,
    /// One word.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// The status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Nobody can tell.
    Unknown,
}

// === impl Verdict ===

impl Verdict {
    /// As the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Verdict {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// A condition that is there only while something needs a look.
pub fn warning(type_: &'static str, reason: &'static str, message: String) -> Wanted {
    Wanted { type_, status: Verdict::True, reason, message }
}

/// The conditions that follow `old` when `wanted` are all there shall be, sorted by type.
///
/// Types that `keep` names stay as they are when they are not wanted.
pub fn merge(
    old: &[Condition],
    wanted: Vec<Wanted>,
    keep: &[&str],
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let mut all: Vec<Condition> = wanted
        .into_iter()
        .map(|Wanted { type_, status, reason, message }| {
            let before = old.iter().find(|condition| condition.type_ == type_);
            let since = before
                .filter(|before| before.status == status.as_str())
                .map_or(Time(now), |before| before.last_transition_time.clone());
            Condition {
                type_: type_.to_owned(),
                status: status.as_str().to_owned(),
                reason: reason.to_owned(),
                message,
                last_transition_time: since,
                observed_generation: generation,
            }
        })
        .collect();
    let kept = old.iter().filter(|condition| keep.contains(&condition.type_.as_str()));
    for condition in kept {
        if !all.iter().any(|own| own.type_ == condition.type_) {
            all.push(condition.clone());
        }
    }
    all.sort_by(|a, b| a.type_.cmp(&b.type_));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(status: Verdict, message: &str) -> Wanted {
        Wanted { type_: "Ready", status, reason: "Reason", message: message.to_owned() }
    }

    #[test]
    fn the_time_changes_only_with_the_status() {
        let start = Timestamp::UNIX_EPOCH;
        let later = Timestamp::from_second(60).expect("a time");
        let first = merge(&[], vec![ready(Verdict::False, "a")], &[], Some(1), start);
        let second = merge(&first, vec![ready(Verdict::False, "b")], &[], Some(2), later);
        assert_eq!(second[0].last_transition_time, Time(start));
        assert_eq!((second[0].message.as_str(), second[0].observed_generation), ("b", Some(2)));
        let third = merge(&second, vec![ready(Verdict::True, "c")], &[], Some(2), later);
        assert_eq!(third[0].last_transition_time, Time(later));
    }

    #[test]
    fn a_warning_that_is_over_goes_and_one_that_is_kept_stays() {
        let warning = Wanted { type_: "Invalid", status: Verdict::True, reason: "R", message: String::new() };
        let old = merge(&[], vec![ready(Verdict::True, ""), warning], &[], None, Timestamp::UNIX_EPOCH);
        assert_eq!(merge(&old, vec![ready(Verdict::True, "")], &[], None, Timestamp::UNIX_EPOCH).len(), 1);
        assert_eq!(merge(&old, vec![], &["Ready"], None, Timestamp::UNIX_EPOCH)[0].type_, "Ready");
    }
}
