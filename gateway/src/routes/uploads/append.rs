//! Moves a request's body into a session.
//!
//! Blobs grants credit and the body is read only against it, so that a slow disk slows the client down instead of
//! filling memory. Every so many bytes blobs sends a checkpoint, which is saved with metadata while further bytes flow;
//! what lies behind the last saved checkpoint was never received. A checkpoint that cannot be saved ends the stream:
//! somebody else holds the session now.

use bytes::Bytes;
use futures::future::BoxFuture;
use http::StatusCode;
use roadstead_proto::blobs::v1::{
    AppendOpen, AppendRequest, AppendResponse, Checkpoint, append_request, append_response,
};
use roadstead_rpc::bulk::{self, Messages};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::session::Session;
use crate::{
    body::{BodyError, RequestBody},
    error::{ErrorCode, Failure},
    range::ByteRange,
};

/// The contract's bound on one message.
const MAX_CHUNK: usize = 1024 * 1024;

impl Session<'_> {
    /// Appends the body. Afterwards `state` and `offset` are those of the last saved checkpoint, also after a failure.
    pub(super) async fn append_bytes(
        &mut self,
        body: &mut RequestBody,
        chunk: Option<ByteRange>,
    ) -> Result<(), Failure> {
        // An empty body, as in most final PUTs, costs no stream.
        let first = match body.next().await {
            Ok(Some(first)) => first,
            Ok(None) => return check_length(chunk, 0),
            Err(error) => return Err(error.into()),
        };
        let limit = chunk.map_or(u64::MAX, ByteRange::length);
        if let Some(chunk) = chunk.filter(|_| body.received() > limit) {
            return Err(length_mismatch(chunk, body.received()));
        }
        let start = self.offset;
        let mut stream = self.open_stream(first).await?;
        let mut checkpoints = Checkpoints::default();
        let outcome = self.pump(&mut stream, body, limit, &mut checkpoints).await;
        // What blobs confirmed is kept after any failure but that of saving, so that the client can go on from there.
        if !matches!(outcome, Err(PumpError::Save(_))) {
            while let Some(saved) = checkpoints.next(self).await {
                self.adopt(saved?);
            }
        }
        match (outcome, chunk) {
            (Ok(()), _) => {}
            (Err(PumpError::Body(BodyError::TooLarge)), Some(chunk)) => {
                return Err(length_mismatch(chunk, body.received()));
            }
            (Err(PumpError::Body(error)), _) => return Err(error.into()),
            (Err(PumpError::Save(status) | PumpError::Append(status)), _) => return Err(status.into()),
        }
        if self.offset - start != body.received() {
            let (have, sent) = (self.offset - start, body.received());
            return Err(Failure::internal(format!(
                "blobs confirmed {have} of {sent} bytes"
            )));
        }
        check_length(chunk, body.received())
    }

    async fn open_stream(&self, first: Bytes) -> Result<AppendStream, Failure> {
        let (sender, receiver) = mpsc::channel(1);
        let open = AppendOpen {
            lease: self.lease.clone(),
            state: self.state.clone(),
        };
        // The channel is new and has room.
        let _ = sender.send(message(append_request::Message::Open(open))).await;
        let blobs = self.app.channels.blobs.clone();
        let responses = bulk::call::<bulk::Append>(blobs, ReceiverStream::new(receiver)).await?;
        Ok(AppendStream {
            sender: Some(sender),
            responses,
            credit: 0,
            pending: first,
        })
    }

    /// Moves bytes one way and checkpoints the other until blobs ends the stream.
    async fn pump(
        &mut self,
        stream: &mut AppendStream,
        body: &mut RequestBody,
        limit: u64,
        checkpoints: &mut Checkpoints,
    ) -> Result<(), PumpError> {
        let mut broken = None;
        loop {
            let event = tokio::select! {
                biased;
                Some(saved) = checkpoints.next(self) => Event::Saved(saved),
                event = stream.next(body) => event,
            };
            match event {
                Event::Response(None) => return broken.map_or(Ok(()), |error| Err(PumpError::Body(error))),
                Event::Response(Some(response)) => match response.map_err(PumpError::Append)?.message {
                    Some(append_response::Message::Credit(bytes)) => stream.credit += bytes,
                    Some(append_response::Message::Checkpoint(checkpoint)) => {
                        checkpoints.newest = Some(checkpoint);
                    }
                    None => {}
                },
                Event::Body(Ok(Some(_))) if body.received() > limit => {
                    broken = Some(BodyError::TooLarge);
                    stream.finish();
                }
                Event::Body(Ok(Some(bytes))) => stream.pending = bytes,
                Event::Body(Ok(None)) => stream.finish(),
                Event::Body(Err(error)) => {
                    broken = Some(error);
                    stream.finish();
                }
                Event::Saved(saved) => self.adopt(saved.map_err(PumpError::Save)?),
                Event::Sent => {}
            }
        }
    }

    fn adopt(&mut self, Checkpoint { state, offset }: Checkpoint) {
        self.state = state;
        self.offset = offset;
    }
}

/// Why the pump stopped.
enum PumpError {
    Body(BodyError),
    Append(Status),
    Save(Status),
}

/// Saves checkpoints beside the flow of bytes, one at a time. Of those that come meanwhile only the newest counts.
#[derive(Default)]
struct Checkpoints {
    newest: Option<Checkpoint>,
    saving: Option<BoxFuture<'static, Result<Checkpoint, Status>>>,
}

impl Checkpoints {
    /// Gives the next checkpoint that was saved; none when there is nothing to save. Cancel-safe.
    async fn next(&mut self, session: &Session<'_>) -> Option<Result<Checkpoint, Status>> {
        if self.saving.is_none() {
            let checkpoint = self.newest.take()?;
            let request = session.save_request(checkpoint.state.clone(), checkpoint.offset);
            let mut client = session.app.services.uploads.clone();
            self.saving = Some(Box::pin(async move {
                client.save_upload(request).await?;
                Ok(checkpoint)
            }));
        }
        let saved = self.saving.as_mut()?.await;
        self.saving = None;
        Some(saved)
    }
}

/// Both directions of one `Append`.
struct AppendStream {
    /// None once all bytes are sent.
    sender: Option<mpsc::Sender<AppendRequest>>,
    responses: Messages<AppendResponse>,
    /// Bytes that blobs will still take.
    credit: u64,
    /// Bytes that were read and wait for credit.
    pending: Bytes,
}

enum Event {
    Saved(Result<Checkpoint, Status>),
    Response(Option<Result<AppendResponse, Status>>),
    Body(Result<Option<Bytes>, BodyError>),
    Sent,
}

impl AppendStream {
    fn finish(&mut self) {
        self.sender = None;
        self.pending = Bytes::new();
    }

    /// Waits for whatever comes first: an answer, room for bytes at hand, or bytes when there is credit for them. While
    /// there is no credit the body is not read, and its idle time does not run.
    async fn next(&mut self, body: &mut RequestBody) -> Event {
        // A handle of its own leaves `self` free; blobs sees the end when both are gone.
        let Some(sender) = self.sender.clone() else {
            return Event::Response(self.responses.message().await.transpose());
        };
        let may_send = self.credit > 0;
        let has_bytes = !self.pending.is_empty();
        tokio::select! {
            biased;
            response = self.responses.message() => Event::Response(response.transpose()),
            permit = sender.reserve(), if may_send && has_bytes => {
                let Ok(permit) = permit else {
                    // Blobs stopped listening; its answer says why.
                    self.finish();
                    return Event::Sent;
                };
                let credit = usize::try_from(self.credit).unwrap_or(usize::MAX);
                let bytes = self.pending.split_to(self.pending.len().min(MAX_CHUNK).min(credit));
                self.credit -= bytes.len() as u64;
                permit.send(message(append_request::Message::Chunk(bytes)));
                Event::Sent
            }
            bytes = body.next(), if may_send && !has_bytes => Event::Body(bytes),
        }
    }
}

fn message(message: append_request::Message) -> AppendRequest {
    AppendRequest {
        message: Some(message),
    }
}

fn check_length(chunk: Option<ByteRange>, received: u64) -> Result<(), Failure> {
    match chunk {
        Some(chunk) if chunk.length() != received => Err(length_mismatch(chunk, received)),
        _ => Ok(()),
    }
}

fn length_mismatch(chunk: ByteRange, received: u64) -> Failure {
    let message = format!("Content-Range names {} bytes but {received} came", chunk.length());
    Failure::new(StatusCode::BAD_REQUEST, ErrorCode::SizeInvalid, message)
}
