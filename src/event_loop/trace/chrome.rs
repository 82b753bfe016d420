//! Turns records into lines of Chrome trace JSON. Uses neither files nor a clock.
//!
//! ```text
//!   record of the ring                          ph
//!   phase, wait, on_data, tick, timer, …        X       a slice on the track of its phase
//!   write, sent, armed, pause, …                i       an instant there
//!   its cause, if that does not enclose it      s  f    an arrow from the slice of the cause
//!   on_connection … on_close                    b  e    a span per connection
//!   wait, on_connection, blocked, sent, …       C       ready events, connections, queued bytes
//! ```
//!
//! Every line is one event, and every line except the first begins with a comma. So the file of a killed process lacks
//! only the closing `]`. The viewers ([Perfetto](https://ui.perfetto.dev), `chrome://tracing`) open it without the
//! bracket: the format allows an unterminated array
//! ([Trace Event Format](https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU),
//! "JSON Array Format").

mod causes;
mod pieces;

use std::collections::HashMap;

use super::{Kind, Phase, Record, Trace};
use causes::{Cause, Causes};
use pieces::{Micros, put};

/// Room for the last event, which says that the limit is reached, and for the end of the array.
const FINAL_EVENT_BYTES: u64 = 256;

/// The beginning of every trace that [`Chrome`] writes: a file that begins differently is no such trace.
pub const CHROME_HEAD: &str = r#"[{"name":"process_name","ph":"M","pid":1,"args":{"name":""#;

/// Turns records into lines of Chrome trace JSON, up to a limit of bytes.
///
/// ```
/// use bucle::trace::Chrome;
///
/// let mut json = Vec::new();
/// let mut chrome = Chrome::new("a program", u64::MAX, &mut json);
/// bucle::EventLoop::new()?.enter(|lp| {
///     lp.start_trace(1024);
///     lp.set_immediate(|_| {});
///     let trace = lp.trace().expect("it was started");
///     trace.records().for_each(|(number, record)| chrome.record(number, record, &mut json));
/// });
/// chrome.end(&mut json);
/// assert!(json.ends_with(b"]\n"));
/// # Ok::<(), bucle::Error>(())
/// ```
pub struct Chrome {
    limit: u64,
    written: u64,
    is_full: bool,
    causes: Causes,
    /// The slices that enclose the last record, outermost first.
    open: Vec<Slice>,
    connections: HashMap<u32, Connection>,
    queued_bytes: u64,
    /// The latest time in any record so far.
    now_ns: u64,
}

struct Slice {
    number: u64,
    end_ns: u64,
}

struct Connection {
    port: u32,
    /// Bytes that the kernel has refused and not taken since.
    queued_bytes: u64,
}

impl Chrome {
    /// Begins a trace of at most `limit` bytes. `title` names the process.
    ///
    /// The title is written as it is: it must not contain characters that JSON escapes.
    pub fn new(title: &str, limit: u64, out: &mut Vec<u8>) -> Self {
        let before = out.len();
        put!(out, CHROME_HEAD, title, "\"}}\n");
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

    /// Writes the lines of one record. Records that it encloses must come after it. A record that has not ended yet is
    /// skipped: that is the callback which reads the ring.
    pub fn record(&mut self, number: u64, record: &Record, out: &mut Vec<u8>) {
        let takes_time = matches!(record.kind, Kind::Phase | Kind::Wait) || record.kind.is_callback();
        let is_over = record.duration_ns() > 0 || !takes_time;
        if self.is_full || !is_over {
            return;
        }
        let before = out.len();
        self.now_ns = self.now_ns.max(record.start_ns + record.duration_ns());
        let around = self.enter(number, record);
        let cause = Trace::cause_of(number, record);
        slice_or_instant(number, record, cause, out);
        if let Some(cause) = cause.and_then(|cause| self.causes.find(cause)) {
            arrow(number, record, &cause, around, out);
        }
        self.count(record, out);
        self.keep_below_limit(before, out);
    }

    /// Writes an event that says that the ring has overflowed.
    pub fn lost(&mut self, count: u64, out: &mut Vec<u8>) {
        if self.is_full {
            return;
        }
        let before = out.len();
        let text = format!("{count} records lost: the ring was full");
        global(&text, self.now_ns, out);
        self.keep_below_limit(before, out);
    }

    /// Whether the limit is reached; no more lines are written then.
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// Ends the array.
    pub fn end(&self, out: &mut Vec<u8>) {
        put!(out, "]\n");
    }

    /// If the limit is reached, replaces the lines since `before` by an event that says so.
    fn keep_below_limit(&mut self, before: usize, out: &mut Vec<u8>) {
        let lines = (out.len() - before) as u64;
        if self.written + lines + FINAL_EVENT_BYTES <= self.limit {
            self.written += lines;
            return;
        }
        self.is_full = true;
        out.truncate(before);
        let text = format!("recording stopped: the file has reached its limit of {} bytes", self.limit);
        global(&text, self.now_ns, out);
    }

    /// Returns the number of the slice around a record. Opens the record's own slice if it has a duration, and
    /// remembers the record as a possible cause.
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

    /// Writes the counters that a record changes, and the beginning or end of a connection.
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
            // A write is queued only behind other queued bytes. Otherwise `Blocked` reports what the kernel refuses of
            // it.
            Kind::Write => {
                self.queue(record, |queued| if queued > 0 { queued + u64::from(record.size) } else { 0 }, out);
            }
            _ => {}
        }
    }

    /// Changes the queued bytes of one connection, and writes the new sum over all connections.
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

/// The track of a phase. The viewer shows the tracks in the order of a turn.
fn track(phase: Phase) -> u32 {
    phase as u32 + 1
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
    if let Some(unit) = record.kind.unit() {
        put!(out, r#",""#, unit, r#"":"#, record.size);
    }
    put!(out, "}}\n");
}

impl Kind {
    /// The unit of [`Record::size`]: `bytes`, `events`, `port`, `late_ms`, … `None` if the size means nothing.
    pub fn unit(self) -> Option<&'static str> {
        match self {
            Kind::Wait => Some("events"),
            Kind::Timer => Some("late_ms"),
            Kind::Armed => Some("delay_ms"),
            Kind::OnConnection => Some("port"),
            Kind::OnData | Kind::OnText | Kind::OnLine | Kind::Write | Kind::Sent => Some("bytes"),
            Kind::OnRequest | Kind::OnResponse | Kind::OnMessage | Kind::OnPing | Kind::OnPong => Some("bytes"),
            Kind::OnEvent => Some("bytes"),
            Kind::CloseSent | Kind::CloseReceived => Some("code"),
            Kind::Blocked => Some("waiting_bytes"),
            _ => None,
        }
    }
}

/// Writes an arrow from the slice of the cause to a record, unless that slice encloses both.
///
/// The ends of the arrow have exactly the times of the two records, whose lines come before it. With that, Perfetto
/// finds the slice or instant that began last on the track, and `chrome://tracing` finds the enclosing slice.
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

/// Writes the beginning (`b`) or end (`e`) of a connection.
fn span_of_connection(ph: &str, record: &Record, port: u32, out: &mut Vec<u8>) {
    let serial = record.subject;
    put!(out, r##",{"name":"#"##, serial);
    if port != 0 {
        put!(out, " from port ", port);
    }
    put!(out, r#"","cat":"connection","ph":""#, ph, r#"","pid":1,"tid":"#, track(record.phase));
    // A local id belongs to the process. Perfetto shows a span with a global id outside of every process.
    put!(out, r#","id2":{"local":""#, serial, r#""}"#);
    put!(out, r#","ts":"#, Micros(record.start_ns), "}\n");
}

/// Writes the value of a counter. Perfetto shows both names, one after the other.
fn counter(name: &str, unit: &str, at_ns: u64, value: u64, out: &mut Vec<u8>) {
    put!(out, r#",{"name":""#, name, r#"","ph":"C","pid":1,"ts":"#, Micros(at_ns));
    put!(out, r#","args":{""#, unit, r#"":"#, value, "}}\n");
}

/// Writes an event that the viewer shows across all tracks.
fn global(text: &str, at_ns: u64, out: &mut Vec<u8>) {
    put!(out, r#",{"name":""#, text, r#"","cat":"trace","ph":"i","s":"g","pid":1,"tid":1,"ts":"#);
    put!(out, Micros(at_ns), "}\n");
}

#[cfg(test)]
mod tests;
