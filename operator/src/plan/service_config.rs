//! How gRPC balances a group and tries again: its service config, read as strictly as gRPC reads it. One that it cannot
//! read makes Thanos drop the group at every tick, with nothing but a line in its log.
//!
//! Facts: `service_config.go` and `internal/serviceconfig` of grpc-go v1.81, which Thanos 0.42 has.

use std::collections::BTreeSet;

use sd_agent::{Document, ThanosVersion, in_file::SERVICE_CONFIG_LIMIT, version::Release};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The policies that are in every Thanos.
const POLICIES: [&str; 2] = ["round_robin", "pick_first"];

const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// Seconds in the longest duration that gRPC reads.
const LONGEST_SECONDS: i64 = 315_576_000_000;

/// What gRPC reads. Other keys it skips, and whoever wrote them would never know.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ServiceConfig {
    // Of these gRPC takes the first that it knows, and settings of others are none of our business.
    #[serde(default = "balanced")]
    load_balancing_config: Vec<Map<String, Value>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    method_config: Vec<MethodConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_throttling: Option<RetryThrottling>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    health_check_config: Option<HealthCheckConfig>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MethodConfig {
    name: Vec<MethodName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wait_for_ready: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout: Option<Seconds>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_request_message_bytes: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_response_message_bytes: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_policy: Option<RetryPolicy>,
}

#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(deny_unknown_fields)]
struct MethodName {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    service: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    method: String,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RetryPolicy {
    max_attempts: i64,
    initial_backoff: Seconds,
    max_backoff: Seconds,
    backoff_multiplier: f64,
    retryable_status_codes: Vec<String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RetryThrottling {
    max_tokens: f64,
    token_ratio: f64,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct HealthCheckConfig {
    #[serde(default)]
    service_name: String,
}

/// A duration such as `0.5s`, kept as it is written.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
struct Seconds {
    text: String,
    is_positive: bool,
}

/// The service config in `text`, as short as it can be; or what is wrong with it, and what to do.
///
/// One that says nothing of balancing gets what Thanos has without a service config: gRPC itself would take the first
/// address and stay with it.
pub fn service_config(text: &str) -> Result<String, String> {
    // Our reader would also take a list of the values.
    if !text.trim_start().starts_with('{') {
        return Err("gRPC cannot read this service config: it is no JSON object; write it like {\"methodConfig\": []}".to_owned());
    }
    let config: ServiceConfig = serde_json::from_str(text)
        .map_err(|error| format!("gRPC cannot read this service config: {error}; correct it"))?;
    config.check().map_err(|problem| format!("gRPC cannot use this service config: {problem}"))?;
    let compact = serde_json::to_string(&config).unwrap_or_default();
    match compact.len() {
        1..=SERVICE_CONFIG_LIMIT => Ok(compact),
        length => Err(format!(
            "the service config has {length} bytes, and {SERVICE_CONFIG_LIMIT} is the most; shorten it"
        )),
    }
}

/// What 0.40 and 0.41 do with service configs that differ: the options of one group may become those of another.
pub fn mixed_up(document: &Document, version: ThanosVersion) -> Option<String> {
    let is_affected = matches!(version, ThanosVersion::Known(Release { major: 0, minor: 40 | 41, .. }));
    let configs =
        document.endpoints().iter().filter_map(|endpoint| endpoint.in_file().service_config.as_deref());
    let different = configs.collect::<BTreeSet<_>>().len();
    (is_affected && different > 1).then(|| {
        format!(
            "groups have {different} different service configs, and Thanos {version} may use one of them for all; give \
             them the same, or set spec.version to v0.42 or newer"
        )
    })
}

fn balanced() -> Vec<Map<String, Value>> {
    let round_robin = json!({"round_robin": {}});
    round_robin.as_object().cloned().into_iter().collect()
}

// === impl ServiceConfig ===

impl ServiceConfig {
    fn check(&self) -> Result<(), String> {
        let Self { load_balancing_config, method_config, retry_throttling, health_check_config: _ } = self;
        if load_balancing_config.iter().any(|one| one.len() != 1) {
            return Err(
                "each item of loadBalancingConfig has one policy; write [{\"round_robin\": {}}]".to_owned()
            );
        }
        let mut policies = load_balancing_config.iter().flatten();
        match policies.find(|(name, _)| POLICIES.contains(&name.as_str())) {
            Some((_, Value::Object(_))) => {}
            Some((name, _)) => return Err(format!("loadBalancingConfig: write {{\"{name}\": {{}}}}")),
            None => {
                return Err(format!(
                    "loadBalancingConfig has no policy that Thanos has: {}",
                    POLICIES.join(", ")
                ));
            }
        }
        let mut names = BTreeSet::new();
        for (index, method) in method_config.iter().enumerate() {
            method.check(&mut names).map_err(|problem| format!("methodConfig[{index}]: {problem}"))?;
        }
        match retry_throttling {
            Some(RetryThrottling { max_tokens, .. }) if !(*max_tokens > 0.0 && *max_tokens <= 1000.0) => {
                Err("retryThrottling.maxTokens has to be more than 0 and at most 1000".to_owned())
            }
            Some(RetryThrottling { token_ratio, .. }) if token_ratio.is_nan() || *token_ratio <= 0.0 => {
                Err("retryThrottling.tokenRatio has to be more than 0".to_owned())
            }
            _ => Ok(()),
        }
    }
}

// === impl MethodConfig ===

impl MethodConfig {
    fn check<'a>(&'a self, names: &mut BTreeSet<&'a MethodName>) -> Result<(), String> {
        let Self {
            name,
            wait_for_ready: _,
            timeout,
            max_request_message_bytes,
            max_response_message_bytes,
            retry_policy,
        } = self;
        if name.is_empty() {
            return Err("name is empty, so it is about nothing; write [{}] for every method".to_owned());
        }
        for one in name {
            if one.service.is_empty() && !one.method.is_empty() {
                return Err(format!("name: method {:?} needs its service, such as thanos.Store", one.method));
            }
            if !names.insert(one) {
                return Err(format!("name: {one} is there twice"));
            }
        }
        if timeout.as_ref().is_some_and(|timeout| !timeout.is_positive) {
            return Err("timeout has to be more than 0s: no call would ever succeed".to_owned());
        }
        let sizes = [max_request_message_bytes, max_response_message_bytes];
        if sizes.into_iter().flatten().any(|bytes| *bytes < 0) {
            return Err("a number of bytes cannot be less than 0".to_owned());
        }
        retry_policy.as_ref().map_or(Ok(()), RetryPolicy::check)
    }
}

impl std::fmt::Display for MethodName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.service.as_str(), self.method.as_str()) {
            ("", _) => f.write_str("{}"),
            (service, "") => f.write_str(service),
            (service, method) => write!(f, "{service}/{method}"),
        }
    }
}

// === impl RetryPolicy ===

impl RetryPolicy {
    fn check(&self) -> Result<(), String> {
        let Self { max_attempts, initial_backoff, max_backoff, backoff_multiplier, retryable_status_codes } =
            self;
        if *max_attempts < 2 {
            return Err("retryPolicy.maxAttempts has to be at least 2".to_owned());
        }
        if !initial_backoff.is_positive || !max_backoff.is_positive {
            return Err("retryPolicy.initialBackoff and maxBackoff have to be more than 0s".to_owned());
        }
        if backoff_multiplier.is_nan() || *backoff_multiplier <= 0.0 {
            return Err("retryPolicy.backoffMultiplier has to be more than 0".to_owned());
        }
        if retryable_status_codes.is_empty() {
            return Err(
                "retryPolicy.retryableStatusCodes has to name at least one, such as UNAVAILABLE".to_owned()
            );
        }
        match retryable_status_codes.iter().find(|code| !CODES.contains(&code.as_str())) {
            Some(code) => {
                Err(format!("retryPolicy.retryableStatusCodes: {code:?} is none; write it like UNAVAILABLE"))
            }
            None => Ok(()),
        }
    }
}

// === impl Seconds ===

impl TryFrom<String> for Seconds {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no duration; write seconds, such as 0.5s");
        let number = text.strip_suffix('s').ok_or_else(wrong)?;
        let digits = number.strip_prefix('-').unwrap_or(number);
        let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let is_empty = whole.is_empty() && part.is_empty();
        if is_empty || part.len() > 9 || !is_number(whole) || !is_number(part) {
            return Err(wrong());
        }
        let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| wrong())? };
        if whole > LONGEST_SECONDS {
            return Err(wrong());
        }
        let is_positive =
            digits.len() == number.len() && (whole > 0 || part.bytes().any(|byte| byte != b'0'));
        Ok(Self { text, is_positive })
    }
}

impl From<Seconds> for String {
    fn from(seconds: Seconds) -> Self {
        seconds.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = r#"{
        "loadBalancingConfig": [{"later_policy": {"a": 1}}, {"round_robin": {}}],
        "methodConfig": [
            {"name": [{"service": "thanos.Store"}, {"service": "thanos.Rules", "method": "Rules"}], "waitForReady": true,
             "timeout": "30s", "maxRequestMessageBytes": 4096, "maxResponseMessageBytes": 1,
             "retryPolicy": {"maxAttempts": 3, "initialBackoff": "0.05s", "maxBackoff": "1s", "backoffMultiplier": 1.5,
                             "retryableStatusCodes": ["UNAVAILABLE"]}},
            {"name": [{}]}],
        "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1},
        "healthCheckConfig": {"serviceName": ""}
    }"#;

    #[test]
    fn what_grpc_reads_is_written_compact_and_reads_back_the_same() {
        let compact = service_config(ALL).expect("valid");
        assert!(!compact.contains([' ', '\n']) && compact.contains(r#""timeout":"30s""#), "{compact}");
        let value = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
        let mut expected = value(ALL);
        // Numbers are the same in another spelling.
        expected["retryThrottling"]["maxTokens"] = json!(10.0);
        assert_eq!(value(&compact), expected);
        assert_eq!(service_config(&compact).as_ref(), Ok(&compact));
    }

    #[test]
    fn different_configs_are_told_of_the_releases_that_mix_them_up() {
        let group = |name: &str, config: &str| {
            let config = serde_json::to_string(config).expect("JSON");
            format!(
                r#"{{"file":"{name}:1","type":"Group","flag":"{name}:1","inFile":{{"typed":true,"serviceConfig":{config}}}}}"#
            )
        };
        let told = |configs: [&str; 2], version: &str| {
            let text = format!("{{\"endpoints\":[{},{}]}}", group("a", configs[0]), group("b", configs[1]));
            let document = serde_json::from_str(&text).expect("a document");
            mixed_up(&document, version.parse().expect("a version")).is_some()
        };
        let different = ["{}", r#"{"a":1}"#];
        assert_eq!(
            ["v0.39.2", "v0.40.1", "v0.41.0", "v0.42.4"].map(|version| told(different, version)),
            [false, true, true, false]
        );
        assert!(!told(["{}", "{}"], "v0.41.0"));
    }

    #[test]
    fn a_config_that_says_nothing_of_balancing_balances_as_thanos_does() {
        assert_eq!(service_config("{}").as_deref(), Ok(r#"{"loadBalancingConfig":[{"round_robin":{}}]}"#));
    }

    #[test]
    fn what_grpc_refuses_or_skips_is_told_with_the_place() {
        for (text, told) in [
            ("", "cannot read"),
            ("[]", "cannot read"),
            ("{\"loadBalancingPolicy\": \"round_robin\"}", "loadBalancingPolicy"),
            ("{\"loadBalancingConfig\": []}", "no policy that Thanos has"),
            ("{\"loadBalancingConfig\": [{\"weighted\": {}}]}", "no policy that Thanos has"),
            ("{\"loadBalancingConfig\": [{\"round_robin\": {}, \"pick_first\": {}}]}", "one policy"),
            ("{\"loadBalancingConfig\": [{\"round_robin\": 7}]}", "write {"),
            ("{\"methodConfig\": [{\"timeout\": \"1s\"}]}", "missing field `name`"),
            ("{\"methodConfig\": [{\"name\": []}]}", "methodConfig[0]: name is empty"),
            ("{\"methodConfig\": [{\"name\": [{\"method\": \"A\"}]}]}", "needs its service"),
            (
                "{\"methodConfig\": [{\"name\": [{}]}, {\"name\": [{}]}]}",
                "methodConfig[1]: name: {} is there twice",
            ),
            ("{\"methodConfig\": [{\"name\": [{}], \"timeout\": \"1m\"}]}", "no duration"),
            ("{\"methodConfig\": [{\"name\": [{}], \"timeout\": \"0s\"}]}", "more than 0s"),
            ("{\"methodConfig\": [{\"name\": [{}], \"timeout\": \".s\"}]}", "no duration"),
            ("{\"methodConfig\": [{\"name\": [{}], \"timeuot\": \"1s\"}]}", "timeuot"),
            ("{\"retryThrottling\": {\"maxTokens\": 1001, \"tokenRatio\": 1}}", "at most 1000"),
            ("{\"retryThrottling\": {\"maxTokens\": 1, \"tokenRatio\": 0}}", "tokenRatio"),
        ] {
            let problem = service_config(text).expect_err(text);
            assert!(problem.contains(told), "{text}: {problem}");
        }
        for (field, value, told) in [
            ("maxAttempts", "1", "at least 2"),
            ("initialBackoff", "\"-1s\"", "more than 0s"),
            ("maxBackoff", "\"0.000s\"", "more than 0s"),
            ("backoffMultiplier", "0", "backoffMultiplier"),
            ("retryableStatusCodes", "[]", "at least one"),
            ("retryableStatusCodes", "[\"unavailable\"]", "is none"),
        ] {
            let mut config: Value = serde_json::from_str(ALL).expect("JSON");
            config["methodConfig"][0]["retryPolicy"][field] = serde_json::from_str(value).expect("JSON");
            let problem = service_config(&config.to_string()).expect_err(field);
            assert!(problem.contains(told), "{field}: {problem}");
        }
    }
}
