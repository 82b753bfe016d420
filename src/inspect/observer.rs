//! The gate of the watched loop: it turns the inner loop, decides whether the watched loop goes on, and answers the
//! requests that the site has queued, because here the watched loop is lent to look at.
//!
//! ```text
//!   gate point ─▶ decide ─▶ commands ─▶ pacing ─▶ answers, snapshots to viewers ─▶ Pass, Hold or Open
//!                   ▲                                      │ Hold
//!                   └────── one turn of the inner loop ◀───┘
//! ```

use std::collections::HashMap;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use super::answers::{self, JSON};
use super::metrics_text;
use super::pacing::{Command, Pacing, State};
use super::rates::{Rates, Reading};
use super::site::{Ask, Site};
use super::snapshot::{ROWS, Row, Snapshot};
use super::working::while_working;
use crate::http::{Exchange, Http, StatusCode};
use crate::net::{self, Server, Socket, SocketSummary};
use crate::trace::{Chrome, Decision, Gate, Kind, Next, Trace};
use crate::{EventLoop, Loop, Phase};

/// The time between two snapshots of a viewer.
const INTERVAL: Duration = Duration::from_millis(100);

/// How long a request waits for the loop to stand.
const PATIENCE: Duration = Duration::from_secs(1);

/// A long answer is followed by this many times its length without one, so long answers take a fifth of the watched
/// loop's time at most.
const REST: u32 = 4;

/// How many causes of the next callback are named.
const CAUSES: usize = 4;

/// The gate.
pub(super) struct Observer {
    inner: EventLoop,
    server: Server<Http<Site>>,
    title: String,
    is_read_only: bool,
    pacing: Pacing,
    rates: Rates,
    /// The turn and the phase of the gate point that the loop is at. `None` in the middle of a wait.
    place: Option<(u64, Phase)>,
    /// How many snapshots were made.
    snapshots: u64,
    /// Commands whose answer waits until the loop stands, and until when they wait.
    waiting: Vec<(Exchange, Instant)>,
    /// The time of the last long answer, and the rest behind it, end here.
    rests_until: Option<Instant>,
    /// Requests that can be answered now are queued.
    has_asks: bool,
    /// Requests with long answers are queued. They wait for the end of the rest.
    has_long_asks: bool,
    /// Until when slow mode holds the loop at a callback.
    held_until: Option<Instant>,
    /// At least one viewer gets snapshots.
    has_viewers: bool,
    sent_at: Option<Instant>,
    /// The loop stood when the last snapshot was sent to the viewers. Then nothing has changed since.
    sent_standing: bool,
    /// Addresses of the connections of the last snapshot, so that the kernel is asked once for each.
    peers: HashMap<u32, Option<SocketAddr>>,
    /// The time that the inspector has taken from the watched loop in its waits.
    spent: Duration,
    /// The inner loop has failed: nothing is held any more.
    is_broken: bool,
}

impl Observer {
    pub fn new(inner: EventLoop, server: Server<Http<Site>>, title: String, is_read_only: bool) -> Observer {
        Observer {
            inner,
            server,
            title,
            is_read_only,
            pacing: Pacing::default(),
            rates: Rates::default(),
            place: None,
            snapshots: 0,
            waiting: Vec::new(),
            rests_until: None,
            has_asks: false,
            has_long_asks: false,
            held_until: None,
            has_viewers: false,
            sent_at: None,
            sent_standing: false,
            peers: HashMap::new(),
            spent: Duration::ZERO,
            is_broken: false,
        }
    }

    /// Lends the site.
    fn with_site<R: Default>(&mut self, f: impl FnOnce(&mut Site, &mut Loop) -> R) -> R {
        let server = self.server;
        // `None` only inside a callback of the site, and none is running.
        let work = || self.inner.enter(|lp| server.with(lp, |http, lp| f(http.handler(), lp)));
        while_working(work).unwrap_or_default()
    }

    /// Carries out the commands that have arrived, each once. The answer of some waits until the loop stands.
    fn carry_out_commands(&mut self) {
        let server = self.server;
        let (commands, has_signal) = self.with_site(|site, lp| {
            site.make_room(lp, server);
            (mem::take(&mut site.commands), site.has_signal)
        });
        if has_signal {
            self.pacing.release();
        }
        let mut carried_out = Vec::new();
        let mut refused = Vec::new();
        for (exchange, command) in commands {
            match self.pacing.command(command) {
                Ok(()) if matches!(command, Command::Pause | Command::Step(_)) => {
                    self.waiting.push((exchange, Instant::now() + PATIENCE));
                    self.sent_standing = false;
                }
                Ok(()) => {
                    self.sent_standing = false;
                    self.sent_at = None;
                    carried_out.push((exchange, Ask::State));
                }
                Err(sentence) => refused.push((exchange, sentence)),
            }
        }
        if !carried_out.is_empty() || !refused.is_empty() {
            self.with_site(|site, lp| {
                site.asks.extend(carried_out);
                for (exchange, sentence) in refused {
                    answers::say(lp, exchange, StatusCode::CONFLICT, &format!("{sentence}\n"));
                }
            });
        }
    }

    /// Shortens a wait to the time until something is due: an answer, the end of a hold, a snapshot. These are no
    /// timers of the inner loop: its timers count whole milliseconds, so one could fire just before its time, and only
    /// once.
    fn until_due(&self, wait: Option<Duration>) -> Option<Duration> {
        let now = Instant::now();
        let answer = self.waiting.iter().map(|(_, end)| *end).min();
        let asks = self.has_asks.then_some(now);
        let long_asks = self.has_long_asks.then(|| self.rests_until.unwrap_or(now));
        let due = [answer, asks, long_asks, self.held_until, self.next_snapshot_at(now)].into_iter().flatten().min();
        [wait, due.map(|due| due.saturating_duration_since(now))].into_iter().flatten().min()
    }

    /// Decides at a gate point, or in the middle of a wait.
    fn pace(&mut self, next: Option<&Next>) -> Decision {
        let Some(next) = next else { return self.pacing.decide_in_wait() };
        if self.held_until.is_some_and(|end| end <= Instant::now()) {
            self.pacing.end_hold();
        }
        let decision = self.pacing.decide_at(next);
        match (self.pacing.hold_time(), self.held_until) {
            (Some(time), None) => {
                self.held_until = Some(Instant::now() + time);
                // A callback is shown before it runs.
                self.sent_at = None;
            }
            (None, _) => self.held_until = None,
            (Some(_), Some(_)) => {}
        }
        decision
    }

    /// Takes the requests that are answered now: all that take little time, and one of the others. Between two of
    /// those the watched loop has its turn.
    fn take_asks(&mut self, now: Instant) -> Vec<(Exchange, Ask)> {
        let mut takes_long = self.rests_until.is_none_or(|end| end <= now);
        self.with_site(|site, _| {
            let is_taken = |(_, ask): &(Exchange, Ask)| !ask.is_long() || mem::take(&mut takes_long);
            let (taken, left) = mem::take(&mut site.asks).into_iter().partition(is_taken);
            site.asks = left;
            taken
        })
    }

    /// Looks at the queues again behind the answers: an answer makes the site read the next request of its connection.
    fn count_asks(&mut self) {
        let (has_asks, has_long_asks) = self.with_site(|site, _| {
            let is_long = |(_, ask): &(Exchange, Ask)| ask.is_long();
            (!site.commands.is_empty() || !site.asks.iter().all(is_long), site.asks.iter().any(is_long))
        });
        (self.has_asks, self.has_long_asks) = (has_asks, has_long_asks);
    }

    /// Answers requests and sends the viewers their snapshots.
    fn reply(&mut self, lp: &Loop) {
        let now = Instant::now();
        let asks = self.take_asks(now);
        let has_long_ask = asks.iter().any(|(_, ask)| ask.is_long());
        let stands = self.pacing.stands() || self.pacing.state() == State::Running;
        let (over, waiting) = mem::take(&mut self.waiting).into_iter().partition(|(_, end)| stands || *end <= now);
        self.waiting = waiting;
        self.has_viewers = self.with_site(|site, _| !site.viewers.is_empty());
        let is_due = self.next_snapshot_at(now).is_some_and(|at| at <= now);
        let over: Vec<(Exchange, Instant)> = over;
        let needs_snapshot =
            is_due || !over.is_empty() || asks.iter().any(|(_, ask)| matches!(ask, Ask::State | Ask::Events));
        let snapshot = if needs_snapshot { self.snapshot(lp) } else { String::new() };
        let mut answers: Vec<(Exchange, &str, Vec<u8>)> = Vec::new();
        let (mut first_events, mut lessons) = (Vec::new(), Vec::new());
        for (exchange, ask) in asks {
            match ask {
                Ask::Events => first_events.push(exchange),
                Ask::State => answers.push((exchange, JSON, snapshot.clone().into_bytes())),
                Ask::Trace { last, most } => answers.push((exchange, JSON, self.trace_json(lp, last, most))),
                Ask::Lessons(wanted) => lessons.push((exchange, wanted)),
                Ask::Metrics => {
                    answers.push((exchange, "text/plain; version=0.0.4; charset=utf-8", self.metrics_text(lp)));
                }
            }
        }
        answers.extend(over.into_iter().map(|(exchange, _)| (exchange, JSON, snapshot.clone().into_bytes())));
        if is_due {
            self.sent_at = Some(now);
            self.sent_standing = self.pacing.stands();
        }
        self.with_site(|site, lp| {
            for (exchange, content_type, body) in answers {
                answers::answer(lp, exchange, content_type, body);
            }
            for (exchange, wanted) in lessons {
                site.answer_lessons(lp, exchange, &wanted);
            }
            for viewer in &mut site.viewers {
                if (is_due && viewer.has_read) || first_events.contains(&viewer.exchange) {
                    viewer.has_read = viewer.exchange.send_event(lp, "", &snapshot);
                    viewer.has_missed = false;
                } else if is_due {
                    viewer.has_missed = true;
                }
            }
        });
        if has_long_ask {
            self.rests_until = Some(Instant::now() + now.elapsed() * REST);
        }
    }

    /// When the viewers get the next snapshot. A held loop does not change: it is shown once.
    fn next_snapshot_at(&self, now: Instant) -> Option<Instant> {
        if !self.has_viewers || (self.pacing.stands() && self.sent_standing) {
            return None;
        }
        match self.sent_at {
            Some(at) if !self.pacing.stands() => Some(at + INTERVAL),
            _ => Some(now),
        }
    }

    fn snapshot(&mut self, lp: &Loop) -> String {
        let metrics = lp.metrics();
        let at = metrics.idle + metrics.active;
        let last_second = self.rates.read(Reading {
            at,
            turns: metrics.loop_count,
            callbacks: metrics.callbacks,
            idle: metrics.idle,
            phases: metrics.phases,
            inspector: self.spent,
            turn_times: lp.turn_times().cloned().unwrap_or_default(),
        });
        let rows = self.rows(lp);
        let next = self.pacing.held();
        // In a wait its turn is not counted yet.
        let (turn, phase) = self.place.unwrap_or((metrics.loop_count + 1, Phase::Poll));
        self.snapshots += 1;
        let snapshot = Snapshot {
            number: self.snapshots,
            state: self.pacing.state(),
            per_second: self.pacing.per_second(),
            turn,
            phase,
            up: at,
            next,
            causes: next.map(|next| causes(lp, next)).unwrap_or_default(),
            callbacks: metrics.callbacks,
            queues: lp.queues(),
            last_second,
            open: metrics.connections,
            rows,
            slow: lp.slow_callbacks().copied().collect(),
            title: &self.title,
            is_read_only: self.is_read_only,
        };
        snapshot.to_json()
    }

    /// The connections with the most queued bytes, then the oldest ones.
    fn rows(&mut self, lp: &Loop) -> Vec<Row> {
        let mut sockets: Vec<(Socket, SocketSummary)> = net::sockets(lp).collect();
        let order = |(socket, summary): &(Socket, SocketSummary)| {
            (std::cmp::Reverse(summary.queued + summary.gathered), socket.serial())
        };
        if sockets.len() > ROWS {
            sockets.select_nth_unstable_by_key(ROWS, order);
            sockets.truncate(ROWS);
        }
        sockets.sort_unstable_by_key(order);
        let mut known = mem::take(&mut self.peers);
        let rows = sockets.into_iter().map(|(socket, summary)| {
            let serial = socket.serial();
            // Without an address it may still be connecting.
            let peer = known.remove(&serial).flatten().or_else(|| socket.remote_address(lp));
            self.peers.insert(serial, peer);
            Row { serial, peer, summary }
        });
        rows.collect()
    }

    /// The records that have not ended before `last`, as Chrome trace JSON; at most `most` of them, the newest ones.
    fn trace_json(&self, lp: &Loop, last: Duration, most: u64) -> Vec<u8> {
        let mut out = Vec::new();
        let mut chrome = Chrome::new("bucle", u64::MAX, &mut out);
        if let Some(trace) = lp.trace() {
            let metrics = lp.metrics();
            let now = metrics.idle + metrics.active;
            let now_ns = now.as_nanos() as u64;
            let from_ns = now.saturating_sub(last).as_nanos() as u64;
            for (number, record) in trace.since(trace.next_number().saturating_sub(most)) {
                let mut record = *record;
                let takes_time = record.kind.is_callback() || matches!(record.kind, Kind::Phase | Kind::Wait);
                if takes_time && record.duration_ns() == 0 {
                    // The loop is inside of it: it has lasted until now.
                    record.set_duration_ns(now_ns.saturating_sub(record.start_ns).max(1));
                }
                // A record that began before may have lasted longer than one that began behind it.
                if record.start_ns.saturating_add(record.duration_ns()) >= from_ns {
                    chrome.record(number, &record, &mut out);
                }
            }
        }
        chrome.end(&mut out);
        out
    }

    fn metrics_text(&self, lp: &Loop) -> Vec<u8> {
        let turn_times = lp.turn_times().cloned().unwrap_or_default();
        metrics_text::text(&lp.metrics(), &lp.queues(), &turn_times, self.spent).into_bytes()
    }
}

/// The chain of causes, nearest first.
fn causes(lp: &Loop, next: &Next) -> Vec<(Kind, u32)> {
    let Some(trace) = lp.trace() else { return Vec::new() };
    let mut chain = Vec::new();
    let mut number = next.cause;
    while let Some((at, record)) = number.and_then(|number| Some((number, trace.get(number)?))) {
        if chain.len() == CAUSES || record.kind == Kind::Phase {
            break;
        }
        chain.push((record.kind, record.subject));
        number = Trace::cause_of(at, record);
    }
    chain
}

impl Gate for Observer {
    fn fd(&self) -> RawFd {
        self.inner.as_raw_fd()
    }

    fn max_wait(&mut self) -> Option<Duration> {
        if self.is_broken { None } else { self.until_due(self.inner.next_wait()) }
    }

    fn turn(&mut self, max_wait: Option<Duration>) {
        if self.is_broken {
            return;
        }
        let start = Instant::now();
        let wait = self.until_due(max_wait);
        if let Err(error) = while_working(|| self.inner.turn(wait)) {
            log::error!(target: "bucle::inspect", "the inspector has failed: {error}");
            self.is_broken = true;
        }
        // While the watched loop stands, the inner one may wait as long as it likes.
        if max_wait.is_some() {
            self.spent += start.elapsed();
        }
    }

    fn decide(&mut self, lp: &Loop, next: Option<&Next>) -> Decision {
        if self.is_broken {
            return Decision::Open;
        }
        let start = Instant::now();
        self.place = next.map(|next| (next.turn, next.phase));
        self.carry_out_commands();
        let decision = self.pace(next);
        // If it is to be held in the middle of a wait, it stands in a moment, and then the answers are complete.
        if next.is_some() || decision != Decision::Hold {
            self.reply(lp);
        }
        self.count_asks();
        // At a gate point the clock of the watched loop stands still.
        if next.is_none() {
            self.spent += start.elapsed();
        }
        decision
    }
}
