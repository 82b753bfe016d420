//! Lesson 11: an idle limit, a deadline, a timer to restart, and a timer that does not keep the loop alive.
//!
//! * `socket.set_timeout` is an idle limit: each byte read or written restarts it. When it is over the loop only calls
//!   `on_timeout`. What to do then is your decision.
//! * A deadline is a plain `lp.set_timeout`, which no byte delays. It stops a peer that sends one byte now and then,
//!   and so is never idle. Here a client has to send a whole line within one second.
//! * `lp.set_timer` fires once, like `set_timeout`, but `refresh` restarts it, before or after it has fired.
//! * `unref` lets the loop end although the timer is still set. Use it for background work, such as an hourly report.
//!
//! Run: `cargo run --example 11_timers_for_sockets`
//!
//! Expect, within two seconds:
//!
//! ```text
//! #4 sent nothing for 400ms
//! #5 sent no line within 1s
//! no data for 400ms: the loop ends without waiting for the hourly report
//! ```
//!
//! Why: the first client sends one line and then nothing, so the idle limit closes it. The second one sends a dot every
//! 20 ms and never a line break, so only the deadline closes it.

use bucle::net::{self, Handler, Socket, on};
use bucle::{Loop, Result, TimerId};
use std::time::Duration;

const IDLE_LIMIT: Duration = Duration::from_millis(400);
const DEADLINE: Duration = Duration::from_millis(1000);

/// The server's side of one connection, with a handler of its own as in lesson 4.
struct Session {
    deadline: TimerId,
    no_data: TimerId,
}

impl Handler for Session {
    fn on_data(&mut self, lp: &mut Loop, _: Socket, chunk: &[u8]) {
        lp.refresh(self.no_data);
        if chunk.contains(&b'\n') {
            lp.clear(self.deadline);
        }
    }

    fn on_timeout(&mut self, lp: &mut Loop, socket: Socket) {
        close(lp, socket, &format!("sent nothing for {IDLE_LIMIT:?}"));
    }

    fn on_close(&mut self, lp: &mut Loop, _: Socket, _had_error: bool) {
        lp.clear(self.deadline);
    }
}

/// Sends the reason and closes. `end` would wait for the peer's end, which may never come; `destroy_soon` waits only
/// for the queued bytes.
fn close(lp: &mut Loop, socket: Socket, why: &str) {
    println!("{socket} {why}");
    socket.write(lp, format!("{why}, closing\r\n"));
    socket.destroy_soon(lp);
}

fn main() -> Result<()> {
    bucle::run(|lp| {
        let no_data = lp.set_timer(IDLE_LIMIT, |_| {
            println!("no data for {IDLE_LIMIT:?}: the loop ends without waiting for the hourly report");
        });
        let report = lp.set_interval(Duration::from_secs(3600), |_| println!("the hourly report"));
        lp.unref(report);

        let handler = on().connection(move |lp, socket| {
            socket.set_timeout(lp, IDLE_LIMIT);
            let why = format!("sent no line within {DEADLINE:?}");
            let deadline = lp.set_timeout(DEADLINE, move |lp| close(lp, socket, &why));
            socket.set_handler(lp, Session { deadline, no_data });
        });
        let server = net::listen(lp, ("127.0.0.1", 0), handler)?;
        server.unref(lp);
        let address = server.address(lp).expect("a listening server has an address");

        // Two clients. The first sends one line and nothing more, the second sends dots and never a line break.
        Socket::connect(lp, address.clone(), on())?.write(lp, "hola\r\n");
        let slow = Socket::connect(lp, address, on())?;
        let dots = lp.set_interval(Duration::from_millis(20), move |lp| {
            slow.write(lp, ".");
        });
        lp.unref(dots); // After the close its writes do nothing, and the loop does not wait for it.
        Ok(())
    })
}
