//! Retries: idempotent, UNAVAILABLE, and not for ever.

use std::time::Duration;

use roadstead_proto::auth::v1::IssueIdentityTokenRequest;
use rstest::rstest;
use tonic::{Code, Request};

use crate::support::{Transport, World, command, read};

use Transport::{InProcess, Pipe, Tcp};

#[rstest]
#[tokio::test]
async fn an_idempotent_call_is_repeated(#[values(InProcess, Pipe, Tcp)] transport: Transport) {
    let world = World::new(transport).await;
    world.writer().finish(command("unavailable:2")).await.unwrap();
    assert_eq!(world.calls(), 3);
}

#[rstest]
#[tokio::test]
async fn a_stream_that_has_not_begun_is_repeated(#[values(InProcess, Pipe, Tcp)] transport: Transport) {
    let world = World::new(transport).await;
    let mut chunks = world
        .reader()
        .read(read("unavailable-once", 1))
        .await
        .unwrap()
        .into_inner();
    assert!(chunks.message().await.unwrap().is_some());
    assert_eq!(world.calls(), 2);
}

#[rstest]
#[tokio::test]
async fn a_server_that_stays_unavailable_is_tried_thrice(
    #[values(InProcess, Pipe, Tcp)] transport: Transport,
) {
    let world = World::new(transport).await;
    let error = world
        .writer()
        .finish(command("unavailable:100"))
        .await
        .unwrap_err();
    assert_eq!((error.code(), world.calls()), (Code::Unavailable, 3));
}

#[rstest]
#[tokio::test]
async fn a_call_that_is_not_idempotent_is_made_once(#[values(InProcess, Pipe, Tcp)] transport: Transport) {
    let world = World::new(transport).await;
    let error = world
        .dev_issuer()
        .issue_identity_token(IssueIdentityTokenRequest::default())
        .await
        .unwrap_err();
    assert_eq!((error.code(), world.calls()), (Code::Unavailable, 1));
}

#[rstest]
#[case::another_error("exhausted", Code::ResourceExhausted)]
#[case::told_to_wait_for_long("unavailable-for-long", Code::Unavailable)]
#[tokio::test]
async fn some_errors_are_not_repeated(
    #[values(InProcess, Pipe, Tcp)] transport: Transport,
    #[case] failing: &str,
    #[case] code: Code,
) {
    let world = World::new(transport).await;
    let error = world.writer().finish(command(failing)).await.unwrap_err();
    assert_eq!((error.code(), world.calls()), (code, 1));
}

#[rstest]
#[tokio::test]
async fn a_later_attempt_has_the_time_that_is_left(#[values(InProcess, Pipe, Tcp)] transport: Transport) {
    let world = World::new(transport).await;
    let mut request = Request::new(command("unavailable:1"));
    request.set_timeout(Duration::from_secs(5));
    let timeout = world.writer().finish(request).await.unwrap().into_inner().receipt;
    let timeout = String::from_utf8(timeout.to_vec()).unwrap();
    let micros: u64 = timeout.strip_suffix('u').expect("microseconds").parse().unwrap();
    assert!((1..5_000_000).contains(&micros), "{micros}");
    assert_eq!(world.calls(), 2);
}
