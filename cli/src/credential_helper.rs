//! The credential helper protocol of container clients: one action as argument, its subject on standard input, the
//! answer on standard output. Errors too go to standard output, in texts that clients compare byte by byte.

use std::io::{IsTerminal as _, Read as _, Write};

use roadstead_types::Clock;
use serde::{Deserialize, Serialize};

use crate::{
    cache::TokenCache,
    error::Error,
    host::RegistryHost,
    login::{LoggedOut, fresh_token, log_out},
    registry::Transport,
};

/// The name under which this program is the helper; `credHelpers` names it without the `docker-credential-`.
pub const PROGRAM: &str = "docker-credential-roadstead";

/// The user name beside an access token. The registry ignores it; `<token>` would tell clients to expect a refresh
/// token instead.
pub const USER_NAME: &str = "_token";

const NOT_FOUND: &str = "credentials not found in native keychain";
const NO_SERVER_URL: &str = "no credentials server URL";
const NO_USER_NAME: &str = "no credentials username";

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Credentials<'a> {
    #[serde(rename = "ServerURL")]
    server_url: &'a str,
    username: &'a str,
    secret: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Submitted {
    #[serde(rename = "ServerURL", default)]
    server_url: String,
    #[serde(default)]
    username: String,
}

/// What goes to standard output, and whether it is an answer or an error.
type Answer = Result<String, String>;

/// Performs one action; returns the exit code that the protocol wants.
pub async fn run(arguments: &[String], cache: &TokenCache, clock: &Clock) -> u8 {
    let [action] = arguments else {
        eprintln!("Usage: {PROGRAM} <store|get|erase|list|version>");
        return 1;
    };
    if action == "get" && std::io::stdout().is_terminal() {
        eprintln!(
            "{PROGRAM}: the answer is a secret, and this is a terminal; container clients read it from a pipe"
        );
        return 1;
    }
    let mut input = String::new();
    if matches!(action.as_str(), "get" | "store" | "erase")
        && let Err(error) = std::io::stdin().read_to_string(&mut input)
    {
        eprintln!("{PROGRAM}: cannot read standard input: {error}");
        return 1;
    }
    let answer = match action.as_str() {
        "get" => get(input.trim(), cache, clock).await,
        "store" => store(&input),
        "erase" => erase(input.trim(), cache).await,
        "list" => list(cache),
        "version" | "--version" | "-v" => Ok(format!("{PROGRAM} (roadstead) v{}", env!("CARGO_PKG_VERSION"))),
        unknown => Err(format!("unknown credential action {unknown:?}")),
    };
    let (text, code) = match answer {
        Ok(text) => (text, 0),
        Err(text) => (text, 1),
    };
    let newline = if text.is_empty() { "" } else { "\n" };
    let mut output = std::io::stdout();
    // A client that closed the pipe wants no answer.
    let _ = write!(output, "{text}{newline}").and_then(|()| output.flush());
    code
}

async fn get(server_url: &str, cache: &TokenCache, clock: &Clock) -> Answer {
    if server_url.is_empty() {
        return Err(NO_SERVER_URL.to_owned());
    }
    let host = RegistryHost::parse(server_url).map_err(|_| NOT_FOUND.to_owned())?;
    match fresh_token(cache, clock, &host, &Transport::default()).await {
        Ok(token) => {
            let credentials = Credentials {
                server_url,
                username: USER_NAME,
                secret: &token.access_token,
            };
            serde_json::to_string(&credentials).map_err(|error| error.to_string())
        }
        // Clients read this text as "go on without credentials", which is right for public repositories.
        Err(error @ (Error::NotLoggedIn { .. } | Error::LoginRefused { .. })) => {
            eprintln!("{PROGRAM}: {error}");
            Err(NOT_FOUND.to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Accepts and ignores: the helper makes its own tokens, and one pasted into `docker login` would only get old.
fn store(input: &str) -> Answer {
    let submitted: Submitted =
        serde_json::from_str(input).map_err(|error| format!("the credentials are not JSON: {error}"))?;
    if submitted.server_url.trim().is_empty() {
        return Err(NO_SERVER_URL.to_owned());
    }
    if submitted.username.trim().is_empty() {
        return Err(NO_USER_NAME.to_owned());
    }
    eprintln!(
        "{PROGRAM}: not kept: this helper gets fresh tokens by itself, after `roadstead login {}`",
        RegistryHost::parse(&submitted.server_url)
            .map_or_else(|_| "HOST".to_owned(), |host| host.to_string())
    );
    Ok(String::new())
}

/// What a client's `logout` is for somebody who logged in here: the end of the session.
async fn erase(server_url: &str, cache: &TokenCache) -> Answer {
    if server_url.is_empty() {
        return Err(NO_SERVER_URL.to_owned());
    }
    let host = RegistryHost::parse(server_url).map_err(|_| NOT_FOUND.to_owned())?;
    let outcome = log_out(cache, &host, &Transport::default()).await;
    match outcome.map_err(|error| error.to_string())? {
        LoggedOut::SessionLeft(error) => {
            eprintln!(
                "{PROGRAM}: the registry was not told, so the session lasts until it ends by itself: {error}"
            );
        }
        LoggedOut::NothingThere | LoggedOut::Forgotten | LoggedOut::OfDevIssuer | LoggedOut::SessionEnded => {
        }
    }
    Ok(String::new())
}

fn list(cache: &TokenCache) -> Answer {
    let tokens = cache.list().map_err(|error| error.to_string())?;
    let names: serde_json::Map<String, serde_json::Value> = tokens
        .into_iter()
        .map(|token| (token.host, USER_NAME.into()))
        .collect();
    serde_json::to_string(&names).map_err(|error| error.to_string())
}
