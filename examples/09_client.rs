//! Lesson 9: a client, and how the keyboard gets into the loop.
//!
//! Reading the keyboard blocks, so it cannot be done on the loop's thread. A helper thread reads, and posts each line
//! through a `Remote`, the door into a loop from outside (more of it in lesson 11). It waits until the kernel has the line
//! before it reads the next: a file of any size can be piped in. And what else a client meets: characters cut in two by
//! the packets, a server that goes, and one that was never there.
//!
//! Run: `cargo run --example 03_echo`, and in another terminal `cargo run --example 09_client` (with PORT LINE… behind it,
//! it sends the lines and ends). Type a line; `exit` or Ctrl-D ends the conversation. Then run it without a server.
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

use bucle::net::{Error, Handler, Socket};
use bucle::{Loop, Remote, Result};
use std::{cell::Cell, env, io, io::BufRead, io::Write, process::ExitCode, rc::Rc, sync::mpsc, thread};

struct Client {
    exit_code: Rc<Cell<ExitCode>>,
    is_connected: bool,
}

impl Handler for Client {
    fn on_connect(&mut self, lp: &mut Loop, socket: Socket) {
        self.is_connected = true;
        socket.remote_address(lp).inspect(|address| eprintln!("connected to {address}"));
    }

    /// Whole characters, because of `set_encoding`. Flushed, since a prompt has no line break.
    fn on_text(&mut self, lp: &mut Loop, socket: Socket, text: &str) {
        let mut screen = io::stdout();
        if let Err(error) = screen.write_all(text.as_bytes()).and_then(|()| screen.flush()) {
            socket.destroy_with(lp, Error::custom("E_STDOUT", error.to_string()));
        }
    }

    fn on_end(&mut self, _: &mut Loop, _: Socket) {
        eprintln!("the server has closed the connection");
    }

    fn on_error(&mut self, _: &mut Loop, _: Socket, error: Error) {
        self.exit_code.set(ExitCode::FAILURE);
        if self.is_connected {
            eprintln!("connection lost: {error}");
        } else {
            eprintln!("cannot connect: {error}\nis the server running? try: cargo run --example 03_echo");
        }
    }
}

/// Lines from the keyboard, until there are no more or nobody wants them.
fn read_keyboard(remote: &Remote, socket: Socket) {
    let (line_is_out, wait) = mpsc::channel();
    for mut line in io::stdin().lock().split(b'\n').map_while(|line| line.ok()).take_while(|line| line != b"exit") {
        line.push(b'\n');
        let line_is_out = line_is_out.clone();
        remote.post(move |lp| {
            socket.write_then(lp, line, move |_, result| line_is_out.send(result.is_ok()).unwrap_or(()));
        });
        if wait.recv() != Ok(true) {
            return;
        }
    }
    remote.post(move |lp| socket.end(lp));
}

fn main() -> Result<ExitCode> {
    let exit_code = Rc::new(Cell::new(ExitCode::SUCCESS));
    let mut args = env::args().skip(1);
    let port = args.next().map_or(Ok(8080), |text| text.parse::<u16>());
    let port = port.map_err(|_| Error::custom("E_USAGE", "usage: 09_client [PORT [LINE…]]"))?;
    bucle::run(|lp| {
        let client = Client { exit_code: exit_code.clone(), is_connected: false };
        let (socket, remote) = (Socket::connect(lp, ("127.0.0.1", port), client)?, lp.remote());
        socket.set_encoding(lp);
        let lines: String = args.map(|line| line + "\n").collect();
        if lines.is_empty() {
            thread::spawn(move || read_keyboard(&remote, socket));
        } else {
            socket.end_with(lp, lines);
        }
        Ok(())
    })?;
    Ok(exit_code.get())
}
