//! What can go wrong with the API, and what that means for the next try.

use std::{fmt, io, time::Duration};

use kube::config::InferConfigError;

use crate::body::BodyError;

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Making a client.
    Connect,
    /// Reading the ConfigMap.
    Get,
    /// Watching it.
    Watch,
}

/// Why the API source failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Neither `--namespace` nor the file.
    #[error("the namespace is unknown: give --namespace, or mount the service account's namespace file")]
    Namespace(#[source] io::Error),
    /// No credentials.
    #[error("no way to reach the API server is configured")]
    Config(#[source] Box<InferConfigError>),
    /// A request that cannot be made.
    #[error("cannot {step} the ConfigMap")]
    Request {
        /// Doing what.
        step: Step,
        /// Why.
        #[source]
        source: kube::core::request::Error,
    },
    /// The network, TLS, the proxy, the token.
    #[error("cannot {step} the ConfigMap: the API server cannot be reached")]
    Unreachable {
        /// Doing what.
        step: Step,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// The server said no.
    #[error("cannot {step} the ConfigMap: the API server answered {code}{}{message}", if message.is_empty() { "" } else { ": " })]
    Status {
        /// Doing what.
        step: Step,
        /// HTTP status.
        code: u16,
        /// The server's text.
        message: String,
        /// How long the server asks to wait.
        retry_after: Option<u64>,
    },
    /// It took too long.
    #[error("cannot {step} the ConfigMap: no answer within {seconds} s")]
    Timeout {
        /// Doing what.
        step: Step,
        /// The limit.
        seconds: f32,
    },
    /// The answer broke off, or is too large.
    #[error("cannot {step} the ConfigMap")]
    Body {
        /// Doing what.
        step: Step,
        /// Why.
        #[source]
        source: BodyError,
    },
    /// The answer is no ConfigMap and no event.
    #[error("cannot {step} the ConfigMap: the answer cannot be read")]
    Json {
        /// Doing what.
        step: Step,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Another object, or one without a version.
    #[error("cannot {0} the ConfigMap: the answer is about something else")]
    NotOurs(Step),
    /// Not even a bookmark: the connection is dead.
    #[error("the watch said nothing for {0} s")]
    Silent(u64),
    /// Long before its time: the server stops, or something in between cuts.
    #[error("the watch ended after {0} s, before its time")]
    Ended(u64),
}

// === impl ApiError ===

impl ApiError {
    /// From the HTTP client.
    pub fn kube(step: Step, source: kube::Error) -> Self {
        Self::Unreachable { step, source: Box::new(source) }
    }

    /// From building a request.
    pub fn request(step: Step, source: kube::core::request::Error) -> Self {
        Self::Request { step, source }
    }

    /// From reading a body.
    pub fn body(step: Step, source: BodyError) -> Self {
        Self::Body { step, source }
    }

    /// From the server.
    pub fn status(step: Step, code: u16, message: String, retry_after: Option<u64>) -> Self {
        Self::Status { step, code, message, retry_after }
    }

    /// A word for metrics and for telling a repetition from news; a small fixed set.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Namespace(_) | Self::Config(_) | Self::Request { .. } => "config",
            Self::Unreachable { .. } => "unreachable",
            Self::Status { code: 401, .. } => "unauthorized",
            Self::Status { code: 403, .. } => "forbidden",
            Self::Status { code: 404, .. } => "not_found",
            Self::Status { code: 410, .. } => "expired",
            Self::Status { code: 429, .. } => "throttled",
            Self::Status { .. } => "status",
            Self::Timeout { .. } => "timeout",
            Self::Body { .. } => "broken",
            Self::Json { .. } | Self::NotOurs(_) => "unreadable",
            Self::Silent(_) => "silent",
            Self::Ended(_) => "ended",
        }
    }

    /// The API works, and the ConfigMap does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Status { code: 404, .. })
    }

    /// Nothing is wrong: the watch must start from a new read.
    pub fn is_expired(&self) -> bool {
        matches!(self, Self::Status { code: 410, .. })
    }

    /// Whether another client (credentials, connection) might fare better.
    pub fn is_about_the_client(&self) -> bool {
        match self {
            Self::Status { code, .. } => *code == 401,
            Self::Ended(_) => false,
            _ => true,
        }
    }

    /// The credentials do not count, or no longer.
    pub fn is_unauthorized(&self) -> bool {
        matches!(self, Self::Status { code: 401, .. })
    }

    /// The server, or the way to it, may have gone for every agent at once.
    pub fn is_a_break(&self) -> bool {
        match self {
            Self::Status { code, .. } => *code >= 500,
            Self::Unreachable { .. } | Self::Timeout { .. } | Self::Silent(_) | Self::Ended(_) => true,
            Self::Body { source, .. } => matches!(source, BodyError::Broken(_)),
            Self::Namespace(_)
            | Self::Config(_)
            | Self::Request { .. }
            | Self::Json { .. }
            | Self::NotOurs(_) => false,
        }
    }

    /// The server lives and cannot do this now.
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Status { code: 429 | 500.., .. })
    }

    /// How long the server asks to wait, at most `longest`; nothing if it does not.
    pub fn retry_after(&self, longest: Duration) -> Duration {
        match self {
            Self::Status { retry_after: Some(seconds), .. } => Duration::from_secs(*seconds).min(longest),
            _ => Duration::ZERO,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "reach",
            Self::Get => "read",
            Self::Watch => "watch",
        })
    }
}
