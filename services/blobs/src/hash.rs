//! Digests that are computed while bytes arrive, and that survive a pause.

use roadstead_types::{Digest, DigestAlgorithm};
use sha2::{
    Digest as _, Sha256, Sha512,
    digest::common::hazmat::{SerializableState, SerializedState},
};

/// The hash of the bytes so far.
#[derive(Clone)]
pub(crate) enum Hasher {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    pub(crate) fn new(algorithm: DigestAlgorithm) -> Self {
        match algorithm {
            DigestAlgorithm::Sha256 => Self::Sha256(Sha256::new()),
            DigestAlgorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    /// The intermediate state. Equal bytes give equal states, however they were cut.
    pub(crate) fn save(&self) -> Vec<u8> {
        match self {
            Self::Sha256(hash) => hash.serialize().to_vec(),
            Self::Sha512(hash) => hash.serialize().to_vec(),
        }
    }

    /// The reverse of [`save`](Self::save); `None` for what is not a state of this algorithm.
    pub(crate) fn restore(algorithm: DigestAlgorithm, saved: &[u8]) -> Option<Self> {
        Some(match algorithm {
            DigestAlgorithm::Sha256 => {
                let saved = SerializedState::<Sha256>::try_from(saved).ok()?;
                Self::Sha256(Sha256::deserialize(&saved).ok()?)
            }
            DigestAlgorithm::Sha512 => {
                let saved = SerializedState::<Sha512>::try_from(saved).ok()?;
                Self::Sha512(Sha512::deserialize(&saved).ok()?)
            }
        })
    }

    pub(crate) fn finish(self) -> Digest {
        match self {
            Self::Sha256(hash) => Digest::from_hash(DigestAlgorithm::Sha256, &hash.finalize()),
            Self::Sha512(hash) => Digest::from_hash(DigestAlgorithm::Sha512, &hash.finalize()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn saving_and_restoring_changes_nothing(bytes: Vec<u8>, cut: prop::sample::Index, wide: bool) {
            let algorithm = if wide { DigestAlgorithm::Sha512 } else { DigestAlgorithm::Sha256 };
            let (head, tail) = bytes.split_at(cut.index(bytes.len() + 1));
            let mut hasher = Hasher::new(algorithm);
            hasher.update(head);
            let mut hasher = Hasher::restore(algorithm, &hasher.save()).unwrap();
            hasher.update(tail);
            prop_assert_eq!(hasher.finish(), Digest::of(algorithm, &bytes));
        }
    }

    #[test]
    fn a_state_of_the_other_algorithm_is_refused() {
        let saved = Hasher::new(DigestAlgorithm::Sha256).save();
        assert!(Hasher::restore(DigestAlgorithm::Sha512, &saved).is_none());
        assert!(Hasher::restore(DigestAlgorithm::Sha256, &saved[1..]).is_none());
    }
}
