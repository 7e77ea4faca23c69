//! See [`crate::fuzzing`].

use jsonwebtoken::Algorithm;

use super::{
    identity::{self, Verified},
    keyset::IssuerKeySet,
};

pub(crate) fn identity(token: &str, audience: &str, jwks: &str, now: i64) -> Option<Verified> {
    let keys = IssuerKeySet::from_published(&serde_json::from_str(jwks).ok()?);
    let peeked = identity::peek(token).ok()?;
    if peeked.sole_audience().ok()? != audience {
        return None;
    }
    let keys = keys.matching(peeked.kid.as_deref(), peeked.algorithm);
    identity::verify(token, &peeked, audience, &keys, now).ok()
}

pub(crate) fn published_keys(jwks: &str) -> Option<Vec<(String, usize)>> {
    const ALL: [Algorithm; 12] = [
        Algorithm::HS256,
        Algorithm::HS384,
        Algorithm::HS512,
        Algorithm::RS256,
        Algorithm::RS384,
        Algorithm::RS512,
        Algorithm::PS256,
        Algorithm::PS384,
        Algorithm::PS512,
        Algorithm::ES256,
        Algorithm::ES384,
        Algorithm::EdDSA,
    ];
    let keys = IssuerKeySet::from_published(&serde_json::from_str(jwks).ok()?);
    let counts = ALL.map(|algorithm| (format!("{algorithm:?}"), keys.matching(None, algorithm).len()));
    Some(counts.into_iter().filter(|(_, count)| *count > 0).collect())
}
