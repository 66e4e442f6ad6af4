//! The ConfigMap with the endpoints: document and envelope for the agents, or Thanos' own file for the kubelet.

use crds::names::{annotations::SHARD_SET, pod};
use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::ConfigMap};
use sd_agent::{
    Address, Meta, Payload,
    payload::{self, META_KEY, sha256_hex},
    render::render,
};

use super::{Delivery, Endpoints, Known, Over, Remembered, Said, Workload, removal::ROOM};

/// The ConfigMap for `endpoints`, and those of earlier names that pods still read, with the same document.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfigMaps {
    /// The one that is wanted; none when every endpoint is a flag of every pod.
    pub wanted: Option<ConfigMap>,
    /// Those that go when the last pod that reads them is replaced.
    pub former: Vec<ConfigMap>,
}

/// What ConfigMaps are made from, besides the endpoints.
#[derive(Clone, Copy)]
pub struct Written<'a> {
    /// The queriers.
    pub workload: &'a Workload<'a>,
    /// How endpoints reach them.
    pub said: &'a Said<'a>,
    /// What is there.
    pub known: &'a Known<'a>,
    /// Now.
    pub now: Timestamp,
}

/// The endpoints do not fit into a ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooLarge {
    /// The document.
    #[error(transparent)]
    Document(#[from] payload::TooLarge),
    /// Thanos' own file, which cannot be packed.
    #[error(
        "{count} endpoints take {bytes} bytes in the file that Thanos reads, and a ConfigMap holds {ROOM}: let the agent \
         bring them, for which they are packed (spec.serviceDiscovery.agent.enabled: true), or split the stores over \
         several ThanosQuery objects; the endpoints that are there stay"
    )]
    File {
        /// Endpoints in the document.
        count: usize,
        /// Of all values.
        bytes: usize,
    },
}

/// The ConfigMaps for `endpoints`, and for the next plan what it shall remember.
///
/// While the document is the one that is there, it and its envelope stay byte for byte; else the generation grows.
///
/// # Errors
/// When the document does not fit.
pub fn config_maps(
    written: &Written<'_>,
    endpoints: &Endpoints,
    remembered: &Remembered,
) -> Result<ConfigMaps, TooLarge> {
    let Written { workload, said, known, now } = *written;
    let (version, delivery) = (said.version, said.delivery);
    let is_wanted = delivery != Delivery::Flags || known.is_read_by_pods_of(workload.query);
    let former: Vec<&ConfigMap> =
        known.former_config_maps.iter().filter(|former| !has_thanos_own_file(former)).collect();
    if !is_wanted && former.is_empty() {
        return Ok(ConfigMaps::default());
    }
    let payload = payload_for(workload, endpoints, known, now)?;
    let config_map = |name: &str, mut payload: Payload| {
        remembered.put_into(&mut payload);
        if size(&payload) > ROOM {
            // What was packed into it earlier gives way.
            Remembered::take_from(&mut payload);
        }
        let mut metadata = workload.object_meta(name);
        if let Over::Shards(set) = &known.tree.over {
            metadata.annotations.get_or_insert_default().insert(SHARD_SET.to_owned(), set.to_string());
        }
        let mut config_map = ConfigMap { metadata, ..ConfigMap::default() };
        set_payload(&mut config_map, payload);
        config_map
    };
    let former = former
        .iter()
        .map(|former| config_map(former.metadata.name.as_deref().unwrap_or_default(), payload.clone()))
        .collect();
    let mut payload = payload;
    // Both forms, as long as there are pods for either: of agents by the document, of the kubelet by the file.
    let has_kubelets_pods =
        known.running.querier.has_kubelets_file && known.config_map.is_some_and(has_thanos_own_file);
    if delivery == Delivery::Kubelet || delivery != Delivery::Flags && has_kubelets_pods {
        let flags: Vec<Address> = endpoints.flags.iter().map(|flag| flag.address.clone()).collect();
        let mut both = payload.clone();
        Remembered::take_from(&mut both);
        both.data.insert(pod::FILE_NAME.to_owned(), render(&endpoints.document, version, &flags).text);
        let bytes = size(&both);
        if bytes <= ROOM {
            payload.data.extend(both.data.remove_entry(pod::FILE_NAME));
        } else if delivery == Delivery::Kubelet {
            return Err(TooLarge::File { count: endpoints.document.endpoints().len(), bytes });
        }
    }
    let wanted = is_wanted.then(|| config_map(&workload.names.config_map, payload));
    Ok(ConfigMaps { wanted, former })
}

/// All values together, in bytes.
pub fn size(payload: &Payload) -> usize {
    let texts = payload.data.values().map(String::len);
    texts.chain(payload.binary_data.values().map(Vec::len)).sum()
}

/// Whether the kubelet brings its content to Thanos as it stands. It cannot be kept up for old pods: it leaves out what
/// they have as flags, and that is forgotten.
pub fn has_thanos_own_file(config_map: &ConfigMap) -> bool {
    config_map.data.iter().flatten().any(|(key, _)| key == pod::FILE_NAME)
}

fn payload_for(
    workload: &Workload<'_>,
    endpoints: &Endpoints,
    known: &Known<'_>,
    now: Timestamp,
) -> Result<Payload, payload::TooLarge> {
    let owner = workload.query.metadata.uid.clone().unwrap_or_default();
    // Of several the newest: under a new name the order goes on.
    let live = known
        .config_map
        .into_iter()
        .chain(known.former_config_maps)
        .map(payload_of)
        .max_by_key(|payload| payload.meta().map_or(0, |meta| meta.generation));
    let live_meta = live.as_ref().and_then(|payload| payload.meta().ok());
    let unchanged = live_meta.as_ref().is_some_and(|meta| {
        meta.owner == owner && meta.sha256 == sha256_hex(endpoints.document.to_json().as_bytes())
    });
    let mut payload = match live {
        // Only an undamaged payload may stay.
        Some(live) if unchanged && live.unpack().is_ok() => live,
        _ => {
            let last = live_meta.map(|meta| meta.generation).max(known.generation);
            Payload::pack(&endpoints.document, &owner, last.map_or_else(|| seed(now), |last| last + 1), now)?
        }
    };
    payload.data.remove(pod::FILE_NAME);
    Ok(payload)
}

/// The keys of a ConfigMap as a payload.
pub fn payload_of(config_map: &ConfigMap) -> Payload {
    let binary = config_map.binary_data.iter().flatten();
    Payload {
        data: config_map.data.clone().unwrap_or_default(),
        binary_data: binary.map(|(key, ByteString(bytes))| (key.clone(), bytes.clone())).collect(),
    }
}

/// What vouches for the document in `config_map`, which is not copied for that.
pub fn meta_of(config_map: &ConfigMap) -> Option<Meta> {
    let meta = config_map.data.as_ref()?.get_key_value(META_KEY)?;
    let data = [(meta.0.clone(), meta.1.clone())].into();
    Payload { data, ..Payload::default() }.meta().ok()
}

/// Puts a payload into a ConfigMap.
pub fn set_payload(config_map: &mut ConfigMap, payload: Payload) {
    let Payload { data, binary_data } = payload;
    config_map.data = Some(data);
    let binary = binary_data.into_iter().map(|(key, bytes)| (key, ByteString(bytes))).collect();
    config_map.binary_data =
        Some(binary).filter(|binary: &std::collections::BTreeMap<_, _>| !binary.is_empty());
}

// When nothing is left that tells the last generation, the clock still moves forward.
fn seed(now: Timestamp) -> u64 {
    u64::try_from(now.as_millisecond()).unwrap_or(1)
}
