//! Pure: what is written beside a name that Thanos has to look up, while it takes the place of addresses that Thanos has.
//!
//! From 0.38 Thanos drops at once what is no longer in its file, but looks up a new name only at its next tick (reference
//! "How `thanos query` discovers endpoints", section 3.2): between the two nobody would ask the store. So for a few ticks
//! the ready addresses behind the name stand in the file, too. The look-up finds the very same, and Thanos asks each once.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use sd_agent::{Address, Document, Endpoint, document::DocumentError};

use super::{Endpoints, place};
use crate::{discovery::ServiceName, plan::duration::Nanos};

/// Since when the name of a Service takes the place of addresses, in whole seconds.
pub type Arrivals = BTreeMap<ServiceName, Timestamp>;

/// Ticks of Thanos until a name is looked up and its stores have answered, and one more.
const TICKS: i64 = 3;
/// Until the file is in the pods and read.
const DELIVERY_SECONDS: i64 = 5;

/// How long addresses stay beside a name, when Thanos looks at its endpoints every `refresh_interval`.
pub fn overlap(refresh_interval: &str) -> SignedDuration {
    let tick = Nanos::prometheus(refresh_interval).map_or(0, Nanos::seconds);
    SignedDuration::from_secs(TICKS * tick + DELIVERY_SECONDS)
}

/// When the next of them goes.
pub fn next_to_end(arrivals: &Arrivals, overlap: SignedDuration, now: Timestamp) -> Option<Timestamp> {
    arrivals.values().filter_map(|since| since.checked_add(overlap).ok()).filter(|end| *end > now).min()
}

/// What was written before.
#[derive(Clone, Copy, Debug)]
pub struct Before<'a> {
    /// For each Service with ordinary endpoints.
    pub ordinary: &'a BTreeMap<ServiceName, Vec<Address>>,
    /// All of it, when it says more than addresses.
    pub document: Option<&'a Document>,
    /// Names that were taking the place of addresses.
    pub arrivals: &'a Arrivals,
}

// === impl Before ===

impl Before<'_> {
    /// Whether Thanos has other addresses of the Service than `name`, which it has to look up.
    fn has_others(&self, service: &ServiceName, name: &Address) -> bool {
        match self.ordinary.get(service) {
            Some(addresses) => !addresses.contains(name) && !addresses.is_empty(),
            None => self.document.is_some_and(|document| {
                let typed = document.endpoints().iter().filter(|own| own.in_file().typed);
                typed.filter_map(|own| own.flag.as_ref()).any(|flag| name.covers(flag))
            }),
        }
    }
}

// === impl Endpoints ===

impl Endpoints {
    /// With the addresses behind each name that takes the place of others, and since when each of those does so.
    ///
    /// # Errors
    /// As [`Endpoints::of`].
    pub fn overlapping(
        self,
        before: Before<'_>,
        overlap: SignedDuration,
        now: Timestamp,
    ) -> Result<(Self, Arrivals), DocumentError> {
        let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let mut arrivals = Arrivals::new();
        for (service, (name, _)) in &self.looked_up {
            let since = match before.arrivals.get(service) {
                // A clock that was set back must not keep it longer.
                Some(since) => Some((*since).min(now)),
                None => before.has_others(service, name).then_some(now),
            };
            let since = since.filter(|since| now.duration_since(*since) < overlap);
            arrivals.extend(since.map(|since| (service.clone(), since)));
        }
        if arrivals.is_empty() {
            return Ok((self, arrivals));
        }
        let mut endpoints = self.document.endpoints().to_vec();
        let mut taken: BTreeSet<String> = endpoints.iter().map(|endpoint| place(&endpoint.file)).collect();
        for service in arrivals.keys() {
            for address in self.looked_up.get(service).into_iter().flat_map(|(_, ready)| ready) {
                if taken.insert(place(address)) {
                    endpoints.push(Endpoint::regular(address.clone()));
                }
            }
        }
        Ok((Self { document: Document::new(endpoints)?, ..self }, arrivals))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse().expect("an address")
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("a time")
    }

    fn service() -> ServiceName {
        "demo/s".parse().expect("a name")
    }

    fn headless() -> Endpoints {
        let name = address("dnssrv+_grpc._tcp.s.demo.svc");
        let ready = ["10.0.0.1:10901", "10.0.0.2:10901"].map(address).to_vec();
        Endpoints {
            document: Document::new(vec![Endpoint::regular(name.clone())]).expect("a document"),
            ordinary: [(service(), vec![name.clone()])].into(),
            looked_up: [(service(), (name, ready))].into(),
            ..Endpoints::default()
        }
    }

    /// How many endpoints there are at `second`, and since when the name arrives.
    fn at_second(second: i64, before: Before<'_>) -> (usize, Arrivals) {
        let overlap = overlap("5s");
        let (endpoints, arrivals) = headless().overlapping(before, overlap, at(second)).expect("a document");
        (endpoints.document.endpoints().len(), arrivals)
    }

    const NOTHING: Before<'_> =
        Before { ordinary: &BTreeMap::new(), document: None, arrivals: &Arrivals::new() };

    #[test]
    fn a_name_that_is_new_or_was_there_stands_alone() {
        assert_eq!(at_second(0, NOTHING), (1, Arrivals::new()));
        let ordinary = [(service(), vec![address("dnssrv+_grpc._tcp.s.demo.svc")])].into();
        assert_eq!(at_second(0, Before { ordinary: &ordinary, ..NOTHING }), (1, Arrivals::new()));
    }

    #[test]
    fn a_name_in_the_place_of_typed_endpoints_has_its_addresses_beside_it_for_a_few_ticks() {
        for entry in [
            r#"{"file":"s-0.s.demo.svc:10901","type":"Strict","flag":"s-0.s.demo.svc:10901","inFile":{"typed":true}}"#,
            r#"{"file":"dnssrv+_grpc._tcp.s.demo.svc","type":"Group","flag":"dnssrv+_grpc._tcp.s.demo.svc","inFile":{"typed":true}}"#,
        ] {
            let typed: Document =
                serde_json::from_str(&format!("{{\"endpoints\":[{entry}]}}")).expect("a document");
            let (endpoints, arrivals) = at_second(0, Before { document: Some(&typed), ..NOTHING });
            assert_eq!((endpoints, arrivals.get(&service())), (3, Some(&at(0))));
            let ordinary = headless().ordinary;
            let then = Before { arrivals: &arrivals, ordinary: &ordinary, document: None };
            assert_eq!(at_second(19, then), (3, arrivals.clone()));
            assert_eq!(next_to_end(&arrivals, overlap("5s"), at(19)), Some(at(20)));
            assert_eq!(at_second(20, then), (1, Arrivals::new()));
        }
    }

    #[test]
    fn a_name_in_the_place_of_addresses_has_those_that_are_ready_beside_it() {
        let ordinary = [(service(), vec![address("10.0.0.1:10901"), address("10.0.0.9:10901")])].into();
        assert_eq!(at_second(0, Before { ordinary: &ordinary, ..NOTHING }).0, 3);
    }
}
