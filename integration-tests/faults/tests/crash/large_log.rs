//! The write-ahead log that a long read let grow, and a death while it is merged.

use std::time::Duration;

use anyhow::{Result, ensure};
use roadstead_faults::campaign::SETTINGS;
use roadstead_faults::checker;
use roadstead_faults::installation::{Death, Installation, Program};
use roadstead_faults::points;
use roadstead_integration_tests::image::{artifact, media};
use roadstead_integration_tests::{Mode, in_both_modes};
use roadstead_types::Digest;

in_both_modes!(a_death_while_the_log_is_merged_loses_nothing);

const REPOSITORY: &str = "log/one";

/// Just under the limit, so that few make the log large.
const MANIFEST: usize = 4_000_000;
const MANIFESTS: usize = 20;
/// From here on the log is merged.
const LOG_LIMIT: u64 = 64 * 1024 * 1024;

async fn a_death_while_the_log_is_merged_loses_nothing(mode: Mode) -> Result<()> {
    for point in points::all()?
        .into_iter()
        .filter(|point| points::is_of_large_log(point))
    {
        let mut installation = Installation::new(mode, &SETTINGS).await?;
        let program = points::program(mode, &point).unwrap_or(Program::AllInOne);
        for each in Program::all(mode) {
            let death = Death {
                point: point.clone(),
                pass: 1,
            };
            installation
                .start(*each, (*each == program).then_some(&death))
                .await?;
        }
        let registry = installation.developer().await?;
        let session = registry.session_for(&[REPOSITORY]).await?;
        session.push_blob(REPOSITORY, b"{}").await?;
        // As long as somebody reads what was before, the log can't begin anew.
        let reader = checker::open(&installation.data(), "metadata")?;
        reader.execute_batch("BEGIN; SELECT count(*) FROM blobs")?;
        let mut acknowledged = Vec::new();
        for number in 0..MANIFESTS {
            let manifest = artifact("application/vnd.roadstead.test", None, &note(number))?;
            let put = session
                .put_manifest(REPOSITORY, "latest", media::MANIFEST, &manifest)
                .await;
            // Silence is the death that is waited for.
            let Ok(reply) = put else { break };
            if reply.status.is_server_error() {
                break;
            }
            reply.expect(201)?;
            acknowledged.push(Digest::sha256(&manifest));
            let log = installation.data().join("metadata/metadata.db-wal");
            if std::fs::metadata(log)?.len() > LOG_LIMIT {
                // Now the merge may succeed, or begin at least.
                reader.execute_batch("COMMIT")?;
                break;
            }
        }
        drop(reader);
        ensure!(
            installation.died(program, Duration::from_secs(20)).await?,
            "{point} is not passed after {} large manifests",
            acknowledged.len()
        );
        installation.start_all().await?;
        for digest in acknowledged {
            let path = format!("/v2/{REPOSITORY}/manifests/{digest}");
            let found = session.get(&path).await?.expect(200)?.body;
            ensure!(Digest::sha256(&found) == digest, "{digest} has other bytes");
        }
        let mut problems = checker::Problems::default();
        checker::check_store(&installation.data(), &mut problems)?;
        ensure!(problems.list().is_empty(), "{point}: {problems:#?}");
        installation.stop_all().await?;
    }
    Ok(())
}

fn note(number: usize) -> String {
    format!("{number} {}", "x".repeat(MANIFEST))
}
