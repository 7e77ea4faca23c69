//! Unary calls: deadlines, cancellation, sizes, isolation.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use bytes::Bytes;
use roadstead_proto::blobs::v1::{FinishRequest, blob_write_service_client::BlobWriteServiceClient};
use roadstead_rpc::{CallPolicy, ErrorReason, MAX_MESSAGE_BYTES, Peer, reason, retry_after};
use rstest::rstest;
use tonic::{Code, Request};

use crate::support::{Marker, Transport, World, command, eventually, writer_over};

use Transport::{InProcess, Pipe, Tcp};

#[rstest]
#[tokio::test]
async fn a_unary_call_is_answered(#[values(InProcess, Pipe, Tcp)] transport: Transport) {
    let world = World::new(transport).await;
    let state = Bytes::from(vec![42; 1_000_000]);
    let request = FinishRequest {
        digest: "echo".to_owned(),
        state: state.clone(),
        ..FinishRequest::default()
    };
    let response = world.writer().finish(request).await.unwrap();
    assert_eq!(response.into_inner().receipt, state);
}

#[rstest]
#[tokio::test]
async fn a_deadline_of_the_caller_holds_and_frees_the_handler(
    #[values(InProcess, Pipe, Tcp)] transport: Transport,
) {
    let world = World::new(transport).await;
    let mut writer = world.writer();
    writer.finish(command("")).await.unwrap();
    let dropped = world.seen.dropped.load(Ordering::SeqCst);
    let mut request = Request::new(command("hang"));
    request.set_timeout(Duration::from_millis(200));
    let started = Instant::now();
    let error = writer.finish(request).await.unwrap_err();
    assert_eq!(
        (error.code(), reason(&error)),
        (Code::DeadlineExceeded, ErrorReason::DeadlineExceeded)
    );
    assert!(
        started.elapsed() >= Duration::from_millis(200),
        "{:?}",
        started.elapsed()
    );
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(world.seen.started.load(Ordering::SeqCst), 1);
    eventually("handler dropped", || {
        world.seen.dropped.load(Ordering::SeqCst) == dropped + 1
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn a_unary_call_without_timeout_gets_the_default(#[values(InProcess, Pipe, Tcp)] transport: Transport) {
    let world = World::new(transport).await;
    let policy = CallPolicy {
        default_deadline: Duration::from_millis(200),
        ..CallPolicy::default()
    };
    let mut writer = writer_over(world.channel_as(Peer::Gateway, policy));
    let error = writer.finish(command("hang")).await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
    let timeout = writer
        .finish(command("timeout"))
        .await
        .unwrap()
        .into_inner()
        .receipt;
    assert_eq!(timeout, "200000u");
}

#[rstest]
#[tokio::test]
async fn a_cancelled_call_cancels_its_handler(#[values(InProcess, Pipe, Tcp)] transport: Transport) {
    let world = World::new(transport).await;
    let mut writer = world.writer();
    #[allow(clippy::disallowed_methods)]
    let call = tokio::spawn(async move { writer.finish(command("hang")).await });
    eventually("handler started", || {
        world.seen.started.load(Ordering::SeqCst) == 1
    })
    .await;
    assert_eq!(world.seen.dropped.load(Ordering::SeqCst), 0);
    call.abort();
    eventually("handler dropped", || {
        world.seen.dropped.load(Ordering::SeqCst) == 1
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn what_runs_to_completion_survives_its_caller(#[values(InProcess, Pipe, Tcp)] transport: Transport) {
    let world = World::new(transport).await;
    let mut writer = world.writer();
    #[allow(clippy::disallowed_methods)]
    let call = tokio::spawn(async move { writer.finish(command("commit")).await });
    eventually("body started", || world.seen.started.load(Ordering::SeqCst) == 1).await;
    call.abort();
    eventually("handler dropped", || {
        world.seen.dropped.load(Ordering::SeqCst) == 1
    })
    .await;
    assert!(!world.seen.committed.load(Ordering::SeqCst));
    world.seen.gate.notify_one();
    eventually("committed", || world.seen.committed.load(Ordering::SeqCst)).await;
}

#[rstest]
#[tokio::test]
async fn a_message_beyond_the_limit_is_refused(#[values(InProcess, Pipe, Tcp)] transport: Transport) {
    let world = World::new(transport).await;
    let mut writer = world.writer();
    let fits = command(&format!("big:{}", MAX_MESSAGE_BYTES - 100));
    writer.finish(fits).await.unwrap();
    let answer_too_large = command(&format!("big:{}", MAX_MESSAGE_BYTES + 1));
    assert_eq!(
        writer.finish(answer_too_large).await.unwrap_err().code(),
        Code::OutOfRange
    );

    let large = FinishRequest {
        state: vec![0; MAX_MESSAGE_BYTES + 1].into(),
        ..command("echo")
    };
    assert_eq!(
        writer.finish(large.clone()).await.unwrap_err().code(),
        Code::OutOfRange
    );
    // A caller without a limit of its own meets the server's.
    let calls = world.calls();
    let mut unlimited = BlobWriteServiceClient::new(world.channel());
    assert_eq!(
        unlimited.finish(large).await.unwrap_err().code(),
        Code::OutOfRange
    );
    assert_eq!(world.calls(), calls);
}

#[rstest]
#[tokio::test]
async fn extensions_do_not_cross(#[values(InProcess, Pipe, Tcp)] transport: Transport) {
    let world = World::new(transport).await;
    let mut request = Request::new(command("extensions"));
    request.extensions_mut().insert(Marker);
    let response = world.writer().finish(request).await.unwrap();
    assert!(
        response.extensions().get::<Marker>().is_none(),
        "the server's extension reached its caller"
    );
    assert_eq!(response.into_inner().receipt, "clean");
}

#[rstest]
#[tokio::test]
async fn calls_beyond_the_limit_are_refused_at_once(#[values(InProcess, Pipe, Tcp)] transport: Transport) {
    let world = World::new(transport).await;
    let policy = CallPolicy {
        max_in_flight: 1,
        ..CallPolicy::default()
    };
    let mut writer = writer_over(world.channel_as(Peer::Gateway, policy));
    let mut held = writer.clone();
    #[allow(clippy::disallowed_methods)]
    let call = tokio::spawn(async move { held.finish(command("hang")).await });
    eventually("first call started", || {
        world.seen.started.load(Ordering::SeqCst) == 1
    })
    .await;

    let calls = world.calls();
    let error = writer.finish(command("")).await.unwrap_err();
    assert_eq!(
        (error.code(), reason(&error)),
        (Code::ResourceExhausted, ErrorReason::Overloaded)
    );
    assert_eq!(retry_after(&error), Some(Duration::from_secs(1)));
    assert_eq!(world.calls(), calls, "the refused call reached the server");

    call.abort();
    let _ = call.await;
    writer.finish(command("")).await.unwrap();
}
