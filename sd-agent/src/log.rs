//! Logging: set-up, and warning once instead of at every retry.

use std::error::Error;

use tracing_subscriber::{filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

use crate::args::LogLevel;

/// Remembers what was last complained about, so that a repetition is not said again.
#[derive(Debug, Default)]
pub struct Grumble {
    last: Option<String>,
}

// === impl Grumble ===

impl Grumble {
    /// Whether `kind` is news.
    pub fn is_news(&mut self, kind: &str) -> bool {
        let news = self.last.as_deref() != Some(kind);
        if news {
            self.last = Some(kind.to_owned());
        }
        news
    }

    /// All is well again; returns whether it was not.
    pub fn clear(&mut self) -> bool {
        self.last.take().is_some()
    }
}

/// Logs to standard error from `level` on.
///
/// The HTTP client reports every failed request by itself; only `trace` shows that, because the agent says
/// the same once, in its own words.
pub fn init(level: LogLevel) {
    let (own, client) = match level {
        LogLevel::Error => (tracing::Level::ERROR, None),
        LogLevel::Warn => (tracing::Level::WARN, None),
        LogLevel::Info => (tracing::Level::INFO, None),
        LogLevel::Debug => (tracing::Level::DEBUG, None),
        LogLevel::Trace => (tracing::Level::TRACE, Some(tracing::Level::TRACE)),
    };
    let mut filter = Targets::new().with_target("sd_agent", own);
    if let Some(client) = client {
        filter = filter.with_default(client);
    }
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    // A second call (a test) keeps the first set-up.
    let _ = tracing_subscriber::registry().with(lines).with(filter).try_init();
}

/// The whole chain of an error in one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let cause = error.to_string();
        // Some libraries repeat their source in their own text.
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        next = error.source();
    }
    text
}
