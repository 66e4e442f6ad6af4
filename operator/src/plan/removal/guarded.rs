//! Endpoints of Services that are missing and held, or that cannot be seen: they stay as they were written last.

use std::collections::BTreeSet;

use sd_agent::{Document, Endpoint, InFile, document::DocumentError};

use super::{Remembered, RemovalGuard, guard::Present, selection::selection_hash};
use crate::{
    discovery::Unknown,
    plan::{
        ConfigMaps, Delivery, Endpoints, PlanError, StrictPods,
        config_map::{Written, config_maps},
        endpoints::{flags, place, previous_document, spell},
    },
};

/// The endpoints with those that are held, and how they are delivered.
pub struct Guarded {
    /// What is written.
    pub endpoints: Endpoints,
    /// The ConfigMaps with it.
    pub config_maps: ConfigMaps,
    /// What the next plan shall know.
    pub remembered: Remembered,
}

/// Writes `endpoints`, with those of Services that are missing as far as `guard` holds them.
///
/// # Errors
/// When they make no valid document, or do not fit even without what is held.
pub fn guarded(
    written: &Written<'_>,
    guard: &RemovalGuard,
    endpoints: Endpoints,
    unknown: &Unknown,
    pods: &StrictPods,
) -> Result<Guarded, PlanError> {
    let Written { workload, delivery, known, now, .. } = *written;
    let selection = selection_hash(workload.query);
    let owner = workload.query.metadata.uid.as_deref().unwrap_or_default();
    let present = Present { owner, selection: &selection, endpoints: &endpoints, unknown, pods };
    let mut remembered = guard.judge(known.remembered, present, now);
    let previous = previous_document(known, &endpoints.document);
    let previous = previous.as_ref();
    if remembered.kept(&endpoints.services).next().is_some() {
        let kept = endpoints.clone().keeping(&remembered, delivery, previous)?.spelt_after(previous)?;
        if let Ok(config_maps) = config_maps(written, &kept, &remembered) {
            return Ok(Guarded { endpoints: kept, config_maps, remembered });
        }
        // There is no room for both, and what is there matters more than what is not.
        remembered = remembered.without_missing();
    }
    let endpoints = endpoints.spelt_after(previous)?;
    let config_maps = config_maps(written, &endpoints, &remembered)?;
    Ok(Guarded { endpoints, config_maps, remembered })
}

// === impl Endpoints ===

impl Endpoints {
    /// With the endpoints that `remembered` keeps, as ordinary ones; how they are reached is as in the `previous`
    /// document. One that another Service has now stays its own.
    ///
    /// # Errors
    /// As [`Endpoints::of`].
    fn keeping(
        self,
        remembered: &Remembered,
        delivery: Delivery,
        previous: Option<&Document>,
    ) -> Result<Self, DocumentError> {
        let mut endpoints = self.document.endpoints().to_vec();
        let mut taken: BTreeSet<String> = endpoints.iter().map(|endpoint| place(&endpoint.file)).collect();
        for address in remembered.kept(&self.services) {
            if taken.insert(place(address)) {
                let before = previous.and_then(|previous| {
                    previous.endpoints().iter().find(|own| own.file == *address && own.flag.is_none())
                });
                let in_file = before.map_or_else(InFile::default, |own| own.in_file().clone());
                endpoints.push(Endpoint::regular(address.clone()).saying(in_file));
            }
        }
        let document = Document::new(endpoints)?;
        Ok(Self { flags: flags(&document, delivery), document, ..self })
    }

    /// Spelt so that Thanos takes over what is otherwise than in the `previous` document.
    ///
    /// # Errors
    /// As [`Endpoints::of`].
    fn spelt_after(self, previous: Option<&Document>) -> Result<Self, DocumentError> {
        Ok(Self { document: spell(self.document, previous)?, ..self })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;
    use sd_agent::Address;

    use super::*;
    use crate::plan::Missing;

    fn holding(addresses: &[&str]) -> Remembered {
        let missing = |address: &&str| {
            let addresses = vec![address.parse().expect("an address")];
            let name = format!("demo/{}", address.split(['.', '+']).next().unwrap_or_default());
            let held = Missing { since: Timestamp::UNIX_EPOCH, held: true, addresses };
            (name.parse().expect("a name"), held)
        };
        Remembered {
            missing: addresses.iter().map(missing).collect::<BTreeMap<_, _>>(),
            ..Remembered::default()
        }
    }

    #[test]
    fn what_is_held_is_an_ordinary_endpoint_and_one_that_another_service_has_is_not_written_twice() {
        let strict: Address = "b.demo:1".parse().expect("an address");
        let there = Endpoint::flagged(sd_agent::EndpointType::Strict, strict.clone(), strict);
        let endpoints = Endpoints {
            document: Document::new(vec![there.clone()]).expect("a document"),
            ..Endpoints::default()
        };
        let remembered = holding(&["a.demo:1", "dns+b.demo:1"]);
        let delivery = Delivery::Agent { api: true };
        let with = endpoints.clone().keeping(&remembered, delivery, None).expect("a document");
        let ordinary = Endpoint::regular("a.demo:1".parse().expect("an address"));
        assert_eq!(with.document.endpoints(), [ordinary, there]);
        assert_eq!(with.flags.len(), 1, "{:?}", with.flags);
        let flags = endpoints.keeping(&remembered, Delivery::Flags, None).expect("a document").flags;
        assert_eq!(flags.len(), 2, "where everything is a flag, what is held is one, too: {flags:?}");
    }
}
