//! What one plan leaves for the next: which Services had ordinary endpoints, and which of those are missing.
//!
//! It lies in the ConfigMap beside the document, under a key that agents do not read, so that it outlives the
//! operator. Somebody may have edited it: what is not exactly as it is written here counts as nothing.

use std::collections::{BTreeMap, BTreeSet};

use crds::names::annotations::NO_TLS;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ConfigMap;
use sd_agent::{
    Address, Payload,
    payload::{PLAIN_LIMIT, gunzip, gzip},
};
use serde::{Deserialize, Serialize};

use super::HeldRemoval;
use crate::{
    discovery::{ServiceName, TlsChoice},
    plan::{Arrivals, StrictPods, config_map::size, payload_of},
};

/// Key of the plain text, in `data`.
const KEY: &str = "services.json";
/// Key of the gzipped text, in `binaryData`; used above [`PLAIN_LIMIT`], as for the document.
const GZIP_KEY: &str = "services.json.gz";
/// The largest unpacked text, in bytes. It names the Services beside their addresses, so more than a document may have.
const UNPACKED_LIMIT: usize = 16 * 1024 * 1024;
/// All values of a ConfigMap together, in bytes; the API server's own limit is 1 MiB.
pub const ROOM: usize = 1000 * 1024;
/// The largest number of a removal: milliseconds since 1970, until the end of the year 9999.
pub const LAST_NUMBER: u64 = 253_402_300_799_999;

/// What one plan leaves for the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Remembered {
    /// UID of the ThanosQuery.
    pub owner: String,
    /// Hash of what the spec says about which Services are selected.
    pub selection: String,
    /// Number of the last removal that was held; 0 when there was none yet.
    pub number: u64,
    /// Services that are there and have ordinary endpoints, with what was written for each.
    pub services: BTreeMap<ServiceName, Vec<Address>>,
    /// Those that are missing: their endpoints are held, or they went a moment ago.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub missing: BTreeMap<ServiceName, Missing>,
    /// Those of `services` that came while others were held.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub newcomers: BTreeSet<ServiceName>,
    /// The pods of strict Services.
    #[serde(default, skip_serializing_if = "StrictPods::is_empty")]
    pub pods: StrictPods,
    /// Whether entries of the document say more than addresses. False of an operator that could not say more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub says_more: bool,
    /// Names that take the place of addresses.
    #[serde(default, skip_serializing_if = "Arrivals::is_empty")]
    pub arrivals: Arrivals,
    /// What the Services above ask for, of those that ask for TLS settings of their own, or for none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tls: BTreeMap<ServiceName, String>,
}

/// A Service that had ordinary endpoints and is not there any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Missing {
    /// When that was noticed, in whole seconds.
    pub since: Timestamp,
    /// Whether its endpoints stay.
    pub held: bool,
    /// What was written for it.
    pub addresses: Vec<Address>,
}

/// What is remembered in a ConfigMap cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RememberedError {
    /// It is larger than anything that was written.
    #[error("{0} is larger than {UNPACKED_LIMIT} bytes")]
    Size(&'static str),
    /// It cannot be unpacked.
    #[error("{GZIP_KEY} cannot be unpacked")]
    Gzip(#[source] std::io::Error),
    /// It is not what is written there.
    #[error("{KEY} cannot be read")]
    Json(#[source] serde_json::Error),
    /// No removal has such a number.
    #[error("{KEY} has the number {0}")]
    Number(u64),
}

// === impl Remembered ===

impl Remembered {
    /// What the newest of `config_maps` remembers of the ThanosQuery with this UID; none if that is nothing. Of two
    /// with the same document the last one counts.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn in_newest<'a>(
        config_maps: impl Iterator<Item = &'a ConfigMap>,
        owner: &str,
    ) -> Result<Option<Self>, RememberedError> {
        let newest = config_maps
            .map(payload_of)
            .max_by_key(|payload| payload.meta().map_or(0, |meta| meta.generation));
        let read = newest.as_ref().map(Self::of).transpose()?.flatten();
        Ok(read.filter(|remembered| remembered.owner == owner))
    }

    fn of(payload: &Payload) -> Result<Option<Self>, RememberedError> {
        let Some(text) = text_in(payload)? else { return Ok(None) };
        let read: Self = serde_json::from_slice(&text).map_err(RememberedError::Json)?;
        if read.number > LAST_NUMBER { Err(RememberedError::Number(read.number)) } else { Ok(Some(read)) }
    }

    /// Puts it beside a document; leaves it out where there is no room for it. Then it does not outlive this process.
    pub fn put_into(&self, payload: &mut Payload) {
        // Plain strings and numbers: this cannot fail, and an empty text counts as nothing.
        let text = serde_json::to_string(self).unwrap_or_default();
        // What is there stays as it is packed, byte for byte.
        if text_in(payload).is_ok_and(|there| there.is_some_and(|there| there == text.as_bytes())) {
            return;
        }
        Self::take_from(payload);
        let taken = size(payload);
        let has_room = |bytes: usize| taken + bytes <= ROOM;
        if text.len() <= PLAIN_LIMIT {
            if has_room(text.len()) {
                payload.data.insert(KEY.to_owned(), text);
            }
        } else if text.len() <= UNPACKED_LIMIT {
            let packed = gzip(text.as_bytes());
            if has_room(packed.len()) {
                payload.binary_data.insert(GZIP_KEY.to_owned(), packed);
            }
        }
    }

    /// Takes it out of a payload.
    pub fn take_from(payload: &mut Payload) {
        payload.data.remove(KEY);
        payload.binary_data.remove(GZIP_KEY);
    }

    /// The Services whose endpoints are held, with these.
    pub fn held(&self) -> impl Iterator<Item = (&ServiceName, &Missing)> {
        self.missing.iter().filter(|(_, missing)| missing.held)
    }

    /// The endpoints that stay although their Services are not among `services`: held ones, and those of namespaces
    /// that may not be read any more.
    pub fn kept<'a>(
        &'a self,
        services: &BTreeSet<ServiceName>,
    ) -> impl Iterator<Item = (&'a ServiceName, &'a Address)> {
        let unseen = self.services.iter().filter(|(name, _)| !services.contains(*name));
        let held = self.held().map(|(name, missing)| (name, &missing.addresses));
        held.chain(unseen).flat_map(|(name, addresses)| addresses.iter().map(move |address| (name, address)))
    }

    /// Which TLS settings a Service asks for that is gone or cannot be seen.
    pub fn tls_of(&self, name: &ServiceName) -> TlsChoice {
        match self.tls.get(name).map(String::as_str) {
            None => TlsChoice::Default,
            Some(NO_TLS) => TlsChoice::Off,
            Some(profile) => TlsChoice::Profile(profile.to_owned()),
        }
    }

    /// The removal that is held, if each Service is for `hold_for`.
    pub fn held_removal(&self, hold_for: SignedDuration) -> Option<HeldRemoval> {
        let first = self.held().map(|(_, missing)| missing.since).min()?;
        Some(HeldRemoval {
            number: self.number,
            services: self.held().map(|(name, _)| name.clone()).collect(),
            until: first.checked_add(hold_for).unwrap_or(Timestamp::MAX),
        })
    }

    /// When nothing can be held.
    pub fn without_missing(self) -> Self {
        Self { missing: BTreeMap::new(), newcomers: BTreeSet::new(), ..self }
    }
}

fn text_in(payload: &Payload) -> Result<Option<Vec<u8>>, RememberedError> {
    let (text, key) = match (payload.data.get(KEY), payload.binary_data.get(GZIP_KEY)) {
        (Some(text), _) => (text.clone().into_bytes(), KEY),
        (None, Some(packed)) => {
            (gunzip(packed, UNPACKED_LIMIT, packed.len()).map_err(RememberedError::Gzip)?, GZIP_KEY)
        }
        (None, None) => return Ok(None),
    };
    if text.len() > UNPACKED_LIMIT { Err(RememberedError::Size(key)) } else { Ok(Some(text)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::set_payload;

    fn remembered(count: usize) -> Remembered {
        let name = |number: usize| -> ServiceName { format!("demo/s{number:05}").parse().expect("a name") };
        let address = |number: usize| -> Vec<Address> {
            vec![format!("s{number:05}.demo.svc.cluster.local:80").parse().expect("an address")]
        };
        let missing = Missing { since: Timestamp::UNIX_EPOCH, held: true, addresses: address(0) };
        Remembered {
            owner: "uid".into(),
            selection: "hash".into(),
            number: 7,
            services: (1..count).map(|number| (name(number), address(number))).collect(),
            missing: [(name(0), missing)].into(),
            newcomers: [name(1)].into(),
            pods: [("demo/p".parse().expect("a name"), [("p-0".to_owned(), None)].into())].into(),
            says_more: true,
            arrivals: Arrivals::new(),
            tls: [(name(1), "eu".to_owned())].into(),
        }
    }

    fn payload(remembered: &Remembered) -> Payload {
        let mut payload = Payload::default();
        remembered.put_into(&mut payload);
        payload
    }

    fn with(text: &str) -> Payload {
        Payload { data: [(KEY.to_owned(), text.to_owned())].into(), ..Payload::default() }
    }

    #[test]
    fn what_is_written_is_read_again_plain_and_gzipped() {
        for count in [2, 3000] {
            let written = payload(&remembered(count));
            assert_eq!(written.binary_data.contains_key(GZIP_KEY), count == 3000);
            assert_eq!(Remembered::of(&written).expect("readable"), Some(remembered(count)));
            let mut again = written.clone();
            remembered(count).put_into(&mut again);
            assert_eq!(again, written);
        }
    }

    #[test]
    fn a_text_that_grows_or_shrinks_over_the_limit_leaves_no_second_key() {
        let mut payload = payload(&remembered(2));
        remembered(3000).put_into(&mut payload);
        assert!(!payload.data.contains_key(KEY) && payload.binary_data.contains_key(GZIP_KEY));
        remembered(2).put_into(&mut payload);
        assert!(payload.data.contains_key(KEY) && !payload.binary_data.contains_key(GZIP_KEY));
    }

    #[test]
    fn it_is_left_out_where_the_document_needs_the_room() {
        let mut payload = Payload::default();
        payload.binary_data.insert("endpoints.json.gz".to_owned(), vec![0; ROOM]);
        let before = payload.clone();
        remembered(3000).put_into(&mut payload);
        assert_eq!(payload, before);
    }

    #[test]
    fn what_is_damaged_or_made_up_is_an_error_and_no_panic() {
        let whole = payload(&remembered(3)).data[KEY].clone();
        for end in 0..whole.len() {
            assert!(Remembered::of(&with(&whole[..end])).is_err(), "cut at {end}");
        }
        for (from, to) in [
            ("demo/s00001", "demo"),
            ("demo/s00001", "demo/s 1"),
            ("\"s00001.demo.svc.cluster.local:80\"", "\"--web.config=/etc/passwd\""),
            ("\"number\":7", "\"number\":18446744073709551615"),
            ("\"number\":7", "\"number\":-1"),
            ("\"number\":7", "\"number\":7,\"more\":1"),
            ("1970-01-01T00:00:00Z", "99999-01-01T00:00:00Z"),
        ] {
            assert!(whole.contains(from), "{from}");
            assert!(Remembered::of(&with(&whole.replacen(from, to, 1))).is_err(), "{to}");
        }
        let mut packed = payload(&remembered(3000));
        let bytes = packed.binary_data.get_mut(GZIP_KEY).expect("packed");
        bytes.truncate(bytes.len() / 2);
        assert!(Remembered::of(&packed).is_err());
        let bomb = gzip(&vec![b' '; UNPACKED_LIMIT + 10]);
        let bomb = Payload { binary_data: [(GZIP_KEY.to_owned(), bomb)].into(), ..Payload::default() };
        assert!(matches!(Remembered::of(&bomb), Err(RememberedError::Size(_))));
        assert_eq!(Remembered::of(&Payload::default()).expect("nothing"), None);
    }

    #[test]
    fn of_several_config_maps_the_newest_counts_and_only_for_its_own_thanos_query() {
        let config_map = |generation: u64, number: u64| {
            let mut payload =
                Payload::pack(&Default::default(), "uid", generation, Timestamp::UNIX_EPOCH).expect("fits");
            Remembered { number, ..remembered(2) }.put_into(&mut payload);
            let mut config_map = ConfigMap::default();
            set_payload(&mut config_map, payload);
            config_map
        };
        let read = |maps: &[ConfigMap], owner: &str| {
            Remembered::in_newest(maps.iter(), owner).expect("readable").map(|own| own.number)
        };
        assert_eq!(read(&[config_map(9, 1), config_map(8, 2)], "uid"), Some(1));
        assert_eq!(read(&[config_map(9, 1), config_map(9, 2)], "uid"), Some(2));
        assert_eq!(read(&[config_map(9, 1)], "another"), None);
        assert_eq!(read(&[], "uid"), None);
    }
}
