//! A histogram of times, with buckets so narrow that they do not change the figures.
//!
//! Two histograms are merged by adding their buckets. So the merged figures of several processes are exact: they are
//! what one process would have measured.

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// Significant digits: with three, a bucket is at most a thousandth of its value wide.
const DIGITS: u8 = 3;

/// Significant digits of the histogram of one point of a curve, of which there are many.
const DIGITS_OF_A_CURVE: u8 = 2;

/// The quantiles in the report, with their names.
pub(crate) const QUANTILES: [(&str, f64); 6] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999), ("max", 1.0)];

/// A histogram: how often each value occurred, in buckets of at most a hundredth of the value.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Counts(Histogram<u64>);

impl Default for Counts {
    fn default() -> Self {
        Counts::with_digits(DIGITS)
    }
}

impl Counts {
    /// A smaller histogram, for one point of a curve.
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
        // The histogram grows as needed, up to 146 years in nanoseconds.
        let result = self.0.record_n(value.min(1 << 62), count);
        debug_assert!(result.is_ok(), "a growing histogram takes every value");
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn quantile(&self, quantile: f64) -> Option<u64> {
        (!self.is_empty()).then(|| self.0.value_at_quantile(quantile))
    }

    /// The highest value and the count of each bucket that is not empty, ascending.
    pub(crate) fn buckets(&self) -> Vec<(u64, u64)> {
        self.0.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect()
    }

    /// How many values were recorded.
    pub(crate) fn total(&self) -> u64 {
        self.0.len()
    }

    /// The buckets as JSON: `[[value, count], …]`.
    pub(crate) fn value(&self) -> Value {
        self.buckets().into_iter().map(|(value, count)| json!([value, count])).collect()
    }

    /// Adds the buckets of another histogram, in the form of [`Counts::value`].
    pub(crate) fn add(&mut self, value: &Value) {
        for (value, count) in pairs(value) {
            self.record_n(value, count);
        }
    }
}

/// Reads a list of pairs; anything that is not a number is 0.
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
