//! The `[auth]` section.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use roadstead_runtime::Validate;
use roadstead_types::{Action, ActionSet, RepositoryPrefix};
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use crate::domain::Pattern;

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// Longer than any issuer's URL; what is longer is no name to trust by sight.
const ISSUER_LIMIT: usize = 255;

/// Whom to believe, who the first owners are, and how long tokens live.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The OIDC issuers whose identity tokens are exchanged.
    pub issuers: Vec<IssuerConfig>,
    /// What identities may do. Taken over into the database at the first start that finds some, and never read again.
    pub grants: Vec<GrantConfig>,
    /// People who are made owners of everything at a start at which there is no such owner.
    pub bootstrap_owners: Vec<OwnerConfig>,
    /// Runs the development issuer, and admits issuers over plain HTTP on loopback. Refused unless the gateway listens
    /// on loopback only.
    pub dev: bool,
    /// How long an access token lives: at most an hour.
    #[serde(with = "humantime_serde")]
    pub access_token_ttl: Duration,
    /// How long a registry token lives: minutes. A push that takes longer goes on under the grant that it was given when
    /// it began.
    #[serde(with = "humantime_serde")]
    pub registry_token_ttl: Duration,
    /// How long a login lasts, however much it is used: at most a year. So long is believed what the issuer said then.
    #[serde(with = "humantime_serde")]
    pub session_ttl: Duration,
    /// How long a login lasts that is not used.
    #[serde(with = "humantime_serde")]
    pub session_idle_ttl: Duration,
    /// How long the refresh token lasts that `/token` gives to clients which ask for one, as `docker login` does: at most 12
    /// hours. None is given when it is zero, and docker then keeps the token that was typed.
    #[serde(with = "humantime_serde")]
    pub client_session_ttl: Duration,
    /// How often the keys that sign tokens are replaced. A new one is published ten minutes before it signs, and an old
    /// one until what it signed has expired.
    #[serde(with = "humantime_serde")]
    pub key_rotation: Duration,
    /// How many revocations are held apart. When there are more within thirteen hours, every token has to be got anew.
    pub revocations_limit: usize,
    /// The file with the key that seals the signing keys, 32 bytes in base64. By default `auth/sealing.key` in the data
    /// directory, which is made on the first start; a file that is named here must be there already.
    pub sealing_key_file: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            issuers: Vec::new(),
            grants: Vec::new(),
            bootstrap_owners: Vec::new(),
            dev: false,
            access_token_ttl: HOUR,
            registry_token_ttl: 5 * MINUTE,
            session_ttl: 30 * DAY,
            session_idle_ttl: 7 * DAY,
            client_session_ttl: 12 * HOUR,
            key_rotation: 30 * DAY,
            revocations_limit: 100_000,
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
    /// The audience that its tokens must be for, unless an identity names another.
    pub audience: String,
    /// The certificates, in PEM, that its own must lead to, instead of the machine's roots.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Whether the issuer, or the place of its keys, may have a private or loopback address.
    #[serde(default)]
    pub allow_private: bool,
    /// Its keys, as an RFC 7517 JWK Set in JSON. The issuer is never asked then.
    #[serde(default)]
    pub jwks: Option<String>,
    /// A file with such a set. It is read at the start.
    #[serde(default)]
    pub jwks_file: Option<PathBuf>,
    /// Whether its tokens are of workloads alone, such as builds: only these push to what is marked `workload-only`.
    #[serde(default)]
    pub workload: bool,
    /// How people log in with this issuer; without it they do not.
    #[serde(default)]
    pub login: Option<LoginConfig>,
}

/// How a program on somebody's machine asks an issuer for an identity token (RFC 8252). Everybody may read this.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginConfig {
    /// The client id. Tokens whose audience it is are those of people.
    pub client_id: String,
    /// Some issuers demand one of programs too, where it is no secret.
    #[serde(default)]
    pub client_secret: Option<SecretString>,
    /// Scopes beyond `openid`.
    #[serde(default)]
    pub scopes: Vec<String>,
}

/// Somebody, as an issuer names them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnerConfig {
    /// The issuer's URL, exactly as in `[[auth.issuers]]`.
    pub issuer: String,
    /// The exact `sub`.
    pub subject: String,
}

/// What identities of one issuer may do. An identity has what all grants that match it give together.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantConfig {
    /// Whether everybody is meant, also callers without an identity; `issuer` and who is meant are left out then.
    #[serde(default)]
    pub anonymous: bool,
    /// The issuer's URL, exactly as in `[[auth.issuers]]`.
    #[serde(default)]
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
        self.check_durations(problems);
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
        // The development issuer's own name is not known here; `build` has it.
        let is_known = |issuer: &str| known.contains(issuer) || (self.dev && issuer.ends_with("/dev"));
        for (index, grant) in self.grants.iter().enumerate() {
            if let Err(problem) = grant.check() {
                problems.push(format!("grants[{index}].{problem}"));
            }
            if !grant.anonymous && !is_known(&grant.issuer) {
                problems.push(format!(
                    "grants[{index}].issuer: {} is not among auth.issuers",
                    grant.issuer
                ));
            }
        }
        for (index, owner) in self.bootstrap_owners.iter().enumerate() {
            if owner.subject.is_empty() {
                problems.push(format!("bootstrap_owners[{index}].subject: is required"));
            }
            if !is_known(&owner.issuer) {
                problems.push(format!(
                    "bootstrap_owners[{index}].issuer: {} is not among auth.issuers",
                    owner.issuer
                ));
            }
        }
    }
}

impl Config {
    fn check_durations(&self, problems: &mut Vec<String>) {
        let mut demand = |holds: bool, problem: &str| {
            if !holds {
                problems.push(problem.to_owned());
            }
        };
        demand(
            (MINUTE..=HOUR).contains(&self.access_token_ttl),
            "access_token_ttl: must be between one minute and one hour",
        );
        demand(
            (MINUTE..=HOUR).contains(&self.registry_token_ttl),
            "registry_token_ttl: must be between one minute and one hour",
        );
        demand(
            (HOUR..=365 * DAY).contains(&self.session_ttl),
            "session_ttl: must be between one hour and 365 days",
        );
        demand(
            (HOUR..=365 * DAY).contains(&self.session_idle_ttl),
            "session_idle_ttl: must be between one hour and 365 days",
        );
        demand(
            self.client_session_ttl <= 12 * HOUR,
            "client_session_ttl: must be 12 hours at most",
        );
        demand(
            (DAY..=365 * DAY).contains(&self.key_rotation),
            "key_rotation: must be between one day and 365 days",
        );
        demand(
            (1..=100_000).contains(&self.revocations_limit),
            "revocations_limit: must be between 1 and 100000",
        );
    }
}

impl IssuerConfig {
    fn check(&self, dev: bool) -> Result<(), String> {
        let url = parse_issuer(&self.issuer).map_err(|problem| format!("issuer: {problem}"))?;
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
        if self.jwks.is_some() && self.jwks_file.is_some() {
            return Err("jwks_file: cannot stand beside jwks".to_owned());
        }
        match &self.login {
            Some(login) if login.client_id.is_empty() => Err("login.client_id: is required".to_owned()),
            // A person's token would be taken for a build's where both have the same audience.
            Some(_) if self.workload => {
                Err("login: people do not log in with an issuer that is for workloads alone".to_owned())
            }
            _ => Ok(()),
        }
    }
}

impl GrantConfig {
    fn check(&self) -> Result<(), String> {
        if self.anonymous {
            return self.check_anonymous();
        }
        match (&self.subject, &self.subject_pattern) {
            (Some(_), Some(_)) => return Err("subject_pattern: cannot stand beside subject".to_owned()),
            (None, None) if self.claims.is_empty() => {
                return Err(
                    "subject: is required unless subject_pattern or claims say who is meant".to_owned(),
                );
            }
            (None, Some(pattern)) => {
                Pattern::parse(pattern).map_err(|error| format!("subject_pattern: {error}"))?;
            }
            _ => {}
        }
        if self.actions.is_empty() {
            return Err("actions: grants nothing".to_owned());
        }
        Ok(())
    }

    fn check_anonymous(&self) -> Result<(), String> {
        let named = !self.issuer.is_empty()
            || self.subject.is_some()
            || self.subject_pattern.is_some()
            || !self.claims.is_empty();
        if named {
            return Err("anonymous: stands for everybody, so nothing else may say who is meant".to_owned());
        }
        if self.actions != ActionSet::from(Action::Pull) {
            return Err("actions: everybody can be granted pull and nothing else".to_owned());
        }
        Ok(())
    }
}

/// Parses an issuer's URL. It must be written as a URL is normally written, so that no two texts mean one place: in lower
/// case, without the scheme's own port, without `.` and `..`, and with a host in ASCII that does not end in a dot.
pub(crate) fn parse_issuer(text: &str) -> Result<Url, String> {
    if text.len() > ISSUER_LIMIT {
        return Err(format!("is longer than {ISSUER_LIMIT} characters"));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("must be ASCII; write an international host as xn--...".to_owned());
    }
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    let bare = url.query().is_none() && url.fragment().is_none();
    if !bare || !url.username().is_empty() || url.password().is_some() || url.host().is_none() {
        return Err("must be a URL of a host and perhaps a path".to_owned());
    }
    if url.host_str().is_some_and(|host| host.ends_with('.')) {
        return Err("the host must not end in a dot".to_owned());
    }
    let normal = url.as_str();
    if text != normal && Some(text) != normal.strip_suffix('/') {
        return Err(format!("must be written as {normal}"));
    }
    Ok(url)
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
