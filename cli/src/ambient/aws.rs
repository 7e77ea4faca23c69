//! AWS: `aws sts get-web-identity-token`, where the account has outbound identity federation enabled; or the token that a
//! cluster projected, where it is for us. The usual one is for `sts.amazonaws.com`, and whoever had it could take the role.

use std::fs;

use super::{Token, is_set, jwt, output, variable};

const TOKEN_FILE: &str = "AWS_WEB_IDENTITY_TOKEN_FILE";
const VENDOR: &str = "/sys/devices/virtual/dmi/id/sys_vendor";

pub(super) fn is_here() -> bool {
    [
        TOKEN_FILE,
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_LAMBDA_FUNCTION_NAME",
        "CODEBUILD_BUILD_ID",
    ]
    .into_iter()
    .any(is_set)
        || fs::read_to_string(VENDOR).is_ok_and(|vendor| vendor.trim() == "Amazon EC2")
}

pub(super) fn identity_token(audience: &str) -> Token {
    let projected = variable(TOKEN_FILE).and_then(|file| fs::read_to_string(file).ok());
    if let Some(token) = projected.filter(|token| jwt::is_for(token, audience)) {
        return Ok(token);
    }
    output(
        "aws",
        &[
            "sts",
            "get-web-identity-token",
            "--audience",
            audience,
            "--signing-algorithm",
            "ES384",
            "--duration-seconds",
            "300",
            "--query",
            "WebIdentityToken",
            "--output",
            "text",
        ],
    )
}
