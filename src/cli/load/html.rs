//! The report as a page: one file, curves as inline SVG, no script, nothing from anywhere else.
//!
//! Everything that comes from outside, and that is the target's name and whatever the server sent, is escaped.

use std::fmt::Write;

use super::counts::{Counts, QUANTILES};
use super::ledger::Ledger;
use super::options::Load;
use super::report::{self, grouped, time_of};
use super::{Outcome, target_url};

/// A diagram's size and the room for its axes, in pixels.
const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 70.0;
const BOTTOM: f64 = 30.0;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:900px;margin:2em auto;padding:0 1em;color:#222;background:#fff}\
pre{background:#f5f5f5;padding:1em;overflow-x:auto;white-space:pre-wrap;overflow-wrap:anywhere}\
table{border-collapse:collapse}td,th{padding:.2em 1em;text-align:right;border-bottom:1px solid #ddd}\
svg{width:100%;height:auto}text{font:11px system-ui,sans-serif;fill:#555}";

/// A curve: its name, its colour, and its points.
struct Curve {
    name: &'static str,
    colour: &'static str,
    points: Vec<(f64, f64)>,
}

/// The page.
pub(crate) fn page(load: &Load, outcome: &Outcome) -> String {
    let ledger = &outcome.ledger;
    let title = format!("bucle load {}", escape(&target_url(load)));
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title><style>{STYLE}</style></head>\n<body>\n<h1>{title}</h1>\n<p>{}, {}</p>\n",
        escape(&report::what(load)),
        escape(&outcome.started)
    );
    table(&mut out, ledger);
    percentiles(&mut out, ledger);
    over_time(&mut out, ledger);
    let _ = write!(out, "<h2>Report</h2>\n<pre>{}</pre>\n</body></html>\n", escape(&report::text(load, outcome)));
    out
}

fn table(out: &mut String, ledger: &Ledger) {
    out.push_str("<table><tr><th></th>");
    for (name, _) in QUANTILES {
        let _ = write!(out, "<th>{name}</th>");
    }
    for (name, counts) in [("response", &ledger.response), ("service", &ledger.service)] {
        let _ = write!(out, "</tr>\n<tr><th>{name}</th>");
        for (_, quantile) in QUANTILES {
            let _ = write!(out, "<td>{}</td>", counts.quantile(quantile).map_or("–".to_owned(), time_of));
        }
    }
    out.push_str("</tr></table>\n");
}

/// Latency by percentile; the further right, the rarer, tenfold from mark to mark.
fn percentiles(out: &mut String, ledger: &Ledger) {
    let points = |counts: &Counts| -> Vec<(f64, f64)> {
        let nines = (counts.total().max(10) as f64).log10();
        let quantile = |nine: f64| counts.quantile(1.0 - 10f64.powf(-nine)).map(|ns| (nine, ns.max(1) as f64));
        (0..=100).filter_map(|step| quantile(nines * f64::from(step) / 100.0)).collect()
    };
    let curves = [
        Curve { name: "response", colour: "#c0392b", points: points(&ledger.response) },
        Curve { name: "service", colour: "#2471a3", points: points(&ledger.service) },
    ];
    let right = curves.iter().flat_map(|curve| &curve.points).map(|point| point.0).fold(1.0, f64::max);
    let marks: Vec<(f64, String)> = (0..=right as u32)
        .map(|nine| (f64::from(nine), if nine == 0 { "0".to_owned() } else { percent(nine) }))
        .collect();
    diagram(out, "Latency by percentile", &curves, right, &marks, true);
}

/// `90 %`, `99 %`, `99.9 %`.
fn percent(nines: u32) -> String {
    let decimals = nines.saturating_sub(2) as usize;
    format!("{:.decimals$} %", 100.0 - 100.0 * 10f64.powi(-(nines as i32)))
}

fn over_time(out: &mut String, ledger: &Ledger) {
    let counts: Vec<Counts> = ledger.seconds.iter().map(super::ledger::Second::counts).collect();
    let at = |quantile: f64| -> Vec<(f64, f64)> {
        let value =
            |(second, counts): (usize, &Counts)| Some((second as f64, counts.quantile(quantile)?.max(1) as f64));
        counts.iter().enumerate().filter_map(value).collect()
    };
    let right = ledger.seconds.len().saturating_sub(1).max(1) as f64;
    let step = (right / 10.0).ceil().max(1.0);
    let marks: Vec<(f64, String)> =
        (0..=10).map(|i| f64::from(i) * step).filter(|&x| x <= right).map(|x| (x, format!("{x} s"))).collect();
    let curves = [
        Curve { name: "max", colour: "#c0392b", points: at(1.0) },
        Curve { name: "p99", colour: "#d68910", points: at(0.99) },
        Curve { name: "p50", colour: "#2471a3", points: at(0.5) },
    ];
    diagram(out, "Response over time", &curves, right, &marks, true);
    let all = ledger.seconds.iter().enumerate();
    let living = all.clone().map(|(second, at)| (second as f64, at.connections as f64)).collect();
    let curves = [Curve { name: "connections", colour: "#1e8449", points: living }];
    diagram(out, "Connections over time", &curves, right, &marks, false);
    let exact = all.clone().map(|(second, at)| (second as f64, at.exact as f64)).collect();
    let failed = all.map(|(second, at)| (second as f64, at.failed as f64)).collect();
    let curves = [
        Curve { name: "right replies", colour: "#1e8449", points: exact },
        Curve { name: "failures", colour: "#c0392b", points: failed },
    ];
    diagram(out, "Replies by second", &curves, right, &marks, false);
}

/// A diagram with its axes. `is_log`: times on a logarithmic axis; otherwise numbers from zero.
fn diagram(out: &mut String, title: &str, curves: &[Curve], right: f64, marks: &[(f64, String)], is_log: bool) {
    let _ = writeln!(out, "<h2>{title}</h2>");
    let values = || curves.iter().flat_map(|curve| &curve.points).map(|point| point.1);
    if values().next().is_none() {
        out.push_str("<p>no samples</p>\n");
        return;
    }
    let scale = |value: f64| if is_log { value.max(1.0).log10() } else { value };
    let top = values().map(scale).fold(f64::MIN, f64::max);
    let top = if is_log { top.ceil().max(1.0) } else { top.max(1.0) };
    let bottom = if is_log { values().map(scale).fold(f64::MAX, f64::min).floor().min(top - 1.0) } else { 0.0 };
    let x = |value: f64| LEFT + value / right * (WIDTH - LEFT - 10.0);
    let y = |value: f64| HEIGHT - BOTTOM - (scale(value) - bottom) / (top - bottom) * (HEIGHT - BOTTOM - 20.0);
    let _ = write!(out, "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\"><title>{title}</title>");
    let lines: Vec<(f64, String)> = if is_log {
        (bottom as i32..=top as i32).map(|power| 10f64.powi(power)).map(|ns| (ns, time_of(ns as u64))).collect()
    } else {
        (0..=4).map(|part| top * f64::from(part) / 4.0).map(|value| (value, grouped(value.round() as u64))).collect()
    };
    for (value, name) in lines {
        let (at, end) = (y(value), WIDTH - 10.0);
        let _ = write!(
            out,
            "<path d=\"M{LEFT} {at:.1}H{end}\" stroke=\"#ddd\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
            LEFT - 6.0,
            at + 4.0
        );
    }
    for (value, name) in marks {
        let _ =
            write!(out, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{name}</text>", x(*value), HEIGHT - 10.0);
    }
    for (i, curve) in curves.iter().enumerate() {
        let points: String = curve.points.iter().map(|&(at, value)| format!("{:.1},{:.1} ", x(at), y(value))).collect();
        let colour = curve.colour;
        let _ = write!(
            out,
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/><text x=\"{:.1}\" y=\"14\" style=\"fill:{colour}\">{}</text>",
            LEFT + 10.0 + 110.0 * i as f64,
            curve.name
        );
    }
    out.push_str("</svg>\n");
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_is_markup() {
        assert_eq!(escape("<script>'&\""), "&lt;script&gt;&#39;&amp;&quot;");
    }

    #[test]
    fn percentages() {
        assert_eq!([1, 2, 3, 4].map(percent), ["90 %", "99 %", "99.9 %", "99.99 %"]);
    }
}
