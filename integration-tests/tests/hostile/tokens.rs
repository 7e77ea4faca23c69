//! Tokens that are forged, stolen, stale or meant for something else. Most are signed with the registry's own keys, so that
//! only what they say can give them away.

use serde_json::{Value, json};

use crate::arena::basic;
use crate::forge::{Forge, Kind, set};
use crate::request::{Request, get, post};
use crate::table::{Case, Expected, Table, ask, harmless, oci};

pub(crate) const TABLE: Table = Table::new(cases);

const REFUSED: Expected = oci(401, "UNAUTHORIZED");

fn cases() -> Vec<Case> {
    let mut cases = controls();
    // What must not pass where a registry token is asked for must not pass for an access token either.
    for (kind, place) in [(Kind::Registry, "at /v2/"), (Kind::Access, "at /token")] {
        for (what, make) in forgeries(kind) {
            cases.push(ask(format!("{what}, {place}"), shown(kind, make), REFUSED));
        }
    }
    cases.extend([headers(), other_doors()].into_iter().flatten());
    cases
}

/// A token shown where its kind belongs, asking for something that everybody with a good one gets.
fn shown(kind: Kind, make: impl Fn(&Forge) -> String + Send + Sync + 'static) -> Request {
    match kind {
        Kind::Registry => get("/v2/hostile/one/manifests/latest").bearer(make),
        Kind::Access => get("/token?service={host}&scope=repository:hostile/one:pull").bearer(make),
    }
}

/// The very same requests with tokens that are good: a table in which everything is refused would prove nothing.
#[rustfmt::skip] // A row is a line.
fn controls() -> Vec<Case> {
    vec![
        ask("a good registry token", shown(Kind::Registry, |forge| forge.good(Kind::Registry)), harmless(200)),
        ask("a good access token", shown(Kind::Access, |forge| forge.good(Kind::Access)), harmless(200)),
        ask("a forged registry token with nothing wrong", shown(Kind::Registry, |forge| forge.with_claim(Kind::Registry, "jti", json!("forged"))), harmless(200)),
        ask("a forged access token with nothing wrong", shown(Kind::Access, |forge| forge.with_claim(Kind::Access, "jti", json!("forged"))), harmless(200)),
    ]
}

type Make = Box<dyn Fn(&Forge) -> String + Send + Sync>;

fn forgeries(kind: Kind) -> Vec<(&'static str, Make)> {
    [signatures(kind), headers_of(kind), claims(kind), shapes(kind)]
        .into_iter()
        .flatten()
        .collect()
}

#[rustfmt::skip] // A row is a line.
fn signatures(kind: Kind) -> Vec<(&'static str, Make)> {
    let named = |algorithm: &'static str| -> Make {
        Box::new(move |forge| {
            let header = set(forge.header(kind), "alg", json!(algorithm));
            forge.sign(kind, &header, &forge.claims(kind))
        })
    };
    let public = |form: &'static str| -> Make { Box::new(move |forge| forge.sign_with_public_key(kind, form)) };
    let bare = |algorithm: &'static str| -> Make { Box::new(move |forge| forge.unsigned(kind, algorithm) + ".") };
    let other = if kind == Kind::Access { Kind::Registry } else { Kind::Access };
    vec![
        ("alg none", bare("none")),
        ("alg None", bare("None")),
        ("alg NONE", bare("NONE")),
        ("alg of an empty text", bare("")),
        ("alg none with a signature", named("none")),
        ("no signature", bare("ES256")),
        ("HS256 under the public key's x", public("x")),
        ("HS256 under the public key's bytes", public("bytes")),
        ("HS256 under the public JWK", public("jwk")),
        ("RS256 instead", named("RS256")),
        ("ES384 instead", named("ES384")),
        ("EdDSA instead", named("EdDSA")),
        ("PS512 instead", named("PS512")),
        ("an algorithm of nobody", named("ES256K")),
        ("a stranger's signature", Box::new(move |forge| forge.sign_as_stranger(&forge.header(kind), &forge.claims(kind)))),
        ("a signature of the other kind's key", Box::new(move |forge| forge.sign(other, &forge.header(kind), &forge.claims(kind)))),
        ("a signature of something else", Box::new(move |forge| spliced(&forge.unsigned(kind, "ES256"), &forge.with_claim(kind, "jti", json!("x"))))),
        ("a signature of zeros", Box::new(move |forge| format!("{}.{}", forge.unsigned(kind, "ES256"), "A".repeat(86)))),
        ("a signature cut short", Box::new(move |forge| cut(&forge.good(kind), 10))),
        ("a signature with a letter more", Box::new(move |forge| forge.good(kind) + "A")),
    ]
}

#[rustfmt::skip] // A row is a line.
fn headers_of(kind: Kind) -> Vec<(&'static str, Make)> {
    let with = |name: &'static str, value: Value| -> Make { Box::new(move |forge| forge.with_header(kind, name, value.clone())) };
    // A stranger signs, and says where to find the key to believe it by.
    let elsewhere = |name: &'static str, value: Value| -> Make {
        Box::new(move |forge| forge.sign_as_stranger(&set(forge.header(kind), name, value.clone()), &forge.claims(kind)))
    };
    vec![
        ("an unknown kid", with("kid", json!("unknown"))),
        ("no kid", with("kid", Value::Null)),
        ("an empty kid", with("kid", json!(""))),
        ("a kid that climbs", with("kid", json!("../../../../dev/null"))),
        ("a kid that is SQL", with("kid", json!("x' UNION SELECT 'key"))),
        ("a kid that is a URL", with("kid", json!("http://evil.example/key.pem"))),
        ("a kid that is a number", with("kid", json!(1))),
        ("a kid of 8 KiB", with("kid", json!("k".repeat(8_000)))),
        ("a critical header", with("crit", json!(["exp"]))),
        ("a critical header of nobody", with("crit", json!(["x"]))),
        ("no typ", with("typ", Value::Null)),
        ("typ JWT", with("typ", json!("JWT"))),
        ("the typ of a webhook", with("typ", json!("roadstead-webhook+jwt"))),
        ("the typ of a refresh token", with("typ", json!("roadstead-refresh+jwt"))),
        ("the typ of the other kind", with("typ", json!(if kind == Kind::Access { "roadstead-registry+jwt" } else { "roadstead-access+jwt" }))),
        ("a typ in upper case", with("typ", json!(if kind == Kind::Access { "ROADSTEAD-ACCESS+JWT" } else { "ROADSTEAD-REGISTRY+JWT" }))),
        ("jku of a stranger", elsewhere("jku", json!("http://evil.example/keys.json"))),
        ("x5u of a stranger", elsewhere("x5u", json!("http://evil.example/chain.pem"))),
        ("a JWK of a stranger", elsewhere("jwk", json!({ "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA" }))),
        ("a certificate of a stranger", elsewhere("x5c", json!(["MIIB"]))),
    ]
}

#[rustfmt::skip] // A row is a line.
fn claims(kind: Kind) -> Vec<(&'static str, Make)> {
    let with = |name: &'static str, value: Value| -> Make { Box::new(move |forge| forge.with_claim(kind, name, value.clone())) };
    let from_now = |name: &'static str, seconds: i64| -> Make {
        Box::new(move |forge| {
            let issued = forge.claims(kind)["iat"].as_i64().unwrap_or_default();
            forge.with_claim(kind, name, json!(issued + seconds))
        })
    };
    vec![
        ("another audience", with("aud", json!("registry.example.com"))),
        ("no audience", with("aud", Value::Null)),
        ("an empty audience", with("aud", json!(""))),
        ("a list of the audience and another", Box::new(move |forge| {
            let ours = forge.claims(kind)["aud"].clone();
            forge.with_claim(kind, "aud", json!([ours, "registry.example.com"]))
        })),
        ("another issuer", with("iss", json!("http://evil.example/token"))),
        ("no issuer", with("iss", Value::Null)),
        ("the issuer with a slash more", Box::new(move |forge| {
            let issuer = forge.claims(kind)["iss"].as_str().unwrap_or_default().to_owned();
            forge.with_claim(kind, "iss", json!(issuer + "/"))
        })),
        ("the issuer of the other kind", Box::new(move |forge| {
            let other = if kind == Kind::Access { Kind::Registry } else { Kind::Access };
            forge.with_claim(kind, "iss", forge.claims(other)["iss"].clone())
        })),
        ("expired long ago", from_now("exp", -86_400)),
        ("expired at this second", with("exp", json!(1))),
        ("no expiry", with("exp", Value::Null)),
        ("an expiry that is a text", with("exp", json!("9999999999"))),
        ("an expiry below zero", with("exp", json!(-1))),
        ("an expiry beyond every integer", with("exp", json!(1e300))),
        ("not good yet", from_now("nbf", 3_600)),
        ("no beginning", with("nbf", Value::Null)),
        ("issued tomorrow", from_now("iat", 86_400)),
        ("never issued", with("iat", Value::Null)),
        ("no subject", with("sub", Value::Null)),
        ("a subject that nobody vouches for", with("sub", json!("admin"))),
        ("claims of another type", with("act", json!("admin"))),
    ]
}

/// What is no JWT at all, or a huge one.
#[rustfmt::skip] // A row is a line.
fn shapes(kind: Kind) -> Vec<(&'static str, Make)> {
    let good = move |change: fn(&str) -> String| -> Make { Box::new(move |forge| change(&forge.good(kind))) };
    vec![
        ("two parts", good(|token| token.rsplit_once('.').map(|(start, _)| start.to_owned()).unwrap_or_default())),
        ("four parts", good(|token| format!("{token}.x"))),
        ("five parts, as if encrypted", good(|token| format!("{token}.x.y"))),
        ("dots alone", good(|_| "..".to_owned())),
        ("one word", good(|_| "admin".to_owned())),
        ("no base64", good(|token| token.replacen("eyJ", "!!!", 2))),
        ("base64 with padding", good(|token| format!("{token}=="))),
        ("base64 of another alphabet", good(|token| token.replace(['-', '_'], "+") + "+/")),
        ("JSON instead of base64", good(|_| "{\"alg\":\"none\"}.{\"sub\":\"admin\"}.".to_owned())),
        ("60 KiB of claims of a stranger", Box::new(move |forge| forge.sign_as_stranger(&forge.header(kind), &set(forge.claims(kind), "x", json!("x".repeat(43_000)))))),
    ]
}

/// Headers that are not one `Authorization: Bearer`.
#[rustfmt::skip] // A row is a line.
fn headers() -> Vec<Case> {
    let manifest = || get("/v2/hostile/one/manifests/latest").nobody();
    let line = |value: &str| manifest().with("Authorization", value);
    vec![
        ask("two tokens, the first of them good", line("Bearer {token}").with("Authorization", "Bearer x"), REFUSED),
        ask("two tokens, the second of them good", line("Bearer x").with("Authorization", "Bearer {token}"), REFUSED),
        ask("the same good token twice", line("Bearer {token}").with("Authorization", "Bearer {token}"), REFUSED),
        ask("two tokens in one line", line("Bearer {token}, Bearer {token}"), REFUSED),
        ask("no scheme", line("{token}"), REFUSED),
        ask("another scheme", line("Token {token}"), REFUSED),
        ask("a scheme without a token", line("Bearer"), REFUSED),
        ask("a scheme and spaces", line("Bearer      "), REFUSED),
        ask("an empty header", line(""), REFUSED),
        ask("a tab after the scheme", line("Bearer\t{token}"), REFUSED),
        ask("a good token as a Basic password at /v2/", line(&basic("_token", "x")), REFUSED),
        ask("Basic of an administrator at /v2/", line(&basic("admin", "admin")), REFUSED),
        ask("Basic of nobody at /v2/", line("Basic Og=="), REFUSED),
        ask("Negotiate", line("Negotiate YIIB"), REFUSED),
        ask("an AWS signature", line("AWS4-HMAC-SHA256 Credential=x"), REFUSED),
        ask("bytes that are no text", manifest().with("Authorization", b"Bearer \xff\xfe\xfd"), REFUSED),
        ask("a token in the query", get("/v2/hostile/one/manifests/latest?token={token}").nobody(), REFUSED),
        ask("a token as access_token in the query", get("/v2/hostile/one/manifests/latest?access_token={token}").nobody(), REFUSED),
        ask("a token in a cookie", manifest().with("Cookie", "token={token}"), REFUSED),
        ask("a token in X-Authorization", manifest().with("X-Authorization", "Bearer {token}"), REFUSED),
        ask("a token in Proxy-Authorization", manifest().with("Proxy-Authorization", "Bearer {token}"), REFUSED),
        ask("a token in X-Forwarded-Access-Token", manifest().with("X-Forwarded-Access-Token", "{token}"), REFUSED),
        ask("an identity in headers of a proxy", manifest().with("X-Forwarded-User", "dev").with("X-Remote-User", "dev"), REFUSED),
    ]
}

/// Good tokens at doors that are not theirs.
#[rustfmt::skip] // A row is a line.
fn other_doors() -> Vec<Case> {
    let token = |query: &str| get(format!("/token?{query}"));
    let exchange = |make: fn(&Forge) -> String| post("/sts/exchange").bearer(make);
    vec![
        ask("an access token at /v2/", get("/v2/").bearer(|forge| forge.good(Kind::Access)), REFUSED),
        ask("an access token to push with", post("/v2/hostile/one/blobs/uploads/").bearer(|forge| forge.good(Kind::Access)), REFUSED),
        ask("a registry token at /token", token("service={host}"), REFUSED),
        ask("a registry token at the exchange", exchange(|forge| forge.good(Kind::Registry)), REFUSED.in_oauth()),
        ask("an access token at the exchange", exchange(|forge| forge.good(Kind::Access)), REFUSED.in_oauth()),
        ask("a token for another service", token("service=registry.example.com").bearer(|forge| forge.good(Kind::Access)), oci(400, "UNSUPPORTED")),
        ask("an identity token of a foreign issuer", exchange(foreign_identity), REFUSED.in_oauth()),
        ask("an identity token that claims to be ours", exchange(own_identity), REFUSED.in_oauth()),
        ask("an identity token of the development issuer, forged", exchange(development_identity), REFUSED.in_oauth()),
        ask("a registry token for another repository", get("/v2/hostile/other/tags/list"), REFUSED),
        ask("a registry token for a repository above", get("/v2/hostile/tags/list"), REFUSED),
        ask("a registry token for a repository below", get("/v2/hostile/one/more/tags/list"), REFUSED),
        ask(
            "a registry token of nobody that says it may push",
            post("/v2/hostile/one/blobs/uploads/").bearer(|forge| {
                let claims = set(set(forge.claims(Kind::Registry), "act", Value::Null), "sub", json!("dev"));
                forge.sign(Kind::Registry, &forge.header(Kind::Registry), &claims)
            }),
            REFUSED,
        ),
        ask("access that is a text", shown(Kind::Registry, |forge| forge.with_claim(Kind::Registry, "access", json!("*"))), REFUSED),
        ask("access to everything", get("/v2/hostile/other/tags/list").bearer(|forge| forge.with_claim(Kind::Registry, "access", json!([{ "type": "repository", "name": "*", "actions": ["*"] }]))), REFUSED),
        ask("access of an unknown action", shown(Kind::Registry, |forge| forge.with_claim(Kind::Registry, "access", json!([{ "type": "repository", "name": "hostile/one", "actions": ["admin"] }]))), REFUSED),
        ask("an actor that is not the subject", shown(Kind::Access, |forge| forge.with_claim(Kind::Access, "act", json!({ "iss": "https://x.example", "sub": "other" }))), REFUSED),
    ]
}

fn foreign_identity(forge: &Forge) -> String {
    let claims = json!({ "iss": "https://evil.example", "sub": "dev", "aud": "x", "iat": 1, "exp": 99_999_999_999_i64 });
    forge.sign_as_stranger(&json!({ "alg": "ES256", "typ": "JWT", "kid": "x" }), &claims)
}

/// auth must not take itself for an upstream issuer.
fn own_identity(forge: &Forge) -> String {
    let header = set(forge.header(Kind::Access), "typ", json!("JWT"));
    forge.sign(Kind::Access, &header, &forge.claims(Kind::Access))
}

fn development_identity(forge: &Forge) -> String {
    let ours = forge.claims(Kind::Access);
    let issuer = format!("{}/dev", ours["iss"].as_str().unwrap_or_default());
    let claims =
        json!({ "iss": issuer, "sub": "dev", "aud": ours["aud"], "iat": ours["iat"], "exp": ours["exp"] });
    forge.sign_as_stranger(
        &json!({ "alg": "ES256", "typ": "JWT", "kid": forge.header(Kind::Access)["kid"] }),
        &claims,
    )
}

fn cut(token: &str, letters: usize) -> String {
    token[..token.len() - letters].to_owned()
}

/// The signature of one token under another.
fn spliced(unsigned: &str, signed: &str) -> String {
    let signature = signed
        .rsplit_once('.')
        .map(|(_, signature)| signature)
        .unwrap_or_default();
    format!("{unsigned}.{signature}")
}
