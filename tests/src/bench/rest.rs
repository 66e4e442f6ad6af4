//! Rest: nothing happens, and nothing is written.

use std::{collections::BTreeMap, fmt::Debug, time::Duration};

use anyhow::Result;
use crds::ThanosQuery;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Service, ServiceAccount},
        policy::v1::PodDisruptionBudget,
        rbac::v1::{Role, RoleBinding},
    },
};
use kube::{Resource, ResourceExt as _, api::ListParams};
use serde::de::DeserializeOwned;
use tokio::time::sleep;

use super::{
    operator::{Installed, Writes},
    site::Site,
};

/// What was written while nothing happened.
#[derive(Debug)]
pub struct Rest {
    /// The operator's count when it began.
    pub before: Writes,
    /// By the operator's own count; of all namespaces.
    pub writes: Writes,
    /// Objects of this namespace whose version has changed, whoever wrote.
    pub changed: Vec<String>,
    /// Objects that were looked at.
    pub objects: usize,
}

/// What follows the last change: the answers of the agents, the status.
const CALM: Duration = Duration::from_secs(10);

// === impl Rest ===

impl Rest {
    /// Waits for `time` and compares.
    ///
    /// # Errors
    /// When objects or metrics cannot be read.
    pub async fn measure(site: &Site, operator: &Installed, time: Duration) -> Result<Self> {
        sleep(CALM).await;
        let (versions, before) = (versions(site).await?, operator.writes().await?);
        sleep(time).await;
        let writes = operator.writes().await?.since(&before);
        let later = self::versions(site).await?;
        let names = versions.keys().chain(later.keys().filter(|name| !versions.contains_key(*name)));
        let changed = names.filter(|name| versions.get(*name) != later.get(*name)).cloned().collect();
        Ok(Self { before, writes, changed, objects: versions.len() })
    }
}

/// The versions of everything that the operator owns or reads here.
async fn versions(site: &Site) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    add::<ThanosQuery>(site, &mut all).await?;
    add::<ConfigMap>(site, &mut all).await?;
    add::<Deployment>(site, &mut all).await?;
    add::<Service>(site, &mut all).await?;
    add::<ServiceAccount>(site, &mut all).await?;
    add::<Role>(site, &mut all).await?;
    add::<RoleBinding>(site, &mut all).await?;
    add::<PodDisruptionBudget>(site, &mut all).await?;
    Ok(all)
}

async fn add<K>(site: &Site, all: &mut BTreeMap<String, String>) -> Result<()>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    for object in site.api::<K>().list_metadata(&ListParams::default()).await? {
        let name = format!("{} {}", K::kind(&()), object.name_any());
        all.insert(name, object.resource_version().unwrap_or_default());
    }
    Ok(())
}
