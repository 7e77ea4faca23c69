//! Tokens of one's own making. The keys are the registry's real ones, taken out of its data directory, so that what is
//! refused is refused for what the token says and not for a signature that is wrong anyway.

use std::path::Path;

use anyhow::{Context as _, Result};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use roadstead_rpc::SealKey;
use serde_json::{Value, json};

/// The two kinds of token that the registry signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Access,
    Registry,
}

/// A key, and a good token that it signed.
struct Sample {
    key: EcdsaKeyPair,
    jwk: Value,
    token: String,
    header: Value,
    claims: Value,
}

/// Makes tokens.
pub(crate) struct Forge {
    access: Sample,
    registry: Sample,
    /// What a stranger would sign with.
    foreign: EcdsaKeyPair,
}

impl Forge {
    /// Takes the registry's keys, and a good token of each kind to start from.
    pub(crate) fn new(data: &Path, access: &str, registry: &str, jwks: [&Value; 2]) -> Result<Self> {
        let foreign = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())?;
        Ok(Self {
            access: Sample::new(data, "access", access, jwks[0])?,
            registry: Sample::new(data, "registry", registry, jwks[1])?,
            foreign: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, foreign.as_ref())?,
        })
    }

    fn sample(&self, kind: Kind) -> &Sample {
        match kind {
            Kind::Access => &self.access,
            Kind::Registry => &self.registry,
        }
    }

    /// A good token of the kind.
    pub(crate) fn good(&self, kind: Kind) -> String {
        self.sample(kind).token.clone()
    }

    /// The header of a good token.
    pub(crate) fn header(&self, kind: Kind) -> Value {
        self.sample(kind).header.clone()
    }

    /// The claims of a good token.
    pub(crate) fn claims(&self, kind: Kind) -> Value {
        self.sample(kind).claims.clone()
    }

    /// A good token but for one claim; null leaves the claim out.
    pub(crate) fn with_claim(&self, kind: Kind, name: &str, value: Value) -> String {
        self.sign(kind, &self.header(kind), &set(self.claims(kind), name, value))
    }

    /// A good token but for one member of its header; null leaves the member out.
    pub(crate) fn with_header(&self, kind: Kind, name: &str, value: Value) -> String {
        self.sign(kind, &set(self.header(kind), name, value), &self.claims(kind))
    }

    /// Signs with the registry's own key, whatever the header says.
    pub(crate) fn sign(&self, kind: Kind, header: &Value, claims: &Value) -> String {
        signed_with(&self.sample(kind).key, header, claims)
    }

    /// Signs with a stranger's key.
    pub(crate) fn sign_as_stranger(&self, header: &Value, claims: &Value) -> String {
        signed_with(&self.foreign, header, claims)
    }

    /// Signs with HMAC under what the registry publishes, in a form that a verifier might hold it in.
    pub(crate) fn sign_with_public_key(&self, kind: Kind, form: &str) -> String {
        let sample = self.sample(kind);
        let secret = match form {
            "jwk" => sample.jwk.to_string().into_bytes(),
            "x" => sample.jwk["x"].as_str().unwrap_or_default().as_bytes().to_vec(),
            _ => URL_SAFE_NO_PAD
                .decode(sample.jwk["x"].as_str().unwrap_or_default())
                .unwrap_or_default(),
        };
        let signing = input(&set(self.header(kind), "alg", json!("HS256")), &self.claims(kind));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), signing.as_bytes());
        format!("{signing}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    /// The parts of a token, to be put together otherwise.
    pub(crate) fn unsigned(&self, kind: Kind, algorithm: &str) -> String {
        input(
            &set(self.header(kind), "alg", json!(algorithm)),
            &self.claims(kind),
        )
    }
}

impl Sample {
    fn new(data: &Path, kind: &str, token: &str, jwks: &Value) -> Result<Self> {
        let directory = data.join("auth");
        let seal = SealKey::from_file(directory.join("sealing.key"))?;
        let sealed = std::fs::read(directory.join(format!("{kind}-signing.key")))?;
        let text: Vec<u8> = seal.open(&format!("auth-signing-key-{kind}"), &sealed)?;
        let file: Value = serde_json::from_slice(&text)?;
        let pkcs8 = STANDARD.decode(file["keys"][0]["pkcs8"].as_str().context("no key in the file")?)?;
        let mut parts = token.split('.').map(decode);
        Ok(Self {
            key: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8)?,
            jwk: jwks["keys"][0].clone(),
            token: token.to_owned(),
            header: parts.next().context("no header")??,
            claims: parts.next().context("no claims")??,
        })
    }
}

/// Replaces a member, or removes it if `value` is null.
pub(crate) fn set(mut object: Value, name: &str, value: Value) -> Value {
    if let Some(members) = object.as_object_mut() {
        members.remove(name);
        if !value.is_null() {
            members.insert(name.to_owned(), value);
        }
    }
    object
}

fn input(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

fn signed_with(key: &EcdsaKeyPair, header: &Value, claims: &Value) -> String {
    let signing = input(header, claims);
    let signature = key
        .sign(&SystemRandom::new(), signing.as_bytes())
        .map(|signature| URL_SAFE_NO_PAD.encode(signature));
    format!("{signing}.{}", signature.unwrap_or_default())
}

fn decode(part: &str) -> Result<Value> {
    Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part)?)?)
}
