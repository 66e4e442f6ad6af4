//! What is counted, as `sd_agent_*`. Labels come from fixed sets only.

use std::{
    fmt,
    sync::{Arc, OnceLock, atomic::AtomicU64},
};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder},
    metrics::{
        MetricType, TypedMetric, counter::Counter, family::Family, gauge::Gauge, histogram::Histogram,
        info::Info,
    },
    registry::Registry,
};

type Label = [(&'static str, &'static str); 1];
type Seconds = Gauge<f64, AtomicU64>;

/// A gauge that is there only since something is known: 0 would claim what nobody has seen.
#[derive(Clone, Debug, Default)]
pub struct IfKnown(Arc<OnceLock<Gauge>>);

/// All series of the agent.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// 1 once a validated file is in place.
    pub started: Gauge,
    /// `generation` of the applied document.
    pub applied_generation: Gauge,
    /// When it was applied.
    pub applied_timestamp: Seconds,
    /// Endpoints in the file.
    pub endpoints: Gauge,
    /// Endpoints of the document that the file lacks: this agent is too old for them.
    pub too_new: Gauge,
    /// Whether a source can be read.
    pub source_up: Family<Label, Gauge>,
    /// Whether a source has a document.
    pub source_present: Family<Label, Gauge>,
    /// Generation that a source showed last.
    pub source_generation: Family<Label, Gauge>,
    /// 1 for the source of the applied document.
    pub active_source: Family<Label, Gauge>,
    /// When the watch last said anything.
    pub watch_last_activity: Seconds,
    /// Watches that ended early.
    pub watch_restarts: Family<Label, Counter>,
    /// From the verdict to the rename.
    pub apply_duration: Histogram,
    /// From the operator's write to the rename.
    pub propagation: Histogram,
    /// Documents that were not taken.
    pub rejected: Family<Label, Counter>,
    /// Steps of writing that failed.
    pub apply_errors: Family<Label, Counter>,
    /// Confirmed steps back.
    pub regressions: Counter,
    /// Two contents under one generation.
    pub conflicts: Counter,
    /// The mounted folder was deleted under the container.
    pub mount_wiped: Gauge,
    /// The mount is only polled.
    pub inotify_degraded: Gauge,
    /// Repairs of a file that someone altered.
    pub self_heal: Counter,
    /// Look-ups that fail for Thanos, as told at `/status`.
    pub dns_failing: IfKnown,
    /// Whether Thanos tells which stores it has.
    pub thanos_up: IfKnown,
    /// Stores that Thanos lists.
    pub thanos_stores: Family<Label, Gauge>,
    /// Plain addresses of the file that Thanos does not list.
    pub thanos_missing: IfKnown,
}

// === impl IfKnown ===

impl IfKnown {
    /// What is known now.
    pub fn set(&self, value: i64) {
        self.0.get_or_init(Gauge::default).set(value);
    }
}

impl EncodeMetric for IfKnown {
    fn encode(&self, encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        self.0.get().map_or(Ok(()), |gauge| gauge.encode(encoder))
    }

    fn metric_type(&self) -> MetricType {
        Gauge::<i64>::TYPE
    }

    fn is_empty(&self) -> bool {
        self.0.get().is_none()
    }
}

// === impl Metrics ===

impl Metrics {
    /// Makes all series known to `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 100.0];
        let metrics = Self {
            started: Gauge::default(),
            applied_generation: Gauge::default(),
            applied_timestamp: Seconds::default(),
            endpoints: Gauge::default(),
            too_new: Gauge::default(),
            source_up: Family::default(),
            source_present: Family::default(),
            source_generation: Family::default(),
            active_source: Family::default(),
            watch_last_activity: Seconds::default(),
            watch_restarts: Family::default(),
            apply_duration: Histogram::new(buckets),
            propagation: Histogram::new(buckets),
            rejected: Family::default(),
            apply_errors: Family::default(),
            regressions: Counter::default(),
            conflicts: Counter::default(),
            mount_wiped: Gauge::default(),
            inotify_degraded: Gauge::default(),
            self_heal: Counter::default(),
            dns_failing: IfKnown::default(),
            thanos_up: IfKnown::default(),
            thanos_stores: Family::default(),
            thanos_missing: IfKnown::default(),
        };
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Version of the agent", build);
        registry.register("started", "1 once a validated file is in place", metrics.started.clone());
        let generation = metrics.applied_generation.clone();
        registry.register("applied_generation", "Generation of the document in the file", generation);
        let applied = metrics.applied_timestamp.clone();
        registry.register("applied_timestamp_seconds", "When the file was last put in place", applied);
        registry.register("endpoints", "Endpoints in the file", metrics.endpoints.clone());
        let too_new = metrics.too_new.clone();
        registry.register("too_new", "Endpoints left out because this agent is too old for them", too_new);
        registry.register("source_up", "Whether the source can be read", metrics.source_up.clone());
        let present = metrics.source_present.clone();
        registry.register("source_present", "Whether the source has a document", present);
        let generation = metrics.source_generation.clone();
        registry.register("source_generation", "Generation that the source showed last", generation);
        let active = metrics.active_source.clone();
        registry.register("active_source", "1 for the source of the applied document", active);
        let activity = metrics.watch_last_activity.clone();
        registry.register("watch_last_activity_timestamp_seconds", "When the watch last spoke", activity);
        let restarts = metrics.watch_restarts.clone();
        registry.register("watch_restarts", "Failures of the API source", restarts);
        let duration = metrics.apply_duration.clone();
        registry.register("apply_duration_seconds", "From the verdict to the file in place", duration);
        let propagation = metrics.propagation.clone();
        registry.register(
            "propagation_seconds",
            "From the operator's write to the file in place",
            propagation,
        );
        registry.register("rejected", "Documents that were not taken", metrics.rejected.clone());
        registry.register("apply_errors", "Failed steps of writing", metrics.apply_errors.clone());
        registry.register(
            "regressions",
            "Confirmed steps to a lower generation",
            metrics.regressions.clone(),
        );
        let conflicts = metrics.conflicts.clone();
        registry.register("conflicts", "Different contents under one generation", conflicts);
        registry.register(
            "mount_wiped",
            "1 when the mounted folder was deleted",
            metrics.mount_wiped.clone(),
        );
        let degraded = metrics.inotify_degraded.clone();
        registry.register("inotify_degraded", "1 while the mount is only polled", degraded);
        registry.register("self_heal", "Repairs of a file that someone altered", metrics.self_heal.clone());
        let failing = metrics.dns_failing.clone();
        registry.register("dns_failing", "Addresses that Thanos cannot look up, at most 5 are told", failing);
        let up = metrics.thanos_up.clone();
        registry.register("thanos_up", "Whether Thanos tells which stores it has", up);
        registry.register("thanos_stores", "Stores that Thanos lists", metrics.thanos_stores.clone());
        let missing = metrics.thanos_missing.clone();
        registry.register("thanos_missing", "Plain addresses of the file that Thanos does not list", missing);
        metrics
    }
}

/// The one label of a family.
pub fn label(name: &'static str, value: &'static str) -> Label {
    [(name, value)]
}
