//! Bodies of requests: read only as far as they may go.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How much of bodies there may be.
#[derive(Clone)]
pub(super) struct Bodies {
    /// How many bytes one may have.
    limit: usize,
    /// Bytes that all of them together may still have.
    rest: Arc<Semaphore>,
}

/// A body that was read.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    /// What it takes of what all bodies together may have.
    share: Option<OwnedSemaphorePermit>,
}

impl Bodies {
    /// Returns a limit of `limit` bytes to a body.
    pub(super) fn new(limit: usize) -> Self {
        let all = limit
            .saturating_mul(MIN_BODIES)
            .max(MIN_BYTES)
            .min(u32::MAX as usize)
            .min(Semaphore::MAX_PERMITS);
        Self { limit, rest: Arc::new(Semaphore::new(all)) }
    }

    /// Reads the body of a request. One that is too large is read on for a while, but not kept: who is still sending
    /// would not see the answer otherwise.
    ///
    /// # Errors
    /// The status to answer with.
    pub(super) async fn read(&self, request: Request<Body>) -> Result<Content, StatusCode> {
        let length = request.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        let patience = self.limit.saturating_mul(PATIENCE);
        if length.is_some_and(|length| length > patience) {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        let (mut body, mut count) = (request.into_body(), 0_usize);
        let mut content = Content { bytes: Vec::new(), share: None };
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| StatusCode::BAD_REQUEST)?;
            let Ok(data) = frame.into_data() else { continue };
            count = count.saturating_add(data.len());
            if count > patience {
                break;
            }
            if count > self.limit {
                content = Content { bytes: Vec::new(), share: None };
            } else {
                self.share(&mut content, data.len())?;
                content.bytes.extend_from_slice(&data);
            }
        }
        if count > self.limit { Err(StatusCode::PAYLOAD_TOO_LARGE) } else { Ok(content) }
    }

    /// Reads a body that nobody wants, for a while, so that who sends it sees the answer.
    pub(super) async fn discard(&self, request: Request<Body>) {
        let (mut body, mut count) = (request.into_body(), 0_usize);
        // A body that ends too soon is one that nobody wants, either.
        while let Some(Ok(frame)) = body.frame().await {
            count = count.saturating_add(frame.data_ref().map_or(0, axum::body::Bytes::len));
            if count > self.limit {
                break;
            }
        }
    }

    /// Takes more of what all bodies together may have. Never waits: bodies that wait for each other would do so until
    /// their time is over.
    fn share(&self, content: &mut Content, bytes: usize) -> Result<(), StatusCode> {
        let bytes = u32::try_from(bytes).map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?;
        let more = Arc::clone(&self.rest).try_acquire_many_owned(bytes);
        let more = more.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
        match &mut content.share {
            Some(share) => share.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }
}

/// How many times as large as it may be a body is read, before the connection is closed.
const PATIENCE: usize = 4;
/// How many bodies of the largest size may be there at once, at least.
const MIN_BODIES: usize = 4;
/// How many bytes all bodies may have together, at least.
const MIN_BYTES: usize = 32 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn request(body: &[u8]) -> Request<Body> {
        Request::new(Body::from(body.to_vec()))
    }

    #[tokio::test]
    async fn bodies_are_read_up_to_the_limit() {
        let bodies = Bodies::new(8);
        let read = |length: usize| bodies.read(request(&vec![b'x'; length]));
        assert_eq!(read(8).await.map(|content| content.bytes.len()).ok(), Some(8));
        assert_eq!(read(0).await.map(|content| content.bytes.len()).ok(), Some(0));
        assert_eq!(read(9).await.err(), Some(StatusCode::PAYLOAD_TOO_LARGE));
        assert_eq!(read(999).await.err(), Some(StatusCode::PAYLOAD_TOO_LARGE));
        let mut lying = request(b"");
        lying.headers_mut().insert(header::CONTENT_LENGTH, 999.into());
        assert_eq!(bodies.read(lying).await.err(), Some(StatusCode::PAYLOAD_TOO_LARGE));
    }

    #[tokio::test]
    async fn all_bodies_together_have_a_bound_too() {
        let bodies = Bodies { limit: 8, rest: Arc::new(Semaphore::new(10)) };
        let first = bodies.read(request(b"12345678")).await.expect("there is room");
        assert_eq!(bodies.read(request(b"123")).await.err(), Some(StatusCode::SERVICE_UNAVAILABLE));
        drop(first);
        assert!(bodies.read(request(b"123")).await.is_ok());
    }
}
