//! Every flag of `thanos query` that is ever set: here and nowhere else.
//!
//! The flags and their order are upstream's (reference "Peers and user needs", section 2.6), but for those that
//! hold the endpoints.

use crds::{ThanosQuery, names::pod};
use sd_agent::{EndpointType, Feature, ThanosVersion};

use super::{
    Delivery,
    additional_args::{Arg, merge},
    endpoints::Flag,
};

/// The arguments of the Thanos container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThanosArgs {
    /// As the container gets them.
    pub args: Vec<String>,
    /// Arguments of the user that are not used, each with the reason.
    pub refused: Vec<String>,
}

/// How often Thanos reads its file again, from 0.38; before, it watches the folder.
const FILE_RELOAD_INTERVAL: &str = "1s";

/// Flags that say where the endpoints are. A second one would take endpoints away, or name them twice.
pub const RESERVED: [&str; 3] = ["--endpoint.sd-config-file", "--endpoint.sd-config", "--store.sd-files"];

/// Flags that Thanos takes more than once; what the user gives is added to ours.
pub const REPEATABLE: [&str; 16] = [
    "--endpoint",
    "--endpoint-group",
    "--endpoint-strict",
    "--endpoint-group-strict",
    "--enable-feature",
    "--grpc-server-tls-ciphers",
    "--grpc-server-tls-curves",
    "--query.conn-metric.label",
    "--query.partition-label",
    "--query.replica-label",
    "--query.telemetry.request-duration-seconds-quantiles",
    "--query.telemetry.request-samples-quantiles",
    "--query.telemetry.request-series-seconds-quantiles",
    "--selector-label",
    "--inject-test-addresses",
    "--label",
];

/// The flag of an endpoint type.
pub fn endpoint_flag(endpoint_type: EndpointType) -> &'static str {
    match endpoint_type {
        EndpointType::Regular => "--endpoint",
        EndpointType::Strict => "--endpoint-strict",
        EndpointType::Group => "--endpoint-group",
        EndpointType::GroupStrict => "--endpoint-group-strict",
    }
}

/// All arguments for `query`, with `flags` as its endpoint flags.
pub fn thanos_args(
    query: &ThanosQuery,
    version: ThanosVersion,
    delivery: Delivery,
    flags: &[Flag],
) -> ThanosArgs {
    let spec = &query.spec;
    let mut args = vec![
        Arg::value("--log.level", spec.common.log_level.unwrap_or_default().as_str()),
        Arg::value("--log.format", "logfmt"),
        Arg::value("--grpc-address", format!("0.0.0.0:{}", pod::GRPC_PORT)),
        Arg::value("--http-address", format!("0.0.0.0:{}", pod::HTTP_PORT)),
        Arg::value("--query.timeout", "15m"),
        Arg::value("--query.lookback-delta", "5m"),
        Arg::switch("--query.auto-downsampling"),
        Arg::value("--query.promql-engine", "thanos"),
        Arg::value("--query.max-concurrent", "20"),
        Arg::value("--grpc.proxy-strategy", "eager"),
    ];
    args.extend(spec.replica_labels.iter().map(|label| Arg::value("--query.replica-label", label)));
    args.extend(
        flags.iter().map(|flag| Arg::value(endpoint_flag(flag.endpoint_type), flag.address.to_string())),
    );
    let interval = &spec.service_discovery.refresh_interval;
    let has_config_file = version.supports(Feature::EndpointSdConfigFile);
    match (delivery, has_config_file) {
        (Delivery::Flags, _) => {}
        (_, true) => {
            args.push(Arg::value("--endpoint.sd-config-file", pod::FILE));
            args.push(Arg::value("--endpoint.sd-config-reload-interval", FILE_RELOAD_INTERVAL));
        }
        (_, false) => args.push(Arg::value("--store.sd-files", pod::FILE)),
    }
    if has_config_file {
        // From 0.38 this is also the period of the endpoint update.
        args.push(Arg::value("--endpoint.info-timeout", interval));
    }
    args.push(Arg::value("--store.sd-dns-interval", interval));

    let (args, refused) = merge(args, spec.common.additional_args.as_deref().unwrap_or_default());
    let args = std::iter::once("query".to_owned()).chain(args.iter().map(ToString::to_string)).collect();
    ThanosArgs { args, refused }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(spec: &str, version: &str, delivery: Delivery, flags: &[Flag]) -> ThanosArgs {
        let yaml = format!(
            "{{apiVersion: monitoring.thanos.io/v1alpha1, kind: ThanosQuery, metadata: {{name: global}}, spec: {{{spec}}}}}"
        );
        let query: ThanosQuery = serde_saphyr::from_str(&yaml).expect("a ThanosQuery");
        thanos_args(&query, version.parse().expect("a version"), delivery, flags)
    }

    const AGENT: Delivery = Delivery::Agent { api: true };

    #[test]
    fn from_0_38_the_config_file_is_polled_every_second() {
        let args = args("", "v0.42.4", AGENT, &[]).args;
        assert_eq!(
            args,
            [
                "query",
                "--log.level=info",
                "--log.format=logfmt",
                "--grpc-address=0.0.0.0:10901",
                "--http-address=0.0.0.0:9090",
                "--query.timeout=15m",
                "--query.lookback-delta=5m",
                "--query.auto-downsampling",
                "--query.promql-engine=thanos",
                "--query.max-concurrent=20",
                "--grpc.proxy-strategy=eager",
                "--query.replica-label=replica",
                "--endpoint.sd-config-file=/sd/endpoints.yaml",
                "--endpoint.sd-config-reload-interval=1s",
                "--endpoint.info-timeout=5s",
                "--store.sd-dns-interval=5s",
            ]
        );
    }

    #[test]
    fn below_0_38_and_for_an_unknown_release_the_old_file_flag_is_used() {
        for version in ["v0.35.1", "v0.37.2", "unknown"] {
            let args = args("serviceDiscovery: {refreshInterval: 2s}", version, AGENT, &[]).args;
            assert_eq!(
                args[args.len() - 2..],
                ["--store.sd-files=/sd/endpoints.yaml", "--store.sd-dns-interval=2s"]
            );
        }
    }

    #[test]
    fn in_flags_mode_there_is_no_file() {
        let flags = [
            Flag { endpoint_type: EndpointType::Regular, address: "a.b:80".parse().expect("address") },
            Flag { endpoint_type: EndpointType::Strict, address: "c.d:80".parse().expect("address") },
        ];
        let args = args("", "v0.42.4", Delivery::Flags, &flags).args.join(" ");
        assert!(args.contains("--endpoint=a.b:80 --endpoint-strict=c.d:80"), "{args}");
        assert!(!args.contains("/sd/"), "{args}");
    }

    #[test]
    fn flags_that_hold_the_endpoints_are_refused_by_name() {
        let spec = "additionalArgs: [--store.sd-files=/mine.yaml, --query.timeout=1m]";
        let ThanosArgs { args, refused } = args(spec, "v0.42.4", AGENT, &[]);
        assert!(args.contains(&"--query.timeout=1m".to_owned()));
        assert!(!args.iter().any(|arg| arg.contains("mine")));
        assert!(refused[0].contains("--store.sd-files"), "{refused:?}");
    }
}
