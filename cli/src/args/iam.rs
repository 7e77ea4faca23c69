//! Who may do what where.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Asking, Explain, Listing, Test};

/// Commands about permissions.
#[derive(Debug, Subcommand)]
pub enum Iam {
    /// Groups: a tree whose paths are prefixes of repository names.
    #[command(subcommand)]
    Groups(Groups),
    /// Identities: rules by which upstream identities are known, and people.
    #[command(subcommand)]
    Identities(Identities),
    /// Roles: sets of capabilities.
    #[command(subcommand)]
    Roles(Roles),
    /// Bindings: an identity's role at a group or a repository.
    #[command(subcommand)]
    Bindings(Bindings),
    /// Push policies: who may push at all, whatever the bindings say.
    #[command(subcommand)]
    PushPolicy(PushPolicies),
    /// Explain whether an identity may do something to a repository, and why.
    Explain(Explain),
    /// Tell what an OIDC token with given claims would be allowed. Exit code 1 if it would not be.
    Test(Test),
}

/// Commands about groups.
#[derive(Debug, Subcommand)]
pub enum Groups {
    /// Make a group, and the missing ones above it.
    Create {
        /// Its path, such as acme/web.
        path: String,
        /// What people see.
        #[arg(long, value_name = "TEXT", default_value = "")]
        display_name: String,
        /// Take a path into use again that was deleted.
        #[arg(long)]
        restore: bool,
        /// Which registry, and how to print it.
        #[command(flatten)]
        asking: Asking,
    },
    /// List the groups that you may see.
    List {
        /// Only this group and those below it.
        #[arg(default_value = "")]
        path: String,
        /// Which registry, and how to print them.
        #[command(flatten)]
        listing: Listing,
    },
    /// Show a group.
    Show {
        /// Its path.
        path: String,
        /// Which registry, and how to print it.
        #[command(flatten)]
        asking: Asking,
    },
    /// Change what people see. A path never changes.
    Update {
        /// Its path.
        path: String,
        /// What people see.
        #[arg(long, value_name = "TEXT")]
        display_name: String,
        /// Which registry, and how to print it.
        #[command(flatten)]
        asking: Asking,
    },
    /// Delete a group with its identities, roles and bindings. Repositories stay; the path is not used again unasked.
    Delete {
        /// Its path.
        path: String,
        /// Which registry, and how to print the answer.
        #[command(flatten)]
        asking: Asking,
    },
}

/// Commands about identities.
#[derive(Debug, Subcommand)]
pub enum Identities {
    /// Make an identity.
    ///
    /// By default it is a rule on the claims of an issuer's tokens. --jwks makes one whose keys are given here, --human a
    /// person, --peer a service of the registry.
    Create(Box<IdentitiesCreate>),
    /// List the identities that you may see.
    List {
        /// Only of this group and those below it.
        #[arg(default_value = "")]
        group: String,
        /// Only of this kind: `claim_match`, static, human, service, `pull_token`.
        #[arg(long, value_name = "KIND", default_value = "")]
        kind: String,
        /// Which registry, and how to print them.
        #[command(flatten)]
        listing: Listing,
    },
    /// Show an identity.
    Show {
        /// Its id or full name.
        identity: String,
        /// Which registry, and how to print it.
        #[command(flatten)]
        asking: Asking,
    },
    /// Replace description and rule. Tokens that the old rule gave are revoked.
    Update(Box<IdentitiesUpdate>),
    /// Delete an identity and its bindings, and revoke its tokens.
    Delete {
        /// Its id or full name.
        identity: String,
        /// Which registry, and how to print the answer.
        #[command(flatten)]
        asking: Asking,
    },
}

/// Flags of `iam identities create`.
#[derive(Debug, Args)]
pub struct IdentitiesCreate {
    /// The full name: the group's path, a slash, its own name. A person has none.
    #[arg(required_unless_present = "human", conflicts_with = "human")]
    pub name: Option<String>,
    /// What it is for.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub description: String,
    /// The rule.
    #[command(flatten)]
    pub rule: ClaimRule,
    /// A person, known by --issuer and --subject, who need not have logged in yet.
    #[arg(long, requires = "issuer", requires = "subject", conflicts_with_all = ["jwks", "peer"])]
    pub human: bool,
    /// A service of the registry, known by the name in its certificate.
    #[arg(long, value_name = "NAME", conflicts_with = "jwks")]
    pub peer: Option<String>,
    /// Which registry, and how to print it.
    #[command(flatten)]
    pub asking: Asking,
}

/// Flags of `iam identities update`.
#[derive(Debug, Args)]
pub struct IdentitiesUpdate {
    /// Its id or full name.
    pub identity: String,
    /// What it is for [default: as it is].
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// The whole rule; nothing given leaves it as it is.
    #[command(flatten)]
    pub rule: ClaimRule,
    /// Which registry, and how to print it.
    #[command(flatten)]
    pub asking: Asking,
}

/// By which tokens an identity is known. A pattern is a regular expression that must match the whole value.
#[derive(Debug, Default, Args)]
pub struct ClaimRule {
    /// The issuer, as the token's `iss` spells it.
    #[arg(long, value_name = "URL")]
    pub issuer: Option<String>,
    /// The issuers.
    #[arg(long, value_name = "PATTERN", conflicts_with = "issuer")]
    pub issuer_pattern: Option<String>,
    /// The subject.
    #[arg(long, value_name = "TEXT")]
    pub subject: Option<String>,
    /// The subjects.
    #[arg(long, value_name = "PATTERN", conflicts_with = "subject")]
    pub subject_pattern: Option<String>,
    /// The audience [default: the one that is configured for the issuer].
    #[arg(long, value_name = "TEXT")]
    pub audience: Option<String>,
    /// The audiences.
    #[arg(long, value_name = "PATTERN", conflicts_with = "audience")]
    pub audience_pattern: Option<String>,
    /// Another claim that the token must have; may be given several times.
    #[arg(long = "claim", value_name = "CLAIM=VALUE", value_parser = pair)]
    pub claims: Vec<(String, String)>,
    /// Another claim that the token must have; may be given several times.
    #[arg(long = "claim-pattern", value_name = "CLAIM=PATTERN", value_parser = pair)]
    pub claim_patterns: Vec<(String, String)>,
    /// A file with a JWK Set of public keys: tokens are verified by these, and the issuer is never asked.
    #[arg(long, value_name = "FILE", requires = "issuer", requires = "subject")]
    pub jwks: Option<PathBuf>,
    /// How long the keys are good: 90d, at most 365d.
    #[arg(long, value_name = "DURATION", requires = "jwks", value_parser = crate::when::parse_duration)]
    pub ttl: Option<u64>,
}

/// Commands about roles.
#[derive(Debug, Subcommand)]
pub enum Roles {
    /// Make a role, which can be bound at its group and below.
    Create {
        /// The full name: the group's path, a slash, its own name.
        name: String,
        /// What it is for.
        #[arg(long, value_name = "TEXT", default_value = "")]
        description: String,
        /// A capability; may be given several times.
        #[arg(long = "capability", value_name = "NAME", required = true)]
        capabilities: Vec<String>,
        /// Which registry, and how to print it.
        #[command(flatten)]
        asking: Asking,
    },
    /// List the built-in roles and those that you may see.
    List {
        /// Only of this group and those below it.
        #[arg(default_value = "")]
        group: String,
        /// Which registry, and how to print them.
        #[command(flatten)]
        listing: Listing,
    },
    /// Show a role.
    Show {
        /// Its full name.
        name: String,
        /// Which registry, and how to print it.
        #[command(flatten)]
        asking: Asking,
    },
    /// Replace the capabilities of a role. Tokens that had more are revoked.
    Update {
        /// Its full name.
        name: String,
        /// What it is for [default: as it is].
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        /// A capability; may be given several times, and what is not given is taken away.
        #[arg(long = "capability", value_name = "NAME", required = true)]
        capabilities: Vec<String>,
        /// Which registry, and how to print it.
        #[command(flatten)]
        asking: Asking,
    },
    /// Delete a role that nothing is bound to.
    Delete {
        /// Its full name.
        name: String,
        /// Which registry, and how to print the answer.
        #[command(flatten)]
        asking: Asking,
    },
}

/// Commands about bindings.
#[derive(Debug, Subcommand)]
pub enum Bindings {
    /// Give an identity a role at a group or a repository.
    Create(BindingsCreate),
    /// List bindings.
    List {
        /// Only at this group and below it.
        #[arg(default_value = "")]
        group: String,
        /// Only of this identity, by id or full name.
        #[arg(long, value_name = "IDENTITY", default_value = "")]
        identity: String,
        /// Which registry, and how to print them.
        #[command(flatten)]
        listing: Listing,
    },
    /// Show a binding.
    Show {
        /// Its id.
        id: String,
        /// Which registry, and how to print it.
        #[command(flatten)]
        asking: Asking,
    },
    /// Take a binding back, and revoke the tokens that it gave.
    Delete {
        /// Its id.
        id: String,
        /// Which registry, and how to print the answer.
        #[command(flatten)]
        asking: Asking,
    },
}

/// Flags of `iam bindings create`.
#[derive(Debug, Args)]
pub struct BindingsCreate {
    /// Whom, by id or full name; `anonymous` for everybody.
    #[arg(long, value_name = "IDENTITY")]
    pub identity: String,
    /// What, such as registry.push.
    #[arg(long, value_name = "ROLE")]
    pub role: String,
    /// Where.
    #[command(flatten)]
    pub target: Target,
    /// A claim that the bearer's upstream token must have; may be given several times.
    #[arg(long = "require", value_name = "CLAIM=VALUE", value_parser = pair)]
    pub require: Vec<(String, String)>,
    /// A claim that the bearer's upstream token must have; may be given several times.
    #[arg(long = "require-pattern", value_name = "CLAIM=PATTERN", value_parser = pair)]
    pub require_pattern: Vec<(String, String)>,
    /// Which registry, and how to print it.
    #[command(flatten)]
    pub asking: Asking,
}

/// A group or a repository.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Target {
    /// A group with everything below it; the empty path is the root, above all.
    #[arg(long, value_name = "PATH")]
    pub group: Option<String>,
    /// One repository alone.
    #[arg(long, value_name = "NAME")]
    pub repo: Option<String>,
}

/// Commands about push policies.
#[derive(Debug, Subcommand)]
pub enum PushPolicies {
    /// Let only workloads push: identities with exact subject and audience, of issuers that the operator marked so.
    Set {
        /// Where.
        #[command(flatten)]
        target: Target,
        /// Which registry, and how to print the answer.
        #[command(flatten)]
        asking: Asking,
    },
    /// Let everybody push again whose bindings say so.
    Lift {
        /// Where.
        #[command(flatten)]
        target: Target,
        /// Which registry, and how to print the answer.
        #[command(flatten)]
        asking: Asking,
    },
    /// List where a policy is set.
    List {
        /// Only at this group and below it.
        #[arg(default_value = "")]
        path: String,
        /// Which registry, and how to print them.
        #[command(flatten)]
        listing: Listing,
    },
}

/// `name=value`; the value may hold more equals signs.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected CLAIM=VALUE".to_owned()),
    }
}
