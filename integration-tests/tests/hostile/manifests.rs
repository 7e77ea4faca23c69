//! Manifests: JSON that is none, that is two things at once, or that is more than anyone wants to parse.

use serde_json::{Value, json};

use crate::forge::set;
use crate::request::{Request, put};
use crate::table::{Case, Expected, Table, ask, harmless, oci};

pub(crate) const TABLE: Table = Table::new(cases);

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const INVALID: Expected = oci(400, "MANIFEST_INVALID");
const MISSING: Expected = oci(400, "MANIFEST_BLOB_UNKNOWN");
const TOO_LARGE: Expected = oci(413, "SIZE_INVALID");
const LIMIT: usize = 4 * 1024 * 1024;

#[rustfmt::skip] // A row is a line.
fn cases() -> Vec<Case> {
    [no_json(), json_with_a_twist(), members(), descriptors(), types(), sizes(), digests()].into_iter().flatten().collect()
}

fn push(body: impl AsRef<[u8]>) -> Request {
    push_as(MANIFEST, body)
}

fn push_as(media_type: &str, body: impl AsRef<[u8]>) -> Request {
    put("/v2/hostile/one/manifests/hostile")
        .with("Content-Type", media_type)
        .body(body)
}

fn config() -> Value {
    json!({ "mediaType": "application/vnd.oci.image.config.v1+json", "digest": "{config}", "size": 1 })
}

fn layer() -> Value {
    json!({ "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": "{blob}", "size": 1 })
}

/// A manifest that would be taken.
fn good() -> Value {
    json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config(), "layers": [layer()] })
}

/// A good manifest but for one member; null removes it.
fn with(member: &str, value: Value) -> Request {
    push(set(good(), member, value).to_string())
}

/// A good manifest with text between the brace and its first member.
fn with_text(text: &str) -> Request {
    push(good().to_string().replacen('{', &format!("{{{text},"), 1))
}

fn no_json() -> Vec<Case> {
    let rows: [(&str, &[u8]); 24] = [
        ("nothing", b""),
        ("white space", b"  \n\t "),
        ("null", b"null"),
        ("a number", b"1"),
        ("a text", b"\"x\""),
        ("true", b"true"),
        ("a list", b"[]"),
        ("an empty object", b"{}"),
        ("an object that does not end", b"{\"schemaVersion\":2"),
        ("a text that does not end", b"{\"schemaVersion"),
        ("an escape that does not end", b"{\"schemaVersion\\"),
        ("single quotes", b"{'schemaVersion':2}"),
        ("no quotes", b"{schemaVersion:2}"),
        ("a comment", b"{/* */\"schemaVersion\":2}"),
        ("a comma too many", b"{\"schemaVersion\":2,}"),
        ("a byte order mark", b"\xef\xbb\xbf{\"schemaVersion\":2}"),
        ("UTF-16", b"\xff\xfe{\0\"\0"),
        ("bytes that are no UTF-8 in a text", b"{\"a\":\"\xff\xfe\"}"),
        ("an overlong NUL in a text", b"{\"a\":\"\xc0\x80\"}"),
        ("a raw line break in a text", b"{\"a\":\"\n\"}"),
        (
            "XML",
            b"<?xml version=\"1.0\"?><!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]><x>&e;</x>",
        ),
        ("YAML", b"schemaVersion: 2\nlayers: []\n"),
        ("gzip", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"),
        ("a form", b"schemaVersion=2&layers="),
    ];
    rows.into_iter()
        .map(|(what, body)| ask(what, push(body), INVALID))
        .collect()
}

#[rustfmt::skip] // A row is a line.
fn json_with_a_twist() -> Vec<Case> {
    let nested = |open: &str, close: &str, depth: usize| {
        with_text(&format!("\"x\":{}1{}", open.repeat(depth), close.repeat(depth)))
    };
    vec![
        ask("65 lists in each other", nested("[", "]", 65), INVALID),
        ask("65 objects in each other", nested("{\"a\":", "}", 65), INVALID),
        ask("100,000 lists in each other", nested("[", "]", 100_000), INVALID),
        ask("100,000 lists that do not end", push("[".repeat(100_000)), INVALID),
        ask("a million braces that do not end", push("{\"a\":".repeat(200_000)), INVALID),
        ask("a member twice", with_text("\"schemaVersion\":2"), INVALID),
        ask("layers twice, of which one is empty", with_text("\"layers\":[]"), INVALID),
        ask("a member twice, once escaped", with_text(r#""\u006cayers":[]"#), INVALID),
        ask("a member that nobody knows twice", with_text("\"x\":1,\"x\":2"), INVALID),
        ask("a member in upper case", with_text("\"Layers\":[]"), INVALID),
        ask("a member in upper case without the real one", push(good().to_string().replace("layers", "LAYERS")), INVALID),
        ask("something behind the end", push(good().to_string() + "x"), INVALID),
        ask("another manifest behind the end", push(good().to_string() + &good().to_string()), INVALID),
        ask("a NUL behind the end", push(good().to_string() + "\0"), INVALID),
        ask("half a surrogate pair in a name", with_text(r#""\ud800":1"#), INVALID),
        ask("not a number", push(good().to_string().replace("\"size\":1", "\"size\":NaN")), INVALID),
        ask("infinity", push(good().to_string().replace("\"size\":1", "\"size\":Infinity")), INVALID),
        ask("a number with a leading zero", push(good().to_string().replace("\"size\":1", "\"size\":01")), INVALID),
        ask("a number in hexadecimal", push(good().to_string().replace("\"size\":1", "\"size\":0x1")), INVALID),
    ]
}

#[rustfmt::skip] // A row is a line.
fn members() -> Vec<Case> {
    vec![
        ask("no schemaVersion", with("schemaVersion", Value::Null), INVALID),
        ask("schemaVersion 1", with("schemaVersion", json!(1)), INVALID),
        ask("schemaVersion 3", with("schemaVersion", json!(3)), INVALID),
        ask("schemaVersion 0", with("schemaVersion", json!(0)), INVALID),
        ask("schemaVersion below zero", with("schemaVersion", json!(-2)), INVALID),
        ask("schemaVersion as a text", with("schemaVersion", json!("2")), INVALID),
        ask("schemaVersion with a fraction", with("schemaVersion", json!(2.5)), INVALID),
        ask("schemaVersion beyond every integer", push(good().to_string().replace("\"schemaVersion\":2", "\"schemaVersion\":1e400")), INVALID),
        ask("no config", with("config", Value::Null), INVALID),
        ask("config null", push(good().to_string().replace(&config().to_string(), "null")), INVALID),
        ask("config a list", with("config", json!([config()])), INVALID),
        ask("config a text", with("config", json!("{config}")), INVALID),
        ask("no layers", with("layers", Value::Null), INVALID),
        ask("layers an object", with("layers", layer()), INVALID),
        ask("layers a number", with("layers", json!(5)), INVALID),
        ask("layers a list of texts", with("layers", json!(["{blob}"])), INVALID),
        ask("layers a list of null", with("layers", json!([null])), INVALID),
        ask("annotations a list", with("annotations", json!(["a"])), INVALID),
        ask("annotations of numbers", with("annotations", json!({ "a": 1 })), INVALID),
        ask("annotations of null", with("annotations", json!({ "a": null })), INVALID),
        ask("annotations of objects", with("annotations", json!({ "a": { "b": "c" } })), INVALID),
        ask("artifactType a number", with("artifactType", json!(7)), INVALID),
        ask("subject a text", with("subject", json!("{manifest}")), INVALID),
        ask("subject without a digest", with("subject", json!({ "mediaType": MANIFEST, "size": 1 })), INVALID),
        ask("subject with a broken digest", with("subject", json!({ "mediaType": MANIFEST, "size": 1, "digest": "sha256:x" })), INVALID),
        ask("subject below zero", with("subject", json!({ "mediaType": MANIFEST, "size": -1, "digest": "{manifest}" })), INVALID),
        ask("an image that is an index too", with("manifests", json!([])), INVALID),
        ask("signatures of schema 1", with("fsLayers", json!([])), INVALID),
    ]
}

#[rustfmt::skip] // A row is a line.
fn descriptors() -> Vec<Case> {
    let sized = |size: &str| push(good().to_string().replace("\"size\":1", &format!("\"size\":{size}")));
    let digest = |digest: &str| with("layers", json!([set(layer(), "digest", json!(digest))]));
    let missing = json!({ "mediaType": "x/y", "digest": "{zero}", "size": 1 });
    let many = |count: usize| {
        let layers: Vec<Value> = (0..count)
            .map(|number| json!({ "mediaType": "x/y", "size": 1, "digest": format!("sha256:{number:064x}") }))
            .collect();
        with("layers", Value::Array(layers))
    };
    vec![
        ask("a size below zero", sized("-1"), INVALID),
        ask("a size with a fraction", sized("1.5"), INVALID),
        ask("a size as a text", sized("\"1\""), INVALID),
        ask("a size of null", sized("null"), INVALID),
        ask("a size behind the largest integer", sized("18446744073709551616"), INVALID),
        ask("a size beyond every float", sized("1e999"), INVALID),
        ask("a layer without a size", with("layers", json!([set(layer(), "size", Value::Null)])), INVALID),
        ask("a layer without a digest", with("layers", json!([set(layer(), "digest", Value::Null)])), INVALID),
        ask("a digest of md5", digest("md5:d41d8cd98f00b204e9800998ecf8427e"), INVALID),
        ask("a digest in upper case", digest(&format!("sha256:{}", "A".repeat(64))), INVALID),
        ask("a digest that climbs", digest("sha256:../../../../etc/passwd"), INVALID),
        ask("a digest with a NUL", digest("sha256:\0"), INVALID),
        ask("a digest that is a number", with("layers", json!([set(layer(), "digest", json!(5))])), INVALID),
        ask("a media type that is a number", with("layers", json!([set(layer(), "mediaType", json!(5))])), INVALID),
        ask("a config that is nowhere", with("config", missing.clone()), MISSING),
        ask("a layer that is nowhere", with("layers", json!([missing.clone()])), MISSING),
        ask("a layer that is a manifest here", digest("{manifest}"), MISSING),
        ask("a child that is nowhere", push_as(INDEX, json!({ "schemaVersion": 2, "manifests": [missing] }).to_string()), MISSING),
        ask("9,999 layers that are nowhere", many(9_999), MISSING),
        ask("10,000 layers and a config", many(10_000), INVALID),
        ask("30,000 layers", many(30_000), INVALID),
    ]
}

#[rustfmt::skip] // A row is a line.
fn types() -> Vec<Case> {
    let as_type = |media_type: &str| push_as(media_type, good().to_string());
    let plain = set(good(), "mediaType", Value::Null).to_string();
    vec![
        ask("another Content-Type than mediaType", as_type(INDEX), INVALID),
        ask("a Content-Type of no manifest", as_type("application/json"), INVALID),
        ask("a Content-Type of a page", push_as("text/html", &plain), INVALID),
        ask("a Content-Type of a form", push_as("application/x-www-form-urlencoded", &plain), INVALID),
        ask("a Content-Type of schema 1", push_as("application/vnd.docker.distribution.manifest.v1+prettyjws", &plain), INVALID),
        ask("a Content-Type with a line's worth of nothing", push_as(&"x".repeat(8_000), &plain), INVALID),
        ask("a Content-Type of another alphabet", push_as("application/é", good().to_string()), harmless(201).storing()),
        ask("an image as an index", push_as(INDEX, &plain), INVALID),
        ask("an index with a config", push_as(INDEX, json!({ "schemaVersion": 2, "manifests": [], "config": config() }).to_string()), INVALID),
        ask("an index with layers", push_as(INDEX, json!({ "schemaVersion": 2, "manifests": [], "layers": [] }).to_string()), INVALID),
        ask("an index without manifests", push_as(INDEX, json!({ "schemaVersion": 2 }).to_string()), INVALID),
        ask("a mediaType that is a list", with("mediaType", json!([MANIFEST])), INVALID),
        ask("a mediaType of something else", with("mediaType", json!("text/plain")), INVALID),
    ]
}

#[rustfmt::skip] // A row is a line.
fn sizes() -> Vec<Case> {
    let padded = |length: usize| {
        let text = good().to_string();
        text.replacen('{', &format!("{{\"x\":\"{}\",", "x".repeat(length - text.len() - 7)), 1)
    };
    let chunked = |length: usize| {
        let body = padded(length);
        push(format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())).with("Transfer-Encoding", "chunked")
    };
    vec![
        ask("a manifest one byte too long", push(padded(LIMIT + 1)), TOO_LARGE),
        ask("a manifest of 12 MiB", push(padded(3 * LIMIT)), TOO_LARGE),
        ask("a manifest one byte too long, of unknown length", chunked(LIMIT + 1), TOO_LARGE),
        ask("a manifest of 12 MiB, of unknown length", chunked(3 * LIMIT), TOO_LARGE),
        ask("4 MiB of white space", push(" ".repeat(LIMIT)), INVALID),
        ask("4 MiB of commas", push(format!("[{}]", ",".repeat(LIMIT - 2))), INVALID),
        ask("4 MiB of members", with_text(&members_of_nothing()), INVALID),
        ask("4 MiB of digits", with_text(&format!("\"x\":{},\"x\":1", "9".repeat(LIMIT - 2_000))), INVALID),
        ask("a megabyte of backslashes", with_text(&format!("\"x\":\"{}\"", "\\".repeat(1_000_001))), INVALID),
    ]
}

/// As many members as fit, the last of them twice.
fn members_of_nothing() -> String {
    let members: Vec<String> = (0..250_000).map(|number| format!("\"{number}\":1")).collect();
    members.join(",") + ",\"249999\":1"
}

#[rustfmt::skip] // A row is a line.
fn digests() -> Vec<Case> {
    let by = |digest: &str| {
        put(format!("/v2/hostile/one/manifests/{digest}")).with("Content-Type", MANIFEST).body(good().to_string())
    };
    vec![
        ask("a manifest under another's digest", by("{manifest}"), oci(400, "DIGEST_INVALID")),
        ask("a manifest under a digest of nothing", by("{zero}"), oci(400, "DIGEST_INVALID")),
        ask("a manifest under a digest of 512 bits of nothing", by(&format!("sha512:{}", "0".repeat(128))), oci(400, "DIGEST_INVALID")),
        ask("a manifest that names itself", by("{zero}").body(json!({ "schemaVersion": 2, "config": config(), "layers": [{ "digest": "{zero}", "size": 1 }] }).to_string()), oci(400, "DIGEST_INVALID")),
    ]
}
