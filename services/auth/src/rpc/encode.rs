//! From the store's words to the contract's.

use roadstead_proto::auth::v1 as proto;

use crate::{
    domain::{
        ANONYMOUS, Binding, ClaimMatch, Condition, Explanation, Identity, Narrowing, Resource, Rule, Text,
        role::CustomRole,
    },
    error::Error,
    iam::group_path,
    store::{GroupRow, PolicyRow, Result, Snapshot},
};

pub(super) fn group(group: GroupRow) -> proto::Group {
    proto::Group {
        path: group.path.to_string(),
        display_name: group.display_name,
        created_at: group.created_at,
        created_by: group.created_by,
    }
}

pub(super) fn resource(resource: &Resource) -> proto::Resource {
    let kind = match resource {
        Resource::Group(_) => proto::ResourceKind::Group,
        Resource::Repository(_) => proto::ResourceKind::Repository,
    };
    proto::Resource {
        kind: kind.into(),
        path: resource.path().to_owned(),
    }
}

/// Reads a resource of a request.
pub(super) fn parse_resource(given: Option<&proto::Resource>) -> Result<Resource> {
    let given = given.ok_or_else(|| Error::argument("the resource is missing"))?;
    match given.kind() {
        proto::ResourceKind::Group => group_path(&given.path).map(Resource::Group),
        proto::ResourceKind::Repository => given
            .path
            .parse()
            .map(Resource::Repository)
            .map_err(|error| Error::NameInvalid(format!("{error}"))),
        proto::ResourceKind::Unspecified => Err(Error::argument("a resource is a group or a repository")),
    }
}

pub(super) fn policy(mark: &PolicyRow) -> proto::ResourcePolicy {
    proto::ResourcePolicy {
        resource: Some(resource(&mark.resource)),
        policy: proto::PushPolicy::WorkloadOnly.into(),
        set_at: mark.set_at,
        set_by: mark.set_by.clone(),
    }
}

pub(super) fn role(role: CustomRole) -> proto::Role {
    proto::Role {
        name: role.name,
        built_in: false,
        description: role.description,
        capabilities: role.capabilities.names(),
    }
}

pub(super) fn built_in_role(role: &crate::domain::role::BuiltIn) -> proto::Role {
    proto::Role {
        name: role.name.to_owned(),
        built_in: true,
        description: role.description.to_owned(),
        capabilities: role.capabilities.names(),
    }
}

pub(super) fn summary(identity: &Identity) -> proto::IdentitySummary {
    proto::IdentitySummary {
        id: identity.id.clone(),
        name: identity.full_name(),
        kind: identity.rule.kind().to_owned(),
    }
}

/// Encodes a binding with the name of whom it is of. An id whose identity is gone stands for itself.
pub(super) fn binding(snapshot: &Snapshot<'_>, binding: &Binding) -> Result<proto::Binding> {
    let identity = snapshot.identity(&binding.identity)?;
    let summary = identity.as_ref().map_or_else(
        || proto::IdentitySummary {
            id: binding.identity.clone(),
            name: binding.identity.clone(),
            kind: if binding.identity == ANONYMOUS {
                ANONYMOUS.to_owned()
            } else {
                String::new()
            },
        },
        summary,
    );
    Ok(proto::Binding {
        id: binding.id.clone(),
        identity: Some(summary),
        role: binding.role.clone(),
        resource: Some(resource(&binding.resource)),
        conditions: binding.conditions.iter().map(condition).collect(),
        created_at: binding.created_at,
        created_by: binding.created_by.clone(),
    })
}

fn condition(condition: &Condition) -> proto::Condition {
    let (value, pattern) = texts(Some(&condition.text));
    proto::Condition {
        claim: condition.claim.clone(),
        value,
        pattern,
    }
}

/// A text as the contract has it: exact, or a pattern.
fn texts(text: Option<&Text>) -> (String, String) {
    match text {
        None => Default::default(),
        Some(Text::Exact(exact)) => (exact.clone(), String::new()),
        Some(Text::Pattern(pattern)) => (String::new(), pattern.clone()),
    }
}

pub(super) fn identity(identity: Identity) -> proto::IamIdentity {
    proto::IamIdentity {
        name: identity.full_name(),
        id: identity.id,
        group: identity.group.to_string(),
        description: identity.description,
        created_at: identity.created_at,
        created_by: identity.created_by,
        last_used_at: identity.last_used_at.unwrap_or_default(),
        rule: rule(identity.rule, identity.expires_at.unwrap_or_default() / 1000),
    }
}

fn rule(rule: Rule, expires_at: i64) -> Option<proto::iam_identity::Rule> {
    use proto::iam_identity::Rule as Wire;
    Some(match rule {
        Rule::Anonymous => return None,
        Rule::ClaimMatch(rule) => Wire::ClaimMatch(claim_match(rule)),
        Rule::Static(keys) => Wire::Static(proto::StaticKeys {
            issuer: keys.issuer,
            subject: keys.subject,
            audience: keys.audience.unwrap_or_default(),
            jwks_json: keys.jwks,
            expires_at,
        }),
        Rule::Human(human) => Wire::Human(proto::Human {
            issuer: human.issuer,
            subject: human.subject,
            email: human.email,
        }),
        Rule::Service { peer } => Wire::Service(proto::ServiceAccount { peer }),
        Rule::PullToken => Wire::PullToken(proto::PullTokenRule { expires_at }),
    })
}

fn claim_match(rule: ClaimMatch) -> proto::ClaimMatch {
    let (issuer, issuer_pattern) = texts(Some(&rule.issuer));
    let (subject, subject_pattern) = texts(Some(&rule.subject));
    let (audience, audience_pattern) = texts(rule.audience.as_ref());
    let mut encoded = proto::ClaimMatch {
        issuer,
        issuer_pattern,
        subject,
        subject_pattern,
        audience,
        audience_pattern,
        ..proto::ClaimMatch::default()
    };
    for (claim, text) in rule.claims {
        match text {
            Text::Exact(value) => encoded.claims.insert(claim, value),
            Text::Pattern(pattern) => encoded.claim_patterns.insert(claim, pattern),
        };
    }
    encoded
}

pub(super) fn narrowing(narrowing: &Narrowing) -> proto::Narrowing {
    proto::Narrowing {
        resources: narrowing.resource_texts().unwrap_or_default(),
        capabilities: narrowing.capability_names().unwrap_or_default(),
    }
}

pub(super) fn explanation(
    explanation: Explanation,
    identities: Vec<proto::IdentitySummary>,
    (capability, repository): (&str, &str),
) -> proto::Explanation {
    proto::Explanation {
        allowed: explanation.allowed,
        summary: explanation.summary,
        capability: capability.to_owned(),
        repository: repository.to_owned(),
        identities,
        steps: explanation
            .steps
            .into_iter()
            .map(|step| proto::Step {
                holds: step.holds,
                subject: step.subject,
                finding: step.finding,
            })
            .collect(),
        next_commands: explanation.next_commands,
    }
}
