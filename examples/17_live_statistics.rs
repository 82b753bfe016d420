//! Lesson 17: live statistics for many clients. A slow client skips some updates.
//!
//! On each *beat*, every 50 ms, the game changes, and all scores go to all clients. Each message is complete, so a
//! client that missed some of them needs only the next one. That makes the slow client easy: while its socket needs a
//! drain it is skipped, and afterwards it gets the newest scores.
//!
//! Run: `cargo run --example 17_live_statistics` (another port as an argument; 0 is any free one. A second argument is
//! the number of players), then in other terminals `telnet localhost 8080`.
//!
//! Expect something like this (a client on the left; on the right the server, while a client does not read):
//!
//! ```text
//! beat 41: 9 8 8 8 8                  listening on 127.0.0.1:8080
//! beat 42: 9 9 8 8 8                  #2 connected
//! beat 43: 9 9 9 8 8                  #2 is slow: skipping beat 57
//! beat 44: 9 9 9 9 8                  #2 took nothing for 5s: disconnecting
//! beat 45: 9 9 9 9 9                  #2 left, 100 beats missed
//! ```
//!
//! Why: a client has at most one message above the high-water mark in its outbox, without any limit in bytes. But it
//! could stay there forever, so the write timeout of lesson 6 disconnects a client that takes nothing for five seconds.
//! (In the chat of lesson 7 no message may be skipped, so a slow client costs memory, up to a limit. Lesson 18 combines
//! both.)

use bucle::net::{self, Error, Handler, Limits, ServerOptions, Socket};
use bucle::{Loop, Result};
use std::{collections::BTreeMap, env, fmt::Write, time::Duration};

const PERIOD: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(5);

struct Game {
    beat: usize,
    scores: Vec<u32>,
    /// The clients, each with the number of beats that it missed in a row.
    clients: BTreeMap<Socket, u32>,
}

impl Game {
    fn beat(&mut self, lp: &mut Loop) {
        let scorer = self.beat % self.scores.len();
        self.scores[scorer] += 1;
        self.beat += 1;
        let mut message = format!("beat {}:", self.beat);
        for score in &self.scores {
            let _ = write!(message, " {score}"); // Writing to a string cannot fail.
        }
        message += "\r\n";
        for (client, missed) in &mut self.clients {
            if !client.needs_drain(lp) {
                *missed = 0;
                client.write(lp, &message);
                continue;
            }
            *missed += 1;
            if *missed == 1 {
                println!("{client} is slow: skipping beat {}", self.beat);
            }
        }
    }
}

impl Handler for Game {
    fn on_connection(&mut self, _: &mut Loop, socket: Socket) {
        println!("{socket} connected");
        self.clients.insert(socket, 0);
    }

    // There is no on_data: bytes from the clients are read and dropped.

    /// No write may follow the client's end. It would destroy the socket, and lose the bytes that are still queued.
    fn on_end(&mut self, lp: &mut Loop, socket: Socket) {
        self.on_close(lp, socket, false);
    }

    /// The on_close follows, but a beat may come before it. So the client is removed now.
    fn on_error(&mut self, lp: &mut Loop, socket: Socket, error: Error) {
        match error {
            Error::TooSlow { .. } => println!("{socket} took nothing for {PATIENCE:?}: disconnecting"),
            error => println!("{socket} failed: {error}"),
        }
        self.on_close(lp, socket, true);
    }

    fn on_close(&mut self, _: &mut Loop, socket: Socket, _had_error: bool) {
        if let Some(missed) = self.clients.remove(&socket) {
            println!("{socket} left, {missed} beats missed");
        }
    }
}

fn main() -> Result<()> {
    let mut args = env::args().skip(1).map(|text| text.parse::<usize>().ok());
    let [port, players] = [8080, 5].map(|default| args.next().unwrap_or(Some(default)));
    let usage = || Error::custom("E_USAGE", "usage: 17_live_statistics [PORT [PLAYERS]]");
    let port = port.and_then(|port| u16::try_from(port).ok()).ok_or_else(usage)?;
    let players = players.filter(|players| *players > 0).ok_or_else(usage)?;
    bucle::run(|lp| {
        let game = Game { beat: 0, scores: vec![0; players], clients: BTreeMap::new() };
        let limits = Limits { write_timeout: PATIENCE, ..Limits::NONE };
        let options = ServerOptions { limits, ..ServerOptions::default() };
        let server = net::listen_with(lp, ("127.0.0.1", port), options, game)?;
        server.address(lp).inspect(|address| println!("listening on {address}"));
        // The game is the server's handler, which the loop owns. `with` lends it to the timer.
        lp.set_interval(PERIOD, move |lp| {
            server.with(lp, |game, lp| game.beat(lp));
        });
        Ok(())
    })
}
