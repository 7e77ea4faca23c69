//! The development issuer.

use roadstead_runtime::PublicAddress;
use roadstead_types::Clock;
use serde_json::json;

use crate::{
    error::Error,
    keys::{KeyError, SigningKey},
};

/// The only subject that the development issuer names.
pub(crate) const DEV_SUBJECT: &str = "dev";

/// An identity token is exchanged at once, so it lives no longer than that takes.
const LIFE_SECONDS: i64 = 60;

/// Issues identity tokens to a developer on this machine. Its key lives and dies with the process: nothing that it
/// signed is good after a restart, or anywhere else.
#[derive(Debug)]
pub(crate) struct DevIssuer {
    url: String,
    audience: String,
    key: SigningKey,
    clock: Clock,
}

impl DevIssuer {
    pub(crate) fn new(public: &PublicAddress, clock: Clock) -> Result<Self, KeyError> {
        let (key, _) = SigningKey::generate()?;
        Ok(Self {
            url: format!("{}/dev", public.origin()),
            audience: public.service.clone(),
            key,
            clock,
        })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn audience(&self) -> &str {
        &self.audience
    }

    pub(crate) fn key(&self) -> &SigningKey {
        &self.key
    }

    pub(crate) fn issue(&self) -> Result<String, Error> {
        let now = self.clock.unix_seconds();
        let claims = json!({
            "iss": self.url,
            "sub": DEV_SUBJECT,
            "aud": self.audience,
            "iat": now,
            "exp": now + LIFE_SECONDS,
        });
        Ok(self.key.sign("JWT", &claims)?)
    }
}
