//! `ReadService`.

use std::sync::Arc;

use roadstead_proto::blobs::v1::Locator;
use roadstead_proto::metadata::v1::read_service_server::ReadService;
use roadstead_proto::metadata::v1::{
    GetManifestRequest, GetManifestResponse, ListReferrersRequest, ListReferrersResponse,
    ListRepositoriesRequest, ListRepositoriesResponse, ListTagsRequest, ListTagsResponse, ReadAccess,
    ResolveBlobRequest, ResolveBlobResponse,
};
use roadstead_types::{MANIFEST_SIZE_LIMIT, RepositoryName, RepositoryPrefix, RepositorySet};
use tonic::{Request, Response, Status};

use super::parse;
use crate::Core;
use crate::access::Admission;
use crate::domain::{intervals, page};
use crate::error::Error;
use crate::purpose;

const REFERRERS: &str = "referrers";

pub(super) struct Service(pub(super) Arc<Core>);

impl Service {
    async fn admit(&self, access: Option<&ReadAccess>, name: &RepositoryName) -> Result<Admission, Error> {
        self.0.authority.admit_read(access, name, &self.0.store).await
    }

    async fn manifest(&self, request: GetManifestRequest) -> Result<GetManifestResponse, Error> {
        let name = parse::repository(&request.repository)?;
        let reference = parse::reference(&request.reference)?;
        let admission = self.admit(request.access.as_ref(), &name).await?;
        if request.include_content {
            admission.require_full()?;
        }
        let manifest = self
            .0
            .store
            .manifest(&name, &reference, request.include_content)
            .await?;
        Ok(GetManifestResponse {
            digest: manifest.digest,
            media_type: manifest.media_type,
            size: parse::unsigned(manifest.size),
            content: manifest.content.into(),
            repository_id: manifest.repository_id,
        })
    }

    async fn blob(&self, request: ResolveBlobRequest) -> Result<ResolveBlobResponse, Error> {
        let name = parse::repository(&request.repository)?;
        let digest = parse::digest(&request.digest)?;
        let admission = self.admit(request.access.as_ref(), &name).await?;
        let blob = self.0.store.resolve_blob(&name, &digest).await?;
        let size = parse::unsigned(blob.size);
        let locator = match admission {
            // A head needs no bytes, and a push grant admits no more.
            Admission::HeadOnly => bytes::Bytes::new(),
            Admission::Full => self.0.seal.seal(
                purpose::LOCATOR,
                &Locator {
                    object_key: blob.object_key,
                    digest: digest.to_string(),
                    size,
                    expires_at: self.0.clock.unix_seconds() + self.0.locator_seconds,
                },
            ),
        };
        Ok(ResolveBlobResponse {
            size,
            locator,
            repository_id: blob.repository_id,
        })
    }

    async fn tags(&self, request: ListTagsRequest) -> Result<ListTagsResponse, Error> {
        let name = parse::repository(&request.repository)?;
        self.admit(request.access.as_ref(), &name).await?.require_full()?;
        let limit = page::size(request.page_size);
        let (tags, has_more) = self.0.store.list_tags(name, request.last, limit).await?;
        Ok(ListTagsResponse { tags, has_more })
    }

    async fn referrers(&self, request: ListReferrersRequest) -> Result<ListReferrersResponse, Error> {
        let name = parse::repository(&request.repository)?;
        let subject = parse::digest(&request.digest)?;
        self.admit(request.access.as_ref(), &name).await?.require_full()?;
        let last = page::decode(REFERRERS, &request.page_token).ok_or(Error::PageTokenInvalid)?;
        // A caller that names no size takes what fits `max_bytes`.
        let limit = if request.page_size == 0 {
            usize::MAX
        } else {
            page::size(request.page_size)
        };
        // An answer larger than a manifest may be is one that clients refuse.
        let max_bytes = match usize::try_from(request.max_bytes) {
            Ok(0) | Err(_) => MANIFEST_SIZE_LIMIT,
            Ok(asked) => asked.min(MANIFEST_SIZE_LIMIT),
        };
        let artifact_type = Some(request.artifact_type).filter(|filter| !filter.is_empty());
        let bounds = (limit, max_bytes);
        let page = self
            .0
            .store
            .list_referrers(name, subject, artifact_type, last, bounds)
            .await?;
        Ok(ListReferrersResponse {
            descriptors: page.descriptors.into_iter().map(Into::into).collect(),
            next_page_token: page
                .next
                .map(|last| page::encode(REFERRERS, &last))
                .unwrap_or_default(),
        })
    }

    async fn repositories(
        &self,
        request: ListRepositoriesRequest,
    ) -> Result<ListRepositoriesResponse, Error> {
        for prefix in &request.readable_prefixes {
            RepositoryPrefix::parse(prefix).map_err(|error| Error::NameInvalid(error.to_string()))?;
        }
        for name in &request.readable_repositories {
            parse::repository(name)?;
        }
        let readable = RepositorySet::from_texts(&request.readable_prefixes, &request.readable_repositories);
        let public = self.0.authority.public().await?;
        let intervals = intervals::visible(&[&readable, &public]);
        let limit = page::size(request.page_size);
        let (repositories, has_more) = self
            .0
            .store
            .list_repositories(intervals, request.last, limit)
            .await?;
        Ok(ListRepositoriesResponse {
            repositories,
            has_more,
        })
    }
}

#[tonic::async_trait]
impl ReadService for Service {
    async fn get_manifest(
        &self,
        request: Request<GetManifestRequest>,
    ) -> Result<Response<GetManifestResponse>, Status> {
        Ok(Response::new(self.manifest(request.into_inner()).await?))
    }

    async fn resolve_blob(
        &self,
        request: Request<ResolveBlobRequest>,
    ) -> Result<Response<ResolveBlobResponse>, Status> {
        Ok(Response::new(self.blob(request.into_inner()).await?))
    }

    async fn list_tags(
        &self,
        request: Request<ListTagsRequest>,
    ) -> Result<Response<ListTagsResponse>, Status> {
        Ok(Response::new(self.tags(request.into_inner()).await?))
    }

    async fn list_referrers(
        &self,
        request: Request<ListReferrersRequest>,
    ) -> Result<Response<ListReferrersResponse>, Status> {
        Ok(Response::new(self.referrers(request.into_inner()).await?))
    }

    async fn list_repositories(
        &self,
        request: Request<ListRepositoriesRequest>,
    ) -> Result<Response<ListRepositoriesResponse>, Status> {
        Ok(Response::new(self.repositories(request.into_inner()).await?))
    }
}
