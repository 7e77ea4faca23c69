//! JSON that clients, services and issuers send.

use std::fmt;

use roadstead_auth::fuzzing as auth;
use roadstead_events::fuzzing as events;
use roadstead_metadata::fuzzing as metadata;
use roadstead_types::Digest;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

use crate::{Parser, first_line_and_rest};

pub(crate) const PARSERS: &[Parser] = &[
    Parser {
        name: "manifest",
        check: manifest,
    },
    Parser {
        name: "event",
        check: event,
    },
    Parser {
        name: "key set of an issuer",
        check: key_set,
    },
];

/// JSON as it stands, members that appear twice included: what is made of those differs from one parser to the next.
#[derive(Debug, Clone, PartialEq)]
enum Node {
    Members(Vec<(String, Self)>),
    Items(Vec<Self>),
    Text(String),
    Other,
}

impl Node {
    /// The member that Go's `encoding/json` takes, and with it most clients: names are compared in any case, by Unicode's
    /// simple folding, and the last one wins.
    fn member(&self, name: &str) -> Option<&Self> {
        let Self::Members(members) = self else {
            return None;
        };
        let found = members.iter().rev().find(|(key, _)| folded(key) == folded(name));
        found.map(|(_, value)| value)
    }

    fn text(&self, name: &str) -> Option<&str> {
        match self.member(name)? {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    fn items(&self, name: &str) -> &[Self] {
        match self.member(name) {
            Some(Self::Items(items)) => items,
            _ => &[],
        }
    }

    fn depth(&self) -> usize {
        let deepest = |inner: Option<usize>| 1 + inner.unwrap_or_default();
        match self {
            Self::Members(members) => deepest(members.iter().map(|(_, value)| value.depth()).max()),
            Self::Items(items) => deepest(items.iter().map(Self::depth).max()),
            Self::Text(_) | Self::Other => 0,
        }
    }
}

/// Two letters outside of ASCII fold into it: the long s and the sign of the kelvin.
fn folded(name: &str) -> String {
    name.chars()
        .map(|letter| match letter {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            letter => letter.to_ascii_lowercase(),
        })
        .collect()
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Node;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("JSON")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Node::Members(members))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Node, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = sequence.next_element()? {
                    items.push(item);
                }
                Ok(Node::Items(items))
            }

            fn visit_str<E>(self, text: &str) -> Result<Node, E> {
                Ok(Node::Text(text.to_owned()))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
                Ok(Node::Other)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
                Ok(Node::Other)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
                Ok(Node::Other)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
                Ok(Node::Other)
            }

            fn visit_unit<E>(self) -> Result<Node, E> {
                Ok(Node::Other)
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

/// Takes a `Content-Type` and a manifest. What the registry sees in it is what the client that pulls it will see.
fn manifest(text: &str) {
    let (content_type, content) = first_line_and_rest(text);
    let Ok(manifest) = metadata::manifest(content.as_bytes(), content_type) else {
        return;
    };
    let seen: Node = serde_json::from_str(content).expect("what was taken is JSON");
    assert!(seen.depth() <= 64, "nested too deeply");
    let mut named: Vec<&str> = seen
        .items("layers")
        .iter()
        .chain(seen.items("manifests"))
        .chain(seen.items("blobs"))
        .chain(seen.member("config"))
        .filter_map(|descriptor| descriptor.text("digest"))
        .collect();
    // An artifact manifest has blobs only; the other two have none.
    if manifest.media_type.contains("artifact") {
        named = seen
            .items("blobs")
            .iter()
            .filter_map(|descriptor| descriptor.text("digest"))
            .collect();
    } else {
        named.retain(|digest| {
            !seen
                .items("blobs")
                .iter()
                .any(|blob| blob.text("digest") == Some(digest))
                || manifest.edges.iter().any(|(_, edge)| edge == digest)
        });
    }
    let mut edges: Vec<&str> = manifest.edges.iter().map(|(_, digest)| digest.as_str()).collect();
    for list in [&mut named, &mut edges] {
        list.sort_unstable();
        list.dedup();
    }
    assert_eq!(edges, named, "a client sees other content");
    let subject = seen.member("subject").and_then(|subject| subject.text("digest"));
    assert_eq!(
        manifest.subject.as_deref(),
        subject,
        "a client sees another subject"
    );
    for digest in edges.into_iter().chain(subject) {
        assert!(Digest::parse(digest).is_ok(), "{digest}");
    }
    if let Some(own) = seen.text("mediaType").filter(|own| !own.is_empty()) {
        assert_eq!(manifest.media_type, own, "a client sees another type");
    }
    let referrer: Value = serde_json::from_slice(&manifest.referrer).expect("a descriptor");
    assert_eq!(referrer["mediaType"], manifest.media_type.as_str());
    assert_eq!(referrer["size"], content.len());
    assert_eq!(referrer["digest"], Digest::sha256(content.as_bytes()).as_str());
}

fn event(text: &str) {
    let Ok((id, kind, repository)) = events::cloud_event(text.as_bytes()) else {
        return;
    };
    let value: Value = serde_json::from_str(text).expect("what was taken is JSON");
    assert_eq!(value["id"], id.as_str());
    assert_eq!(value["type"], kind.as_str());
    assert_eq!(value["specversion"], "1.0");
    assert!(value["source"].as_str().is_some_and(|source| !source.is_empty()));
    assert_eq!(value["repository"].as_str().unwrap_or_default(), repository);
    for attribute in [id, kind, repository] {
        assert!(attribute.len() <= 512);
    }
    assert!(text.len() <= 64 * 1024);
}

/// Whatever an issuer publishes, no key of it verifies a symmetric signature, and no more than a bounded number is kept.
fn key_set(text: &str) {
    let Some(keys) = auth::published_keys(text) else {
        return;
    };
    // The library also reads a set that is written as a list of its fields.
    let published = match serde_json::from_str(text) {
        Ok(Value::Object(mut set)) => set.remove("keys"),
        Ok(Value::Array(fields)) => fields.into_iter().next(),
        _ => None,
    };
    let published = published.as_ref().and_then(Value::as_array).map_or(0, Vec::len);
    for (algorithm, count) in keys {
        assert!(!algorithm.starts_with("HS"), "{algorithm} from {text}");
        assert!(count <= published.min(32), "{count} keys from {text}");
    }
}
