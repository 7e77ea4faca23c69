//! Answers INTERNAL when a handler panics. Over the wire the connection of all other calls would die with it, and
//! in-process the caller.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::FutureExt as _;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::{Code, Status, body::Body};
use tower::Service;

use crate::{
    body::{code_in, into_response, trailers},
    call::{Call, OutcomeFuture, Response},
    error::{ErrorReason, status},
};

#[derive(Clone)]
pub(super) struct CatchPanic<S> {
    inner: S,
}

impl<S> CatchPanic<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S> Service<Call> for CatchPanic<S>
where
    S: Service<Call, Response = Response, Error = Status>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Status;
    type Future = OutcomeFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> OutcomeFuture {
        let rpc = call.method.full_name;
        // Generated servers do all their work in the future, so that calling cannot panic.
        let response = AssertUnwindSafe(self.inner.call(call)).catch_unwind();
        Box::pin(async move {
            let outcome = response.await.unwrap_or_else(|panic| Err(report(rpc, &*panic)));
            let response = into_response(outcome);
            Ok(if code_in(response.headers()).is_some() {
                response
            } else {
                response.map(|inner| {
                    Body::new(CatchPanicBody {
                        inner: Some(inner),
                        rpc,
                    })
                })
            })
        })
    }
}

/// The text of a panic may hold anything, so it is logged and never sent.
fn report(rpc: &'static str, panic: &(dyn Any + Send)) -> Status {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(
        rpc,
        panic = text.unwrap_or("not a text"),
        "an RPC handler panicked"
    );
    status(Code::Internal, ErrorReason::Internal, "internal error")
}

struct CatchPanicBody {
    inner: Option<Body>,
    rpc: &'static str,
}

impl HttpBody for CatchPanicBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(inner) = &mut self.inner else {
            return Poll::Ready(None);
        };
        match catch_unwind(AssertUnwindSafe(|| Pin::new(inner).poll_frame(cx))) {
            Ok(frame) => frame,
            Err(panic) => {
                // It may be in any state, and a second poll may panic again.
                self.inner = None;
                Poll::Ready(Some(Ok(trailers(&report(self.rpc, &*panic)))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}
