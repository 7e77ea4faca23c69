//! Our own tokens: signing them, and believing those that come back.

use std::time::Duration;

use roadstead_authn::{
    ACCESS_TYPE, Access, AccessClaims, Act, Believed, KeySetError, PinnedKeys, REGISTRY_TYPE, RegistryClaims,
    WireClaims,
};
use roadstead_proto::auth::v1::{KeySet, TokenKind};
use roadstead_runtime::PublicAddress;
use roadstead_types::Clock;
use uuid::Uuid;

use crate::{
    domain::Decision,
    error::Error,
    keys::{SigningKey, SigningKeys},
};

/// How long verifiers may go without asking for the keys again. A new key would be published two such lives before it
/// signs, and an old one kept until the last token that it signed has expired.
pub(crate) const KEYS_MAX_AGE: Duration = Duration::from_mins(5);

/// How long tokens of each kind live.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lives {
    pub(crate) access: Duration,
    pub(crate) registry: Duration,
}

/// Signs and verifies access and registry tokens.
#[derive(Debug)]
pub(crate) struct Tokens {
    keys: SigningKeys,
    lives: Lives,
    clock: Clock,
    service: String,
    access: Kind,
    registry: Kind,
}

/// What is pinned for one kind of token.
#[derive(Debug)]
struct Kind {
    issuer: String,
    published: KeySet,
    verifying: PinnedKeys,
}

/// A token and what its bearer is told about it. It has no debug output, so that no log gets the token.
pub(crate) struct Signed {
    pub(crate) token: String,
    pub(crate) issued_at: i64,
    pub(crate) life: Duration,
}

impl Tokens {
    pub(crate) fn new(
        keys: SigningKeys,
        lives: Lives,
        public: &PublicAddress,
        clock: Clock,
    ) -> Result<Self, KeySetError> {
        let origin = public.origin();
        let kind = |kind: TokenKind, issuer: String, token_type: &str, key: &SigningKey| {
            let published = KeySet {
                kind: kind.into(),
                issuer: issuer.clone(),
                audience: public.service.clone(),
                token_type: token_type.to_owned(),
                jwks_json: serde_json::to_string(&key.jwk_set())?,
            };
            Ok::<_, KeySetError>(Kind {
                issuer,
                verifying: PinnedKeys::from_key_set(&published)?,
                published,
            })
        };
        Ok(Self {
            access: kind(TokenKind::Access, origin.to_owned(), ACCESS_TYPE, &keys.access)?,
            registry: kind(
                TokenKind::Registry,
                format!("{origin}/token"),
                REGISTRY_TYPE,
                &keys.registry,
            )?,
            service: public.service.clone(),
            keys,
            lives,
            clock,
        })
    }

    pub(crate) fn service(&self) -> &str {
        &self.service
    }

    pub(crate) fn sign_access(&self, act: Act) -> Result<Signed, Error> {
        let claims = self.claims(&self.access, self.lives.access, Some(act));
        sign(&self.keys.access, ACCESS_TYPE, &claims, self.lives.access)
    }

    /// Signs a registry token, for `act` or for nobody. It may outlive the access token that it was got with, by
    /// minutes at most: clients take less than a minute of life for none.
    pub(crate) fn sign_registry(&self, act: Option<Act>, decision: &Decision) -> Result<Signed, Error> {
        let mut claims = self.claims(&self.registry, self.lives.registry, act);
        claims.access = Some(decision.granted.iter().map(Access::from).collect());
        claims.denied = Some(decision.denied.iter().map(Access::from).collect());
        sign(&self.keys.registry, REGISTRY_TYPE, &claims, self.lives.registry)
    }

    pub(crate) fn verify_access(&self, token: &str) -> Result<AccessClaims, Error> {
        match self
            .access
            .verifying
            .verify::<AccessClaims>(token, self.clock.unix_seconds())
        {
            Some(Believed::Fresh(claims)) => Ok(claims),
            Some(Believed::Expired(_)) => Err(Error::TokenExpired),
            None => Err(Error::TokenInvalid("it is not an access token of this registry")),
        }
    }

    /// Verifies a token that may be of either kind and returns its identity, none for an anonymous caller.
    pub(crate) fn verify_any(&self, token: &str) -> Result<Option<Act>, Error> {
        match self
            .registry
            .verifying
            .verify::<RegistryClaims>(token, self.clock.unix_seconds())
        {
            Some(Believed::Fresh(claims)) => Ok((!claims.principal.is_anonymous()).then_some(claims.act)),
            Some(Believed::Expired(_)) => Err(Error::TokenExpired),
            None => self.verify_access(token).map(|claims| Some(claims.act)),
        }
    }

    pub(crate) fn key_sets(&self) -> Vec<KeySet> {
        vec![self.access.published.clone(), self.registry.published.clone()]
    }

    fn claims(&self, kind: &Kind, life: Duration, act: Option<Act>) -> WireClaims {
        let now = self.clock.unix_seconds();
        WireClaims {
            iss: kind.issuer.clone(),
            sub: act.as_ref().map(|act| act.subject.clone()).unwrap_or_default(),
            aud: self.service.clone(),
            exp: now.saturating_add_unsigned(life.as_secs()),
            nbf: now,
            iat: now,
            jti: Uuid::new_v4().to_string(),
            access: None,
            denied: None,
            act,
        }
    }
}

fn sign(key: &SigningKey, token_type: &str, claims: &WireClaims, life: Duration) -> Result<Signed, Error> {
    let token = key.sign(token_type, claims)?;
    Ok(Signed {
        token,
        issued_at: claims.iat,
        life,
    })
}
