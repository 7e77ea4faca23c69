//! RPCs that only services reach, of those that carry a caller's token: whoever owns what they touch verifies it again,
//! so that a gateway can do no more than its callers.

use prost::Message;
use roadstead_integration_tests::image::media;
use roadstead_proto::auth::v1::{
    CheckRequest, ExchangeRequest, IssueRegistryTokenRequest, ListReadablePrefixesRequest,
};
use roadstead_proto::common::v1::ErrorReason;
use roadstead_proto::metadata::v1::acquire_upload_request::Purpose;
use roadstead_proto::metadata::v1::{
    AcquireUploadRequest, CancelUploadRequest, CreateUploadRequest, DeleteManifestRequest, DeleteTagRequest,
    FinishUploadRequest, GetUploadRequest, MountBlobRequest, PutManifestRequest, SaveUploadRequest,
    UnlinkBlobRequest,
};

use super::callers::Caller;
use super::cells::Cell::{Bare, Denied, Expired, Full, Invalid, Missing, Past};
use super::rpcs::Row;
use super::stage::{REPOSITORY, Stage};
use super::{CALLERS, Cell};

/// What carries no caller's token: the services' own business, for which their certificates answer.
pub(crate) const WITHOUT_CALLER: [&str; 24] = [
    "auth.v1.TokenService/Refresh",
    "auth.v1.TokenService/RevokeSession",
    "auth.v1.TokenService/GetLoginOptions",
    "auth.v1.KeyService/ListKeySets",
    "auth.v1.RepositoryNoticeService/NoteRepository",
    "auth.v1.RevocationService/Watch",
    "auth.v1.OutboxService/ClaimEvents",
    "auth.v1.OutboxService/AckEvents",
    "auth.v1.DevIssuerService/IssueIdentityToken",
    "metadata.v1.ReadService/GetManifest",
    "metadata.v1.ReadService/ResolveBlob",
    "metadata.v1.ReadService/ListTags",
    "metadata.v1.ReadService/ListReferrers",
    "metadata.v1.ReadService/ListRepositories",
    "metadata.v1.OutboxService/ClaimEvents",
    "metadata.v1.OutboxService/AckEvents",
    "blobs.v1.BlobReadService/Stat",
    "blobs.v1.BlobReadService/Read",
    "blobs.v1.BlobWriteService/Append",
    "blobs.v1.BlobWriteService/Finish",
    "blobs.v1.BlobWriteService/Abort",
    "blobs.v1.BlobAdminService/DeleteObjects",
    "blobs.v1.BlobAdminService/AbortUploads",
    "events.v1.IngestService/PublishEvents",
];

fn row(method: &str, cells: [Cell; CALLERS.len()], request: fn(&Stage, &Caller, usize) -> Vec<u8>) -> Row {
    Row {
        method: format!("/roadstead.{method}"),
        request,
        cells,
    }
}

fn bytes(message: &impl Message) -> Vec<u8> {
    message.encode_to_vec()
}

fn registry(caller: &Caller) -> String {
    caller.registry.clone().unwrap_or_default()
}

/// Cells: anonymous, wrong audience, expired, other group, viewer, puller, pusher, owner.
pub(crate) fn rows() -> Vec<Row> {
    [tokens(), writes(), uploads()].into_iter().flatten().collect()
}

#[rustfmt::skip] // The answers stand one above the other.
fn tokens() -> Vec<Row> {
    vec![
        row("auth.v1.TokenService/Exchange", [Missing, Invalid, Expired, Full, Full, Full, Full, Full], |_, caller, _| {
            bytes(&ExchangeRequest { identity_token: caller.identity.clone().unwrap_or_default(), ..Default::default() })
        }),
        row("auth.v1.TokenService/IssueRegistryToken", [Full, Invalid, Expired, Full, Full, Full, Full, Full], |_, caller, _| {
            bytes(&IssueRegistryTokenRequest { credential: caller.access.clone().unwrap_or_default(), ..Default::default() })
        }),
        row("auth.v1.AuthorizationService/ListReadablePrefixes", [Bare, Invalid, Expired, Full, Full, Full, Full, Full], |_, caller, _| {
            bytes(&ListReadablePrefixesRequest { token: caller.access.clone().unwrap_or_default() })
        }),
        row("auth.v1.AuthorizationService/Check", [Bare, Invalid, Expired, Bare, Full, Full, Full, Full], |_, caller, _| {
            bytes(&CheckRequest { token: caller.access.clone().unwrap_or_default(), repository: REPOSITORY.into() })
        }),
    ]
}

#[rustfmt::skip] // The answers stand one above the other.
fn writes() -> Vec<Row> {
    vec![
        row("metadata.v1.WriteService/PutManifest", [Missing, Invalid, Expired, Denied, Denied, Denied, Full, Full], |stage, caller, turn| {
            bytes(&PutManifestRequest {
                registry_token: registry(caller),
                repository: REPOSITORY.into(),
                reference: format!("put-{turn}"),
                media_type: media::MANIFEST.into(),
                content: stage.image.manifest.clone().into(),
                ..Default::default()
            })
        }),
        row("metadata.v1.WriteService/DeleteTag", [Missing, Invalid, Expired, Denied, Denied, Denied, Denied, Bare], |_, caller, turn| {
            bytes(&DeleteTagRequest { registry_token: registry(caller), repository: REPOSITORY.into(), tag: format!("turn-{turn}"), ..Default::default() })
        }),
        row("metadata.v1.WriteService/DeleteManifest", [Missing, Invalid, Expired, Denied, Denied, Denied, Denied, Bare], |stage, caller, turn| {
            bytes(&DeleteManifestRequest { registry_token: registry(caller), repository: REPOSITORY.into(), digest: stage.manifests[turn].clone(), ..Default::default() })
        }),
        row("metadata.v1.WriteService/MountBlob", [Missing, Invalid, Expired, Denied, Denied, Denied, Full, Full], |stage, caller, _| {
            bytes(&MountBlobRequest { registry_token: registry(caller), repository: REPOSITORY.into(), digest: stage.blobs[0].clone(), from: REPOSITORY.into(), ..Default::default() })
        }),
        row("metadata.v1.WriteService/UnlinkBlob", [Missing, Invalid, Expired, Denied, Denied, Denied, Denied, Bare], |stage, caller, turn| {
            bytes(&UnlinkBlobRequest { registry_token: registry(caller), repository: REPOSITORY.into(), digest: stage.blobs[turn].clone(), ..Default::default() })
        }),
    ]
}

/// Past the token, what is asked for is impossible: the sessions are new, and nobody holds their leases.
#[rustfmt::skip] // The answers stand one above the other.
fn uploads() -> Vec<Row> {
    const CONFLICT: Cell = Past(ErrorReason::UploadConflict);
    const SEALED: Cell = Past(ErrorReason::UploadInvalid);
    vec![
        row("metadata.v1.UploadService/CreateUpload", [Missing, Invalid, Expired, Denied, Denied, Denied, Full, Full], |_, caller, _| {
            bytes(&CreateUploadRequest { registry_token: registry(caller), repository: REPOSITORY.into(), ..Default::default() })
        }),
        // An offset of zero is an empty message.
        row("metadata.v1.UploadService/GetUpload", [Missing, Invalid, Expired, Denied, Denied, Denied, Bare, Bare], |_, caller, _| {
            bytes(&GetUploadRequest { registry_token: registry(caller), repository: REPOSITORY.into(), upload_id: caller.upload_id() })
        }),
        row("metadata.v1.UploadService/SaveUpload", [Missing, Invalid, Expired, Denied, Denied, Denied, CONFLICT, CONFLICT], |_, caller, _| {
            bytes(&SaveUploadRequest { registry_token: registry(caller), repository: REPOSITORY.into(), upload_id: caller.upload_id(), epoch: 7, ..Default::default() })
        }),
        row("metadata.v1.UploadService/FinishUpload", [Missing, Invalid, SEALED, Denied, Denied, Denied, SEALED, SEALED], |_, caller, _| {
            bytes(&FinishUploadRequest { registry_token: registry(caller), repository: REPOSITORY.into(), upload_id: caller.upload_id(), epoch: 7, ..Default::default() })
        }),
        row("metadata.v1.UploadService/AcquireUpload", [Missing, Invalid, Expired, Denied, Denied, Denied, Full, Full], |_, caller, _| {
            bytes(&AcquireUploadRequest { registry_token: registry(caller), repository: REPOSITORY.into(), upload_id: caller.upload_id(), purpose: Purpose::Append.into(), ..Default::default() })
        }),
        row("metadata.v1.UploadService/CancelUpload", [Missing, Invalid, Expired, Denied, Denied, Denied, CONFLICT, CONFLICT], |_, caller, _| {
            bytes(&CancelUploadRequest { registry_token: registry(caller), repository: REPOSITORY.into(), upload_id: caller.upload_id(), epoch: 7, ..Default::default() })
        }),
    ]
}
