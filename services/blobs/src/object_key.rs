//! Names of objects.

use std::{fmt, path::PathBuf};

use roadstead_types::{Digest, UploadId};

use crate::error::Error;

/// Where the bytes of one finished upload are: `blobs/<algorithm>/<aa>/<hex>.<object-id>`.
///
/// The object's id is the id of the session that wrote it. Session ids are random and used once, hence so are keys: a
/// delete that arrives late can never hit the bytes of a later push of the same digest.
///
/// A key is never joined to a path as it came: it is parsed, and the path is built from its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ObjectKey {
    digest: Digest,
    object_id: UploadId,
}

impl ObjectKey {
    pub(crate) fn new(digest: Digest, object_id: UploadId) -> Self {
        Self { digest, object_id }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        const INVALID: Error = Error::Argument("not an object key");
        let mut segments = text.split('/');
        let (Some("blobs"), Some(algorithm), Some(_), Some(name), None) = (
            segments.next(),
            segments.next(),
            segments.next(),
            segments.next(),
            segments.next(),
        ) else {
            return Err(INVALID);
        };
        let (hex, object_id) = name.split_once('.').ok_or(INVALID)?;
        let digest = Digest::parse(&format!("{algorithm}:{hex}")).map_err(|_| INVALID)?;
        let object_id = UploadId::parse(object_id).map_err(|_| INVALID)?;
        let key = Self { digest, object_id };
        // One spelling per object: UUIDs have several, and the shard must be the digest's.
        if key.to_string() == text {
            Ok(key)
        } else {
            Err(INVALID)
        }
    }

    pub(crate) fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The directory of the object below the store's root.
    pub(crate) fn directory(&self) -> PathBuf {
        ["blobs", self.digest.algorithm().as_str(), self.shard()]
            .iter()
            .collect()
    }

    pub(crate) fn file_name(&self) -> String {
        format!("{}.{}", self.digest.encoded(), self.object_id)
    }

    fn shard(&self) -> &str {
        &self.digest.encoded()[..2]
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithm = self.digest.algorithm().as_str();
        write!(f, "blobs/{algorithm}/{}/{}", self.shard(), self.file_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const ID: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";

    #[test]
    fn round_trip() {
        let text = format!("blobs/sha256/ba/{HEX}.{ID}");
        let key = ObjectKey::parse(&text).unwrap();
        assert_eq!(key.to_string(), text);
        assert_eq!(key.directory(), PathBuf::from("blobs/sha256/ba"));
    }

    #[test]
    fn nothing_else_is_a_key() {
        for text in [
            String::new(),
            "blobs".to_owned(),
            format!("blobs/sha256/ba/{HEX}"),
            format!("blobs/sha256/ba/{HEX}.."),
            format!("blobs/sha256/bb/{HEX}.{ID}"),
            format!("blobs/sha256/../{HEX}.{ID}"),
            format!("blobs/sha512/ba/{HEX}.{ID}"),
            format!("blobs/../sha256/ba/{HEX}.{ID}"),
            format!("/blobs/sha256/ba/{HEX}.{ID}"),
            format!("blobs/sha256/ba/{HEX}.{ID}/"),
            format!("blobs/sha256/ba/{HEX}.{ID}/../../x"),
            format!("blobs/sha256/ba/{HEX}.{}", ID.to_uppercase()),
            format!("blobs/sha256/ba/{HEX}.{}", ID.replace('-', "")),
            format!("blobs/sha256/ba/{}.{ID}", HEX.to_uppercase()),
            format!("uploads/{ID}"),
        ] {
            assert!(ObjectKey::parse(&text).is_err(), "{text}");
        }
    }
}
