//! From bytes of a session to an object. Everything here blocks.

use std::fs::File;

use roadstead_types::Digest;
use tokio_util::sync::CancellationToken;

use super::{FsBackend, store};
use crate::{
    error::Error,
    hash::Hasher,
    object_key::ObjectKey,
    seal::{Lease, UploadState},
    session::Claim,
};

/// A durable object.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finished {
    pub(crate) object_key: ObjectKey,
    pub(crate) size: u64,
}

impl FsBackend {
    pub(super) fn finish_claimed(
        &self,
        lease: &Lease,
        state: Option<&UploadState>,
        digest: &Digest,
        mut claim: Claim,
    ) -> Result<Finished, Error> {
        let size = state.map_or(0, |state| state.offset);
        let object_key = ObjectKey::new(digest.clone(), lease.upload_id);
        // That an object has this session's id in its key proves that its bytes were checked against the digest in its
        // key, for the rename comes last. Nothing has to be read again, whatever a stale lease left since.
        let present = self.store.confirm_object(&object_key)?;
        if present == Some(size) {
            return Ok(Finished { object_key, size });
        }
        let Some(file) = self.store.find_upload(lease)? else {
            return match present {
                Some(_) => Err(Error::UploadInvalid("it was finished with other bytes")),
                None => self.finish_without_bytes(lease, object_key, size, &mut claim),
            };
        };
        let believed = state.is_some_and(|state| claim.last_issued.as_ref() == Some(state));
        let actual = match state {
            Some(state) if believed && digest.algorithm() == lease.algorithm => {
                Hasher::restore(lease.algorithm, &state.hash)
                    .ok_or(Error::UploadInvalid("its hash is not a state"))?
            }
            // Read all of it: what is hashed is then what is there, whatever the state says.
            _ => {
                // Runs to its end even if a newer lease comes: the newer finds the work done.
                store::rehash(
                    &file,
                    size,
                    Hasher::new(digest.algorithm()),
                    &CancellationToken::new(),
                )?
            }
        };
        let saved = actual.save();
        if actual.finish() != *digest {
            let torn = digest.algorithm() == lease.algorithm
                && state.is_some_and(|state| state.offset > 0 && state.hash != saved);
            return Err(if torn {
                Error::UploadInvalid("its bytes are not those that the state describes")
            } else {
                Error::DigestMismatch
            });
        }
        self.publish(lease, &file, size, &object_key, &mut claim)?;
        Ok(Finished { object_key, size })
    }

    /// There are no bytes under the session's name, nor an object: right only where no bytes are what was sent.
    fn finish_without_bytes(
        &self,
        lease: &Lease,
        object_key: ObjectKey,
        size: u64,
        claim: &mut Claim,
    ) -> Result<Finished, Error> {
        if size > 0 {
            return Err(Error::UploadInvalid("its bytes are gone"));
        }
        if *object_key.digest() != Digest::of(object_key.digest().algorithm(), b"") {
            return Err(Error::DigestMismatch);
        }
        let file = self.store.open_upload(lease, 0)?;
        self.publish(lease, &file, 0, &object_key, claim)?;
        Ok(Finished { object_key, size })
    }

    fn publish(
        &self,
        lease: &Lease,
        file: &File,
        size: u64,
        object_key: &ObjectKey,
        claim: &mut Claim,
    ) -> Result<(), Error> {
        self.store.publish(lease, file, size, object_key)?;
        // The session's file is no more; a state that describes it must not be believed about a new one.
        *claim.last_issued = None;
        metrics::counter!("blobs_finished_total").increment(1);
        Ok(())
    }

    /// Discards a session's bytes for metadata, which knows that it was not committed: then also the object that a
    /// Finish left whose caller died before it could commit.
    ///
    /// It bears the digest that was `named` last, which may be of another algorithm than the session's; or, when a later
    /// attempt named a wrong one, that of the session's bytes.
    pub(super) fn purge_claimed(
        &self,
        lease: &Lease,
        state: Option<&UploadState>,
        named: Option<Digest>,
        mut claim: Claim,
    ) -> Result<(), Error> {
        *claim.last_issued = None;
        self.store.discard_upload(lease)?;
        let hasher = match state {
            Some(state) => Hasher::restore(lease.algorithm, &state.hash),
            None => Some(Hasher::new(lease.algorithm)),
        };
        let digests = named.into_iter().chain(hasher.map(Hasher::finish));
        let orphans: Vec<_> = digests
            .map(|digest| ObjectKey::new(digest, lease.upload_id))
            .collect();
        self.store.delete_objects(&orphans)
    }
}
