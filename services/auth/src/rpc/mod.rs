//! The RPCs: parse, decide, encode.

mod authorization;
mod bindings;
mod caller;
mod dev;
mod encode;
mod groups;
mod identities;
mod keys;
mod notice;
mod outbox;
mod policy;
mod pull_tokens;
mod revocation;
mod roles;
mod token;

use std::sync::Arc;

use roadstead_proto::auth::v1::Identity;
use roadstead_runtime::PublicAddress;
use roadstead_types::Clock;
use tokio_util::sync::CancellationToken;

use crate::{
    access::SharedRules,
    dev::DevIssuer,
    issuers::Issuers,
    keys::RefreshKey,
    store::Store,
    sts::{LastUses, Refusals, SessionLives},
    tokens::Tokens,
};

/// Implements every service of `auth.v1`.
#[derive(Clone, Debug)]
pub(crate) struct Service(pub(crate) Arc<State>);

/// What the RPCs work with.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) clock: Clock,
    /// Where this registry is.
    pub(crate) public: PublicAddress,
    pub(crate) store: Store,
    pub(crate) rules: SharedRules,
    pub(crate) tokens: Tokens,
    pub(crate) refresh: RefreshKey,
    pub(crate) issuers: Issuers,
    pub(crate) session_lives: SessionLives,
    pub(crate) uses: Arc<LastUses>,
    pub(crate) refusals: Arc<Refusals>,
    /// Ends the streams of revocations.
    pub(crate) stop: CancellationToken,
    pub(crate) dev: Option<DevIssuer>,
}

fn identity(issuer: &str, subject: &str) -> Identity {
    Identity {
        issuer: issuer.to_owned(),
        subject: subject.to_owned(),
    }
}
