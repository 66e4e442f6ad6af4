//! Pure: whether Services that are missing may go. Many at once are more likely a mistake than a wish, and a mistake
//! must not empty the queriers.
//!
//! Services count, not addresses: one with another port, form or type is not missing.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use crds::{ThanosQuery, names::annotations::ACCEPT_REMOVAL, service_discovery::RemovalGuard as Said};
use jiff::{SignedDuration, Timestamp};
use sd_agent::Address;

use super::{
    Remembered,
    remembered::{LAST_NUMBER, Missing},
};
use crate::{
    discovery::{ServiceName, Unknown},
    plan::{Arrivals, Endpoints, StrictPods, duration::Nanos},
};

/// What goes within this time is one change: a script takes the labels from one Service after the other, and the
/// first of them are gone before there are many.
const ONE_CHANGE: SignedDuration = SignedDuration::from_secs(10);

/// What a ThanosQuery says about removals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovalGuard {
    /// The largest share of the Services that may go at once, in percent: 0 to 100.
    pub max_removed_percent: usize,
    /// How long each Service is held; zero holds nothing.
    pub hold_for: SignedDuration,
    /// The number of the removal that a person accepts.
    pub accepted: Option<u64>,
}

/// What is there now.
#[derive(Clone, Copy, Debug)]
pub struct Present<'a> {
    /// UID of the ThanosQuery.
    pub owner: &'a str,
    /// Hash of what the spec says about which Services are selected.
    pub selection: &'a str,
    /// The Services and their endpoints.
    pub endpoints: &'a Endpoints,
    /// Namespaces of which it cannot be said what is in them.
    pub unknown: &'a Unknown,
    /// The pods of strict Services.
    pub pods: &'a StrictPods,
}

// === impl RemovalGuard ===

impl RemovalGuard {
    /// As `query` says. What cannot be understood is as if it were not said, and is told in `problems`.
    pub fn of(query: &ThanosQuery, problems: &mut Vec<String>) -> Self {
        let Said { max_removed_percent, hold_for } = &query.spec.service_discovery.removal_guard;
        let seconds = |text: &str| Nanos::prometheus(text).map(Nanos::seconds);
        let hold_for = seconds(hold_for).or_else(|| {
            problems.push(format!(
                "spec.serviceDiscovery.removalGuard.holdFor: {hold_for:?} is no duration; write it like 5m, until then \
                 that is what holds"
            ));
            seconds(&Said::default().hold_for)
        });
        let annotation = query.metadata.annotations.as_ref().and_then(|all| all.get(ACCEPT_REMOVAL));
        let accepted = annotation.and_then(|text| {
            let number = text.trim().parse().ok();
            if number.is_none() {
                problems.push(format!(
                    "annotation {ACCEPT_REMOVAL}: {text:?} is no number; write the one in \
                     status.heldRemoval.generation, or remove it"
                ));
            }
            number
        });
        Self {
            max_removed_percent: usize::try_from(*max_removed_percent).unwrap_or_default(),
            hold_for: SignedDuration::from_secs(hold_for.unwrap_or_default()),
            accepted,
        }
    }

    /// What has to be remembered now: with it, which Services stay although they are missing.
    ///
    /// The same again with nothing else happening gives the same again.
    pub fn judge(&self, before: Option<&Remembered>, present: Present<'_>, now: Timestamp) -> Remembered {
        let Present { owner, selection, endpoints, unknown, pods } = present;
        let Endpoints { services, ordinary, .. } = endpoints;
        let before = before.filter(|before| before.owner == owner);
        // That nothing is seen there means nothing: what was known stays, for as long as that is so.
        let known = before.into_iter().flat_map(|before| &before.services);
        let unseen: BTreeMap<ServiceName, Vec<Address>> = known
            .filter(|(name, _)| !services.contains(name) && unknown.contains(&name.namespace))
            .map(|(name, addresses)| (name.clone(), addresses.clone()))
            .collect();
        // Copied only where something is unseen: there may be thousands, and each change of one comes by here.
        let services = match unseen.is_empty() {
            true => Cow::Borrowed(services),
            false => Cow::Owned(services.iter().chain(unseen.keys()).cloned().collect()),
        };
        let services: &BTreeSet<ServiceName> = &services;
        let mut after = Remembered {
            owner: owner.to_owned(),
            selection: selection.to_owned(),
            number: before.map_or(0, |before| before.number),
            services: ordinary.clone(),
            missing: BTreeMap::new(),
            newcomers: BTreeSet::new(),
            pods: pods.clone(),
            says_more: false,
            arrivals: Arrivals::new(),
            tls: BTreeMap::new(),
        };
        after.services.extend(unseen);
        let known = before.into_iter().flat_map(|before| &before.tls);
        let all: BTreeMap<ServiceName, String> =
            known.chain(&endpoints.tls).map(|(name, said)| (name.clone(), said.clone())).collect();
        let stays = |name: &ServiceName, after: &Remembered| {
            // What one that is there says now is all that counts.
            let is_said = endpoints.tls.contains_key(name) || !endpoints.ordinary.contains_key(name);
            is_said && (after.services.contains_key(name) || after.missing.contains_key(name))
        };
        after.tls = all.clone().into_iter().filter(|(name, _)| stays(name, &after)).collect();
        // What vanishes by an edit of the spec is meant to.
        let is_on = !self.hold_for.is_zero();
        let Some(before) = before.filter(|before| is_on && before.selection == selection) else {
            return after;
        };

        let mut missing = self.still_missing(before, services, now);
        let vanished: Vec<(&ServiceName, &Vec<Address>)> =
            before.services.iter().filter(|(name, _)| !services.contains(name)).collect();
        let is_judged = !vanished.is_empty() || missing.values().any(|missing| missing.held);
        missing.extend(vanished.into_iter().map(|(name, addresses)| {
            let missing = Missing { since: whole_seconds(now), held: false, addresses: addresses.clone() };
            (name.clone(), missing)
        }));
        if is_judged {
            let counts = |name: &&ServiceName| services.contains(name) && !before.newcomers.contains(name);
            let known = before.services.keys().chain(before.missing.keys());
            let held = self.is_over(missing.len(), known.filter(counts).count());
            missing.values_mut().for_each(|missing| missing.held = held);
        }
        after.missing = missing;
        after.tls = all.into_iter().filter(|(name, _)| stays(name, &after)).collect();
        if after.held().next().is_some() {
            // They do not make the share of those that are missing any smaller.
            let is_new = |name: &&ServiceName| {
                before.newcomers.contains(*name)
                    || !before.services.contains_key(*name) && !before.missing.contains_key(*name)
            };
            after.newcomers = after.services.keys().filter(is_new).cloned().collect();
        }
        let was_held = |name: &ServiceName| before.missing.get(name).is_some_and(|missing| missing.held);
        if after.held().any(|(name, _)| !was_held(name)) {
            let millis = u64::try_from(now.as_millisecond()).unwrap_or_default();
            after.number = millis.max(before.number + 1).min(LAST_NUMBER);
        }
        // What went a while ago is forgotten only when there is something else to write.
        if after.missing.len() < before.missing.len() {
            let mut rest = before.clone();
            rest.missing.retain(|name, missing| missing.held || after.missing.contains_key(name));
            rest.tls.retain(|name, _| after.tls.contains_key(name) || rest.missing.contains_key(name));
            if rest == after {
                return before.clone();
            }
        }
        after
    }

    /// Those that were missing before, still are, and still count.
    fn still_missing(
        &self,
        before: &Remembered,
        services: &BTreeSet<ServiceName>,
        now: Timestamp,
    ) -> BTreeMap<ServiceName, Missing> {
        let is_accepted = self.accepted == Some(before.number);
        let missing = before.missing.iter().filter(|(name, _)| !services.contains(name));
        missing
            .filter_map(|(name, missing)| {
                // A clock that was set back must not hold it longer.
                let since = missing.since.min(whole_seconds(now));
                let age = now.duration_since(since);
                let is_over = match missing.held {
                    true => is_accepted || age >= self.hold_for,
                    false => age >= self.hold_for.min(ONE_CHANGE),
                };
                (!is_over).then(|| (name.clone(), Missing { since, ..missing.clone() }))
            })
            .collect()
    }

    /// Whether so many are too many, beside so many that are there.
    fn is_over(&self, missing: usize, present: usize) -> bool {
        let all = missing + present;
        missing > 0 && (present == 0 || missing * 100 > self.max_removed_percent * all)
    }
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests;
