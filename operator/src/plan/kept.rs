//! Endpoints of Services that are missing and held: they stay as they were written last.

use std::collections::BTreeSet;

use sd_agent::{Address, Document, Endpoint, document::DocumentError};

use super::{Delivery, Endpoints, Remembered, endpoints::flags};

// === impl Endpoints ===

impl Endpoints {
    /// With the endpoints that `remembered` holds, as ordinary ones. One that another Service has now stays its own.
    ///
    /// # Errors
    /// As [`Endpoints::of`].
    pub fn keeping(self, remembered: &Remembered, delivery: Delivery) -> Result<Self, DocumentError> {
        let mut endpoints = self.document.endpoints().to_vec();
        let mut taken: BTreeSet<Address> = endpoints.iter().map(|endpoint| endpoint.file.clone()).collect();
        for address in remembered.held().flat_map(|(_, missing)| &missing.addresses) {
            if taken.insert(address.clone()) {
                endpoints.push(Endpoint::regular(address.clone()));
            }
        }
        let document = Document::new(endpoints)?;
        Ok(Self { flags: flags(&document, delivery), document, ..self })
    }
}
