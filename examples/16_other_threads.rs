//! Lesson 16: long work runs on another thread, and the answer still finds its client.
//!
//! While a callback computes, the loop serves no other connection. So long work goes to a worker thread. The answer
//! comes back through a `Remote`, the only part of a loop that other threads may use: `remote.post` sends a closure to
//! the loop, which runs it in the poll phase, like any I/O callback:
//!
//! ```text
//!   loop    ── on_line ─ try_send ─▶ serves other clients ··················· |lp| client.write_line ─▶
//!                          │ queue                                          ▲
//!   worker                 └──▶ computes ··························── post ─┘
//! ```
//!
//! * A `Client` or a `Socket` can be sent to a thread: it is a name of eight bytes. If the client has left, the name
//!   finds nothing, and no other client gets the answer (lesson 8).
//! * The queue is bounded, and the loop never waits for it: when it is full, the request is refused. An unbounded queue
//!   would accept every request and then answer too late.
//! * A remote does not keep the loop alive; here the server does. A program without one keeps a `KeepAlive`, from
//!   `remote.hold()`, until the answer is posted.
//!
//! Run: `cargo run --example 16_other_threads` (another port as an argument; 0 is any free one), and in another
//! terminal `printf '10\n1000\nten\n' | nc localhost 8080`. (Not `nc -N`: it ends at once, and the server then ends
//! before the answer.)
//!
//! Expect there:
//!
//! ```text
//! error: send a number from 1 to 100000
//! prime number 10 is 29
//! prime number 1000 is 7919
//! ```
//!
//! Why: the last line is refused on the loop itself, so its answer overtakes the two that the worker computes.

use bucle::telnet::{self, Client, Options};
use bucle::{Error, Loop, Remote, Result};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::thread;

/// How many requests may wait, besides the one that the worker computes.
const QUEUE: usize = 4;

/// A request: the client, and which prime number it wants.
type Job = (Client, usize);

struct Primes {
    jobs: SyncSender<Job>,
}

impl telnet::Handler for Primes {
    fn on_line(&mut self, lp: &mut Loop, client: Client, line: &[u8]) {
        let number = str::from_utf8(line).ok().and_then(|line| line.trim().parse().ok());
        let Some(number) = number.filter(|number| (1..=100_000).contains(number)) else {
            client.write_line(lp, "error: send a number from 1 to 100000");
            return;
        };
        match self.jobs.try_send((client, number)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => _ = client.write_line(lp, "busy: try again later"),
            Err(TrySendError::Disconnected(_)) => _ = client.write_line(lp, "error: the worker has stopped"),
        }
    }
}

/// Runs on the worker thread. It owns all its data and reaches the loop only by `remote`. It ends when the loop is
/// gone.
fn work(jobs: &Receiver<Job>, remote: &Remote) {
    for (client, number) in jobs {
        let prime = nth_prime(number);
        let is_alive = remote.post(move |lp| {
            client.write_line(lp, format!("prime number {number} is {prime}"));
        });
        if !is_alive {
            return;
        }
    }
}

/// The simple algorithm. It is slow, so that there is work to do.
fn nth_prime(number: usize) -> u64 {
    let is_prime = |n: &u64| !(2..).take_while(|d| d * d <= *n).any(|d| n.is_multiple_of(d));
    (2..).filter(is_prime).nth(number - 1).unwrap_or(0)
}

fn main() -> Result<()> {
    let port = std::env::args().nth(1).map_or(Ok(8080), |text| text.parse::<u16>());
    let port = port.map_err(|_| Error::custom("E_USAGE", "usage: 16_other_threads [PORT]"))?;
    bucle::run(|lp| {
        let (jobs, to_do) = mpsc::sync_channel(QUEUE);
        let remote = lp.remote();
        thread::spawn(move || work(&to_do, &remote));
        let options = Options { max_line: 100, ..Options::default() };
        let server = telnet::listen(lp, ("127.0.0.1", port), options, Primes { jobs })?;
        server.address(lp).inspect(|address| println!("listening on {address}"));
        Ok(())
    })
}
