//! Lesson 23: a slow callback and its victims, told by the loop itself.
//!
//! One callback runs at a time, so whoever takes 30 ms makes everybody else wait as long: timers, and sockets, whose bytes
//! lie in the kernel meanwhile. The victims show it, the culprit does not. So the loop can record what it does (feature
//! `trace`, on by default): each callback with how long it took, each timer with how late it was and what armed it.
//!
//! The cure is to work in slices and let the others in between: `set_immediate` for the next slice, as each turn passes
//! by the sockets and the timers before it comes to the immediates again. Nobody waits for longer than a slice and what
//! else is in the turn. (Work that has no slices goes to another thread: lesson 16.)
//!
//! Time is driven by hand, as in lesson 20, so the numbers are exact; `clock.advance` is the work.
//!
//! Run: `cargo run --example 23_a_slow_callback`, and again with `RUST_LOG=warn` in front: the loop warns by itself, of
//! any callback over 10 ms.
//!
//! Expect:
//!
//! ```text
//! 30 ms of work at once
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

use bucle::trace::{Kind, Record, Trace};
use bucle::{EventLoop, Loop, ManualClock, Result};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

fn main() -> Result<()> {
    env_logger::init(); // What it shows is up to the variable RUST_LOG.
    println!("30 ms of work at once");
    report(&record(30 * MS)?);
    println!("30 ms of work in slices of 5 ms");
    report(&record(5 * MS)?);
    Ok(())
}

/// The culprit and three innocent timers, on a loop that comes round once a millisecond.
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
    Ok(event_loop.enter(|lp| lp.stop_trace()).expect("it was started above"))
}

/// Works for one slice in the check phase of the next turn, and leaves the rest to the turns after it.
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
