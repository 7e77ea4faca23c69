//! The RPCs: parse, decide, encode.

mod authorization;
mod dev;
mod keys;
mod token;

use std::sync::Arc;

use roadstead_proto::auth::v1::Identity;
use roadstead_types::Clock;

use crate::{dev::DevIssuer, domain::Grants, issuers::Issuers, tokens::Tokens};

/// Implements every service of `auth.v1`.
#[derive(Clone, Debug)]
pub(crate) struct Service(pub(crate) Arc<State>);

/// What the RPCs work with.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) clock: Clock,
    pub(crate) tokens: Tokens,
    pub(crate) grants: Grants,
    pub(crate) issuers: Issuers,
    pub(crate) dev: Option<DevIssuer>,
}

fn identity(issuer: &str, subject: &str) -> Identity {
    Identity {
        issuer: issuer.to_owned(),
        subject: subject.to_owned(),
    }
}
