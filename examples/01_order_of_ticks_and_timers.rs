//! Lesson 1: the order of the main body, ticks, microtasks, timers and immediates.
//!
//! A loop runs one callback at a time, and each callback runs to its end. A callback can schedule others for later:
//!
//! * `next_tick` and `queue_microtask` run as soon as the current callback has returned: first all ticks, then all
//!   microtasks. Both queues are emptied before the loop does anything else, including callbacks added meanwhile.
//! * `set_timeout` runs in the timers phase, after its delay.
//! * `set_immediate` runs in the check phase, which comes once per turn. An immediate scheduled by an immediate runs
//!   one turn later.
//!
//! Run: `cargo run --example 01_order_of_ticks_and_timers`
//!
//! Expect, always in this order (Node prints the same for the same program):
//!
//! ```text
//! main body begins
//! main body ends
//! tick 1
//! tick 2
//! tick 3, scheduled by tick 1
//! microtask
//! tick 4, scheduled by the microtask
//! timeout of 1 ms
//! tick between two timeouts
//! timeout of 30 ms
//! immediate 1
//! tick between two immediates
//! immediate 2
//! immediate 3, one turn later
//! timeout of 20 ms: nothing else is left, so the loop ends
//! ```
//!
//! Why: ticks and microtasks are drained after *every* callback, so they also run between two timers or two immediates.

use std::thread;
use std::time::Duration;

fn main() -> bucle::Result<()> {
    bucle::run(|lp| {
        println!("main body begins");

        lp.set_immediate(|lp| {
            println!("immediate 1");
            lp.next_tick(|_| println!("tick between two immediates"));
            lp.set_immediate(|lp| {
                println!("immediate 3, one turn later");
                lp.set_timeout(Duration::from_millis(20), |_| {
                    println!("timeout of 20 ms: nothing else is left, so the loop ends");
                });
            });
        });
        lp.set_immediate(|_| println!("immediate 2"));

        // The timeout that is due first runs first, although it is scheduled second.
        lp.set_timeout(Duration::from_millis(30), |_| println!("timeout of 30 ms"));
        lp.set_timeout(Duration::from_millis(1), |lp| {
            println!("timeout of 1 ms");
            lp.next_tick(|_| println!("tick between two timeouts"));
        });

        lp.queue_microtask(|lp| {
            println!("microtask");
            lp.next_tick(|_| println!("tick 4, scheduled by the microtask"));
        });
        lp.next_tick(|lp| {
            println!("tick 1");
            lp.next_tick(|_| println!("tick 3, scheduled by tick 1"));
        });
        lp.next_tick(|_| println!("tick 2"));

        // A callback should never block the loop like this. Here it makes both timeouts due before the first turn.
        // Otherwise they would race with the immediates, which is the subject of lesson 2.
        thread::sleep(Duration::from_millis(40));
        println!("main body ends");
        Ok(())
    })
}
