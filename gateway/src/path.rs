//! Paths under `/v2/`.
//!
//! Repository names contain slashes, so a path is read from its end: the last segments say what it is about and all
//! before them is the name. Percent-encoding is undone once, and only where it cannot change how the path is cut: an
//! encoded slash, backslash, percent sign or control character makes the path name nothing.

use std::borrow::Cow;

use http::StatusCode;
use percent_encoding::percent_decode_str;
use roadstead_types::{Digest, Reference, RepositoryName, UploadId};

use crate::error::{ErrorCode, Failure};

/// What a path under `/v2/` names.
#[derive(Debug, PartialEq, Eq)]
pub enum Target {
    /// `/v2/`
    Base,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/<name>/manifests/<tag or digest>`
    Manifest(RepositoryName, Reference),
    /// `/v2/<name>/blobs/<digest>`
    Blob(RepositoryName, Digest),
    /// `/v2/<name>/blobs/uploads/`
    Uploads(RepositoryName),
    /// `/v2/<name>/blobs/uploads/<id>`
    Upload(RepositoryName, UploadId),
    /// `/v2/<name>/tags/list`
    Tags(RepositoryName),
    /// `/v2/<name>/referrers/<digest>`
    Referrers(RepositoryName, Digest),
}

/// The kind of a path, known before its parts are parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// See [`Target::Base`]; likewise below.
    Base,
    /// The list of repositories.
    Catalog,
    /// A manifest.
    Manifest,
    /// A blob.
    Blob,
    /// Where uploads start.
    Uploads,
    /// An upload session.
    Upload,
    /// The tags of a repository.
    Tags,
    /// What refers to a manifest.
    Referrers,
    /// None of these.
    Unknown,
}

impl Kind {
    /// The kinds that there is something at.
    pub const ALL: [Self; 8] = [
        Self::Base,
        Self::Catalog,
        Self::Manifest,
        Self::Blob,
        Self::Uploads,
        Self::Upload,
        Self::Tags,
        Self::Referrers,
    ];

    /// The route as metrics and spans name it.
    pub const fn template(self) -> &'static str {
        match self {
            Self::Base => "/v2/",
            Self::Catalog => "/v2/_catalog",
            Self::Manifest => "/v2/{name}/manifests/{reference}",
            Self::Blob => "/v2/{name}/blobs/{digest}",
            Self::Uploads => "/v2/{name}/blobs/uploads/",
            Self::Upload => "/v2/{name}/blobs/uploads/{id}",
            Self::Tags => "/v2/{name}/tags/list",
            Self::Referrers => "/v2/{name}/referrers/{digest}",
            Self::Unknown => "/v2/{unknown}",
        }
    }

    /// The methods that the route has.
    pub const fn allow(self) -> &'static str {
        match self {
            Self::Base | Self::Catalog | Self::Tags | Self::Referrers => "GET, HEAD",
            Self::Manifest => "GET, HEAD, PUT, DELETE",
            Self::Blob => "GET, HEAD, DELETE",
            Self::Uploads => "POST",
            Self::Upload => "GET, PATCH, PUT, DELETE",
            Self::Unknown => "",
        }
    }
}

/// A path cut into its parts.
#[derive(Debug)]
pub struct V2Path<'a> {
    /// What the path is about.
    pub kind: Kind,
    text: Cow<'a, str>,
    /// The end of the name in `text`.
    name_end: usize,
    /// The start of the last segment in `text`.
    last_start: usize,
}

impl<'a> V2Path<'a> {
    /// Cuts a request's raw path; gives none for a path outside `/v2`.
    pub fn cut(path: &'a str) -> Option<Self> {
        let rest = path.strip_prefix("/v2")?;
        match rest.as_bytes() {
            [] | b"/" => return Some(Self::whole(Kind::Base, rest)),
            [b'/', ..] => {}
            _ => return None,
        }
        let Some(text) = decode(&rest[1..]) else {
            return Some(Self::whole(Kind::Unknown, rest));
        };
        if text == "_catalog" {
            return Some(Self::whole(Kind::Catalog, rest));
        }
        let (kind, name_end, last_start) = classify(&text);
        Some(Self {
            kind,
            text,
            name_end,
            last_start,
        })
    }

    const fn whole(kind: Kind, rest: &'a str) -> Self {
        Self {
            kind,
            text: Cow::Borrowed(rest),
            name_end: 0,
            last_start: 0,
        }
    }

    /// Parses the parts. When `reading`, a text that cannot be a tag is merely unknown: clients probe for a registry's
    /// answer to a missing manifest with names that cannot exist, and the specification knows only 404 there.
    ///
    /// # Errors
    ///
    /// Says which part is wrong.
    pub fn parse(&self, reading: bool) -> Result<Target, Failure> {
        let name = || {
            RepositoryName::parse(&self.text[..self.name_end])
                .map_err(|error| Failure::bad_request(ErrorCode::NameInvalid, error.to_string()))
        };
        let last = &self.text[self.last_start..];
        let digest = || {
            Digest::parse(last)
                .map_err(|error| Failure::bad_request(ErrorCode::DigestInvalid, format!("{last:?}: {error}")))
        };
        Ok(match self.kind {
            Kind::Base => Target::Base,
            Kind::Catalog => Target::Catalog,
            Kind::Manifest => Target::Manifest(name()?, parse_reference(last, reading)?),
            Kind::Blob => Target::Blob(name()?, digest()?),
            Kind::Uploads => Target::Uploads(name()?),
            Kind::Upload => Target::Upload(
                name()?,
                UploadId::parse(last).map_err(|_| Failure::upload_unknown())?,
            ),
            Kind::Tags => Target::Tags(name()?),
            Kind::Referrers => Target::Referrers(name()?, digest()?),
            Kind::Unknown => return Err(Failure::no_such_route()),
        })
    }
}

fn parse_reference(text: &str, reading: bool) -> Result<Reference, Failure> {
    Reference::parse(text).map_err(|error| {
        let message = format!("{text:?}: {error}");
        match (text.contains(':'), reading) {
            (true, _) => Failure::bad_request(ErrorCode::DigestInvalid, message),
            (false, true) => Failure::new(StatusCode::NOT_FOUND, ErrorCode::ManifestUnknown, message),
            (false, false) => Failure::bad_request(ErrorCode::NameInvalid, message),
        }
    })
}

/// Undoes percent-encoding, unless that would produce a character that cuts paths or that no name, tag or digest has.
fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let decoded = percent_decode_str(text).decode_utf8().ok()?;
    let same_cuts = decoded.matches('/').count() == text.matches('/').count();
    let plain = decoded
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'%' | b'\\'));
    (same_cuts && plain).then_some(decoded)
}

/// Reads a path from its end: the kind, the end of the name and the start of the last segment.
fn classify(text: &str) -> (Kind, usize, usize) {
    let unknown = (Kind::Unknown, 0, 0);
    for uploads in ["/blobs/uploads/", "/blobs/uploads"] {
        if let Some(name) = text.strip_suffix(uploads) {
            return (Kind::Uploads, name.len(), text.len());
        }
    }
    if let Some(name) = text.strip_suffix("/tags/list") {
        return (Kind::Tags, name.len(), text.len());
    }
    let Some((before, last)) = text.rsplit_once('/') else {
        return unknown;
    };
    if last.is_empty() {
        return unknown;
    }
    let suffixes = [
        ("/blobs/uploads", Kind::Upload),
        ("/manifests", Kind::Manifest),
        ("/blobs", Kind::Blob),
        ("/referrers", Kind::Referrers),
    ];
    suffixes
        .into_iter()
        .find_map(|(suffix, kind)| Some((kind, before.strip_suffix(suffix)?.len(), before.len() + 1)))
        .unwrap_or(unknown)
}
