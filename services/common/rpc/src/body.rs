//! Response bodies that notice how a call ends.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::{Code, Status, body::Body};
use tracing::Span;

use crate::call::{Outcome, Response};

/// Something that lasts as long as a call does: a span, a measurement, a permit.
pub(crate) trait Lifetime: Send + Unpin + 'static {
    /// The call ended with this code. If the call ends otherwise (dropped by its caller), this is not called.
    fn end(&mut self, code: Code);

    /// The span in which the body is polled.
    fn span(&self) -> Option<&Span> {
        None
    }
}

/// Ends `lifetime` with the call: at once when there is only a status, else with the response's body.
pub(crate) fn end_with(mut lifetime: impl Lifetime, outcome: Outcome) -> Outcome {
    match outcome {
        Err(status) => {
            lifetime.end(status.code());
            Err(status)
        }
        Ok(response) => {
            if let Some(code) = code_in(response.headers()) {
                lifetime.end(code);
                return Ok(response);
            }
            Ok(response.map(|inner| {
                Body::new(LastingBody {
                    inner,
                    lifetime,
                    ended: false,
                })
            }))
        }
    }
}

/// The status of a response that consists of nothing else, or of trailers.
pub(crate) fn code_in(headers: &HeaderMap) -> Option<Code> {
    headers
        .get(Status::GRPC_STATUS)
        .map(|value| Code::from_bytes(value.as_bytes()))
}

/// The last frame of a stream that ends with an error.
pub(crate) fn trailers(status: &Status) -> Frame<Bytes> {
    let mut headers = HeaderMap::with_capacity(3);
    if status.add_header(&mut headers).is_err() {
        // The message does not fit a header; the code does.
        headers.clear();
        headers.insert(Status::GRPC_STATUS, http::HeaderValue::from(status.code() as i32));
    }
    Frame::trailers(headers)
}

/// Turns an error into the response that carries it over the wire.
pub(crate) fn into_response(outcome: Outcome) -> Response {
    outcome.unwrap_or_else(Status::into_http)
}

struct LastingBody<L> {
    inner: Body,
    lifetime: L,
    ended: bool,
}

impl<L: Lifetime> HttpBody for LastingBody<L> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let frame = {
            let _entered = this.lifetime.span().map(Span::enter);
            ready!(Pin::new(&mut this.inner).poll_frame(cx))
        };
        let code = match &frame {
            Some(Ok(frame)) => frame
                .trailers_ref()
                .map(|trailers| code_in(trailers).unwrap_or(Code::Unknown)),
            Some(Err(status)) => Some(status.code()),
            None => Some(Code::Unknown),
        };
        if let Some(code) = code
            && !this.ended
        {
            this.ended = true;
            this.lifetime.end(code);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
