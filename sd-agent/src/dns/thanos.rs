//! Reads the counters from Thanos' `/metrics`, in the same pod: as a stream, of which nothing else is kept.

use std::time::Duration;

use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use super::counters::{Counts, Scan};

/// From the connection to the end of the body.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A Thanos with thousands of endpoints has some megabytes.
const LIMIT: usize = 32 * 1024 * 1024;

/// What is read at once; without it the buffer grows with the body.
const BUFFER: usize = 16 * 1024;

/// Why the counters are not known.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It does not end in time.
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    Timeout,
    /// Nobody listens.
    #[error("cannot connect")]
    Connect(#[source] std::io::Error),
    /// The connection broke, or there is no HTTP.
    #[error("the connection broke")]
    Broken(#[source] hyper::Error),
    /// It wants a password, or TLS.
    #[error("the answer is {0}")]
    Status(StatusCode),
    /// Over the cap.
    #[error("the answer has more than {LIMIT} bytes")]
    TooLarge,
    /// It is not that of Thanos.
    #[error("the answer has no counter of DNS failures")]
    NotThanos,
    /// The URL has no host.
    #[error("the URL cannot be asked for")]
    Url(#[source] http::Error),
}

/// How many look-ups have failed, as `url` tells.
///
/// # Errors
/// See [`ReadError`].
pub async fn read(url: &Uri) -> Result<Counts, ReadError> {
    timeout(TIMEOUT, read_all(url)).await.map_err(|_| ReadError::Timeout)?
}

async fn read_all(url: &Uri) -> Result<Counts, ReadError> {
    let (host, port) = (url.host().unwrap_or_default(), url.port_u16().unwrap_or(80));
    let host = host.trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, port)).await.map_err(ReadError::Connect)?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(BUFFER)
        .handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
        .await
        .map_err(ReadError::Broken)?;
    // Ends by itself when sender and body are dropped.
    tokio::spawn(connection);
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let authority = url.authority().map_or("", |authority| authority.as_str());
    let request =
        Request::get(path).header(header::HOST, authority).body(Empty::new()).map_err(ReadError::Url)?;
    let response = sender.send_request(request).await.map_err(ReadError::Broken)?;
    if response.status() != StatusCode::OK {
        return Err(ReadError::Status(response.status()));
    }
    let (mut body, mut scan, mut length) = (response.into_body(), Scan::default(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(ReadError::Broken)?;
        let Some(bytes) = frame.data_ref() else { continue };
        length += bytes.len();
        if length > LIMIT {
            return Err(ReadError::TooLarge);
        }
        scan.feed(bytes);
    }
    scan.finish().ok_or(ReadError::NotThanos)
}
