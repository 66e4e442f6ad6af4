//! Under which conditions it was measured.

use anyhow::Result;
use crds::{ThanosQuery, names::labels};
use k8s_openapi::api::core::v1::Service;
use kube::{Api, Client, api::ListParams};

use super::{
    Options,
    observer::RESOLUTION,
    site::{STORES, VARIANTS},
};
use crate::cluster::Cluster;

/// What the operator remembers.
pub struct Population {
    services: usize,
    queries: usize,
}

// === impl Population ===

impl Population {
    /// Counts.
    ///
    /// # Errors
    /// When objects cannot be listed.
    pub async fn count(client: &Client) -> Result<Self> {
        let selector = format!("{}={}", labels::STORE_API, labels::TRUE);
        let services: Api<Service> = Api::all(client.clone());
        let services = services.list_metadata(&ListParams::default().labels(&selector)).await?;
        let queries: Api<ThanosQuery> = Api::all(client.clone());
        let queries = queries.list_metadata(&ListParams::default()).await?;
        Ok(Self { services: services.items.len(), queries: queries.items.len() })
    }

    /// For a row.
    pub fn text(&self) -> String {
        format!("{} Services and {} ThanosQuery objects", self.services, self.queries)
    }

    /// What others in the cluster do to the result.
    pub fn doubt(&self) -> Option<String> {
        let others = self.queries.checked_sub(VARIANTS.len()).filter(|&others| others > 0)?;
        Some(format!("{others} other ThanosQuery objects are in the cluster: writes count theirs, too"))
    }
}

/// Sentences for below the table.
pub fn conditions(cluster: &Cluster, options: &Options) -> Vec<String> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let place = match cluster.is_own() {
        true => format!(
            "{cores} cores, on which everything ran: the control plane, {} queriers of {} ThanosQuery objects, \
             {STORES} stores, the operator and what measures.",
            VARIANTS.len() * 2,
            VARIANTS.len(),
        ),
        false => "An existing cluster; its clocks and its network are in the numbers.".to_owned(),
    };
    let agents = options.agent_program.as_ref().filter(|_| options.agents > 0).map(|_| {
        "Agents with these two documents are processes of the machine, with the rights of those in pods; the documents \
         are packed as the operator packs them. Memory is what is left after 10 changes, the file is measured at every \
         agent for each of 10 changes, from the request to the API server on."
            .to_owned()
    });
    [
        place,
        format!(
            "{changes} ClusterIP and {changes} headless Services were added and removed, at least {:.1} s apart. A \
             sample is one change in all pods of one ThanosQuery: the file rows have one for each form and \
             ThanosQuery.",
            options.step.as_secs_f64(),
            changes = options.changes,
        ),
        format!(
            "Percentiles are nearest-rank. \"Queried\" is read each {} ms and told by the answer, so it is late \
             rather than early.",
            RESOLUTION.as_millis(),
        ),
    ]
    .into_iter()
    .chain(agents)
    .collect()
}
