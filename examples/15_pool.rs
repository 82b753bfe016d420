//! Lesson 15: a pool of clients that come back. One handler for many sockets, and a server that is not always there.
//!
//! A server's sockets share its handler. Clients have no server, so they share one by name: `Shared::new` gives the handler
//! to the loop, and each `Socket::connect` is given the name. The pool keeps it too, because the timer that connects again
//! has to be lent the pool. (Wrapped in `Telnet` a client hears whole lines, as the server of lesson 12 does.)
//!
//! * Who is lost is replaced after a pause: 100 ms, and twice as long after each failure in a row, up to 6.4 s. Without the
//!   pause a server that is down is called on thousands of times a second, and never gets up again.
//! * A question goes to one connection that is free. If that is lost before the answer, the question is asked again: it
//!   may be asked twice, and must bear it.
//! * Who is connected and does not answer is lost as well, after two seconds: the idle limit of lesson 11.
//!
//! Run: `cargo run --example 15_pool`, and in another terminal, after a while, `cargo run --example 03_echo`. It asks the
//! echo ten questions (another port as an argument), and ends when it has all the answers.
//!
//! Expect something like this:
//!
//! ```text
//! #2 failed: connect ECONNREFUSED 127.0.0.1:8080
//! #3 failed: connect ECONNREFUSED 127.0.0.1:8080
//! the next one in 200ms
//! the next one in 400ms
//! #4 is connected
//! #4 answers: question 1
//! ```

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

    fn go_on(&mut self, lp: &mut Loop) {
        while let (Some(client), Some(question)) = (self.free.first(), self.questions.front()) {
            client.write_line(lp, format!("question {question}"));
            self.asked.extend(self.free.pop_first().zip(self.questions.pop_front()));
        }
        if self.is_done() {
            self.free.iter().for_each(|client| client.end(lp)); // Nobody is needed any more.
        }
    }
}

impl telnet::Handler for Pool {
    fn on_open(&mut self, lp: &mut Loop, client: Client) {
        println!("{client} is connected");
        self.failures_in_a_row = 0;
        self.free.insert(client);
        self.go_on(lp);
    }

    fn on_line(&mut self, lp: &mut Loop, client: Client, line: &[u8]) {
        if self.asked.remove(&client).is_some() {
            println!("{client} answers: {}", printable(line));
            self.free.insert(client);
            self.go_on(lp);
        }
    }

    fn on_timeout(&mut self, lp: &mut Loop, client: Client) {
        if !self.free.contains(&client) {
            client.socket().destroy_with(lp, Error::custom("E_SILENT", "no answer"));
        }
    }

    fn on_error(&mut self, _: &mut Loop, client: Client, error: Error) {
        println!("{client} failed: {error}");
    }

    fn on_close(&mut self, lp: &mut Loop, client: Client, _had_error: bool) {
        if let Some(question) = self.asked.remove(&client) {
            self.questions.push_front(question);
            self.go_on(lp);
        } else if !self.free.remove(&client) {
            self.failures_in_a_row += 1; // It never got as far as to be free.
        }
        let Some(name) = self.name.filter(|_| !self.is_done()) else { return };
        let pause = PAUSE * (1 << self.failures_in_a_row.min(6));
        println!("the next one in {pause:?}");
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
