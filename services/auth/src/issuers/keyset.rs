//! An issuer's public keys.

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use openidconnect::core::CoreJsonWebKeySet;

/// More keys than any issuer has at once; a token without `kid` is tried against each.
const KEYS_LIMIT: usize = 32;

/// The keys that identity tokens of one issuer may be signed with.
#[derive(Debug, Default)]
pub(crate) struct IssuerKeySet(Vec<IssuerKey>);

#[derive(Debug)]
struct IssuerKey {
    kid: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

impl IssuerKeySet {
    /// Takes over those keys that are for signatures of an asymmetric algorithm we accept. Others are left out: issuers
    /// publish encryption keys and experiments in the same set.
    pub(crate) fn from_published(published: &CoreJsonWebKeySet) -> Self {
        let keys = published.keys().iter().filter_map(|key| {
            let jwk = serde_json::from_value(serde_json::to_value(key).ok()?).ok()?;
            IssuerKey::from_jwk(&jwk)
        });
        Self(keys.take(KEYS_LIMIT).collect())
    }

    /// Holds the one key of an issuer in this process.
    pub(crate) fn of_own(key: &Jwk) -> Self {
        Self(IssuerKey::from_jwk(key).into_iter().collect())
    }

    /// Returns the keys that a token of this header may be signed with.
    pub(crate) fn matching(&self, kid: Option<&str>, algorithm: Algorithm) -> Vec<DecodingKey> {
        self.0
            .iter()
            .filter(|key| kid.is_none() || key.kid.as_deref() == kid)
            .filter(|key| key.algorithms.contains(&algorithm))
            .map(|key| key.key.clone())
            .collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl IssuerKey {
    fn from_jwk(jwk: &Jwk) -> Option<Self> {
        let common = &jwk.common;
        let signs = common
            .public_key_use
            .as_ref()
            .is_none_or(|purpose| *purpose == PublicKeyUse::Signature)
            && common
                .key_operations
                .as_ref()
                .is_none_or(|list| list.contains(&KeyOperations::Verify));
        let mut algorithms = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => vec![
                Algorithm::RS256,
                Algorithm::RS384,
                Algorithm::RS512,
                Algorithm::PS256,
                Algorithm::PS384,
                Algorithm::PS512,
            ],
            AlgorithmParameters::EllipticCurve(params) => match params.curve {
                EllipticCurve::P256 => vec![Algorithm::ES256],
                EllipticCurve::P384 => vec![Algorithm::ES384],
                _ => return None,
            },
            AlgorithmParameters::OctetKeyPair(params) if params.curve == EllipticCurve::Ed25519 => {
                vec![Algorithm::EdDSA]
            }
            // Symmetric keys above all: a public document cannot hold a secret.
            _ => return None,
        };
        if let Some(declared) = common.key_algorithm {
            algorithms.retain(|algorithm| declared == (*algorithm).into());
        }
        let key = DecodingKey::from_jwk(jwk).ok()?;
        (signs && !algorithms.is_empty()).then(|| Self {
            kid: common.key_id.clone(),
            algorithms,
            key,
        })
    }
}
