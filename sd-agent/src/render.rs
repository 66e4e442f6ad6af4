//! From the neutral document to the bytes that one pod's Thanos reads.
//!
//! Two formats, chosen by release (reference "How `thanos query` discovers endpoints", section 2). Both are
//! written as JSON, which every YAML reader takes and which has no surprises with bare words.

use serde::Serialize;

use crate::{
    address::Address,
    document::Document,
    version::{Feature, ThanosVersion},
};

/// The file of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// What Thanos reads.
    pub text: String,
    /// How many endpoints it names.
    pub count: usize,
}

/// Which of its two file formats a Thanos release is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// `--store.sd-files`: a list of `targets`.
    StoreSdFiles,
    /// `--endpoint.sd-config-file`: a map with `endpoints`.
    EndpointSdConfigFile,
}

#[derive(Serialize)]
struct ConfigEntry<'a> {
    address: &'a Address,
}

// === impl FileFormat ===

impl FileFormat {
    /// The format for `version`; one that is unknown gets the format that every release reads.
    pub fn of(version: ThanosVersion) -> Self {
        if version.supports(Feature::EndpointSdConfigFile) {
            Self::EndpointSdConfigFile
        } else {
            Self::StoreSdFiles
        }
    }
}

/// Renders `document` for a pod whose Thanos is `version` and was started with `flags` as endpoint flags.
///
/// What the pod has as a flag is left out; a strict or group endpoint that it does not have as a flag is
/// written as an ordinary one. So flags and file together name every endpoint exactly once.
pub fn render(document: &Document, version: ThanosVersion, flags: &[Address]) -> Rendered {
    let format = FileFormat::of(version);
    let (open, close) = match format {
        FileFormat::StoreSdFiles => ("[{\"targets\":[\n", "\n]}]\n"),
        FileFormat::EndpointSdConfigFile => ("{\"endpoints\":[\n", "\n]}\n"),
    };
    let mut text = String::new();
    let mut count = 0;
    for endpoint in document.endpoints().iter().filter(|endpoint| !endpoint.is_among(flags)) {
        let address = &endpoint.file;
        let line = match format {
            FileFormat::StoreSdFiles => serde_json::to_string(address),
            FileFormat::EndpointSdConfigFile => serde_json::to_string(&ConfigEntry { address }),
        };
        // A plain string: this cannot fail, and were it to, the reader would refuse the gap.
        text.push_str(if count == 0 { open } else { ",\n" });
        text.push_str(&line.unwrap_or_default());
        count += 1;
    }
    match (count, format) {
        (0, FileFormat::StoreSdFiles) => text.push_str("[]\n"),
        (0, FileFormat::EndpointSdConfigFile) => text.push_str("{\"endpoints\":[]}\n"),
        _ => text.push_str(close),
    }
    Rendered { text, count }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Endpoint, EndpointType};

    fn address(text: &str) -> Address {
        text.parse().expect(text)
    }

    fn document() -> Document {
        Document::new(vec![
            Endpoint::regular(address("a.ns.svc:80")),
            Endpoint::flagged(EndpointType::Strict, address("b.ns.svc:80"), address("b.ns.svc:80")),
            Endpoint::flagged(
                EndpointType::Group,
                address("dnssrv+_grpc._tcp.c.ns.svc"),
                address("dnssrv+_grpc._tcp.c.ns.svc"),
            ),
        ])
        .expect("valid")
    }

    #[test]
    fn below_0_38_the_file_is_a_list_of_targets() {
        let file = render(&document(), ThanosVersion::new(0, 37, 2), &[]);
        assert_eq!(
            file.text,
            "[{\"targets\":[\n\"a.ns.svc:80\",\n\"b.ns.svc:80\",\n\"dnssrv+_grpc._tcp.c.ns.svc\"\n]}]\n"
        );
        assert_eq!(file.count, 3);
        assert_eq!(render(&Document::default(), ThanosVersion::Unknown, &[]).text, "[]\n");
    }

    #[test]
    fn from_0_38_the_file_is_a_map_of_endpoints() {
        let file = render(&document(), ThanosVersion::new(0, 42, 4), &[address("b.ns.svc:80")]);
        assert_eq!(
            file.text,
            "{\"endpoints\":[\n{\"address\":\"a.ns.svc:80\"},\n{\"address\":\"dnssrv+_grpc._tcp.c.ns.svc\"}\n]}\n"
        );
        assert_eq!(
            render(&Document::default(), ThanosVersion::new(0, 38, 0), &[]).text,
            "{\"endpoints\":[]}\n"
        );
    }

    #[test]
    fn flags_and_file_together_name_every_endpoint_once() {
        let flags = [address("b.ns.svc:80"), address("c.ns.svc:10901")];
        let file = render(&document(), ThanosVersion::new(0, 35, 1), &flags);
        assert_eq!(file.text, "[{\"targets\":[\n\"a.ns.svc:80\"\n]}]\n");
    }

    #[test]
    fn an_endpoint_that_became_regular_again_stays_out_while_it_is_a_flag() {
        let again = Document::new(vec![Endpoint::regular(address("b.ns.svc:80"))]).expect("valid");
        assert_eq!(render(&again, ThanosVersion::new(0, 42, 4), &[address("b.ns.svc:80")]).count, 0);
        assert_eq!(render(&again, ThanosVersion::new(0, 42, 4), &[]).count, 1);
    }
}
