//! The `[auth]` section.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use roadstead_runtime::Validate;
use roadstead_types::{ActionSet, RepositoryPrefix};
use serde::Deserialize;
use url::Url;

use crate::domain::SubjectPattern;

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// Whom to believe, what they may do, and how long tokens live.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The OIDC issuers whose identity tokens are exchanged.
    pub issuers: Vec<IssuerConfig>,
    /// What their identities may do.
    pub grants: Vec<GrantConfig>,
    /// Runs the development issuer, and admits issuers over plain HTTP on loopback. Refused unless the gateway listens
    /// on loopback only.
    pub dev: bool,
    /// How long an access token lives: at most an hour.
    #[serde(with = "humantime_serde")]
    pub access_token_ttl: Duration,
    /// How long a registry token lives. Minutes, because it cannot be taken back; a push that takes longer goes on
    /// under the grant that it was given when it began.
    #[serde(with = "humantime_serde")]
    pub registry_token_ttl: Duration,
    /// The file with the key that seals the signing keys, 32 bytes in base64. By default `auth/sealing.key` in the data
    /// directory, which is made on the first start; a file that is named here must be there already.
    pub sealing_key_file: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            issuers: Vec::new(),
            grants: Vec::new(),
            dev: false,
            access_token_ttl: HOUR,
            registry_token_ttl: 5 * MINUTE,
            sealing_key_file: None,
        }
    }
}

/// One OIDC issuer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// The issuer's URL, exactly as its tokens' `iss` has it.
    pub issuer: String,
    /// The one audience that its tokens must be for.
    pub audience: String,
    /// The certificates, in PEM, that its own must lead to, instead of the machine's roots.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Whether the issuer, or the place of its keys, may have a private or loopback address.
    #[serde(default)]
    pub allow_private: bool,
}

/// What identities of one issuer may do. An identity has what all grants that match it give together.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantConfig {
    /// The issuer's URL, exactly as in `[[auth.issuers]]`.
    pub issuer: String,
    /// The exact `sub`.
    #[serde(default)]
    pub subject: Option<String>,
    /// A regular expression that the whole `sub` must match.
    #[serde(default)]
    pub subject_pattern: Option<String>,
    /// Further claims with the exact text each must have, or, where the token has a list, must contain.
    #[serde(default)]
    pub claims: BTreeMap<String, String>,
    /// Where the grant holds: repositories whose name begins with these whole segments; empty for all.
    pub prefix: RepositoryPrefix,
    /// `pull`, `push`, `delete`; `*` for all.
    pub actions: ActionSet,
}

impl Validate for Config {
    fn validate(&self, problems: &mut Vec<String>) {
        if !(MINUTE..=HOUR).contains(&self.access_token_ttl) {
            problems.push("access_token_ttl: must be between one minute and one hour".to_owned());
        }
        if !(MINUTE..=HOUR).contains(&self.registry_token_ttl) {
            problems.push("registry_token_ttl: must be between one minute and one hour".to_owned());
        }
        let mut known = BTreeSet::new();
        for (index, issuer) in self.issuers.iter().enumerate() {
            if let Err(problem) = issuer.check(self.dev) {
                problems.push(format!("issuers[{index}].{problem}"));
            }
            if !known.insert(issuer.issuer.as_str()) {
                problems.push(format!(
                    "issuers[{index}].issuer: {} is configured twice",
                    issuer.issuer
                ));
            }
        }
        for (index, grant) in self.grants.iter().enumerate() {
            if let Err(problem) = grant.check() {
                problems.push(format!("grants[{index}].{problem}"));
            }
            // The development issuer's own name is not known here; `build` has it.
            let dev = self.dev && grant.issuer.ends_with("/dev");
            if !dev && !known.contains(grant.issuer.as_str()) {
                problems.push(format!(
                    "grants[{index}].issuer: {} is not among auth.issuers",
                    grant.issuer
                ));
            }
        }
    }
}

impl IssuerConfig {
    fn check(&self, dev: bool) -> Result<(), String> {
        let url = Url::parse(&self.issuer).map_err(|error| format!("issuer: {error}"))?;
        let bare = url.query().is_none() && url.fragment().is_none();
        if !bare || !url.username().is_empty() || url.password().is_some() || url.host().is_none() {
            return Err("issuer: must be a URL of a host and perhaps a path".to_owned());
        }
        match url.scheme() {
            "https" => {}
            "http" if dev && is_loopback(&url) => {}
            _ => {
                return Err(
                    "issuer: must begin with https:// (http:// only on loopback, with auth.dev)".to_owned(),
                );
            }
        }
        if self.audience.is_empty() {
            return Err("audience: is required, or tokens for others would be good here".to_owned());
        }
        Ok(())
    }
}

impl GrantConfig {
    fn check(&self) -> Result<(), String> {
        match (&self.subject, &self.subject_pattern) {
            (Some(_), Some(_)) => return Err("subject_pattern: cannot stand beside subject".to_owned()),
            (None, None) if self.claims.is_empty() => {
                return Err(
                    "subject: is required unless subject_pattern or claims say who is meant".to_owned(),
                );
            }
            (None, Some(pattern)) => {
                SubjectPattern::parse(pattern).map_err(|error| format!("subject_pattern: {error}"))?;
            }
            _ => {}
        }
        if self.actions.is_empty() {
            return Err("actions: grants nothing".to_owned());
        }
        Ok(())
    }
}

/// Returns whether a URL names this machine, by a loopback address or `localhost`.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
