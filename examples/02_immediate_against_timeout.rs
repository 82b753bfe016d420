//! Lesson 2: whether an immediate or a timeout of 1 ms runs first depends on where you schedule them.
//!
//! ```text
//!   main body ─▶ timers ─▶ ┌ poll ─▶ check ─▶ close ─▶ timers ┐ ─▶ next turn
//!                          └──────────────────────────────────┘
//! ```
//!
//! Immediates run in the check phase, timeouts in the timers phase. Follow the arrows from the place where you are:
//!
//! * From the **main body** it is a race. The loop looks at the timers once before the first turn. If a millisecond has
//!   passed by then, the timeout runs first, else the immediate. This lesson forces both results: a slow main body
//!   makes the timeout due, and a timeout of 500 ms is never due so early.
//! * From an **I/O callback** the immediate runs first, even after a slow callback: I/O runs in the poll phase, and the
//!   check phase follows directly.
//! * From a **timer** the immediate runs first, too: a timer armed in the timers phase waits for the next timers phase,
//!   and a check phase comes before it.
//!
//! Run: `cargo run --example 02_immediate_against_timeout`
//!
//! Expect:
//!
//! ```text
//! slow main body: timeout
//! slow main body: immediate
//! fast main body: immediate
//! fast main body: timeout
//! I/O callback: immediate
//! I/O callback: timeout
//! timer callback: immediate
//! timer callback: timeout
//! ```
//!
//! Why it matters: to continue right after the current I/O use `set_immediate`; use `set_timeout` if you need a delay.

use bucle::Loop;
use bucle::net::{self, Socket, on};
use std::{thread, time::Duration};

const SHORT: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_millis(500);

fn main() -> bucle::Result<()> {
    bucle::run(|lp| {
        schedule_both(lp, "slow main body", SHORT);
        work();
        Ok(())
    })?;
    bucle::run(|lp| {
        schedule_both(lp, "fast main body", LONG);
        Ok(())
    })?;
    bucle::run(|lp| {
        let handler = on().connection(|lp, socket| {
            schedule_both(lp, "I/O callback", SHORT);
            work();
            socket.destroy(lp);
        });
        let server = net::listen(lp, ("127.0.0.1", 0), handler)?;
        let address = server.address(lp).expect("a listening server has an address");
        Socket::connect(lp, address, on().end(move |lp, _| server.close(lp)))?;
        Ok(())
    })?;
    bucle::run(|lp| {
        lp.set_timeout(SHORT, |lp| {
            schedule_both(lp, "timer callback", SHORT);
            work();
        });
        Ok(())
    })
}

fn schedule_both(lp: &mut Loop, place: &'static str, delay: Duration) {
    lp.set_timeout(delay, move |_| println!("{place}: timeout"));
    lp.set_immediate(move |_| println!("{place}: immediate"));
}

/// Blocks the loop for long enough that the timeout is due.
fn work() {
    thread::sleep(5 * SHORT);
}
