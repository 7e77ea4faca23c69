//! One upload session, held under a lease.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};
use roadstead_proto::{
    common::v1::RequestContext,
    metadata::v1::{
        AcquireUploadRequest, GetUploadRequest, SaveUploadRequest, acquire_upload_request::Purpose,
    },
};
use roadstead_rpc::ErrorReason;
use roadstead_types::{Digest, RepositoryName, UploadId};
use tonic::Status;

use crate::{app::App, body::RequestBody, error::Failure, range::ByteRange};

/// Where a session is found.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) name: RepositoryName,
    pub(super) id: UploadId,
}

impl Place {
    /// What every answer about a session carries, errors included: with both headers a client can go on from any of
    /// them.
    pub(super) fn headers(&self, offset: u64) -> Vec<(HeaderName, HeaderValue)> {
        let location = format!("/v2/{}/blobs/uploads/{}", self.name, self.id);
        [(header::LOCATION, location), (header::RANGE, received(offset))]
            .into_iter()
            .filter_map(|(name, value)| Some((name, HeaderValue::try_from(value).ok()?)))
            .collect()
    }

    /// Tells with a failure how far the session is.
    pub(super) fn explain(&self, offset: u64, failure: Failure) -> Failure {
        self.headers(offset)
            .into_iter()
            .fold(failure, |failure, (name, value)| failure.header(name, value))
    }
}

/// A session whose lease this request holds.
pub(super) struct Session<'a> {
    pub(super) app: &'a App,
    pub(super) token: &'a str,
    pub(super) place: Place,
    pub(super) epoch: u64,
    pub(super) lease: Bytes,
    /// As blobs gave it last, and saved.
    pub(super) state: Bytes,
    /// Bytes in `state`.
    pub(super) offset: u64,
    /// Whether an earlier request finished the session with this digest.
    pub(super) is_finished: bool,
}

impl<'a> Session<'a> {
    /// Takes the lease.
    pub(super) async fn acquire(
        app: &'a App,
        token: &'a str,
        place: Place,
        purpose: Purpose,
        digest: Option<&Digest>,
        expected_offset: Option<u64>,
    ) -> Result<Self, Failure> {
        let request = AcquireUploadRequest {
            registry_token: token.to_owned(),
            repository: place.name.to_string(),
            upload_id: place.id.to_string(),
            purpose: purpose.into(),
            expected_offset,
            digest: digest.map(ToString::to_string).unwrap_or_default(),
        };
        let answer = app.services.uploads.clone().acquire_upload(request).await;
        let held = answer
            .map_err(|status| out_of_order(&place, status))?
            .into_inner();
        Ok(Self {
            app,
            token,
            place,
            epoch: held.epoch,
            lease: held.lease,
            state: held.state,
            offset: held.offset,
            is_finished: held.already_finished,
        })
    }

    /// Takes the body, all of which must arrive.
    pub(super) async fn append(
        &mut self,
        body: &mut RequestBody,
        chunk: Option<ByteRange>,
    ) -> Result<(), Failure> {
        let outcome = self.append_bytes(body, chunk).await;
        outcome.map_err(|failure| self.place.explain(self.offset, failure))
    }

    /// The request that saves a checkpoint.
    pub(super) fn save_request(&self, state: Bytes, offset: u64) -> SaveUploadRequest {
        SaveUploadRequest {
            registry_token: self.token.to_owned(),
            repository: self.place.name.to_string(),
            upload_id: self.place.id.to_string(),
            epoch: self.epoch,
            state,
            offset,
        }
    }

    /// The fields that requests which end a session have in common.
    pub(super) fn common(&self, context: RequestContext) -> (String, Option<RequestContext>, String, String) {
        (
            self.token.to_owned(),
            Some(context),
            self.place.name.to_string(),
            self.place.id.to_string(),
        )
    }
}

/// How many bytes a session has, without taking its lease.
pub(super) async fn offset(
    app: &App,
    token: &str,
    name: &RepositoryName,
    id: UploadId,
) -> Result<u64, Failure> {
    let request = GetUploadRequest {
        registry_token: token.to_owned(),
        repository: name.to_string(),
        upload_id: id.to_string(),
    };
    Ok(app
        .services
        .uploads
        .clone()
        .get_upload(request)
        .await?
        .into_inner()
        .offset)
}

/// The `Range` of a session: the last byte received. Nothing at all has no notation of its own.
fn received(offset: u64) -> String {
    format!("0-{}", offset.saturating_sub(1))
}

/// Says on a 416 where the session really is.
fn out_of_order(place: &Place, status: Status) -> Failure {
    let offset = roadstead_rpc::detail(&status, "offset").and_then(|text| text.parse().ok());
    match (roadstead_rpc::reason(&status), offset) {
        (ErrorReason::UploadOutOfOrder, Some(offset)) => place.explain(offset, Failure::from(status)),
        _ => Failure::from(status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_sessions() {
        assert_eq!(received(0), "0-0");
        assert_eq!(received(1), "0-0");
        assert_eq!(received(500), "0-499");
    }
}
