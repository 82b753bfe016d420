//! Lesson 21: test a handler with real sockets and with time that the test controls.
//!
//! A test of "a client that is silent for five minutes is disconnected" must not take five minutes, and must not depend
//! on the speed of the machine. So the loop gets a `ManualClock` (lesson 20). The test turns the loop and advances the
//! clock. Two rules:
//!
//! * **The kernel needs real time**, a little, to carry bytes through a socket. A test waits for the bytes it wants,
//!   turn by turn, with a limit that a correct program never reaches. It never sleeps and hopes.
//! * **Time passes only between turns**, so the test can look at the moment before an event and at the event itself: at
//!   4:59 nothing must have happened, at 5:00 the question must be sent.
//!
//! In a project the scenes below would be `#[test]` functions. Here `main` calls them, and they print what they
//! checked.
//!
//! Run: `cargo run --example 21_testing_by_hand_driven_time`
//!
//! Expect, without any delay:
//!
//! ```text
//! a silent client is asked, then disconnected
//!   299 s later: ""
//!   1 s later: "are you there?\r\n"
//!   29 s later: ""
//!   1 s later: "closing\r\n(end)"
//! a client that answers stays connected
//!   300 s later: "are you there?\r\n"
//!   0 s later: "thank you\r\n"
//!   299 s later: ""
//! ```
//!
//! Why: minutes pass in microseconds, and the result is the same on a slow machine, so such a test never fails by
//! chance.

use bucle::net::{self, Handler, Socket, on};
use bucle::{EventLoop, Loop, ManualClock, Result};
use std::io::{ErrorKind, Read, Write};
use std::{net::TcpStream, time::Duration, time::Instant};

const SECOND: Duration = Duration::from_secs(1);

/// The handler under test. After five minutes of silence it asks the client, which then has 30 seconds to answer.
struct IdleCheck {
    has_asked: bool,
}

impl Handler for IdleCheck {
    fn on_data(&mut self, lp: &mut Loop, socket: Socket, _: &[u8]) {
        self.has_asked = false;
        socket.set_timeout(lp, 300 * SECOND);
        socket.write(lp, "thank you\r\n");
    }

    fn on_timeout(&mut self, lp: &mut Loop, socket: Socket) {
        if std::mem::replace(&mut self.has_asked, true) {
            socket.write(lp, "closing\r\n");
            return socket.destroy_soon(lp);
        }
        socket.write(lp, "are you there?\r\n");
        socket.set_timeout(lp, 30 * SECOND);
    }
}

/// The loop, its clock, and one client: a non-blocking socket of the standard library.
struct Scene {
    clock: ManualClock,
    event_loop: EventLoop,
    client: TcpStream,
}

impl Scene {
    fn new() -> Result<Scene> {
        let clock = ManualClock::new();
        let mut event_loop = EventLoop::with_clock(clock.clone())?;
        let handler = on().connection(|lp, socket| {
            socket.set_timeout(lp, 300 * SECOND);
            socket.set_handler(lp, IdleCheck { has_asked: false });
        });
        let server = event_loop.enter(|lp| net::listen(lp, ("127.0.0.1", 0), handler))?;
        let client = TcpStream::connect(("127.0.0.1", event_loop.enter(|lp| server.port(lp)).expect("it listens")))?;
        client.set_nonblocking(true)?;
        while event_loop.enter(|lp| server.connections(lp)) == 0 {
            event_loop.turn(Some(SECOND))?; // A limit in real time. The turn ends as soon as the client connects.
        }
        Ok(Scene { clock, event_loop, client })
    }

    /// Advances the clock and compares the bytes that the client receives then. "" means none.
    fn after(&mut self, seconds: u32, wanted: &str) -> Result<()> {
        self.clock.advance(seconds * SECOND);
        let (mut received, mut chunk, gives_up) = (String::new(), [0; 64], Instant::now() + 30 * SECOND);
        loop {
            self.event_loop.turn(Some(Duration::ZERO))?;
            match self.client.read(&mut chunk) {
                Ok(0) => received += "(end)",
                Ok(size) => received += &String::from_utf8_lossy(&chunk[..size]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
            if received.len() >= wanted.len() || Instant::now() > gives_up {
                assert_eq!(received, wanted);
                println!("  {seconds} s later: {wanted:?}");
                return Ok(());
            }
        }
    }
}

fn main() -> Result<()> {
    println!("a silent client is asked, then disconnected");
    let mut scene = Scene::new()?;
    scene.after(299, "")?;
    scene.after(1, "are you there?\r\n")?;
    scene.after(29, "")?;
    scene.after(1, "closing\r\n(end)")?;
    println!("a client that answers stays connected");
    let mut scene = Scene::new()?;
    scene.after(300, "are you there?\r\n")?;
    scene.client.write_all(b"yes\n")?;
    scene.after(0, "thank you\r\n")?;
    scene.after(299, "")
}
