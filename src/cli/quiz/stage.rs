//! Runs the programs of the questions on the real loop, with the trace on.
//!
//! The programs should be as short as if they printed: `print(lp, "tick")` and `work_for(ms(5))` find the state of the
//! run without a name for it. One program runs at a time.
//!
//! The time is driven by hand, so that a busy machine cannot change an order. `work_for` takes time, and when there is
//! nothing to do but to wait for a timer, its time comes at once. The one program about real time runs by the real
//! clock.

use std::cell::RefCell;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bucle::net::{self, LocalAddress, On, ServerOptions};
use bucle::{Error, EventLoop, Loop, ManualClock, Result};

use super::explain::{Line, Run};

/// How many records the trace of a program can hold: ten times the number that the longest program makes.
const RECORDS: usize = 1 << 14;

/// How long a turn waits for the kernel, and how many turns in a row may find nothing to do. Then the program is stuck:
/// with time by hand a connection that both sides leave open is the only reason.
const WAIT: Duration = Duration::from_millis(500);
const IDLE_TURNS: usize = 4;

/// How many turns a program may take. The longest of the quiz takes about ten; two sides that answer each other go on
/// without an end.
const TURNS: u64 = 1000;

/// The code of the error of a program that does not end.
pub(super) const NO_END: &str = "ERR_QUIZ_NO_END";

/// The clock of a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Time {
    ByHand,
    Real,
}

/// The state of the program that runs now.
#[derive(Default)]
struct Stage {
    /// `None`: the real clock.
    clock: Option<ManualClock>,
    lines: Vec<Line>,
    /// Why the program was stopped.
    error: Option<Error>,
}

thread_local! {
    /// A thread-local, and not a `Shared`: every callback of a program would have to capture the `Shared` and pass it
    /// to `print` and `work_for`. The programs are shown to the learner, and would be longer by that.
    static STAGE: RefCell<Stage> = RefCell::default();
}

/// Runs the program `main` to its end, and returns its lines and its trace.
///
/// # Errors
/// Any error of the program, of the poll or of the system.
pub(crate) fn run(main: impl FnOnce(&mut Loop) -> Result<()>, time: Time) -> Result<Run> {
    run_with(main, time, |_| Ok(()))
}

/// As [`run`], with an observer that `observe` sets before the program starts.
///
/// # Errors
/// As [`run`], and any error of `observe`.
pub(super) fn run_with(
    main: impl FnOnce(&mut Loop) -> Result<()>,
    time: Time,
    observe: impl FnOnce(&mut Loop) -> Result<()>,
) -> Result<Run> {
    let clock = (time == Time::ByHand).then(ManualClock::new);
    let mut event_loop = clock.clone().map_or_else(EventLoop::new, EventLoop::with_clock)?;
    STAGE.set(Stage { clock: clock.clone(), ..Stage::default() });
    event_loop.enter(|lp| {
        lp.start_trace(RECORDS);
        if let Some(clock) = clock {
            let mut waits = Waits::default();
            lp.on_prepare(move |lp| waits.before_turn(lp, &clock));
        }
        observe(lp)
    })?;
    event_loop.enter(main)?;
    event_loop.run()?;
    if let Some(error) = STAGE.with_borrow_mut(|stage| stage.error.take()) {
        return Err(error);
    }
    let trace = event_loop.enter(Loop::stop_trace).ok_or(Error::Gone)?;
    let records = trace.records().map(|(number, record)| (number, *record)).collect();
    Ok(Run::new(STAGE.take().lines, records))
}

/// Drives the time of a program that waits.
#[derive(Default)]
struct Waits {
    /// How many events the kernel had reported before the last turn.
    events: u64,
    idle_turns: usize,
}

impl Waits {
    /// If the next turn has nothing to do but to wait for a timer, advances the clock to it. Returns how long the turn
    /// may wait.
    fn before_turn(&mut self, lp: &mut Loop, clock: &ManualClock) -> Option<Duration> {
        let (queues, metrics) = (lp.queues(), lp.metrics());
        let has_events = metrics.events != std::mem::replace(&mut self.events, metrics.events);
        if metrics.loop_count > TURNS {
            fail(lp, Error::custom(NO_END, "it takes too many turns"));
        }
        let has_work = queues.immediates + queues.pending + queues.closing + queues.ready > 0;
        if has_events || has_work {
            self.idle_turns = 0;
            return Some(WAIT);
        }
        self.idle_turns += 1;
        match queues.next_timer {
            // The peer's bytes come first: the turn before has looked for them.
            Some(time) if metrics.connections == 0 || self.idle_turns > 1 => clock.advance(time),
            Some(_) => {}
            None if self.idle_turns > IDLE_TURNS => fail(lp, Error::custom(NO_END, "a connection stays open")),
            None => {}
        }
        Some(WAIT)
    }
}

/// Ends the program with an error.
pub(super) fn fail(lp: &mut Loop, error: Error) {
    STAGE.with_borrow_mut(|stage| stage.error = stage.error.take().or(Some(error)));
    lp.stop();
}

/// The lines that the program has printed so far.
pub(super) fn printed() -> Vec<String> {
    STAGE.with_borrow(|stage| stage.lines.iter().map(|line| line.text.clone()).collect())
}

/// Records a line. It belongs to the running callback, which is the last one in the trace that has not ended.
pub(super) fn print(lp: &mut Loop, text: &str) {
    let Some(trace) = lp.trace() else { return };
    // A callback that has ended took at least a nanosecond, so a duration of 0 marks the running one.
    let is_running = |record: &bucle::trace::Record| record.kind.is_callback() && record.duration_ns() == 0;
    let callback = trace.records().filter(|(_, record)| is_running(record)).last().map_or(0, |(number, _)| number);
    STAGE.with_borrow_mut(|stage| stage.lines.push(Line { text: text.to_owned(), callback }));
}

/// Keeps the loop busy for `time`.
pub(super) fn work_for(time: Duration) {
    match STAGE.with_borrow(|stage| stage.clock.clone()) {
        Some(clock) => clock.advance(time),
        None => {
            let begin = Instant::now();
            while begin.elapsed() < time {
                std::hint::spin_loop();
            }
        }
    }
}

/// A random time below two milliseconds.
pub(super) fn some_time() -> Duration {
    let any = RandomState::new().build_hasher().finish();
    Duration::from_nanos(any % 2_000_000)
}

/// A duration of `ms` milliseconds.
pub(super) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Starts a server on a free port of this machine, and returns its address. The server does not keep the loop alive.
pub(super) fn serve(lp: &mut Loop, handler: On) -> Result<SocketAddr> {
    serve_with(lp, ServerOptions::default(), handler)
}

/// As [`serve`], with options.
pub(super) fn serve_with(lp: &mut Loop, options: ServerOptions, handler: On) -> Result<SocketAddr> {
    let server = net::listen_with(lp, ("127.0.0.1", 0), options, handler)?;
    server.unref(lp);
    match server.address(lp) {
        Some(LocalAddress::Ip(address)) => Ok(address),
        _ => Err(Error::Gone),
    }
}
