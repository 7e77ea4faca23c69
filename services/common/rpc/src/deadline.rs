//! Deadlines, on both sides: tonic enforces `grpc-timeout` only in its transports, and there only until the headers.

use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tonic::{Status, body::Body};
use tower::Service;

use crate::{
    body::{code_in, trailers},
    call::{Call, Outcome, OutcomeFuture},
    error::deadline_exceeded,
};

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Ends calls at their deadline.
#[derive(Clone, Debug)]
pub(crate) struct Deadline<S> {
    inner: S,
    /// How long a unary call lasts whose caller did not say. Streams last as long as they move.
    unary_default: Option<Duration>,
}

impl<S> Deadline<S> {
    pub(crate) fn new(inner: S, unary_default: Option<Duration>) -> Self {
        Self { inner, unary_default }
    }
}

impl<S> Service<Call> for Deadline<S>
where
    S: Service<Call, Response = crate::call::Response, Error = Status>,
    S::Future: Send + 'static,
{
    type Response = crate::call::Response;
    type Error = Status;
    type Future = OutcomeFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut call: Call) -> OutcomeFuture {
        let asked = call.request.headers().get(GRPC_TIMEOUT).and_then(parse_timeout);
        let timeout = asked.or(self.unary_default.filter(|_| !call.method.is_streaming()));
        let Some(timeout) = timeout else {
            return Box::pin(self.inner.call(call));
        };
        let Some(deadline) = Instant::now().checked_add(timeout) else {
            return Box::pin(self.inner.call(call));
        };
        if asked.is_none() {
            set_timeout(call.request.headers_mut(), timeout);
        }
        call.deadline = Some(deadline);
        let response = self.inner.call(call);
        Box::pin(async move {
            let outcome = within(deadline, response).await?;
            Ok(if code_in(outcome.headers()).is_some() {
                outcome
            } else {
                outcome.map(|inner| {
                    Body::new(DeadlineBody {
                        inner,
                        deadline,
                        timer: None,
                        passed: false,
                    })
                })
            })
        })
    }
}

/// Awaits `response` until `deadline`. Most calls are answered when they are first polled or soon after, so the timer is
/// made only for those that are not.
async fn within(deadline: Instant, response: impl Future<Output = Outcome>) -> Outcome {
    let mut response = pin!(response);
    if let Poll::Ready(outcome) = futures::poll!(response.as_mut()) {
        return outcome;
    }
    tokio::time::timeout_at(deadline, response)
        .await
        .unwrap_or_else(|_| Err(deadline_exceeded()))
}

/// Tells the server how long the caller will wait.
pub(crate) fn set_timeout(headers: &mut HeaderMap, timeout: Duration) {
    // The specification allows eight digits; microseconds reach 99 s, milliseconds a day.
    let micros = timeout.as_micros();
    let value = if micros < 100_000_000 {
        format!("{micros}u")
    } else {
        format!("{}m", timeout.as_millis().min(99_999_999))
    };
    let value = HeaderValue::try_from(value).expect("digits and a letter");
    headers.insert(GRPC_TIMEOUT, value);
}

/// At most eight digits and a unit. Anything else is as if the caller had not said: refusing the call would help nobody.
pub(crate) fn parse_timeout(value: &HeaderValue) -> Option<Duration> {
    let (digits, unit) = value
        .to_str()
        .ok()?
        .split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

/// Ends a stream at its deadline.
struct DeadlineBody {
    inner: Body,
    deadline: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    passed: bool,
}

impl HttpBody for DeadlineBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if this.passed {
            return Poll::Ready(None);
        }
        // A stream that is always ready would never reach the timer.
        let late = Instant::now() >= this.deadline;
        if !late && let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        let deadline = this.deadline;
        let timer = this
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        this.passed = true;
        // Whatever still produces the stream may stop now.
        this.inner = Body::empty();
        Poll::Ready(Some(Ok(trailers(&deadline_exceeded()))))
    }

    fn is_end_stream(&self) -> bool {
        self.passed || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue};
    use http_body::Frame;
    use http_body_util::{BodyExt as _, StreamBody};
    use tokio::time::Instant;
    use tonic::{Code, Status, body::Body};
    use tower::{Service as _, service_fn};

    use super::{Deadline, DeadlineBody, GRPC_TIMEOUT, parse_timeout, set_timeout};
    use crate::{body::code_in, call::Call};

    #[test]
    fn a_timeout_is_read_as_it_was_written() {
        for timeout in [0, 1, 999, 99_999_999, 100_000_000, 86_400_000_000].map(Duration::from_micros) {
            let mut headers = HeaderMap::new();
            set_timeout(&mut headers, timeout);
            assert_eq!(parse_timeout(&headers[GRPC_TIMEOUT]), Some(timeout));
        }
    }

    #[test]
    fn every_unit_is_known_and_nonsense_is_ignored() {
        let parse = |text: &'static str| parse_timeout(&HeaderValue::from_static(text));
        assert_eq!(parse("2H"), Some(Duration::from_hours(2)));
        assert_eq!(parse("2M"), Some(Duration::from_mins(2)));
        assert_eq!(parse("2S"), Some(Duration::from_secs(2)));
        assert_eq!(parse("2m"), Some(Duration::from_millis(2)));
        assert_eq!(parse("2n"), Some(Duration::from_nanos(2)));
        assert_eq!(parse("99999999H"), Some(Duration::from_hours(99_999_999)));
        for nonsense in ["", "S", "2", "2x", "-2S", "+2S", "2 S", "123456789S"] {
            assert_eq!(parse(nonsense), None, "{nonsense:?}");
        }
        assert_eq!(
            parse_timeout(&HeaderValue::from_bytes(b"2\xff").expect("a value")),
            None
        );
    }

    #[tokio::test]
    async fn a_server_enforces_what_its_caller_asked_for() {
        let mut service = Deadline::new(service_fn(|_: Call| std::future::pending()), None);
        let mut request = http::Request::new(Body::empty());
        request
            .headers_mut()
            .insert(GRPC_TIMEOUT, HeaderValue::from_static("5m"));
        let error = service.call(Call::new(request)).await.expect_err("the deadline");
        assert_eq!(error.code(), Code::DeadlineExceeded);
    }

    #[tokio::test]
    async fn a_stream_that_is_always_ready_ends_at_its_deadline_too() {
        let frame = || Ok::<_, Status>(Frame::data(Bytes::from_static(b"chunk")));
        let endless = StreamBody::new(futures::stream::repeat_with(frame));
        let deadline = Instant::now() + Duration::from_millis(5);
        let mut body = DeadlineBody {
            inner: Body::new(endless),
            deadline,
            timer: None,
            passed: false,
        };
        let mut last = None;
        while let Some(frame) = body.frame().await {
            last = Some(frame.expect("no transport, no error"));
        }
        let trailers = last
            .expect("a frame")
            .into_trailers()
            .expect("trailers at the end");
        assert_eq!(code_in(&trailers), Some(Code::DeadlineExceeded));
    }
}
