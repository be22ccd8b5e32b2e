//! An end for every request but watches: that of its head, and that of its body.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{Request, Response};
use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use kube::client::Body;
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
use tower::{BoxError, Layer, Service};

use super::is_watch;

/// The API server did not answer in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the API server did not answer within {} s", .0.as_secs())]
pub struct TimedOut(Duration);

/// Gives up requests that are not answered in time.
#[derive(Clone)]
pub struct TimeOutLayer {
    limit: Duration,
}

impl TimeOutLayer {
    /// Returns a layer that gives up after this time.
    #[must_use]
    pub fn new(limit: Duration) -> Self {
        Self { limit }
    }
}

impl<S> Layer<S> for TimeOutLayer {
    type Service = TimeOut<S>;

    fn layer(&self, inner: S) -> Self::Service {
        TimeOut { inner, limit: self.limit }
    }
}

/// A service that gives up requests.
#[derive(Clone)]
pub struct TimeOut<S> {
    inner: S,
    limit: Duration,
}

impl<S, B> Service<Request<Body>> for TimeOut<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError> + 'static,
    B: 'static,
{
    type Response = Response<Ending<B>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let limit = (!is_watch(&request)).then_some(self.limit);
        let answer = self.inner.call(request);
        Box::pin(async move {
            let Some(limit) = limit else {
                return answer.await.map(|answer| answer.map(Ending::never)).map_err(Into::into);
            };
            let end = Instant::now() + limit;
            let answer = timeout_at(end, answer).await.map_err(|_| TimedOut(limit))?;
            Ok(answer.map_err(Into::into)?.map(|body| Ending::at(end, limit, body)))
        })
    }
}

/// A body that has to be there in time.
pub struct Ending<B> {
    inner: B,
    end: Option<(Pin<Box<Sleep>>, Duration)>,
}

impl<B> Ending<B> {
    fn never(inner: B) -> Self {
        Self { inner, end: None }
    }

    fn at(end: Instant, limit: Duration, inner: B) -> Self {
        Self { inner, end: Some((Box::pin(sleep_until(end)), limit)) }
    }
}

impl<B> HttpBody for Ending<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        match &mut self.end {
            None => Poll::Pending,
            Some((end, limit)) => {
                ready!(end.as_mut().poll(context));
                Poll::Ready(Some(Err(TimedOut(*limit).into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    /// Returns what is answered to a request, if its head takes so many seconds, and then its body.
    async fn answer(uri: &str, head: u64, body: u64) -> Result<Bytes, String> {
        let wait = |seconds| tokio::time::sleep(Duration::from_secs(seconds));
        let inner = tower::service_fn(move |_: Request<Body>| async move {
            wait(head).await;
            let frame = async move {
                wait(body).await;
                Ok::<_, Infallible>(Frame::data(Bytes::from("x")))
            };
            Ok::<_, Infallible>(Response::new(StreamBody::new(stream::once(frame)).boxed_unsync()))
        });
        let request = Request::get(uri).body(Body::empty()).expect("it is a request");
        let mut service = TimeOutLayer::new(Duration::from_secs(60)).layer(inner);
        let answer = service.call(request).await.map_err(|error| error.to_string())?;
        Ok(answer.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes())
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_ends_in_time_with_its_whole_answer() {
        let late = Err("the API server did not answer within 60 s".to_owned());
        assert_eq!(answer("/a", 30, 29).await, Ok("x".into()));
        assert_eq!(answer("/a", 61, 0).await, late);
        assert_eq!(answer("/a", 30, 31).await, late);
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_goes_on() {
        assert_eq!(answer("/a?watch=true", 300, 300).await, Ok("x".into()));
    }
}
