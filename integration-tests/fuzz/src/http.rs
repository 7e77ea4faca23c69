//! What stands in the head of a request.

use std::{borrow::Cow, collections::BTreeSet, sync::LazyLock};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderValue, header};
use percent_encoding::percent_decode_str;
use regex::{Captures, Regex};
use roadstead_gateway::{
    credentials::Credential,
    fuzzing as gateway,
    path::{Target, V2Path},
    query::Query,
    range::{ByteRange, Selection, select},
};
use secrecy::ExposeSecret as _;

use crate::{
    Parser, first_line_and_rest, heads,
    names::{DIGEST, ID, NAME, TAG, is_name},
    whole,
};

pub(crate) const PARSERS: &[Parser] = &[
    Parser {
        name: "path",
        check: path,
    },
    Parser {
        name: "query",
        check: query,
    },
    Parser {
        name: "page size",
        check: page_size,
    },
    Parser {
        name: "link",
        check: link,
    },
    Parser {
        name: "range",
        check: range,
    },
    Parser {
        name: "chunk",
        check: chunk,
    },
    Parser {
        name: "multipart",
        check: multipart,
    },
    Parser {
        name: "conditions",
        check: conditions,
    },
    Parser {
        name: "bearer",
        check: bearer,
    },
    Parser {
        name: "credential",
        check: credential,
    },
    Parser {
        name: "basic",
        check: basic,
    },
    Parser {
        name: "loopback name",
        check: heads::loopback_name,
    },
    Parser {
        name: "head",
        check: heads::head,
    },
];

/// The paths of the specification's endpoints, by the first of these that matches.
static ENDPOINTS: LazyLock<[(Regex, &str); 8]> = LazyLock::new(|| {
    [
        (r"/v2/?".to_owned(), "base"),
        (r"/v2/_catalog".to_owned(), "catalog"),
        (
            format!("/v2/(?<name>{NAME})/manifests/(?<last>{TAG}|{DIGEST})"),
            "manifest",
        ),
        (format!("/v2/(?<name>{NAME})/blobs/(?<last>{DIGEST})"), "blob"),
        (format!("/v2/(?<name>{NAME})/blobs/uploads/?"), "uploads"),
        (
            format!("/v2/(?<name>{NAME})/blobs/uploads/(?<last>{ID})"),
            "upload",
        ),
        (format!("/v2/(?<name>{NAME})/tags/list"), "tags"),
        (
            format!("/v2/(?<name>{NAME})/referrers/(?<last>{DIGEST})"),
            "referrers",
        ),
    ]
    .map(|(pattern, kind)| (whole(&pattern), kind))
});

/// What a path names by the specification: the kind, the name and what follows.
fn endpoint(path: &str) -> Option<(&'static str, String, String)> {
    let part = |parts: &Captures<'_>, name| {
        parts
            .name(name)
            .map(|part| part.as_str().to_owned())
            .unwrap_or_default()
    };
    ENDPOINTS.iter().find_map(|(grammar, kind)| {
        let parts = grammar.captures(path)?;
        let (name, last) = (part(&parts, "name"), part(&parts, "last"));
        (name.is_empty() || is_name(&name)).then_some((*kind, name, last))
    })
}

fn named_by(target: &Target) -> (&'static str, String, String) {
    let (kind, name, last) = match target {
        Target::Base => ("base", None, None),
        Target::Catalog => ("catalog", None, None),
        Target::Manifest(name, reference) => ("manifest", Some(name), Some(reference.to_string())),
        Target::Blob(name, digest) => ("blob", Some(name), Some(digest.to_string())),
        Target::Uploads(name) => ("uploads", Some(name), None),
        Target::Upload(name, id) => ("upload", Some(name), Some(id.to_string())),
        Target::Tags(name) => ("tags", Some(name), None),
        Target::Referrers(name, digest) => ("referrers", Some(name), Some(digest.to_string())),
    };
    (
        kind,
        name.map(ToString::to_string).unwrap_or_default(),
        last.unwrap_or_default(),
    )
}

/// A path is what the specification's grammar says of it, percent-encoding undone once; or it names nothing.
fn path(text: &str) {
    let Some(cut) = V2Path::cut(text) else {
        assert!(text != "/v2" && !text.starts_with("/v2/"), "{text:?} is ours");
        return;
    };
    let decoded = percent_decode_str(text).decode_utf8();
    for reading in [true, false] {
        match (cut.parse(reading), &decoded) {
            (Ok(target), Ok(decoded)) => {
                assert_eq!(Some(named_by(&target)), endpoint(decoded), "{text:?}");
                let slashes = |text: &str| text.matches('/').count();
                assert_eq!(slashes(text), slashes(decoded), "{text:?} has hidden slashes");
            }
            (Ok(target), Err(_)) => panic!("{text:?} is no UTF-8, and named {target:?}"),
            (Err(failure), _) => {
                assert!(failure.status().is_client_error(), "{text:?}: {failure:?}");
                assert_eq!(endpoint(text), None, "{text:?} was refused");
            }
        }
    }
}

fn query(text: &str) {
    let pairs: Vec<(Cow<'_, str>, Cow<'_, str>)> = url::form_urlencoded::parse(text.as_bytes()).collect();
    let names: BTreeSet<&str> = pairs.iter().map(|(name, _)| name.as_ref()).chain(["n"]).collect();
    let query = Query::new(text);
    for name in names {
        let expected: Vec<&str> = pairs
            .iter()
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.as_ref())
            .collect();
        assert_eq!(query.all(name).collect::<Vec<_>>(), expected);
        assert_eq!(query.first(name).as_deref(), expected.first().copied());
        assert_eq!(
            query.filled(name).as_deref(),
            expected.first().copied().filter(|value| !value.is_empty())
        );
    }
}

fn page_size(text: &str) {
    let encoded: String = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("n", text)
        .finish();
    match Query::new(&encoded).page_size() {
        Ok(None) => assert!(text.is_empty(), "{text:?}"),
        Ok(Some(size)) => {
            assert!(text.bytes().all(|byte| byte.is_ascii_digit()), "{text:?}");
            // A zero in front keeps what is all zeros a number.
            let number: u128 = format!("0{text}").parse().unwrap_or(u128::MAX);
            assert_eq!(u128::from(size), number.min(u128::from(u32::MAX)), "{text:?}");
        }
        Err(failure) => {
            assert!(failure.status().is_client_error());
            assert!(!text.bytes().all(|byte| byte.is_ascii_digit()), "{text:?}");
        }
    }
}

/// Whatever stands in a `Link`, following it gives back what was put in, and nothing else.
fn link(text: &str) {
    let (last, other) = first_line_and_rest(text);
    let pairs = [("last", last), ("artifactType", other)];
    let link = gateway::next_link("/v2/a/tags/list", &pairs);
    let link = link.to_str().expect("visible ASCII");
    let target = link
        .strip_prefix("</v2/a/tags/list?")
        .and_then(|link| link.strip_suffix(">; rel=\"next\""))
        .expect("one link, of which the client's text is not the end");
    assert!(!target.contains(['<', '>', '"', ' ']), "{target}");
    let followed: Vec<_> = url::form_urlencoded::parse(target.as_bytes()).collect();
    assert_eq!(followed, pairs.map(|(name, value)| (name.into(), value.into())));
}

static RANGES: LazyLock<Regex> =
    LazyLock::new(|| whole(r"bytes=([0-9]+-[0-9]*|-[0-9]+)(,([0-9]+-[0-9]*|-[0-9]+))*"));

/// Whether one range of a header names a byte of a representation of `size` bytes.
fn names_byte(item: &str, byte: u64, size: u64) -> bool {
    let Some((first, last)) = item.split_once('-') else {
        return false;
    };
    let number = |text: &str| text.trim().parse::<u128>().unwrap_or(u128::MAX);
    let (byte, size) = (u128::from(byte), u128::from(size));
    match (first.trim().is_empty(), last.trim().is_empty()) {
        (true, _) => size.saturating_sub(number(last)) <= byte,
        (false, true) => number(first) <= byte,
        (false, false) => number(first) <= byte && byte <= number(last),
    }
}

/// Takes the size of a blob and a `Range`.
fn range(text: &str) {
    const MAX_RANGES: usize = 8;
    let (size, range) = first_line_and_rest(text);
    let size: u64 = size.parse().unwrap_or(42);
    let selected: Vec<ByteRange> = match select(range, size, MAX_RANGES) {
        Selection::Whole => {
            assert!(!RANGES.is_match(range), "{range:?} is a range");
            return;
        }
        Selection::TooMany => {
            assert!(range.split(',').count() > MAX_RANGES);
            return;
        }
        Selection::NotSatisfiable => return,
        Selection::One(range) => vec![range],
        Selection::Many(ranges) => {
            assert!((2..=MAX_RANGES).contains(&ranges.len()));
            ranges
        }
    };
    let mut sorted = selected.clone();
    sorted.sort_by_key(|range| range.first);
    for range in &sorted {
        assert!(
            range.first <= range.last && range.last < size,
            "{text:?}: {range:?}"
        );
        assert_eq!(
            u128::from(range.length()),
            u128::from(range.last) - u128::from(range.first) + 1
        );
    }
    // Without overlaps, so that the answer is no larger than the blob.
    assert!(
        sorted.windows(2).all(|pair| pair[0].last < pair[1].first),
        "{text:?}"
    );
    let (_, list) = range.split_once('=').expect("a unit");
    for byte in 0..size.min(64) {
        let asked = list.split(',').any(|item| names_byte(item, byte, size));
        let sent = selected
            .iter()
            .any(|range| (range.first..=range.last).contains(&byte));
        assert_eq!(asked, sent, "byte {byte} of {size}: {range:?}");
    }
}

static CHUNK: LazyLock<Regex> = LazyLock::new(|| whole("(?<first>[0-9]+)-(?<last>[0-9]+)"));

fn chunk(text: &str) {
    let expected = CHUNK.captures(text).and_then(|parts| {
        let (first, last) = (parts["first"].parse().ok()?, parts["last"].parse().ok()?);
        (first <= last && last < u64::MAX).then_some(ByteRange { first, last })
    });
    assert_eq!(ByteRange::parse_chunk(text), expected, "{text:?}");
}

/// Takes content and a `Range`; the answer, read as RFC 2046 says, gives each range back.
fn multipart(text: &str) {
    let (content, range) = first_line_and_rest(text);
    let content = content.as_bytes();
    let Selection::Many(ranges) = select(range, content.len() as u64, 8) else {
        return;
    };
    let (content_type, length, body) = gateway::multipart(content, &ranges);
    assert_eq!(length, body.len() as u64);
    let boundary = content_type
        .to_str()
        .ok()
        .and_then(|text| text.strip_prefix("multipart/byteranges; boundary="))
        .expect("a boundary");
    let delimiter = format!("\r\n--{boundary}");
    let mut rest = body.as_slice();
    for ByteRange { first, last } in ranges {
        let head = format!(
            "{delimiter}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {first}-{last}/{}\r\n\r\n",
            content.len()
        );
        rest = rest.strip_prefix(head.as_bytes()).expect("the head of a part");
        let (first, last) = (as_index(first), as_index(last));
        rest = rest
            .strip_prefix(&content[first..=last])
            .expect("the bytes of a part");
    }
    assert_eq!(rest, format!("{delimiter}--\r\n").as_bytes());
}

fn as_index(position: u64) -> usize {
    usize::try_from(position).expect("a position in memory")
}

/// Takes lines of `If-None-Match`, of which the last is also an `If-Range`.
fn conditions(text: &str) {
    const CONTENT: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let tag = gateway::entity_tag(CONTENT);
    let tag = tag.to_str().expect("visible ASCII");
    let mut headers = HeaderMap::new();
    let mut expected = false;
    for line in text.split('\n') {
        let Ok(value) = HeaderValue::from_str(line) else {
            continue;
        };
        expected |= value.to_str().is_ok_and(|line| {
            line.split(',')
                .map(str::trim)
                .any(|item| item == "*" || item == tag || item.strip_prefix("W/") == Some(tag))
        });
        headers.append(header::IF_NONE_MATCH, value.clone());
        headers.insert(header::IF_RANGE, value);
    }
    assert_eq!(gateway::has_current(&headers, CONTENT), expected, "{headers:?}");
    if let Some(condition) = headers.get(header::IF_RANGE) {
        let same = condition.to_str().is_ok_and(|condition| condition.trim() == tag);
        assert_eq!(gateway::range_counts(&headers, CONTENT), same, "{condition:?}");
    }
}

static BEARER: LazyLock<Regex> = LazyLock::new(|| whole(r"(?i:bearer) (?<token>.*)"));

fn bearer(text: &str) {
    let Ok(line) = HeaderValue::from_str(text) else {
        return;
    };
    let expected = line
        .to_str()
        .ok()
        .and_then(|line| BEARER.captures(line))
        .map(|parts| parts["token"].trim().to_owned())
        .filter(|token| !token.is_empty());
    assert_eq!(gateway::bearer(&line), expected.as_deref(), "{text:?}");
}

/// The token of a credential; the empty one is nobody's.
fn token_of(line: &HeaderValue) -> Option<String> {
    let credential = Credential::parse(Some(line)).ok()?;
    let shown = format!("{credential:?}");
    match credential {
        Credential::Anonymous => Some(String::new()),
        Credential::Token(token) => {
            let token = token.expose_secret().to_owned();
            assert!(!token.is_empty());
            // The same for every token, whatever is in it.
            assert_eq!(shown, "Token(SecretBox<str>([REDACTED]))");
            Some(token)
        }
    }
}

fn credential(text: &str) {
    if let Ok(line) = HeaderValue::from_str(text) {
        let token = token_of(&line);
        if let (Some(token), Some(bearer)) = (token, gateway::bearer(&line)) {
            assert_eq!(token, bearer);
        }
    }
}

/// Takes a user name and a password.
fn basic(text: &str) {
    let (user, password) = first_line_and_rest(text);
    let line = format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")));
    let token = token_of(&HeaderValue::from_str(&line).expect("visible ASCII"));
    // A user name ends at the first colon; one without a password is a mistake, not nobody.
    let (user, password) = match user.split_once(':') {
        Some((user, rest)) => (user, format!("{rest}:{password}")),
        None => (user, password.to_owned()),
    };
    let expected = (user.is_empty() || !password.is_empty()).then_some(password);
    assert_eq!(token, expected, "{text:?}");
}
