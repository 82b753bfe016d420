//! Lesson 23: find a slow callback with the loop's trace, and divide its work into slices.
//!
//! One callback runs at a time. If it takes 30 ms, all timers and sockets wait for 30 ms. You see the late timers, but
//! not the callback that delayed them. So the loop can record its work (feature `trace`, on by default): each callback
//! with its duration, and each timer with its delay and how late it was.
//!
//! The cure is to work in slices: do one slice, and schedule the next one with `set_immediate`. Every turn serves
//! sockets and timers before it runs immediates again, so they wait for one slice at most, plus the other callbacks of
//! the turn. (Work that cannot be divided goes to another thread: lesson 16.)
//!
//! Run: `cargo run --example 23_a_slow_callback`, and again with `RUST_LOG=warn` in front: then the loop itself logs a
//! warning for each callback that takes more than 10 ms.
//!
//! Expect:
//!
//! ```text
//! 30 ms of work in one callback
//!   immediate took 30 ms
//!   timer of 10 ms was 20 ms late
//!   timer of 20 ms was 10 ms late
//!   timer of 30 ms was 0 ms late
//! 30 ms of work in slices of 5 ms
//!   immediate took 5 ms
//!   immediate took 5 ms
//!   timer of 10 ms was 1 ms late
//!   immediate took 5 ms
//!   immediate took 5 ms
//!   timer of 20 ms was 3 ms late
//!   immediate took 5 ms
//!   immediate took 5 ms
//!   timer of 30 ms was 5 ms late
//! ```
//!
//! Why: with slices a timer waits for one slice at most, here 5 ms, instead of for all the work.

use bucle::trace::{Kind, Record, Trace};
use bucle::{EventLoop, Loop, ManualClock, Result};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

fn main() -> Result<()> {
    env_logger::init(); // The environment variable RUST_LOG chooses the log messages to print.
    println!("30 ms of work in one callback");
    report(&record(30 * MS)?);
    println!("30 ms of work in slices of 5 ms");
    report(&record(5 * MS)?);
    Ok(())
}

/// Runs the slow work beside three timers, on a loop that turns once per millisecond. The time is driven by hand, as in
/// lesson 20, so the numbers are exact: `clock.advance` takes the place of the work.
fn record(slice: Duration) -> Result<Trace> {
    let clock = ManualClock::new();
    let mut event_loop = EventLoop::with_clock(clock.clone())?;
    event_loop.enter(|lp| {
        lp.start_trace(4096);
        for delay in [10, 20, 30] {
            lp.set_timeout(delay * MS, |_| {});
        }
        work(lp, clock.clone(), slice, 30 * MS);
    });
    while event_loop.turn(Some(Duration::ZERO))?.is_alive {
        clock.advance(MS);
    }
    Ok(event_loop.enter(|lp| lp.stop_trace()).expect("the trace was started above"))
}

/// Works for one slice in the check phase of the next turn, and leaves the rest to later turns.
fn work(lp: &mut Loop, clock: ManualClock, slice: Duration, left: Duration) {
    if left.is_zero() {
        return;
    }
    lp.set_immediate(move |lp| {
        clock.advance(slice);
        work(lp, clock, slice, left.saturating_sub(slice));
    });
}

fn report(trace: &Trace) {
    let armed_with = |timer: &Record| trace.records().find(|(number, _)| *number as u32 == timer.cause);
    for (_, record) in trace.records() {
        match record.kind {
            Kind::Immediate => println!("  immediate took {} ms", record.duration_ns() / 1_000_000),
            Kind::Timer => {
                let delay = armed_with(record).map_or(0, |(_, armed)| armed.size);
                println!("  timer of {delay} ms was {} ms late", record.size);
            }
            _ => {}
        }
    }
}
