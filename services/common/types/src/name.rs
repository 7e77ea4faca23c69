//! Names of repositories and tags, and what a client may put after them.

use std::{fmt, str::FromStr, sync::Arc};

use crate::{Digest, DigestError, serde_as_text};

/// Clients cap a repository's name at this many bytes.
const REPOSITORY_NAME_LIMIT: usize = 255;
const TAG_LIMIT: usize = 128;

/// Why a text is not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text does not follow the grammar of repository names.
    #[error(
        "the repository name is invalid: lower-case alphanumeric components, separated by '/', '.', '_', '__' or dashes"
    )]
    Repository,
    /// The name is longer than clients can carry.
    #[error("the repository name is longer than 255 characters")]
    RepositoryTooLong,
    /// The text is not a tag.
    #[error(
        "the tag is invalid: at most 128 of letters, digits, '_', '.' and '-', not starting with '.' or '-'"
    )]
    Tag,
    /// The text has a colon, so it must be a digest, but is none.
    #[error("the reference is neither a tag nor a digest: {0}")]
    Digest(#[from] DigestError),
}

/// The name of a repository, for example `acme/web/frontend`. Cheap to clone.
///
/// The grammar is `<name>` of the distribution specification.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryName(Arc<str>);

impl RepositoryName {
    /// Parses a name.
    ///
    /// # Errors
    ///
    /// When the text does not follow the grammar or has more than 255 characters.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.len() > REPOSITORY_NAME_LIMIT {
            return Err(NameError::RepositoryTooLong);
        }
        if text.split('/').all(is_path_component) {
            Ok(Self(text.into()))
        } else {
            Err(NameError::Repository)
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_path_component(component: &str) -> bool {
    let is_alphanumeric = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9');
    let bytes = component.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    if !is_alphanumeric(first) || !is_alphanumeric(last) {
        return false;
    }
    bytes.split(is_alphanumeric).all(|separator| match separator {
        [] | [b'.' | b'_'] | [b'_', b'_'] => true,
        dashes => dashes.iter().all(|byte| *byte == b'-'),
    })
}

/// A tag, for example `latest`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Arc<str>);

impl Tag {
    /// Parses `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
    ///
    /// # Errors
    ///
    /// When the text is not of that form.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let starts_well = text.bytes().next().is_some_and(is_word);
        let goes_on_well = text
            .bytes()
            .all(|byte| is_word(byte) || byte == b'.' || byte == b'-');
        if starts_well && goes_on_well && text.len() <= TAG_LIMIT {
            Ok(Self(text.into()))
        } else {
            Err(NameError::Tag)
        }
    }

    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What follows `/manifests/` in a path: a tag or a digest, nothing else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// A name that may move.
    Tag(Tag),
    /// Content by its hash.
    Digest(Digest),
}

impl Reference {
    /// Parses a digest when the text has a colon (no tag has one), else a tag.
    ///
    /// # Errors
    ///
    /// When the text is neither.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.contains(':') {
            Ok(Self::Digest(Digest::parse(text)?))
        } else {
            Ok(Self::Tag(Tag::parse(text)?))
        }
    }

    /// The tag or digest as text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Tag(tag) => tag.as_str(),
            Self::Digest(digest) => digest.as_str(),
        }
    }

    /// The tag, if it is one.
    pub fn tag(&self) -> Option<&Tag> {
        match self {
            Self::Tag(tag) => Some(tag),
            Self::Digest(_) => None,
        }
    }

    /// The digest, if it is one.
    pub fn digest(&self) -> Option<&Digest> {
        match self {
            Self::Digest(digest) => Some(digest),
            Self::Tag(_) => None,
        }
    }
}

/// A set of repositories by the start of their names, matched by whole segments: `acme/web` contains `acme/web` and
/// `acme/web/frontend` but not `acme/website`. The empty prefix contains every repository.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryPrefix(Option<RepositoryName>);

impl RepositoryPrefix {
    /// The prefix that contains every repository.
    pub const EVERYTHING: Self = Self(None);

    /// Parses a repository name, or the empty text for everything. One trailing slash is ignored.
    ///
    /// # Errors
    ///
    /// When the text is neither empty nor a repository name.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Ok(Self::EVERYTHING);
        }
        RepositoryName::parse(text.strip_suffix('/').unwrap_or(text)).map(|name| Self(Some(name)))
    }

    /// Whether the repository is the prefix itself or below it.
    pub fn contains(&self, name: &RepositoryName) -> bool {
        let Some(prefix) = &self.0 else { return true };
        match name.as_str().strip_prefix(prefix.as_str()) {
            Some(rest) => rest.is_empty() || rest.starts_with('/'),
            None => false,
        }
    }

    /// The prefix as text, without a trailing slash.
    pub fn as_str(&self) -> &str {
        self.0.as_ref().map_or("", RepositoryName::as_str)
    }
}

/// What every parsed name offers beside `parse` and `as_str`.
macro_rules! text {
    ($type:ident) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        serde_as_text!($type);
    };
}

/// Debug output without the layers of wrapping.
macro_rules! flat_debug {
    ($type:ident) => {
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($type), "({})"), self.as_str())
            }
        }
    };
}

text!(RepositoryName);
text!(Tag);
text!(Reference);
text!(RepositoryPrefix);
flat_debug!(RepositoryName);
flat_debug!(Tag);
flat_debug!(RepositoryPrefix);
