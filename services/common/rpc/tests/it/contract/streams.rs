//! Streams: order, backpressure, deadlines, cancellation.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use roadstead_proto::blobs::v1::{
    AppendOpen, AppendRequest, AppendResponse, append_request, append_response,
};
use roadstead_rpc::{CallPolicy, ErrorReason, Peer, reason};
use rstest::rstest;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Streaming};

use crate::support::{CHUNK, Transport, World, command, eventually, read, writer_over};

use Transport::{InProcess, Pipe, Tcp};

/// What may be on its way: the windows of HTTP/2 and the buffers around them.
const ON_ITS_WAY: usize = 32;

fn open(lease: &'static str) -> AppendRequest {
    let open = AppendOpen {
        lease: lease.into(),
        state: Bytes::new(),
    };
    AppendRequest {
        message: Some(append_request::Message::Open(open)),
    }
}

fn chunk(size: usize) -> AppendRequest {
    AppendRequest {
        message: Some(append_request::Message::Chunk(vec![1; size].into())),
    }
}

async fn next_message(responses: &mut Streaming<AppendResponse>) -> append_response::Message {
    responses
        .message()
        .await
        .unwrap()
        .expect("a response")
        .message
        .expect("a message")
}

#[rstest]
#[tokio::test]
async fn a_server_stream_arrives_whole(#[values(InProcess, Pipe, Tcp)] transport: Transport) {
    let world = World::new(transport).await;
    let mut chunks = world.reader().read(read("", 40)).await.unwrap().into_inner();
    let mut bytes = 0;
    while let Some(message) = chunks.message().await.unwrap() {
        bytes += message.chunk.len();
    }
    assert_eq!(bytes, 40 * CHUNK);
}

#[rstest]
#[tokio::test]
async fn a_slow_reader_holds_the_server_back(#[values(InProcess, Pipe, Tcp)] transport: Transport) {
    let world = World::new(transport).await;
    let mut chunks = world.reader().read(read("", 200)).await.unwrap().into_inner();
    chunks.message().await.unwrap().expect("a chunk");
    // Other calls go on meanwhile, and give the server time to run ahead if it would.
    let mut writer = world.writer();
    for _ in 0..50 {
        writer.finish(command("")).await.unwrap();
    }
    let made = world.seen.chunks_made.load(Ordering::SeqCst);
    assert!(made < ON_ITS_WAY, "{made} chunks made for a caller who took one");
    if transport == InProcess {
        assert!(
            made <= 2,
            "{made} chunks made in-process, where nothing is buffered"
        );
    }
    let mut taken = 1;
    while chunks.message().await.unwrap().is_some() {
        taken += 1;
    }
    assert_eq!(taken, 200);
}

#[rstest]
#[tokio::test]
async fn a_slow_handler_holds_the_caller_back(#[values(InProcess, Pipe, Tcp)] transport: Transport) {
    let world = World::new(transport).await;
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = sent.clone();
    let chunks = stream::iter(0..200).map(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        chunk(CHUNK)
    });
    let requests = stream::iter([open("stall")]).chain(chunks);
    let mut writer = world.writer();
    #[allow(clippy::disallowed_methods)]
    let upload = tokio::spawn(async move {
        let mut responses = writer.append(requests).await.unwrap().into_inner();
        loop {
            if let append_response::Message::Checkpoint(checkpoint) = next_message(&mut responses).await {
                return checkpoint.offset;
            }
        }
    });
    eventually("append started", || {
        world.seen.started.load(Ordering::SeqCst) == 1
    })
    .await;
    let mut other = world.writer();
    for _ in 0..50 {
        other.finish(command("")).await.unwrap();
    }
    let ahead = sent.load(Ordering::SeqCst);
    assert!(
        ahead < ON_ITS_WAY,
        "{ahead} chunks sent to a handler that took none"
    );
    world.seen.gate.notify_one();
    assert_eq!(upload.await.unwrap(), 200 * CHUNK as u64);
}

#[rstest]
#[tokio::test]
async fn a_bidirectional_call_goes_back_and_forth(#[values(InProcess, Pipe, Tcp)] transport: Transport) {
    let world = World::new(transport).await;
    let (requests, receiver) = mpsc::channel(1);
    requests.send(open("")).await.unwrap();
    let mut responses = world
        .writer()
        .append(ReceiverStream::new(receiver))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        next_message(&mut responses).await,
        append_response::Message::Credit(0)
    );
    // Each chunk is sent only after the answer to the one before: nothing waits for a buffer to fill.
    for size in [1, 1000, CHUNK, 5] {
        requests.send(chunk(size)).await.unwrap();
        assert_eq!(
            next_message(&mut responses).await,
            append_response::Message::Credit(size as u64)
        );
    }
    drop(requests);
    let append_response::Message::Checkpoint(last) = next_message(&mut responses).await else {
        panic!("no checkpoint after the end")
    };
    assert_eq!(last.offset, (1 + 1000 + CHUNK + 5) as u64);
    assert!(responses.message().await.unwrap().is_none());
}

#[rstest]
#[tokio::test]
async fn a_dropped_stream_stops_its_handler(#[values(InProcess, Pipe, Tcp)] transport: Transport) {
    let world = World::new(transport).await;
    let mut chunks = world
        .reader()
        .read(read("then-hang", 1))
        .await
        .unwrap()
        .into_inner();
    assert!(chunks.message().await.unwrap().is_some());
    assert_eq!(world.seen.dropped.load(Ordering::SeqCst), 0);
    drop(chunks);
    eventually("stream dropped", || {
        world.seen.dropped.load(Ordering::SeqCst) == 1
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn a_timeout_covers_the_whole_stream(#[values(InProcess, Pipe, Tcp)] transport: Transport) {
    let world = World::new(transport).await;
    let mut request = Request::new(read("then-hang", 1));
    request.set_timeout(Duration::from_millis(500));
    let mut chunks = world.reader().read(request).await.unwrap().into_inner();
    assert!(chunks.message().await.unwrap().is_some());
    let error = chunks.message().await.unwrap_err();
    assert_eq!(
        (error.code(), reason(&error)),
        (Code::DeadlineExceeded, ErrorReason::DeadlineExceeded)
    );
    eventually("stream dropped", || {
        world.seen.dropped.load(Ordering::SeqCst) == 1
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn a_stream_without_timeout_outlives_the_default(#[values(InProcess, Pipe, Tcp)] transport: Transport) {
    let world = World::new(transport).await;
    let policy = CallPolicy {
        default_deadline: Duration::from_millis(50),
        ..CallPolicy::default()
    };
    let channel = world.channel_as(Peer::Gateway, policy);
    let (requests, receiver) = mpsc::channel(1);
    requests.send(open("")).await.unwrap();
    let mut responses = writer_over(channel.clone())
        .append(ReceiverStream::new(receiver))
        .await
        .unwrap()
        .into_inner();
    next_message(&mut responses).await;
    // The default passes while the stream is open.
    let error = writer_over(channel).finish(command("hang")).await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
    requests.send(chunk(3)).await.unwrap();
    assert_eq!(
        next_message(&mut responses).await,
        append_response::Message::Credit(3)
    );
}

#[rstest]
#[tokio::test]
async fn a_stream_counts_as_in_flight_until_it_ends(#[values(InProcess, Pipe, Tcp)] transport: Transport) {
    let world = World::new(transport).await;
    let policy = CallPolicy {
        max_in_flight: 1,
        ..CallPolicy::default()
    };
    let channel = world.channel_as(Peer::Gateway, policy);
    let mut reader =
        roadstead_proto::blobs::v1::blob_read_service_client::BlobReadServiceClient::new(channel.clone());
    let chunks = reader.read(read("then-hang", 1)).await.unwrap();
    let error = writer_over(channel.clone())
        .finish(command(""))
        .await
        .unwrap_err();
    assert_eq!(reason(&error), ErrorReason::Overloaded);
    drop(chunks);
    writer_over(channel).finish(command("")).await.unwrap();
}
