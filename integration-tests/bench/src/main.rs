//! The `roadstead-bench` program; see the library of this package.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser as _;
use roadstead_bench::{Options, Outcome, run};
use tokio::signal::unix::{SignalKind, signal};

// One thread: what the client takes, the servers lack.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::parse();
    match until_interrupted(&options).await {
        Ok(Outcome::Complete) => ExitCode::SUCCESS,
        Ok(Outcome::Skipped) => ExitCode::from(3),
        Ok(Outcome::Failed) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("roadstead-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Peers run in process groups of their own: without this, Ctrl-C would leave them behind.
async fn until_interrupted(options: &Options) -> Result<Outcome> {
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        outcome = Box::pin(run(options)) => outcome,
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        _ = terminated.recv() => bail!("terminated"),
    }
}
