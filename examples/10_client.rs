//! Lesson 10: a client that sends what you type. The keyboard is one more source of events.
//!
//! Reading the keyboard blocks, so it cannot be done on the loop's thread. `process::stdin` reads on a helper thread
//! and delivers each chunk as an event: a line from a terminal, any bytes from a pipe or a file. It is paused and
//! resumed like a socket: paused when `write` returns `false`, resumed at the drain. So a file of any size can be sent,
//! and only a little of it is in memory.
//!
//! Run: `cargo run --example 03_echo`, and in another terminal `cargo run --example 10_client` (or with arguments:
//! PORT, then LINEs that it sends before it ends). Type a line; `exit` or Ctrl-D ends the connection. Then run it
//! without a server.
//!
//! Expect (with a server on the left, without one on the right):
//!
//! ```text
//! connected to 127.0.0.1:8080         cannot connect: connect ECONNREFUSED 127.0.0.1:8080
//! hola                                is the server running? try: cargo run --example 03_echo
//! hola
//! exit
//! the server has closed the connection
//! ```
//!
//! Why: a client has to handle a server that closes, a connection that breaks and a server that is not there. Each ends
//! in `on_close`, which also closes the keyboard: an open keyboard would keep the loop alive until the next line.
//!
//! (This lesson needs the feature `process`, which is on by default.)

use bucle::net::{Error, Handler, Shared, Socket};
use bucle::process::{self, Input, Stdin};
use bucle::{EventLoop, Loop, Result};
use std::{env, process::ExitCode};

#[derive(Default)]
struct Client {
    keyboard: Option<Stdin>,
    is_connected: bool,
    has_failed: bool,
}

impl Handler for Client {
    fn on_connect(&mut self, lp: &mut Loop, socket: Socket) {
        self.is_connected = true;
        socket.remote_address(lp).inspect(|address| eprintln!("connected to {address}"));
    }

    /// `set_encoding` in `main` makes the chunks text. A character whose bytes arrive in two chunks is put together.
    fn on_text(&mut self, lp: &mut Loop, socket: Socket, text: &str) {
        if let Err(error) = process::write_stdout(text.as_bytes()) {
            socket.destroy_with(lp, error); // The reader of our output is gone.
        }
    }

    fn on_drain(&mut self, lp: &mut Loop, _: Socket) {
        self.keyboard.inspect(|keyboard| keyboard.resume(lp));
    }

    fn on_end(&mut self, lp: &mut Loop, _: Socket) {
        eprintln!("the server has closed the connection");
        self.keyboard.inspect(|keyboard| keyboard.close(lp)); // Nothing more can be sent.
    }

    fn on_error(&mut self, _: &mut Loop, _: Socket, error: Error) {
        self.has_failed = true;
        if self.is_connected {
            eprintln!("connection lost: {error}");
        } else {
            eprintln!("cannot connect: {error}\nis the server running? try: cargo run --example 03_echo");
        }
    }

    /// An open keyboard would keep the loop alive, waiting for a line.
    fn on_close(&mut self, lp: &mut Loop, _: Socket, _had_error: bool) {
        self.keyboard.inspect(|keyboard| keyboard.close(lp));
    }
}

/// Sends input to the socket, and pauses the keyboard while the socket is full.
fn typed(lp: &mut Loop, socket: Socket, keyboard: Stdin, input: Input<'_>) {
    match input {
        Input::Data(b"exit\n") | Input::End => {
            keyboard.close(lp);
            socket.end(lp);
        }
        Input::Data(chunk) if !socket.write(lp, chunk) => keyboard.pause(lp),
        Input::Failed(error) => socket.destroy_with(lp, error),
        _ => {}
    }
}

fn main() -> Result<ExitCode> {
    let mut args = env::args().skip(1);
    let port = args.next().map_or(Ok(8080), |text| text.parse::<u16>());
    let port = port.map_err(|_| Error::custom("E_USAGE", "usage: 10_client [PORT [LINE…]]"))?;
    let mut event_loop = EventLoop::new()?;
    let client = event_loop.enter(|lp| Shared::new(lp, Client::default()));
    event_loop.enter(|lp| {
        let socket = Socket::connect(lp, ("127.0.0.1", port), client)?;
        socket.set_encoding(lp);
        let lines: String = args.map(|line| line + "\n").collect();
        if lines.is_empty() {
            let keyboard = process::stdin(lp, move |lp, keyboard, input| typed(lp, socket, keyboard, input))?;
            client.with(lp, |client, _| client.keyboard = Some(keyboard));
        } else {
            socket.end_with(lp, lines);
        }
        Ok::<(), Error>(())
    })?;
    event_loop.run()?;
    let has_failed = event_loop.enter(|lp| client.with(lp, |client, _| client.has_failed));
    Ok(if has_failed == Some(false) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
