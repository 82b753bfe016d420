//! Lesson 17: live statistics, pushed to everybody who looks on. Some look on slowly.
//!
//! Every 50 ms the game moves on, and all its scores go to all clients. Each message is a whole picture, so who has missed
//! some needs none of them: the next one will do. That makes the slow client easy. As long as its socket owes a drain
//! it is passed over, and then gets what is true by then. What waits for it is bounded without a limit: one picture on
//! top of the high-water mark. But it would wait for ever, so who takes nothing for five seconds has to go: the write
//! timeout of lesson 6.
//!
//! (In lesson 7 nothing may be left out: there the slow one costs memory, up to a limit. Lesson 18 has both.)
//!
//! The timer needs the server's handler, which belongs to the loop: `server.with` lends it.
//!
//! Run: `cargo run --example 17_live_statistics` (another port as an argument; 0 is any free one. A second argument is the
//! number of players), then in other terminals `telnet localhost 8080`.
//!
//! Expect there something like the left; on the right, what a client that does not read looks like from here:
//!
//! ```text
//! beat 41: 9 8 8 8 8                  listening on 127.0.0.1:8080
//! beat 42: 9 9 8 8 8                  #2 looks on
//! beat 43: 9 9 9 8 8                  #2 is slow: beat 57 passes it over
//! beat 44: 9 9 9 9 8                  #2 is given up: none was taken for 5s
//! beat 45: 9 9 9 9 9                  #2 is gone, and missed 100 beats
//! ```

use bucle::net::{self, Error, Handler, Limits, ServerOptions, Socket};
use bucle::{Loop, Result};
use std::{collections::BTreeMap, env, fmt::Write, time::Duration};

const PERIOD: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(5);

struct Game {
    beat: usize,
    scores: Vec<u32>,
    /// Who looks on, and how many beats they have missed in a row.
    clients: BTreeMap<Socket, u32>,
}

impl Game {
    fn beat(&mut self, lp: &mut Loop) {
        let scorer = self.beat % self.scores.len();
        self.scores[scorer] += 1;
        self.beat += 1;
        let mut picture = format!("beat {}:", self.beat);
        for score in &self.scores {
            let _ = write!(picture, " {score}"); // A string takes it all.
        }
        picture += "\r\n";
        for (client, missed) in &mut self.clients {
            if !client.needs_drain(lp) {
                *missed = 0;
                client.write(lp, &picture);
                continue;
            }
            *missed += 1;
            if *missed == 1 {
                println!("{client} is slow: beat {} passes it over", self.beat);
            }
        }
    }
}

impl Handler for Game {
    fn on_connection(&mut self, _: &mut Loop, socket: Socket) {
        println!("{socket} looks on");
        self.clients.insert(socket, 0);
    }

    // There is no on_data: what the clients say is read and thrown away.

    /// Who has ended is written to no more, or the write would fail and cut off what is still on its way to them.
    fn on_end(&mut self, lp: &mut Loop, socket: Socket) {
        self.on_close(lp, socket, false);
    }

    /// Their on_close comes later, and a beat may come before it.
    fn on_error(&mut self, lp: &mut Loop, socket: Socket, error: Error) {
        match error {
            Error::TooSlow { limit, .. } => println!("{socket} is given up: {limit}"),
            error => println!("{socket} failed: {error}"),
        }
        self.on_close(lp, socket, true);
    }

    fn on_close(&mut self, _: &mut Loop, socket: Socket, _had_error: bool) {
        if let Some(missed) = self.clients.remove(&socket) {
            println!("{socket} is gone, and missed {missed} beats");
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
        lp.set_interval(PERIOD, move |lp| {
            server.with(lp, |game, lp| game.beat(lp));
        });
        Ok(())
    })
}
