//! Lesson 1: what runs when. Main body, ticks, microtasks, timers, immediates.
//!
//! A loop runs one callback at a time, each to its end. Asking for something "later" puts it in one of four queues:
//!
//! * `next_tick` and `queue_microtask`: as soon as the running callback has returned, all ticks before all microtasks,
//!   and whatever they add in their turn. The loop does nothing else until both queues are empty.
//! * `set_timeout`: in the timers phase, once its time has come.
//! * `set_immediate`: in the check phase, which comes once in every turn. One made by an immediate waits for the next turn.
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
//! tick 3, asked for by tick 1
//! microtask
//! tick 4, asked for by the microtask
//! timeout of 1 ms
//! tick between two timeouts
//! timeout of 2 ms
//! immediate 1
//! tick between two immediates
//! immediate 2
//! immediate 3, one turn later
//! timeout of 20 ms: nothing else waits, the loop ends
//! ```

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
                    println!("timeout of 20 ms: nothing else waits, the loop ends");
                });
            });
        });
        lp.set_immediate(|_| println!("immediate 2"));

        // Shorter first, whoever was asked for first.
        lp.set_timeout(Duration::from_millis(2), |_| println!("timeout of 2 ms"));
        lp.set_timeout(Duration::from_millis(1), |lp| {
            println!("timeout of 1 ms");
            lp.next_tick(|_| println!("tick between two timeouts"));
        });

        lp.queue_microtask(|lp| {
            println!("microtask");
            lp.next_tick(|_| println!("tick 4, asked for by the microtask"));
        });
        lp.next_tick(|lp| {
            println!("tick 1");
            lp.next_tick(|_| println!("tick 3, asked for by tick 1"));
        });
        lp.next_tick(|_| println!("tick 2"));

        // Holding the loop up is what a callback must not do. Here it makes both timeouts due before the first turn;
        // without it they would race with the immediates, and lesson 2 is about that.
        thread::sleep(Duration::from_millis(5));
        println!("main body ends");
        Ok(())
    })
}
