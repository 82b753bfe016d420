//! Lesson 19: who goes on for ever, and who lets the others live.
//!
//! Ticks and microtasks are drained until there are none: one that always asks for another holds the loop for good, and
//! no timer fires and no socket is read. Immediates are not drained. A check phase runs those that were there when it
//! began, and the next ones wait for a whole turn to go by:
//!
//! ```text
//!   callback ─▶ tick ─▶ tick ─▶ tick ─▶ …                  timers and sockets never
//!   check: immediate ─▶ timers ─▶ poll ─▶ check: immediate ─▶ timers ─▶ poll ─▶ …
//! ```
//!
//! So `next_tick` is for "right after this callback", and never for "again". For that, `set_immediate`.
//!
//! Run: `cargo run --example 19_starvation_by_ticks`
//!
//! Expect (a chain ends when a timer of 1 ms and a connection have been served, or when it loses patience):
//!
//! ```text
//! ticks: patience is lost after 50 ms; timer waits, connection waits
//! ticks: then the loop goes on; timer served, connection served
//! microtasks: patience is lost after 50 ms; timer waits, connection waits
//! microtasks: then the loop goes on; timer served, connection served
//! immediates: all went on beside them; timer served, connection served
//! immediates: then the loop goes on; timer served, connection served
//! ```

use bucle::net::{self, Socket, on};
use bucle::{Loop, Result};
use std::time::{Duration, Instant};
use std::{cell::Cell, rc::Rc};

const PATIENCE: Duration = Duration::from_millis(50);

#[derive(Default)]
struct Served {
    timer: Cell<bool>,
    connection: Cell<bool>,
}

struct Chain {
    name: &'static str,
    /// Has the next link run.
    ask: fn(&mut Loop, Chain),
    gives_up_at: Option<Instant>,
    served: Rc<Served>,
}

impl Chain {
    fn link(self, lp: &mut Loop) {
        if self.served.timer.get() && self.served.connection.get() {
            self.served.report(self.name, "all went on beside them");
        } else if self.gives_up_at.is_some_and(|at| Instant::now() >= at) {
            self.served.report(self.name, "patience is lost after 50 ms");
        } else {
            (self.ask)(lp, self);
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

fn scene(name: &'static str, patience: Option<Duration>, ask: fn(&mut Loop, Chain)) -> Result<()> {
    let served = Rc::new(Served::default());
    let [timer, connection] = [(); 2].map(|()| served.clone());
    bucle::run(|lp| {
        let handler = on().connection(move |lp, socket| {
            connection.connection.set(true);
            socket.end(lp);
        });
        let server = net::listen(lp, ("127.0.0.1", 0), handler)?;
        server.unref(lp); // The loop ends with the connection.
        let address = server.address(lp).expect("listen has bound it");
        Socket::connect(lp, address, on())?;
        lp.set_timeout(Duration::from_millis(1), move |_| timer.timer.set(true));
        let gives_up_at = patience.map(|patience| Instant::now() + patience);
        Chain { name, ask, gives_up_at, served: served.clone() }.link(lp);
        Ok(())
    })?;
    served.report(name, "then the loop goes on");
    Ok(())
}

fn main() -> Result<()> {
    scene("ticks", Some(PATIENCE), |lp, chain| lp.next_tick(|lp| chain.link(lp)))?;
    scene("microtasks", Some(PATIENCE), |lp, chain| lp.queue_microtask(|lp| chain.link(lp)))?;
    scene("immediates", None, |lp, chain| {
        lp.set_immediate(|lp| chain.link(lp));
    })
}
