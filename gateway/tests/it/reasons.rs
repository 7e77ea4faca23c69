//! Every reason that a service can give has a status and a code, and none tells more than it should.

use axum::response::IntoResponse as _;
use http::{StatusCode, header};
use http_body_util::BodyExt as _;
use roadstead_gateway::{
    error::{ErrorCode, Failure},
    reason::rendering,
};
use roadstead_rpc::{ErrorReason, status, status_with};
use serde_json::{Value, json};
use tonic::{Code, Status};

/// All of them, found by number, so that a new one is in the tests as soon as it is in the contract.
fn reasons() -> Vec<ErrorReason> {
    let reasons: Vec<_> = (0..1000)
        .filter_map(|number| ErrorReason::try_from(number).ok())
        .collect();
    assert!(reasons.len() > 30, "the contract has many reasons");
    reasons
}

async fn render(status: Status) -> (StatusCode, http::HeaderMap, Value) {
    let (parts, body) = Failure::from(status).into_response().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (
        parts.status,
        parts.headers,
        serde_json::from_slice(&body).unwrap(),
    )
}

#[tokio::test]
async fn every_reason_becomes_an_error_of_the_specification() {
    for reason in reasons() {
        let (http_status, headers, body) = render(status(Code::Unknown, reason, "the words")).await;
        assert!(
            http_status.is_client_error() || http_status.is_server_error(),
            "{reason:?}"
        );
        assert_eq!(headers[header::CONTENT_TYPE], "application/json", "{reason:?}");
        let error = &body["errors"][0];
        let code = error["code"].as_str().unwrap();
        assert!(
            code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'),
            "{reason:?}: {code}"
        );
        assert!(!error["message"].as_str().unwrap().is_empty(), "{reason:?}");
    }
}

#[test]
fn codes_that_clients_repeat_on_are_for_what_repeating_can_help() {
    use ErrorCode::{BlobUploadInvalid, TooManyRequests, Unavailable, Unknown};
    let starting_over_helps = [ErrorReason::UploadInvalid, ErrorReason::UploadConflict];
    for reason in reasons() {
        let rendering = rendering(reason);
        let repeated_code = matches!(
            rendering.code,
            BlobUploadInvalid | TooManyRequests | Unknown | Unavailable
        );
        let temporary = rendering.status.is_server_error()
            || rendering.status == StatusCode::TOO_MANY_REQUESTS
            || starting_over_helps.contains(&reason);
        assert!(!repeated_code || temporary, "{reason:?}: {rendering:?}");
    }
}

#[test]
fn codes_beyond_the_specification_are_not_for_clients_faults() {
    for reason in reasons() {
        let rendering = rendering(reason);
        if matches!(rendering.code, ErrorCode::Unknown | ErrorCode::Unavailable) {
            assert!(rendering.status.is_server_error(), "{reason:?}");
        }
        if rendering.code == ErrorCode::RangeInvalid {
            assert_eq!(rendering.status, StatusCode::RANGE_NOT_SATISFIABLE, "{reason:?}");
        }
    }
}

#[tokio::test]
async fn whoever_should_wait_is_told_how_long() {
    for reason in reasons() {
        let (http_status, headers, _) = render(status(Code::Unavailable, reason, "x")).await;
        let waits = matches!(
            http_status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        );
        assert_eq!(headers.contains_key(header::RETRY_AFTER), waits, "{reason:?}");
    }
    let status = status(Code::Unavailable, ErrorReason::IssuerUnavailable, "x");
    let status = roadstead_rpc::with_retry_after(status, std::time::Duration::from_secs(17));
    assert_eq!(render(status).await.1[header::RETRY_AFTER], "17");
}

#[tokio::test]
async fn the_inside_stays_inside() {
    let secret = "tcp connect error: 10.1.2.3:7002, /var/lib/roadstead";
    for reason in reasons() {
        let (http_status, _, body) = render(status(Code::Internal, reason, secret)).await;
        let told = body.to_string().contains("10.1.2.3");
        // A service writes the words of what a client did wrong for the client; of IssuerUnavailable too.
        let may_tell = http_status.is_client_error() || reason == ErrorReason::IssuerUnavailable;
        assert!(!told || may_tell, "{reason:?}: {body}");
    }
    let (http_status, _, body) = render(Status::internal(secret)).await;
    assert_eq!(http_status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!body.to_string().contains("10.1.2.3"));
    let (http_status, _, body) = render(Status::unavailable(secret)).await;
    assert_eq!(http_status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!body.to_string().contains("10.1.2.3"));
}

#[tokio::test]
async fn details_name_what_is_in_the_way() {
    let missing = status_with(
        Code::FailedPrecondition,
        ErrorReason::ManifestBlobUnknown,
        "x",
        [("missing", "sha256:a,sha256:b".to_owned())],
    );
    assert_eq!(
        render(missing).await.2["errors"][0]["detail"],
        json!({ "missing": ["sha256:a", "sha256:b"] })
    );
    let parents = status_with(
        Code::FailedPrecondition,
        ErrorReason::ContentReferenced,
        "x",
        [("parents", "sha256:a".to_owned())],
    );
    let (http_status, _, body) = render(parents).await;
    assert_eq!(http_status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(body["errors"][0]["detail"], json!({ "parents": ["sha256:a"] }));
}
