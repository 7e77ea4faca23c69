//! What this machine is: identity tokens that a continuous integration system, a cluster or a cloud gives its workloads,
//! made for one audience and good for minutes. Nothing has to be stored to prove who a job is.
//!
//! A token that was made for somebody else is never sent: whoever gets it could use it there.

mod aws;
mod buildkite;
mod circleci;
mod github;
mod gitlab;
mod google;
pub(crate) mod jwt;
mod kubernetes;

use std::{env, fmt, process::Command};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::error::{Error, printable};

/// Who gives this machine's workloads identity tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
    /// GitHub Actions, with `permissions: id-token: write`.
    #[value(name = "github-actions")]
    GithubActions,
    /// GitLab CI/CD, with `id_tokens: ROADSTEAD_IDENTITY_TOKEN`.
    Gitlab,
    /// Buildkite, by its agent.
    Buildkite,
    /// `CircleCI`, by its command line.
    Circleci,
    /// Kubernetes, by a projected service account token.
    Kubernetes,
    /// Google Cloud, by the metadata server.
    Google,
    /// AWS, by `aws sts get-web-identity-token`.
    Aws,
}

impl Provider {
    /// The provider whose workload this is; the most specific first, since a job may run in a cluster on an instance.
    pub(crate) fn detect(audience: &str) -> Option<Self> {
        Self::value_variants()
            .iter()
            .copied()
            .find(|provider| provider.is_here(audience))
    }

    fn is_here(self, audience: &str) -> bool {
        match self {
            Self::GithubActions => github::is_here(),
            Self::Gitlab => gitlab::is_here(),
            Self::Buildkite => buildkite::is_here(),
            Self::Circleci => circleci::is_here(),
            Self::Kubernetes => kubernetes::is_here(audience),
            Self::Google => google::is_here(),
            Self::Aws => aws::is_here(),
        }
    }

    /// A token of this workload for an audience.
    pub(crate) async fn identity_token(self, audience: &str) -> Result<String, Error> {
        let token = match self {
            Self::GithubActions => github::identity_token(audience).await,
            Self::Gitlab => gitlab::identity_token(audience),
            Self::Buildkite => buildkite::identity_token(audience),
            Self::Circleci => circleci::identity_token(audience),
            Self::Kubernetes => kubernetes::identity_token(audience),
            Self::Google => google::identity_token(audience).await,
            Self::Aws => aws::identity_token(audience),
        };
        let token = token.and_then(|token| {
            let token = token.trim().to_owned();
            if token.is_empty() || token.contains(char::is_whitespace) {
                return Err("what it gave is not a token".to_owned());
            }
            Ok(token)
        });
        token.map_err(|reason| Error::NoIdentityToken {
            provider: self.to_string(),
            reason,
        })
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GithubActions => "GitHub Actions",
            Self::Gitlab => "GitLab CI/CD",
            Self::Buildkite => "Buildkite",
            Self::Circleci => "CircleCI",
            Self::Kubernetes => "Kubernetes",
            Self::Google => "Google Cloud",
            Self::Aws => "AWS",
        })
    }
}

/// A token, or why there is none and what to do about it.
type Token = Result<String, String>;

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn is_set(name: &str) -> bool {
    variable(name).is_some()
}

/// What a program prints. Its errors are repeated; what it prints otherwise is the token.
fn output(program: &str, arguments: &[&str]) -> Token {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| format!("cannot run `{program}`: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!(
            "`{program} {}` failed: {}",
            arguments.join(" "),
            printable(said.trim())
        ));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("`{program}` printed no text"))
}
