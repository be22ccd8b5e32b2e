//! Who calls: tokens that the API server knows.
//!
//! Invariants: a token is kept as its digest alone, and never told; an answer of the API server counts for a short time;
//! whoever is not known for sure is not let in.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::api::{Api, PostParams};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

/// The door.
pub(super) struct Tokens {
    client: Option<kube::Client>,
    /// Tokens that were good a short time ago, with the time at which that ends; the oldest first.
    known: Mutex<VecDeque<(Digest, Instant)>>,
    /// How many more tokens may be asked about at once.
    questions: Semaphore,
}

type Digest = [u8; 32];

impl Tokens {
    /// Returns a door whose keeper asks the API server, if there is a way to it.
    pub(super) fn new(client: Option<kube::Client>) -> Self {
        Self { client, known: Mutex::default(), questions: Semaphore::new(MAX_QUESTIONS) }
    }

    /// Makes sure that a request has a token that the API server knows.
    ///
    /// # Errors
    /// The status to answer with: 401 if it has not, 503 if nobody can tell.
    pub(super) async fn check(&self, headers: &HeaderMap) -> Result<(), StatusCode> {
        let token = bearer(headers).ok_or(StatusCode::UNAUTHORIZED)?;
        let digest = Digest::from(Sha256::digest(token));
        if self.knows(&digest) {
            return Ok(());
        }
        if self.ask(token).await? {
            self.remember(digest);
            Ok(())
        } else {
            Err(StatusCode::UNAUTHORIZED)
        }
    }

    async fn ask(&self, token: &str) -> Result<bool, StatusCode> {
        let client = self.client.clone().ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
        let _question = self.questions.try_acquire().map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
        let review = TokenReview {
            spec: TokenReviewSpec { audiences: None, token: Some(token.to_owned()) },
            ..TokenReview::default()
        };
        let (reviews, params) = (Api::<TokenReview>::all(client), PostParams::default());
        match timeout(PATIENCE, reviews.create(&params, &review)).await {
            Ok(Ok(TokenReview { status: Some(status), .. })) => {
                let has_failed = status.error.is_some_and(|error| !error.is_empty());
                Ok(status.authenticated == Some(true) && !has_failed)
            }
            // Not told why: the answer may cite the token.
            _ => {
                tracing::warn!("the API server did not say whether it knows the token of a caller");
                Err(StatusCode::SERVICE_UNAVAILABLE)
            }
        }
    }

    fn knows(&self, digest: &Digest) -> bool {
        let (mut known, now) = (self.known.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
        known.retain(|(_, until)| *until > now);
        // All of them are compared: how long it takes tells nothing of any.
        let is_one = |found, (other, _): &(Digest, Instant)| found | digest.ct_eq(other);
        known.iter().fold(subtle::Choice::from(0), is_one).into()
    }

    fn remember(&self, digest: Digest) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN {
            known.pop_front();
        }
        known.push_back((digest, Instant::now() + MEMORY));
    }
}

/// Returns the token of a request.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("Bearer") && !token.is_empty()).then_some(token)
}

/// For how long a token is good after the API server said so.
const MEMORY: Duration = Duration::from_secs(10);
/// How many tokens are remembered.
const MAX_KNOWN: usize = 256;
/// How many tokens the API server is asked about at once.
const MAX_QUESTIONS: usize = 8;
/// How long the API server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::body::Body;
    use axum::http::{Request, Response};
    use http_body_util::BodyExt as _;
    use serde_json::{Value as Json, json};

    use super::*;

    /// A way to an API server that knows the token `good`, fails at `odd`, and counts what it is asked.
    fn client(asked: &Arc<AtomicUsize>) -> kube::Client {
        let asked = Arc::clone(asked);
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            asked.fetch_add(1, Ordering::Relaxed);
            async move {
                assert_eq!(request.uri().path(), "/apis/authentication.k8s.io/v1/tokenreviews");
                let body = request.into_body().collect().await.expect("a body").to_bytes();
                let mut review: Json = serde_json::from_slice(&body).expect("JSON");
                assert!(review["spec"].get("audiences").is_none());
                review["status"] = match review["spec"]["token"].as_str() {
                    Some("good") => json!({"authenticated": true}),
                    Some("odd") => json!({"authenticated": true, "error": "odd"}),
                    Some("mute") => Json::Null,
                    _ => json!({"authenticated": false}),
                };
                Ok::<_, std::convert::Infallible>(Response::new(Body::from(review.to_string())))
            }
        });
        kube::Client::new(service, "default")
    }

    fn headers(authorization: &str) -> HeaderMap {
        let value = authorization.parse().expect("a value of a header");
        HeaderMap::from_iter([(header::AUTHORIZATION, value)])
    }

    #[tokio::test]
    async fn only_a_token_that_the_api_server_knows_is_let_in() {
        let asked = Arc::default();
        let tokens = Tokens::new(Some(client(&asked)));
        assert_eq!(tokens.check(&HeaderMap::new()).await, Err(StatusCode::UNAUTHORIZED));
        for authorization in ["Basic good", "Bearer ", "good", "Bearer"] {
            assert_eq!(tokens.check(&headers(authorization)).await, Err(StatusCode::UNAUTHORIZED));
        }
        assert_eq!(asked.load(Ordering::Relaxed), 0);
        assert_eq!(tokens.check(&headers("Bearer good")).await, Ok(()));
        assert_eq!(tokens.check(&headers("Bearer bad")).await, Err(StatusCode::UNAUTHORIZED));
        assert_eq!(tokens.check(&headers("Bearer odd")).await, Err(StatusCode::UNAUTHORIZED));
        assert_eq!(tokens.check(&headers("Bearer mute")).await, Err(StatusCode::SERVICE_UNAVAILABLE));
        assert_eq!(
            Tokens::new(None).check(&headers("Bearer good")).await,
            Err(StatusCode::SERVICE_UNAVAILABLE)
        );
    }

    #[tokio::test]
    async fn a_good_token_is_asked_about_again_after_a_while() {
        let asked = Arc::default();
        let tokens = Tokens::new(Some(client(&asked)));
        // The client needs the clock to run when it is made.
        tokio::time::pause();
        for _ in 0..3 {
            assert_eq!(tokens.check(&headers("bearer good")).await, Ok(()));
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        tokio::time::advance(MEMORY).await;
        assert_eq!(tokens.check(&headers("bearer good")).await, Ok(()));
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        for _ in 0..2 {
            assert_eq!(tokens.check(&headers("bearer bad")).await, Err(StatusCode::UNAUTHORIZED));
        }
        assert_eq!(asked.load(Ordering::Relaxed), 4, "a bad one is forgotten at once");
    }
}
