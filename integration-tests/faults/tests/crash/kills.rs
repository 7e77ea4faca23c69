//! Kills under load, in both modes.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use roadstead_faults::campaign::{Campaign, Report};
use roadstead_integration_tests::{Mode, in_both_modes};

in_both_modes!(every_fail_point_is_survived, kills_at_random_are_survived);

/// Kills at random in one mode: in a normal run, and in the long form, where it is so many on each installation.
const KILLS: usize = 15;
const SOAK_KILLS: usize = 1_000;
const SOAK_KILLS_PER_INSTALLATION: usize = 50;

/// The promise, whatever a kill has left.
const START_LIMIT: Duration = Duration::from_secs(1);

async fn every_fail_point_is_survived(mode: Mode) -> Result<()> {
    let seed = seed()?;
    let report = Campaign::at_every_point(mode, seed).await?;
    judge(mode, &report).with_context(|| format!("seed {seed}"))
}

async fn kills_at_random_are_survived(mode: Mode) -> Result<()> {
    let seed = seed()?;
    if std::env::var_os("ROADSTEAD_SOAK").is_none() {
        let report = Campaign::at_random(mode, seed, KILLS).await?;
        return judge(mode, &report).with_context(|| format!("seed {seed}"));
    }
    let wanted = number("ROADSTEAD_FAULTS_KILLS")?.unwrap_or(SOAK_KILLS as u64);
    let mut total = Report::default();
    for round in 0.. {
        if total.kills as u64 >= wanted {
            break;
        }
        let report = Campaign::at_random(mode, seed + round, SOAK_KILLS_PER_INSTALLATION).await?;
        println!("{mode:?}, seed {}: {report}", seed + round);
        total.add(report);
        ensure!(
            total.problems.is_empty(),
            "seed {}: {:#?}",
            seed + round,
            total.problems
        );
    }
    judge(mode, &total)
}

fn judge(mode: Mode, report: &Report) -> Result<()> {
    println!("{mode:?}: {report}");
    ensure!(report.problems.is_empty(), "{:#?}", report.problems);
    ensure!(
        report.acknowledged > report.kills,
        "the clients hardly pushed anything"
    );
    ensure!(
        report.leftovers > 0,
        "kills that leave nothing behind hit nothing"
    );
    ensure!(report.resumed > 0, "no upload went on after a kill");
    // A slow start or two are the machine's; if the store were walked, all would be slow.
    let start = report.median_start();
    ensure!(start < START_LIMIT, "half of the starts took {start:?} and more");
    Ok(())
}

/// Where another series of kills begins; every failure names its own.
fn seed() -> Result<u64> {
    Ok(number("ROADSTEAD_FAULTS_SEED")?.unwrap_or(1))
}

fn number(variable: &str) -> Result<Option<u64>> {
    Ok(std::env::var(variable)
        .ok()
        .map(|text| text.parse())
        .transpose()?)
}
