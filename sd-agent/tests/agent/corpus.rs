//! The committed corpus of the fuzz targets, through the same properties: what a fuzzer once found stays mended,
//! without a nightly compiler.

use std::{fs, path::Path};

#[path = "../../fuzz/properties.rs"]
mod properties;

/// Runs `property` on every file of a target's corpus, and on each of them cut short.
fn replay(target: &str, property: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut count = 0;
    for entry in fs::read_dir(&folder).expect("the corpus") {
        let path = entry.expect("an entry").path();
        let bytes = fs::read(&path).expect("readable");
        println!("{}", path.display());
        for length in 0..=bytes.len() {
            property(&bytes[..length]);
        }
        count += 1;
    }
    assert!(count >= 5, "{} has {count} files", folder.display());
}

#[test]
fn the_corpus_of_documents_holds() {
    replay("document", properties::document);
}

#[test]
fn the_corpus_of_envelopes_holds() {
    replay("meta", properties::meta);
}

#[test]
fn the_corpus_of_files_holds() {
    replay("sd_file", properties::sd_file);
}
