//! What a call must be answered.

use anyhow::{Context as _, Result, bail, ensure};
use prost::bytes::{Buf as _, BufMut as _};
use roadstead_integration_tests::Reply;
use roadstead_rpc::{ErrorReason, reason};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

/// The one right answer of an RPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    /// Done, and the answer says something.
    Full,
    /// Done, or nothing to see: an empty answer.
    Bare,
    /// No token came.
    Missing,
    /// A token that is not for here.
    Invalid,
    /// A token that was good once.
    Expired,
    /// The caller may see this and not do that.
    Lacks,
    /// For this caller it does not exist.
    Hidden,
    /// The caller was not granted this on the repository.
    Denied,
    /// Reached past its authorisation; what came then is wrong for another reason.
    Past(ErrorReason),
    /// No such call from outside.
    Absent,
}

impl Cell {
    pub(crate) fn check(self, answer: Result<&Vec<u8>, &Status>) -> Result<()> {
        let expected = match (self, answer) {
            (Self::Full, Ok(message)) => {
                ensure!(!message.is_empty(), "an empty answer");
                return Ok(());
            }
            (Self::Bare, Ok(message)) => {
                ensure!(message.is_empty(), "was told {} bytes", message.len());
                return Ok(());
            }
            (Self::Full | Self::Bare, Err(status)) => {
                bail!("{:?} {:?}: {}", status.code(), reason(status), status.message())
            }
            (Self::Missing, _) => (Code::Unauthenticated, ErrorReason::TokenMissing),
            (Self::Invalid, _) => (Code::Unauthenticated, ErrorReason::TokenInvalid),
            (Self::Expired, _) => (Code::Unauthenticated, ErrorReason::TokenExpired),
            (Self::Lacks, _) => (Code::PermissionDenied, ErrorReason::CapabilityMissing),
            (Self::Hidden, _) => (Code::NotFound, ErrorReason::NotFound),
            (Self::Denied, _) => (Code::PermissionDenied, ErrorReason::PermissionMissing),
            (Self::Past(reason), _) => return past(reason, answer),
            (Self::Absent, _) => (Code::Unimplemented, ErrorReason::Unsupported),
        };
        let status = answer.err().context("was done")?;
        let found = (status.code(), reason(status));
        ensure!(
            found == expected,
            "{found:?} instead of {expected:?}: {}",
            status.message()
        );
        Ok(())
    }
}

fn past(expected: ErrorReason, answer: Result<&Vec<u8>, &Status>) -> Result<()> {
    let status = answer.err().context("was done")?;
    let found = reason(status);
    ensure!(
        found == expected,
        "{found:?} instead of {expected:?}: {}",
        status.message()
    );
    Ok(())
}

/// The one right answer of a route.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// This status.
    Is(u16),
    /// 200 with a registry token that carries exactly these actions on `acme/web`.
    Grants(&'static [&'static str]),
}

impl Answer {
    pub(crate) fn check(self, reply: &Reply) -> Result<()> {
        match self {
            Self::Is(status) => {
                let said = String::from_utf8_lossy(&reply.body[..reply.body.len().min(300)]);
                ensure!(
                    reply.status == status,
                    "{} instead of {status}: {said}",
                    reply.status
                );
            }
            Self::Grants(actions) => {
                ensure!(reply.status == 200, "{}: {:?}", reply.status, reply.body);
                let token = reply.json()?["token"].as_str().context("no token")?.to_owned();
                let granted = super::callers::claims(&token)?["access"].clone();
                let mut found: Vec<&str> = granted[0]["actions"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(serde_json::Value::as_str)
                    .collect();
                found.sort_unstable();
                ensure!(found == actions, "{found:?} instead of {actions:?}");
            }
        }
        Ok(())
    }
}

/// Makes one unary call with a message that is encoded already.
pub(crate) async fn call(
    channel: &Channel,
    method: &str,
    token: Option<&str>,
    message: Vec<u8>,
) -> Result<Vec<u8>, Status> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        let value = MetadataValue::try_from(format!("Bearer {token}"))
            .map_err(|_| Status::internal("a token is ASCII"))?;
        request.metadata_mut().insert("authorization", value);
    }
    let path = method
        .parse()
        .map_err(|_| Status::internal("a method is a path"))?;
    let mut client = tonic::client::Grpc::new(channel.clone());
    client
        .ready()
        .await
        .map_err(|error| Status::unavailable(error.to_string()))?;
    let response = client.unary(request, path, Encoded).await?;
    Ok(response.into_inner())
}

/// Makes a call with an empty message, and waits no longer than until it is known whether it is let in.
pub(crate) async fn open(channel: &Channel, method: &str) -> Result<(), Status> {
    let path = method
        .parse()
        .map_err(|_| Status::internal("a method is a path"))?;
    let mut client = tonic::client::Grpc::new(channel.clone());
    client
        .ready()
        .await
        .map_err(|error| Status::unavailable(error.to_string()))?;
    let request = Request::new(Vec::new());
    client.server_streaming(request, path, Encoded).await.map(drop)
}

/// Messages that are encoded already.
#[derive(Clone, Copy)]
struct Encoded;

impl Codec for Encoded {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Encoded {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, message: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&message);
        Ok(())
    }
}

impl Decoder for Encoded {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining()).to_vec()))
    }
}
