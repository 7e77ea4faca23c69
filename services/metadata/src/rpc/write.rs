//! `WriteService`. Every body runs in a task of its own: a cancelled call does not cut a write in half.

use std::sync::Arc;

use bytes::Bytes;
use roadstead_proto::common::v1::RequestContext;
use roadstead_proto::metadata::v1::write_service_server::WriteService;
use roadstead_proto::metadata::v1::{
    DeleteManifestRequest, DeleteManifestResponse, DeleteTagRequest, DeleteTagResponse, MountBlobRequest,
    MountBlobResponse, PutManifestRequest, PutManifestResponse, UnlinkBlobRequest, UnlinkBlobResponse,
};
use roadstead_types::{Action, Digest, DigestAlgorithm, Reference, RepositoryName, Tag};
use tonic::{Request, Response, Status};

use super::parse;
use crate::Core;
use crate::domain::author::Author;
use crate::domain::manifest::Manifest;
use crate::error::Error;
use crate::mount::{self, MountRequest};
use crate::store::ManifestPut;

/// Hashing and parsing more than this is moved off the threads that serve other requests.
const INLINE_BYTES: usize = 64 * 1024;

pub(super) struct Service(pub(super) Arc<Core>);

/// The author of a deletion: a push grant admits none, so the token must be fresh.
fn deleter(
    core: &Core,
    token: &str,
    context: Option<RequestContext>,
    name: &RepositoryName,
) -> Result<Author, Error> {
    let caller = core.authority.caller(token)?;
    caller.require_fresh()?;
    caller.require(name, Action::Delete)?;
    Ok(caller.into_author(parse::request_info(context)))
}

/// The tags that a push sets: the reference when it is one, or those beside a digest, each once.
fn tags_to_set(core: &Core, reference: &Reference, further: &[String]) -> Result<Vec<Tag>, Error> {
    if further.len() > core.max_tags_per_push {
        return Err(Error::TooManyTags(core.max_tags_per_push));
    }
    if let Reference::Tag(tag) = reference {
        if !further.is_empty() {
            return Err(Error::TagInvalid("further tags go only with a digest".to_owned()));
        }
        return Ok(vec![tag.clone()]);
    }
    let mut tags = Vec::with_capacity(further.len());
    for text in further {
        let tag = parse::tag(text)?;
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    Ok(tags)
}

fn check(content: &Bytes, media_type: &str, reference: &Reference) -> Result<(Digest, Manifest), Error> {
    let digest = match reference {
        Reference::Tag(_) => Digest::of(DigestAlgorithm::Sha256, content),
        Reference::Digest(named) => {
            if Digest::of(named.algorithm(), content) != *named {
                return Err(Error::DigestMismatch);
            }
            named.clone()
        }
    };
    let manifest = Manifest::parse(content, media_type).map_err(Error::ManifestInvalid)?;
    Ok((digest, manifest))
}

async fn put_manifest(core: &Core, request: PutManifestRequest) -> Result<PutManifestResponse, Error> {
    let repository = parse::repository(&request.repository)?;
    let caller = core.authority.caller(&request.registry_token)?;
    caller.require(&repository, Action::Push)?;
    let author = caller.into_author(parse::request_info(request.context));
    let reference = parse::reference(&request.reference)?;
    let tags = tags_to_set(core, &reference, &request.tags)?;
    let content = request.content;
    if content.len() > core.manifest_size_limit {
        return Err(Error::ManifestTooLarge(core.manifest_size_limit));
    }
    let (digest, manifest) = if content.len() <= INLINE_BYTES {
        check(&content, &request.media_type, &reference)?
    } else {
        let (content, media_type, reference) = (content.clone(), request.media_type, reference.clone());
        tokio::task::spawn_blocking(move || check(&content, &media_type, &reference))
            .await
            .map_err(|error| Error::Internal(error.to_string()))??
    };
    let response = PutManifestResponse {
        digest: digest.to_string(),
        subject: manifest
            .subject
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        tags: match reference {
            Reference::Tag(_) => Vec::new(),
            Reference::Digest(_) => tags.iter().map(ToString::to_string).collect(),
        },
    };
    let put = ManifestPut {
        validation: core.policy.validation(&repository),
        repository: repository.clone(),
        digest,
        manifest,
        content,
        tags,
        author,
    };
    core.note(&repository, core.store.put_manifest(put).await?);
    Ok(response)
}

async fn delete_manifest(
    core: &Core,
    request: DeleteManifestRequest,
) -> Result<DeleteManifestResponse, Error> {
    let name = parse::repository(&request.repository)?;
    let author = deleter(core, &request.registry_token, request.context, &name)?;
    let digest = parse::digest(&request.digest)?;
    let validation = core.policy.validation(&name);
    core.store
        .delete_manifest(name, digest, validation, author)
        .await?;
    Ok(DeleteManifestResponse {})
}

async fn delete_tag(core: &Core, request: DeleteTagRequest) -> Result<DeleteTagResponse, Error> {
    let name = parse::repository(&request.repository)?;
    let author = deleter(core, &request.registry_token, request.context, &name)?;
    core.store
        .delete_tag(name, parse::tag(&request.tag)?, author)
        .await?;
    Ok(DeleteTagResponse {})
}

async fn unlink_blob(core: &Core, request: UnlinkBlobRequest) -> Result<UnlinkBlobResponse, Error> {
    let name = parse::repository(&request.repository)?;
    let author = deleter(core, &request.registry_token, request.context, &name)?;
    let digest = parse::digest(&request.digest)?;
    let validation = core.policy.validation(&name);
    core.store.unlink_blob(name, digest, validation, author).await?;
    Ok(UnlinkBlobResponse {})
}

async fn mount_blob(core: &Core, request: MountBlobRequest) -> Result<MountBlobResponse, Error> {
    let target = parse::repository(&request.repository)?;
    let caller = core.authority.caller(&request.registry_token)?;
    caller.require_fresh()?;
    caller.require(&target, Action::Push)?;
    let digest = parse::digest(&request.digest)?;
    let from = Some(request.from).filter(|from| !from.is_empty());
    let mount = MountRequest { target, digest, from };
    let Some(source) = mount::source(core, &caller, &request.registry_token, &mount).await? else {
        return Ok(MountBlobResponse { mounted: false });
    };
    let author = caller.into_author(parse::request_info(request.context));
    let pushed = core
        .store
        .mount_blob(source, mount.target.clone(), mount.digest, author)
        .await?;
    Ok(MountBlobResponse {
        mounted: core.note(&mount.target, pushed),
    })
}

#[tonic::async_trait]
impl WriteService for Service {
    async fn put_manifest(
        &self,
        request: Request<PutManifestRequest>,
    ) -> Result<Response<PutManifestResponse>, Status> {
        whole!(self, put_manifest, request)
    }

    async fn delete_manifest(
        &self,
        request: Request<DeleteManifestRequest>,
    ) -> Result<Response<DeleteManifestResponse>, Status> {
        whole!(self, delete_manifest, request)
    }

    async fn delete_tag(
        &self,
        request: Request<DeleteTagRequest>,
    ) -> Result<Response<DeleteTagResponse>, Status> {
        whole!(self, delete_tag, request)
    }

    async fn mount_blob(
        &self,
        request: Request<MountBlobRequest>,
    ) -> Result<Response<MountBlobResponse>, Status> {
        whole!(self, mount_blob, request)
    }

    async fn unlink_blob(
        &self,
        request: Request<UnlinkBlobRequest>,
    ) -> Result<Response<UnlinkBlobResponse>, Status> {
        whole!(self, unlink_blob, request)
    }
}
