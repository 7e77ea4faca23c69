//! Requests that one reader takes for one and another for two.
//!
//! Each row ends with a request for [`HIDDEN`], which an honest reading never gets to, and with another one, which closes
//! the connection. That the hidden one was not answered is read off the answers and off the access log.

use anyhow::{Context as _, Result, ensure};
use futures::FutureExt as _;
use roadstead_integration_tests::Setup;

use crate::arena::Arena;
use crate::table::{Case, Table, act};
use crate::wire::Connection;

/// The hidden request's path; nobody asks for it openly.
const HIDDEN: &str = "/smuggled";

pub(crate) const TABLE: Table = Table::new(cases).with_setup(setup);

fn setup(setup: Setup) -> Setup {
    // A row that leaves the server waiting for the rest of a body ends soon.
    setup
        .with("gateway.body_idle_timeout", "\"500ms\"")
        .with("gateway.header_timeout", "\"2s\"")
}

/// The last request of every row.
const LAST: &str = "GET /last HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n";
const HIDDEN_REQUEST: &str = "GET /smuggled HTTP/1.1\r\nHost: {host}\r\nX: x\r\n\r\n";

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = rows()
        .into_iter()
        .map(|(name, head, body, statuses)| {
            let start = format!("POST /token HTTP/1.1\r\nHost: {{host}}\r\n{head}\r\n{body}");
            row(name, start, statuses)
        })
        .collect();
    cases.extend(
        heads()
            .into_iter()
            .map(|(name, head, statuses)| row(name, head.to_owned(), statuses)),
    );
    cases.push(control());
    cases
}

/// It is refused, and the connection is closed.
const REFUSED: &[u16] = &[400];
/// The first is read as one whole, a form that asks for nothing, and the last is answered after it.
const WHOLE: &[u16] = &[400, 404];

type Row = (&'static str, &'static str, String, &'static [u16]);

#[rustfmt::skip] // A row is a line.
fn rows() -> Vec<Row> {
    let hidden = |start: &str| format!("{start}{HIDDEN_REQUEST}");
    vec![
        ("CL.TE", "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", hidden("0\r\n\r\n"), REFUSED),
        ("TE.CL", "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", hidden("0\r\n\r\n"), REFUSED),
        ("CL.CL of two lengths", "Content-Length: 0\r\nContent-Length: 5\r\n", hidden("hello"), REFUSED),
        ("CL.CL of two lengths, the other way", "Content-Length: 5\r\nContent-Length: 0\r\n", hidden("hello"), REFUSED),
        ("two lengths in one line", "Content-Length: 0, 5\r\n", hidden("hello"), REFUSED),
        ("the same length twice in one line", "Content-Length: 5, 5\r\n", hidden("hello"), REFUSED),
        ("a length with a plus", "Content-Length: +5\r\n", hidden("hello"), REFUSED),
        ("a length with a minus", "Content-Length: -5\r\n", hidden("hello"), REFUSED),
        ("a length in hexadecimal", "Content-Length: 0x5\r\n", hidden("hello"), REFUSED),
        ("a length with a fraction", "Content-Length: 5.0\r\n", hidden("hello"), REFUSED),
        ("a length with a letter", "Content-Length: 5a\r\n", hidden("hello"), REFUSED),
        ("a length of words", "Content-Length: five\r\n", hidden("hello"), REFUSED),
        ("an empty length", "Content-Length: \r\n", hidden("hello"), REFUSED),
        ("a length behind the largest integer", "Content-Length: 18446744073709551616\r\n", hidden("hello"), REFUSED),
        ("a length that wraps around to five", "Content-Length: 18446744073709551621\r\n", hidden("hello"), REFUSED),
        ("an unknown coding", "Transfer-Encoding: x\r\n", hidden("0\r\n\r\n"), REFUSED),
        ("identity", "Transfer-Encoding: identity\r\n", hidden("0\r\n\r\n"), REFUSED),
        ("chunked and something after it", "Transfer-Encoding: chunked, identity\r\n", hidden("0\r\n\r\n"), REFUSED),
        ("chunked in another word", "Transfer-Encoding: xchunked\r\n", hidden("0\r\n\r\n"), REFUSED),
        ("chunked in quotes", "Transfer-Encoding: \"chunked\"\r\n", hidden("0\r\n\r\n"), REFUSED),
        ("chunked with a vertical tab", "Transfer-Encoding: \u{b}chunked\r\n", hidden("0\r\n\r\n"), REFUSED),
        ("chunked with a parameter", "Transfer-Encoding: chunked;x=1\r\n", hidden("0\r\n\r\n"), REFUSED),
        ("an empty coding", "Transfer-Encoding:\r\n", hidden("0\r\n\r\n"), REFUSED),
        ("chunked, then unknown in another line", "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", hidden("0\r\n\r\n"), REFUSED),
        ("a space before the colon of the length", "Content-Length : 5\r\n", hidden("hello"), REFUSED),
        ("a space before the colon of the coding", "Transfer-Encoding : chunked\r\n", hidden("0\r\n\r\n"), REFUSED),
        ("a tab before the colon", "Transfer-Encoding\t: chunked\r\n", hidden("0\r\n\r\n"), REFUSED),
        ("a space before a name", "X: x\r\n Transfer-Encoding: chunked\r\n", hidden("0\r\n\r\n"), REFUSED),
        ("a folded line", "Transfer-Encoding:\r\n chunked\r\n", hidden("0\r\n\r\n"), REFUSED),
        ("a folded value", "X: x\r\n\ty\r\n", hidden(""), REFUSED),
        ("a bare carriage return in a value", "X: x\rTransfer-Encoding: chunked\r\n", hidden("0\r\n\r\n"), REFUSED),
        ("a NUL in a value", "X: x\0y\r\n", hidden(""), REFUSED),
        ("a NUL in a name", "X\0: x\r\n", hidden(""), REFUSED),
        ("an escape character in a value", "X: \u{1b}[2J\r\n", hidden(""), REFUSED),
        ("a name with a bracket", "X[0]: x\r\n", hidden(""), REFUSED),
        ("a name of another alphabet", "Transfer\u{2010}Encoding: chunked\r\n", hidden(""), REFUSED),
        ("a line without a colon", "Transfer-Encoding chunked\r\n", hidden(""), REFUSED),
        ("a line that is only a colon", ": x\r\n", hidden(""), REFUSED),
        ("a chunk size that wraps around", "Transfer-Encoding: chunked\r\n", hidden("10000000000000000\r\n\r\n"), REFUSED),
        ("a chunk size below zero", "Transfer-Encoding: chunked\r\n", hidden("-1\r\n\r\n"), REFUSED),
        ("a chunk size with 0x", "Transfer-Encoding: chunked\r\n", hidden("0x0\r\n\r\n"), REFUSED),
        ("a chunk size of words", "Transfer-Encoding: chunked\r\n", hidden("zero\r\n\r\n"), REFUSED),
        ("an empty chunk size", "Transfer-Encoding: chunked\r\n", hidden("\r\n\r\n"), REFUSED),
        ("a chunk that ends without a line", "Transfer-Encoding: chunked\r\n", hidden("1\r\nxx0\r\n\r\n"), REFUSED),
        ("a chunk extension with a bare line feed", "Transfer-Encoding: chunked\r\n", hidden("0;x\n\r\n\r\n"), REFUSED),
        ("17 KiB of chunk extensions", "Transfer-Encoding: chunked\r\n", hidden(&format!("1;{}\r\nx\r\n0\r\n\r\n", "x".repeat(17_000))), REFUSED),
        ("90 KiB of trailers", "Transfer-Encoding: chunked\r\n", hidden(&format!("0\r\nX: {}\r\n\r\n", "x".repeat(90_000))), REFUSED),
        ("a length of a whole request", "Content-Length: HIDDEN\r\n", hidden(""), WHOLE),
    ]
}

/// Rows whose first line is part of the attack.
#[rustfmt::skip] // A row is a line.
fn heads() -> Vec<(&'static str, &'static str, &'static [u16])> {
    vec![
        ("TE with HTTP/1.0", "POST /token HTTP/1.0\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", REFUSED),
        ("TE with HTTP/1.0 kept alive", "POST /token HTTP/1.0\r\nHost: {host}\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", REFUSED),
        ("HTTP/0.9", "GET /token\r\n", REFUSED),
        ("HTTP/3.0", "GET /token HTTP/3.0\r\nHost: {host}\r\n\r\n", REFUSED),
        ("HTTP/1.2", "GET /token HTTP/1.2\r\nHost: {host}\r\n\r\n", REFUSED),
        ("HTTP in lower case", "GET /token http/1.1\r\nHost: {host}\r\n\r\n", REFUSED),
        ("a version without a number", "GET /token HTTP/\r\nHost: {host}\r\n\r\n", REFUSED),
        ("two spaces in the first line", "GET  /token HTTP/1.1\r\nHost: {host}\r\n\r\n", REFUSED),
        ("a tab in the first line", "GET\t/token\tHTTP/1.1\r\nHost: {host}\r\n\r\n", REFUSED),
        ("a space before the first line", " GET /token HTTP/1.1\r\nHost: {host}\r\n\r\n", REFUSED),
        ("a NUL before the first line", "\0GET /token HTTP/1.1\r\nHost: {host}\r\n\r\n", REFUSED),
        ("a colon in the method", "GET: /token HTTP/1.1\r\nHost: {host}\r\n\r\n", REFUSED),
        ("a TLS hello", "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\r\n\r\n", REFUSED),
        ("an SMTP hello", "EHLO evil.example\r\nMAIL FROM:<x@evil.example>\r\n\r\n", REFUSED),
        ("a line of a proxy", "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\nGET /token HTTP/1.1\r\n\r\n", REFUSED),
    ]
}

fn row(name: &'static str, start: String, statuses: &'static [u16]) -> Case {
    act(name, move |arena| {
        let start = start.clone();
        async move {
            let hidden = String::from_utf8(arena.fill(HIDDEN_REQUEST.as_bytes(), None))?;
            let start = start.replace(
                "Content-Length: HIDDEN",
                &format!("Content-Length: {}", hidden.len()),
            );
            let ends_in_hidden = start.ends_with(HIDDEN_REQUEST);
            let tail = if ends_in_hidden {
                LAST.to_owned()
            } else {
                format!("{HIDDEN_REQUEST}{LAST}")
            };
            let before = times_served(arena, HIDDEN)?;
            let found = statuses_of(arena, &format!("{start}{tail}")).await?;
            ensure!(found == statuses, "answered {found:?} instead of {statuses:?}");
            ensure!(
                times_served(arena, HIDDEN)? == before,
                "the hidden request was served"
            );
            Ok(())
        }
        .boxed_local()
    })
}

/// Two requests in one go are two requests, and their paths are where the rows above look for theirs.
fn control() -> Case {
    act("two requests that are two", |arena| {
        async move {
            let text = format!("GET /open HTTP/1.1\r\nHost: {{host}}\r\n\r\n{LAST}");
            let found = statuses_of(arena, &text).await?;
            ensure!(found == [404, 404], "answered {found:?}");
            ensure!(
                times_served(arena, "/open")? == 1,
                "the access log is not where it is looked for"
            );
            Ok(())
        }
        .boxed_local()
    })
}

/// How often the access log has a path.
fn times_served(arena: &Arena, path: &str) -> Result<usize> {
    Ok(arena.logs()?.matches(&format!("\"path\":\"{path}\"")).count())
}

/// Sends it all at once and gives the status of each answer until the connection is closed.
async fn statuses_of(arena: &Arena, text: &str) -> Result<Vec<u16>> {
    let bytes = arena.fill(text.as_bytes(), None);
    let mut connection = Connection::open(&arena.cluster.address()).await?;
    let mut statuses = Vec::new();
    let mut next = connection.ask(&bytes, false).await?;
    while let Some(answer) = next {
        arena.check_discretion(&answer)?;
        statuses.push(answer.status);
        next = connection.answer().await.context("after the first answer")?;
    }
    Ok(statuses)
}
