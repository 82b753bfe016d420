//! Lesson 11: other threads. A slow computation beside the loop, `Remote` and `KeepAlive`.
//!
//! While a callback computes, nobody is served. So long computations go to a thread of their own, and come back as a
//! closure that is posted through a `Remote`: it runs on the loop, in the poll phase, like the arrival of data.
//!
//! ```text
//!   loop    ── spawn ─▶ turns on, and on ─ is_enough ─▶ ·············· ▶ |lp| … ─▶ ends
//!   helper              computes ······················ sees it ─ post ─┘
//! ```
//!
//! A remote does not keep the loop alive, a `KeepAlive` does; without it the loop would end before the answer is there.
//! What was posted before the last of them is dropped is run, so the helper just posts and lets go. It lets go too if it
//! panics: the loop does not wait for ever for an answer that never comes.
//!
//! Run: `cargo run --example 11_other_threads`
//!
//! Expect:
//!
//! ```text
//! main: a helper looks for primes, and I go on
//! loop: 10 ms later, and I am not blocked
//! loop: 20 ms later, and I am not blocked
//! loop: 30 ms later, that is enough
//! helper: the thousandth prime is 7919, and I have more
//! main: nothing keeps the loop alive any more
//! ```

use bucle::{KeepAlive, Loop, Remote, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{thread, time::Duration};

fn main() -> Result<()> {
    bucle::run(|lp| {
        let is_enough = Arc::new(AtomicBool::new(false));
        let (remote, keep_alive) = (lp.remote(), lp.remote().hold());
        let told = is_enough.clone();
        thread::spawn(move || find_primes(&remote, keep_alive, &told));
        println!("main: a helper looks for primes, and I go on");
        wait(lp, 1, is_enough);
        Ok(())
    })?;
    println!("main: nothing keeps the loop alive any more");
    Ok(())
}

fn wait(lp: &mut Loop, times: u64, is_enough: Arc<AtomicBool>) {
    lp.set_timeout(Duration::from_millis(10), move |lp| {
        if times < 3 {
            println!("loop: {} ms later, and I am not blocked", times * 10);
            wait(lp, times + 1, is_enough);
        } else {
            println!("loop: {} ms later, that is enough", times * 10);
            is_enough.store(true, Ordering::Relaxed);
        }
    });
}

/// On the helper's thread. What it needs it owns; of the loop it has nothing but the door.
fn find_primes(remote: &Remote, keep_alive: KeepAlive, is_enough: &AtomicBool) {
    let is_prime = |n: &u64| !(2..).take_while(|d| d * d <= *n).any(|d| n.is_multiple_of(d));
    let mut primes = Vec::new();
    for thousand in 0.. {
        primes.extend((thousand * 1000..(thousand + 1) * 1000).filter(|n| *n > 1).filter(is_prime));
        if primes.len() >= 1000 && is_enough.load(Ordering::Relaxed) {
            break;
        }
    }
    remote.post(move |_| println!("helper: the thousandth prime is {}, and I have more", primes[999]));
    drop(keep_alive); // The loop may end now, after the answer.
}
