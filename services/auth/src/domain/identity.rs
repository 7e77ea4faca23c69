//! Identities: by what an upstream token is known here.

use std::{collections::BTreeMap, collections::HashMap};

use roadstead_types::RepositoryPrefix;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    Claims, Patterns, Text,
    claims::{self, Condition},
    role::full_name,
};

/// The identity of everybody, with a token and without.
pub(crate) const ANONYMOUS: &str = "anonymous";

/// An identity as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) id: String,
    pub(crate) group: RepositoryPrefix,
    /// In its group; a person and a pull token have none.
    pub(crate) name: Option<String>,
    pub(crate) description: String,
    pub(crate) rule: Rule,
    /// Unix milliseconds, as all times here.
    pub(crate) created_at: i64,
    pub(crate) created_by: String,
    pub(crate) expires_at: Option<i64>,
    pub(crate) last_used_at: Option<i64>,
}

/// By what an identity is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Rule {
    Anonymous,
    ClaimMatch(ClaimMatch),
    Static(StaticKeys),
    Human(Human),
    /// One of our own services, by its certificate.
    Service {
        peer: String,
    },
    PullToken,
}

/// Tokens of a configured issuer whose claims are as given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClaimMatch {
    pub(crate) issuer: Text,
    pub(crate) subject: Text,
    /// By default the one configured for the issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) audience: Option<Text>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) claims: BTreeMap<String, Text>,
}

/// Tokens that registered keys signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StaticKeys {
    pub(crate) issuer: String,
    pub(crate) subject: String,
    /// By default this registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) audience: Option<String>,
    /// An RFC 7517 JWK Set of public keys.
    pub(crate) jwks: String,
}

/// A person, as an issuer knows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Human {
    pub(crate) issuer: String,
    pub(crate) subject: String,
    /// For reading only.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) email: String,
}

/// What the configuration says of an issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IssuerFacts {
    pub(crate) audience: String,
    /// The client that people log in with.
    pub(crate) login_client: Option<String>,
    /// Whether its subjects are workloads, which may push where only they may.
    pub(crate) workload: bool,
}

/// What rules are read by.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    /// By the exact text of `iss`.
    pub(crate) issuers: HashMap<String, IssuerFacts>,
    /// The audience of this registry, which static identities have by default.
    pub(crate) service: String,
    /// The issuer of pull tokens, which is this registry itself and signs nothing.
    pub(crate) pull_tokens: String,
    pub(crate) patterns: Patterns,
}

/// Who a token speaks for, as far as rules look at it. `aud` is among the claims.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Upstream<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) subject: &'a str,
    pub(crate) claims: &'a Claims,
}

/// What of a rule an upstream token does not meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// Tokens of the issuer are not believed any more.
    IssuerUnknown,
    Issuer,
    Subject,
    Audience,
    Claim(Condition),
    Expired,
    /// It is not known by an upstream token at all.
    Kind,
}

impl Rule {
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::ClaimMatch(_) => "claim_match",
            Self::Static(_) => "static",
            Self::Human(_) => "human",
            Self::Service { .. } => "service",
            Self::PullToken => "pull_token",
        }
    }

    /// The exact issuer, where the rule has one.
    pub(crate) fn issuer(&self) -> Option<&str> {
        match self {
            Self::ClaimMatch(rule) => rule.issuer.exact(),
            Self::Static(rule) => Some(&rule.issuer),
            Self::Human(rule) => Some(&rule.issuer),
            Self::Anonymous | Self::Service { .. } | Self::PullToken => None,
        }
    }

    /// The exact subject, where the rule has one.
    pub(crate) fn subject(&self) -> Option<&str> {
        match self {
            Self::ClaimMatch(rule) => rule.subject.exact(),
            Self::Static(rule) => Some(&rule.subject),
            Self::Human(rule) => Some(&rule.subject),
            Self::Anonymous | Self::Service { .. } | Self::PullToken => None,
        }
    }

    /// An audience beyond those that the configuration names.
    pub(crate) fn own_audience(&self) -> Option<&Text> {
        match self {
            Self::ClaimMatch(rule) => rule.audience.as_ref(),
            _ => None,
        }
    }

    /// The claims that the rule looks at.
    pub(crate) fn claim_names(&self) -> impl Iterator<Item = &str> {
        let (own, audience) = match self {
            Self::ClaimMatch(rule) => (Some(rule.claims.keys()), Some("aud")),
            Self::Static(_) | Self::Human(_) => (None, Some("aud")),
            Self::Anonymous | Self::Service { .. } | Self::PullToken => (None, None),
        };
        audience
            .into_iter()
            .chain(own.into_iter().flatten().map(String::as_str))
    }
}

impl Identity {
    /// Names it for people and in requests: its name, or else its id, in its group.
    pub(crate) fn full_name(&self) -> String {
        full_name(&self.group, self.name.as_ref().unwrap_or(&self.id))
    }

    /// Whether any token can be of this identity.
    pub(crate) fn check_standing(&self, rules: &Rules, now: i64) -> Result<(), Mismatch> {
        if self.expires_at.is_some_and(|end| end <= now) {
            return Err(Mismatch::Expired);
        }
        let vouched = matches!(self.rule, Rule::ClaimMatch(_) | Rule::Human(_));
        match self.rule.issuer() {
            Some(issuer) if vouched && !rules.issuers.contains_key(issuer) => Err(Mismatch::IssuerUnknown),
            _ => Ok(()),
        }
    }

    /// Whether an upstream token is of this identity, at `now` (Unix milliseconds).
    pub(crate) fn check(&self, upstream: &Upstream<'_>, rules: &Rules, now: i64) -> Result<(), Mismatch> {
        if self.expires_at.is_some_and(|end| end <= now) {
            return Err(Mismatch::Expired);
        }
        let configured = rules.issuers.get(upstream.issuer);
        match &self.rule {
            Rule::ClaimMatch(rule) => rule.check(upstream, configured, rules),
            Rule::Human(rule) => {
                let facts = configured.ok_or(Mismatch::IssuerUnknown)?;
                same(&rule.issuer, upstream.issuer, Mismatch::Issuer)?;
                same(&rule.subject, upstream.subject, Mismatch::Subject)?;
                facts.check_audience(upstream.claims)
            }
            Rule::Static(rule) => {
                // Once the operator vouches for an issuer, nobody else's keys speak for it.
                if configured.is_some() {
                    return Err(Mismatch::Issuer);
                }
                same(&rule.issuer, upstream.issuer, Mismatch::Issuer)?;
                same(&rule.subject, upstream.subject, Mismatch::Subject)?;
                let audience = rule.audience.as_deref().unwrap_or(&rules.service);
                let found = claims::audience(upstream.claims).ok_or(Mismatch::Audience)?;
                same(audience, found, Mismatch::Audience)
            }
            Rule::PullToken => {
                // Its id is no secret: whoever registers keys may name it as their subject.
                same(&rules.pull_tokens, upstream.issuer, Mismatch::Kind)?;
                same(&self.id, upstream.subject, Mismatch::Subject)
            }
            Rule::Anonymous | Rule::Service { .. } => Err(Mismatch::Kind),
        }
    }

    /// Whether it may push where only workloads may: who it is must be exact, and vouched for by an issuer that the
    /// operator marked.
    pub(crate) fn is_exact_workload(&self, rules: &Rules) -> Result<(), &'static str> {
        let Rule::ClaimMatch(rule) = &self.rule else {
            return Err("it is not a claim_match identity");
        };
        let Text::Exact(issuer) = &rule.issuer else {
            return Err("its issuer is a pattern");
        };
        if !rules.issuers.get(issuer).is_some_and(|facts| facts.workload) {
            return Err("its issuer is not marked as one of workloads in the configuration");
        }
        if rule.subject.exact().is_none() {
            return Err("its subject is a pattern");
        }
        if rule
            .audience
            .as_ref()
            .is_some_and(|audience| audience.exact().is_none())
        {
            return Err("its audience is a pattern");
        }
        Ok(())
    }
}

impl ClaimMatch {
    fn check(
        &self,
        upstream: &Upstream<'_>,
        configured: Option<&IssuerFacts>,
        rules: &Rules,
    ) -> Result<(), Mismatch> {
        let facts = configured.ok_or(Mismatch::IssuerUnknown)?;
        let patterns = &rules.patterns;
        if !self.issuer.matches(upstream.issuer, patterns) {
            return Err(Mismatch::Issuer);
        }
        if !self.subject.matches(upstream.subject, patterns) {
            return Err(Mismatch::Subject);
        }
        match &self.audience {
            None => {
                // People's tokens are for the login client; a rule for workloads does not mean those.
                let found = claims::audience(upstream.claims).ok_or(Mismatch::Audience)?;
                same(&facts.audience, found, Mismatch::Audience)?;
            }
            Some(audience) => {
                let found = claims::audience(upstream.claims).ok_or(Mismatch::Audience)?;
                if !audience.matches(found, patterns) {
                    return Err(Mismatch::Audience);
                }
            }
        }
        for (claim, text) in &self.claims {
            let condition = Condition {
                claim: claim.clone(),
                text: text.clone(),
            };
            if !condition.holds(upstream.claims, patterns) {
                return Err(Mismatch::Claim(condition));
            }
        }
        Ok(())
    }
}

impl IssuerFacts {
    /// Whether a token is for this registry, or for the client that people log in with.
    fn check_audience(&self, claims: &Claims) -> Result<(), Mismatch> {
        let found = claims::audience(claims).ok_or(Mismatch::Audience)?;
        if found == self.audience || self.login_client.as_deref() == Some(found) {
            Ok(())
        } else {
            Err(Mismatch::Audience)
        }
    }
}

fn same(expected: &str, found: &str, mismatch: Mismatch) -> Result<(), Mismatch> {
    if expected == found { Ok(()) } else { Err(mismatch) }
}

/// What stands as issuer where a pull token is meant: no issuer of the configuration or of registered keys can be this
/// registry.
pub(crate) fn pull_token_issuer(origin: &str) -> String {
    format!("{origin}/pull-tokens")
}

/// The id of a person: it follows from what the issuer calls them, so that permissions can be given before they come.
pub(crate) fn human_id(issuer: &str, subject: &str) -> String {
    let hash = Sha256::new()
        .chain_update(b"human\0")
        .chain_update(issuer)
        .chain_update(b"\0")
        .chain_update(subject)
        .finalize();
    let mut half = [0; 16];
    half.copy_from_slice(&hash[..16]);
    format!("idn_{:032x}", u128::from_be_bytes(half))
}

impl Mismatch {
    /// Says it with what the token has, for its bearer, who learns nothing of what the rule asks for.
    pub(crate) fn describe(&self, upstream: &Upstream<'_>) -> String {
        match self {
            Self::IssuerUnknown => format!("tokens of {:?} are not believed here", upstream.issuer),
            Self::Issuer => format!("the issuer {:?} is another", upstream.issuer),
            Self::Subject => format!("the subject {:?} is another", upstream.subject),
            Self::Audience => format!(
                "the audience ({}) is another",
                claims::shown(upstream.claims, "aud")
            ),
            Self::Claim(condition) => format!(
                "the claim {} ({}) is another",
                condition.claim,
                claims::shown(upstream.claims, &condition.claim)
            ),
            Self::Expired => "it has expired".to_owned(),
            Self::Kind => "it is not known by tokens".to_owned(),
        }
    }

    /// Says it with what the rule asks for, for whoever may read it.
    pub(crate) fn describe_with(&self, rule: &Rule, upstream: &Upstream<'_>) -> String {
        let asked = match (self, rule) {
            (Self::Issuer, Rule::ClaimMatch(rule)) => Some(rule.issuer.to_string()),
            (Self::Subject, Rule::ClaimMatch(rule)) => Some(rule.subject.to_string()),
            (Self::Audience, Rule::ClaimMatch(rule)) => rule.audience.as_ref().map(ToString::to_string),
            (Self::Claim(condition), _) => Some(condition.text.to_string()),
            (Self::Issuer | Self::Subject, rule) => [rule.issuer(), rule.subject()]
                .into_iter()
                .flatten()
                .next_back()
                .map(|text| format!("{text:?}")),
            _ => None,
        };
        let described = self.describe(upstream);
        match asked {
            Some(asked) => format!("{described}: it needs {asked}"),
            None => described,
        }
    }
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
