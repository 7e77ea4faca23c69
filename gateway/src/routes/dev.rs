//! `POST /dev/token`: an identity token of the development issuer, for this machine's user only.

use std::sync::Arc;

use axum::{Extension, extract::State, response::Response};
use http::{HeaderMap, StatusCode};
use roadstead_proto::auth::v1::IssueIdentityTokenRequest;
use serde_json::json;

use crate::{
    address::is_loopback_name,
    app::App,
    call::{Call, DEV_SECRET},
    dev_secret::DevSecret,
    error::{ErrorCode, Failure},
    respond,
};

pub(super) async fn post(
    State(app): State<Arc<App>>,
    Extension(call): Extension<Arc<Call>>,
) -> Result<Response, Failure> {
    let secret = app.dev_secret.get().ok_or_else(Failure::no_such_route)?;
    if let Some(why) = refusal(&call, secret) {
        return Err(Failure::new(StatusCode::FORBIDDEN, ErrorCode::Denied, why));
    }
    let request = IssueIdentityTokenRequest {
        context: Some(call.context()),
    };
    let issued = app
        .services
        .dev_issuer
        .clone()
        .issue_identity_token(request)
        .await?
        .into_inner();
    Ok(respond::json(
        json!({ "identity_token": issued.identity_token }).to_string(),
    ))
}

/// Why the caller is not believed to be this machine's user. Each check closes one way in:
/// the peer keeps out other machines; a browser names its page in `Origin` or `Sec-Fetch-Site`; DNS rebinding shows in
/// `Host`; a tunnel or proxy shows in its forwarding headers; other users cannot read the secret.
fn refusal(call: &Call, secret: &DevSecret) -> Option<&'static str> {
    if !call.peer.ip().to_canonical().is_loopback() {
        return Some("the development issuer serves this machine only");
    }
    if has_foreign_header(&call.headers) {
        return Some("the development issuer serves neither browsers nor proxies");
    }
    if !call
        .host()
        .is_some_and(|host| is_loopback_name(host, secret.port()))
    {
        return Some(
            "the development issuer answers only to localhost, 127.0.0.1 and [::1] with its own port",
        );
    }
    let mut shown = call.headers.get_all(DEV_SECRET).iter();
    match (shown.next(), shown.next()) {
        (Some(shown), None) if secret.is(shown.as_bytes()) => None,
        _ => Some(
            "X-Roadstead-Dev must carry the secret that the registry wrote into the user's runtime directory",
        ),
    }
}

fn has_foreign_header(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| {
        let name = name.as_str();
        matches!(name, "origin" | "sec-fetch-site" | "forwarded" | "via") || name.starts_with("x-forwarded")
    })
}

#[cfg(test)]
mod tests {
    use http::Request;
    use roadstead_runtime::{ConfigSources, ConfigTree, PublicAddress};

    use super::*;
    use crate::address::Addresses;

    fn refusal_of(peer: &str, headers: &[(&str, &str)]) -> Option<&'static str> {
        let directory = tempfile::tempdir().unwrap();
        let secret = DevSecret::create_in(directory.path(), 5000).unwrap();
        let tree = ConfigTree::load(ConfigSources::default()).unwrap();
        let addresses = Addresses::new(&PublicAddress::from_tree(&tree).unwrap(), Vec::new());
        let mut request = Request::post("/dev/token");
        for (name, value) in headers {
            request = request.header(*name, value.replace("SECRET", secret.expose()));
        }
        let call = Call::new(
            request.body(()).unwrap().into_parts().0,
            peer.parse().unwrap(),
            &addresses,
        );
        refusal(&call, &secret)
    }

    const GOOD: [(&str, &str); 2] = [("host", "localhost:5000"), ("x-roadstead-dev", "SECRET")];

    #[test]
    fn the_user_of_this_machine_is_served() {
        for host in ["localhost:5000", "127.0.0.1:5000", "[::1]:5000"] {
            assert_eq!(
                refusal_of("127.0.0.1:9", &[("host", host), GOOD[1]]),
                None,
                "{host}"
            );
        }
        assert_eq!(refusal_of("[::1]:9", &GOOD), None);
    }

    #[test]
    fn everyone_else_is_refused() {
        assert!(refusal_of("192.0.2.1:9", &GOOD).is_some());
        for header in [
            "origin",
            "sec-fetch-site",
            "forwarded",
            "via",
            "x-forwarded-for",
            "x-forwarded-anything",
        ] {
            assert!(
                refusal_of("127.0.0.1:9", &[GOOD[0], GOOD[1], (header, "")]).is_some(),
                "{header}"
            );
        }
        for host in [
            "localhost",
            "localhost:5001",
            "evil.example:5000",
            "127.0.0.1.evil.example:5000",
            "[::1]",
        ] {
            assert!(
                refusal_of("127.0.0.1:9", &[("host", host), GOOD[1]]).is_some(),
                "{host}"
            );
        }
        assert!(refusal_of("127.0.0.1:9", &GOOD[1..]).is_some());
        assert!(refusal_of("127.0.0.1:9", &GOOD[..1]).is_some());
        assert!(refusal_of("127.0.0.1:9", &[GOOD[0], ("x-roadstead-dev", "SECRETx")]).is_some());
        assert!(refusal_of("127.0.0.1:9", &[GOOD[0], GOOD[1], GOOD[1]]).is_some());
    }
}
