//! Times, counted in classes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper ends of the classes in microseconds, the last class has none.
const ENDS_MICROS: [u64; 17] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 30_000_000,
];

/// The same in seconds, as they are written.
const ENDS: [&str; 17] = [
    "0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5",
    "1", "2.5", "5", "10", "30",
];

/// Counts of times by class, and their sum.
#[derive(Debug, Default)]
pub struct Histogram {
    classes: [AtomicU64; ENDS_MICROS.len() + 1],
    sum_micros: AtomicU64,
}

/// A reading of one histogram, or of several together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times {
    classes: [u64; ENDS_MICROS.len() + 1],
    sum_micros: u64,
}

impl Histogram {
    /// Counts a time.
    pub fn observe(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let class = ENDS_MICROS.partition_point(|&end| end < micros);
        if let Some(count) = self.classes.get(class) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Adds what was counted to a reading.
    pub fn add_to(&self, times: &mut Times) {
        for (sum, count) in times.classes.iter_mut().zip(&self.classes) {
            *sum += count.load(Ordering::Relaxed);
        }
        times.sum_micros += self.sum_micros.load(Ordering::Relaxed);
    }

    /// What was counted.
    #[must_use]
    pub fn times(&self) -> Times {
        let mut times = Times::default();
        self.add_to(&mut times);
        times
    }
}

impl Times {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.classes.iter().sum()
    }

    /// Their sum in seconds.
    #[must_use]
    pub fn sum_seconds(&self) -> f64 {
        self.sum_micros as f64 / 1e6
    }

    /// End of each class in seconds and how many times do not exceed it; the last end is `+Inf`.
    pub fn cumulative(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let ends = ENDS.into_iter().chain(["+Inf"]);
        ends.zip(&self.classes).scan(0, |sum, (end, count)| {
            *sum += count;
            Some((end, *sum))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_are_written_as_they_are() {
        for (micros, text) in ENDS_MICROS.iter().zip(ENDS) {
            let written: f64 = text.parse().unwrap();
            assert!((written * 1e6 - *micros as f64).abs() < 1e-6, "{text}");
        }
    }

    #[test]
    fn a_time_belongs_to_the_first_class_that_reaches_it() {
        let histogram = Histogram::default();
        for micros in [0, 100, 101, 1_000_000, 30_000_001, u64::MAX / 2] {
            histogram.observe(Duration::from_micros(micros));
        }
        let times = histogram.times();
        let at = |end: &str| times.cumulative().find(|(e, _)| *e == end).unwrap().1;
        assert_eq!(
            (
                at("0.0001"),
                at("0.00025"),
                at("0.5"),
                at("1"),
                at("30"),
                at("+Inf")
            ),
            (2, 3, 3, 4, 4, 6)
        );
        assert_eq!(times.count(), 6);
    }
}
