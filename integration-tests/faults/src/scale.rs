//! A store that is full already.

use std::path::Path;

use anyhow::Result;
use roadstead_types::Digest;
use rusqlite::{Transaction, params};
use uuid::Uuid;

use crate::checker::open;

/// The repository that holds everything.
pub const REPOSITORY: &str = "scale/all";

/// Unfinished uploads beside the blobs.
const UPLOADS: usize = 1_000;

/// The content of one of the blobs that [`fill`] puts.
pub fn content(number: usize) -> Vec<u8> {
    format!("blob {number}").into_bytes()
}

/// Puts `count` small blobs into a repository, with their rows and their files, and some uploads that nobody finished.
/// The registry must have been started here once, for its schema, and must not run.
pub fn fill(data: &Path, count: usize) -> Result<()> {
    let mut metadata = open(data, "metadata")?;
    let transaction = metadata.transaction()?;
    transaction.execute(
        "INSERT INTO repositories (id, public_id, name, created_at) VALUES (1, ?1, ?2, 0)",
        params![Uuid::new_v4().to_string(), REPOSITORY],
    )?;
    let root = data.join("blobs");
    for number in 0..count {
        put_blob(&transaction, &root, &content(number))?;
    }
    // Not abandoned yet, or the reaper would take them.
    for _ in 0..UPLOADS {
        let id = Uuid::new_v4();
        transaction.execute(
            "INSERT INTO upload_sessions (id, repository_id, actor_issuer, actor_subject, algorithm, status, epoch,
                 received, state, created_at, due_at)
             VALUES (?1, 1, 'issuer', 'subject', 'sha256', 'open', 1, 0, x'', 0, ?2)",
            params![id.to_string(), i64::MAX / 4],
        )?;
        std::fs::write(root.join(format!("uploads/{id}.1")), b"begun")?;
    }
    transaction.commit()?;
    Ok(())
}

fn put_blob(transaction: &Transaction<'_>, root: &Path, content: &[u8]) -> Result<()> {
    let digest = Digest::sha256(content);
    let hex = digest.encoded();
    let key = format!("blobs/sha256/{}/{hex}.{}", &hex[..2], Uuid::new_v4());
    let path = root.join(&key);
    if let Err(error) = std::fs::write(&path, content) {
        anyhow::ensure!(error.kind() == std::io::ErrorKind::NotFound, error);
        std::fs::create_dir_all(path.parent().unwrap_or(root))?;
        std::fs::write(&path, content)?;
    }
    transaction
        .prepare_cached(
            "INSERT INTO blobs (digest, size, object_key, state, created_at) VALUES (?1, ?2, ?3, 'live', 0)",
        )?
        .execute(params![digest.as_str(), i64::try_from(content.len())?, key])?;
    transaction
        .prepare_cached("INSERT INTO blob_links (repository_id, blob_id, created_at) VALUES (1, ?1, 0)")?
        .execute([transaction.last_insert_rowid()])?;
    Ok(())
}
