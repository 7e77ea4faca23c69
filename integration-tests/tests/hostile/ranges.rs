//! Ranges of downloads and positions of chunks.

use crate::request::{Request, get, patch, put};
use crate::table::{Case, Expected, Table, ask, harmless, oci};

pub(crate) const TABLE: Table = Table::new(cases);

const UNSATISFIABLE: Expected = oci(416, "RANGE_INVALID");
/// RFC 9110 wants ranges that are not understood to be ignored.
const IGNORED: Expected = harmless(200);
const PARTIAL: Expected = harmless(206);
const MALFORMED: Expected = oci(400, "SIZE_INVALID");
const GAP: Expected = oci(416, "RANGE_INVALID");

fn cases() -> Vec<Case> {
    [downloads(), chunks(), finishing()]
        .into_iter()
        .flatten()
        .collect()
}

#[rustfmt::skip] // A row is a line.
fn downloads() -> Vec<Case> {
    let range = |range: &str| get("/v2/hostile/one/blobs/{blob}").with("Range", range);
    let many = |count: usize| {
        let list: Vec<String> = (0..count).map(|number| format!("{}-{}", number * 2, number * 2)).collect();
        range(&format!("bytes={}", list.join(",")))
    };
    let overlapping = format!("bytes={}", vec!["0-"; 1_000].join(","));
    vec![
        ask("a range behind the end", range("bytes=100000-"), UNSATISFIABLE),
        ask("a range of which only the end lies behind the end", range("bytes=0-99999999999"), PARTIAL),
        ask("a range that starts at the largest integer", range("bytes=18446744073709551615-"), UNSATISFIABLE),
        ask("a range that starts behind the largest integer", range("bytes=18446744073709551616-"), UNSATISFIABLE),
        ask("a range that ends at the largest integer", range("bytes=0-18446744073709551615"), PARTIAL),
        ask("a range that ends behind every integer", range(&format!("bytes=0-{}", "9".repeat(300))), PARTIAL),
        ask("a suffix longer than every integer", range(&format!("bytes=-{}", "9".repeat(300))), PARTIAL),
        ask("a suffix of nothing", range("bytes=-0"), UNSATISFIABLE),
        ask("a range backwards", range("bytes=10-5"), UNSATISFIABLE),
        ask("a range backwards among others", range("bytes=0-1,10-5"), UNSATISFIABLE),
        ask("a range below zero", range("bytes=-5-10"), IGNORED),
        ask("a range of words", range("bytes=a-b"), IGNORED),
        ask("a range with a plus", range("bytes=+1-+5"), IGNORED),
        ask("a range of nothing", range("bytes=-"), IGNORED),
        ask("no range", range("bytes="), IGNORED),
        ask("nothing but commas", range("bytes=,,,,,"), IGNORED),
        ask("another unit", range("lines=0-5"), IGNORED),
        ask("no unit", range("0-5"), IGNORED),
        ask("a unit in upper case", range("BYTES=0-5"), PARTIAL),
        ask("two Range headers", range("bytes=0-1").with("Range", "bytes=2-3"), IGNORED),
        ask("a thousand ranges that are all of it", range(&overlapping), PARTIAL),
        ask("as many ranges as are allowed, most behind the end", many(1_024), PARTIAL),
        ask("one range more than is allowed", many(1_025), oci(400, "RANGE_INVALID")),
        ask("thousands of ranges", many(5_000), oci(400, "RANGE_INVALID")),
        ask("thousands of ranges of one byte each", range(&format!("bytes={}", vec!["0-0"; 5_000].join(","))), oci(400, "RANGE_INVALID")),
        ask("a range of a manifest", get("/v2/hostile/one/manifests/latest").with("Range", "bytes=0-1"), IGNORED),
        ask("a range of what is not there", get("/v2/hostile/one/blobs/{zero}").with("Range", "bytes=0-1"), oci(404, "BLOB_UNKNOWN")),
        ask("a range if it is something else", range("bytes=0-1").with("If-Range", "\"sha256:0\""), IGNORED),
        ask("If-None-Match of 10,000 tags", get("/v2/hostile/one/blobs/{blob}").with("If-None-Match", "\"x\",".repeat(10_000)), IGNORED),
    ]
}

fn chunk(range: &str, body: &str) -> Request {
    patch("{upload}").with("Content-Range", range).body(body)
}

#[rustfmt::skip] // A row is a line.
fn chunks() -> Vec<Case> {
    vec![
        ask("a chunk that leaves a gap", chunk("5-9", "hello"), GAP),
        ask("a chunk far away", chunk("1099511627776-1099511627780", "hello"), GAP),
        ask("a chunk at the largest integer", chunk("18446744073709551610-18446744073709551614", "hello"), GAP),
        ask("a chunk behind the largest integer", chunk("18446744073709551611-18446744073709551615", "hello"), MALFORMED),
        ask("a chunk behind every integer", chunk(&format!("{0}-{0}", "9".repeat(40)), "h"), MALFORMED),
        ask("a chunk backwards", chunk("4-0", "hello"), MALFORMED),
        ask("a chunk below zero", chunk("-1-3", "hello"), MALFORMED),
        ask("a chunk with a unit", chunk("bytes 0-4/5", "hello"), MALFORMED),
        ask("a chunk with a total", chunk("0-4/5", "hello"), MALFORMED),
        ask("a chunk with a star", chunk("*/5", "hello"), MALFORMED),
        ask("a chunk without an end", chunk("0-", "hello"), MALFORMED),
        ask("a chunk without numbers", chunk("-", "hello"), MALFORMED),
        ask("a chunk without anything", chunk("", "hello"), MALFORMED),
        ask("a chunk of words", chunk("a-b", "hello"), MALFORMED),
        ask("a chunk with a plus", chunk("+0-+4", "hello"), MALFORMED),
        ask("a chunk with spaces", chunk("0 - 4", "hello"), MALFORMED),
        ask("a chunk in hexadecimal", chunk("0x0-0x4", "hello"), MALFORMED),
        ask("a chunk with letters of another alphabet", chunk("0-٤", "hello"), MALFORMED),
        ask("a chunk longer than its body", chunk("0-9", "hello"), MALFORMED),
        ask("a chunk shorter than its body", chunk("0-2", "hello"), MALFORMED),
        ask("a chunk of something and a body of nothing", chunk("0-0", ""), MALFORMED),
        ask(
            "a chunk of unknown length that is longer than it says",
            patch("{upload}").with("Content-Range", "0-2").with("Transfer-Encoding", "chunked").body("5\r\nhello\r\n0\r\n\r\n"),
            MALFORMED.keeping_uploads(),
        ),
        ask(
            "a chunk of unknown length that is shorter than it says",
            patch("{upload}").with("Content-Range", "0-9").with("Transfer-Encoding", "chunked").body("5\r\nhello\r\n0\r\n\r\n"),
            MALFORMED.keeping_uploads(),
        ),
        ask("two positions", chunk("0-4", "hello").with("Content-Range", "5-9"), MALFORMED),
    ]
}

fn finishing() -> Vec<Case> {
    let last = |range: &str| {
        put("{upload}?digest={zero}")
            .with("Content-Range", range)
            .body("hello")
    };
    vec![
        ask("a last chunk that leaves a gap", last("5-9"), GAP),
        ask("a last chunk backwards", last("4-0"), MALFORMED),
        ask("a last chunk longer than its body", last("0-9"), MALFORMED),
        ask("a last chunk with a unit", last("bytes 0-4/5"), MALFORMED),
        ask(
            "a last chunk with another digest",
            last("0-4"),
            oci(400, "DIGEST_INVALID").keeping_uploads(),
        ),
    ]
}
