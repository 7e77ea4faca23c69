//! Repeats calls that may be repeated and were not served.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use tokio::time::Instant;
use tonic::{Code, Status, body::Body};
use tower::Service;

use crate::{
    body::code_in,
    call::{Call, Outcome, OutcomeFuture, Response},
    deadline::set_timeout,
    error::retry_after,
    method::Method,
};

const FIRST_DELAY: Duration = Duration::from_millis(20);
const LONGEST_DELAY: Duration = Duration::from_millis(250);

#[derive(Clone)]
pub(super) struct Retry<S> {
    inner: S,
    max_attempts: u32,
    budget: Arc<Budget>,
}

impl<S> Retry<S> {
    pub(super) fn new(inner: S, max_attempts: u32) -> Self {
        Self {
            inner,
            max_attempts,
            budget: Arc::default(),
        }
    }
}

impl<S> Service<Call> for Retry<S>
where
    S: Service<Call, Response = Response, Error = Status> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Status;
    type Future = OutcomeFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> OutcomeFuture {
        // What the client streams is gone once it is sent.
        if self.max_attempts < 2 || !call.method.idempotent || call.method.client_streaming {
            return Box::pin(self.inner.call(call));
        }
        Box::pin(repeat(self.clone(), call))
    }
}

async fn repeat<S>(mut retry: Retry<S>, call: Call) -> Outcome
where
    S: Service<Call, Response = Response, Error = Status> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    retry.budget.deposit();
    let mut template = Template::of(call).await?;
    let mut attempt = 1;
    loop {
        let outcome = retry.inner.call(template.instance()).await;
        if !is_unavailable(&outcome) || attempt >= retry.max_attempts {
            return outcome;
        }
        let Some(delay) = delay_before(attempt, &outcome, template.deadline) else {
            return outcome;
        };
        if !retry.budget.withdraw() {
            return outcome;
        }
        tokio::time::sleep(delay).await;
        attempt += 1;
        template.refresh_timeout();
    }
}

fn is_unavailable(outcome: &Outcome) -> bool {
    match outcome {
        Ok(response) => code_in(response.headers()) == Some(Code::Unavailable),
        Err(status) => status.code() == Code::Unavailable,
    }
}

/// Grows exponentially, with full jitter, so that callers who failed together do not come back together. Nothing when
/// the server wants to be left alone for longer, or the deadline comes first: then the error is the better answer.
fn delay_before(attempt: u32, outcome: &Outcome, deadline: Option<Instant>) -> Option<Duration> {
    let longest = FIRST_DELAY
        .saturating_mul(1 << (attempt - 1).min(16))
        .min(LONGEST_DELAY);
    let jittered = longest.mul_f64(rand::random_range(0.1..=1.0));
    let wanted = match outcome {
        Ok(response) => Status::from_header_map(response.headers()).and_then(|status| retry_after(&status)),
        Err(status) => retry_after(status),
    };
    let delay = jittered.max(wanted.unwrap_or_default());
    if delay > LONGEST_DELAY || deadline.is_some_and(|deadline| Instant::now() + delay >= deadline) {
        return None;
    }
    Some(delay)
}

/// A call that can be made again.
struct Template {
    method: &'static Method,
    deadline: Option<Instant>,
    head: http::request::Parts,
    message: Bytes,
}

impl Template {
    async fn of(call: Call) -> Result<Self, Status> {
        let (head, body) = call.request.into_parts();
        // One message, which the encoder gives in one piece: nothing is copied.
        let message = body.collect().await?.to_bytes();
        Ok(Self {
            method: call.method,
            deadline: call.deadline,
            head,
            message,
        })
    }

    fn instance(&self) -> Call {
        let body = Body::new(Full::new(self.message.clone()));
        let request = http::Request::from_parts(self.head.clone(), body);
        Call {
            method: self.method,
            peer: None,
            deadline: self.deadline,
            request,
        }
    }

    /// The server of the next attempt has less time.
    fn refresh_timeout(&mut self) {
        if let Some(deadline) = self.deadline {
            set_timeout(
                &mut self.head.headers,
                deadline.saturating_duration_since(Instant::now()),
            );
        }
    }
}

/// Limits retries to a tenth of the calls, and a few when there were none lately: a server that is down for everybody
/// must not get a multiple of its load when it comes back.
struct Budget {
    tenths: AtomicU32,
}

impl Budget {
    const RETRY: u32 = 10;
    const MOST: u32 = 100 * Self::RETRY;

    fn deposit(&self) {
        let _ = self
            .tenths
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |tenths| {
                (tenths < Self::MOST).then_some(tenths + 1)
            });
    }

    fn withdraw(&self) -> bool {
        self.tenths
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |tenths| {
                tenths.checked_sub(Self::RETRY)
            })
            .is_ok()
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            tenths: AtomicU32::new(10 * Self::RETRY),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Budget;

    #[test]
    fn a_budget_allows_a_few_retries_and_then_one_in_ten() {
        let budget = Budget::default();
        assert_eq!(
            std::iter::repeat_with(|| budget.withdraw())
                .take_while(|granted| *granted)
                .count(),
            10
        );
        for _ in 0..9 {
            budget.deposit();
            assert!(!budget.withdraw());
        }
        budget.deposit();
        assert!(budget.withdraw());
    }
}
