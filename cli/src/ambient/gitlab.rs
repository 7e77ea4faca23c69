//! GitLab CI/CD: a job's `id_tokens` are variables, made before the job starts for the audience that it names.

use super::{Token, is_set, jwt, variable};

/// Under these names a job may keep it. The first is read before anything is detected.
const VARIABLES: [&str; 2] = ["ROADSTEAD_IDENTITY_TOKEN", "ROADSTEAD_ID_TOKEN"];

pub(super) fn is_here() -> bool {
    is_set("GITLAB_CI")
}

pub(super) fn identity_token(audience: &str) -> Token {
    let token = VARIABLES.into_iter().find_map(variable).ok_or_else(|| {
        format!(
            "the job has none; give it\n    id_tokens:\n      {}:\n        aud: {audience}",
            VARIABLES[0]
        )
    })?;
    if jwt::is_for(&token, audience) {
        Ok(token)
    } else {
        Err(format!(
            "the job's token is not for {audience}; set its `aud` so, or name another with --audience"
        ))
    }
}
