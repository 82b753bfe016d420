//! `--compare`: the report beside an earlier one of the same plan.
//!
//! ```text
//!   OLD.json: one report or several ─▶ median and spread ─┐
//!                                                         ├─▶ rows: before, after, change
//!   this run ─────────────────────────▶ value and spread ─┘
//! ```
//!
//! The spread shows how much a figure varies without any change. Of several reports it goes from the lowest to the
//! highest of them; of one report, from the lowest to the highest of its parts. If both spreads overlap,
//! the change may be chance.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::units::{grouped, plain, time_of, typed_time};
use crate::cli::advice::cannot_read;
use crate::cli::usage::Usage;
use crate::cli::wrap::hanging;

/// The width of the widest row of the table.
const TABLE: usize = 98;

/// The reports to compare with.
#[derive(Debug)]
pub(crate) struct Before {
    path: PathBuf,
    reports: Vec<Value>,
}

/// A figure that is compared.
struct Figure {
    name: &'static str,
    /// Where it is in a report.
    pointer: &'static str,
    /// Its name in a part of the steady phase.
    part: Option<&'static str>,
    write: fn(f64) -> String,
}

fn rate(value: f64) -> String {
    plain(value)
}

fn time(ns: f64) -> String {
    time_of(ns.max(0.0).round() as u64)
}

fn number(value: f64) -> String {
    grouped(value.max(0.0).round() as u64)
}

const FIGURES: [Figure; 7] = [
    Figure { name: "replies/s", pointer: "/rate", part: Some("rate"), write: rate },
    Figure { name: "p50", pointer: "/latency_ns/response/p50", part: Some("p50_ns"), write: time },
    Figure { name: "p99", pointer: "/latency_ns/response/p99", part: Some("p99_ns"), write: time },
    Figure { name: "p99.9", pointer: "/latency_ns/response/p99.9", part: None, write: time },
    Figure { name: "max", pointer: "/latency_ns/response/max", part: None, write: time },
    Figure { name: "connect p99", pointer: "/connect/latency_ns/p99", part: None, write: time },
    Figure { name: "failures", pointer: "", part: None, write: number },
];

/// A figure of one side.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Measured {
    value: f64,
    spread: Option<(f64, f64)>,
}

/// A row of the comparison.
struct Row {
    figure: &'static Figure,
    /// Its name in the table. In JSON the name of the figure does not change.
    name: &'static str,
    before: Option<Measured>,
    after: Option<Measured>,
}

/// The parts of a report, besides its `plan`, that have to be the same.
const SAME: [&str; 4] = ["protocol", "model", "expect", "rate_target"];

impl Before {
    /// Reads a file with reports of `--json`, one after the other.
    pub(crate) fn read(path: &Path) -> Result<Before, Usage> {
        let name = path.display();
        let write_to = |name: &str| format!("bucle load … --json > {name}      and compare the next run with it");
        let bytes = std::fs::read(path).map_err(|error| cannot_read("--compare", path, &error, write_to))?;
        let reports: Result<Vec<Value>, _> = serde_json::Deserializer::from_slice(&bytes).into_iter().collect();
        let reports = reports.ok().filter(|reports| !reports.is_empty() && reports.iter().all(is_report));
        let Some(reports) = reports else {
            let why = format!("--compare: {name} is not a report of bucle load --json");
            // The file may be of another program.
            return Err(Usage::new(why, write_to("FILE")));
        };
        if reports.iter().any(has_ended_early) {
            let why = format!("--compare: {name} has a run that was interrupted or ended early: measure again");
            return Err(Usage::new(why, write_to(&name.to_string())));
        }
        Ok(Before { path: path.to_owned(), reports })
    }

    /// Whether all reports have this plan. The error has the differences, and the options of the earlier run.
    pub(crate) fn check(&self, plan: &Value) -> Result<(), Usage> {
        let name = self.path.display();
        let again = format!("bucle load … --json > {name}      to measure it again, with the options of this run");
        for report in &self.reports {
            let mut known = plan["plan"].as_object().into_iter().flatten();
            if known.any(|(name, _)| report["plan"].get(name).is_none()) {
                let why = format!("--compare: {name} was written by an older bucle, without its whole plan");
                return Err(Usage::new(why, again));
            }
            let differences = differences(report, plan);
            if differences.is_empty() {
                continue;
            }
            let why = format!("--compare: {name} was measured with another plan: {}", differences.join(", "));
            return Err(match options(report, plan) {
                Some(options) => Usage::new(why, format!("bucle load … {options} --compare {name}")).or(again),
                None => Usage::new(why, again),
            });
        }
        Ok(())
    }

    fn rows(&self, after: &Value) -> Vec<Row> {
        let is_sent = |figure: &Figure| figure.pointer == "/rate" && after["checked"] == false;
        let row = |figure: &'static Figure| Row {
            figure,
            name: if is_sent(figure) { "messages/s" } else { figure.name },
            before: measured(&self.reports, figure),
            after: measured(std::slice::from_ref(after), figure),
        };
        FIGURES.iter().map(row).filter(|row| row.before.is_some() && row.after.is_some()).collect()
    }

    /// The comparison with this report as text: a line for each figure, or a block of lines if the width is too small.
    pub(crate) fn text(&self, after: &Value, width: usize) -> String {
        let runs = match self.reports.len() {
            1 => String::new(),
            count => format!("{count} runs, the first "),
        };
        let first = &self.reports[0];
        let head = format!(
            "compared with {} ({runs}of {}, {}); in brackets the spread",
            self.path.display(),
            first["started"].as_str().unwrap_or("?"),
            first["target"].as_str().unwrap_or("?"),
        );
        let rows = self.rows(after);
        let cell = |row: &Row, side: Option<Measured>| side.map_or(String::new(), |side| side.text(row.figure));
        let mut out = match width < TABLE {
            true => hanging("  ", &head, width) + "\n",
            false => format!("  {head}\n\n"),
        };
        if width < TABLE {
            for row in &rows {
                let lines =
                    [("before", cell(row, row.before)), ("after", cell(row, row.after)), ("change", row.change())];
                out += &format!("  {}\n", row.name);
                lines.iter().for_each(|(name, text)| out += &hanging(&format!("    {name:<8}"), text, width));
            }
            return out;
        }
        out += &format!("  {:<13}{:<26} {:<26} change\n", "", "before", "after");
        for row in rows {
            let (before, after) = (cell(&row, row.before), cell(&row, row.after));
            out += format!("  {:<13}{before:<26} {after:<26} {}", row.name, row.change()).trim_end();
            out.push('\n');
        }
        out
    }

    /// The comparison for programs.
    pub(crate) fn value(&self, after: &Value) -> Value {
        let side = |side: Option<Measured>| {
            side.map(|Measured { value, spread }| json!({ "value": value, "low": spread.map(|it| it.0), "high": spread.map(|it| it.1) }))
        };
        let figures = self.rows(after).into_iter().map(|row| {
            let value = json!({ "before": side(row.before), "after": side(row.after), "apart": row.are_apart() });
            (row.figure.name.to_owned(), value)
        });
        let figures: serde_json::Map<String, Value> = figures.collect();
        json!({ "file": self.path.to_string_lossy(), "runs": self.reports.len(), "figures": figures })
    }
}

impl Measured {
    fn text(self, figure: &Figure) -> String {
        match self.spread {
            Some((low, high)) => {
                format!("{} ({}–{})", (figure.write)(self.value), (figure.write)(low), (figure.write)(high))
            }
            None => (figure.write)(self.value),
        }
    }
}

impl Row {
    /// Whether the spreads do not overlap. `None` without spreads.
    fn are_apart(&self) -> Option<bool> {
        let ((low, high), (from, to)) = (self.before?.spread?, self.after?.spread?);
        Some(high < from || to < low)
    }

    fn change(&self) -> String {
        let (Some(before), Some(after)) = (self.before, self.after) else { return String::new() };
        let percent = match before.value {
            0.0 if after.value == 0.0 => "same".to_owned(),
            0.0 => "new".to_owned(),
            value if after.value >= 10.0 * value => format!("{:.0} times", after.value / value),
            value => format!("{:+.1} %", (after.value - value) / value * 100.0),
        };
        match self.are_apart() {
            Some(true) => format!("{percent}, beyond the spread"),
            Some(false) => format!("{percent}, within the spread"),
            None => percent,
        }
    }
}

fn is_report(value: &Value) -> bool {
    value["schema"] == "bucle-load/1"
}

/// Whether the run did not last as long as it should.
fn has_ended_early(report: &Value) -> bool {
    report["interrupted"] == true || !report["ended_early"].is_null()
}

/// The parts of the plan that differ, with both values.
fn differences(report: &Value, here: &Value) -> Vec<String> {
    let written = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "none".to_owned(),
        other => other.to_string(),
    };
    let same = SAME.iter().map(|&name| (name, &report[name], &here[name]));
    let plan = here["plan"].as_object().into_iter().flatten();
    let all = same.chain(plan.map(|(name, value)| (name.as_str(), &report["plan"][name], value)));
    all.filter(|(_, there, here)| there != here)
        .map(|(name, there, here)| match name {
            "message" => "other messages".to_owned(),
            _ => format!("{name} {} there and {} here", written(there), written(here)),
        })
        .collect()
}

/// The options that give this run the plan of the report. `None` if the report does not tell all of them.
fn options(report: &Value, here: &Value) -> Option<String> {
    let mut options = Vec::new();
    let count = |value: &Value| value.as_u64().map(|count| count.to_string());
    // Exactly, or the plans would still differ.
    let time = |value: &Value| value.as_u64().map(typed_time);
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let same = SAME.iter().filter(|&&name| report[name] != here[name]).map(|&name| (name, &report[name]));
    let plan = here["plan"].as_object().into_iter().flatten();
    let plan = plan.filter(|(name, value)| report["plan"][&**name] != **value);
    for (name, there) in same.chain(plan.map(|(name, _)| (name.as_str(), &report["plan"][name]))) {
        let (option, value) = match name {
            "connections" => ("-c", count(there)?),
            "duration_ns" if there.is_null() => continue,
            "duration_ns" => ("-d", time(there)?),
            "requests" if there.is_null() => continue,
            "requests" => ("-n", count(there)?),
            // The model follows from the rate.
            "model" if matches!(there.as_str(), Some("open")) => continue,
            "rate_target" | "in_flight" if there.is_null() => continue,
            "rate_target" => ("-r", count(there)?),
            "in_flight" => ("--in-flight", count(there)?),
            "warmup_ns" => ("--warmup", time(there)?),
            "timeout_ns" => ("--timeout", time(there)?),
            "ramp" if there.is_null() => ("--ramp", "0".to_owned()),
            "ramp" => ("--ramp", text(there)?),
            "expect" if matches!(there.as_str(), Some("echo" | "line" | "none" | "fanout" | "fanout:others")) => {
                ("--expect", text(there)?)
            }
            "procs" => ("--procs", count(there)?),
            "source" if there.is_null() => ("--source", "auto".to_owned()),
            "source" => ("--source", text(there)?),
            "telnet" | "skip_line" | "binary" | "reconnect" if there == true => {
                options.push(format!("--{}", name.replace('_', "-")));
                continue;
            }
            // An option has to be left out, or its value is not in the report.
            _ => return None,
        };
        options.push(format!("{option} {value}"));
    }
    Some(options.join(" "))
}

/// A figure of these reports: the median, and the spread.
fn measured(reports: &[Value], figure: &Figure) -> Option<Measured> {
    let mut values: Vec<f64> = reports.iter().filter_map(|report| value_of(report, figure)).collect();
    values.sort_by(f64::total_cmp);
    let (&low, &high) = (values.first()?, values.last()?);
    let middle = values.len() / 2;
    let value = if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 };
    let spread = match reports {
        // The times of parts are rounded more, so the figure itself may be a little outside of them.
        [report] => spread_of_parts(report, figure).map(|(low, high)| (low.min(value), high.max(value))),
        _ => (values.len() > 1).then_some((low, high)),
    };
    Some(Measured { value, spread })
}

fn value_of(report: &Value, figure: &Figure) -> Option<f64> {
    match figure.pointer {
        "" => Some(failures(report)),
        "/rate" if report["checked"] == false => report["rate_sent"].as_f64(),
        pointer => report.pointer(pointer)?.as_f64(),
    }
}

/// The lowest and the highest value of the parts of the steady phase.
fn spread_of_parts(report: &Value, figure: &Figure) -> Option<(f64, f64)> {
    // If replies are not checked, the rate is that of sent messages, but the parts count exact replies.
    let is_sent = figure.pointer == "/rate" && report["checked"] == false;
    let name = figure.part.filter(|_| !is_sent)?;
    let mut values: Vec<f64> = report["parts"].as_array()?.iter().filter_map(|part| part[name].as_f64()).collect();
    values.sort_by(f64::total_cmp);
    (values.len() > 1).then(|| (values[0], values[values.len() - 1]))
}

/// Messages and connections that failed.
fn failures(report: &Value) -> f64 {
    let messages = ["wrong", "missing", "out_of_order", "duplicate", "unexpected", "unsent"];
    let bad = |counts: &Value| messages.iter().filter_map(|name| counts[name].as_f64()).sum::<f64>();
    let connect = &report["connect"];
    let failed = connect["attempted"].as_f64().unwrap_or(0.0) - connect["ok"].as_f64().unwrap_or(0.0);
    let lost = ["closed", "reset"].iter().filter_map(|name| report["lost"][name].as_f64()).sum::<f64>();
    bad(&report["messages"]) + bad(&report["warmup"]["messages"]) + failed + lost
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(rate: f64, p99: u64, rates: &[f64]) -> Value {
        let parts: Vec<Value> =
            rates.iter().map(|rate| json!({ "rate": rate, "p50_ns": null, "p99_ns": p99 })).collect();
        json!({
            "schema": "bucle-load/1", "started": "2026-12-01T10:00:00Z", "target": "tcp://h:1", "checked": true,
            "protocol": "tcp", "model": "closed", "expect": "echo", "rate_target": null, "rate": rate,
            "plan": { "connections": 10, "message": "0123456789abcdef" }, "parts": parts,
            "latency_ns": { "response": { "p50": null, "p99": p99 } },
            "messages": { "wrong": 1 }, "warmup": { "messages": {} }, "connect": { "attempted": 3, "ok": 2 },
        })
    }

    fn before(reports: Vec<Value>) -> Before {
        Before { path: "old.json".into(), reports }
    }

    #[test]
    fn a_change_is_within_or_beyond_the_spread() {
        let table = [
            (
                vec![report(100.0, 1000, &[90.0, 110.0])],
                report(105.0, 1000, &[99.0, 120.0]),
                "+5.0 %, within the spread",
            ),
            (
                vec![report(100.0, 1000, &[90.0, 110.0])],
                report(50.0, 1000, &[49.0, 51.0]),
                "-50.0 %, beyond the spread",
            ),
            (vec![report(100.0, 1000, &[100.0])], report(50.0, 1000, &[49.0, 51.0]), "-50.0 %"),
            // The median of several runs, and their spread.
            (
                vec![report(90.0, 1, &[]), report(100.0, 1, &[]), report(200.0, 1, &[])],
                report(110.0, 1, &[105.0, 115.0]),
                "+10.0 %, within the spread",
            ),
        ];
        for (old, new, want) in table {
            let rows = before(old).rows(&new);
            assert_eq!((rows[0].figure.name, rows[0].change().as_str()), ("replies/s", want));
        }
    }

    #[test]
    fn a_rate_of_sent_messages_has_no_spread_of_replies() {
        let unchecked = |rate: f64| {
            let mut report = report(0.0, 1, &[0.0, 0.0]);
            (report["checked"], report["rate_sent"]) = (false.into(), rate.into());
            report
        };
        let rows = before(vec![unchecked(100.0)]).rows(&unchecked(105.0));
        assert_eq!(
            (rows[0].before, rows[0].change().as_str()),
            (Some(Measured { value: 100.0, spread: None }), "+5.0 %")
        );
        assert_eq!((rows[0].name, rows[0].figure.name), ("messages/s", "replies/s"));
    }

    #[test]
    fn a_figure_of_one_report_of_several_has_no_spread() {
        let mut silent = report(100.0, 0, &[90.0, 110.0]);
        silent["latency_ns"] = Value::Null;
        let rows = before(vec![silent, report(100.0, 500, &[])]).rows(&report(100.0, 500, &[]));
        let p99 = rows.iter().find(|row| row.figure.name == "p99").and_then(|row| row.before);
        assert_eq!(p99, Some(Measured { value: 500.0, spread: None }));
    }

    #[test]
    fn figures_that_both_have_are_compared() {
        let before = before(vec![report(100.0, 2_000_000, &[90.0, 110.0])]);
        let text = before.text(&report(100.0, 1_000_000, &[90.0, 110.0]), 100);
        let want = [
            "  compared with old.json (of 2026-12-01T10:00:00Z, tcp://h:1); in brackets the spread",
            "",
            "               before                     after                      change",
            "  replies/s    100 (90–110)               100 (90–110)               +0.0 %, within the spread",
            "  p99          2.00 ms (2.00 ms–2.00 ms)  1.00 ms (1.00 ms–1.00 ms)  -50.0 %, beyond the spread",
            "  failures     2                          2                          +0.0 %",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), want);
        let narrow = before.text(&report(100.0, 1_000_000, &[90.0, 110.0]), 40);
        assert!(narrow.contains("  p99\n    before  2.00 ms (2.00 ms–2.00 ms)\n    after   1.00 ms"), "{narrow}");
        assert!(narrow.contains("\n    change  -50.0 %, beyond the spread\n"), "{narrow}");
        assert!(narrow.lines().all(|line| line.chars().count() <= 40), "{narrow}");
        let value = before.value(&report(100.0, 1_000_000, &[90.0, 110.0]));
        assert_eq!(value["figures"]["p99"]["apart"], true);
        assert_eq!(value["figures"]["replies/s"]["before"], json!({ "value": 100.0, "low": 90.0, "high": 110.0 }));
    }

    #[test]
    fn another_plan_is_refused_with_its_differences() {
        let before = before(vec![report(1.0, 1, &[])]);
        let mut plan = report(1.0, 1, &[]);
        assert_eq!(before.check(&plan), Ok(()));
        plan["model"] = "open".into();
        plan["rate_target"] = 50.into();
        plan["plan"] = json!({ "connections": 20, "message": "0" });
        let why = "--compare: old.json was measured with another plan: model closed there and open here, \
                   rate_target none there and 50 here, connections 10 there and 20 here, other messages";
        let again = "bucle load … --json > old.json      to measure it again, with the options of this run";
        assert_eq!(before.check(&plan), Err(Usage::new(why, again)));
    }

    #[test]
    fn a_report_without_a_part_of_the_plan_is_of_an_older_bucle() {
        let mut plan = report(1.0, 1, &[]);
        plan["plan"]["binary"] = false.into();
        let why = "--compare: old.json was written by an older bucle, without its whole plan";
        assert_eq!(before(vec![report(1.0, 1, &[])]).check(&plan).map_err(|usage| usage.why), Err(why.to_owned()));
    }

    #[test]
    fn the_options_of_the_earlier_run_are_shown_if_they_are_known() {
        let mut old = report(1.0, 1, &[]);
        old["model"] = "open".into();
        old["rate_target"] = 50.into();
        old["plan"] = json!({
            "connections": 10, "in_flight": null, "duration_ns": 2_500_000_000_u64, "requests": null, "warmup_ns": 0,
        });
        let mut here = report(1.0, 1, &[]);
        here["plan"] = json!({ "connections": 20, "in_flight": 1, "duration_ns": null, "requests": 5, "warmup_ns": 1_000_000_000 });
        assert_eq!(options(&old, &here).as_deref(), Some("-r 50 -c 10 -d 2.5s --warmup 0s"));
        for (name, there, flag) in [("binary", true, "--binary"), ("skip_line", true, "--skip-line")] {
            (old["plan"][name], here["plan"][name]) = (there.into(), (!there).into());
            assert!(options(&old, &here).is_some_and(|options| options.ends_with(flag)), "{name}");
            here["plan"][name] = there.into();
        }
        (old["plan"]["procs"], here["plan"]["procs"]) = (2.into(), 1.into());
        assert!(options(&old, &here).is_some_and(|options| options.ends_with("--procs 2")));
        here["plan"]["message"] = "0".into();
        assert_eq!(options(&old, &here), None, "the messages are not in the report");
    }
}
