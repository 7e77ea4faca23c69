//! Workloads as their platforms describe them in identity tokens.
//!
//! A token has every claim that its platform documents, under that name and of that type: a rule that looks at one claim must
//! not trip over the others, be they numbers, lists, objects or nulls. Its header and its life are the platform's as well.

mod buildkite;
mod circleci;
mod github;
mod gitlab;
mod google;
mod kubernetes;

pub use buildkite::BuildkiteJob;
pub use circleci::CircleCiJob;
pub use github::GitHubJob;
pub use gitlab::GitLabJob;
pub use google::ComputeInstance;
pub use kubernetes::KubernetesPod;

use jsonwebtoken::{Algorithm, Header};
use serde_json::{Value, json};

/// What a platform says of one workload, whoever asks for a token.
#[derive(Clone, Debug)]
pub struct Workload {
    issuer: String,
    claims: Value,
    audience: AudienceForm,
    /// Whether the header says `typ: JWT`.
    typed: bool,
    /// Whether each token has a `jti`.
    numbered: bool,
    /// How long before its issue a token is good already; none where the platform leaves `nbf` out.
    good_before: Option<i64>,
    lives: i64,
}

/// How a platform writes the one audience of a token.
#[derive(Clone, Copy, Debug)]
enum AudienceForm {
    Text,
    List,
}

impl Workload {
    /// Returns the issuer's URL.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns the subject.
    pub fn subject(&self) -> &str {
        self.claims["sub"].as_str().expect("a workload has a subject")
    }

    /// Returns one claim that does not depend on who asks.
    pub fn claim(&self, name: &str) -> &Value {
        &self.claims[name]
    }

    /// Returns the same workload on an installation of one's own, such as a self-hosted GitLab or another cluster.
    #[must_use]
    pub fn at(mut self, issuer: &str) -> Self {
        issuer.clone_into(&mut self.issuer);
        self
    }

    /// Returns the same workload with another value of one claim.
    #[must_use]
    pub fn with(mut self, claim: &str, value: Value) -> Self {
        self.claims[claim] = value;
        self
    }

    /// Returns all claims of a token for `audience` that is issued at `now`, in Unix seconds.
    pub fn claims(&self, audience: &str, now: i64) -> Value {
        let mut claims = self.claims.clone();
        claims["iss"] = json!(self.issuer);
        claims["aud"] = match self.audience {
            AudienceForm::Text => json!(audience),
            AudienceForm::List => json!([audience]),
        };
        if self.numbered {
            claims["jti"] = json!(uuid::Uuid::new_v4().to_string());
        }
        claims["iat"] = json!(now);
        claims["exp"] = json!(now + self.lives);
        if let Some(before) = self.good_before {
            claims["nbf"] = json!(now - before);
        }
        claims
    }

    pub(crate) fn header(&self, algorithm: Algorithm) -> Header {
        let mut header = Header::new(algorithm);
        if !self.typed {
            header.typ = None;
        }
        header
    }
}

/// A number or text that is always the same for the same name, as platforms number what they know by name.
fn number(name: &str) -> u64 {
    // FNV-1a, kept to nine digits.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    100_000_000 + hash % 900_000_000
}

/// A UUID that is always the same for the same name.
fn uuid(name: &str) -> String {
    let halves = [number(name), number(&format!("{name} again"))];
    uuid::Uuid::from_u64_pair(halves[0] << 20 | 0x4000, (0b10 << 62) | halves[1]).to_string()
}

/// A commit that is always the same for the same name.
fn commit(name: &str) -> String {
    let parts = ["a", "b", "c", "d", "e"].map(|part| format!("{:08x}", number(&format!("{part}{name}"))));
    parts.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn all() -> Vec<(&'static str, Workload)> {
        vec![
            ("github", GitHubJob::on_branch("acme/images", "main").workload()),
            (
                "gitlab",
                GitLabJob::on_branch("acme/backend/images", "main").workload(),
            ),
            (
                "buildkite",
                BuildkiteJob::on_branch("acme", "images", "main").workload(),
            ),
            (
                "circleci",
                CircleCiJob::on_branch("acme", "images", "main").workload(),
            ),
            ("kubernetes", KubernetesPod::of("production", "web").workload()),
            (
                "google",
                ComputeInstance::of("acme-production", "builder").workload(),
            ),
        ]
    }

    #[test]
    fn tokens_are_whole() {
        for (name, workload) in all() {
            let claims = workload.claims("registry.example", NOW);
            let issuer = claims["iss"].as_str().unwrap();
            assert!(issuer.starts_with("https://") && !issuer.ends_with('/'), "{name}");
            assert_eq!(claims["sub"], workload.subject(), "{name}");
            assert_eq!(claims["iat"], NOW, "{name}");
            assert!(claims["exp"].as_i64().unwrap() > NOW, "{name}");
            assert!(claims["nbf"].as_i64().is_none_or(|from| from <= NOW), "{name}");
        }
    }

    #[test]
    fn a_workload_is_the_same_each_time_but_its_tokens_are_not() {
        let job = GitHubJob::on_branch("acme/images", "main").workload();
        let [first, second] = [1, 2].map(|_| job.claims("x", NOW));
        for claim in ["sub", "repository_id", "sha", "run_id"] {
            assert_eq!(first[claim], second[claim], "{claim}");
        }
        assert_ne!(first["jti"], second["jti"]);
    }
}
