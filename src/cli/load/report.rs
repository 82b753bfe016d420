//! The report as text: the figures, what each of them means, and what failed.

use std::fmt::Write;
use std::time::Duration;

use super::check::Expect;
use super::counts::{Counts, QUANTILES};
use super::ledger::{BUSY, EarlyEnd, FinishedRun, LATE, Ledger, MessageCounts, Why};
use super::options::{Length, Load, Model, Protocol};
use super::threshold::Threshold;
use super::units::{grouped, nanos, plain, short_time, time_of};
use crate::cli::advice;
use crate::cli::wrap::hanging;
use bucle::websocket::CloseCode;

/// The width of the report without a terminal; messages, replies and commands may be wider.
pub(crate) const COLUMNS: usize = 100;

/// The width of the table of latencies.
const TABLE: usize = 74;

/// The length of the histogram's longest bar, and the width of what is before it.
const BAR: usize = 40;
const BEFORE_BAR: usize = 29;

/// If a run is interrupted after a shorter time, the CPU of the generator is not known: its timer has fired ten times.
const SHORT: u64 = 100_000_000;

/// If a generator was late although it used less than this part of a core, its own work was hardly the reason.
const IDLE: f64 = 0.2;

/// The run in one line: connections, target, model, length.
pub(crate) fn describe(load: &Load) -> String {
    let model = match &load.model {
        Model::Closed { in_flight } => format!("{in_flight} in flight each"),
        Model::Open { rate } => format!("{} a second on schedule", grouped(*rate)),
        Model::Hold => "held idle".to_owned(),
        Model::Churn => "one message each, again and again".to_owned(),
        Model::Script(_) => "a script each".to_owned(),
    };
    let length = match (load.length, &load.model) {
        (Length::For(time), _) => format!("for {}", short_time(time.as_nanos() as u64)),
        (Length::Messages(1), Model::Script(_)) => "until 1 pass is made".to_owned(),
        (Length::Messages(count), Model::Script(_)) => format!("until {} passes are made", grouped(count)),
        (Length::Messages(1), _) => "until 1 is sent".to_owned(),
        (Length::Messages(count), _) => format!("until {} are sent", grouped(count)),
    };
    let warmup = if load.warmup > Duration::ZERO {
        format!(" after {} of warm-up", short_time(load.warmup.as_nanos() as u64))
    } else {
        String::new()
    };
    let over = if load.protocol.transport().is_some() { " over WebSocket" } else { "" };
    format!(
        "{} connection{} to {}{over}, {model}, {length}{warmup}",
        grouped(load.connections),
        if load.connections == 1 { "" } else { "s" },
        load.target_url().trim_start_matches("tcp://")
    )
}

/// The whole report, without the line of [`describe`], for a terminal of this width.
pub(crate) fn text(load: &Load, run: &FinishedRun, width: usize) -> String {
    let ledger = &run.ledger;
    let mut text = Text { out: String::new(), width };
    if ledger.connects.ok > 0 {
        measured(&mut text, load, run);
    } else {
        if let Some(words) = early_end(ledger).filter(|_| ledger.is_interrupted) {
            text.row("run", &words);
        }
        connects(&mut text, load, ledger);
        if let Some((what, tries)) = no_connection(load, ledger) {
            text.out.push('\n');
            text.sentence(&what);
            tries.iter().for_each(|line| text.out += &format!("    try:  {line}\n"));
        }
    }
    let thresholds = thresholds(load, ledger);
    if !thresholds.is_empty() {
        text.out.push('\n');
    }
    thresholds.iter().for_each(|words| text.sentence(words));
    text.out.push('\n');
    text.sentence(verdict(load, run));
    text.out
}

fn measured(out: &mut Text, load: &Load, run: &FinishedRun) {
    let ledger = &run.ledger;
    if let Some(words) = early_end(ledger) {
        out.row("run", &words);
    }
    let is_measured = ledger.has_steady();
    if is_measured {
        messages(out, load, &ledger.steady);
    }
    warmup(out, load, &ledger.warmup);
    if is_measured {
        rates(out, load, ledger);
    }
    out.row("bytes", &format!("{} out, {} in", grouped(ledger.bytes_out), grouped(ledger.bytes_in)));
    connects(out, load, ledger);
    if !ledger.response.is_empty() {
        latencies(out, load, ledger);
        out.paragraph("response times by count; the length of a bar is the logarithm of its count:");
        bars(out, &ledger.response);
    }
    if is_measured {
        out.paragraph(&generator(load, run));
    }
    if let Some(first) = &ledger.first_failure {
        let seq = first.seq.map_or("–".to_owned(), |seq| seq.to_string());
        let line = first.line.map_or(String::new(), |line| format!(", line {line} of the script"));
        let message = if first.line.is_some() { "pass" } else { "message" };
        let expected = first.expected.as_ref().map_or(String::new(), |text| format!("    expected  {text}\n"));
        out.out.push('\n');
        out.sentence(&format!("the first failure: {} on connection {}, {message} {seq}{line}", first.kind, first.conn));
        out.out += &format!("    sent      {}\n{expected}    received  {}\n", first.sent, first.received);
        if let Some(reason) = &first.reason {
            let width = if out.width < COLUMNS { out.width } else { usize::MAX };
            out.out += &hanging("    reason    ", reason, width);
        }
    }
    hints(load, ledger).iter().for_each(|hint| out.paragraph(hint));
}

/// If no connection was made: the reason, and what to try.
pub(crate) fn no_connection(load: &Load, ledger: &Ledger) -> Option<(String, Vec<String>)> {
    let code = ledger.connects.commonest_failure().filter(|_| ledger.connects.ok == 0)?;
    match &ledger.first_refusal {
        Some(why) => Some((format!("cannot connect to {}: {why}", load.target_url()), Vec::new())),
        None => Some(cannot_connect(load, code)),
    }
}

/// Why there is no connection, given the commonest error code, and what to try.
pub(crate) fn cannot_connect(load: &Load, code: &str) -> (String, Vec<String>) {
    let place = &load.place;
    let (what, tries) = advice::no_connection("load", place, code, code);
    if !load.protocol.is_websocket() {
        return (what, tries);
    }
    let is_socket_io = load.protocol.socket_io().is_some();
    // The server to try is one that speaks WebSocket. None of the command acknowledges events of Socket.IO.
    let try_instead = |line: String| match line.starts_with("bucle serve") {
        true if is_socket_io => None,
        true => Some(format!("bucle serve echo --http {place}      in another terminal")),
        false if is_socket_io => Some(line.replace("HOST:PORT", "sio://HOST:PORT/NAMESPACE")),
        false => Some(line.replace("HOST:PORT", "ws://HOST:PORT/PATH")),
    };
    let what = what.replacen(&place.to_string(), &load.target_url(), 1);
    (what, tries.into_iter().filter_map(try_instead).collect())
}

/// If the run ended early: when and why.
pub(crate) fn early_end(ledger: &Ledger) -> Option<String> {
    let EarlyEnd { after_ns, of_ns, why } = ledger.ended_early?;
    let why = match why {
        Why::NoConnection => "no connection left",
        Why::FailFast => "--fail-fast, and a reply was not exact",
        Why::Interrupted => "interrupted",
    };
    let after = short_time(after_ns);
    Some(match of_ns {
        _ if !ledger.has_steady() && ledger.warmup_ns > 0 => format!("nothing was measured: {why} in the warm-up"),
        _ if !ledger.has_steady() => format!("nothing was measured: {why} before the load began"),
        _ if after_ns == 0 => format!("ended before the steady phase: {why}"),
        Some(of) => format!("ended after {after} of {}: {why}", short_time(of)),
        None => format!("ended after {after}: {why}"),
    })
}

/// The report while it is put together.
struct Text {
    out: String,
    width: usize,
}

impl Text {
    /// A name, and what it stands for.
    fn row(&mut self, name: &str, text: &str) {
        self.out += &hanging(&format!("  {name:<12}"), text, self.width);
    }

    /// A paragraph after an empty line.
    fn paragraph(&mut self, text: &str) {
        self.out.push('\n');
        self.line(text);
    }

    fn line(&mut self, text: &str) {
        self.out += &hanging("  ", text, self.width);
    }

    /// A sentence that scripts and people search for: it is in one line, except on a narrow terminal.
    fn sentence(&mut self, text: &str) {
        match self.width < COLUMNS {
            true => self.line(text),
            false => self.out += &format!("  {text}\n"),
        }
    }
}

fn messages(out: &mut Text, load: &Load, counts: &MessageCounts) {
    if matches!(load.model, Model::Hold) {
        out.row("messages", "none: the connections were held idle");
    } else if let Model::Script(_) = load.model {
        out.row("passes", &format!("{} of the script begun", grouped(counts.sent)));
        out.row("", &format!("{} as the script says, of {} expected", grouped(counts.exact), grouped(counts.expected)));
    } else {
        out.row("messages", &format!("{} sent", grouped(counts.sent)));
        let exact = format!("{} exact of {} expected", grouped(counts.exact), grouped(counts.expected));
        match load.expect {
            Expect::None => out.row("replies", "NOT CHECKED (--expect none)"),
            Expect::Fanout(_) => out.row("deliveries", &exact),
            _ => out.row("replies", &exact),
        }
    }
    not_right(out, "", counts);
}

/// The failures of a phase, if there are any.
fn not_right(out: &mut Text, phase: &str, counts: &MessageCounts) {
    if counts.failures() + counts.late > 0 {
        out.row("", &format!("NOT right{phase}: {}", failures(counts)));
    } else if counts.unfinished > 0 {
        out.row("", &format!("{}{phase} when the run ended", failures(counts)));
    }
}

fn warmup(out: &mut Text, load: &Load, counts: &MessageCounts) {
    if *counts == MessageCounts::default() {
        return;
    }
    let exact = if load.is_checked() { format!(", {} exact", grouped(counts.exact)) } else { String::new() };
    let sent = if matches!(load.model, Model::Script(_)) { "passes" } else { "sent" };
    out.row("warm-up", &format!("{} {sent}{exact}, counted separately", grouped(counts.sent)));
    not_right(out, " in the warm-up", counts);
}

fn rates(out: &mut Text, load: &Load, ledger: &Ledger) {
    if matches!(load.model, Model::Hold) {
        return;
    }
    let aimed = load.model.rate().map_or(String::new(), |rate| format!("; the target was {} a second", grouped(rate)));
    let over = time_of(ledger.elapsed_ns);
    let sent = plain(ledger.rate_of(ledger.steady.sent));
    if !load.is_checked() {
        return out.row("rate", &format!("{sent} messages sent a second over {over}{aimed}"));
    }
    let exact = plain(ledger.rate_of(ledger.steady.exact));
    if let Model::Script(_) = load.model {
        return out.row("rate", &format!("{exact} passes a second over {over}"));
    }
    out.row("rate", &format!("{exact} replies a second over {over}{aimed}"));
    out.row("", &format!("{sent} messages sent a second"));
}

/// The counters of failures that are not zero.
pub(crate) fn failures(counts: &MessageCounts) -> String {
    let bad = counts.list().into_iter().skip(3).filter(|(_, count)| *count > 0);
    bad.map(|(name, count)| format!("{} {}", grouped(count), name.replace('_', " "))).collect::<Vec<_>>().join(", ")
}

fn connects(out: &mut Text, load: &Load, ledger: &Ledger) {
    let connects = &ledger.connects;
    let mut text = format!("{} of {} made", grouped(connects.ok), grouped(connects.attempted()));
    if let (Some(p50), Some(max)) = (connects.latency.quantile(0.5), connects.latency.quantile(1.0)) {
        let _ = write!(text, ", half of them within {}, all within {}", time_of(p50), time_of(max));
    }
    out.row("connects", &text);
    let bad = troubles(ledger);
    if !bad.is_empty() {
        out.row("", &format!("NOT right: {}", bad.join(", ")));
    }
    if let Some(why) = ledger.first_refusal.as_ref().filter(|_| connects.ok > 0) {
        out.row("", &format!("the first handshake that failed: {why}"));
    }
    if let Some(words) = absences(load, ledger) {
        out.row("", &words);
    }
    if !ledger.close_codes.is_empty() {
        out.row("close codes", &close_codes(ledger));
    }
}

/// WebSocket: the close codes of the server other than 1000.
pub(crate) fn close_codes(ledger: &Ledger) -> String {
    let words = |(code, count): (&u16, &u64)| format!("{} of {}", grouped(*count), CloseCode(*code));
    ledger.close_codes.iter().map(words).collect::<Vec<_>>().join(", ")
}

/// With `--reconnect`: how many connections were opened anew, and how long connections were missing.
pub(crate) fn absences(load: &Load, ledger: &Ledger) -> Option<String> {
    let anew =
        if ledger.reconnects > 0 { format!("{} opened anew, ", grouped(ledger.reconnects)) } else { String::new() };
    (load.reconnect && ledger.away_ns > 0)
        .then(|| format!("{anew}{} without a connection, summed over all", time_of(ledger.away_ns)))
}

/// The connections that failed or were lost, by reason.
pub(crate) fn troubles(ledger: &Ledger) -> Vec<String> {
    let connects = &ledger.connects;
    let failed = [("refused", connects.refused), ("timed out", connects.timeout)]
        .into_iter()
        .chain(connects.errno.iter().map(|(name, count)| (name.as_str(), *count)));
    let lost = [("closed by the server", ledger.lost_closed), ("reset", ledger.lost_reset)];
    let all = failed.chain(lost).filter(|(_, count)| *count > 0);
    all.map(|(name, count)| format!("{} {name}", grouped(count))).collect()
}

fn latencies(out: &mut Text, load: &Load, ledger: &Ledger) {
    let rows = [("response", &ledger.response), ("service", &ledger.service)];
    let rows = &rows[..if ledger.has_one_time() { 1 } else { 2 }];
    let cell = |counts: &Counts, quantile| counts.quantile(quantile).map_or("–".to_owned(), time_of);
    let mut table = String::from("\n");
    if out.width < TABLE {
        let _ = write!(table, "  {:<12}", "");
        rows.iter().for_each(|(name, _)| table += &format!("{name:>10}"));
        for (name, quantile) in QUANTILES {
            let _ = write!(table, "\n  {name:<12}");
            rows.iter().for_each(|(_, counts)| table += &format!("{:>10}", cell(counts, quantile)));
        }
    } else {
        let _ = write!(table, "  {:<12}", "");
        QUANTILES.iter().for_each(|(name, _)| table += &format!("{name:>10}"));
        for (name, counts) in rows {
            let _ = write!(table, "\n  {name:<12}");
            QUANTILES.iter().for_each(|&(_, quantile)| table += &format!("{:>10}", cell(counts, quantile)));
        }
    }
    out.out += &table;
    let response = match load.model {
        Model::Open { .. } => "from the moment a message was due to the last byte of its reply: how long a user waits",
        Model::Script(_) => "from the start of a pass to the last byte that it expects, without its pauses",
        _ => "from the send to the last byte of the reply",
    };
    let service = match ledger.has_one_time() {
        true => "the same: no message had to wait before it was sent",
        false => "from the write of its first byte to the last byte of the reply: how long the server took",
    };
    out.out += "\n\n";
    out.out += &hanging("  response: ", response, out.width);
    out.out += &hanging("  service:  ", service, out.width);
}

/// Draws one bar for the times below each of 1, 2, 5, 10, 20, …; its length is the logarithm of the count.
fn bars(out: &mut Text, counts: &Counts) {
    let mut sums: Vec<(u64, u64)> = Vec::new();
    for (value, count) in counts.buckets() {
        let below = border_above(value);
        match sums.last_mut() {
            Some((last, sum)) if *last == below => *sum += count,
            _ => sums.push((below, count)),
        }
    }
    let (Some(&(first, _)), Some(&(last, _))) = (sums.first(), sums.last()) else { return };
    let most = sums.iter().map(|&(_, count)| count).max().unwrap_or(1);
    let longest = BAR.min(out.width.saturating_sub(BEFORE_BAR)).max(1);
    for below in std::iter::successors(Some(first), |&below| Some(border_above(below))).take_while(|&it| it <= last) {
        let count = sums.iter().find(|(at, _)| *at == below).map_or(0, |&(_, count)| count);
        let len = if count == 0 { 0 } else { 1 + bar(count, most, longest) };
        let line = format!("    < {:>8} {:>12}  {}", short_time(below), grouped(count), "#".repeat(len));
        out.out += line.trim_end();
        out.out.push('\n');
    }
}

/// The first of 1, 2, 5, 10, 20, … that is greater than `value`.
fn border_above(value: u64) -> u64 {
    let power = 10u64.pow(value.max(1).ilog10());
    let borders = [1, 2, 5, 10].map(|times: u64| times.saturating_mul(power));
    borders.into_iter().find(|&border| border > value).unwrap_or(u64::MAX)
}

/// The length of the bar of `count`, less one, where that of `most` has the length `longest`.
fn bar(count: u64, most: u64, longest: usize) -> usize {
    if most < 2 {
        return longest - 1;
    }
    ((count as f64).ln() / (most as f64).ln() * (longest - 1) as f64).round() as usize
}

/// Whether the generator itself was the limit, and what that means for the figures.
pub(crate) fn generator(load: &Load, run: &FinishedRun) -> String {
    let ledger = &run.ledger;
    if ledger.is_interrupted && ledger.steady_ns < SHORT {
        return "the run was too short to find out whether the generator was the limit".to_owned();
    }
    let word = if ledger.is_saturated() { "was the limit" } else { "was not the limit" };
    let procs = if run.procs == 1 { String::new() } else { format!(" in the busiest of {} processes", run.procs) };
    let late = match ledger.lag.quantile(0.99) {
        Some(0) => "nothing was sent late".to_owned(),
        Some(lag) => format!("sent up to {} late in 99 % of cases", time_of(lag)),
        None if matches!(load.model, Model::Hold | Model::Script(_)) => "nothing had to be sent on time".to_owned(),
        None => "the run was too short to measure its lateness".to_owned(),
    };
    // Lateness of more than a millisecond concerns only the figures that are not much longer.
    let mut follows = String::new();
    if ledger.lag_p99() > LATE && !ledger.response.is_empty() {
        let _ = write!(follows, ": figures below {} are uncertain", time_of(ledger.lag_p99()));
    }
    if ledger.cpu > BUSY {
        follows += "; the server may be faster than these figures";
    }
    if ledger.is_saturated() && ledger.cpu < IDLE {
        follows += "; it was hardly busy: something else on this machine may have kept it from running";
    }
    format!("the generator {word}: {:.0} % of a core{procs}, and {late}{follows}", ledger.cpu * 100.0)
}

/// What may be wrong if a server of lines does not reply.
pub(crate) const NO_LINE_BREAK: &str =
    r"the messages do not end in a line break, for which a server of lines waits; try -m 'TEXT\n'";

/// Whether a server of lines would wait for the end of a message.
pub(crate) fn waits_for_a_line(load: &Load) -> bool {
    let sends_messages = matches!(load.model, Model::Closed { .. } | Model::Open { .. } | Model::Churn);
    matches!(load.protocol, Protocol::Tcp) && sends_messages && load.is_checked() && !load.messages.are_lines()
}

/// Hints about options that are probably wrong or missing, as sentences.
pub(crate) fn hints(load: &Load, ledger: &Ledger) -> Vec<String> {
    let made = ledger.connects.ok;
    let line = match &load.protocol {
        Protocol::Tcp => "line",
        Protocol::WebSocket { socket_io: None, .. } => "message",
        Protocol::WebSocket { socket_io: Some(_), .. } => "event",
    };
    let mut hints = Vec::new();
    if ledger.ungreeted > 0 {
        let timeout = time_of(nanos(load.timeout));
        let is_silent = ledger.ungreeted >= made;
        let cause =
            if is_silent { "the server sends no greeting" } else { "the server does not greet every connection" };
        hints.push(format!(
            "no first {line} came in {timeout} on {} of {} connections: {cause}; leave out --skip-line",
            grouped(ledger.ungreeted),
            grouped(made)
        ));
    }
    let (exact, missing) = (ledger.warmup.exact + ledger.steady.exact, ledger.warmup.missing + ledger.steady.missing);
    if let Some(socket_io) = load.protocol.socket_io().filter(|_| exact == 0 && missing > 0) {
        let event = socket_io.event.escape_debug();
        hints.push(format!(
            "no acknowledgement came in time: the server may not acknowledge the event {event}; try --event NAME with \
             another one, or --expect none"
        ));
    } else if exact == 0 && missing > 0 && waits_for_a_line(load) {
        // Such a server may reply to all messages together, when the connection is half-closed.
        hints.push(format!("no reply came in time: {NO_LINE_BREAK}"));
    } else if ledger.first_wrong > 0 && ledger.first_wrong >= made.div_ceil(2) {
        let (of, made) = (grouped(ledger.first_wrong), grouped(made));
        if ledger.echoed > ledger.first_wrong / 2 {
            hints.push(format!(
                "the first reply on {of} of {made} connections was the message itself: the server echoes, and \
                 --expect {} does not accept that; try --expect echo",
                load.expect.name()
            ));
        } else if ledger.other_end > ledger.first_wrong / 2 {
            let (end, option) = match load.messages.break_len(0) {
                1 => (r"\r\n", "try --crlf"),
                _ => (r"\n", r"let the messages end in \n, without --crlf"),
            };
            hints.push(format!(
                "the first reply on {of} of {made} connections was the message with another line end: the server ends \
                 its lines with {end}; {option}"
            ));
        } else if ledger.answered > ledger.first_wrong / 2 && matches!(load.expect, Expect::Echo) {
            hints.push(format!(
                "the first reply on {of} of {made} connections has the message in it, but is not the message: the \
                 server answers with a text of its own; try --expect line, which accepts any {line}, or prefix:TEXT or \
                 regex:REGEX"
            ));
        } else if !load.skip_line && load.protocol.socket_io().is_none() {
            let others = match exact {
                0 if matches!(load.expect, Expect::Echo) => {
                    "; if the server answers with other text, use --expect line"
                }
                _ => "",
            };
            hints.push(format!(
                "the first {line} on {of} of {made} connections was not a reply: if it is a greeting, add --skip-line\
                 {others}; if every connection receives every message, use --skip-line --expect fanout"
            ));
        }
    }
    if ledger.doubtful > 0 {
        let (expect, timeout) = (load.expect.name(), time_of(nanos(load.timeout)));
        let (cause, others) = match load.expect {
            Expect::Echo => ("the messages are equal".to_owned(), ", or {seq} in -m"),
            _ => (format!("with --expect {expect} a reply does not name its message"), ""),
        };
        hints.push(format!(
            "{} of the replies may belong to an earlier message, which is counted as missing, because {cause}: the \
             response times may be too short; try a longer --timeout than {timeout}{others}",
            grouped(ledger.doubtful)
        ));
    }
    if ledger.returned > 0 {
        hints.push(format!(
            "{} messages came back to their own sender: the server sends each message to all connections; \
             try --expect fanout",
            grouped(ledger.returned)
        ));
    }
    if ledger.has_sent_nothing(load) && ledger.steady.unsent == 0 && made > 0 && ledger.ended_early.is_none() {
        hints.push("nothing was sent in the steady phase: make it longer, with -d".to_owned());
    }
    hints
}

/// The conditions of `--fail-if`, each with its unit: the author of `p99>5` may not have meant seconds.
pub(crate) fn thresholds(load: &Load, ledger: &Ledger) -> Vec<String> {
    let words = |threshold: &Threshold| {
        let word = if threshold.is_true(|metric| ledger.measure(load, metric)) { "failed" } else { "passed" };
        format!("{word}: --fail-if {}", threshold.words(|metric| ledger.measure(load, metric)))
    };
    load.fail_if.iter().map(words).collect()
}

/// The last line of the report: the exit status in words.
pub(crate) fn verdict(load: &Load, run: &FinishedRun) -> &'static str {
    let ledger = &run.ledger;
    let failures = ledger.warmup.failures() + ledger.steady.failures();
    match run.exit {
        0 => "all right",
        1 if run.has_lost_page && ledger.errors() == 0 => {
            "all right, but the page of --html could not be written (exit 1)"
        }
        1 if matches!(load.model, Model::Script(_)) => {
            "every pass was right, but a connection failed or was lost (exit 1)"
        }
        1 if !load.is_checked() => "a connection failed or was lost (exit 1)",
        1 => "every reply was right, but a connection failed or was lost (exit 1)",
        3 => "no connection could be made (exit 3)",
        4 if matches!(load.model, Model::Hold) => "a connection did not behave as it should (exit 4)",
        4 if failures == 0 && ledger.ended_early.is_some() => "the run ended before a message was sent (exit 4)",
        4 if failures == 0 => "no message was sent in the steady phase (exit 4)",
        4 if ledger.warmup.sent + ledger.steady.sent == 0 => "no message was sent (exit 4)",
        4 if matches!(load.model, Model::Script(_)) => "not every pass of the script was right (exit 4)",
        4 if failures == ledger.warmup.unsent + ledger.steady.unsent => "not every message was sent (exit 4)",
        4 if !load.is_checked() => "a connection did not behave as it should (exit 4)",
        4 => "not every reply was right (exit 4)",
        5 => "a threshold of --fail-if was crossed (exit 5)",
        _ => "interrupted (exit 130)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_are_round() {
        let table = [(0, 1), (1, 2), (2, 5), (4, 5), (5, 10), (9, 10), (10, 20), (999, 1000), (1000, 2000)];
        for (value, want) in table {
            assert_eq!(border_above(value), want, "{value}");
        }
        assert!(border_above(1 << 62) > 1 << 62);
    }

    #[test]
    fn bars_are_logarithmic() {
        assert_eq!([bar(1, 1, BAR), bar(1, 1000, BAR), bar(1000, 1000, 11)], [BAR - 1, 0, 10]);
        let mut counts = Counts::default();
        (0..1000).for_each(|_| counts.record(1000));
        counts.record(u64::MAX / 2);
        let mut text = Text { out: String::new(), width: 40 };
        bars(&mut text, &counts);
        let out = text.out;
        assert!(out.contains("1,000") && out.lines().count() > 40, "{out}");
        assert_eq!(out.lines().map(str::len).max(), Some(40), "{out}");
    }
}
