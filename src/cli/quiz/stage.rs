//! Where the programs of the questions are performed: on the real loop, while the trace records.
//!
//! The programs stay as short as if they printed: `say(lp, "tick")` and `hold_up(ms(5))` are functions that find the
//! stage in a thread-local. One program runs at a time.
//!
//! Time is driven by hand, so that a busy machine cannot change an order: `hold_up` is the only thing that takes time.
//! The one program that is about real time gets the real clock.

use std::cell::RefCell;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bucle::net::{self, LocalAddress, On};
use bucle::{Error, EventLoop, Loop, ManualClock, Result};

use super::explain::{Line, Run};
use super::programs::Program;

/// How many records a performance may make: an order of magnitude more than the longest makes.
const RECORDS: usize = 1 << 14;

/// By which clock a program runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Time {
    ByHand,
    Real,
}

/// What is going on at the moment.
#[derive(Default)]
struct Stage {
    /// `None`: the real one.
    clock: Option<ManualClock>,
    lines: Vec<Line>,
}

thread_local! {
    static STAGE: RefCell<Stage> = RefCell::default();
}

/// Runs `program` to its end. Gives what it said, with the trace of it.
///
/// # Errors
/// What the program, the poll or the system refused.
pub(crate) fn perform(program: Program, time: Time) -> Result<Run> {
    let clock = (time == Time::ByHand).then(ManualClock::new);
    let mut event_loop = clock.clone().map_or_else(EventLoop::new, EventLoop::with_clock)?;
    STAGE.set(Stage { clock, lines: Vec::new() });
    event_loop.enter(|lp| lp.start_trace(RECORDS));
    event_loop.enter(program.main)?;
    event_loop.run()?;
    let trace = event_loop.enter(Loop::stop_trace).ok_or(Error::Gone)?;
    let records = trace.records().map(|(number, record)| (number, *record)).collect();
    Ok(Run::new(STAGE.take().lines, records))
}

/// Says a line. It belongs to the callback that runs: the last one in the trace that has not ended.
pub(super) fn say(lp: &mut Loop, text: &'static str) {
    let Some(trace) = lp.trace() else { return };
    // A callback that has ended took a nanosecond at least.
    let is_running = |record: &bucle::trace::Record| record.kind.is_callback() && record.duration_ns() == 0;
    let callback = trace.records().filter(|(_, record)| is_running(record)).last().map_or(0, |(number, _)| number);
    STAGE.with_borrow_mut(|stage| stage.lines.push(Line { text, callback }));
}

/// Keeps the loop waiting for `time`.
pub(super) fn hold_up(time: Duration) {
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

/// Work that may take from nothing to two milliseconds.
pub(super) fn some_time() -> Duration {
    let any = RandomState::new().build_hasher().finish();
    Duration::from_nanos(any % 2_000_000)
}

/// Milliseconds.
pub(super) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A server on a free port of this machine. It does not keep the loop alive. Gives its address.
pub(super) fn serve(lp: &mut Loop, handler: On) -> Result<SocketAddr> {
    let server = net::listen(lp, ("127.0.0.1", 0), handler)?.id();
    server.unref(lp);
    match server.address(lp) {
        Some(LocalAddress::Ip(address)) => Ok(address),
        _ => Err(Error::Gone),
    }
}

#[cfg(test)]
mod tests {
    use super::super::questions::QUESTIONS;
    use super::*;

    /// What is promised is that the order is the same, whatever the machine does.
    const TIMES: usize = 20;

    #[test]
    fn a_program_says_the_same_every_time() {
        for question in QUESTIONS {
            let title = question.title;
            let mut orders = Vec::new();
            for _ in 0..TIMES {
                let run = perform(question.program, question.time).expect("it runs");
                orders.push(run.order());
            }
            if question.is_race() {
                orders.iter_mut().for_each(|order| order.sort_unstable());
            }
            assert!(orders.iter().all(|order| *order == orders[0]), "{title}: {orders:?}");
        }
    }

    #[test]
    fn each_line_of_a_program_is_said_once_and_is_in_the_trace() {
        for question in QUESTIONS {
            let run = perform(question.program, question.time).expect("it runs");
            let (mut said, mut written) = (run.order(), question.program.texts());
            said.sort_unstable();
            written.sort_unstable();
            assert_eq!(said, written, "{}", question.title);
            let table = run.table(|_| 'x', |_| None);
            assert_eq!(table.lines().count(), said.len(), "{}: {table}", question.title);
        }
    }
}
