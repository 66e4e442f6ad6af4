//! The arguments of a query frontend. Flags and order are upstream's (reference "Peers and user needs", section 2.6);
//! it sets no log flags, here they come first.

use crds::{names::pod, query_frontend::QueryFrontendSpec, tenancy::Tenancy};
use sd_agent::ThanosVersion;

use super::{
    additional_args::merge,
    arg::Arg,
    cache,
    downstream::Downstream,
    duration::Nanos,
    serving::Serving,
    tenancy,
    thanos_args::{Program, ThanosArgs},
};

const FIELD: &str = "spec.queryFrontend.additionalArgs";
const CACHE: &str = "spec.queryFrontend.queryRangeResponseCacheConfig";

/// The queriers that a frontend asks.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Where they are.
    pub url: &'a str,
    /// How they are asked.
    pub downstream: Downstream<'a>,
    /// How they learn who asks, when they are of the same object.
    pub tenancy: Option<&'a Tenancy>,
}

/// Arguments from the fields, and what cannot be one.
#[derive(Default)]
struct Fields {
    args: Vec<Arg>,
    refused: Vec<String>,
    remarks: Vec<String>,
}

/// Which durations make sense.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sense {
    /// Below 0 too.
    Any,
    /// From 0 up.
    NotNegative,
    /// Above 0.
    Positive,
}

/// All arguments for the query frontend that asks `asked`.
pub fn frontend_args(frontend: &QueryFrontendSpec, version: ThanosVersion, asked: &Asked<'_>) -> ThanosArgs {
    let mut fields = Fields::default();
    fields.fixed(frontend, asked);
    fields.durations(frontend);
    fields.retries(frontend);
    fields.args.push(Arg::value("--cache-compression-type", "snappy"));
    fields.cache(frontend);
    if frontend.compress_responses {
        let arg = Arg::switch("--query-frontend.compress-responses");
        fields.args.push(arg.of("spec.queryFrontend.compressResponses"));
    }
    if let Some(shards) = frontend.vertical_shards {
        let arg = Arg::value("--query-frontend.vertical-shards", shards.to_string());
        fields.args.push(arg.of("spec.queryFrontend.verticalShards"));
    }
    fields.args.extend(Serving::of_frontend(frontend).args(version, &mut fields.refused));
    fields.args.extend(tenancy::frontend_args(frontend.tenancy.as_ref(), asked.tenancy));
    let Fields { args, mut refused, mut remarks } = fields;
    let given = frontend.common.additional_args.as_deref().unwrap_or_default();
    let merged = merge(Program::QueryFrontend, version, args, FIELD, given).into_args(Program::QueryFrontend);
    refused.extend(merged.refused);
    remarks.extend(merged.remarks);
    ThanosArgs { args: merged.args, refused, remarks }
}

// === impl Fields ===

impl Fields {
    fn fixed(&mut self, frontend: &QueryFrontendSpec, asked: &Asked<'_>) {
        let common = &frontend.common;
        let Asked { url, downstream, tenancy: _ } = asked;
        let tripper = Arg::value("--query-frontend.downstream-tripper-config", downstream.tripper_config());
        let level = Arg::value("--log.level", common.log_level.unwrap_or_default().as_str());
        self.args.extend([
            if common.log_level.is_some() { level.of("spec.queryFrontend.logLevel") } else { level },
            Arg::value("--log.format", common.log_format.as_str()).of("spec.queryFrontend.logFormat"),
            Arg::value("--http-address", format!("0.0.0.0:{}", pod::HTTP_PORT)),
            Arg::value("--query-frontend.downstream-url", *url),
            if downstream.tls.is_some() { tripper.of("spec.queryFrontend.downstreamTls") } else { tripper },
        ]);
    }

    fn durations(&mut self, frontend: &QueryFrontendSpec) {
        let QueryFrontendSpec {
            log_queries_longer_than: log,
            query_range_split_interval: range,
            labels_split_interval: labels,
            labels_default_time_range: time_range,
            ..
        } = frontend;
        // Whether an interval may be 0 depends on the cache; that is settled when all arguments are known.
        self.duration(
            "--query-frontend.log-queries-longer-than",
            log,
            "spec.queryFrontend.logQueriesLongerThan",
            Sense::Any,
        );
        self.duration(
            "--query-range.split-interval",
            range,
            "spec.queryFrontend.queryRangeSplitInterval",
            Sense::NotNegative,
        );
        self.duration(
            "--labels.split-interval",
            labels,
            "spec.queryFrontend.labelsSplitInterval",
            Sense::NotNegative,
        );
        self.duration(
            "--labels.default-time-range",
            time_range,
            "spec.queryFrontend.labelsDefaultTimeRange",
            Sense::Positive,
        );
    }

    fn duration(&mut self, name: &str, given: &Option<String>, field: &'static str, sense: Sense) {
        let Some(text) = given.as_deref().filter(|text| !text.is_empty()) else { return };
        let why = match Nanos::field(text) {
            Ok(nanos) if nanos < Nanos::ZERO && sense != Sense::Any => "must not be negative".to_owned(),
            Ok(Nanos::ZERO) if sense == Sense::Positive => {
                "must be more than 0; write a duration such as 24h".to_owned()
            }
            Ok(nanos) => {
                self.args.push(Arg::value(name, nanos.to_string()).of(field));
                return;
            }
            Err(error) => error.to_string(),
        };
        self.refused.push(format!("{field}: {text:?} {why}; it is left out"));
    }

    fn retries(&mut self, frontend: &QueryFrontendSpec) {
        let (range, labels) = (frontend.query_range_max_retries, frontend.labels_max_retries);
        self.args.extend([
            Arg::value("--query-range.max-retries-per-request", range.to_string())
                .of("spec.queryFrontend.queryRangeMaxRetries"),
            Arg::value("--labels.max-retries-per-request", labels.to_string())
                .of("spec.queryFrontend.labelsMaxRetries"),
        ]);
    }

    fn cache(&mut self, frontend: &QueryFrontendSpec) {
        let Some(config) = &frontend.query_range_response_cache_config else { return };
        let (suffix, value) = match (&config.external_cache_config, &config.in_memory_cache_config) {
            (None, None) => return,
            (Some(_), in_memory) => {
                if in_memory.is_some() {
                    self.remarks.push(format!(
                        "{CACHE}.inMemoryCacheConfig: has no effect, since externalCacheConfig wins; remove one of them"
                    ));
                }
                ("-file", format!("{}/{}", pod::CACHE_FOLDER, pod::CACHE_FILE))
            }
            (None, Some(in_memory)) => match cache::in_memory(in_memory) {
                Ok(text) => {
                    if in_memory.max_item_size.is_some() {
                        self.remarks.push(format!(
                            "{CACHE}.inMemoryCacheConfig.maxItemSize: has no effect, since no release of Thanos limits the answers in its cache; remove it"
                        ));
                    }
                    ("", text)
                }
                Err((field, why)) => {
                    self.refused
                        .push(format!("{CACHE}.inMemoryCacheConfig.{field}: {why}; nothing is cached"));
                    return;
                }
            },
        };
        for cache in ["--query-range.response-cache-config", "--labels.response-cache-config"] {
            self.args.push(Arg::value(&format!("{cache}{suffix}"), value.clone()).of(CACHE));
        }
    }
}

#[cfg(test)]
mod tests {
    use crds::server::Scheme;

    use super::*;

    fn of(fields: &str) -> ThanosArgs {
        let frontend: QueryFrontendSpec =
            serde_saphyr::from_str(&format!("{{{fields}}}")).expect("a query frontend");
        let asked = Asked {
            url: "http://thanos-query-global.ns.svc:9090",
            downstream: Downstream { scheme: Scheme::Http, tls: None },
            tenancy: None,
        };
        frontend_args(&frontend, ThanosVersion::new(0, 42, 4), &asked)
    }

    const IN_MEMORY: &str = "queryRangeResponseCacheConfig: {inMemoryCacheConfig: {maxSize: 512Mi}}";

    #[test]
    fn without_fields_the_arguments_are_upstreams_but_for_how_queries_are_spread() {
        let ThanosArgs { args, refused, remarks } = of("");
        assert_eq!(
            args,
            [
                "query-frontend",
                "--log.level=info",
                "--log.format=logfmt",
                "--http-address=0.0.0.0:9090",
                "--query-frontend.downstream-url=http://thanos-query-global.ns.svc:9090",
                "--query-frontend.downstream-tripper-config={max_idle_conns_per_host: -1}",
                "--query-range.max-retries-per-request=5",
                "--labels.max-retries-per-request=5",
                "--cache-compression-type=snappy",
                "--query-frontend.compress-responses",
            ]
        );
        assert!(refused.is_empty() && remarks.is_empty(), "{refused:?} {remarks:?}");
    }

    #[test]
    fn the_log_is_written_as_the_fields_say() {
        let args = of("logLevel: warn, logFormat: json, compressResponses: false").args;
        assert_eq!(args[1..3], ["--log.level=warn", "--log.format=json"]);
        assert!(!args.contains(&"--query-frontend.compress-responses".to_owned()));
    }

    #[test]
    fn durations_become_what_every_release_reads() {
        let args = of(
            "logQueriesLongerThan: 10s, queryRangeSplitInterval: 1d12h, labelsSplitInterval: 1w, labelsDefaultTimeRange: 500ms",
        )
        .args;
        assert_eq!(
            args[6..10],
            [
                "--query-frontend.log-queries-longer-than=10s",
                "--query-range.split-interval=36h",
                "--labels.split-interval=168h",
                "--labels.default-time-range=500ms",
            ]
        );
    }

    #[test]
    fn a_negative_limit_logs_every_query() {
        assert!(
            of("logQueriesLongerThan: -1s")
                .args
                .contains(&"--query-frontend.log-queries-longer-than=-1s".to_owned())
        );
    }

    #[test]
    fn server_tenancy_and_shards_are_flags() {
        let args = of(
            "verticalShards: 4, server: {httpTls: {certificate: {secretName: a}}}, tenancy: {header: X-Team}",
        )
        .args;
        assert_eq!(
            args[10..],
            [
                "--query-frontend.vertical-shards=4",
                "--http.config=/etc/thanos/http-tls/tls.yaml",
                "--query-frontend.tenant-header=X-Team",
            ]
        );
        let ThanosArgs { args, refused, .. } =
            of(&format!("{IN_MEMORY}, tenancy: {{certificateField: CommonName}}"));
        assert!(args.contains(&"--query-frontend.tenant-certificate-field=commonName".to_owned()));
        assert!(!args.iter().any(|arg| arg.contains("response-cache-config")), "{args:?}");
        assert!(refused[0].starts_with("spec.queryFrontend.queryRangeResponseCacheConfig: "), "{refused:?}");
    }

    #[test]
    fn durations_that_mean_nothing_are_left_out_and_told_with_their_field() {
        for (fields, field) in [
            ("labelsDefaultTimeRange: '0'", "labelsDefaultTimeRange"),
            ("labelsDefaultTimeRange: -1h", "labelsDefaultTimeRange"),
            ("labelsSplitInterval: -1h", "labelsSplitInterval"),
            ("queryRangeSplitInterval: '2026-01-01T00:00:00Z'", "queryRangeSplitInterval"),
            ("logQueriesLongerThan: '-'", "logQueriesLongerThan"),
        ] {
            let ThanosArgs { args, refused, .. } = of(fields);
            assert_eq!(args.len(), of("").args.len(), "{fields}");
            assert!(refused[0].starts_with(&format!("spec.queryFrontend.{field}: ")), "{refused:?}");
        }
    }

    #[test]
    fn an_empty_field_is_as_none() {
        assert_eq!(of("labelsSplitInterval: ''"), of(""));
    }

    #[test]
    fn a_cache_in_memory_serves_ranges_and_labels() {
        let args = of(IN_MEMORY).args;
        let text = "type: IN-MEMORY
config:
  max_size: 536870912B";
        assert_eq!(
            args[9..11],
            [
                format!("--query-range.response-cache-config={text}"),
                format!("--labels.response-cache-config={text}")
            ]
        );
    }

    #[test]
    fn an_item_size_is_passed_on_with_a_remark() {
        let ThanosArgs { args, remarks, .. } =
            of("queryRangeResponseCacheConfig: {inMemoryCacheConfig: {maxSize: 1Gi, maxItemSize: 1Mi}}");
        assert!(
            args[9].ends_with(
                "
  max_item_size: 1048576B"
            ),
            "{args:?}"
        );
        assert!(remarks[0].contains("maxItemSize: has no effect"), "{remarks:?}");
    }

    #[test]
    fn a_cache_without_a_size_is_left_out() {
        let ThanosArgs { args, refused, .. } = of("queryRangeResponseCacheConfig: {inMemoryCacheConfig: {}}");
        assert_eq!(args, of("").args);
        assert!(refused[0].contains("inMemoryCacheConfig.maxSize: "), "{refused:?}");
    }

    #[test]
    fn the_external_cache_wins_and_is_a_mounted_file() {
        let ThanosArgs { args, remarks, .. } = of(
            "queryRangeResponseCacheConfig: {externalCacheConfig: {name: s, key: k}, inMemoryCacheConfig: {maxSize: 1Mi}}",
        );
        assert_eq!(
            args[9..11],
            [
                "--query-range.response-cache-config-file=/etc/thanos/cache/config.yaml",
                "--labels.response-cache-config-file=/etc/thanos/cache/config.yaml",
            ]
        );
        assert!(remarks[0].contains("externalCacheConfig wins"), "{remarks:?}");
    }

    #[test]
    fn with_a_cache_a_split_interval_of_0_is_left_out() {
        let intervals = "queryRangeSplitInterval: '0', labelsSplitInterval: 0s";
        assert!(of(intervals).refused.is_empty());
        let ThanosArgs { args, refused, .. } = of(&format!("{intervals}, {IN_MEMORY}"));
        assert!(!args.iter().any(|arg| arg.contains("split-interval")), "{args:?}");
        assert!(refused[0].starts_with("spec.queryFrontend.queryRangeSplitInterval: "), "{refused:?}");
        assert!(refused[1].starts_with("spec.queryFrontend.labelsSplitInterval: "), "{refused:?}");
    }

    #[test]
    fn the_other_half_of_a_cache_replaces_ours() {
        let ThanosArgs { args, remarks, .. } =
            of(&format!("{IN_MEMORY}, additionalArgs: [--labels.response-cache-config-file=/a]"));
        assert_eq!(args[10], "--labels.response-cache-config-file=/a");
        assert!(
            remarks[0].starts_with("spec.queryFrontend.additionalArgs: --labels.response"),
            "{remarks:?}"
        );
    }
}
