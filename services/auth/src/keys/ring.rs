//! The keys of one kind of token, old and new.

use std::time::Duration;

use jsonwebtoken::jwk::JwkSet;
use zeroize::Zeroizing;

use super::{KeyError, SigningKey};
use crate::tokens::KEYS_MAX_AGE;

/// A key signs once every verifier has surely fetched it.
const PUBLISHED_BEFORE: Duration = KEYS_MAX_AGE.saturating_mul(2);
/// What a key signed is looked at for this long: an hour's life, six hours of a push that outlives its token, and one for
/// clocks.
const OUTLIVES: Duration = Duration::from_hours(8);

/// A key and when it was made.
#[derive(Clone, Debug)]
pub(super) struct DatedKey {
    /// Unix seconds.
    pub(super) created_at: i64,
    pub(super) key: SigningKey,
    pub(super) pkcs8: Zeroizing<Vec<u8>>,
}

impl DatedKey {
    pub(super) fn generate(now: i64) -> Result<Self, KeyError> {
        let (key, pkcs8) = SigningKey::generate()?;
        Ok(Self {
            created_at: now,
            key,
            pkcs8,
        })
    }

    fn signs_from(&self) -> i64 {
        later(self.created_at, PUBLISHED_BEFORE)
    }
}

/// Keys from the oldest to the newest, at least one. All are published; one of them signs.
#[derive(Clone, Debug)]
pub(crate) struct KeyRing {
    oldest: DatedKey,
    newer: Vec<DatedKey>,
}

impl KeyRing {
    /// Makes a ring of keys from the oldest to the newest; none of none.
    pub(super) fn new(keys: Vec<DatedKey>) -> Option<Self> {
        let mut keys = keys.into_iter();
        Some(Self {
            oldest: keys.next()?,
            newer: keys.collect(),
        })
    }

    pub(super) fn of(key: DatedKey) -> Self {
        Self {
            oldest: key,
            newer: Vec::new(),
        }
    }

    /// The key that signs at `now`, in Unix seconds: the newest that has been published for long enough. The first of a
    /// new registry has nobody to wait for.
    pub(crate) fn signer(&self, now: i64) -> &SigningKey {
        let newest = self.newer.iter().rev().find(|dated| dated.signs_from() <= now);
        &newest.unwrap_or(&self.oldest).key
    }

    /// The public halves of all keys.
    pub(crate) fn jwk_set(&self) -> JwkSet {
        JwkSet {
            keys: self.each().map(|dated| dated.key.public().clone()).collect(),
        }
    }

    /// Whether the newest key has been there for `rotation`.
    pub(super) fn wants_successor(&self, now: i64, rotation: Duration) -> bool {
        let newest = self.newer.last().unwrap_or(&self.oldest);
        later(newest.created_at, rotation) <= now
    }

    /// The ring with one key more.
    pub(super) fn with(&self, key: DatedKey) -> Self {
        let mut ring = self.clone();
        ring.newer.push(key);
        ring
    }

    /// The ring without the keys that nothing good can be signed with any more; none when it loses none.
    pub(super) fn without_spent(&self, now: i64) -> Option<Self> {
        // A key is spent that long after its successor took over.
        let spent = self
            .newer
            .iter()
            .take_while(|successor| later(successor.signs_from(), OUTLIVES) <= now)
            .count();
        if spent == 0 {
            return None;
        }
        Self::new(self.each().skip(spent).cloned().collect())
    }

    pub(super) fn each(&self) -> impl Iterator<Item = &DatedKey> {
        std::iter::once(&self.oldest).chain(&self.newer)
    }
}

fn later(seconds: i64, by: Duration) -> i64 {
    seconds.saturating_add_unsigned(by.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600;
    const ROTATION: Duration = Duration::from_hours(24);

    fn kids(ring: &KeyRing) -> Vec<String> {
        ring.each().map(|dated| dated.key.kid().to_owned()).collect()
    }

    #[test]
    fn a_key_signs_ten_minutes_after_it_was_published_and_goes_eight_hours_after_it_was_relieved() {
        let first = KeyRing::of(DatedKey::generate(0).unwrap());
        assert_eq!(first.signer(0).kid(), kids(&first)[0], "there is no other");
        assert!(!first.wants_successor(DAY - 1, ROTATION) && first.wants_successor(DAY, ROTATION));

        let both = first.with(DatedKey::generate(DAY).unwrap());
        let [old, new] = <[String; 2]>::try_from(kids(&both)).unwrap();
        assert_eq!(both.signer(DAY + 599).kid(), old);
        assert_eq!(both.signer(DAY + 600).kid(), new);
        assert_eq!(both.jwk_set().keys.len(), 2);

        let spent = DAY + 600 + 8 * 3600;
        assert!(both.without_spent(spent - 1).is_none());
        let rest = both.without_spent(spent).unwrap();
        assert_eq!(kids(&rest), [new]);
        assert!(
            rest.without_spent(i64::MAX).is_none(),
            "the last key is never spent"
        );
    }

    #[test]
    fn a_ring_that_was_not_tended_for_long_keeps_what_it_needs() {
        let ring = KeyRing::of(DatedKey::generate(0).unwrap())
            .with(DatedKey::generate(DAY).unwrap())
            .with(DatedKey::generate(9 * DAY).unwrap());
        // The newest was just made: the second still signs, and the first is long spent.
        let rest = ring.without_spent(9 * DAY).unwrap();
        assert_eq!(kids(&rest), kids(&ring)[1..]);
        assert_eq!(rest.signer(9 * DAY).kid(), kids(&ring)[1]);
    }
}
