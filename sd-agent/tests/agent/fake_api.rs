//! An API server that knows one ConfigMap, on a real loopback socket. It remembers every request, replays the
//! events after the resourceVersion that a watch names, and misbehaves on demand.

use std::{
    collections::VecDeque,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Router,
    body::Body,
    extract::{Path, State},
    http::{Method, StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::get,
    serve::ListenerExt,
};
use kube::{Client, Config};
use sd_agent::{Payload, configmap};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc};

pub const NAMESPACE: &str = "demo";
pub const NAME: &str = "thanos-query-demo-endpoints";

#[derive(Clone)]
pub struct FakeApi {
    pub address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    version: u64,
    object: Option<Value>,
    /// What a read with `resourceVersion=0` shows instead.
    stale: Option<Value>,
    history: Vec<(u64, String)>,
    watches: Vec<mpsc::UnboundedSender<Option<String>>>,
    requests: Vec<String>,
    /// Answers to give instead, per kind of request; the last one stays.
    get_answers: VecDeque<Response>,
    watch_refusal: Option<StatusCode>,
    get_refusal: Option<StatusCode>,
}

impl FakeApi {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let api = Self { address: listener.local_addr().expect("bound"), inner: Arc::default() };
        let pages = Router::new()
            .route("/api/v1/namespaces/{namespace}/configmaps/{name}", get(read))
            .route("/api/v1/namespaces/{namespace}/configmaps", get(watch))
            .fallback(anything)
            .with_state(api.clone());
        // As a real API server does; otherwise Nagle's algorithm holds small events back for 40 ms.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        tokio::spawn(async move { axum::serve(listener, pages).await });
        api
    }

    pub fn client(&self) -> Client {
        let mut config = Config::new(self.url().parse().expect("a URL"));
        config.default_retry = false;
        Client::try_from(config).expect("a client")
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Creates or changes the ConfigMap.
    pub fn put(&self, payload: &Payload) {
        let (data, binary_data) = configmap::parts(payload);
        self.put_raw(json!(data), json!(binary_data));
    }

    pub fn put_raw(&self, data: Value, binary_data: Value) {
        let mut inner = self.lock();
        inner.version += 1;
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": NAME, "namespace": NAMESPACE, "uid": "some-uid",
                "resourceVersion": inner.version.to_string(),
            },
            "data": data, "binaryData": binary_data,
        });
        let kind = if inner.object.is_some() { "MODIFIED" } else { "ADDED" };
        inner.object = Some(object.clone());
        inner.event(kind, &object);
    }

    pub fn delete(&self) {
        let mut inner = self.lock();
        inner.version += 1;
        if let Some(mut object) = inner.object.take() {
            object["metadata"]["resourceVersion"] = json!(inner.version.to_string());
            inner.event("DELETED", &object);
        }
    }

    /// Changes the ConfigMap, and leaves reads with `resourceVersion=0` and watches behind.
    pub fn lag(&self) {
        let mut inner = self.lock();
        inner.stale = inner.object.clone();
    }

    /// Sends a line to every open watch as it stands.
    pub fn send(&self, line: &Value) {
        self.lock().watches.retain(|watch| watch.send(Some(format!("{line}\n"))).is_ok());
    }

    /// An event as a lagging API server would send it: with an old object and a new version.
    pub fn send_event(&self, payload: &Payload) {
        let (data, binary_data) = configmap::parts(payload);
        let version = self.lock().version.to_string();
        let metadata = json!({"name": NAME, "resourceVersion": version});
        let object = json!({"metadata": metadata, "data": data, "binaryData": binary_data});
        self.send(&json!({"type": "MODIFIED", "object": object}));
    }

    /// Ends every open watch the way a timeout does.
    pub fn end_watches(&self) {
        for watch in self.lock().watches.drain(..) {
            let _ = watch.send(None);
        }
    }

    pub fn open_watches(&self) -> usize {
        let mut inner = self.lock();
        inner.watches.retain(|watch| !watch.is_closed());
        inner.watches.len()
    }

    pub fn refuse_reads(&self, with: Option<u16>) {
        self.lock().get_refusal = with.map(|code| StatusCode::from_u16(code).expect("a code"));
    }

    pub fn refuse_watches(&self, with: Option<u16>) {
        self.lock().watch_refusal = with.map(|code| StatusCode::from_u16(code).expect("a code"));
    }

    /// The next read gets this body instead.
    pub fn answer_next_read(&self, body: Body) {
        self.lock().get_answers.push_back(Response::new(body));
    }

    pub fn requests(&self) -> Vec<String> {
        self.lock().requests.clone()
    }

    pub fn reads(&self) -> usize {
        self.requests().iter().filter(|request| !request.contains("watch=")).count()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no test panics while holding it")
    }
}

impl Inner {
    fn event(&mut self, kind: &str, object: &Value) {
        let line = format!("{}\n", json!({"type": kind, "object": object}));
        self.watches.retain(|watch| watch.send(Some(line.clone())).is_ok());
        self.history.push((self.version, line));
    }
}

fn status(code: StatusCode) -> Response {
    let body = json!({"kind": "Status", "metadata": {}, "code": code.as_u16(), "message": "by the test"});
    (code, body.to_string()).into_response()
}

async fn read(
    State(api): State<FakeApi>,
    Path((namespace, name)): Path<(String, String)>,
    method: Method,
    uri: Uri,
) -> Response {
    let mut inner = api.lock();
    inner.requests.push(format!("{method} {uri}"));
    if let Some(code) = inner.get_refusal {
        return status(code);
    }
    if let Some(answer) = inner.get_answers.pop_front() {
        return answer;
    }
    let cached = uri.query().is_some_and(|query| query.contains("resourceVersion=0"));
    let object = if cached { inner.stale.as_ref().or(inner.object.as_ref()) } else { inner.object.as_ref() };
    match object {
        Some(object) if (namespace.as_str(), name.as_str()) == (NAMESPACE, NAME) => {
            object.to_string().into_response()
        }
        _ => status(StatusCode::NOT_FOUND),
    }
}

async fn watch(State(api): State<FakeApi>, method: Method, uri: Uri) -> Response {
    let mut inner = api.lock();
    inner.requests.push(format!("{method} {uri}"));
    if let Some(code) = inner.watch_refusal {
        return status(code);
    }
    let version = uri.query().and_then(|query| query.split("resourceVersion=").nth(1)?.split('&').next());
    let after: u64 = version.and_then(|text| text.parse().ok()).unwrap_or_default();
    let (sender, receiver) = mpsc::unbounded_channel();
    for (_, line) in inner.history.iter().filter(|(version, _)| *version > after) {
        let _ = sender.send(Some(line.clone()));
    }
    inner.watches.push(sender);
    let lines = futures::stream::unfold(receiver, |mut receiver| async {
        let line = receiver.recv().await.flatten()?;
        Some((Ok::<_, Infallible>(line), receiver))
    });
    Body::from_stream(lines).into_response()
}

async fn anything(State(api): State<FakeApi>, method: Method, uri: Uri) -> Response {
    api.lock().requests.push(format!("{method} {uri}"));
    status(StatusCode::FORBIDDEN)
}
