//! `/livez`, `/readyz` and `/metrics`.

use std::sync::Arc;

use axum::{Router, extract::State, http::StatusCode, routing::get};
use tokio::net::TcpListener;

use crate::{controller::Context, watch::Scope};

#[derive(Clone)]
struct Admin {
    context: Arc<Context>,
    scopes: Arc<[Scope]>,
}

/// Serves until the process ends.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, context: Arc<Context>, scopes: Vec<Scope>) -> std::io::Result<()> {
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Admin { context, scopes: scopes.into() });
    axum::serve(listener, router).await
}

// One namespace that may not be read must not make the whole operator look broken.
async fn ready(State(admin): State<Admin>) -> (StatusCode, String) {
    let is_complete = |scope: &&Scope| match scope {
        Scope::All => admin.context.indices.are_complete_for(""),
        Scope::Namespace(namespace) => admin.context.indices.are_complete_for(namespace),
    };
    let complete = admin.scopes.iter().filter(is_complete).count();
    let code = if complete > 0 { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, format!("{complete} of {} watches have their first list\n", admin.scopes.len()))
}

async fn metrics(State(admin): State<Admin>) -> String {
    admin.context.metrics.encode()
}
