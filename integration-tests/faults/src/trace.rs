//! System calls, as `strace` saw them, and the order that durability wants them in.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use roadstead_integration_tests::programs;

/// Long enough for a page of the database's log to be shown whole.
const SHOWN: &str = "20000";

/// A system call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its name.
    pub name: String,
    /// Its arguments as shown: descriptors with their paths, buffers as text.
    pub arguments: String,
    /// The line on which it began.
    pub began: usize,
    /// The line on which it ended; none if it did not, or failed.
    pub ended: Option<usize>,
}

/// The system calls of a process and all that it started, in order.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    calls: Vec<Call>,
}

/// What a test knows of a push when it reads the trace.
pub struct Pushed<'a> {
    /// The line on which the trace ended before the last request was sent.
    pub since: usize,
    /// What is written with the transaction that makes the push visible, and nowhere else since.
    pub committed: &'a str,
    /// For a blob, its digest's hexadecimal part.
    pub blob: Option<&'a str>,
}

/// Has `strace` run a command and write the given system calls to `output`.
pub fn traced(command: &Command, calls: &str, output: &Path) -> Result<Command> {
    let mut traced = Command::new(programs::theirs("strace")?);
    traced.args(["-f", "-y", "-s", SHOWN, "-e", &format!("trace={calls}"), "-o"]);
    traced.arg(output).arg("--").arg(command.get_program());
    traced.args(command.get_args());
    for (name, value) in command.get_envs() {
        traced.env(name, value.context("an environment variable is removed")?);
    }
    Ok(traced)
}

impl Trace {
    /// Reads what `strace` wrote.
    pub fn parse(text: &str) -> Self {
        let mut calls: Vec<Call> = Vec::new();
        let mut unfinished: Vec<(&str, usize)> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let Some((pid, rest)) = line.split_once(' ') else {
                continue;
            };
            let rest = rest.trim_start();
            if let Some(resumed) = rest.strip_prefix("<... ") {
                let Some(at) = unfinished.iter().position(|(of, _)| *of == pid) else {
                    continue;
                };
                let (_, call) = unfinished.swap_remove(at);
                calls[call].ended = succeeded(resumed).then_some(number);
                continue;
            }
            let Some((name, arguments)) = rest.split_once('(') else {
                continue;
            };
            let is_unfinished = arguments.ends_with("<unfinished ...>");
            if is_unfinished {
                unfinished.push((pid, calls.len()));
            }
            calls.push(Call {
                name: name.to_owned(),
                arguments: arguments.to_owned(),
                began: number,
                ended: (!is_unfinished && succeeded(arguments)).then_some(number),
            });
        }
        Self { calls }
    }

    /// All calls.
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// The first call after a line that is one of `names` and shows `text`, and where it ended.
    fn first(&self, after: usize, names: &[&str], text: &str) -> Result<(&Call, usize)> {
        let found = self.calls.iter().find_map(|call| {
            let fits =
                call.began > after && names.contains(&call.name.as_str()) && call.arguments.contains(text);
            Some((call, call.ended.filter(|_| fits)?))
        });
        found.with_context(|| format!("after line {after} there is no {names:?} with {text:?}"))
    }

    /// Whether the answer to a push is in the trace, to its end.
    pub fn is_answered(&self, since: usize) -> bool {
        self.first(since, WRITES, "HTTP/1.1 201").is_ok()
    }

    /// Demands that the answer to a push was written when everything was on the disk: for a blob its bytes, its name and
    /// its directory, then the transaction that makes it visible.
    pub fn check_push(&self, pushed: &Pushed<'_>) -> Result<()> {
        let (answer, _) = self.first(pushed.since, WRITES, "HTTP/1.1 201")?;
        let mut line = pushed.since;
        if let Some(hex) = pushed.blob {
            let (rename, renamed) = self.first(line, RENAMES, hex)?;
            let source = rename.arguments.split('"').nth(1).context("what is renamed")?;
            let written = self
                .calls
                .iter()
                .filter(|call| call.began < rename.began && WRITES.contains(&call.name.as_str()))
                .filter(|call| call.arguments.contains(&format!("<{source}>")))
                .filter_map(|call| call.ended)
                .max()
                .context("the bytes were not written")?;
            let (_, synced) = self.first(written, SYNCS, &format!("<{source}>"))?;
            ensure!(
                synced < rename.began,
                "the name came before the bytes were durable"
            );
            let directory = Path::new(rename.arguments.split('"').nth(3).context("the new name")?);
            let directory = directory.parent().context("a directory")?.display();
            (_, line) = self.first(renamed, SYNCS, &format!("<{directory}>"))?;
        }
        let (_, written) = self.first(line, &["pwrite64"], pushed.committed)?;
        let (_, committed) = self.first(written, SYNCS, "metadata.db-wal>")?;
        ensure!(
            committed < answer.began,
            "the answer went out on line {} before the commit was durable on line {committed}",
            answer.began
        );
        Ok(())
    }
}

const WRITES: &[&str] = &["write", "writev", "sendto", "sendmsg", "pwrite64", "pwritev2"];
const RENAMES: &[&str] = &["rename", "renameat", "renameat2"];
const SYNCS: &[&str] = &["fsync", "fdatasync"];

/// The calls that [`Trace::check_push`] has to see.
pub const CALLS_OF_A_PUSH: &str =
    "fsync,fdatasync,rename,renameat,renameat2,write,writev,sendto,sendmsg,pwrite64,pwritev2";

fn succeeded(shown: &str) -> bool {
    shown
        .rsplit_once(" = ")
        .is_some_and(|(_, result)| !result.starts_with('-') && !result.starts_with('?'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUSH: &str = r#"7 write(5</d/uploads/u.1>, "bytes", 5) = 5
7 fsync(5</d/uploads/u.1> <unfinished ...>
8 write(9<socket:[1]>, "x", 1) = 1
7 <... fsync resumed>) = 0
7 rename("/d/uploads/u.1", "/d/blobs/sha256/ab/abcd.u") = 0
7 fsync(6</d/blobs/sha256/ab>) = 0
8 pwrite64(4</d/metadata.db-wal>, "row abcd", 8, 0) = 8
8 fdatasync(4</d/metadata.db-wal>) = 0
9 writev(9<socket:[1]>, [{iov_base="HTTP/1.1 201 Created\r\n", iov_len=22}], 1) = 22"#;

    fn check(text: &str) -> Result<()> {
        let pushed = Pushed {
            since: 0,
            committed: "row abcd",
            blob: Some("abcd"),
        };
        // Line 0 is before the push.
        Trace::parse(&format!("7 write(1<x>, \"\", 0) = 0\n{text}")).check_push(&pushed)
    }

    #[test]
    fn the_right_order_is_seen() {
        check(PUSH).unwrap();
    }

    #[test]
    fn every_step_that_is_missing_or_late_is_noticed() {
        let lines: Vec<&str> = PUSH.lines().collect();
        // Each step after the answer, then not at all: the bytes, their sync, the name, the directory, the commit.
        for steps in [0..1, 1..4, 4..5, 5..6, 6..7, 7..8] {
            let (taken, mut rest): (Vec<_>, Vec<_>) = (0..lines.len()).partition(|at| steps.contains(at));
            let text = |order: &[usize]| order.iter().map(|at| lines[*at]).collect::<Vec<_>>().join("\n");
            assert!(check(&text(&rest)).is_err(), "without {steps:?}");
            rest.extend(taken);
            assert!(check(&text(&rest)).is_err(), "with {steps:?} at the end");
        }
        // A name that comes before the bytes are durable.
        let text = [0, 4, 1, 2, 3, 5, 6, 7, 8].map(|at| lines[at]).join("\n");
        assert!(check(&text).is_err());
        // A sync that fails is none.
        assert!(check(&PUSH.replace("resumed>) = 0", "resumed>) = -1 EIO (Input/output error)")).is_err());
    }
}
