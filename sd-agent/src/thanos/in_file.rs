//! Pure: the addresses in the file that Thanos has to list as they stand.
//!
//! What Thanos looks up is listed by the addresses behind the name, so nobody can tell whether it is missing.

use std::borrow::Cow;

use serde::Deserialize;

use crate::Address;

/// Before the address of a group, as Thanos lists it from 0.38: from where a file can name one.
pub const GROUP: &str = "thanos:///";

/// Both formats, as [`crate::render`] writes them; what else an entry says is of no interest here.
#[derive(Deserialize)]
#[serde(untagged)]
enum File<'a> {
    Config {
        #[serde(borrow)]
        endpoints: Vec<Entry<'a>>,
    },
    Groups(#[serde(borrow)] Vec<Targets<'a>>),
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    address: Cow<'a, str>,
    #[serde(default)]
    group: bool,
}

#[derive(Deserialize)]
struct Targets<'a> {
    #[serde(borrow)]
    targets: Vec<Cow<'a, str>>,
}

/// The plain `host:port` in `text`, and the groups as Thanos lists them; sorted. None when it is not the agent's file.
pub fn plain(text: &str) -> Option<Vec<String>> {
    let is_plain = |text: &str| text.parse().is_ok_and(|address: Address| !address.is_looked_up());
    let file: File<'_> = serde_json::from_str(text).ok()?;
    let mut plain: Vec<String> = match file {
        // A group is one logical store, whatever it looks up.
        File::Config { endpoints } => endpoints
            .into_iter()
            .filter(|entry| entry.group || is_plain(&entry.address))
            .map(
                |Entry { address, group }| {
                    if group { format!("{GROUP}{address}") } else { address.into_owned() }
                },
            )
            .collect(),
        File::Groups(groups) => groups
            .into_iter()
            .flat_map(|group| group.targets)
            .filter(|target| is_plain(target))
            .map(Cow::into_owned)
            .collect(),
    };
    plain.sort();
    plain.dedup();
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Document, Endpoint, ThanosVersion, render::render};

    #[test]
    fn plain_addresses_are_found_in_both_formats_and_names_that_are_looked_up_are_not() {
        let addresses = ["b.demo.svc:10901", "dns+c.demo.svc:10901", "10.0.0.7:10901", "dnssrv+_grpc._tcp.d"];
        let endpoints = addresses.iter().map(|text| Endpoint::regular(text.parse().expect("an address")));
        let document = Document::new(endpoints.collect()).expect("valid");
        for version in [ThanosVersion::new(0, 37, 2), ThanosVersion::new(0, 42, 4)] {
            let text = render(&document, version, &[]).text;
            let expected = ["10.0.0.7:10901", "b.demo.svc:10901"].map(str::to_owned);
            assert_eq!(plain(&text).as_deref(), Some(&expected[..]), "{text}");
            let none = render(&Document::default(), version, &[]).text;
            assert_eq!(plain(&none), Some(vec![]), "{none}");
        }
    }

    #[test]
    fn a_group_is_listed_with_a_scheme_and_unknown_keys_are_none_of_our_business() {
        let text = r#"{"endpoints":[{"address":"a:1","group":true},{"address":"b:1","client_config":{}}]}"#;
        assert_eq!(plain(text), Some(vec!["b:1".to_owned(), "thanos:///a:1".to_owned()]));
        for other in ["", "endpoints:\n- address: a:1\n", r#"{"endpoints":[{"addr":"a:1"}]}"#, "7"] {
            assert_eq!(plain(other), None, "{other}");
        }
    }
}
