//! What every request passes, from the outside in:
//!
//! 1. **Identification**: request id and client address. Everything below names them.
//! 2. **Spans**: one that continues the client's trace, and in it one that gives log lines the request's id. They are
//!    outside of all that logs.
//! 3. **Metrics and access log**. Outside of the panic guard, so that a panic is counted as the 500 that it becomes.
//! 4. **Panic guard**: a defect costs one request and not its connection, on which others may be running.
//! 5. **Limits** on the head, before anything looks at it closely.
//! 6. **Routing**: gRPC by content type, `/v2/` by its own parser, the rest by fixed paths.
//!
//! On the way out, answers to HEAD lose their bodies, and every answer gets its id and `nosniff`.

use std::{
    net::SocketAddr,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    response::{IntoResponse as _, Response},
};
use futures::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header, request::Parts};
use http_body::Body as _;
use opentelemetry::{global, propagation::Extractor};
use roadstead_rpc::LOG_CONTEXT;
use tower::ServiceExt as _;
use tracing::{Instrument as _, Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::{
    app::App,
    call::{Call, REQUEST_ID},
    error::{ErrorCode, Failure},
    grpc,
    path::V2Path,
    respond::set,
    routes::{self, fixed},
};

/// The most of a path that is logged: the longest name, a digest and what stands between. The rest would only be there to
/// fill the log.
const LOGGED_PATH: usize = 512;

/// Longer request targets are refused: names, digests, ten times ten tags and a page token all fit.
pub(crate) const TARGET_LIMIT: usize = 16 * 1024;

/// Answers requests.
#[derive(Clone)]
pub(crate) struct Stack {
    app: Arc<App>,
    fixed: Router,
}

impl Stack {
    pub(crate) fn new(app: Arc<App>) -> Self {
        Self {
            fixed: fixed::router(app.clone()),
            app,
        }
    }

    /// Answers one request that came from `peer`.
    pub(crate) async fn handle(self, peer: SocketAddr, request: Request<Body>) -> Response {
        let started = Instant::now();
        let (parts, body) = request.into_parts();
        let is_grpc = grpc::is_grpc(&parts.method, &parts.headers);
        let route = route(&parts, is_grpc);
        let version = parts.version;
        let call = Arc::new(Call::new(parts, peer, &self.app.addresses));
        let span = span(&call, route);
        let logged = tracing::error_span!(
            target: LOG_CONTEXT, parent: &span, "request", request_id = call.request_id()
        );
        async {
            let work = self.answer(call.clone(), is_grpc, version, body);
            let mut response = AssertUnwindSafe(Box::pin(work))
                .catch_unwind()
                .await
                .unwrap_or_else(|_| Failure::internal("a panic, which is logged apart").into_response());
            finish(&call, &mut response);
            account(&call, route, &span, response.status(), started.elapsed());
            response
        }
        .instrument(logged)
        .instrument(span.clone())
        .await
    }

    async fn answer(&self, call: Arc<Call>, is_grpc: bool, version: http::Version, body: Body) -> Response {
        let refusal = exceeds_limits(&call, self.app.config.max_header_bytes);
        if let Some(refusal) = refusal.or_else(|| host_in_doubt(&call, version)) {
            return refusal.into_response();
        }
        if is_grpc {
            let request = rebuild(&call, version, body);
            return grpc::serve(self.app.clone(), call, request).await;
        }
        if let Some(path) = V2Path::cut(call.uri.path()) {
            return routes::serve_v2(&self.app, call.clone(), &path, body).await;
        }
        let mut request = rebuild(&call, version, body);
        request.extensions_mut().insert(call);
        match self.fixed.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// Makes a request again of its head and body, for services that want one.
fn rebuild(call: &Call, version: http::Version, body: Body) -> Request<Body> {
    let mut request = Request::new(body);
    *request.method_mut() = call.method.clone();
    *request.uri_mut() = call.uri.clone();
    *request.headers_mut() = call.headers.clone();
    *request.version_mut() = version;
    request
}

fn route(parts: &Parts, is_grpc: bool) -> &'static str {
    let path = parts.uri.path();
    if is_grpc {
        return grpc::template(path);
    }
    V2Path::cut(path).map_or_else(|| fixed::template(path), |path| path.kind.template())
}

fn exceeds_limits(call: &Call, max_header_bytes: usize) -> Option<Failure> {
    if call
        .uri
        .path_and_query()
        .is_some_and(|target| target.as_str().len() > TARGET_LIMIT)
    {
        let message = "the path and query are too long; send fewer parameters";
        return Some(Failure::new(
            StatusCode::URI_TOO_LONG,
            ErrorCode::SizeInvalid,
            message,
        ));
    }
    let header_bytes: usize = call
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    (header_bytes > max_header_bytes).then(|| {
        let message = "the request's headers are too large; send fewer or shorter ones";
        Failure::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            ErrorCode::SizeInvalid,
            message,
        )
    })
}

/// A request of HTTP/1.1 names its host once (RFC 9112 section 3.2). One that names two means one thing to a proxy in
/// front and another to us.
fn host_in_doubt(call: &Call, version: http::Version) -> Option<Failure> {
    let named = call.headers.get_all(header::HOST).iter().count();
    let missing = named == 0 && version == http::Version::HTTP_11;
    (named > 1 || missing).then(|| {
        let message = "a request names exactly one host; send one Host header";
        Failure::bad_request(ErrorCode::Unsupported, message)
    })
}

/// The request's span in a trace. It names no repository and no query: both are unbounded, and a query may hold what is
/// secret.
fn span(call: &Call, route: &'static str) -> Span {
    let method = method_label(&call.method);
    let span = tracing::info_span!(
        "http.server",
        otel.name = %format_args!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
        request_id = call.request_id(),
    );
    if !span.is_disabled() && call.headers.contains_key("traceparent") {
        let parent =
            global::get_text_map_propagator(|propagator| propagator.extract(&Carrier(&call.headers)));
        // Fails only where nothing exports traces.
        let _ = span.set_parent(parent);
    }
    span
}

struct Carrier<'a>(&'a HeaderMap);

impl Extractor for Carrier<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

fn finish(call: &Call, response: &mut Response) {
    if call.method == Method::HEAD {
        if let Some(length) = response.body().size_hint().exact()
            && !response.headers().contains_key(header::CONTENT_LENGTH)
            && response.status() != StatusCode::NOT_MODIFIED
        {
            set(response, header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        *response.body_mut() = Body::empty();
    }
    set(
        response,
        HeaderName::from_static(REQUEST_ID),
        call.request_id.clone(),
    );
    // Blobs and manifests are whatever somebody pushed: a browser must not take them for a page of ours.
    set(
        response,
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    set(
        response,
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; sandbox"),
    );
}

fn account(call: &Call, route: &'static str, span: &Span, status: StatusCode, elapsed: Duration) {
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    let method = method_label(&call.method);
    metrics::counter!(
        "http_server_requests_total", "route" => route, "method" => method, "status" => status.as_str().to_owned()
    )
    .increment(1);
    metrics::histogram!("http_server_request_duration_seconds", "route" => route, "method" => method)
        .record(elapsed);
    tracing::info!(
        target: "roadstead_gateway::access",
        method,
        path = logged(call.uri.path()),
        status = status.as_u16(),
        duration_ms = elapsed.as_secs_f64() * 1e3,
        client = %call.client,
        user_agent = call.user_agent(),
        "request"
    );
}

fn logged(path: &str) -> &str {
    &path[..path.floor_char_boundary(LOGGED_PATH)]
}

/// A method as a label: those that exist, so that nobody can make labels up, nor fill the log with one that has no end.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_logged_of_a_request_has_an_end() {
        assert_eq!(logged("/v2/a/tags/list"), "/v2/a/tags/list");
        assert_eq!(logged(&"é".repeat(1000)).len(), LOGGED_PATH);
        assert_eq!(logged(&format!("/{}", "é".repeat(1000))).len(), LOGGED_PATH - 1);
        let endless = Method::from_bytes("X".repeat(1000).as_bytes()).unwrap();
        assert_eq!(method_label(&endless), "other");
    }
}
