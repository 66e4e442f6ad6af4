//! Reading an HTTP body under a cap: whole, or line by line as a watch sends it.

use http_body_util::BodyExt;
use kube::client::Body;

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[source] kube::Error),
    /// Over the cap.
    #[error("the answer has more than {0} bytes")]
    TooLarge(usize),
}

/// The lines of a body.
#[derive(Debug)]
pub struct Lines {
    body: Body,
    limit: usize,
    buffer: Vec<u8>,
    /// How much of the buffer is known to hold no end of a line.
    scanned: usize,
}

// === impl Lines ===

impl Lines {
    /// The lines of `body`, each at most `limit` bytes long.
    pub fn new(body: Body, limit: usize) -> Self {
        Self { body, limit, buffer: Vec::new(), scanned: 0 }
    }

    /// The next line; none at the end, where half a line is dropped. May be cancelled at any time.
    ///
    /// # Errors
    /// See [`BodyError`].
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, BodyError> {
        loop {
            let line = self.buffered();
            if line.as_ref().unwrap_or(&self.buffer).len() > self.limit {
                return Err(BodyError::TooLarge(self.limit));
            }
            if line.is_some() {
                return Ok(line);
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(frame) => {
                    if let Some(bytes) = frame.map_err(BodyError::Broken)?.data_ref() {
                        self.buffer.extend_from_slice(bytes);
                    }
                }
            }
        }
    }

    fn buffered(&mut self) -> Option<Vec<u8>> {
        let Some(end) = self.buffer[self.scanned..].iter().position(|byte| *byte == b'\n') else {
            self.scanned = self.buffer.len();
            return None;
        };
        // The line keeps the large buffer and goes with it; what follows is mostly nothing.
        let rest = self.buffer.split_off(self.scanned + end + 1);
        self.scanned = 0;
        Some(std::mem::replace(&mut self.buffer, rest))
    }
}

/// All of `body`, at most `limit` bytes.
///
/// # Errors
/// See [`BodyError`].
pub async fn collect(mut body: Body, limit: usize) -> Result<Vec<u8>, BodyError> {
    let mut all = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Some(bytes) = frame.map_err(BodyError::Broken)?.data_ref() {
            if all.len() + bytes.len() > limit {
                return Err(BodyError::TooLarge(limit));
            }
            all.extend_from_slice(bytes);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str) -> Body {
        Body::from(text.as_bytes().to_vec())
    }

    #[tokio::test]
    async fn lines_come_one_by_one_and_half_a_line_is_dropped() {
        let mut lines = Lines::new(body("one\n\ntwo\nhalf"), 10);
        for expected in ["one\n", "\n", "two\n"] {
            assert_eq!(lines.next().await.expect("fine").expect("a line"), expected.as_bytes());
        }
        assert!(lines.next().await.expect("fine").is_none());
    }

    #[tokio::test]
    async fn a_body_over_the_cap_is_an_error() {
        assert_eq!(collect(body("1234"), 4).await.expect("fits"), b"1234");
        assert!(matches!(collect(body("12345"), 4).await, Err(BodyError::TooLarge(4))));
        for text in ["12345", "1234\n", "12345\n1\n"] {
            assert!(matches!(Lines::new(body(text), 4).next().await, Err(BodyError::TooLarge(4))), "{text}");
        }
    }
}
