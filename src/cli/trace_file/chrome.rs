//! Records in, lines of Chrome trace JSON out. Knows no files and no clock.
//!
//! ```text
//!   record of the ring                          ph
//!   phase, wait, on_data, tick, timer, …        X       a slice on the track of its phase
//!   write, sent, armed, pause, …                i       an instant there
//!   its cause, if it is not around it           s  f    an arrow from the slice of the cause
//!   on_connection … on_close                    b  e    a span per connection
//!   wait, on_connection, blocked, sent, …       C       ready events, connections, queued bytes
//! ```
//!
//! Every line is one event, and a comma stands before each but the first. So what a killed process leaves behind wants
//! nothing but a `]`, and the viewers ([Perfetto](https://ui.perfetto.dev), `chrome://tracing`) do without it: the format
//! allows an array that does not end ([Trace Event Format](https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU),
//! "JSON Array Format").

use std::collections::HashMap;

use bucle::trace::{Kind, Phase, Record};

use super::causes::{Cause, Causes};
use super::pieces::{Micros, put};

/// Room for the last event, so that it too is below the limit.
const LAST_WORDS: u64 = 256;

/// How every trace of ours begins.
pub(crate) const HEAD: &str = r#"[{"name":"process_name","ph":"M","pid":1,"args":{"name":""#;

/// Turns records into lines, and stops at a limit of bytes.
pub(crate) struct Chrome {
    limit: u64,
    written: u64,
    is_full: bool,
    causes: Causes,
    /// The slices that are open where the last record was, outermost first.
    open: Vec<Slice>,
    connections: HashMap<u32, Connection>,
    queued_bytes: u64,
    /// The newest point in time that was seen.
    now_ns: u64,
}

struct Slice {
    number: u64,
    end_ns: u64,
}

struct Connection {
    port: u32,
    /// What the kernel refused and has not taken since.
    queued_bytes: u64,
}

impl Chrome {
    /// Begins a trace of at most `limit` bytes: the names of the process and of its tracks.
    pub(crate) fn new(title: &str, limit: u64, out: &mut Vec<u8>) -> Self {
        let before = out.len();
        put!(out, HEAD, title, "\"}}\n");
        for phase in Phase::ALL {
            let tid = track(phase);
            put!(out, r#",{"name":"thread_name","ph":"M","pid":1,"tid":"#, tid);
            put!(out, r#","args":{"name":""#, phase.as_str(), "\"}}\n");
            put!(out, r#",{"name":"thread_sort_index","ph":"M","pid":1,"tid":"#, tid);
            put!(out, r#","args":{"sort_index":"#, tid, "}}\n");
        }
        Chrome {
            limit,
            written: (out.len() - before) as u64,
            is_full: false,
            causes: Causes::default(),
            open: Vec::new(),
            connections: HashMap::new(),
            queued_bytes: 0,
            now_ns: 0,
        }
    }

    /// Writes what there is to say of one record. All that it encloses has to come after it. One that has begun and not
    /// ended is passed over: the call that reads the ring.
    pub(crate) fn record(&mut self, number: u64, record: &Record, out: &mut Vec<u8>) {
        let takes_time = matches!(record.kind, Kind::Phase | Kind::Wait) || record.kind.is_callback();
        let is_over = record.duration_ns() > 0 || !takes_time;
        if self.is_full || !is_over {
            return;
        }
        let before = out.len();
        self.now_ns = self.now_ns.max(record.start_ns + record.duration_ns());
        let around = self.enter(number, record);
        let cause = cause_of(number, record);
        slice_or_instant(number, record, cause, out);
        if let Some(cause) = cause.and_then(|cause| self.causes.find(cause)) {
            arrow(number, record, &cause, around, out);
        }
        self.count(record, out);
        self.keep_below_limit(before, out);
    }

    /// Says that the ring has overflowed.
    pub(crate) fn lost(&mut self, count: u64, out: &mut Vec<u8>) {
        if self.is_full {
            return;
        }
        let before = out.len();
        let text = format!("{count} records lost: the ring was full");
        global(&text, self.now_ns, out);
        self.keep_below_limit(before, out);
    }

    /// Whether the limit is reached: there will be no more lines.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }

    /// Ends the array.
    pub(crate) fn end(&self, out: &mut Vec<u8>) {
        put!(out, "]\n");
    }

    /// Takes the lines since `before` back if they are too many, and says so in their place.
    fn keep_below_limit(&mut self, before: usize, out: &mut Vec<u8>) {
        let lines = (out.len() - before) as u64;
        if self.written + lines + LAST_WORDS <= self.limit {
            self.written += lines;
            return;
        }
        self.is_full = true;
        out.truncate(before);
        let text = format!("recording stopped: the file has reached its limit of {} bytes", self.limit);
        global(&text, self.now_ns, out);
    }

    /// Finds the slice around a record, opens its own if it has one, and remembers it for those that it will cause.
    fn enter(&mut self, number: u64, record: &Record) -> Option<u64> {
        if record.kind == Kind::Phase {
            self.open.clear();
        }
        while self.open.last().is_some_and(|slice| slice.end_ns <= record.start_ns) {
            self.open.pop();
        }
        let around = self.open.last().map(|slice| slice.number);
        let mut anchor = around;
        if record.duration_ns() > 0 {
            self.open.push(Slice { number, end_ns: record.start_ns + record.duration_ns() });
            anchor = Some(number);
        }
        if let Some(anchor) = anchor {
            let cause = Cause { start_ns: record.start_ns, anchor, phase: record.phase };
            self.causes.remember(number, record.kind == Kind::Armed, cause);
        }
        around
    }

    /// Counters, and the spans of connections.
    fn count(&mut self, record: &Record, out: &mut Vec<u8>) {
        let subject = record.subject;
        match record.kind {
            Kind::Wait => {
                let after_ns = record.start_ns + record.duration_ns();
                counter("events", "ready", after_ns, record.size.into(), out);
            }
            Kind::OnConnection | Kind::OnConnect => {
                let connection = Connection { port: record.size, queued_bytes: 0 };
                if self.connections.insert(subject, connection).is_none() {
                    span_of_connection("b", record, record.size, out);
                    counter("connections", "open", record.start_ns, self.connections.len() as u64, out);
                }
            }
            Kind::OnClose => {
                self.queue(record, |_| 0, out);
                if let Some(connection) = self.connections.remove(&subject) {
                    span_of_connection("e", record, connection.port, out);
                    counter("connections", "open", record.start_ns, self.connections.len() as u64, out);
                }
            }
            Kind::Blocked => self.queue(record, |_| record.size.into(), out),
            Kind::Sent => self.queue(record, |queued| queued.saturating_sub(record.size.into()), out),
            // Nothing of what is written is queued while the kernel takes it; behind something queued, all of it is.
            Kind::Write => {
                self.queue(record, |queued| if queued > 0 { queued + u64::from(record.size) } else { 0 }, out);
            }
            _ => {}
        }
    }

    /// Changes what waits on one connection, and shows the sum over all when it changes.
    fn queue(&mut self, record: &Record, change: impl FnOnce(u64) -> u64, out: &mut Vec<u8>) {
        let Some(connection) = self.connections.get_mut(&record.subject) else { return };
        let before = connection.queued_bytes;
        connection.queued_bytes = change(before);
        if connection.queued_bytes != before {
            self.queued_bytes = self.queued_bytes - before + connection.queued_bytes;
            counter("queued", "bytes", record.start_ns, self.queued_bytes, out);
        }
    }
}

/// The track of a phase: they stand one below the other, in the order of a turn.
fn track(phase: Phase) -> u32 {
    phase as u32 + 1
}

/// The whole number of a record's cause, of which the record has the lower half; none if it is its own.
fn cause_of(number: u64, record: &Record) -> Option<u64> {
    let distance = (number as u32).wrapping_sub(record.cause);
    if distance == 0 { None } else { number.checked_sub(distance.into()) }
}

fn slice_or_instant(number: u64, record: &Record, cause: Option<u64>, out: &mut Vec<u8>) {
    let name = if record.kind == Kind::Phase { record.phase.as_str() } else { record.kind.as_str() };
    let category = match record.kind {
        Kind::Phase | Kind::Wait => "loop",
        kind if kind.is_callback() => "callback",
        _ => "io",
    };
    put!(out, r#",{"name":""#, name, r#"","cat":""#, category, r#"","pid":1,"tid":"#, track(record.phase));
    put!(out, r#","ts":"#, Micros(record.start_ns));
    match record.duration_ns() {
        0 => put!(out, r#","ph":"i","s":"t""#),
        duration_ns => put!(out, r#","ph":"X","dur":"#, Micros(duration_ns)),
    }
    put!(out, r#","args":{"turn":"#, record.turn, r#","n":"#, number);
    if let Some(cause) = cause {
        put!(out, r#","cause":"#, cause);
    }
    if record.subject != 0 {
        put!(out, r##","subject":"#"##, record.subject, r#"""#);
    }
    if let Some(unit) = unit(record.kind) {
        put!(out, r#",""#, unit, r#"":"#, record.size);
    }
    put!(out, "}}\n");
}

/// What a record's size counts.
fn unit(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Wait => Some("events"),
        Kind::Timer => Some("late_ms"),
        Kind::Armed => Some("delay_ms"),
        Kind::OnConnection => Some("port"),
        Kind::OnData | Kind::OnText | Kind::Write | Kind::Sent => Some("bytes"),
        Kind::Blocked => Some("waiting_bytes"),
        _ => None,
    }
}

/// An arrow to a record from the slice of its cause, unless that slice is around both.
///
/// Its ends have the very times of the two records, whose lines come before: Perfetto takes the slice or instant that
/// began last on that track, `chrome://tracing` the slice around.
fn arrow(number: u64, record: &Record, cause: &Cause, around: Option<u64>, out: &mut Vec<u8>) {
    let is_slice = record.duration_ns() > 0;
    if around == Some(cause.anchor) || around.is_none() && !is_slice {
        return;
    }
    let (from, at) = (track(cause.phase), Micros(cause.start_ns));
    let (to, then) = (track(record.phase), Micros(record.start_ns));
    put!(out, r#",{"name":"cause","cat":"cause","pid":1,"ph":"s","id":"#, number);
    put!(out, r#","tid":"#, from, r#","ts":"#, at, "}\n");
    put!(out, r#",{"name":"cause","cat":"cause","pid":1,"ph":"f","bp":"e","id":"#, number);
    put!(out, r#","tid":"#, to, r#","ts":"#, then, "}\n");
}

/// A connection begins (`b`) or ends (`e`).
fn span_of_connection(ph: &str, record: &Record, port: u32, out: &mut Vec<u8>) {
    let serial = record.subject;
    put!(out, r##",{"name":"#"##, serial);
    if port != 0 {
        put!(out, " from port ", port);
    }
    put!(out, r#"","cat":"connection","ph":""#, ph, r#"","id":"#, serial, r#","pid":1,"tid":"#, track(record.phase));
    put!(out, r#","ts":"#, Micros(record.start_ns), "}\n");
}

/// Perfetto shows both names, one after the other.
fn counter(name: &str, unit: &str, at_ns: u64, value: u64, out: &mut Vec<u8>) {
    put!(out, r#",{"name":""#, name, r#"","ph":"C","pid":1,"ts":"#, Micros(at_ns));
    put!(out, r#","args":{""#, unit, r#"":"#, value, "}}\n");
}

/// A line across all tracks.
fn global(text: &str, at_ns: u64, out: &mut Vec<u8>) {
    put!(out, r#",{"name":""#, text, r#"","cat":"trace","ph":"i","s":"g","pid":1,"tid":1,"ts":"#);
    put!(out, Micros(at_ns), "}\n");
}

#[cfg(test)]
mod tests;
