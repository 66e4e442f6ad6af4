//! The ServiceMonitor of either workload.

use std::collections::BTreeMap;

use crds::{common_fields::ServiceMonitorOptions, names::pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{
    Workload,
    service_monitor::{NamespaceSelector, ScrapedPort, ServiceMonitor, ServiceMonitorSpec},
};

/// What is said about the ServiceMonitor.
#[derive(Clone, Debug)]
pub enum Monitor {
    /// There shall be one.
    Wanted(Box<ServiceMonitor>),
    /// There shall be none.
    Unwanted,
    /// Nothing: one that this operator made goes, one of upstream's stays, for its users rely on it.
    Unsaid,
}

/// The path of Thanos' metrics, at the root whatever the route prefix is.
const METRICS: &str = "/metrics";

/// What `workload` says.
pub fn monitor(workload: &Workload<'_>) -> Monitor {
    match &workload.common.service_monitor {
        None => Monitor::Unsaid,
        Some(options) if !options.enabled => Monitor::Unwanted,
        Some(options) => Monitor::Wanted(Box::new(service_monitor(workload, options))),
    }
}

fn service_monitor(workload: &Workload<'_>, options: &ServiceMonitorOptions) -> ServiceMonitor {
    let ServiceMonitorOptions { enabled: _, labels, interval, scrape_timeout } = options;
    let mut metadata = workload.object_meta(workload.name());
    let all = metadata.labels.get_or_insert_with(BTreeMap::new);
    all.extend(labels.clone().unwrap_or_default());
    all.extend(workload.selector());
    ServiceMonitor {
        metadata,
        spec: ServiceMonitorSpec {
            selector: LabelSelector { match_labels: Some(workload.selector()), ..LabelSelector::default() },
            namespace_selector: Some(NamespaceSelector {
                match_names: Some(vec![workload.names.namespace.clone()]),
            }),
            endpoints: vec![ScrapedPort {
                port: Some(pod::HTTP_PORT_NAME.to_owned()),
                path: Some(METRICS.to_owned()),
                interval: interval.clone(),
                scrape_timeout: scrape_timeout.clone(),
            }],
        },
    }
}
