//! Lesson 18: a stock that many clients change. Each client gets a snapshot, then every change in the same order.
//!
//! A new client gets the whole stock, then every change. It cannot miss one in between: the snapshot is written and the
//! client is added to the list in one callback, and nothing else runs meanwhile. For the same reason no item is sold
//! twice: nothing runs between the check of the quantity and the sale. Threads would need a lock or a transaction. Here
//! it is enough to stay within one callback.
//!
//! Run: `cargo run --example 18_stock` (another port as an argument; 0 is any free one), and in two terminals
//! `telnet localhost 8080`.
//!
//! Expect in the two terminals:
//!
//! ```text
//! stock: 1000000 grains, 5 lemons     stock: 1000000 grains, 5 lemons
//! buy lemons 3
//! sold: 3 lemons to #2, 2 left        sold: 3 lemons to #2, 2 left
//!                                     buy lemons 3
//!                                     error: only 2 lemons left
//!                                     buy lemons 2
//! sold: 2 lemons to #3, 0 left        sold: 2 lemons to #3, 0 left
//! ```
//!
//! Why: a change is not complete like the messages of lesson 17, so none may be skipped. A client that does not read
//! exceeds a limit (lesson 6) and is disconnected. When it connects again it gets a new snapshot, and has missed
//! nothing.

use bucle::net::{self, Error, Handler, Limits, ServerOptions, Socket};
use bucle::telnet::lines::Lines;
use bucle::{Loop, Result};
use std::{collections::BTreeMap, time::Duration};

struct Shop {
    stock: BTreeMap<&'static str, u32>,
    clients: BTreeMap<Socket, Lines>,
}

impl Shop {
    /// Checks an order and takes the items. Nothing runs in between, and an order that fails changes nothing.
    fn sell<'a>(&mut self, order: &'a str) -> Result<(&'a str, u32, u32), String> {
        let ["buy", item, count] = order.split_whitespace().collect::<Vec<_>>()[..] else {
            return Err("send `buy ITEM N`".to_owned());
        };
        let count = count.parse().ok().filter(|count| *count > 0).ok_or("N must be a number, 1 or more")?;
        let left = self.stock.get_mut(item).ok_or("no such item")?;
        *left = left.checked_sub(count).ok_or_else(|| format!("only {left} {item} left"))?;
        Ok((item, count, *left))
    }

    fn send_to_all(&self, lp: &mut Loop, text: &str) {
        for client in self.clients.keys() {
            client.write(lp, text);
        }
    }
}

impl Handler for Shop {
    fn on_connection(&mut self, lp: &mut Loop, socket: Socket) {
        let items: Vec<String> = self.stock.iter().map(|(item, count)| format!("{count} {item}")).collect();
        socket.write(lp, format!("stock: {}\r\n", items.join(", ")));
        self.clients.insert(socket, Lines::with_limit(100));
    }

    fn on_data(&mut self, lp: &mut Loop, from: Socket, chunk: &[u8]) {
        let Some(lines) = self.clients.get_mut(&from) else { return };
        let mut orders = Vec::new();
        let fed = lines.feed(chunk, |line| orders.push(String::from_utf8_lossy(line).into_owned()));
        for order in orders {
            match self.sell(&order) {
                Ok((item, n, left)) => self.send_to_all(lp, &format!("sold: {n} {item} to {from}, {left} left\r\n")),
                Err(why) => _ = from.write(lp, format!("error: {why}\r\n")),
            }
        }
        if let Err(too_long) = fed {
            self.clients.remove(&from);
            from.end_with(lp, format!("error: {too_long}\r\n"));
        } else if from.needs_drain(lp) {
            from.pause(lp); // As in the chat: a client that does not read its answers is paused.
        }
    }

    fn on_drain(&mut self, lp: &mut Loop, socket: Socket) {
        socket.resume(lp);
    }

    fn on_end(&mut self, lp: &mut Loop, from: Socket) {
        if self.clients.get(&from).is_some_and(|lines| !lines.unfinished().is_empty()) {
            self.on_data(lp, from, b"\n"); // The last line had no line break.
        }
        self.clients.remove(&from);
    }

    fn on_error(&mut self, _: &mut Loop, socket: Socket, error: Error) {
        println!("{socket} failed: {error}");
    }

    fn on_close(&mut self, _: &mut Loop, socket: Socket, _had_error: bool) {
        self.clients.remove(&socket);
    }
}

fn main() -> Result<()> {
    let port = std::env::args().nth(1).map_or(Ok(8080), |text| text.parse::<u16>());
    let port = port.map_err(|_| Error::custom("E_USAGE", "usage: 18_stock [PORT]"))?;
    bucle::run(|lp| {
        let shop = Shop { stock: [("grains", 1_000_000), ("lemons", 5)].into(), clients: BTreeMap::new() };
        let limits = Limits { outbox_bytes: Some(1024 * 1024), write_timeout: Duration::from_secs(30), ..Limits::NONE };
        let options = ServerOptions { limits, ..ServerOptions::default() };
        let server = net::listen_with(lp, ("127.0.0.1", port), options, shop)?;
        server.address(lp).inspect(|address| println!("listening on {address}"));
        Ok(())
    })
}
