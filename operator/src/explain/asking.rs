//! Asks the querier pods, through the API server: whoever asks need not reach the pods' network.

use std::{collections::BTreeMap, time::Duration};

use crds::names::pod::{AGENT_CONTAINER, AGENT_PORT, QUERY_CONTAINER};
use futures::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, Limited};
use hyper::Request;
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::{Client, ResourceExt as _, client::Body};
use sd_agent::Report;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::timeout;

use super::{Answer, Listed, PodFound, reading::AT_ONCE};
use crate::plan::listen::{HttpAccess, Listen, route_prefix};

/// Longest that one answer of a pod is waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer that is read, in bytes: thousands of stores fit.
const ANSWER_LIMIT: usize = 8 * 1024 * 1024;
/// How much of an error is kept, in characters.
const ERROR_LIMIT: usize = 300;

#[derive(Deserialize)]
struct StoresBody {
    #[serde(default)]
    data: BTreeMap<String, Vec<Listed>>,
}

/// Asks every one of `pods`.
pub async fn ask(client: &Client, pods: Vec<Pod>) -> Vec<PodFound> {
    stream::iter(pods).map(|pod| ask_one(client, pod)).buffered(AT_ONCE).collect().await
}

async fn ask_one(client: &Client, pod: Pod) -> PodFound {
    if pod.status.as_ref().is_none_or(|status| status.phase.as_deref() != Some("Running")) {
        let why = "the pod does not run";
        return PodFound { pod, agent: Answer::NotAsked(why), stores: Answer::NotAsked(why) };
    }
    let (agent, stores) = tokio::join!(agent(client, &pod), stores(client, &pod));
    PodFound { agent, stores, pod }
}

async fn agent(client: &Client, pod: &Pod) -> Answer<Report> {
    match container(pod, AGENT_CONTAINER) {
        None => Answer::NotAsked("the pod has no agent"),
        Some(_) => get(client, &url(pod, "", AGENT_PORT, "/status")).await,
    }
}

async fn stores(client: &Client, pod: &Pod) -> Answer<BTreeMap<String, Vec<Listed>>> {
    let Some(thanos) = container(pod, QUERY_CONTAINER) else {
        return Answer::NotAsked("the pod has no container of Thanos");
    };
    // Those of this pod: during a rollout others have others.
    let args = thanos.args.clone().unwrap_or_default();
    let url = match stores_url(pod, &args) {
        Ok(url) => url,
        Err(why) => return Answer::NotAsked(why),
    };
    match get::<StoresBody>(client, &url).await {
        Answer::Given(StoresBody { data }) => Answer::Given(data),
        Answer::Forbidden => Answer::Forbidden,
        Answer::Failed(problem) => Answer::Failed(problem),
        Answer::NotAsked(why) => Answer::NotAsked(why),
    }
}

/// A container, also one that is a sidecar.
fn container<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    let spec = pod.spec.as_ref()?;
    spec.containers.iter().chain(spec.init_containers.iter().flatten()).find(|own| own.name == name)
}

/// Where Thanos lists its stores, when it is started with `args`; or why it cannot be asked.
fn stores_url(pod: &Pod, args: &[String]) -> Result<String, &'static str> {
    let Listen { http, http_access, .. } = Listen::of(args);
    if http.loopback {
        return Err("Thanos listens on the pod's own localhost only");
    }
    let scheme = match http_access {
        HttpAccess::Plain => "",
        // The API server checks no certificate of a pod.
        HttpAccess::Tls => "https:",
        HttpAccess::ClientTls => return Err("Thanos wants a certificate of whoever asks over HTTP"),
        HttpAccess::Unread => {
            return Err("Thanos has a web configuration (--http.config), which may want TLS or a password");
        }
    };
    let path = format!("{}/api/v1/stores", route_prefix(args).trim_end_matches('/'));
    Ok(url(pod, scheme, http.port, &path))
}

/// Of a port of `pod`, through the API server. `scheme` has its colon, or is empty for HTTP.
fn url(pod: &Pod, scheme: &str, port: u16, path: &str) -> String {
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    format!("/api/v1/namespaces/{namespace}/pods/{scheme}{name}:{port}/proxy{path}")
}

async fn get<T: DeserializeOwned>(client: &Client, url: &str) -> Answer<T> {
    match timeout(ANSWER_TIMEOUT, request(client, url)).await {
        Ok(answer) => answer,
        Err(_) => Answer::Failed(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs())),
    }
}

async fn request<T: DeserializeOwned>(client: &Client, url: &str) -> Answer<T> {
    let failed =
        |what: &str, error: &dyn std::fmt::Display| Answer::Failed(short(&format!("{what}: {error}")));
    let request = match Request::get(url).body(Body::empty()) {
        Ok(request) => request,
        Err(error) => return failed("cannot be asked", &error),
    };
    let response = match client.send(request).await {
        Ok(response) => response,
        Err(error) => return failed("no answer", &error),
    };
    let status = response.status();
    if status.as_u16() == 403 {
        return Answer::Forbidden;
    }
    let body = match Limited::new(response.into_body(), ANSWER_LIMIT).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return failed("the answer cannot be read", &error),
    };
    if !status.is_success() {
        return failed(&format!("answered {}", status.as_u16()), &message_of(&body));
    }
    serde_json::from_slice(&body)
        .map_or_else(|error| failed("answered what was not expected", &error), Answer::Given)
}

/// What an error answer says: the message of the API server, or the text of the pod.
fn message_of(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Status {
        message: String,
    }
    match serde_json::from_slice::<Status>(body) {
        Ok(Status { message }) => message,
        Err(_) => String::from_utf8_lossy(&body[..body.len().min(4 * ERROR_LIMIT)]).trim().to_owned(),
    }
}

fn short(text: &str) -> String {
    text.chars().take(ERROR_LIMIT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thanos_is_asked_as_it_speaks_or_it_is_said_why_not() {
        let pod: Pod = serde_saphyr::from_str("{metadata: {namespace: demo, name: q-1}}").expect("a Pod");
        let asked = |arg: &str| stores_url(&pod, &["query".to_owned(), arg.to_owned()]);
        let url = |start: &str| Ok(format!("/api/v1/namespaces/demo/pods/{start}:10902/proxy/api/v1/stores"));
        assert_eq!(asked("--query.timeout=1m"), url("q-1"));
        assert_eq!(asked("--http.config=/etc/thanos/http-tls/tls.yaml"), url("https:q-1"));
        for (arg, why) in [
            ("--http.config=/etc/thanos/http-tls/client-tls.yaml", "certificate"),
            ("--http.config=/mine.yaml", "password"),
            ("--http-address=localhost:1", "localhost"),
        ] {
            assert!(asked(arg).expect_err("nobody can ask").contains(why), "{arg}");
        }
    }
}
