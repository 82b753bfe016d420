//! Lesson 11: timers for sockets. Who says nothing, who never gets to the point, and timers that keep nobody waiting.
//!
//! * `socket.set_timeout` is an idle limit: every byte read or written starts it anew. The loop only tells, in
//!   `on_timeout`; what to do about it is up to you.
//! * A peer that sends a byte now and then is never idle. Against that one helps a deadline, a plain `lp.set_timeout` that
//!   no byte puts off: here, a whole line within a second.
//! * `lp.set_timer` fires once, like `set_timeout`, and `refresh` winds it up again, before it has fired or after.
//! * `unref` lets the loop end although a timer is waiting. Right for what only goes along, like an hourly report.
//!
//! Run: `cargo run --example 11_timers_for_sockets`
//!
//! Expect, within two seconds:
//!
//! ```text
//! #4 is silent
//! #5 does not get to the point
//! all is quiet, and nobody waits for the hourly report
//! ```

use bucle::net::{self, Handler, Socket, on};
use bucle::{Loop, Result, TimerId};
use std::time::Duration;

const IDLE_LIMIT: Duration = Duration::from_millis(400);
const DEADLINE: Duration = Duration::from_millis(1000);

/// One connection at the server; a handler of its own, as in lesson 4.
struct Session {
    deadline: TimerId,
    quiet: TimerId,
}

impl Handler for Session {
    fn on_data(&mut self, lp: &mut Loop, _: Socket, chunk: &[u8]) {
        lp.refresh(self.quiet);
        if chunk.contains(&b'\n') {
            lp.clear(self.deadline);
        }
    }

    fn on_timeout(&mut self, lp: &mut Loop, socket: Socket) {
        hang_up(lp, socket, "is silent");
    }

    fn on_close(&mut self, lp: &mut Loop, _: Socket, _had_error: bool) {
        lp.clear(self.deadline);
    }
}

/// `end` would leave it to the peer when the connection is over, and this peer has shown what it makes of that.
fn hang_up(lp: &mut Loop, socket: Socket, why: &str) {
    println!("{socket} {why}");
    socket.write(lp, format!("{why}, good-bye\r\n"));
    socket.destroy_soon(lp);
}

fn main() -> Result<()> {
    bucle::run(|lp| {
        let quiet = lp.set_timer(IDLE_LIMIT, |_| println!("all is quiet, and nobody waits for the hourly report"));
        let report = lp.set_interval(Duration::from_secs(3600), |_| println!("the hourly report"));
        lp.unref(report);

        let server = on().connection(move |lp, socket| {
            socket.set_timeout(lp, IDLE_LIMIT);
            let deadline = lp.set_timeout(DEADLINE, move |lp| hang_up(lp, socket, "does not get to the point"));
            socket.set_handler(lp, Session { deadline, quiet });
        });
        let server = net::listen(lp, ("127.0.0.1", 0), server)?;
        server.unref(lp);
        let address = server.address(lp).expect("listen has bound it");

        // Two clients. The first says one line and no more, the second drips and never comes to the end of a line.
        Socket::connect(lp, address.clone(), on())?.write(lp, "hola\r\n");
        let dripping = Socket::connect(lp, address, on())?;
        let drip = lp.set_interval(Duration::from_millis(20), move |lp| {
            dripping.write(lp, ".");
        });
        lp.unref(drip); // When the socket is gone it writes to nobody, and keeps nobody waiting.
        Ok(())
    })
}
