//! The key that refresh tokens are made from.

use std::fmt;

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret as _, SecretString};

const PREFIX: &str = "rsr_";
/// What is hashed begins so, lest a hash for one purpose pass for one of another.
const CONTEXT: &[u8] = b"roadstead refresh token v1\0";
/// Longer than any refresh token.
const TOKEN_LIMIT: usize = 256;

/// Makes and knows refresh tokens: `rsr_<session>.<generation>.<HMAC-SHA256 of both>`. Nothing of a token is stored; whoever
/// reads the database can make none.
pub(crate) struct RefreshKey(hmac::Key);

/// What a refresh token says that was made here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RefreshClaims {
    pub(crate) session: String,
    /// Which of the session's tokens it is, from 1.
    pub(crate) generation: u64,
}

impl RefreshKey {
    pub(crate) const LENGTH: usize = 32;

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        (bytes.len() == Self::LENGTH).then(|| Self(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
    }

    /// Whether a credential is meant as a refresh token.
    pub(crate) fn is_meant(credential: &str) -> bool {
        credential.starts_with(PREFIX)
    }

    pub(crate) fn token(&self, session: &str, generation: u64) -> SecretString {
        let tag = hmac::sign(&self.0, &message(session, generation));
        let tag = URL_SAFE_NO_PAD.encode(tag.as_ref());
        format!("{PREFIX}{session}.{generation}.{tag}").into()
    }

    /// Reads a token; none when it was not made with this key.
    pub(crate) fn read(&self, token: &str) -> Option<RefreshClaims> {
        if token.len() > TOKEN_LIMIT {
            return None;
        }
        let mut parts = token.strip_prefix(PREFIX)?.splitn(3, '.');
        let (session, generation) = (parts.next()?, parts.next()?);
        let tag = URL_SAFE_NO_PAD.decode(parts.next()?).ok()?;
        let claims = RefreshClaims {
            session: session.to_owned(),
            generation: generation.parse().ok()?,
        };
        // The comparison takes the same time wherever the two differ.
        hmac::verify(&self.0, &message(session, claims.generation), &tag).ok()?;
        // One text for one token: `+1` and `01` are numbers too.
        let canonical = self.token(session, claims.generation);
        (canonical.expose_secret() == token).then_some(claims)
    }
}

/// No session has a dot or a zero byte, and the number has a fixed length, so that no two pairs give the same bytes.
fn message(session: &str, generation: u64) -> Vec<u8> {
    [CONTEXT, session.as_bytes(), b"\0", &generation.to_be_bytes()].concat()
}

impl fmt::Debug for RefreshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefreshKey(secret)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(seed: u8) -> RefreshKey {
        RefreshKey::from_bytes(&[seed; RefreshKey::LENGTH]).unwrap()
    }

    #[test]
    fn a_key_is_of_one_length_and_not_in_its_debug_output() {
        assert!(RefreshKey::from_bytes(&[0; 31]).is_none() && RefreshKey::from_bytes(&[0; 33]).is_none());
        assert_eq!(format!("{:?}", key(7)), "RefreshKey(secret)");
    }

    proptest! {
        #[test]
        fn a_token_is_read_by_its_key_alone(session in "ses_[0-9a-f]{32}", generation in 0..u64::MAX) {
            let token = key(1).token(&session, generation);
            let claims = RefreshClaims { session, generation };
            prop_assert_eq!(key(1).read(token.expose_secret()), Some(claims));
            prop_assert_eq!(key(2).read(token.expose_secret()), None);
        }

        #[test]
        fn a_token_with_any_byte_changed_is_none(
            session in "ses_[0-9a-f]{8}",
            generation in 0..1000_u64,
            at in any::<prop::sample::Index>(),
            byte in 0x20_u8..0x7f,
        ) {
            let token = key(1).token(&session, generation);
            let mut changed = token.expose_secret().as_bytes().to_vec();
            let at = at.index(changed.len());
            prop_assume!(changed[at] != byte);
            changed[at] = byte;
            prop_assert_eq!(key(1).read(std::str::from_utf8(&changed).unwrap()), None);
        }

        #[test]
        fn no_text_is_a_token(text in "(rsr_)?[a-z0-9_.+-]{0,90}") {
            prop_assert_eq!(key(1).read(&text), None);
        }
    }
}
