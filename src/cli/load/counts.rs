//! How often each value occurred: times, in buckets narrow enough that nobody sees them.
//!
//! Merging is adding, bucket by bucket; so the figures of several processes are those of one.

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// Three digits: a bucket is a thousandth of its value wide.
const DIGITS: u8 = 3;

/// A point of a curve needs no more than this.
const DIGITS_OF_A_CURVE: u8 = 2;

/// The quantiles of the report, by name.
pub(crate) const QUANTILES: [(&str, f64); 6] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999), ("max", 1.0)];

/// How often a value occurred, in buckets of at most a hundredth.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Counts(Histogram<u64>);

impl Default for Counts {
    fn default() -> Self {
        Counts::with_digits(DIGITS)
    }
}

impl Counts {
    /// For one of many: a point of a curve.
    pub(crate) fn coarse() -> Counts {
        Counts::with_digits(DIGITS_OF_A_CURVE)
    }

    fn with_digits(digits: u8) -> Counts {
        Counts(Histogram::new(digits).expect("a histogram has one to five digits"))
    }

    pub(crate) fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    pub(crate) fn record_n(&mut self, value: u64, count: u64) {
        // It grows as needed; 146 years in nanoseconds are as far as it goes.
        let result = self.0.record_n(value.min(1 << 62), count);
        debug_assert!(result.is_ok(), "a growing histogram takes every value");
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn quantile(&self, quantile: f64) -> Option<u64> {
        (!self.is_empty()).then(|| self.0.value_at_quantile(quantile))
    }

    /// The highest value of each bucket that is not empty, and its count; ascending.
    pub(crate) fn buckets(&self) -> Vec<(u64, u64)> {
        self.0.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect()
    }

    /// How many values there are.
    pub(crate) fn total(&self) -> u64 {
        self.0.len()
    }

    pub(crate) fn value(&self) -> Value {
        self.buckets().into_iter().map(|(value, count)| json!([value, count])).collect()
    }

    pub(crate) fn add(&mut self, value: &Value) {
        for (value, count) in pairs(value) {
            self.record_n(value, count);
        }
    }
}

pub(crate) fn pairs(value: &Value) -> impl Iterator<Item = (u64, u64)> {
    value.as_array().into_iter().flatten().map(|pair| (u64_of(&pair[0]), u64_of(&pair[1])))
}

pub(crate) fn u64_of(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_narrow_and_add_up() {
        let mut counts = Counts::default();
        (0..100_000u64).for_each(|i| counts.record(i * i));
        let buckets = counts.buckets();
        assert!(buckets.is_sorted_by(|a, b| a.0 < b.0));
        assert!(buckets.iter().all(|&(_, count)| count > 0));
        assert_eq!(buckets.iter().map(|&(_, count)| count).sum::<u64>(), 100_000);
        assert_eq!(counts.quantile(1.0), buckets.last().map(|&(value, _)| value));
        assert_eq!(Counts::default().quantile(0.5), None);
    }
}
