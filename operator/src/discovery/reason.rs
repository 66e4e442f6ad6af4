//! Why a Service does not count, and what to do about it.

use crds::names::{annotations, labels};

/// Why a Service does not count, or not as it seems.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// It lacks labels that every StoreAPI Service needs.
    MissingLabels(Vec<&'static str>),
    /// It is in a namespace that is not looked at.
    OtherNamespace,
    /// It is being deleted.
    BeingDeleted,
    /// It is the ThanosQuery's own.
    Own,
    /// Its pods are the ThanosQuery's own queriers.
    LeadsBack,
    /// `customStoreLabelSelector` leaves it out.
    NotSelected,
    /// `ownerSelector` leaves it out.
    OtherOwner,
    /// It is in another namespace, and neither it nor its namespace allows that.
    NoConsent {
        /// The namespace of the ThanosQuery.
        from: String,
    },
    /// Its queriers query this ThanosQuery.
    QueryLoop {
        /// The other ThanosQuery, as `namespace/name`.
        other: String,
    },
    /// No TCP port of the name that is looked for.
    NoPort {
        /// The name that was looked for.
        wanted: String,
        /// The TCP ports there are.
        found: Vec<String>,
    },
    /// An ExternalName Service without a name.
    NoExternalName,
    /// Its address cannot be written for Thanos.
    BadAddress(String),
    /// It asks for TLS settings that there are not.
    UnknownTlsProfile {
        /// What it asks for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// How to balance it is not used: what is wrong with that.
    BadServiceConfig(String),
    /// Another Service has the same address.
    Duplicate {
        /// The address.
        address: String,
        /// What is used: a Service or a field of the spec.
        used: String,
    },
    /// Several type labels: it counts as the strongest.
    ConflictingTypeLabels {
        /// As what it counts.
        used: &'static str,
        /// Labels that have no effect.
        overruled: Vec<&'static str>,
    },
    /// Only one of several addresses can be reached.
    SingleAddress {
        /// What reaches them all.
        remedy: &'static str,
    },
}

// === impl Reason ===

impl Reason {
    /// The words of those reasons that are told: nobody chose them.
    pub const TOLD: &[&'static str] = &[
        "LeadsBack",
        "NoConsent",
        "QueryLoop",
        "NoPort",
        "NoExternalName",
        "BadAddress",
        "UnknownTlsProfile",
        "Duplicate",
    ];

    /// Whether somebody chose this: the selectors of the ThanosQuery, or whoever deletes the Service. Such a Service is
    /// told by `explain` only.
    pub fn is_meant(&self) -> bool {
        match self {
            Self::MissingLabels(_)
            | Self::OtherNamespace
            | Self::BeingDeleted
            | Self::Own
            | Self::NotSelected
            | Self::OtherOwner => true,
            Self::LeadsBack
            | Self::NoConsent { .. }
            | Self::QueryLoop { .. }
            | Self::NoPort { .. }
            | Self::NoExternalName
            | Self::BadAddress(_)
            | Self::UnknownTlsProfile { .. }
            | Self::BadServiceConfig(_)
            | Self::Duplicate { .. }
            | Self::ConflictingTypeLabels { .. }
            | Self::SingleAddress { .. } => false,
        }
    }

    /// One word, for status, Events and metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::MissingLabels(_) => "MissingLabels",
            Self::OtherNamespace => "OtherNamespace",
            Self::BeingDeleted => "BeingDeleted",
            Self::Own => "Own",
            Self::LeadsBack => "LeadsBack",
            Self::NotSelected => "NotSelected",
            Self::OtherOwner => "OtherOwner",
            Self::NoConsent { .. } => "NoConsent",
            Self::QueryLoop { .. } => "QueryLoop",
            Self::NoPort { .. } => "NoPort",
            Self::NoExternalName => "NoExternalName",
            Self::BadAddress(_) => "BadAddress",
            Self::UnknownTlsProfile { .. } => "UnknownTlsProfile",
            Self::BadServiceConfig(_) => "BadServiceConfig",
            Self::Duplicate { .. } => "Duplicate",
            Self::ConflictingTypeLabels { .. } => "ConflictingTypeLabels",
            Self::SingleAddress { .. } => "SingleAddress",
        }
    }

    /// What is wrong, and what to do.
    pub fn message(&self) -> String {
        match self {
            Self::MissingLabels(missing) => {
                let value = |label: &&str| match *label {
                    labels::STORE_API => format!("{label}={}", labels::TRUE),
                    _ => format!("{label}={}", labels::THANOS),
                };
                let missing: Vec<String> = missing.iter().map(value).collect();
                format!("has no label {}; add it if this is a StoreAPI", missing.join(" and "))
            }
            Self::OtherNamespace => {
                "its namespace is not among those of spec.serviceDiscovery.namespaceSelector; add it there".to_owned()
            }
            Self::BeingDeleted => "is being deleted; nothing to do".to_owned(),
            Self::Own => "belongs to this ThanosQuery, which must not query itself; nothing to do".to_owned(),
            Self::LeadsBack => {
                "its pods are the queriers of this ThanosQuery, which must not query itself; remove its labels".to_owned()
            }
            Self::NotSelected => {
                "spec.customStoreLabelSelector does not match its labels; change either".to_owned()
            }
            Self::OtherOwner => {
                "spec.serviceDiscovery.ownerSelector does not match its owner references; change that".to_owned()
            }
            Self::NoConsent { from } => format!(
                "neither it nor its namespace allows its use from namespace {from}; annotate either with {}={from}",
                annotations::ALLOW_DISCOVERY_FROM
            ),
            Self::QueryLoop { other } => format!(
                "ThanosQuery {other}, whose Service this is, queries this ThanosQuery: each would ask the other for ever; \
                 let the selector of one of them leave the other out"
            ),
            Self::NoPort { wanted, found } => {
                let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
                format!(
                    "no TCP port named {wanted:?} (there is: {found}); name the StoreAPI port {wanted:?}, or give its name in the annotation {}",
                    annotations::PORT
                )
            }
            Self::NoExternalName => "type ExternalName without spec.externalName; set it".to_owned(),
            Self::BadAddress(error) => format!("{error}; correct the Service"),
            Self::UnknownTlsProfile { name, known } => {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                format!(
                    "spec.serviceDiscovery.tlsProfiles has no {name:?} (there is: {known}); add it there, or correct the \
                     annotation {} of the Service: a name from that list, or {} for no TLS",
                    annotations::TLS,
                    annotations::NO_TLS
                )
            }
            Self::BadServiceConfig(error) => {
                format!("counts as without the annotation {}: {error}", annotations::SERVICE_CONFIG)
            }
            Self::Duplicate { address, used } => {
                format!("{address} is used already through {used}; remove one of them, or the labels of the Service")
            }
            Self::ConflictingTypeLabels { used, overruled } => {
                format!("counts as {used}; {} has no effect, remove it", overruled.join(", "))
            }
            // Without their number: it changes with every pod.
            Self::SingleAddress { remedy } => {
                format!("has several addresses, of which Thanos reaches one at a time; {remedy}")
            }
        }
    }
}
