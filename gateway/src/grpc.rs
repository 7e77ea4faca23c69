//! gRPC and gRPC-Web beside `/v2/`, on the same port: an explicit list of methods (`rpcs`), passed on to the services that
//! own them.
//!
//! The gateway checks the access token, so that nothing unauthenticated gets further, and passes the call on byte for
//! byte. The owning service checks the token again and decides what its bearer may see.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use roadstead_rpc::{ErrorReason, RpcChannel, status};
use tonic::{Code, Status, body::Body};
use tonic_web::GrpcWebLayer;
use tower::{Layer as _, Service, ServiceExt as _};

use crate::{
    app::App,
    auth,
    call::{Call, REQUEST_ID},
    rpcs::{self, Owner},
};

/// The administration's requests are questions and small changes; none is longer than this.
const REQUEST_LIMIT: usize = 64 * 1024;

/// What crosses to the service. Everything else is between the client and the gateway; trace context is set anew. So is
/// the deadline: a client that gives up earlier ends the call by going away, and none may hold one open for longer.
const PASSED_ON: [HeaderName; 3] = [
    header::CONTENT_TYPE,
    header::AUTHORIZATION,
    HeaderName::from_static("grpc-accept-encoding"),
];

/// What the services hear of the request beside that, for their events. It explains and authorises nothing; what a client
/// sends under these names goes no further.
const CLIENT_ADDRESS: HeaderName = HeaderName::from_static("x-roadstead-client-address");
const USER_AGENT: HeaderName = HeaderName::from_static("x-roadstead-user-agent");

/// Whether a request is gRPC or gRPC-Web.
pub(crate) fn is_grpc(method: &Method, headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    *method == Method::POST && content_type.is_some_and(|value| value.starts_with(b"application/grpc"))
}

/// The route as metrics and spans name it.
pub(crate) fn template(path: &str) -> &'static str {
    rpcs::find(path).map_or("/{unknown rpc}", |(known, _)| known)
}

/// Answers a gRPC or gRPC-Web call.
pub(crate) async fn serve(
    app: Arc<App>,
    call: Arc<Call>,
    request: Request<axum::body::Body>,
) -> Response<axum::body::Body> {
    let service = GrpcWebLayer::new().layer(Forward(app, call));
    match service
        .oneshot(request.map(|body| Body::new(Limited::new(body, REQUEST_LIMIT))))
        .await
    {
        Ok(response) => response.map(axum::body::Body::new),
        Err(never) => match never {},
    }
}

/// The service below the gRPC-Web translation.
#[derive(Clone)]
struct Forward(Arc<App>, Arc<Call>);

impl Service<Request<Body>> for Forward {
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Self(app, call) = self.clone();
        Box::pin(async move {
            Ok(forward(&app, &call, request)
                .await
                .unwrap_or_else(Status::into_http))
        })
    }
}

async fn forward(app: &App, call: &Call, request: Request<Body>) -> Result<Response<Body>, Status> {
    let Some((path, owner)) = rpcs::find(request.uri().path()) else {
        let message = "the registry's gRPC surface has no such method";
        return Err(status(Code::Unimplemented, ErrorReason::Unsupported, message));
    };
    authenticate(app, request.headers())?;
    let mut channel: RpcChannel = match owner {
        Owner::Auth => app.channels.auth.clone(),
        Owner::Metadata => app.channels.metadata.clone(),
        Owner::Events => app.channels.events.clone(),
    };
    let (parts, body) = request.into_parts();
    let mut forwarded = Request::new(whole(body, app.config.body_idle_timeout).await?);
    *forwarded.method_mut() = Method::POST;
    *forwarded.uri_mut() = Uri::from_static(path);
    *forwarded.version_mut() = http::Version::HTTP_2;
    let headers = forwarded.headers_mut();
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    for name in PASSED_ON {
        if let Some(value) = parts.headers.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    headers.insert(REQUEST_ID, call.request_id.clone());
    for (name, text) in [
        (CLIENT_ADDRESS, call.client.to_string().as_str()),
        (USER_AGENT, call.user_agent()),
    ] {
        // Visible ASCII, both.
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.insert(name, value);
        }
    }
    channel.ready().await?.call(forwarded).await
}

/// Reads the request. What breaks off or is too long is the client's fault, which the service behind could not tell.
async fn whole(body: Body, patience: Duration) -> Result<Body, Status> {
    let refused = |message| status(Code::InvalidArgument, ErrorReason::ArgumentInvalid, message);
    match tokio::time::timeout(patience, body.collect()).await {
        Ok(Ok(collected)) => Ok(Body::new(Full::new(collected.to_bytes()))),
        Ok(Err(_)) => Err(refused("the request cannot be read, or is longer than 64 KiB")),
        Err(_) => Err(refused("the request stood still for too long")),
    }
}

fn authenticate(app: &App, headers: &HeaderMap) -> Result<(), Status> {
    let mut lines = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(token), None) = (lines.next().and_then(auth::bearer), lines.next()) else {
        let message = "an access token is needed as authorization: Bearer; get one with `roadstead login`";
        return Err(status(Code::Unauthenticated, ErrorReason::TokenMissing, message));
    };
    app.verifier.access(token)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_is_known_by_its_content_type() {
        let is = |method: Method, value: &'static str| {
            is_grpc(
                &method,
                &HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(value))]),
            )
        };
        for value in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc-web",
            "application/grpc-web-text",
        ] {
            assert!(is(Method::POST, value), "{value}");
        }
        assert!(!is(Method::GET, "application/grpc"));
        assert!(!is(Method::POST, "application/json"));
        assert!(!is_grpc(&Method::POST, &HeaderMap::new()));
    }
}
