//! The four pages: `/startz`, `/livez`, `/status`, `/metrics`. None depends on the API server.

use std::{collections::VecDeque, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};

use crate::{
    board::{Board, STUCK_AFTER},
    log::Grumble,
};

const RETRY: Duration = Duration::from_secs(1);

/// Connections at once; when there are more, the oldest one goes. So slow clients cannot keep the kubelet out, whose
/// answer is there in a millisecond.
pub const AT_ONCE: usize = 32;

/// How long a request may take to come.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection may last, which is for one request.
const LONGEST: Duration = Duration::from_secs(10);

/// Of a request that is read, in bytes; hyper takes no less.
const BUFFER: usize = 8 * 1024;

/// Serves for ever. A port that is taken is tried again: the file matters more than the pages.
pub async fn serve(address: SocketAddr, mut listener: Option<TcpListener>, board: Arc<Board>) {
    let (pages, mut connections) = (pages(board), Connections::default());
    let mut grumble = Grumble::default();
    loop {
        let accepted = match &listener {
            Some(listener) => listener.accept().await.map(Some),
            None => TcpListener::bind(address).await.map(|bound| {
                listener = Some(bound);
                None
            }),
        };
        match accepted {
            Ok(Some((stream, _))) => {
                grumble.clear();
                connections.add(one(stream, pages.clone()));
            }
            Ok(None) => {}
            // That client has gone.
            Err(error) if is_of_one_client(&error) => {}
            Err(error) => {
                complain(&mut grumble, address, &error);
                sleep(RETRY).await;
            }
        }
    }
}

fn is_of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn one(stream: TcpStream, pages: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .keep_alive(false)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(pages));
    // Nobody is told what a client does wrong.
    let _ = timeout(LONGEST, connection).await;
}

/// Those that are open, the oldest first.
#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    open: VecDeque<AbortHandle>,
}

// === impl Connections ===

impl Connections {
    fn add(&mut self, connection: impl Future<Output = ()> + Send + 'static) {
        while self.tasks.try_join_next().is_some() {}
        self.open.retain(|task| !task.is_finished());
        if self.open.len() >= AT_ONCE
            && let Some(oldest) = self.open.pop_front()
        {
            oldest.abort();
        }
        self.open.push_back(self.tasks.spawn(connection));
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
