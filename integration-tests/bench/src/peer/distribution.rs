//! The registry of the distribution project, as Debian ships it (2.8) and as it is now (3).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use roadstead_integration_tests::process::Process;
use roadstead_integration_tests::{ports, programs};

use super::{Host, Peer, Purpose, Running};
use crate::api::Api;
use crate::cases::Shelf;
use crate::content::{Content, IMAGE, TAG, repository, tag};
use crate::plan::Plan;
use crate::proc::Family;

pub(super) const DEBIAN_CONFIGURATION: &str = include_str!("../../config/docker-registry.yml");
pub(super) const V3_CONFIGURATION: &str = include_str!("../../config/distribution-v3.yml");

/// The newest release, from the Go module proxy.
pub(super) const HOW_TO_GET_V3: &str = "GOBIN=~/.cache/roadstead/tools/bin go install github.com/distribution/distribution/v3/cmd/registry@v3.1.2";

const START_LIMIT: Duration = Duration::from_secs(20);

pub(super) fn debian() -> Result<PathBuf> {
    programs::theirs("docker-registry").context("apt-get install docker-registry")
}

pub(super) fn v3(plan: &Plan) -> Result<PathBuf> {
    if let Some(program) = &plan.distribution {
        return Ok(program.clone());
    }
    programs::theirs("registry").context(HOW_TO_GET_V3)
}

pub(super) async fn start(peer: Peer, program: &Path, configuration: &str, plan: &Plan) -> Result<Running> {
    let port = ports::free()?;
    start_program(peer, port, configuration, plan, |_, configuration| {
        let mut command = Command::new(program);
        command.arg("serve").arg(configuration);
        // As in the project's container image: without it, version 3 exports traces to a collector that is not there.
        command.env("OTEL_TRACES_EXPORTER", "none");
        command
    })
    .await
}

/// Starts a program on `configuration`, in which `{port}` and `{root}` are filled in, and waits until it accepts connections.
pub(super) async fn start_program(
    peer: Peer,
    port: u16,
    configuration: &str,
    plan: &Plan,
    command: impl FnOnce(&Path, &Path) -> Command,
) -> Result<Running> {
    let directory = tempfile::Builder::new()
        .prefix("roadstead-bench-")
        .tempdir_in(&plan.data)?;
    let root = directory.path().to_owned();
    let file = root.join("configuration");
    let text = configuration
        .replace("{port}", &port.to_string())
        .replace("{root}", &root.display().to_string());
    std::fs::write(&file, text).context("write a configuration")?;
    let mut process = Process::start(peer.title(), command(&root, &file), &root)?;
    process
        .until("accepts connections", START_LIMIT, async |_| {
            Ok(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok())
        })
        .await?;
    Ok(Running {
        peer,
        port,
        family: Family::of(process.id().context("no process")?),
        data: root,
        host: Some(Host::Program {
            process,
            _directory: directory,
        }),
    })
}

pub(super) async fn fill(running: &Running, plan: &Plan, content: &Content) -> Result<()> {
    let api = Api::new(running.port, running.authorization(Purpose::Fill).await?)?;
    api.push_image(IMAGE, TAG, content).await?;
    for shelf in Shelf::needed(plan, running.peer) {
        api.mount_image(repository(shelf), TAG, content).await?;
        lay_out_tags(&running.data, shelf, content)?;
    }
    Ok(())
}

/// Makes tags as the registry lays them out: a PUT for each would take minutes.
fn lay_out_tags(root: &Path, shelf: Shelf, content: &Content) -> Result<()> {
    let digest = &content.manifest_digest;
    let tags = root
        .join("docker/registry/v2/repositories")
        .join(repository(shelf))
        .join("_manifests/tags");
    for number in 0..content.tags(shelf) {
        let current = tags.join(tag(number)).join("current");
        let index = tags.join(tag(number)).join("index/sha256").join(digest.encoded());
        for directory in [current, index] {
            std::fs::create_dir_all(&directory)?;
            std::fs::write(directory.join("link"), digest.as_str())?;
        }
    }
    Ok(())
}
