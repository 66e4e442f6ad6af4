//! What a case is made from: a ThanosQuery and what its operator watches.

use std::{fs, path::Path, sync::Arc};

use anyhow::{Context as _, Result, bail};
use crds::{
    ThanosQuery,
    names::labels::{PART_OF, QUERY_API, STORE_API, THANOS, TRUE},
};
use jiff::Timestamp;
use k8s_openapi::api::{
    core::v1::{ConfigMap, Namespace, Service},
    discovery::v1::EndpointSlice,
};
use kube::CustomResourceExt as _;
use operator::{
    config::Config,
    discovery::{Discovery, Watched, discover, query_service},
    plan::{Known, Names, Plan, Running, Standing, plan, tree},
    watch::QueryService,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, from_value};

/// A ThanosQuery and what its operator watches.
#[derive(Clone, Debug)]
pub struct Input {
    query: ThanosQuery,
    watched: Watched,
    query_services: Vec<Arc<QueryService>>,
}

const MODES: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/serviceDiscovery/properties/mode/enum";

/// Every mode that the CRD knows.
pub fn modes() -> Vec<String> {
    let crd = serde_json::to_value(ThanosQuery::crd()).unwrap_or_default();
    let modes = crd.pointer(MODES).and_then(Value::as_array);
    modes.into_iter().flatten().filter_map(|mode| Some(mode.as_str()?.to_owned())).collect()
}

// === impl Input ===

impl Input {
    /// The `input.yaml` of a case.
    ///
    /// # Errors
    /// When it cannot be read, or holds something else.
    pub fn read(case: &Path) -> Result<Self> {
        let path = case.join("input.yaml");
        let text = fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    /// The same, from its text.
    ///
    /// # Errors
    /// When it holds something else.
    pub fn parse(text: &str) -> Result<Self> {
        let documents: Vec<Value> = serde_saphyr::from_multiple(text)?;
        let (mut watched, mut query_services, mut query) = (Watched::default(), Vec::new(), None);
        for document in documents {
            let kind = document["kind"].as_str().unwrap_or_default().to_owned();
            match kind.as_str() {
                "ThanosQuery" => query = Some(from_value(document)?),
                "Service" => {
                    let mut service: Service = from_value(document)?;
                    let labels = service.metadata.labels.get_or_insert_default();
                    if labels.contains_key(QUERY_API) {
                        query_services.push(Arc::new(service.into()));
                    } else {
                        // What is watched has these.
                        for (label, value) in [(STORE_API, TRUE), (PART_OF, THANOS)] {
                            labels.insert(label.to_owned(), value.to_owned());
                        }
                        watched.services.push(Arc::new(service.into()));
                    }
                }
                "EndpointSlice" => watched.slices.push(seen::<EndpointSlice, _>(document)?),
                "Namespace" => watched.namespaces.push(seen::<Namespace, _>(document)?),
                other => bail!("{other:?} is no kind that a case may have"),
            }
        }
        Ok(Self { query: query.context("no ThanosQuery")?, watched, query_services })
    }

    /// Whether the operator plans with `mode`: a tree of queriers has a file.
    pub fn can_be_in(&self, mode: &str) -> bool {
        self.query.spec.distributed.is_none() || mode != "Flags"
    }

    /// The same for another release of Thanos and another mode.
    ///
    /// # Errors
    /// When there is no such mode.
    pub fn with(&self, version: &str, mode: &str) -> Result<Self> {
        let mut input = self.clone();
        let spec = &mut input.query.spec;
        spec.service_discovery.mode = from_value(Value::from(mode))?;
        let frontend = spec.query_frontend.as_mut().map(|frontend| &mut frontend.common);
        for common in std::iter::once(&mut spec.common).chain(frontend) {
            common.version = Some(version.to_owned());
            common.base_image = None;
        }
        Ok(input)
    }

    /// What becomes of it.
    ///
    /// # Errors
    /// When the selector cannot be read, or there is no plan.
    pub fn plan(&self) -> Result<(Discovery, Plan)> {
        self.plan_after(None)
    }

    /// What becomes of it where there is this ConfigMap already.
    ///
    /// # Errors
    /// As [`Self::plan`].
    pub fn plan_after(&self, config_map: Option<&ConfigMap>) -> Result<(Discovery, Plan)> {
        let Self { query, watched, query_services } = self;
        let config = Config {
            agent_image: "sd-agent:test".into(),
            cluster_domain: "cluster.local".into(),
            default_rollouts: Default::default(),
            needs_consent: true,
        };
        let discovery = discover(query, watched)?;
        let query_service = query.spec.query_frontend.is_some().then(|| query_service(query, query_services));
        // A tree is shown as it begins.
        let tree = query.spec.distributed.is_some().then(|| {
            let (running, standing) = (Running::default(), Standing::default());
            tree(query, &Names::of(query)?, &running, &standing, Timestamp::UNIX_EPOCH)
                .map_err(anyhow::Error::from)
        });
        let tree = tree.transpose()?.unwrap_or_default();
        let discovery = if tree.is_over_shards() { Discovery::default() } else { discovery };
        let known = Known { config_map, generation: Some(41), query_service, tree, ..Known::default() };
        let plan = plan(query, &discovery, &known, &config, Timestamp::UNIX_EPOCH)?;
        Ok((discovery, plan))
    }
}

/// As a watch keeps it.
fn seen<T: DeserializeOwned, Kept: From<T>>(document: Value) -> Result<Arc<Kept>> {
    Ok(Arc::new(from_value::<T>(document)?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_of_the_crd_can_be_planned_with() {
        let modes = modes();
        assert!(modes.len() >= 2 && modes.contains(&"Flags".to_owned()), "{modes:?}");
        let query = "{apiVersion: monitoring.thanos.io/v1alpha1, kind: ThanosQuery, metadata: {name: global, namespace: demo}, spec: {}}";
        let input = Input::parse(query).expect("readable");
        for mode in modes {
            input.with("v0.42.4", &mode).expect("a mode").plan().expect("a plan");
        }
        assert!(input.with("v0.42.4", "None").is_err());
    }
}
