//! `--fail-if`: what a build server wants to know, as a yes or no.

use super::options::time;

/// `p99>5ms`: fails the run when it is true.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Threshold {
    /// As it was typed.
    pub(crate) text: String,
    metric: Metric,
    is: Comparison,
    /// Nanoseconds for a percentile.
    value: f64,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Metric {
    /// Of the response times, as a part of one; 1 is the longest.
    Percentile(f64),
    Rate,
    Wrong,
    Missing,
    Errors,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Comparison {
    More,
    Less,
    AtLeast,
    AtMost,
}

const METRICS: [(&str, Metric); 10] = [
    ("p50", Metric::Percentile(0.5)),
    ("p90", Metric::Percentile(0.9)),
    ("p99", Metric::Percentile(0.99)),
    ("p99.9", Metric::Percentile(0.999)),
    ("p99.99", Metric::Percentile(0.9999)),
    ("max", Metric::Percentile(1.0)),
    ("rate", Metric::Rate),
    ("wrong", Metric::Wrong),
    ("missing", Metric::Missing),
    ("errors", Metric::Errors),
];

impl Threshold {
    pub(crate) fn parse(text: &str) -> Result<Threshold, String> {
        let advice = "write it like 'p99>5ms', 'rate<10k' or 'errors>0'; \
                      there are p50 p90 p99 p99.9 p99.99 max rate wrong missing errors, and > < >= <=";
        let at = text.find(['>', '<']).ok_or(advice)?;
        let name = text[..at].trim();
        let (_, metric) = METRICS.into_iter().find(|(known, _)| *known == name).ok_or(advice)?;
        let behind = &text[at + 1..];
        let (is_or_equal, value) = match behind.strip_prefix('=') {
            Some(value) => (true, value.trim()),
            None => (false, behind.trim()),
        };
        let is = match (text.as_bytes()[at], is_or_equal) {
            (b'>', false) => Comparison::More,
            (b'>', true) => Comparison::AtLeast,
            (_, false) => Comparison::Less,
            (_, true) => Comparison::AtMost,
        };
        let value = match metric {
            Metric::Percentile(_) => time(value)?.as_nanos() as f64,
            Metric::Rate => number(value.strip_suffix("/s").unwrap_or(value))?,
            _ => number(value)?,
        };
        Ok(Threshold { text: text.to_owned(), metric, is, value })
    }

    /// Whether it is true. `None` for a percentile without samples, of which nothing good can be said: that fails.
    pub(crate) fn is_true(&self, measured: impl FnOnce(Metric) -> Option<f64>) -> bool {
        measured(self.metric).is_none_or(|measured| match self.is {
            Comparison::More => measured > self.value,
            Comparison::Less => measured < self.value,
            Comparison::AtLeast => measured >= self.value,
            Comparison::AtMost => measured <= self.value,
        })
    }
}

/// `0`, `2.5`, `10k`, `1M`.
fn number(text: &str) -> Result<f64, String> {
    let advice = "the value is a number, like 0, 2.5 or 10k";
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k') => (&text[..text.len() - 1], 1e3),
        Some(b'M') => (&text[..text.len() - 1], 1e6),
        _ => (text, 1.0),
    };
    let is_plain =
        digits.starts_with(|c: char| c.is_ascii_digit()) && digits.chars().all(|c| c.is_ascii_digit() || c == '.');
    match digits.parse::<f64>() {
        Ok(number) if is_plain => Ok(number * unit),
        _ => Err(advice.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds() {
        let table: &[(&str, Option<f64>, Option<bool>)] = &[
            ("p99>5ms", Some(5_000_001.0), Some(true)),
            ("p99>5ms", Some(5_000_000.0), Some(false)),
            ("p99 >= 5ms", Some(5_000_000.0), Some(true)),
            (" p99.99<1 ", Some(1.0), Some(true)),
            ("max<=2us", Some(2000.0), Some(true)),
            ("max<=2us", None, Some(true)),
            ("rate<10k/s", Some(9_999.0), Some(true)),
            ("rate<10k", Some(10_000.0), Some(false)),
            ("rate<2.5M", Some(2_499_999.0), Some(true)),
            ("wrong>0", Some(0.0), Some(false)),
            ("errors>=1", Some(1.0), Some(true)),
            ("missing>0/s", Some(1.0), None),
            ("p98>1ms", None, None),
            ("p99=5ms", None, None),
            ("p99>", None, None),
            ("p99>5", Some(5.1e9), Some(true)),
            ("rate>5ms", None, None),
            ("rate>inf", None, None),
            ("rate>-1", None, None),
            ("", None, None),
            (">", None, None),
        ];
        for (text, measured, want) in table {
            let got = Threshold::parse(text).ok().map(|threshold| threshold.is_true(|_| *measured));
            assert_eq!(got, *want, "{text:?} of {measured:?}");
        }
    }
}
