//! Refuses calls beyond a number.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Code, Status};
use tower::Service;

use crate::{
    body::{Lifetime, end_with},
    call::{Call, OutcomeFuture, Response},
    error::{ErrorReason, status, with_retry_after},
};

#[derive(Clone)]
pub(super) struct Limit<S> {
    inner: S,
    permits: Arc<Semaphore>,
}

impl<S> Limit<S> {
    pub(super) fn new(inner: S, max_in_flight: usize) -> Self {
        Self {
            inner,
            permits: Arc::new(Semaphore::new(max_in_flight.min(Semaphore::MAX_PERMITS))),
        }
    }
}

impl<S> Service<Call> for Limit<S>
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
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            return Box::pin(async { Err(overloaded()) });
        };
        let lasts = call.method.server_streaming;
        let response = self.inner.call(call);
        Box::pin(async move {
            let outcome = response.await;
            // A unary answer follows its headers at once, a stream goes on.
            if lasts {
                end_with(Held { _permit: permit }, outcome)
            } else {
                outcome
            }
        })
    }
}

fn overloaded() -> Status {
    let refusal = status(
        Code::ResourceExhausted,
        ErrorReason::Overloaded,
        "too many calls are under way",
    );
    with_retry_after(refusal, Duration::from_secs(1))
}

struct Held {
    _permit: OwnedSemaphorePermit,
}

impl Lifetime for Held {
    fn end(&mut self, _: Code) {}
}
