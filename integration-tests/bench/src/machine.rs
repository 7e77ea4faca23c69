//! What the figures were taken on, and what the machine could do at best.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use roadstead_types::Clock;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::content::Content;
use crate::figures::float;

/// How often each limit is tried; the best counts.
const TRIES: usize = 5;

/// The machine, and where on it the data is.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) date: String,
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    /// How many processes wanted to run in the last minute: more than a fraction of one, and latencies say little.
    pub(crate) load: String,
    pub(crate) data: String,
    pub(crate) filesystem: String,
    /// Bytes a second that one file can be written with and be on disk, a large blob at a time.
    pub(crate) durable_write: f64,
    /// Bytes a second that one core can hash with the sha2 crate.
    pub(crate) sha256: f64,
}

impl Machine {
    pub(crate) fn look(data: &Path, content: &Content) -> Result<Self> {
        let data = data
            .canonicalize()
            .with_context(|| format!("{} is no directory", data.display()))?;
        Ok(Self {
            date: OffsetDateTime::from(Clock::system().now())
                .format(format_description!("[year]-[month]-[day] [hour]:[minute] UTC"))?,
            processor: processor(&read("/proc/cpuinfo")?),
            cores: std::thread::available_parallelism()?.get(),
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            load: read("/proc/loadavg")?
                .split(' ')
                .next()
                .unwrap_or_default()
                .to_owned(),
            filesystem: filesystem(&read("/proc/mounts")?, &data),
            durable_write: best(content, ClockId::Monotonic, || write_durably(&data, content))?,
            // By the processor's time, so that it is right on a busy machine as well.
            sha256: best(content, ClockId::ThreadCPUTime, || {
                std::hint::black_box(Sha256::digest(&content.large));
                Ok(())
            })?,
            data: data.display().to_string(),
        })
    }
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("read {path}"))
}

fn processor(cpuinfo: &str) -> String {
    let line = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
    line.map_or("unknown", |line| line.trim_start_matches([' ', '\t', ':']))
        .to_owned()
}

/// The type of the filesystem that holds a path: that of the longest mount point above it, and of those the last.
fn filesystem(mounts: &str, path: &Path) -> String {
    let mounted = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let (_, point, kind) = (fields.next()?, fields.next()?, fields.next()?);
        path.starts_with(point).then_some((point.len(), kind))
    });
    mounted
        .max_by_key(|(length, _)| *length)
        .map_or("unknown", |(_, kind)| kind)
        .to_owned()
}

/// Bytes a second of the quickest try, on that clock.
fn best(content: &Content, clock: ClockId, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let now = || Duration::try_from(clock_gettime(clock)).context("a clock before its beginning");
    let mut best: f64 = 0.0;
    for _ in 0..TRIES {
        let start = now()?;
        work()?;
        let seconds = now()?.saturating_sub(start).as_secs_f64();
        best = best.max(float(content.large.len() as u64) / seconds);
    }
    Ok(best)
}

fn write_durably(directory: &Path, content: &Content) -> Result<()> {
    let mut file = tempfile::tempfile_in(directory).context("a file in the data directory")?;
    file.write_all(&content.large)?;
    file.sync_all().context("fsync")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_mount_point_counts() {
        let mounts = "/dev/vda / ext4 rw 0 0\ntmpfs /dev/shm tmpfs rw 0 0\nother /dev/shmother xfs rw 0 0\n";
        assert_eq!(filesystem(mounts, Path::new("/var/lib")), "ext4");
        assert_eq!(filesystem(mounts, Path::new("/dev/shm/x")), "tmpfs");
    }

    #[test]
    fn a_processor_has_its_name() {
        assert_eq!(
            processor("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n"),
            "Some CPU @ 2 GHz"
        );
    }
}
