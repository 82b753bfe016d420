//! Lesson 19: endless ticks block timers and sockets, endless immediates do not.
//!
//! The loop drains ticks and microtasks until none is left. A tick that always schedules another one holds the loop
//! forever: no timer fires and no socket is read. Immediates are different. A check phase runs only the immediates that
//! existed when it began, and new ones wait for the next turn:
//!
//! ```text
//!   callback ─▶ tick ─▶ tick ─▶ tick ─▶ …             timers and sockets never run
//!   check: immediate ─▶ timers ─▶ poll ─▶ check: immediate ─▶ timers ─▶ poll ─▶ …
//! ```
//!
//! Run: `cargo run --example 19_starvation_by_ticks`
//!
//! Expect (each chain stops when a timer of 1 ms and a connection were served, or after 50 ms):
//!
//! ```text
//! ticks: stopped after 50 ms; timer waits, connection waits
//! ticks: the loop went on; timer served, connection served
//! microtasks: stopped after 50 ms; timer waits, connection waits
//! microtasks: the loop went on; timer served, connection served
//! immediates: both were served meanwhile; timer served, connection served
//! immediates: the loop went on; timer served, connection served
//! ```
//!
//! Why it matters: use `next_tick` for "right after this callback", and `set_immediate` for "again and again".

use bucle::net::{self, Socket, on};
use bucle::{Loop, Result};
use std::time::{Duration, Instant};
use std::{cell::Cell, rc::Rc};

const TIME_LIMIT: Duration = Duration::from_millis(50);

#[derive(Default)]
struct Served {
    timer: Cell<bool>,
    connection: Cell<bool>,
}

struct Chain {
    name: &'static str,
    /// Schedules the next link.
    schedule: fn(&mut Loop, Chain),
    stops_at: Option<Instant>,
    served: Rc<Served>,
}

impl Chain {
    fn link(self, lp: &mut Loop) {
        if self.served.timer.get() && self.served.connection.get() {
            self.served.report(self.name, "both were served meanwhile");
        } else if self.stops_at.is_some_and(|at| Instant::now() >= at) {
            self.served.report(self.name, "stopped after 50 ms");
        } else {
            (self.schedule)(lp, self);
        }
    }
}

impl Served {
    fn report(&self, name: &str, how: &str) {
        let [timer, connection] =
            [&self.timer, &self.connection].map(|is_served| if is_served.get() { "served" } else { "waits" });
        println!("{name}: {how}; timer {timer}, connection {connection}");
    }
}

fn scene(name: &'static str, time_limit: Option<Duration>, schedule: fn(&mut Loop, Chain)) -> Result<()> {
    let served = Rc::new(Served::default());
    let [timer, connection] = [(); 2].map(|()| served.clone());
    bucle::run(|lp| {
        let handler = on().connection(move |lp, socket| {
            connection.connection.set(true);
            socket.end(lp);
        });
        let server = net::listen(lp, ("127.0.0.1", 0), handler)?;
        server.unref(lp); // Only the connection keeps the loop alive.
        let address = server.address(lp).expect("a listening server has an address");
        Socket::connect(lp, address, on())?;
        lp.set_timeout(Duration::from_millis(1), move |_| timer.timer.set(true));
        let stops_at = time_limit.map(|time_limit| Instant::now() + time_limit);
        Chain { name, schedule, stops_at, served: served.clone() }.link(lp);
        Ok(())
    })?;
    served.report(name, "the loop went on");
    Ok(())
}

fn main() -> Result<()> {
    scene("ticks", Some(TIME_LIMIT), |lp, chain| lp.next_tick(|lp| chain.link(lp)))?;
    scene("microtasks", Some(TIME_LIMIT), |lp, chain| lp.queue_microtask(|lp| chain.link(lp)))?;
    scene("immediates", None, |lp, chain| {
        lp.set_immediate(|lp| chain.link(lp));
    })
}
