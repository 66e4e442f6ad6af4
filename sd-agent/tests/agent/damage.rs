//! Damaged, hostile and very large payloads: what is applied is what was written, or nothing.
//!
//! Most of it is shown on [`Payload::unpack`], which every payload passes; some on whole agents.

use std::{collections::BTreeMap, io::Write};

use flate2::{Compression, write::GzEncoder};
use sd_agent::{
    Document, Endpoint, EndpointType, Meta, Payload, ThanosVersion,
    payload::{DOCUMENT_KEY, DOCUMENT_LIMIT, GZIP_KEY, META_KEY, gzip},
    render::render,
};

use crate::{
    content::vouched,
    fake_api::FakeApi,
    measure::memory,
    process::Agent,
    support::{Pod, document, payload},
};

const VERSIONS: [ThanosVersion; 3] =
    [ThanosVersion::new(0, 35, 1), ThanosVersion::new(0, 37, 2), ThanosVersion::new(0, 42, 4)];

/// One of every kind, and some more.
fn mixed(more: usize) -> Document {
    let address = |text: &str| text.parse().expect("an address");
    let mut all = vec![
        Endpoint::regular(address("dnssrv+_grpc._tcp.headless.demo.svc.cluster.local")),
        Endpoint::regular(address("10.0.0.7:19090")),
        Endpoint::flagged(EndpointType::Strict, address("s.demo.svc:1"), address("s.demo.svc:1")),
        Endpoint::flagged(EndpointType::Group, address("g.demo.svc:1"), address("dns+g.demo.svc:1")),
        Endpoint::flagged(EndpointType::GroupStrict, address("h.demo.svc:1"), address("h.demo.svc:1")),
    ];
    all.extend((0..more).map(|index| Endpoint::regular(address(&format!("store-{index}.demo.svc:10901")))));
    Document::new(all).expect("valid")
}

/// The same document, plain and gzipped, whatever its size.
fn both_forms(document: &Document) -> [Payload; 2] {
    let now = "2026-11-23T00:00:00Z".parse().expect("a time");
    let plain = Payload::pack(document, "owner", 7, now).expect("fits");
    let mut packed = plain.clone();
    let text = packed.data.remove(DOCUMENT_KEY).expect("small enough to be plain");
    packed.binary_data.insert(GZIP_KEY.to_owned(), gzip(text.as_bytes()));
    assert_eq!(plain.unpack().expect("valid"), packed.unpack().expect("valid"));
    [plain, packed]
}

/// The bytes of each key.
fn keys(payload: &Payload) -> BTreeMap<String, Vec<u8>> {
    let texts = payload.data.iter().map(|(key, text)| (key.clone(), text.clone().into_bytes()));
    texts.chain(payload.binary_data.clone()).collect()
}

/// The payload with other bytes under one key, as a reader of the mount takes them.
fn with(payload: &Payload, key: &str, bytes: &[u8]) -> Payload {
    let mut changed = payload.clone();
    if key == GZIP_KEY {
        changed.binary_data.insert(key.to_owned(), bytes.to_vec());
    } else {
        changed.data.insert(key.to_owned(), String::from_utf8_lossy(bytes).into_owned());
    }
    changed
}

/// `count` endpoints in as few bytes as can be, and then white space, `bytes` in all.
fn filled(count: usize, bytes: usize) -> String {
    let mut text = String::from("{\"endpoints\":[");
    for index in 0..count {
        let comma = if index == 0 { "" } else { "," };
        text.push_str(&format!("{comma}{{\"file\":\"{index:05x}:1\",\"type\":\"Regular\"}}"));
    }
    text.push_str("]}");
    assert!(text.len() <= bytes, "{count} endpoints take {} bytes", text.len());
    text.extend(std::iter::repeat_n(' ', bytes - text.len()));
    text
}

/// `text` and what vouches for it, gzipped.
fn vouched_gzip(generation: u64, text: &str, count: usize) -> Payload {
    let mut payload = vouched(generation, text, count);
    payload.data.remove(DOCUMENT_KEY);
    payload.binary_data.insert(GZIP_KEY.to_owned(), gzip(text.as_bytes()));
    payload
}

fn reason(payload: &Payload) -> &'static str {
    payload.unpack().expect_err("refused").reason()
}

/// Zeros, packed a thousand to one.
fn bomb(bytes: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let block = vec![b' '; 1024 * 1024];
    for _ in 0..bytes / block.len() {
        encoder.write_all(&block).expect("into memory");
    }
    encoder.finish().expect("into memory")
}

/// A number of the same sequence in every run.
fn random(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    usize::try_from(*state >> 1).expect("64 bits")
}

/// Case 32: every length of every key, in both forms.
#[test]
fn a_payload_cut_at_any_byte_of_any_key_is_refused() {
    for payload in [mixed(0), mixed(200)].iter().flat_map(both_forms) {
        for (key, bytes) in keys(&payload) {
            for length in 0..bytes.len() {
                let cut = with(&payload, &key, &bytes[..length]);
                assert!(cut.unpack().is_err(), "{key} cut at {length}");
            }
        }
    }
}

/// Case 32, were the hash to say nothing: what is left of a document is no other document.
#[test]
fn a_torn_document_is_refused_even_when_it_is_vouched_for() {
    let whole = mixed(20);
    let text = whole.to_json();
    for length in 0..text.len() {
        let torn = vouched(1, &text[..length], whole.endpoints().len());
        match torn.unpack() {
            // Only the line break at the end is missing.
            Ok((_, read)) => assert_eq!((read, length), (whole.clone(), text.len() - 1)),
            Err(refusal) => {
                let expected = if length == 0 { "empty" } else { "parse" };
                assert_eq!(refusal.reason(), expected, "cut at {length}: {refusal}");
            }
        }
    }
}

/// Case 33: what is applied after any single flipped bit is the document that was written. Where a flip leaves the
/// payload valid (the time or the owner in `meta.json`, the unused bytes of a gzip header), only that has changed.
#[test]
fn after_a_flipped_bit_the_original_document_is_applied_or_none() {
    let whole = mixed(200);
    let (mut state, mut refused, mut survived) = (0x5d_a9e2_u64, 0, BTreeMap::<String, usize>::new());
    let payloads = both_forms(&whole);
    for round in 0..10_000 {
        let payload = &payloads[round % 2];
        let keys = keys(payload);
        let (key, bytes) = keys.iter().nth(random(&mut state) % keys.len()).expect("one of them");
        let (byte, bit) = (random(&mut state) % bytes.len(), random(&mut state) % 8);
        let mut flipped = bytes.clone();
        flipped[byte] ^= 1 << bit;
        let Ok((meta, document)) = with(payload, key, &flipped).unpack() else {
            refused += 1;
            continue;
        };
        *survived.entry(key.clone()).or_default() += 1;
        assert_eq!(document, whole, "bit {bit} of byte {byte} of {key}");
        for version in VERSIONS {
            assert_eq!(render(&document, version, &[]), render(&whole, version, &[]));
        }
        let original = payload.meta().expect("valid");
        let unvouched = Meta {
            owner: meta.owner.clone(),
            generation: meta.generation,
            written_at: meta.written_at,
            ..original
        };
        assert_eq!(meta, unvouched, "bit {bit} of byte {byte} of {key}");
    }
    assert_eq!(survived.get(DOCUMENT_KEY), None, "nothing in the document itself may change");
    assert!(refused > 8000 && survived.contains_key(META_KEY), "{refused} refused, {survived:?} survived");
}

/// Cases 32 and 33 on a whole agent: each damage is refused for what it is, and the file stays as it is.
#[tokio::test]
async fn an_agent_counts_each_damaged_document_and_keeps_its_file() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload(1));
    let agent = pod.start(Some(&api), &[]).await;
    agent.applied(1).await;
    let before = pod.text();
    let mut state = 0xb17_u64;
    let mut counts = BTreeMap::<&str, usize>::new();
    for (round, payload) in both_forms(&mixed(20)).iter().cycle().take(60).enumerate() {
        let key = if payload.data.contains_key(DOCUMENT_KEY) { DOCUMENT_KEY } else { GZIP_KEY };
        let mut bytes = keys(payload)[key].clone();
        let byte = random(&mut state) % bytes.len();
        if round % 4 < 2 {
            bytes.truncate(byte);
        } else {
            bytes[byte] ^= 1 << (random(&mut state) % 7);
        }
        let damaged = with(payload, key, &bytes);
        let Err(refusal) = damaged.unpack() else { continue };
        let count = counts.entry(refusal.reason()).or_default();
        *count += 1;
        api.put(&damaged);
        agent.counted(&format!("rejected_total{{reason=\"{}\"}}", refusal.reason()), *count).await;
        assert_eq!(pod.text(), before, "round {round}");
    }
    assert!(counts.get("checksum").is_some_and(|count| *count > 30), "{counts:?}");
    api.put(&both_forms(&mixed(20))[1]);
    agent.applied(7).await;
    agent.stop().await;
}

/// Case 34.
#[test]
fn hostile_gzip_is_refused_for_what_it_is() {
    let [_, whole] = both_forms(&mixed(20));
    let bytes = whole.binary_data[GZIP_KEY].clone();
    let gzipped = |bytes: &[u8]| with(&whole, GZIP_KEY, bytes);
    // The last 8 bytes are the checksum and the length of what was packed.
    for byte in bytes.len() - 8..bytes.len() {
        let mut wrong = bytes.clone();
        wrong[byte] ^= 0x10;
        assert_eq!(reason(&gzipped(&wrong)), "checksum", "trailer byte {byte}");
    }
    for more in [b"\0".as_slice(), b"\n", &bytes, &gzip(b""), &gzip(b" ")] {
        assert_eq!(reason(&gzipped(&[&bytes, more].concat())), "checksum", "followed by {more:?}");
    }
    assert_eq!(reason(&gzipped(b"")), "empty");
    assert_eq!(reason(&gzipped(b"\x1f\x8b")), "checksum");
    assert_eq!(reason(&gzipped(&gzip(b" \n# nothing\n"))), "empty");
    assert_eq!(reason(&gzipped(&bomb(8 * 1024 * 1024))), "size");
    // Nested, as it is and vouched for.
    assert_eq!(reason(&gzipped(&gzip(&bytes))), "checksum");
    let mut nested = whole.clone();
    let meta = whole.data[META_KEY]
        .replace(&whole.meta().expect("valid").sha256, &sd_agent::payload::sha256_hex(&bytes));
    let meta = meta
        .replace(&format!("\"bytes\":{}", mixed(20).to_json().len()), &format!("\"bytes\":{}", bytes.len()));
    nested.data.insert(META_KEY.to_owned(), meta);
    nested.binary_data.insert(GZIP_KEY.to_owned(), gzip(&bytes));
    assert_eq!(reason(&nested), "parse");
    // A length that no memory has is not believed.
    let mut boasting = whole;
    let meta = boasting.data[META_KEY].replace("\"bytes\":", "\"bytes\":9999999999");
    boasting.data.insert(META_KEY.to_owned(), meta);
    assert_eq!(reason(&boasting), "checksum");
}

/// Case 35, and what it says of sizes in 34.
#[test]
fn a_document_at_the_limit_is_read_and_one_byte_more_is_refused() {
    let count = 1000;
    for (text, is_read) in [
        (filled(count, 1024 * 1024), true),
        (filled(count, DOCUMENT_LIMIT), true),
        (filled(count, DOCUMENT_LIMIT + 1), false),
    ] {
        for payload in [vouched(2, &text, count), vouched_gzip(2, &text, count)] {
            match payload.unpack() {
                Ok((meta, document)) if is_read => {
                    assert_eq!((meta.bytes, document.endpoints().len()), (text.len(), count));
                }
                Ok(_) => unreachable!("{} bytes were read", text.len()),
                Err(refusal) => assert_eq!((is_read, refusal.reason()), (false, "size"), "{refusal}"),
            }
        }
    }
}

/// Cases 34 and 35 on the real process, with as many endpoints as there can be. Its memory stays below what its
/// container may have (64 MiB), less what lies in the memory volume (10 MiB).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_documents_and_bombs_stay_within_the_agents_memory() {
    const CAP: u64 = (64 - 10) * 1024;
    let (api, pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload(1));
    let agent = Agent::start(&pod, &api);
    agent.applied(1).await;
    let small = memory(&agent, "VmHWM");
    let mut hostile = payload(2);
    hostile.data.remove(DOCUMENT_KEY);
    hostile.binary_data.insert(GZIP_KEY.to_owned(), bomb(24 * 1024 * 1024));
    api.put(&hostile);
    agent.refused(2, "size").await;
    let after_bomb = memory(&agent, "VmHWM");

    let plain = 28_000;
    api.put(&vouched(3, &filled(plain, 1024 * 1024), plain));
    agent.applied(3).await;
    assert_eq!(pod.text().matches("address").count(), plain);
    let most = 84_000;
    api.put(&vouched_gzip(4, &filled(most, DOCUMENT_LIMIT), most));
    agent.applied(4).await;
    assert_eq!(pod.text().matches("address").count(), most);
    let before = pod.text();
    api.put(&vouched_gzip(5, &filled(most, DOCUMENT_LIMIT + 1), most));
    agent.refused(5, "size").await;
    assert_eq!(pod.text(), before);
    let peak = memory(&agent, "VmHWM");
    println!("peak in KiB: small {small}, bomb {after_bomb}, {most} endpoints {peak}");
    assert!(peak < CAP, "{peak} KiB at its peak");
    assert!(after_bomb - small < 8 * 1024, "a bomb took {} KiB", after_bomb - small);
}

/// Case 36: an entry that Thanos would refuse, or not use, makes the whole document count for nothing.
#[tokio::test]
async fn an_entry_that_thanos_would_refuse_is_never_applied() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload(1));
    let agent = pod.start_for(&api, "v0.41.0", &[]).await;
    agent.applied(1).await;
    let before = pod.text();
    let mut counts = BTreeMap::<&str, usize>::new();
    for (index, (entry, reason)) in [
        (r#"{"file":"b:1","type":"Strict","flag":"dns+b:1"}"#, "schema"),
        (r#"{"file":"b:1","type":"Strict","flag":"dnssrv+_g._tcp.b"}"#, "schema"),
        (r#"{"file":"b:1","type":"Strict"}"#, "schema"),
        (r#"{"file":"b:1","type":"Regular","flag":"b:1"}"#, "schema"),
        (r#"{"file":"a:1","type":"Regular"}"#, "schema"),
        (r#"{"file":"b","type":"Regular"}"#, "schema"),
        (r#"{"file":"b:0","type":"Regular"}"#, "schema"),
        (r#"{"file":"dns+b","type":"Regular"}"#, "schema"),
        (r#"{"file":"","type":"Regular"}"#, "schema"),
        (r#"{"file":" b:1","type":"Regular"}"#, "schema"),
        (r#"{"file":"b:1\u0000","type":"Regular"}"#, "schema"),
        (r#"{"file":"fd00::1:1","type":"Regular"}"#, "schema"),
        (r#"{"file":"foo+b:1","type":"Regular"}"#, "schema"),
        (r#"{"file":"--endpoint=b:1","type":"Regular"}"#, "schema"),
        (r#"{"file":"b:1","type":"regular"}"#, "schema"),
        (r#"{"file":"b:1","type":"Regular","inFile":{"serviceConfig":"{}"}}"#, "schema"),
        (r#"{"file":"b:1","type":"Group","flag":"b:1","inFile":{"typed":true,"serviceConfig":"{"}}"#, "schema"),
        (r#"{"file":"b:1","type":"GroupStrict","flag":"dns+b:1","inFile":{"typed":true}}"#, "schema"),
        (r#"{"file":"b:1","type":"Regular","inFile":{"tls":{"mode":"Tls","minVersion":"1.4"}}}"#, "schema"),
        (r#"{"file":"b:1","type":"Regular","inFile":{"tls":{"mode":"Tls","minVersion":"1.2","caFile":"ca"}}}"#, "schema"),
        (r#"{"file":"dns+b:1","type":"Regular","inFile":{"tls":{"mode":"Tls","minVersion":"1.2"}}}"#, "schema"),
        (r#"{"file":"b:1","file":"c:1","type":"Regular"}"#, "schema"),
        (r#"{"file":1,"type":"Regular"}"#, "schema"),
        (r#"{"file":"b:1"}"#, "schema"),
        (r#"{"file":"b:1","type":"Regular"},"#, "parse"),
        ("{\"file\":\"b\0:1\",\"type\":\"Regular\"}", "parse"),
        // Thanos looks it up from 0.42 on.
        (r#"{"file":"dnsdualstack+b:1","type":"Regular"}"#, "render"),
    ]
    .into_iter()
    .enumerate()
    {
        let text = format!("{{\"endpoints\":[{{\"file\":\"a:1\",\"type\":\"Regular\"}},{entry}]}}");
        api.put(&vouched(index as u64 + 2, &text, 2));
        let count = counts.entry(reason).or_default();
        *count += 1;
        agent.counted(&format!("rejected_total{{reason=\"{reason}\"}}"), *count).await;
        assert_eq!(pod.text(), before, "{entry}");
    }
    api.put(&crate::support::payload_of(99, &document(99, 2)));
    agent.applied(99).await;
    agent.stop().await;
}
