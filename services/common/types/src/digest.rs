//! Content digests: `algorithm:hex`.

use std::{fmt, str::FromStr, sync::Arc};

use sha2::{Digest as _, Sha256, Sha512};

use crate::serde_as_text;

/// The hash functions of the image specification's registered digest algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DigestAlgorithm {
    /// SHA-256, which every client uses.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl DigestAlgorithm {
    /// The name as it stands before the colon of a digest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// The number of hexadecimal characters after the colon.
    pub const fn encoded_len(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

impl fmt::Display for DigestAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for DigestAlgorithm {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        match text {
            "sha256" => Ok(Self::Sha256),
            "sha512" => Ok(Self::Sha512),
            _ => Err(DigestError::UnsupportedAlgorithm),
        }
    }
}

/// Why a text is not a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// There is no `algorithm:encoded` in the text.
    #[error("a digest has the form algorithm:hex")]
    Malformed,
    /// The algorithm is none of [`DigestAlgorithm`].
    #[error("the digest algorithm is not supported (sha256 and sha512 are)")]
    UnsupportedAlgorithm,
    /// The encoded part is not lower-case hexadecimal of the algorithm's length.
    #[error("the encoded part of the digest is not lower-case hexadecimal of the algorithm's length")]
    InvalidEncoding,
}

/// The digest of some content, for example
/// `sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: DigestAlgorithm,
    text: Arc<str>,
}

impl Digest {
    /// Parses `algorithm:hex`.
    ///
    /// # Errors
    ///
    /// When the algorithm is unknown, or the rest is not lower-case hexadecimal of its length.
    pub fn parse(text: &str) -> Result<Self, DigestError> {
        let (algorithm, encoded) = text.split_once(':').ok_or(DigestError::Malformed)?;
        let algorithm: DigestAlgorithm = algorithm.parse()?;
        let is_lower_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if encoded.len() != algorithm.encoded_len() || !encoded.bytes().all(is_lower_hex) {
            return Err(DigestError::InvalidEncoding);
        }
        Ok(Self {
            algorithm,
            text: text.into(),
        })
    }

    /// Hashes `content`.
    pub fn of(algorithm: DigestAlgorithm, content: &[u8]) -> Self {
        match algorithm {
            DigestAlgorithm::Sha256 => Self::from_hash(algorithm, &Sha256::digest(content)),
            DigestAlgorithm::Sha512 => Self::from_hash(algorithm, &Sha512::digest(content)),
        }
    }

    /// Hashes `content` with SHA-256.
    pub fn sha256(content: &[u8]) -> Self {
        Self::of(DigestAlgorithm::Sha256, content)
    }

    /// Makes a digest of a finished hash.
    ///
    /// # Panics
    ///
    /// When `hash` is not as long as the algorithm's output.
    pub fn from_hash(algorithm: DigestAlgorithm, hash: &[u8]) -> Self {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        assert_eq!(
            hash.len() * 2,
            algorithm.encoded_len(),
            "a hash of another algorithm"
        );
        let mut text = String::with_capacity(algorithm.as_str().len() + 1 + hash.len() * 2);
        text.push_str(algorithm.as_str());
        text.push(':');
        for byte in hash {
            text.push(char::from(HEX[usize::from(byte >> 4)]));
            text.push(char::from(HEX[usize::from(byte & 0xf)]));
        }
        Self {
            algorithm,
            text: text.into(),
        }
    }

    /// The algorithm before the colon.
    pub fn algorithm(&self) -> DigestAlgorithm {
        self.algorithm
    }

    /// The hexadecimal part after the colon.
    pub fn encoded(&self) -> &str {
        &self.text[self.algorithm.as_str().len() + 1..]
    }

    /// The whole digest, `algorithm:hex`.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", self.text)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        Self::parse(text)
    }
}

impl AsRef<str> for Digest {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

serde_as_text!(Digest);
