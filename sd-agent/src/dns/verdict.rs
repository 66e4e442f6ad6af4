//! Pure: what is told about failing look-ups, from Thanos' counters and our own look-ups.
//!
//! - A name is failing when Thanos counts a failure and our own look-up of it fails. It is so until our look-ups have
//!   succeeded for [`Spans::quiet`], or the document no longer has it.
//! - Failures that no look-up shows are told without a name once they have gone on for [`Spans::persists`]: one alone is
//!   over with Thanos' next round. They end when the count has stood still for [`Spans::quiet`].
//!
//! Times count from any fixed moment.

use std::{collections::BTreeMap, time::Duration};

use super::counters::Counts;
use crate::{
    Address,
    report::{DnsFailing, MAX_FAILING},
};

/// Told when nothing shows which name it is.
const UNNAMED: &str = "Thanos counts failed look-ups, and each name can be looked up from its pod";

/// The longest text about a name, in bytes.
const LONGEST: usize = 300;

/// How long things take to be so, and to be over.
#[derive(Clone, Copy, Debug)]
pub struct Spans {
    /// Without a sign for as long, a failure is over.
    pub quiet: Duration,
    /// Failures without a name are told when they go on for as long.
    pub persists: Duration,
    /// While a name explains the failures, the others are looked up this often.
    pub others: Duration,
}

/// Which names are to be looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// None.
    Nothing,
    /// Those that failed.
    Failing,
    /// All, those that failed first.
    All,
}

/// What is known.
#[derive(Clone, Debug)]
pub struct Verdict {
    spans: Spans,
    counts: Option<Counts>,
    failing: BTreeMap<Address, Failing>,
    /// First and last growth that no name explains.
    unexplained: Option<(Duration, Duration)>,
    /// When all names were looked up last.
    all_at: Option<Duration>,
}

#[derive(Clone, Debug)]
struct Failing {
    error: String,
    at: Duration,
}

// === impl Verdict ===

impl Verdict {
    /// Nothing is known.
    pub fn new(spans: Spans) -> Self {
        Self { spans, counts: None, failing: BTreeMap::new(), unexplained: None, all_at: None }
    }

    /// These are the names now.
    pub fn names(&mut self, names: &[Address]) {
        let before = self.failing.len();
        self.failing.retain(|name, _| names.binary_search(name).is_ok());
        // Thanos may still count some of a name that has just gone.
        if names.is_empty() || self.failing.len() < before {
            self.unexplained = None;
        }
    }

    /// Takes what Thanos counts; tells what to look up.
    pub fn counted(&mut self, counts: Counts, now: Duration) -> Due {
        let grew = self.counts.replace(counts).is_some_and(|before| counts.grew_since(&before));
        if grew {
            let first = self.unexplained.filter(|(_, last)| now.saturating_sub(*last) < self.spans.quiet);
            self.unexplained = Some((first.map_or(now, |(first, _)| first), now));
        }
        let long_ago = self.all_at.is_none_or(|at| now.saturating_sub(at) >= self.spans.others);
        match (grew, self.failing.is_empty()) {
            (true, true) => Due::All,
            (true, false) if long_ago => Due::All,
            (_, false) => Due::Failing,
            (false, true) => Due::Nothing,
        }
    }

    /// Thanos' counters cannot be read; tells what to look up all the same.
    pub fn not_counted(&self) -> Due {
        if self.failing.is_empty() { Due::Nothing } else { Due::Failing }
    }

    /// The names to look up for `due`, of `names`.
    pub fn order(&self, due: &Due, names: &[Address]) -> Vec<Address> {
        let others = names.iter().filter(|name| !self.failing.contains_key(name));
        let others = others.filter(|_| *due == Due::All);
        let failing = self.failing.keys().filter(|_| *due != Due::Nothing);
        failing.chain(others).cloned().collect()
    }

    /// Takes the names whose look-up failed, and why, when those of `due` were looked up.
    pub fn looked_up(&mut self, due: &Due, failed: Vec<(Address, String)>, now: Duration) {
        if *due == Due::All {
            self.all_at = Some(now);
        }
        for (name, error) in failed {
            self.failing.insert(name, Failing { error: capped(error), at: now });
            self.unexplained = None;
        }
        let quiet = self.spans.quiet;
        self.failing.retain(|_, failing| now.saturating_sub(failing.at) < quiet);
    }

    /// Whether so many names fail that looking for more is of no use.
    pub fn is_enough(failed: usize) -> bool {
        failed >= MAX_FAILING
    }

    /// What there is to tell, sorted.
    pub fn report(&self, now: Duration) -> Vec<DnsFailing> {
        let named = self.failing.iter().take(MAX_FAILING);
        let named = named.map(|(name, failing)| (Some(name.to_string()), failing.error.clone()));
        let unnamed = self.unexplained.filter(|(first, last)| {
            let goes_on = last.saturating_sub(*first) >= self.spans.persists;
            self.failing.is_empty() && goes_on && now.saturating_sub(*last) < self.spans.quiet
        });
        let unnamed = unnamed.map(|_| (None, UNNAMED.to_owned()));
        named.chain(unnamed).map(|(address, error)| DnsFailing { address, error }).collect()
    }
}

fn capped(mut error: String) -> String {
    let end = (0..=LONGEST.min(error.len())).rev().find(|end| error.is_char_boundary(*end));
    error.truncate(end.unwrap_or_default());
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::counters::Scan;

    const SPANS: Spans = Spans {
        quiet: Duration::from_secs(30),
        persists: Duration::from_secs(20),
        others: Duration::from_secs(60),
    };

    fn counts(number: u32) -> Counts {
        let mut scan = Scan::default();
        scan.feed(format!("thanos_query_endpoints_dns_failures_total {number}\n").as_bytes());
        scan.finish().expect("a counter")
    }

    fn names(texts: &[&str]) -> Vec<Address> {
        texts.iter().map(|text| text.parse().expect("an address")).collect()
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn addresses(verdict: &Verdict, now: u64) -> Vec<Option<String>> {
        verdict.report(seconds(now)).into_iter().map(|failing| failing.address).collect()
    }

    fn fails(names: &[Address]) -> Vec<(Address, String)> {
        names.iter().map(|name| (name.clone(), "SERVFAIL".to_owned())).collect()
    }

    #[test]
    fn names_are_looked_up_only_when_thanos_counts_more_failures_than_before() {
        let mut verdict = Verdict::new(SPANS);
        assert_eq!(verdict.counted(counts(7), seconds(0)), Due::Nothing);
        assert_eq!(verdict.counted(counts(7), seconds(10)), Due::Nothing);
        assert_eq!(verdict.counted(counts(8), seconds(20)), Due::All);
        assert_eq!(verdict.counted(counts(1), seconds(30)), Due::All, "Thanos started again");
    }

    #[test]
    fn a_name_is_told_until_its_look_ups_have_succeeded_for_a_while() {
        let all = names(&["dns+a.b:1", "dns+c.d:1"]);
        let mut verdict = Verdict::new(SPANS);
        verdict.counted(counts(0), seconds(0));
        let due = verdict.counted(counts(1), seconds(10));
        assert_eq!(verdict.order(&due, &all), all);
        verdict.looked_up(&due, fails(&all[1..]), seconds(10));
        assert_eq!(addresses(&verdict, 10), [Some("dns+c.d:1".to_owned())]);
        // The count may stand still: Thanos looks up as rarely as its interval says.
        let due = verdict.counted(counts(1), seconds(20));
        assert_eq!(verdict.order(&due, &all), all[1..]);
        verdict.looked_up(&due, fails(&all[1..]), seconds(20));
        for now in [30, 40] {
            let due = verdict.counted(counts(1), seconds(now));
            verdict.looked_up(&due, vec![], seconds(now));
            assert_eq!(addresses(&verdict, now).len(), 1, "after {now} s");
        }
        let due = verdict.counted(counts(1), seconds(50));
        verdict.looked_up(&due, vec![], seconds(50));
        assert_eq!(addresses(&verdict, 50), []);
    }

    #[test]
    fn a_name_that_leaves_the_document_is_no_longer_told_nor_what_is_still_counted_of_it() {
        let all = names(&["dns+a.b:1", "dns+c.d:1"]);
        let mut verdict = Verdict::new(SPANS);
        verdict.counted(counts(0), seconds(0));
        let due = verdict.counted(counts(1), seconds(10));
        verdict.looked_up(&due, fails(&all[1..]), seconds(10));
        verdict.names(&all[..1]);
        assert_eq!(addresses(&verdict, 11), []);
        let due = verdict.counted(counts(2), seconds(20));
        verdict.looked_up(&due, vec![], seconds(20));
        assert_eq!(addresses(&verdict, 20), []);
    }

    #[test]
    fn failures_without_a_name_are_told_when_they_go_on_and_end_with_them() {
        let mut verdict = Verdict::new(SPANS);
        for look in 0..4_u32 {
            let now = u64::from(look) * 10;
            let due = verdict.counted(counts(look), seconds(now));
            verdict.looked_up(&due, vec![], seconds(now));
            let told = addresses(&verdict, now);
            assert_eq!(told, if now < 30 { vec![] } else { vec![None] }, "after {now} s");
        }
        assert_eq!(addresses(&verdict, 59), [None]);
        assert_eq!(addresses(&verdict, 60), []);
    }

    #[test]
    fn while_a_name_explains_the_failures_the_others_are_looked_up_rarely() {
        let all = names(&["dns+a.b:1", "dns+c.d:1"]);
        let mut verdict = Verdict::new(SPANS);
        verdict.counted(counts(0), seconds(0));
        let mut full = 0;
        for look in 1..13_u32 {
            let now = seconds(u64::from(look) * 10);
            let due = verdict.counted(counts(look), now);
            full += u32::from(due == Due::All);
            verdict.looked_up(&due, fails(&all[..1]), now);
        }
        assert_eq!(full, 2);
    }

    #[test]
    fn five_names_are_told_and_texts_are_cut() {
        let all: Vec<Address> =
            (0..9).map(|index| format!("dns+a{index}.b:1").parse().expect("ok")).collect();
        let mut verdict = Verdict::new(SPANS);
        let failed = all.iter().map(|name| (name.clone(), "é".repeat(500))).collect();
        verdict.looked_up(&Due::All, failed, seconds(0));
        let report = verdict.report(seconds(0));
        assert_eq!(report.len(), MAX_FAILING);
        assert!(report.iter().all(|failing| failing.error.len() == LONGEST));
        assert!(report.is_sorted());
    }
}
