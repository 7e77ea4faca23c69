//! Frames to messages.

use std::{
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use http_body::Body as HttpBody;
use prost::encoding::{WireType, decode_varint};
use tonic::{Code, Status, body::Body};

use super::{BulkMessage, encode::PREFIX};
use crate::{
    MAX_MESSAGE_BYTES,
    error::{ErrorReason, status},
};

/// The longest that a key and a length of ours can be.
const LONGEST_HEAD: usize = 10;

/// The messages of one direction of a call.
pub struct Messages<M> {
    body: Body,
    /// Of the last frame, what was not looked at.
    data: Bytes,
    state: State,
    /// Whether the last message must be followed by a status.
    expects_status: bool,
    message: PhantomData<fn() -> M>,
}

enum State {
    /// The start of a message, until it is known what kind it is.
    Head(BytesMut),
    /// So many bytes of a chunk are to come.
    Chunk(usize),
    /// A message that is no chunk, and the length that it has when it is whole.
    Whole(BytesMut, usize),
    Ended,
}

/// What the head of a message says.
enum Head {
    /// Bytes of the chunk.
    Chunk(usize),
    /// Bytes of the message.
    Other(usize),
}

impl<M: BulkMessage> Messages<M> {
    pub(super) fn of_request(body: Body) -> Self {
        Self::new(body, false)
    }

    pub(super) fn of_response(body: Body) -> Self {
        Self::new(body, true)
    }

    fn new(body: Body, expects_status: bool) -> Self {
        Self {
            body,
            data: Bytes::new(),
            state: State::Head(BytesMut::new()),
            expects_status,
            message: PhantomData,
        }
    }

    /// Waits for the next message; none at a proper end.
    ///
    /// # Errors
    ///
    /// The status that ended the call, or INTERNAL for what is no message.
    pub async fn message(&mut self) -> Result<Option<M>, Status> {
        self.next().await.transpose()
    }

    /// Takes what the data at hand completes.
    fn decode(&mut self) -> Result<Option<M>, Status> {
        loop {
            match &mut self.state {
                State::Head(head) => {
                    let Some(kind) = grow_head::<M>(head, &mut self.data)? else {
                        return Ok(None);
                    };
                    self.state = match kind {
                        Head::Chunk(length) => State::Chunk(length),
                        Head::Other(length) => State::Whole(head.split_off(PREFIX), length),
                    };
                }
                State::Chunk(missing) => {
                    if self.data.is_empty() && *missing > 0 {
                        return Ok(None);
                    }
                    let chunk = self.data.split_to(self.data.len().min(*missing));
                    *missing -= chunk.len();
                    if *missing == 0 {
                        self.state = State::Head(BytesMut::new());
                    }
                    return Ok(Some(M::from_chunk(chunk)));
                }
                State::Whole(message, length) => {
                    let more = self.data.len().min(*length - message.len());
                    message.extend_from_slice(&self.data.split_to(more));
                    if message.len() < *length {
                        return Ok(None);
                    }
                    let decoded = M::decode(std::mem::take(message).freeze());
                    self.state = State::Head(BytesMut::new());
                    return decoded.map(Some).map_err(|_| malformed("not of its type"));
                }
                State::Ended => return Ok(None),
            }
        }
    }

    /// The end of the stream, with the status if there was one.
    fn end(&mut self, trailers: Option<&http::HeaderMap>) -> Option<Status> {
        let within = match std::mem::replace(&mut self.state, State::Ended) {
            State::Head(head) => !head.is_empty(),
            State::Ended => return None,
            State::Chunk(_) | State::Whole(..) => true,
        };
        match trailers.and_then(Status::from_header_map) {
            Some(status) if status.code() != Code::Ok => Some(status),
            _ if within => Some(malformed("cut short")),
            None if self.expects_status => Some(malformed("the last without a status")),
            _ => None,
        }
    }
}

impl<M: BulkMessage> Stream for Messages<M> {
    type Item = Result<M, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            match this.decode() {
                Ok(None) => {}
                Ok(Some(message)) => return Poll::Ready(Some(Ok(message))),
                Err(status) => {
                    this.state = State::Ended;
                    return Poll::Ready(Some(Err(status)));
                }
            }
            if matches!(this.state, State::Ended) {
                return Poll::Ready(None);
            }
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.data = data,
                    Err(frame) => return Poll::Ready(this.end(frame.trailers_ref()).map(Err)),
                },
                Some(Err(status)) => {
                    this.state = State::Ended;
                    return Poll::Ready(Some(Err(status)));
                }
                None => return Poll::Ready(this.end(None).map(Err)),
            }
        }
    }
}

impl<M> std::fmt::Debug for Messages<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Messages")
    }
}

/// Moves bytes from `data` to `head` until the head tells what the message is.
fn grow_head<M: BulkMessage>(head: &mut BytesMut, data: &mut Bytes) -> Result<Option<Head>, Status> {
    loop {
        if let Some(kind) = look_at::<M>(head)? {
            return Ok(Some(kind));
        }
        if data.is_empty() {
            return Ok(None);
        }
        let wanted = if head.len() < PREFIX {
            PREFIX - head.len()
        } else {
            1
        };
        head.extend_from_slice(&data.split_to(wanted.min(data.len())));
    }
}

fn look_at<M: BulkMessage>(head: &[u8]) -> Result<Option<Head>, Status> {
    let Some((&[compressed, ref length @ ..], start)) = head.split_first_chunk::<PREFIX>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length) as usize;
    if compressed != 0 {
        return Err(malformed("compressed, which nobody asked for"));
    }
    if length > MAX_MESSAGE_BYTES {
        return Err(malformed("too large"));
    }
    let mut rest = start;
    let is_chunk = M::FIELD > 0 && decode_varint(&mut rest) == Ok(chunk_key::<M>());
    let chunk = if is_chunk {
        decode_varint(&mut rest).ok()
    } else {
        None
    };
    let after_head = length - (start.len() - rest.len());
    Ok(match chunk {
        Some(chunk) if chunk == after_head as u64 => Some(Head::Chunk(after_head)),
        // It may still become one.
        None if M::FIELD > 0 && start.len() < length.min(LONGEST_HEAD) => None,
        _ => Some(Head::Other(length)),
    })
}

/// The key of the field with the chunk.
fn chunk_key<M: BulkMessage>() -> u64 {
    u64::from(M::FIELD << 3 | WireType::LengthDelimited as u32)
}

fn malformed(problem: &str) -> Status {
    let message = format!("a message of a stream of chunks is {problem}");
    status(Code::Internal, ErrorReason::Internal, message)
}
