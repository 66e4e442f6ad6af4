//! Faults of single releases of Thanos that a newer one has not, of those that matter here.
//!
//! Facts: reference "How `thanos query` discovers endpoints", sections 5.2, 5.4 and 6.

use sd_agent::{ThanosVersion, version::Release};

use super::Layer;

/// The release that cannot tell how many connections it has, when two stores announce the same.
pub const METRICS_FAIL: ThanosVersion = ThanosVersion::new(0, 41, 0);

/// What is wrong with `version` as it runs in `layer`, and the release to use.
pub fn flaw(layer: Layer, version: ThanosVersion) -> Option<String> {
    let ThanosVersion::Known(Release { major: 0, minor, patch }) = version else { return None };
    let what = match (layer, minor, patch) {
        (Layer::Querier, 35, _) => {
            "closes its connections to stores before its last queries are answered, so queries fail whenever a pod is \
             replaced; use v0.36.0 or newer"
        }
        (Layer::Querier, 41, 0) => {
            "answers /metrics with an error when two stores announce the same labels; until it is replaced the metric \
             of connections also has the label ip_port, which avoids that. Use v0.42.0 or newer"
        }
        (Layer::Frontend, 39, 0) => "never gives back memory in its query frontend; use v0.39.1 or newer",
        _ => return None,
    };
    Some(format!("{}.version: Thanos {version} {what}", layer.field()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_told_of_its_release_and_workload_only() {
        let flawed = |layer, text: &str| flaw(layer, text.parse().expect("a version"));
        for (layer, version, field, fix) in [
            (Layer::Querier, "v0.35.0", "spec.version", "v0.36.0"),
            (Layer::Querier, "v0.35.1", "spec.version", "v0.36.0"),
            (Layer::Querier, "v0.41.0", "spec.version", "v0.42.0"),
            (Layer::Frontend, "v0.39.0", "spec.queryFrontend.version", "v0.39.1"),
        ] {
            let told = flawed(layer, version).expect("a fault");
            assert!(told.starts_with(&format!("{field}: Thanos {version} ")) && told.contains(fix), "{told}");
            let other = if layer == Layer::Querier { Layer::Frontend } else { Layer::Querier };
            assert_eq!(flawed(other, version), None, "{version}");
        }
        for version in ["v0.36.0", "v0.39.1", "v0.40.1", "v0.42.4", "unknown"] {
            assert_eq!((flawed(Layer::Querier, version), flawed(Layer::Frontend, version)), (None, None));
        }
    }
}
