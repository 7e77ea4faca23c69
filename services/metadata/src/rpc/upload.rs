//! `UploadService`. Every writing body runs in a task of its own.

use std::sync::Arc;

use bytes::Bytes;
use roadstead_proto::blobs::v1::{Lease, Receipt};
use roadstead_proto::metadata::v1::acquire_upload_request::Purpose as AskedPurpose;
use roadstead_proto::metadata::v1::upload_service_server::UploadService;
use roadstead_proto::metadata::v1::{
    AcquireUploadRequest, AcquireUploadResponse, CancelUploadRequest, CancelUploadResponse,
    CreateUploadRequest, CreateUploadResponse, FinishUploadRequest, FinishUploadResponse, GetUploadRequest,
    GetUploadResponse, SaveUploadRequest, SaveUploadResponse,
};
use roadstead_types::Action;
use tonic::{Request, Response, Status};

use super::parse;
use crate::Core;
use crate::access::Caller;
use crate::domain::author::{Author, RequestInfo};
use crate::error::Error;
use crate::purpose;
use crate::store::{AcquireRequest, FinishRequest, Purpose, UploadKey};

/// More than any backend's state; what the gateway saves is bounded like all that comes from outside.
const MAX_STATE_BYTES: usize = 1024 * 1024;

pub(super) struct Service(pub(super) Arc<Core>);

/// Verifies the token of a session's request. Everything about a session takes push, its cancellation too.
fn pusher(core: &Core, token: &str, key: &UploadKey) -> Result<Caller, Error> {
    let caller = core.authority.caller(token)?;
    caller.require(&key.repository, Action::Push)?;
    Ok(caller)
}

fn author(core: &Core, token: &str, key: &UploadKey, request: RequestInfo) -> Result<Author, Error> {
    Ok(pusher(core, token, key)?.into_author(request))
}

async fn create(core: &Core, request: CreateUploadRequest) -> Result<CreateUploadResponse, Error> {
    let name = parse::repository(&request.repository)?;
    let caller = core.authority.caller(&request.registry_token)?;
    caller.require_fresh()?;
    caller.require(&name, Action::Push)?;
    let algorithm = parse::algorithm(&request.digest_algorithm)?;
    let author = caller.into_author(parse::request_info(request.context));
    let opened = core.store.create_upload(name.clone(), algorithm, author).await?;
    Ok(CreateUploadResponse {
        upload_id: core.note(&name, opened).to_string(),
    })
}

async fn get(core: &Core, request: GetUploadRequest) -> Result<GetUploadResponse, Error> {
    let key = parse::upload(&request.repository, &request.upload_id)?;
    let caller = pusher(core, &request.registry_token, &key)?;
    if caller.is_expired()
        && !core
            .store
            .has_push_grant(caller.token_hash(), &key.repository)
            .await?
    {
        return Err(Error::TokenExpired);
    }
    let author = caller.into_author(RequestInfo::default());
    let offset = core.store.upload_offset(&key, &author).await?;
    Ok(GetUploadResponse {
        offset: parse::unsigned(offset),
    })
}

async fn acquire(core: &Core, request: AcquireUploadRequest) -> Result<AcquireUploadResponse, Error> {
    let key = parse::upload(&request.repository, &request.upload_id)?;
    let author = author(core, &request.registry_token, &key, RequestInfo::default())?;
    let purpose = match request.purpose() {
        AskedPurpose::Append => Purpose::Append,
        AskedPurpose::Finish => Purpose::Finish(parse::digest(&request.digest)?),
        AskedPurpose::Cancel => Purpose::Cancel,
        AskedPurpose::Unspecified => return Err(Error::ArgumentInvalid("purpose is missing")),
    };
    // No session ever stands behind the largest number that can be stored.
    let expected_offset = request
        .expected_offset
        .map(|offset| i64::try_from(offset).unwrap_or(i64::MAX));
    let upload_id = key.id.to_string();
    let acquired = core
        .store
        .acquire_upload(
            AcquireRequest {
                key,
                purpose,
                expected_offset,
            },
            author,
        )
        .await?;
    let epoch = parse::unsigned(acquired.epoch);
    let lease = if acquired.already_finished {
        Bytes::new()
    } else {
        core.seal.seal(
            purpose::LEASE,
            &Lease {
                upload_id,
                epoch,
                digest_algorithm: acquired.algorithm,
            },
        )
    };
    Ok(AcquireUploadResponse {
        epoch,
        lease,
        state: acquired.state.into(),
        offset: parse::unsigned(acquired.offset),
        already_finished: acquired.already_finished,
    })
}

async fn save(core: &Core, request: SaveUploadRequest) -> Result<SaveUploadResponse, Error> {
    let key = parse::upload(&request.repository, &request.upload_id)?;
    let author = author(core, &request.registry_token, &key, RequestInfo::default())?;
    if request.state.len() > MAX_STATE_BYTES {
        return Err(Error::ArgumentInvalid("the state is too large"));
    }
    let checkpoint = (
        parse::stored(request.epoch)?,
        parse::stored(request.offset)?,
        request.state,
    );
    core.store.save_upload(key, checkpoint, author).await?;
    Ok(SaveUploadResponse {})
}

async fn finish(core: &Core, request: FinishUploadRequest) -> Result<FinishUploadResponse, Error> {
    let key = parse::upload(&request.repository, &request.upload_id)?;
    let author = author(
        core,
        &request.registry_token,
        &key,
        parse::request_info(request.context),
    )?;
    let receipt: Receipt = core
        .seal
        .open(purpose::RECEIPT, &request.receipt)
        .map_err(|_| Error::UploadInvalid("the receipt is not one of blobs"))?;
    if receipt.upload_id != key.id.to_string() {
        return Err(Error::UploadInvalid("the receipt is for another session"));
    }
    if receipt.epoch != request.epoch {
        return Err(Error::UploadConflict);
    }
    let digest = parse::digest(&receipt.digest)?;
    let finish = FinishRequest {
        key,
        epoch: parse::stored(receipt.epoch)?,
        digest,
        size: parse::stored(receipt.size)?,
        object_key: receipt.object_key,
    };
    core.store.finish_upload(finish, author).await?;
    Ok(FinishUploadResponse {
        digest: receipt.digest,
        size: receipt.size,
    })
}

async fn cancel(core: &Core, request: CancelUploadRequest) -> Result<CancelUploadResponse, Error> {
    let key = parse::upload(&request.repository, &request.upload_id)?;
    let author = author(
        core,
        &request.registry_token,
        &key,
        parse::request_info(request.context),
    )?;
    core.store
        .cancel_upload(key, parse::stored(request.epoch)?, author)
        .await?;
    Ok(CancelUploadResponse {})
}

#[tonic::async_trait]
impl UploadService for Service {
    async fn create_upload(
        &self,
        request: Request<CreateUploadRequest>,
    ) -> Result<Response<CreateUploadResponse>, Status> {
        whole!(self, create, request)
    }

    async fn get_upload(
        &self,
        request: Request<GetUploadRequest>,
    ) -> Result<Response<GetUploadResponse>, Status> {
        Ok(Response::new(get(&self.0, request.into_inner()).await?))
    }

    async fn acquire_upload(
        &self,
        request: Request<AcquireUploadRequest>,
    ) -> Result<Response<AcquireUploadResponse>, Status> {
        whole!(self, acquire, request)
    }

    async fn save_upload(
        &self,
        request: Request<SaveUploadRequest>,
    ) -> Result<Response<SaveUploadResponse>, Status> {
        whole!(self, save, request)
    }

    async fn finish_upload(
        &self,
        request: Request<FinishUploadRequest>,
    ) -> Result<Response<FinishUploadResponse>, Status> {
        whole!(self, finish, request)
    }

    async fn cancel_upload(
        &self,
        request: Request<CancelUploadRequest>,
    ) -> Result<Response<CancelUploadResponse>, Status> {
        whole!(self, cancel, request)
    }
}
