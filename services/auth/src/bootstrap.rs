//! What the configuration puts into the database at a start: grants of former releases, once; the first owners, while
//! there is none; the developer, who owns everything.

use std::collections::BTreeMap;

use roadstead_types::{Action, ActionSet};
use serde_json::json;

use crate::{
    config::{Config, GrantConfig, OwnerConfig},
    dev::{DEV_SUBJECT, DevIssuer},
    domain::{
        ANONYMOUS, Binding, Capability, CapabilitySet, ClaimMatch, Human, Identity, Resource, Rule, Rules,
        Text,
        event::{AuditEvent, Author, new_id},
        human_id,
        role::{CustomRole, OWNER, REGISTRY_PULL, built_in},
    },
    iam::bindings,
    store::{Result, Snapshot, Tx},
};

/// Bindings at the root that are looked at in one go.
const ROOT_PAGE: usize = 100;

/// What is to be put in.
#[derive(Debug)]
pub(crate) struct Bootstrap {
    grants: Vec<GrantConfig>,
    owners: Vec<OwnerConfig>,
    developer: Option<OwnerConfig>,
}

impl Bootstrap {
    pub(crate) fn new(config: &Config, dev: Option<&DevIssuer>) -> Self {
        Self {
            grants: config.grants.clone(),
            owners: config.bootstrap_owners.clone(),
            developer: dev.map(|dev| OwnerConfig {
                issuer: dev.url().to_owned(),
                subject: DEV_SUBJECT.to_owned(),
            }),
        }
    }

    /// Whether there may be anything to do. Most starts are without.
    pub(crate) fn is_empty(&self) -> bool {
        self.grants.is_empty() && self.owners.is_empty() && self.developer.is_none()
    }

    /// Puts in what is not there yet.
    pub(crate) fn run(&self, tx: &Tx<'_>, rules: &Rules) -> Result<()> {
        if !self.grants.is_empty() {
            if tx.grants_imported()? {
                tracing::warn!(
                    "auth.grants is not read any more: what it said is in the database; remove it"
                );
            } else {
                import(tx, &self.grants)?;
            }
        }
        if !self.owners.is_empty() && !has_owner(tx, rules)? {
            for owner in &self.owners {
                make_owner(tx, owner)?;
                tracing::warn!(
                    issuer = owner.issuer,
                    subject = owner.subject,
                    "made an owner of everything, because there was none"
                );
            }
        }
        self.developer
            .as_ref()
            .map_or(Ok(()), |developer| make_owner(tx, developer))
    }
}

/// Whether somebody owns everything who can still come: an owner whose issuer is no longer believed is none.
fn has_owner(snapshot: &Snapshot<'_>, rules: &Rules) -> Result<bool> {
    let mut after = String::new();
    loop {
        let page = snapshot.bindings_within(&Resource::ROOT, None, ("", &after), ROOT_PAGE)?;
        for binding in &page {
            if binding.resource != Resource::ROOT {
                return Ok(false);
            }
            let owns = binding.role == OWNER && binding.conditions.is_empty();
            if owns
                && let Some(identity) = snapshot.identity(&binding.identity)?
                && identity.check_standing(rules, snapshot.now).is_ok()
            {
                return Ok(true);
            }
        }
        match page.last() {
            Some(last) if page.len() == ROOT_PAGE => after.clone_from(&last.id),
            _ => return Ok(false),
        }
    }
}

fn author() -> Author {
    Author::own("configuration")
}

/// Makes somebody the owner of everything, if they are not.
fn make_owner(tx: &Tx<'_>, owner: &OwnerConfig) -> Result<()> {
    let id = human_id(&owner.issuer, &owner.subject);
    if tx.identity(&id)?.is_none() {
        let rule = Rule::Human(Human {
            issuer: owner.issuer.clone(),
            subject: owner.subject.clone(),
            email: String::new(),
        });
        add_identity(tx, id.clone(), None, rule)?;
    }
    bind(tx, &id, OWNER, CapabilitySet::ALL, Resource::ROOT)
}

/// Turns grants into identities with roles. Grants of the same identity become one.
fn import(tx: &Tx<'_>, grants: &[GrantConfig]) -> Result<()> {
    let mut imported: BTreeMap<String, String> = BTreeMap::new();
    for grant in grants {
        tx.ensure_groups(grant.prefix.as_str(), &author())?;
        let resource = Resource::Group(grant.prefix.clone());
        if grant.anonymous {
            bind(tx, ANONYMOUS, REGISTRY_PULL, CapabilitySet::EMPTY, resource)?;
            continue;
        }
        let rule = Rule::ClaimMatch(rule_of(grant));
        let key = serde_json::to_string(&rule)?;
        let id = if let Some(id) = imported.get(&key) {
            id.clone()
        } else {
            let id = format!("idn_{}", new_id(tx.now).simple());
            let name = format!("imported-{}", imported.len() + 1);
            add_identity(tx, id.clone(), Some(name), rule)?;
            imported.insert(key, id.clone());
            id
        };
        let (role, capabilities) = role_for(tx, grant.actions)?;
        bind(tx, &id, &role, capabilities, resource)?;
    }
    tx.note_grants_imported()?;
    tracing::info!(
        grants = grants.len(),
        identities = imported.len(),
        "took over auth.grants: they are identities and bindings in the database now"
    );
    Ok(())
}

/// The rule that a grant's identity has.
pub(crate) fn rule_of(grant: &GrantConfig) -> ClaimMatch {
    let subject = match (&grant.subject, &grant.subject_pattern) {
        (Some(subject), _) => Text::Exact(subject.clone()),
        (None, Some(pattern)) => Text::Pattern(pattern.clone()),
        // Its claims say who is meant.
        (None, None) => Text::Pattern(".*".to_owned()),
    };
    let exact = |(claim, text): (&String, &String)| (claim.clone(), Text::Exact(text.clone()));
    ClaimMatch {
        issuer: Text::Exact(grant.issuer.clone()),
        subject,
        audience: None,
        claims: grant.claims.iter().map(exact).collect(),
    }
}

/// What a grant of these actions gives; whoever pulls also lists what can be pulled.
pub(crate) fn capabilities_of(actions: ActionSet) -> CapabilitySet {
    let mut capabilities: Vec<_> = actions.iter().map(Capability::of).collect();
    if capabilities.contains(&Capability::RepoPull) {
        capabilities.push(Capability::RepoList);
    }
    CapabilitySet::of(&capabilities)
}

/// The role that gives these actions, made when there is none.
fn role_for(tx: &Tx<'_>, actions: ActionSet) -> Result<(String, CapabilitySet)> {
    let capabilities = capabilities_of(actions);
    for name in [REGISTRY_PULL, "registry.push"] {
        if built_in(name).is_some_and(|role| role.capabilities == capabilities) {
            return Ok((name.to_owned(), capabilities));
        }
    }
    let names: Vec<_> = actions.iter().map(Action::as_str).collect();
    let name = format!("imported-{}", names.join("-"));
    if tx.custom_role(&name)?.is_none() {
        let role = CustomRole {
            name: name.clone(),
            group: Resource::ROOT.path().parse().unwrap_or_default(),
            description: "from auth.grants".to_owned(),
            capabilities,
        };
        tx.insert_role(&role, &author().principal.to_string())?;
        announce(
            tx,
            "dev.roadstead.iam.role.created.v1",
            &role.name,
            json!({ "role": role.name, "capabilities": capabilities }),
        )?;
    }
    Ok((name, capabilities))
}

fn add_identity(tx: &Tx<'_>, id: String, name: Option<String>, rule: Rule) -> Result<()> {
    let identity = Identity {
        id,
        group: Resource::ROOT.path().parse().unwrap_or_default(),
        name,
        description: "from the configuration".to_owned(),
        rule,
        created_at: tx.now,
        created_by: author().principal.to_string(),
        expires_at: None,
        last_used_at: None,
    };
    tx.insert_identity(&identity)?;
    announce(
        tx,
        "dev.roadstead.iam.identity.created.v1",
        &identity.id,
        json!({ "identity": identity.id, "name": identity.name, "rule": identity.rule }),
    )
}

fn bind(
    tx: &Tx<'_>,
    identity: &str,
    role: &str,
    capabilities: CapabilitySet,
    resource: Resource,
) -> Result<()> {
    let binding = Binding {
        id: format!("bnd_{}", new_id(tx.now).simple()),
        identity: identity.to_owned(),
        role: role.to_owned(),
        capabilities,
        resource,
        conditions: Vec::new(),
        created_at: tx.now,
        created_by: author().principal.to_string(),
    };
    if tx.insert_binding(&binding)? {
        tx.change()?;
        bindings::announce(tx, "dev.roadstead.iam.binding.created.v1", &author(), &binding)?;
    }
    Ok(())
}

fn announce(tx: &Tx<'_>, kind: &'static str, subject: &str, data: serde_json::Value) -> Result<()> {
    tx.announce(&AuditEvent {
        kind,
        path: String::new(),
        subject: subject.to_owned(),
        data,
        author: author(),
    })
}
