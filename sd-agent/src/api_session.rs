//! Single requests to the API server: GET the one ConfigMap by its name, watch it from a resourceVersion.
//!
//! That needs only `get` and `watch` on one name. Everything is under a limit: the time of a request, the size of an
//! answer; the client's own retries are off, because they would hide a failure for minutes.

use std::time::Duration;

use kube::{
    Client, Config,
    api::{GetParams, WatchParams},
    client::Body,
    core::Request,
};
use tokio::time::timeout;

use crate::{
    api_error::{ApiError, Step},
    args::{NAMESPACE_FILE, object_name},
    body::{Lines, collect},
    configmap::{OBJECT_LIMIT, Object},
    timing::Timing,
};

const ERROR_LIMIT: usize = 64 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How the agent gets at the API server.
#[derive(Clone, Default)]
pub enum Connect {
    /// A kubeconfig if there is one, else the pod's service account.
    #[default]
    Infer,
    /// With this client.
    Given(Client),
}

/// One connected attempt: the client and where the ConfigMap is.
pub struct Session {
    client: Client,
    request: Request,
    /// Of the ConfigMap.
    pub name: String,
    /// The spans.
    pub timing: Timing,
}

// === impl Connect ===

impl Connect {
    /// A client with bounded patience.
    ///
    /// # Errors
    /// When there are no credentials, or they cannot be read.
    pub async fn client(&self) -> Result<Client, ApiError> {
        match self {
            Self::Given(client) => Ok(client.clone()),
            Self::Infer => {
                let mut config = Config::infer().await.map_err(|error| ApiError::Config(Box::new(error)))?;
                config.connect_timeout = Some(CONNECT_TIMEOUT);
                config.default_retry = false;
                Client::try_from(config).map_err(|error| ApiError::kube(Step::Connect, error))
            }
        }
    }
}

// === impl Session ===

impl Session {
    /// For one ConfigMap; in the pod's own namespace when none is given.
    ///
    /// # Errors
    /// When that is unknown.
    pub fn new(
        client: Client,
        namespace: Option<&str>,
        name: &str,
        timing: Timing,
    ) -> Result<Self, ApiError> {
        let namespace = namespace.map_or_else(own_namespace, |namespace| Ok(namespace.to_owned()))?;
        let request = Request::new(format!("/api/v1/namespaces/{namespace}/configmaps"));
        Ok(Self { client, request, name: name.to_owned(), timing })
    }

    /// From the API server's cache, which is cheap and may be old, or from the quorum.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn get(&self, quorum: bool) -> Result<Object, ApiError> {
        let params = GetParams { resource_version: (!quorum).then(|| "0".to_owned()) };
        let request =
            self.request.get(&self.name, &params).map_err(|error| ApiError::request(Step::Get, error))?;
        let read = async {
            let body = self.send(Step::Get, request).await?;
            collect(body, OBJECT_LIMIT).await.map_err(|error| ApiError::body(Step::Get, error))
        };
        let text = within(Step::Get, self.timing.request, read).await?;
        serde_json::from_slice(&text).map_err(|source| ApiError::Json { step: Step::Get, source })
    }

    /// The events after `version`, for `length`.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn watch(&self, version: &str, length: Duration) -> Result<Lines, ApiError> {
        let seconds = u32::try_from(length.as_secs().max(1)).unwrap_or(u32::MAX);
        let params = WatchParams::default().fields(&format!("metadata.name={}", self.name)).timeout(seconds);
        let request =
            self.request.watch(&params, version).map_err(|error| ApiError::request(Step::Watch, error))?;
        let body = within(Step::Watch, self.timing.request, self.send(Step::Watch, request)).await?;
        Ok(Lines::new(body, OBJECT_LIMIT))
    }

    async fn send(&self, step: Step, request: http::Request<Vec<u8>>) -> Result<Body, ApiError> {
        let answer = self.client.send(request.map(Body::from)).await;
        let answer = answer.map_err(|error| ApiError::kube(step, error))?;
        if answer.status().is_success() {
            return Ok(answer.into_body());
        }
        let code = answer.status().as_u16();
        let after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        let text = collect(answer.into_body(), ERROR_LIMIT).await.unwrap_or_default();
        let status: Object = serde_json::from_slice(&text).unwrap_or_default();
        let after = after.or_else(|| status.details.and_then(|details| details.retry_after_seconds));
        Err(ApiError::status(step, code, status.message.unwrap_or_default(), after))
    }
}

async fn within<T>(
    step: Step,
    limit: Duration,
    work: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    timeout(limit, work)
        .await
        .unwrap_or_else(|_| Err(ApiError::Timeout { step, seconds: limit.as_secs_f32() }))
}

fn own_namespace() -> Result<String, ApiError> {
    let text = std::fs::read_to_string(NAMESPACE_FILE).map_err(ApiError::Namespace)?;
    object_name(text.trim()).map_err(|error| ApiError::Namespace(std::io::Error::other(error)))
}
