//! Reads a page of the Thanos in the same pod, as a stream of which nothing is kept.

use std::time::Duration;

use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

/// From the connection to the end of the body.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A Thanos with thousands of endpoints has some megabytes.
const LIMIT: usize = 32 * 1024 * 1024;

/// What is read at once; without it the buffer grows with the body.
const BUFFER: usize = 16 * 1024;

/// Why a page is not known.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// It does not end in time.
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    Timeout,
    /// Nobody listens.
    #[error("cannot connect")]
    Connect(#[source] std::io::Error),
    /// The connection broke, or there is no HTTP.
    #[error("the connection broke")]
    Broken(#[source] hyper::Error),
    /// It wants a password, or TLS, or has no such page.
    #[error("the answer is {0}")]
    Status(StatusCode),
    /// Over the cap.
    #[error("the answer has more than {LIMIT} bytes")]
    TooLarge,
    /// The URL has no host.
    #[error("the URL cannot be asked for")]
    Url(#[source] http::Error),
}

/// Gives the body of `url` to `feed`, piece by piece; returns how many bytes there were.
///
/// # Errors
/// See [`PageError`].
pub async fn read(url: &Uri, feed: impl FnMut(&[u8])) -> Result<usize, PageError> {
    timeout(TIMEOUT, read_all(url, feed)).await.map_err(|_| PageError::Timeout)?
}

async fn read_all(url: &Uri, mut feed: impl FnMut(&[u8])) -> Result<usize, PageError> {
    let (host, port) = (url.host().unwrap_or_default(), url.port_u16().unwrap_or(80));
    let host = host.trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, port)).await.map_err(PageError::Connect)?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(BUFFER)
        .handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
        .await
        .map_err(PageError::Broken)?;
    // Ends by itself when sender and body are dropped.
    tokio::spawn(connection);
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let authority = url.authority().map_or("", |authority| authority.as_str());
    let request =
        Request::get(path).header(header::HOST, authority).body(Empty::new()).map_err(PageError::Url)?;
    let response = sender.send_request(request).await.map_err(PageError::Broken)?;
    if response.status() != StatusCode::OK {
        return Err(PageError::Status(response.status()));
    }
    let (mut body, mut length) = (response.into_body(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(PageError::Broken)?;
        let Some(bytes) = frame.data_ref() else { continue };
        length += bytes.len();
        if length > LIMIT {
            return Err(PageError::TooLarge);
        }
        feed(bytes);
    }
    Ok(length)
}
