//! Pure: how addresses are spelt, so that Thanos takes over a change of an endpoint that it has already.
//!
//! Of an address that it is connected to, Thanos takes over neither that it is strict now, nor other TLS settings, nor
//! another service config (reference "How `thanos query` discovers endpoints", section 3.4). In another spelling it is
//! another address: then old and new swap in one update, without a gap.
//!
//! Whether it is strict is told by the spelling itself: odd if it is. So that holds over anything, also when an endpoint
//! goes and comes back within a tick of Thanos. All else is told by the document before: what connects otherwise than
//! there gets the next number. Only other settings that come within a tick after the endpoint itself was gone are missed.

use sd_agent::{Document, Endpoint, InFile, address::Lookup, document::DocumentError};

use crate::plan::{Known, payload_of};

/// Below this every spelling of an address with eight letters is another text.
const CONNECTIONS: u8 = 128;
/// The same for an IPv4 address, whose only letters are four of ours.
const CONNECTIONS_OF_FEW_LETTERS: u8 = 8;

/// The document that the pods have now, as far as it matters how `next` is spelt: none when neither says more than
/// addresses.
pub fn previous_document(known: &Known<'_>, next: &Document) -> Option<Document> {
    // Most documents are addresses only, and reading one of thousands at every change takes its time.
    if !says_more(next) && !known.remembered.is_none_or(|before| before.says_more) {
        return None;
    }
    let newest = known.config_map.into_iter().chain(known.former_config_maps).map(payload_of);
    let newest = newest.max_by_key(|payload| payload.meta().map_or(0, |meta| meta.generation))?;
    newest.unpack().ok().map(|(_, document)| document)
}

/// Whether an entry says more than its address.
pub fn says_more(document: &Document) -> bool {
    document.endpoints().iter().any(|endpoint| !endpoint.in_file().is_plain())
}

/// `document` spelt for pods that have the `previous` one.
///
/// # Errors
/// None that the document did not have: the same place is written once.
pub fn spell(document: Document, previous: Option<&Document>) -> Result<Document, DocumentError> {
    if !says_more(&document) && !previous.is_some_and(says_more) {
        return Ok(document);
    }
    let before = |endpoint: &Endpoint| {
        previous
            .and_then(|previous| previous.endpoints().iter().find(|own| own.unspelt() == endpoint.unspelt()))
    };
    let spelt = document.endpoints().iter().map(|endpoint| {
        let spelling = spelling(endpoint, before(endpoint).map(Endpoint::in_file));
        endpoint.clone().saying(InFile { spelling, ..endpoint.in_file().clone() })
    });
    Document::new(spelt.collect())
}

fn spelling(endpoint: &Endpoint, before: Option<&InFile>) -> u8 {
    let in_file = endpoint.in_file();
    let address = endpoint.unspelt();
    // The addresses behind a name are dialled as they are found.
    if address.lookup() != Lookup::None && !(in_file.typed && endpoint.endpoint_type.is_group()) {
        return 0;
    }
    let letters = address.host().bytes().filter(u8::is_ascii_lowercase).count();
    let connections = if letters < 8 { CONNECTIONS_OF_FEW_LETTERS } else { CONNECTIONS };
    let connection = before.map_or(0, |before| {
        let number = before.spelling >> 1;
        if before.connects_as(in_file) { number } else { (number + 1) % connections }
    });
    let is_strict = in_file.typed && endpoint.endpoint_type.is_strict();
    connection << 1 | u8::from(is_strict)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(entries: &str) -> Document {
        serde_json::from_str(&format!("{{\"endpoints\":[{entries}]}}")).expect("a document")
    }

    fn written(document: &Document) -> Vec<String> {
        document.endpoints().iter().map(|endpoint| endpoint.written().to_string()).collect()
    }

    const REGULAR: &str = r#"{"file":"store.demo.svc:80","type":"Regular"}"#;
    const STRICT: &str =
        r#"{"file":"store.demo.svc:80","type":"Strict","flag":"store.demo.svc:80","inFile":{"typed":true}}"#;

    fn tls(server_name: &str) -> String {
        let settings = format!(r#"{{"mode":"Tls","minVersion":"1.2","serverName":"{server_name}"}}"#);
        format!(r#"{{"file":"store.demo.svc:80","type":"Regular","needs":2,"inFile":{{"tls":{settings}}}}}"#)
    }

    #[test]
    fn a_document_of_plain_addresses_stays_as_it_is() {
        let plain = document(REGULAR);
        assert_eq!(spell(plain.clone(), Some(&plain)).expect("valid"), plain);
    }

    #[test]
    fn a_strict_endpoint_has_another_spelling_than_a_regular_one_whatever_was_before() {
        for previous in [None, Some(document("")), Some(document(REGULAR)), Some(document(STRICT))] {
            let strict = spell(document(STRICT), previous.as_ref()).expect("valid");
            assert_eq!(written(&strict), ["Store.demo.svc:80"], "{previous:?}");
            let regular = spell(document(REGULAR), previous.as_ref()).expect("valid");
            assert_eq!(written(&regular), ["store.demo.svc:80"], "{previous:?}");
        }
    }

    #[test]
    fn what_connects_otherwise_gets_the_next_spelling_and_what_does_not_keeps_its_own() {
        let mut now = spell(document(&tls("a")), None).expect("valid");
        let mut spellings = vec![written(&now).concat()];
        for name in ["b", "b", "a", "a"] {
            now = spell(document(&tls(name)), Some(&now)).expect("valid");
            spellings.push(written(&now).concat());
        }
        let [first, second, third] = ["store.demo.svc:80", "sTore.demo.svc:80", "stOre.demo.svc:80"];
        assert_eq!(spellings, [first, second, second, third, third]);
        let plain = spell(document(REGULAR), Some(&now)).expect("valid");
        assert_eq!(written(&plain), ["sTOre.demo.svc:80"], "without TLS it connects otherwise again");
        let same = spell(document(REGULAR), Some(&plain)).expect("valid");
        assert_eq!(same, plain, "and stays so although nothing is said of it any more");
    }

    #[test]
    fn what_thanos_looks_up_is_never_spelt_otherwise_but_a_group_is() {
        let group = r#"{"file":"dns+g.demo.svc:1","type":"Group","flag":"dns+g.demo.svc:1",
            "inFile":{"typed":true,"serviceConfig":"{}"}}"#;
        let before = document(&group.replace("{}", "{\\\"a\\\":1}"));
        assert_eq!(written(&spell(document(group), Some(&before)).expect("valid")), ["dns+g.Demo.svc:1"]);
        let regular = document(r#"{"file":"dns+g.demo.svc:1","type":"Regular"}"#);
        assert_eq!(spell(regular.clone(), Some(&before)).expect("valid"), regular);
    }

    #[test]
    fn the_number_of_spellings_is_never_used_up() {
        let mut now = spell(document(&tls("a0")), None).expect("valid");
        for round in 1..300 {
            let next = spell(document(&tls(&format!("a{round}"))), Some(&now)).expect("valid");
            assert_ne!(written(&next), written(&now), "{round}");
            now = next;
        }
    }
}
