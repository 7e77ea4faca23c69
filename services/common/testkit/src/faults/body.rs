//! Streams that break.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use tonic::{Status, body::Body};

use super::channel::broken;

/// A flag and four bytes of length precede each message.
const PREFIX: usize = 5;

/// A stream of messages that breaks off.
pub(super) struct Breaking {
    inner: Body,
    /// How many messages still pass; none at the end means for ever, up to the trailers.
    messages: Option<usize>,
    /// What has come of the prefix of the present message.
    prefix: Vec<u8>,
    /// What is missing of the present message behind its prefix.
    missing: usize,
    /// Whether it stands still instead.
    silent: bool,
}

impl Breaking {
    pub(super) fn after(messages: usize, inner: Body) -> Self {
        Self {
            inner,
            messages: Some(messages),
            prefix: Vec::with_capacity(PREFIX),
            missing: 0,
            silent: false,
        }
    }

    pub(super) fn silent_after(messages: usize, inner: Body) -> Self {
        Self {
            silent: true,
            ..Self::after(messages, inner)
        }
    }

    pub(super) fn at_the_end(inner: Body) -> Self {
        Self {
            messages: None,
            ..Self::after(0, inner)
        }
    }

    /// Counts the messages in `data`, and gives how many of its bytes may pass.
    fn pass(&mut self, data: &[u8]) -> usize {
        let mut passed = 0;
        while passed < data.len() && self.messages != Some(0) {
            let rest = &data[passed..];
            if self.prefix.len() < PREFIX {
                let take = rest.len().min(PREFIX - self.prefix.len());
                self.prefix.extend_from_slice(&rest[..take]);
                passed += take;
                if let [_, length @ ..] = self.prefix.as_slice()
                    && let Ok(length) = <[u8; 4]>::try_from(length)
                {
                    self.missing = u32::from_be_bytes(length) as usize;
                }
            } else {
                let take = rest.len().min(self.missing);
                self.missing -= take;
                passed += take;
            }
            if self.prefix.len() == PREFIX && self.missing == 0 {
                self.prefix.clear();
                self.messages = self.messages.map(|messages| messages - 1);
            }
        }
        passed
    }

    fn break_off(&mut self) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.silent {
            return Poll::Pending;
        }
        // Whoever sends sees that nobody listens any more.
        self.inner = Body::empty();
        self.messages = None;
        Poll::Ready(Some(Err(broken())))
    }
}

impl HttpBody for Breaking {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if this.messages == Some(0) {
            return this.break_off();
        }
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(context));
        match frame.map(|frame| frame.map(Frame::into_data)) {
            Some(Ok(Ok(data))) => {
                let passed = this.pass(&data);
                Poll::Ready(Some(Ok(Frame::data(data.slice(..passed)))))
            }
            Some(Ok(Err(trailers))) if this.messages.is_some() => Poll::Ready(Some(Ok(trailers))),
            Some(Ok(Err(_))) => this.break_off(),
            Some(Err(status)) => Poll::Ready(Some(Err(status))),
            None => Poll::Ready(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, StreamBody};
    use tonic::Code;

    use super::*;

    fn messages(frames: &[&'static [u8]]) -> Body {
        let frames: Vec<_> = frames
            .iter()
            .map(|frame| Ok::<_, Status>(Frame::data(Bytes::from_static(frame))))
            .collect();
        Body::new(StreamBody::new(tokio_stream::iter(frames)))
    }

    async fn passed(mut body: Breaking) -> (Vec<u8>, Option<Code>) {
        let mut bytes = Vec::new();
        loop {
            match body.frame().await {
                Some(Ok(frame)) => bytes.extend(frame.into_data().expect("data")),
                Some(Err(status)) => return (bytes, Some(status.code())),
                None => return (bytes, None),
            }
        }
    }

    #[tokio::test]
    async fn messages_pass_whole_however_they_are_cut_into_frames() {
        const ALL: &[u8] = b"\0\0\0\0\x02ab\0\0\0\0\0\0\0\0\0\x01c";
        for size in 1..=ALL.len() {
            for (count, length) in [(0, 0), (1, 7), (2, 12), (3, 18)] {
                let frames: Vec<_> = ALL.chunks(size).collect();
                let (bytes, code) = passed(Breaking::after(count, messages(&frames))).await;
                assert_eq!(bytes, ALL[..length], "{count} messages in frames of {size}");
                assert_eq!(code, Some(Code::Unavailable));
            }
            let frames: Vec<_> = ALL.chunks(size).collect();
            assert_eq!(passed(Breaking::after(4, messages(&frames))).await.1, None);
        }
    }
}
