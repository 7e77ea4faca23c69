//! What is measured.

use clap::ValueEnum;
use serde::Serialize;

use crate::peer::Peer;
use crate::plan::{Plan, Sizes};

/// A row of the table, for each peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Case {
    /// GET of a manifest by its tag.
    GetManifestTag,
    /// HEAD of a manifest by its tag.
    HeadManifestTag,
    /// GET of a manifest by its digest.
    GetManifestDigest,
    /// HEAD of a manifest by its digest.
    HeadManifestDigest,
    /// GET of a blob of 1 KiB.
    GetSmallBlob,
    /// GET of a large blob.
    GetLargeBlob,
    /// Push of a large blob as oras does it: POST, then PUT with the bytes and their length.
    PushPut,
    /// Push of a large blob as docker, podman, skopeo and crane do it: POST, PATCH with a chunked body, PUT.
    PushPatch,
    /// A page of 100 in the middle of not so many tags.
    TagPage,
    /// The same in the middle of very many.
    TagPageMany,
    /// A registry token for an access token.
    Token,
    /// The same for one of very many identities.
    TokenMany,
    /// An access token for an identity token of such an identity.
    Exchange,
}

/// How a case is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spec {
    pub(crate) work: Work,
    /// Connections that ask at the same time.
    pub(crate) connections: usize,
}

/// What each connection repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Get(Target),
    Head(Target),
    Post(Target),
    Push(Style),
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    ManifestByTag,
    ManifestByDigest,
    SmallBlob,
    LargeBlob,
    TagPage(Shelf),
    Token,
    TokenMany,
    Exchange,
}

/// A repository with many tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shelf {
    Few,
    Many,
}

impl Shelf {
    /// The shelves that cases ask of a peer which can do them.
    pub(crate) fn needed(plan: &Plan, peer: Peer) -> impl Iterator<Item = Self> {
        let shelves = [(Case::TagPage, Self::Few), (Case::TagPageMany, Self::Many)];
        shelves
            .into_iter()
            .filter(move |(case, _)| plan.has(*case) && peer.lacks(*case).is_none())
            .map(|(_, shelf)| shelf)
    }
}

/// The requests of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// POST, and PUT with `Content-Length`.
    Put,
    /// POST, PATCH with `Transfer-Encoding: chunked`, and an empty PUT.
    Patch,
}

/// Enough to keep a server busy, few enough that a client on the same machine keeps up.
const MANY: usize = 16;
/// Two streams already fill two cores.
const STREAMS: usize = 2;
/// A push of one client: what it waits for is part of it.
const ONE: usize = 1;

impl Case {
    pub(crate) fn spec(self) -> Spec {
        let (work, connections) = match self {
            Self::GetManifestTag => (Work::Get(Target::ManifestByTag), MANY),
            Self::HeadManifestTag => (Work::Head(Target::ManifestByTag), MANY),
            Self::GetManifestDigest => (Work::Get(Target::ManifestByDigest), MANY),
            Self::HeadManifestDigest => (Work::Head(Target::ManifestByDigest), MANY),
            Self::GetSmallBlob => (Work::Get(Target::SmallBlob), MANY),
            Self::GetLargeBlob => (Work::Get(Target::LargeBlob), STREAMS),
            Self::PushPut => (Work::Push(Style::Put), ONE),
            Self::PushPatch => (Work::Push(Style::Patch), ONE),
            Self::TagPage => (Work::Get(Target::TagPage(Shelf::Few)), MANY),
            Self::TagPageMany => (Work::Get(Target::TagPage(Shelf::Many)), MANY),
            Self::Token => (Work::Get(Target::Token), MANY),
            Self::TokenMany => (Work::Get(Target::TokenMany), MANY),
            Self::Exchange => (Work::Post(Target::Exchange), MANY),
        };
        Spec { work, connections }
    }

    /// What it is called in the table.
    pub(crate) fn title(self, sizes: &Sizes) -> String {
        let large = size(sizes.large_bytes);
        match self {
            Self::GetManifestTag => "GET manifest by tag".to_owned(),
            Self::HeadManifestTag => "HEAD manifest by tag".to_owned(),
            Self::GetManifestDigest => "GET manifest by digest".to_owned(),
            Self::HeadManifestDigest => "HEAD manifest by digest".to_owned(),
            Self::GetSmallBlob => "GET 1 KiB blob".to_owned(),
            Self::GetLargeBlob => format!("GET {large} blob"),
            Self::PushPut => format!("push {large}: POST, PUT"),
            Self::PushPatch => format!("push {large}: POST, PATCH, PUT"),
            Self::TagPage => format!("100 of {} tags", sizes.few_tags),
            Self::TagPageMany => format!("100 of {} tags", sizes.many_tags),
            Self::Token => "registry token".to_owned(),
            Self::TokenMany => format!("registry token, 1 of {} identities", sizes.identities),
            Self::Exchange => format!("exchange, 1 of {} identities", sizes.identities),
        }
    }
}

impl Work {
    /// Whether bytes per second say more than requests per second.
    pub(crate) fn is_bulk(self) -> bool {
        matches!(self, Self::Get(Target::LargeBlob) | Self::Push(_))
    }
}

/// A size as people write it.
fn size(bytes: usize) -> String {
    const UNITS: [(usize, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = UNITS
        .into_iter()
        .find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit));
    unit.map_or_else(
        || format!("{bytes} B"),
        |(unit, name)| format!("{} {name}", bytes / unit),
    )
}
