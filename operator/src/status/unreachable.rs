//! Pure: endpoints that no pod reaches, each with what to look at, and the condition that names the first of them.
//!
//! The agents tell only what they have not reached in several looks in a row, and pods that cannot say it yet do not
//! count. So a pod that is replaced, or a store that is restarted, changes nothing here.

use crds::{
    ThanosQueryStatus,
    names::{annotations::NO_TLS, conditions, reasons},
    thanos_query_status::UnreachableEndpoint,
};
use sd_agent::{ClientTls, Endpoint};

use super::{
    agents::AgentAnswers,
    conditions::{Wanted, warning},
};
use crate::plan::Summary;

/// Endpoints in status at most.
const SHOWN: usize = 20;

/// Endpoints that the condition names.
const NAMED: usize = 3;

/// What no pod reaches, sorted by address. While no pod can say anything it stays as in `old`.
pub fn unreachable(
    summary: &Summary,
    agents: &AgentAnswers,
    old: &ThanosQueryStatus,
) -> Vec<UnreachableEndpoint> {
    if !summary.has_agents() {
        return vec![];
    }
    let told: Vec<&[String]> = agents.unreachable().collect();
    let Some((first, others)) = told.split_first() else {
        let is_there = |own: &&UnreachableEndpoint| endpoint_at(summary, &own.address).is_some();
        return old.unreachable.iter().filter(is_there).cloned().collect();
    };
    let by_all = first.iter().filter(|address| others.iter().all(|other| other.contains(address)));
    let mut all: Vec<UnreachableEndpoint> = by_all
        // What has just been removed is none any more.
        .filter_map(|written| endpoint_written(summary, written))
        .map(|endpoint| of(summary, endpoint, told.len()))
        .collect();
    all.sort();
    all.dedup();
    all.truncate(SHOWN);
    all
}

/// The condition; none when all are reached.
pub fn condition(all: &[UnreachableEndpoint]) -> Option<Wanted> {
    let named = all.iter().take(NAMED).map(|UnreachableEndpoint { address, from, message, .. }| {
        let from = from.as_ref().map(|from| format!(" ({from})")).unwrap_or_default();
        format!("{address}{from}: {message}")
    });
    let mut text = named.collect::<Vec<_>>().join("; ");
    match all.len() {
        0 => return None,
        SHOWN => text.push_str("; and more: see status.unreachable"),
        count if count > NAMED => {
            text.push_str(&format!("; and {} more: see status.unreachable", count - NAMED))
        }
        _ => {}
    }
    let message = format!("no querier pod reaches {text}");
    Some(warning(conditions::ENDPOINTS_UNREACHABLE, reasons::UNREACHABLE, message))
}

fn endpoint_written<'a>(summary: &'a Summary, written: &str) -> Option<&'a Endpoint> {
    let all = summary.endpoints.document.endpoints().iter();
    let mut all = all
        .filter(|endpoint| endpoint.written().to_string() == written || endpoint.file.to_string() == written);
    all.next()
}

fn endpoint_at<'a>(summary: &'a Summary, address: &str) -> Option<&'a Endpoint> {
    summary.endpoints.document.endpoints().iter().find(|endpoint| endpoint.file.to_string() == address)
}

fn of(summary: &Summary, endpoint: &Endpoint, pods: usize) -> UnreachableEndpoint {
    let endpoints = &summary.endpoints;
    let mut services = endpoints.ordinary.iter().chain(&endpoints.special);
    let service = services.find(|(_, addresses)| addresses.contains(&endpoint.file));
    let from = service.map(|(name, _)| name.to_string());
    let from = from.or_else(|| endpoints.fields.get(&endpoint.file).cloned());
    let profile = service.and_then(|(name, _)| endpoints.tls.get(name));
    let tls = match &endpoint.in_file().tls {
        None => None,
        Some(ClientTls::Plaintext) => Some(NO_TLS),
        Some(ClientTls::Tls(settings)) if settings.inherited => Some("default"),
        Some(ClientTls::Tls(_)) => Some(profile.map_or("own", String::as_str)),
    };
    UnreachableEndpoint {
        address: endpoint.file.to_string(),
        from,
        message: look_at(endpoint, tls),
        tls: tls.map(ToOwned::to_owned),
        pods: i32::try_from(pods).unwrap_or(i32::MAX),
    }
}

/// What to look at. The same as long as nothing changes.
fn look_at(endpoint: &Endpoint, tls: Option<&str>) -> String {
    const ELSE: &str = "its pods and port, network policies, and the log of the querier";
    let Some(ClientTls::Tls(settings)) = &endpoint.in_file().tls else {
        return match tls {
            Some(_) => format!(
                "it is connected to without TLS; if it asks for TLS, choose a profile; else look at {ELSE}"
            ),
            None => format!("look at {ELSE}"),
        };
    };
    let whose = match tls {
        Some("default") => "spec.serviceDiscovery.tls".to_owned(),
        Some("own") | None => "its own tls".to_owned(),
        Some(profile) => format!("TLS profile {profile}"),
    };
    let name = settings.server_name.as_deref().unwrap_or_else(|| endpoint.file.target());
    let authority = match (&settings.ca_file, settings.insecure_skip_verify) {
        (_, true) => "look whether it speaks TLS".to_owned(),
        (Some(_), false) => {
            format!("look whether the authority of {whose} has signed its certificate, for the name {name}")
        }
        (None, false) => {
            format!(
                "look whether an authority of the image has signed its certificate, for the name {name}; else give {whose} a ca"
            )
        }
    };
    let shown = if settings.certificate.is_some() {
        ", whether it takes the certificate that is shown to it"
    } else {
        ""
    };
    format!(
        "it is connected to with {whose}; {authority}{shown}, and whether the Secrets are there; else look at {ELSE}"
    )
}

#[cfg(test)]
mod tests {
    use sd_agent::{Document, InFile};

    use super::*;
    use crate::plan::Endpoints;

    fn summary(addresses: &[&str]) -> Summary {
        let endpoints = addresses.iter().map(|text| Endpoint::regular(text.parse().expect("an address")));
        let document = Document::new(endpoints.collect()).expect("valid");
        let ordinary = addresses.iter().map(|text| {
            let name = format!("demo/{}", text.split(':').next().unwrap_or_default());
            (name.parse().expect("a name"), vec![text.parse().expect("an address")])
        });
        Summary::of_tests(Endpoints { document, ordinary: ordinary.collect(), ..Endpoints::default() })
    }

    fn told(pods: &[Option<&[&str]>]) -> AgentAnswers {
        let list = |all: &[&str]| all.iter().map(|&address| address.to_owned()).collect::<Vec<_>>();
        AgentAnswers::of_unreachable(pods.iter().map(|pod| pod.map(list)).collect())
    }

    fn addresses(summary: &Summary, agents: &AgentAnswers, old: &ThanosQueryStatus) -> Vec<String> {
        unreachable(summary, agents, old).into_iter().map(|own| own.address).collect()
    }

    #[test]
    fn only_what_no_pod_reaches_is_told_and_pods_that_cannot_say_it_do_not_count() {
        let (summary, old) = (summary(&["a:1", "b:1"]), ThanosQueryStatus::default());
        let of = |pods: &[Option<&[&str]>]| addresses(&summary, &told(pods), &old);
        assert_eq!(of(&[Some(&["a:1", "b:1"]), Some(&["b:1"])]), ["b:1"]);
        assert_eq!(of(&[Some(&["b:1", "gone:1"]), None]), ["b:1"]);
        assert_eq!(of(&[Some(&["a:1"]), Some(&[])]), [""; 0]);
    }

    #[test]
    fn what_is_told_stays_while_no_pod_can_say_anything_but_not_longer_than_the_endpoint() {
        let first = summary(&["a:1", "b:1"]);
        let list = unreachable(&first, &told(&[Some(&["a:1", "b:1"])]), &ThanosQueryStatus::default());
        let old = ThanosQueryStatus { unreachable: list, ..ThanosQueryStatus::default() };
        assert_eq!(addresses(&first, &told(&[None, None]), &old), ["a:1", "b:1"]);
        assert_eq!(addresses(&summary(&["b:1"]), &told(&[None]), &old), ["b:1"]);
        assert_eq!(addresses(&first, &told(&[Some(&[])]), &old), [""; 0]);
    }

    #[test]
    fn the_text_says_where_it_comes_from_how_it_is_connected_to_and_what_to_look_at() {
        let mut summary = summary(&["a:1", "b:1"]);
        let tls = r#"{"mode":"Tls","caFile":"/t/ca.crt","minVersion":"1.2","serverName":"a.demo.svc"}"#;
        let tls = Some(serde_json::from_str(tls).expect("settings"));
        let endpoints = summary.endpoints.document.endpoints().iter().cloned();
        let own = |endpoint: Endpoint| match endpoint.file.host() {
            "a" => endpoint.saying(InFile { tls: tls.clone(), ..InFile::default() }),
            _ => endpoint,
        };
        summary.endpoints.document = Document::new(endpoints.map(own).collect()).expect("valid");
        summary.endpoints.tls.insert("demo/a".parse().expect("a name"), "eu".to_owned());
        let all = unreachable(&summary, &told(&[Some(&["a:1", "b:1"])]), &ThanosQueryStatus::default());
        assert_eq!(
            (all[0].tls.as_deref(), all[0].from.as_deref(), all[0].pods),
            (Some("eu"), Some("demo/a"), 1)
        );
        assert_eq!(all[1].tls, None);
        let message = condition(&all).expect("told").message;
        let start = "no querier pod reaches a:1 (demo/a): it is connected to with TLS profile eu; look whether the authority of \
                     TLS profile eu has signed its certificate, for the name a.demo.svc, and whether";
        assert!(message.starts_with(start), "{message}");
        assert!(message.contains("; b:1 (demo/b): look at its pods"), "{message}");
        assert_eq!(condition(&[]), None);
    }
}
