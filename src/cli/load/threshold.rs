//! `--fail-if`: conditions that make a run fail, for build servers.

use super::units::{exact_time, grouped, plain, short_time, time, time_of};

/// A condition such as `p99>5ms`. The run fails if it is true.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Threshold {
    /// The condition as the user typed it.
    pub(crate) text: String,
    metric: Metric,
    is: Comparison,
    /// In nanoseconds for a percentile.
    value: f64,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Metric {
    /// A percentile of the response times, as a fraction; 1 is the longest time.
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

    /// Whether it needs replies that are checked.
    pub(crate) fn needs_replies(&self) -> bool {
        self.needs_messages() && self.metric != Metric::Rate
    }

    /// Whether it needs messages: it is not about connections.
    pub(crate) fn needs_messages(&self) -> bool {
        self.metric != Metric::Errors
    }

    /// The condition with its unit, and the measured value: `p99 > 5.00 s: it was 190 us`. The limit is exact, and the
    /// measured value has as many digits as are needed to see on which side of the limit it is.
    pub(crate) fn words(&self, measured: impl FnOnce(Metric) -> Option<f64>) -> String {
        let name = METRICS.iter().find(|(_, metric)| *metric == self.metric).map_or("", |(name, _)| *name);
        let is = match self.is {
            Comparison::More => ">",
            Comparison::Less => "<",
            Comparison::AtLeast => ">=",
            Comparison::AtMost => "<=",
        };
        let unit = if self.metric == Metric::Rate { " a second" } else { "" };
        let was = match measured(self.metric) {
            Some(measured) => format!("it was {}{unit}", self.measured_text(measured)),
            None => "there was nothing to measure".to_owned(),
        };
        format!("{name} {is} {}{unit}: {was}", self.limit_text())
    }

    fn is_time(&self) -> bool {
        matches!(self.metric, Metric::Percentile(_))
    }

    fn limit_text(&self) -> String {
        let limit = self.value;
        match self.is_time() {
            true if short_time(limit as u64) == exact_time(limit as u64) => time_of(limit as u64),
            true => exact_time(limit as u64),
            false => exact(limit, &limit.to_string()),
        }
    }

    fn measured_text(&self, measured: f64) -> String {
        let rounded = |value: f64| if self.is_time() { time_of(value as u64) } else { plain(value) };
        if rounded(measured) != rounded(self.value) || measured == self.value {
            return rounded(measured);
        }
        if self.is_time() {
            return exact_time(measured as u64);
        }
        let mut texts = (1..=9).map(|decimals| format!("{measured:.decimals$}"));
        let is_apart = |text: &String| text.parse() != Ok(self.value);
        exact(measured, &texts.find(is_apart).unwrap_or_else(|| measured.to_string()))
    }

    /// Whether the condition is true. It counts as true for a percentile without samples (`None`), so that such a run
    /// fails.
    pub(crate) fn is_true(&self, measured: impl FnOnce(Metric) -> Option<f64>) -> bool {
        measured(self.metric).is_none_or(|measured| match self.is {
            Comparison::More => measured > self.value,
            Comparison::Less => measured < self.value,
            Comparison::AtLeast => measured >= self.value,
            Comparison::AtMost => measured <= self.value,
        })
    }
}

/// A number in these decimal digits, with commas.
fn exact(value: f64, digits: &str) -> String {
    match digits.split_once('.') {
        Some((_, decimals)) => format!("{}.{decimals}", grouped(value as u64)),
        None => grouped(value as u64),
    }
}

/// Parses a number such as `0`, `2.5`, `10k` or `1M`.
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

    #[test]
    fn a_threshold_is_shown_with_its_unit() {
        let table = [
            ("p99>5", Some(190_000.0), "p99 > 5.00 s: it was 190 us"),
            ("max<=5ms", None, "max <= 5.00 ms: there was nothing to measure"),
            ("rate<10k", Some(1234.5), "rate < 10,000 a second: it was 1,235 a second"),
            ("rate>=2.5", Some(0.0), "rate >= 2.5 a second: it was 0 a second"),
            ("errors>0", Some(3.0), "errors > 0: it was 3"),
            // A limit is not rounded.
            ("rate>180.5", Some(500.0), "rate > 180.5 a second: it was 500 a second"),
            ("rate>1234.56", Some(9.25), "rate > 1,234.56 a second: it was 9.2 a second"),
            ("p50>5.101ms", Some(7e6), "p50 > 5.101 ms: it was 7.00 ms"),
            ("p50<0.000001", None, "p50 < 1.00 us: there was nothing to measure"),
            // A value near the limit has more digits.
            ("p99>5ms", Some(5_000_400.0), "p99 > 5.00 ms: it was 5.0004 ms"),
            ("p99>5ms", Some(4_999_999.0), "p99 > 5.00 ms: it was 4.999999 ms"),
            ("p99>=5ms", Some(5_000_000.0), "p99 >= 5.00 ms: it was 5.00 ms"),
            ("p50>5.101ms", Some(5_104_000.0), "p50 > 5.101 ms: it was 5.104 ms"),
            ("rate<10k", Some(9_999.96), "rate < 10,000 a second: it was 9,999.96 a second"),
            ("rate<180.5", Some(180.5004), "rate < 180.5 a second: it was 180.5004 a second"),
        ];
        for (text, measured, want) in table {
            let words = Threshold::parse(text).map(|threshold| threshold.words(|_| measured));
            assert_eq!(words.as_deref(), Ok(want), "{text}");
        }
    }
}
