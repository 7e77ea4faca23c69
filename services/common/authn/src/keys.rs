//! The keys and pinned claims of one kind of token.

use jsonwebtoken::{
    Algorithm, DecodingKey, Header, Validation,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet},
};
use roadstead_proto::auth::v1::{KeySet, TokenKind};

use crate::{TokenClaims, WireClaims};

/// The `typ` of access tokens.
pub const ACCESS_TYPE: &str = "roadstead-access+jwt";
/// The `typ` of registry tokens.
pub const REGISTRY_TYPE: &str = "roadstead-registry+jwt";

/// Longer than any token that auth signs; what is longer is not worth decoding.
const TOKEN_LIMIT: usize = 64 * 1024;
/// Clocks of two of our machines may differ by this much, in seconds. It applies to `nbf` and `iat` only: a token is
/// never good beyond its `exp`.
const SKEW: i64 = 5;

/// Why a key set from auth cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// The `typ` is not the one of the kind.
    #[error("the key set names a type of token that does not belong to its kind")]
    Type,
    /// The issuer or audience is empty.
    #[error("the key set pins nothing")]
    Unpinned,
    /// The JWK set is not one.
    #[error("the key set is not a JWK set")]
    Malformed(#[from] serde_json::Error),
}

/// A token of which everything holds, or everything but its age.
#[derive(Debug)]
pub enum Believed<C> {
    /// The token is good.
    Fresh(C),
    /// The token was good.
    Expired(C),
}

/// Verifies one kind of token.
#[derive(Debug)]
pub struct PinnedKeys {
    issuer: String,
    audience: String,
    token_type: &'static str,
    keys: Vec<PublicKey>,
}

#[derive(Debug)]
struct PublicKey {
    kid: String,
    algorithm: Algorithm,
    key: DecodingKey,
}

impl PinnedKeys {
    /// Reads a key set as auth publishes it. Keys of an algorithm that we do not sign with are left out.
    ///
    /// # Errors
    ///
    /// [`KeySetError`] when the set would verify less strictly than its kind demands.
    pub fn from_key_set(set: &KeySet) -> Result<Self, KeySetError> {
        let token_type = match set.kind() {
            TokenKind::Access => ACCESS_TYPE,
            TokenKind::Registry => REGISTRY_TYPE,
            TokenKind::Unspecified => return Err(KeySetError::Type),
        };
        if set.token_type != token_type {
            return Err(KeySetError::Type);
        }
        if set.issuer.is_empty() || set.audience.is_empty() {
            return Err(KeySetError::Unpinned);
        }
        let jwks: JwkSet = serde_json::from_str(&set.jwks_json)?;
        let keys = jwks.keys.iter().filter_map(PublicKey::from_jwk).collect();
        Ok(Self {
            issuer: set.issuer.clone(),
            audience: set.audience.clone(),
            token_type,
            keys,
        })
    }

    /// Verifies `token` at `now`, in Unix seconds. Gives none when it is not to be believed, whatever its age.
    pub fn verify<C: TokenClaims>(&self, token: &str, now: i64) -> Option<Believed<C>> {
        if token.len() > TOKEN_LIMIT {
            return None;
        }
        let header = jsonwebtoken::decode_header(token).ok()?;
        let key = self.key_for(&header)?;
        let claims = jsonwebtoken::decode::<WireClaims>(token, &key.key, &self.validation(key.algorithm))
            .ok()?
            .claims;
        // The library accepts lists that contain the pinned values; we sign none, so only equality will do.
        let ours = claims.iss == self.issuer && claims.aud == self.audience;
        let begun = claims.nbf <= now + SKEW && claims.iat <= now + SKEW;
        if !ours || !begun {
            return None;
        }
        let expired = claims.exp <= now;
        let claims = C::from_wire(claims)?;
        Some(if expired {
            Believed::Expired(claims)
        } else {
            Believed::Fresh(claims)
        })
    }

    fn key_for(&self, header: &Header) -> Option<&PublicKey> {
        let kid = header.kid.as_deref()?;
        let pinned = header.typ.as_deref() == Some(self.token_type) && header.crit.is_none();
        self.keys
            .iter()
            .find(|key| pinned && key.kid == kid && key.algorithm == header.alg)
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["iss", "aud", "exp", "nbf", "sub"]);
        // Times are compared by the injected clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation
    }
}

impl PublicKey {
    fn from_jwk(jwk: &Jwk) -> Option<Self> {
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::EllipticCurve(params) if params.curve == EllipticCurve::P256 => {
                Algorithm::ES256
            }
            AlgorithmParameters::OctetKeyPair(params) if params.curve == EllipticCurve::Ed25519 => {
                Algorithm::EdDSA
            }
            _ => return None,
        };
        Some(Self {
            kid: jwk.common.key_id.clone()?,
            algorithm,
            key: DecodingKey::from_jwk(jwk).ok()?,
        })
    }
}
