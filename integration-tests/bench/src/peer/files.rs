//! What is done to peers' directories behind their backs.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result};

/// Removes the files that hold the blobs of these hexadecimal digests: every layout has the digest in the path.
///
/// The peers have no quicker way to forget a blob, or none at all. What they know of it stays, and is not asked for again.
pub(crate) fn discard(directory: &Path, digests: &[String]) -> Result<()> {
    let wanted: BTreeSet<&str> = digests.iter().map(String::as_str).collect();
    let mut queue = vec![directory.to_owned()];
    while let Some(directory) = queue.pop() {
        let entries =
            std::fs::read_dir(&directory).with_context(|| format!("read {}", directory.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                // Tags are many, and hold no bytes.
                if !path.ends_with("_manifests") {
                    queue.push(path);
                }
            } else if names(&path).any(|name| wanted.contains(name)) {
                std::fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
            }
        }
    }
    Ok(())
}

/// The parts of the last two names of a path between dots: `<hex>.<object>`, or `<hex>/data`.
fn names(path: &Path) -> impl Iterator<Item = &str> {
    path.iter()
        .rev()
        .take(2)
        .filter_map(|name| name.to_str())
        .flat_map(|name| name.split('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_blobs_go() {
        let directory = tempfile::tempdir().unwrap();
        let kept = [
            "a/blobs/aa/aa11.object",
            "b/sha256/bb/bb22/data",
            "c/_manifests/aa99/link",
        ];
        let gone = ["a/blobs/aa/aa99.object", "b/sha256/aa/aa99/data"];
        for name in kept.iter().chain(&gone) {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "bytes").unwrap();
        }
        discard(directory.path(), &["aa99".to_owned()]).unwrap();
        assert!(kept.iter().all(|name| directory.path().join(name).exists()));
        assert!(!gone.iter().any(|name| directory.path().join(name).exists()));
    }
}
