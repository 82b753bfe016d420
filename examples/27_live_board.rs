//! Lesson 27: a live board. Clients subscribe to topics, and a slow subscriber skips messages.
//!
//! `websocket::listen` does what lesson 26 did by hand, and more: time limits, pings, the closing handshake from both
//! sides. Its handler gets whole messages. A *topic* is a name to which connections subscribe:
//!
//! ```text
//!   ws.subscribe("red")           endpoint.publish("red", "red 7: 3 2 2") ─▶ all subscribers of red
//! ```
//!
//! A published frame is made once, for all subscribers. `SlowReceiver::Skip` is for topics of which only the newest
//! message matters, as in lesson 17: a subscriber with too many bytes in its queue does not get the message. (The
//! default disconnects it, so that a subscriber gets all messages or learns that some are missing.)
//!
//! Run: `cargo run --example 27_live_board` (another port as an argument; 0 is any free one. A second argument is the
//! number of players in a team), then in another terminal `bucle connect ws://localhost:8080`. Type `red`, then `blue`,
//! then `red` again.
//!
//! Expect something like this (on the left the client, on the right the server):
//!
//! ```text
//! topics: red, green, blue            listening on 127.0.0.1:8080
//! red                                 #2 is open
//! subscribed to: red                  #2 has closed: 1000 (normal)
//! red 41: 14 14 13
//! red 44: 15 14 14
//! blue
//! subscribed to: red, blue
//! red 47: 15 15 14
//! blue 49: 16 16 16
//! ```
//!
//! Why: the board does not know its readers. A subscription ends with its connection, and a topic with its last one.

use bucle::websocket::{self, CloseCode, Handler, Message, Options, SlowReceiver, WebSocket};
use bucle::{Error, Loop, Result};
use std::{env, fmt::Write, time::Duration};

const TEAMS: [&str; 3] = ["red", "green", "blue"];
const PERIOD: Duration = Duration::from_millis(50);

struct Board {
    beat: usize,
    /// The scores of the players of each team.
    scores: [Vec<u32>; 3],
}

impl Board {
    /// One player scores, and the team has news: its name and a whole message, which needs no earlier one.
    fn beat(&mut self) -> (&'static str, String) {
        let (team, player) = (self.beat % TEAMS.len(), self.beat / TEAMS.len() % self.scores[0].len());
        self.scores[team][player] += 1;
        self.beat += 1;
        let mut message = format!("{} {}:", TEAMS[team], self.beat);
        for score in &self.scores[team] {
            let _ = write!(message, " {score}"); // Writing to a string cannot fail.
        }
        (TEAMS[team], message)
    }
}

impl Handler for Board {
    fn on_open(&mut self, lp: &mut Loop, ws: WebSocket) {
        println!("{ws} is open");
        ws.send(lp, &format!("topics: {}", TEAMS.join(", ")));
    }

    /// The name of a topic subscribes; the same name again ends the subscription.
    fn on_message(&mut self, lp: &mut Loop, ws: WebSocket, message: Message<'_>) {
        match message {
            Message::Text(topic) if TEAMS.contains(&topic) => {
                if !ws.subscribe(lp, topic) {
                    ws.unsubscribe(lp, topic);
                }
                let topics = ws.topics(lp).join(", ");
                ws.send(lp, &format!("subscribed to: {topics}"));
            }
            Message::Text(_) => _ = ws.send(lp, "there is no such topic"),
            Message::Binary(_) => ws.close(lp, CloseCode::UNSUPPORTED_DATA, "send the name of a topic as text"),
        }
    }

    fn on_close(&mut self, _: &mut Loop, ws: WebSocket, code: CloseCode, _reason: &str) {
        println!("{ws} has closed: {code}");
    }
}

fn main() -> Result<()> {
    let mut args = env::args().skip(1).map(|text| text.parse::<usize>().ok());
    let [port, players] = [8080, 3].map(|default| args.next().unwrap_or(Some(default)));
    let usage = || Error::custom("E_USAGE", "usage: 27_live_board [PORT [PLAYERS]]");
    let port = port.and_then(|port| u16::try_from(port).ok()).ok_or_else(usage)?;
    let players = players.filter(|players| *players > 0).ok_or_else(usage)?;
    bucle::run(|lp| {
        let board = Board { beat: 0, scores: [vec![0; players], vec![0; players], vec![0; players]] };
        let options = Options { max_message: 1000, slow: SlowReceiver::Skip, ..Options::default() };
        let server = websocket::listen(lp, ("127.0.0.1", port), options, board)?;
        server.address(lp).inspect(|address| println!("listening on {address}"));
        lp.set_interval(PERIOD, move |lp| {
            let Some((topic, message)) = server.endpoint().with(lp, |board, _| board.beat()) else { return };
            let published = server.endpoint().publish(lp, topic, &message);
            if published.skipped > 0 {
                println!("{topic}: {} skipped, {} sent", published.skipped, published.receivers);
            }
        });
        Ok(())
    })
}
