//! One key pair.

use std::fmt;

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use jsonwebtoken::{
    Algorithm, EncodingKey, Header,
    jwk::{Jwk, PublicKeyUse, ThumbprintHash},
};
use serde::Serialize;
use zeroize::Zeroizing;

/// What is wrong with a key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("a key cannot be generated")]
    Generation,
    #[error("the key is no P-256 key in PKCS#8")]
    Malformed(#[from] jsonwebtoken::errors::Error),
}

/// A P-256 key that signs ES256 tokens of one kind, under the RFC 7638 thumbprint of its public half.
#[derive(Clone)]
pub(crate) struct SigningKey {
    key: EncodingKey,
    public: Jwk,
    kid: String,
}

impl SigningKey {
    /// Generates a key and returns it with its PKCS#8 encoding.
    pub(crate) fn generate() -> Result<(Self, Zeroizing<Vec<u8>>), KeyError> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|_| KeyError::Generation)?;
        let pkcs8 = Zeroizing::new(document.as_ref().to_vec());
        Ok((Self::from_pkcs8(&pkcs8)?, pkcs8))
    }

    pub(crate) fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, KeyError> {
        let key = EncodingKey::from_ec_der(pkcs8);
        let mut public = Jwk::from_encoding_key(&key, Algorithm::ES256)?;
        let kid = public.thumbprint(ThumbprintHash::SHA256)?;
        public.common.key_id = Some(kid.clone());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Self { key, public, kid })
    }

    pub(crate) fn sign(
        &self,
        token_type: &str,
        claims: &impl Serialize,
    ) -> Result<String, jsonwebtoken::errors::Error> {
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some(token_type.to_owned());
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.key)
    }

    pub(crate) fn public(&self) -> &Jwk {
        &self.public
    }

    pub(crate) fn kid(&self) -> &str {
        &self.kid
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SigningKey")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::SigningKey;

    #[test]
    fn a_key_is_not_in_its_debug_output() {
        let (key, pkcs8) = SigningKey::generate().unwrap();
        let output = format!("{key:?}");
        assert_eq!(output, format!("SigningKey {{ kid: {:?}, .. }}", key.kid));
        // The same key has the same name, wherever it is read.
        assert_eq!(SigningKey::from_pkcs8(&pkcs8).unwrap().kid, key.kid);
        assert_ne!(SigningKey::generate().unwrap().0.kid, key.kid);
    }
}
