//! `roadstead iam identities`.

use std::{fs, path::Path};

use roadstead_proto::auth::v1::{
    ClaimMatch, CreateIdentityRequest, DeleteIdentityRequest, GetIdentityRequest, Human, IamIdentity,
    ListIdentitiesRequest, ServiceAccount, StaticKeys, UpdateIdentityRequest, create_identity_request,
    iam_identity::Rule, identity_service_client::IdentityServiceClient, update_identity_request,
};
use roadstead_types::Clock;
use serde_json::{Value, json};

use super::split_name;
use crate::{
    args::{ClaimRule, Identities, IdentitiesCreate, IdentitiesUpdate, Remote},
    cache::TokenCache,
    error::Error,
    grpc::{AdminApi, Channel},
    listing::{Shown, pages, print_all, print_done, print_one},
    when,
};

/// The life of registered keys where none is asked for.
const DEFAULT_KEY_LIFE: u64 = 90 * 24 * 60 * 60;

impl Shown for IamIdentity {
    const COLUMNS: &'static [&'static str] = &["NAME", "KIND", "KNOWN BY", "LAST USED", "ID"];

    fn cells(&self) -> Vec<String> {
        let (kind, known_by) = match &self.rule {
            Some(Rule::ClaimMatch(rule)) => (
                "claim_match",
                format!(
                    "{} {}",
                    either(&rule.issuer, &rule.issuer_pattern),
                    either(&rule.subject, &rule.subject_pattern)
                ),
            ),
            Some(Rule::Static(keys)) => ("static", format!("{} {}", keys.issuer, keys.subject)),
            Some(Rule::Human(human)) => {
                let subject = either(&human.email, &human.subject);
                ("human", format!("{} {subject}", human.issuer))
            }
            Some(Rule::Service(service)) => ("service", service.peer.clone()),
            Some(Rule::PullToken(_)) => ("pull_token", String::new()),
            None => ("", String::new()),
        };
        vec![
            self.name.clone(),
            kind.to_owned(),
            known_by,
            when::of_millis(self.last_used_at).unwrap_or_else(|| "never".to_owned()),
            self.id.clone(),
        ]
    }

    fn json(&self) -> Value {
        let (kind, rule) = match &self.rule {
            Some(Rule::ClaimMatch(rule)) => ("claim_match", claim_match_json(rule)),
            Some(Rule::Static(keys)) => (
                "static",
                json!({
                    "issuer": keys.issuer,
                    "subject": keys.subject,
                    "audience": keys.audience,
                    "jwks": serde_json::from_str::<Value>(&keys.jwks_json).ok(),
                    "expires_at": when::of_seconds(keys.expires_at),
                }),
            ),
            Some(Rule::Human(human)) => (
                "human",
                json!({ "issuer": human.issuer, "subject": human.subject, "email": human.email }),
            ),
            Some(Rule::Service(service)) => ("service", json!({ "peer": service.peer })),
            Some(Rule::PullToken(rule)) => (
                "pull_token",
                json!({ "expires_at": when::of_seconds(rule.expires_at) }),
            ),
            None => ("", Value::Null),
        };
        json!({
            "id": self.id,
            "name": self.name,
            "group": self.group,
            "kind": kind,
            "rule": rule,
            "description": self.description,
            "created_at": when::of_millis(self.created_at),
            "created_by": self.created_by,
            "last_used_at": when::of_millis(self.last_used_at),
        })
    }
}

fn claim_match_json(rule: &ClaimMatch) -> Value {
    let texts = [
        ("issuer", &rule.issuer),
        ("issuer_pattern", &rule.issuer_pattern),
        ("subject", &rule.subject),
        ("subject_pattern", &rule.subject_pattern),
        ("audience", &rule.audience),
        ("audience_pattern", &rule.audience_pattern),
    ];
    let mut fields: serde_json::Map<String, Value> = texts
        .into_iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(name, text)| (name.to_owned(), text.as_str().into()))
        .collect();
    // In order, so that two answers can be compared.
    let sorted = |claims: &std::collections::HashMap<String, String>| {
        let claims: std::collections::BTreeMap<_, _> = claims.iter().collect();
        json!(claims)
    };
    fields.insert("claims".to_owned(), sorted(&rule.claims));
    fields.insert("claim_patterns".to_owned(), sorted(&rule.claim_patterns));
    Value::Object(fields)
}

fn either<'a>(first: &'a str, second: &'a str) -> &'a str {
    if first.is_empty() { second } else { first }
}

pub(super) async fn run(command: Identities, cache: &TokenCache, clock: &Clock) -> Result<(), Error> {
    match command {
        Identities::Create(flags) => create(*flags, cache, clock).await,
        Identities::List { group, kind, listing } => {
            let (api, mut client) = open(listing.asking.remote, cache, clock).await?;
            let identities = pages(listing.limit, async |page_size, page_token| {
                let request = ListIdentitiesRequest {
                    group: group.clone(),
                    kind: kind.clone(),
                    page_size,
                    page_token,
                };
                let page = api.answer("ListIdentities", client.list_identities(request).await)?;
                Ok((page.identities, page.next_page_token))
            });
            print_all(listing.asking.output, &identities.await?)
        }
        Identities::Show { identity, asking } => {
            let (api, mut client) = open(asking.remote, cache, clock).await?;
            print_one(asking.output, &get(&api, &mut client, identity).await?)
        }
        Identities::Update(flags) => update(*flags, cache, clock).await,
        Identities::Delete { identity, asking } => {
            let (api, mut client) = open(asking.remote, cache, clock).await?;
            let done = format!("Deleted {identity} and its bindings; its tokens are revoked.");
            let answer = client.delete_identity(DeleteIdentityRequest { identity }).await;
            api.answer("DeleteIdentity", answer)?;
            print_done(asking.output, &done)
        }
    }
}

async fn create(flags: IdentitiesCreate, cache: &TokenCache, clock: &Clock) -> Result<(), Error> {
    use create_identity_request::Rule;

    let (group, name) = split_name(&flags.name.unwrap_or_default());
    let rule = if flags.human {
        Rule::Human(Human {
            issuer: flags.rule.issuer.unwrap_or_default(),
            subject: flags.rule.subject.unwrap_or_default(),
            email: String::new(),
        })
    } else if let Some(peer) = flags.peer {
        Rule::Service(ServiceAccount { peer })
    } else if let Some(path) = flags.rule.jwks.clone() {
        Rule::Static(static_keys(flags.rule, &path, clock)?)
    } else {
        Rule::ClaimMatch(flags.rule.into())
    };
    let request = CreateIdentityRequest {
        group,
        name,
        description: flags.description,
        rule: Some(rule),
    };
    let (api, mut client) = open(flags.asking.remote, cache, clock).await?;
    let answer = api.answer("CreateIdentity", client.create_identity(request).await)?;
    print_one(flags.asking.output, &answer.identity.unwrap_or_default())
}

async fn update(flags: IdentitiesUpdate, cache: &TokenCache, clock: &Clock) -> Result<(), Error> {
    use update_identity_request::Rule;

    let rule = if let Some(path) = flags.rule.jwks.clone() {
        Some(Rule::Static(static_keys(flags.rule, &path, clock)?))
    } else {
        let rule = ClaimMatch::from(flags.rule);
        (rule != ClaimMatch::default()).then_some(Rule::ClaimMatch(rule))
    };
    if rule.is_none() && flags.description.is_none() {
        return Err(Error::Usage(
            "nothing to change: give --description, or the whole rule".to_owned(),
        ));
    }
    let (api, mut client) = open(flags.asking.remote, cache, clock).await?;
    // The call replaces the description.
    let description = match flags.description {
        Some(description) => description,
        None => get(&api, &mut client, flags.identity.clone()).await?.description,
    };
    let request = UpdateIdentityRequest {
        identity: flags.identity,
        description,
        rule,
    };
    let answer = api.answer("UpdateIdentity", client.update_identity(request).await)?;
    print_one(flags.asking.output, &answer.identity.unwrap_or_default())
}

impl From<ClaimRule> for ClaimMatch {
    fn from(rule: ClaimRule) -> Self {
        Self {
            issuer: rule.issuer.unwrap_or_default(),
            issuer_pattern: rule.issuer_pattern.unwrap_or_default(),
            subject: rule.subject.unwrap_or_default(),
            subject_pattern: rule.subject_pattern.unwrap_or_default(),
            audience: rule.audience.unwrap_or_default(),
            audience_pattern: rule.audience_pattern.unwrap_or_default(),
            claims: rule.claims.into_iter().collect(),
            claim_patterns: rule.claim_patterns.into_iter().collect(),
        }
    }
}

fn static_keys(rule: ClaimRule, path: &Path, clock: &Clock) -> Result<StaticKeys, Error> {
    let life = rule.ttl.unwrap_or(DEFAULT_KEY_LIFE);
    Ok(StaticKeys {
        issuer: rule.issuer.unwrap_or_default(),
        subject: rule.subject.unwrap_or_default(),
        audience: rule.audience.unwrap_or_default(),
        jwks_json: fs::read_to_string(path).map_err(Error::file("read", path))?,
        expires_at: clock.unix_seconds().saturating_add_unsigned(life),
    })
}

async fn get(
    api: &AdminApi,
    client: &mut IdentityServiceClient<Channel>,
    identity: String,
) -> Result<IamIdentity, Error> {
    let answer = client.get_identity(GetIdentityRequest { identity }).await;
    Ok(api.answer("GetIdentity", answer)?.identity.unwrap_or_default())
}

async fn open(
    remote: Remote,
    cache: &TokenCache,
    clock: &Clock,
) -> Result<(AdminApi, IdentityServiceClient<Channel>), Error> {
    let api = AdminApi::open(remote, cache, clock).await?;
    let client = IdentityServiceClient::with_origin(api.channel(), api.origin());
    Ok((api, client))
}
