//! One snapshot of the watched loop, as JSON. Pure.
//!
//! The format is a contract with scripts: fields are added, never removed or given another meaning. It has no payload
//! bytes. Its size is bounded by [`LIMIT`], whatever the number of connections.
//!
//! Rows are written as text and not as a [`Value`]: two hundred of them ten times a second would be most of what the
//! page costs.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use super::pacing::State;
use super::rates::LastSecond;
use crate::Phase;
use crate::net::{ReadyState, SocketSummary};
use crate::trace::{Kind, Next, Queues, SlowCallback};

/// How large a snapshot is, at most.
pub(super) const LIMIT: usize = 64 * 1024;

/// What follows the rows.
const END: &str = "]}}";

/// How many characters of the title are shown. As JSON a character has six bytes at most.
const TITLE: usize = 200;

/// How many connections are listed at most: those with the most queued bytes.
pub(super) const ROWS: usize = 200;

/// Everything that a snapshot shows.
pub(super) struct Snapshot<'a> {
    /// Snapshots are numbered from 1, so that a page can tell which of two is newer.
    pub number: u64,
    pub state: State,
    /// The speed of slow mode.
    pub per_second: Option<f64>,
    pub turn: u64,
    pub phase: Phase,
    pub up: Duration,
    pub next: Option<&'a Next>,
    /// The chain of causes of `next`, nearest first.
    pub causes: Vec<(Kind, u32)>,
    pub callbacks: u64,
    pub queues: Queues,
    pub last_second: LastSecond,
    pub open: usize,
    pub rows: Vec<Row>,
    pub slow: Vec<SlowCallback>,
    pub title: &'a str,
    pub is_read_only: bool,
}

/// One connection.
pub(super) struct Row {
    pub serial: u32,
    pub peer: Option<SocketAddr>,
    pub summary: SocketSummary,
}

impl Snapshot<'_> {
    /// The snapshot as JSON text in one line.
    pub fn to_json(&self) -> String {
        let queues = &self.queues;
        let value = json!({
            "state": self.state.as_str(),
            "per_second": self.per_second,
            "turn": self.turn,
            "phase": self.phase.as_str(),
            "up_ms": self.up.as_millis() as u64,
            "next": self.next.map(|next| next_of(next, &self.causes)),
            "callbacks": self.callbacks,
            "queues": {
                "ticks": queues.ticks,
                "microtasks": queues.microtasks,
                "immediates": queues.immediates,
                "timers": queues.timers,
                "pending": queues.pending,
                "closing": queues.closing,
                "ready": queues.ready,
                "unsent": queues.unsent,
                "events": queues.events,
                "posted": queues.posted,
            },
            "next_timer_ms": queues.next_timer.map(ms),
            "last_second": last_second(&self.last_second),
            "slow": self.slow.iter().map(slow).collect::<Vec<_>>(),
            "number": self.number,
            "title": self.title.chars().take(TITLE).collect::<String>(),
            "read_only": self.is_read_only,
        });
        let mut text = value.to_string();
        // The object goes on.
        text.pop();
        let _ = write!(text, r#","connections":{{"open":{},"rows":["#, self.open);
        self.write_rows(&mut text);
        text.push_str(END);
        text
    }

    /// Writes as many rows as there is room for behind the other parts.
    fn write_rows(&self, text: &mut String) {
        let end = LIMIT - END.len();
        for (place, row) in self.rows.iter().enumerate() {
            let before = text.len();
            if place > 0 {
                text.push(',');
            }
            row.write(text);
            if text.len() > end {
                text.truncate(before);
                return;
            }
        }
    }
}

impl Row {
    /// Writes the row as JSON. None of its texts has a character that JSON escapes. Writing to a string cannot fail.
    fn write(&self, text: &mut String) {
        let SocketSummary { is_paused, needs_drain, bytes_read, bytes_written, .. } = self.summary;
        let SocketSummary { queued, gathered, inbox, high_water_mark, .. } = self.summary;
        let _ = write!(text, r#"{{"id":{},"peer":"#, self.serial);
        let _ = match self.peer {
            Some(peer) => write!(text, r#""{peer}""#),
            None => write!(text, "null"),
        };
        let state = state(self.summary.ready_state);
        let _ = write!(text, r#","state":"{state}","paused":{is_paused},"needs_drain":{needs_drain}"#);
        let _ = write!(text, r#","in":{bytes_read},"out":{bytes_written},"queued":{queued},"gathered":{gathered}"#);
        let _ = write!(text, r#","inbox":{inbox},"high_water_mark":{high_water_mark}}}"#);
    }
}

fn state(ready_state: ReadyState) -> &'static str {
    match ready_state {
        ReadyState::Opening => "connecting",
        ReadyState::Open => "open",
        ReadyState::ReadOnly | ReadyState::WriteOnly => "half_open",
        ReadyState::Closed => "closing",
    }
}

fn next_of(next: &Next, causes: &[(Kind, u32)]) -> Value {
    if next.kind == Kind::Wait {
        return json!({ "kind": "wait", "for_ms": next.wait.map(ms) });
    }
    let mut value = json!({ "kind": next.kind.as_str(), "who": who(next.subject) });
    if let Some(unit) = next.kind.unit() {
        value[unit] = next.size.into();
    }
    let chain: Vec<String> = causes.iter().map(|(kind, subject)| named(*kind, *subject)).collect();
    value["cause"] = if chain.is_empty() { Value::Null } else { chain.join(" ← ").into() };
    value
}

fn named(kind: Kind, subject: u32) -> String {
    if subject == 0 { kind.to_string() } else { format!("{kind} #{subject}") }
}

/// A socket or server, as the log names it.
fn who(subject: u32) -> Option<String> {
    (subject != 0).then(|| format!("#{subject}"))
}

fn last_second(last: &LastSecond) -> Value {
    let us = |time: Duration| time.as_micros() as u64;
    let phases = Phase::ALL.map(|phase| (phase.as_str().to_owned(), share(last.phases[phase as usize])));
    json!({
        "turns": last.turns,
        "callbacks": last.callbacks,
        "poll_wait": share(last.poll_wait),
        "busy": share(last.busy),
        "delay_p50_us": us(last.turn_times.percentile(50.0)),
        "delay_p99_us": us(last.turn_times.percentile(99.0)),
        "delay_max_us": us(last.turn_times.max()),
        "inspector": share(last.inspector),
        "phases": Value::Object(phases.into_iter().collect()),
        "span_ms": last.span.as_millis() as u64,
    })
}

fn slow(slow: &SlowCallback) -> Value {
    let late = slow.late_by.as_millis();
    let made_late = match slow.late_timers {
        0 => None,
        1 => Some(format!("1 timer by {late} ms")),
        timers => Some(format!("{timers} timers by up to {late} ms")),
    };
    json!({
        "kind": slow.kind.as_str(),
        "who": who(slow.subject),
        "ms": ms(slow.took),
        "made_late": made_late,
        "late_timers": slow.late_timers,
        "late_ms": ms(slow.late_by),
        "at_ms": ms(slow.start),
    })
}

/// Milliseconds with one decimal.
fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}

/// A share with four decimals.
fn share(share: f64) -> Value {
    json!((share * 10_000.0).round() / 10_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{self, Socket, SocketOptions};

    /// A summary of a real socket, with the largest numbers.
    fn summary() -> SocketSummary {
        let mut event_loop = crate::EventLoop::new().expect("a loop");
        let mut summary = event_loop.enter(|lp| {
            Socket::new(lp, SocketOptions::default(), net::on());
            net::sockets(lp).next().expect("there is one").1
        });
        (summary.bytes_read, summary.bytes_written) = (u64::MAX, u64::MAX);
        (summary.queued, summary.gathered, summary.inbox) = (usize::MAX, usize::MAX, usize::MAX);
        summary.high_water_mark = usize::MAX;
        summary
    }

    fn snapshot(rows: Vec<Row>) -> Snapshot<'static> {
        Snapshot {
            number: 1,
            state: State::Running,
            per_second: None,
            turn: 7,
            phase: Phase::Poll,
            up: Duration::from_millis(1500),
            next: None,
            causes: Vec::new(),
            callbacks: 42,
            queues: Queues::default(),
            last_second: super::super::rates::Rates::default().read(Default::default()),
            open: rows.len(),
            rows,
            slow: Vec::new(),
            title: "test",
            is_read_only: false,
        }
    }

    #[test]
    fn a_snapshot_has_the_fields_of_the_contract() {
        let json: Value = serde_json::from_str(&snapshot(Vec::new()).to_json()).expect("it is JSON");
        assert_eq!((&json["state"], &json["turn"], &json["phase"]), (&json!("running"), &json!(7), &json!("poll")));
        assert_eq!((&json["up_ms"], &json["next"], &json["callbacks"]), (&json!(1500), &Value::Null, &json!(42)));
        for queue in
            ["ticks", "microtasks", "immediates", "timers", "pending", "closing", "ready", "unsent", "events", "posted"]
        {
            assert_eq!(json["queues"][queue], json!(0), "{queue}");
        }
        for number in ["turns", "callbacks", "delay_p50_us", "delay_p99_us", "delay_max_us"] {
            assert_eq!(json["last_second"][number], json!(0), "{number}");
        }
        for share in ["poll_wait", "busy", "inspector"] {
            assert_eq!(json["last_second"][share], json!(0.0), "{share}");
        }
        assert_eq!((&json["connections"], &json["slow"]), (&json!({ "open": 0, "rows": [] }), &json!([])));
    }

    #[test]
    fn a_row_says_the_state_of_a_connection() {
        let table = [
            (ReadyState::Opening, "connecting"),
            (ReadyState::Open, "open"),
            (ReadyState::ReadOnly, "half_open"),
            (ReadyState::WriteOnly, "half_open"),
            (ReadyState::Closed, "closing"),
        ];
        for (ready_state, want) in table {
            let summary = SocketSummary { ready_state, ..summary() };
            let row = Row { serial: 12, peer: "127.0.0.1:51322".parse().ok(), summary };
            let mut text = String::new();
            row.write(&mut text);
            let json: Value = serde_json::from_str(&text).expect("it is JSON");
            assert_eq!((&json["id"], &json["state"]), (&json!(12), &json!(want)));
            assert_eq!(json["peer"], json!("127.0.0.1:51322"));
        }
        let mut text = String::new();
        Row { serial: 7, peer: None, summary: summary() }.write(&mut text);
        let json: Value = serde_json::from_str(&text).expect("it is JSON");
        assert_eq!((&json["peer"], &json["queued"]), (&Value::Null, &json!(usize::MAX)));
    }

    #[test]
    fn a_snapshot_with_a_long_title_stays_below_its_limit_and_has_its_beginning() {
        let peer = SocketAddr::from(([0xffff; 8], 65535));
        let summary = summary();
        // As JSON these characters have six, two, three and four bytes.
        for character in ["\u{1}", "ñ", "€", "🦀"] {
            let rows = (0..10_000).map(|n| Row { serial: u32::MAX - n, peer: Some(peer), summary }).collect();
            let title = character.repeat(100_000);
            let text = Snapshot { title: &title, ..snapshot(rows) }.to_json();
            assert!(text.len() <= LIMIT, "{}", text.len());
            let json: Value = serde_json::from_str(&text).expect("it is JSON");
            assert_eq!(json["title"], json!(character.repeat(TITLE)));
        }
    }

    #[test]
    fn a_snapshot_of_many_connections_stays_below_its_limit() {
        let peer = SocketAddr::from(([0xffff, 0x1111, 0x2222, 0x3333, 0x4444, 0x5555, 0x6666, 0x7777], 65535));
        let summary = summary();
        let rows = (0..10_000).map(|n| Row { serial: u32::MAX - n, peer: Some(peer), summary }).collect();
        let text = snapshot(rows).to_json();
        assert!(text.len() <= LIMIT, "{}", text.len());
        let json: Value = serde_json::from_str(&text).expect("it is JSON");
        assert!(json["connections"]["rows"].as_array().is_some_and(|rows| rows.len() > 150));
        assert_eq!(json["connections"]["open"], json!(10_000));
    }
}
