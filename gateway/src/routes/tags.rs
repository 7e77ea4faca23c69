//! `/v2/<name>/tags/list`

use axum::response::Response;
use http::header;
use roadstead_proto::metadata::v1::ListTagsRequest;
use roadstead_types::RepositoryName;
use serde::Serialize;

use crate::{
    app::App,
    auth::{Caller, Expiry},
    call::Call,
    error::Failure,
    respond::{self, set},
};

#[derive(Serialize)]
struct TagList<'a> {
    name: &'a str,
    tags: &'a [String],
}

pub(super) async fn list(
    app: &App,
    call: &Call,
    caller: &Caller<'_>,
    name: &RepositoryName,
) -> Result<Response, Failure> {
    let query = call.query();
    let asked = query.page_size()?;
    let page_size = asked.unwrap_or(app.config.page_size).min(app.config.page_size);
    let request = ListTagsRequest {
        repository: name.to_string(),
        access: Some(caller.read(name, Expiry::Refused)?),
        // An empty page is still of a repository that must exist and be readable; 0 would be the server's choice.
        page_size: page_size.max(1),
        last: query.first("last").unwrap_or_default().into_owned(),
    };
    let mut page = app
        .services
        .read
        .clone()
        .list_tags(request)
        .await
        .map_err(|status| caller.explain_read(name, status))?
        .into_inner();
    if page_size == 0 {
        page.tags.clear();
        page.has_more = false;
    }
    let mut response = respond::json_of(&TagList {
        name: name.as_str(),
        tags: &page.tags,
    })?;
    if let Some(last) = page.tags.last().filter(|_| page.has_more) {
        let path = format!("/v2/{name}/tags/list");
        let link = match asked {
            Some(_) => respond::next_link(&path, &[("last", last), ("n", &page_size.to_string())]),
            None => respond::next_link(&path, &[("last", last)]),
        };
        set(&mut response, header::LINK, link);
    }
    Ok(response)
}
