//! RPCs that carry blobs, without copying them.
//!
//! tonic's codec copies every message into a buffer when it encodes it, and every frame into another when it decodes it.
//! For messages that are a piece of a blob and nothing else, that is more work than all the rest of the call. Here the
//! bytes of such a message go out as a frame of their own, and come in as slices of the frames that arrive. On the wire
//! it is the contract as always, and either end may be a generated one: messages with their lengths before them. Only a
//! message that arrives in several frames is given out as several, since nothing depends on where a blob is cut.
//!
//! Everything else about such a call is as with generated clients and servers; it passes the same layers.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use futures::Stream;
use http::{HeaderValue, header};
use prost::Message;
use roadstead_proto::blobs::v1::{AppendRequest, AppendResponse, ReadRequest, ReadResponse, append_request};
use tonic::{Code, Status, body::Body};
use tower::{Service as _, ServiceExt as _};

pub use self::decode::Messages;
use self::encode::Encoded;
use crate::{
    RpcChannel,
    call::{Outcome, Response},
};

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// An RPC of the contract that is called and served through this module.
pub trait BulkRpc: 'static {
    /// `/package.Service/Method`
    const PATH: &'static str;
    /// What the caller sends, one or a stream of them.
    type Request: BulkMessage;
    /// What comes back, a stream of them.
    type Response: BulkMessage;
}

/// A message of a [`BulkRpc`]. Those that are never a chunk keep to the defaults.
pub trait BulkMessage: Message + Default + Unpin + 'static {
    /// The number of the field with the chunk, which then is the only field of its message.
    const FIELD: u32 = 0;

    /// Makes the message that is this chunk.
    fn from_chunk(_: Bytes) -> Self {
        Self::default()
    }

    /// Gives the chunk that the message is.
    ///
    /// # Errors
    ///
    /// The message itself when it is something else.
    fn into_chunk(self) -> Result<Bytes, Self> {
        Err(self)
    }
}

/// `BlobReadService/Read`
#[derive(Debug)]
pub struct Read;

impl BulkRpc for Read {
    const PATH: &'static str = "/roadstead.blobs.v1.BlobReadService/Read";
    type Request = ReadRequest;
    type Response = ReadResponse;
}

impl BulkMessage for ReadRequest {}

impl BulkMessage for ReadResponse {
    const FIELD: u32 = 1;

    fn from_chunk(chunk: Bytes) -> Self {
        Self { chunk }
    }

    fn into_chunk(self) -> Result<Bytes, Self> {
        Ok(self.chunk)
    }
}

/// `BlobWriteService/Append`
#[derive(Debug)]
pub struct Append;

impl BulkRpc for Append {
    const PATH: &'static str = "/roadstead.blobs.v1.BlobWriteService/Append";
    type Request = AppendRequest;
    type Response = AppendResponse;
}

impl BulkMessage for AppendRequest {
    const FIELD: u32 = 2;

    fn from_chunk(chunk: Bytes) -> Self {
        Self {
            message: Some(append_request::Message::Chunk(chunk)),
        }
    }

    fn into_chunk(self) -> Result<Bytes, Self> {
        match self.message {
            Some(append_request::Message::Chunk(chunk)) => Ok(chunk),
            message => Err(Self { message }),
        }
    }
}

impl BulkMessage for AppendResponse {}

/// Calls the RPC over the channel.
///
/// # Errors
///
/// What the server refused the call with, or why it could not be reached.
pub async fn call<R: BulkRpc>(
    mut channel: RpcChannel,
    requests: impl Stream<Item = R::Request> + Send + 'static,
) -> Result<Messages<R::Response>, Status> {
    let mut request = http::Request::new(Body::new(Encoded::requests(requests)));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = http::Uri::from_static(R::PATH);
    *request.version_mut() = http::Version::HTTP_2;
    request
        .headers_mut()
        .insert(header::TE, HeaderValue::from_static("trailers"));
    request.headers_mut().insert(header::CONTENT_TYPE, GRPC);
    let response = channel.ready().await?.call(request).await?;
    match Status::from_header_map(response.headers()) {
        Some(status) if status.code() != Code::Ok => Err(status),
        _ => Ok(Messages::of_response(response.into_body())),
    }
}

/// Serves one call of the RPC.
pub(crate) async fn serve<R, F, S>(
    request: http::Request<Body>,
    answer: impl FnOnce(Messages<R::Request>) -> F,
) -> Outcome
where
    R: BulkRpc,
    F: Future<Output = Result<S, Status>>,
    S: Stream<Item = Result<R::Response, Status>> + Send + 'static,
{
    let responses = answer(Messages::of_request(request.into_body())).await?;
    let mut response = Response::new(Body::new(Encoded::responses(responses)));
    response.headers_mut().insert(header::CONTENT_TYPE, GRPC);
    Ok(response)
}
