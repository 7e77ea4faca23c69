//! Values that a stranger carries between two services, and can neither read nor change.

use std::{fmt, path::Path, sync::Arc};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use zeroize::Zeroizing;

const KEY_LEN: usize = 32;
const VERSION: u8 = 1;
const SALT_LEN: usize = 16;
const TAG_LEN: usize = 16;
const HEADER_LEN: usize = 1 + SALT_LEN + NONCE_LEN;

/// A sealed value was not made with this key for this purpose, or was changed on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sealed value is not valid here")]
pub struct SealError;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum SealKeyError {
    /// The file cannot be read.
    #[error("cannot read the seal key {path}: {source}")]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The text is not 32 bytes in base64.
    #[error("a seal key is 32 bytes in base64")]
    Malformed,
}

/// A key that seals messages with AES-256-GCM. Cheap to clone.
///
/// A sealed value is `version(1) salt(16) nonce(12) ciphertext tag(16)`. Each value is encrypted under a key of its own,
/// derived from the salt and the purpose by HMAC-SHA256: random nonces under one key would limit it to 2^32 values, and
/// a locator is sealed with every pull for as long as the installation lives.
#[derive(Clone)]
pub struct SealKey {
    root: Arc<Zeroizing<[u8; KEY_LEN]>>,
    derivation: hmac::Key,
}

impl SealKey {
    /// Makes a new random key.
    ///
    /// # Panics
    ///
    /// When the operating system has no randomness to give.
    pub fn generate() -> Self {
        Self::new(random())
    }

    fn new(root: [u8; KEY_LEN]) -> Self {
        let derivation = hmac::Key::new(hmac::HMAC_SHA256, &root);
        Self {
            root: Arc::new(Zeroizing::new(root)),
            derivation,
        }
    }

    /// Reads a key from base64, ignoring white space around it.
    ///
    /// # Errors
    ///
    /// When the text is not 32 bytes in base64.
    pub fn from_base64(text: &str) -> Result<Self, SealKeyError> {
        let bytes = Zeroizing::new(
            BASE64_STANDARD
                .decode(text.trim())
                .map_err(|_| SealKeyError::Malformed)?,
        );
        bytes
            .as_slice()
            .try_into()
            .map(Self::new)
            .map_err(|_| SealKeyError::Malformed)
    }

    /// Reads a key from a file with base64. Never creates one.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or holds no key.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, SealKeyError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|source| SealKeyError::File {
            path: path.to_owned(),
            source,
        })?;
        Self::from_base64(&Zeroizing::new(text))
    }

    /// The key in base64, to be written to a file that only the services can read.
    pub fn to_base64(&self) -> String {
        BASE64_STANDARD.encode(self.root.as_slice())
    }

    /// Seals a message for one purpose; it can be opened for no other.
    ///
    /// # Panics
    ///
    /// When the operating system has no randomness to give.
    pub fn seal(&self, purpose: &str, message: &impl prost::Message) -> Bytes {
        let salt: [u8; SALT_LEN] = random();
        let nonce: [u8; NONCE_LEN] = random();
        let mut sealed = Vec::with_capacity(HEADER_LEN + message.encoded_len() + TAG_LEN);
        sealed.push(VERSION);
        sealed.extend_from_slice(&salt);
        sealed.extend_from_slice(&nonce);
        message.encode(&mut sealed).expect("a vector takes any message");
        let tag = self
            .message_key(purpose, &salt)
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(purpose),
                &mut sealed[HEADER_LEN..],
            )
            .expect("AES-GCM takes 64 GiB at once");
        sealed.extend_from_slice(tag.as_ref());
        sealed.into()
    }

    /// Opens what [`Self::seal`] made for the same purpose.
    ///
    /// # Errors
    ///
    /// When it was made with another key or for another purpose, or was changed.
    pub fn open<M: prost::Message + Default>(&self, purpose: &str, sealed: &[u8]) -> Result<M, SealError> {
        let (header, ciphertext) = sealed.split_at_checked(HEADER_LEN).ok_or(SealError)?;
        let (version, header) = header.split_first().ok_or(SealError)?;
        let (salt, nonce) = header.split_at_checked(SALT_LEN).ok_or(SealError)?;
        if *version != VERSION {
            return Err(SealError);
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError)?;
        let mut buffer = ciphertext.to_vec();
        let plaintext = self
            .message_key(purpose, salt)
            .open_in_place(nonce, Aad::from(purpose), &mut buffer)
            .map_err(|_| SealError)?;
        M::decode(&*plaintext).map_err(|_| SealError)
    }

    fn message_key(&self, purpose: &str, salt: &[u8]) -> LessSafeKey {
        let mut derivation = hmac::Context::with_key(&self.derivation);
        derivation.update(b"roadstead seal v1\0");
        // The salt has a fixed length and the purpose comes last, so no two pairs give the same input.
        derivation.update(salt);
        derivation.update(purpose.as_bytes());
        let key =
            UnboundKey::new(&AES_256_GCM, derivation.sign().as_ref()).expect("HMAC-SHA256 gives 32 bytes");
        LessSafeKey::new(key)
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(secret)")
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system has randomness");
    bytes
}
