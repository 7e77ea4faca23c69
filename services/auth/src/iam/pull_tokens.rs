//! Pull tokens.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;
use roadstead_types::RepositoryPrefix;
use secrecy::SecretString;
use serde_json::json;

use super::{
    Caller, Page, group_of,
    list::{pages, visible},
    own_name,
};
use crate::{
    domain::{
        Binding, Capability, CapabilitySet, Identity, Resource, Rule,
        event::{AuditEvent, new_id},
        role::{REGISTRY_PULL, built_in, full_name},
    },
    error::Error,
    store::{PullTokenRow, Result, Secrets, Snapshot, Tx},
    sts::PullSecret,
};

const RESOURCES_LIMIT: usize = 32;
const NETWORKS_LIMIT: usize = 32;
const DEFAULT_LIFE: Duration = Duration::from_hours(30 * 24);
const LONGEST_LIFE: Duration = Duration::from_hours(365 * 24);
const LONGEST_OVERLAP: Duration = Duration::from_hours(24);

/// A pull token that somebody wants.
#[derive(Debug)]
pub(crate) struct Wanted {
    name: String,
    resources: Vec<Resource>,
    life: Duration,
    networks: Vec<String>,
}

/// A pull token, with what it is for.
#[derive(Debug)]
pub(crate) struct Described {
    pub(crate) row: PullTokenRow,
    pub(crate) resources: Vec<Resource>,
}

/// A pull token and its secret, which is shown once. It has no debug output.
pub(crate) struct Made {
    pub(crate) token: Described,
    pub(crate) secret: SecretString,
}

impl Wanted {
    /// Checks what can be checked without the database. Seconds of 0 give 30 days.
    pub(crate) fn parse(
        name: &str,
        mut resources: Vec<Resource>,
        seconds: u64,
        networks: &[String],
    ) -> Result<Self> {
        resources.sort();
        resources.dedup();
        if resources.is_empty() || resources.len() > RESOURCES_LIMIT {
            return Err(Error::argument(format!(
                "a pull token is for at least one and at most {RESOURCES_LIMIT} groups and repositories"
            )));
        }
        if networks.len() > NETWORKS_LIMIT {
            return Err(Error::argument(format!("more than {NETWORKS_LIMIT} networks")));
        }
        Ok(Self {
            name: own_name(name)?,
            resources,
            life: match seconds {
                0 => DEFAULT_LIFE,
                seconds => life(seconds)?,
            },
            networks: networks.iter().map(|text| network(text)).collect::<Result<_>>()?,
        })
    }

    /// The group that the token is administered in: the lowest above all that it is for.
    fn group(&self) -> RepositoryPrefix {
        let groups: Vec<RepositoryPrefix> = self.resources.iter().map(group_of).collect();
        let first = Resource::Group(groups.first().cloned().unwrap_or_default());
        let common = first
            .groups_above()
            .filter_map(|path| RepositoryPrefix::parse(path).ok())
            .filter(|path| {
                let above = Resource::Group(path.clone());
                groups
                    .iter()
                    .all(|group| above.covers(&Resource::Group(group.clone())))
            });
        common.last().unwrap_or_default()
    }
}

fn life(seconds: u64) -> Result<Duration> {
    let life = Duration::from_secs(seconds);
    if life > LONGEST_LIFE {
        return Err(Error::argument("a pull token lives 365 days at most"));
    }
    Ok(life)
}

/// Reads a network, or an address for the network of it alone, and writes it in one way.
fn network(text: &str) -> Result<String> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    let network = address.or_else(|_| text.parse::<IpNet>());
    network
        .map(|network| network.trunc().to_string())
        .map_err(|_| Error::argument(format!("{text:?} is no network, such as 192.0.2.0/24")))
}

/// Makes a pull token. Its maker must be able to pull wherever it can.
pub(crate) fn create(tx: &Tx<'_>, caller: &Caller, wanted: &Wanted) -> Result<Made> {
    let group = wanted.group();
    caller.require(tx, Capability::PullTokensCreate, &Resource::Group(group.clone()))?;
    for resource in &wanted.resources {
        caller.require(tx, Capability::PullTokensCreate, resource)?;
        caller.require_to_give(tx, pulling(), resource, &[])?;
    }
    tx.ensure_groups(group.as_str(), &caller.author)?;
    let full_name = full_name(&group, &wanted.name);
    if tx.identity_by_name(&full_name)?.is_some() {
        return Err(Error::AlreadyExists(full_name));
    }
    let (secret, text) = PullSecret::generate(None, tx.now).ok_or(Error::Randomness)?;
    let created_by = caller.principal().to_string();
    tx.insert_identity(&Identity {
        id: secret.id().to_owned(),
        group,
        name: Some(wanted.name.clone()),
        description: String::new(),
        rule: Rule::PullToken,
        created_at: tx.now,
        created_by: created_by.clone(),
        expires_at: Some(after(tx.now, wanted.life)),
        last_used_at: None,
    })?;
    tx.insert_pull_token(secret.id(), &wanted.name, secret.hash(), &wanted.networks)?;
    for resource in &wanted.resources {
        tx.insert_binding(&Binding {
            id: format!("bnd_{}", new_id(tx.now).simple()),
            identity: secret.id().to_owned(),
            role: REGISTRY_PULL.to_owned(),
            capabilities: pulling(),
            resource: resource.clone(),
            conditions: Vec::new(),
            created_at: tx.now,
            created_by: created_by.clone(),
        })?;
    }
    tx.change()?;
    let token = described(tx, existing(tx, secret.id())?)?;
    announce(tx, "dev.roadstead.iam.pull_token.created.v1", caller, &token)?;
    Ok(Made { token, secret: text })
}

/// What the role of pull tokens gives.
fn pulling() -> CapabilitySet {
    built_in(REGISTRY_PULL).map_or(CapabilitySet::EMPTY, |role| role.capabilities)
}

/// Lists pull tokens of groups where the caller may, by creation. Unless `all`, only those that are good.
pub(crate) fn list(
    snapshot: &Snapshot<'_>,
    caller: &Caller,
    group: &RepositoryPrefix,
    all: bool,
    page: &Page,
) -> Result<(Vec<Described>, String)> {
    let reach = caller.reach(snapshot, Capability::PullTokensList)?;
    let spans: Vec<_> = visible(reach, &Resource::Group(group.clone()))
        .into_iter()
        .filter(|resource| matches!(resource, Resource::Group(_)))
        .collect();
    let (rows, next) = pages(
        &format!("pull-tokens {group} {all}"),
        page,
        &spans,
        |span, after, limit| snapshot.pull_tokens_within(span.path(), all, after, limit),
        |row| row.id.clone(),
    )?;
    let tokens = rows.into_iter().map(|row| described(snapshot, row));
    Ok((tokens.collect::<Result<_>>()?, next))
}

/// Gives a new secret. Whoever gets it must be able to pull wherever it can.
pub(crate) fn rotate(
    tx: &Tx<'_>,
    caller: &Caller,
    reference: &str,
    (life_seconds, overlap_seconds): (u64, u64),
) -> Result<Made> {
    let row = find(tx, caller, reference, Capability::PullTokensCreate)?;
    let identity = tx.identity(&row.id)?.ok_or(Error::NotFound("pull token"))?;
    caller.require_to_give_all_of(tx, &identity)?;
    let overlap = Duration::from_secs(overlap_seconds);
    if overlap > LONGEST_OVERLAP {
        return Err(Error::argument("an old secret is good for 24 hours more at most"));
    }
    let expires_at = match life_seconds {
        0 => row.expires_at,
        seconds => after(tx.now, life(seconds)?),
    };
    if expires_at <= tx.now {
        return Err(Error::argument(
            "it has expired; say how long it is to live from now",
        ));
    }
    let (secret, text) = PullSecret::generate(Some(&row.id), tx.now).ok_or(Error::Randomness)?;
    let secrets = Secrets {
        current: secret.hash().to_vec(),
        previous: (!overlap.is_zero()).then(|| (row.secrets.current, after(tx.now, overlap))),
    };
    tx.replace_secrets(&row.id, &secrets, expires_at)?;
    if overlap.is_zero() {
        tx.revoke_credential(&credential(&row.id))?;
    }
    let token = described(tx, existing(tx, &row.id)?)?;
    announce(tx, "dev.roadstead.iam.pull_token.rotated.v1", caller, &token)?;
    Ok(Made { token, secret: text })
}

/// Ends a pull token, and every registry token that came of it.
pub(crate) fn revoke(tx: &Tx<'_>, caller: &Caller, reference: &str) -> Result<()> {
    let row = find(tx, caller, reference, Capability::PullTokensRevoke)?;
    let token = described(tx, row)?;
    tx.revoke_credential(&credential(&token.row.id))?;
    tx.end_pull_token(&token.row.id)?;
    announce(tx, "dev.roadstead.iam.pull_token.revoked.v1", caller, &token)
}

/// Finds a pull token that was not revoked, by id or full name, where the caller may do something to it.
fn find(
    snapshot: &Snapshot<'_>,
    caller: &Caller,
    reference: &str,
    capability: Capability,
) -> Result<PullTokenRow> {
    let unknown = || Error::NotFound("pull token");
    let row = match snapshot.pull_token(reference)? {
        Some(row) => row,
        None => snapshot.pull_token_by_name(reference)?.ok_or_else(unknown)?,
    };
    let group = Resource::Group(RepositoryPrefix::parse(&row.group).map_err(|_| unknown())?);
    if !caller.may(snapshot, capability, &group)? {
        // Only who may see it learns what is missing.
        return Err(if caller.may(snapshot, Capability::PullTokensList, &group)? {
            caller.lacks(capability, &group)
        } else {
            unknown()
        });
    }
    if row.revoked_at.is_some() {
        return Err(unknown());
    }
    Ok(row)
}

fn existing(snapshot: &Snapshot<'_>, id: &str) -> Result<PullTokenRow> {
    snapshot.pull_token(id)?.ok_or(Error::NotFound("pull token"))
}

fn described(snapshot: &Snapshot<'_>, row: PullTokenRow) -> Result<Described> {
    let bindings = snapshot.bindings_of(&row.id, RESOURCES_LIMIT)?;
    Ok(Described {
        row,
        resources: bindings.into_iter().map(|binding| binding.resource).collect(),
    })
}

/// How the tokens that come of a pull token say so.
fn credential(id: &str) -> String {
    format!("pull-token:{id}")
}

fn after(now: i64, life: Duration) -> i64 {
    now.saturating_add(i64::try_from(life.as_millis()).unwrap_or(i64::MAX))
}

fn announce(tx: &Tx<'_>, kind: &'static str, caller: &Caller, token: &Described) -> Result<()> {
    let Described { row, resources } = token;
    tx.announce(&AuditEvent {
        kind,
        path: row.group.clone(),
        subject: row.id.clone(),
        data: json!({
            "id": row.id,
            "name": row.name,
            "resources": resources,
            "networks": row.networks,
            "expires_at": row.expires_at / 1000,
        }),
        author: caller.author.clone(),
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn wanted(resources: &[&str]) -> Result<Wanted> {
        let resources = resources.iter().map(|text| Resource::parse(text).unwrap());
        Wanted::parse("staging", resources.collect(), 0, &[])
    }

    #[rstest]
    #[case::repository(&["repository:acme/web"], "acme")]
    #[case::group(&["acme/web"], "acme/web")]
    #[case::siblings(&["repository:acme/web", "repository:acme/api"], "acme")]
    #[case::one_above_the_other(&["acme", "repository:acme/team/api"], "acme")]
    #[case::nothing_in_common(&["repository:acme/web", "repository:beta/web"], "")]
    #[case::letters_in_common(&["repository:acme/web", "repository:acme-x/web"], "")]
    #[case::at_the_root(&["repository:web"], "")]
    fn a_pull_token_belongs_to_the_lowest_group_above(#[case] resources: &[&str], #[case] group: &str) {
        assert_eq!(wanted(resources).unwrap().group().as_str(), group);
    }

    #[rstest]
    #[case::network("192.0.2.0/24", Some("192.0.2.0/24"))]
    #[case::with_bits_beyond("192.0.2.7/24", Some("192.0.2.0/24"))]
    #[case::address("192.0.2.7", Some("192.0.2.7/32"))]
    #[case::network_v6("2001:db8::/32", Some("2001:db8::/32"))]
    #[case::name("example.com", None)]
    #[case::empty("", None)]
    #[case::too_long("192.0.2.0/33", None)]
    fn networks_are_written_in_one_way(#[case] text: &str, #[case] expected: Option<&str>) {
        assert_eq!(network(text).ok().as_deref(), expected);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        assert!(wanted(&[]).is_err());
        let web = || vec![Resource::parse("repository:acme/web").unwrap()];
        let year = 365 * 24 * 3600;
        assert!(Wanted::parse("staging", web(), year, &[]).is_ok());
        assert!(Wanted::parse("staging", web(), year + 1, &[]).is_err());
        assert!(Wanted::parse("ptk_1", web(), 0, &[]).is_err());
        assert!(Wanted::parse("a/b", web(), 0, &[]).is_err());
        assert!(Wanted::parse("", web(), 0, &[]).is_err());
        assert_eq!(
            Wanted::parse("staging", web(), 0, &[]).unwrap().life,
            DEFAULT_LIFE
        );
    }
}
