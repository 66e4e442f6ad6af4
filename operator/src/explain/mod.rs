//! `thanos-operator explain`: why a store is an endpoint of a ThanosQuery, or why it is not.
//!
//! It reads what the operator reads, on demand and with the rights of whoever asks, and judges by the same code. It
//! never writes.
//!
//! ```text
//!  reading, asking (client) ──► Found ──► explaining, pods (pure) ──► Explanation ──► printing (pure): table or JSON
//! ```

mod asking;
mod escape;
#[deny(clippy::disallowed_types, clippy::disallowed_methods)]
mod explaining;
mod explanation;
mod found;
#[deny(clippy::disallowed_types, clippy::disallowed_methods)]
mod in_use;
#[deny(clippy::disallowed_types, clippy::disallowed_methods)]
mod look;
#[deny(clippy::disallowed_types, clippy::disallowed_methods)]
mod pods;
#[deny(clippy::disallowed_types, clippy::disallowed_methods)]
mod printing;
mod reading;
#[deny(clippy::disallowed_types, clippy::disallowed_methods)]
mod table;

use jiff::Timestamp;
use kube::Client;

pub use escape::escaped;
pub use explaining::{domain_in_use, explained};
pub use explanation::{
    AdditionalExplained, Carrier, ConditionExplained, DocumentInUse, EndpointExplained, Explanation,
    PodExplained, PodsExplained, Remark, ServiceExplained, Source, StillThere, StoreListed, Unread, Verdict,
};
pub use found::{Answer, Found, Listed, PodFound};
pub use printing::{json, table};
pub use reading::{ExplainError, client, read};

use crate::{
    arguments::{ExplainArguments, Output},
    config::{Config, DefaultRollouts},
};

/// Exit code when something needs a look.
pub const NEEDS_A_LOOK: u8 = 2;

/// An answer.
#[derive(Clone, Debug)]
pub struct Told {
    /// Safe for a terminal, with a newline at the end.
    pub text: String,
    /// Whether not all is well.
    pub needs_a_look: bool,
}

/// Reads with `client` what `arguments` ask for and explains it.
///
/// # Errors
/// When there is no such ThanosQuery, or it cannot be read. What else cannot be read is part of the answer.
pub async fn explain(
    client: &Client,
    arguments: &ExplainArguments,
    now: Timestamp,
) -> Result<Told, ExplainError> {
    let namespace = arguments.namespace.as_deref().unwrap_or_else(|| client.default_namespace());
    let found = read(client, namespace, &arguments.query, &arguments.discovery).await?;
    let config = Config {
        // Which agent there would be changes nothing about endpoints.
        agent_image: String::new(),
        cluster_domain: arguments.discovery.domain(domain_in_use(&found)),
        default_rollouts: DefaultRollouts::default(),
        needs_consent: !arguments.discovery.discovery_without_consent,
    };
    let explanation = explained(&found, &config, now);
    let text = match arguments.output {
        Output::Table => table(&explanation, now),
        Output::Json => json(&explanation),
    };
    Ok(Told { text, needs_a_look: !explanation.look.is_empty() })
}
