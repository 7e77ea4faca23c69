//! What clients see must be what they were told.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use roadstead_integration_tests::{Registry, Session};
use roadstead_types::Digest;

use super::{Invariant, Problems};
use crate::ledger::{Key, Ledger, Value};

/// Requests at the same time.
const CONCURRENCY: usize = 8;

/// Reads everything that was ever pushed, byte for byte, and compares.
pub async fn check(registry: &Registry, ledger: &Ledger, problems: &mut Problems) -> Result<()> {
    let keys: Vec<&Key> = ledger.keys().map(|(key, _)| key).collect();
    let repositories: BTreeSet<&str> = keys.iter().map(|key| repository(key)).collect();
    let names: Vec<_> = repositories.iter().copied().collect();
    let session = registry.session_for(&names).await?;
    let found: BTreeMap<&Key, Value> = futures::stream::iter(keys)
        .map(async |key| anyhow::Ok((key, look(&session, ledger, key).await?)))
        .buffer_unordered(CONCURRENCY)
        .try_collect()
        .await?;
    for (key, allowed) in ledger.keys() {
        let found = &found[key];
        if !allowed.contains(found) {
            problems.add(
                Invariant::Acknowledged,
                format!("{key:?} is {found:?} instead of {allowed:?}"),
            );
        }
    }
    for repository in repositories {
        check_list(&session, repository, &found, problems).await?;
    }
    check_referrers(&session, ledger, &found, problems).await
}

fn repository(key: &Key) -> &str {
    match key {
        Key::Blob(repository, _) | Key::Manifest(repository, _) | Key::Tag(repository, _) => repository,
    }
}

/// The digest of the bytes at the key; bytes of another length than were pushed count as others.
async fn look(session: &Session, ledger: &Ledger, key: &Key) -> Result<Value> {
    let (path, algorithm) = match key {
        Key::Blob(repository, digest) => (format!("/v2/{repository}/blobs/{digest}"), digest.algorithm()),
        Key::Manifest(repository, digest) => {
            (format!("/v2/{repository}/manifests/{digest}"), digest.algorithm())
        }
        Key::Tag(repository, tag) => {
            let algorithm = roadstead_types::DigestAlgorithm::Sha256;
            (format!("/v2/{repository}/manifests/{tag}"), algorithm)
        }
    };
    let reply = session.get(&path).await?;
    if reply.status == 404 {
        return Ok(None);
    }
    let body = reply.expect(200)?.body;
    let digest = Digest::of(algorithm, &body);
    let size = ledger.size(&digest);
    ensure!(
        size.is_none_or(|size| size == body.len()),
        "{path}: two contents of one digest"
    );
    Ok(Some(digest))
}

async fn check_list(
    session: &Session,
    repository: &str,
    found: &BTreeMap<&Key, Value>,
    problems: &mut Problems,
) -> Result<()> {
    let expected: BTreeSet<&str> = found
        .iter()
        .filter_map(|(key, value)| match key {
            Key::Tag(of, tag) if of == repository && value.is_some() => Some(tag.as_str()),
            _ => None,
        })
        .collect();
    let reply = session.get(&format!("/v2/{repository}/tags/list")).await?;
    if reply.status == 404 && expected.is_empty() {
        return Ok(());
    }
    let listed = reply.expect(200)?.json()?;
    let listed: BTreeSet<&str> = listed["tags"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|tag| tag.as_str())
        .collect();
    if listed != expected {
        problems.add(
            Invariant::Acknowledged,
            format!("{repository} lists {listed:?} instead of {expected:?}"),
        );
    }
    Ok(())
}

async fn check_referrers(
    session: &Session,
    ledger: &Ledger,
    found: &BTreeMap<&Key, Value>,
    problems: &mut Problems,
) -> Result<()> {
    let mut expected: BTreeMap<(&str, &Digest), BTreeSet<&str>> = BTreeMap::new();
    for (repository, referrer, subject) in ledger.subjects() {
        let list = expected.entry((repository, subject)).or_default();
        let key = Key::Manifest(repository.to_owned(), referrer.clone());
        if found.get(&key).is_some_and(Option::is_some) {
            list.insert(referrer.as_str());
        }
    }
    for ((repository, subject), expected) in expected {
        let path = format!("/v2/{repository}/referrers/{subject}");
        let reply = session.get(&path).await?;
        if reply.status == 404 && expected.is_empty() {
            continue;
        }
        let index = reply.expect(200)?.json()?;
        let listed: BTreeSet<&str> = index["manifests"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|referrer| referrer["digest"].as_str())
            .collect();
        if listed != expected {
            problems.add(
                Invariant::Acknowledged,
                format!("{path} lists {listed:?} instead of {expected:?}"),
            );
        }
    }
    Ok(())
}
