//! Lesson 22: a panic costs one connection, and metrics show the state of the loop.
//!
//! A panic in a callback normally ends the program, and with it all connections. After `catch_panics(true)` it costs
//! less: the connection whose callback panicked is destroyed (a timer or a tick is dropped), and the panic is logged
//! and counted. This does not replace error handling: the callback stopped in the middle, so state that it shares with
//! others may be half changed. It keeps the other connections alive until you have fixed the bug.
//!
//! `lp.metrics()` returns the loop's numbers under Node's names: turns, callbacks, bytes, time idle and busy, the
//! longest turn. Watch two of them over time: `utilization` near 1 means that the loop has no time left, and growing
//! `queued_bytes` mean that readers are slow (lesson 6).
//!
//! Run: `cargo run --example 22_panics_and_metrics` (the panic also prints its message on stderr)
//!
//! Expect:
//!
//! ```text
//! 100 / 8 = 12
//! 100 / 0 = no answer, the connection was closed
//! 100 / 3 = 33
//! panics: 1
//! bytes: 9 read, 9 written, 0 queued
//! open connections: 0
//! ```
//!
//! Why: the division by zero destroys the second connection only. The server, and the third client, continue.

use bucle::net::{self, Handler, Socket};
use bucle::{EventLoop, Loop, Result};

/// Divides 100 by each digit it receives. It has a bug: it does not check for 0.
struct Divider;

impl Handler for Divider {
    fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
        for digit in chunk.iter().filter(|byte| byte.is_ascii_digit()) {
            socket.write(lp, format!("{}\n", 100 / (digit - b'0')));
        }
    }
}

/// A client that sends one digit. When its connection closes it starts the client of the next digit, so the order is
/// fixed.
struct Question {
    port: u16,
    digits: &'static [u8],
    answer: String,
}

impl Question {
    fn begin(lp: &mut Loop, port: u16, digits: &'static [u8]) -> Result<()> {
        let Some(&digit) = digits.first() else { return Ok(()) };
        let socket = Socket::connect(lp, ("127.0.0.1", port), Question { port, digits, answer: String::new() })?;
        socket.end_with(lp, [digit]);
        Ok(())
    }
}

impl Handler for Question {
    fn on_data(&mut self, _: &mut Loop, _: Socket, chunk: &[u8]) {
        self.answer += &String::from_utf8_lossy(chunk);
    }

    fn on_close(&mut self, lp: &mut Loop, _: Socket, _had_error: bool) {
        let answer =
            if self.answer.is_empty() { "no answer, the connection was closed" } else { self.answer.trim_end() };
        println!("100 / {} = {answer}", self.digits[0] - b'0');
        if let Err(error) = Question::begin(lp, self.port, &self.digits[1..]) {
            println!("cannot connect: {error}");
        }
    }
}

fn main() -> Result<()> {
    let mut event_loop = EventLoop::new()?;
    event_loop.catch_panics(true);
    event_loop.enter(|lp| {
        let server = net::listen(lp, ("127.0.0.1", 0), Divider)?;
        server.unref(lp); // Only the connections keep the loop alive.
        Question::begin(lp, server.port(lp).expect("a listening server has a port"), b"803")
    })?;
    event_loop.run()?;
    event_loop.enter(|lp| {
        let numbers = lp.metrics();
        println!("panics: {}", lp.caught_panics());
        println!(
            "bytes: {} read, {} written, {} queued",
            numbers.bytes_read, numbers.bytes_written, numbers.queued_bytes
        );
        println!("open connections: {}", numbers.connections);
    });
    Ok(())
}
