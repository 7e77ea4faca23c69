//! GitHub Actions: a job with `permissions: id-token: write` is told where to ask for tokens, and with what.

use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::{Token, is_set, variable};
use crate::{error::chain, registry};

const URL: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
const SECRET: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";

/// The service is known to fail now and then.
const ATTEMPTS: u32 = 3;

#[derive(Deserialize)]
struct Reply {
    value: String,
}

pub(super) fn is_here() -> bool {
    is_set("GITHUB_ACTIONS") || is_set(URL)
}

pub(super) async fn identity_token(audience: &str) -> Token {
    let (Some(url), Some(secret)) = (variable(URL), variable(SECRET)) else {
        return Err(
            "the job may not ask for one; give it\n    permissions:\n      id-token: write\n      contents: read"
                .to_owned(),
        );
    };
    let mut url = Url::parse(&url).map_err(|error| format!("{URL} is not a URL: {error}"))?;
    let loopback = registry::is_loopback(&url);
    if url.scheme() != "https" && !loopback {
        return Err(format!("{URL} is not https"));
    }
    url.query_pairs_mut().append_pair("audience", audience);
    let http = registry::http_client(loopback, None).map_err(|error| error.to_string())?;
    let mut attempt = 1;
    loop {
        match ask(&http, &url, &secret).await {
            Err((true, _)) if attempt < ATTEMPTS => {
                tokio::time::sleep(Duration::from_millis(500) * attempt).await;
                attempt += 1;
            }
            answer => return answer.map_err(|(_, reason)| reason),
        }
    }
}

/// Asks once; of a failure it says whether another try may help.
async fn ask(http: &reqwest::Client, url: &Url, secret: &str) -> Result<String, (bool, String)> {
    let answer = http.get(url.clone()).bearer_auth(secret).send().await;
    let answer = answer.map_err(|error| (true, chain(&error.without_url())))?;
    let status = answer.status();
    if !status.is_success() {
        return Err((
            status.is_server_error(),
            format!("its token service answered {status}"),
        ));
    }
    let reply: Reply = answer
        .json()
        .await
        .map_err(|error| (false, chain(&error.without_url())))?;
    Ok(reply.value)
}
