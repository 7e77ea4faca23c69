//! Identity tokens: reading them, and believing them.

use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Number, Value};

use crate::error::Error;

/// Longer than any identity token; what is longer is not worth decoding.
const TOKEN_LIMIT: usize = 32 * 1024;
const SUBJECT_LIMIT: usize = 1024;
/// The issuer's clock may be ahead of ours by this much, in seconds. It is no grace for `exp`.
const SKEW: i64 = 30;

/// Asymmetric algorithms only: a symmetric one would make the published key the secret.
const ACCEPTED: [Algorithm; 9] = [
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

/// What an identity token says, verified.
#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) issuer: String,
    pub(crate) subject: String,
    /// The one audience that the token is for.
    pub(crate) audience: String,
    /// All claims.
    pub(crate) claims: Map<String, Value>,
}

/// What a token says of itself before any of it is verified. It chooses the rule to verify by, and decides nothing.
#[derive(Debug)]
pub(crate) struct Peeked {
    pub(crate) issuer: String,
    pub(crate) kid: Option<String>,
    pub(crate) algorithm: Algorithm,
    /// All claims.
    pub(crate) claims: Map<String, Value>,
    audience: Vec<String>,
}

#[derive(Deserialize)]
struct PeekedClaims {
    iss: String,
    #[serde(deserialize_with = "one_or_many")]
    aud: Vec<String>,
}

#[derive(Deserialize)]
struct Times {
    #[serde(deserialize_with = "numeric_date")]
    exp: i64,
    #[serde(deserialize_with = "numeric_date")]
    iat: i64,
    #[serde(default, deserialize_with = "optional_numeric_date")]
    nbf: Option<i64>,
}

/// Reads what is needed to choose the issuer's rule and key.
pub(crate) fn peek(token: &str) -> Result<Peeked, Error> {
    if token.is_empty() {
        return Err(Error::TokenMissing);
    }
    if token.len() > TOKEN_LIMIT {
        return Err(Error::TokenInvalid("it is too long"));
    }
    // An algorithm that the library does not know, `none` among them, fails here.
    let header =
        jsonwebtoken::decode_header(token).map_err(|_| Error::TokenInvalid("it is no signed JWT"))?;
    check_header(&header)?;
    let unreadable = Error::TokenInvalid("it lacks an issuer or an audience");
    let Ok(claims) = jsonwebtoken::dangerous::insecure_decode_claims::<Map<String, Value>>(token) else {
        return Err(unreadable);
    };
    let Ok(PeekedClaims { iss, aud }) = PeekedClaims::deserialize(&claims) else {
        return Err(unreadable);
    };
    Ok(Peeked {
        issuer: iss,
        kid: header.kid,
        algorithm: header.alg,
        claims,
        audience: aud,
    })
}

impl Peeked {
    /// The one audience of the token: one that is also for others could be shown by them.
    pub(crate) fn sole_audience(&self) -> Result<&str, Error> {
        match self.audience.as_slice() {
            [only] => Ok(only),
            _ => Err(Error::TokenInvalid("it is for several audiences")),
        }
    }

    /// The subject that it claims.
    pub(crate) fn subject(&self) -> &str {
        self.claims.get("sub").and_then(Value::as_str).unwrap_or_default()
    }
}

/// Verifies a token whose issuer and audience have been looked at, with the keys that its header allows.
pub(crate) fn verify(
    token: &str,
    peeked: &Peeked,
    audience: &str,
    keys: &[DecodingKey],
    now: i64,
) -> Result<Verified, Error> {
    let mut validation = Validation::new(peeked.algorithm);
    validation.set_issuer(&[&peeked.issuer]);
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(&["iss", "aud", "exp"]);
    // Times are compared below, by the injected clock.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    let claims = keys
        .iter()
        .find_map(|key| jsonwebtoken::decode::<Map<String, Value>>(token, key, &validation).ok())
        .ok_or(Error::TokenInvalid("no key of its issuer signed it"))?
        .claims;
    check_times(&claims, now)?;
    Ok(Verified {
        issuer: peeked.issuer.clone(),
        subject: subject(&claims)?,
        audience: audience.to_owned(),
        claims,
    })
}

fn check_header(header: &Header) -> Result<(), Error> {
    if !ACCEPTED.contains(&header.alg) {
        return Err(Error::TokenInvalid("its algorithm is not accepted"));
    }
    // Access tokens and logout tokens of the same issuer say so in `typ`; they are no proof of identity.
    if header
        .typ
        .as_deref()
        .is_some_and(|typ| !typ.eq_ignore_ascii_case("JWT"))
    {
        return Err(Error::TokenInvalid("it is not an identity token"));
    }
    if header.crit.is_some() {
        return Err(Error::TokenInvalid("it demands an extension that is not known"));
    }
    Ok(())
}

fn check_times(claims: &Map<String, Value>, now: i64) -> Result<(), Error> {
    let times: Times = Times::deserialize(claims)
        .map_err(|_| Error::TokenInvalid("it lacks the times of its issue and end"))?;
    if times.iat > now + SKEW || times.nbf.is_some_and(|nbf| nbf > now + SKEW) {
        return Err(Error::TokenInvalid("it is not good yet"));
    }
    if times.exp <= now {
        return Err(Error::TokenExpired);
    }
    Ok(())
}

fn subject(claims: &Map<String, Value>) -> Result<String, Error> {
    let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
    let usable = (1..=SUBJECT_LIMIT).contains(&subject.len()) && !subject.chars().any(char::is_control);
    if usable {
        Ok(subject.to_owned())
    } else {
        Err(Error::IdentityUnknown)
    }
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Audience {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Audience::deserialize(deserializer)? {
        Audience::One(audience) => vec![audience],
        Audience::Many(audiences) => audiences,
    })
}

/// Reads a `NumericDate` (RFC 7519, section 2), which may have a fraction.
fn numeric_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let number = Number::deserialize(deserializer)?;
    // `as` saturates, which is as good as the far future or past that the number names.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "seconds; the fraction does not matter"
    )]
    let whole = number
        .as_i64()
        .or_else(|| number.as_f64().map(|seconds| seconds as i64));
    whole.ok_or_else(|| serde::de::Error::custom("not a time"))
}

fn optional_numeric_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    numeric_date(deserializer).map(Some)
}
