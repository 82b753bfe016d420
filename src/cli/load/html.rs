//! The report as a page: one file with curves as inline SVG, without scripts and without references to other files.
//!
//! The most important things come first: the verdict and its reasons, four figures, then the curves, and at the end the
//! text of the report. A part with nothing to show is left out.
//!
//! All input is escaped: the name of the target, what the user typed, and what the server sent.

mod chart;
mod file;

use std::fmt::Write;
use std::path::Path;

use super::check::Expect;
use super::counts::{Counts, QUANTILES};
use super::ledger::{Failure, FinishedRun, Ledger};
use super::options::{Load, Model};
use super::report;
use super::timeline::Cut;
use super::units::{grouped, plain, time_of};
use crate::cli::usage::Usage;
use chart::{Axis, Chart, Curve, Shape, Step};
use file::PageFile;

/// The beginning of every page, by which a page is recognised.
const HEAD: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
                    <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>bucle load ";

const STYLE: &str = include_str!("html/style.css");

/// How many points a curve of percentiles has.
const POINTS: u32 = 200;

/// Phases shorter than this part of the run are not marked: their line would cover another line.
const VISIBLE: f64 = 0.03;

/// Opens the file of a page. An earlier page may be replaced, but no other file.
pub(crate) fn create(path: &Path) -> Result<PageFile, Usage> {
    file::create(path, HEAD)
}

/// Writes the page. `compared`: the comparison of `--compare`, as text.
pub(crate) fn page(load: &Load, run: &FinishedRun, compared: Option<&str>) -> String {
    let ledger = &run.ledger;
    let target = escape(load.target_url().trim_start_matches("tcp://"));
    let mut out = format!(
        "{HEAD}{target}</title><style>\n{STYLE}</style></head>\n<body>\n<h1>bucle load {target}</h1>\n\
         <p class=\"soft\">{}<br>{}, bucle {}</p>\n",
        escape(&report::describe(load)),
        escape(&run.started.replace('T', " ").replace('Z', " UTC")),
        env!("CARGO_PKG_VERSION"),
    );
    verdict(&mut out, load, run);
    if ledger.connects.ok > 0 {
        tiles(&mut out, load, ledger);
        generator(&mut out, load, run);
    }
    if let Some(first) = &ledger.first_failure {
        first_failure(&mut out, first);
    }
    if !ledger.response.is_empty() {
        table(&mut out, ledger);
        percentiles(&mut out, ledger);
    }
    if ledger.connects.ok > 0 {
        over_time(&mut out, load, ledger);
    }
    if let Some(text) = compared {
        let _ = write!(out, "<h2>Before and after</h2>\n<pre>{}</pre>\n", escape(text));
    }
    let text = report::text(load, run, report::COLUMNS);
    let _ = write!(out, "<h2>Report</h2>\n<pre>{}</pre>\n</body></html>\n", escape(&text));
    out
}

/// Whether the run was good, and all reasons if not.
fn verdict(out: &mut String, load: &Load, run: &FinishedRun) {
    let ledger = &run.ledger;
    let (class, mark) = match run.exit {
        0 => ("good", "✓"),
        130 => ("warn", "■"),
        _ => ("bad", "✗"),
    };
    let words = report::verdict(load, run);
    let (first, rest) = words.split_at(1);
    let _ = write!(
        out,
        "<section class=\"verdict {class}\"><strong>{mark} {}{rest}{}</strong>",
        first.to_uppercase(),
        if run.exit == 0 { " (exit 0)" } else { "" }
    );
    let mut reasons = Vec::new();
    for (phase, counts) in [("", &ledger.steady), (" in the warm-up", &ledger.warmup)] {
        if counts.failures() + counts.late + counts.unfinished > 0 {
            reasons.push(format!("{}{phase}", report::failures(counts)));
        }
    }
    reasons.extend(report::early_end(ledger));
    let troubles = report::troubles(ledger);
    if !troubles.is_empty() {
        reasons.push(format!("connections: {}", troubles.join(", ")));
    }
    reasons.extend(report::absences(load, ledger));
    if !ledger.close_codes.is_empty() {
        reasons.push(format!("close codes: {}", report::close_codes(ledger)));
    }
    reasons.extend(report::no_connection(load, ledger).into_iter().map(|(what, _)| what));
    reasons.extend(report::thresholds(load, ledger));
    reasons.extend(report::hints(load, ledger));
    if !reasons.is_empty() {
        let items: String = reasons.iter().map(|reason| format!("<li>{}</li>", escape(reason))).collect();
        let _ = write!(out, "<ul>{items}</ul>");
    }
    out.push_str("</section>\n");
}

/// The most important figures, each with name, value and a note.
fn tiles(out: &mut String, load: &Load, ledger: &Ledger) {
    let counts = &ledger.steady;
    let connects = &ledger.connects;
    let mut tiles: Vec<(&str, String, String, bool)> = Vec::new();
    let rate = |count: u64| plain(ledger.rate_of(count));
    let aimed = load.model.rate().map_or(String::new(), |rate| format!("target: {}", grouped(rate)));
    if load.is_checked() {
        let name = if matches!(load.model, Model::Script(_)) { "passes a second" } else { "replies a second" };
        tiles.push((name, rate(counts.exact), aimed, false));
        let of = format!("of {} {} expected", grouped(counts.expected), unit(load));
        tiles.push(("exact", grouped(counts.exact), of, counts.exact < counts.expected));
        let failures = counts.failures() + ledger.warmup.failures();
        let warmup = match ledger.warmup.failures() {
            0 => String::new(),
            count => format!("{} of them in the warm-up", grouped(count)),
        };
        tiles.push(("failures", grouped(failures), warmup, failures > 0));
    } else if !matches!(load.model, Model::Hold) {
        tiles.push(("messages sent a second", rate(counts.sent), aimed, false));
        tiles.push(("sent", grouped(counts.sent), "replies were not checked".to_owned(), false));
    }
    if let (Some(p99), Some(p50)) = (ledger.response.quantile(0.99), ledger.response.quantile(0.5)) {
        tiles.push(("p99 response", time_of(p99), format!("p50 {}", time_of(p50)), false));
    } else if let (Some(most), Some(p50)) = (connects.latency.quantile(1.0), connects.latency.quantile(0.5)) {
        tiles.push(("slowest connect", time_of(most), format!("p50 {}", time_of(p50)), false));
    }
    let lost = ledger.lost_closed + ledger.lost_reset;
    let made = format!("{} of {}", grouped(connects.ok), grouped(connects.attempted()));
    let lost_text = if lost == 0 { "none lost".to_owned() } else { format!("{} lost", grouped(lost)) };
    tiles.push(("connections made", made, lost_text, connects.failed() + lost > 0));
    out.push_str("<dl class=\"tiles\">");
    for (name, value, note, is_off) in tiles {
        let class = if is_off { " class=\"off\"" } else { "" };
        let _ = write!(
            out,
            "<div{class}><dt>{name}</dt><dd class=\"value\">{value}</dd><dd><small>{note}</small></dd></div>"
        );
    }
    out.push_str("</dl>\n");
}

/// Whether the load generator was the limit.
fn generator(out: &mut String, load: &Load, run: &FinishedRun) {
    let class = if run.ledger.is_saturated() { "note off" } else { "note" };
    let words = report::generator(load, run);
    let (first, rest) = words.split_at(1);
    let _ = writeln!(out, "<p class=\"{class}\">{}{}.</p>", first.to_uppercase(), escape(rest));
}

fn unit(load: &Load) -> &'static str {
    match (&load.model, &load.expect) {
        (Model::Script(_), _) => "passes",
        (_, Expect::Fanout(_)) => "deliveries",
        _ => "replies",
    }
}

fn first_failure(out: &mut String, first: &Failure) {
    let message = if first.line.is_some() { "pass" } else { "message" };
    let seq = first.seq.map_or(String::new(), |seq| format!(", {message} {seq}"));
    let line = first.line.map_or(String::new(), |line| format!(", line {line} of the script"));
    let kind = first.kind.replace('_', " ");
    let _ = write!(
        out,
        "<h2>The first failure</h2>\n<p>{kind}, on connection {}{seq}{line}</p>\n\
         <div class=\"scroll\"><table class=\"said\">",
        first.conn
    );
    let expected = first.expected.as_ref().map(|text| ("expected", text));
    let said = [("sent", &first.sent)].into_iter().chain(expected).chain([("received", &first.received)]);
    let said = said.chain(first.reason.as_ref().map(|reason| ("reason", reason)));
    for (name, text) in said {
        let _ = write!(out, "<tr><th>{name}</th><td>{}</td></tr>", escape(text));
    }
    out.push_str("</table></div>\n");
}

/// Response and service time; only the response time if they are the same.
fn both(ledger: &Ledger) -> Vec<(&'static str, &'static str, &Counts)> {
    match ledger.has_one_time() {
        true => vec![("response", "red", &ledger.response)],
        false => vec![("response", "red", &ledger.response), ("service", "blue", &ledger.service)],
    }
}

fn table(out: &mut String, ledger: &Ledger) {
    out.push_str("<h2>Latency</h2>\n<div class=\"scroll\"><table><tr><th></th>");
    for (name, _) in QUANTILES {
        let _ = write!(out, "<th>{name}</th>");
    }
    for (name, _, counts) in both(ledger) {
        let _ = write!(out, "</tr>\n<tr><th>{name}</th>");
        for (_, quantile) in QUANTILES {
            let _ = write!(out, "<td>{}</td>", counts.quantile(quantile).map_or("–".to_owned(), time_of));
        }
    }
    out.push_str("</tr></table></div>\n");
}

/// Latency by percentile. From one mark to the next, the share of slower replies falls to a tenth.
fn percentiles(out: &mut String, ledger: &Ledger) {
    let right = (ledger.response.total().max(10) as f64).log10();
    let points = |counts: &Counts| -> Vec<(f64, f64)> {
        let at = |nines: f64| counts.quantile(1.0 - 10f64.powf(-nines)).map(|ns| (nines, ns.max(1) as f64));
        match counts.total() {
            1 => at(2f64.log10()).into_iter().collect(),
            _ => (0..=POINTS).filter_map(|i| at(right * f64::from(i) / f64::from(POINTS))).collect(),
        }
    };
    let curves: Vec<Curve> = both(ledger)
        .into_iter()
        .map(|(name, class, counts)| Curve { name, class, shape: Shape::Line(points(counts)) })
        .collect();
    let all = [&ledger.response, &ledger.service].map(|counts| (counts.quantile(0.0), counts.quantile(1.0)));
    let least = all.iter().filter_map(|(least, _)| *least).min().unwrap_or(1).max(1);
    let most = all.iter().filter_map(|(_, most)| *most).max().unwrap_or(1).max(1);
    let chart = Chart {
        title: "Latency by percentile".to_owned(),
        note: "the share of replies that were at least this fast".to_owned(),
        x: Axis::nines(right),
        y: Axis::nanoseconds(least as f64, most as f64),
        curves,
        lines: Vec::new(),
    };
    chart.write(out);
}

/// The part of the run that is drawn: its slices, and the beginnings and ends of phases.
struct Span {
    cuts: Vec<Cut>,
    seconds: f64,
    lines: Vec<(f64, &'static str)>,
    /// Whether there are fewer than two slices, and so nothing to compare.
    is_short: bool,
    /// The length of a slice, for notes: `100 ms`, `second`, `128 seconds`.
    slice: String,
}

impl Span {
    fn of(ledger: &Ledger) -> Span {
        let (before, load) = (&ledger.timeline.before, &ledger.timeline.load);
        let has_ramp = before.length() as f64 > VISIBLE * (before.length() + load.length()) as f64;
        // If the ramp is too short to be seen, time begins with the first message.
        let start = if has_ramp { before.length() } else { 0 };
        let mut cuts = if has_ramp { before.cuts() } else { Vec::new() };
        cuts.extend(load.cuts().into_iter().map(|cut| Cut { from: cut.from + start, to: cut.to + start, ..cut }));
        let end = start + load.length();
        let warm = start + ledger.warmup_ns;
        let over = warm + ledger.steady_ns;
        let is_visible = |ns: u64| ns as f64 > VISIBLE * end as f64;
        let lines = [
            (has_ramp && is_visible(end - start), start, "all connected"),
            (ledger.warmup_ns > 0 && over > warm, warm, "warm-up ends"),
            (is_visible(end.saturating_sub(over)) && over > start, over, "last message sent"),
        ];
        let shown = lines.into_iter().filter(|(is_shown, ..)| *is_shown);
        Span {
            lines: shown.map(|(_, at, name)| (at as f64 / 1e9, name)).collect(),
            seconds: end as f64 / 1e9,
            is_short: end < 2 * load.width() || cuts.len() < 2,
            slice: match load.width() / 1_000_000_000 {
                0 => "100 ms".to_owned(),
                1 => "second".to_owned(),
                seconds => format!("{seconds} seconds"),
            },
            cuts,
        }
    }

    fn steps(&self, value: impl Fn(&Cut) -> Option<f64>) -> Vec<Step> {
        let step = |cut: &Cut| Step { from: cut.from as f64 / 1e9, to: cut.to as f64 / 1e9, value: value(cut) };
        self.cuts.iter().map(step).collect()
    }

    fn most(&self, value: impl Fn(&Cut) -> f64) -> f64 {
        self.cuts.iter().map(value).fold(0.0, f64::max)
    }

    fn chart(&self, title: &str, note: String, y: Axis, curves: Vec<Curve>) -> Chart {
        let (x, lines) = (Axis::seconds(self.seconds), self.lines.clone());
        Chart { title: title.to_owned(), note, x, y, curves, lines }
    }
}

fn over_time(out: &mut String, load: &Load, ledger: &Ledger) {
    let span = Span::of(ledger);
    if span.is_short {
        let took = time_of((span.seconds * 1e9) as u64);
        let _ = writeln!(out, "<h2>Over time</h2>\n<p>The run took {took}: too short for a curve.</p>");
        return;
    }
    let mut charts = String::new();
    curves(&mut charts, load, ledger, &span);
    if !charts.is_empty() {
        let _ = write!(out, "<h2>Over time</h2>\n{charts}");
    }
}

fn curves(out: &mut String, load: &Load, ledger: &Ledger, span: &Span) {
    let by = format!("by {}", span.slice);
    if !ledger.response.is_empty() {
        response(out, span, &by);
    }
    let replies = |cut: &Cut| cut.slice.exact as f64 / cut.seconds();
    let failures = |cut: &Cut| cut.slice.failed as f64;
    if span.most(replies) > 0.0 {
        let shape = Shape::Steps(span.steps(|cut| Some(replies(cut))));
        let curves = vec![Curve { name: "replies", class: "green", shape }];
        span.chart("Right replies a second", format!("counted {by}"), Axis::numbers(span.most(replies), false), curves)
            .write(out);
    }
    if span.most(failures) > 0.0 {
        let shape = Shape::Bars(span.steps(|cut| Some(failures(cut))));
        let curves = vec![Curve { name: "failures", class: "red", shape }];
        let note = format!("{by}, at the time when they were found");
        span.chart("Failures", note, Axis::numbers(span.most(failures), true), curves).write(out);
    }
    let open = |cut: &Cut| cut.slice.connections as f64;
    let is_level = span.cuts.iter().all(|cut| cut.slice.connections == span.cuts[0].slice.connections);
    if !is_level || matches!(load.model, Model::Hold) {
        let shape = Shape::Steps(span.steps(|cut| Some(open(cut))));
        let curves = vec![Curve { name: "connections", class: "blue", shape }];
        span.chart("Open connections", String::new(), Axis::numbers(span.most(open), true), curves).write(out);
    }
}

fn response(out: &mut String, span: &Span, by: &str) {
    // A histogram is large, so there is only one at a time.
    let figures = |cut: &Cut| {
        let counts = cut.slice.counts();
        [0.5, 0.99, 1.0].map(|quantile| counts.quantile(quantile).map(|ns| ns.max(1)))
    };
    let figures: Vec<[Option<u64>; 3]> = span.cuts.iter().map(figures).collect();
    let steps = |which: usize| {
        let value =
            |(step, figures): (Step, &[Option<u64>; 3])| Step { value: figures[which].map(|ns| ns as f64), ..step };
        Shape::Steps(span.steps(|_| None).into_iter().zip(&figures).map(value).collect())
    };
    let least = figures.iter().filter_map(|figures| figures[0]).min().unwrap_or(1);
    let most = figures.iter().filter_map(|figures| figures[2]).max().unwrap_or(1);
    let curves = vec![
        Curve { name: "longest", class: "red", shape: steps(2) },
        Curve { name: "p99", class: "amber", shape: steps(1) },
        Curve { name: "p50", class: "blue", shape: steps(0) },
    ];
    let y = Axis::nanoseconds(least as f64, most as f64);
    span.chart("Response time", format!("{by}, of the steady phase"), y, curves).write(out);
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
    fn markup_in_input_is_escaped() {
        assert_eq!(escape("<script>'&\""), "&lt;script&gt;&#39;&amp;&quot;");
    }
}
