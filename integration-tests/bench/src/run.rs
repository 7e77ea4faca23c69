//! A whole run: peers up, rounds, report.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Result, ensure};

use crate::cases::Case;
use crate::content::Content;
use crate::figures::{Figures, Run};
use crate::machine::Machine;
use crate::measure::{Meter, calm, memory};
use crate::peer::{Peer, Running};
use crate::plan::{Options, Plan};
use crate::proc::Memory;
use crate::report::{PeerReport, Report, Row};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything that was asked for has a figure.
    Complete,
    /// A peer was not there.
    Skipped,
    /// A case or a peer failed.
    Failed,
}

/// The runs of one case against one peer, or why there are none.
type Runs = Result<Vec<Run>, String>;

/// Measures and prints.
///
/// # Errors
/// When nothing can be measured at all.
pub async fn run(options: &Options) -> Result<Outcome> {
    let plan = Plan::new(options);
    let progress = Progress::begin();
    let content = Content::new(plan.sizes)?;
    let machine = Machine::look(&plan.data, &content)?;
    let (running, mut peers) = bring_up(&plan, &content, &progress).await;
    ensure!(!running.is_empty(), "no peer is up: {}", Report::reasons(&peers));

    let mut meter = Meter::new(&content, plan.run);
    let mut results = BTreeMap::new();
    for case in &plan.cases {
        progress.say(&case.title(&plan.sizes));
        for round in 0..plan.repeats {
            go_round(*case, round, &running, &mut meter, &mut results).await;
        }
    }
    progress.say("memory");
    for peer in &running {
        let report = peers.iter_mut().find(|report| report.peer == peer.peer);
        if let (Some(report), Ok(after)) = (report, memory(peer).await) {
            report.loaded = Some(after);
        }
    }
    progress.say("cleaning up");
    running.into_iter().for_each(Running::stop);
    progress.say("done");

    let rows = rows(&plan, results);
    let report = Report { machine, peers, rows };
    println!("{report}");
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_vec_pretty(&report)?)?;
    }
    Ok(report.outcome())
}

/// Says on standard error what is being done, and since when; the table goes to standard output.
#[derive(Debug)]
struct Progress(Instant);

impl Progress {
    fn begin() -> Self {
        Self(Instant::now())
    }

    fn say(&self, what: &str) {
        eprintln!("{:>4} s  {what}", self.0.elapsed().as_secs());
    }
}

/// Starts and fills every peer that is there.
async fn bring_up(plan: &Plan, content: &Content, progress: &Progress) -> (Vec<Running>, Vec<PeerReport>) {
    let (mut running, mut reports) = (Vec::new(), Vec::new());
    for peer in &plan.peers {
        let version = match peer.version(plan) {
            Ok(version) => version,
            Err(error) => {
                reports.push(PeerReport::skipped(*peer, &error));
                continue;
            }
        };
        progress.say(&format!("starting and filling {}", peer.title()));
        match Box::pin(start(*peer, plan, content)).await {
            Ok((up, idle)) => {
                running.push(up);
                reports.push(PeerReport::up(*peer, version, idle));
            }
            Err(error) => reports.push(PeerReport::failed(*peer, version, &error)),
        }
    }
    (running, reports)
}

async fn start(peer: Peer, plan: &Plan, content: &Content) -> Result<(Running, Memory)> {
    let running = peer.start(plan).await?;
    let idle = memory(&running).await?;
    running.fill(plan, content).await?;
    calm(&running).await?;
    Ok((running, idle))
}

/// One run of a case against each peer. Each round begins with another one, so that none is always the first.
async fn go_round(
    case: Case,
    round: u32,
    running: &[Running],
    meter: &mut Meter<'_>,
    results: &mut BTreeMap<(Case, Peer), Runs>,
) {
    let able: Vec<&Running> = running
        .iter()
        .filter(|peer| peer.peer.lacks(case).is_none())
        .collect();
    for turn in 0..able.len() {
        let peer = able[(turn + round as usize) % able.len()];
        let runs = results.entry((case, peer.peer)).or_insert_with(|| Ok(Vec::new()));
        let Ok(done) = runs else { continue };
        match meter.measure(case, peer).await {
            Ok(run) => done.push(run),
            Err(error) => *runs = Err(format!("{error:#}")),
        }
    }
}

/// A row for every case and peer that was asked for, in their order.
fn rows(plan: &Plan, mut results: BTreeMap<(Case, Peer), Runs>) -> Vec<Row> {
    let pairs = plan
        .cases
        .iter()
        .flat_map(|case| plan.peers.iter().map(move |peer| (*case, *peer)));
    pairs
        .map(|(case, peer)| {
            let (figures, error) = match results.remove(&(case, peer)) {
                Some(Ok(runs)) => (Figures::of(runs), None),
                Some(Err(error)) => (None, Some(error)),
                None => (None, None),
            };
            let lacks = peer.lacks(case);
            Row {
                case,
                title: case.title(&plan.sizes),
                peer,
                figures,
                error,
                lacks,
            }
        })
        .collect()
}
