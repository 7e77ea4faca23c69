//! Roadstead's own tokens, signed by keys of the test.

use std::time::Duration;

use jsonwebtoken::jwk::JwkSet;
use roadstead_types::{Clock, Principal};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{TestAuthority, keys::SigningKey};

const ACCESS_TYPE: &str = "roadstead-access+jwt";
const REGISTRY_TYPE: &str = "roadstead-registry+jwt";

/// Signs access and registry tokens as the auth service does, for tests of the services that verify them.
#[derive(Clone, Debug)]
pub struct TestKeys {
    clock: Clock,
    origin: String,
    service: String,
    access: SigningKey,
    registry: SigningKey,
}

impl TestKeys {
    /// Generates keys for the registry at `http://127.0.0.1:5000`.
    pub fn new(clock: Clock) -> Self {
        Self::for_registry(clock, "http://127.0.0.1:5000")
    }

    /// Generates keys for the registry at `origin`, a URL without a trailing slash.
    pub fn for_registry(clock: Clock, origin: &str) -> Self {
        let service = origin.split_once("://").map_or(origin, |(_, service)| service);
        Self {
            clock,
            origin: origin.to_owned(),
            service: service.to_owned(),
            access: SigningKey::es256("test-access"),
            registry: SigningKey::es256("test-registry"),
        }
    }

    /// Returns the same registry with other keys, as after a rotation or of an impostor.
    #[must_use]
    pub fn with_new_keys(&self) -> Self {
        Self::for_registry(self.clock.clone(), &self.origin)
    }

    /// Begins a registry token for `principal`, good for five minutes.
    pub fn registry_token(&self, principal: &Principal) -> RegistryToken<'_> {
        let mut claims = self.claims(principal, 300);
        claims["iss"] = json!(format!("{}/token", self.origin));
        claims["access"] = json!([]);
        claims["denied"] = json!([]);
        RegistryToken(Draft {
            key: &self.registry,
            token_type: REGISTRY_TYPE.to_owned(),
            claims,
        })
    }

    /// Signs a registry token for `principal` with `scopes` (`repository:acme/web:pull,push`), good for five minutes.
    pub fn sign_registry_token(&self, principal: &Principal, scopes: &[&str]) -> String {
        scopes
            .iter()
            .fold(self.registry_token(principal), |token, scope| token.access(scope))
            .sign()
    }

    /// Begins an access token for `principal`, good for an hour.
    pub fn access_token(&self, principal: &Principal) -> AccessToken<'_> {
        let mut claims = self.claims(principal, 3600);
        claims["iss"] = json!(self.origin);
        AccessToken(Draft {
            key: &self.access,
            token_type: ACCESS_TYPE.to_owned(),
            claims,
        })
    }

    /// Signs an access token for `principal`, good for an hour.
    pub fn sign_access_token(&self, principal: &Principal) -> String {
        self.access_token(principal).sign()
    }

    /// Returns the auth services that verifiers of these tokens need.
    pub fn authority(&self) -> TestAuthority {
        TestAuthority::new(self.clone())
    }

    /// Returns the public URL of the registry, without a trailing slash.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Returns the audience of the tokens.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// Returns the issuer, type and JWK set of each kind of token.
    pub(crate) fn kinds(&self) -> [(String, &'static str, Value); 2] {
        [
            (
                self.origin.clone(),
                ACCESS_TYPE,
                json!({ "keys": [self.access.jwk()] }),
            ),
            (
                format!("{}/token", self.origin),
                REGISTRY_TYPE,
                json!({ "keys": [self.registry.jwk()] }),
            ),
        ]
    }

    /// Returns the identity for which a token was signed by one of these keys, whatever its age.
    pub(crate) fn identify(&self, token: &str) -> Option<Principal> {
        let header = jsonwebtoken::decode_header(token).ok()?;
        let key = [&self.access, &self.registry]
            .into_iter()
            .find(|key| key.kid() == header.kid.as_deref())?;
        let mut validation = jsonwebtoken::Validation::new(key.algorithm());
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        validation.set_audience(&[&self.service]);
        let claims = jsonwebtoken::decode::<Value>(token, &key.decoding(), &validation)
            .ok()?
            .claims;
        let text = |name: &str| claims["act"][name].as_str().unwrap_or_default().to_owned();
        Some(Principal {
            issuer: text("iss"),
            subject: text("sub"),
        })
    }

    /// Returns the public keys of registry tokens.
    pub fn registry_jwks(&self) -> JwkSet {
        serde_json::from_value(json!({ "keys": [self.registry.jwk()] })).expect("a key set")
    }

    fn claims(&self, principal: &Principal, life: i64) -> Value {
        let now = self.clock.unix_seconds();
        let mut claims = json!({
            "sub": principal.subject,
            "aud": self.service,
            "iat": now,
            "nbf": now,
            "exp": now + life,
            "jti": Uuid::new_v4().to_string(),
        });
        if !principal.is_anonymous() {
            claims["act"] = json!({ "iss": principal.issuer, "sub": principal.subject });
        }
        claims
    }
}

#[derive(Debug)]
struct Draft<'a> {
    key: &'a SigningKey,
    token_type: String,
    claims: Value,
}

impl Draft<'_> {
    fn lives(mut self, life: Duration) -> Self {
        let issued = self.claims["iat"].as_i64().unwrap_or_default();
        self.claims["exp"] = json!(issued + i64::try_from(life.as_secs()).unwrap_or(i64::MAX));
        self
    }

    fn expired(mut self) -> Self {
        for claim in ["iat", "nbf", "exp"] {
            self.claims[claim] = json!(self.claims["iat"].as_i64().unwrap_or_default() - 600);
        }
        self
    }

    fn set(mut self, claim: &str, value: Value) -> Self {
        self.claims[claim] = value;
        self
    }

    fn sign(&self) -> String {
        self.key.sign(&self.token_type, &self.claims)
    }
}

/// A registry token about to be signed.
#[derive(Debug)]
pub struct RegistryToken<'a>(Draft<'a>);

impl RegistryToken<'_> {
    /// Adds a scope that is granted, such as `repository:acme/web:pull,push` or `registry:catalog:*`.
    #[must_use]
    pub fn access(self, scope: &str) -> Self {
        self.scope("access", scope)
    }

    /// Adds a scope that was asked for and refused.
    #[must_use]
    pub fn denied(self, scope: &str) -> Self {
        self.scope("denied", scope)
    }

    /// Sets how long the token lives from when it was issued.
    #[must_use]
    pub fn lives(self, life: Duration) -> Self {
        Self(self.0.lives(life))
    }

    /// Makes the token one that expired ten minutes ago.
    #[must_use]
    pub fn expired(self) -> Self {
        Self(self.0.expired())
    }

    /// Replaces a claim, whatever it was.
    #[must_use]
    pub fn claim(self, name: &str, value: Value) -> Self {
        Self(self.0.set(name, value))
    }

    /// Replaces the `typ` header.
    #[must_use]
    pub fn token_type(mut self, token_type: &str) -> Self {
        token_type.clone_into(&mut self.0.token_type);
        self
    }

    /// Signs the token.
    pub fn sign(&self) -> String {
        self.0.sign()
    }

    fn scope(mut self, claim: &str, scope: &str) -> Self {
        let (resource, actions) = scope.rsplit_once(':').expect("a scope is type:name:actions");
        let (kind, name) = resource.split_once(':').expect("a scope is type:name:actions");
        let actions: Vec<&str> = match actions {
            "*" => vec!["pull", "push", "delete"],
            listed => listed.split(',').collect(),
        };
        let entry = json!({ "type": kind, "name": name, "actions": actions });
        self.0.claims[claim]
            .as_array_mut()
            .expect("a list of scopes")
            .push(entry);
        self
    }
}

/// An access token about to be signed.
#[derive(Debug)]
pub struct AccessToken<'a>(Draft<'a>);

impl AccessToken<'_> {
    /// Sets how long the token lives from when it was issued.
    #[must_use]
    pub fn lives(self, life: Duration) -> Self {
        Self(self.0.lives(life))
    }

    /// Makes the token one that expired ten minutes ago.
    #[must_use]
    pub fn expired(self) -> Self {
        Self(self.0.expired())
    }

    /// Replaces a claim, whatever it was.
    #[must_use]
    pub fn claim(self, name: &str, value: Value) -> Self {
        Self(self.0.set(name, value))
    }

    /// Replaces the `typ` header.
    #[must_use]
    pub fn token_type(mut self, token_type: &str) -> Self {
        token_type.clone_into(&mut self.0.token_type);
        self
    }

    /// Signs the token.
    pub fn sign(&self) -> String {
        self.0.sign()
    }
}
