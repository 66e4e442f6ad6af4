//! Answers requests as an API server does.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures::stream;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Bytes, Frame};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{
    ask::Ask,
    fault::{Fault, Faults},
    managed::Writer,
    selector,
    store::{Change, Key, Refusal, Store},
};

/// What is not answered fails after this long, as by the read timeout of the operator's own client.
const READ_TIMEOUT: Duration = Duration::from_secs(305);

/// Group, version and plural of the kinds that are not there unless they are installed.
const OPTIONAL: [(&str, &str); 1] = [("monitoring.coreos.com/v1", "servicemonitors")];

/// The API server.
pub struct Server {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

/// Everything that changes.
#[derive(Default)]
pub struct State {
    /// The objects.
    pub store: Store,
    /// What goes wrong.
    pub faults: Faults,
    /// Every request.
    pub log: Vec<Logged>,
    /// Watches that were open at an earlier count are cut.
    pub cuts: u64,
    /// What pods answer through `pods/proxy`, as text, by `namespace/pod:port/path`.
    pub pods: BTreeMap<String, String>,
    /// The optional kinds that are installed, by plural.
    pub installed: BTreeSet<String>,
    /// The release 1.x that it says it is, when that is not a new one.
    pub minor_version: Option<u32>,
}

/// A request as the log has it.
#[derive(Clone, Debug)]
pub struct Logged {
    /// Such as `patch demo/services/a`.
    pub line: String,
    /// When it came, on tokio's clock.
    pub at: Instant,
}

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

// === impl Server ===

impl Server {
    /// An empty one.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), changed: watch::Sender::new(()) })
    }

    /// For looking only.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics with the lock")
    }

    /// Changes something and lets the watches know.
    pub fn change<R>(&self, what: impl FnOnce(&mut State) -> R) -> R {
        let result = what(&mut self.state());
        self.changed.send_replace(());
        result
    }

    /// Answers one request.
    pub async fn answer(self: Arc<Self>, request: Request<Body>) -> Result<Answer, Infallible> {
        let ask = Ask::of(&request);
        let line = ask.to_string();
        let body = request.into_body().collect_bytes().await.expect("a body");
        // Applies are sent as YAML, of which JSON is a part.
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let fault = self.change(|state| {
            state.log.push(Logged { line: line.clone(), at: Instant::now() });
            state.faults.strike(&line)
        });
        match fault {
            Some((_, Fault::Code(code))) => return Ok(refused(&Refusal(code, format!("injected {code}")))),
            Some((_, Fault::Delay(delay))) => sleep(delay).await,
            Some((id, Fault::Hold)) => {
                let mut changed = self.changed.subscribe();
                let lifted = async {
                    while self.state().faults.lasts(id) {
                        changed.changed().await.expect("the server lives");
                    }
                };
                if timeout(READ_TIMEOUT, lifted).await.is_err() {
                    return Ok(refused(&Refusal(504, "no answer".to_owned())));
                }
            }
            Some((_, Fault::LoseAnswer)) | None => {}
        }
        let answer = self.carry_out(&ask, &body);
        if let Some((_, Fault::LoseAnswer)) = fault {
            sleep(READ_TIMEOUT).await;
            return Ok(refused(&Refusal(504, "no answer".to_owned())));
        }
        Ok(answer)
    }

    fn carry_out(self: &Arc<Self>, ask: &Ask, body: &Value) -> Answer {
        let key = Key {
            plural: ask.plural.clone(),
            namespace: ask.namespace.clone().unwrap_or_default(),
            name: ask.name.clone().unwrap_or_default(),
        };
        let result = match ask.verb {
            "ask" => Ok(self.version()),
            "discover" => self.kinds(&ask.plural),
            _ if !self.state().has_kind(&ask.plural) => {
                Err(Refusal(404, format!("the server has no {}", ask.plural)))
            }
            "list" => Ok(self.list(ask)),
            "watch" => return self.watch(ask),
            "get" if ask.part.as_deref() == Some("proxy") => {
                let place = format!("{}/{}/{}", key.namespace, key.name, ask.rest);
                return match self.state().pods.get(&place) {
                    Some(text) => raw(200, text.clone()),
                    None => refused(&Refusal(503, format!("error trying to reach service: {place}"))),
                };
            }
            "get" => {
                let found = self.state().store.objects.get(&key).cloned();
                found.ok_or_else(|| Refusal(404, format!("{} not found", key.name)))
            }
            "patch" => {
                let force = ask.parameter("force") == Some("true");
                let (manager, part) = (manager(ask), ask.part.as_deref());
                match ask.content_type.as_str() {
                    "application/apply-patch+yaml" => self
                        .change(|state| state.store.apply(&key, body, &Writer::apply(manager, part), force)),
                    "application/merge-patch+json" => self
                        .change(|state| state.store.merge_patch(&key, body, &Writer::update(manager, part))),
                    other => Err(Refusal(415, format!("{other:?} is not supported"))),
                }
            }
            "post" => {
                let name = body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                let writer = Writer::update(manager(ask), None);
                Ok(self.change(|state| state.store.update(&Key { name, ..key }, body.clone(), &writer)))
            }
            "delete" => {
                let uid = body["preconditions"]["uid"].as_str();
                self.change(|state| state.store.delete(&key, uid))
                    .map(|()| json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}))
            }
            other => Err(Refusal(405, other.to_owned())),
        };
        match result {
            Ok(object) => full(200, &object),
            Err(refusal) => refused(&refusal),
        }
    }

    fn version(&self) -> Value {
        let minor = self.state().minor_version.unwrap_or(36).to_string();
        json!({"major": "1", "minor": minor, "gitVersion": format!("v1.{minor}.0"), "gitCommit": "",
            "gitTreeState": "", "buildDate": "", "goVersion": "", "compiler": "", "platform": ""})
    }

    /// The optional kinds that a group and version has; the others are asked for without a question.
    fn kinds(&self, version: &str) -> Result<Value, Refusal> {
        let state = self.state();
        let kinds = OPTIONAL.iter().filter(|(of, plural)| *of == version && state.has_kind(plural));
        let kinds: Vec<Value> = kinds
            .map(|(_, plural)| json!({"name": plural, "singularName": "", "namespaced": true, "kind": "", "verbs": []}))
            .collect();
        if kinds.is_empty() {
            return Err(Refusal(404, "the server could not find the requested resource".to_owned()));
        }
        Ok(
            json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": kinds}),
        )
    }

    fn list(&self, ask: &Ask) -> Value {
        let state = self.state();
        let items: Vec<Value> = state
            .store
            .objects
            .iter()
            .filter(|(key, object)| is_meant(ask, key) && is_selected(ask, object))
            .map(|(_, object)| shown(ask, object))
            .collect();
        json!({
            "kind": "List",
            "apiVersion": "v1",
            "metadata": {"resourceVersion": state.store.version.to_string()},
            "items": items,
        })
    }

    fn watch(self: &Arc<Self>, ask: &Ask) -> Answer {
        let number = |name| ask.parameter(name).and_then(|value| value.parse::<u64>().ok());
        let since = number("resourceVersion").unwrap_or_default();
        let state = self.state();
        if since < state.store.floor {
            // As a real one does: the watch is opened, and its first event is the error.
            let gone = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "too old resource version", "reason": "Expired", "code": 410});
            return full(200, &json!({"type": "ERROR", "object": gone}));
        }
        let open = Open {
            server: Arc::clone(self),
            changed: self.changed.subscribe(),
            ask: ask.clone(),
            next: state.store.history.partition_point(|change| change.version <= since),
            cuts: state.cuts,
            until: Instant::now() + Duration::from_secs(number("timeoutSeconds").unwrap_or(290)),
            marked: since,
        };
        let events = stream::unfold(open, |mut open| async move {
            let frame = open.next().await?;
            Some((Ok(Frame::data(Bytes::from(frame))), open))
        });
        Response::new(StreamBody::new(events).boxed_unsync())
    }
}

// === impl State ===

impl State {
    fn has_kind(&self, plural: &str) -> bool {
        self.installed.contains(plural) || OPTIONAL.iter().all(|(_, optional)| *optional != plural)
    }
}

/// A watch that is open.
struct Open {
    server: Arc<Server>,
    changed: watch::Receiver<()>,
    ask: Ask,
    next: usize,
    cuts: u64,
    until: Instant,
    marked: u64,
}

// === impl Open ===

impl Open {
    /// The next event, a bookmark when only others' events came, or the end.
    async fn next(&mut self) -> Option<String> {
        loop {
            self.changed.mark_unchanged();
            {
                let state = self.server.state();
                if state.cuts != self.cuts || !state.has_kind(&self.ask.plural) {
                    return None;
                }
                while let Some(change) = state.store.history.get(self.next) {
                    self.next += 1;
                    if let Some(event) = event(&self.ask, change) {
                        return Some(format!("{event}\n"));
                    }
                }
                if self.marked + 20 < state.store.version {
                    self.marked = state.store.version;
                    let object = json!({"kind": "", "apiVersion": "", "metadata": {"resourceVersion": self.marked.to_string()}});
                    return Some(format!("{}\n", json!({"type": "BOOKMARK", "object": object})));
                }
            }
            tokio::select! {
                changed = self.changed.changed() => changed.expect("the server lives"),
                () = tokio::time::sleep_until(self.until) => return None,
            }
        }
    }
}

/// What a watch is told of a change: with a selector, objects come and go by their labels, too.
fn event(ask: &Ask, change: &Change) -> Option<Value> {
    if !is_meant(ask, &change.key) {
        return None;
    }
    let chosen = |object: &Option<Value>| object.clone().filter(|object| is_selected(ask, object));
    let (kind, object) = match (chosen(&change.before), chosen(&change.after)) {
        (None, None) => return None,
        (None, Some(new)) => ("ADDED", new),
        (Some(_), Some(new)) => ("MODIFIED", new),
        (Some(mut old), None) => {
            old["metadata"]["resourceVersion"] = json!(change.version.to_string());
            ("DELETED", old)
        }
    };
    Some(json!({"type": kind, "object": shown(ask, &object)}))
}

fn is_meant(ask: &Ask, key: &Key) -> bool {
    key.plural == ask.plural && ask.namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace)
}

fn is_selected(ask: &Ask, object: &Value) -> bool {
    selector::is_selected(
        ask.parameter("labelSelector").unwrap_or_default(),
        object.pointer("/metadata/labels").unwrap_or(&Value::Null),
    )
}

/// Who writes; a real server makes this name of the program's.
fn manager(ask: &Ask) -> &str {
    ask.parameter("fieldManager").unwrap_or("unknown")
}

fn shown(ask: &Ask, object: &Value) -> Value {
    if ask.metadata_only {
        json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object["metadata"]})
    } else {
        object.clone()
    }
}

fn refused(Refusal(code, message): &Refusal) -> Answer {
    let reason = match code {
        400 => "BadRequest",
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        415 => "UnsupportedMediaType",
        422 => "Invalid",
        429 => "TooManyRequests",
        _ => "InternalError",
    };
    full(
        *code,
        &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": reason, "code": code}),
    )
}

fn full(code: u16, body: &Value) -> Answer {
    raw(code, body.to_string())
}

fn raw(code: u16, body: String) -> Answer {
    let body = Full::new(Bytes::from(body)).boxed_unsync();
    Response::builder().status(code).body(body).expect("a response")
}
