//! Knows who may do what, exchanges OIDC identity tokens for Roadstead's own, and signs those.
//!
//! # What it owns
//!
//! The signing keys; the list of issuers that are believed; and `<data_dir>/auth/auth.db` with groups, identities, roles,
//! bindings, push policies, pull tokens, sessions, revocations, and the audit events that tell of them. Access tokens (an
//! hour) are got for identity tokens; registry tokens (minutes) for access tokens and pull tokens, and say what their
//! bearer may do to which repositories.
//!
//! # What it never does
//!
//! It calls no other service, holds no password, and believes none of its own addresses as an issuer. It does not
//! decide whether a repository exists, or may be written to at this moment; metadata does.
//!
//! # Invariants
//!
//! * Nothing in an identity token is used before its signature holds, except to choose the rule to verify by.
//! * Tokens of each kind have keys, `iss` and `typ` of their own, so that none passes for one of another kind.
//! * Private keys are never on disk unsealed, nor in a log, span or debug output.
//! * An issuer that cannot be reached makes exchanges fail as unavailable, never as unauthorised.
//! * A bearer of a believed issuer gets tokens even where it has no identity: its denials can then say who it is, which an
//!   anonymous caller's cannot.
//! * A decision is made on one snapshot of the database, and the token says its revision. What takes something away says
//!   from which revision on tokens are good, in the same transaction; no clock is involved.
//! * One set of rules (`domain::evaluate`) decides, administers and explains.
//! * Every change of permissions is one transaction with its event. No secret is in the database.

mod access;
mod bootstrap;
mod config;
mod dev;
mod domain;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod iam;
mod issuers;
mod keys;
mod rpc;
mod store;
mod sts;
mod tokens;

use std::{path::PathBuf, sync::Arc};

use roadstead_authn::KeySetError;
use roadstead_proto::auth::v1::{
    authorization_service_server::AuthorizationServiceServer, binding_service_server::BindingServiceServer,
    dev_issuer_service_server::DevIssuerServiceServer, group_service_server::GroupServiceServer,
    identity_service_server::IdentityServiceServer, key_service_server::KeyServiceServer,
    outbox_service_server::OutboxServiceServer, policy_service_server::PolicyServiceServer,
    pull_token_service_server::PullTokenServiceServer,
    repository_notice_service_server::RepositoryNoticeServiceServer,
    revocation_service_server::RevocationServiceServer, role_service_server::RoleServiceServer,
    token_service_server::TokenServiceServer,
};
use roadstead_rpc::{AllowList, MAX_MESSAGE_BYTES, Peer, Readiness, RpcServer, TaskSet};
use roadstead_runtime::{BuiltService, PublicAddress, Validate as _};
use roadstead_sqlite::OpenError;
use roadstead_types::Clock;
use tokio_util::sync::CancellationToken;
use url::Url;

pub use config::{Config, GrantConfig, IssuerConfig, LoginConfig, OwnerConfig};

use self::{
    bootstrap::Bootstrap,
    dev::DevIssuer,
    domain::{IssuerFacts, Rules},
    issuers::Issuers,
    keys::SigningKeys,
    rpc::Service,
    store::Store,
    sts::{LastUses, Refusals, SessionLives, Upkeep},
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
    #[error("auth.issuers: {0}")]
    Issuer(#[from] issuers::IssuerError),
    #[error(transparent)]
    Keys(#[from] keys::KeyStoreError),
    #[error(transparent)]
    DevKey(#[from] keys::KeyError),
    #[error(transparent)]
    KeySet(#[from] KeySetError),
    #[error(transparent)]
    Database(#[from] OpenError),
    #[error("what the configuration says could not be put into the database: {0}")]
    Bootstrap(#[from] error::Error),
    #[error("the service was not opened: {0}")]
    Interrupted(#[from] tokio::task::JoinError),
}

/// Builds the service. It makes its signing keys and its database where there are none yet.
///
/// # Errors
///
/// When the configuration cannot be followed, or the keys or the database cannot be opened.
pub async fn build(config: Config, deps: Deps) -> Result<BuiltService, BuildError> {
    assemble(config, deps).await.map_err(BuildError)
}

/// What is on the disk.
struct Opened {
    keys: SigningKeys,
    refresh: keys::RefreshKey,
    store: Store,
}

async fn open(config: &Config, deps: &Deps) -> Result<Opened, Cause> {
    let directory = deps.data_dir.join("auth");
    let sealing_key_file = config.sealing_key_file.clone();
    let (rotation, clock) = (config.key_rotation, deps.clock.clone());
    tokio::task::spawn_blocking(move || {
        // The keys come first, because they make the directory with narrow permissions.
        let (keys, refresh) = SigningKeys::open(&directory, sealing_key_file.as_deref(), rotation, &clock)?;
        let store = Store::open(&directory, clock)?;
        Ok(Opened { keys, refresh, store })
    })
    .await?
}

async fn assemble(config: Config, deps: Deps) -> Result<BuiltService, Cause> {
    check(&config, &deps.public)?;
    // The HTTP client takes the process's cryptography; the harness installs it, a test may not have.
    roadstead_runtime::install_crypto();
    let Opened { keys, refresh, store } = open(&config, &deps).await?;
    let tasks = TaskSet::new(deps.shutdown.clone());
    let mut issuers = Issuers::new(&config.issuers, config.dev, &deps.clock, &tasks)?;
    let dev = if config.dev {
        Some(DevIssuer::new(&deps.public, deps.clock.clone())?)
    } else {
        None
    };
    if let Some(dev) = &dev {
        issuers.trust_dev(dev);
        tracing::warn!("the development issuer is on: everybody with this user's files owns the registry");
    }
    let rules = Arc::new(rules(&config, dev.as_ref(), &deps.public));
    let bootstrap = Bootstrap::new(&config, dev.as_ref());
    if !bootstrap.is_empty() {
        let rules = rules.clone();
        store
            .write("bootstrap", move |tx| bootstrap.run(tx, &rules))
            .await?;
    }
    let lives = Lives {
        access: config.access_token_ttl,
        registry: config.registry_token_ttl,
    };
    let uses = Arc::new(LastUses::default());
    let refusals = Arc::new(Refusals::default());
    let upkeep = Upkeep {
        store: store.clone(),
        uses: uses.clone(),
        refusals: refusals.clone(),
        clock: deps.clock.clone(),
        revocations_limit: config.revocations_limit,
    };
    sts::keep_up(upkeep, &tasks);
    let service = Service(Arc::new(rpc::State {
        tokens: Tokens::new(keys, lives, &deps.public, deps.clock.clone())?,
        rules,
        clock: deps.clock,
        public: deps.public,
        store,
        refresh,
        issuers,
        session_lives: SessionLives {
            longest: config.session_ttl,
            idle: config.session_idle_ttl,
            client: config.client_session_ttl,
        },
        uses,
        refusals,
        stop: deps.shutdown,
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

/// What rules need to know of the configuration.
fn rules(config: &Config, dev: Option<&DevIssuer>, public: &PublicAddress) -> Rules {
    let configured = config.issuers.iter().map(|issuer| {
        let facts = IssuerFacts {
            audience: issuer.audience.clone(),
            login_client: issuer.login.as_ref().map(|login| login.client_id.clone()),
            workload: issuer.workload,
        };
        (issuer.issuer.clone(), facts)
    });
    let dev = dev.map(|dev| {
        let facts = IssuerFacts {
            audience: dev.audience().to_owned(),
            login_client: None,
            workload: false,
        };
        (dev.url().to_owned(), facts)
    });
    Rules {
        issuers: configured.chain(dev).collect(),
        service: public.service.clone(),
        pull_tokens: domain::pull_token_issuer(public.origin()),
        ..Rules::default()
    }
}

fn server(service: &Service, readiness: Readiness) -> RpcServer {
    let verifiers = [Peer::Gateway, Peer::Metadata, Peer::Events];
    let mut allowed = AllowList::new()
        .allow("roadstead.auth.v1.KeyService", &verifiers)
        .allow("roadstead.auth.v1.AuthorizationService", &verifiers)
        .allow("roadstead.auth.v1.RevocationService", &verifiers)
        .allow("roadstead.auth.v1.RepositoryNoticeService", &[Peer::Metadata])
        .allow("roadstead.auth.v1.OutboxService", &[Peer::Events]);
    for service in [
        "Token",
        "DevIssuer",
        "Group",
        "Identity",
        "Role",
        "Binding",
        "Policy",
        "PullToken",
    ] {
        allowed = allowed.allow(format!("roadstead.auth.v1.{service}Service"), &[Peer::Gateway]);
    }
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
        .add_service(limited!(RevocationServiceServer))
        .add_service(limited!(RepositoryNoticeServiceServer))
        .add_service(limited!(OutboxServiceServer))
        .add_service(limited!(DevIssuerServiceServer))
        .add_service(limited!(GroupServiceServer))
        .add_service(limited!(IdentityServiceServer))
        .add_service(limited!(RoleServiceServer))
        .add_service(limited!(BindingServiceServer))
        .add_service(limited!(PolicyServiceServer))
        .add_service(limited!(PullTokenServiceServer))
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
