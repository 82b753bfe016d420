//! The client of `socketio_tutorial`, for a terminal. It connects again when the connection is lost.
//!
//!     PORT=8080 cargo run --example socketio_tutorial
//!     cargo run --example socketio_client -- http://localhost:8080
//!
//! Each line is printed as `send: <line>` and sent as the event `messageServer`. Lines that are typed while there is no
//! connection are kept, and sent when there is one. `exit`, or the end of the input, disconnects and ends the program.
//!
//! It prints `client connected`, `Server: <text>` for each event `messageClient`, and `client disconnected`. With
//! `RUST_LOG=debug` it says why a connection fails.

use std::borrow::Cow;
use std::cell::Cell;
use std::rc::Rc;

use bucle::process::{self, Input};
use bucle::socket_io::{self, ClientOptions, Event};
use bucle::telnet::lines::{Lines, printable};

/// The text of the first argument, or its bytes.
fn text<'a>(event: &Event<'a>) -> Cow<'a, str> {
    let arguments = event.arguments();
    match arguments.binary(0) {
        Some(bytes) => String::from_utf8_lossy(bytes),
        None => arguments.text(0).or_else(|| arguments.raw(0).map(Cow::from)).unwrap_or_default(),
    }
}

fn main() -> bucle::Result<()> {
    env_logger::init();
    let url = std::env::args().nth(1).unwrap_or("http://localhost:8080".to_owned());
    bucle::run(|lp| {
        let client = socket_io::connect(lp, &url, ClientOptions::default())?;
        client.on(lp, "messageClient", |_, _, event| println!("Server: {}", printable(text(event).as_bytes())));
        client.on_disconnect(lp, |_, _, _| println!("client disconnected"));

        // Lines that were typed before the connection are sent behind it, so the end waits for it, or for its failure.
        let is_ending = Rc::new(Cell::new(false));
        let ends = is_ending.clone();
        client.on_connect(lp, move |lp, client| {
            println!("client connected");
            if ends.get() {
                client.disconnect(lp);
            }
        });
        let ends = is_ending.clone();
        client.on_connect_error(lp, move |lp, client, _| {
            if ends.get() {
                client.disconnect(lp);
            }
        });

        let mut lines = Lines::default();
        process::stdin(lp, move |lp, keyboard, input| {
            let mut typed = |line: &[u8]| {
                let line = String::from_utf8_lossy(line);
                if line == "exit" {
                    is_ending.set(true);
                } else if !is_ending.get() {
                    println!("send: {}", printable(line.as_bytes()));
                    client.emit(lp, "messageServer", &*line);
                }
            };
            let goes_on = match input {
                Input::Data(chunk) => lines.feed(chunk, &mut typed).is_ok(),
                _ => {
                    lines.finish().map(typed); // The last line may have no line break.
                    false
                }
            };
            if !goes_on || is_ending.get() {
                is_ending.set(true);
                if client.is_connected(lp) {
                    client.disconnect(lp);
                }
                keyboard.close(lp); // An open keyboard would keep the loop alive.
            }
        })?;
        Ok(())
    })
}
