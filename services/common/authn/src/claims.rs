//! What tokens say.

use std::collections::BTreeMap;

use roadstead_types::{Action, ActionSet, Principal, RepositoryName, Scope};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Watermarks;

/// The claims of an access or registry token as they are written. An access token leaves `access` and `denied` out. What
/// the previous release did not write has a default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WireClaims {
    /// Who signed: the registry's public URL, with `/token` for registry tokens.
    pub iss: String,
    /// The upstream subject; empty for an anonymous caller.
    pub sub: String,
    /// The registry as clients name it: `host[:port]`.
    pub aud: String,
    /// Unix seconds from which the token is no longer good.
    pub exp: i64,
    /// Unix seconds from which the token is good.
    pub nbf: i64,
    /// Unix seconds of the signing.
    pub iat: i64,
    /// The token's own id.
    pub jti: String,
    /// The revision of the permissions that the token was decided on.
    #[serde(default)]
    pub rev: u64,
    /// The ids of the identities that the token speaks for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// The credential that the token came of and ends with: `pull-token:<id>` or `session:<id>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cred: Option<String>,
    /// The groups (`acme`) and repositories (`repository:acme/web`) that the token is narrowed to; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Vec<String>>,
    /// The capabilities that the token is narrowed to; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap: Option<Vec<String>>,
    /// What a registry token grants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Vec<Access>>,
    /// What was asked for with a registry token and refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denied: Option<Vec<Access>>,
    /// The upstream identity; absent for an anonymous caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Act>,
}

/// Actions on one resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// `repository`, or `registry` for the catalog.
    #[serde(rename = "type")]
    pub resource_type: String,
    /// The name of the repository, or `catalog`.
    pub name: String,
    /// What may be done.
    pub actions: ActionSet,
    /// Of what was refused: what was missing, in words for the bearer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Access {
    fn covers(&self, repository: &RepositoryName, action: Action) -> bool {
        self.resource_type == "repository"
            && self.name == repository.as_str()
            && self.actions.contains(action)
    }
}

impl From<&Scope> for Access {
    fn from(scope: &Scope) -> Self {
        Self {
            resource_type: scope.resource_type().to_owned(),
            name: scope.name().to_owned(),
            actions: scope.actions,
            why: None,
        }
    }
}

/// The upstream identity that a token speaks for. Empty for an anonymous caller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// The upstream issuer's URL.
    #[serde(rename = "iss")]
    pub issuer: String,
    /// The upstream subject.
    #[serde(rename = "sub")]
    pub subject: String,
    /// Upstream claims: of an access token all that are small enough, of a registry token those that permissions look at.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, Value>,
}

impl Act {
    /// Returns the identity without its claims.
    pub fn principal(&self) -> Principal {
        Principal::new(&self.issuer, &self.subject)
    }
}

/// What a token came of and was decided on: by these it can be revoked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    /// The token's own id.
    pub token_id: String,
    /// The revision of the permissions; 0 for a token of the previous release, which any watermark revokes.
    pub revision: u64,
    /// The ids of the identities that the token speaks for.
    pub identities: Vec<String>,
    /// `pull-token:<id>` or `session:<id>`; none when the token came of an identity token.
    pub credential: Option<String>,
}

/// A verified access token: for `/token` and the admin API.
#[derive(Clone, Debug)]
pub struct AccessClaims {
    /// Who the token speaks for; never anonymous.
    pub principal: Principal,
    /// The same with the upstream claims.
    pub act: Act,
    /// What the token came of.
    pub provenance: Provenance,
    /// The groups (`acme`) and repositories (`repository:acme/web`) that the token is narrowed to; none for all.
    pub scope: Option<Vec<String>>,
    /// The capabilities that the token is narrowed to; none for all.
    pub capabilities: Option<Vec<String>>,
    /// Unix seconds.
    pub issued_at: i64,
    /// Unix seconds.
    pub expires_at: i64,
}

/// A verified registry token: for `/v2/`.
#[derive(Clone, Debug)]
pub struct RegistryClaims {
    /// Who the token speaks for; may be anonymous.
    pub principal: Principal,
    /// What the token grants.
    pub access: Vec<Access>,
    /// What was asked for with the token and refused, so that a denial can say that asking again is no use.
    pub denied: Vec<Access>,
    /// The identity with the claims that permissions look at.
    pub act: Act,
    /// What the token came of.
    pub provenance: Provenance,
    /// What the token is narrowed to, as in [`AccessClaims::scope`]. What is in `access` lies within.
    pub scope: Option<Vec<String>>,
    /// The capabilities that the token is narrowed to; none for all.
    pub capabilities: Option<Vec<String>>,
    /// Unix seconds.
    pub issued_at: i64,
    /// Unix seconds.
    pub expires_at: i64,
}

impl RegistryClaims {
    /// Returns whether the token grants `action` on `repository`.
    pub fn allows(&self, repository: &RepositoryName, action: Action) -> bool {
        self.access.iter().any(|access| access.covers(repository, action))
    }

    /// Returns whether `action` on `repository` was asked for with the token and refused.
    pub fn was_denied(&self, repository: &RepositoryName, action: Action) -> bool {
        self.denial(repository, action).is_some()
    }

    /// Returns the refusal of `action` on `repository`, if it was asked for with the token and refused.
    pub fn denial(&self, repository: &RepositoryName, action: Action) -> Option<&Access> {
        self.denied
            .iter()
            .find(|access| access.covers(repository, action))
    }

    /// Returns whether the token may list repositories.
    pub fn allows_catalog(&self) -> bool {
        self.access.iter().any(|access| {
            access.resource_type == "registry" && access.name == "catalog" && !access.actions.is_empty()
        })
    }
}

/// One kind of verified token.
pub trait TokenClaims: Sized {
    /// Reads the claims of a token whose signature and registered claims were verified. Gives none when the token
    /// lacks what its kind must have.
    fn from_wire(wire: WireClaims) -> Option<Self>;

    /// The Unix second from which the token is no longer good.
    fn expires_at(&self) -> i64;

    /// Whether the token was revoked, as far as is known.
    fn is_revoked(&self, known: &Watermarks) -> bool;
}

impl TokenClaims for AccessClaims {
    fn from_wire(wire: WireClaims) -> Option<Self> {
        let act = wire
            .act
            .filter(|act| !act.principal().is_anonymous() && act.subject == wire.sub)?;
        Some(Self {
            principal: act.principal(),
            act,
            provenance: Provenance {
                token_id: wire.jti,
                revision: wire.rev,
                identities: wire.ids,
                credential: wire.cred,
            },
            scope: wire.scope,
            capabilities: wire.cap,
            issued_at: wire.iat,
            expires_at: wire.exp,
        })
    }

    fn expires_at(&self) -> i64 {
        self.expires_at
    }

    fn is_revoked(&self, known: &Watermarks) -> bool {
        known.revoke_origin(&self.provenance)
    }
}

impl TokenClaims for RegistryClaims {
    fn from_wire(wire: WireClaims) -> Option<Self> {
        let act = wire.act.unwrap_or_default();
        if act.subject != wire.sub {
            return None;
        }
        Some(Self {
            principal: act.principal(),
            access: wire.access?,
            denied: wire.denied.unwrap_or_default(),
            act,
            provenance: Provenance {
                token_id: wire.jti,
                revision: wire.rev,
                identities: wire.ids,
                credential: wire.cred,
            },
            scope: wire.scope,
            capabilities: wire.cap,
            issued_at: wire.iat,
            expires_at: wire.exp,
        })
    }

    fn expires_at(&self) -> i64 {
        self.expires_at
    }

    fn is_revoked(&self, known: &Watermarks) -> bool {
        let repositories = self
            .access
            .iter()
            .filter(|access| access.resource_type == "repository")
            .map(|access| access.name.as_str());
        known.revoke_origin(&self.provenance) || known.revoke_decision(&self.provenance, repositories)
    }
}
