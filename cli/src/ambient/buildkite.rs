//! Buildkite: the agent gives tokens to the jobs that it runs.

use super::{Token, is_set, output};

pub(super) fn is_here() -> bool {
    is_set("BUILDKITE_AGENT_ACCESS_TOKEN")
}

pub(super) fn identity_token(audience: &str) -> Token {
    output(
        "buildkite-agent",
        &[
            "oidc",
            "request-token",
            "--audience",
            audience,
            "--lifetime",
            "300",
        ],
    )
}
