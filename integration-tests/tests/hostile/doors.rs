//! The doors beside `/v2/`: tokens, the exchange, the development issuer, and the operator's port.

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::FutureExt as _;
use serde_json::Value;

use crate::arena::{Arena, basic};
use crate::forge::Kind;
use crate::request::{Request, get, post};
use crate::table::{Case, Expected, Table, act, ask, harmless, oci};
use crate::wire::Connection;

pub(crate) const TABLE: Table = Table::new(cases);

const UNAUTHORIZED: Expected = oci(401, "UNAUTHORIZED");
const BAD: Expected = oci(400, "UNSUPPORTED");
const DENIED: Expected = oci(403, "DENIED");
const FORM: &str = "application/x-www-form-urlencoded";

fn cases() -> Vec<Case> {
    [tokens(), scopes(), exchange(), development(), admin()]
        .into_iter()
        .flatten()
        .collect()
}

#[rustfmt::skip] // A row is a line.
fn tokens() -> Vec<Case> {
    let form = |body: &str| post("/token").nobody().with("Content-Type", FORM).body(body);
    let with = |line: &str| get("/token?service={host}").nobody().with("Authorization", line);
    vec![
        ask("no form", form(""), BAD),
        ask("no grant type", form("service={host}"), BAD),
        ask("a grant type of nobody", form("grant_type=evil"), BAD),
        ask("authorization_code", form("grant_type=authorization_code&code=x"), BAD),
        ask("client_credentials", form("grant_type=client_credentials&client_id=x&client_secret=y"), BAD),
        ask("a grant type in upper case", form("grant_type=PASSWORD&password={access}"), BAD),
        ask("two grant types", form("grant_type=x&grant_type=password&password={access}"), BAD),
        ask("a password of nobody", form("grant_type=password&username=admin&password=admin"), UNAUTHORIZED),
        ask("a user without a password", form("grant_type=password&username=admin"), UNAUTHORIZED),
        ask("a refresh token that is a registry token", form("grant_type=refresh_token&refresh_token={token}"), UNAUTHORIZED),
        ask("a refresh token of nobody", form("grant_type=refresh_token&refresh_token=x"), UNAUTHORIZED),
        ask("a refresh token of 60 KiB", form(&format!("grant_type=refresh_token&refresh_token={}", "x".repeat(60_000))), UNAUTHORIZED),
        ask("a form for another service", form("grant_type=password&password={access}&service=evil.example"), BAD),
        ask("a form that is no UTF-8", post("/token").nobody().with("Content-Type", FORM).body(b"grant_type=\xff\xfe"), BAD),
        ask("a form that is JSON", form("{\"grant_type\":\"password\"}"), BAD),
        ask("a form that is XML", form("<?xml version=\"1.0\"?><grant_type/>"), BAD),
        ask("a form of 20,000 fields", form(&"a=b&".repeat(15_000)), BAD),
        ask("a form of 65 KiB", form(&"a".repeat(65 * 1024 + 1)), oci(413, "SIZE_INVALID")),
        ask("a form in parts", post("/token").nobody().with("Content-Type", "multipart/form-data; boundary=x").body("--x--"), BAD),
        ask("Basic of nobody", with(&basic("admin", "admin")), UNAUTHORIZED),
        ask("Basic that is no base64", with("Basic !!!"), UNAUTHORIZED),
        ask("Basic without a colon", with("Basic YWRtaW4="), UNAUTHORIZED),
        ask("Basic that is no UTF-8", with("Basic /////w=="), UNAUTHORIZED),
        ask("Basic of 40 KiB", with(&basic("admin", &"x".repeat(30_000))), UNAUTHORIZED),
        ask("Digest", with("Digest username=\"admin\""), UNAUTHORIZED),
        ask("another service", get("/token?service=evil.example").nobody(), BAD),
        ask("another service with a good token", get("/token?service=evil.example").bearer(|forge| forge.good(Kind::Access)), BAD),
        ask("a realm in the query", get("/token?service={host}&realm=http://evil.example").nobody(), harmless(200)),
        ask("an account of 8 KiB", get(format!("/token?service={{host}}&account={}", "x".repeat(8_000))).nobody(), harmless(200)),
    ]
}

fn scopes() -> Vec<Case> {
    let path = |scope: &str| get(format!("/token?service={{host}}&scope={scope}"));
    let many: Vec<String> = (0..65)
        .map(|number| format!("&scope=repository:a{number}:pull"))
        .collect();
    let mut cases = vec![
        ask("a scope without a colon", path("repository").nobody(), BAD),
        ask(
            "a scope without actions",
            path("repository:hostile/one").nobody(),
            BAD,
        ),
        ask("a scope without a name", path("repository::pull").nobody(), BAD),
        ask("a scope without a type", path(":hostile/one:pull").nobody(), BAD),
        ask(
            "a scope with half a class",
            path("repository(plugin:hostile/one:pull").nobody(),
            BAD,
        ),
        ask(
            "a scope with a line break",
            path("repository:hostile/one%0d%0a:pull").nobody(),
            BAD,
        ),
        ask(
            "65 scopes",
            get(format!("/token?service={{host}}{}", many.concat())).nobody(),
            BAD,
        ),
    ];
    // Grammar that is good, or that is about nothing: a token is given, and it says nothing.
    let empty = [
        ("every repository", "repository:*:*"),
        ("a prefix", "repository:hostile/*:pull"),
        ("a name that climbs", "repository:../hostile/one:pull"),
        ("a name in upper case", "repository:HOSTILE/ONE:pull"),
        (
            "a name of 300 characters",
            &format!("repository:{}:pull", "a".repeat(300)),
        ),
        ("an action of nobody", "repository:hostile/one:admin"),
        ("a type of nobody", "system:everything:*"),
        ("the registry itself", "registry:admin:*"),
        ("a NUL", "repository:hostile/one%00:pull"),
        ("an encoded colon", "repository%3Ahostile/one%3Apull"),
        ("quotes", "repository:hostile/one%22,%22x%22:pull"),
        (
            "push and delete for nobody",
            "repository:hostile/one:pull,push,delete",
        ),
        (
            "two scopes in one",
            "repository:hostile/one:pull%20repository:hostile/two:push",
        ),
    ];
    for (what, scope) in empty {
        let request = path(scope).nobody();
        cases.push(granted(format!("a scope of {what}"), request));
    }
    cases
}

/// A row whose answer is a token that grants nothing.
fn granted(name: String, request: Request) -> Case {
    let request = std::sync::Arc::new(request);
    act(name, move |arena| {
        let request = request.clone();
        async move {
            let answer = arena.ask("a scope", &request).await?;
            ensure!(answer.status == 200, "{}", answer.status);
            let body: Value = serde_json::from_slice(&answer.body)?;
            let token = body["token"].as_str().context("no token")?;
            let claims = token.split('.').nth(1).context("no claims")?;
            let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims)?)?;
            ensure!(
                claims["access"] == serde_json::json!([]),
                "grants {}",
                claims["access"]
            );
            ensure!(
                claims["sub"] == "" && claims.get("act").is_none(),
                "speaks for {}",
                claims["sub"]
            );
            Ok(())
        }
        .boxed_local()
    })
}

#[rustfmt::skip] // A row is a line.
fn exchange() -> Vec<Case> {
    let form = |body: &str| post("/sts/exchange").nobody().with("Content-Type", FORM).body(body);
    let json = |body: &str| post("/sts/exchange").nobody().with("Content-Type", "application/json").body(body);
    let ask = |name: &str, request, expected: Expected| ask(name, request, expected.in_oauth());
    vec![
        ask("an exchange of nothing", form(""), UNAUTHORIZED),
        ask("an exchange of nothing as JSON", json(""), UNAUTHORIZED),
        ask("an exchange of null", json("null"), BAD),
        ask("an exchange of a list", json("[\"x\"]"), BAD),
        ask("an exchange of a number", json("{\"subject_token\":1}"), BAD),
        ask("an exchange of 30,000 lists in each other", json(&"[".repeat(30_000)), BAD),
        ask("an exchange of two tokens", json("{\"subject_token\":\"x\",\"subject_token\":\"y\"}"), BAD),
        ask("an exchange of two tokens in a form", form("subject_token=x&subject_token=y"), BAD),
        ask("an exchange of a token in the query", post("/sts/exchange?subject_token=x").nobody(), BAD),
        ask("a refresh of nothing", form("grant_type=refresh_token"), BAD),
        ask("a refresh with made-up text", form("grant_type=refresh_token&refresh_token=rsr_x.1.x"), UNAUTHORIZED),
        ask("a refresh with an access token", form("grant_type=refresh_token&refresh_token={access}"), UNAUTHORIZED),
        ask("a revocation of nothing", post("/sts/revoke").nobody(), BAD),
        ask("a revocation of made-up text", post("/sts/revoke").nobody().with("Content-Type", FORM).body("token=rsr_x.1.x"), harmless(200)),
        ask("an exchange of an empty token", form("subject_token="), UNAUTHORIZED),
        ask("an exchange of no token", form("subject_token=x"), UNAUTHORIZED),
        ask("an exchange of a token of 60 KiB", form(&format!("subject_token={}", "x".repeat(60_000))), UNAUTHORIZED),
        ask("an exchange of an access token", form("subject_token={access}"), UNAUTHORIZED),
        ask("an exchange of a registry token", form("subject_token={token}&grant_type=urn:ietf:params:oauth:grant-type:token-exchange"), UNAUTHORIZED),
        ask("an exchange with Basic", post("/sts/exchange").nobody().with("Authorization", basic("admin", "admin")), UNAUTHORIZED),
        ask("an exchange that is no UTF-8", post("/sts/exchange").nobody().body(b"\xff\xfe"), BAD),
        ask("an exchange of 65 KiB", form(&"x".repeat(65 * 1024 + 1)), oci(413, "SIZE_INVALID")),
        ask("an issuer that the token names on this machine", post("/sts/exchange").bearer(|forge| issued_by(forge, "http://127.0.0.1:1/")), UNAUTHORIZED),
        ask("an issuer that is a machine's metadata service", post("/sts/exchange").bearer(|forge| issued_by(forge, "http://169.254.169.254/latest")), UNAUTHORIZED),
        ask("an issuer that is a file", post("/sts/exchange").bearer(|forge| issued_by(forge, "file:///etc/passwd")), UNAUTHORIZED),
    ]
}

/// An identity token of an issuer of one's own choice: nothing may be fetched from there.
fn issued_by(forge: &crate::forge::Forge, issuer: &str) -> String {
    let claims =
        serde_json::json!({ "iss": issuer, "sub": "x", "aud": "x", "iat": 1, "exp": 99_999_999_999_i64 });
    forge.sign_as_stranger(
        &serde_json::json!({ "alg": "ES256", "typ": "JWT", "kid": "x" }),
        &claims,
    )
}

/// The secret is good in every row: only what stands beside it gives the caller away.
#[rustfmt::skip] // A row is a line.
fn development() -> Vec<Case> {
    let asked = || post("/dev/token").nobody().with("X-Roadstead-Dev", "{dev-secret}");
    let mut cases = vec![
        ask("the user of this machine", asked(), harmless(200)),
        ask("a host that was rebound", asked().with("Host", "evil.example"), DENIED),
        ask("a host that was rebound, with this port", asked().with("Host", "evil.example:{port}"), DENIED),
        ask("this host with another port", asked().with("Host", "127.0.0.1:1"), DENIED),
        ask("this host without a port", asked().with("Host", "127.0.0.1"), DENIED),
        ask("localhost and something behind it", asked().with("Host", "localhost.evil.example"), DENIED),
        ask("this machine in decimal", asked().with("Host", "2130706433"), DENIED),
        ask("any address of this machine", asked().with("Host", "0.0.0.0"), DENIED),
        ask("two hosts", asked().with("Host", "{host}").with("Host", "evil.example"), BAD),
        ask("no secret", post("/dev/token").nobody(), DENIED),
        ask("an empty secret", post("/dev/token").nobody().with("X-Roadstead-Dev", ""), DENIED),
        ask("a wrong secret", post("/dev/token").nobody().with("X-Roadstead-Dev", "0".repeat(64)), DENIED),
        ask("a secret in upper case", post("/dev/token").nobody().with("X-Roadstead-Dev", "{DEV-SECRET}"), DENIED),
        ask("two secrets", asked().with("X-Roadstead-Dev", "{dev-secret}"), DENIED),
        ask("the secret in the query", post("/dev/token?secret={dev-secret}").nobody(), DENIED),
        ask("GET", get("/dev/token").nobody().with("X-Roadstead-Dev", "{dev-secret}"), oci(405, "UNSUPPORTED")),
        ask("a preflight", Request::new("OPTIONS", "/dev/token").nobody().with("Origin", "http://evil.example"), oci(405, "UNSUPPORTED")),
        ask("an absolute form of another host", crate::request::raw("POST http://evil.example/dev/token HTTP/1.1\r\nHost: {host}\r\nX-Roadstead-Dev: {dev-secret}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"), DENIED),
    ];
    let foreign = [
        ("Origin", "null"), ("Origin", "http://{host}"), ("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "none"), ("Forwarded", "for=127.0.0.1"), ("Via", "1.1 x"),
        ("X-Forwarded-For", "127.0.0.1"), ("X-Forwarded-Host", "localhost"), ("X-Forwarded-Proto", "http"), ("X-Forwarded-Anything", ""),
    ];
    cases.extend(foreign.map(|(name, value)| ask(format!("{name}: {value}"), asked().with(name, value), DENIED)));
    cases
}

/// The operator's port says little, takes nothing, and counts what comes under names that nobody can make up.
#[rustfmt::skip] // A row is a line.
fn admin() -> Vec<Case> {
    let paths = ["/", "/metrics/", "/metrics/../livez", "/debug/pprof/", "/v2/", "/token", "/livez%2f", "/readyz?verbose", "/%2e%2e/etc/passwd"];
    let mut cases: Vec<Case> = paths
        .into_iter()
        .map(|path| {
            act(format!("{path} of the operator's port"), move |arena| {
                async move {
                    let status = if path.starts_with("/readyz") { 200 } else { 404 };
                    every_admin(arena, &format!("GET {path} HTTP/1.1"), status).await.map(drop)
                }
                .boxed_local()
            })
        })
        .collect();
    cases.push(act("POST on the operator's port", |arena| {
        async move { every_admin(arena, "POST /metrics HTTP/1.1", 405).await.map(drop) }.boxed_local()
    }));
    cases.push(act("names that clients make up", |arena| {
        async move {
            for number in 0..50 {
                let path = format!("/made-up-{number}");
                arena.ask("made up", &Request::new(&format!("MADEUP{number}"), path)).await?;
            }
            let metrics = every_admin(arena, "GET /metrics HTTP/1.1", 200).await?.to_lowercase();
            ensure!(!metrics.contains("made-up") && !metrics.contains("madeup"), "a client named a metric");
            let series = metrics.lines().filter(|line| line.starts_with("http_server_requests_total")).count();
            ensure!(series > 0 && series < 100, "{series} series of requests");
            Ok(())
        }
        .boxed_local()
    }));
    cases
}

/// Asks every operator's port, and gives all bodies.
async fn every_admin(arena: &Arena, line: &str, status: u16) -> Result<String> {
    let addresses = arena.admin_addresses();
    ensure!(!addresses.is_empty(), "no operator's port is known");
    let mut bodies = String::new();
    for address in addresses {
        let request = format!("{line}\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let mut connection = Connection::open(&address).await?;
        let answer = connection
            .ask(request.as_bytes(), false)
            .await?
            .context("closed without an answer")?;
        ensure!(answer.status == status, "{address}: {}", answer.status);
        bodies.push_str(&String::from_utf8_lossy(&answer.body));
    }
    Ok(bodies)
}
