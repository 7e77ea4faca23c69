//! nginx, serving the same bytes under the same paths as files.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use roadstead_integration_tests::{ports, programs};
use serde_json::json;

use super::{Peer, Running, distribution::start_program};
use crate::cases::{Shelf, Target};
use crate::content::{Content, repository};
use crate::plan::Plan;

const CONFIGURATION: &str = include_str!("../../config/nginx.conf");

pub(super) fn program() -> Result<PathBuf> {
    programs::theirs("nginx").context("apt-get install nginx")
}

pub(super) async fn start(plan: &Plan) -> Result<Running> {
    let (program, port) = (program()?, ports::free()?);
    start_program(Peer::Nginx, port, CONFIGURATION, plan, |root, configuration| {
        let mut command = Command::new(program);
        command
            .arg("-p")
            .arg(root)
            .args(["-e", "stderr", "-c"])
            .arg(configuration);
        command
    })
    .await
}

pub(super) fn fill(running: &Running, plan: &Plan, content: &Content) -> Result<()> {
    let root = running.data.join("www");
    let file = |target, bytes: &[u8]| {
        let path = content.path(target, "");
        // The query of a tag page is not part of a file's name.
        let path = path.split('?').next().unwrap_or_default();
        write(&root.join(path.trim_start_matches('/')), bytes)
    };
    file(Target::ManifestByTag, &content.manifest)?;
    file(Target::ManifestByDigest, &content.manifest)?;
    file(Target::SmallBlob, &content.small)?;
    file(Target::LargeBlob, &content.large)?;
    for shelf in Shelf::needed(plan, running.peer) {
        let page = json!({ "name": repository(shelf), "tags": content.page(shelf) });
        file(Target::TagPage(shelf), &serde_json::to_vec(&page)?)?;
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(path, bytes).with_context(|| format!("write {}", path.display()))
}
