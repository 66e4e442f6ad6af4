//! The rules of one ThanosQuery, and what they say about one Service.

use std::collections::{BTreeMap, HashMap};

use crds::{
    ThanosQuery,
    names::{labels, pod},
    service_discovery::{DiscoveryMode, Resolve},
};
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use sd_agent::EndpointType;

use super::{Reason, Selection, SelectorError, Store, TlsChoice, Unknown, Watched, reach::reach};
use crate::{
    plan::{Names, Workload, root_of},
    watch::{ServiceForm, StoreApiService, StoreApiSlice, WatchedNamespace},
};

/// What is watched, ready to be looked up.
pub struct Facts<'a> {
    watched: &'a Watched,
    namespaces: HashMap<&'a str, &'a WatchedNamespace>,
    slices: HashMap<(&'a str, &'a str), Vec<&'a StoreApiSlice>>,
}

/// The rules of one ThanosQuery, ready to be asked about Services.
pub struct Rules<'a> {
    query: &'a ThanosQuery,
    facts: &'a Facts<'a>,
    selection: Selection,
    resolve: Resolve,
    pods: BTreeMap<String, String>,
}

// === impl Facts ===

impl<'a> Facts<'a> {
    /// Of what is `watched`.
    pub fn of(watched: &'a Watched) -> Self {
        let mut slices: HashMap<(&str, &str), Vec<&StoreApiSlice>> = HashMap::new();
        for slice in &watched.slices {
            slices.entry((&slice.namespace, &slice.service)).or_default().push(slice);
        }
        let namespaces = watched.namespaces.iter().map(|own| (own.name.as_str(), &**own)).collect();
        Self { watched, namespaces, slices }
    }
}

// === impl Rules ===

impl<'a> Rules<'a> {
    /// Of `query`.
    ///
    /// # Errors
    /// When a selector of the spec cannot be understood.
    pub fn of(query: &'a ThanosQuery, facts: &'a Facts<'a>) -> Result<Self, SelectorError> {
        Ok(Self {
            query,
            facts,
            selection: Selection::of(query)?,
            resolve: match query.spec.service_discovery.mode {
                DiscoveryMode::File | DiscoveryMode::FileAll => query.spec.service_discovery.resolve,
                DiscoveryMode::Flags => Resolve::Dns,
            },
            pods: pods_of(query),
        })
    }

    /// What is asked for and may not be read.
    pub fn out_of_reach(&self) -> Vec<String> {
        self.selection.namespaces.out_of_reach(&self.facts.watched.rights)
    }

    /// The namespaces of which it cannot be said what is in them.
    pub fn unknown(&self) -> Unknown {
        self.selection.namespaces.unknown(&self.facts.watched.rights)
    }

    /// As what `service` counts.
    ///
    /// # Errors
    /// The first reason for which it does not.
    pub fn judge(&self, service: &StoreApiService) -> Result<Store, Reason> {
        self.judge_by_metadata(service)?;
        if let Some(other) = self.loop_with(service) {
            return Err(Reason::QueryLoop { other });
        }
        let key = (service.namespace.as_str(), service.name.as_str());
        let slices = self.facts.slices.get(&key).map_or(&[][..], Vec::as_slice);
        let spec = &self.query.spec;
        let tls = TlsChoice::of(service.tls.as_deref(), &spec.service_discovery)?;
        let is_looked_up = service.form == ServiceForm::Headless;
        let needs_addresses = is_looked_up
            && tls.needs_addresses(&spec.service_discovery, spec.common.additional_args.as_ref());
        // Strict and group endpoints are flags: an address there would replace the pods whenever a store's pod moves.
        let resolve = match service.endpoint_type {
            EndpointType::Regular if needs_addresses => Resolve::EndpointSlice,
            EndpointType::Regular => self.resolve,
            EndpointType::Strict | EndpointType::Group | EndpointType::GroupStrict => Resolve::Dns,
        };
        let (reach, addresses) = reach(service, slices, resolve)?;
        Ok(Store {
            namespace: service.namespace.clone(),
            service: service.name.clone(),
            endpoint_type: service.endpoint_type,
            reach,
            addresses,
            tls,
            service_config: service.service_config.clone(),
        })
    }

    fn judge_by_metadata(&self, service: &StoreApiService) -> Result<(), Reason> {
        let Self { query, selection, .. } = self;
        let own = query.metadata.namespace.as_deref().unwrap_or_default();
        let namespace = self.facts.namespaces.get(service.namespace.as_str());
        let missing = missing_labels(service);
        if !missing.is_empty() {
            return Err(Reason::MissingLabels(missing));
        }
        if !selection.namespaces.include(&service.namespace, namespace.map(|own| &own.labels)) {
            return Err(Reason::OtherNamespace);
        }
        if service.deleting {
            return Err(Reason::BeingDeleted);
        }
        if service.namespace == own {
            self.judge_own(service)?;
        }
        if !selection.labels.matches(&service.labels) {
            return Err(Reason::NotSelected);
        }
        if !selection.owns(service) {
            return Err(Reason::OtherOwner);
        }
        let allows =
            service.consent.allows(own) || namespace.is_some_and(|own_of| own_of.consent.allows(own));
        if service.namespace != own && self.facts.watched.rights.needs_consent && !allows {
            return Err(Reason::NoConsent { from: own.to_owned() });
        }
        Ok(())
    }

    // A querier that queries itself answers every query twice, and then again.
    fn judge_own(&self, service: &StoreApiService) -> Result<(), Reason> {
        let name = |query: &ThanosQuery| query.metadata.name.clone();
        let own = [name(self.query), self.root().and_then(name)];
        if owner_of(service).is_some_and(|owner| own.iter().flatten().any(|name| name == owner)) {
            return Err(Reason::Own);
        }
        let leads_to = |pods: &BTreeMap<String, String>| {
            service.pods.iter().all(|(label, value)| pods.get(label) == Some(value))
        };
        let leads_back = !service.pods.is_empty()
            && (leads_to(&self.pods) || self.root().is_some_and(|root| leads_to(&pods_of(root))));
        if leads_back { Err(Reason::LeadsBack) } else { Ok(()) }
    }

    /// The ThanosQuery that this one is a shard of. Others whose rules are asked have nothing to do with it.
    fn root(&self) -> Option<&ThanosQuery> {
        let name = root_of(self.query)?;
        self.facts.watched.root.as_deref().filter(|root| root.metadata.name.as_deref() == Some(name))
    }

    fn loop_with(&self, service: &StoreApiService) -> Option<String> {
        let owner = owner_of(service)?;
        let other = self.facts.watched.others.iter().find(|other| {
            other.metadata.name.as_deref() == Some(owner)
                && other.metadata.namespace.as_deref() == Some(&service.namespace)
        })?;
        // A shard answers through its root.
        let own = query_service(self.root().unwrap_or(self.query))?;
        let their_rules = Rules::of(other, self.facts).ok()?;
        their_rules.judge_by_metadata(&own).ok()?;
        Some(format!("{}/{owner}", service.namespace))
    }
}

/// The labels of the querier pods of `query`.
fn pods_of(query: &ThanosQuery) -> BTreeMap<String, String> {
    let names = Names::of(query).ok();
    names.map(|names| Workload::queriers(query, &names).selector()).unwrap_or_default()
}

fn missing_labels(service: &StoreApiService) -> Vec<&'static str> {
    [(labels::STORE_API, labels::TRUE), (labels::PART_OF, labels::THANOS)]
        .into_iter()
        .filter(|(label, value)| service.labels.get(*label).is_none_or(|own| own != value))
        .map(|(label, _)| label)
        .collect()
}

/// The ThanosQuery that `service` was made for, which is in the same namespace.
pub fn owner_of(service: &StoreApiService) -> Option<&str> {
    let is_made = service.labels.get(labels::MANAGED_BY).is_some_and(|by| by == labels::OPERATOR);
    service.labels.get(labels::OWNER).filter(|_| is_made).map(String::as_str)
}

/// The Service of the queriers of `query`, as others see it. It may not be there yet.
fn query_service(query: &ThanosQuery) -> Option<StoreApiService> {
    let names = Names::of(query).ok()?;
    let port = ServicePort {
        name: Some(pod::GRPC_PORT_NAME.to_owned()),
        port: i32::from(pod::GRPC_PORT),
        ..ServicePort::default()
    };
    let spec = ServiceSpec { ports: Some(vec![port]), ..ServiceSpec::default() };
    let metadata = Workload::queriers(query, &names).object_meta(&names.querier);
    Some(Service { metadata, spec: Some(spec), status: None }.into())
}
