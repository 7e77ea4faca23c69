//! HTTP/2 that breaks its rules, or keeps them and floods.

use anyhow::{Result, ensure};
use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use roadstead_integration_tests::Setup;

use crate::arena::Arena;
use crate::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR, GOAWAY, HEADERS, Outcome, PING, PRIORITY, PROTOCOL_ERROR, PUSH_PROMISE, REFUSED_STREAM,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame, hello, outcome, request, text,
};
use crate::request::REPOSITORY;
use crate::table::{Case, Effect, Table, act_leaving};
use crate::wire::Connection;

pub(crate) const TABLE: Table = Table::new(cases).with_setup(setup);

fn setup(setup: Setup) -> Setup {
    setup
        .with("gateway.body_idle_timeout", "\"500ms\"")
        .with("gateway.header_timeout", "\"1s\"")
}

const MANIFEST: &str = "/v2/hostile/one/manifests/latest";
/// h2 gives this one reason for most of what it cannot read.
const GAVE_UP: &[Outcome] = &[Outcome::GoAway(PROTOCOL_ERROR)];
const BAD_SIZE: &[Outcome] = &[Outcome::GoAway(FRAME_SIZE_ERROR)];
const BAD_WINDOW: &[Outcome] = &[Outcome::GoAway(FLOW_CONTROL_ERROR)];
const RESET: &[Outcome] = &[Outcome::Reset(PROTOCOL_ERROR)];
/// What of a flood is still on its way when the server closes makes the kernel drop the server's last words.
const CALM: &[Outcome] = &[Outcome::GoAway(ENHANCE_YOUR_CALM), Outcome::Closed];
const GAVE_UP_OR_CLOSED: &[Outcome] = &[Outcome::GoAway(PROTOCOL_ERROR), Outcome::Closed];
const SERVED: &[Outcome] = &[Outcome::Status(200)];

fn cases() -> Vec<Case> {
    [control(), broken_frames(), broken_heads(), bodies(), floods()]
        .into_iter()
        .flatten()
        .collect()
}

/// What a row sends: bytes after the preface, about stream 1.
type Make = fn(&Sender) -> Vec<u8>;

/// What rows make their frames of.
struct Sender {
    host: String,
    authorization: String,
    upload: String,
}

impl Sender {
    /// The fields of a good request.
    fn fields<'a>(&'a self, method: &'a str, path: &'a str) -> Vec<(&'a str, &'a str)> {
        request(method, &self.host, path, &self.authorization)
    }

    /// A good request.
    fn get(&self, stream: u32, path: &str) -> Vec<u8> {
        frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            stream,
            &block(&self.fields("GET", path)),
        )
    }

    /// A request of these fields besides those of a good one.
    fn get_with(&self, more: &[(&str, &str)]) -> Vec<u8> {
        let fields = [self.fields("GET", MANIFEST), more.to_vec()].concat();
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&fields))
    }

    /// The head of a PATCH that says how long its body is.
    fn patch(&self, length: &str) -> Vec<u8> {
        let fields = [
            self.fields("PATCH", &self.upload),
            vec![("content-length", length)],
        ]
        .concat();
        frame(HEADERS, END_HEADERS, 1, &block(&fields))
    }
}

fn row(name: &'static str, make: Make, outcomes: &'static [Outcome]) -> Case {
    row_with(name, &[], make, outcomes)
}

fn row_with(
    name: &'static str,
    settings: &'static [(u16, u32)],
    make: Make,
    outcomes: &'static [Outcome],
) -> Case {
    act_leaving(name, Effect::Uploads, move |arena| {
        async move {
            let sender = sender(arena).await?;
            let bytes = [hello(settings), make(&sender)].concat();
            let mut connection = Connection::open(&arena.cluster.address()).await?;
            // The server may give up before it has everything.
            let _closed_early = connection.send(&bytes).await;
            let found = outcome(&mut connection, 1).await?;
            ensure!(
                outcomes.contains(&found),
                "{found:?} instead of one of {outcomes:?}"
            );
            arena.session.delete(&sender.upload).await?.expect(204).map(drop)
        }
        .boxed_local()
    })
}

/// A request of exactly these fields.
fn bare(fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(fields))
}

async fn sender(arena: &Arena) -> Result<Sender> {
    Ok(Sender {
        host: arena.cluster.address(),
        authorization: format!("Bearer {}", arena.session.token()),
        upload: arena.session.open_upload(REPOSITORY).await?,
    })
}

#[rustfmt::skip] // A row is a line.
fn control() -> Vec<Case> {
    vec![
        row("a good request", |sender| sender.get(1, MANIFEST), SERVED),
        row("a good request after an unknown frame", |sender| [frame(0xee, 0xff, 0, b"x"), sender.get(1, MANIFEST)].concat(), SERVED),
        row("a good request after an unknown setting", |sender| [frame(SETTINGS, 0, 0, &[0xff, 0xff, 1, 2, 3, 4]), sender.get(1, MANIFEST)].concat(), SERVED),
    ]
}

#[rustfmt::skip] // A row is a line.
fn broken_frames() -> Vec<Case> {
    vec![
        row("DATA on no stream", |_| frame(DATA, 0, 0, b"x"), GAVE_UP),
        row("DATA on a stream that is not open", |_| frame(DATA, 0, 1, b"x"), GAVE_UP),
        row("HEADERS on no stream", |sender| frame(HEADERS, END_HEADERS, 0, &block(&sender.fields("GET", MANIFEST))), GAVE_UP),
        row("HEADERS on a stream of the server", |sender| frame(HEADERS, END_HEADERS, 2, &block(&sender.fields("GET", MANIFEST))), GAVE_UP),
        row("streams in falling order", |sender| [sender.get(5, MANIFEST), sender.get(1, MANIFEST)].concat(), GAVE_UP),
        row("CONTINUATION of nothing", |_| frame(CONTINUATION, END_HEADERS, 1, b""), GAVE_UP),
        row("HEADERS that DATA interrupts", |sender| [frame(HEADERS, 0, 1, &block(&sender.fields("GET", MANIFEST))), frame(DATA, 0, 1, b"x")].concat(), GAVE_UP),
        row("SETTINGS on a stream", |_| frame(SETTINGS, 0, 1, b""), GAVE_UP),
        row("SETTINGS of five bytes", |_| frame(SETTINGS, 0, 0, b"12345"), GAVE_UP),
        row("an acknowledgement with settings in it", |_| frame(SETTINGS, ACK, 0, b"123456"), GAVE_UP),
        row_with("ENABLE_PUSH of two", &[(2, 2)], |_| Vec::new(), GAVE_UP),
        row_with("a window of more than 2^31", &[(4, 0x8000_0000)], |_| Vec::new(), GAVE_UP),
        row_with("a frame size of one", &[(5, 1)], |_| Vec::new(), GAVE_UP),
        row("PING of seven bytes", |_| frame(PING, 0, 0, b"1234567"), GAVE_UP),
        row("PING on a stream", |_| frame(PING, 0, 1, b"12345678"), GAVE_UP),
        row("WINDOW_UPDATE of nothing", |_| frame(WINDOW_UPDATE, 0, 0, &[0; 4]), GAVE_UP),
        row("WINDOW_UPDATE of three bytes", |_| frame(WINDOW_UPDATE, 0, 0, &[0; 3]), GAVE_UP),
        row("windows that overflow", |_| frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]).repeat(2), BAD_WINDOW),
        row("RST_STREAM of a stream that never was", |_| frame(RST_STREAM, 0, 1, &[0; 4]), GAVE_UP),
        row("RST_STREAM on no stream", |_| frame(RST_STREAM, 0, 0, &[0; 4]), GAVE_UP),
        row("PUSH_PROMISE of a client", |sender| frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2][..], &block(&sender.fields("GET", MANIFEST))].concat()), GAVE_UP),
        row("PRIORITY of four bytes", |_| frame(PRIORITY, 0, 1, &[0; 4]), GAVE_UP),
        row("a stream that depends on itself", |_| frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 0]), RESET),
        row("a frame of 16 MiB", |_| [&[0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1][..], &[0; 100_000]].concat(), BAD_SIZE),
        row("padding longer than the frame", |_| frame(HEADERS, END_HEADERS | 8, 1, &[0xff, 0]), GAVE_UP),
        row("a header block of nonsense", |_| frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff; 40]), GAVE_UP),
        row("an index of nothing", |_| frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x80]), GAVE_UP),
        row("a table size of 4 GiB", |_| frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x3f, 0xff, 0xff, 0xff, 0xff, 0x0f]), GAVE_UP),
        row("Huffman's code that does not end", |_| frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0, 0x84, 0xff, 0xff, 0xff, 0xff, 1, b'x']), GAVE_UP),
        row("HTTP/1.1 after the preface", |_| b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), BAD_SIZE),
    ]
}

#[rustfmt::skip] // A row is a line.
fn broken_heads() -> Vec<Case> {
    vec![
        row("no path", |sender| bare(&[(":method", "GET"), (":scheme", "http"), (":authority", &sender.host)]), RESET),
        row("an empty path", |sender| bare(&sender.fields("GET", "")), RESET),
        row("a path that is no path", |sender| bare(&sender.fields("GET", "v2/")), RESET),
        row("no method", |sender| bare(&[(":scheme", "http"), (":authority", &sender.host), (":path", MANIFEST)]), RESET),
        row("two methods", |sender| bare(&[&[(":method", "DELETE")][..], &sender.fields("GET", MANIFEST)].concat()), RESET),
        row("two paths", |sender| bare(&[&[(":path", "/v2/")][..], &sender.fields("GET", MANIFEST)].concat()), RESET),
        row("a status in a request", |sender| bare(&[&[(":status", "200")][..], &sender.fields("GET", MANIFEST)].concat()), RESET),
        row("a pseudo-field of nobody", |sender| bare(&[&[(":evil", "x")][..], &sender.fields("GET", MANIFEST)].concat()), GAVE_UP),
        row("a pseudo-field after a field", |sender| bare(&[&[("x", "y")][..], &sender.fields("GET", MANIFEST)].concat()), RESET),
        row("a name in upper case", |sender| sender.get_with(&[("X-Upper", "x")]), GAVE_UP),
        row("a name with a line break", |sender| sender.get_with(&[("x\r\ny", "x")]), GAVE_UP),
        row("a value with a line break", |sender| sender.get_with(&[("x", "y\r\nx-injected: 1")]), GAVE_UP),
        row("a value with a NUL", |sender| sender.get_with(&[("x", "a\0b")]), GAVE_UP),
        row("connection", |sender| sender.get_with(&[("connection", "close")]), RESET),
        row("transfer-encoding", |sender| sender.get_with(&[("transfer-encoding", "chunked")]), RESET),
        row("upgrade", |sender| sender.get_with(&[("upgrade", "h2c")]), RESET),
        row("te of something else", |sender| sender.get_with(&[("te", "gzip")]), RESET),
        row("keep-alive", |sender| sender.get_with(&[("keep-alive", "timeout=5")]), RESET),
        row("a host that is not the authority", |sender| bare(&[(":method", "GET"), (":scheme", "http"), (":authority", "evil.example"), (":path", "/v2/"), ("host", &sender.host)]), &[Outcome::Status(401)]),
        row("CONNECT", |_| bare(&[(":method", "CONNECT"), (":authority", "evil.example:443")]), &[Outcome::Status(404)]),
        row("70 KiB of fields", |sender| long_head(sender, 70), &[Outcome::Status(431)]),
        row("a megabyte of fields", |sender| long_head(sender, 1_024), CALM),
        row("a bomb of indexed fields", bomb_of_indexes, CALM),
    ]
}

/// A head with so many KiB in one field, in as many frames as it takes.
fn long_head(sender: &Sender, kibibytes: usize) -> Vec<u8> {
    let value = "x".repeat(kibibytes * 1024);
    let fields = [sender.fields("GET", MANIFEST), vec![("x", &value)]].concat();
    in_frames(&block(&fields))
}

fn in_frames(block: &[u8]) -> Vec<u8> {
    let chunks: Vec<&[u8]> = block.chunks(16_000).collect();
    let last = chunks.len() - 1;
    let frames = chunks.iter().enumerate().map(|(number, chunk)| {
        let kind = if number == 0 { HEADERS } else { CONTINUATION };
        let flags = if number == 0 { END_STREAM } else { 0 } | if number == last { END_HEADERS } else { 0 };
        frame(kind, flags, 1, chunk)
    });
    frames.collect::<Vec<_>>().concat()
}

/// A field of 4 KB that goes into the table, and 15,000 mentions of it: 15 KB that unpack to 60 MB.
fn bomb_of_indexes(sender: &Sender) -> Vec<u8> {
    let remembered = [&[0x40][..], &text("x"), &text(&"y".repeat(3_900))].concat();
    in_frames(
        &[
            block(&sender.fields("GET", MANIFEST)),
            remembered,
            vec![0xbe; 15_000],
        ]
        .concat(),
    )
}

/// Bodies that are not as long as their heads say.
#[rustfmt::skip] // A row is a line.
fn bodies() -> Vec<Case> {
    vec![
        row("a body shorter than it says", |sender| [sender.patch("10"), frame(DATA, END_STREAM, 1, b"hello")].concat(), RESET),
        row("a body longer than it says", |sender| [sender.patch("2"), frame(DATA, END_STREAM, 1, b"hello")].concat(), RESET),
        row("a body of two lengths", |sender| {
            let fields = [sender.fields("PATCH", &sender.upload), vec![("content-length", "5"), ("content-length", "2")]].concat();
            [frame(HEADERS, END_HEADERS, 1, &block(&fields)), frame(DATA, END_STREAM, 1, b"hello")].concat()
        }, RESET),
        row("a length that is no number", |sender| [sender.patch("x"), frame(DATA, END_STREAM, 1, b"hello")].concat(), RESET),
        row("a body that never ends", |sender| [sender.patch("10"), frame(DATA, 0, 1, b"hello")].concat(), &[Outcome::Status(408)]),
        row("a body that is broken off", |sender| [sender.patch("10"), frame(DATA, 0, 1, b"hello"), frame(GOAWAY, 0, 0, &[0; 8])].concat(), &[Outcome::Status(408)]),
        row("more than the window allows", |sender| [sender.patch("99999999"), frame(DATA, 0, 1, &[0; 16_384]).repeat(80)].concat(), BAD_WINDOW),
    ]
}

/// Floods keep to the rules, frame by frame. Others are served meanwhile.
#[rustfmt::skip] // A row is a line.
fn floods() -> Vec<Case> {
    vec![
        row("rapid reset", |sender| (0..20_000).flat_map(|number| [sender.get(number * 2 + 1, "/v2/"), frame(RST_STREAM, 0, number * 2 + 1, &[0, 0, 0, 8])].concat()).collect(), CALM),
        row("resets that the server is made to send", |sender| (0..5_000).flat_map(|number| [sender.get(number * 2 + 1, "/v2/"), frame(WINDOW_UPDATE, 0, number * 2 + 1, &[0; 4])].concat()).collect(), GAVE_UP_OR_CLOSED),
        row("CONTINUATION without end", |sender| {
            let first = frame(HEADERS, END_STREAM, 1, &block(&sender.fields("GET", MANIFEST)));
            [first, frame(CONTINUATION, 0, 1, &block(&[("x", "y")])).repeat(100_000)].concat()
        }, CALM),
        row("CONTINUATION of nothing without end", |sender| {
            let first = frame(HEADERS, END_STREAM, 1, &block(&sender.fields("GET", MANIFEST)));
            [first, frame(CONTINUATION, 0, 1, b"").repeat(100_000)].concat()
        }, CALM),
        row("DATA of nothing without end", |sender| [sender.patch("10"), frame(DATA, 0, 1, b"").repeat(100_000)].concat(), CALM),
        act_leaving("more streams than are allowed", Effect::Uploads, |arena| too_many_streams(arena).boxed_local()),
        flood("SETTINGS without end", || frame(SETTINGS, 0, 0, b"")),
        flood("PING without end", || frame(PING, 0, 0, b"12345678")),
        flood("PRIORITY without end", || frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 0])),
        flood("unknown frames without end", || frame(0xee, 0, 0, &[0; 1_000])),
        flood("a window that is opened without end", || frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
    ]
}

/// Sends the same frame 50,000 times without reading what comes, and requires that somebody else is served meanwhile.
fn flood(name: &'static str, make: fn() -> Vec<u8>) -> Case {
    act_leaving(name, Effect::Nothing, move |arena| flooded(arena, make()))
}

fn flooded(arena: &Arena, frame: Vec<u8>) -> LocalBoxFuture<'_, Result<()>> {
    async move {
        let mut connection = Connection::open(&arena.cluster.address()).await?;
        connection.send(&hello(&[])).await?;
        let flood = frame.repeat(50_000);
        let pouring = connection.send(&flood);
        let served = async {
            for _ in 0..20 {
                arena.session.get(MANIFEST).await?.expect(200)?;
            }
            anyhow::Ok(())
        };
        // Acknowledgements that nobody reads stop the flood, which is as good as an error.
        let pour = tokio::time::timeout(std::time::Duration::from_secs(3), pouring);
        let (_, served) = tokio::join!(pour, served);
        served
    }
    .boxed_local()
}

/// Streams that stay open, one more than twice as many as there may be: the last is refused, for a client to try again.
async fn too_many_streams(arena: &Arena) -> Result<()> {
    const LAST: u32 = 601;
    let sender = sender(arena).await?;
    let head = block(&sender.fields("PATCH", &sender.upload));
    let heads: Vec<u8> = (1..=LAST)
        .step_by(2)
        .flat_map(|stream| frame(HEADERS, END_HEADERS, stream, &head))
        .collect();
    let mut connection = Connection::open(&arena.cluster.address()).await?;
    connection.send(&[hello(&[]), heads].concat()).await?;
    let found = outcome(&mut connection, LAST).await?;
    ensure!(found == Outcome::Reset(REFUSED_STREAM), "{found:?}");
    arena.session.delete(&sender.upload).await?.expect(204).map(drop)
}
