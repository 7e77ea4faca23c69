//! `/v2/_catalog`: not in the specification, but what clients list and search repositories with.

use axum::response::Response;
use http::header;
use roadstead_proto::{auth::v1::ListReadablePrefixesRequest, metadata::v1::ListRepositoriesRequest};
use serde::Serialize;

use crate::{
    app::App,
    auth::{Caller, expired, token_needed},
    call::Call,
    error::{Challenge, Failure},
    respond::{self, set},
};

#[derive(Serialize)]
struct Catalog<'a> {
    repositories: &'a [String],
}

/// Lists what the caller may read. A token is needed so that clients show theirs; one that was refused the catalog scope
/// still gets the list, which never has more in it than its holder may see anyway.
pub(super) async fn get(app: &App, call: &Call, caller: &Caller<'_>) -> Result<Response, Failure> {
    let token = match caller {
        Caller::Anonymous => return Err(token_needed()),
        Caller::Expired { claims, .. } => return Err(expired(claims)),
        Caller::Holder { token, claims } => {
            let was_refused = claims
                .denied
                .iter()
                .any(|access| access.resource_type == "registry" && access.name == "catalog");
            if !claims.allows_catalog() && !was_refused {
                let message = "the token is not for the catalog; get one that is at the realm";
                return Err(Failure::unauthorized(Challenge::InsufficientScope, message));
            }
            (*token).to_owned()
        }
    };
    let query = call.query();
    let asked = query.page_size()?;
    let page_size = asked.unwrap_or(app.config.page_size).min(app.config.page_size);
    let mut authorization = app.services.authorization.clone();
    let readable = authorization
        .list_readable_prefixes(ListReadablePrefixesRequest { token })
        .await?
        .into_inner();
    let request = ListRepositoriesRequest {
        readable_prefixes: readable.prefixes,
        readable_repositories: readable.repositories,
        // 0 would be the server's choice.
        page_size: page_size.max(1),
        last: query.first("last").unwrap_or_default().into_owned(),
    };
    let mut page = app
        .services
        .read
        .clone()
        .list_repositories(request)
        .await?
        .into_inner();
    if page_size == 0 {
        page.repositories.clear();
        page.has_more = false;
    }
    let mut response = respond::json_of(&Catalog {
        repositories: &page.repositories,
    })?;
    if let Some(last) = page.repositories.last().filter(|_| page.has_more) {
        let pairs = [("last", last.as_str()), ("n", &page_size.to_string())];
        set(
            &mut response,
            header::LINK,
            respond::next_link("/v2/_catalog", &pairs),
        );
    }
    Ok(response)
}
