//! `--compare`: the report beside an earlier one of the same plan.
//!
//! ```text
//!   OLD.json: one report or several ─▶ median and spread ─┐
//!                                                         ├─▶ rows: before, after, change
//!   this run ─────────────────────────▶ value and spread ─┘
//! ```
//!
//! The spread shows how much a figure varies without any change. Of several reports it goes from the lowest to the
//! highest of them; of one report, from the lowest to the highest fifth of its steady phase. If both spreads overlap,
//! the change may be chance.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::units::{grouped, plain, time_of};

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
    before: Option<Measured>,
    after: Option<Measured>,
}

/// The parts of a report, besides its `plan`, that have to be the same.
const SAME: [&str; 4] = ["protocol", "model", "expect", "rate_target"];

impl Before {
    /// Reads a file with reports of `--json`, one after the other. `Err` is a sentence.
    pub(crate) fn read(path: &Path) -> Result<Before, String> {
        let name = path.display();
        let bytes = std::fs::read(path)
            .map_err(|error| format!("--compare: cannot read {name}: {error}; check the file name"))?;
        let reports: Result<Vec<Value>, _> = serde_json::Deserializer::from_slice(&bytes).into_iter().collect();
        let reports = reports.ok().filter(|reports| !reports.is_empty() && reports.iter().all(is_report));
        let reports = reports
            .ok_or_else(|| format!("--compare: {name} is no report: write one with  bucle load --json > FILE"))?;
        if reports.iter().any(|report| report["plan"].is_null()) {
            return Err(format!("--compare: {name} was written by an older bucle, without a plan: measure again"));
        }
        Ok(Before { path: path.to_owned(), reports })
    }

    /// Whether all reports have this plan. `Err` is a sentence with the differences.
    pub(crate) fn check(&self, plan: &Value) -> Result<(), String> {
        for report in &self.reports {
            let differences = differences(report, plan);
            if !differences.is_empty() {
                return Err(format!(
                    "--compare: {} was measured with another plan: {}; use the same options, or measure it again",
                    self.path.display(),
                    differences.join(", ")
                ));
            }
        }
        Ok(())
    }

    fn rows(&self, after: &Value) -> Vec<Row> {
        let row = |figure| Row {
            figure,
            before: measured(&self.reports, figure),
            after: measured(std::slice::from_ref(after), figure),
        };
        FIGURES.iter().map(row).filter(|row| row.before.is_some() && row.after.is_some()).collect()
    }

    /// The comparison with this report as text, a line for each figure.
    pub(crate) fn text(&self, after: &Value) -> String {
        let runs = match self.reports.len() {
            1 => String::new(),
            count => format!("{count} runs, the first "),
        };
        let first = &self.reports[0];
        let mut out = format!(
            "  compared with {} ({runs}of {}, {}); in brackets the spread\n\n  {:<13}{:<26} {:<26} change\n",
            self.path.display(),
            first["started"].as_str().unwrap_or("?"),
            first["target"].as_str().unwrap_or("?"),
            "",
            "before",
            "after",
        );
        for row in self.rows(after) {
            let cell = |side: Option<Measured>| side.map_or(String::new(), |side| side.text(row.figure));
            let line =
                format!("  {:<13}{:<26} {:<26} {}", row.figure.name, cell(row.before), cell(row.after), row.change());
            out += line.trim_end();
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

/// A figure of these reports: the median, and the spread.
fn measured(reports: &[Value], figure: &Figure) -> Option<Measured> {
    let mut values: Vec<f64> = reports.iter().filter_map(|report| value_of(report, figure)).collect();
    values.sort_by(f64::total_cmp);
    let (&low, &high) = (values.first()?, values.last()?);
    let middle = values.len() / 2;
    let value = if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 };
    let spread = if values.len() > 1 { Some((low, high)) } else { spread_of_parts(&reports[0], figure) };
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
    let name = figure.part?;
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
    fn figures_that_both_have_are_compared() {
        let before = before(vec![report(100.0, 2_000_000, &[90.0, 110.0])]);
        let text = before.text(&report(100.0, 1_000_000, &[90.0, 110.0]));
        let want = [
            "  compared with old.json (of 2026-12-01T10:00:00Z, tcp://h:1); in brackets the spread",
            "",
            "               before                     after                      change",
            "  replies/s    100 (90–110)               100 (90–110)               +0.0 %, within the spread",
            "  p99          2.00 ms (2.00 ms–2.00 ms)  1.00 ms (1.00 ms–1.00 ms)  -50.0 %, beyond the spread",
            "  failures     2                          2                          +0.0 %",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), want);
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
        let want = "--compare: old.json was measured with another plan: model closed there and open here, \
                    rate_target none there and 50 here, connections 10 there and 20 here, other messages; \
                    use the same options, or measure it again";
        assert_eq!(before.check(&plan), Err(want.to_owned()));
    }
}
