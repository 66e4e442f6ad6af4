//! Pure: which pods of a strict headless Service are endpoints.
//!
//! A pod has no name in DNS, and is in no EndpointSlice, from its end until its successor has an address. A strict
//! endpoint must not be forgotten just then: queries would succeed without its data, and the queriers would be
//! replaced twice, by a flag less and a flag more.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use jiff::{SignedDuration, Timestamp};
use sd_agent::EndpointType;

use crate::discovery::{Discovery, Reach, ServiceName, Store};

/// The pods of each strict headless Service by host name: none while a pod is there, else since when it is missing, in
/// whole seconds.
pub type StrictPods = BTreeMap<ServiceName, BTreeMap<String, Option<Timestamp>>>;

/// How long the last pod of a StatefulSet may be missing before it is taken for scaled down: long enough for a restart.
pub const RESTART: SignedDuration = SignedDuration::from_secs(60);

/// `discovery` with the strict pods that are only missing for a while, and what is to be remembered of them.
pub fn with_missing_pods<'a>(
    discovery: &'a Discovery,
    before: Option<&StrictPods>,
    now: Timestamp,
) -> (Cow<'a, Discovery>, StrictPods) {
    let (mut with, mut after) = (Cow::Borrowed(discovery), StrictPods::new());
    for (index, store) in discovery.stores.iter().enumerate() {
        let Some(present) = strict_pods_of(store) else { continue };
        let name = ServiceName { namespace: store.namespace.clone(), name: store.service.clone() };
        let known = before.and_then(|before| before.get(&name));
        let pods = follow(present, store.addresses, known, now);
        if pods.len() > present.len()
            && let Reach::Headless { hostnames, .. } = &mut with.to_mut().stores[index].reach
        {
            *hostnames = pods.keys().cloned().collect();
        }
        if !pods.is_empty() {
            after.insert(name, pods);
        }
    }
    (with, after)
}

/// When the next of them goes, if nothing else happens.
pub fn next_to_go(pods: &StrictPods, now: Timestamp) -> Option<Timestamp> {
    let missing = pods.values().flat_map(BTreeMap::values).flatten();
    // What stays for longer does so for another reason.
    missing.filter_map(|since| since.checked_add(RESTART).ok()).filter(|end| *end > now).min()
}

fn strict_pods_of(store: &Store) -> Option<&[String]> {
    match (store.endpoint_type, &store.reach) {
        (EndpointType::Strict, Reach::Headless { hostnames, .. }) => Some(hostnames),
        _ => None,
    }
}

fn follow(
    present: &[String],
    addresses: usize,
    known: Option<&BTreeMap<String, Option<Timestamp>>>,
    now: Timestamp,
) -> BTreeMap<String, Option<Timestamp>> {
    let present: BTreeSet<&str> = present.iter().map(String::as_str).collect();
    let mut pods: BTreeMap<String, Option<Timestamp>> =
        present.iter().map(|pod| ((*pod).to_owned(), None)).collect();
    // All of them down is what strict is for. Pods without names are others.
    let are_all_down = present.is_empty() && addresses == 0;
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    for (pod, since) in known.into_iter().flatten().filter(|(pod, _)| !present.contains(pod.as_str())) {
        // A clock that was set back must not keep it longer.
        let since = since.unwrap_or(now).min(now);
        let is_restarting = now.duration_since(since) < RESTART;
        if are_all_down || is_restarting || has_successor(pod, &present) {
            pods.insert(pod.clone(), Some(since));
        }
    }
    pods
}

/// Whether a later pod of its StatefulSet is there: pods go from the last one on, so this one is only lost.
fn has_successor(pod: &str, present: &BTreeSet<&str>) -> bool {
    let Some((set, number)) = ordinal(pod) else { return false };
    present.iter().filter_map(|other| ordinal(other)).any(|(of, other)| of == set && other > number)
}

fn ordinal(pod: &str) -> Option<(&str, u32)> {
    let (set, number) = pod.rsplit_once('-')?;
    Some((set, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::TlsChoice;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("a time")
    }

    fn strict(pods: &str, addresses: usize) -> Discovery {
        let hostnames = pods.split_whitespace().map(str::to_owned).collect();
        let reach = Reach::Headless { port_name: "grpc".into(), pod_port: 10901, hostnames, ready: vec![] };
        let endpoint_type = EndpointType::Strict;
        let (tls, service_config) = (TlsChoice::Default, None);
        let (namespace, service) = ("demo".into(), "s".into());
        let store = Store { namespace, service, endpoint_type, reach, addresses, tls, service_config };
        Discovery { stores: vec![store], ..Discovery::default() }
    }

    /// The pods that are endpoints after each of these was seen, at its second.
    fn seen(looks: &[(i64, &str)]) -> String {
        let mut known = None;
        let mut pods = String::new();
        for (second, present) in looks {
            let looked = strict(present, present.split_whitespace().count());
            let (discovery, after) = with_missing_pods(&looked, known.as_ref(), at(*second));
            let Reach::Headless { hostnames, .. } = &discovery.stores[0].reach else { panic!("headless") };
            pods = hostnames.join(" ");
            known = Some(after);
        }
        pods
    }

    #[test]
    fn a_pod_that_is_restarted_stays_an_endpoint() {
        assert_eq!(seen(&[(0, "s-0 s-1"), (5, "s-0")]), "s-0 s-1");
        assert_eq!(seen(&[(0, "s-0 s-1"), (5, "s-0"), (64, "s-0")]), "s-0 s-1");
        assert_eq!(seen(&[(0, "s-0 s-1"), (5, "s-0"), (30, "s-0 s-1"), (70, "s-0")]), "s-0 s-1");
    }

    #[test]
    fn the_last_pod_is_scaled_down_when_it_is_missing_for_longer_than_a_restart() {
        assert_eq!(seen(&[(0, "s-0 s-1"), (5, "s-0"), (65, "s-0")]), "s-0");
    }

    #[test]
    fn one_that_has_a_successor_is_lost_and_stays_however_long() {
        assert_eq!(seen(&[(0, "s-0 s-1 s-10"), (5, "s-0 s-10"), (9999, "s-0 s-10")]), "s-0 s-1 s-10");
        assert_eq!(seen(&[(0, "old-0"), (5, "new-1"), (99, "new-1")]), "new-1", "of another StatefulSet");
    }

    #[test]
    fn all_of_them_down_is_what_strict_is_for() {
        assert_eq!(seen(&[(0, "s-0 s-1"), (5, ""), (9999, "")]), "s-0 s-1");
    }

    #[test]
    fn pods_without_names_take_the_place_of_those_with_names() {
        let (_, known) = with_missing_pods(&strict("s-0", 1), None, at(0));
        let unnamed = strict("", 2);
        let (_, after) = with_missing_pods(&unnamed, Some(&known), at(100));
        let (last, _) = with_missing_pods(&unnamed, Some(&after), at(200));
        let Reach::Headless { hostnames, .. } = &last.stores[0].reach else { panic!("headless") };
        assert!(hostnames.is_empty(), "{hostnames:?}");
    }

    #[test]
    fn somebody_looks_again_when_the_next_one_goes() {
        let (_, known) = with_missing_pods(&strict("s-0 s-1", 2), None, at(0));
        assert_eq!(next_to_go(&known, at(0)), None);
        let (_, known) = with_missing_pods(&strict("s-0", 1), Some(&known), at(5));
        assert_eq!(next_to_go(&known, at(6)), Some(at(65)));
        assert_eq!(next_to_go(&known, at(65)), None);
    }

    #[test]
    fn other_types_and_forms_are_followed_as_they_are() {
        let mut discovery = strict("s-0", 1);
        discovery.stores[0].endpoint_type = EndpointType::Group;
        let (same, known) = with_missing_pods(&discovery, None, at(0));
        assert!(*same == discovery && known.is_empty());
    }
}
