//! Below Thanos 0.38 an event in the folder makes Thanos read the file and look its names up, but what it found is
//! published by the next event or tick (5 s). So a change is followed by two more events: one for what the DNS knows at
//! once, one for names that it learns a little later.
//!
//! Measured with 0.37.2 and a `dnssrv+` name: known after 35 ms, it is listed after 7.61 s without and 0.06 s with the
//! first; known after 300 ms, after 7.58 s without and 1.01 s with the second.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::Instant;

use super::files::Files;
use crate::{Feature, ThanosVersion};

/// The name of the file that comes and goes.
pub const NUDGE_FILE: &str = ".nudge";

/// The events that Thanos still needs after the last write.
#[derive(Debug)]
pub struct Nudges {
    path: PathBuf,
    /// From the write to each; none when Thanos does not need them.
    spans: Vec<Duration>,
    due: BTreeSet<Instant>,
}

// === impl Nudges ===

impl Nudges {
    /// In `folder`, for a Thanos of `version`, each of `spans` after a write.
    ///
    /// From 0.38 on the file is polled. An unknown Thanos may be an older one, and another event does no harm.
    pub fn new(folder: &Path, version: ThanosVersion, spans: &[Duration]) -> Self {
        let polls = version.supports(Feature::EndpointSdConfigFile);
        let spans = if polls { vec![] } else { spans.to_vec() };
        Self { path: folder.join(NUDGE_FILE), spans, due: BTreeSet::new() }
    }

    /// Removes what an agent that was killed in the middle of one left.
    pub fn remove_stale(&self, files: &dyn Files) {
        let _ = files.remove(&self.path);
    }

    /// The file was replaced at `now`. That was an event for every write before it, which therefore needs no other.
    pub fn written(&mut self, now: Instant) {
        self.due = self.spans.iter().map(|span| now + *span).collect();
    }

    /// When the next one is due.
    pub fn due_at(&self) -> Option<Instant> {
        self.due.first().copied()
    }

    /// Makes one event if one is due at `now`: a dot file, which Thanos never reads, comes and goes.
    ///
    /// When both are late they still are two: the second publishes what the first found.
    ///
    /// # Errors
    /// When the folder takes no file. The event is not tried again.
    pub fn give(&mut self, now: Instant, files: &dyn Files) -> io::Result<()> {
        match self.due_at() {
            Some(due) if due <= now => self.due.remove(&due),
            _ => return Ok(()),
        };
        match files.create(&self.path) {
            Ok(_) => {}
            // Its removal is an event as well.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        files.remove(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::Disk;

    const SPANS: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];

    fn nudges(version: &str) -> Nudges {
        Nudges::new(Path::new("/none"), version.parse().expect("a version"), &SPANS)
    }

    #[test]
    fn a_thanos_that_waits_for_events_gets_two_after_a_write() {
        let folder = tempfile::tempdir().expect("a folder");
        for version in ["v0.35.0", "v0.37.2", "unknown"] {
            let mut nudges = nudges(version);
            nudges.path = folder.path().join(NUDGE_FILE);
            assert_eq!(nudges.due_at(), None, "{version}");
            let now = Instant::now();
            nudges.written(now);
            for span in SPANS {
                assert_eq!(nudges.due_at(), Some(now + span), "{version}");
                nudges.give(now + span, &Disk).expect("given");
            }
            assert_eq!(nudges.due_at(), None, "{version}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).expect("there").count(), 0);
    }

    #[test]
    fn a_thanos_that_polls_gets_none() {
        for version in ["v0.38.0", "v0.42.4"] {
            let mut nudges = nudges(version);
            nudges.written(Instant::now());
            assert_eq!(nudges.due_at(), None, "{version}");
        }
    }

    #[test]
    fn a_write_begins_anew_and_late_events_are_still_two() {
        let mut nudges = nudges("v0.37.2");
        let now = Instant::now();
        nudges.written(now);
        nudges.written(now + SPANS[0]);
        assert_eq!(nudges.due_at(), Some(now + SPANS[0] * 2));
        let late = now + SPANS[1] * 2;
        nudges.give(late, &Disk).expect_err("there is no such folder");
        assert_eq!(nudges.due_at(), Some(now + SPANS[0] + SPANS[1]));
        nudges.give(late, &Disk).expect_err("there is no such folder");
        assert_eq!(nudges.due_at(), None);
    }

    #[test]
    fn one_that_was_left_behind_is_taken_away() {
        let folder = tempfile::tempdir().expect("a folder");
        let left = folder.path().join(NUDGE_FILE);
        let mut nudges = Nudges::new(folder.path(), ThanosVersion::Unknown, &SPANS);
        std::fs::write(&left, "").expect("written");
        nudges.remove_stale(&Disk);
        assert!(!left.exists());
        std::fs::write(&left, "").expect("written");
        let now = Instant::now();
        nudges.written(now);
        nudges.give(now + SPANS[0], &Disk).expect("given");
        assert!(!left.exists());
    }
}
