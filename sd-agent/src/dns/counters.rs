//! Pure: the counters of failed look-ups in Thanos' `/metrics`.

/// One for each kind of address that Thanos looks up; releases differ in which they have.
///
/// Facts: reference "How `thanos query` discovers endpoints", section 5.2.
const NAMES: [&str; 3] = [
    // All releases; from 0.38 also what comes from a file.
    "thanos_query_endpoints_dns_failures_total",
    // Files, up to 0.37.
    "thanos_query_store_apis_dns_failures_total",
    // Groups, from 0.37.
    "thanos_query_endpoint_groups_dns_failures_total",
];

/// Longer lines are none of the counters.
const LONGEST_LINE: usize = 128;

/// Failed look-ups since Thanos started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([Option<u64>; NAMES.len()]);

/// Finds the counters in a body that comes in pieces, and keeps nothing else of it.
#[derive(Debug, Default)]
pub struct Scan {
    /// The line so far, when it has not ended yet.
    line: Vec<u8>,
    counts: Counts,
}

// === impl Counts ===

impl Counts {
    /// Whether look-ups failed after `before`. A lower number is that of a Thanos that was started again.
    pub fn grew_since(&self, before: &Self) -> bool {
        self.0.iter().zip(before.0).any(|(now, before)| match (*now, before) {
            (Some(now), Some(before)) => {
                if now < before {
                    now > 0
                } else {
                    now > before
                }
            }
            _ => false,
        })
    }

    fn read(&mut self, line: &[u8]) {
        let Ok(line) = str::from_utf8(line) else { return };
        let Some((name, value)) = line.split_once(' ') else { return };
        let Some(index) = NAMES.iter().position(|own| *own == name) else { return };
        // A float, as all values are.
        let value = value.parse::<f64>().ok().filter(|value| value.is_finite() && *value >= 0.0);
        self.0[index] = value.map(|value| value as u64);
    }
}

// === impl Scan ===

impl Scan {
    /// Reads the next piece.
    pub fn feed(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            // One byte over the limit marks a line that is too long.
            let room = (LONGEST_LINE + 1).saturating_sub(self.line.len());
            let (end, has_end) = match piece {
                [text @ .., b'\n'] => (text, true),
                text => (text, false),
            };
            self.line.extend_from_slice(&end[..end.len().min(room)]);
            if has_end {
                if self.line.len() <= LONGEST_LINE {
                    self.counts.read(&self.line);
                }
                self.line.clear();
            }
        }
    }

    /// What was found; none when there is no such counter: that is not Thanos.
    pub fn finish(self) -> Option<Counts> {
        self.counts.0.iter().any(Option::is_some).then_some(self.counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // From v0.42.4, with what stands around the counters.
    const METRICS: &str = "\
# HELP thanos_query_duplicated_endpoint_addresses_total The number of times a duplicated endpoint addresses is detected from the different configs in query
# TYPE thanos_query_duplicated_endpoint_addresses_total counter
thanos_query_duplicated_endpoint_addresses_total 0
# HELP thanos_query_endpoint_groups_dns_failures_total The number of DNS lookup failures
# TYPE thanos_query_endpoint_groups_dns_failures_total counter
thanos_query_endpoint_groups_dns_failures_total 0
# HELP thanos_query_endpoints_dns_failures_total The number of DNS lookup failures
# TYPE thanos_query_endpoints_dns_failures_total counter
thanos_query_endpoints_dns_failures_total 17
# HELP thanos_query_endpoints_dns_lookups_total The number of DNS lookups resolutions attempts
# TYPE thanos_query_endpoints_dns_lookups_total counter
thanos_query_endpoints_dns_lookups_total 1.048576e+06
# HELP thanos_query_endpoints_dns_provider_results The number of resolved endpoints for each configured address
# TYPE thanos_query_endpoints_dns_provider_results gauge
thanos_query_endpoints_dns_provider_results{addr=\"dnssrv+_grpc._tcp.a.demo.svc.cluster.local\"} 2
";

    fn scan(text: &str, piece: usize) -> Option<Counts> {
        let mut scan = Scan::default();
        text.as_bytes().chunks(piece).for_each(|bytes| scan.feed(bytes));
        scan.finish()
    }

    #[test]
    fn the_counters_are_found_however_the_body_is_cut() {
        for piece in [1, 7, 100, 10_000] {
            assert_eq!(scan(METRICS, piece), Some(Counts([Some(17), None, Some(0)])), "pieces of {piece}");
        }
        let old = "thanos_query_store_apis_dns_failures_total 1e+06\n";
        assert_eq!(scan(old, 9), Some(Counts([None, Some(1_000_000), None])));
    }

    #[test]
    fn what_is_no_such_counter_is_nothing() {
        for text in [
            "",
            "up 1\n",
            "thanos_query_endpoints_dns_failures_total 17",
            "thanos_query_endpoints_dns_failures_total NaN\n",
            "thanos_query_endpoints_dns_failures_total -1\n",
            "thanos_query_endpoints_dns_failures_total{a=\"b\"} 1\n",
            "<html>\n",
        ] {
            assert_eq!(scan(text, 10), None, "{text}");
        }
        let long = format!("thanos_query_endpoints_dns_failures_total {}1\n", "0".repeat(500));
        assert_eq!(scan(&long, 100), None);
        assert_eq!(scan(&format!("{long}{METRICS}"), 100), scan(METRICS, 100));
    }

    #[test]
    fn a_count_grows_when_it_is_more_and_when_thanos_started_again_and_fails_already() {
        let counts = |number| Counts([Some(number), None, Some(0)]);
        assert!(counts(2).grew_since(&counts(1)));
        assert!(!counts(2).grew_since(&counts(2)));
        assert!(counts(1).grew_since(&counts(2)));
        assert!(!counts(0).grew_since(&counts(2)));
        // A release that has the counter came after one that has not.
        assert!(!counts(5).grew_since(&Counts([None, Some(1), None])));
    }
}
