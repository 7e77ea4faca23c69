//! Tokens, and what claims and scopes come to.

use std::{collections::BTreeMap, sync::LazyLock};

use aws_lc_rs::{
    hmac,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use roadstead_auth::{GrantConfig, fuzzing as auth};
use roadstead_authn::{
    ACCESS_TYPE, AccessClaims, Act, Believed, PinnedKeys, REGISTRY_TYPE, RegistryClaims, TokenClaims,
};
use roadstead_proto::auth::v1::{KeySet, TokenKind};
use roadstead_types::{ActionSet, RepositoryName, RepositoryPrefix, Scope};
use serde_json::{Map, Value, json};

use crate::{Parser, first_line_and_rest, whole};

pub(crate) const PARSERS: &[Parser] = &[
    Parser {
        name: "token of ours",
        check: own_token,
    },
    Parser {
        name: "identity token",
        check: identity_token,
    },
    Parser {
        name: "refresh token",
        check: refresh_token,
    },
    Parser {
        name: "pull token",
        check: pull_token,
    },
    Parser {
        name: "registered keys",
        check: registered_keys,
    },
    Parser {
        name: "scopes",
        check: scopes,
    },
    Parser {
        name: "claims",
        check: claims,
    },
];

const NOW: i64 = 1_800_000_000;
const ISSUER: &str = "https://registry.example.com";
const AUDIENCE: &str = "registry.example.com";
const KID: &str = "key";

struct Keys {
    ours: Ed25519KeyPair,
    others: Ed25519KeyPair,
    jwks: String,
    registry: PinnedKeys,
    access: PinnedKeys,
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let generate = || Ed25519KeyPair::generate().expect("the operating system has randomness");
    let ours = generate();
    let public = BASE64_URL_SAFE_NO_PAD.encode(ours.public_key());
    let jwks = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": public, "kid": KID, "use": "sig" }] });
    let pinned = |kind: TokenKind, token_type: &str| {
        let set = KeySet {
            kind: kind.into(),
            issuer: ISSUER.to_owned(),
            audience: AUDIENCE.to_owned(),
            token_type: token_type.to_owned(),
            jwks_json: jwks.to_string(),
        };
        PinnedKeys::from_key_set(&set).expect("a key set")
    };
    Keys {
        registry: pinned(TokenKind::Registry, REGISTRY_TYPE),
        access: pinned(TokenKind::Access, ACCESS_TYPE),
        ours,
        others: generate(),
        jwks: jwks.to_string(),
    }
});

/// A header and claims, which need not be JSON, as they are before they are signed.
fn unsigned(header: &str, claims: &str) -> String {
    let encode = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}", encode(header), encode(claims))
}

fn with_signature(unsigned: &str, signature: &[u8]) -> String {
    format!("{unsigned}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

fn signed(key: &Ed25519KeyPair, header: &str, claims: &str) -> String {
    let unsigned = unsigned(header, claims);
    with_signature(&unsigned, key.sign(unsigned.as_bytes()).as_ref())
}

/// The same header and claims as somebody would show them who has not our key.
fn forgeries(header: &str, claims: &str) -> [String; 5] {
    let unsigned = unsigned(header, claims);
    // The oldest trick: the public key as the secret of a symmetric algorithm.
    let public = hmac::Key::new(hmac::HMAC_SHA256, KEYS.ours.public_key().as_ref());
    let mac = hmac::sign(&public, unsigned.as_bytes());
    let other = KEYS.ours.sign(b"something else");
    [
        signed(&KEYS.others, header, claims),
        with_signature(&unsigned, b""),
        unsigned.clone(),
        with_signature(&unsigned, mac.as_ref()),
        with_signature(&unsigned, other.as_ref()),
    ]
}

fn believed<C: TokenClaims>(keys: &PinnedKeys, token: &str) -> Option<(C, bool)> {
    match keys.verify(token, NOW)? {
        Believed::Fresh(claims) => Some((claims, true)),
        Believed::Expired(claims) => Some((claims, false)),
    }
}

/// Takes the header and the claims of a token.
fn own_token(text: &str) {
    let (header, claims) = first_line_and_rest(text);
    for forged in forgeries(header, claims).iter().map(String::as_str).chain([text]) {
        assert!(
            believed::<RegistryClaims>(&KEYS.registry, forged).is_none(),
            "{forged}"
        );
        assert!(
            believed::<AccessClaims>(&KEYS.access, forged).is_none(),
            "{forged}"
        );
    }
    let token = signed(&KEYS.ours, header, claims);
    let registry = believed::<RegistryClaims>(&KEYS.registry, &token);
    let access = believed::<AccessClaims>(&KEYS.access, &token);
    assert!(
        registry.is_none() || access.is_none(),
        "{text} is a token of two kinds"
    );
    if let Some((ours, fresh)) = registry {
        let claims = pinned_claims(
            header,
            claims,
            REGISTRY_TYPE,
            "https://registry.example.com/token",
        );
        assert_eq!(
            fresh,
            claims["exp"].as_i64().is_some_and(|end| end > NOW),
            "{text}"
        );
        assert_eq!(claims["sub"], ours.principal.subject.as_str(), "{text}");
        let granted: Vec<Value> = ours.access.iter().map(|access| json!(access.name)).collect();
        let written: Vec<Value> = claims["access"]
            .as_array()
            .map(|list| list.iter().map(|access| access["name"].clone()).collect())
            .unwrap_or_default();
        assert_eq!(granted, written, "{text}");
    }
    if let Some((ours, fresh)) = access {
        let claims = pinned_claims(header, claims, ACCESS_TYPE, ISSUER);
        assert_eq!(
            fresh,
            claims["exp"].as_i64().is_some_and(|end| end > NOW),
            "{text}"
        );
        assert_eq!(claims["act"]["sub"], ours.principal.subject.as_str(), "{text}");
        assert!(!ours.principal.is_anonymous(), "{text}");
    }
}

/// Demands what every believed token has, read by other means.
fn pinned_claims(header: &str, claims: &str, token_type: &str, _issuer: &str) -> Value {
    let header: Value = serde_json::from_str(header).expect("a header");
    assert_eq!(header["alg"], "EdDSA");
    assert_eq!(header["typ"], token_type);
    assert_eq!(header["kid"], KID);
    assert!(header.get("crit").is_none_or(Value::is_null), "{header}");
    let claims: Value = serde_json::from_str(claims).expect("claims");
    assert_eq!(claims["iss"], ISSUER);
    assert_eq!(claims["aud"], AUDIENCE);
    for time in ["nbf", "iat"] {
        assert!(
            claims[time].as_i64().is_some_and(|time| time <= NOW + 5),
            "{claims}"
        );
    }
    claims
}

/// Takes the header and the claims of an issuer's token.
fn identity_token(text: &str) {
    let (header, claims) = first_line_and_rest(text);
    let read = |token: &str| auth::identity(token, AUDIENCE, &KEYS.jwks, NOW);
    for forged in forgeries(header, claims).iter().map(String::as_str).chain([text]) {
        assert!(read(forged).is_none(), "{forged}");
    }
    let Some((issuer, subject, _)) = read(&signed(&KEYS.ours, header, claims)) else {
        return;
    };
    let header: Value = serde_json::from_str(header).expect("a header");
    assert_eq!(header["alg"], "EdDSA");
    let claims: Value = serde_json::from_str(claims).expect("claims");
    assert_eq!(claims["iss"], issuer.as_str());
    assert_eq!(claims["sub"], subject.as_str());
    assert!(!subject.is_empty() && !subject.chars().any(char::is_control));
    let audiences = match &claims["aud"] {
        Value::Array(list) => list.clone(),
        one => vec![one.clone()],
    };
    assert_eq!(audiences, [AUDIENCE]);
    let seconds = |name: &str| claims[name].as_f64();
    let now = f64::from(u32::try_from(NOW).expect("this century"));
    assert!(seconds("exp").is_some_and(|end| end > now), "{claims}");
    assert!(
        seconds("iat").is_some_and(|issued| issued < now + 31.0),
        "{claims}"
    );
    assert!(seconds("nbf").is_none_or(|begin| begin < now + 31.0), "{claims}");
}

/// Takes a text that is meant as a token, or the session of one that is.
fn refresh_token(text: &str) {
    if let Some((session, generation)) = auth::read_refresh_token(text) {
        assert_eq!(auth::refresh_token(&session, generation).as_deref(), Some(text));
    }
    let made = auth::refresh_token(text, 7).expect("a key");
    // A session has no dot, and no token is longer than two hundred bytes.
    if !text.contains('.') && text.len() < 180 {
        assert_eq!(auth::read_refresh_token(&made), Some((text.to_owned(), 7)));
    }
    let (unsigned, _) = made.rsplit_once('.').expect("a tag");
    for forged in [
        unsigned.to_owned(),
        format!("{unsigned}."),
        format!("{made}A"),
        made.replacen(".7.", ".8.", 1),
    ] {
        assert_eq!(auth::read_refresh_token(&forged), None, "{forged}");
    }
}

/// Takes a text that is meant as a token.
fn pull_token(text: &str) {
    static FORM: LazyLock<regex::Regex> =
        LazyLock::new(|| whole("rspt_[0-9a-f]{32}_[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]"));
    let id = auth::pull_token_id(text);
    assert_eq!(id.is_some(), FORM.is_match(text), "{text}");
    if let Some(id) = id {
        assert_eq!(
            Some(id.as_str()),
            text.get(5..37).map(|id| format!("ptk_{id}")).as_deref()
        );
    }
}

/// Takes a JWK set.
fn registered_keys(text: &str) {
    assert!(auth::takes_keys(&KEYS.jwks));
    if !auth::takes_keys(text) {
        return;
    }
    let set: Value = serde_json::from_str(text).expect("a key set");
    let keys = set["keys"].as_array().expect("keys");
    assert!((1..=32).contains(&keys.len()), "{text}");
    for key in keys {
        for secret in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            assert!(key.get(secret).is_none(), "{text}");
        }
    }
}

fn grant(prefix: &str, actions: &str, claims: &[(&str, &str)]) -> GrantConfig {
    GrantConfig {
        issuer: ISSUER.to_owned(),
        subject: None,
        subject_pattern: Some("dev-.*".to_owned()),
        claims: claims
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        prefix: RepositoryPrefix::parse(prefix).expect("a prefix"),
        actions: ActionSet::parse(actions),
        ..GrantConfig::default()
    }
}

/// Takes a subject, and what is asked for, a text in each line.
fn scopes(text: &str) {
    let (subject, asked) = first_line_and_rest(text);
    let grants = [grant("acme", "pull,push", &[]), grant("acme/web", "delete", &[])];
    let act = Act {
        issuer: ISSUER.to_owned(),
        subject: subject.to_owned(),
        claims: BTreeMap::new(),
    };
    let texts: Vec<&str> = asked.lines().collect();
    for act in [None, Some(&act)] {
        let Some((asked, granted, denied)) = auth::decide_scopes(&texts, &grants, act) else {
            continue;
        };
        assert!(asked.len() <= 64);
        let of = |list: &[Scope], scope: &Scope| {
            list.iter()
                .filter(|other| other.resource == scope.resource)
                .fold(ActionSet::EMPTY, |all, other| all.union(other.actions))
        };
        for scope in granted.iter().chain(&denied) {
            assert!(
                of(&asked, scope).contains_all(scope.actions),
                "{scope} was not asked for"
            );
            let both = of(&granted, scope).intersection(of(&denied, scope));
            assert!(both.is_empty(), "{scope} is granted and denied");
        }
        let developer = act.is_some_and(|act| act.subject.starts_with("dev-") && !act.subject.contains('\n'));
        for scope in granted
            .iter()
            .filter(|scope| scope.resource_type() == "repository")
        {
            let below = |prefix: &str| format!("{}/", scope.name()).starts_with(&format!("{prefix}/"));
            let may = match (developer && below("acme"), developer && below("acme/web")) {
                (_, true) => ActionSet::ALL,
                (true, false) => ActionSet::parse("pull,push"),
                (false, false) => ActionSet::EMPTY,
            };
            assert!(
                may.contains_all(scope.actions),
                "{scope} is granted to {subject:?}"
            );
        }
        assert!(
            act.is_some() || denied.is_empty(),
            "nobody is denied, but asked to log in"
        );
    }
}

/// Takes a subject and the claims of an identity. Leaving out of a token what no grant looks at changes nothing.
fn claims(text: &str) {
    let (subject, claims) = first_line_and_rest(text);
    let Ok(claims) = serde_json::from_str::<Map<String, Value>>(claims) else {
        return;
    };
    let grants = [
        grant("", "pull", &[("team", "sea")]),
        grant("acme", "push", &[("groups", "crew"), ("admin", "true")]),
        grant("acme/web", "delete", &[("level", "7")]),
    ];
    let act = Act {
        issuer: ISSUER.to_owned(),
        subject: subject.to_owned(),
        claims: claims.into_iter().collect(),
    };
    let repository = RepositoryName::parse("acme/web").expect("a name");
    let (all, reduced, act_reduced) =
        auth::reduce_claims(&act, &grants, &repository).expect("the grants are well-formed");
    assert_eq!(all, reduced, "{text}");
    for (name, value) in &act_reduced.claims {
        assert!(
            ["team", "groups", "admin", "level"].contains(&name.as_str()),
            "{name}"
        );
        let written = act.claims.get(name).expect("a claim of the identity");
        let kept = match (value, written) {
            (Value::Array(kept), Value::Array(written)) => kept.iter().all(|member| written.contains(member)),
            (kept, written) => kept == written,
        };
        assert!(kept, "{name}: {value} is not in {written}");
    }
}
