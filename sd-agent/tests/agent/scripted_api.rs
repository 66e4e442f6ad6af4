//! A [`FakeApi`] that is asked within the process, so that a stopped clock works: time passes only while everyone waits.
//! It sends bookmarks as a real server does, and the way to it can be cut.

use std::{
    io,
    ops::Deref,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{extract::Request, http::Uri};
use kube::Client;
use tokio::time::{Instant, interval};
use tower::{BoxError, ServiceExt, service_fn};

use crate::fake_api::{FakeApi, NAMESPACE};

#[derive(Clone)]
pub struct ScriptedApi {
    api: FakeApi,
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    way: Way,
    tries: Vec<(Instant, Uri)>,
}

/// What lies between agent and server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Open,
    /// Nobody listens.
    Refused,
    /// Packets are dropped.
    Silent,
}

impl ScriptedApi {
    pub fn start() -> Self {
        let inner = Inner { way: Way::Open, tries: vec![] };
        let scripted = Self { api: FakeApi::without_socket(), inner: Arc::new(Mutex::new(inner)) };
        let api = scripted.api.clone();
        tokio::spawn(async move {
            let mut minutes = interval(Duration::from_secs(60));
            loop {
                minutes.tick().await;
                api.send_bookmark();
            }
        });
        scripted
    }

    pub fn client(&self) -> Client {
        let (inner, pages) = (Arc::clone(&self.inner), self.api.pages());
        let service = service_fn(move |request: http::Request<kube::client::Body>| {
            let (inner, pages) = (Arc::clone(&inner), pages.clone());
            async move {
                let way = {
                    let mut inner = inner.lock().expect("no test panics while holding it");
                    inner.tries.push((Instant::now(), request.uri().clone()));
                    inner.way
                };
                match way {
                    Way::Open => {}
                    Way::Refused => {
                        return Err(BoxError::from(io::Error::from(io::ErrorKind::ConnectionRefused)));
                    }
                    Way::Silent => std::future::pending().await,
                }
                let request = request.map(axum::body::Body::new) as Request;
                match pages.oneshot(request).await {
                    Ok(answer) => Ok(answer),
                    Err(never) => match never {},
                }
            }
        });
        Client::new(service, NAMESPACE)
    }

    /// From now on; open watches stay as they are.
    pub fn way(&self, way: Way) {
        self.inner.lock().expect("no test panics while holding it").way = way;
    }

    /// The server dies: its watches break, and nobody listens.
    pub fn kill(&self) {
        self.way(Way::Refused);
        self.api.break_watches();
    }

    /// When what was asked for, whether it was answered or not.
    pub fn tries(&self) -> Vec<(Instant, Uri)> {
        self.inner.lock().expect("no test panics while holding it").tries.clone()
    }
}

impl Deref for ScriptedApi {
    type Target = FakeApi;

    fn deref(&self) -> &FakeApi {
        &self.api
    }
}
