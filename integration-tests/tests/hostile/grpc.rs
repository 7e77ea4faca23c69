//! The gRPC surface: methods that are not on the list, callers without the right token, and frames that are none. gRPC-Web
//! goes over HTTP/1.1 and through the same door as gRPC.

use anyhow::{Context as _, Result, ensure};
use futures::FutureExt as _;

use crate::arena::Arena;
use crate::forge::{Forge, Kind};
use crate::request::{Request, get, post, put};
use crate::table::{Case, Table, act, ask, oci};
use crate::wire::{Answer, Connection};

pub(crate) const TABLE: Table = Table::new(cases);

const LIST_EVENTS: &str = "/roadstead.events.v1.EventQueryService/ListEvents";
const WEB: &str = "application/grpc-web+proto";

/// Codes of gRPC.
const OK: u32 = 0;
const INVALID: u32 = 3;
const OUT_OF_RANGE: u32 = 11;
const UNIMPLEMENTED: u32 = 12;
const INTERNAL: u32 = 13;
const UNAUTHENTICATED: u32 = 16;

fn cases() -> Vec<Case> {
    [inner_services(), callers(), frames(), doors()]
        .into_iter()
        .flatten()
        .collect()
}

/// A call with a good access token.
fn call(path: &str, body: &[u8]) -> Request {
    call_as(WEB, path, body)
}

fn call_as(content_type: &str, path: &str, body: &[u8]) -> Request {
    post(path)
        .with("Content-Type", content_type)
        .with("X-Grpc-Web", "1")
        .body(body)
        .bearer(|forge| forge.good(Kind::Access))
}

/// What the services keep among themselves.
#[rustfmt::skip] // A row is a line.
fn inner_services() -> Vec<Case> {
    let paths = [
        "/roadstead.blobs.v1.BlobAdminService/DeleteObjects",
        "/roadstead.blobs.v1.BlobAdminService/AbortUploads",
        "/roadstead.blobs.v1.BlobReadService/Read",
        "/roadstead.blobs.v1.BlobWriteService/Append",
        "/roadstead.metadata.v1.WriteService/PutManifest",
        "/roadstead.metadata.v1.ReadService/GetManifest",
        "/roadstead.metadata.v1.UploadService/CreateUpload",
        "/roadstead.metadata.v1.OutboxService/ClaimEvents",
        "/roadstead.auth.v1.TokenService/IssueRegistryToken",
        "/roadstead.auth.v1.TokenService/Exchange",
        "/roadstead.auth.v1.KeyService/ListKeySets",
        "/roadstead.auth.v1.AuthorizationService/ListReadablePrefixes",
        "/roadstead.auth.v1.AuthorizationService/Check",
        "/roadstead.auth.v1.TokenService/Refresh",
        "/roadstead.auth.v1.TokenService/RevokeSession",
        "/roadstead.auth.v1.RepositoryNoticeService/NoteRepository",
        "/roadstead.auth.v1.RevocationService/Watch",
        "/roadstead.auth.v1.OutboxService/ClaimEvents",
        "/roadstead.auth.v1.OutboxService/AckEvents",
        "/roadstead.auth.v1.DevIssuerService/IssueIdentityToken",
        "/roadstead.events.v1.IngestService/PublishEvents",
        "/grpc.health.v1.Health/Check",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/roadstead.events.v1.EventQueryService/",
        "/roadstead.events.v1.EventQueryService/ListEvents/",
        "/roadstead.events.v1.EventQueryService/listevents",
        "//roadstead.events.v1.EventQueryService/ListEvents",
        "/x/../roadstead.events.v1.EventQueryService/ListEvents",
        "/roadstead.events.v1.EventQueryService%2fListEvents",
        "/v2/hostile/one/manifests/latest",
        "/token",
        "/",
    ];
    let mut cases: Vec<Case> =
        paths.into_iter().map(|path| rpc(format!("calling {path}"), call(path, &framed(b"")), UNIMPLEMENTED)).collect();
    cases.push(rpc("calling what is on the list", call(LIST_EVENTS, &framed(b"")), OK));
    cases
}

#[rustfmt::skip] // A row is a line.
fn callers() -> Vec<Case> {
    let with = |make: fn(&Forge) -> String| call(LIST_EVENTS, &framed(b"")).bearer(make);
    let two = call(LIST_EVENTS, &framed(b"")).with("Authorization", "Bearer {access}");
    vec![
        rpc("nobody", call(LIST_EVENTS, &framed(b"")).nobody(), UNAUTHENTICATED),
        rpc("a registry token", with(|forge| forge.good(Kind::Registry)), UNAUTHENTICATED),
        rpc("alg none", with(|forge| forge.unsigned(Kind::Access, "none") + "."), UNAUTHENTICATED),
        rpc("a stranger's signature", with(|forge| forge.sign_as_stranger(&forge.header(Kind::Access), &forge.claims(Kind::Access))), UNAUTHENTICATED),
        rpc("HS256 under the public key", with(|forge| forge.sign_with_public_key(Kind::Access, "x")), UNAUTHENTICATED),
        rpc("no token at all", with(|_| "x".to_owned()), UNAUTHENTICATED),
        rpc("two tokens", two, UNAUTHENTICATED),
        rpc("a peer's name in a header", call(LIST_EVENTS, &framed(b"")).nobody().with("X-Roadstead-Peer", "gateway"), UNAUTHENTICATED),
    ]
}

#[rustfmt::skip] // A row is a line.
fn frames() -> Vec<Case> {
    let bomb = || call(LIST_EVENTS, &flagged(1, &packed_zeros())).with("Grpc-Encoding", "gzip");
    vec![
        rpc("no frame", call(LIST_EVENTS, b""), INTERNAL),
        rpc("half a frame's head", call(LIST_EVENTS, &[0, 0, 0]), INTERNAL),
        rpc("a frame of 4 GiB that has nothing", call(LIST_EVENTS, &[0, 0xff, 0xff, 0xff, 0xff]), OUT_OF_RANGE),
        rpc("a frame of 4 GiB that has something", call(LIST_EVENTS, &[0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]), OUT_OF_RANGE),
        rpc("a frame longer than what comes", call(LIST_EVENTS, &[0, 0, 0, 0, 9, 1]), INTERNAL),
        rpc("a frame of a flag of nobody", call(LIST_EVENTS, &flagged(2, b"")), INTERNAL),
        rpc("a frame of trailers", call(LIST_EVENTS, &flagged(0x80, b"grpc-status:0")), INTERNAL),
        rpc("a packed frame without an encoding", call(LIST_EVENTS, &flagged(1, b"")), INTERNAL),
        rpc("a packed frame of a bomb", bomb(), INTERNAL),
        rpc("an encoding of nobody", call(LIST_EVENTS, &flagged(1, b"x")).with("Grpc-Encoding", "evil"), INTERNAL),
        rpc("bytes that are no message", call(LIST_EVENTS, &framed(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")), INTERNAL),
        rpc("a field longer than the message", call(LIST_EVENTS, &framed(b"\x0a\xff\xff\xff\xff\x0f")), INTERNAL),
        rpc("100,000 groups in each other", call(LIST_EVENTS, &framed(&[0x0b; 60_000])), INTERNAL),
        rpc("a text that is no UTF-8", call(LIST_EVENTS, &framed(b"\x0a\x02\xff\xfe")), INTERNAL),
        rpc("a message of 70 KiB", call(LIST_EVENTS, &framed(&vec![0; 70 * 1024])), INVALID),
        rpc("two messages", call(LIST_EVENTS, &[framed(b""), framed(b"")].concat()), OK),
        rpc("a deadline of nobody", call(LIST_EVENTS, &framed(b"")).with("Grpc-Timeout", "99999999999999H"), OK),
        rpc("a deadline that has passed", call(LIST_EVENTS, &framed(b"")).with("Grpc-Timeout", "0n"), OK),
        rpc("text that is no base64", call_as("application/grpc-web-text", LIST_EVENTS, b"!!!!"), INVALID),
    ]
}

/// Content types that decide which door a request takes.
fn doors() -> Vec<Case> {
    let nowhere = oci(404, "UNSUPPORTED");
    vec![
        ask(
            "gRPC as JSON",
            post(LIST_EVENTS)
                .with("Content-Type", "application/json")
                .body("{}"),
            nowhere,
        ),
        ask(
            "gRPC without a type",
            post(LIST_EVENTS).body(framed(b"")),
            nowhere,
        ),
        ask(
            "gRPC with GET",
            get(LIST_EVENTS).with("Content-Type", WEB),
            nowhere,
        ),
        ask(
            "gRPC with PUT",
            put(LIST_EVENTS).with("Content-Type", WEB).body(framed(b"")),
            nowhere,
        ),
    ]
}

fn framed(message: &[u8]) -> Vec<u8> {
    flagged(0, message)
}

fn flagged(flag: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&[flag], &length.to_be_bytes()[..], message].concat()
}

fn packed_zeros() -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    // Memory takes everything.
    encoder
        .write_all(&vec![0; 32 * 1024 * 1024])
        .and_then(|()| encoder.finish())
        .unwrap_or_default()
}

/// A row whose answer is a status of gRPC.
fn rpc(name: impl Into<String>, request: Request, code: u32) -> Case {
    let (name, request) = (name.into(), std::sync::Arc::new(request));
    act(name.clone(), move |arena| {
        let (name, request) = (name.clone(), request.clone());
        async move { check_rpc(arena, &name, &request, code).await }.boxed_local()
    })
}

async fn check_rpc(arena: &Arena, name: &str, request: &Request, code: u32) -> Result<()> {
    let bytes = arena.render(name, request, None);
    let mut connection = Connection::open(&arena.cluster.address()).await?;
    let answer = connection
        .ask(&bytes, false)
        .await?
        .context("closed without an answer")?;
    arena.check_discretion(&answer)?;
    ensure!(answer.status == 200, "{} instead of a gRPC answer", answer.status);
    let (found, message) = status_of(&answer)?;
    ensure!(found == code, "status {found} instead of {code}: {message}");
    for word in ["sqlite", "panicked", ".rs:", "127.0.0.1:"] {
        ensure!(!message.to_lowercase().contains(word), "says {word:?}: {message}");
    }
    ensure!(message.len() < 1_024, "says too much: {message}");
    Ok(())
}

/// The status, from the headers or from the trailers, which gRPC-Web puts at the end of the body.
fn status_of(answer: &Answer) -> Result<(u32, String)> {
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    let field = |name: &str| {
        let header = answer.header(name).map(ToOwned::to_owned);
        let trailer = body
            .split(&format!("{name}:"))
            .nth(1)
            .and_then(|rest| rest.lines().next())
            .map(|value| value.trim().to_owned());
        header.or(trailer)
    };
    let status = field("grpc-status").with_context(|| format!("no status in {}", answer.head))?;
    Ok((
        status.parse().context("a number")?,
        field("grpc-message").unwrap_or_default(),
    ))
}
