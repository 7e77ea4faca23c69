//! The distribution API as far as listings go, the event log and the history of tags.

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use roadstead_proto::{
    events::v1::{
        ListEventsRequest, ListEventsResponse, LoggedEvent, event_query_service_server::EventQueryService,
    },
    metadata::v1::{
        ListTagHistoryRequest, ListTagHistoryResponse, TagChange,
        repository_admin_service_server::RepositoryAdminService,
    },
};
use serde_json::json;
use tonic::{Request, Status};

use super::registry::{Shared, authorized};

pub(super) async fn base() -> Response {
    let challenge = r#"Bearer realm="https://elsewhere.example/token",service="registry.test""#;
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)]).into_response()
}

/// Gives a token that names its scope, to whoever has an access token as a password.
pub(super) async fn token(State(state): State<Shared>, headers: HeaderMap, uri: Uri) -> Response {
    let parameters: Vec<(String, String)> =
        url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
            .into_owned()
            .collect();
    let parameter = |name: &str| {
        let found = parameters.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    assert_eq!(parameter("service"), "registry.test");
    let basic = headers.get(header::AUTHORIZATION).and_then(|value| {
        let encoded = value.to_str().ok()?.strip_prefix("Basic ")?;
        String::from_utf8(STANDARD.decode(encoded).ok()?).ok()
    });
    let password = basic.as_deref().and_then(|basic| basic.strip_prefix("_token:"));
    if !password.is_some_and(|password| state.is_access_token(password)) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    Json(json!({ "token": format!("for {}", parameter("scope")), "expires_in": 300 })).into_response()
}

/// Three repositories and three tags of `acme/web`, two on a page.
pub(super) async fn get(State(state): State<Shared>, headers: HeaderMap, uri: Uri) -> Response {
    let target = uri.path_and_query().unwrap().to_string();
    state.requests.lock().unwrap().push(format!("GET {target}"));
    let second = uri.query().unwrap_or_default().contains("last=");
    let (field, scope, names) = match uri.path() {
        "/v2/_catalog" => (
            "repositories",
            "registry:catalog:*",
            ["acme/api", "acme/web", "zoo"],
        ),
        "/v2/acme/web/tags/list" => ("tags", "repository:acme/web:pull", ["v1", "v2", "v3"]),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    if let Some(refusal) = refusal(&headers, scope) {
        return refusal;
    }
    if second {
        return Json(json!({ field: [names[2]] })).into_response();
    }
    let next = format!("<{}?n=2&last={}>; rel=\"next\"", uri.path(), names[1]);
    (
        [(header::LINK, next)],
        Json(json!({ field: [names[0], names[1]] })),
    )
        .into_response()
}

pub(super) async fn delete(
    State(state): State<Shared>,
    headers: HeaderMap,
    Path(path): Path<String>,
) -> Response {
    state.requests.lock().unwrap().push(format!("DELETE /v2/{path}"));
    let scope = "repository:acme/web:delete";
    if path.starts_with("secret/") {
        let message = "dev may not delete from secret: needs the capability repo.delete";
        let errors = json!({ "errors": [{ "code": "DENIED", "message": message }] });
        return (StatusCode::FORBIDDEN, Json(errors)).into_response();
    }
    match (path.as_str(), refusal(&headers, scope)) {
        (_, Some(refusal)) => refusal,
        ("acme/web/manifests/v1", None) => StatusCode::ACCEPTED.into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

fn refusal(headers: &HeaderMap, scope: &str) -> Option<Response> {
    let wanted = format!("Bearer for {scope}");
    let given = headers.get(header::AUTHORIZATION);
    (given.is_none_or(|given| *given != *wanted)).then(|| StatusCode::UNAUTHORIZED.into_response())
}

#[tonic::async_trait]
impl EventQueryService for Shared {
    /// Three events, two on a page.
    async fn list_events(
        &self,
        request: Request<ListEventsRequest>,
    ) -> Result<tonic::Response<ListEventsResponse>, Status> {
        authorized(&request)?;
        let request = request.into_inner();
        self.event_requests.lock().unwrap().push(request.clone());
        let first: u64 = if request.page_token.is_empty() { 1 } else { 3 };
        let last = if first == 1 { 2 } else { 3 };
        let events = (first..=last).map(|offset| LoggedEvent {
            offset,
            cloudevent_json: json!({
                "type": "dev.roadstead.registry.push.v1",
                "subject": format!("a/b:v{offset}"),
                "time": "2026-01-01T00:00:00Z",
                "data": { "digest": "sha256:00", "actor": { "subject": "dev\u{1b}[2J" } },
            })
            .to_string()
            .into(),
        });
        let next_page_token = if first == 1 {
            "second".to_owned()
        } else {
            String::new()
        };
        Ok(tonic::Response::new(ListEventsResponse {
            events: events.collect(),
            next_page_token,
        }))
    }
}

#[tonic::async_trait]
impl RepositoryAdminService for Shared {
    /// One change of every tag, but none in `secret`.
    async fn list_tag_history(
        &self,
        request: Request<ListTagHistoryRequest>,
    ) -> Result<tonic::Response<ListTagHistoryResponse>, Status> {
        authorized(&request)?;
        if request.into_inner().repository == "secret" {
            return Err(Status::permission_denied("dev may not pull from secret"));
        }
        let change = TagChange {
            previous_digest: "sha256:11".to_owned(),
            time: "2026-01-01T00:00:00Z".to_owned(),
            actor_subject: "dev".to_owned(),
            version: 2,
            ..TagChange::default()
        };
        let page = ListTagHistoryResponse {
            changes: vec![change],
            next_page_token: String::new(),
        };
        Ok(tonic::Response::new(page))
    }
}
