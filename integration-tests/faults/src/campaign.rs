//! A series of kills under load, and the check after it.

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use roadstead_integration_tests::Mode;

use crate::checker;
use crate::installation::{Death, Installation, Program};
use crate::points;
use crate::workload::{Running, Workload};

/// What the tests run with: everything that waits for time does it in fractions of a second, but for what the checker
/// makes late by itself.
pub const SETTINGS: [(&str, &str); 7] = [
    // Clients on this machine may name their requests, and find the names in the events.
    ("gateway.trusted_proxies", "[\"127.0.0.0/8\"]"),
    ("auth.registry_token_ttl", "\"1h\""),
    ("metadata.reaper_interval", "\"200ms\""),
    ("metadata.outbox_lease", "\"1s\""),
    ("events.drain_interval", "\"50ms\""),
    ("events.prune_interval", "\"500ms\""),
    // Chunks have several checkpoints, so that an interruption falls between two.
    ("blobs.checkpoint_interval", "65536"),
];

/// How long a process may go on before it passes the point where it is to die. The rarest is passed every second.
const REACH_LIMIT: Duration = Duration::from_secs(20);

/// The longest pause before a kill at random.
const RANDOM_LIMIT: Duration = Duration::from_millis(250);

/// How many kills at a place that prepares it a point may need.
const PREPARATIONS: usize = 8;

/// One kill to come.
#[derive(Clone, Debug)]
enum Kill {
    /// At a fail point, at its nth pass.
    At(Program, Death),
    /// When it happens.
    Any(Program),
}

/// After so many kills somebody reads the event log.
const READ_EVERY: usize = 10;

/// Whether a point that is not passed is a failure, or just another moment to kill at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Must,
    May,
}

/// What a campaign did.
#[derive(Clone, Default)]
pub struct Report {
    /// Processes killed.
    pub kills: usize,
    /// Of those, at fail points.
    pub at_points: usize,
    /// Changes that the registry acknowledged, all of them checked.
    pub acknowledged: usize,
    /// Changes of which it was not known whether they happened.
    pub unknown: usize,
    /// Uploads that went on after an interruption and finished.
    pub resumed: usize,
    /// Sessions, files and objects that waited for the reaper at the end.
    pub leftovers: usize,
    /// How long each start of a process took until it was ready.
    pub starts: Vec<Duration>,
    /// What was found wrong.
    pub problems: Vec<checker::Problem>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} kills, {} of them at fail points; {} changes acknowledged, {} unknown; {} uploads resumed; {} leftovers; \
             {} starts, the median {:?}, the longest {:?}; {} problems",
            self.kills,
            self.at_points,
            self.acknowledged,
            self.unknown,
            self.resumed,
            self.leftovers,
            self.starts.len(),
            self.median_start(),
            self.longest_start(),
            self.problems.len()
        )
    }
}

impl Report {
    /// Adds up.
    pub fn add(&mut self, other: Self) {
        self.kills += other.kills;
        self.at_points += other.at_points;
        self.acknowledged += other.acknowledged;
        self.unknown += other.unknown;
        self.resumed += other.resumed;
        self.leftovers += other.leftovers;
        self.starts.extend(other.starts);
        self.problems.extend(other.problems);
    }

    /// The longest start.
    pub fn longest_start(&self) -> Duration {
        self.starts.iter().max().copied().unwrap_or_default()
    }

    /// The start that half of the others took longer than.
    pub fn median_start(&self) -> Duration {
        let mut starts = self.starts.clone();
        starts.sort();
        starts.get(starts.len() / 2).copied().unwrap_or_default()
    }
}

/// An installation under load that is killed again and again.
pub struct Campaign {
    installation: Installation,
    rng: SmallRng,
    armed: Option<(Program, Death)>,
    reach: Reach,
    report: Report,
}

impl Campaign {
    /// Kills at every fail point that is passed under load, once each.
    pub async fn at_every_point(mode: Mode, seed: u64) -> Result<Report> {
        let mut kills = Vec::new();
        for point in points::under_load()? {
            if let Some(program) = points::program(mode, &point) {
                kills.push(Kill::At(program, Death { point, pass: 1 }));
            }
        }
        ensure!(kills.len() > 40, "there are only {} fail points", kills.len());
        Self::run(mode, seed, kills, Reach::Must).await
    }

    /// Kills `count` times: about half at fail points, the others at any time.
    pub async fn at_random(mode: Mode, seed: u64, count: usize) -> Result<Report> {
        let mut rng = SmallRng::seed_from_u64(seed);
        let points = points::under_load()?;
        let mut kills = Vec::new();
        while kills.len() < count {
            let point = points[rng.random_range(0..points.len())].clone();
            let programs = Program::all(mode);
            kills.push(match points::program(mode, &point) {
                Some(program) if rng.random_ratio(1, 2) => {
                    let pass = rng.random_range(1..=points::passes(&point));
                    Kill::At(program, Death { point, pass })
                }
                _ => Kill::Any(programs[rng.random_range(0..programs.len())]),
            });
        }
        Self::run(mode, seed, kills, Reach::May).await
    }

    async fn run(mode: Mode, seed: u64, kills: Vec<Kill>, reach: Reach) -> Result<Report> {
        let report = Self::run_on_new(mode, seed, kills, reach).await;
        report.with_context(|| format!("seed {seed} in {mode:?}"))
    }

    async fn run_on_new(mode: Mode, seed: u64, kills: Vec<Kill>, reach: Reach) -> Result<Report> {
        let mut installation = Installation::new(mode, &SETTINGS).await?;
        installation.start_all().await?;
        let registry = installation.developer().await?;
        let workload = Workload::new(&registry, seed).await?;
        let mut campaign = Self {
            installation,
            rng: SmallRng::seed_from_u64(seed),
            armed: None,
            reach,
            report: Report::default(),
        };
        let running = workload.start();
        let outcome = campaign.kill_all(&kills, &running).await;
        let workload = campaign.come_to_rest(running).await?;
        outcome?;

        let ledger = workload.ledger();
        let installation = &mut campaign.installation;
        let mut problems = checker::check(&registry, &installation.data(), &ledger).await?;
        let report = &mut campaign.report;
        let listed = list_events(installation).await?;
        checker::check_listed_events(&installation.data(), &listed, &mut problems)?;
        report.leftovers = checker::collect(installation, checker::REAP_LIMIT, &mut problems).await?;
        // Nothing that counts went with them.
        checker::check_api(&registry, &ledger, &mut problems).await?;
        checker::check_store(&installation.data(), &mut problems)?;
        report.starts = installation.starts().to_vec();
        report.acknowledged = ledger.acknowledged();
        report.unknown = ledger.unknown();
        report.resumed = workload.resumed();
        report.problems = problems.list().to_vec();
        installation.stop_all().await?;
        Ok(campaign.report)
    }

    async fn kill_all(&mut self, kills: &[Kill], running: &Running) -> Result<()> {
        for (number, kill) in kills.iter().enumerate() {
            let next = kills.get(number + 1);
            match kill {
                Kill::Any(program) => {
                    let pause = self.rng.random_range(Duration::ZERO..RANDOM_LIMIT);
                    tokio::time::sleep(pause).await;
                    self.kill(*program)?;
                    self.start(*program, next).await?;
                }
                Kill::At(program, death) => {
                    self.kill_at(*program, death)
                        .await
                        .with_context(|| format!("kill {number}: {death:?}"))?;
                    self.start(*program, next).await?;
                }
            }
            if number % READ_EVERY == 0 {
                // Whoever reads the log meanwhile may fail, but must not disturb.
                drop(list_events(&self.installation).await);
            }
            if running.is_broken() {
                // The check will say it.
                return Ok(());
            }
        }
        Ok(())
    }

    /// Has the program die at a point. Some points are only passed after a death at another.
    async fn kill_at(&mut self, program: Program, death: &Death) -> Result<()> {
        for _ in 0..PREPARATIONS {
            if self.armed.as_ref() != Some(&(program, death.clone())) {
                if self.installation.is_running(program) {
                    self.kill(program)?;
                }
                self.arm(program, death).await?;
            }
            let preparation = points::preparation(&death.point);
            let limit = match (&self.reach, preparation) {
                (Reach::Must, None) => REACH_LIMIT,
                _ => REACH_LIMIT / 10,
            };
            if !self.installation.is_running(program) || self.installation.died(program, limit).await? {
                self.armed = None;
                self.report.kills += 1;
                self.report.at_points += 1;
                return Ok(());
            }
            if self.reach == Reach::May {
                return self.kill(program);
            }
            let point = preparation.context("the point is not passed")?.to_owned();
            Box::pin(self.kill_at(program, &Death { point, pass: 1 })).await?;
        }
        anyhow::bail!("the point is not passed, whatever died before");
    }

    fn kill(&mut self, program: Program) -> Result<()> {
        self.installation.kill(program)?;
        self.armed = None;
        self.report.kills += 1;
        Ok(())
    }

    /// Starts a program that was killed, and tells it where to die if that is next.
    async fn start(&mut self, program: Program, next: Option<&Kill>) -> Result<()> {
        match next {
            Some(Kill::At(of, death)) if *of == program => self.arm(program, death).await,
            _ => {
                self.installation.start(program, None).await?;
                Ok(())
            }
        }
    }

    async fn arm(&mut self, program: Program, death: &Death) -> Result<()> {
        // One that dies before it is ready has passed its point already.
        self.installation.start(program, Some(death)).await?;
        self.armed = Some((program, death.clone()));
        Ok(())
    }

    /// Starts what is down and lets the clients finish.
    async fn come_to_rest(&mut self, running: Running) -> Result<Workload> {
        if let Some((program, _)) = self.armed.take()
            && self.installation.is_running(program)
        {
            self.installation.kill(program)?;
        }
        self.installation.start_all().await?;
        running.rest().await
    }
}

/// The event log as the user's program prints it.
async fn list_events(installation: &Installation) -> Result<String> {
    let address = installation.address();
    let everything = usize::MAX.to_string();
    let arguments = ["events", "list", "--registry", &address, "--limit", &everything];
    installation
        .command(&[&arguments[..], &["--output", "json"]].concat())
        .await
}
