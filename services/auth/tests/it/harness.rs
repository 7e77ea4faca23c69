//! An auth service, and what to ask it.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use roadstead_auth::{BuildError, Config, Deps, build};
use roadstead_authn::Verifier;
use roadstead_proto::auth::v1::{
    ExchangeRequest, ExchangeResponse, IssueIdentityTokenRequest, IssueRegistryTokenRequest,
    IssueRegistryTokenResponse, ListReadablePrefixesRequest, ListReadablePrefixesResponse, RefreshRequest,
    Resource, ResourceKind, RevokeSessionRequest, authorization_service_client::AuthorizationServiceClient,
    dev_issuer_service_client::DevIssuerServiceClient, token_service_client::TokenServiceClient,
};
use roadstead_rpc::{CallPolicy, ErrorReason, Peer, RpcChannel, TaskSet, reason};
use roadstead_runtime::{BuiltService, PublicAddress};
use roadstead_testkit::{OidcIssuer, TestDirectory, test_dir};
use roadstead_types::{Clock, ClockControl};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};
use url::Url;

/// The audience that the tests' issuers issue for.
pub(crate) const AUDIENCE: &str = "roadstead";
/// The time at which the tests begin, in Unix seconds.
const NOW: u64 = 1_800_000_000;

/// A running service with a clock of its own.
pub(crate) struct Auth {
    pub(crate) built: BuiltService,
    pub(crate) clock: Clock,
    pub(crate) time: ClockControl,
    /// Removed only after the service is gone.
    pub(crate) directory: Arc<TestDirectory>,
}

/// Starts an issuer that tells the time by a clock that stands still, and returns both.
pub(crate) async fn issuer() -> (OidcIssuer, Clock, ClockControl) {
    let (clock, time) = stopped_clock();
    (OidcIssuer::start(clock.clone()).await, clock, time)
}

pub(crate) fn stopped_clock() -> (Clock, ClockControl) {
    Clock::fixed(UNIX_EPOCH + Duration::from_secs(NOW))
}

pub(crate) fn public(origin: &str, listen: &str) -> PublicAddress {
    let url = Url::parse(origin).unwrap();
    let host = url.host_str().unwrap().to_owned();
    let service = url
        .port()
        .map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
    PublicAddress {
        url,
        service,
        explicit: false,
        listen: listen.parse::<SocketAddr>().unwrap(),
    }
}

pub(crate) fn local() -> PublicAddress {
    public("http://127.0.0.1:5000", "127.0.0.1:5000")
}

pub(crate) fn config(value: Value) -> Config {
    serde_json::from_value(value).unwrap()
}

/// Configures one issuer of the tests, whose subject `ci` may pull and push under `acme`.
pub(crate) fn trusting(issuer: &OidcIssuer) -> Config {
    config(json!({
        "dev": true,
        "issuers": [{ "issuer": issuer.url(), "audience": AUDIENCE, "allow_private": true }],
        "grants": [
            { "issuer": issuer.url(), "subject": "ci", "prefix": "acme", "actions": ["pull", "push"] },
        ],
    }))
}

impl Auth {
    /// Starts the service at `http://127.0.0.1:5000` in a directory of its own.
    pub(crate) async fn start(config: Config, clock: Clock, time: ClockControl) -> Self {
        Self::start_in(Arc::new(test_dir()), config, local(), clock, time)
            .await
            .unwrap()
    }

    pub(crate) async fn start_in(
        directory: Arc<TestDirectory>,
        config: Config,
        public: PublicAddress,
        clock: Clock,
        time: ClockControl,
    ) -> Result<Self, BuildError> {
        let deps = Deps {
            clock: clock.clone(),
            data_dir: directory.path().to_owned(),
            public,
            shutdown: CancellationToken::new(),
        };
        let built = build(config, deps).await?;
        Ok(Self {
            built,
            clock,
            time,
            directory,
        })
    }

    /// Ends the service as its process would, so that another can have its directory.
    pub(crate) async fn stop(self) -> Arc<TestDirectory> {
        let Self { built, directory, .. } = self;
        let BuiltService { server, tasks, .. } = built;
        drop(server);
        let late = tasks.stop(Duration::from_secs(10)).await;
        assert!(late.is_empty(), "{late:?} did not end");
        directory
    }

    /// Whom gateways and others believe. It hears of revocations and new keys for as long as the test runs.
    pub(crate) async fn verifier(&self) -> Verifier {
        let tasks = TaskSet::new(CancellationToken::new());
        let verifier = Verifier::new(self.channel(Peer::Gateway), self.clock.clone(), &tasks);
        verifier.wait_ready().await;
        verifier
    }

    pub(crate) fn channel(&self, caller: Peer) -> RpcChannel {
        RpcChannel::in_process(&self.built.server, caller, CallPolicy::default())
    }

    pub(crate) async fn exchange(&self, identity_token: &str) -> Result<ExchangeResponse, Status> {
        self.exchange_as(ExchangeRequest {
            identity_token: identity_token.to_owned(),
            ..ExchangeRequest::default()
        })
        .await
    }

    pub(crate) async fn exchange_as(&self, request: ExchangeRequest) -> Result<ExchangeResponse, Status> {
        let mut client = TokenServiceClient::new(self.channel(Peer::Gateway));
        client.exchange(request).await.map(tonic::Response::into_inner)
    }

    pub(crate) async fn refresh(&self, refresh_token: &str) -> Result<ExchangeResponse, Status> {
        self.refresh_as(RefreshRequest {
            refresh_token: refresh_token.to_owned(),
            ..RefreshRequest::default()
        })
        .await
    }

    pub(crate) async fn refresh_as(&self, request: RefreshRequest) -> Result<ExchangeResponse, Status> {
        let mut client = TokenServiceClient::new(self.channel(Peer::Gateway));
        client.refresh(request).await.map(tonic::Response::into_inner)
    }

    pub(crate) async fn revoke_session(&self, refresh_token: &str) {
        let mut client = TokenServiceClient::new(self.channel(Peer::Gateway));
        let request = RevokeSessionRequest {
            refresh_token: refresh_token.to_owned(),
            ..RevokeSessionRequest::default()
        };
        client.revoke_session(request).await.unwrap();
    }

    /// Logs the developer in, who owns everything, and returns the access token.
    pub(crate) async fn owner(&self) -> String {
        let mut client = DevIssuerServiceClient::new(self.channel(Peer::Gateway));
        let request = IssueIdentityTokenRequest::default();
        let identity = client.issue_identity_token(request).await.unwrap().into_inner();
        self.exchange(&identity.identity_token)
            .await
            .unwrap()
            .access_token
    }

    /// Exchanges a token that must be refused, and returns why it was.
    pub(crate) async fn refusal(&self, identity_token: &str) -> ErrorReason {
        reason(
            &self
                .exchange(identity_token)
                .await
                .expect_err("the token is refused"),
        )
    }

    pub(crate) async fn access_token(&self, issuer: &OidcIssuer, claims: Value) -> String {
        let mut claims = claims;
        claims["aud"] = json!(AUDIENCE);
        self.exchange(&issuer.issue(&claims)).await.unwrap().access_token
    }

    pub(crate) async fn registry_token(
        &self,
        credential: &str,
        scopes: &[&str],
    ) -> Result<IssueRegistryTokenResponse, Status> {
        self.ask_registry_token(IssueRegistryTokenRequest {
            credential: credential.to_owned(),
            service: String::new(),
            scopes: scopes.iter().map(ToString::to_string).collect(),
            ..IssueRegistryTokenRequest::default()
        })
        .await
    }

    pub(crate) async fn ask_registry_token(
        &self,
        request: IssueRegistryTokenRequest,
    ) -> Result<IssueRegistryTokenResponse, Status> {
        let mut client = TokenServiceClient::new(self.channel(Peer::Gateway));
        client
            .issue_registry_token(request)
            .await
            .map(tonic::Response::into_inner)
    }

    pub(crate) async fn readable(&self, token: &str) -> Result<ListReadablePrefixesResponse, Status> {
        let request = ListReadablePrefixesRequest {
            token: token.to_owned(),
        };
        let mut client = AuthorizationServiceClient::new(self.channel(Peer::Metadata));
        client
            .list_readable_prefixes(request)
            .await
            .map(tonic::Response::into_inner)
    }
}

/// A request of the administration by the bearer of an access token.
pub(crate) fn by<T>(access_token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let value = format!("Bearer {access_token}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

pub(crate) fn group(path: &str) -> Resource {
    Resource {
        kind: ResourceKind::Group.into(),
        path: path.to_owned(),
    }
}

pub(crate) fn repository(name: &str) -> Resource {
    Resource {
        kind: ResourceKind::Repository.into(),
        path: name.to_owned(),
    }
}

/// Why a call was refused.
pub(crate) fn refused<T: std::fmt::Debug>(outcome: Result<T, Status>) -> ErrorReason {
    reason(&outcome.expect_err("the call is refused"))
}

/// Waits until `holds` does, or panics after ten seconds.
pub(crate) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
