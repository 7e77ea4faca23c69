//! What travels through the gateway: sealed values, page tokens, deadlines, trace context.

use std::{collections::HashMap, sync::LazyLock, time::Duration};

use http::{HeaderMap, HeaderValue};
use opentelemetry::{propagation::TextMapPropagator as _, trace::TraceContextExt as _};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use prost::Message as _;
use regex::Regex;
use roadstead_blobs::fuzzing as blobs;
use roadstead_events::fuzzing as events;
use roadstead_metadata::fuzzing as metadata;
use roadstead_proto::{
    blobs::v1::{Lease, Locator, Receipt},
    events::v1::ListEventsRequest,
};
use roadstead_rpc::{SealKey, fuzzing as rpc};
use roadstead_types::{Digest, DigestAlgorithm, UploadId};

use crate::{Parser, first_line_and_rest, whole};

pub(crate) const PARSERS: &[Parser] = &[
    Parser {
        name: "sealed value",
        check: sealed,
    },
    Parser {
        name: "locator",
        check: locator,
    },
    Parser {
        name: "lease and state",
        check: session,
    },
    Parser {
        name: "hash state",
        check: hash_state,
    },
    Parser {
        name: "page token",
        check: page_token,
    },
    Parser {
        name: "page token of events",
        check: events_page_token,
    },
    Parser {
        name: "deadline",
        check: deadline,
    },
    Parser {
        name: "trace context",
        check: trace_context,
    },
];

const PURPOSES: [&str; 4] = ["locator", "lease", "receipt", "upload-state"];
/// What a sealed value has beside its message: version, salt, nonce and tag.
const FRAME: usize = 1 + 16 + 12 + 16;

static KEY: LazyLock<SealKey> = LazyLock::new(SealKey::generate);

/// Latin-1 text as the bytes that it stands for, so that an input can be any bytes.
fn bytes(text: &str) -> Vec<u8> {
    text.chars()
        .map(|letter| u8::try_from(u32::from(letter)).unwrap_or(0xff))
        .collect()
}

/// Nobody without the key makes a sealed value, and none survives a change of a single byte or of its purpose.
fn sealed(text: &str) {
    let input = bytes(text);
    for purpose in PURPOSES {
        assert!(
            KEY.open::<Receipt>(purpose, &input).is_err(),
            "{text:?} as {purpose}"
        );
    }
    let message = Receipt {
        digest: text.to_owned(),
        ..Receipt::default()
    };
    let value = KEY.seal("receipt", &message);
    assert_eq!(value.len(), FRAME + message.encoded_len());
    assert_eq!(KEY.open::<Receipt>("receipt", &value).as_ref(), Ok(&message));
    assert!(
        KEY.open::<Receipt>("lease", &value).is_err(),
        "opened for another purpose"
    );
    let [position, change, ..] = input.as_slice() else {
        return;
    };
    let mut changed = value.to_vec();
    let position = usize::from(*position) * value.len() / 256;
    changed[position] ^= (*change).max(1);
    assert!(
        KEY.open::<Receipt>("receipt", &changed).is_err(),
        "byte {position} was changed"
    );
    let shorter = &value[..position];
    assert!(
        KEY.open::<Receipt>("receipt", shorter).is_err(),
        "cut after {position}"
    );
}

/// A locator leads to an object of the store, whatever text metadata sealed.
fn locator(text: &str) {
    let message = Locator {
        object_key: text.to_owned(),
        size: 7,
        expires_at: i64::MAX,
        ..Locator::default()
    };
    let sealed = KEY.seal("locator", &message);
    match blobs::open_locator(&KEY, &sealed) {
        Some((key, size)) => {
            assert_eq!((key.as_str(), size), (text, 7));
            assert!(blobs::object_path(text).is_some());
        }
        None => assert!(blobs::object_path(text).is_none(), "{text:?} was refused"),
    }
    let expired = Locator {
        expires_at: 0,
        ..message
    };
    assert_eq!(blobs::open_locator(&KEY, &KEY.seal("locator", &expired)), None);
    assert_eq!(blobs::open_locator(&KEY, &bytes(text)), None);
}

/// Takes the algorithm and the upload id of a lease; the rest is shown as a state.
fn session(text: &str) {
    let (algorithm, rest) = first_line_and_rest(text);
    let (upload_id, state) = first_line_and_rest(rest);
    let lease = Lease {
        upload_id: upload_id.to_owned(),
        epoch: 3,
        digest_algorithm: algorithm.to_owned(),
    };
    let well_formed = UploadId::parse(upload_id).is_ok() && algorithm.parse::<DigestAlgorithm>().is_ok();
    let lease = KEY.seal("lease", &lease);
    let fresh = blobs::open_session(&KEY, &lease, b"");
    assert_eq!(
        fresh,
        well_formed.then(|| (upload_id.to_owned(), 3, None)),
        "{text:?}"
    );
    if !state.is_empty() {
        assert_eq!(
            blobs::open_session(&KEY, &lease, &bytes(state)),
            None,
            "a state of nobody's"
        );
    }
    // A lease is no state, though the same key sealed it.
    assert_eq!(blobs::open_session(&KEY, &lease, &lease), None);
    assert_eq!(
        blobs::open_session(&KEY, &bytes(text), b""),
        None,
        "a lease of nobody's"
    );
}

/// A state that is taken is saved as it was, and hashing goes on from it without fail.
///
/// States are sealed, so none is of an upload that could not be. One of 2^56 blocks is left out: SHA-256 counts bits in 64.
fn hash_state(text: &str) {
    let input = bytes(text);
    for (algorithm, count) in [
        (DigestAlgorithm::Sha256, 32..40),
        (DigestAlgorithm::Sha512, 64..80),
    ] {
        let little_endian = input.get(count).unwrap_or_default();
        if little_endian.iter().skip(7).any(|byte| *byte != 0) {
            continue;
        }
        if let Some((saved, digest)) = blobs::resume_hash(algorithm, &input, b"more") {
            assert_eq!(saved, input);
            assert!(Digest::parse(&digest).is_ok_and(|digest| digest.algorithm() == algorithm));
        }
    }
}

/// A token comes back as it was given out, only for its own list, and has one spelling.
fn page_token(text: &str) {
    let token = metadata::write_page_token("referrers", text);
    assert_eq!(
        metadata::read_page_token("referrers", &token).as_deref(),
        Some(text)
    );
    assert_eq!(metadata::read_page_token("history", &token), None);
    if let Some(last) = metadata::read_page_token("referrers", text).filter(|_| !text.is_empty()) {
        assert_eq!(metadata::write_page_token("referrers", &last), text);
    }
}

/// Takes a repository and the start of a type, or a token.
fn events_page_token(text: &str) {
    let (repository, type_prefix) = first_line_and_rest(text);
    let request = ListEventsRequest {
        repository: repository.to_owned(),
        type_prefix: type_prefix.to_owned(),
        page_token: text.to_owned(),
        ..ListEventsRequest::default()
    };
    if let Some(Some(after)) = events::read_page_token(&request) {
        assert!(after >= 0, "{text:?}");
    }
    let next = ListEventsRequest {
        page_token: events::write_page_token(&request, 42),
        ..request.clone()
    };
    assert_eq!(events::read_page_token(&next), Some(Some(42)));
    let other = ListEventsRequest {
        newest_first: true,
        ..next
    };
    assert_eq!(
        events::read_page_token(&other),
        None,
        "a token of another listing"
    );
    for moved in [
        ListEventsRequest {
            repository: format!("{repository}x"),
            newest_first: false,
            ..other.clone()
        },
        ListEventsRequest {
            type_prefix: format!("{type_prefix}x"),
            newest_first: false,
            ..other
        },
    ] {
        assert_eq!(
            events::read_page_token(&moved),
            None,
            "a token of another listing"
        );
    }
}

static TIMEOUT: LazyLock<Regex> = LazyLock::new(|| whole("(?<amount>[0-9]{1,8})(?<unit>[HMSmun])"));

fn deadline(text: &str) {
    let Ok(value) = HeaderValue::from_str(text) else {
        return;
    };
    let expected = TIMEOUT.captures(text).map(|parts| {
        let amount: u64 = parts["amount"].parse().expect("eight digits");
        match &parts["unit"] {
            "H" => Duration::from_hours(amount),
            "M" => Duration::from_mins(amount),
            "S" => Duration::from_secs(amount),
            "m" => Duration::from_millis(amount),
            "u" => Duration::from_micros(amount),
            _ => Duration::from_nanos(amount),
        }
    });
    let timeout = rpc::parse_timeout(&value);
    assert_eq!(timeout, expected, "{text:?}");
    let Some(timeout) = timeout else { return };
    let mut headers = HeaderMap::new();
    rpc::set_timeout(&mut headers, timeout);
    let written = rpc::parse_timeout(&headers["grpc-timeout"]).expect("what was written is read");
    // Never longer than asked for, and shorter only by what the eight digits cannot say.
    assert!(written <= timeout, "{text:?} became {written:?}");
    let most = Duration::from_millis(99_999_999);
    let step = if timeout < Duration::from_secs(100) {
        Duration::from_micros(1)
    } else {
        Duration::from_millis(1)
    };
    assert!(
        written == most || timeout.abs_diff(written) < step,
        "{text:?} became {written:?}"
    );
}

/// A trace that is continued is the one that the header names. The library also takes ids with fewer digits.
fn trace_context(text: &str) {
    let (parent, state) = first_line_and_rest(text);
    let carrier: HashMap<String, String> = [("traceparent", parent), ("tracestate", state)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let propagator = TraceContextPropagator::new();
    let context = propagator.extract(&carrier);
    if !context.span().span_context().is_valid() {
        return;
    }
    let mut written = HashMap::new();
    propagator.inject_context(&context, &mut written);
    let ids = |text: &str| -> Vec<u128> {
        let parts = text.trim().split('-').skip(1).take(2);
        parts
            .map(|id| u128::from_str_radix(id, 16).expect("hexadecimal"))
            .collect()
    };
    assert_eq!(ids(parent), ids(&written["traceparent"]), "{parent:?}");
    assert!(ids(parent).iter().all(|id| *id != 0), "{parent:?}");
}
