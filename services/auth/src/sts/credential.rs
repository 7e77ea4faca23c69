//! What a client shows at `/token`.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use ipnet::IpNet;
use roadstead_authn::{AccessClaims, Act, Provenance};

use super::{PullSecret, millis};
use crate::{
    domain::{Capability, CapabilitySet, Narrowing, pull_token_issuer},
    error::Error,
    keys::{RefreshClaims, RefreshKey},
    store::{PullTokenRow, Result, Session, SessionKind, Snapshot},
    tokens::Tokens,
};

/// A credential whose signature, tag or form holds. Whether it is good the database says.
#[derive(Debug)]
pub(super) enum Credential {
    None,
    Access(Box<AccessClaims>),
    Refresh(RefreshClaims),
    Pull(PullSecret),
}

/// Whom a good credential stands for.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// None for an anonymous caller.
    pub(super) act: Option<Act>,
    pub(super) identities: Vec<String>,
    pub(super) narrowing: Narrowing,
    /// What tokens come of, and end with.
    pub(super) credential: Option<String>,
    /// Unix seconds beyond which nothing that comes of it is good.
    pub(super) until: Option<i64>,
    /// Whether a client may have a refresh token in its stead.
    pub(super) can_be_kept: bool,
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    /// The public URL of the registry.
    pub(super) origin: &'a str,
    pub(super) client_address: &'a str,
}

impl Credential {
    pub(super) fn read(text: &str, tokens: &Tokens, refresh: &RefreshKey) -> Result<Self, Error> {
        if text.is_empty() {
            Ok(Self::None)
        } else if PullSecret::is_meant(text) {
            PullSecret::parse(text)
                .map(Self::Pull)
                .ok_or(Error::TokenInvalid(UNKNOWN_PULL_TOKEN))
        } else if RefreshKey::is_meant(text) {
            refresh
                .read(text)
                .map(Self::Refresh)
                .ok_or(Error::TokenInvalid(UNKNOWN_REFRESH_TOKEN))
        } else {
            tokens.verify_access(text).map(Box::new).map(Self::Access)
        }
    }

    /// Looks whether the credential is good at the moment of the snapshot.
    pub(super) fn stand(&self, snapshot: &Snapshot<'_>, place: Place<'_>) -> Result<Standing> {
        match self {
            Self::None => Ok(Standing::default()),
            Self::Access(claims) => of_access(snapshot, claims),
            Self::Refresh(claims) => of_client(snapshot, claims),
            Self::Pull(secret) => of_pull_token(snapshot, secret, place),
        }
    }
}

/// While a gateway does not hear auth, it cannot know that a pull token was revoked. What came of one ends this soon then,
/// also where other registry tokens live longer.
const LIFE_FROM_PULL_TOKEN: Duration = Duration::from_mins(5);

/// A wrong secret, an unknown token and a revoked one are answered alike.
const UNKNOWN_PULL_TOKEN: &str = "it is no pull token of this registry, or was revoked";
pub(super) const UNKNOWN_REFRESH_TOKEN: &str =
    "it is no refresh token of this registry, or its session is over";

fn of_access(snapshot: &Snapshot<'_>, claims: &AccessClaims) -> Result<Standing> {
    if snapshot.is_origin_revoked(&claims.provenance)? {
        return Err(Error::TokenRevoked);
    }
    let narrowing = Narrowing::from_token(claims.scope.as_deref(), claims.capabilities.as_deref()).ok_or(
        Error::TokenInvalid("it is narrowed in a way that is not known here"),
    )?;
    Ok(Standing {
        act: Some(claims.act.clone()),
        identities: claims.provenance.identities.clone(),
        narrowing,
        credential: claims.provenance.credential.clone(),
        until: None,
        can_be_kept: true,
    })
}

/// What `/token` gave to a client to keep.
fn of_client(snapshot: &Snapshot<'_>, claims: &RefreshClaims) -> Result<Standing> {
    let session = snapshot
        .session(&claims.session)?
        .filter(|session| !session.ended && session.generation == claims.generation)
        .ok_or(Error::TokenInvalid(UNKNOWN_REFRESH_TOKEN))?;
    if session.kind != SessionKind::Client {
        return Err(Error::TokenInvalid(
            "it is the refresh token of a login, which is good for a new access token only",
        ));
    }
    if session.expires_at <= snapshot.now {
        return Err(Error::TokenExpired);
    }
    let begun = Provenance {
        token_id: session.id.clone(),
        revision: session.revision,
        identities: session.identities.clone(),
        credential: session.credential.clone(),
    };
    if snapshot.is_origin_revoked(&begun)? {
        return Err(Error::TokenRevoked);
    }
    Ok(Standing {
        act: Some(session.act),
        identities: session.identities,
        narrowing: session.narrowing,
        credential: Some(Session::credential_of(&session.id)),
        until: Some(session.expires_at / 1000),
        can_be_kept: false,
    })
}

fn of_pull_token(snapshot: &Snapshot<'_>, secret: &PullSecret, place: Place<'_>) -> Result<Standing> {
    let row = snapshot
        .pull_token(secret.id())?
        .filter(|row| row.revoked_at.is_none() && secret.is_among(&row.secrets, snapshot.now))
        .ok_or(Error::TokenInvalid(UNKNOWN_PULL_TOKEN))?;
    if row.expires_at <= snapshot.now {
        return Err(Error::TokenExpired);
    }
    if !admits(&row, place.client_address) {
        return Err(Error::TokenInvalid("it is not good from this network"));
    }
    // Its role gives no more; this is for the day on which somebody changes that.
    let capabilities = CapabilitySet::of(&[Capability::RepoPull, Capability::RepoList]);
    Ok(Standing {
        act: Some(Act {
            issuer: pull_token_issuer(place.origin),
            subject: row.id.clone(),
            claims: BTreeMap::new(),
        }),
        narrowing: Narrowing {
            resources: Vec::new(),
            capabilities: Some(capabilities),
        },
        credential: Some(format!("pull-token:{}", row.id)),
        until: Some(row.expires_at.min(snapshot.now + millis(LIFE_FROM_PULL_TOKEN)) / 1000),
        identities: vec![row.id],
        // Docker would keep the refresh token, which ends in half a day, in place of this one, which is made to be kept.
        can_be_kept: false,
    })
}

/// Whether a pull token may be used from an address. An address that cannot be read is nowhere.
fn admits(row: &PullTokenRow, address: &str) -> bool {
    let Ok(address) = address.parse::<IpAddr>() else {
        return row.networks.is_empty();
    };
    // An IPv4 address is the same through a socket for both.
    let address = address.to_canonical();
    row.networks.is_empty()
        || row
            .networks
            .iter()
            .filter_map(|network| network.parse::<IpNet>().ok())
            .any(|network| network.contains(&address))
}
