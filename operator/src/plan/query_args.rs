//! The arguments of a querier. Flags and order are upstream's (reference "Peers and user needs", section 2.6), but for
//! those that hold the endpoints.

use crds::{ThanosQuery, names::pod};
use sd_agent::{Feature, ThanosVersion};

use super::{
    Delivery, Flag, Mode, Said,
    additional_args::merge,
    arg::Arg,
    connections::{keep_tls_1_2, without_effect},
    flaws::METRICS_FAIL,
    serving::Serving,
    tenancy::querier_args,
    thanos_args::{Program, ThanosArgs, endpoint_flag, tree_flags},
};

/// How often Thanos reads its file again, from 0.38; before, it watches the folder.
const FILE_RELOAD_INTERVAL: &str = "1s";

const FIELD: &str = "spec.additionalArgs";

/// All arguments for the queriers of `query`, with `flags` as its endpoint flags.
pub fn query_args(query: &ThanosQuery, said: &Said<'_>, flags: &[Flag], mode: &Mode) -> ThanosArgs {
    let (version, delivery) = (said.version, said.delivery);
    let mut args = fixed(query);
    args.extend(web(query));
    let strategy = query.spec.grpc_proxy_strategy.as_str();
    args.push(Arg::value("--grpc.proxy-strategy", strategy).of("spec.grpcProxyStrategy"));
    args.extend(telemetry(query));
    if query.spec.web_config.as_ref().is_some_and(|web| web.disable_cors) {
        args.push(Arg::switch("--web.disable-cors").of("spec.webConfig.disableCORS"));
    }
    let labels = query.spec.replica_labels.iter();
    args.extend(labels.map(|label| Arg::value("--query.replica-label", label).of("spec.replicaLabels")));
    let mut refused = Vec::new();
    args.extend(Serving::of_queriers(&query.spec).args(version, &mut refused));
    args.extend(querier_args(query.spec.tenancy.as_ref()));
    args.extend(connection_labels(version));
    args.extend(mode_args(mode, version));
    args.extend(
        flags.iter().map(|flag| Arg::value(endpoint_flag(flag.endpoint_type), flag.address.to_string())),
    );
    args.extend(file(query, version, delivery));
    args.extend(said.connections.flags(version, delivery));
    let given = query.spec.common.additional_args.as_deref().unwrap_or_default();
    let mut merged = merge(Program::Query, version, args, FIELD, given);
    merged.remarks.extend(without_effect(said, merged.args.iter().map(|arg| arg.name().to_owned())));
    let more = keep_tls_1_2(version, |name| merged.args.iter().any(|arg| arg.name() == name));
    merged.args.extend(more);
    let merged = merged.into_args(Program::Query);
    refused.extend(merged.refused);
    ThanosArgs { refused, ..merged }
}

/// The arguments that make queriers send parts of queries to shards.
pub fn mode_args(mode: &Mode, version: ThanosVersion) -> Vec<Arg> {
    let Mode::Distributed(labels) = mode else { return vec![] };
    let flags = tree_flags::of_a_root(labels, version);
    let arg = |(name, value): (&str, Option<String>)| match value {
        Some(value) => Arg::value(name, value),
        None => Arg::switch(name),
    };
    flags.into_iter().map(|flag| arg(flag).of("spec.distributed")).collect()
}

fn fixed(query: &ThanosQuery) -> Vec<Arg> {
    let common = &query.spec.common;
    let level = Arg::value("--log.level", common.log_level.unwrap_or_default().as_str());
    vec![
        if common.log_level.is_some() { level.of("spec.logLevel") } else { level },
        Arg::value("--log.format", common.log_format.as_str()).of("spec.logFormat"),
        Arg::value("--grpc-address", format!("0.0.0.0:{}", pod::GRPC_PORT)),
        Arg::value("--http-address", format!("0.0.0.0:{}", pod::HTTP_PORT)),
        Arg::value("--query.timeout", "15m"),
        Arg::value("--query.lookback-delta", "5m"),
        Arg::switch("--query.auto-downsampling"),
        Arg::value("--query.promql-engine", "thanos"),
        Arg::value("--query.max-concurrent", "20"),
    ]
}

fn web(query: &ThanosQuery) -> Vec<Arg> {
    let Some(web) = &query.spec.web_config else { return vec![] };
    [
        ("--web.route-prefix", &web.route_prefix, "spec.webConfig.routePrefix"),
        ("--web.external-prefix", &web.external_prefix, "spec.webConfig.externalPrefix"),
        ("--web.prefix-header", &web.prefix_header, "spec.webConfig.prefixHeader"),
    ]
    .into_iter()
    .filter_map(|(name, value, field)| {
        let value = value.as_deref().filter(|value| !value.is_empty())?;
        Some(Arg::value(name, value).of(field))
    })
    .collect()
}

fn telemetry(query: &ThanosQuery) -> Vec<Arg> {
    let Some(quantiles) = &query.spec.telemetry_quantiles else { return vec![] };
    [
        (
            "--query.telemetry.request-duration-seconds-quantiles",
            &quantiles.duration,
            "spec.telemetryQuantiles.duration",
        ),
        (
            "--query.telemetry.request-samples-quantiles",
            &quantiles.samples,
            "spec.telemetryQuantiles.samples",
        ),
        (
            "--query.telemetry.request-series-seconds-quantiles",
            &quantiles.series,
            "spec.telemetryQuantiles.series",
        ),
    ]
    .into_iter()
    .flat_map(|(name, values, field)| {
        values.iter().flatten().map(move |value| Arg::value(name, value).of(field))
    })
    .collect()
}

/// With the address among the labels no two connections are the same.
fn connection_labels(version: ThanosVersion) -> Vec<Arg> {
    if version != METRICS_FAIL {
        return vec![];
    }
    let labels = ["external_labels", "store_type", "ip_port"];
    labels.map(|label| Arg::value("--query.conn-metric.label", label)).into()
}

fn file(query: &ThanosQuery, version: ThanosVersion, delivery: Delivery) -> Vec<Arg> {
    let interval = &query.spec.service_discovery.refresh_interval;
    let interval = |name| Arg::value(name, interval).of("spec.serviceDiscovery.refreshInterval");
    let has_config_file = version.supports(Feature::EndpointSdConfigFile);
    let mut args = match (delivery, has_config_file) {
        (Delivery::Flags, _) => vec![],
        (_, true) => vec![
            Arg::value("--endpoint.sd-config-file", pod::FILE),
            Arg::value("--endpoint.sd-config-reload-interval", FILE_RELOAD_INTERVAL),
        ],
        (_, false) => vec![Arg::value("--store.sd-files", pod::FILE)],
    };
    if has_config_file {
        // From 0.38 this is also the period of the endpoint update.
        args.push(interval("--endpoint.info-timeout"));
    }
    args.push(interval("--store.sd-dns-interval"));
    args
}

#[cfg(test)]
mod tests {
    use sd_agent::EndpointType;

    use super::*;
    use crate::plan::Connections;

    fn args(spec: &str, version: &str, delivery: Delivery, flags: &[Flag]) -> ThanosArgs {
        let yaml = format!(
            "{{apiVersion: monitoring.thanos.io/v1alpha1, kind: ThanosQuery, metadata: {{name: global}}, spec: {{{spec}}}}}"
        );
        let query: ThanosQuery = serde_saphyr::from_str(&yaml).expect("a ThanosQuery");
        let connections = Connections::of(&query).expect("valid");
        let version = version.parse().expect("a version");
        let said = Said { connections: &connections, version, delivery, types_in_file: false };
        query_args(&query, &said, flags, &Mode::Local)
    }

    fn of(spec: &str) -> ThanosArgs {
        args(spec, "v0.42.4", AGENT, &[])
    }

    const AGENT: Delivery = Delivery::Agent { api: true };

    #[test]
    fn from_0_38_the_config_file_is_polled_every_second() {
        let ThanosArgs { args, refused, remarks } = of("");
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
        assert!(refused.is_empty() && remarks.is_empty(), "{refused:?} {remarks:?}");
    }

    #[test]
    fn every_field_stands_where_upstream_has_it() {
        let args = of("logLevel: debug, logFormat: json, grpcProxyStrategy: lazy, replicaLabels: [a, b], \
             webConfig: {routePrefix: /r, externalPrefix: /e, prefixHeader: X-P, disableCORS: true}, \
             telemetryQuantiles: {duration: ['0.5', '1'], samples: ['10'], series: ['20']}")
        .args;
        assert_eq!(args[1..3], ["--log.level=debug", "--log.format=json"]);
        assert_eq!(
            args[10..21],
            [
                "--web.route-prefix=/r",
                "--web.external-prefix=/e",
                "--web.prefix-header=X-P",
                "--grpc.proxy-strategy=lazy",
                "--query.telemetry.request-duration-seconds-quantiles=0.5",
                "--query.telemetry.request-duration-seconds-quantiles=1",
                "--query.telemetry.request-samples-quantiles=10",
                "--query.telemetry.request-series-seconds-quantiles=20",
                "--web.disable-cors",
                "--query.replica-label=a",
                "--query.replica-label=b",
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
        let ThanosArgs { args, refused, .. } =
            of("additionalArgs: [--store.sd-files=/mine.yaml, --query.timeout=1m]");
        assert!(args.contains(&"--query.timeout=1m".to_owned()));
        assert!(!args.iter().any(|arg| arg.contains("mine")));
        assert!(
            refused[0].starts_with("spec.additionalArgs: --store.sd-files=/mine.yaml: it says where"),
            "{refused:?}"
        );
    }

    #[test]
    fn a_quantile_that_is_no_number_is_left_out_and_told_with_its_field() {
        let ThanosArgs { args, refused, .. } = of("telemetryQuantiles: {samples: ['10', many]}");
        assert!(args.contains(&"--query.telemetry.request-samples-quantiles=10".to_owned()));
        assert!(!args.iter().any(|arg| arg.contains("many")));
        assert!(refused[0].starts_with("spec.telemetryQuantiles.samples: "), "{refused:?}");
    }

    #[test]
    fn quantiles_that_do_not_ascend_are_sorted() {
        let ThanosArgs { args, remarks, .. } = of("telemetryQuantiles: {duration: ['5', '0.5', '5.0']}");
        let quantiles: Vec<&str> =
            args.iter().filter_map(|arg| arg.split_once("-quantiles=")).map(|(_, it)| it).collect();
        assert_eq!(quantiles, ["0.5", "5"]);
        assert!(remarks[0].starts_with("spec.telemetryQuantiles.duration: "), "{remarks:?}");
    }

    #[test]
    fn an_external_prefix_that_is_a_url_needs_a_route_prefix() {
        let ThanosArgs { args, refused, .. } = of("webConfig: {externalPrefix: 'https://a.example/b'}");
        assert!(!args.iter().any(|arg| arg.starts_with("--web.")), "{args:?}");
        assert!(refused[0].starts_with("spec.webConfig.externalPrefix: "), "{refused:?}");
        let with_route = of("webConfig: {externalPrefix: 'https://a.example/b', routePrefix: /}");
        assert!(with_route.refused.is_empty(), "{:?}", with_route.refused);
    }

    #[test]
    fn server_and_tenancy_are_flags_and_a_flag_of_the_user_replaces_theirs() {
        let spec = "server: {grpcTls: {certificate: {secretName: a}}, httpTls: {certificate: {secretName: a}}}, \
                    tenancy: {enforce: true, header: X-Team}";
        let args = of(spec).args;
        assert_eq!(
            args[12..17],
            [
                "--grpc-server-tls-cert=/etc/thanos/grpc-tls/tls.crt",
                "--grpc-server-tls-key=/etc/thanos/grpc-tls/tls.key",
                "--http.config=/etc/thanos/http-tls/tls.yaml",
                "--query.enforce-tenancy",
                "--query.tenant-header=X-Team",
            ]
        );
        let ThanosArgs { args, remarks, .. } =
            of(&format!("{spec}, additionalArgs: [--http.config=/mine.yaml, --query.tenant-header=X-Own]"));
        assert!(
            args.contains(&"--http.config=/mine.yaml".to_owned())
                && args[16] == "--query.tenant-header=X-Own"
        );
        assert_eq!(
            remarks,
            [
                "spec.additionalArgs: --http.config=/mine.yaml: replaces --http.config=/etc/thanos/http-tls/tls.yaml of spec.server.httpTls",
                "spec.additionalArgs: --query.tenant-header=X-Own: replaces --query.tenant-header=X-Team of spec.tenancy.header",
            ]
        );
    }

    #[test]
    fn a_version_of_tls_that_a_release_cannot_choose_is_refused_with_its_field() {
        let spec = "server: {grpcTls: {certificate: {secretName: a}, minVersion: TLS12}}";
        let ThanosArgs { args, refused, .. } = args(spec, "v0.36.1", AGENT, &[]);
        assert!(!args.iter().any(|arg| arg.contains("min-version")), "{args:?}");
        assert!(
            refused[0].starts_with("spec.server.grpcTls.minVersion: ") && refused[0].contains("from v0.37"),
            "{refused:?}"
        );
    }

    #[test]
    fn only_0_41_0_counts_its_connections_by_address() {
        let labels = |version: &str| -> Vec<String> {
            let args = args("", version, AGENT, &[]).args;
            args.iter()
                .filter_map(|arg| arg.strip_prefix("--query.conn-metric.label="))
                .map(str::to_owned)
                .collect()
        };
        assert_eq!(labels("v0.41.0"), ["external_labels", "store_type", "ip_port"]);
        for version in ["v0.40.1", "v0.42.0", "unknown"] {
            assert!(labels(version).is_empty(), "{version}");
        }
    }

    #[test]
    fn a_flag_that_replaces_a_field_names_it() {
        let ThanosArgs { args, remarks, .. } = of("logFormat: json, additionalArgs: [--log.format=logfmt]");
        assert_eq!(args[2], "--log.format=logfmt");
        assert_eq!(
            remarks,
            ["spec.additionalArgs: --log.format=logfmt: replaces --log.format=json of spec.logFormat"]
        );
    }
}
