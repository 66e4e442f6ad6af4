//! For how long a snapshot that is not whole is waited for.

use std::{ffi::OsString, time::Duration};

use tokio::time::Instant;

/// The first wait, as a part of the whole. Each later one is as long as all before it, which makes seven.
const FIRST: u32 = 64;

/// Patience with one snapshot; the next one gets its own.
#[derive(Debug)]
pub struct Patience {
    whole: Duration,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    /// Where the link points; none when there is none.
    target: Option<OsString>,
    since: Instant,
    over: bool,
}

/// What to do about a snapshot that is not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Look again after this long.
    Wait(Duration),
    /// It was waited for long enough. Said once.
    Over,
    /// It was said already that it is over.
    OverBefore,
}

// === impl Patience ===

impl Patience {
    /// Waits `whole` in total for each snapshot.
    pub fn new(whole: Duration) -> Self {
        Self { whole, current: None }
    }

    /// The snapshot behind `target` is not whole.
    pub fn ask(&mut self, target: Option<OsString>) -> Answer {
        let now = Instant::now();
        let current = match &mut self.current {
            Some(current) if current.target == target => current,
            other => other.insert(Current { target, since: now, over: false }),
        };
        let waited = now - current.since;
        match self.whole.checked_sub(waited) {
            Some(left) if !left.is_zero() => Answer::Wait(waited.max(self.whole / FIRST).min(left)),
            _ if std::mem::replace(&mut current.over, true) => Answer::OverBefore,
            _ => Answer::Over,
        }
    }

    /// There is nothing to wait for any more.
    pub fn end(&mut self) {
        self.current = None;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, sleep};

    use super::*;

    const WHOLE: Duration = Duration::from_secs(2);

    fn target(name: &str) -> Option<OsString> {
        Some(name.into())
    }

    #[tokio::test(start_paused = true)]
    async fn waits_grow_and_sum_up_to_the_whole() {
        let (mut patience, begun) = (Patience::new(WHOLE), Instant::now());
        let mut waits = Vec::new();
        while let Answer::Wait(wait) = patience.ask(target("a")) {
            waits.push(wait);
            sleep(wait).await;
        }
        assert!((5..=8).contains(&waits.len()), "{waits:?}");
        assert!(begun.elapsed() >= WHOLE && begun.elapsed() < WHOLE * 2, "{:?}", begun.elapsed());
        // Over is said once.
        assert_eq!(patience.ask(target("a")), Answer::OverBefore);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_looks_does_not_use_the_patience_up() {
        let mut patience = Patience::new(WHOLE);
        for _ in 0..1000 {
            advance(WHOLE / 1001).await;
            assert!(matches!(patience.ask(target("a")), Answer::Wait(_)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn every_snapshot_gets_its_own_patience() {
        let mut patience = Patience::new(WHOLE);
        patience.ask(None);
        advance(WHOLE).await;
        assert_eq!(patience.ask(None), Answer::Over);
        assert_eq!(patience.ask(target("a")), Answer::Wait(WHOLE / FIRST));
        advance(WHOLE).await;
        assert_eq!(patience.ask(target("a")), Answer::Over);
        patience.end();
        assert_eq!(patience.ask(target("a")), Answer::Wait(WHOLE / FIRST));
    }
}
