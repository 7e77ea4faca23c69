//! Bodies of blob answers: streams from blobs, passed on chunk by chunk without copying.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError, Weak},
    task::{Context, Poll, Waker},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use http_body::{Frame, SizeHint};
use roadstead_proto::blobs::v1::{ReadRequest, ReadResponse};
use roadstead_rpc::{
    ErrorReason, RpcChannel,
    bulk::{self, Messages},
};
use tokio::{sync::watch, time::timeout};
use tonic::Status;
use tracing::Span;

use crate::{error::Failure, multipart::Multipart, range::ByteRange};

/// Where the bytes of one blob are.
#[derive(Clone)]
pub(crate) struct BlobSource {
    pub(crate) blobs: RpcChannel,
    pub(crate) locator: Bytes,
    pub(crate) size: u64,
    /// How long the client may take nothing, and blobs send nothing.
    pub(crate) patience: Duration,
}

impl BlobSource {
    async fn open(&self, range: ByteRange) -> Result<Messages<ReadResponse>, Status> {
        let request = ReadRequest {
            locator: self.locator.clone(),
            offset: range.first,
            length: range.length(),
        };
        let call = bulk::call::<bulk::Read>(self.blobs.clone(), stream::iter([request]));
        within(self.patience, call).await
    }
}

/// Waits for blobs, which may live and say nothing. What is there at once costs no timer.
async fn within<T>(patience: Duration, answer: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    timeout(patience, answer).await.unwrap_or_else(|_| Err(silence()))
}

fn silence() -> Status {
    Status::unavailable("blobs sent nothing for too long")
}

/// All bytes.
pub(crate) async fn whole(source: BlobSource) -> Result<Body, Failure> {
    match source.size.checked_sub(1) {
        Some(last) => one(source, ByteRange { first: 0, last }).await,
        None => Ok(Body::empty()),
    }
}

/// One range. The first chunk is awaited before the answer begins: what fails early still becomes a status, and a small
/// blob leaves in one write with its headers.
pub(crate) async fn one(source: BlobSource, range: ByteRange) -> Result<Body, Failure> {
    let mut chunks = source.open(range).await.map_err(failure)?;
    let (length, patience) = (range.length(), source.patience);
    let first = within(patience, chunks.message()).await.map_err(failure)?;
    let first = first.unwrap_or_default().chunk;
    if first.len() as u64 == length {
        // Reading to the end tells blobs that the stream was wanted whole.
        within(patience, chunks.message()).await.map_err(failure)?;
        return Ok(Body::from(first));
    }
    let rest = chunks.map_ok(|message| message.chunk);
    Ok(Exactly::body(
        stream::once(async { Ok(first) }).chain(rest),
        length,
        patience,
    ))
}

/// Several ranges with their frame, read one after the other.
pub(crate) async fn many(
    source: BlobSource,
    frame: Multipart,
    ranges: Vec<ByteRange>,
) -> Result<Body, Failure> {
    let (length, patience) = (frame.length(&ranges), source.patience);
    let mut ranges = ranges.into_iter();
    let Some(first) = ranges.next() else {
        return Ok(Body::empty());
    };
    let opened = source.open(first).await.map_err(failure)?;
    let first_part = part(frame.head(first), opened);
    let tail = frame.tail();
    let others = stream::iter(ranges).then(move |range| {
        let (source, head) = (source.clone(), frame.head(range));
        async move { Ok::<_, Status>(part(head, source.open(range).await?)) }
    });
    let end = stream::once(async move { Ok(tail) });
    Ok(Exactly::body(
        first_part.chain(others.try_flatten()).chain(end),
        length,
        patience,
    ))
}

fn part(head: Bytes, chunks: Messages<ReadResponse>) -> impl Stream<Item = Result<Bytes, Status>> + Send {
    stream::once(async move { Ok(head) }).chain(chunks.map_ok(|message| message.chunk))
}

/// Renders a failure to read. Locators are sealed by metadata a moment ago, so a refusal of one is our own fault and not
/// the client's token.
fn failure(status: Status) -> Failure {
    match roadstead_rpc::reason(&status) {
        ErrorReason::TokenInvalid | ErrorReason::TokenExpired | ErrorReason::RangeNotSatisfiable => {
            Failure::internal(format!("blobs refused a locator: {}", status.message()))
        }
        _ => Failure::from(status),
    }
}

/// A body of a known length. If the stream has fewer or more bytes, the body fails, and with it the connection: a client
/// must not take a wrong body for a whole one.
struct Exactly<S> {
    source: Arc<Source<S>>,
    /// Whether the next move is the client's, and not that of blobs.
    offered: watch::Sender<bool>,
    remaining: u64,
    /// Keeps the request's span open until the last byte has left.
    span: Span,
}

/// A stream that can be taken away from the body.
type Source<S> = Mutex<Chunks<S>>;

struct Chunks<S> {
    /// None when they were taken away.
    stream: Option<Pin<Box<S>>>,
    /// Wakes who waits for the next one.
    waiting: Waker,
}

impl<S: Stream<Item = Result<Bytes, Status>> + Send + 'static> Exactly<S> {
    fn body(chunks: S, length: u64, patience: Duration) -> Body {
        let source = Arc::new(Mutex::new(Chunks {
            stream: Some(Box::pin(chunks)),
            waiting: Waker::noop().clone(),
        }));
        // The first chunk, or the head before it, is there.
        let (offered, offers) = watch::channel(true);
        #[expect(
            clippy::disallowed_methods,
            reason = "its owner is the body, with which it ends"
        )]
        tokio::spawn(let_go(Arc::downgrade(&source), offers, patience));
        Body::new(Self {
            source,
            offered,
            remaining: length,
            span: Span::current(),
        })
    }

    fn poll_chunk(&self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        let mut chunks = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(stream) = chunks.stream.as_mut() else {
            let late = if *self.offered.borrow() {
                Status::cancelled("the client took nothing for too long")
            } else {
                silence()
            };
            return Poll::Ready((self.remaining > 0).then_some(Err(late)));
        };
        let polled = stream.as_mut().poll_next(context);
        if polled.is_pending() {
            chunks.waiting.clone_from(context.waker());
        }
        // Asking again while blobs send nothing gives them no more time.
        self.offered.send_if_modified(|offered| {
            let before = std::mem::replace(offered, polled.is_ready());
            *offered || before
        });
        polled
    }

    fn check(&mut self, chunk: Option<Result<Bytes, Status>>) -> Option<Result<Frame<Bytes>, io::Error>> {
        let problem = match chunk {
            Some(Ok(chunk)) => match self.remaining.checked_sub(chunk.len() as u64) {
                Some(remaining) => {
                    self.remaining = remaining;
                    return Some(Ok(Frame::data(chunk)));
                }
                None => "blobs sent more than was asked for".to_owned(),
            },
            Some(Err(status)) => format!("{:?}: {}", roadstead_rpc::reason(&status), status.message()),
            None if self.remaining == 0 => return None,
            None => format!("blobs ended {} bytes early", self.remaining),
        };
        tracing::warn!(cause = problem, "a blob broke off");
        self.remaining = 0;
        Some(Err(io::Error::other(problem)))
    }
}

impl<S: Stream<Item = Result<Bytes, Status>> + Send + 'static> http_body::Body for Exactly<S> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let span = self.span.clone();
        let _entered = span.enter();
        self.poll_chunk(context).map(|chunk| self.check(chunk))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}

/// Lets the stream go when the client takes nothing or blobs send nothing for too long. A body is not polled while its
/// client stands still, so it cannot notice by itself; and of streams from blobs there are only so many at a time, for
/// everyone.
async fn let_go<S>(source: Weak<Source<S>>, mut offers: watch::Receiver<bool>, patience: Duration) {
    loop {
        offers.mark_unchanged();
        match timeout(patience, offers.changed()).await {
            Ok(Ok(())) => continue,
            Ok(Err(_)) => return,
            Err(_) => {}
        }
        let Some(source) = source.upgrade() else { return };
        let mut chunks = source.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock nothing moves: who came in this very moment keeps the stream, on which the other may wait now.
        if offers.has_changed().is_ok_and(|changed| !changed) {
            chunks.stream.take();
            chunks.waiting.wake_by_ref();
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    async fn collect(chunks: Vec<Result<Bytes, Status>>, length: u64) -> Option<Bytes> {
        Exactly::body(stream::iter(chunks), length, Duration::from_secs(5))
            .collect()
            .await
            .ok()
            .map(http_body_util::Collected::to_bytes)
    }

    #[tokio::test]
    async fn only_the_exact_length_is_whole() {
        let chunks = || vec![Ok(Bytes::from_static(b"ab")), Ok(Bytes::from_static(b"c"))];
        assert_eq!(collect(chunks(), 3).await, Some(Bytes::from_static(b"abc")));
        assert_eq!(collect(chunks(), 4).await, None);
        assert_eq!(collect(chunks(), 2).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_taken_in_time_is_not_sent_unless_it_was_the_end() {
        let patience = Duration::from_secs(1);
        for (length, whole) in [(2, true), (4, false)] {
            let chunks = stream::repeat_with(|| Ok(Bytes::from_static(b"ab")));
            let mut body = Exactly::body(chunks, length, patience);
            assert!(body.frame().await.unwrap().is_ok());
            tokio::time::sleep(patience * 2).await;
            assert_eq!(body.frame().await.is_none(), whole, "{length}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_breaks_the_body_unless_all_was_said() {
        let patience = Duration::from_secs(1);
        for (length, whole) in [(2, true), (4, false)] {
            let said = stream::iter([Ok(Bytes::from_static(b"ab"))]);
            let mut body = Exactly::body(said.chain(stream::pending()), length, patience);
            assert!(body.frame().await.unwrap().is_ok());
            // Asking again and again makes the wait no longer.
            let pause = patience * 3 / 4;
            assert!(timeout(pause, body.frame()).await.is_err());
            let end = timeout(pause, body.frame()).await.unwrap();
            assert_eq!(end.is_none(), whole, "{length}");
            assert!(end.is_none_or(|frame| frame.is_err()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_side_may_stand_still_for_all_its_time() {
        let patience = Duration::from_secs(1);
        let pause = patience * 9 / 10;
        let chunks = stream::iter([(); 4]).then(move |()| async move {
            tokio::time::sleep(pause).await;
            Ok(Bytes::from_static(b"ab"))
        });
        let mut body = Exactly::body(chunks, 8, patience);
        for _ in 0..4 {
            tokio::time::sleep(pause).await;
            assert!(body.frame().await.unwrap().is_ok());
        }
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn an_error_breaks_the_body() {
        let chunks = vec![Ok(Bytes::from_static(b"ab")), Err(Status::unavailable("gone"))];
        assert_eq!(collect(chunks, 2).await, None);
    }
}
