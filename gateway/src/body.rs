//! Request bodies.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;

use crate::error::{ErrorCode, Failure};

/// Why a body was not received whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// Nothing came for the idle time.
    Idle,
    /// The connection broke, or the body ended before or after the length that its head names.
    Broken,
    /// There is more than the receiver takes.
    TooLarge,
}

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Self {
        let (status, code, message) = match error {
            BodyError::Idle => (
                StatusCode::REQUEST_TIMEOUT,
                ErrorCode::BlobUploadInvalid,
                "the request's body stood still for too long; send it again",
            ),
            BodyError::Broken => (
                StatusCode::BAD_REQUEST,
                ErrorCode::BlobUploadInvalid,
                "the request's body broke off; send it again",
            ),
            BodyError::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                ErrorCode::SizeInvalid,
                "the request's body is too large",
            ),
        };
        Self::new(status, code, message)
    }
}

/// How much of an unwanted body is still read, so that the client gets to read the answer. Closing a connection with
/// unread bytes resets it, and the reset overtakes the answer. It is enough for a manifest of a few times the limit.
const DRAIN_LIMIT: u64 = 16 * 1024 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// A body that is read piece by piece, each within the idle time, and whose end is believed only if the length is right.
#[derive(Debug)]
pub(crate) struct RequestBody {
    inner: Body,
    content_length: Option<u64>,
    received: u64,
    idle: Duration,
    ended: bool,
    /// The client waits for `100 Continue`, which the first read sends: nothing may be drained then.
    expects_continue: bool,
}

impl RequestBody {
    pub(crate) fn new(inner: Body, headers: &HeaderMap, idle: Duration) -> Self {
        let number = |name| headers.get(name)?.to_str().ok()?.parse().ok();
        Self {
            content_length: number(header::CONTENT_LENGTH),
            received: 0,
            idle,
            ended: inner.is_end_stream(),
            inner,
            expects_continue: headers.contains_key(header::EXPECT),
        }
    }

    /// The length that the request's head names.
    pub(crate) fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// Bytes given out so far.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Gives the next bytes, never empty, or none at a proper end. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        while !self.ended {
            let frame = tokio::time::timeout(self.idle, self.inner.frame())
                .await
                .map_err(|_| BodyError::Idle)?;
            match frame {
                None => self.ended = true,
                Some(Err(_)) => return Err(BodyError::Broken),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => {
                        self.received += data.len() as u64;
                        return Ok(Some(data));
                    }
                    _ => {}
                },
            }
        }
        match self.content_length {
            Some(length) if length != self.received => Err(BodyError::Broken),
            _ => Ok(None),
        }
    }

    /// Reads a small body whole. The length need not be known beforehand.
    pub(crate) async fn collect(&mut self, limit: usize) -> Result<Bytes, BodyError> {
        if self.content_length.is_some_and(|length| length > limit as u64) {
            return Err(BodyError::TooLarge);
        }
        let Some(first) = self.next().await? else {
            return Ok(Bytes::new());
        };
        let Some(second) = self.next().await? else {
            return if first.len() <= limit {
                Ok(first)
            } else {
                Err(BodyError::TooLarge)
            };
        };
        let mut whole = BytesMut::with_capacity(first.len() + second.len());
        whole.extend_from_slice(&first);
        let mut next = Some(second);
        while let Some(data) = next {
            whole.extend_from_slice(&data);
            if whole.len() > limit {
                return Err(BodyError::TooLarge);
            }
            next = self.next().await?;
        }
        Ok(whole.freeze())
    }

    /// Reads and drops the rest, within bounds.
    pub(crate) async fn drain(&mut self) {
        let untouched = self.received == 0 && self.expects_continue;
        let left = self
            .content_length
            .map_or(0, |length| length.saturating_sub(self.received));
        if self.ended || untouched || left > DRAIN_LIMIT {
            return;
        }
        let limit = self.received + DRAIN_LIMIT;
        let reading = async { while self.received < limit && matches!(self.next().await, Ok(Some(_))) {} };
        // Whether it ended in time makes no difference.
        let _ = tokio::time::timeout(DRAIN_TIME, reading).await;
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use http::HeaderValue;

    use super::*;

    fn body(chunks: &[&'static str], length: Option<u64>) -> RequestBody {
        let frames: Vec<Result<Bytes, std::io::Error>> = chunks
            .iter()
            .map(|chunk| Ok(Bytes::from_static(chunk.as_bytes())))
            .collect();
        let headers = length
            .map(|length| (header::CONTENT_LENGTH, HeaderValue::from(length)))
            .into_iter()
            .collect();
        RequestBody::new(
            Body::from_stream(stream::iter(frames)),
            &headers,
            Duration::from_secs(5),
        )
    }

    #[tokio::test]
    async fn collects_with_and_without_a_length() {
        assert_eq!(
            body(&["ab", "", "cd", "e"], None).collect(5).await,
            Ok(Bytes::from_static(b"abcde"))
        );
        assert_eq!(
            body(&["ab"], Some(2)).collect(5).await,
            Ok(Bytes::from_static(b"ab"))
        );
        assert_eq!(body(&[], None).collect(5).await, Ok(Bytes::new()));
    }

    #[tokio::test]
    async fn a_wrong_length_is_no_proper_end() {
        assert_eq!(
            body(&["ab", "c"], Some(4)).collect(9).await,
            Err(BodyError::Broken)
        );
        assert_eq!(
            body(&["ab", "c"], Some(2)).collect(9).await,
            Err(BodyError::Broken)
        );
        assert_eq!(body(&[], Some(1)).next().await, Err(BodyError::Broken));
    }

    #[tokio::test]
    async fn too_much_is_noticed_with_and_without_a_length() {
        assert_eq!(body(&["abc"], Some(3)).collect(2).await, Err(BodyError::TooLarge));
        assert_eq!(body(&["abc"], None).collect(2).await, Err(BodyError::TooLarge));
        assert_eq!(
            body(&["ab", "c"], None).collect(2).await,
            Err(BodyError::TooLarge)
        );
    }

    #[tokio::test]
    async fn a_body_that_stands_still_times_out() {
        let stuck = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let mut body = RequestBody::new(stuck, &HeaderMap::new(), Duration::from_millis(10));
        assert_eq!(body.next().await, Err(BodyError::Idle));
    }
}
