//! The ConfigMap with the endpoints: document and envelope for the agents, or Thanos' own file for the kubelet.

use crds::{ThanosQuery, names::pod};
use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::ConfigMap};
use sd_agent::{
    Address, Payload, ThanosVersion,
    payload::{TooLarge, sha256_hex},
    render::render,
};

use super::{Delivery, Endpoints, Known, Names, meta};

/// The ConfigMap for `endpoints`.
///
/// While the document is the one that is there, everything stays byte for byte; else the generation grows.
///
/// # Errors
/// When the document does not fit.
pub fn config_map(
    query: &ThanosQuery,
    names: &Names,
    endpoints: &Endpoints,
    version: ThanosVersion,
    delivery: Delivery,
    known: &Known<'_>,
    now: Timestamp,
) -> Result<ConfigMap, TooLarge> {
    let owner = query.metadata.uid.clone().unwrap_or_default();
    let live = known.config_map.map(payload_of);
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
    if delivery == Delivery::Kubelet {
        let flags: Vec<Address> = endpoints.flags.iter().map(|flag| flag.address.clone()).collect();
        payload.data.insert(pod::FILE_NAME.to_owned(), render(&endpoints.document, version, &flags).text);
    }
    let mut config_map =
        ConfigMap { metadata: meta::object_meta(query, names, &names.config_map), ..ConfigMap::default() };
    set_payload(&mut config_map, payload);
    Ok(config_map)
}

/// The keys of a ConfigMap as a payload.
pub fn payload_of(config_map: &ConfigMap) -> Payload {
    let binary = config_map.binary_data.iter().flatten();
    Payload {
        data: config_map.data.clone().unwrap_or_default(),
        binary_data: binary.map(|(key, ByteString(bytes))| (key.clone(), bytes.clone())).collect(),
    }
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
