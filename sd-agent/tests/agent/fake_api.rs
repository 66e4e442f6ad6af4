//! An API server that knows one ConfigMap, on a real loopback socket or within the process. It remembers every request,
//! replays the events after the resourceVersion that a watch names, and misbehaves on demand.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Path, Request, State},
    http::{Method, StatusCode, Uri},
    middleware::{Next, from_fn_with_state},
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
    /// Of a server whose cache lags: up to which version it knows, and what a read with `resourceVersion=0` shows.
    stale: Option<(u64, Value)>,
    history: Vec<(u64, String)>,
    watches: Vec<Watch>,
    /// Watches whose connection is half open: nothing comes any more, not even an end.
    hung: Vec<Watch>,
    requests: Vec<String>,
    /// Answers to give instead, per kind of request.
    get_answers: VecDeque<Response>,
    watch_answers: VecDeque<Response>,
    /// The only token that counts; any if none.
    token: Option<String>,
    refused_tokens: usize,
    watch_refusal: Option<StatusCode>,
    get_refusal: Option<StatusCode>,
}

struct Watch {
    id: usize,
    lines: mpsc::UnboundedSender<Said>,
}

/// What a watch says.
enum Said {
    Text(String),
    End,
    Break,
}

impl FakeApi {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let api = Self { address: listener.local_addr().expect("bound"), inner: Arc::default() };
        let pages = api.pages();
        // As a real API server does; otherwise Nagle's algorithm holds small events back for 40 ms.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        tokio::spawn(async move { axum::serve(listener, pages).await });
        api
    }

    /// Without a socket: whoever wants something asks [`Self::pages`].
    pub fn without_socket() -> Self {
        Self { address: SocketAddr::from(([127, 0, 0, 1], 1)), inner: Arc::default() }
    }

    pub fn pages(&self) -> Router {
        Router::new()
            .route("/api/v1/namespaces/{namespace}/configmaps/{name}", get(read))
            .route("/api/v1/namespaces/{namespace}/configmaps", get(watch))
            .fallback(anything)
            .layer(from_fn_with_state(self.clone(), authenticate))
            .with_state(self.clone())
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
        let object = raw_object(data, binary_data, inner.version);
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

    /// From now on reads with `resourceVersion=0` and watches stay behind.
    pub fn lag(&self) {
        let mut inner = self.lock();
        inner.stale = inner.object.clone().map(|object| (inner.version, object));
    }

    /// The same, with a document of long ago.
    pub fn lag_at(&self, payload: &Payload) {
        let object = object(payload, 1);
        self.lock().stale = Some((1, object));
    }

    /// The cache is right again; watches that are open say what they held back.
    pub fn catch_up(&self) {
        let mut inner = self.lock();
        let Some((known, _)) = inner.stale.take() else { return };
        let held: Vec<String> = inner.history_after(known).map(ToOwned::to_owned).collect();
        for line in held {
            inner.say(&line);
        }
    }

    /// Sends a line to every open watch as it stands.
    pub fn send(&self, line: &Value) {
        self.send_text(&format!("{line}\n"));
    }

    pub fn send_text(&self, text: &str) {
        self.lock().watches.retain(|watch| watch.lines.send(Said::Text(text.to_owned())).is_ok());
    }

    /// As a server does about every minute.
    pub fn send_bookmark(&self) {
        let metadata = json!({"resourceVersion": self.lock().version.to_string()});
        self.send(&json!({"type": "BOOKMARK", "object": {"metadata": metadata}}));
    }

    /// Every open watch is half open from now on.
    pub fn hang_watches(&self) {
        let mut inner = self.lock();
        let watches = std::mem::take(&mut inner.watches);
        inner.hung.extend(watches);
    }

    /// An event as a lagging API server would send it: with an old object and a new version.
    pub fn send_event(&self, payload: &Payload) {
        let object = object(payload, self.lock().version);
        self.send(&json!({"type": "MODIFIED", "object": object}));
    }

    /// Ends every open watch the way a timeout does.
    pub fn end_watches(&self) {
        for watch in self.lock().watches.drain(..) {
            let _ = watch.lines.send(Said::End);
        }
    }

    /// Breaks every open watch the way a killed server does.
    pub fn break_watches(&self) {
        for watch in self.lock().watches.drain(..) {
            let _ = watch.lines.send(Said::Break);
        }
    }

    /// Ends one watch, unless it is gone or half open.
    fn end_watch(&self, id: usize) {
        let mut inner = self.lock();
        if let Some(index) = inner.watches.iter().position(|watch| watch.id == id) {
            let _ = inner.watches.remove(index).lines.send(Said::End);
        }
    }

    pub fn open_watches(&self) -> usize {
        let mut inner = self.lock();
        inner.watches.retain(|watch| !watch.lines.is_closed());
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
        self.answer_read(Response::new(body));
    }

    pub fn answer_read(&self, answer: Response) {
        self.lock().get_answers.push_back(answer);
    }

    pub fn answer_watch(&self, answer: Response) {
        self.lock().watch_answers.push_back(answer);
    }

    pub fn require_token(&self, token: &str) {
        self.lock().token = Some(token.to_owned());
    }

    /// How many requests had another token.
    pub fn refused_tokens(&self) -> usize {
        self.lock().refused_tokens
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
        if self.stale.is_none() {
            self.say(&line);
        }
        self.history.push((self.version, line));
    }

    fn say(&mut self, line: &str) {
        self.watches.retain(|watch| watch.lines.send(Said::Text(line.to_owned())).is_ok());
    }

    fn history_after(&self, version: u64) -> impl Iterator<Item = &str> {
        let later = self.history.iter().filter(move |(at, _)| *at > version);
        later.map(|(_, line)| line.as_str())
    }
}

fn object(payload: &Payload, version: u64) -> Value {
    let (data, binary_data) = configmap::parts(payload);
    raw_object(json!(data), json!(binary_data), version)
}

fn raw_object(data: Value, binary_data: Value, version: u64) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": NAME, "namespace": NAMESPACE, "uid": "some-uid", "resourceVersion": version.to_string(),
        },
        "data": data, "binaryData": binary_data,
    })
}

/// A number in a query.
fn number(uri: &Uri, name: &str) -> u64 {
    let pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let value = pairs.filter(|(key, _)| *key == name).find_map(|(_, value)| value.parse().ok());
    value.unwrap_or_default()
}

fn status(code: StatusCode) -> Response {
    let body = json!({"kind": "Status", "metadata": {}, "code": code.as_u16(), "message": "by the test"});
    (code, body.to_string()).into_response()
}

async fn authenticate(State(api): State<FakeApi>, request: Request, next: Next) -> Response {
    {
        let mut inner = api.lock();
        let shown = request.headers().get("authorization").map(|value| value.to_str().unwrap_or_default());
        if inner.token.as_ref().is_some_and(|token| shown != Some(&format!("Bearer {token}"))) {
            inner.refused_tokens += 1;
            return status(StatusCode::UNAUTHORIZED);
        }
    }
    next.run(request).await
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
    let stale = inner.stale.as_ref().filter(|_| cached).map(|(_, object)| object);
    let object = stale.or(inner.object.as_ref());
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
    if let Some(answer) = inner.watch_answers.pop_front() {
        return answer;
    }
    let after = number(&uri, "resourceVersion");
    let (sender, receiver) = mpsc::unbounded_channel();
    if inner.stale.is_none() {
        for line in inner.history_after(after) {
            let _ = sender.send(Said::Text(line.to_owned()));
        }
    }
    let id = inner.requests.len();
    inner.watches.push(Watch { id, lines: sender });
    let (length, api) = (Duration::from_secs(number(&uri, "timeoutSeconds")), api.clone());
    tokio::spawn(async move {
        tokio::time::sleep(length).await;
        api.end_watch(id);
    });
    let lines = futures::stream::unfold(receiver, |mut receiver| async {
        let said = match receiver.recv().await? {
            Said::Text(text) => Ok(text),
            Said::End => return None,
            Said::Break => Err(io::Error::from(io::ErrorKind::ConnectionReset)),
        };
        Some((said, receiver))
    });
    Body::from_stream(lines).into_response()
}

async fn anything(State(api): State<FakeApi>, method: Method, uri: Uri) -> Response {
    api.lock().requests.push(format!("{method} {uri}"));
    status(StatusCode::FORBIDDEN)
}
