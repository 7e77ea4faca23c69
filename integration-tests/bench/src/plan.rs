//! The command line, and what it comes to.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum as _};

use crate::cases::Case;
use crate::peer::Peer;

/// Measures Roadstead, other registries and nginx side by side on this machine.
///
/// Exit status: 0 when everything was measured, 1 when a case or a peer failed, 3 when a peer was not there.
#[derive(Clone, Debug, Parser)]
#[command(name = "roadstead-bench", version)]
pub struct Options {
    /// A look instead of a measurement: short runs, fewer tags
    #[arg(long)]
    pub quick: bool,
    /// Only these cases
    #[arg(long, value_enum, value_delimiter = ',', value_name = "CASE,...")]
    pub only: Vec<Case>,
    /// Only these peers
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PEER,...")]
    pub peers: Vec<Peer>,
    /// Where every peer keeps its data: decides whether a disk or memory is measured [default: the temporary directory]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Also write the figures to this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// The program of distribution v3 [default: `registry`, on the PATH or among the tools of integration-tests/run]
    #[arg(long, value_name = "FILE", env = "ROADSTEAD_BENCH_DISTRIBUTION")]
    pub distribution: Option<PathBuf>,
    /// How long each run lasts [default: 2, quick: 0.6]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub seconds: Option<f64>,
    /// How often each run is repeated, in turn with the other peers [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub repeats: Option<u32>,
    /// Bytes of the large blob [default: 104857600]
    #[arg(long, value_name = "BYTES")]
    pub large: Option<usize>,
    /// Tags of the smaller repository [default: 10000]
    #[arg(long, value_name = "N")]
    pub few_tags: Option<usize>,
    /// Tags of the larger repository [default: 1000000, quick: 100000]
    #[arg(long, value_name = "N")]
    pub many_tags: Option<usize>,
    /// Identities of the larger permissions, each with ten bindings [default: 100000, quick: 10000]
    #[arg(long, value_name = "N")]
    pub identities: Option<usize>,
}

/// Shorter runs would be lost between two ticks of the kernel's clock, longer ones would only fill disks.
fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if (0.1..=60.0).contains(&seconds) {
        Ok(seconds)
    } else {
        Err("must be from 0.1 to 60".to_owned())
    }
}

/// How large everything is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) large_bytes: usize,
    pub(crate) few_tags: usize,
    pub(crate) many_tags: usize,
    pub(crate) identities: usize,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) cases: Vec<Case>,
    pub(crate) peers: Vec<Peer>,
    pub(crate) sizes: Sizes,
    pub(crate) run: Duration,
    pub(crate) repeats: u32,
    pub(crate) data: PathBuf,
    pub(crate) distribution: Option<PathBuf>,
}

/// A tag page holds a hundred, and its middle must be a whole page away from the end.
const FEWEST_TAGS: usize = 200;

impl Plan {
    pub(crate) fn new(options: &Options) -> Self {
        let pick = |full, quick| if options.quick { quick } else { full };
        Self {
            cases: all_or(&options.only, Case::value_variants()),
            peers: all_or(&options.peers, Peer::value_variants()),
            sizes: Sizes {
                large_bytes: options.large.unwrap_or(100 << 20).max(1),
                few_tags: options.few_tags.unwrap_or(10_000).max(FEWEST_TAGS),
                many_tags: options
                    .many_tags
                    .unwrap_or(pick(1_000_000, 100_000))
                    .max(FEWEST_TAGS),
                identities: options.identities.unwrap_or(pick(100_000, 10_000)).max(1),
            },
            run: Duration::from_secs_f64(options.seconds.unwrap_or(if options.quick { 0.6 } else { 2.0 })),
            repeats: options.repeats.unwrap_or(3),
            data: options.data.clone().unwrap_or_else(std::env::temp_dir),
            distribution: options.distribution.clone(),
        }
    }

    pub(crate) fn has(&self, case: Case) -> bool {
        self.cases.contains(&case)
    }
}

/// What was asked for, in the table's order; nothing means everything.
fn all_or<T: Copy + PartialEq>(asked: &[T], all: &[T]) -> Vec<T> {
    all.iter()
        .copied()
        .filter(|one| asked.is_empty() || asked.contains(one))
        .collect()
}
