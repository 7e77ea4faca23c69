//! Key pairs for tests.

use std::sync::OnceLock;

use aws_lc_rs::{
    encoding::AsDer as _,
    rsa::{KeyPair, KeySize},
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    },
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, jwk::Jwk};
use serde_json::{Value, json};

/// A private key with the id under which its public half is published.
#[derive(Clone, Debug)]
pub struct SigningKey {
    kid: Option<String>,
    algorithm: Algorithm,
    encoding: EncodingKey,
}

impl SigningKey {
    /// Generates a P-256 key.
    pub fn es256(kid: &str) -> Self {
        let key = EcdsaKeyPair::generate_pkcs8(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &aws_lc_rs::rand::SystemRandom::new(),
        )
        .expect("a P-256 key can be generated");
        Self::new(kid, Algorithm::ES256, EncodingKey::from_ec_der(key.as_ref()))
    }

    /// Generates a P-384 key.
    pub fn es384(kid: &str) -> Self {
        let key = EcdsaKeyPair::generate_pkcs8(
            &ECDSA_P384_SHA384_FIXED_SIGNING,
            &aws_lc_rs::rand::SystemRandom::new(),
        )
        .expect("a P-384 key can be generated");
        Self::new(kid, Algorithm::ES384, EncodingKey::from_ec_der(key.as_ref()))
    }

    /// Generates an Ed25519 key.
    pub fn ed25519(kid: &str) -> Self {
        let key = Ed25519KeyPair::generate_pkcs8v1(&aws_lc_rs::rand::SystemRandom::new())
            .expect("an Ed25519 key can be generated");
        Self::new(kid, Algorithm::EdDSA, EncodingKey::from_ed_der(key.as_ref()))
    }

    /// Generates a 2048-bit RSA key that signs with `algorithm`, of the RS or PS family.
    pub fn rsa(kid: &str, algorithm: Algorithm) -> Self {
        let key = KeyPair::generate(KeySize::Rsa2048).expect("an RSA key can be generated");
        let pkcs8: aws_lc_rs::encoding::Pkcs8V1Der<'static> = key.as_der().expect("the key can be encoded");
        let pem = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            STANDARD.encode(pkcs8.as_ref())
        );
        Self::new(
            kid,
            algorithm,
            EncodingKey::from_rsa_pem(pem.as_bytes()).expect("the key is RSA"),
        )
    }

    /// Gives a 2048-bit RSA key that is generated once per process, because that takes a noticeable time.
    pub fn rs256(kid: &str) -> Self {
        static KEY: OnceLock<SigningKey> = OnceLock::new();
        let key = KEY.get_or_init(|| Self::rsa("shared", Algorithm::RS256)).clone();
        Self {
            kid: Some(kid.to_owned()),
            ..key
        }
    }

    /// Returns the same key without a key id, as issuers with a single key publish it.
    #[must_use]
    pub fn without_kid(self) -> Self {
        Self { kid: None, ..self }
    }

    /// Returns the same key signing with another algorithm of its family.
    #[must_use]
    pub fn with_algorithm(self, algorithm: Algorithm) -> Self {
        Self { algorithm, ..self }
    }

    /// Returns the key id.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Returns the public half as a JSON Web Key (RFC 7517).
    pub fn jwk(&self) -> Value {
        let mut jwk = serde_json::to_value(self.public()).expect("a key is JSON");
        jwk["use"] = json!("sig");
        if let Some(kid) = &self.kid {
            jwk["kid"] = json!(kid);
        }
        jwk
    }

    /// Signs `claims` under `header`, of which this sets `alg`, and `kid` unless it is there.
    pub fn sign_with(&self, mut header: Header, claims: &Value) -> String {
        header.alg = self.algorithm;
        header.kid = header.kid.or_else(|| self.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.encoding).expect("claims can be signed")
    }

    /// Signs `claims` with the given `typ`.
    pub fn sign(&self, token_type: &str, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.typ = Some(token_type.to_owned());
        self.sign_with(header, claims)
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(crate) fn decoding(&self) -> DecodingKey {
        DecodingKey::from_jwk(&self.public()).expect("the key is public")
    }

    fn public(&self) -> Jwk {
        Jwk::from_encoding_key(&self.encoding, self.algorithm).expect("the key has a public half")
    }

    fn new(kid: &str, algorithm: Algorithm, encoding: EncodingKey) -> Self {
        Self {
            kid: Some(kid.to_owned()),
            algorithm,
            encoding,
        }
    }
}
