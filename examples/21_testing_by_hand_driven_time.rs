//! Lesson 21: testing a handler. Time is driven by hand, the sockets are real.
//!
//! A test of "who says nothing for five minutes has to go" may not take five minutes, nor depend on how fast the machine is.
//! So the loop gets a `ManualClock` (lesson 20), is turned by hand, and the test tells it when time passes. Two rules:
//!
//! * **The kernel takes real time**, a little, for what goes through a socket. A test waits for the thing it wants, turn by
//!   turn, with a limit that is never reached when all is well. It never sleeps and hopes.
//! * **Time passes only between the turns**, so the moment before and the moment itself can both be looked at: at 4:59
//!   nothing may have happened, at 5:00 it must.
//!
//! In a project the scenes below stand under `#[test]`, and say nothing. Here `main` calls them, and they tell.
//!
//! Run: `cargo run --example 21_testing_by_hand_driven_time`
//!
//! Expect, at once:
//!
//! ```text
//! who says nothing is asked, and has to go
//!   299 s later: ""
//!   1 s later: "are you there?\r\n"
//!   29 s later: ""
//!   1 s later: "good-bye\r\nthe end"
//! who answers may stay
//!   300 s later: "are you there?\r\n"
//!   0 s later: "thank you\r\n"
//!   299 s later: ""
//! ```

use bucle::net::{self, Handler, Socket, on};
use bucle::{EventLoop, Loop, ManualClock, Result};
use std::io::{ErrorKind, Read, Write};
use std::{net::TcpStream, time::Duration, time::Instant};

const SECOND: Duration = Duration::from_secs(1);

/// What is tested: who says nothing for five minutes is asked, and has half a minute to answer.
struct Porter {
    has_asked: bool,
}

impl Handler for Porter {
    fn on_data(&mut self, lp: &mut Loop, guest: Socket, _: &[u8]) {
        self.has_asked = false;
        guest.set_timeout(lp, 300 * SECOND);
        guest.write(lp, "thank you\r\n");
    }

    fn on_timeout(&mut self, lp: &mut Loop, guest: Socket) {
        if std::mem::replace(&mut self.has_asked, true) {
            guest.write(lp, "good-bye\r\n");
            return guest.destroy_soon(lp);
        }
        guest.write(lp, "are you there?\r\n");
        guest.set_timeout(lp, 30 * SECOND);
    }
}

/// The loop with its clock, and one guest: a plain socket that does not block.
struct Stage {
    clock: ManualClock,
    event_loop: EventLoop,
    guest: TcpStream,
}

impl Stage {
    fn new() -> Result<Stage> {
        let clock = ManualClock::new();
        let mut event_loop = EventLoop::with_clock(clock.clone())?;
        let server = on().connection(|lp, guest| {
            guest.set_timeout(lp, 300 * SECOND);
            guest.set_handler(lp, Porter { has_asked: false });
        });
        let server = event_loop.enter(|lp| net::listen(lp, ("127.0.0.1", 0), server))?;
        let guest = TcpStream::connect(("127.0.0.1", event_loop.enter(|lp| server.port(lp)).expect("it is bound")))?;
        guest.set_nonblocking(true)?;
        while event_loop.enter(|lp| server.connections(lp)) == 0 {
            event_loop.turn(Some(SECOND))?; // This second would be a real one, and is over as soon as the guest comes.
        }
        Ok(Stage { clock, event_loop, guest })
    }

    /// Lets time pass, and compares what the guest hears then; "" is nothing.
    fn after(&mut self, seconds: u32, wanted: &str) -> Result<()> {
        self.clock.advance(seconds * SECOND);
        let (mut heard, mut chunk, gives_up) = (String::new(), [0; 64], Instant::now() + 30 * SECOND);
        loop {
            self.event_loop.turn(Some(Duration::ZERO))?;
            match self.guest.read(&mut chunk) {
                Ok(0) => heard += "the end",
                Ok(size) => heard += &String::from_utf8_lossy(&chunk[..size]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
            if heard.len() >= wanted.len() || Instant::now() > gives_up {
                assert_eq!(heard, wanted);
                println!("  {seconds} s later: {wanted:?}");
                return Ok(());
            }
        }
    }
}

fn main() -> Result<()> {
    println!("who says nothing is asked, and has to go");
    let mut stage = Stage::new()?;
    stage.after(299, "")?;
    stage.after(1, "are you there?\r\n")?;
    stage.after(29, "")?;
    stage.after(1, "good-bye\r\nthe end")?;
    println!("who answers may stay");
    let mut stage = Stage::new()?;
    stage.after(300, "are you there?\r\n")?;
    stage.guest.write_all(b"yes\n")?;
    stage.after(0, "thank you\r\n")?;
    stage.after(299, "")
}
