//! What is on the disk when the client reads 201.

use std::time::Duration;

use anyhow::{Context as _, Result};
use roadstead_faults::trace::{CALLS_OF_A_PUSH, Pushed, Trace, traced};
use roadstead_integration_tests::cluster::Home;
use roadstead_integration_tests::deadline::eventually;
use roadstead_integration_tests::image::{artifact, media, noise};
use roadstead_integration_tests::process::{Process, run};
use roadstead_integration_tests::{Cluster, Credential, Mode, Registry, in_both_modes, ports, programs};
use roadstead_types::Digest;

in_both_modes!(everything_is_durable_before_it_is_acknowledged);

/// A start is much slower when every system call is looked at.
const LIMIT: Duration = Duration::from_mins(2);

const REPOSITORY: &str = "order/one";

async fn everything_is_durable_before_it_is_acknowledged(mode: Mode) -> Result<()> {
    let home = Home::new()?;
    let address = format!("127.0.0.1:{}", ports::free()?);
    let output = home.scratch().join("trace");
    let command = Cluster::setup(mode).command(&home, &address)?;
    let command = traced(&command, CALLS_OF_A_PUSH, &output)?;
    let mut process = Process::start("traced", command, &home.logs())?;
    process
        .until("is ready", LIMIT, async |process| {
            Ok(process.stdout().contains("roadstead ready: ").then_some(()))
        })
        .await?;
    let environment = home.environment();
    let roadstead = programs::ours("roadstead")?;
    run(&roadstead, ["login", &address], &environment, None, LIMIT).await?;
    let token = run(&roadstead, ["auth", "token", &address], &environment, None, LIMIT).await?;
    let registry = Registry::new(
        &format!("http://{address}"),
        Credential::Token(token.trim().to_owned()),
    )?;
    let session = registry.session_for(&[REPOSITORY]).await?;

    // Two blobs, since the first also makes directories.
    for seed in [1, 2] {
        let bytes = noise(seed, 100_000);
        let digest = Digest::sha256(&bytes);
        let location = session.open_upload(REPOSITORY).await?;
        let location = session.append(&location, 0, &bytes[..60_000]).await?;
        let since = lines(&output)?;
        session
            .finish(&location, &digest, &bytes[60_000..])
            .await?
            .expect(201)?;
        let pushed = Pushed {
            since,
            committed: digest.encoded(),
            blob: Some(digest.encoded()),
        };
        check(&output, &pushed).await.context("a blob")?;
    }

    session.push_blob(REPOSITORY, b"{}").await?;
    let mark = "durable-before-acknowledged";
    let manifest = artifact("application/vnd.roadstead.test", None, mark)?;
    let since = lines(&output)?;
    session
        .push_manifest(REPOSITORY, "latest", media::MANIFEST, &manifest)
        .await?;
    let pushed = Pushed {
        since,
        committed: mark,
        blob: None,
    };
    check(&output, &pushed).await.context("a manifest")?;
    process.kill();
    Ok(())
}

fn lines(output: &std::path::Path) -> Result<usize> {
    Ok(std::fs::read_to_string(output)?.lines().count())
}

/// The client may read the answer before `strace` has written of it.
async fn check(output: &std::path::Path, pushed: &Pushed<'_>) -> Result<()> {
    let trace = eventually("the answer is in the trace", LIMIT, async || {
        let trace = Trace::parse(&std::fs::read_to_string(output)?);
        Ok(trace.is_answered(pushed.since).then_some(trace))
    })
    .await?;
    trace.check_push(pushed)
}
