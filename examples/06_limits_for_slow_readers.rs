//! Lesson 6: limits. What one slow reader may cost, and who has to go.
//!
//! Lesson 5 made its own speed. A server that passes on what *others* say cannot stop them because one member does not
//! read: for that member more and more waits in this process. So there is a limit, and whoever goes over it is given up,
//! with a reset and `Error::TooSlow`; nobody else notices. Two of them belong into nearly every server:
//!
//! * `outbox_bytes`: this much may wait for one peer. Against those who read less than is said.
//! * `write_timeout`: something may wait this long without the kernel taking a single byte. Against those who read nothing
//!   at all, of a server that minds its writes: for them little waits, but it would for ever.
//!
//! And `lp.set_outbox_limit` bounds what waits for all together; over it, the one for whom the most waits is given up.
//! By default there are no limits, as in Node. A peer that reads costs no check: they are looked at where the kernel refuses.
//!
//! Run: `cargo run --example 06_limits_for_slow_readers`
//!
//! Expect (#3 reads nothing, the other reader gets all 400 blocks of 64 KiB):
//!
//! ```text
//! to everybody, whoever reads
//!   #3 is given up: the limit is 1048576 bytes
//!   the other reader got 25600 KiB
//! only to those who have read what they got before
//!   #3 is given up: none was taken for 100ms
//!   the other reader got 25600 KiB
//! ```

use bucle::net::{self, Error, Handler, Limits, ServerOptions, Socket};
use bucle::{Loop, Result};
use std::{collections::BTreeMap, net::TcpStream, time::Duration};

const BLOCK: &[u8] = &[b'.'; 64 * 1024];
const BLOCKS: usize = 400;

/// Tells everybody a block of news every millisecond.
struct News {
    /// How many blocks each has been told.
    readers: BTreeMap<Socket, usize>,
    is_patient: bool,
}

impl News {
    fn tell(&mut self, lp: &mut Loop) {
        self.readers.retain(|reader, told| {
            // A patient server waits for who has not read yet. The other one writes, and leaves it to the limit.
            if self.is_patient && reader.needs_drain(lp) {
                return true;
            }
            reader.write(lp, BLOCK);
            *told += 1;
            if *told == BLOCKS {
                reader.end(lp);
            }
            *told < BLOCKS
        });
    }
}

impl Handler for News {
    fn on_connection(&mut self, _: &mut Loop, socket: Socket) {
        self.readers.insert(socket, 0);
    }

    fn on_error(&mut self, _: &mut Loop, socket: Socket, error: Error) {
        match error {
            Error::TooSlow { limit, .. } => println!("  {socket} is given up: {limit}"),
            error => println!("  {socket} failed: {error}"),
        }
    }

    fn on_close(&mut self, _: &mut Loop, socket: Socket, _had_error: bool) {
        self.readers.remove(&socket);
    }
}

/// Reads all it gets, as any client does that does not pause.
struct Reader(usize);

impl Handler for Reader {
    fn on_data(&mut self, _: &mut Loop, _: Socket, chunk: &[u8]) {
        self.0 += chunk.len();
    }

    fn on_end(&mut self, _: &mut Loop, _: Socket) {
        println!("  the other reader got {} KiB", self.0 / 1024);
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
        let port = server.port(lp).expect("listen has bound it");
        sleepers.push(TcpStream::connect(("127.0.0.1", port))?); // Never read from.
        Socket::connect(lp, ("127.0.0.1", port), Reader(0))?;
        let telling = lp.set_interval(Duration::from_millis(1), move |lp| {
            server.with(lp, |news, lp| news.tell(lp));
        });
        lp.unref(telling); // The loop ends with the connections.
        server.unref(lp);
        Ok(())
    })
}

fn main() -> Result<()> {
    let limits = Limits { outbox_bytes: Some(1024 * 1024), write_timeout: Duration::from_secs(30), ..Limits::NONE };
    scene("to everybody, whoever reads", false, limits.clone())?;
    // Thirty seconds are a good choice; here nobody shall wait for it.
    let limits = Limits { write_timeout: Duration::from_millis(100), ..limits };
    scene("only to those who have read what they got before", true, limits)
}
