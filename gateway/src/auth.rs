//! Who calls, and what the caller's token allows.
//!
//! The rules, in the order in which they apply:
//!
//! 1. Authorisation precedes existence: what is refused here is refused in the same words whether or not the repository
//!    exists.
//! 2. A token that is malformed, not ours or expired is 401 with `error="invalid_token"`, also where no token would be
//!    needed: the client has to drop it. An expired one is admitted only to what a push grant covers, and by metadata.
//! 3. Reading without the right scope is left to metadata, which knows what is public. Its refusal becomes 401.
//! 4. A scope that the caller asked for at `/token` and did not get is 403: asking again would not help. It stays 401 for
//!    callers without an identity, for whom logging in helps.

use std::{fmt, sync::Arc};

use http::{HeaderMap, HeaderValue, StatusCode, header};
use roadstead_authn::{RegistryClaims, Verifier, VerifyError};
use roadstead_proto::metadata::v1::{ReadAccess, read_access::Ground};
use roadstead_rpc::ErrorReason;
use roadstead_types::{Action, Principal, RepositoryName};
use serde_json::json;
use tonic::Status;

use crate::{
    address::Addresses,
    call::Call,
    error::{Challenge, ErrorCode, Failure},
};

/// The most that a message says of who calls: a subject may be as long as its issuer likes, and the rest has to be said too.
const WHO_LIMIT: usize = 200;

/// The one who calls, as far as the token tells.
pub(crate) enum Caller<'a> {
    /// No token.
    Anonymous,
    /// A good token.
    Holder {
        token: &'a str,
        claims: Arc<RegistryClaims>,
    },
    /// A token that was good.
    Expired {
        token: &'a str,
        claims: Arc<RegistryClaims>,
    },
}

/// Whether a push grant may admit an expired token to a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expiry {
    Refused,
    PushGrant,
}

impl Expiry {
    /// What holds for reading content: of that a push needs only to ask, with HEAD, what is there already.
    pub(crate) const fn of_reading(is_head: bool) -> Self {
        if is_head { Self::PushGrant } else { Self::Refused }
    }
}

impl<'a> Caller<'a> {
    /// Verifies the request's token, if there is one.
    pub(crate) fn of(headers: &'a HeaderMap, verifier: &Verifier) -> Result<Self, Failure> {
        let mut lines = headers.get_all(header::AUTHORIZATION).iter();
        let Some(line) = lines.next() else {
            return Ok(Self::Anonymous);
        };
        let (Some(token), None) = (bearer(line), lines.next()) else {
            let message =
                "only one Authorization header with a Bearer token is taken here; get the token at the realm";
            return Err(Failure::unauthorized(Challenge::Missing, message));
        };
        match verifier.registry(token) {
            Ok(claims) => Ok(Self::Holder { token, claims }),
            Err(VerifyError::Expired(claims)) => Ok(Self::Expired { token, claims }),
            Err(VerifyError::Invalid) => Err(Failure::unauthorized(
                Challenge::InvalidToken,
                "the token is not valid here; get another at the realm",
            )),
            Err(VerifyError::Revoked(claims)) => Err(Failure::unauthorized(
                Challenge::InvalidToken,
                "the token was revoked; get another at the realm",
            )
            .refusing(&claims.principal, "the token was revoked")),
            Err(error @ VerifyError::KeysUnavailable) => Err(Failure::from(Status::from(error))),
        }
    }

    /// On what ground the caller may read.
    pub(crate) fn read(&self, name: &RepositoryName, expiry: Expiry) -> Result<ReadAccess, Failure> {
        let (ground, registry_token) = match self {
            Self::Holder { claims, .. } if claims.allows(name, Action::Pull) => {
                (Ground::Granted, String::new())
            }
            Self::Anonymous | Self::Holder { .. } => (Ground::PublicOnly, String::new()),
            Self::Expired { token, claims }
                if expiry == Expiry::PushGrant
                    && (claims.allows(name, Action::Pull) || claims.allows(name, Action::Push)) =>
            {
                (Ground::PushGrant, (*token).to_owned())
            }
            Self::Expired { claims, .. } => return Err(expired(claims)),
        };
        Ok(ReadAccess {
            ground: ground.into(),
            registry_token,
        })
    }

    /// Explains why metadata refused a read.
    pub(crate) fn explain_read(&self, name: &RepositoryName, status: Status) -> Failure {
        match (roadstead_rpc::reason(&status), self) {
            (ErrorReason::PermissionMissing, Self::Anonymous) => token_needed(),
            (ErrorReason::PermissionMissing, Self::Holder { claims, .. }) => {
                lacking(claims, name, Action::Pull)
            }
            (ErrorReason::PermissionMissing, Self::Expired { claims, .. }) => expired(claims),
            _ => Failure::from(status),
        }
    }

    /// Explains why metadata refused to say whether a blob is there. A client that came to push has nothing to show its user
    /// of an answer to HEAD. Told that there is nothing, as it is of every blob, it goes on, and shows the next refusal.
    pub(crate) fn explain_look(&self, name: &RepositoryName, status: Status) -> Failure {
        let failure = self.explain_read(name, status);
        if failure.status() == StatusCode::FORBIDDEN && self.has_asked_for(name, Action::Push) {
            return Failure::new(
                StatusCode::NOT_FOUND,
                ErrorCode::BlobUnknown,
                "the blob is unknown",
            );
        }
        failure
    }

    /// The token with which the caller may write; metadata verifies it again.
    pub(crate) fn write(
        &self,
        name: &RepositoryName,
        action: Action,
        expiry: Expiry,
    ) -> Result<&'a str, Failure> {
        match self {
            Self::Anonymous => Err(token_needed()),
            Self::Holder { token, claims } if claims.allows(name, action) => Ok(token),
            Self::Holder { claims, .. } => Err(lacking(claims, name, action)),
            Self::Expired { token, claims } if expiry == Expiry::PushGrant && claims.allows(name, action) => {
                Ok(token)
            }
            Self::Expired { claims, .. } => Err(expired(claims)),
        }
    }

    /// Whether the caller ever asked for this scope, got it or not: if not, it is worth asking.
    pub(crate) fn has_asked_for(&self, name: &RepositoryName, action: Action) -> bool {
        match self {
            Self::Anonymous => false,
            Self::Holder { claims, .. } | Self::Expired { claims, .. } => {
                claims.allows(name, action) || claims.was_denied(name, action)
            }
        }
    }

    /// The identity behind the token, if any.
    pub(crate) fn principal(&self) -> Option<&Principal> {
        match self {
            Self::Anonymous => None,
            Self::Holder { claims, .. } | Self::Expired { claims, .. } => {
                Some(&claims.principal).filter(|principal| !principal.is_anonymous())
            }
        }
    }
}

/// Without the token.
impl fmt::Debug for Caller<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Caller({})",
            self.principal()
                .map_or_else(|| "anonymous".to_owned(), ToString::to_string)
        )
    }
}

/// The token in an `Authorization: Bearer` line.
pub(crate) fn bearer(line: &HeaderValue) -> Option<&str> {
    let (scheme, token) = line.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The refusal of a caller without a token.
pub(crate) fn token_needed() -> Failure {
    Failure::unauthorized(
        Challenge::Missing,
        "a token is needed; log in, or get one at the realm",
    )
}

/// The refusal of a caller whose token was good once.
pub(crate) fn expired(claims: &RegistryClaims) -> Failure {
    Failure::unauthorized(
        Challenge::InvalidToken,
        "the token has expired; get another at the realm",
    )
    .refusing(&claims.principal, "the token had expired")
}

/// The refusal of a good token that does not carry the action. The client's own error text says what is missing and how to
/// find out more.
fn lacking(claims: &RegistryClaims, name: &RepositoryName, action: Action) -> Failure {
    let principal = &claims.principal;
    let denial = claims.denial(name, action).filter(|_| !principal.is_anonymous());
    let Some(denial) = denial else {
        let message = format!("the token does not carry {action} for {name}; get one that does at the realm");
        return Failure::unauthorized(Challenge::InsufficientScope, message);
    };
    let who = principal.to_string();
    let who = &who[..who.floor_char_boundary(WHO_LIMIT)];
    let what = match action {
        Action::Pull => "pull from",
        Action::Push => "push to",
        Action::Delete => "delete from",
    };
    let capability = format!("repo.{action}");
    let why = denial
        .why
        .as_deref()
        .unwrap_or("no role of the caller there gives it");
    let message = format!(
        "{who} may not {what} {name}: needs the capability {capability} on repository {name}; {why}. \
         Run: roadstead iam explain --repo {name} --action {action}"
    );
    Failure::new(StatusCode::FORBIDDEN, ErrorCode::Denied, message)
        .detailed(json!({
            "identity": { "issuer": principal.issuer, "subject": principal.subject },
            "resource": format!("repository:{name}"),
            "action": action.as_str(),
            "capability": capability,
        }))
        .refusing(principal, why.to_owned())
}

/// Writes the challenge: exactly one, Bearer, all scopes in one parameter.
pub(crate) fn challenge(
    addresses: &Addresses,
    call: &Call,
    challenge: Challenge,
    scope: &str,
) -> HeaderValue {
    let origin = addresses.origin_for(call.host());
    let mut text = format!(
        "Bearer realm=\"{origin}/token\",service=\"{}\"",
        addresses.service()
    );
    let parameters = [
        ("scope", Some(scope).filter(|scope| !scope.is_empty())),
        ("error", challenge.error()),
    ];
    for (name, value) in parameters {
        if let Some(value) = value {
            text.push(',');
            text.push_str(name);
            text.push_str("=\"");
            text.push_str(value);
            text.push('"');
        }
    }
    // Origins, repository names and actions are visible ASCII without quotes.
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("Bearer"))
}
