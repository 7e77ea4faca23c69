//! The text of pull tokens.

use std::fmt;

use aws_lc_rs::{constant_time::verify_slices_are_equal, rand};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{domain::event::new_id, store::Secrets};

const PREFIX: &str = "rspt_";
const ID_PREFIX: &str = "ptk_";
const SECRET_BYTES: usize = 32;

/// A pull token that was shown, or was just made: `rspt_<id>_<32 bytes in base64url>`. Only a hash of the bytes is kept,
/// here too.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PullSecret {
    id: String,
    hash: [u8; 32],
}

impl PullSecret {
    /// Whether a credential is meant as a pull token.
    pub(crate) fn is_meant(credential: &str) -> bool {
        credential.starts_with(PREFIX)
    }

    /// Makes a new secret of the pull token `id`; of a new one at `now` (Unix milliseconds) when there is none yet.
    /// Returns its text, which is shown once. None when the operating system has no randomness.
    pub(crate) fn generate(id: Option<&str>, now: i64) -> Option<(Self, SecretString)> {
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        rand::fill(secret.as_mut_slice()).ok()?;
        let id = id.map_or_else(|| format!("{ID_PREFIX}{}", new_id(now).simple()), str::to_owned);
        let bare = id.strip_prefix(ID_PREFIX)?;
        let encoded = Zeroizing::new(URL_SAFE_NO_PAD.encode(secret.as_slice()));
        let text = SecretString::from(format!("{PREFIX}{bare}_{}", *encoded));
        let hash = Sha256::digest(secret.as_slice()).into();
        Some((Self { id, hash }, text))
    }

    /// Reads the text of a pull token; none when it is of another form.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let parsed = Uuid::try_parse(id).ok()?;
        // Of the ways in which a UUID is written only ours.
        if parsed.simple().to_string() != id {
            return None;
        }
        let secret = Zeroizing::new(URL_SAFE_NO_PAD.decode(secret).ok()?);
        if secret.len() != SECRET_BYTES {
            return None;
        }
        Some(Self {
            id: format!("{ID_PREFIX}{id}"),
            hash: Sha256::digest(secret.as_slice()).into(),
        })
    }

    /// The identity's id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// What the database holds of the secret.
    pub(crate) fn hash(&self) -> &[u8] {
        &self.hash
    }

    /// Whether this is good as one of the secrets at `now` (Unix milliseconds). It takes the same time wherever two
    /// secrets differ.
    pub(crate) fn is_among(&self, secrets: &Secrets, now: i64) -> bool {
        let is = |hash: &[u8]| verify_slices_are_equal(&self.hash, hash).is_ok();
        let current = is(&secrets.current);
        let previous = secrets
            .previous
            .as_ref()
            .is_some_and(|(hash, until)| is(hash) && now < *until);
        current || previous
    }
}

impl fmt::Debug for PullSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PullSecret")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::ExposeSecret as _;

    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    fn secrets(current: &PullSecret, previous: Option<(&PullSecret, i64)>) -> Secrets {
        Secrets {
            current: current.hash().to_vec(),
            previous: previous.map(|(secret, until)| (secret.hash().to_vec(), until)),
        }
    }

    #[test]
    fn a_token_is_read_as_it_was_made() {
        let (made, text) = PullSecret::generate(None, NOW).unwrap();
        assert_eq!(PullSecret::parse(text.expose_secret()), Some(made.clone()));
        assert!(PullSecret::is_meant(text.expose_secret()));
        assert!(made.is_among(&secrets(&made, None), NOW));
        let (other, _) = PullSecret::generate(Some(made.id()), NOW).unwrap();
        assert_eq!(made.id(), other.id());
        assert!(!other.is_among(&secrets(&made, None), NOW));
        let secret = text.expose_secret().rsplit_once('_').unwrap().1;
        assert!(!format!("{made:?}").contains(secret));
    }

    #[test]
    fn the_secret_before_is_good_until_its_time() {
        let (old, _) = PullSecret::generate(None, NOW).unwrap();
        let (new, _) = PullSecret::generate(Some(old.id()), NOW).unwrap();
        let both = secrets(&new, Some((&old, NOW + 10)));
        assert!(new.is_among(&both, NOW) && old.is_among(&both, NOW + 9));
        assert!(!old.is_among(&both, NOW + 10) && new.is_among(&both, NOW + 10));
    }

    #[test]
    fn an_empty_hash_is_no_secret() {
        let (made, _) = PullSecret::generate(None, NOW).unwrap();
        assert!(!made.is_among(&Secrets::default(), NOW));
    }

    proptest! {
        #[test]
        fn texts_of_another_form_are_none(text in "(rspt_)?[0-9a-f]{0,33}_?[A-Za-z0-9_-]{0,44}") {
            if let Some(parsed) = PullSecret::parse(&text) {
                let (id, secret) = text.strip_prefix("rspt_").unwrap().split_at(32);
                prop_assert_eq!(parsed.id(), format!("ptk_{id}"));
                prop_assert_eq!(secret.len(), 44);
            }
        }

        #[test]
        fn a_token_with_a_byte_changed_is_another_or_none(at in any::<prop::sample::Index>(), byte in 0x21_u8..0x7f) {
            let (made, text) = PullSecret::generate(None, NOW).unwrap();
            let mut changed = text.expose_secret().as_bytes().to_vec();
            let at = at.index(changed.len());
            prop_assume!(changed[at] != byte);
            changed[at] = byte;
            prop_assert_ne!(PullSecret::parse(std::str::from_utf8(&changed).unwrap()), Some(made));
        }
    }
}
