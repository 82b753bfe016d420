//! Lesson 29: a WebSocket client that sends what you type, and connects again when the connection is lost.
//!
//! `Endpoint::connect` makes connections, each with a handle of its own, and the endpoint is the handler of all of
//! them. A connection that is lost, or cannot be made, ends in `on_close`, whose code tells why: 1000 means that the
//! server has nothing more to say; 1006 is no code of the wire, but means that the connection ended without a close
//! frame.
//!
//! * A new connection is made after a pause: 100 ms, doubled with each failure in a row, up to 6.4 s (lesson 15).
//! * The keyboard is paused while there is no connection, and while the server does not read (lesson 10). So lines that
//!   are typed meanwhile wait in the terminal.
//! * A line that was sent just before the connection was lost may have arrived or not: WebSocket has no receipts. A
//!   program that must know numbers its messages and has them confirmed.
//!
//! Run: `cargo run --example 27_live_board`, and in another terminal `cargo run --example 29_websocket_client` (another
//! URL as an argument). Type `red`. Stop the board, start it again, and type `blue`. Ctrl-D ends the client.
//!
//! Expect something like this:
//!
//! ```text
//! connected
//! topics: red, green, blue
//! red
//! subscribed to: red
//! red 41: 14 14 13
//! closed: 1006 (abnormal)
//! connecting again in 100ms
//! failed: connect ECONNREFUSED 127.0.0.1:8080
//! closed: 1006 (abnormal)
//! connecting again in 200ms
//! connected
//! ```
//!
//! Why: a subscription belongs to a connection, so it is gone with it. A client that needs it subscribes in `on_open`.
//!
//! (This lesson needs the feature `process`, which is on by default.)

use bucle::process::{self, Input, Stdin};
use bucle::telnet::lines::{Lines, printable};
use bucle::websocket::{ClientOptions, CloseCode, Endpoint, Handler, Message, Options, WebSocket};
use bucle::{Error, Loop, Result};
use std::{env, time::Duration};

const PAUSE: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Client {
    url: String,
    /// This client, for the timer that connects again; and its keyboard. Both are made after it.
    endpoint: Option<Endpoint<Client>>,
    keyboard: Option<Stdin>,
    connection: Option<WebSocket>,
    lines: Lines,
    failures_in_a_row: u32,
}

impl Client {
    /// Sends the lines that are complete. After the end of the input, or a line of more than 64 KiB, it closes.
    fn typed(&mut self, lp: &mut Loop, keyboard: Stdin, input: Input<'_>) {
        let Some(ws) = self.connection else { return };
        let mut has_room = true;
        let mut send = |line: &[u8]| has_room = ws.send(lp, &*String::from_utf8_lossy(line));
        if let Input::Data(chunk) = input
            && self.lines.feed(chunk, &mut send).is_ok()
        {
            if !has_room {
                keyboard.pause(lp);
            }
            return;
        }
        self.lines.finish().map(send); // The last line may have no line break.
        ws.close(lp, CloseCode::NORMAL, "");
        self.keyboard = None;
    }
}

impl Handler for Client {
    fn on_open(&mut self, lp: &mut Loop, ws: WebSocket) {
        eprintln!("connected");
        self.connection = Some(ws);
        self.failures_in_a_row = 0;
        self.on_drain(lp, ws);
    }

    fn on_message(&mut self, _: &mut Loop, _: WebSocket, message: Message<'_>) {
        println!("{}", printable(message.as_bytes()));
    }

    fn on_drain(&mut self, lp: &mut Loop, _: WebSocket) {
        self.keyboard.inspect(|keyboard| keyboard.resume(lp));
    }

    fn on_error(&mut self, _: &mut Loop, _: WebSocket, error: Error) {
        eprintln!("failed: {error}");
    }

    /// Also called for a connection that could not be made.
    fn on_close(&mut self, lp: &mut Loop, _: WebSocket, code: CloseCode, reason: &str) {
        let (Some(endpoint), Some(keyboard)) = (self.endpoint, self.keyboard) else { return };
        eprintln!("{}", format!("closed: {code} {reason}").trim_end());
        if code == CloseCode::NORMAL {
            return keyboard.close(lp); // An open keyboard would keep the loop alive.
        }
        keyboard.pause(lp);
        self.failures_in_a_row += u32::from(self.connection.take().is_none());
        let pause = PAUSE * (1 << self.failures_in_a_row.min(6));
        eprintln!("connecting again in {pause:?}");
        let url = self.url.clone();
        lp.set_timeout(pause, move |lp| _ = endpoint.connect(lp, &url, &ClientOptions::default()));
    }
}

fn main() -> Result<()> {
    let url = env::args().nth(1).unwrap_or("ws://localhost:8080/".to_owned());
    bucle::run(|lp| {
        let client = Client { url: url.clone(), ..Client::default() };
        let endpoint = Endpoint::new(lp, Options::default(), client);
        let keyboard = process::stdin(lp, move |lp, keyboard, input| {
            endpoint.with(lp, |client, lp| client.typed(lp, keyboard, input));
        })?;
        keyboard.pause(lp); // Until the connection is open.
        endpoint.with(lp, |client, _| (client.endpoint, client.keyboard) = (Some(endpoint), Some(keyboard)));
        endpoint.connect(lp, &url, &ClientOptions::default())?;
        Ok(())
    })
}
