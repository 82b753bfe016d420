//! Lesson 16: other threads. A request is worked on elsewhere, and the answer finds the one who asked.
//!
//! While a callback computes, nobody is served. So long work goes to a thread of its own, and the answer comes back as a
//! closure that is posted through a `Remote`, the door into a loop from outside. It runs on the loop, in the poll phase, like
//! the arrival of data:
//!
//! ```text
//!   loop    ── on_line ─ try_send ─▶ goes on serving ························ |lp| client.write_line ─▶
//!                          │ (queue)                                        ▲
//!   worker                 └──▶ computes ·····························─ post ┘
//! ```
//!
//! * A `Client`, or a `Socket`, may travel: it is a name of eight bytes. Whoever has left meanwhile is not found, and nobody
//!   else gets the answer (lesson 8).
//! * The queue is bounded, and the loop never waits for room in it: who asks when it is full is told so. An unbounded one
//!   would take every request, and answer none of them in time.
//! * A remote does not keep the loop alive. Here the server does; who works without one holds a `KeepAlive`, from
//!   `remote.hold()`, until the answer is posted.
//!
//! Run: `cargo run --example 16_other_threads` (another port as an argument; 0 is any free one), and in another terminal
//! `printf '10\n1000\nten\n' | nc localhost 8080`. (With `nc -N`, which says good-bye at once, there would be no answer: who
//! has ended is ended, too.)
//!
//! Expect there (the refusal is first, for it needs no work):
//!
//! ```text
//! no: 1 to 100000, please
//! prime number 10 is 29
//! prime number 1000 is 7919
//! ```

use bucle::telnet::{self, Client, Options};
use bucle::{Error, Loop, Remote, Result};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::thread;

/// How many requests may wait, besides the one that is worked on.
const QUEUE: usize = 4;

/// A request: who asks, and for which prime.
type Job = (Client, usize);

struct Primes {
    jobs: SyncSender<Job>,
}

impl telnet::Handler for Primes {
    fn on_line(&mut self, lp: &mut Loop, client: Client, line: &[u8]) {
        let number = str::from_utf8(line).ok().and_then(|line| line.trim().parse().ok());
        let Some(number) = number.filter(|number| (1..=100_000).contains(number)) else {
            client.write_line(lp, "no: 1 to 100000, please");
            return;
        };
        match self.jobs.try_send((client, number)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => _ = client.write_line(lp, "busy: not now"),
            Err(TrySendError::Disconnected(_)) => _ = client.write_line(lp, "nobody works here any more"),
        }
    }
}

/// On the worker's thread. What it needs it owns; of the loop it has nothing but the door. It ends when the loop is gone.
fn work(jobs: &Receiver<Job>, remote: &Remote) {
    for (client, number) in jobs {
        let prime = nth_prime(number);
        let is_open = remote.post(move |lp| {
            client.write_line(lp, format!("prime number {number} is {prime}"));
        });
        if !is_open {
            return;
        }
    }
}

/// The simple way, which takes its time.
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
