//! GET requests to one pod over one connection, cheap enough for twenty a second.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{
    Request,
    body::Bytes,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::{Client, ResourceExt as _};
use tokio::{net::TcpStream, time::timeout};

use crate::cluster::Cluster;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(5);

/// The largest answer that is read.
const LARGEST: usize = 4 << 20;

/// One port of one pod.
pub struct Probe {
    way: Way,
    open: Option<SendRequest<Empty<Bytes>>>,
}

enum Way {
    /// The pods' network is routed to this machine.
    Direct { host: String, port: u16 },
    /// The API server passes requests on.
    Proxy { client: Client, prefix: String },
}

// === impl Probe ===

impl Probe {
    /// Of `port` of `pod`.
    ///
    /// # Errors
    /// When the pod has no address.
    pub fn new(cluster: &Cluster, client: &Client, pod: &Pod, port: u16) -> Result<Self> {
        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        let way = if cluster.is_own() {
            let host = pod.status.as_ref().and_then(|status| status.pod_ip.clone());
            Way::Direct { host: host.with_context(|| format!("{name} has no address"))?, port }
        } else {
            let prefix = format!("/api/v1/namespaces/{namespace}/pods/{name}:{port}/proxy");
            Way::Proxy { client: client.clone(), prefix }
        };
        Ok(Self { way, open: None })
    }

    /// The body of the answer to `path`.
    ///
    /// # Errors
    /// When there is none in time, or one that is not 200.
    pub async fn get(&mut self, path: &str) -> Result<Bytes> {
        let answer = timeout(LIMIT, self.ask(path)).await.context("no answer in time").flatten();
        if answer.is_err() {
            // Whatever is still under way on it belongs to nobody.
            self.open = None;
        }
        answer
    }

    async fn ask(&mut self, path: &str) -> Result<Bytes> {
        let (host, port) = match &self.way {
            Way::Direct { host, port } => (host.as_str(), *port),
            Way::Proxy { client, prefix } => {
                let request = Request::get(format!("{prefix}{path}")).body(Vec::new())?;
                return Ok(client.request_text(request).await?.into());
            }
        };
        let mut sender = match self.open.take().filter(|open| !open.is_closed()) {
            Some(open) => open,
            None => connect(host, port).await?,
        };
        sender.ready().await?;
        let request = Request::get(path).header("host", host).body(Empty::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body =
            Limited::new(response.into_body(), LARGEST).collect().await.map_err(anyhow::Error::from_boxed)?;
        self.open = Some(sender);
        if !status.is_success() {
            bail!("{path}: {status}");
        }
        Ok(body.to_bytes())
    }
}

async fn connect(host: &str, port: u16) -> Result<SendRequest<Empty<Bytes>>> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with its sender.
    tokio::spawn(connection);
    Ok(sender)
}
