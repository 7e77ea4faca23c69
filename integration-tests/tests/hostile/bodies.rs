//! Bodies that end too early, too late or not at all, and bodies that claim to be something else.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::FutureExt as _;
use roadstead_integration_tests::Setup;
use roadstead_integration_tests::deadline::eventually;
use roadstead_integration_tests::image::{noise, sha256};
use roadstead_integration_tests::registry::with_query;

use crate::arena::Arena;
use crate::request::{REPOSITORY, Request, get, patch, post, put};
use crate::table::{Case, Effect, Expected, Table, act_leaving, ask, harmless, oci};
use crate::wire::Connection;

/// Bytes of a body, and how many of them are sent.
const WHOLE: usize = 300_000;
const SENT: usize = 200_000;

pub(crate) const TABLE: Table = Table::new(cases).with_setup(setup);

fn setup(setup: Setup) -> Setup {
    setup.with("gateway.body_idle_timeout", "\"500ms\"")
}

fn cases() -> Vec<Case> {
    [lengths(), cut(), encoded()].into_iter().flatten().collect()
}

/// Lengths that are not those of the body, on a connection that stays open.
#[rustfmt::skip] // A row is a line.
fn lengths() -> Vec<Case> {
    let idle = oci(408, "BLOB_UPLOAD_INVALID");
    let manifest = || put("/v2/hostile/one/manifests/hostile");
    let chunked = |request: Request, body: &str| request.with("Transfer-Encoding", "chunked").body(body);
    vec![
        ask("a chunk that never ends", patch("{upload}").with("Content-Length", "10").body("hello"), idle.keeping_uploads()),
        ask("a last chunk that never ends", put("{upload}?digest={zero}").with("Content-Length", "10").body("hello"), idle.keeping_uploads()),
        ask("a blob that never ends", post("/v2/hostile/one/blobs/uploads/?digest={zero}").with("Content-Length", "10").body("hello"), idle.keeping_uploads()),
        ask("a manifest that never ends", manifest().with("Content-Length", "10").body("{}"), idle),
        ask("a manifest that never begins", manifest().with("Content-Length", "10").body(""), idle),
        ask("a form that never ends", post("/token").nobody().with("Content-Length", "10").body("grant"), idle),
        ask("a blob of the largest length", patch("{upload}").with("Content-Length", "18446744073709551613").body("hello"), idle.keeping_uploads()),
        ask("a manifest of the largest length", manifest().with("Content-Length", "18446744073709551613").body("{}"), oci(413, "SIZE_INVALID")),
        ask("a form of the largest length", post("/token").nobody().with("Content-Length", "18446744073709551613").body("x"), oci(413, "SIZE_INVALID")),
        ask("chunks that never end", chunked(patch("{upload}"), "5\r\nhello\r\n"), idle.keeping_uploads()),
        ask("a chunk of no size", chunked(patch("{upload}"), "x\r\nhello\r\n"), BROKEN.keeping_uploads()),
        ask("a chunk longer than it says", chunked(patch("{upload}"), "2\r\nhello\r\n0\r\n\r\n"), BROKEN.keeping_uploads()),
        ask("a chunk size behind every integer", chunked(patch("{upload}"), "fffffffffffffffff\r\nhello"), BROKEN.keeping_uploads()),
        ask("a manifest in a chunk of no size", chunked(manifest(), "x\r\n{}\r\n"), BROKEN),
        ask("an expectation that nobody knows", get("/v2/").with("Expect", "a miracle"), harmless(200)),
        ask("100-continue for a manifest that is too large", manifest().with("Expect", "100-continue").with("Content-Length", "99999999"), oci(413, "SIZE_INVALID")),
        ask("100-continue for a push of nobody", manifest().nobody().with("Expect", "100-continue").with("Content-Length", "10"), oci(401, "UNAUTHORIZED")),
        ask("a body where none belongs", get("/v2/hostile/one/tags/list").body("x".repeat(100_000)), harmless(200)),
        ask("a megabyte for a form", post("/token").nobody().body("x".repeat(1_000_000)), oci(413, "SIZE_INVALID")),
        ask("a megabyte for an exchange", post("/sts/exchange").nobody().body("x".repeat(1_000_000)), oci(413, "SIZE_INVALID").in_oauth()),
    ]
}

const BROKEN: Expected = oci(400, "BLOB_UPLOAD_INVALID");

/// How a client goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It closes.
    Fin,
    /// It resets.
    Reset,
}

/// Connections that break in the middle of a body.
fn cut() -> Vec<Case> {
    let mut cases = Vec::new();
    for (how, end) in [("closed", End::Fin), ("reset", End::Reset)] {
        let length = WHOLE.to_string();
        let sized = move |request: Request| request.with("Content-Length", &length);
        let rows = [
            ("a chunk", sized(patch("{upload}")), true),
            ("a last chunk", sized(put("{upload}?digest={zero}")), true),
            (
                "a chunk of unknown length",
                patch("{upload}").with("Transfer-Encoding", "chunked"),
                true,
            ),
            (
                "a blob",
                sized(post("/v2/hostile/one/blobs/uploads/?digest={zero}")),
                false,
            ),
            (
                "a manifest",
                sized(put("/v2/hostile/one/manifests/hostile")),
                false,
            ),
        ];
        for (what, request, goes_on) in rows {
            let request = std::sync::Arc::new(request);
            cases.push(act_leaving(
                format!("{what}, {how} in the middle"),
                Effect::Content,
                move |arena| {
                    let request = request.clone();
                    async move { cut_off(arena, &request, end, goes_on).await }.boxed_local()
                },
            ));
        }
    }
    cases
}

async fn cut_off(arena: &Arena, request: &Request, end: End, goes_on: bool) -> Result<()> {
    let content = noise(7, WHOLE);
    let upload = arena.session.open_upload(REPOSITORY).await?;
    let before = arena.store.snapshot()?;
    let mut bytes = arena.render("cut off", request, Some(&upload));
    if bytes.windows(7).any(|window| window == b"chunked") {
        bytes.extend_from_slice(format!("{WHOLE:x}\r\n").as_bytes());
    }
    bytes.extend_from_slice(&content[..SENT]);
    let mut connection = Connection::open(&arena.cluster.address()).await?;
    connection.send(&bytes).await?;
    match end {
        End::Fin => {
            connection.finish_sending().await;
            let said = String::from_utf8_lossy(&connection.closed().await?).into_owned();
            ensure!(
                said.is_empty() || said.starts_with("HTTP/1.1 400"),
                "answered {said:?}"
            );
        }
        End::Reset => connection.reset()?,
    }
    before.check(&arena.store.snapshot()?, Effect::Uploads)?;
    if !goes_on {
        arena.session.delete(&upload).await?.expect(204)?;
        return Ok(());
    }
    // What came may still be on its way to the disk. Of a reset connection the kernel may have dropped any part.
    let offset = eventually(
        "the upload says how far it is",
        Duration::from_secs(10),
        async || {
            let status = arena.session.get(&upload).await?.expect(204)?;
            let (_, last) = status.header("range")?.split_once('-').context("a range")?;
            let offset = last.parse::<usize>()?;
            let offset = if offset == 0 { 0 } else { offset + 1 };
            Ok((end == End::Reset || offset == SENT).then_some(offset))
        },
    )
    .await?;
    ensure!(offset <= SENT, "more came than was sent: {offset}");
    finish_from(arena, &upload, offset, &content).await
}

/// Ends an upload that was cut off, and takes the blob away again. A reset may be noticed only now, so that the upload is
/// asked again where it stands when it says that it stands elsewhere.
async fn finish_from(arena: &Arena, upload: &str, offset: usize, content: &[u8]) -> Result<()> {
    let digest = sha256(content);
    let session = &arena.session;
    let mut at = offset;
    let reply = eventually(
        "the upload can be finished",
        Duration::from_secs(10),
        async || {
            let reply = session
                .request(
                    reqwest::Method::PUT,
                    &with_query(upload, "digest", digest.as_str()),
                )
                .header("Content-Range", &format!("{at}-{}", content.len() - 1))
                .body(content[at..].to_vec())
                .send()
                .await?;
            if reply.status == 416 || reply.status == 409 {
                let status = session.get(upload).await?.expect(204)?;
                let (_, last) = status.header("range")?.split_once('-').context("a range")?;
                at = last
                    .parse::<usize>()
                    .map(|last| if last == 0 { 0 } else { last + 1 })?;
                return Ok(None);
            }
            Ok(Some(reply))
        },
    )
    .await?;
    reply.expect(201)?;
    let path = format!("/v2/{REPOSITORY}/blobs/{digest}");
    ensure!(
        session.get(&path).await?.expect(200)?.body == content,
        "other bytes than were sent"
    );
    session.delete(&path).await?.expect(202).map(drop)
}

/// Bodies in an encoding. They are stored, hashed and given back as they came: nothing is ever unpacked.
#[rustfmt::skip] // A row is a line.
fn encoded() -> Vec<Case> {
    let mut cases = Vec::new();
    for coding in ["gzip", "x-gzip", "deflate", "br", "zstd", "identity, gzip", "gzip, gzip, gzip"] {
        cases.push(act_leaving(format!("a bomb of a blob as {coding}"), Effect::Content, move |arena| {
            async move { bomb_blob(arena, coding).await }.boxed_local()
        }));
    }
    let bomb = || bomb(64);
    let manifest = || put("/v2/hostile/one/manifests/hostile").with("Content-Type", "application/vnd.oci.image.manifest.v1+json");
    let invalid = oci(400, "MANIFEST_INVALID");
    cases.extend([
        ask("a bomb of a manifest", manifest().with("Content-Encoding", "gzip").body(bomb()), invalid),
        ask("a manifest packed in earnest", manifest().with("Content-Encoding", "gzip").body(packed(b"{\"schemaVersion\":2}")), invalid),
        ask("a bomb of a manifest in Transfer-Encoding", manifest().with("Transfer-Encoding", "gzip, chunked").body(in_one_chunk(&bomb())), invalid),
        ask("a bomb of a form", post("/token").nobody().with("Content-Encoding", "gzip").body(bomb()), oci(413, "SIZE_INVALID")),
        ask("a form packed in earnest", post("/token").nobody().with("Content-Encoding", "gzip").body(packed(b"grant_type=password")), oci(400, "UNSUPPORTED")),
        ask("a bomb of an exchange", post("/sts/exchange").nobody().with("Content-Encoding", "gzip").body(bomb()), oci(413, "SIZE_INVALID").in_oauth()),
        ask("unpacked digest for a packed blob", post(format!("/v2/hostile/one/blobs/uploads/?digest={}", sha256(b"content"))).with("Content-Encoding", "gzip").body(packed(b"content")), oci(400, "DIGEST_INVALID").keeping_uploads()),
        act_leaving("a blob that is asked for packed", Effect::Nothing, |arena| {
            async move {
                let coding = "gzip, deflate, br, zstd, *;q=1";
                let path = String::from_utf8(arena.fill(b"/v2/hostile/one/blobs/{blob}", None))?;
                for path in [path.as_str(), "/v2/hostile/one/manifests/latest", "/v2/hostile/one/tags/list"] {
                    let reply = arena.session.request(reqwest::Method::GET, path).header("Accept-Encoding", coding);
                    let reply = reply.send().await?.expect(200)?;
                    ensure!(reply.optional_header("content-encoding").is_none(), "{path} was packed");
                }
                Ok(())
            }
            .boxed_local()
        }),
    ]);
    cases
}

async fn bomb_blob(arena: &Arena, coding: &str) -> Result<()> {
    let bomb = bomb(64);
    let digest = sha256(&bomb);
    let session = &arena.session;
    let path = format!("/v2/{REPOSITORY}/blobs/uploads/?digest={digest}");
    let push = session
        .request(reqwest::Method::POST, &path)
        .header("Content-Encoding", coding);
    push.body(bomb.clone()).send().await?.expect(201)?;
    let path = format!("/v2/{REPOSITORY}/blobs/{digest}");
    let reply = session.get(&path).await?.expect(200)?;
    ensure!(reply.body == bomb, "other bytes than were sent");
    ensure!(
        reply.optional_header("content-encoding").is_none(),
        "says that it is packed"
    );
    session.delete(&path).await?.expect(202).map(drop)
}

/// Zeros, so many MiB of them, packed a thousandfold.
fn bomb(mebibytes: usize) -> Vec<u8> {
    static BOMB: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    BOMB.get_or_init(|| packed(&vec![0; mebibytes * 1024 * 1024]))
        .clone()
}

fn packed(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    // Memory takes everything.
    encoder
        .write_all(content)
        .and_then(|()| encoder.finish())
        .unwrap_or_default()
}

fn in_one_chunk(content: &[u8]) -> Vec<u8> {
    [
        format!("{:x}\r\n", content.len()).as_bytes(),
        content,
        b"\r\n0\r\n\r\n",
    ]
    .concat()
}
