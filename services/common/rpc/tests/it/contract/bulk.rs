//! The RPCs that carry blobs, with the caller in bulk and the server either way.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use futures::stream;
use roadstead_proto::blobs::v1::{
    AppendOpen, AppendRequest, ReadRequest, ReadResponse, append_request, append_response,
};
use roadstead_rpc::{
    CallPolicy, ErrorReason, Peer,
    bulk::{self, Messages},
    reason,
};
use rstest::rstest;
use tonic::{Code, Status};

use crate::support::{CHUNK, Transport, World, command, detailed_error, read};

use Server::{Bulk, Generated};
use Transport::{InProcess, Pipe, Tcp};

#[derive(Clone, Copy, Debug)]
enum Server {
    Generated,
    Bulk,
}

impl Server {
    async fn world(self, transport: Transport) -> World {
        match self {
            Generated => World::new(transport).await,
            Bulk => World::bulk(transport).await,
        }
    }
}

async fn start(world: &World, request: ReadRequest) -> Result<Messages<ReadResponse>, Status> {
    bulk::call::<bulk::Read>(world.channel(), stream::iter([request])).await
}

async fn collect(mut messages: Messages<ReadResponse>) -> (usize, Option<Status>) {
    let mut bytes = 0;
    loop {
        match messages.message().await {
            Ok(Some(message)) => {
                assert!(message.chunk.iter().all(|byte| *byte == 7));
                bytes += message.chunk.len();
            }
            Ok(None) => return (bytes, None),
            Err(status) => return (bytes, Some(status)),
        }
    }
}

#[rstest]
#[tokio::test]
async fn a_read_arrives_whole(
    #[values(InProcess, Pipe, Tcp)] transport: Transport,
    #[values(Generated, Bulk)] server: Server,
) {
    let world = server.world(transport).await;
    let (bytes, problem) = collect(start(&world, read("", 40)).await.unwrap()).await;
    assert_eq!(bytes, 40 * CHUNK);
    assert!(problem.is_none(), "{problem:?}");
}

#[rstest]
#[tokio::test]
async fn a_read_ends_with_its_error(
    #[values(InProcess, Pipe, Tcp)] transport: Transport,
    #[values(Generated, Bulk)] server: Server,
) {
    let world = server.world(transport).await;
    let (bytes, problem) = collect(start(&world, read("then-error", 3)).await.unwrap()).await;
    assert_eq!(bytes, 3 * CHUNK);
    let (problem, expected) = (problem.expect("the error"), detailed_error());
    assert_eq!(
        (problem.code(), reason(&problem)),
        (expected.code(), reason(&expected))
    );

    let (bytes, problem) = collect(start(&world, read("then-panic", 3)).await.unwrap()).await;
    assert_eq!(bytes, 3 * CHUNK);
    let problem = problem.expect("an error");
    assert_eq!(
        (problem.code(), problem.message()),
        (Code::Internal, "internal error")
    );
}

#[rstest]
#[tokio::test]
async fn a_read_is_tried_again(
    #[values(InProcess, Pipe, Tcp)] transport: Transport,
    #[values(Generated, Bulk)] server: Server,
) {
    let world = server.world(transport).await;
    let (bytes, _) = collect(start(&world, read("unavailable-once", 2)).await.unwrap()).await;
    assert_eq!((bytes, world.calls()), (2 * CHUNK, 2));
}

#[rstest]
#[tokio::test]
async fn an_append_arrives_whole(
    #[values(InProcess, Pipe, Tcp)] transport: Transport,
    #[values(Generated, Bulk)] server: Server,
) {
    let world = server.world(transport).await;
    let message = |message| AppendRequest {
        message: Some(message),
    };
    let chunk = |size: usize| message(append_request::Message::Chunk(Bytes::from(vec![1; size])));
    let open = message(append_request::Message::Open(AppendOpen::default()));
    let requests = stream::iter([open, chunk(1), chunk(300_000), chunk(1 << 20), chunk(0), chunk(5)]);
    let mut answers = bulk::call::<bulk::Append>(world.channel(), requests)
        .await
        .unwrap();
    let mut credits = 0;
    let checkpoint = loop {
        let answer = answers.message().await.unwrap().expect("a checkpoint at the end");
        match answer.message.expect("a message") {
            append_response::Message::Credit(bytes) => credits += bytes,
            append_response::Message::Checkpoint(checkpoint) => break checkpoint,
        }
    };
    let sent = 1 + 300_000 + (1 << 20) + 5;
    assert_eq!((credits, checkpoint.offset), (sent, sent));
    assert_eq!(answers.message().await.unwrap(), None);
}

/// A method that is served in bulk is under the same allow-list.
#[rstest]
#[tokio::test]
async fn who_may_not_call_may_not_call_in_bulk(
    #[values(InProcess, Pipe, Tcp)] transport: Transport,
    #[values(Generated, Bulk)] server: Server,
) {
    let world = server.world(transport).await;
    let channel = world.channel_as(Peer::Events, CallPolicy::default());
    let refused = bulk::call::<bulk::Read>(channel.clone(), stream::iter([read("", 1)])).await;
    assert_eq!(reason(&refused.expect_err("refused")), ErrorReason::PeerRefused);
    let refused = bulk::call::<bulk::Append>(channel, stream::pending()).await;
    assert_eq!(reason(&refused.expect_err("refused")), ErrorReason::PeerRefused);
    assert_eq!(world.calls(), 0);
}

#[rstest]
#[tokio::test]
async fn a_slow_reader_holds_the_server_back(
    #[values(InProcess, Pipe, Tcp)] transport: Transport,
    #[values(Generated, Bulk)] server: Server,
) {
    let world = server.world(transport).await;
    let mut messages = start(&world, read("", 200)).await.unwrap();
    messages.message().await.unwrap().expect("a chunk");
    // Other calls go on meanwhile, and give the server time to run ahead if it would.
    for _ in 0..50 {
        let finish = world.writer().finish(command("")).await;
        finish.unwrap();
    }
    let made = world.seen.chunks_made.load(Ordering::SeqCst);
    assert!(made < 32, "{made} chunks made for a caller who took one");
    drop(messages);
    let dropped = || world.seen.dropped.load(Ordering::SeqCst) > 50;
    crate::support::eventually("the server stops", dropped).await;
    tokio::time::timeout(Duration::from_secs(10), start(&world, read("", 1)))
        .await
        .expect("an answer")
        .unwrap();
}
