//! Says in words what [`evaluate`](super::evaluate) found.

use super::{
    Asker, Capability, Finding, Identity, Outcome, Question, Resource, Rule, Verdict,
    evaluation::Binding,
    role::{self, OWNER},
};

/// How long the reason in a token and in a client's error text may be, in bytes.
const WHY_LIMIT: usize = 200;

/// An answer with everything that led to it.
#[derive(Debug)]
pub(crate) struct Explanation {
    pub(crate) allowed: bool,
    /// One sentence: by what, or what is missing.
    pub(crate) summary: String,
    pub(crate) steps: Vec<Step>,
    /// Commands that would change the answer, for whoever may run them.
    pub(crate) next_commands: Vec<String>,
}

/// One thing that was looked at.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) holds: bool,
    pub(crate) subject: String,
    pub(crate) finding: String,
}

/// Renders the whole answer.
pub(crate) fn explain(verdict: &Verdict<'_>, asker: &Asker<'_>, question: &Question<'_>) -> Explanation {
    let steps = verdict
        .findings
        .iter()
        .map(|finding| step(finding, asker, question, Reader::Administrator))
        .collect();
    let summary = match (verdict.allowed, giving(verdict)) {
        (true, Some((holder, binding))) => {
            format!("yes: {holder} has {}", named(binding, Reader::Administrator))
        }
        _ => format!("no: {}", reason(verdict, asker, question, Reader::Administrator)),
    };
    Explanation {
        allowed: verdict.allowed,
        summary,
        steps,
        next_commands: if verdict.allowed {
            Vec::new()
        } else {
            next_commands(verdict, asker, question)
        },
    }
}

/// Says in one sentence what is missing, for the error text of the bearer's own client.
pub(crate) fn why(verdict: &Verdict<'_>, asker: &Asker<'_>, question: &Question<'_>) -> String {
    let mut text = reason(verdict, asker, question, Reader::Bearer);
    if text.len() > WHY_LIMIT {
        let mut end = WHY_LIMIT - 3;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push_str("...");
    }
    text
}

/// For whom something is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    /// Learns what their token has, not what rules ask for.
    Bearer,
    /// May read the rules.
    Administrator,
}

fn reason(verdict: &Verdict<'_>, asker: &Asker<'_>, question: &Question<'_>, reader: Reader) -> String {
    let deciding = verdict.findings.iter().min_by_key(|finding| weight(finding));
    deciding.map_or_else(
        || {
            format!(
                "everybody: they have no {} at {}",
                question.capability, question.resource
            )
        },
        |finding| {
            let step = step(finding, asker, question, reader);
            format!("{}: {}", step.subject, step.finding)
        },
    )
}

/// What stands nearest to the answer "allowed" is the reason; smaller is nearer.
fn weight(finding: &Finding<'_>) -> u8 {
    match finding {
        Finding::Tombstone(_) => 0,
        Finding::NarrowedCapabilities(_) | Finding::NarrowedResources(_) => 1,
        Finding::Binding(Some(_), _, Outcome::NotWorkload(..)) => 2,
        Finding::Binding(Some(_), _, Outcome::Unmet(_) | Outcome::Conditional(_)) => 3,
        Finding::Stale(..) => 4,
        Finding::Binding(Some(_), _, Outcome::Lacks) => 5,
        Finding::Unbound(_) => 6,
        Finding::NoIdentity => 7,
        Finding::Binding(..) => 8,
    }
}

fn giving<'a>(verdict: &Verdict<'a>) -> Option<(String, &'a Binding)> {
    verdict.findings.iter().find_map(|finding| match finding {
        Finding::Binding(identity, binding, Outcome::Gives) => {
            let holder = identity.map_or_else(
                || "everybody".to_owned(),
                |identity| format!("identity {}", identity.full_name()),
            );
            Some((holder, *binding))
        }
        _ => None,
    })
}

fn named(binding: &Binding, reader: Reader) -> String {
    let held = format!("{} at {}", binding.role, binding.resource);
    match reader {
        // In an error text there is no room for an id that nobody can do anything with.
        Reader::Bearer => held,
        Reader::Administrator => format!("{held} ({})", binding.id),
    }
}

/// Calls an identity by its name. A person has none, and need not be told who they are.
fn called(identity: &Identity, reader: Reader) -> String {
    match (&identity.rule, reader) {
        (Rule::Human(_), Reader::Bearer) => "a person".to_owned(),
        _ => format!("identity {}", identity.full_name()),
    }
}

fn step(finding: &Finding<'_>, asker: &Asker<'_>, question: &Question<'_>, reader: Reader) -> Step {
    let (subject, finding, holds) = match finding {
        Finding::NarrowedCapabilities(capabilities) => (
            "the token".to_owned(),
            format!("it is narrowed to {}", capabilities.names().join(", ")),
            false,
        ),
        Finding::NarrowedResources(resources) => {
            let resources: Vec<_> = resources.iter().map(ToString::to_string).collect();
            (
                "the token".to_owned(),
                format!("it is narrowed to {}", resources.join(", ")),
                false,
            )
        }
        Finding::NoIdentity => {
            let who = asker.upstream.map_or_else(String::new, |upstream| {
                format!("{:?} of {}", upstream.subject, upstream.issuer)
            });
            (
                "the bearer".to_owned(),
                format!("no identity here matches {who}"),
                false,
            )
        }
        Finding::Stale(identity, mismatch) => {
            let finding = asker.upstream.map_or_else(
                || "nothing is known of the bearer".to_owned(),
                |upstream| match reader {
                    Reader::Bearer => mismatch.describe(&upstream),
                    Reader::Administrator => mismatch.describe_with(&identity.rule, &upstream),
                },
            );
            (called(identity, reader), finding, false)
        }
        Finding::Unbound(identity) => (
            called(identity, reader),
            format!("it has no role at {} or above", question.resource),
            false,
        ),
        Finding::Tombstone(group) => (
            format!("group {group}"),
            "it was deleted, so nothing is pushed below it".to_owned(),
            false,
        ),
        Finding::Binding(identity, binding, outcome) => {
            let holder = identity.map_or_else(|| "everybody".to_owned(), |identity| called(identity, reader));
            let subject = format!("{holder}, {}", named(binding, reader));
            let (finding, holds) = outcome_text(outcome, question.capability);
            (subject, finding, holds)
        }
    };
    Step {
        holds,
        subject,
        finding,
    }
}

fn outcome_text(outcome: &Outcome<'_>, capability: Capability) -> (String, bool) {
    match outcome {
        Outcome::Gives => (format!("it gives {capability}"), true),
        Outcome::Lacks => (format!("the role lacks {capability}"), false),
        Outcome::Unmet(condition) => (format!("{condition} is required"), false),
        Outcome::Conditional(condition) => (
            format!("it holds under a condition only, {condition}, which cannot be handed on"),
            false,
        ),
        Outcome::NotWorkload(resource, why) => (
            format!("only workloads push at {resource}, and it does not count as one: {why}"),
            false,
        ),
    }
}

fn next_commands(verdict: &Verdict<'_>, asker: &Asker<'_>, question: &Question<'_>) -> Vec<String> {
    let barred = verdict.findings.iter().any(|finding| {
        matches!(
            finding,
            Finding::Tombstone(_) | Finding::NarrowedCapabilities(_) | Finding::NarrowedResources(_)
        )
    });
    if barred {
        return Vec::new();
    }
    let place = match question.resource {
        Resource::Group(path) => format!("--group {}", quoted(path.as_str())),
        Resource::Repository(name) => format!("--repo {}", quoted(name.as_str())),
    };
    let role = role_for(question.capability);
    let bind = |identity: &str| {
        format!(
            "roadstead iam bindings create --identity {} --role {role} {place}",
            quoted(identity)
        )
    };
    let mut commands = Vec::new();
    for finding in &verdict.findings {
        match finding {
            Finding::Unbound(identity) | Finding::Binding(Some(identity), _, Outcome::Lacks) => {
                commands.push(bind(&identity.full_name()));
            }
            Finding::NoIdentity => {
                let Some(upstream) = asker.upstream else { continue };
                let group = role::split_full_name(question.resource.path()).0;
                let name = role::full_name(&group.parse().unwrap_or_default(), "NAME");
                commands.push(format!(
                    "roadstead iam identities create {name} --issuer {} --subject {}",
                    quoted(upstream.issuer),
                    quoted(upstream.subject)
                ));
                commands.push(bind(&name));
            }
            _ => {}
        }
    }
    commands.dedup();
    commands
}

/// The smallest built-in role that gives a capability.
fn role_for(capability: Capability) -> &'static str {
    role::BUILT_IN
        .iter()
        .filter(|role| role.capabilities.contains(capability))
        .min_by_key(|role| role.capabilities.iter().count())
        .map_or(OWNER, |role| role.name)
}

/// Quotes for a shell what is not plain.
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._:@-".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_role_is_proposed() {
        assert_eq!(role_for(Capability::RepoPull), "registry.pull");
        assert_eq!(role_for(Capability::RepoPush), "registry.push");
        assert_eq!(role_for(Capability::RepoDelete), "editor");
        assert_eq!(role_for(Capability::BindingsCreate), "owner");
    }

    #[test]
    fn what_a_shell_would_read_is_quoted() {
        assert_eq!(quoted("repo:acme/web:ref"), "repo:acme/web:ref");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("$(rm -rf ~)"), "'$(rm -rf ~)'");
        assert_eq!(quoted("a'b"), r"'a'\''b'");
    }
}
