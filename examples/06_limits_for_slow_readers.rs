//! Lesson 6: limits for slow readers. How much one peer may cost, and when it is disconnected.
//!
//! The producer of lesson 5 could slow down. A server that forwards the messages of *other* peers cannot stop all of
//! them because one receiver does not read, so bytes are queued for that receiver. A limit bounds them. A peer that
//! exceeds it is disconnected by a reset, with `Error::TooSlow`, and no other connection is affected. Most servers need
//! two limits:
//!
//! * `outbox_bytes`: at most this many bytes may be queued for one peer. It stops a peer that reads too slowly.
//! * `write_timeout`: queued bytes may wait this long without the kernel taking one of them. It stops a peer that reads
//!   nothing from a server that respects the result of `write`: few bytes are queued for it, but they would stay
//!   forever.
//!
//! `lp.set_outbox_limit` bounds the queued bytes of all connections together; above it, the socket with the most is
//! disconnected. As in Node there are no limits by default. They cost nothing while the peer reads.
//!
//! Run: `cargo run --example 06_limits_for_slow_readers`
//!
//! Expect (#3 reads nothing, the other reader receives all 400 blocks of 64 KiB):
//!
//! ```text
//! write to all readers, fast or slow
//!   #3 is disconnected: its outbox would exceed 1048576 bytes
//!   the other reader received 25600 KiB
//! write only to readers that need no drain
//!   #3 is disconnected: it took nothing for 100ms
//!   the other reader received 25600 KiB
//! ```
//!
//! Why: the first server ignores the result of `write`, so `outbox_bytes` is reached. The second one skips a reader
//! until its drain, so little is queued for #3, and the write timeout finds it.

use bucle::net::{self, Error, Handler, Limit, Limits, ServerOptions, Socket};
use bucle::{Loop, Result};
use std::{collections::BTreeMap, net::TcpStream, time::Duration};

const BLOCK: &[u8] = &[b'.'; 64 * 1024];
const BLOCKS: usize = 400;

/// Sends a block of news to all readers every millisecond.
struct News {
    /// How many blocks each reader was sent.
    readers: BTreeMap<Socket, usize>,
    is_patient: bool,
}

impl News {
    fn publish(&mut self, lp: &mut Loop) {
        self.readers.retain(|reader, sent| {
            // The patient server skips a reader that has not read yet. The other one writes and relies on the limit.
            if self.is_patient && reader.needs_drain(lp) {
                return true;
            }
            reader.write(lp, BLOCK);
            *sent += 1;
            if *sent == BLOCKS {
                reader.end(lp);
            }
            *sent < BLOCKS
        });
    }
}

impl Handler for News {
    fn on_connection(&mut self, _: &mut Loop, socket: Socket) {
        self.readers.insert(socket, 0);
    }

    fn on_error(&mut self, _: &mut Loop, socket: Socket, error: Error) {
        let Error::TooSlow { limit, .. } = error else { return println!("  {socket} failed: {error}") };
        let why = match limit {
            Limit::OutboxBytes(bytes) => format!("its outbox would exceed {bytes} bytes"),
            Limit::WriteTimeout(time) => format!("it took nothing for {time:?}"),
            limit => limit.to_string(),
        };
        println!("  {socket} is disconnected: {why}");
    }

    fn on_close(&mut self, _: &mut Loop, socket: Socket, _had_error: bool) {
        self.readers.remove(&socket);
    }
}

/// Reads everything, as each client does that never pauses.
struct Reader(usize);

impl Handler for Reader {
    fn on_data(&mut self, _: &mut Loop, _: Socket, chunk: &[u8]) {
        self.0 += chunk.len();
    }

    fn on_end(&mut self, _: &mut Loop, _: Socket) {
        println!("  the other reader received {} KiB", self.0 / 1024);
    }
}

fn scene(title: &str, is_patient: bool, limits: Limits) -> Result<()> {
    println!("{title}");
    let mut sleepers = Vec::new();
    bucle::run(|lp| {
        lp.set_outbox_limit(Some(64 * 1024 * 1024));
        let options = ServerOptions { limits, ..ServerOptions::default() };
        let news = News { readers: BTreeMap::new(), is_patient };
        let server = net::listen_with(lp, ("127.0.0.1", 0), options, news)?;
        let port = server.port(lp).expect("a listening server has a port");
        sleepers.push(TcpStream::connect(("127.0.0.1", port))?); // It never reads.
        Socket::connect(lp, ("127.0.0.1", port), Reader(0))?;
        let publishing = lp.set_interval(Duration::from_millis(1), move |lp| {
            server.with(lp, |news, lp| news.publish(lp));
        });
        lp.unref(publishing); // Only the connections keep the loop alive.
        server.unref(lp);
        Ok(())
    })
}

fn main() -> Result<()> {
    let limits = Limits { outbox_bytes: Some(1024 * 1024), write_timeout: Duration::from_secs(30), ..Limits::NONE };
    scene("write to all readers, fast or slow", false, limits.clone())?;
    // Thirty seconds are a good choice. 100 ms keep this lesson short.
    let limits = Limits { write_timeout: Duration::from_millis(100), ..limits };
    scene("write only to readers that need no drain", true, limits)
}
