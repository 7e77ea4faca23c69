//! `roadstead tags`.

use reqwest::{Method, StatusCode};
use roadstead_proto::metadata::v1::{
    ListTagHistoryRequest, TagChange, repository_admin_service_client::RepositoryAdminServiceClient,
};
use roadstead_types::{Clock, RepositoryName, Tag};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    args::{Tags, TagsDelete, TagsHistory, TagsList},
    cache::TokenCache,
    error::Error,
    grpc::AdminApi,
    listing::{Shown, pages, print_all, print_done},
    oci::{Distribution, Page},
};

/// A tag of a listing.
struct Name(String);

impl Shown for Name {
    const COLUMNS: &'static [&'static str] = &["TAG"];

    fn cells(&self) -> Vec<String> {
        vec![self.0.clone()]
    }

    fn json(&self) -> Value {
        json!({ "tag": self.0 })
    }
}

/// The distribution specification's list of tags.
#[derive(Deserialize)]
pub(crate) struct TagPage {
    tags: Vec<String>,
}

impl Page for TagPage {
    fn entries(self) -> Vec<String> {
        self.tags
    }
}

impl Shown for TagChange {
    const COLUMNS: &'static [&'static str] = &["VERSION", "TIME", "DIGEST", "PREVIOUS", "ACTOR"];

    fn cells(&self) -> Vec<String> {
        let digest = if self.digest.is_empty() {
            "(deleted)"
        } else {
            &self.digest
        };
        vec![
            self.version.to_string(),
            self.time.clone(),
            digest.to_owned(),
            self.previous_digest.clone(),
            self.actor_subject.clone(),
        ]
    }

    fn json(&self) -> Value {
        let optional = |digest: &str| (!digest.is_empty()).then(|| digest.to_owned());
        json!({
            "version": self.version,
            "time": self.time,
            "digest": optional(&self.digest),
            "previous_digest": optional(&self.previous_digest),
            "actor": { "issuer": self.actor_issuer, "subject": self.actor_subject },
            "request_id": self.request_id,
        })
    }
}

pub(crate) async fn run(command: Tags, cache: &TokenCache, clock: &Clock) -> Result<(), Error> {
    match command {
        Tags::List(flags) => list(flags, cache, clock).await,
        Tags::History(flags) => history(flags, cache, clock).await,
        Tags::Delete(flags) => delete(flags, cache, clock).await,
    }
}

async fn list(flags: TagsList, cache: &TokenCache, clock: &Clock) -> Result<(), Error> {
    let repository = repository(&flags.repository)?;
    let asking = flags.listing.asking;
    let scope = format!("repository:{repository}:pull");
    let api = Distribution::open(asking.remote, &scope, cache, clock).await?;
    let tags = api
        .list::<TagPage>(&format!("{repository}/tags/list"), flags.listing.limit)
        .await?;
    print_all(asking.output, &tags.into_iter().map(Name).collect::<Vec<_>>())
}

async fn history(flags: TagsHistory, cache: &TokenCache, clock: &Clock) -> Result<(), Error> {
    let repository = repository(&flags.repository)?;
    let tag = tag(&flags.tag)?;
    let api = AdminApi::open(flags.remote, cache, clock).await?;
    let mut client = RepositoryAdminServiceClient::with_origin(api.channel(), api.origin());
    let changes = pages(flags.limit, async |page_size, page_token| {
        let request = ListTagHistoryRequest {
            repository: repository.to_string(),
            tag: tag.to_string(),
            page_size,
            page_token,
        };
        let page = api.answer("ListTagHistory", client.list_tag_history(request).await)?;
        Ok((page.changes, page.next_page_token))
    });
    print_all(flags.output, &changes.await?)
}

async fn delete(flags: TagsDelete, cache: &TokenCache, clock: &Clock) -> Result<(), Error> {
    let repository = repository(&flags.repository)?;
    let tag = tag(&flags.tag)?;
    let scope = format!("repository:{repository}:delete");
    let api = Distribution::open(flags.asking.remote, &scope, cache, clock).await?;
    let path = format!("{repository}/manifests/{tag}");
    let answer = api.send(Method::DELETE, &path).await?;
    if answer.status() != StatusCode::ACCEPTED {
        return Err(api.refused(&format!("DELETE {path}"), answer).await);
    }
    let done =
        format!("Deleted the tag {tag}. `roadstead tags history {repository} {tag}` tells what it was.");
    print_done(flags.asking.output, &done)
}

pub(crate) fn repository(text: &str) -> Result<RepositoryName, Error> {
    RepositoryName::parse(text)
        .map_err(|error| Error::Usage(format!("{text:?} is not a repository: {error}")))
}

fn tag(text: &str) -> Result<Tag, Error> {
    Tag::parse(text).map_err(|error| Error::Usage(format!("{text:?} is not a tag: {error}")))
}
