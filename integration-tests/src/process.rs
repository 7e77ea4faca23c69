//! A program under test: started with its output in files, watched, and gone at the end.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::deadline::eventually;

/// Every process that a test starts, and whatever those start, carries this variable, so that none can hide.
const MARK: &str = "ROADSTEAD_TEST_PROCESS";

/// How much of each log a failed test shows.
const SHOWN_LOG_BYTES: usize = 6_000;

/// A running program. Dropping it without [`Process::terminate`] means that the test failed: its logs are shown and it is
/// killed, with everything that it started.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Option<Child>,
    mark: String,
    stdout: PathBuf,
    stderr: PathBuf,
    more_logs: Option<PathBuf>,
}

impl Process {
    /// Starts `command` with standard output and error in `<logs>/<name>.stdout` and `.stderr`.
    pub fn start(name: &str, mut command: Command, logs: &Path) -> Result<Self> {
        let stdout = logs.join(format!("{name}.stdout"));
        let stderr = logs.join(format!("{name}.stderr"));
        let mark = uuid::Uuid::new_v4().to_string();
        command
            .env(MARK, &mark)
            .stdin(Stdio::null())
            .stdout(File::create(&stdout).context("create a log")?)
            .stderr(File::create(&stderr).context("create a log")?)
            // A group of its own: Ctrl-C at the terminal must reach the test first.
            .process_group(0);
        let child = command.spawn().with_context(|| format!("start {name}"))?;
        Ok(Self {
            name: name.to_owned(),
            child: Some(child),
            mark,
            stdout,
            stderr,
            more_logs: None,
        })
    }

    /// A failed test also shows the logs that the program itself keeps in `directory`.
    #[must_use]
    pub fn with_logs(mut self, directory: PathBuf) -> Self {
        self.more_logs = Some(directory);
        self
    }

    /// Its process id, while it has not ended.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// What the program has written to standard output so far.
    pub fn stdout(&self) -> String {
        read(&self.stdout)
    }

    /// What the program has written to standard error so far.
    pub fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// Our programs among the live processes that this one is or started, in the order of their ids.
    pub fn programs(&self) -> Vec<Program> {
        let mut programs: Vec<Program> = marked(&self.mark).into_iter().filter_map(Program::of).collect();
        programs.sort();
        programs
    }

    /// Waits until `probe` gives a value; a program that exits meanwhile fails at once.
    pub async fn until<T>(
        &mut self,
        what: &str,
        limit: Duration,
        mut probe: impl AsyncFnMut(&Self) -> Result<Option<T>>,
    ) -> Result<T> {
        let what = format!("{}: {what}", self.name);
        eventually(&what, limit, async || {
            if let Some(value) = probe(self).await? {
                return Ok(Some(value));
            }
            if let Some(status) = self.exited()? {
                anyhow::bail!("{what}, but it exited with {status}");
            }
            Ok(None)
        })
        .await
    }

    /// Waits for the program to end by itself.
    pub async fn wait(mut self, limit: Duration) -> Result<(ExitStatus, String, String)> {
        let what = format!("{} ends", self.name);
        let status = eventually(&what, limit, async || self.exited()).await?;
        self.child = None;
        Ok((status, self.stdout(), self.stderr()))
    }

    /// Sends SIGTERM and requires a successful exit within `limit`, with nothing left behind.
    pub async fn terminate(mut self, limit: Duration) -> Result<()> {
        let child = self.child.as_ref().context("already ended")?;
        let pid = i32::try_from(child.id())
            .ok()
            .and_then(Pid::from_raw)
            .context("a process id")?;
        kill_process(pid, Signal::TERM).context("send SIGTERM")?;
        let what = format!("{} exits after SIGTERM", self.name);
        let status = eventually(&what, limit, async || self.exited()).await?;
        ensure!(
            status.success(),
            "{} exited with {status} after SIGTERM",
            self.name
        );
        let orphans = marked(&self.mark);
        ensure!(
            orphans.is_empty(),
            "{} left processes behind: {orphans:?}",
            self.name
        );
        self.child = None;
        Ok(())
    }

    /// Kills the program and everything it started, as a power cut would.
    pub fn kill(mut self) {
        self.kill_all();
        self.child = None;
    }

    /// How it ended, if it did.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        self.child
            .as_mut()
            .context("already ended")?
            .try_wait()
            .context("look at the process")
    }

    fn kill_all(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.kill());
            drop(child.wait());
        }
        for pid in marked(&self.mark).into_iter().filter_map(Pid::from_raw) {
            // It may have ended since the look at /proc.
            let _gone_already = kill_process(pid, Signal::KILL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.is_none() {
            return;
        }
        self.kill_all();
        let more = self
            .more_logs
            .iter()
            .filter_map(|directory| std::fs::read_dir(directory).ok())
            .flatten();
        let more = more.filter_map(Result::ok).map(|entry| entry.path());
        for path in [self.stdout.clone(), self.stderr.clone()].into_iter().chain(more) {
            let log = read(&path);
            let tail = log.len().saturating_sub(SHOWN_LOG_BYTES);
            let tail = (tail..log.len())
                .find(|at| log.is_char_boundary(*at))
                .unwrap_or(log.len());
            eprintln!(
                "--- {} (at most the last {SHOWN_LOG_BYTES} bytes)\n{}",
                path.display(),
                &log[tail..]
            );
        }
    }
}

fn read(path: &Path) -> String {
    std::fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

/// The live processes whose environment carries `mark`.
fn marked(mark: &str) -> Vec<i32> {
    let wanted = format!("{MARK}={mark}");
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok()))
        .filter(|pid: &i32| {
            std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| {
                environment
                    .split(|byte| *byte == 0)
                    .any(|pair| pair == wanted.as_bytes())
            })
        })
        .collect()
}

/// One of our programs as the kernel knows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Program {
    /// The process id.
    pub pid: i32,
    /// The first letters of its name, as many as the kernel keeps.
    pub name: String,
}

impl Program {
    fn of(pid: i32) -> Option<Self> {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        let name = name.trim_end().to_owned();
        name.starts_with("roadstead").then_some(Self { pid, name })
    }

    /// A figure in KiB of `/proc/<pid>/status`, for example `VmRSS`, or `VmHWM`, which is the most that that ever was.
    pub fn memory_kib(&self, field: &str) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid))
            .with_context(|| format!("{} ended", self.name))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let figure = line.and_then(|line| line.trim().strip_suffix("kB"));
        figure
            .with_context(|| format!("no {field} of {}", self.name))?
            .trim()
            .parse()
            .with_context(|| format!("{field} of {}", self.name))
    }
}

/// Runs a short-lived program to its end and gives its standard output.
///
/// # Errors
/// When it fails or outlives `limit`; the error holds its whole output.
pub async fn run<A: AsRef<OsStr>>(
    program: &Path,
    arguments: impl IntoIterator<Item = A>,
    environment: &[(String, String)],
    input: Option<&[u8]>,
    limit: Duration,
) -> Result<String> {
    use tokio::io::AsyncWriteExt as _;

    let mut command = tokio::process::Command::new(program);
    command.args(arguments);
    let shown = shown(command.as_std());
    command
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().with_context(|| format!("start {shown}"))?;
    if let (Some(input), Some(mut pipe)) = (input, child.stdin.take()) {
        pipe.write_all(input)
            .await
            .with_context(|| format!("write to {shown}"))?;
    }
    let output = tokio::time::timeout(limit, child.wait_with_output())
        .await
        .with_context(|| format!("{shown} ran longer than {limit:?}"))?
        .with_context(|| format!("run {shown}"))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "{shown}: {}\n{stdout}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(stdout)
}

/// A command as a user would type it, without what a sandbox puts in front.
fn shown(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .collect();
    let typed = words
        .iter()
        .rposition(|word| *word == "--")
        .map_or(0, |sandbox_end| sandbox_end + 1);
    words[typed..]
        .iter()
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
