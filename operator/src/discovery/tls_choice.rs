//! Which TLS settings a Service asks for.

use crds::{
    names::annotations::NO_TLS,
    service_discovery::{DiscoveryMode, ServiceDiscovery},
};

use super::Reason;

/// The switch with which users have had TLS for all endpoints, as upstream's operator has no field for it.
const SECURE: &str = "--grpc-client-tls-secure";

/// Which TLS settings a Service asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TlsChoice {
    /// Those for all endpoints, whatever they are.
    #[default]
    Default,
    /// None, whatever is for all endpoints.
    Off,
    /// Those of this name.
    Profile(String),
}

// === impl TlsChoice ===

impl TlsChoice {
    /// As the annotation of a Service says.
    ///
    /// # Errors
    /// When there is no such profile: nobody may guess, least of all that it is to be without TLS.
    pub fn of(said: Option<&str>, spec: &ServiceDiscovery) -> Result<Self, Reason> {
        match said {
            None => Ok(Self::Default),
            Some(NO_TLS) => Ok(Self::Off),
            Some(name) if spec.tls_profiles.iter().any(|profile| profile.name == name) => {
                Ok(Self::Profile(name.to_owned()))
            }
            Some(name) => Err(Reason::UnknownTlsProfile {
                name: name.to_owned(),
                known: spec.tls_profiles.iter().map(|profile| profile.name.clone()).collect(),
            }),
        }
    }

    /// What the annotation says; none without it.
    pub fn said(&self) -> Option<&str> {
        match self {
            Self::Default => None,
            Self::Off => Some(NO_TLS),
            Self::Profile(name) => Some(name),
        }
    }

    /// Whether Thanos has to be given addresses instead of a name to look up: to those that it finds by itself it
    /// connects as its flags say, and to nothing else.
    pub fn needs_addresses(&self, spec: &ServiceDiscovery, args: Option<&Vec<String>>) -> bool {
        // There every change of an address would replace the pods, and the flags are all there is.
        if spec.mode == DiscoveryMode::Flags {
            return false;
        }
        match self {
            Self::Profile(_) => true,
            Self::Default => spec.tls.is_some(),
            Self::Off => args.into_iter().flatten().any(|arg| arg == SECURE),
        }
    }
}
