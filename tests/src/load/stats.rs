//! What many samples say together.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Outcome, Sample};

/// Counts, and the times of the right answers.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// Requests.
    pub sent: usize,
    /// Right answers.
    pub right: usize,
    /// Refusals by code.
    pub refused: BTreeMap<String, usize>,
    /// Neither: what was wrong, at most a few.
    pub wrong: Vec<String>,
    /// How many were wrong.
    pub wrongs: usize,
    /// Sorted times of the right answers.
    times: Vec<Duration>,
    /// From the first request to the last right answer.
    pub span: Duration,
}

impl Stats {
    /// Of these samples.
    #[must_use]
    pub fn of(samples: &[Sample]) -> Self {
        let mut stats = Self { sent: samples.len(), ..Self::default() };
        for sample in samples {
            match &sample.outcome {
                Outcome::Right => stats.times.push(sample.elapsed),
                Outcome::Refused { code, .. } => *stats.refused.entry(code.clone()).or_default() += 1,
                Outcome::Wrong(what) => {
                    stats.wrongs += 1;
                    if stats.wrong.len() < 5 {
                        stats.wrong.push(what.clone());
                    }
                }
            }
        }
        stats.right = stats.times.len();
        stats.times.sort_unstable();
        let first = samples.iter().map(|sample| sample.due).min();
        let last = samples.iter().filter(|sample| sample.is_right()).map(Sample::end).max();
        stats.span = first.zip(last).map_or(Duration::ZERO, |(first, last)| last.saturating_duration_since(first));
        stats
    }

    /// Refusals of all kinds.
    #[must_use]
    pub fn refusals(&self) -> usize {
        self.refused.values().sum()
    }

    /// A percentile of the right answers' times, in milliseconds; 0 when there is none.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> f64 {
        percentile(&self.times, percent)
    }

    /// Their mean, in milliseconds.
    #[must_use]
    pub fn mean(&self) -> f64 {
        let sum: Duration = self.times.iter().sum();
        if self.times.is_empty() { 0.0 } else { sum.as_secs_f64() * 1000.0 / self.times.len() as f64 }
    }

    /// Right answers a second, from the first request to the last right answer.
    #[must_use]
    pub fn goodput(&self) -> f64 {
        if self.span.is_zero() { 0.0 } else { self.right as f64 / self.span.as_secs_f64() }
    }

    /// As JSON; times in milliseconds, goodput a second.
    #[must_use]
    pub fn json(&self) -> Value {
        let round = |value: f64| (value * 100.0).round() / 100.0;
        json!({
            "sent": self.sent, "right": self.right, "refused": self.refused, "wrongs": self.wrongs, "wrong": self.wrong,
            "mean": round(self.mean()), "p50": round(self.percentile(50.0)), "p95": round(self.percentile(95.0)),
            "p99": round(self.percentile(99.0)), "max": round(self.percentile(100.0)),
            "goodput": round(self.goodput()), "seconds": round(self.span.as_secs_f64()),
        })
    }
}

/// The nearest-rank percentile of sorted times, in milliseconds.
#[must_use]
pub fn percentile(sorted: &[Duration], percent: f64) -> f64 {
    let rank = (sorted.len() as f64 * percent / 100.0).ceil() as usize;
    sorted.get(rank.max(1) - 1).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}

/// Right answers a second within a span, counted by when they arrived: for loads that overlap others.
#[must_use]
pub fn goodput_between(samples: &[Sample], from: Instant, to: Instant) -> f64 {
    let right = samples.iter().filter(|sample| sample.is_right() && sample.end() > from && sample.end() <= to);
    right.count() as f64 / to.saturating_duration_since(from).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let times: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!([50.0, 99.0, 100.0].map(|percent| percentile(&times, percent)), [100.0, 198.0, 200.0]);
        assert_eq!(percentile(&times[..1], 50.0), 1.0);
        assert_eq!(percentile(&[], 50.0), 0.0);
    }

    #[test]
    fn every_sample_is_counted_once() {
        let due = Instant::now();
        let sample = |ms, outcome| Sample {
            due,
            elapsed: Duration::from_millis(ms),
            answered_at: SystemTime::now(),
            outcome,
            benign: true,
        };
        let refused = Outcome::Refused { code: "OVERLOADED".into(), retry_after: 1, execution: None };
        let samples = [sample(500, Outcome::Right), sample(9000, refused), sample(9, Outcome::Wrong("?".into()))];
        let stats = Stats::of(&samples);
        assert_eq!((stats.sent, stats.right, stats.refusals(), stats.wrongs), (3, 1, 1, 1));
        assert_eq!((stats.mean(), stats.goodput()), (500.0, 2.0));
    }
}
