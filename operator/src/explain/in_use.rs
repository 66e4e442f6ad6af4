//! What is in use now: the document in the ConfigMap, and the flags of the pod template.

use sd_agent::{Document, Endpoint, Meta};

use super::{Carrier, DocumentInUse, EndpointExplained, Found};
use crate::plan::{Delivery, endpoint_flag, payload_of};

/// What is in use now.
pub struct InUse<'a> {
    args: &'a [String],
    document: Option<(Meta, Document)>,
    is_unknown: bool,
    /// Why the ConfigMap counts for nothing.
    pub damage: Option<String>,
}

// === impl InUse ===

impl<'a> InUse<'a> {
    /// Of what was found.
    pub fn of(found: &'a Found) -> Self {
        let unpacked = found.config_map.as_ref().map(|config_map| payload_of(config_map).unpack());
        let (document, damage) = match unpacked {
            None => (None, None),
            Some(Ok(document)) => (Some(document), None),
            Some(Err(refusal)) => (None, Some(refusal.to_string())),
        };
        let is_unknown = found.lacks("ConfigMap") || found.lacks("Deployment");
        Self { args: found.args(), document, is_unknown, damage }
    }

    /// Its endpoints.
    pub fn endpoints(&self) -> &[Endpoint] {
        self.document.as_ref().map_or(&[], |(_, document)| document.endpoints())
    }

    /// What vouches for the document.
    pub fn meta(&self) -> Option<&Meta> {
        self.document.as_ref().map(|(meta, _)| meta)
    }

    /// The document, which is in `config_map`.
    pub fn document(&self, config_map: &str) -> Option<DocumentInUse> {
        let (meta, document) = self.document.as_ref()?;
        Some(DocumentInUse {
            config_map: config_map.to_owned(),
            generation: meta.generation,
            sha256: meta.sha256.clone(),
            endpoints: document.endpoints().len(),
            written_at: meta.written_at,
        })
    }

    /// Where `endpoint` is now, and in which form.
    pub fn explained(&self, endpoint: &Endpoint, delivery: Delivery) -> EndpointExplained {
        let file = &endpoint.file;
        let flag = match delivery {
            Delivery::Flags => Some(endpoint.flag.as_ref().unwrap_or(file)),
            Delivery::Agent { .. } | Delivery::Kubelet => {
                endpoint.flag.as_ref().filter(|_| !endpoint.in_file().typed)
            }
        };
        let arg = flag.map(|flag| format!("{}={flag}", endpoint_flag(endpoint.endpoint_type)));
        let is_flag = arg.is_some_and(|arg| self.args.contains(&arg));
        let in_file = self.endpoints().iter().find(|own| own.file == *file);
        let (address, carrier) = match (flag, in_file) {
            (Some(flag), _) if is_flag => (flag.to_string(), Carrier::Flag),
            (Some(_), Some(_)) => (file.to_string(), Carrier::FileUntilFlag),
            (None, Some(own)) => (own.written().to_string(), Carrier::File),
            (flag, None) if self.is_unknown => (flag.unwrap_or(file).to_string(), Carrier::Unknown),
            (flag, None) => (flag.unwrap_or(file).to_string(), Carrier::Nothing),
        };
        EndpointExplained { address, carrier }
    }
}
