//! What the kernel says of a peer's processes: the time they ran, and the memory they hold.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;

/// The processes of a peer: everything that descends from the one that was started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Family {
    root: u32,
    /// Whether the first process is a shell that only starts the others.
    launched: bool,
}

/// Memory, summed over processes. Pages that two of them share count twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Memory {
    /// What is resident now (`VmRSS`), in bytes.
    pub(crate) resident: u64,
    /// The most that ever was (`VmHWM`), in bytes.
    pub(crate) peak: u64,
}

impl Family {
    pub(crate) fn of(root: u32) -> Self {
        Self {
            root,
            launched: false,
        }
    }

    /// Without the script at its head.
    pub(crate) fn launched_by(root: u32) -> Self {
        Self { root, launched: true }
    }

    /// Time on a processor so far, of all threads, and of children that ended.
    pub(crate) fn cpu(self) -> Result<Duration> {
        let ticks: u64 = self.stats()?.iter().map(|stat| stat.ticks).sum();
        Ok(Duration::from_secs(ticks) / u32::try_from(rustix::param::clock_ticks_per_second())?)
    }

    pub(crate) fn memory(self) -> Result<Memory> {
        let mut sum = Memory::default();
        for stat in self.stats()? {
            let path = format!("/proc/{}/status", stat.pid);
            let status = std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
            sum.resident += kibibytes(&status, "VmRSS")?;
            sum.peak += kibibytes(&status, "VmHWM")?;
        }
        Ok(sum)
    }

    /// Kills every process of the family, the first one first, so that it can't replace the others.
    pub(crate) fn kill(self) {
        let whole = Self {
            launched: false,
            ..self
        };
        let mut pids: Vec<u32> = whole
            .stats()
            .unwrap_or_default()
            .iter()
            .map(|stat| stat.pid)
            .collect();
        pids.sort_by_key(|pid| *pid != self.root);
        for pid in pids
            .into_iter()
            .filter_map(|pid| Pid::from_raw(pid.try_into().ok()?))
        {
            // It may have ended since the look at /proc.
            let _gone_already = kill_process(pid, Signal::KILL);
        }
    }

    fn stats(self) -> Result<Vec<Stat>> {
        let mut all = BTreeMap::new();
        for entry in std::fs::read_dir("/proc").context("read /proc")? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            // Other processes come and go.
            if let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/stat")) {
                all.insert(pid, Stat::parse(&text)?);
            }
        }
        all.get(&self.root).context("the process has ended")?;
        let mut family: Vec<Stat> = all
            .values()
            .filter(|stat| self.includes(&all, stat.pid))
            .copied()
            .collect();
        if self.launched {
            family.retain(|stat| stat.pid != self.root);
        }
        Ok(family)
    }

    fn includes(self, all: &BTreeMap<u32, Stat>, pid: u32) -> bool {
        let mut at = Some(pid);
        while let Some(pid) = at {
            if pid == self.root {
                return true;
            }
            at = all.get(&pid).map(|stat| stat.parent);
        }
        false
    }
}

/// What is used of `/proc/<pid>/stat` (`proc_pid_stat(5)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    pid: u32,
    parent: u32,
    /// utime, stime, cutime and cstime together.
    ticks: u64,
}

impl Stat {
    fn parse(text: &str) -> Result<Self> {
        // The second field is a name in parentheses that may itself hold spaces and parentheses.
        let (pid, rest) = text.split_once(' ').context("stat without a pid")?;
        let (_, rest) = rest.rsplit_once(") ").context("stat without a name")?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // proc_pid_stat(5) counts from 1, and the first that is left is its third.
        let field = |number: usize| fields.get(number - 3).context("stat is too short");
        let mut ticks = 0;
        for number in 14..=17 {
            ticks += field(number)?.parse::<u64>().context("a time in stat")?;
        }
        Ok(Self {
            pid: pid.parse().context("a pid in stat")?,
            parent: field(4)?.parse().context("a parent in stat")?,
            ticks,
        })
    }
}

/// The value of a line `<name>: <number> kB`, in bytes.
fn kibibytes(status: &str, name: &str) -> Result<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .with_context(|| format!("status has no {name}"))?;
    let number = line.trim().trim_end_matches("kB").trim();
    Ok(number
        .parse::<u64>()
        .with_context(|| format!("{name} in status"))?
        * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_past_an_odd_name() {
        let text = "42 (a ) (b) c) S 7 42 42 0 -1 4194560 100 0 0 0 11 22 33 44 20 0 5 0 100 1000 200";
        let expected = Stat {
            pid: 42,
            parent: 7,
            ticks: 11 + 22 + 33 + 44,
        };
        assert_eq!(Stat::parse(text).unwrap(), expected);
        assert!(Stat::parse("42 (cut) S 7 42").is_err());
    }

    #[test]
    fn status_is_in_kibibytes() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(kibibytes(status, "VmRSS").unwrap(), 1 << 20);
        assert_eq!(kibibytes(status, "VmHWM").unwrap(), 2 << 20);
        assert!(kibibytes(status, "VmSwap").is_err());
    }

    #[test]
    fn a_family_has_its_children_and_not_its_launcher() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let (me, child_id) = (std::process::id(), child.id());
        let pids = |family: Family| {
            family
                .stats()
                .unwrap()
                .iter()
                .map(|stat| stat.pid)
                .collect::<Vec<_>>()
        };
        assert!(pids(Family::of(me)).contains(&me));
        assert!(pids(Family::of(me)).contains(&child_id));
        assert!(!pids(Family::launched_by(me)).contains(&me));
        assert!(pids(Family::launched_by(me)).contains(&child_id));
        assert!(Family::of(me).memory().unwrap().resident > 0);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(Family::of(child_id).cpu().is_err());
    }
}
