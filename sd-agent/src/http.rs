//! The four pages: `/startz`, `/livez`, `/status`, `/metrics`. None depends on the API server.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio::net::TcpListener;

use crate::{
    board::{Board, STUCK_AFTER},
    log::Grumble,
};

const RETRY: Duration = Duration::from_secs(1);

/// Serves for ever. A port that is taken is tried again: the file matters more than the pages.
pub async fn serve(address: SocketAddr, mut listener: Option<TcpListener>, board: Arc<Board>) {
    let mut grumble = Grumble::default();
    loop {
        let ended = match listener.take() {
            Some(listener) => {
                grumble.clear();
                axum::serve(listener, pages(Arc::clone(&board))).await
            }
            None => Ok(()),
        };
        if let Err(error) = ended {
            tracing::warn!(%error, "the HTTP server ended, starting it again");
        }
        match TcpListener::bind(address).await {
            Ok(bound) => listener = Some(bound),
            Err(error) => complain(&mut grumble, address, &error),
        }
        if listener.is_none() {
            tokio::time::sleep(RETRY).await;
        }
    }
}

fn complain(grumble: &mut Grumble, address: SocketAddr, error: &io::Error) {
    if grumble.is_news(&error.to_string()) {
        tracing::warn!(%address, %error, "cannot listen, trying again every second");
    }
}

fn pages(board: Arc<Board>) -> Router {
    Router::new()
        .route("/startz", get(startz))
        .route("/livez", get(livez))
        .route("/status", get(status))
        .route("/metrics", get(metrics))
        .with_state(board)
}

async fn startz(State(board): State<Arc<Board>>) -> (StatusCode, String) {
    match board.not_started() {
        None => (StatusCode::OK, "started\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

async fn livez(State(board): State<Arc<Board>>) -> (StatusCode, String) {
    let silence = board.silence();
    if silence < STUCK_AFTER {
        (StatusCode::OK, "alive\n".to_owned())
    } else {
        let why = format!("the main loop has been silent for {} s\n", silence.as_secs());
        (StatusCode::SERVICE_UNAVAILABLE, why)
    }
}

async fn status(State(board): State<Arc<Board>>) -> impl IntoResponse {
    Json(board.report())
}

async fn metrics(State(board): State<Arc<Board>>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], board.metrics_text())
}
