//! What is printed, and what is written as JSON.

use std::fmt;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::cases::Case;
use crate::figures::{Figures, ratio};
use crate::machine::Machine;
use crate::peer::Peer;
use crate::proc::Memory;
use crate::run::Outcome;

/// A run's result.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) peers: Vec<PeerReport>,
    pub(crate) rows: Vec<Row>,
}

/// What became of a peer.
#[derive(Debug, Serialize)]
pub(crate) struct PeerReport {
    pub(crate) peer: Peer,
    /// What it says of itself, if it is there.
    pub(crate) version: Option<String>,
    /// Why it was not measured.
    pub(crate) problem: Option<String>,
    /// Before it held anything.
    pub(crate) idle: Option<Memory>,
    /// After everything.
    pub(crate) loaded: Option<Memory>,
    pub(crate) durability: Option<&'static str>,
}

/// A case against a peer.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) case: Case,
    pub(crate) title: String,
    pub(crate) peer: Peer,
    pub(crate) figures: Option<Figures>,
    pub(crate) error: Option<String>,
    /// Why the peer can't do it.
    pub(crate) lacks: Option<&'static str>,
}

impl PeerReport {
    pub(crate) fn up(peer: Peer, version: String, idle: Memory) -> Self {
        Self {
            peer,
            version: Some(version),
            problem: None,
            idle: Some(idle),
            loaded: None,
            durability: peer.durability(),
        }
    }

    pub(crate) fn skipped(peer: Peer, error: &anyhow::Error) -> Self {
        Self {
            peer,
            version: None,
            problem: Some(format!("skipped: {error:#}")),
            idle: None,
            loaded: None,
            durability: None,
        }
    }

    pub(crate) fn failed(peer: Peer, version: String, error: &anyhow::Error) -> Self {
        Self {
            version: Some(version),
            problem: Some(format!("failed: {error:#}")),
            ..Self::skipped(peer, error)
        }
    }
}

impl Report {
    pub(crate) fn outcome(&self) -> Outcome {
        let failed = |report: &PeerReport| report.problem.is_some() && report.version.is_some();
        if self.rows.iter().any(|row| row.error.is_some()) || self.peers.iter().any(failed) {
            Outcome::Failed
        } else if self.peers.iter().any(|report| report.problem.is_some()) {
            Outcome::Skipped
        } else {
            Outcome::Complete
        }
    }

    /// Why peers are missing.
    pub(crate) fn reasons(peers: &[PeerReport]) -> String {
        let reasons = peers.iter().filter_map(|report| {
            let problem = report.problem.as_ref()?;
            Some(format!("{} {problem}", report.peer.title()))
        });
        reasons.collect::<Vec<_>>().join("; ")
    }

    /// The processor time for a request of the peer that `choose` names, or the best of several.
    fn least_cpu(&self, case: Case, choose: impl Fn(Peer) -> bool) -> Option<f64> {
        let rows = self
            .rows
            .iter()
            .filter(|row| row.case == case && choose(row.peer));
        rows.filter_map(|row| row.figures.as_ref())
            .map(|figures| figures.cpu)
            .reduce(f64::min)
    }

    fn case_table(&self) -> Table {
        let mut table = table(&[
            "case",
            "peer",
            "rate",
            "p50",
            "p99",
            "alone p50",
            "CPU",
            "spread",
            "x nginx",
            "x best registry",
            "x roadstead",
        ]);
        let mut last = None;
        for row in &self.rows {
            let title = if last == Some(row.case) { "" } else { &row.title };
            last = Some(row.case);
            let mut cells = vec![title.to_owned(), row.peer.title().to_owned()];
            if let Some(figures) = &row.figures {
                let times = |of: Option<f64>| {
                    of.and_then(|of| ratio(figures.cpu, of))
                        .map_or("-".to_owned(), times)
                };
                cells.extend(figure_cells(row.case, figures));
                cells.push(times(self.least_cpu(row.case, |peer| peer == Peer::Nginx)));
                cells.push(times(self.least_cpu(row.case, Peer::is_rival)));
                cells.push(times(self.least_cpu(row.case, |peer| peer == Peer::Roadstead)));
            } else {
                let reason = if row.error.is_some() { "failed" } else { "-" };
                cells.push(reason.to_owned());
            }
            cells.resize(11, String::new());
            table.add_row(cells);
        }
        table
    }

    fn memory_table(&self) -> Table {
        let mut table = table(&[
            "peer",
            "RSS idle",
            "RSS after load",
            "peak",
            "version",
            "a push is on disk",
        ]);
        for report in &self.peers {
            let mebibytes = |memory: Option<Memory>, part: fn(&Memory) -> u64| {
                memory.map_or("-".to_owned(), |memory| format!("{} MiB", part(&memory) >> 20))
            };
            table.add_row(vec![
                report.peer.title().to_owned(),
                mebibytes(report.idle, |memory| memory.resident),
                mebibytes(report.loaded, |memory| memory.resident),
                mebibytes(report.loaded, |memory| memory.peak),
                report
                    .version
                    .clone()
                    .or_else(|| report.problem.clone())
                    .unwrap_or_default(),
                report.durability.unwrap_or("-").to_owned(),
            ]);
        }
        table
    }

    /// What has no figure, and why.
    fn notes(&self) -> Vec<String> {
        let mut notes: Vec<String> = Vec::new();
        for row in &self.rows {
            let Some(reason) = row.error.as_deref().or(row.lacks) else {
                continue;
            };
            notes.push(format!(
                "{}, {}: {}",
                row.title,
                row.peer.title(),
                shortened(reason)
            ));
        }
        notes.extend(self.peers.iter().filter_map(|report| {
            report
                .problem
                .as_ref()
                .map(|problem| format!("{}: {}", report.peer.title(), shortened(problem)))
        }));
        notes
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = &self.machine;
        writeln!(
            f,
            "{}: {}, {} cores, Linux {}, load average {} before",
            machine.date, machine.processor, machine.cores, machine.kernel, machine.load
        )?;
        writeln!(f, "data in {} ({})", machine.data, machine.filesystem)?;
        writeln!(
            f,
            "this machine at best: {:.0} MB/s written and fsynced, {:.0} MB/s SHA-256 on one core\n",
            machine.durable_write / 1e6,
            machine.sha256 / 1e6,
        )?;
        writeln!(f, "{}\n\n{}", self.case_table(), self.memory_table())?;
        for note in self.notes() {
            writeln!(f, "{note}")?;
        }
        Ok(())
    }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_header(header);
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn figure_cells(case: Case, figures: &Figures) -> [String; 6] {
    let best = &figures.best;
    let rate = if case.spec().work.is_bulk() {
        format!("{:.0} MB/s", best.bytes_per_second / 1e6)
    } else {
        format!("{:.0}/s", best.requests_per_second)
    };
    [
        rate,
        seconds(best.p50),
        seconds(best.p99),
        seconds(figures.alone),
        seconds(figures.cpu),
        format!("+{:.0} %", figures.cpu_spread * 100.0),
    ]
}

/// An error as far as a table can show it; the JSON has it whole.
fn shortened(reason: &str) -> String {
    const MOST: usize = 240;
    let mut characters = reason.chars();
    let start: String = characters.by_ref().take(MOST).collect();
    if characters.next().is_some() {
        format!("{start}...")
    } else {
        start
    }
}

fn times(ratio: f64) -> String {
    if ratio < 0.1 {
        format!("{ratio:.3}")
    } else {
        format!("{ratio:.2}")
    }
}

/// A duration with three digits that say something.
fn seconds(seconds: f64) -> String {
    let (value, unit) = if seconds < 1e-3 {
        (seconds * 1e6, "us")
    } else if seconds < 1.0 {
        (seconds * 1e3, "ms")
    } else {
        (seconds, "s")
    };
    let decimals = if value < 10.0 {
        2
    } else {
        usize::from(value < 100.0)
    };
    format!("{value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        let shown: Vec<String> = [1.234e-6, 45.67e-6, 999e-6, 12.3e-3, 1.5]
            .into_iter()
            .map(seconds)
            .collect();
        assert_eq!(shown, ["1.23 us", "45.7 us", "999 us", "12.3 ms", "1.50 s"]);
    }

    #[test]
    fn small_ratios_keep_their_digits() {
        assert_eq!(times(0.034), "0.034");
        assert_eq!(times(2.345), "2.35");
    }
}
