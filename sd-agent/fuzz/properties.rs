//! What holds for any bytes. Shared by the fuzz targets and by the test that replays the corpus.
#![allow(dead_code)] // each target takes one of these

use sd_agent::{
    Address, Document, Payload, ThanosVersion,
    check::judge,
    payload::{DOCUMENT_KEY, GZIP_KEY, META_KEY, gunzip, sha256_hex},
    render::render,
    validate,
};

const VERSIONS: [ThanosVersion; 4] = [
    ThanosVersion::Unknown,
    ThanosVersion::new(0, 37, 2),
    ThanosVersion::new(0, 41, 0),
    ThanosVersion::new(0, 42, 4),
];

/// Any bytes as the document, vouched for, plain and as gzip: what is taken reads back as itself, `check` agrees, and
/// what is rendered from it is what Thanos takes.
pub fn document(bytes: &[u8]) {
    // As gzip they may be anything; unpacking ends, within its limit.
    if let Ok(unpacked) = gunzip(bytes, 1 << 16, usize::MAX) {
        assert!(unpacked.len() <= (1 << 16) + 1);
    }
    let mut payload = Payload::default();
    payload.data.insert(META_KEY.to_owned(), vouch(bytes, 0));
    payload.binary_data.insert(GZIP_KEY.to_owned(), bytes.to_vec());
    let _ = payload.unpack();

    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let read = serde_json::from_str::<Document>(text);
    payload.binary_data.clear();
    payload.data.insert(DOCUMENT_KEY.to_owned(), text.to_owned());
    let count = read.as_ref().map_or(0, |document| document.endpoints().len() + document.too_new());
    payload.data.insert(META_KEY.to_owned(), vouch(bytes, count));
    assert_eq!(payload.unpack().is_ok(), read.is_ok(), "a vouched document is taken when it can be read");
    let Ok(document) = read else { return };
    let again: Document = serde_json::from_str(&document.to_json()).expect("what is written is read");
    assert_eq!(again.endpoints(), document.endpoints());
    for version in VERSIONS {
        let file = render(&document, version, &[]);
        let too_new = document.endpoints().iter().any(|endpoint| {
            is_dual_stack(&endpoint.file) || endpoint.flag.as_ref().is_some_and(is_dual_stack)
        }) && version != ThanosVersion::new(0, 42, 4);
        assert_eq!(validate::rendered(&file.text, version).ok(), (!too_new).then_some(file.count));
        let answer = judge(file.text.as_bytes(), Some(version));
        assert_eq!(answer.valid, !too_new, "{answer:?}");
        let flags: Vec<Address> =
            document.endpoints().iter().filter_map(|endpoint| endpoint.flag.clone()).collect();
        assert!(render(&document, version, &flags).count <= file.count);
    }
}

/// Any bytes as `meta.json`: what is taken vouches for this document, whatever else it says.
pub fn meta(bytes: &[u8]) {
    let document = Document::default();
    let now = "2026-11-23T00:00:00Z".parse().expect("a time");
    let mut payload = Payload::pack(&document, "owner", 7, now).expect("fits");
    let original = payload.meta().expect("valid");
    payload.data.insert(META_KEY.to_owned(), String::from_utf8_lossy(bytes).into_owned());
    let Ok((meta, read)) = payload.unpack() else { return };
    assert_eq!(read, document);
    assert_eq!(
        (meta.format, meta.sha256, meta.count, meta.bytes, meta.empty_ok),
        (original.format, original.sha256, original.count, original.bytes, original.empty_ok),
    );
}

/// Any bytes as a file for `check`: an answer comes, problems are within the file and bounded, and what is valid for
/// one release is what the agent's own reader takes, where that can read it.
pub fn sd_file(bytes: &[u8]) {
    let lines = bytes.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() + 2;
    for version in [None, Some(ThanosVersion::new(0, 37, 2)), Some(ThanosVersion::new(0, 42, 4))] {
        let answer = judge(bytes, version);
        assert_eq!(answer.valid, answer.problems.is_empty());
        assert!(answer.valid || !answer.problems.told.is_empty());
        assert!(!answer.valid || answer.found.is_some());
        for problem in &answer.problems.told {
            assert!(
                problem.at.line >= 1 && problem.at.line <= lines && problem.at.column >= 1,
                "{problem:?}"
            );
            assert!(!problem.message.is_empty() && !problem.remedy.is_empty());
        }
        let (Some(version), Ok(text)) = (version, std::str::from_utf8(bytes)) else { continue };
        if let Ok(count) = validate::rendered(text, version) {
            assert_eq!(answer.found.as_ref().map(|found| found.endpoints), Some(count));
            assert!(answer.valid, "the agent would write what check refuses: {answer:?}");
        }
    }
}

fn vouch(bytes: &[u8], count: usize) -> String {
    format!(
        "{{\"format\":1,\"owner\":\"o\",\"generation\":1,\"sha256\":\"{}\",\"count\":{count},\"bytes\":{},\"emptyOk\":true,\"writtenAt\":\"2026-11-23T00:00:00Z\"}}",
        sha256_hex(bytes),
        bytes.len()
    )
}

fn is_dual_stack(address: &Address) -> bool {
    address.to_string().starts_with("dnsdualstack+")
}
