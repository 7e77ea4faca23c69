//! Kubernetes: a token of the pod's service account, projected into a volume for our audience, and kept fresh there.

use std::{fs, path::Path};

use super::{Token, jwt};

/// Where a volume for us is mounted, then where every pod's own token is. That one is for the cluster's API unless its
/// audience says otherwise.
const FILES: [&str; 2] = [
    "/var/run/secrets/roadstead/token",
    "/var/run/secrets/kubernetes.io/serviceaccount/token",
];

pub(super) fn is_here(audience: &str) -> bool {
    find(Path::new("/"), audience).is_some()
}

pub(super) fn identity_token(audience: &str) -> Token {
    find(Path::new("/"), audience).ok_or_else(|| {
        format!(
            "no projected token for {audience}; mount a volume at {} with\n    \
             projected:\n      sources:\n      - serviceAccountToken: {{ path: token, audience: {audience} }}",
            FILES[0].trim_end_matches("/token")
        )
    })
}

fn find(root: &Path, audience: &str) -> Option<String> {
    let files = FILES.iter().map(|file| root.join(file.trim_start_matches('/')));
    let mut tokens = files.filter_map(|file| fs::read_to_string(file).ok());
    tokens.find(|token| jwt::is_for(token, audience))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

    use super::{FILES, find};

    fn token(audience: &str) -> String {
        let claims = serde_json::json!({ "aud": [audience] }).to_string();
        format!("h.{}.s\n", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn only_a_token_for_us_is_taken() {
        let root = tempfile::tempdir().unwrap();
        let place = |file: &str, content: &str| {
            let path = root.path().join(file.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        assert_eq!(find(root.path(), "registry.example"), None);
        place(FILES[1], &token("https://kubernetes.default.svc"));
        assert_eq!(find(root.path(), "registry.example"), None);
        place(FILES[0], &token("registry.example"));
        assert_eq!(
            find(root.path(), "registry.example"),
            Some(token("registry.example"))
        );
        assert_eq!(find(root.path(), "other.example"), None);
    }
}
