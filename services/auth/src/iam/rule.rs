//! The rules of identities, as callers give them.

use std::{collections::BTreeMap, time::Duration};

use roadstead_proto::auth::v1 as proto;
use roadstead_runtime::PublicAddress;

use crate::{
    config::parse_issuer,
    domain::{CLAIM_LIMIT, ClaimMatch, Condition, Human, Pattern, Rule, Rules, StaticKeys, Text},
    error::Error,
    issuers::IssuerKeySet,
};

/// More conditions than any rule needs.
const CLAIMS_LIMIT: usize = 16;
const CLAIM_NAME_LIMIT: usize = 128;
const TEXT_LIMIT: usize = 1024;
const ISSUER_LIMIT: usize = 255;
const JWKS_LIMIT: usize = 16 * 1024;
/// How long registered keys may be good for.
const STATIC_LIFE: Duration = Duration::from_hours(365 * 24);

/// Claims that are not kept in our tokens, or have a field of their own in a rule.
const NOT_CLAIMS: [&str; 9] = [
    "iss", "sub", "exp", "iat", "nbf", "jti", "nonce", "at_hash", "c_hash",
];

/// The services that have certificates.
const PEERS: [&str; 5] = ["gateway", "auth", "metadata", "blobs", "events"];

fn invalid(text: impl Into<String>) -> Error {
    Error::IdentityInvalid(text.into())
}

/// Reads a rule by claims. It must say whom it means: a pattern that could be anybody is refused.
pub(crate) fn claim_match(given: &proto::ClaimMatch, rules: &Rules) -> Result<ClaimMatch, Error> {
    let issuer = one_text("issuer", &given.issuer, &given.issuer_pattern)?
        .ok_or_else(|| invalid("issuer is required"))?;
    if !rules
        .issuers
        .keys()
        .any(|configured| issuer.matches(configured, &rules.patterns))
    {
        return Err(invalid("no issuer of the configuration is meant"));
    }
    let subject = one_text("subject", &given.subject, &given.subject_pattern)?
        .ok_or_else(|| invalid("subject is required"))?;
    let audience = one_text("audience", &given.audience, &given.audience_pattern)?;
    if let Some(audience) = &audience
        && says_nothing(audience)?
    {
        return Err(invalid(
            "the audience could be any, so tokens for others would do",
        ));
    }
    let mut claims = BTreeMap::new();
    for (claim, value) in &given.claims {
        claims.insert(claim.clone(), Text::Exact(value.clone()));
    }
    for (claim, pattern) in &given.claim_patterns {
        if claims
            .insert(claim.clone(), Text::Pattern(pattern.clone()))
            .is_some()
        {
            return Err(invalid(format!("the claim {claim} is both exact and a pattern")));
        }
    }
    let mut narrows = false;
    for (claim, text) in &claims {
        check_claim(claim, text).map_err(invalid)?;
        narrows |= !says_nothing(text)?;
    }
    if claims.len() > CLAIMS_LIMIT {
        return Err(invalid(format!("there are more than {CLAIMS_LIMIT} claims")));
    }
    if says_nothing(&subject)? && !narrows {
        return Err(invalid(
            "it could be anybody: give a narrower subject, or a claim",
        ));
    }
    Ok(ClaimMatch {
        issuer,
        subject,
        audience,
        claims,
    })
}

/// Reads registered keys, and when they end (Unix milliseconds). `now` is in Unix seconds.
pub(crate) fn static_keys(
    given: &proto::StaticKeys,
    rules: &Rules,
    public: &PublicAddress,
    now: i64,
) -> Result<(StaticKeys, i64), Error> {
    let issuer = plain("issuer", &given.issuer, ISSUER_LIMIT)?;
    // As strictly as the operator's own: it is what the audit will call whoever acts by it.
    let url = parse_issuer(&issuer).map_err(|error| invalid(format!("the issuer {error}")))?;
    if url.scheme() != "https" {
        return Err(invalid("the issuer begins with https://"));
    }
    let bare = issuer.trim_end_matches('/');
    if rules
        .issuers
        .keys()
        .any(|known| known.trim_end_matches('/') == bare)
    {
        return Err(invalid(
            "the issuer is one of the configuration, whose keys are its own",
        ));
    }
    if crate::is_own(&issuer, public) {
        return Err(invalid("the issuer is this registry itself"));
    }
    let subject = plain("subject", &given.subject, TEXT_LIMIT)?;
    if given.jwks_json.len() > JWKS_LIMIT {
        return Err(invalid(format!("the keys have more than {JWKS_LIMIT} bytes")));
    }
    IssuerKeySet::from_public(&given.jwks_json).map_err(|error| invalid(error.to_string()))?;
    let latest = now.saturating_add_unsigned(STATIC_LIFE.as_secs());
    if !(now + 1..=latest).contains(&given.expires_at) {
        return Err(invalid("expires_at is within 365 days from now"));
    }
    let audience = match given.audience.as_str() {
        "" => None,
        audience => Some(plain("audience", audience, TEXT_LIMIT)?),
    };
    let keys = StaticKeys {
        issuer,
        subject,
        audience,
        jwks: given.jwks_json.clone(),
    };
    Ok((keys, given.expires_at.saturating_mul(1000)))
}

/// Reads a person.
pub(crate) fn human(given: &proto::Human, rules: &Rules) -> Result<Human, Error> {
    if !rules.issuers.contains_key(&given.issuer) {
        return Err(invalid("the issuer is not among those of the configuration"));
    }
    Ok(Human {
        issuer: given.issuer.clone(),
        subject: plain("subject", &given.subject, TEXT_LIMIT)?,
        // Only an issuer says what somebody's address is.
        email: String::new(),
    })
}

/// Reads one of our own services.
pub(crate) fn service(given: &proto::ServiceAccount) -> Result<Rule, Error> {
    if !PEERS.contains(&given.peer.as_str()) {
        return Err(invalid(format!("the peer is none of {}", PEERS.join(", "))));
    }
    Ok(Rule::Service {
        peer: given.peer.clone(),
    })
}

/// Reads the conditions of a binding, and puts them in order.
pub(crate) fn conditions(given: &[proto::Condition]) -> Result<Vec<Condition>, Error> {
    if given.len() > CLAIMS_LIMIT {
        return Err(Error::argument(format!("more than {CLAIMS_LIMIT} conditions")));
    }
    let mut conditions = given.iter().map(condition).collect::<Result<Vec<_>, _>>()?;
    conditions.sort();
    conditions.dedup();
    Ok(conditions)
}

fn condition(given: &proto::Condition) -> Result<Condition, Error> {
    let text = match (given.value.as_str(), given.pattern.as_str()) {
        (value, "") if !value.is_empty() => Text::Exact(value.to_owned()),
        ("", pattern) if !pattern.is_empty() => {
            Pattern::parse(pattern).map_err(|error| Error::argument(error.to_string()))?;
            Text::Pattern(pattern.to_owned())
        }
        _ => return Err(Error::argument("a condition has either a value or a pattern")),
    };
    check_claim(&given.claim, &text).map_err(Error::argument)?;
    Ok(Condition {
        claim: given.claim.clone(),
        text,
    })
}

fn check_claim(claim: &str, text: &Text) -> Result<(), String> {
    if claim.is_empty() || claim.len() > CLAIM_NAME_LIMIT || claim.chars().any(char::is_control) {
        return Err("a claim has a name".to_owned());
    }
    if NOT_CLAIMS.contains(&claim) {
        return Err(format!("the claim {claim} cannot be asked for here"));
    }
    let (Text::Exact(value) | Text::Pattern(value)) = text;
    if value.chars().any(char::is_control) {
        return Err(format!("what is asked of {claim} has control characters"));
    }
    match text {
        Text::Exact(value) if value.len() > CLAIM_LIMIT => Err(format!(
            "the value of {claim} is longer than {CLAIM_LIMIT} bytes, which no token of ours carries"
        )),
        _ => Ok(()),
    }
}

fn one_text(name: &str, exact: &str, pattern: &str) -> Result<Option<Text>, Error> {
    match (exact, pattern) {
        ("", "") => Ok(None),
        (exact, "") => plain(name, exact, TEXT_LIMIT).map(|text| Some(Text::Exact(text))),
        ("", pattern) => {
            let pattern = plain(&format!("{name}_pattern"), pattern, TEXT_LIMIT)?;
            Pattern::parse(&pattern).map_err(|error| invalid(format!("{name}_pattern: {error}")))?;
            Ok(Some(Text::Pattern(pattern)))
        }
        _ => Err(invalid(format!("{name} and {name}_pattern exclude each other"))),
    }
}

fn plain(name: &str, text: &str, limit: usize) -> Result<String, Error> {
    if text.is_empty() || text.len() > limit || text.chars().any(char::is_control) {
        return Err(invalid(format!(
            "{name} has between 1 and {limit} bytes, and no control characters"
        )));
    }
    Ok(text.to_owned())
}

fn says_nothing(text: &Text) -> Result<bool, Error> {
    text.says_nothing().map_err(|error| invalid(error.to_string()))
}

#[cfg(test)]
#[path = "rule_tests.rs"]
mod tests;
