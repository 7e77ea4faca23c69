//! `CircleCI`: the job's `circleci` command gives tokens for any audience. Those of the environment are for the
//! organisation, which an issuer's `audience` can name too.

use super::{Token, is_set, jwt, output, variable};

pub(super) fn is_here() -> bool {
    is_set("CIRCLECI")
}

pub(super) fn identity_token(audience: &str) -> Token {
    if let Some(token) = variable("CIRCLE_OIDC_TOKEN_V2").filter(|token| jwt::is_for(token, audience)) {
        return Ok(token);
    }
    let claims = serde_json::json!({ "aud": audience }).to_string();
    output("circleci", &["run", "oidc", "get", "--claims", &claims])
}
