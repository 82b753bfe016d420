//! The report for people: what was measured, what each figure is, and what went wrong.

use std::fmt::Write;
use std::time::Duration;

use super::check::Expect;
use super::counts::{Counts, QUANTILES};
use super::ledger::{Ledger, Messages};
use super::options::{Length, Load, Model};
use super::{Outcome, json, target_url};
use crate::cli::advice;
use crate::cli::target::Place;

/// The longest bar of the histogram.
const BAR: usize = 40;

/// A generator that used less of its core and was late all the same was hardly late by its own work.
const IDLE: f64 = 0.2;

/// What is done, in a few words.
pub(crate) fn what(load: &Load) -> String {
    let model = match &load.model {
        Model::Closed { in_flight } => format!("{in_flight} in flight each"),
        Model::Open { rate } => format!("{} messages a second on schedule", grouped(*rate)),
        Model::Hold => "held idle".to_owned(),
        Model::Churn => "one message each, again and again".to_owned(),
        Model::Script(_) => "a script each".to_owned(),
    };
    let length = match load.length {
        Length::For(time) => format!("for {}", time_of(time.as_nanos() as u64)),
        Length::Messages(count) => format!("until {} are sent", grouped(count)),
    };
    let warmup = if load.warmup > Duration::ZERO {
        format!(" after {} of warm-up", time_of(load.warmup.as_nanos() as u64))
    } else {
        String::new()
    };
    format!(
        "{} connection{} to {}, {model}, {length}{warmup}",
        grouped(load.connections),
        if load.connections == 1 { "" } else { "s" },
        target_url(load).trim_start_matches("tcp://")
    )
}

/// The whole report.
pub(crate) fn text(load: &Load, outcome: &Outcome) -> String {
    let ledger = &outcome.ledger;
    let mut out = format!("{}\n\n", what(load));
    if ledger.connects.ok == 0 {
        no_connection(&mut out, load, outcome);
        return out;
    }
    let rate = ledger.rate_of(ledger.steady.exact);
    messages(&mut out, load, &ledger.steady);
    if ledger.warmup != Messages::default() {
        let warmup = &ledger.warmup;
        row(
            &mut out,
            "warm-up",
            &format!("{} sent, {} exact, kept apart", grouped(warmup.sent), grouped(warmup.exact)),
        );
        if warmup.failures() > 0 {
            row(&mut out, "", &format!("NOT right in the warm-up: {}", failures(warmup)));
        }
    }
    if json::is_checked(load) {
        let aimed = load.model.rate().map_or(String::new(), |rate| format!(" of {} a second aimed at", grouped(rate)));
        let over = time_of(ledger.elapsed_ns);
        row(&mut out, "rate", &format!("{} replies a second over {over}{aimed}", grouped(rate.round() as u64)));
        row(
            &mut out,
            "",
            &format!("{} messages sent a second", grouped(ledger.rate_of(ledger.steady.sent).round() as u64)),
        );
    }
    row(&mut out, "bytes", &format!("{} out, {} in", grouped(ledger.bytes_out), grouped(ledger.bytes_in)));
    connects(&mut out, ledger);
    if !ledger.response.is_empty() {
        latencies(&mut out, load, ledger);
        out.push_str("\n  response times by count; a bar grows with the logarithm of its count:\n");
        bars(&mut out, &ledger.response);
    }
    out.push('\n');
    generator(&mut out, outcome);
    if let Some(first) = &ledger.first_failure {
        let seq = first.seq.map_or("–".to_owned(), |seq| seq.to_string());
        let _ = write!(
            out,
            "\n  the first failure: {} on connection {}, message {seq}\n    sent      {}\n    received  {}\n",
            first.kind, first.conn, first.sent, first.received
        );
    }
    for hint in ledger.hints(load) {
        let _ = writeln!(out, "\n  {hint}");
    }
    thresholds(&mut out, load, ledger);
    let _ = writeln!(out, "\n  {}", verdict(load, outcome));
    out
}

/// What there is to say when nothing was measured: why, and what to try.
fn no_connection(out: &mut String, load: &Load, outcome: &Outcome) {
    connects(out, &outcome.ledger);
    if let Some(code) = outcome.ledger.connects.commonest_failure() {
        let place = Place::Tcp(load.host.clone(), load.port);
        let (what, tries) = advice::no_connection("load", &place, code, code);
        let _ = writeln!(out, "\n  {what}");
        for line in tries {
            let _ = writeln!(out, "    try:  {line}");
        }
    }
    thresholds(out, load, &outcome.ledger);
    let _ = writeln!(out, "\n  {}", verdict(load, outcome));
}

fn row(out: &mut String, name: &str, text: &str) {
    let _ = writeln!(out, "  {name:<12}{text}");
}

fn messages(out: &mut String, load: &Load, counts: &Messages) {
    if matches!(load.model, Model::Hold) {
        return row(out, "messages", "none: the connections were held");
    }
    row(out, "messages", &format!("{} sent", grouped(counts.sent)));
    if !json::is_checked(load) {
        return row(out, "replies", "NOT CHECKED (--expect none)");
    }
    let unit = match load.expect {
        Expect::Fanout(_) => "deliveries",
        _ => "replies",
    };
    row(out, unit, &format!("{} exact of {} expected", grouped(counts.exact), grouped(counts.expected)));
    if counts.failures() + counts.late + counts.unfinished > 0 {
        row(out, "", &format!("NOT right: {}", failures(counts)));
    }
}

/// The counters that are not zero and should be.
fn failures(counts: &Messages) -> String {
    let bad = counts.list().into_iter().skip(3).filter(|(_, count)| *count > 0);
    bad.map(|(name, count)| format!("{} {}", grouped(count), name.replace('_', " "))).collect::<Vec<_>>().join(", ")
}

fn connects(out: &mut String, ledger: &Ledger) {
    let connects = &ledger.connects;
    let mut text = format!("{} of {} made", grouped(connects.ok), grouped(connects.attempted()));
    if let (Some(p50), Some(max)) = (connects.latency.quantile(0.5), connects.latency.quantile(1.0)) {
        let _ = write!(text, ", half of them within {}, all within {}", time_of(p50), time_of(max));
    }
    row(out, "connects", &text);
    let mut bad: Vec<String> = [("refused", connects.refused), ("timed out", connects.timeout)]
        .into_iter()
        .chain(connects.errno.iter().map(|(name, count)| (name.as_str(), *count)))
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{} {name}", grouped(count)))
        .collect();
    if ledger.lost_closed > 0 {
        bad.push(format!("{} closed by the server", grouped(ledger.lost_closed)));
    }
    if ledger.lost_reset > 0 {
        bad.push(format!("{} reset", grouped(ledger.lost_reset)));
    }
    if !bad.is_empty() {
        row(out, "", &format!("NOT right: {}", bad.join(", ")));
    }
}

fn latencies(out: &mut String, load: &Load, ledger: &Ledger) {
    out.push_str("\n              ");
    for (name, _) in QUANTILES {
        let _ = write!(out, "{name:>10}");
    }
    for (name, counts) in [("response", &ledger.response), ("service", &ledger.service)] {
        let _ = write!(out, "\n  {name:<12}");
        for (_, quantile) in QUANTILES {
            let _ = write!(out, "{:>10}", counts.quantile(quantile).map_or("–".to_owned(), time_of));
        }
    }
    let response = match load.model {
        Model::Open { .. } => "from the moment a message was due to the last byte of its reply: what a user waits",
        Model::Script(_) => "from the beginning of a pass to the last byte that it expects",
        _ => "from the send to the last byte of the reply",
    };
    let _ = write!(
        out,
        "\n\n  response: {response}\n  service:  from the write that took the first byte to the last byte of the reply: what the server took\n"
    );
}

/// One bar for each doubling of the time; its length is the logarithm of the count.
fn bars(out: &mut String, counts: &Counts) {
    let mut doublings: Vec<(u32, u64)> = Vec::new();
    for (value, count) in counts.buckets() {
        let doubling = value.max(1).ilog2();
        match doublings.last_mut() {
            Some((last, sum)) if *last == doubling => *sum += count,
            _ => doublings.push((doubling, count)),
        }
    }
    let (Some(first), Some(last)) = (doublings.first(), doublings.last()) else { return };
    let most = doublings.iter().map(|&(_, count)| count).max().unwrap_or(1);
    for doubling in first.0..=last.0 {
        let count = doublings.iter().find(|(at, _)| *at == doubling).map_or(0, |&(_, count)| count);
        let len = if count == 0 { 0 } else { 1 + bar(count, most) };
        let below = 1u64.checked_shl(doubling + 1).unwrap_or(u64::MAX);
        let _ = writeln!(out, "    < {:>8} {:>12}  {}", time_of(below), grouped(count), "#".repeat(len));
    }
}

fn bar(count: u64, most: u64) -> usize {
    if most < 2 {
        return BAR - 1;
    }
    ((count as f64).ln() / (most as f64).ln() * (BAR - 1) as f64).round() as usize
}

fn generator(out: &mut String, outcome: &Outcome) {
    let ledger = &outcome.ledger;
    let word = if ledger.is_saturated() { "was the limit" } else { "was not the limit" };
    let procs =
        if outcome.procs == 1 { String::new() } else { format!(" in the busiest of {} processes", outcome.procs) };
    let late = match ledger.lag.quantile(0.99) {
        Some(lag) => format!("late by {} at most in 99 % of cases", time_of(lag)),
        None => "nothing was due".to_owned(),
    };
    let why = if ledger.is_saturated() && ledger.cpu < IDLE {
        "\n  it was hardly busy: something else on this machine may have kept it from running"
    } else {
        ""
    };
    let _ = writeln!(out, "  the generator {word}: {:.0} % of a core{procs}, and {late}{why}", ledger.cpu * 100.0);
}

/// Each with its unit: who writes `p99>5` may not have meant seconds.
fn thresholds(out: &mut String, load: &Load, ledger: &Ledger) {
    for (at, threshold) in load.fail_if.iter().enumerate() {
        let word = if threshold.is_true(|metric| ledger.measure(metric)) { "failed" } else { "passed" };
        let space = if at == 0 { "\n" } else { "" };
        let words = threshold.words(|metric| ledger.measure(metric));
        let _ = writeln!(out, "{space}  {word}: --fail-if {}", words);
    }
}

fn verdict(load: &Load, outcome: &Outcome) -> &'static str {
    let ledger = &outcome.ledger;
    let failures = ledger.warmup.failures() + ledger.steady.failures();
    match outcome.exit {
        0 => "all right",
        1 if matches!(load.model, Model::Hold) => "a connection failed or was lost (exit 1)",
        1 if ledger.has_sent_nothing(load) => "nothing was sent, and a connection failed or was lost (exit 1)",
        1 => "every reply was right, but a connection failed or was lost (exit 1)",
        3 => "no connection could be made (exit 3)",
        4 if failures == 0 => "no message was sent in the steady phase (exit 4)",
        4 if ledger.warmup.sent + ledger.steady.sent == 0 => "no message was sent (exit 4)",
        4 => "not every reply was right (exit 4)",
        5 => "a threshold of --fail-if was crossed (exit 5)",
        _ => "interrupted (exit 130)",
    }
}

/// `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Three digits and a unit.
pub(crate) fn time_of(ns: u64) -> String {
    let (value, unit) = match ns {
        0..1_000 => return format!("{ns} ns"),
        1_000..1_000_000 => (ns as f64 / 1e3, "us"),
        1_000_000..1_000_000_000 => (ns as f64 / 1e6, "ms"),
        _ => (ns as f64 / 1e9, "s"),
    };
    match value {
        _ if value >= 100.0 => format!("{value:.0} {unit}"),
        _ if value >= 10.0 => format!("{value:.1} {unit}"),
        _ => format!("{value:.2} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        let table =
            [(0, "0 ns"), (999, "999 ns"), (1500, "1.50 us"), (15_000_000, "15.0 ms"), (150_000_000_000, "150 s")];
        for (ns, want) in table {
            assert_eq!(time_of(ns), want);
        }
    }

    #[test]
    fn bars_are_logarithmic() {
        assert_eq!([bar(1, 1), bar(1, 1000), bar(1000, 1000)], [BAR - 1, 0, BAR - 1]);
        let mut counts = Counts::default();
        (0..1000).for_each(|_| counts.record(1000));
        counts.record(u64::MAX / 2);
        let mut out = String::new();
        bars(&mut out, &counts);
        assert!(out.contains("1,000") && out.lines().count() > 40, "{out}");
    }
}
