//! Pure: one rollout per burst. While strict and group endpoints still change, the pods follow by file; the
//! template is changed when they have settled.

use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::api::apps::v1::Deployment;
use tokio::time::Instant;

use super::endpoint_flags;

/// Endpoints have settled when they did not change for this long.
pub const QUIET: Duration = Duration::from_secs(2);
/// The template is changed at the latest after this long.
pub const LONGEST: Duration = Duration::from_secs(30);

/// Where a burst of changes stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settling {
    burst: Option<Burst>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Burst {
    flags: BTreeSet<String>,
    first: Instant,
    last: Instant,
    /// It has settled, but the template waits for something else.
    is_over: bool,
}

// === impl Settling ===

impl Settling {
    /// How long to wait before the template may get the flags of `desired`; none when it may now.
    pub fn wait(
        &mut self,
        live: Option<&Deployment>,
        desired: &Deployment,
        now: Instant,
    ) -> Option<Duration> {
        let flags = endpoint_flags(desired);
        // Without pods there is nothing to disturb.
        if live.is_none_or(|live| endpoint_flags(live) == flags) {
            self.burst = None;
            return None;
        }
        let is_same = |burst: &Burst| burst.flags.iter().map(String::as_str).eq(flags.iter().copied());
        let burst = match self.burst.take() {
            Some(burst) if is_same(&burst) => burst,
            before => {
                let first = before.filter(|burst| !burst.is_over).map_or(now, |burst| burst.first);
                let flags = flags.into_iter().map(str::to_owned).collect();
                Burst { flags, first, last: now, is_over: false }
            }
        };
        let until = (burst.last + QUIET).min(burst.first + LONGEST);
        self.burst = Some(burst);
        Some(until.saturating_duration_since(now)).filter(|wait| !wait.is_zero())
    }

    /// The template is not changed yet although endpoints may have settled. What changes from now on is a burst of its
    /// own: it must not start a rollout in its middle because the one before was long ago.
    pub fn hold(&mut self) {
        if let Some(burst) = &mut self.burst {
            burst.is_over = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(args: &[&str]) -> Deployment {
        let args = serde_json::json!(args);
        serde_json::from_value(serde_json::json!({"spec": {"selector": {}, "template": {"spec": {"containers": [{"name": "t", "args": args}]}}}}))
            .expect("a Deployment")
    }

    #[test]
    fn a_change_waits_until_it_was_quiet_for_two_seconds() {
        let (live, one, two) =
            (with(&[]), with(&["--endpoint-strict=a:1"]), with(&["--endpoint-strict=b:1"]));
        let mut settling = Settling::default();
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(settling.wait(Some(&live), &one, at(0)), Some(Duration::from_millis(2000)));
        assert_eq!(settling.wait(Some(&live), &one, at(500)), Some(Duration::from_millis(1500)));
        assert_eq!(settling.wait(Some(&live), &two, at(1000)), Some(Duration::from_millis(2000)));
        assert_eq!(settling.wait(Some(&live), &two, at(3000)), None);
    }

    #[test]
    fn a_burst_that_never_ends_is_applied_after_thirty_seconds() {
        let live = with(&[]);
        let mut settling = Settling::default();
        let start = Instant::now();
        for second in 0..30 {
            let desired = with(&[&format!("--endpoint-group=dns+{second}:1")]);
            assert!(
                settling.wait(Some(&live), &desired, start + Duration::from_secs(second)).is_some(),
                "{second}"
            );
        }
        assert_eq!(settling.wait(Some(&live), &with(&["--endpoint-group=x:1"]), start + LONGEST), None);
    }

    #[test]
    fn other_changes_and_the_first_rollout_do_not_wait() {
        let mut settling = Settling::default();
        let now = Instant::now();
        assert_eq!(settling.wait(None, &with(&["--endpoint-strict=a:1"]), now), None);
        assert_eq!(
            settling.wait(Some(&with(&["--log.level=info"])), &with(&["--log.level=debug"]), now),
            None
        );
    }

    #[test]
    fn what_changes_while_the_template_waits_for_something_else_settles_by_itself() {
        let (live, one, two) =
            (with(&[]), with(&["--endpoint-strict=a:1"]), with(&["--endpoint-strict=b:1"]));
        let mut settling = Settling::default();
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        assert!(settling.wait(Some(&live), &one, at(0)).is_some());
        assert_eq!(settling.wait(Some(&live), &one, at(2)), None);
        settling.hold();
        assert_eq!(settling.wait(Some(&live), &one, at(300)), None, "it has settled");
        assert_eq!(settling.wait(Some(&live), &two, at(300)), Some(QUIET));
        assert_eq!(settling.wait(Some(&live), &one, at(301)), Some(QUIET), "one burst");
        assert_eq!(settling.wait(Some(&live), &one, at(303)), None);
    }

    #[test]
    fn going_back_ends_the_burst() {
        let (live, other) = (with(&[]), with(&["--endpoint-strict=a:1"]));
        let mut settling = Settling::default();
        let now = Instant::now();
        assert!(settling.wait(Some(&live), &other, now).is_some());
        assert_eq!(settling.wait(Some(&live), &live, now), None);
        assert_eq!(settling, Settling::default());
    }
}
