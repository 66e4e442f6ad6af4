//! Pure: which conditions a person is told by an Event. Status remembers what was told, so a restart tells nothing again.

use crds::{ThanosQueryStatus, names::conditions};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::events::Happened;

/// What a person is told by an Event when `new` follows `old`: each warning once, when it comes or changes.
///
/// That look-ups fail only when it comes: its text counts pods, which find out one after the other.
pub fn news(old: &ThanosQueryStatus, new: &ThanosQueryStatus) -> Vec<Happened> {
    const TOLD: &[&str] = &[
        conditions::INVALID,
        conditions::FOREIGN_OBJECT,
        conditions::APPLY_FAILED,
        conditions::FOREIGN_WRITER,
        conditions::ROLLOUT_HELD,
        conditions::DEFAULTS_OUTDATED,
        conditions::SERVICE_MONITOR_MISSING,
        conditions::QUERY_SERVICE_MISSING,
        conditions::NAMESPACES_OUT_OF_REACH,
        conditions::SINGLE_ADDRESS,
        conditions::REMOVAL_HELD,
        conditions::DNS_FAILING,
    ];
    let is_told = |own: &&Condition| {
        TOLD.contains(&own.type_.as_str())
            && !old.conditions.iter().any(|told| {
                told.type_ == own.type_
                    && (told.message == own.message || told.type_ == conditions::DNS_FAILING)
            })
    };
    let happened = |own: &Condition| Happened::Condition {
        type_: own.type_.clone(),
        message: own.message.clone(),
        is_warning: own.type_ != conditions::DEFAULTS_OUTDATED,
    };
    new.conditions.iter().filter(is_told).map(happened).collect()
}
