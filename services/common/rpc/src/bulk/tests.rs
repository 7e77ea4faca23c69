use bytes::{Bytes, BytesMut};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use http_body_util::{BodyExt as _, StreamBody};
use proptest::prelude::*;
use roadstead_proto::blobs::v1::{AppendOpen, AppendRequest, ReadResponse, append_request};
use tonic::{
    Code, Status, Streaming,
    body::Body,
    codec::{Codec as _, EncodeBody},
};
use tonic_prost::ProstCodec;

use super::{BulkMessage as _, Encoded, Messages};

type Frame = http_body::Frame<Bytes>;

fn open() -> AppendRequest {
    AppendRequest {
        message: Some(append_request::Message::Open(AppendOpen {
            lease: Bytes::from_static(b"a lease"),
            state: Bytes::from_static(&[7; 300]),
        })),
    }
}

/// What a stream is about: the messages that are no chunk, and the bytes of all others.
async fn meaning(
    messages: impl futures::Stream<Item = Result<AppendRequest, Status>>,
) -> Result<(Vec<AppendRequest>, Vec<u8>), Status> {
    let (mut others, mut bytes) = (Vec::new(), Vec::new());
    let mut messages = std::pin::pin!(messages);
    while let Some(message) = messages.try_next().await? {
        match message.into_chunk() {
            Ok(chunk) => bytes.extend_from_slice(&chunk),
            Err(other) => others.push(other),
        }
    }
    Ok((others, bytes))
}

fn messages_of(sizes: &[usize]) -> (Vec<AppendRequest>, Vec<u8>) {
    let (mut messages, mut bytes) = (vec![open()], Vec::new());
    for (number, size) in (1..).zip(sizes) {
        let chunk = Bytes::from(vec![number; *size]);
        bytes.extend_from_slice(&chunk);
        messages.push(AppendRequest::from_chunk(chunk));
    }
    (messages, bytes)
}

/// A body whose frames are cut at the given places.
fn cut(mut whole: Bytes, cuts: &[usize]) -> Body {
    let mut frames = Vec::new();
    for cut in cuts {
        frames.push(whole.split_to(whole.len().min(*cut)));
    }
    frames.push(whole);
    let frames = frames.into_iter().map(|data| Ok::<_, Status>(Frame::data(data)));
    Body::new(StreamBody::new(stream::iter(frames)))
}

async fn whole(body: impl http_body::Body<Data = Bytes, Error = Status>) -> Bytes {
    body.collect().await.expect("a whole body").to_bytes()
}

/// None of these streams ever waits.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("an answer at once")
}

proptest! {
    #[test]
    fn tonics_messages_are_read_wherever_they_are_cut(
        sizes in prop::collection::vec(0usize..400, 0..8),
        cuts in prop::collection::vec(0usize..60, 0..80),
    ) {
        let (messages, bytes) = messages_of(&sizes);
        let encoder = ProstCodec::<AppendRequest, AppendRequest>::default().encoder();
        let source = stream::iter(messages).map(Ok);
        let encoded = EncodeBody::new_client(encoder, source, None, None);
        let body = cut(block_on(whole(encoded)), &cuts);
        let read = block_on(meaning(Messages::of_request(body))).expect("a proper end");
        prop_assert_eq!(read, (vec![open()], bytes));
    }

    #[test]
    fn tonic_reads_what_is_written_here(sizes in prop::collection::vec(0usize..400, 0..8)) {
        let (messages, bytes) = messages_of(&sizes);
        let body = Body::new(Encoded::requests(stream::iter(messages)));
        let decoder = ProstCodec::<AppendRequest, AppendRequest>::default().decoder();
        let read = block_on(meaning(Streaming::new_request(decoder, body, None, None)));
        prop_assert_eq!(read.expect("a proper end"), (vec![open()], bytes));
    }

    #[test]
    fn anything_at_all_is_read_or_refused(
        bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(0x12u8), any::<u8>()], 0..200),
        cuts in prop::collection::vec(0usize..20, 0..20),
    ) {
        let _ = block_on(meaning(Messages::of_request(cut(bytes.into(), &cuts))));
    }
}

#[test]
fn a_chunk_is_not_copied() {
    let chunk = Bytes::from(vec![1; 100_000]);
    let messages = vec![Ok(ReadResponse { chunk: chunk.clone() })];
    let body = Body::new(Encoded::responses(stream::iter(messages)));
    let mut messages = Messages::<ReadResponse>::of_response(body);
    let read = block_on(messages.message())
        .expect("a message")
        .expect("a message")
        .chunk;
    assert_eq!((read.as_ptr(), read.len()), (chunk.as_ptr(), chunk.len()));
    assert_eq!(block_on(messages.message()).expect("a proper end"), None);
}

#[test]
fn a_stream_ends_with_its_status() {
    let messages = vec![
        Ok(ReadResponse {
            chunk: Bytes::from_static(b"abc"),
        }),
        Err(Status::data_loss("gone")),
    ];
    let body = Body::new(Encoded::responses(stream::iter(messages)));
    let read: Vec<_> = block_on(Messages::<ReadResponse>::of_response(body).collect());
    assert_eq!(read.len(), 2);
    assert_eq!(read[1].as_ref().expect_err("the status").code(), Code::DataLoss);
}

#[test]
fn what_is_cut_short_is_an_error() {
    let (messages, _) = messages_of(&[50]);
    let encoded = block_on(whole(Encoded::requests(stream::iter(messages))));
    for length in 1..encoded.len() {
        let ends_between = length == encoded.len() - 50 - 7;
        let read = block_on(meaning(Messages::of_request(cut(encoded.slice(..length), &[]))));
        assert_eq!(read.is_ok(), ends_between, "{length}");
    }
    // An answer without a status may have lost any number of messages.
    let body = cut(BytesMut::new().freeze(), &[]);
    let read = block_on(Messages::<ReadResponse>::of_response(body).message());
    assert_eq!(read.expect_err("no status").code(), Code::Internal);
}

#[test]
fn a_message_larger_than_any_is_refused_before_it_comes() {
    for prefix in [[0, 0xff, 0xff, 0xff, 0xff], [1, 0, 0, 0, 1]] {
        let body = cut(Bytes::copy_from_slice(&prefix), &[]);
        let read = block_on(Messages::<ReadResponse>::of_response(body).message());
        assert_eq!(read.expect_err("refused").code(), Code::Internal);
    }
}
