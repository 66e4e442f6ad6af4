//! Endpoints of Services that are missing and held, or that cannot be seen: they stay as they were written last.

use std::{collections::BTreeSet, net::Ipv4Addr};

use sd_agent::{Address, Document, Endpoint, document::DocumentError};

use super::{Remembered, RemovalGuard, guard::Present, selection::selection_hash};
use crate::{
    discovery::{ServiceName, Unknown},
    plan::{
        ConfigMaps, Delivery, Endpoints, PlanError, Said, StrictPods,
        config_map::{Written, config_maps},
        connections::Connection,
        endpoints::{
            Before, can_be_written, flags, overlap, place, previous_document, saying, says_more, spell,
        },
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
    let Written { workload, said, known, now } = *written;
    let selection = selection_hash(workload.query);
    let owner = workload.query.metadata.uid.as_deref().unwrap_or_default();
    let present = Present { owner, selection: &selection, endpoints: &endpoints, unknown, pods };
    let mut remembered = guard.judge(known.remembered, present, now);
    let previous = previous_document(known, &endpoints.document);
    let previous = previous.as_ref();
    let nothing = Remembered::default();
    let memory = known.remembered.filter(|before| before.owner == owner).unwrap_or(&nothing);
    let before = Before { ordinary: &memory.services, document: previous, arrivals: &memory.arrivals };
    let overlap = overlap(&workload.query.spec.service_discovery.refresh_interval);
    let endpoints = match said.delivery {
        Delivery::Flags => endpoints,
        Delivery::Agent { .. } | Delivery::Kubelet => {
            let (endpoints, arrivals) = endpoints.overlapping(before, overlap, now)?;
            remembered.arrivals = arrivals;
            endpoints
        }
    };
    if remembered.kept(&endpoints.services).next().is_some() {
        let kept = endpoints.clone().keeping(&remembered, said)?.spelt_after(previous)?;
        remembered.says_more = says_more(&kept.document);
        if let Ok(config_maps) = config_maps(written, &kept, &remembered) {
            return Ok(Guarded { endpoints: kept, config_maps, remembered });
        }
        // There is no room for both, and what is there matters more than what is not.
        remembered = remembered.without_missing();
    }
    let endpoints = endpoints.spelt_after(previous)?;
    remembered.says_more = says_more(&endpoints.document);
    let config_maps = config_maps(written, &endpoints, &remembered)?;
    Ok(Guarded { endpoints, config_maps, remembered })
}

// === impl Endpoints ===

impl Endpoints {
    /// With the endpoints that `remembered` keeps, as ordinary ones, connected to as their Services asked for. One that
    /// another Service has now stays its own.
    ///
    /// # Errors
    /// As [`Endpoints::of`].
    fn keeping(self, remembered: &Remembered, said: &Said<'_>) -> Result<Self, DocumentError> {
        let mut endpoints = self.document.endpoints().to_vec();
        let mut taken: BTreeSet<String> = endpoints.iter().map(|endpoint| place(&endpoint.file)).collect();
        for (name, address) in remembered.kept(&self.services) {
            // Without the settings that it had it must not be dialled.
            let choice = remembered.tls_of(name);
            let Some(connection) = said.connections.of_service(&choice) else { continue };
            let kept = kept_endpoint(name, address, connection);
            if can_be_written(&kept) && taken.insert(place(address)) {
                endpoints.push(kept);
            }
        }
        let document = Document::new(endpoints)?;
        Ok(Self { flags: flags(&document, said), document, ..self })
    }

    /// Spelt so that Thanos takes over what is otherwise than in the `previous` document.
    ///
    /// # Errors
    /// As [`Endpoints::of`].
    fn spelt_after(self, previous: Option<&Document>) -> Result<Self, DocumentError> {
        Ok(Self { document: spell(self.document, previous)?, ..self })
    }
}

/// As an ordinary endpoint, with the connection that its Service asked for.
fn kept_endpoint(name: &ServiceName, address: &Address, connection: Connection) -> Endpoint {
    let is_ip = address.host().parse::<Ipv4Addr>().is_ok() || address.host().starts_with('[');
    let connection = connection.expecting(|| is_ip.then(|| format!("{}.{}.svc", name.name, name.namespace)));
    saying(Endpoint::regular(address.clone()), &connection, None)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crds::names::annotations::NO_TLS;
    use jiff::Timestamp;
    use sd_agent::ThanosVersion;

    use super::*;
    use crate::plan::{Connections, Delivery, Missing};

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
        let connections = Connections::default();
        let version = ThanosVersion::new(0, 42, 4);
        let delivery = Delivery::Agent { api: true };
        let said = Said { connections: &connections, version, delivery, types_in_file: false };
        let with = endpoints.clone().keeping(&remembered, &said).expect("a document");
        let ordinary = Endpoint::regular("a.demo:1".parse().expect("an address"));
        assert_eq!(with.document.endpoints(), [ordinary, there]);
        assert_eq!(with.flags.len(), 1, "{:?}", with.flags);
        let said = Said { delivery: Delivery::Flags, ..said };
        let flags = endpoints.keeping(&remembered, &said).expect("a document").flags;
        assert_eq!(flags.len(), 2, "where everything is a flag, what is held is one, too: {flags:?}");
    }

    #[test]
    fn what_is_held_is_connected_to_as_its_service_asked_for_and_never_otherwise() {
        let yaml = "{apiVersion: monitoring.thanos.io/v1alpha1, kind: ThanosQuery, metadata: {name: global}, \
            spec: {serviceDiscovery: {tls: {serverName: all.example}, tlsProfiles: [{name: eu, serverName: eu.example}]}}}";
        let connections = Connections::of(&serde_saphyr::from_str(yaml).expect("a query")).expect("valid");
        let version = ThanosVersion::new(0, 42, 4);
        let delivery = Delivery::Agent { api: true };
        let said = Said { connections: &connections, version, delivery, types_in_file: false };
        let mut remembered = holding(&["default.demo:1", "eu.demo:1", "none.demo:1", "gone.demo:1"]);
        let choices = [("demo/eu", "eu"), ("demo/none", NO_TLS), ("demo/gone", "us")];
        remembered.tls =
            choices.map(|(name, choice)| (name.parse().expect("a name"), choice.to_owned())).into();
        let with = Endpoints::default().keeping(&remembered, &said).expect("a document");
        let told = |endpoint: &Endpoint| {
            let tls = serde_json::to_value(&endpoint.in_file().tls).expect("JSON");
            format!("{} {} {}", endpoint.file, tls["mode"], tls["serverName"])
        };
        let all: Vec<String> = with.document.endpoints().iter().map(told).collect();
        assert_eq!(
            all,
            [
                r#"default.demo:1 "Tls" "all.example""#,
                r#"eu.demo:1 "Tls" "eu.example""#,
                r#"none.demo:1 "Plaintext" null"#,
            ]
        );
    }
}
