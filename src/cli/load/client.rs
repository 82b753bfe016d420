//! One process of a run: its connections, on one loop, from the first connect to the last FIN.
//!
//! ```text
//!   Connecting ──▶ Warmup ──▶ Steady ──▶ Drain ──▶ Closing ──▶ Over
//!        │        (begun when     │          │         │
//!        │         all are made   │          │         └ half-closed, read to the server's FIN: 200 ms
//!        │         or failed)     │          └ every unanswered message keeps its timeout
//!        └────────────────────────┴─▶ no connection is left, Ctrl-C, --fail-fast: immediately
//! ```
//!
//! This file has the stages. The other files add the methods for connecting, sending, receiving and timeouts to
//! [`Run`].
//!
//! Everything runs on the loop's thread. A time is the number of nanoseconds since the start of the run ([`Run::now`]).
//! Each event reads the clock. The loop's cached time is not used: it would hide the delay of a process that was
//! stopped.

mod book;
mod conn;
mod connecting;
mod connection;
mod lookup;
mod metronome;
mod overdue;
mod passes;
mod reconnecting;
mod run;
mod sending;
mod socket_io;
mod telnet;
mod websocket;

use std::time::Duration;

use bucle::net::Shared;
use bucle::process::{self, Input, Signal};
use bucle::{EventLoop, Loop, Result};

use super::check::fanout::Room;
use super::ledger::{EarlyEnd, Ledger, Why};
use super::options::{Length, Model};
use super::progress::{Progress, Snapshot, Unit};
use super::report;
use super::schedule::{Schedule, first_number_from};
use super::stage::Stage;
use super::units::nanos;
use crate::cli::exit_code;
use conn::{Conn, ConnState};
pub(crate) use lookup::resolve;
use metronome::Metronome;
pub(crate) use run::Job;
use run::{FIN_TIMEOUT_NS, Run};

/// The interval of [`Run::tick`]: the shortest time between two sweeps for overdue messages. In the closed model the
/// lateness of this timer is the generator's lag.
const TICK: Duration = Duration::from_millis(10);

/// The loop counts whole milliseconds, so a timer may be a millisecond late although the loop was not.
const TIMER_STEP: Duration = Duration::from_millis(1);

/// Signals that come within this time are one: `timeout` sends its signal to its child and to their process group.
pub(super) const ONE_SIGNAL: Duration = Duration::from_millis(50);

/// When a hint about a server that does not reply is given.
const HINT_AFTER: Duration = Duration::from_millis(700);

/// Runs the job to its end.
pub(crate) fn run(job: Job, progress: Progress) -> Result<Ledger> {
    let mut event_loop = EventLoop::new()?;
    let is_worker = job.is_worker;
    let run = Run::new(job, progress);
    let run = event_loop.enter(|lp| {
        let run = Shared::new(lp, run);
        start(lp, run, is_worker).map(|()| run)
    })?;
    event_loop.run()?;
    let ledger = event_loop.enter(|lp| {
        run.with(lp, |run, _| {
            run.progress.end();
            let mut ledger = std::mem::take(&mut run.book.ledger);
            if is_worker {
                ledger.count_from_load(run.go_at);
            }
            ledger
        })
    });
    let ledger = ledger.expect("the run is lent only inside a callback, and none is running");
    if ledger.is_interrupted && !is_worker {
        // The report may be written to a slow reader, and there is no loop any more that receives signals.
        exit_on_signals();
    }
    Ok(ledger)
}

fn start(lp: &mut Loop, run: Shared<Run>, is_worker: bool) -> Result<()> {
    if is_worker {
        // Ctrl-C, `timeout` and job control signal the parent too, which then sends `stop`.
        process::ignore(Signal::Interrupt)?;
        process::ignore(Signal::Terminate)?;
        listen_to_parent(lp, run)?;
    } else {
        listen_to_signals(lp, run)?;
    }
    lp.set_interval(TICK, move |lp| {
        run.with(lp, |run, lp| run.tick(lp));
    });
    run.with(lp, |it, lp| {
        it.handle = Some(run);
        match it.job.targets.clone() {
            Err(code) => it.no_address(lp, &code),
            // `--churn` connects during the load, not before it.
            Ok(_) if matches!(it.job.load.model, Model::Churn) => it.connected(lp),
            Ok(_) => it.launch(lp),
        }
    });
    Ok(())
}

/// The first Ctrl-C ends the run with a report; the second ends the process immediately.
fn listen_to_signals(lp: &mut Loop, run: Shared<Run>) -> Result<()> {
    process::on_signal(lp, &[Signal::Interrupt, Signal::Terminate], move |lp, _| {
        let timer = lp.set_timeout(ONE_SIGNAL, |_| exit_on_signals());
        lp.unref(timer);
        run.with(lp, |run, lp| run.interrupt(lp));
    })
    .map(drop)
}

/// From now on Ctrl-C ends the process immediately.
fn exit_on_signals() {
    for signal in [Signal::Interrupt, Signal::Terminate] {
        // If this fails, the second signal calls `interrupt` again, which does nothing more.
        let _ = process::exit_on(signal, exit_code::INTERRUPTED.into());
    }
}

/// Commands of the parent on standard input: `go` starts the load, `end` ends it because another process has failed
/// under `--fail-fast`, `stop` (or any other text) interrupts it, and the end of the input means that the parent is
/// gone: the process ends.
fn listen_to_parent(lp: &mut Loop, run: Shared<Run>) -> Result<()> {
    let input = process::stdin(lp, move |lp, _, input| match input {
        // Commands that were written one after the other may arrive together.
        Input::Data(lines) => {
            run.with(lp, |run, lp| {
                lines.split_inclusive(|&byte| byte == b'\n').for_each(|line| match line {
                    b"go\n" => run.begin(lp),
                    b"end\n" => run.cut_short(lp, Why::FailFast),
                    _ => run.interrupt(lp),
                });
            });
        }
        _ => std::process::exit(exit_code::INTERRUPTED.into()),
    })?;
    input.unref(lp);
    Ok(())
}

impl Run {
    /// Every connection has been made or has failed.
    fn connected(&mut self, lp: &mut Loop) {
        self.stage = Stage::Waiting;
        if self.job.is_worker {
            return self.progress.connected();
        }
        self.begin(lp);
    }

    /// Begins the warm-up, or the steady phase if there is no warm-up.
    fn begin(&mut self, lp: &mut Loop) {
        if self.stage != Stage::Waiting {
            return;
        }
        let now = self.now();
        self.go_at = now;
        self.book.ledger.timeline.begin(now, self.living as u64);
        self.steady_at = now + nanos(self.job.load.warmup);
        self.steady_end = match (self.job.load.length, self.model()) {
            (Length::For(time), _) => self.steady_at + nanos(time),
            // With `-n` the open model's phase ends one interval after the last message is due.
            (Length::Messages(count), Model::Open { rate }) => {
                let first = self.first_of_steady(*rate);
                let end = u128::from(first + count) * 1_000_000_000 / u128::from(*rate);
                self.go_at.saturating_add(u64::try_from(end).unwrap_or(u64::MAX))
            }
            (Length::Messages(_), _) => u64::MAX,
        };
        self.stage = Stage::Warmup;
        if let Model::Open { rate } = *self.model() {
            let schedule = Schedule::new(rate, self.job.index, self.job.of);
            self.schedule = Some(schedule);
            self.metronome = self.handle.map(|run| {
                let send_due = move |lp: &mut Loop| {
                    run.with(lp, |run, lp| run.send_due(lp));
                };
                Metronome::start(lp, schedule, self.origin, now, send_due)
            });
        }
        self.ticked_at = now;
        if self.steady_at <= now {
            self.begin_steady();
        }
        for time in
            [self.job.load.warmup, Duration::from_nanos(self.steady_end.saturating_sub(now).min(LONGEST_TIMER_NS))]
        {
            // The loop counts whole milliseconds and may call up to one early; one more avoids that.
            let wait = time.saturating_add(Duration::from_millis(1));
            let call = self.later(|run, lp| run.advance(lp));
            let timer = lp.set_timeout(wait, call);
            lp.unref(timer);
        }
        if self.job.index == 0 && report::waits_for_a_line(&self.job.load) {
            let call = self.later(|run, _| run.hint_at_line_break());
            let timer = lp.set_timeout(HINT_AFTER, call);
            lp.unref(timer);
        }
        if self.has_no_connection_left() {
            return self.end_early(lp, Why::NoConnection);
        }
        for at in 0..self.conns.len() {
            match self.model() {
                Model::Closed { .. } => self.pump(lp, at),
                Model::Churn => self.churn(lp, at),
                Model::Script(_) => self.next_pass(lp, at),
                Model::Open { .. } | Model::Hold => {}
            }
        }
        self.send_due(lp);
    }

    /// Without a reply after [`HINT_AFTER`]: prints the probable cause at once, not only in the report.
    fn hint_at_line_break(&mut self) {
        let ledger = &self.book.ledger;
        let is_running = matches!(self.stage, Stage::Warmup | Stage::Steady);
        if is_running && ledger.bytes_out > 0 && ledger.has_no_reply() {
            self.progress.note(&format!("hint: no reply yet: {}", report::NO_LINE_BREAK));
        }
    }

    /// The number of the first message that is due in the steady phase.
    fn first_of_steady(&self, rate: u64) -> u64 {
        first_number_from(rate, self.job.load.warmup) as u64
    }

    fn begin_steady(&mut self) {
        self.stage = Stage::Steady;
        self.cpu_at_start = nanos(process::cpu_usage());
        self.book.has_steady_begun = true;
        self.book.ledger.warmup_ns = self.steady_at - self.go_at;
    }

    /// Goes to the next stage if its time or its condition has come.
    fn advance(&mut self, lp: &mut Loop) {
        let now = self.now();
        if self.stage == Stage::Warmup && now >= self.steady_at {
            self.begin_steady();
        }
        if self.stage == Stage::Steady && now >= self.steady_end {
            // The last messages that are due belong to the steady phase, even if this call is late.
            self.send_due(lp);
            if self.living == 0 {
                self.count_unsent_until(self.steady_end, now);
            }
            if self.schedule.is_none_or(|schedule| self.go_at.saturating_add(schedule.due()) >= self.steady_end) {
                self.end_steady(lp);
            }
        }
        if self.stage == Stage::Steady && self.is_all_sent() {
            self.end_steady(lp);
        }
        if self.stage == Stage::Drain && self.is_quiet() {
            self.close(lp);
        }
        if self.stage == Stage::Closing && (now >= self.closing_until || self.living + self.connecting == 0) {
            self.finish(lp);
        }
    }

    /// With `-n`: all messages are sent; for `--churn` and `--script`, all connections or passes are finished too.
    fn is_all_sent(&self) -> bool {
        self.left == Some(0) && self.schedule.is_none() && self.untaken == 0 && self.busy == 0
    }

    /// No connection is open and none will be made, so nothing can be sent.
    fn has_no_connection_left(&self) -> bool {
        self.living == 0 && self.connecting == 0 && !self.reopens() || self.job.targets.is_err()
    }

    /// Ends the steady phase, or the warm-up, before its time. Without a connection all messages that would still have
    /// been due are counted as unsent.
    fn end_early(&mut self, lp: &mut Loop, why: Why) {
        let now = self.now();
        let is_all_begun = self.left == Some(0) && why == Why::NoConnection;
        let is_through = now >= self.steady_end || is_all_begun;
        if self.stage < Stage::Drain && !is_through {
            let after_ns = if self.stage == Stage::Steady { now - self.steady_at } else { 0 };
            let of_ns = self.job.load.steady_ns();
            self.book.ledger.ended_early = Some(EarlyEnd { after_ns, of_ns, why });
        }
        if self.stage < Stage::Drain && why == Why::NoConnection {
            self.count_unsent_until(self.steady_end, now);
            self.count_unsent_rest(now);
        }
        self.end_steady(lp);
    }

    /// Ends the steady phase (or the warm-up, if the run ends early): nothing more is sent.
    fn end_steady(&mut self, lp: &mut Loop) {
        if self.stage >= Stage::Drain {
            return;
        }
        let now = self.now();
        if self.stage == Stage::Steady {
            let ledger = &mut self.book.ledger;
            ledger.steady_ns = now - self.steady_at;
            let cpu = nanos(process::cpu_usage()).saturating_sub(self.cpu_at_start);
            ledger.cpu = if ledger.steady_ns == 0 { 0.0 } else { cpu as f64 / ledger.steady_ns as f64 };
        } else if self.stage == Stage::Warmup {
            self.book.ledger.warmup_ns = now - self.go_at;
        }
        self.count_absences(now);
        self.stage = Stage::Drain;
        self.drain_at = now;
        self.metronome = None;
        self.count_ungreeted(now);
        self.cut_pauses(now);
        if self.is_quiet() {
            self.close(lp);
        }
    }

    /// Every message is sent and answered, or has been counted as a failure.
    fn is_quiet(&self) -> bool {
        self.untaken == 0
            && self.room.as_ref().is_none_or(Room::is_quiet)
            && self.busy == 0
            && self.conns.iter().all(|conn| conn.replies.unanswered() == 0)
    }

    /// Half-closes each connection. It is then read until the server's FIN, so that surplus bytes are found too.
    fn close(&mut self, lp: &mut Loop) {
        let now = self.now();
        self.stage = Stage::Closing;
        self.closing_until = now + FIN_TIMEOUT_NS;
        self.book.ledger.timeline.look(now, self.living as u64);
        self.book.ledger.timeline.end(now);
        for at in 0..self.conns.len() {
            self.end(lp, at);
        }
        let call = self.later(|run, lp| run.advance(lp));
        lp.set_timeout(Duration::from_nanos(FIN_TIMEOUT_NS) + Duration::from_millis(1), call);
        self.advance(lp);
    }

    fn finish(&mut self, lp: &mut Loop) {
        self.stage = Stage::Over;
        for at in 0..self.conns.len() {
            self.release(lp, at);
        }
        let last = self.book.last_exact;
        let ledger = &mut self.book.ledger;
        let steady_at = if self.book.has_steady_begun { self.steady_at } else { u64::MAX };
        ledger.elapsed_ns = ledger.steady_ns.max(last.saturating_sub(steady_at));
        if let Some(EarlyEnd { why: Why::NoConnection, of_ns: Some(of_ns), .. }) = ledger.ended_early {
            // The server answered nothing for the rest of the time: that belongs to its rate.
            ledger.elapsed_ns = ledger.elapsed_ns.max(of_ns);
        }
        lp.stop();
    }

    /// Ctrl-C.
    fn interrupt(&mut self, lp: &mut Loop) {
        if self.stage >= Stage::Closing {
            self.book.ledger.is_interrupted |= self.stage == Stage::Closing;
            return;
        }
        self.book.ledger.is_interrupted = true;
        self.cut_short(lp, Why::Interrupted);
    }

    /// `--fail-fast`: ends the run if a message has failed. Returns whether the run is over.
    fn is_over_by_failure(&mut self, lp: &mut Loop) -> bool {
        let ledger = &self.book.ledger;
        let is_running = matches!(self.stage, Stage::Warmup | Stage::Steady);
        if self.job.load.fail_fast && is_running && ledger.warmup.failures() + ledger.steady.failures() > 0 {
            self.cut_short(lp, Why::FailFast);
        }
        self.is_cut_short
    }

    /// Sends and counts nothing more: unanswered messages are unfinished.
    fn cut_short(&mut self, lp: &mut Loop, why: Why) {
        if self.stage >= Stage::Closing {
            return;
        }
        self.is_cut_short = true;
        self.progress.end();
        let now = self.now();
        for at in 0..self.conns.len() {
            self.count_unfinished(lp, at, now);
        }
        if let Some(room) = &mut self.room {
            for (message, open) in room.interrupt() {
                self.book.ledger.phase(message.phase).unfinished += open as u64;
            }
        }
        self.untaken = 0;
        self.end_early(lp, why);
        if self.stage == Stage::Drain {
            self.close(lp);
        }
    }

    /// Every 10 ms: records the timer's lateness, looks for timeouts, goes to the next stage, and draws the progress.
    fn tick(&mut self, lp: &mut Loop) {
        let now = self.now();
        if self.stage == Stage::Steady && self.schedule.is_none() && self.is_anything_due() {
            self.book.ledger.lag.record(now.saturating_sub(self.ticked_at + nanos(TICK + TIMER_STEP)));
        }
        self.ticked_at = now;
        let sweep_every = (self.rules.timeout / 20).clamp(nanos(TICK), 10 * nanos(TICK));
        if now - self.swept_at >= sweep_every {
            self.swept_at = now;
            // The sweep runs after one more poll. If this process was delayed, replies that came in time may still be
            // unread in the kernel; the poll reads them before they are counted as missing.
            let call = self.later(move |run, lp| run.sweep(lp, now));
            lp.set_immediate(call);
        }
        self.is_over_by_failure(lp);
        self.advance(lp);
        self.book.ledger.timeline.look(now, self.living as u64);
        let (ledger, unit) = (&self.book.ledger, Unit::of(&self.job.load));
        self.progress.show(now, || Snapshot {
            stage: Some(self.stage),
            living: self.living as u64,
            done: unit.count(&ledger.warmup) + unit.count(&ledger.steady),
            failed: ledger.warmup.failures() + ledger.steady.failures(),
            errors: ledger.errors(),
        });
    }

    /// Whether the lateness of a timer would delay a message. It would not while connections are held, while all
    /// scripts pause, and before a greeting has come.
    fn is_anything_due(&self) -> bool {
        let is_acting = |conn: &Conn| conn.pass.as_ref().is_some_and(|active| active.pauses_since.is_none());
        match self.model() {
            Model::Hold => false,
            Model::Script(_) => self.conns.iter().any(is_acting),
            Model::Closed { .. } => self.conns.iter().any(|conn| conn.state == ConnState::Ready),
            Model::Open { .. } | Model::Churn => true,
        }
    }
}

/// The longest timer of the loop, 24 days: longer than any run.
const LONGEST_TIMER_NS: u64 = (i32::MAX as u64 - 1) * 1_000_000;
