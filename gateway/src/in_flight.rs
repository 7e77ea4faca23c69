//! Requests in flight on one connection, how long there has been none, and how long its client has taken nothing of them.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

/// Counts the requests of a connection, each from its head until the last byte of its answer has been handed over.
#[derive(Clone, Default)]
pub(crate) struct InFlight(Arc<Mutex<Count>>);

#[derive(Default)]
struct Count {
    requests: usize,
    /// When the last one ended.
    ended: Option<Instant>,
    /// Answers of which the client was offered something and has not taken it.
    untaken: usize,
    /// When something was offered last.
    offered: Option<Instant>,
}

/// One request, until dropped.
pub(crate) struct Request(InFlight);

impl InFlight {
    pub(crate) fn begin(&self) -> Request {
        self.with(|count| count.requests += 1);
        Request(self.clone())
    }

    /// Waits until there has been no request for as long as `limit`, counted from now at the earliest. It looks when it
    /// could be so instead of being told, which costs requests nothing and may come late by as much again.
    pub(crate) async fn none_for(&self, limit: Duration) {
        let begun = Instant::now();
        loop {
            let due = self.with(|count| match count.requests {
                0 => count.ended.map_or(begun, |ended| ended.max(begun)) + limit,
                _ => Instant::now() + limit,
            });
            if due <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(due).await;
        }
    }

    /// Waits until all that is in flight are answers of which the client has taken nothing for as long as `limit`. It looks
    /// as [`InFlight::none_for`] does.
    pub(crate) async fn untaken_for(&self, limit: Duration) {
        loop {
            let due = self.with(|count| match count.offered {
                Some(offered) if count.requests > 0 && count.untaken == count.requests => offered + limit,
                _ => Instant::now() + limit,
            });
            if due <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(due).await;
        }
    }

    fn with<T>(&self, look: impl FnOnce(&mut Count) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Request {
    /// Makes the request last as long as the body of its answer.
    pub(crate) fn until_end_of(self, body: Body) -> Answering {
        let mut answering = Answering {
            body,
            is_untaken: false,
            request: self,
        };
        // Where a window of HTTP/2 is shut, the body is never asked for anything.
        answering.set_untaken(true);
        answering
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.0.with(|count| {
            count.requests -= 1;
            count.ended = Some(Instant::now());
        });
    }
}

/// The body of an answer.
pub(crate) struct Answering {
    body: Body,
    /// Whether the next move is the client's.
    is_untaken: bool,
    request: Request,
}

impl Answering {
    fn set_untaken(&mut self, untaken: bool) {
        let before = std::mem::replace(&mut self.is_untaken, untaken);
        self.request.0.with(|count| {
            count.untaken += usize::from(untaken);
            count.untaken -= usize::from(before);
            if untaken {
                count.offered = Some(Instant::now());
            }
        });
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.set_untaken(false);
    }
}

impl http_body::Body for Answering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        self.set_untaken(matches!(polled, Poll::Ready(Some(_))));
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
