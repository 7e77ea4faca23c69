//! An issuer's public keys.

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use openidconnect::core::CoreJsonWebKeySet;
use serde_json::Value;

/// More keys than any issuer has at once; a token without `kid` is tried against each.
const KEYS_LIMIT: usize = 32;

/// Larger than any key set that somebody gives by hand, in bytes.
const GIVEN_LIMIT: usize = 64 * 1024;
/// The private members of all kinds of key (RFC 7518, sections 6.2.2, 6.3.2 and 6.4.1; RFC 8037).
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// Why a key set that somebody gives is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublicKeysError {
    #[error("is larger than {GIVEN_LIMIT} bytes")]
    TooLarge,
    #[error("is no JWK set: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error(
        "holds a private or symmetric key; give public keys only, and replace that one, which is known now"
    )]
    Private,
    #[error("holds a key that is no RSA, P-256, P-384 or Ed25519 key for signatures")]
    Unusable,
    #[error("holds no key, or more than {KEYS_LIMIT}")]
    Count,
}

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

    /// Takes over a key set that somebody gives by hand. Unlike in a published one, each key must be usable.
    pub(crate) fn from_public(jwks: &str) -> Result<Self, PublicKeysError> {
        if jwks.len() > GIVEN_LIMIT {
            return Err(PublicKeysError::TooLarge);
        }
        let document: Value = serde_json::from_str(jwks)?;
        let given = document
            .get("keys")
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        if given.is_empty() || given.len() > KEYS_LIMIT {
            return Err(PublicKeysError::Count);
        }
        let is_private = |key: &Value| PRIVATE_MEMBERS.iter().any(|member| key.get(member).is_some());
        if given.iter().any(is_private) {
            return Err(PublicKeysError::Private);
        }
        let keys = given.iter().map(|key| {
            let jwk = serde_json::from_value(key.clone()).ok();
            jwk.and_then(|jwk| IssuerKey::from_jwk(&jwk))
                .ok_or(PublicKeysError::Unusable)
        });
        keys.collect::<Result<_, _>>().map(Self)
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

#[cfg(test)]
mod tests {
    use roadstead_testkit::SigningKey;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn given(keys: &Value) -> Result<IssuerKeySet, PublicKeysError> {
        IssuerKeySet::from_public(&json!({ "keys": keys }).to_string())
    }

    #[test]
    fn public_keys_are_taken() {
        let keys = given(&json!([
            SigningKey::es256("a").jwk(),
            SigningKey::rs256("b").jwk()
        ]))
        .unwrap();
        assert_eq!(keys.matching(Some("a"), Algorithm::ES256).len(), 1);
        assert_eq!(keys.matching(Some("b"), Algorithm::RS256).len(), 1);
        assert!(keys.matching(Some("b"), Algorithm::ES256).is_empty());
    }

    #[rstest]
    #[case::private_elliptic("d")]
    #[case::private_rsa("p")]
    #[case::symmetric("k")]
    fn secrets_are_refused(#[case] member: &str) {
        let mut key = SigningKey::es256("a").jwk();
        key[member] = json!("AAAA");
        assert!(matches!(given(&json!([key])), Err(PublicKeysError::Private)));
        // Also beside a good one.
        let outcome = given(&json!([SigningKey::es256("b").jwk(), key]));
        assert!(matches!(outcome, Err(PublicKeysError::Private)));
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        let mut encryption = SigningKey::es256("a").jwk();
        encryption["use"] = json!("enc");
        let mut foreign = SigningKey::rs256("a").jwk();
        foreign["alg"] = json!("HS256");
        for key in [
            encryption,
            foreign,
            json!({ "kty": "oct" }),
            json!("key"),
            json!({}),
        ] {
            assert!(
                matches!(given(&json!([key])), Err(PublicKeysError::Unusable)),
                "{key}"
            );
        }
        assert!(matches!(given(&json!([])), Err(PublicKeysError::Count)));
        let many: Vec<Value> = (0..=KEYS_LIMIT).map(|_| json!({})).collect();
        assert!(matches!(given(&json!(many)), Err(PublicKeysError::Count)));
        assert!(matches!(
            IssuerKeySet::from_public("[]"),
            Err(PublicKeysError::Count)
        ));
        assert!(matches!(
            IssuerKeySet::from_public("keys"),
            Err(PublicKeysError::Malformed(_))
        ));
        assert!(matches!(
            IssuerKeySet::from_public(&" ".repeat(GIVEN_LIMIT + 1)),
            Err(PublicKeysError::TooLarge)
        ));
    }
}
