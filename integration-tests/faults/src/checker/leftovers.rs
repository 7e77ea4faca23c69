//! What crashes leave must go by itself, once its time has come.

use std::time::Duration;

use anyhow::Result;
use roadstead_integration_tests::deadline::eventually;

use super::{Invariant, Problems, files, open, rows};
use crate::installation::Installation;

/// More than enough: the reaper looks every fraction of a second in the tests' configuration.
pub const REAP_LIMIT: Duration = Duration::from_secs(20);

/// Stops the registry, lets a day pass for everything that waits for its time, starts it, and waits for the reaper. What
/// is left after `limit` is a problem. Gives how many sessions, files of sessions and objects without a blob there were.
pub async fn collect(
    installation: &mut Installation,
    limit: Duration,
    problems: &mut Problems,
) -> Result<usize> {
    installation.stop_all().await?;
    let found = left(installation)?;
    // The reaper reads nothing but these columns to tell whose time has come.
    open(&installation.data(), "metadata")?.execute_batch(
        "UPDATE upload_sessions SET due_at = 0;
         UPDATE object_deletions SET not_before = 0;
         UPDATE push_grants SET created_at = 0, used_at = 0;",
    )?;
    installation.start_all().await?;
    let reaped = eventually("the reaper is through", limit, async || {
        Ok(left(installation)?.is_empty().then_some(()))
    })
    .await;
    if reaped.is_err() {
        for what in left(installation)? {
            problems.add(Invariant::NothingLeft, what);
        }
    }
    Ok(found.len())
}

fn left(installation: &Installation) -> Result<Vec<String>> {
    let metadata = open(&installation.data(), "metadata")?;
    let root = installation.data().join("blobs");
    let mut left = rows(
        &metadata,
        "SELECT 'session ' || id || ' ' || status FROM upload_sessions
         UNION ALL SELECT 'grant' FROM push_grants
         UNION ALL SELECT 'deletion of ' || object_key FROM object_deletions",
        |row| row.get::<_, String>(0),
    )?;
    let named = rows(&metadata, "SELECT object_key FROM blobs", |row| {
        row.get::<_, String>(0)
    })?;
    let named: std::collections::BTreeSet<_> = named.into_iter().collect();
    for path in files::walk(&root.join("blobs"))? {
        let key = path.strip_prefix(&root)?.display().to_string();
        if !named.contains(&key) {
            left.push(format!("object {key}"));
        }
    }
    for path in files::walk(&root.join("uploads"))? {
        left.push(format!("file {}", path.display()));
    }
    Ok(left)
}
