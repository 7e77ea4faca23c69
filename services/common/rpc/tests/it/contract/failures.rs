//! Errors and panics.

use std::time::Duration;

use roadstead_rpc::{ErrorReason, detail, reason, retry_after};
use rstest::rstest;
use tonic::{Code, Status};

use crate::support::{Transport, World, command, detailed_error, read};

use Transport::{InProcess, Pipe, Tcp};

fn assert_is_the_detailed_error(error: &Status) {
    let sent = detailed_error();
    assert_eq!((error.code(), error.message()), (sent.code(), sent.message()));
    assert_eq!(reason(error), ErrorReason::UploadOutOfOrder);
    assert_eq!(detail(error, "offset").as_deref(), Some("17"));
    assert_eq!(detail(error, "missing"), detail(&sent, "missing"));
    assert_eq!(detail(error, "other"), None);
    assert_eq!(retry_after(error), Some(Duration::from_secs(7)));
}

#[rstest]
#[tokio::test]
async fn the_details_of_an_error_arrive(#[values(InProcess, Pipe, Tcp)] transport: Transport) {
    let world = World::new(transport).await;
    assert_is_the_detailed_error(&world.writer().finish(command("error")).await.unwrap_err());
}

#[rstest]
#[tokio::test]
async fn the_details_of_an_error_arrive_at_the_end_of_a_stream(
    #[values(InProcess, Pipe, Tcp)] transport: Transport,
) {
    let world = World::new(transport).await;
    let mut chunks = world
        .reader()
        .read(read("then-error", 2))
        .await
        .unwrap()
        .into_inner();
    assert!(chunks.message().await.unwrap().is_some());
    assert!(chunks.message().await.unwrap().is_some());
    assert_is_the_detailed_error(&chunks.message().await.unwrap_err());
}

#[rstest]
#[case::in_handler("panic")]
#[case::in_a_body_that_runs_to_completion("commit-panic")]
#[tokio::test]
async fn a_panic_is_an_internal_error_without_its_text(
    #[values(InProcess, Pipe, Tcp)] transport: Transport,
    #[case] panicking: &str,
) {
    let world = World::new(transport).await;
    let mut writer = world.writer();
    let error = writer.finish(command(panicking)).await.unwrap_err();
    assert_eq!(
        (error.code(), reason(&error)),
        (Code::Internal, ErrorReason::Internal)
    );
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    // The server lives on.
    writer.finish(command("")).await.unwrap();
}

#[rstest]
#[tokio::test]
async fn a_panic_in_a_stream_ends_it_with_an_internal_error(
    #[values(InProcess, Pipe, Tcp)] transport: Transport,
) {
    let world = World::new(transport).await;
    let mut reader = world.reader();
    let mut chunks = reader.read(read("then-panic", 2)).await.unwrap().into_inner();
    assert!(chunks.message().await.unwrap().is_some());
    assert!(chunks.message().await.unwrap().is_some());
    let error = chunks.message().await.unwrap_err();
    assert_eq!(
        (error.code(), reason(&error)),
        (Code::Internal, ErrorReason::Internal)
    );
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    let mut chunks = reader.read(read("", 1)).await.unwrap().into_inner();
    assert!(chunks.message().await.unwrap().is_some());
    assert!(chunks.message().await.unwrap().is_none());
}
