//! Messages to frames.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::{Stream, StreamExt as _, stream::BoxStream};
use http_body::{Body as HttpBody, Frame};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use tonic::Status;

use super::BulkMessage;
use crate::body::trailers;

/// A byte that says "not compressed", and four with the length.
pub(super) const PREFIX: usize = 5;

/// The body of one direction of a call.
pub(super) struct Encoded<M> {
    messages: BoxStream<'static, Result<M, Status>>,
    /// The rest of the message whose head was given last.
    chunk: Bytes,
    /// Whether a status has to follow the last message.
    owes_status: bool,
}

impl<M: BulkMessage> Encoded<M> {
    pub(super) fn requests(messages: impl Stream<Item = M> + Send + 'static) -> Self {
        Self {
            messages: messages.map(Ok).boxed(),
            chunk: Bytes::new(),
            owes_status: false,
        }
    }

    pub(super) fn responses(messages: impl Stream<Item = Result<M, Status>> + Send + 'static) -> Self {
        Self {
            messages: messages.boxed(),
            chunk: Bytes::new(),
            owes_status: true,
        }
    }
}

impl<M: BulkMessage> HttpBody for Encoded<M> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if !self.chunk.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.chunk)))));
        }
        let status = match ready!(self.messages.poll_next_unpin(cx)) {
            Some(Ok(message)) => {
                let (head, chunk) = encode(message);
                self.chunk = chunk;
                return Poll::Ready(Some(Ok(Frame::data(head))));
            }
            Some(Err(status)) => status,
            None => Status::ok(""),
        };
        self.messages = futures::stream::empty().boxed();
        let owed = std::mem::take(&mut self.owes_status);
        Poll::Ready(owed.then(|| Ok(trailers(&status))))
    }
}

/// Gives what precedes the chunk, and the chunk; of a message that is something else all of it, and nothing.
fn encode<M: BulkMessage>(message: M) -> (Bytes, Bytes) {
    let mut head = BytesMut::new();
    match message.into_chunk() {
        Ok(chunk) => {
            let length = chunk.len() as u64;
            let field = key_len(M::FIELD) + encoded_len_varint(length);
            head.reserve(PREFIX + field);
            put_prefix(&mut head, field + chunk.len());
            encode_key(M::FIELD, WireType::LengthDelimited, &mut head);
            encode_varint(length, &mut head);
            (head.freeze(), chunk)
        }
        Err(other) => {
            let length = other.encoded_len();
            head.reserve(PREFIX + length);
            put_prefix(&mut head, length);
            other.encode_raw(&mut head);
            (head.freeze(), Bytes::new())
        }
    }
}

fn put_prefix(head: &mut BytesMut, length: usize) {
    head.put_u8(0);
    // The contract bounds messages far below; the receiver would refuse what is cut here.
    head.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
}
