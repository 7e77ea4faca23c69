//! The claims of a token, unverified: only to see for whom it was made, before it is sent there.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

/// Whether a token was made for an audience and for no other.
pub(crate) fn is_for(token: &str, audience: &str) -> bool {
    match claim(token, "aud") {
        Some(Value::String(only)) => only == audience,
        Some(Value::Array(all)) => all.len() == 1 && all[0] == audience,
        _ => false,
    }
}

fn claim(token: &str, name: &str) -> Option<Value> {
    let payload = token.trim().split('.').nth(1)?;
    let mut claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    claims.get_mut(name).map(Value::take)
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

    use super::is_for;

    #[test]
    fn the_audience_is_the_only_one() {
        for (claims, wanted) in [
            (r#"{"aud":"registry.example"}"#, true),
            (r#"{"aud":["registry.example"]}"#, true),
            (
                r#"{"aud":["registry.example","https://kubernetes.default.svc"]}"#,
                false,
            ),
            (r#"{"aud":"https://kubernetes.default.svc"}"#, false),
            (r#"{"aud":[]}"#, false),
            ("{}", false),
            ("[]", false),
        ] {
            let token = format!("h.{}.s", URL_SAFE_NO_PAD.encode(claims));
            assert_eq!(is_for(&token, "registry.example"), wanted, "{claims}");
        }
        for broken in ["", "a", "a.b", "a.!.c"] {
            assert!(!is_for(broken, "registry.example"), "{broken}");
        }
    }
}
