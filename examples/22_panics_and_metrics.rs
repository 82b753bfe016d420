//! Lesson 22: a bug costs one connection, and numbers tell how the loop is doing.
//!
//! A panic in a callback unwinds through the loop and ends the program, and everybody else, who has done nothing, is cut
//! off. With `catch_panics` it costs what it was about: the connection whose callback it was is destroyed, a timer or a
//! tick is dropped; it is logged and counted. That is no way to handle errors: the handler was stopped in the middle of
//! something, and state that many share may be half changed. It buys the time to read the log.
//!
//! `lp.metrics()` has the loop's numbers under Node's names: turns, callbacks, bytes, time asleep and awake, the longest
//! turn. Looked at once in a while they show what no single event does: `utilization` near 1 is a loop that is full, growing
//! `queued_bytes` are readers that do not read (lesson 6).
//!
//! Run: `cargo run --example 22_panics_and_metrics` (what the panic has to say goes to stderr, as ever)
//!
//! Expect:
//!
//! ```text
//! 100 / 8 = 12
//! 100 / 0 = nothing, the connection is gone
//! 100 / 3 = 33
//! panics: 1
//! bytes: 9 read, 9 written, 0 queued
//! connections that are left: 0
//! ```

use bucle::net::{self, Handler, Socket};
use bucle::{EventLoop, Loop, Result};

/// Divides a hundred by each digit it gets. The bug is in here.
struct Divider;

impl Handler for Divider {
    fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
        for digit in chunk.iter().filter(|byte| byte.is_ascii_digit()) {
            socket.write(lp, format!("{}\n", 100 / (digit - b'0')));
        }
    }
}

/// Asks one question; the next one when this is over, so that the order is always the same.
struct Asking {
    port: u16,
    digits: &'static [u8],
    answer: String,
}

impl Asking {
    fn begin(lp: &mut Loop, port: u16, digits: &'static [u8]) -> Result<()> {
        let Some(&digit) = digits.first() else { return Ok(()) };
        let socket = Socket::connect(lp, ("127.0.0.1", port), Asking { port, digits, answer: String::new() })?;
        socket.end_with(lp, [digit]);
        Ok(())
    }
}

impl Handler for Asking {
    fn on_data(&mut self, _: &mut Loop, _: Socket, chunk: &[u8]) {
        self.answer += &String::from_utf8_lossy(chunk);
    }

    fn on_close(&mut self, lp: &mut Loop, _: Socket, _had_error: bool) {
        let answer = if self.answer.is_empty() { "nothing, the connection is gone" } else { self.answer.trim_end() };
        println!("100 / {} = {answer}", self.digits[0] - b'0');
        if let Err(error) = Asking::begin(lp, self.port, &self.digits[1..]) {
            println!("the next one cannot be asked: {error}");
        }
    }
}

fn main() -> Result<()> {
    let mut event_loop = EventLoop::new()?;
    event_loop.catch_panics(true);
    event_loop.enter(|lp| {
        let server = net::listen(lp, ("127.0.0.1", 0), Divider)?;
        server.unref(lp); // The loop ends with the connections.
        Asking::begin(lp, server.port(lp).expect("listen has bound it"), b"803")
    })?;
    event_loop.run()?;
    event_loop.enter(|lp| {
        let numbers = lp.metrics();
        println!("panics: {}", lp.caught_panics());
        println!(
            "bytes: {} read, {} written, {} queued",
            numbers.bytes_read, numbers.bytes_written, numbers.queued_bytes
        );
        println!("connections that are left: {}", numbers.connections);
    });
    Ok(())
}
