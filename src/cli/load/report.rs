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
use bucle::websocket::CloseCode;

/// The width of the report; messages and replies may be wider.
const COLUMNS: usize = 100;

/// The length of the histogram's longest bar.
const BAR: usize = 40;

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
    format!(
        "{} connection{} to {}, {model}, {length}{warmup}",
        grouped(load.connections),
        if load.connections == 1 { "" } else { "s" },
        load.target_url().trim_start_matches("tcp://")
    )
}

/// The whole report, without the line of [`describe`].
pub(crate) fn text(load: &Load, run: &FinishedRun) -> String {
    let ledger = &run.ledger;
    let mut out = String::new();
    if ledger.connects.ok > 0 {
        measured(&mut out, load, run);
    } else {
        connects(&mut out, load, ledger);
        if let Some((what, tries)) = no_connection(load, ledger) {
            let _ = writeln!(out, "\n  {what}");
            tries.iter().for_each(|line| out.push_str(&format!("    try:  {line}\n")));
        }
    }
    for (at, words) in thresholds(load, ledger).iter().enumerate() {
        let _ = writeln!(out, "{}  {words}", if at == 0 { "\n" } else { "" });
    }
    let _ = writeln!(out, "\n  {}", verdict(load, run));
    out
}

fn measured(out: &mut String, load: &Load, run: &FinishedRun) {
    let ledger = &run.ledger;
    if let Some(words) = early_end(ledger) {
        row(out, "run", &words);
    }
    messages(out, load, &ledger.steady);
    warmup(out, load, &ledger.warmup);
    rates(out, load, ledger);
    row(out, "bytes", &format!("{} out, {} in", grouped(ledger.bytes_out), grouped(ledger.bytes_in)));
    connects(out, load, ledger);
    if !ledger.response.is_empty() {
        latencies(out, load, ledger);
        out.push_str("\n  response times by count; the length of a bar is the logarithm of its count:\n");
        bars(out, &ledger.response);
    }
    paragraph(out, &generator(load, run));
    if let Some(first) = &ledger.first_failure {
        let seq = first.seq.map_or("–".to_owned(), |seq| seq.to_string());
        let line = first.line.map_or(String::new(), |line| format!(", line {line} of the script"));
        let message = if first.line.is_some() { "pass" } else { "message" };
        let expected = first.expected.as_ref().map_or(String::new(), |text| format!("    expected  {text}\n"));
        let _ = write!(
            out,
            "\n  the first failure: {} on connection {}, {message} {seq}{line}\n    sent      {}\n{expected}    received  {}\n",
            first.kind, first.conn, first.sent, first.received
        );
        if let Some(reason) = &first.reason {
            let _ = writeln!(out, "    reason    {reason}");
        }
    }
    hints(load, ledger).iter().for_each(|hint| paragraph(out, hint));
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
        _ if after_ns == 0 => format!("ended before the steady phase: {why}"),
        Some(of) => format!("ended after {after} of {}: {why}", short_time(of)),
        None => format!("ended after {after}: {why}"),
    })
}

fn row(out: &mut String, name: &str, text: &str) {
    let mut name = name;
    for line in wrapped(text, COLUMNS - 14) {
        let _ = writeln!(out, "  {:<12}{line}", std::mem::take(&mut name));
    }
}

fn paragraph(out: &mut String, text: &str) {
    out.push('\n');
    wrapped(text, COLUMNS - 2).iter().for_each(|line| out.push_str(&format!("  {line}\n")));
}

/// Breaks the text into lines of at most `columns` characters; a longer word has a line for itself. A flag is not
/// separated from its value.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut wants_value = false;
    for word in text.split(' ') {
        match words.last_mut() {
            Some(flag) if wants_value => *flag += &format!(" {word}"),
            _ => words.push(word.to_owned()),
        }
        wants_value = word.starts_with("--") && word.ends_with(char::is_alphabetic);
    }
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= columns => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines
}

fn messages(out: &mut String, load: &Load, counts: &MessageCounts) {
    if matches!(load.model, Model::Hold) {
        return row(out, "messages", "none: the connections were held idle");
    }
    if let Model::Script(_) = load.model {
        row(out, "passes", &format!("{} of the script begun", grouped(counts.sent)));
        row(
            out,
            "",
            &format!("{} as the script says, of {} expected", grouped(counts.exact), grouped(counts.expected)),
        );
    } else {
        row(out, "messages", &format!("{} sent", grouped(counts.sent)));
        if !load.is_checked() {
            return row(out, "replies", "NOT CHECKED (--expect none)");
        }
        let unit = match load.expect {
            Expect::Fanout(_) => "deliveries",
            _ => "replies",
        };
        row(out, unit, &format!("{} exact of {} expected", grouped(counts.exact), grouped(counts.expected)));
    }
    if counts.failures() + counts.late > 0 {
        row(out, "", &format!("NOT right: {}", failures(counts)));
    } else if counts.unfinished > 0 {
        row(out, "", &format!("{} when the run ended", failures(counts)));
    }
}

fn warmup(out: &mut String, load: &Load, counts: &MessageCounts) {
    if *counts == MessageCounts::default() {
        return;
    }
    let exact = if load.is_checked() { format!(", {} exact", grouped(counts.exact)) } else { String::new() };
    let sent = if matches!(load.model, Model::Script(_)) { "passes" } else { "sent" };
    row(out, "warm-up", &format!("{} {sent}{exact}, counted separately", grouped(counts.sent)));
    if counts.failures() > 0 {
        row(out, "", &format!("NOT right in the warm-up: {}", failures(counts)));
    }
}

fn rates(out: &mut String, load: &Load, ledger: &Ledger) {
    if matches!(load.model, Model::Hold) {
        return;
    }
    let aimed = load.model.rate().map_or(String::new(), |rate| format!("; the target was {} a second", grouped(rate)));
    let over = time_of(ledger.elapsed_ns);
    let sent = plain(ledger.rate_of(ledger.steady.sent));
    if !load.is_checked() {
        return row(out, "rate", &format!("{sent} messages sent a second over {over}{aimed}"));
    }
    let exact = plain(ledger.rate_of(ledger.steady.exact));
    if let Model::Script(_) = load.model {
        return row(out, "rate", &format!("{exact} passes a second over {over}"));
    }
    row(out, "rate", &format!("{exact} replies a second over {over}{aimed}"));
    row(out, "", &format!("{sent} messages sent a second"));
}

/// The counters of failures that are not zero.
pub(crate) fn failures(counts: &MessageCounts) -> String {
    let bad = counts.list().into_iter().skip(3).filter(|(_, count)| *count > 0);
    bad.map(|(name, count)| format!("{} {}", grouped(count), name.replace('_', " "))).collect::<Vec<_>>().join(", ")
}

fn connects(out: &mut String, load: &Load, ledger: &Ledger) {
    let connects = &ledger.connects;
    let mut text = format!("{} of {} made", grouped(connects.ok), grouped(connects.attempted()));
    if let (Some(p50), Some(max)) = (connects.latency.quantile(0.5), connects.latency.quantile(1.0)) {
        let _ = write!(text, ", half of them within {}, all within {}", time_of(p50), time_of(max));
    }
    row(out, "connects", &text);
    let bad = troubles(ledger);
    if !bad.is_empty() {
        row(out, "", &format!("NOT right: {}", bad.join(", ")));
    }
    if let Some(why) = ledger.first_refusal.as_ref().filter(|_| connects.ok > 0) {
        row(out, "", &format!("the first handshake that failed: {why}"));
    }
    if let Some(words) = absences(load, ledger) {
        row(out, "", &words);
    }
    if !ledger.close_codes.is_empty() {
        row(out, "close codes", &close_codes(ledger));
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

fn latencies(out: &mut String, load: &Load, ledger: &Ledger) {
    out.push_str("\n              ");
    for (name, _) in QUANTILES {
        let _ = write!(out, "{name:>10}");
    }
    let rows = [("response", &ledger.response), ("service", &ledger.service)];
    for (name, counts) in &rows[..if ledger.has_one_time() { 1 } else { 2 }] {
        let _ = write!(out, "\n  {name:<12}");
        for (_, quantile) in QUANTILES {
            let _ = write!(out, "{:>10}", counts.quantile(quantile).map_or("–".to_owned(), time_of));
        }
    }
    let response = match load.model {
        Model::Open { .. } => "from the moment a message was due to the last byte of its reply: how long a user waits",
        Model::Script(_) => "from the start of a pass to the last byte that it expects, without its pauses",
        _ => "from the send to the last byte of the reply",
    };
    let service = match ledger.has_one_time() {
        true => "the same: no message had to wait before it was sent",
        false => "from the write of its first byte to the last byte of the reply: how long the server took",
    };
    let _ = write!(out, "\n\n  response: {response}\n  service:  {service}\n");
}

/// Draws one bar for the times below each of 1, 2, 5, 10, 20, …; its length is the logarithm of the count.
fn bars(out: &mut String, counts: &Counts) {
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
    for below in std::iter::successors(Some(first), |&below| Some(border_above(below))).take_while(|&it| it <= last) {
        let count = sums.iter().find(|(at, _)| *at == below).map_or(0, |&(_, count)| count);
        let len = if count == 0 { 0 } else { 1 + bar(count, most) };
        let line = format!("    < {:>8} {:>12}  {}", short_time(below), grouped(count), "#".repeat(len));
        let _ = writeln!(out, "{}", line.trim_end());
    }
}

/// The first of 1, 2, 5, 10, 20, … that is greater than `value`.
fn border_above(value: u64) -> u64 {
    let power = 10u64.pow(value.max(1).ilog10());
    let borders = [1, 2, 5, 10].map(|times: u64| times.saturating_mul(power));
    borders.into_iter().find(|&border| border > value).unwrap_or(u64::MAX)
}

fn bar(count: u64, most: u64) -> usize {
    if most < 2 {
        return BAR - 1;
    }
    ((count as f64).ln() / (most as f64).ln() * (BAR - 1) as f64).round() as usize
}

/// Whether the generator itself was the limit, and what that means for the figures.
pub(crate) fn generator(load: &Load, run: &FinishedRun) -> String {
    let ledger = &run.ledger;
    let word = if ledger.is_saturated() { "was the limit" } else { "was not the limit" };
    let procs = if run.procs == 1 { String::new() } else { format!(" in the busiest of {} processes", run.procs) };
    let late = match ledger.lag.quantile(0.99) {
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
    if exact == 0 && missing > 0 && waits_for_a_line(load) {
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
        let word = if threshold.is_true(|metric| ledger.measure(metric)) { "failed" } else { "passed" };
        format!("{word}: --fail-if {}", threshold.words(|metric| ledger.measure(metric)))
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
        1 if matches!(load.model, Model::Hold) => "a connection failed or was lost (exit 1)",
        1 if matches!(load.model, Model::Script(_)) && !ledger.has_sent_nothing(load) => {
            "every pass was right, but a connection failed or was lost (exit 1)"
        }
        1 if ledger.has_sent_nothing(load) => "nothing was sent, and a connection failed or was lost (exit 1)",
        1 => "every reply was right, but a connection failed or was lost (exit 1)",
        3 => "no connection could be made (exit 3)",
        4 if matches!(load.model, Model::Hold) => "a connection did not behave as it should (exit 4)",
        4 if failures == 0 && ledger.ended_early.is_some() => "the run ended before a message was sent (exit 4)",
        4 if failures == 0 => "no message was sent in the steady phase (exit 4)",
        4 if ledger.warmup.sent + ledger.steady.sent == 0 => "no message was sent (exit 4)",
        4 if matches!(load.model, Model::Script(_)) => "not every pass of the script was right (exit 4)",
        4 => "not every reply was right (exit 4)",
        5 => "a threshold of --fail-if was crossed (exit 5)",
        _ => "interrupted (exit 130)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_wrapped() {
        let table: &[(&str, usize, &[&str])] = &[
            ("", 5, &[""]),
            ("short", 5, &["short"]),
            ("a bc def", 4, &["a bc", "def"]),
            ("¿qué tal?", 9, &["¿qué tal?"]),
            ("a long-word b", 4, &["a", "long-word", "b"]),
            ("try --a b, or --c;", 12, &["try --a b,", "or --c;"]),
            ("so try --a b", 10, &["so try", "--a b"]),
        ];
        for (text, columns, want) in table {
            assert_eq!(wrapped(text, *columns), *want, "{text:?}");
        }
    }

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
        assert_eq!([bar(1, 1), bar(1, 1000), bar(1000, 1000)], [BAR - 1, 0, BAR - 1]);
        let mut counts = Counts::default();
        (0..1000).for_each(|_| counts.record(1000));
        counts.record(u64::MAX / 2);
        let mut out = String::new();
        bars(&mut out, &counts);
        assert!(out.contains("1,000") && out.lines().count() > 40, "{out}");
    }
}
