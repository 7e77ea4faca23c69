//! The key that metadata and blobs seal what they exchange under.

use std::path::Path;

use anyhow::Context as _;
use roadstead_rpc::SealKey;
use roadstead_runtime::certificates::{discard_unfinished, write_private};

/// Reads `<data_dir>/seal.key`, or makes it at the first start. It outlives restarts because upload sessions carry
/// state sealed under it.
pub(crate) fn open(data_dir: &Path) -> anyhow::Result<SealKey> {
    let file = data_dir.join("seal.key");
    discard_unfinished(&file)?;
    if !file.exists()
        && let Err(error) = write_private(&file, &SealKey::generate().to_base64())
        // Another process may have been first; what it wrote counts.
        && !file.exists()
    {
        return Err(error);
    }
    SealKey::from_file(&file).with_context(|| format!("reading {}", file.display()))
}
