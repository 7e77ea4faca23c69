//! Exchanges OIDC identity tokens for Roadstead's own, and signs those.
//!
//! # What it owns
//!
//! The signing keys, the list of issuers that are believed, and the grants: what identities may do. All but the keys
//! comes from configuration. Access tokens (an hour) are got for identity tokens; registry tokens (minutes) for access
//! tokens, and say what their bearer may do to which repositories.
//!
//! # What it never does
//!
//! It calls no other service, holds no password, and believes none of its own addresses as an issuer. It does not
//! decide whether a repository exists, is public, or may be written to at this moment; metadata does.
//!
//! # Invariants
//!
//! * Nothing in an identity token is used before its signature holds, except to choose the rule to verify by.
//! * Tokens of each kind have keys, `iss` and `typ` of their own, so that none passes for one of another kind.
//! * Private keys are never on disk unsealed, nor in a log, span or debug output.
//! * An issuer that cannot be reached makes exchanges fail as unavailable, never as unauthorised.
//! * An identity of a believed issuer gets tokens even where it has no grant: its denials can then say who it is, which
//!   an anonymous caller's cannot.

mod config;
mod dev;
mod domain;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod issuers;
mod keys;
mod rpc;
mod tokens;

use std::{path::PathBuf, sync::Arc};

use roadstead_authn::KeySetError;
use roadstead_proto::auth::v1::{
    authorization_service_server::AuthorizationServiceServer,
    dev_issuer_service_server::DevIssuerServiceServer, key_service_server::KeyServiceServer,
    token_service_server::TokenServiceServer,
};
use roadstead_rpc::{AllowList, MAX_MESSAGE_BYTES, Peer, Readiness, RpcServer, TaskSet};
use roadstead_runtime::{BuiltService, PublicAddress, Validate as _};
use roadstead_types::Clock;
use tokio_util::sync::CancellationToken;
use url::Url;

pub use config::{Config, GrantConfig, IssuerConfig};

use self::{
    dev::{DEV_SUBJECT, DevIssuer},
    domain::Grants,
    issuers::Issuers,
    keys::SigningKeys,
    rpc::Service,
    tokens::{Lives, Tokens},
};

/// What the service is built from.
#[derive(Clone, Debug)]
pub struct Deps {
    /// The time.
    pub clock: Clock,
    /// The directory that the services' own directories are in.
    pub data_dir: PathBuf,
    /// Where the registry is; it decides what tokens say.
    pub public: PublicAddress,
    /// Cancelled when background tasks are to stop.
    pub shutdown: CancellationToken,
}

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct BuildError(#[from] Cause);

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error("auth.{}", .0.join("; auth."))]
    Config(Vec<String>),
    #[error("auth.dev: is refused, because gateway.listen is not a loopback address")]
    DevBeyondLoopback,
    #[error("auth.issuers: {0} is this registry itself")]
    OwnOrigin(String),
    #[error("auth.grants.subject_pattern: {0}")]
    Pattern(#[from] regex::Error),
    #[error("auth.issuers: {0}")]
    Issuer(#[from] issuers::ClientError),
    #[error(transparent)]
    Keys(#[from] keys::KeyStoreError),
    #[error(transparent)]
    DevKey(#[from] keys::KeyError),
    #[error(transparent)]
    KeySet(#[from] KeySetError),
}

/// Builds the service. It makes its signing keys where there are none yet.
///
/// # Errors
///
/// When the configuration cannot be followed, or the keys cannot be opened.
#[expect(clippy::unused_async, reason = "every service is built the same way")]
pub async fn build(config: Config, deps: Deps) -> Result<BuiltService, BuildError> {
    assemble(&config, deps).map_err(BuildError)
}

fn assemble(config: &Config, deps: Deps) -> Result<BuiltService, Cause> {
    check(config, &deps.public)?;
    // The HTTP client takes the process's cryptography; the harness installs it, a test may not have.
    roadstead_runtime::install_crypto();
    let tasks = TaskSet::new(deps.shutdown);
    let mut grants = Grants::new(&config.grants)?;
    let mut issuers = Issuers::new(&config.issuers, config.dev, &deps.clock, &tasks)?;
    let dev = if config.dev {
        Some(DevIssuer::new(&deps.public, deps.clock.clone())?)
    } else {
        None
    };
    if let Some(dev) = &dev {
        issuers.trust_dev(dev);
        grants.allow_everything(dev.url(), DEV_SUBJECT);
        tracing::warn!("the development issuer is on: everybody with this user's files may push");
    }
    let keys = SigningKeys::open(
        &deps.data_dir.join("auth"),
        config.sealing_key_file.as_deref(),
        &deps.clock,
    )?;
    let lives = Lives {
        access: config.access_token_ttl,
        registry: config.registry_token_ttl,
    };
    let tokens = Tokens::new(keys, lives, &deps.public, deps.clock.clone())?;
    let service = Service(Arc::new(rpc::State {
        clock: deps.clock,
        tokens,
        grants,
        issuers,
        dev,
    }));
    let readiness = Readiness::new();
    readiness.set_ready();
    Ok(BuiltService {
        server: server(&service, readiness.clone()),
        tasks,
        readiness,
    })
}

fn server(service: &Service, readiness: Readiness) -> RpcServer {
    let verifiers = [Peer::Gateway, Peer::Metadata, Peer::Events];
    let allowed = AllowList::new()
        .allow("roadstead.auth.v1.TokenService", &[Peer::Gateway])
        .allow("roadstead.auth.v1.KeyService", &verifiers)
        .allow("roadstead.auth.v1.AuthorizationService", &verifiers)
        .allow("roadstead.auth.v1.DevIssuerService", &[Peer::Gateway]);
    macro_rules! limited {
        ($server:ident) => {
            $server::new(service.clone())
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES)
        };
    }
    RpcServer::new(Peer::Auth, allowed)
        .with_readiness(readiness)
        .add_service(limited!(TokenServiceServer))
        .add_service(limited!(KeyServiceServer))
        .add_service(limited!(AuthorizationServiceServer))
        .add_service(limited!(DevIssuerServiceServer))
}

fn check(config: &Config, public: &PublicAddress) -> Result<(), Cause> {
    let mut problems = Vec::new();
    config.validate(&mut problems);
    if !problems.is_empty() {
        return Err(Cause::Config(problems));
    }
    if config.dev && !public.is_loopback() {
        return Err(Cause::DevBeyondLoopback);
    }
    match config
        .issuers
        .iter()
        .find(|issuer| is_own(&issuer.issuer, public))
    {
        Some(issuer) => Err(Cause::OwnOrigin(issuer.issuer.clone())),
        None => Ok(()),
    }
}

/// Returns whether an issuer is at the registry's own address, under whichever name and scheme.
fn is_own(issuer: &str, public: &PublicAddress) -> bool {
    let Ok(issuer) = Url::parse(issuer) else {
        return false;
    };
    let port = issuer.port_or_known_default();
    // A name means the same with the final dot of DNS.
    let host = |url: &Url| url.host_str().map(|host| host.trim_end_matches('.').to_owned());
    let public_name = host(&issuer) == host(&public.url) && port == public.url.port_or_known_default();
    public_name || (config::is_loopback(&issuer) && port == Some(public.listen.port()))
}
