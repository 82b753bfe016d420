//! Lesson 20: a callback every 100 ms drifts, unless you compute each due time from the start.
//!
//! A timer never fires early, and almost always a little late: when it is due the loop is busy elsewhere. The question
//! is where the next 100 ms are counted from:
//!
//! * A **timeout that arms itself again** counts from the end of its work. It adds the work and the lateness each time.
//! * An **interval** counts from the start of its callback. It adds the lateness each time.
//! * A **due time** adds nothing: beat n is due at n × 100 ms. After a long delay the missed beats come one right after
//!   the other; a clock display would rather skip them.
//!
//! Run: `cargo run --example 20_interval_drift`
//!
//! Expect:
//!
//! ```text
//! wanted       100  200  300  400  500  600 … and after a minute
//! timeout      104  224  344  464  584  704 … 11984 ms behind
//! interval     104  208  312  416  520  624 … 2400 ms behind
//! due times    104  200  304  400  504  600 … 0 ms behind
//! ```
//!
//! Why: each beat adds 16 ms of work and 4 ms of lateness to the timeout, 4 ms of lateness to the interval, and nothing
//! to the due times. The numbers are exact because the time is driven by hand: a `ManualClock` stands still until the
//! program advances it. Here the loop reaches its timers every 8 ms, and each callback works for 16 ms.

use bucle::{EventLoop, Loop, ManualClock, Result};
use std::time::{Duration, Instant};
use std::{cell::RefCell, rc::Rc};

const PERIOD: Duration = Duration::from_millis(100);
const STEP: Duration = Duration::from_millis(8);
const WORK: Duration = Duration::from_millis(16);
const BEATS: u32 = 600;

#[derive(Clone)]
struct Metronome {
    clock: ManualClock,
    start: Instant,
    beats: Rc<RefCell<Vec<Duration>>>,
}

impl Metronome {
    fn beat(&self, lp: &Loop) {
        self.beats.borrow_mut().push(lp.now() - self.start);
        self.clock.advance(WORK);
    }
}

fn by_timeout(lp: &mut Loop, metronome: Metronome) {
    lp.set_timeout(PERIOD, move |lp| {
        metronome.beat(lp);
        by_timeout(lp, metronome);
    });
}

fn by_interval(lp: &mut Loop, metronome: Metronome) {
    lp.set_interval(PERIOD, move |lp| metronome.beat(lp));
}

/// Arms the next timer before the work: `lp.now()` does not change during a callback, so after the work it is old.
fn by_due_times(lp: &mut Loop, metronome: Metronome, due: Duration) {
    let wait = due.saturating_sub(lp.now() - metronome.start);
    lp.set_timeout(wait, move |lp| {
        by_due_times(lp, metronome.clone(), due + PERIOD);
        metronome.beat(lp);
    });
}

fn run(name: &str, begin: fn(&mut Loop, Metronome)) -> Result<()> {
    let (clock, beats) = (ManualClock::new(), Rc::new(RefCell::new(Vec::new())));
    let mut event_loop = EventLoop::with_clock(clock.clone())?;
    event_loop.enter(|lp| begin(lp, Metronome { clock: clock.clone(), start: lp.now(), beats: beats.clone() }));
    while beats.borrow().len() < BEATS as usize {
        clock.advance(STEP);
        event_loop.turn(Some(Duration::ZERO))?;
    }
    let first: String = beats.borrow().iter().take(6).map(|beat| format!("{:5}", beat.as_millis())).collect();
    let behind = beats.borrow().last().map_or(0, |last| (*last - PERIOD * BEATS).as_millis());
    println!("{name:11}{first} … {behind} ms behind");
    Ok(())
}

fn main() -> Result<()> {
    println!("wanted       100  200  300  400  500  600 … and after a minute");
    run("timeout", by_timeout)?;
    run("interval", by_interval)?;
    run("due times", |lp, metronome| by_due_times(lp, metronome, PERIOD))
}
