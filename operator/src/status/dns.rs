//! Pure: what the agents say about look-ups that fail, as one condition.
//!
//! The text follows from what fails and in how many pods, in a fixed order: it changes only when one of these does.

use std::collections::{BTreeMap, BTreeSet};

use crds::names::{conditions, reasons};
use sd_agent::{Address, DnsFailing};

use super::{
    agents::AgentAnswers,
    conditions::{Verdict, Wanted, warning},
};
use crate::plan::Summary;

/// Addresses in the text at most.
const SHOWN: usize = 5;

/// The longest error in the text, in characters; the agent cuts earlier.
const LONGEST: usize = 300;

const CONSEQUENCE: &str = "until this succeeds, Thanos may keep addresses that were removed";

const NOT_KNOWN: &str = "whether look-ups fail is not known: Thanos tells it in its metrics, which the agents cannot \
                         read over TLS or with a password. While one fails, Thanos may keep addresses that were removed";

/// Where one address fails.
struct Seen<'a> {
    pods: usize,
    error: &'a str,
}

/// The condition; none while nothing fails, and while no endpoint is looked up. Unknown when nobody can tell.
pub fn dns_failing(summary: &Summary, agents: &AgentAnswers) -> Option<Wanted> {
    if !summary.has_agents() {
        return None;
    }
    // Not what has just been removed, nor what a pod of an older template is told to look up.
    let names: BTreeSet<&Address> = summary.endpoints.document.looked_up().collect();
    let mut seen: BTreeMap<Option<&str>, Seen<'_>> = BTreeMap::new();
    for failing in agents.failing().flatten() {
        let is_known = match &failing.address {
            Some(address) => address.parse().is_ok_and(|address: Address| names.contains(&address)),
            None => !names.is_empty(),
        };
        if is_known {
            let DnsFailing { address, error } = failing;
            let seen = seen.entry(address.as_deref()).or_insert(Seen { pods: 0, error });
            seen.pods += 1;
            // Pods may see different errors; the same one is told each time.
            seen.error = seen.error.min(error);
        }
    }
    let pods = agents.pods();
    let named: Vec<(&str, &Seen<'_>)> =
        seen.iter().filter_map(|(address, seen)| Some(((*address)?, seen))).collect();
    let message = match (&named[..], seen.get(&None)) {
        ([], None) if summary.reads_thanos || names.is_empty() => return None,
        ([], None) => {
            return Some(Wanted {
                type_: conditions::DNS_FAILING,
                status: Verdict::Unknown,
                reason: reasons::METRICS_NOT_READ,
                message: NOT_KNOWN.to_owned(),
            });
        }
        ([], Some(Seen { pods: some, .. })) => format!(
            "Thanos counts failed look-ups in {some} of {pods} pods, and no name fails when it is looked up from \
             there; {CONSEQUENCE}. See the logs of Thanos and of the DNS server"
        ),
        (named, _) => {
            let shown = named.iter().take(SHOWN);
            let shown: Vec<String> = shown
                .map(|(address, Seen { pods: some, error })| {
                    format!("{address} ({}, in {some} of {pods} pods)", plain(error))
                })
                .collect();
            let more = named.len().saturating_sub(SHOWN);
            let more = if more > 0 { format!("; and {more} more") } else { String::new() };
            format!(
                "look-up fails: {}{more}; {CONSEQUENCE}. Mend the DNS name, or remove its Service or additional \
                 endpoint",
                shown.join("; ")
            )
        }
    };
    Some(warning(conditions::DNS_FAILING, reasons::LOOKUP_FAILED, message))
}

/// It comes from a pod.
fn plain(error: &str) -> String {
    error.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use sd_agent::{Document, Endpoint};

    use super::*;
    use crate::plan::{Delivery, Endpoints};

    fn summary(addresses: &[&str]) -> Summary {
        let endpoints = addresses.iter().map(|text| Endpoint::regular(text.parse().expect("an address")));
        let document = Document::new(endpoints.collect()).expect("valid");
        Summary::of_tests(Endpoints { document, ..Endpoints::default() })
    }

    fn failing(address: &str, error: &str) -> DnsFailing {
        DnsFailing { address: Some(address.to_owned()), error: error.to_owned() }
    }

    fn message(addresses: &[&str], pods: &[&[&DnsFailing]]) -> Option<String> {
        let answers = pods.iter().map(|failing| failing.iter().copied().cloned().collect()).collect();
        dns_failing(&summary(addresses), &AgentAnswers::of_failing(answers)).map(|wanted| wanted.message)
    }

    #[test]
    fn addresses_are_named_with_pods_error_consequence_and_remedy() {
        let (a, b) =
            (failing("dns+a.b:1", "10.96.0.10 answers SERVFAIL for a.b."), failing("dns+c.d:1", "x"));
        assert_eq!(
            message(&["dns+a.b:1", "dns+c.d:1"], &[&[&b, &a], &[&a]]).as_deref(),
            Some(
                "look-up fails: dns+a.b:1 (10.96.0.10 answers SERVFAIL for a.b., in 2 of 2 pods); dns+c.d:1 (x, in 1 of \
                 2 pods); until this succeeds, Thanos may keep addresses that were removed. Mend the DNS name, or remove \
                 its Service or additional endpoint"
            )
        );
    }

    #[test]
    fn the_text_is_the_same_in_whatever_order_pods_answer() {
        let (first, second) = (failing("dns+a.b:1", "timeout"), failing("dns+a.b:1", "SERVFAIL"));
        let one = message(&["dns+a.b:1"], &[&[&first], &[&second]]);
        let other = message(&["dns+a.b:1"], &[&[&second], &[&first]]);
        assert!(one.is_some());
        assert_eq!(one, other);
    }

    #[test]
    fn what_is_no_endpoint_any_more_is_not_told() {
        let gone = failing("dns+gone.b:1", "SERVFAIL");
        assert_eq!(message(&["dns+a.b:1"], &[&[&gone]]), None);
        assert_eq!(message(&[], &[&[&gone]]), None);
        assert_eq!(message(&["dns+a.b:1"], &[&[&failing("nonsense", "x")]]), None);
        let flags = Summary { look_again: None, delivery: Delivery::Flags, ..summary(&["dns+gone.b:1"]) };
        assert_eq!(dns_failing(&flags, &AgentAnswers::of_failing(vec![vec![gone]])), None);
    }

    #[test]
    fn failures_without_a_name_are_told_when_no_name_is_and_something_is_looked_up() {
        let unnamed = DnsFailing { address: None, error: "which?".into() };
        let told = message(&["dns+a.b:1"], &[&[&unnamed], &[]]).expect("told");
        assert!(
            told.starts_with("Thanos counts failed look-ups in 1 of 2 pods, and no name fails"),
            "{told}"
        );
        let both = message(&["dns+a.b:1"], &[&[&unnamed, &failing("dns+a.b:1", "SERVFAIL")]]);
        assert!(both.expect("told").starts_with("look-up fails: dns+a.b:1"));
        assert_eq!(message(&["plain.b:1"], &[&[&unnamed]]), None);
    }

    #[test]
    fn where_the_agents_cannot_read_metrics_it_is_unknown_unless_a_pod_says_otherwise() {
        let unread = |addresses: &[&str]| Summary { reads_thanos: false, ..summary(addresses) };
        let status = |summary: &Summary, pods: Vec<Vec<DnsFailing>>| {
            dns_failing(summary, &AgentAnswers::of_failing(pods)).map(|wanted| wanted.status)
        };
        assert_eq!(status(&unread(&["dns+a.b:1"]), vec![vec![]]), Some(Verdict::Unknown));
        assert_eq!(status(&unread(&["plain.b:1"]), vec![vec![]]), None, "nothing is looked up");
        // A pod of the template before, which can be read.
        let failing = vec![vec![failing("dns+a.b:1", "SERVFAIL")], vec![]];
        assert_eq!(status(&unread(&["dns+a.b:1"]), failing), Some(Verdict::True));
    }

    #[test]
    fn many_addresses_are_counted_and_texts_of_pods_are_cut() {
        let all: Vec<String> = (0..7).map(|index| format!("dns+a{index}.b:1")).collect();
        let addresses: Vec<&str> = all.iter().map(String::as_str).collect();
        let failing: Vec<DnsFailing> =
            all.iter().map(|address| failing(address, &"\n\u{1b}é".repeat(1000))).collect();
        let told = message(&addresses, &[&failing.iter().collect::<Vec<_>>()]).expect("told");
        assert!(told.contains("; and 2 more; until"), "{told}");
        assert!(told.chars().count() < 6 * 400 && !told.contains(['\n', '\u{1b}']), "{told}");
    }
}
