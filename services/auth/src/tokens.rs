//! Our own tokens: signing them, and believing those that come back.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use roadstead_authn::{
    ACCESS_TYPE, Access, AccessClaims, Act, Believed, KeySetError, PinnedKeys, Provenance, REGISTRY_TYPE,
    RegistryClaims, WireClaims,
};
use roadstead_proto::auth::v1::{KeySet, TokenKind};
use roadstead_runtime::PublicAddress;
use roadstead_types::Clock;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    domain::Narrowing,
    error::Error,
    keys::{KeyRing, SigningKeys},
};

/// How long verifiers may go without asking for the keys again. A new key is published two such lives before it signs,
/// and an old one kept until the last token that it signed is good for nothing.
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
    lives: Lives,
    clock: Clock,
    origin: String,
    service: String,
    keys: Mutex<SigningKeys>,
    /// What follows from the keys.
    current: RwLock<Arc<Current>>,
}

#[derive(Debug)]
struct Current {
    access: Kind,
    registry: Kind,
}

/// What is pinned for one kind of token.
#[derive(Debug)]
struct Kind {
    issuer: String,
    signing: KeyRing,
    published: KeySet,
    verifying: PinnedKeys,
}

/// Whom a token is for, and what it came of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bearer {
    /// None for an anonymous caller.
    pub(crate) act: Option<Act>,
    /// The ids of the identities.
    pub(crate) identities: Vec<String>,
    /// `pull-token:<id>` or `session:<id>`.
    pub(crate) credential: Option<String>,
    /// The revision of the permissions that the token is decided on.
    pub(crate) revision: u64,
    /// What the token is good for.
    pub(crate) narrowing: Narrowing,
}

/// A token that was shown, of whichever kind.
#[derive(Debug)]
pub(crate) enum Shown {
    Access(AccessClaims),
    Registry(RegistryClaims),
}

impl Shown {
    /// Who shows it; none for an anonymous caller.
    pub(crate) fn act(&self) -> Option<&Act> {
        let act = match self {
            Self::Access(claims) => &claims.act,
            Self::Registry(claims) => &claims.act,
        };
        Some(act).filter(|act| !act.principal().is_anonymous())
    }

    /// What it is narrowed to: groups and repositories, and capabilities.
    pub(crate) fn narrowing(&self) -> (Option<&[String]>, Option<&[String]>) {
        let (scope, capabilities) = match self {
            Self::Access(claims) => (&claims.scope, &claims.capabilities),
            Self::Registry(claims) => (&claims.scope, &claims.capabilities),
        };
        (scope.as_deref(), capabilities.as_deref())
    }

    pub(crate) fn provenance(&self) -> &Provenance {
        match self {
            Self::Access(claims) => &claims.provenance,
            Self::Registry(claims) => &claims.provenance,
        }
    }
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
        let (origin, service) = (public.origin().to_owned(), public.service.clone());
        let current = Arc::new(Current::of(&keys, &origin, &service)?);
        Ok(Self {
            lives,
            clock,
            origin,
            service,
            keys: Mutex::new(keys),
            current: RwLock::new(current),
        })
    }

    pub(crate) fn service(&self) -> &str {
        &self.service
    }

    /// The public URL of the registry, without a slash at its end.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    pub(crate) fn sign_access(&self, bearer: Bearer) -> Result<Signed, Error> {
        let current = self.current();
        let claims = self.claims(&current.access, self.lives.access, bearer);
        self.sign(&current.access, ACCESS_TYPE, &claims)
    }

    /// Signs a registry token, for somebody or for nobody. It may outlive the access token that it was got with, by
    /// minutes at most: clients take less than a minute of life for none. It does not outlive `until`, in Unix seconds.
    pub(crate) fn sign_registry(
        &self,
        bearer: Bearer,
        access: Vec<Access>,
        denied: Vec<Access>,
        until: Option<i64>,
    ) -> Result<Signed, Error> {
        let current = self.current();
        let left = until.map(|until| {
            until
                .saturating_sub(self.clock.unix_seconds())
                .max(0)
                .unsigned_abs()
        });
        let life = left.map_or(self.lives.registry, |left| {
            self.lives.registry.min(Duration::from_secs(left))
        });
        let mut claims = self.claims(&current.registry, life, bearer);
        claims.access = Some(access);
        claims.denied = Some(denied);
        self.sign(&current.registry, REGISTRY_TYPE, &claims)
    }

    /// Verifies an access token but for revocation, which the database knows.
    pub(crate) fn verify_access(&self, token: &str) -> Result<AccessClaims, Error> {
        match self
            .current()
            .access
            .verifying
            .verify::<AccessClaims>(token, self.clock.unix_seconds())
        {
            Some(Believed::Fresh(claims)) => Ok(claims),
            Some(Believed::Expired(_)) => Err(Error::TokenExpired),
            None => Err(Error::TokenInvalid("it is not an access token of this registry")),
        }
    }

    /// Verifies a token that may be of either kind, but for revocation.
    pub(crate) fn verify_any(&self, token: &str) -> Result<Shown, Error> {
        match self
            .current()
            .registry
            .verifying
            .verify::<RegistryClaims>(token, self.clock.unix_seconds())
        {
            Some(Believed::Fresh(claims)) => Ok(Shown::Registry(claims)),
            Some(Believed::Expired(_)) => Err(Error::TokenExpired),
            None => self.verify_access(token).map(Shown::Access),
        }
    }

    /// The public keys of both kinds. Verifiers ask for them every few minutes, so this is where the keys' succession is
    /// seen to; it writes a file once in a rotation.
    pub(crate) fn key_sets(&self) -> Vec<KeySet> {
        self.tend();
        let current = self.current();
        vec![
            current.access.published.clone(),
            current.registry.published.clone(),
        ]
    }

    fn tend(&self) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = keys.tend().map_err(|error| error.to_string());
        let outcome = outcome.and_then(|changed| {
            if changed {
                let next = Current::of(&keys, &self.origin, &self.service);
                let next = next.map_err(|error| error.to_string())?;
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
            }
            Ok(())
        });
        if let Err(error) = outcome {
            tracing::error!(error, "the signing keys cannot be replaced; those at hand go on");
        }
    }

    fn current(&self) -> Arc<Current> {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn claims(&self, kind: &Kind, life: Duration, bearer: Bearer) -> WireClaims {
        let now = self.clock.unix_seconds();
        let subject = bearer.act.as_ref().map(|act| act.subject.clone());
        WireClaims {
            iss: kind.issuer.clone(),
            sub: subject.unwrap_or_default(),
            aud: self.service.clone(),
            exp: now.saturating_add_unsigned(life.as_secs()),
            nbf: now,
            iat: now,
            jti: Uuid::new_v4().to_string(),
            rev: bearer.revision,
            ids: bearer.identities,
            cred: bearer.credential,
            scope: bearer.narrowing.resource_texts(),
            cap: bearer.narrowing.capability_names(),
            act: bearer.act,
            ..WireClaims::default()
        }
    }

    fn sign(&self, kind: &Kind, token_type: &str, claims: &WireClaims) -> Result<Signed, Error> {
        let token = kind
            .signing
            .signer(self.clock.unix_seconds())
            .sign(token_type, claims)?;
        Ok(Signed {
            token,
            issued_at: claims.iat,
            life: Duration::from_secs(claims.exp.saturating_sub(claims.iat).unsigned_abs()),
        })
    }
}

impl Current {
    fn of(keys: &SigningKeys, origin: &str, service: &str) -> Result<Self, KeySetError> {
        let kind = |kind: TokenKind, issuer: String, token_type: &str, ring: &KeyRing| {
            let published = KeySet {
                kind: kind.into(),
                issuer: issuer.clone(),
                audience: service.to_owned(),
                token_type: token_type.to_owned(),
                jwks_json: serde_json::to_string(&ring.jwk_set())?,
            };
            Ok::<_, KeySetError>(Kind {
                issuer,
                signing: ring.clone(),
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
        })
    }
}

/// The same identity with other claims: a registry token carries only those that permissions look at.
pub(crate) fn with_claims(act: &Act, claims: BTreeMap<String, Value>) -> Act {
    Act {
        claims,
        ..act.clone()
    }
}
