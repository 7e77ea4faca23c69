//! `RepositoryAdminService`: the user's own access token decides.

use std::sync::Arc;

use roadstead_proto::metadata::v1::repository_admin_service_server::RepositoryAdminService;
use roadstead_proto::metadata::v1::{ListTagHistoryRequest, ListTagHistoryResponse, TagChange};
use roadstead_types::{Action, RepositoryName};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use super::parse;
use crate::Core;
use crate::domain::{event, page};
use crate::error::Error;
use crate::store;

const HISTORY: &str = "history";
const MAX_CHANGES: usize = 1000;

pub(super) struct Service(pub(super) Arc<Core>);

/// The scheme is matched without regard to case (RFC 9110, section 11.1).
fn bearer(metadata: &MetadataMap) -> &str {
    let value = metadata
        .get("authorization")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => "",
    }
}

impl Service {
    async fn require_pull(&self, token: &str, name: &RepositoryName) -> Result<(), Error> {
        let claims = self.0.authority.operator(token)?;
        let authority = &self.0.authority;
        if authority.readable(token).await?.contains(name) || authority.is_public(name).await? {
            return Ok(());
        }
        let identity = claims.principal.clone();
        Err(Error::PermissionMissing {
            identity,
            resource: name.to_string(),
            action: Action::Pull,
        })
    }

    async fn history(
        &self,
        request: Request<ListTagHistoryRequest>,
    ) -> Result<ListTagHistoryResponse, Error> {
        let (metadata, _, request) = request.into_parts();
        let name = parse::repository(&request.repository)?;
        self.require_pull(bearer(&metadata), &name).await?;
        let tag = parse::tag(&request.tag)?;
        let before = match page::decode(HISTORY, &request.page_token).as_deref() {
            None => return Err(Error::PageTokenInvalid),
            Some("") => i64::MAX,
            Some(version) => version.parse().map_err(|_| Error::PageTokenInvalid)?,
        };
        let limit = page::size(request.page_size).min(MAX_CHANGES);
        // One more than asked for tells whether the page is the last.
        let mut changes = self.0.store.tag_history(name, tag, before, limit + 1).await?;
        let has_more = changes.len() > limit;
        changes.truncate(limit);
        let next = changes
            .last()
            .filter(|_| has_more)
            .map(|change| change.version.to_string());
        Ok(ListTagHistoryResponse {
            changes: changes.into_iter().map(encode).collect(),
            next_page_token: next
                .map(|version| page::encode(HISTORY, &version))
                .unwrap_or_default(),
        })
    }
}

fn encode(change: store::TagChange) -> TagChange {
    TagChange {
        digest: change.digest.unwrap_or_default(),
        previous_digest: change.previous_digest.unwrap_or_default(),
        time: event::rfc3339(change.changed_at),
        actor_issuer: change.actor_issuer,
        actor_subject: change.actor_subject,
        request_id: change.request_id,
        version: parse::unsigned(change.version),
    }
}

#[tonic::async_trait]
impl RepositoryAdminService for Service {
    async fn list_tag_history(
        &self,
        request: Request<ListTagHistoryRequest>,
    ) -> Result<Response<ListTagHistoryResponse>, Status> {
        Ok(Response::new(self.history(request).await?))
    }
}
