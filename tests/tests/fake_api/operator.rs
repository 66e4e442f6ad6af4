//! The operator under test, in this process.

use std::{io::Read, io::Write, net::SocketAddr, net::TcpStream};

use operator::{
    config::{Config, DefaultRollouts},
    runtime::Operator,
    watch::Scope,
};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

use super::{FakeApi, query, seconds, store};

/// An operator that runs.
pub struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<anyhow::Result<()>>,
    admin: SocketAddr,
}

// === impl FakeApi ===

impl FakeApi {
    /// Starts an operator of all namespaces.
    pub async fn operator(&self) -> Running {
        self.start(vec![Scope::All]).await
    }

    /// Starts an operator of some namespaces.
    pub async fn operator_in(&self, namespaces: &[&str]) -> Running {
        let own = |namespace: &&str| Scope::Namespace((*namespace).to_owned());
        self.start(namespaces.iter().map(own).collect()).await
    }

    /// A ThanosQuery `global` in `demo` with the fields of `spec` and one store, all of it rolled out, and nobody has
    /// anything to do.
    pub async fn at_rest(spec: &str) -> (Self, Running) {
        const NAMES: [&str; 2] = ["thanos-query-global", "thanos-query-frontend-global"];
        let api = Self::new();
        api.apply(query("global", spec));
        api.apply(store("a"));
        let operator = api.operator().await;
        let path = |name: &str| format!("demo/deployments/{name}");
        api.eventually(|| api.has(&path(NAMES[0]))).await;
        NAMES.iter().filter(|name| api.has(&path(name))).for_each(|name| api.roll_out(name));
        seconds(10).await;
        api.forget_requests();
        (api, operator)
    }

    async fn start(&self, scopes: Vec<Scope>) -> Running {
        self.start_with(scopes, "sd-agent:1", DefaultRollouts::Paced).await
    }

    /// Starts an operator of all namespaces with another agent image: an upgraded one.
    pub async fn upgraded(&self, agent_image: &str, default_rollouts: DefaultRollouts) -> Running {
        self.start_with(vec![Scope::All], agent_image, default_rollouts).await
    }

    async fn start_with(
        &self,
        scopes: Vec<Scope>,
        agent_image: &str,
        default_rollouts: DefaultRollouts,
    ) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let admin = listener.local_addr().expect("an address");
        let config = Config {
            agent_image: agent_image.into(),
            cluster_domain: "cluster.local".into(),
            default_rollouts,
            needs_consent: true,
        };
        let (client, clock) = (self.client(), self.clock);
        let operator = Operator { client, clock, config, scopes, instance: "test".into(), listener };
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(operator.run(async move { drop(stopped.await) }));
        Running { stop, task, admin }
    }
}

// === impl Running ===

impl Running {
    /// Stops it and waits for its end.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        self.task.await.expect("no panic").expect("a clean end");
    }

    /// A page of the admin server.
    pub async fn page(&self, path: &str) -> String {
        let (admin, path) = (self.admin, path.to_owned());
        // The paused clock stands still while a blocking task runs.
        let get = move || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(admin)?;
            write!(stream, "GET {path} HTTP/1.1\r\nHost: operator\r\nConnection: close\r\n\r\n")?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        };
        tokio::task::spawn_blocking(get).await.expect("no panic").expect("a page")
    }
}
