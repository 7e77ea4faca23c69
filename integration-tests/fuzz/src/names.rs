//! Names, digests, tags, scopes, ids and keys.

use std::{fmt, str::FromStr, sync::LazyLock};

use regex::Regex;
use roadstead_blobs::fuzzing as blobs;
use roadstead_types::{
    Action, ActionSet, Digest, Reference, RepositoryName, RepositoryPrefix, Resource, Scope, Tag, UploadId,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{Parser, first_line_and_rest, whole};

pub(crate) const PARSERS: &[Parser] = &[
    Parser {
        name: "digest",
        check: digest,
    },
    Parser {
        name: "repository name",
        check: repository,
    },
    Parser {
        name: "tag",
        check: tag,
    },
    Parser {
        name: "reference",
        check: reference,
    },
    Parser {
        name: "repository prefix",
        check: prefix,
    },
    Parser {
        name: "actions",
        check: actions,
    },
    Parser {
        name: "scope",
        check: scope,
    },
    Parser {
        name: "upload id",
        check: upload_id,
    },
    Parser {
        name: "object key",
        check: object_key,
    },
];

/// `<name>` of the distribution specification.
pub(crate) const NAME: &str = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*";
/// `<reference>` as a tag.
pub(crate) const TAG: &str = r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}";
/// The registered algorithms of the image specification.
pub(crate) const DIGEST: &str = r"(sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128})";
/// The one spelling of a UUID that we take.
pub(crate) const ID: &str = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";

static NAME_GRAMMAR: LazyLock<Regex> = LazyLock::new(|| whole(NAME));
static TAG_GRAMMAR: LazyLock<Regex> = LazyLock::new(|| whole(TAG));
static DIGEST_GRAMMAR: LazyLock<Regex> = LazyLock::new(|| whole(DIGEST));
static ID_GRAMMAR: LazyLock<Regex> = LazyLock::new(|| whole(ID));
static SCOPE_GRAMMAR: LazyLock<Regex> =
    LazyLock::new(|| whole(r"(?<type>[^:(]+)(\([^:]*\))?:(?<name>.+):(?<actions>[^:]*)"));
static KEY_GRAMMAR: LazyLock<Regex> = LazyLock::new(|| {
    whole(&format!(
        "blobs/(sha256/(?<aa>[a-f0-9]{{2}})/(?<short>[a-f0-9]{{64}})|sha512/(?<bb>[a-f0-9]{{2}})/(?<long>[a-f0-9]{{128}}))\\.{ID}"
    ))
});

/// Whether the specification's grammar, and the length that clients can carry, admit a name.
pub(crate) fn is_name(text: &str) -> bool {
    text.len() <= 255 && NAME_GRAMMAR.is_match(text)
}

/// What was accepted is written as it came, as text and in JSON.
fn has_one_spelling<T>(value: &T, text: &str)
where
    T: fmt::Display + fmt::Debug + FromStr + PartialEq + Serialize + DeserializeOwned,
{
    assert_eq!(value.to_string(), text);
    assert_eq!(text.parse().ok().as_ref(), Some(value));
    let json = serde_json::to_string(value).expect("names are JSON");
    assert_eq!(json, serde_json::to_string(text).expect("text is JSON"));
    assert_eq!(
        &serde_json::from_str::<T>(&json).expect("what was written is read"),
        value
    );
}

fn digest(text: &str) {
    let digest = Digest::parse(text);
    assert_eq!(digest.is_ok(), DIGEST_GRAMMAR.is_match(text), "{text:?}");
    if let Ok(digest) = digest {
        has_one_spelling(&digest, text);
        assert_eq!(format!("{}:{}", digest.algorithm(), digest.encoded()), text);
    }
    let of_text = Digest::sha256(text.as_bytes());
    assert_eq!(Digest::parse(of_text.as_str()), Ok(of_text));
}

fn repository(text: &str) {
    let name = RepositoryName::parse(text);
    assert_eq!(name.is_ok(), is_name(text), "{text:?}");
    if let Ok(name) = name {
        has_one_spelling(&name, text);
    }
}

fn tag(text: &str) {
    let tag = Tag::parse(text);
    assert_eq!(tag.is_ok(), TAG_GRAMMAR.is_match(text), "{text:?}");
    if let Ok(tag) = tag {
        has_one_spelling(&tag, text);
    }
}

fn reference(text: &str) {
    let reference = Reference::parse(text);
    let (is_tag, is_digest) = (TAG_GRAMMAR.is_match(text), DIGEST_GRAMMAR.is_match(text));
    assert_eq!(reference.is_ok(), is_tag || is_digest, "{text:?}");
    if let Ok(reference) = reference {
        has_one_spelling(&reference, text);
        assert_eq!(
            (reference.tag().is_some(), reference.digest().is_some()),
            (is_tag, is_digest)
        );
    }
}

/// Takes a prefix and the name of a repository that may be under it.
fn prefix(text: &str) {
    let (first, rest) = first_line_and_rest(text);
    let prefix = RepositoryPrefix::parse(first);
    let bare = first.strip_suffix('/').unwrap_or(first);
    assert_eq!(prefix.is_ok(), first.is_empty() || is_name(bare), "{first:?}");
    let Ok(prefix) = prefix else { return };
    has_one_spelling(&prefix, bare);
    let Ok(name) = RepositoryName::parse(rest) else {
        return;
    };
    let segments = |text: &str| -> Vec<String> {
        text.split('/')
            .filter(|segment| !segment.is_empty())
            .map(ToOwned::to_owned)
            .collect()
    };
    assert_eq!(
        prefix.contains(&name),
        segments(rest).starts_with(&segments(bare)),
        "{bare:?} {rest:?}"
    );
}

fn actions(text: &str) {
    let actions = ActionSet::parse(text);
    for action in [Action::Pull, Action::Push, Action::Delete] {
        let named = text
            .split(',')
            .any(|name| matches!(name.trim(), "*") || name.trim() == action.as_str());
        assert_eq!(actions.contains(action), named, "{text:?}");
    }
    assert_eq!(ActionSet::parse(&actions.to_string()), actions);
    let json = serde_json::to_string(&actions).expect("a list");
    assert_eq!(
        serde_json::from_str::<ActionSet>(&json).expect("what was written is read"),
        actions
    );
}

/// Takes scopes, one in each line.
fn scope(text: &str) {
    let scopes: Vec<Scope> = text.lines().filter_map(one_scope).collect();
    let merged = Scope::merge(scopes.clone());
    assert_eq!(Scope::merge(merged.clone()), merged);
    for scope in &scopes {
        let same: Vec<&Scope> = merged
            .iter()
            .filter(|other| other.resource == scope.resource)
            .collect();
        assert_eq!(same.len(), 1, "{scope}");
        assert!(same[0].actions.contains_all(scope.actions), "{scope}");
    }
    for whole in merged {
        let asked = scopes
            .iter()
            .filter(|scope| scope.resource == whole.resource)
            .fold(ActionSet::EMPTY, |all, scope| all.union(scope.actions));
        assert_eq!(whole.actions, asked, "{whole}");
    }
}

fn one_scope(line: &str) -> Option<Scope> {
    let parts = SCOPE_GRAMMAR.captures(line);
    let well_formed = parts
        .as_ref()
        .is_some_and(|parts| &parts["type"] != "repository" || is_name(&parts["name"]));
    let scope = Scope::parse(line);
    assert_eq!(scope.is_ok(), well_formed, "{line:?}");
    let (scope, parts) = (scope.ok()?, parts?);
    assert_eq!(
        (scope.resource_type(), scope.name(), scope.actions),
        (
            &parts["type"],
            &parts["name"],
            ActionSet::parse(&parts["actions"])
        )
    );
    assert_eq!(Scope::parse(&scope.to_string()).as_ref(), Ok(&scope));
    if let Resource::Repository(name) = &scope.resource {
        assert_eq!(
            scope.allows(name, Action::Push),
            scope.actions.contains(Action::Push)
        );
    }
    Some(scope)
}

fn upload_id(text: &str) {
    let id = UploadId::parse(text);
    assert_eq!(id.is_ok(), ID_GRAMMAR.is_match(text), "{text:?}");
    if let Ok(id) = id {
        has_one_spelling(&id, text);
    }
}

fn object_key(text: &str) {
    let path = blobs::object_path(text);
    let expected = KEY_GRAMMAR.captures(text).is_some_and(|parts| {
        let part = |name: &str| parts.name(name).map(|part| part.as_str());
        let (Some(shard), Some(hex)) = (part("aa").or(part("bb")), part("short").or(part("long"))) else {
            return false;
        };
        hex.starts_with(shard)
    });
    assert_eq!(path.is_some(), expected, "{text:?}");
    // The path is built from the parts, and comes out as the text; nothing in it leads elsewhere.
    assert!(
        path.is_none_or(|path| path.as_os_str() == text),
        "{text:?} is another path"
    );
}
