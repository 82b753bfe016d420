//! Lesson 2: which comes first, an immediate or a timeout of 1 ms? It depends on where you ask.
//!
//! ```text
//!   main body ─▶ timers ─▶ ┌ poll ─▶ check ─▶ close ─▶ timers ┐ ─▶ next turn
//!                          └──────────────────────────────────┘
//! ```
//!
//! * From the **main body** it is a race: the timers are looked at once before the first turn. If a millisecond has gone
//!   by until then the timeout is first, if not the immediate is. Here both outcomes are forced: by keeping the loop busy
//!   for longer than the timeout, and by a timeout far longer than it takes to get to the check phase.
//! * From an **I/O callback** there is no race. I/O runs in the poll phase, and check comes right after it: the
//!   immediate is first, however long the callback takes.
//! * From a **timer** neither: time stands still while due timers run, so the new timeout waits for the next turn's
//!   timers, and that turn's check comes before them.
//!
//! So: to go on after the I/O at hand, take `set_immediate`. Take `set_timeout` when the time matters.
//!
//! Run: `cargo run --example 02_immediate_against_timeout`
//!
//! Expect:
//!
//! ```text
//! from main, late: timeout
//! from main, late: immediate
//! from main, in time: immediate
//! from main, in time: timeout
//! from I/O: immediate
//! from I/O: timeout
//! from a timer: immediate
//! from a timer: timeout
//! ```

use bucle::Loop;
use bucle::net::{self, Socket, on};
use std::{thread, time::Duration};

const SHORT: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_millis(500);

fn main() -> bucle::Result<()> {
    bucle::run(|lp| {
        ask_for_both(lp, "from main, late", SHORT);
        hold_up();
        Ok(())
    })?;
    bucle::run(|lp| {
        ask_for_both(lp, "from main, in time", LONG);
        Ok(())
    })?;
    bucle::run(|lp| {
        let server = net::listen(
            lp,
            ("127.0.0.1", 0),
            on().connection(|lp, socket| {
                ask_for_both(lp, "from I/O", SHORT);
                hold_up();
                socket.destroy(lp);
            }),
        )?;
        let address = server.address(lp).expect("listen has bound it");
        Socket::connect(lp, address, on().end(move |lp, _| server.close(lp)))?;
        Ok(())
    })?;
    bucle::run(|lp| {
        lp.set_timeout(SHORT, |lp| {
            ask_for_both(lp, "from a timer", SHORT);
            hold_up();
        });
        Ok(())
    })
}

fn ask_for_both(lp: &mut Loop, place: &'static str, delay: Duration) {
    lp.set_timeout(delay, move |_| println!("{place}: timeout"));
    lp.set_immediate(move |_| println!("{place}: immediate"));
}

/// Long enough for the timeout to be due.
fn hold_up() {
    thread::sleep(5 * SHORT);
}
