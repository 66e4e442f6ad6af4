//! The query frontend: its container, and which queriers it asks.

use crds::{ThanosQuery, names::pod, query_frontend::QueryFrontendSpec, server::Scheme};
use k8s_openapi::api::core::v1::{Container, KeyToPath, SecretVolumeSource, Volume, VolumeMount};
use sd_agent::{Feature, ThanosVersion};

use super::{
    Image, Layer, Names, Workload, agent,
    listen::Listen,
    querier::{HEALTHY, Probes, READY, container_port, thanos_container},
};
use crate::{config::Config, discovery::QueryServiceChoice};

/// The workload of `frontend`.
pub fn workload<'a>(
    query: &'a ThanosQuery,
    names: &'a Names,
    frontend: &'a QueryFrontendSpec,
) -> Workload<'a> {
    Workload { query, names, layer: Layer::Frontend, common: &frontend.common }
}

/// Where the frontend sends its queries: one address that spreads connections over the queriers. A headless name
/// would tie each frontend to the first address that DNS gives.
pub fn downstream_url(
    choice: &QueryServiceChoice,
    names: &Names,
    queriers: &Listen,
    prefix: &str,
    scheme: Scheme,
    config: &Config,
) -> String {
    let (name, port, prefix) = match choice {
        QueryServiceChoice::Own => (names.balanced.as_str(), queriers.http.port, prefix),
        // Below which path another object's queriers serve is theirs to know.
        QueryServiceChoice::Other { name, http_port } => (name.as_str(), *http_port, ""),
    };
    let prefix = prefix.trim_end_matches('/');
    let scheme = scheme.as_str();
    format!("{scheme}://{name}.{}.svc.{}:{port}{prefix}", names.namespace, config.cluster_domain)
}

/// The queriers as the container asks them.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Where they are.
    pub url: &'a str,
    /// Whether they may want a password, which the frontend has not.
    pub may_refuse: bool,
    /// Files for TLS, of its own server and to ask them.
    pub mounts: &'a [VolumeMount],
}

/// The container.
pub fn container(
    workload: &Workload<'_>,
    frontend: &QueryFrontendSpec,
    image: &Image,
    args: &[String],
    listen: &Listen,
    asked: &Asked<'_>,
) -> Container {
    let probes = Probes::of(listen);
    let ready = if asks_in_vain(image.version, asked) { HEALTHY } else { READY };
    let cache = cache_volume(frontend).map(|_| agent::mount(pod::CACHE_VOLUME, pod::CACHE_FOLDER, true));
    let mounts: Vec<VolumeMount> = cache.into_iter().chain(asked.mounts.iter().cloned()).collect();
    Container {
        name: pod::FRONTEND_CONTAINER.to_owned(),
        args: Some(args.to_vec()),
        ports: Some(vec![container_port(pod::HTTP_PORT_NAME, listen.http.port)]),
        // Alive is enough to start: ready it is only when the queriers are, and they may take long.
        startup_probe: probes.probe(HEALTHY, |probe| {
            probe.period_seconds = Some(1);
            probe.failure_threshold = Some(120);
        }),
        readiness_probe: probes.probe(ready, |probe| {
            probe.period_seconds = Some(2);
            probe.failure_threshold = Some(10);
        }),
        liveness_probe: probes.probe(HEALTHY, |probe| {
            probe.period_seconds = Some(30);
            probe.failure_threshold = Some(4);
        }),
        volume_mounts: (!mounts.is_empty()).then_some(mounts),
        ..thanos_container(workload, image)
    }
}

/// The volume with the cache configuration, when it comes from a Secret.
pub fn cache_volume(frontend: &QueryFrontendSpec) -> Option<Volume> {
    let external = frontend.query_range_response_cache_config.as_ref()?.external_cache_config.as_ref()?;
    let item = KeyToPath { key: external.key.clone(), path: pod::CACHE_FILE.to_owned(), mode: None };
    Some(Volume {
        name: pod::CACHE_VOLUME.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(external.name.clone()),
            items: Some(vec![item]),
            optional: external.optional,
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    })
}

// From 0.39 a frontend is ready when the queriers say so, at the root of the URL joined with the URL's own path, where
// they never do (reference "How `thanos query` discovers endpoints", section 7.1); nor do they without a password.
fn asks_in_vain(version: ThanosVersion, asked: &Asked<'_>) -> bool {
    let path = asked.url.split_once("://").and_then(|(_, rest)| rest.split_once('/'));
    let asks = version == ThanosVersion::Unknown || version.supports(Feature::FrontendAsksDownstream);
    asks && (asked.may_refuse || path.is_some_and(|(_, path)| !path.is_empty()))
}
