//! What every peer holds: an image, and repositories with many tags.

use anyhow::Result;
use bytes::Bytes;
use roadstead_integration_tests::image::{descriptor, media, noise, sha256};
use roadstead_types::{Digest, DigestAlgorithm};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::cases::{Shelf, Target};
use crate::peer::permissions;
use crate::plan::Sizes;

/// The repository that is pulled from.
pub(crate) const IMAGE: &str = "bench/image";
/// The repository that is pushed to.
pub(crate) const PUSHED: &str = "bench/pushed";
/// The image's tag.
pub(crate) const TAG: &str = "v1";
/// Tags of one page.
pub(crate) const PAGE: usize = 100;

/// The bytes that every peer serves.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) config: Vec<u8>,
    pub(crate) small: Vec<u8>,
    pub(crate) large: Bytes,
    pub(crate) manifest: Vec<u8>,
    pub(crate) manifest_digest: Digest,
    pub(crate) small_digest: Digest,
    pub(crate) large_digest: Digest,
    sizes: Sizes,
    pushed: Sha256,
}

/// A large blob that differs from the others only at its end, so that it costs no hashing to make.
#[derive(Debug)]
pub(crate) struct Pushable {
    pub(crate) body: Bytes,
    pub(crate) end: [u8; 8],
    pub(crate) digest: Digest,
}

impl Pushable {
    pub(crate) fn len(&self) -> usize {
        self.body.len() + self.end.len()
    }
}

impl Content {
    pub(crate) fn new(sizes: Sizes) -> Result<Self> {
        let config = serde_json::to_vec(&json!({
            "architecture": "amd64", "os": "linux", "config": {}, "rootfs": { "type": "layers", "diff_ids": [] },
        }))?;
        let (small, large) = (noise(1, 1024), noise(2, sizes.large_bytes));
        let manifest = serde_json::to_vec(&json!({
            "schemaVersion": 2, "mediaType": media::MANIFEST,
            "config": descriptor(media::CONFIG, &config),
            "layers": [descriptor(media::TAR_GZIP, &small), descriptor(media::TAR_GZIP, &large)],
        }))?;
        Ok(Self {
            manifest_digest: sha256(&manifest),
            small_digest: sha256(&small),
            large_digest: sha256(&large),
            pushed: Sha256::new_with_prefix(&large),
            config,
            small,
            large: large.into(),
            manifest,
            sizes,
        })
    }

    /// The blob of that number.
    pub(crate) fn pushable(&self, number: u64) -> Pushable {
        let end = number.to_be_bytes();
        let hash = self.pushed.clone().chain_update(end).finalize();
        Pushable {
            body: self.large.clone(),
            end,
            digest: Digest::from_hash(DigestAlgorithm::Sha256, &hash),
        }
    }

    pub(crate) fn tags(&self, shelf: Shelf) -> usize {
        match shelf {
            Shelf::Few => self.sizes.few_tags,
            Shelf::Many => self.sizes.many_tags,
        }
    }

    /// The tags of the page in the middle.
    pub(crate) fn page(&self, shelf: Shelf) -> Vec<String> {
        let middle = self.tags(shelf) / 2;
        (middle..middle + PAGE).map(tag).collect()
    }

    /// Where a target is, for peers that have it.
    pub(crate) fn path(&self, target: Target, service: &str) -> String {
        match target {
            Target::ManifestByTag => format!("/v2/{IMAGE}/manifests/{TAG}"),
            Target::ManifestByDigest => format!("/v2/{IMAGE}/manifests/{}", self.manifest_digest),
            Target::SmallBlob => format!("/v2/{IMAGE}/blobs/{}", self.small_digest),
            Target::LargeBlob => format!("/v2/{IMAGE}/blobs/{}", self.large_digest),
            Target::TagPage(shelf) => {
                let last = tag(self.tags(shelf) / 2 - 1);
                format!("/v2/{}/tags/list?n={PAGE}&last={last}", repository(shelf))
            }
            Target::Token => format!("/token?service={service}&scope=repository:{IMAGE}:pull"),
            Target::TokenMany => {
                format!(
                    "/token?service={service}&scope=repository:{}:pull,push",
                    permissions::REPOSITORY
                )
            }
            Target::Exchange => format!("/sts/exchange?audience={service}"),
        }
    }
}

/// The repository of a shelf.
pub(crate) fn repository(shelf: Shelf) -> &'static str {
    match shelf {
        Shelf::Few => "bench/tags",
        Shelf::Many => "bench/many-tags",
    }
}

/// The tag of that number; tags sort as their numbers do.
pub(crate) fn tag(number: usize) -> String {
    format!("t{number:07}")
}
