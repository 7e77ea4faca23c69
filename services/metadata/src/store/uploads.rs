//! Upload sessions. One lease holder writes at a time: every acquisition counts the epoch up, every write compares it.

use bytes::Bytes;
use roadstead_types::{Digest, DigestAlgorithm, RepositoryName, UploadId};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::repositories::{self, Pushed, Repository};
use super::{Result, Store, Tx, blobs, grants, outbox};
use crate::domain::author::Author;
use crate::domain::event::{Change, EventKind};
use crate::error::Error;

/// How long the gateway has to discard a cancelled session's bytes before the reaper does; also the reaper's own pace.
const ABORT_GRACE_MILLIS: i64 = 60_000;

/// A session as its writer names it.
#[derive(Debug, Clone)]
pub(crate) struct UploadKey {
    pub(crate) repository: RepositoryName,
    pub(crate) id: UploadId,
}

/// What a lease is taken for.
#[derive(Debug, Clone)]
pub(crate) enum Purpose {
    Append,
    Finish(Digest),
    Cancel,
}

#[derive(Debug, Clone)]
pub(crate) struct AcquireRequest {
    pub(crate) key: UploadKey,
    pub(crate) purpose: Purpose,
    pub(crate) expected_offset: Option<i64>,
}

/// A lease that was taken.
#[derive(Debug)]
pub(crate) struct Acquired {
    pub(crate) epoch: i64,
    pub(crate) algorithm: String,
    pub(crate) state: Vec<u8>,
    pub(crate) offset: i64,
    /// The session finished earlier with the digest that was asked for; there is no lease.
    pub(crate) already_finished: bool,
}

/// What blobs vouches for, and for whom.
#[derive(Debug)]
pub(crate) struct FinishRequest {
    pub(crate) key: UploadKey,
    pub(crate) epoch: i64,
    pub(crate) digest: Digest,
    pub(crate) size: i64,
    pub(crate) object_key: String,
}

/// A session that the reaper took, with what blobs needs to discard its bytes.
#[derive(Debug)]
pub(crate) struct AbandonedUpload {
    pub(crate) id: String,
    pub(crate) epoch: i64,
    pub(crate) algorithm: String,
    pub(crate) state: Vec<u8>,
    /// What the last finish named: its object may be there, though it was not committed.
    pub(crate) digest: Option<String>,
}

struct Session {
    algorithm: String,
    status: String,
    epoch: i64,
    received: i64,
    digest: Option<String>,
    size: Option<i64>,
}

impl Session {
    /// Whether a lease may be taken and bytes saved. Also while it finishes: a finish that died half way is taken over.
    fn is_open(&self) -> bool {
        matches!(self.status.as_str(), "open" | "finishing")
    }
}

pub(super) const FIND: &str = "SELECT algorithm, status, epoch, received, digest, size FROM upload_sessions
         WHERE id = ?1 AND repository_id = ?2 AND actor_issuer = ?3 AND actor_subject = ?4";

pub(super) const FORGET_FINISHED: &str = "DELETE FROM upload_sessions WHERE id IN
         (SELECT id FROM upload_sessions WHERE due_at <= ?1 AND status = 'finished' ORDER BY due_at LIMIT ?2)";

pub(super) const CLAIM_ABANDONED: &str =
    "UPDATE upload_sessions SET status = 'aborting', epoch = epoch + 1, due_at = ?2 WHERE id IN
         (SELECT id FROM upload_sessions WHERE due_at <= ?1 AND status <> 'finished' ORDER BY due_at LIMIT ?3)
     RETURNING id, epoch, algorithm, state, digest";

/// Finds the session of `author`. Another identity's does not exist for it.
fn find(connection: &Connection, repository: &Repository, id: UploadId, author: &Author) -> Result<Session> {
    let mut statement = connection.prepare_cached(FIND)?;
    let principal = &author.principal;
    let session = statement
        .query_row(
            params![id.to_string(), repository.id, principal.issuer, principal.subject],
            |row| {
                Ok(Session {
                    algorithm: row.get(0)?,
                    status: row.get(1)?,
                    epoch: row.get(2)?,
                    received: row.get(3)?,
                    digest: row.get(4)?,
                    size: row.get(5)?,
                })
            },
        )
        .optional()?;
    session.ok_or(Error::UploadUnknown)
}

/// Finds a session to write to. A valid token is recorded as one that this push may outlive, an expired one must be.
fn find_for_write(tx: &Tx<'_>, key: &UploadKey, author: &Author) -> Result<(Repository, Session)> {
    let unknown = if author.expired {
        Error::TokenExpired
    } else {
        Error::UploadUnknown
    };
    let repository = repositories::find(tx, &key.repository)?.ok_or(unknown)?;
    if author.expired {
        grants::require(tx, author, &repository)?;
    } else {
        grants::touch(tx, author, &repository)?;
    }
    let session = find(tx, &repository, key.id, author)?;
    Ok((repository, session))
}

fn acquire(tx: &Tx<'_>, request: &AcquireRequest, author: &Author) -> Result<Acquired> {
    let (repository, session) = find_for_write(tx, &request.key, author)?;
    if let ("finished", Purpose::Finish(digest)) = (session.status.as_str(), &request.purpose)
        && session.digest.as_deref() == Some(digest.as_str())
    {
        return Ok(Acquired {
            epoch: session.epoch,
            algorithm: session.algorithm,
            state: Vec::new(),
            offset: session.received,
            already_finished: true,
        });
    }
    if !session.is_open() {
        return Err(Error::UploadUnknown);
    }
    if request
        .expected_offset
        .is_some_and(|expected| expected != session.received)
    {
        return Err(Error::UploadOutOfOrder {
            offset: session.received,
        });
    }
    if !author.expired {
        // A client may go on with another token than it began with, and that one may expire under way, too.
        grants::record(tx, author, &repository)?;
    }
    let (status, digest, due_at) = match &request.purpose {
        Purpose::Append => ("open", None, tx.now + tx.lifetimes.session_ttl),
        Purpose::Finish(digest) => (
            "finishing",
            Some(digest.as_str()),
            tx.now + tx.lifetimes.session_ttl,
        ),
        Purpose::Cancel => ("aborting", None, tx.now + ABORT_GRACE_MILLIS),
    };
    let state = tx
        .prepare_cached(
            "UPDATE upload_sessions SET epoch = epoch + 1, status = ?2, digest = coalesce(?3, digest), due_at = ?4
             WHERE id = ?1 RETURNING state",
        )?
        .query_row(
            params![request.key.id.to_string(), status, digest, due_at],
            |row| row.get(0),
        )?;
    Ok(Acquired {
        epoch: session.epoch + 1,
        algorithm: session.algorithm,
        state,
        offset: session.received,
        already_finished: false,
    })
}

fn save(
    tx: &Tx<'_>,
    key: &UploadKey,
    author: &Author,
    (epoch, offset, state): (i64, i64, &[u8]),
) -> Result<()> {
    let (_, session) = find_for_write(tx, key, author)?;
    if !session.is_open() {
        return Err(Error::UploadUnknown);
    }
    if session.epoch != epoch {
        return Err(Error::UploadConflict);
    }
    if offset < session.received {
        return Err(Error::UploadInvalid("a checkpoint lies before the last one"));
    }
    tx.prepare_cached("UPDATE upload_sessions SET state = ?2, received = ?3, due_at = ?4 WHERE id = ?1")?
        .execute(params![
            key.id.to_string(),
            state,
            offset,
            tx.now + tx.lifetimes.session_ttl
        ])?;
    Ok(())
}

fn finish(tx: &Tx<'_>, request: &FinishRequest, author: &Author) -> Result<()> {
    let (repository, session) = find_for_write(tx, &request.key, author)?;
    let digest = request.digest.as_str();
    let named = session.digest.as_deref() == Some(digest);
    match session.status.as_str() {
        "finished" if named && session.size == Some(request.size) => return Ok(()),
        "finishing" => {}
        "open" => return Err(Error::UploadConflict),
        _ => return Err(Error::UploadUnknown),
    }
    if session.epoch != request.epoch {
        return Err(Error::UploadConflict);
    }
    if !named {
        return Err(Error::UploadInvalid(
            "the receipt is for another digest than the one that was named",
        ));
    }
    let object = blobs::Object {
        key: &request.object_key,
        digest,
        size: request.size,
    };
    let blob_id = blobs::publish(tx, object)?;
    blobs::link(tx, &repository, blob_id)?;
    tx.prepare_cached(
        "UPDATE upload_sessions SET status = 'finished', size = ?2, received = ?2, state = x'', due_at = ?3
         WHERE id = ?1",
    )?
    .execute(params![
        request.key.id.to_string(),
        request.size,
        tx.now + tx.lifetimes.finished_ttl
    ])?;
    let change = Change {
        digest: Some(digest),
        ..Change::default()
    };
    outbox::announce(tx, EventKind::Push, &repository, change, author)
}

impl Store {
    /// Opens a session, and records that its token may be outlived.
    pub(crate) async fn create_upload(
        &self,
        name: RepositoryName,
        algorithm: DigestAlgorithm,
        author: Author,
    ) -> Result<Pushed<UploadId>> {
        self.write("create_upload", move |tx| {
            let repository = repositories::for_push(tx, &author, &name)?;
            grants::record(tx, &author, &repository)?;
            let id = UploadId::new();
            tx.prepare_cached(
                "INSERT INTO upload_sessions (id, repository_id, actor_issuer, actor_subject, algorithm, status,
                     epoch, received, state, created_at, due_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, 'open', 0, 0, x'', ?6, ?7)",
            )?
            .execute(params![
                id.to_string(),
                repository.id,
                author.principal.issuer,
                author.principal.subject,
                algorithm.as_str(),
                tx.now,
                tx.now + tx.lifetimes.session_ttl
            ])?;
            Ok(repository.pushed(id))
        })
        .await
    }

    /// Tells how many bytes an open session has.
    pub(crate) async fn upload_offset(&self, key: &UploadKey, author: &Author) -> Result<i64> {
        self.read("upload_offset", |connection| {
            let repository = repositories::find(connection, &key.repository)?.ok_or(Error::UploadUnknown)?;
            let session = find(connection, &repository, key.id, author)?;
            if session.is_open() {
                Ok(session.received)
            } else {
                Err(Error::UploadUnknown)
            }
        })
        .await
    }

    /// Takes the lease of a session.
    pub(crate) async fn acquire_upload(&self, request: AcquireRequest, author: Author) -> Result<Acquired> {
        self.write("acquire_upload", move |tx| acquire(tx, &request, &author))
            .await
    }

    /// Saves a checkpoint of the lease's holder.
    pub(crate) async fn save_upload(
        &self,
        key: UploadKey,
        (epoch, offset, state): (i64, i64, Bytes),
        author: Author,
    ) -> Result<()> {
        self.write("save_upload", move |tx| {
            save(tx, &key, &author, (epoch, offset, &state))
        })
        .await
    }

    /// Commits what a session uploaded: publishes the object, links the blob, ends the session.
    pub(crate) async fn finish_upload(&self, request: FinishRequest, author: Author) -> Result<()> {
        self.write("finish_upload", move |tx| finish(tx, &request, &author))
            .await
    }

    /// Confirms a cancellation. The row stays until the reaper, too, has had the bytes discarded: whether they are gone is
    /// not the gateway's to say.
    pub(crate) async fn cancel_upload(&self, key: UploadKey, epoch: i64, author: Author) -> Result<()> {
        self.write("cancel_upload", move |tx| {
            match find_for_write(tx, &key, &author) {
                // Gone already, which is what was asked for.
                Err(Error::UploadUnknown) => Ok(()),
                Err(error) => Err(error),
                Ok((_, session)) if session.status != "aborting" || session.epoch < epoch => {
                    Err(Error::UploadConflict)
                }
                Ok(_) => {
                    tx.prepare_cached("UPDATE upload_sessions SET due_at = ?2 WHERE id = ?1 AND epoch = ?3")?
                        .execute(params![key.id.to_string(), tx.now, epoch])?;
                    Ok(())
                }
            }
        })
        .await
    }

    /// Forgets up to `limit` finished sessions that by `now` need not answer again, and tells how many.
    pub(crate) async fn forget_finished_uploads(&self, now: i64, limit: u32) -> Result<u32> {
        self.write("forget_finished_uploads", move |tx| {
            let removed = tx.prepare_cached(FORGET_FINISHED)?.execute(params![now, limit])?;
            Ok(u32::try_from(removed).unwrap_or(u32::MAX))
        })
        .await
    }

    /// Takes up to `limit` sessions that by `now` are idle for too long or were cancelled.
    pub(crate) async fn claim_abandoned_uploads(&self, now: i64, limit: u32) -> Result<Vec<AbandonedUpload>> {
        self.write("claim_abandoned_uploads", move |tx| {
            let mut statement = tx.prepare_cached(CLAIM_ABANDONED)?;
            let uploads = statement
                .query_map(params![now, tx.now + ABORT_GRACE_MILLIS, limit], |row| {
                    Ok(AbandonedUpload {
                        id: row.get(0)?,
                        epoch: row.get(1)?,
                        algorithm: row.get(2)?,
                        state: row.get(3)?,
                        digest: row.get(4)?,
                    })
                })?
                .collect::<rusqlite::Result<_>>()?;
            Ok(uploads)
        })
        .await
    }

    /// Forgets aborted sessions, by id and epoch.
    pub(crate) async fn forget_uploads(&self, aborted: Vec<(String, i64)>) -> Result<()> {
        self.write("forget_uploads", move |tx| {
            let mut statement = tx.prepare_cached(
                "DELETE FROM upload_sessions WHERE id = ?1 AND epoch = ?2 AND status = 'aborting'",
            )?;
            for (id, epoch) in &aborted {
                statement.execute(params![id, epoch])?;
            }
            Ok(())
        })
        .await
    }
}
