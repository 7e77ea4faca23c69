//! Starts: the first one, killed at every step, and one on a store that is full.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use roadstead_faults::campaign::SETTINGS;
use roadstead_faults::installation::{Death, Installation, Program, Started};
use roadstead_faults::trace::Trace;
use roadstead_faults::{points, scale};
use roadstead_integration_tests::image::Image;
use roadstead_integration_tests::{Mode, in_both_modes};
use roadstead_types::Digest;

in_both_modes!(
    a_first_start_is_killed_at_every_step_and_the_second_works,
    a_start_does_not_look_at_the_store,
);

/// Keys are three and directories are three, so that no step is passed more often. A normal run is content with the
/// first time.
const SOAK_PASSES: u32 = 3;

const BLOBS: usize = 20_000;
const SOAK_BLOBS: usize = 100_000;

/// The promise.
const START_LIMIT: Duration = Duration::from_secs(1);
/// Other work on the machine may make one start slow; a walk makes all slow.
const ATTEMPTS: usize = 5;

async fn a_first_start_is_killed_at_every_step_and_the_second_works(mode: Mode) -> Result<()> {
    let passes = if is_soak() { SOAK_PASSES } else { 1 };
    let mut deaths = 0;
    for point in points::all()? {
        let Some(program) = points::program(mode, &point) else {
            continue;
        };
        if !points::is_of_first_start(&point) && !point.contains("::start::") {
            continue;
        }
        for pass in 1..=passes {
            let death = Death {
                point: point.clone(),
                pass,
            };
            let died = first_start(mode, program, &death).await;
            if !died.with_context(|| format!("{mode:?}, {death:?}"))? {
                ensure!(pass > 1, "{point} is not passed at a first start");
                break;
            }
            deaths += 1;
        }
    }
    // As many in split mode: a key of auth's, the directories and the databases.
    ensure!(deaths >= 10, "only {deaths} kills");
    Ok(())
}

/// Starts on an empty directory and dies; then everything must start and work. False if it did not die.
async fn first_start(mode: Mode, program: Program, death: &Death) -> Result<bool> {
    let mut installation = Installation::new(mode, &SETTINGS).await?;
    let mut died = false;
    for each in Program::all(mode) {
        let death = (*each == program).then_some(death);
        died |= installation.start(*each, death).await? == Started::Died;
        if died {
            break;
        }
    }
    if !died {
        // Nothing more is shown by it.
        Program::all(mode)
            .iter()
            .try_for_each(|each| installation.kill(*each))?;
        return Ok(false);
    }
    installation.start_all().await?;
    let session = installation
        .developer()
        .await?
        .session_for(&["start/one"])
        .await?;
    let pushed = session
        .push_image("start/one", "latest", &Image::small("first")?)
        .await?;
    ensure!(session.pull_everything("start/one", "latest").await? == pushed);
    installation.stop_all().await?;
    // What was half made is gone or whole.
    let half = walk(&installation.data())?
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "new"))
        .collect::<Vec<_>>();
    ensure!(half.is_empty(), "left behind: {half:?}");
    Ok(true)
}

fn walk(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(walk(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

async fn a_start_does_not_look_at_the_store(mode: Mode) -> Result<()> {
    let blobs = if is_soak() { SOAK_BLOBS } else { BLOBS };
    // No reaper of the tests' haste: it is the start that counts.
    let mut installation = Installation::new(mode, &[]).await?;
    installation.start_all().await?;
    installation.stop_all().await?;
    scale::fill(&installation.data(), blobs)?;

    let mut shortest = Duration::MAX;
    for _ in 0..ATTEMPTS {
        installation.start_all().await?;
        let programs = Program::all(mode).len();
        let starts = installation.starts();
        let slowest = starts[starts.len() - programs..].iter().max().copied();
        shortest = shortest.min(slowest.unwrap_or_default());
        println!("{mode:?} with {blobs} blobs: ready after {slowest:?}");
        if shortest < START_LIMIT {
            break;
        }
        installation.stop_all().await?;
    }
    ensure!(
        shortest < START_LIMIT,
        "ready after {shortest:?} with {blobs} blobs"
    );
    let session = installation
        .developer()
        .await?
        .session_for(&[scale::REPOSITORY])
        .await?;
    for number in [0, blobs / 2, blobs - 1] {
        let content = scale::content(number);
        let path = format!("/v2/{}/blobs/{}", scale::REPOSITORY, Digest::sha256(&content));
        ensure!(session.get(&path).await?.expect(200)?.body == content);
    }
    installation.stop_all().await?;

    let traces = tempfile::tempdir()?;
    installation.trace("%file,getdents64", traces.path());
    installation.start_all().await?;
    let root = installation.data().join("blobs");
    let (objects, uploads) = (root.join("blobs"), root.join("uploads"));
    let mut seen_store = false;
    for program in Program::all(mode) {
        let text = std::fs::read_to_string(traces.path().join(format!("{}.trace", program.name())))?;
        for call in Trace::parse(&text).calls() {
            let shows = |path: &Path| call.arguments.contains(&path.display().to_string());
            seen_store |= shows(&root);
            ensure!(!shows(&objects), "{program:?} looks at objects: {call:?}");
            let lists = call.name == "getdents64" && (shows(&root) || shows(&uploads));
            ensure!(!lists, "{program:?} lists a directory of the store: {call:?}");
        }
    }
    ensure!(seen_store, "the trace does not show the store being opened");
    for program in Program::all(mode) {
        installation.kill(*program)?;
    }
    Ok(())
}

fn is_soak() -> bool {
    std::env::var_os("ROADSTEAD_SOAK").is_some()
}
