//! What was seen, and when: the observers write it, the latencies follow from it.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// One change of a Service.
#[derive(Clone, Debug)]
pub struct Change {
    /// What was done.
    pub kind: Kind,
    /// Whether the Service has an address of its own.
    pub form: Form,
    /// `<service>.<namespace>.svc`: part of its address in documents.
    pub name: String,
    /// How Thanos lists it: the beginning of the address.
    pub listed: String,
    /// When the API server was asked. Its watchers may know before it answers: it tidies up after a deletion.
    pub asked: Timestamp,
    /// When it had answered: there the clock starts.
    pub at: Timestamp,
}

/// What was done to a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Created.
    Added,
    /// Deleted.
    Removed,
}

/// The two forms of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// With an address of its own.
    ClusterIp,
    /// Its name leads to the pods.
    Headless,
}

/// Everything that was seen.
#[derive(Debug, Default)]
pub struct Log {
    /// The documents of each ThanosQuery by generation.
    pub documents: BTreeMap<String, BTreeMap<u64, Seen>>,
    /// The querier pods.
    pub pods: Vec<PodLog>,
    /// When a Service's own address took connections.
    pub reachable: BTreeMap<String, Timestamp>,
    /// Polls that had no answer.
    pub failed_polls: u64,
    /// Why the last of them had none.
    pub last_failure: Option<String>,
}

/// A document in a ConfigMap.
#[derive(Debug)]
pub struct Seen {
    /// When the operator planned it.
    pub planned: Timestamp,
    /// Its addresses.
    pub addresses: Vec<String>,
}

/// What one querier pod showed.
#[derive(Debug, Default)]
pub struct PodLog {
    /// The ThanosQuery it belongs to.
    pub query: String,
    /// The agent's `appliedAt` by generation.
    pub applied: BTreeMap<u64, Timestamp>,
    /// Since when an address was listed, or not any more.
    pub listed: BTreeMap<String, Vec<(Timestamp, bool)>>,
}

/// How long a change took, in seconds, up to the last pod of one ThanosQuery.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Delivery {
    /// Until the operator had planned the document.
    pub planned: f64,
    /// Until the file was there.
    pub file: f64,
}

// === impl Log ===

impl Log {
    /// The ThanosQuery objects whose pods are watched.
    pub fn queries(&self) -> Vec<String> {
        let mut queries: Vec<String> = self.pods.iter().map(|pod| pod.query.clone()).collect();
        queries.dedup();
        queries
    }

    /// How long `change` took until every pod of `query` had it in its file; none when it did not get there.
    pub fn delivery(&self, query: &str, change: &Change) -> Option<Delivery> {
        let documents = self.documents.get(query)?;
        let names = |seen: &Seen| seen.addresses.iter().any(|address| address.contains(&change.name));
        let mut covering = documents.iter().skip_while(|(_, seen)| !names(seen));
        let (&generation, seen) = match change.kind {
            Kind::Added => covering.next()?,
            // Names are used once, so it was there before.
            Kind::Removed => covering.find(|(_, seen)| !names(seen))?,
        };
        let file = self.last(query, |pod| pod.applied.range(generation..).next().map(|(_, &at)| at))?;
        Some(Delivery { planned: between(change.at, seen.planned), file: between(change.at, file) })
    }

    /// How long `change` took until every pod of `query` listed it, or did not any more.
    pub fn queried(&self, query: &str, change: &Change) -> Option<f64> {
        let wanted = change.kind == Kind::Added;
        let at = self.last(query, |pod| {
            let of_change = pod.listed.iter().filter(|(address, _)| address.starts_with(&change.listed));
            let seen = of_change.flat_map(|(_, seen)| seen);
            seen.filter(|(at, is)| *is == wanted && *at >= change.asked).map(|(at, _)| *at).min()
        })?;
        Some(between(change.at, at))
    }

    /// How long it took until the address of an added Service took connections; that is kube-proxy's doing.
    pub fn reachable(&self, change: &Change) -> Option<f64> {
        let at = self.reachable.get(&change.name).filter(|_| change.kind == Kind::Added)?;
        Some(between(change.at, *at))
    }

    /// Whether every pod follows `change`.
    pub fn is_settled(&self, change: &Change) -> bool {
        self.queries().iter().all(|query| self.queried(query, change).is_some())
    }

    /// The last of what the pods of `query` showed; none when one of them has not.
    fn last(&self, query: &str, seen: impl Fn(&PodLog) -> Option<Timestamp>) -> Option<Timestamp> {
        let pods = self.pods.iter().filter(|pod| pod.query == query);
        pods.map(seen).collect::<Option<Vec<Timestamp>>>()?.into_iter().max()
    }
}

/// In seconds. What came before the answer took no time.
fn between(earlier: Timestamp, later: Timestamp) -> f64 {
    later.duration_since(earlier).as_secs_f64().max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(milliseconds).expect("a time")
    }

    fn change(kind: Kind, milliseconds: i64) -> Change {
        let name = "ip-1.bench.svc".to_owned();
        let (asked, at) = (at(milliseconds - 20), at(milliseconds));
        Change { kind, form: Form::ClusterIp, listed: format!("{name}."), name, asked, at }
    }

    fn log() -> Log {
        let address = || "ip-1.bench.svc.cluster.local:80".to_owned();
        let seen = |planned, addresses| Seen { planned: at(planned), addresses };
        let pod = |applied: &[(u64, i64)], listed: &[(i64, bool)]| PodLog {
            query: "q".to_owned(),
            applied: applied.iter().map(|&(generation, time)| (generation, at(time))).collect(),
            listed: BTreeMap::from([(address(), listed.iter().map(|&(time, is)| (at(time), is)).collect())]),
        };
        Log {
            documents: BTreeMap::from([(
                "q".to_owned(),
                BTreeMap::from([
                    (1, seen(0, vec![])),
                    (2, seen(1010, vec![address()])),
                    (3, seen(5010, vec![])),
                ]),
            )]),
            pods: vec![
                pod(&[(1, 10), (2, 1030), (3, 5030)], &[(2000, true), (6000, false)]),
                // Its report of generation 2 was missed.
                pod(&[(1, 10), (3, 5040)], &[(3000, true)]),
            ],
            ..Log::default()
        }
    }

    #[test]
    fn the_last_pod_counts() {
        let log = log();
        assert_eq!(log.queried("q", &change(Kind::Added, 1000)), Some(2.0));
        assert_eq!(
            log.delivery("q", &change(Kind::Removed, 5000)),
            Some(Delivery { planned: 0.01, file: 0.04 })
        );
        assert_eq!(
            log.delivery("q", &change(Kind::Added, 1000)),
            Some(Delivery { planned: 0.01, file: 4.04 })
        );
    }

    #[test]
    fn what_is_seen_before_the_answer_took_no_time() {
        let mut log = log();
        log.pods.truncate(1);
        assert_eq!(log.queried("q", &change(Kind::Removed, 6010)), Some(0.0));
        assert_eq!(log.queried("q", &change(Kind::Removed, 6030)), None);
    }

    #[test]
    fn what_one_pod_has_not_shown_is_not_settled() {
        let log = log();
        assert!(log.is_settled(&change(Kind::Added, 1000)));
        assert!(!log.is_settled(&change(Kind::Removed, 5000)));
        assert_eq!(log.queried("q", &change(Kind::Added, 3500)), None);
    }
}
