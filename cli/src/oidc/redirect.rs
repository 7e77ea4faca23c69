//! Where the browser comes back to: a listener on loopback, on a port of its own, for one login (RFC 8252, section 7.3).
//!
//! Any program of this machine, and any page in the browser, can send a request here. One without the state that this
//! login made is answered and forgotten, and the wait goes on.

use std::time::Duration;

use roadstead_types::Digest;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
};
use url::form_urlencoded;

use crate::error::{Error, printable};

const PATH: &str = "/callback";
/// For typing a password and finding the second factor.
const PATIENCE: Duration = Duration::from_mins(10);
/// A browser opens connections that it then does not use.
const REQUEST_PATIENCE: Duration = Duration::from_secs(30);
const LONGEST_HEAD: usize = 32 * 1024;
/// More than any browser opens at once.
const MOST_CONNECTIONS: usize = 64;

/// The listener of one login.
pub(super) struct Redirect {
    listener: TcpListener,
    port: u16,
}

/// What a redirect of this login must have.
pub(super) struct Expected<'a> {
    pub(super) state: &'a str,
    pub(super) issuer: &'a str,
    /// Whether the issuer names itself in every redirect (RFC 9207).
    pub(super) names_itself: bool,
}

/// What a request is.
#[derive(Debug, PartialEq, Eq)]
enum Judged {
    Code(String),
    /// The issuer's refusal, for a person.
    Refused(String),
    /// Not of this login: status and words.
    Stray(&'static str, &'static str),
}

impl Redirect {
    pub(super) async fn listen() -> Result<Self, Error> {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .map_err(Error::file("listen on", "127.0.0.1"))?;
        let port = listener.local_addr().map_err(Error::internal)?.port();
        Ok(Self { listener, port })
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}{PATH}", self.port)
    }

    /// Waits for the browser to bring a code.
    pub(super) async fn code(self, expected: &Expected<'_>) -> Result<String, Error> {
        let refused = |reason: &str| Error::LoginRefused {
            host: expected.issuer.to_owned(),
            reason: reason.to_owned(),
        };
        match tokio::time::timeout(PATIENCE, self.first(expected)).await {
            Ok(Judged::Code(code)) => Ok(code),
            Ok(Judged::Refused(reason)) => Err(refused(&reason)),
            Ok(Judged::Stray(..)) => Err(Error::internal("the listener broke")),
            Err(_) => Err(refused(
                "nobody came back from the browser; try again, or use --device",
            )),
        }
    }

    /// The first request that is of this login. Connections are served beside each other, since the first that a browser
    /// opens need not be the one it uses.
    async fn first(&self, expected: &Expected<'_>) -> Judged {
        let (send, mut heads) = mpsc::channel::<(String, TcpStream)>(16);
        let mut readers = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept(), if readers.len() < MOST_CONNECTIONS => {
                    let Ok((stream, _)) = accepted else { continue };
                    let send = send.clone();
                    readers.spawn(async move {
                        if let Ok(Some(read)) = tokio::time::timeout(REQUEST_PATIENCE, head(stream)).await {
                            let _ = send.send(read).await;
                        }
                    });
                }
                Some(_) = readers.join_next() => {}
                Some((head, stream)) = heads.recv() => {
                    let judged = judge(&head, self.port, expected);
                    answer(stream, &judged).await;
                    if !matches!(judged, Judged::Stray(..)) {
                        return judged;
                    }
                }
            }
        }
    }
}

/// Reads a request up to its empty line.
async fn head(mut stream: TcpStream) -> Option<(String, TcpStream)> {
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        if head.len() > LONGEST_HEAD || stream.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    Some((String::from_utf8(head).ok()?, stream))
}

fn judge(head: &str, port: u16, expected: &Expected<'_>) -> Judged {
    let mut lines = head.split("\r\n");
    let mut request = lines.next().unwrap_or_default().split(' ');
    let (method, target) = (request.next(), request.next().unwrap_or_default());
    let mut hosts = lines
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| name.eq_ignore_ascii_case("host"))
        .map(|(_, value)| value.trim());
    // Another name for this address would be a page that had its own name resolve to it.
    if hosts.next() != Some(format!("127.0.0.1:{port}").as_str()) || hosts.next().is_some() {
        return Judged::Stray("421 Misdirected Request", "This address is not of this login.");
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if path != PATH || method != Some("GET") {
        return Judged::Stray("404 Not Found", "There is nothing here.");
    }
    let parameter = |name: &str| {
        let mut found = form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == name);
        let value = found.next().map(|(_, value)| value.into_owned());
        // A parameter that comes twice could be read one way here and another way elsewhere.
        found.next().is_none().then_some(value).flatten()
    };
    if !parameter("state").is_some_and(|state| same(&state, expected.state)) {
        return Judged::Stray(
            "400 Bad Request",
            "This is not the answer to the login that waits here. Close this window.",
        );
    }
    match parameter("iss") {
        Some(issuer) if issuer != expected.issuer => {
            return Judged::Refused("the answer came from another issuer".to_owned());
        }
        None if expected.names_itself => {
            return Judged::Refused("the answer does not name its issuer".to_owned());
        }
        _ => {}
    }
    if let Some(error) = parameter("error") {
        let description = parameter("error_description").unwrap_or_default();
        return Judged::Refused(printable(format!("{error} {description}").trim()));
    }
    parameter("code").map_or_else(
        || Judged::Refused("the answer has no code".to_owned()),
        Judged::Code,
    )
}

/// Compares what must not be found out by trying.
fn same(given: &str, expected: &str) -> bool {
    Digest::sha256(given.as_bytes()) == Digest::sha256(expected.as_bytes())
}

async fn answer(mut stream: TcpStream, judged: &Judged) {
    let (status, words) = match judged {
        Judged::Code(_) => (
            "200 OK",
            "The login goes on in the terminal. This window can be closed.",
        ),
        // The issuer's words came by way of the browser's address, so they are not shown in a page.
        Judged::Refused(_) => (
            "200 OK",
            "The login was refused; the terminal says why. This window can be closed.",
        ),
        Judged::Stray(status, words) => (*status, *words),
    };
    let body = format!(
        "<!doctype html><meta charset=\"utf-8\"><title>roadstead</title><body style=\"font:16px sans-serif;margin:4em\"><p>{words}</p>"
    );
    let response = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\nReferrer-Policy: no-referrer\r\n\
         X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    // A browser that went away needs no page.
    let _ = stream.write_all(response.as_bytes()).await;
    let _ = stream.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::{Expected, Judged, judge};

    const EXPECTED: Expected<'_> = Expected {
        state: "s1",
        issuer: "https://login.example",
        names_itself: false,
    };

    fn request(target: &str) -> String {
        format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1:7\r\nAccept: */*\r\n\r\n")
    }

    #[test]
    fn a_code_comes_with_the_state_of_the_login() {
        let good = judge(&request("/callback?code=c%2F1&state=s1"), 7, &EXPECTED);
        assert_eq!(good, Judged::Code("c/1".to_owned()));
        let named = "/callback?code=c&state=s1&iss=https%3A%2F%2Flogin.example";
        assert_eq!(judge(&request(named), 7, &EXPECTED), Judged::Code("c".to_owned()));
    }

    #[test]
    fn what_is_not_of_the_login_is_forgotten() {
        for target in [
            "/favicon.ico",
            "/",
            "/callback",
            "/callback?code=c",
            "/callback?code=c&state=s2",
            "/callback?code=c&state=",
            "/callback?code=c&state=s1&state=s1",
            "/callback?error=access_denied&state=s2",
            "//callback?code=c&state=s1",
        ] {
            let judged = judge(&request(target), 7, &EXPECTED);
            assert!(matches!(judged, Judged::Stray(..)), "{target}: {judged:?}");
        }
        let good = request("/callback?code=c&state=s1");
        for head in [
            good.replace("127.0.0.1:7", "evil.example:7"),
            good.replace("127.0.0.1:7", "127.0.0.1:8"),
            good.replace("Host: 127.0.0.1:7\r\n", ""),
            good.replace("Host", "Host: 127.0.0.1:7\r\nHost"),
            good.replace("GET", "POST"),
        ] {
            assert!(matches!(judge(&head, 7, &EXPECTED), Judged::Stray(..)), "{head}");
        }
    }

    #[test]
    fn refusals_and_mixed_up_issuers_end_the_login() {
        for (target, reason) in [
            (
                "/callback?error=access_denied&error_description=not%0Ayou&state=s1",
                "access_denied not you",
            ),
            ("/callback?state=s1", "the answer has no code"),
            (
                "/callback?code=c&state=s1&iss=https%3A%2F%2Fother.example",
                "the answer came from another issuer",
            ),
            ("/callback?code=a&code=b&state=s1", "the answer has no code"),
        ] {
            assert_eq!(
                judge(&request(target), 7, &EXPECTED),
                Judged::Refused(reason.to_owned()),
                "{target}"
            );
        }
        let silent = Expected {
            names_itself: true,
            ..EXPECTED
        };
        assert!(matches!(
            judge(&request("/callback?code=c&state=s1"), 7, &silent),
            Judged::Refused(_)
        ));
    }
}
