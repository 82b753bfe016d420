//! Lesson 10: a client, and how the keyboard gets into the loop.
//!
//! Reading the keyboard blocks, so it cannot be done on the loop's thread. `process::stdin` does it on a helper thread and
//! brings what it reads as an event, one chunk at a time: a line from a terminal, any bytes from a pipe or a file. It is a
//! source like a socket, so it is treated like one: when `write` answers `false` it is paused, and resumed at the drain. A
//! file of any size can be piped in, and hardly any of it waits here. And what else a client meets: characters cut in two
//! by the packets, a server that goes, and one that was never there.
//!
//! Run: `cargo run --example 03_echo`, and in another terminal `cargo run --example 10_client` (with PORT LINE… behind it,
//! it sends the lines and ends). Type a line; `exit` or Ctrl-D ends the conversation. Then run it without a server.
//! (It needs the feature `process`, which is on by default.)
//!
//! Expect:
//!
//! ```text
//! connected to 127.0.0.1:8080         cannot connect: connect ECONNREFUSED 127.0.0.1:8080
//! hola                                is the server running? try: cargo run --example 03_echo
//! hola
//! exit
//! the server has closed the connection
//! ```

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

    /// Whole characters, because of `set_encoding`.
    fn on_text(&mut self, lp: &mut Loop, socket: Socket, text: &str) {
        if let Err(error) = process::write_stdout(text.as_bytes()) {
            socket.destroy_with(lp, error); // Nobody reads our output any more.
        }
    }

    fn on_drain(&mut self, lp: &mut Loop, _: Socket) {
        self.keyboard.inspect(|keyboard| keyboard.resume(lp));
    }

    fn on_end(&mut self, lp: &mut Loop, _: Socket) {
        eprintln!("the server has closed the connection");
        self.keyboard.inspect(|keyboard| keyboard.close(lp)); // What is typed now is for nobody.
    }

    fn on_error(&mut self, _: &mut Loop, _: Socket, error: Error) {
        self.has_failed = true;
        if self.is_connected {
            eprintln!("connection lost: {error}");
        } else {
            eprintln!("cannot connect: {error}\nis the server running? try: cargo run --example 03_echo");
        }
    }

    /// The keyboard alone would keep the program here, waiting for a line.
    fn on_close(&mut self, lp: &mut Loop, _: Socket, _had_error: bool) {
        self.keyboard.inspect(|keyboard| keyboard.close(lp));
    }
}

/// From the keyboard to the socket, at the pace of the socket.
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
