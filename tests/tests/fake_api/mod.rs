//! An API server in memory, with real semantics where they matter to the operator, and an operator that runs
//! against it in this process.
//!
//! Every test runs on tokio's paused clock: time passes only while nobody has anything to do. So "nothing was
//! written for ten minutes" takes no time and proves what it says.

mod agent;
mod ask;
mod defaults;
mod fault;
mod fields;
mod fixtures;
mod managed;
mod merge;
mod merge_patch;
mod operator;
mod selector;
mod server;
mod store;

use std::{collections::BTreeMap, panic::Location, sync::Arc, time::Duration};

use ::operator::clock::Clock;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

pub use agent::Agent;
pub use fault::Fault;
pub use fixtures::{bad_store, namespace, pods_of, query, query_in, slice, store, store_in, strict};
use managed::Writer;
pub use operator::Running;
use server::{Logged, Server};
use store::Key;

/// The hands of a test on the API server. Paths are written `namespace/plural/name`.
#[derive(Clone)]
pub struct FakeApi {
    server: Arc<Server>,
    /// Of every operator: it goes on when one is started again.
    clock: Clock,
}

/// A fault that is in force until it is lifted.
pub struct Injected {
    api: FakeApi,
    id: u64,
}

/// Longest that a condition is waited for.
const DEADLINE: Duration = Duration::from_secs(10);

// === impl FakeApi ===

impl FakeApi {
    /// Without objects.
    pub fn new() -> Self {
        Self { server: Server::new(), clock: Clock::start() }
    }

    /// A client of this server.
    pub fn client(&self) -> Client {
        let server = Arc::clone(&self.server);
        Client::new(tower::service_fn(move |request| Arc::clone(&server).answer(request)), "default")
    }

    /// Applies an object as a user does.
    pub fn apply(&self, yaml: impl AsRef<str>) {
        self.apply_as("user", yaml);
    }

    /// Applies an object as this manager does, with force.
    pub fn apply_as(&self, manager: &str, yaml: impl AsRef<str>) {
        let object: Value = serde_saphyr::from_str(yaml.as_ref()).expect("YAML");
        let text = |value: &Value| value.as_str().expect("kind and name").to_owned();
        let key = Key {
            plural: plural(&text(&object["kind"])),
            // Of a namespace there is none.
            namespace: object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned(),
            name: text(&object["metadata"]["name"]),
        };
        let writer = Writer::apply(manager, None);
        self.server.change(|state| state.store.apply(&key, &object, &writer, true)).expect("applied");
    }

    /// Changes an object as somebody else does.
    pub fn edit(&self, path: &str, change: impl FnOnce(&mut Value)) {
        self.edit_as(path, "somebody", None, change);
    }

    /// Changes an object as this manager does, maybe by a subresource such as `scale`: what is changed is its own
    /// from then on, and not any more of those who owned it.
    pub fn edit_as(
        &self,
        path: &str,
        manager: &str,
        subresource: Option<&str>,
        change: impl FnOnce(&mut Value),
    ) {
        let key = Key::of(path);
        self.server.change(|state| {
            let mut object = state.store.objects.get(&key).expect("an object to edit").clone();
            change(&mut object);
            state.store.update(&key, object, &Writer::update(manager, subresource));
        });
    }

    /// Creates an object as this manager does, without server-side apply.
    pub fn create_as(&self, manager: &str, path: &str, object: Value) {
        let (key, writer) = (Key::of(path), Writer::update(manager, None));
        self.server.change(|state| state.store.update(&key, object, &writer));
    }

    /// Deletes an object.
    pub fn delete(&self, path: &str) {
        self.server.change(|state| state.store.delete(&Key::of(path), None)).expect("deleted");
    }

    /// Deletes what belongs to objects that are gone.
    pub fn collect_garbage(&self) {
        self.server.change(|state| {
            let uids: Vec<Value> =
                state.store.objects.values().map(|object| object["metadata"]["uid"].clone()).collect();
            let is_orphan = |object: &Value| {
                let owners = object["metadata"]["ownerReferences"].as_array();
                owners.is_some_and(|owners| owners.iter().all(|owner| !uids.contains(&owner["uid"])))
            };
            let objects = &state.store.objects;
            let orphans = objects.iter().filter(|(_, object)| is_orphan(object));
            let orphans: Vec<Key> = orphans.map(|(key, _)| key.clone()).collect();
            orphans.iter().for_each(|key| state.store.delete(key, None).expect("deleted"));
        });
    }

    /// Does what the Deployment controller does when every pod is replaced.
    pub fn roll_out(&self, deployment: &str) {
        let path = format!("demo/deployments/{deployment}");
        self.edit_as(&path, "kube-controller-manager", Some("status"), |object| {
            let replicas = object["spec"]["replicas"].clone();
            object["status"] = json!({
                "observedGeneration": object["metadata"]["generation"],
                "replicas": replicas, "updatedReplicas": replicas,
                "readyReplicas": replicas, "availableReplicas": replicas,
            });
        });
    }

    /// Does what the Deployment controller does when it has seen a change and the first new pod is not ready, or when
    /// that has taken too long.
    pub fn roll_out_partly(&self, deployment: &str, is_stuck: bool) {
        let path = format!("demo/deployments/{deployment}");
        self.edit_as(&path, "kube-controller-manager", Some("status"), |object| {
            let replicas = object["spec"]["replicas"].as_u64().expect("a number");
            let progressing = match is_stuck {
                true => json!({"type": "Progressing", "status": "False", "message": "it does not get on"}),
                false => json!({"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"}),
            };
            object["status"] = json!({
                "observedGeneration": object["metadata"]["generation"],
                "replicas": replicas + 1, "updatedReplicas": 1,
                "readyReplicas": replicas, "availableReplicas": replicas,
                "conditions": [progressing],
            });
        });
    }

    /// An object, `Null` when it is not there.
    pub fn get(&self, path: &str) -> Value {
        self.server.state().store.objects.get(&Key::of(path)).cloned().unwrap_or_default()
    }

    /// Whether an object is there.
    pub fn has(&self, path: &str) -> bool {
        !self.get(path).is_null()
    }

    /// The Services in the document of a ThanosQuery in `demo`, by the first label of their addresses.
    pub fn endpoints(&self, query: &str) -> Vec<String> {
        let object = self.get(&format!("demo/configmaps/thanos-query-{query}-endpoints"));
        let Ok(config_map) = serde_json::from_value::<ConfigMap>(object) else { return vec![] };
        let Ok((_, document)) = ::operator::plan::payload_of(&config_map).unpack() else { return vec![] };
        let first = |address: String| address.split('.').next().unwrap_or_default().to_owned();
        document.endpoints().iter().map(|endpoint| first(endpoint.file.to_string())).collect()
    }

    /// What became of the objects of this kind in `demo`, in the order in which it happened: name, and the object, none
    /// when it was deleted.
    pub fn history(&self, plural: &str) -> Vec<(u64, String, Option<Value>)> {
        let state = self.server.state();
        let own = state.store.history.iter().filter(|change| change.key.plural == plural);
        own.map(|change| (change.version, change.key.name.clone(), change.after.clone())).collect()
    }

    /// The arguments of Thanos that begin with `flag`.
    pub fn flags(&self, query: &str, flag: &str) -> Vec<String> {
        let object = self.get(&format!("demo/deployments/thanos-query-{query}"));
        let args = object.pointer("/spec/template/spec/containers/0/args").and_then(Value::as_array);
        let args = args.into_iter().flatten().filter_map(Value::as_str);
        args.filter(|arg| arg.starts_with(flag)).map(str::to_owned).collect()
    }

    /// A condition of a ThanosQuery in `demo`, as `status: message`; none when it has no such condition.
    pub fn condition(&self, query: &str, type_: &str) -> Option<String> {
        let object = self.get(&format!("demo/thanosqueries/{query}"));
        let conditions = object.pointer("/status/conditions").and_then(Value::as_array)?;
        let own = conditions.iter().find(|own| own["type"] == type_)?;
        Some(format!("{}: {}", own["status"].as_str()?, own["message"].as_str()?))
    }

    /// Every Event as `reason object: note`, sorted by time.
    pub fn events(&self) -> Vec<String> {
        let state = self.server.state();
        let events = state.store.history.iter().filter(|change| change.key.plural == "events");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let events = events.filter_map(|change| change.after.as_ref());
        events
            .map(|event| {
                format!(
                    "{} {}: {}",
                    text(&event["reason"]),
                    text(&event["regarding"]["name"]),
                    text(&event["note"])
                )
            })
            .collect()
    }

    /// Every request since [`Self::forget_requests`] whose line begins with `verb` and contains `place`.
    pub fn requests(&self, verb: &str, place: &str) -> Vec<Logged> {
        let state = self.server.state();
        let meant = |logged: &&Logged| logged.line.starts_with(verb) && logged.line.contains(place);
        state.log.iter().filter(meant).cloned().collect()
    }

    /// Every writing request but Events, with its number, since [`Self::forget_requests`].
    pub fn writes(&self) -> BTreeMap<String, usize> {
        let mut writes = BTreeMap::new();
        let is_write = |line: &str| ["patch", "post", "delete"].iter().any(|verb| line.starts_with(verb));
        let state = self.server.state();
        for logged in state.log.iter().filter(|logged| is_write(&logged.line)) {
            if !logged.line.ends_with("/events") {
                *writes.entry(logged.line.clone()).or_default() += 1;
            }
        }
        writes
    }

    /// The writes that are not of a status.
    pub fn object_writes(&self) -> Vec<String> {
        self.writes().into_keys().filter(|line| !line.ends_with("/status")).collect()
    }

    /// Empties the log.
    pub fn forget_requests(&self) {
        self.server.change(|state| state.log.clear());
    }

    /// Installs an optional kind, such as `servicemonitors`.
    pub fn install_kind(&self, plural: &str) {
        self.server.change(|state| state.installed.insert(plural.to_owned()));
    }

    /// Takes it away, with all its objects.
    pub fn uninstall_kind(&self, plural: &str) {
        self.server.change(|state| {
            let keys: Vec<Key> =
                state.store.objects.keys().filter(|key| key.plural == plural).cloned().collect();
            keys.iter().for_each(|key| state.store.delete(key, None).expect("deleted"));
            state.installed.remove(plural);
        });
    }

    /// The release 1.x that the cluster says it is.
    pub fn is_kubernetes(&self, minor: u32) {
        self.server.change(|state| state.minor_version = Some(minor));
    }

    /// What a pod answers from now on through `pods/proxy`; the place is `namespace/pod:port/path`.
    pub fn pod_answers(&self, place: &str, text: impl Into<String>) {
        self.server.change(|state| state.pods.insert(place.to_owned(), text.into()));
    }

    /// Lets requests like `pattern` (a verb and a piece of the path, such as `list services`) go wrong.
    pub fn inject(&self, pattern: &str, fault: Fault) -> Injected {
        Injected { api: self.clone(), id: self.server.change(|state| state.faults.add(pattern, fault, None)) }
    }

    /// Lets the next request like `pattern` go wrong.
    pub fn inject_once(&self, pattern: &str, fault: Fault) {
        self.server.change(|state| state.faults.add(pattern, fault, Some(1)));
    }

    /// Ends every fault.
    pub fn lift_all(&self) {
        self.server.change(|state| state.faults.lift_all());
    }

    /// Ends every watch.
    pub fn cut_watches(&self) {
        self.server.change(|state| state.cuts += 1);
    }

    /// Forgets the history: a watch from before is told 410 Gone.
    pub fn compact(&self) {
        self.server.change(|state| state.store.floor = state.store.version);
    }

    /// Waits until `check` holds.
    #[track_caller]
    pub fn eventually(&self, mut check: impl FnMut() -> bool) -> impl Future<Output = ()> {
        let (caller, api) = (Location::caller(), self.clone());
        async move {
            let until = Instant::now() + DEADLINE;
            while !check() {
                assert!(Instant::now() < until, "{caller}: this did not come true; {}", api.story());
                sleep(Duration::from_millis(5)).await;
            }
        }
    }

    fn story(&self) -> String {
        let log = self.requests("", "");
        let last: Vec<&str> = log.iter().rev().take(30).rev().map(|logged| logged.line.as_str()).collect();
        format!("Events: {:#?}, last requests: {last:#?}", self.events())
    }
}

// === impl Injected ===

impl Injected {
    /// Ends the fault; what was held is carried out.
    pub fn lift(self) {
        self.api.server.change(|state| state.faults.lift(self.id));
    }
}

/// As the paths of the API spell it.
fn plural(kind: &str) -> String {
    let kind = kind.to_lowercase();
    match (kind.strip_suffix('y'), kind.ends_with('s')) {
        (Some(stem), _) => format!("{stem}ies"),
        (None, true) => format!("{kind}es"),
        (None, false) => format!("{kind}s"),
    }
}

/// Lets so many seconds pass. On the paused clock everything that is due until then happens before this returns.
pub async fn seconds(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}
