//! The two file formats of Thanos: what makes it refuse a file, and what it skips in silence and then lacks endpoints.
//!
//! Facts: reference "How `thanos query` discovers endpoints", sections 2.1, 2.2 and 2.4.

use std::collections::HashMap;

use super::{
    Found,
    problem::{Position, Problems},
    tree::Node,
};
use crate::{
    address::{Address, Lookup},
    version::{Feature, ThanosVersion},
};

const ENTRY_KEYS: [&str; 5] = ["address", "strict", "group", "service_config", "client_config"];
const CLIENT_KEYS: [&str; 3] = ["tls_config", "server_name", "compression"];
const TLS_KEYS: [&str; 6] =
    ["enabled", "insecure_skip_verify", "cert_file", "key_file", "ca_file", "min_version"];
const SKIPPED: &str = "Thanos skips it in silence";

/// Reads a file as Thanos would.
pub struct SdFile<'a> {
    version: Option<ThanosVersion>,
    problems: &'a mut Problems,
    /// Where an address stood first, and how it is used.
    seen: HashMap<String, Position>,
    found: Found,
}

/// What an entry of `endpoints` says about itself.
struct Entry<'a> {
    address: &'a str,
    group: bool,
}

// === impl SdFile ===

impl<'a> SdFile<'a> {
    /// A list, for `--store.sd-files`, or else a mapping, for `--endpoint.sd-config-file`.
    pub fn any(root: &Node, version: Option<ThanosVersion>, problems: &'a mut Problems) -> Found {
        let Some(groups) = root.sequence() else {
            let mut file = Self::new("endpoint.sd-config-file", version, problems);
            file.config(root);
            return file.found;
        };
        let mut file = Self::new("store.sd-files", version, problems);
        for group in groups {
            file.target_group(group);
        }
        file.found
    }

    fn new(format: &'static str, version: Option<ThanosVersion>, problems: &'a mut Problems) -> Self {
        Self { version, problems, seen: HashMap::new(), found: Found::new(format) }
    }

    fn target_group(&mut self, group: &Node) {
        if group.mapping().is_none() {
            let message = format!(
                "{} where a mapping with targets belongs: Thanos refuses the whole file",
                group.kind()
            );
            return self.problems.add(group.at, message, "write `- targets: [\"host:port\"]`");
        }
        self.only_known(group, &["targets", "labels"], "Thanos refuses the whole file");
        let refused = "Thanos refuses the whole file";
        match group.get("targets") {
            None => self.problems.add(
                group.at,
                "no targets: nothing is read from this entry",
                "add targets, or remove the entry",
            ),
            Some(targets) if targets.is_null() => {
                self.problems.add(
                    targets.at,
                    "targets is empty: nothing is read from this entry",
                    "list host:port under it",
                );
            }
            Some(targets) => match targets.sequence() {
                None => {
                    let message = format!("targets is {}: {refused}", targets.kind());
                    self.problems.add(targets.at, message, "write a list: targets: [\"host:port\"]");
                }
                Some(targets) => {
                    for target in targets {
                        match target.text() {
                            Some(text) => drop(self.address(target.at, text)),
                            None => {
                                let message =
                                    format!("{} where an address belongs: {refused}", target.kind());
                                self.problems.add(target.at, message, "write \"host:port\"");
                            }
                        }
                    }
                }
            },
        }
        let labels = group.get("labels").filter(|labels| !labels.is_null());
        let texts = |labels: &Node| {
            labels.mapping().is_some_and(|fields| fields.iter().all(|field| field.value.text().is_some()))
        };
        if let Some(labels) = labels.filter(|labels| !texts(labels)) {
            let message = format!("labels are no mapping of words to words: {refused}");
            self.problems.add(labels.at, message, "remove them: Thanos uses only the addresses");
        }
    }

    fn config(&mut self, root: &Node) {
        self.too_new(
            Feature::EndpointSdConfigFile,
            root.at,
            "endpoint.sd-config-file",
            "v0.38.0",
            "write a list of targets",
        );
        self.only_known(root, &["endpoints", "default_client_config"], SKIPPED);
        if let Some(client) = root.get("default_client_config") {
            self.default_client(client);
        }
        let (none, remedy) =
            ("Thanos drops every endpoint", "write `endpoints: []` if no endpoints are meant");
        let Some(endpoints) = root.get("endpoints") else {
            return self.problems.add(root.at, format!("no key \"endpoints\": {none}"), remedy);
        };
        if endpoints.is_null() {
            return self.problems.add(endpoints.at, format!("endpoints says nothing: {none}"), remedy);
        }
        let Some(entries) = endpoints.sequence() else {
            let message = format!("endpoints is {}: Thanos refuses the whole file", endpoints.kind());
            return self.problems.add(endpoints.at, message, "write a list: - address: host:port");
        };
        for entry in entries {
            self.entry(entry);
        }
    }

    fn entry(&mut self, node: &Node) {
        if node.mapping().is_none() {
            let message = format!("{} where an endpoint belongs: Thanos refuses the whole file", node.kind());
            return self.problems.add(node.at, message, "write `- address: host:port`");
        }
        self.only_known(node, &ENTRY_KEYS, SKIPPED);
        let strict = self.boolean(node, "strict").unwrap_or(false);
        let group = self.boolean(node, "group").unwrap_or(false);
        let Some((at, address)) = self.string(node, "address").filter(|(_, address)| !address.is_empty())
        else {
            if node.get("address").is_none_or(|address| address.is_null() || address.text() == Some("")) {
                let message = "no address: this endpoint never becomes healthy";
                self.problems.add(node.at, message, "add address: host:port");
            }
            return;
        };
        self.found.strict += usize::from(strict);
        self.found.group += usize::from(group);
        let entry = Entry { address, group };
        self.address(at, address);
        if strict && address.contains('+') {
            let message = format!("{address} is strict and has a DNS prefix: Thanos refuses the whole file");
            self.problems.add(at, message, "write the plain host:port, or remove strict");
        }
        self.service_config(node, &entry);
        self.client_of(node, &entry);
    }

    /// An address works, and stands once.
    fn address(&mut self, at: Position, text: &str) -> Option<Address> {
        self.found.endpoints += 1;
        if let Some(first) = self.seen.get(text) {
            let message =
                format!("{text} is there twice, first in line {}: Thanos uses one of the two", first.line);
            self.problems.add(at, message, "remove one");
        } else {
            self.seen.insert(text.to_owned(), at);
        }
        match text.parse::<Address>() {
            Ok(address) => {
                self.found.looked_up += usize::from(address.is_looked_up());
                if address.lookup() == Lookup::DnsDualStack {
                    self.too_new(Feature::DualStackLookup, at, "dnsdualstack+", "v0.42.0", "write dns+");
                }
                Some(address)
            }
            Err(error) => {
                let remedy = "write [prefix+]host:port with prefix dns, dnssrv or dnssrvnoa; with the last two the port may be left out";
                self.problems.add(at, error.to_string(), remedy);
                None
            }
        }
    }

    fn service_config(&mut self, node: &Node, entry: &Entry<'_>) {
        let Some((at, text)) = self.string(node, "service_config").filter(|(_, text)| !text.is_empty())
        else {
            return;
        };
        if self.version.is_some_and(|version| version < ThanosVersion::new(0, 40, 0)) {
            self.unread(at, "service_config", "v0.40.0", "remove it");
        }
        if !entry.group {
            let message = format!(
                "{} has a service_config and is no group: Thanos refuses the whole file",
                entry.address
            );
            self.problems.add(at, message, "set group: true, or remove service_config");
        }
        let read = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text);
        if let Err(error) = read {
            let message = format!(
                "service_config of {} is no gRPC service config ({error}): dialling fails",
                entry.address
            );
            self.problems.add(at, message, "write a JSON object in quotes");
        }
    }

    fn client_of(&mut self, node: &Node, entry: &Entry<'_>) {
        let Some(client) = node.get("client_config").filter(|client| !client.is_null()) else { return };
        self.too_new(
            Feature::EndpointTls,
            client.at,
            "client_config",
            "v0.42.0",
            "remove it: the flags --grpc-client-* apply",
        );
        let says_tls = self.client(client);
        if entry.address.contains('+') && !entry.group {
            let message = format!(
                "client_config of {}: Thanos ignores it for an address that is looked up",
                entry.address
            );
            self.problems.add(client.at, message, "use default_client_config, or a plain host:port");
        } else if !says_tls && client.get("compression").is_some() {
            let message =
                format!("client_config of {} has only compression, which Thanos then ignores", entry.address);
            self.problems.add(client.at, message, "use the flag --grpc-compression");
        }
    }

    fn default_client(&mut self, client: &Node) {
        if client.is_null() {
            return;
        }
        let name = "default_client_config";
        self.too_new(
            Feature::EndpointTls,
            client.at,
            name,
            "v0.42.0",
            "remove it: the flags --grpc-client-* apply",
        );
        self.client(client);
        if let Some(compression) = client.get("compression") {
            let message = "compression of default_client_config is never used";
            self.problems.add(compression.at, message, "use the flag --grpc-compression");
        }
        let tls = client.get("tls_config");
        let has = |key: &str| tls.and_then(|tls| tls.get(key)).is_some_and(|value| !value.is_null());
        let turns_on =
            ["enabled", "insecure_skip_verify", "cert_file", "key_file", "ca_file"].into_iter().any(has);
        if !turns_on && (has("min_version") || client.get("server_name").is_some()) {
            let message = "default_client_config without tls_config.enabled turns TLS off for every endpoint, whatever the flags say";
            self.problems.add(client.at, message, "write tls_config: {enabled: true} or {enabled: false}");
        }
    }

    /// Returns whether it says anything about TLS.
    fn client(&mut self, client: &Node) -> bool {
        if client.mapping().is_none() {
            let message = format!("client configuration is {}: Thanos refuses the whole file", client.kind());
            self.problems.add(
                client.at,
                message,
                "write a mapping with tls_config, server_name, compression",
            );
            return false;
        }
        self.only_known(client, &CLIENT_KEYS, SKIPPED);
        if let Some((at, given)) = self.string(client, "compression")
            && !["", "none", "snappy"].contains(&given)
        {
            let message = format!("compression {given:?} is unknown: Thanos refuses the whole file");
            self.problems.add(at, message, "write none or snappy");
        }
        let server_name = self.string(client, "server_name").is_some();
        let Some(tls) = client.get("tls_config").filter(|tls| !tls.is_null()) else { return server_name };
        if tls.mapping().is_none() {
            let message = format!("tls_config is {}: Thanos refuses the whole file", tls.kind());
            self.problems.add(tls.at, message, "write a mapping with enabled, ca_file, cert_file, key_file");
            return server_name;
        }
        self.only_known(tls, &TLS_KEYS, SKIPPED);
        self.boolean(tls, "enabled");
        self.boolean(tls, "insecure_skip_verify");
        self.string(tls, "ca_file");
        let certificate = self.string(tls, "cert_file").is_some_and(|(_, path)| !path.is_empty());
        let key = self.string(tls, "key_file").is_some_and(|(_, path)| !path.is_empty());
        if certificate != key {
            let message =
                "one of cert_file and key_file without the other: Thanos drops the endpoints it is for";
            self.problems.add(tls.at, message, "give both or neither");
        }
        if let Some((at, given)) = self.string(tls, "min_version")
            && !["", "1.0", "1.1", "1.2", "1.3"].contains(&given)
        {
            let message = format!("min_version {given:?} is unknown: Thanos drops the endpoints it is for");
            self.problems.add(at, message, "write 1.2 or 1.3, in quotes");
        }
        server_name || tls.mapping().is_some_and(|fields| !fields.is_empty())
    }

    fn boolean(&mut self, node: &Node, key: &str) -> Option<bool> {
        let value = node.get(key).filter(|value| !value.is_null())?;
        let boolean = value.boolean();
        if boolean.is_none() {
            let message = format!("{key} is no boolean: Thanos refuses the whole file");
            self.problems.add(value.at, message, "write true or false, without quotes");
        }
        boolean
    }

    fn string<'n>(&mut self, node: &'n Node, key: &str) -> Option<(Position, &'n str)> {
        let value = node.get(key).filter(|value| !value.is_null())?;
        let text = value.text();
        if text.is_none() {
            let message = format!("{key} is {}: Thanos refuses the whole file", value.kind());
            self.problems.add(value.at, message, "write a text in quotes");
        }
        Some((value.at, text?))
    }

    fn only_known(&mut self, node: &Node, known: &[&str], what_happens: &str) {
        for field in node.mapping().unwrap_or_default() {
            if !known.contains(&field.key.as_str()) {
                let message = format!("unknown key {:?}: {what_happens}", field.key);
                self.problems.add(field.at, message, format!("known here: {}", known.join(", ")));
            }
        }
    }

    fn too_new(&mut self, feature: Feature, at: Position, what: &str, since: &str, remedy: &str) {
        if self.version.is_some_and(|version| !version.supports(feature)) {
            self.unread(at, what, since, remedy);
        }
    }

    fn unread(&mut self, at: Position, what: &str, since: &str, remedy: &str) {
        let version = self.version.map_or_else(String::new, |version| version.to_string());
        let message = format!("{what} is read from Thanos {since} on, not by {version}");
        self.problems.add(at, message, format!("{remedy}, or use a newer Thanos"));
    }
}
