//! Lesson 15: a pool of clients that reconnect. Many sockets, one handler, and a server that is not always there.
//!
//! The sockets of a server share its handler. Clients have no server, so the pool is stored in the loop by
//! `Shared::new`, and each connection is given its name, a `Shared`. The timer that reconnects uses the name, too, to
//! borrow the pool. (The handler is wrapped in `Telnet`, so it gets whole lines, as in lesson 12.)
//!
//! * A lost connection is replaced after a pause: 100 ms, doubled with each failure in a row, up to 6.4 s. Without the
//!   pause, a server that is down would get thousands of connection attempts per second when it starts again.
//! * A question is sent on one free connection. If that is lost before the answer, the question is sent again on
//!   another one. So a question may be sent twice, and must allow that.
//! * A connection that does not answer within two seconds counts as lost: the idle limit of lesson 11.
//!
//! Run: `cargo run --example 15_pool`, and some seconds later `cargo run --example 03_echo` in another terminal. The
//! pool sends ten questions to the echo (another port as an argument), and ends when all are answered.
//!
//! Expect something like this:
//!
//! ```text
//! #1 failed: connect ECONNREFUSED 127.0.0.1:8080
//! #2 failed: connect ECONNREFUSED 127.0.0.1:8080
//! connecting again in 200ms
//! connecting again in 400ms
//! #3 connected
//! #3 answered: question 1
//! ```
//!
//! Why: the pauses grow while the server is down, and no question is lost, whatever happens to the connections.

use bucle::telnet::{self, Client, Options, Telnet, lines::printable};
use bucle::{Error, Loop, Result, net::Shared, net::Socket, net::SocketOptions};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::{env, time::Duration};

const CLIENTS: usize = 2;
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Pool {
    name: Option<Shared<Telnet<Pool>>>,
    port: u16,
    questions: VecDeque<u16>,
    free: BTreeSet<Client>,
    asked: BTreeMap<Client, u16>,
    failures_in_a_row: u32,
}

impl Pool {
    fn connect(&mut self, lp: &mut Loop) -> Result<()> {
        let Some(name) = self.name else { return Ok(()) };
        let options = SocketOptions { timeout: ANSWER_LIMIT, ..SocketOptions::default() };
        Socket::connect_with(lp, ("127.0.0.1", self.port), options, name).map(|_| ())
    }

    fn is_done(&self) -> bool {
        self.questions.is_empty() && self.asked.is_empty()
    }

    fn send_questions(&mut self, lp: &mut Loop) {
        while let (Some(client), Some(question)) = (self.free.first(), self.questions.front()) {
            client.write_line(lp, format!("question {question}"));
            self.asked.extend(self.free.pop_first().zip(self.questions.pop_front()));
        }
        if self.is_done() {
            self.free.iter().for_each(|client| client.end(lp)); // No connection is needed now.
        }
    }
}

impl telnet::Handler for Pool {
    fn on_open(&mut self, lp: &mut Loop, client: Client) {
        println!("{client} connected");
        self.failures_in_a_row = 0;
        self.free.insert(client);
        self.send_questions(lp);
    }

    fn on_line(&mut self, lp: &mut Loop, client: Client, line: &[u8]) {
        if self.asked.remove(&client).is_some() {
            println!("{client} answered: {}", printable(line));
            self.free.insert(client);
            self.send_questions(lp);
        }
    }

    fn on_timeout(&mut self, lp: &mut Loop, client: Client) {
        if !self.free.contains(&client) {
            client.socket().destroy_with(lp, Error::custom("E_NO_ANSWER", "no answer"));
        }
    }

    fn on_error(&mut self, _: &mut Loop, client: Client, error: Error) {
        println!("{client} failed: {error}");
    }

    fn on_close(&mut self, lp: &mut Loop, client: Client, _had_error: bool) {
        if let Some(question) = self.asked.remove(&client) {
            self.questions.push_front(question);
            self.send_questions(lp);
        } else if !self.free.remove(&client) {
            self.failures_in_a_row += 1; // It was neither asked nor free, so it never connected.
        }
        let Some(name) = self.name.filter(|_| !self.is_done()) else { return };
        let pause = PAUSE * (1 << self.failures_in_a_row.min(6));
        println!("connecting again in {pause:?}");
        lp.set_timeout(pause, move |lp| _ = name.with(lp, |pool, lp| pool.handler().connect(lp)));
    }
}

fn main() -> Result<()> {
    let port = env::args().nth(1).map_or(Ok(8080), |text| text.parse::<u16>());
    let port = port.map_err(|_| Error::custom("E_USAGE", "usage: 15_pool [PORT]"))?;
    bucle::run(|lp| {
        let pool = Pool { port, questions: (1..=10).collect(), ..Pool::default() };
        let name = Shared::new(lp, Telnet::new(Options::default(), pool));
        name.with(lp, |pool, _| pool.handler().name = Some(name));
        (0..CLIENTS).try_for_each(|_| name.with(lp, |pool, lp| pool.handler().connect(lp)).unwrap_or(Ok(())))
    })
}
