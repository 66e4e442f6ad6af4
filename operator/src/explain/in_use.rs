//! What is in use now: the document in the ConfigMap, and the flags of the pod template.

use sd_agent::{Document, Endpoint, Meta, ThanosVersion};

use super::{Carrier, DocumentInUse, EndpointExplained, Found};
use crate::plan::{Delivery, endpoint_flag, flag_of, payload_of};

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
    pub fn explained(
        &self,
        endpoint: &Endpoint,
        version: ThanosVersion,
        delivery: Delivery,
    ) -> EndpointExplained {
        let file = &endpoint.file;
        let flag = flag_of(endpoint, version, delivery);
        let arg = flag.map(|flag| format!("{}={flag}", endpoint_flag(endpoint.endpoint_type)));
        let is_flag = arg.is_some_and(|arg| self.args.contains(&arg));
        let is_in_file = self.endpoints().iter().any(|own| own.file == *file);
        let (address, carrier) = match flag {
            Some(flag) if is_flag => (flag, Carrier::Flag),
            Some(_) if is_in_file => (file, Carrier::FileUntilFlag),
            None if is_in_file => (file, Carrier::File),
            flag if self.is_unknown => (flag.unwrap_or(file), Carrier::Unknown),
            flag => (flag.unwrap_or(file), Carrier::Nothing),
        };
        EndpointExplained { address: address.to_string(), carrier }
    }
}
