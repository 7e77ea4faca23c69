//! The admin API over gRPC-Web, which passes through whatever HTTP proxy the registry itself is reached through, and so
//! shares address, trust and connections with every other request to it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http::{HeaderValue, Request, Response, header};
use http_body_util::BodyExt as _;
use roadstead_types::Clock;
use tonic::{Code, Status, body::Body};
use tonic_web::{GrpcWebCall, GrpcWebClientService};
use tower::{BoxError, Service};

use crate::{
    advice,
    args::Remote,
    cache::TokenCache,
    error::{Error, printable},
    host::RegistryHost,
    login::fresh_token,
    registry::{Registry, Transport},
};

/// The channel of generated clients.
pub(crate) type Channel = GrpcWebClientService<HttpChannel>;

/// An open way to a registry's admin API, with the token that calls carry.
pub(crate) struct AdminApi {
    registry: Registry,
    authorization: HeaderValue,
    origin: http::Uri,
}

impl AdminApi {
    /// The way to the registry that a command asks.
    pub(crate) async fn open(remote: Remote, cache: &TokenCache, clock: &Clock) -> Result<Self, Error> {
        let (host, transport) = crate::remote(remote, cache)?;
        Self::connect(cache, clock, &host, &transport).await
    }

    pub(crate) async fn connect(
        cache: &TokenCache,
        clock: &Clock,
        host: &RegistryHost,
        transport: &Transport,
    ) -> Result<Self, Error> {
        let token = fresh_token(cache, clock, host, transport).await?;
        let registry = Registry::connect(host, &token.transport(transport)).await?;
        let mut authorization =
            HeaderValue::from_str(&format!("Bearer {}", token.access_token)).map_err(Error::internal)?;
        authorization.set_sensitive(true);
        let origin = registry.base().as_str().parse().map_err(Error::internal)?;
        Ok(Self {
            registry,
            authorization,
            origin,
        })
    }

    pub(crate) fn channel(&self) -> Channel {
        GrpcWebClientService::new(HttpChannel {
            http: self.registry.http().clone(),
            authorization: self.authorization.clone(),
        })
    }

    /// Scheme and authority that generated clients put before their paths.
    pub(crate) fn origin(&self) -> http::Uri {
        self.origin.clone()
    }

    pub(crate) fn host(&self) -> String {
        self.registry.host().to_string()
    }

    /// What a call gave, or its failure with what to try next.
    pub(crate) fn answer<T>(
        &self,
        request: &str,
        answer: Result<tonic::Response<T>, Status>,
    ) -> Result<T, Error> {
        answer
            .map(tonic::Response::into_inner)
            .map_err(|status| self.error(request, &status))
    }

    fn error(&self, request: &str, status: &Status) -> Error {
        let host = self.host();
        let said = printable(status.message());
        match status.code() {
            Code::Unauthenticated => Error::NotLoggedIn {
                advice: format!("{said}\nRun `roadstead login {host}`."),
                host,
            },
            // A reqwest error has a source; an answer of the service has none.
            Code::Unavailable | Code::Unknown if std::error::Error::source(status).is_some() => {
                Error::Unreachable {
                    host,
                    reason: crate::error::chain(status),
                }
            }
            code => {
                let advice =
                    advice::next(request, status).map_or_else(String::new, |advice| format!("\n{advice}"));
                Error::Refused {
                    host,
                    request: request.to_owned(),
                    reason: format!("{said} ({code:?}){advice}"),
                }
            }
        }
    }
}

/// Sends what a generated client wants sent as one HTTP request. Only unary calls go this way, so the request's body is
/// one message.
#[derive(Debug, Clone)]
pub(crate) struct HttpChannel {
    http: reqwest::Client,
    authorization: HeaderValue,
}

impl Service<Request<GrpcWebCall<Body>>> for HttpChannel {
    type Response = Response<reqwest::Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<GrpcWebCall<Body>>) -> Self::Future {
        let http = self.http.clone();
        let authorization = self.authorization.clone();
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            // Of HTTP/2, which gRPC-Web is not bound to.
            parts.headers.remove(header::TE);
            let body = body.collect().await?.to_bytes();
            let answer = http
                .request(parts.method, parts.uri.to_string())
                .headers(parts.headers)
                .header(header::AUTHORIZATION, authorization)
                .body(body)
                .send()
                .await
                .map_err(reqwest::Error::without_url)?;
            Ok(answer.into())
        })
    }
}
