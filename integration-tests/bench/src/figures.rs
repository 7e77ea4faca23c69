//! The arithmetic: from runs to what the table says.

use std::time::Duration;

use serde::Serialize;

use crate::load::Measured;

/// One run of a case against one peer.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Run {
    pub(crate) requests: u64,
    pub(crate) requests_per_second: f64,
    pub(crate) bytes_per_second: f64,
    /// Seconds.
    pub(crate) p50: f64,
    /// Seconds.
    pub(crate) p99: f64,
    /// The median of a single connection with nobody beside it, in seconds.
    pub(crate) alone: f64,
    /// Processor time of the server for each request, in seconds.
    pub(crate) cpu: f64,
}

impl Run {
    /// `cpu` is what the server used for all of `measured`.
    pub(crate) fn new(measured: &Measured, cpu: Duration, alone: &Measured) -> Self {
        let requests = measured.latencies.len() as u64;
        let seconds = measured.elapsed.as_secs_f64();
        Self {
            requests,
            requests_per_second: float(requests) / seconds,
            bytes_per_second: float(measured.bytes) / seconds,
            p50: percentile(&measured.latencies, 50).as_secs_f64(),
            p99: percentile(&measured.latencies, 99).as_secs_f64(),
            alone: percentile(&alone.latencies, 50).as_secs_f64(),
            cpu: cpu.as_secs_f64() / float(requests),
        }
    }
}

/// What all runs of a case against one peer come to.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figures {
    /// The run with the highest throughput: the one that the machine disturbed least. Its latencies go with it.
    pub(crate) best: Run,
    /// The least processor time for a request of any run, in seconds.
    pub(crate) cpu: f64,
    /// How much higher the highest was, as a part of the least.
    pub(crate) cpu_spread: f64,
    /// How much lower the lowest throughput was than the best, as a part of the best.
    pub(crate) rate_spread: f64,
    /// The least median of a single connection, in seconds.
    pub(crate) alone: f64,
    pub(crate) runs: Vec<Run>,
}

impl Figures {
    /// Nothing without a run.
    pub(crate) fn of(runs: Vec<Run>) -> Option<Self> {
        let rate = |run: &&Run| run.requests_per_second;
        let best = *runs
            .iter()
            .max_by(|one, other| rate(one).total_cmp(&rate(other)))?;
        let worst = runs
            .iter()
            .map(|run| run.requests_per_second)
            .fold(f64::INFINITY, f64::min);
        let (least, most) = range(runs.iter().map(|run| run.cpu));
        Some(Self {
            best,
            cpu: least,
            cpu_spread: ratio(most, least).map_or(0.0, |ratio| ratio - 1.0),
            rate_spread: 1.0 - worst / best.requests_per_second,
            alone: range(runs.iter().map(|run| run.alone)).0,
            runs,
        })
    }
}

/// The smallest of sorted values that at least `percent` percent of them do not exceed; zero of none.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// How many times `of` goes into `value`.
pub(crate) fn ratio(value: f64, of: f64) -> Option<f64> {
    (of > 0.0).then(|| value / of)
}

fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, 0.0), |(least, most), value| {
        (f64::min(least, value), f64::max(most, value))
    })
}

/// Exact up to 2^53, which no count here reaches.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(values: impl IntoIterator<Item = u64>) -> Vec<Duration> {
        values.into_iter().map(Duration::from_millis).collect()
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let hundred = milliseconds(1..=100);
        assert_eq!(percentile(&hundred, 50), Duration::from_millis(50));
        assert_eq!(percentile(&hundred, 99), Duration::from_millis(99));
        assert_eq!(percentile(&milliseconds([7]), 50), Duration::from_millis(7));
        assert_eq!(percentile(&milliseconds([1, 2, 3]), 50), Duration::from_millis(2));
        assert_eq!(percentile(&milliseconds([1, 2, 3]), 99), Duration::from_millis(3));
        assert_eq!(percentile(&[], 99), Duration::ZERO);
    }

    #[test]
    fn a_run_is_per_second_and_per_request() {
        let measured = Measured {
            bytes: 4_000,
            elapsed: Duration::from_secs(2),
            latencies: milliseconds([1, 2, 3, 40]),
        };
        let alone = Measured {
            latencies: milliseconds([5]),
            ..Measured::default()
        };
        let run = Run::new(&measured, Duration::from_millis(200), &alone);
        let found = [
            run.requests_per_second,
            run.bytes_per_second,
            run.p50,
            run.p99,
            run.alone,
            run.cpu,
        ];
        for (found, expected) in found.into_iter().zip([2.0, 2_000.0, 0.002, 0.040, 0.005, 0.050]) {
            assert!((found - expected).abs() < 1e-9, "{found} instead of {expected}");
        }
    }

    #[test]
    fn figures_take_the_least_cpu_and_the_best_rate() {
        let run = |rate: f64, cpu: f64| Run {
            requests: 1,
            requests_per_second: rate,
            bytes_per_second: 0.0,
            p50: rate,
            p99: 0.0,
            alone: cpu,
            cpu,
        };
        let figures = Figures::of(vec![run(80.0, 1.0), run(100.0, 1.5), run(90.0, 1.2)]).unwrap();
        let found = [
            figures.best.p50,
            figures.cpu,
            figures.cpu_spread,
            figures.rate_spread,
            figures.alone,
        ];
        for (found, expected) in found.into_iter().zip([100.0, 1.0, 0.5, 0.2, 1.0]) {
            assert!((found - expected).abs() < 1e-9, "{found} instead of {expected}");
        }
        assert!(Figures::of(Vec::new()).is_none());
    }

    #[test]
    fn nothing_is_a_multiple_of_nothing() {
        assert_eq!(ratio(3.0, 2.0), Some(1.5));
        assert_eq!(ratio(3.0, 0.0), None);
    }
}
