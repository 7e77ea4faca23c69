//! `roadstead tags`.

use roadstead_proto::metadata::v1::{
    ListTagHistoryRequest, TagChange, repository_admin_service_client::RepositoryAdminServiceClient,
};
use roadstead_types::{Clock, RepositoryName, Tag};
use serde_json::{Value, json};

use crate::{
    args::{Output, TagsHistory},
    cache::TokenCache,
    error::Error,
    grpc::AdminApi,
    listing::{page_size, print_json, print_table},
    remote,
};

pub(crate) async fn history(flags: TagsHistory, cache: &TokenCache, clock: &Clock) -> Result<(), Error> {
    let repository = RepositoryName::parse(&flags.repository)
        .map_err(|error| Error::Usage(format!("{:?} is not a repository: {error}", flags.repository)))?;
    let tag = Tag::parse(&flags.tag)
        .map_err(|error| Error::Usage(format!("{:?} is not a tag: {error}", flags.tag)))?;
    let (host, transport) = remote(flags.remote, cache)?;
    let api = AdminApi::connect(cache, clock, &host, &transport).await?;
    let mut client = RepositoryAdminServiceClient::with_origin(api.channel(), api.origin()?);
    let mut request = ListTagHistoryRequest {
        repository: repository.to_string(),
        tag: tag.to_string(),
        ..ListTagHistoryRequest::default()
    };
    let mut changes: Vec<TagChange> = Vec::new();
    while changes.len() < flags.limit {
        request.page_size = page_size(flags.limit - changes.len());
        let page = client.list_tag_history(request.clone()).await;
        let page = page
            .map_err(|status| api.error("ListTagHistory", &status))?
            .into_inner();
        changes.extend(page.changes);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    changes.truncate(flags.limit);
    match flags.output {
        Output::Json => print_json(&changes.iter().map(as_json).collect::<Vec<_>>())?,
        Output::Table => print_table(
            ["VERSION", "TIME", "DIGEST", "PREVIOUS", "ACTOR"],
            changes.into_iter().map(|change| {
                let digest = if change.digest.is_empty() {
                    "(deleted)".to_owned()
                } else {
                    change.digest
                };
                [
                    change.version.to_string(),
                    change.time,
                    digest,
                    change.previous_digest,
                    change.actor_subject,
                ]
            }),
        ),
    }
    Ok(())
}

fn as_json(change: &TagChange) -> Value {
    let optional = |digest: &str| (!digest.is_empty()).then(|| digest.to_owned());
    json!({
        "version": change.version,
        "time": change.time,
        "digest": optional(&change.digest),
        "previous_digest": optional(&change.previous_digest),
        "actor": { "issuer": change.actor_issuer, "subject": change.actor_subject },
        "request_id": change.request_id,
    })
}
