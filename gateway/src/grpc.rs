//! gRPC and gRPC-Web beside `/v2/`, on the same port: an explicit list of methods, passed on to the services that own them.
//!
//! The gateway checks the access token, so that nothing unauthenticated gets further, and passes the call on byte for
//! byte. The owning service checks the token again and decides what its bearer may see.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::{HeaderMap, HeaderName, Method, Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use roadstead_rpc::{ErrorReason, RpcChannel, status};
use tonic::{Code, Status, body::Body};
use tonic_web::GrpcWebLayer;
use tower::{Layer as _, Service, ServiceExt as _};

use crate::{app::App, auth};

/// Who owns a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Metadata,
    Events,
}

/// Everything that passes; anything else is UNIMPLEMENTED.
const METHODS: [(&str, Owner); 2] = [
    ("/roadstead.events.v1.EventQueryService/ListEvents", Owner::Events),
    (
        "/roadstead.metadata.v1.RepositoryAdminService/ListTagHistory",
        Owner::Metadata,
    ),
];

/// The administration's requests are questions; none is longer than this.
const REQUEST_LIMIT: usize = 64 * 1024;

/// What crosses to the service. Everything else is between the client and the gateway; trace context is set anew. So is
/// the deadline: a client that gives up earlier ends the call by going away, and none may hold one open for longer.
const PASSED_ON: [HeaderName; 3] = [
    header::CONTENT_TYPE,
    header::AUTHORIZATION,
    HeaderName::from_static("grpc-accept-encoding"),
];

/// Whether a request is gRPC or gRPC-Web.
pub(crate) fn is_grpc(method: &Method, headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).map(http::HeaderValue::as_bytes);
    *method == Method::POST && content_type.is_some_and(|value| value.starts_with(b"application/grpc"))
}

/// The route as metrics and spans name it.
pub(crate) fn template(path: &str) -> &'static str {
    METHODS
        .iter()
        .find(|(known, _)| *known == path)
        .map_or("/{unknown rpc}", |(known, _)| known)
}

/// Answers a gRPC or gRPC-Web call.
pub(crate) async fn serve(app: Arc<App>, request: Request<axum::body::Body>) -> Response<axum::body::Body> {
    let service = GrpcWebLayer::new().layer(Forward(app));
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
struct Forward(Arc<App>);

impl Service<Request<Body>> for Forward {
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let app = self.0.clone();
        Box::pin(async move { Ok(forward(&app, request).await.unwrap_or_else(Status::into_http)) })
    }
}

async fn forward(app: &App, request: Request<Body>) -> Result<Response<Body>, Status> {
    let path = request.uri().path();
    let Some((path, owner)) = METHODS.iter().find(|(known, _)| *known == path) else {
        let message = "the registry's gRPC surface has no such method";
        return Err(status(Code::Unimplemented, ErrorReason::Unsupported, message));
    };
    authenticate(app, request.headers())?;
    let mut channel: RpcChannel = match owner {
        Owner::Metadata => app.channels.metadata.clone(),
        Owner::Events => app.channels.events.clone(),
    };
    let (parts, body) = request.into_parts();
    let mut forwarded = Request::new(whole(body, app.config.body_idle_timeout).await?);
    *forwarded.method_mut() = Method::POST;
    *forwarded.uri_mut() = Uri::from_static(path);
    *forwarded.version_mut() = http::Version::HTTP_2;
    let headers = forwarded.headers_mut();
    headers.insert(header::TE, http::HeaderValue::from_static("trailers"));
    for name in PASSED_ON {
        if let Some(value) = parts.headers.get(&name) {
            headers.insert(name, value.clone());
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
    use http::HeaderValue;

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

    #[test]
    fn the_list_is_of_methods_that_exist() {
        use prost::Message as _;

        let descriptors = prost_types::FileDescriptorSet::decode(roadstead_proto::DESCRIPTORS).unwrap();
        let methods: Vec<String> = descriptors
            .file
            .iter()
            .flat_map(|file| file.service.iter().map(move |service| (file.package(), service)))
            .flat_map(|(package, service)| {
                service
                    .method
                    .iter()
                    .map(move |method| format!("/{package}.{}/{}", service.name(), method.name()))
            })
            .collect();
        for (path, _) in METHODS {
            assert!(methods.iter().any(|method| method == path), "{path}");
        }
    }
}
