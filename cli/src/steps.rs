//! One aligned line for each step, with the time it took.

use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use roadstead_types::Digest;

/// Prints steps as they end.
pub(crate) struct Steps {
    last: Instant,
    /// Whether a person watches: digests are dimmed, and nothing else differs.
    terminal: bool,
}

impl Steps {
    pub(crate) fn new() -> Self {
        Self {
            last: Instant::now(),
            terminal: std::io::stdout().is_terminal(),
        }
    }

    /// Reports a step that took since the last.
    pub(crate) fn done(&mut self, step: &str, what: &str, digest: Option<&Digest>) {
        let now = Instant::now();
        let took = duration(now - self.last);
        self.last = now;
        let digest = match digest {
            Some(digest) if self.terminal => format!("  \u{1b}[2m{digest}\u{1b}[0m"),
            Some(digest) => format!("  {digest}"),
            None => String::new(),
        };
        println!(
            "{}",
            format!("{took:>9}  {step:<14}  {what:<44}{digest}").trim_end()
        );
    }
}

pub(crate) fn duration(duration: Duration) -> String {
    let milliseconds = duration.as_secs_f64() * 1_000.0;
    if milliseconds < 1_000.0 {
        format!("{milliseconds:.1} ms")
    } else {
        format!("{:.2} s", duration.as_secs_f64())
    }
}
