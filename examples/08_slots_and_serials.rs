//! Lesson 8: a handle that is kept after its socket closed never reaches another socket.
//!
//! A `Socket` is two numbers: the slot of the connection in the loop's table, and a serial. Slots are reused. A serial
//! is given out only once:
//!
//! ```text
//!   slot 0    #2 ─ closed ─▶ #4        a kept handle: slot 0, serial 2
//!   slot 1    #3                       slot 0 now holds serial 4, so the handle finds nothing
//! ```
//!
//! Run: `cargo run --example 08_slots_and_serials`
//!
//! Expect:
//!
//! ```text
//! #2 connected
//! #3 connected
//! #2 closed; it exists until its on_close returns: true
//! #4 connected; the open sockets, sorted: #3, #4
//! is #2 equal to #4? false
//! does #2 exist? false
//! does a write to #2 succeed? false, ERR_STREAM_DESTROYED
//! #2 is destroyed again; does #4 exist? true
//! ```
//!
//! Why: a timer, the answer of another thread or an old list may use a handle too late. That is harmless: a query
//! returns `None`, and a command does nothing. A file descriptor is a slot without a serial: a late write to it would
//! reach the connection that reuses the number. Handles are sorted by serial, that is by age.

use bucle::net::{self, Handler, Socket};
use bucle::{Loop, Result};
use std::collections::BTreeSet;
use std::net::TcpStream;

/// The clients are sockets of the standard library, so that only the server's side of each connection has a slot.
#[derive(Default)]
struct Experiment {
    port: u16,
    clients: Vec<TcpStream>,
    first: Option<Socket>,
    open: BTreeSet<Socket>,
}

impl Experiment {
    /// Blocks until the kernel has accepted the connection for the server. On the same machine that is a moment.
    fn add_client(&mut self) {
        match TcpStream::connect(("127.0.0.1", self.port)) {
            Ok(client) => self.clients.push(client),
            Err(error) => println!("cannot connect: {error}"),
        }
    }

    /// Uses a handle that was kept too long.
    fn use_old_handle(&self, lp: &mut Loop, old: Socket, new: Socket) {
        println!("is {old} equal to {new}? {}", old == new);
        println!("does {old} exist? {}", old.exists(lp));
        let refusal = old.write_refusal(lp).map_or(String::new(), |error| error.code().to_owned());
        println!("does a write to {old} succeed? {}, {refusal}", old.write(lp, "hola"));
        old.destroy(lp);
        println!("{old} is destroyed again; does {new} exist? {}", new.exists(lp));
    }
}

impl Handler for Experiment {
    fn on_connection(&mut self, lp: &mut Loop, socket: Socket) {
        self.open.insert(socket);
        match self.first {
            None => {
                println!("{socket} connected");
                self.first = Some(socket);
            }
            Some(first) if first.exists(lp) => {
                println!("{socket} connected");
                drop(self.clients.remove(0)); // The first client disconnects.
            }
            Some(first) => {
                let open: Vec<String> = self.open.iter().map(Socket::to_string).collect();
                println!("{socket} connected; the open sockets, sorted: {}", open.join(", "));
                self.use_old_handle(lp, first, socket);
                self.clients.clear(); // All clients disconnect. With the last connection the loop ends.
                socket.server(lp).inspect(|server| server.close(lp));
            }
        }
    }

    fn on_close(&mut self, lp: &mut Loop, socket: Socket, _had_error: bool) {
        self.open.remove(&socket);
        if self.first == Some(socket) {
            println!("{socket} closed; it exists until its on_close returns: {}", socket.exists(lp));
            self.add_client();
        }
    }
}

fn main() -> Result<()> {
    bucle::run(|lp| {
        let server = net::listen(lp, ("127.0.0.1", 0), Experiment::default())?;
        let port = server.port(lp).expect("a listening server has a port");
        server.with(lp, |experiment, _| {
            experiment.port = port;
            experiment.add_client();
            experiment.add_client();
        });
        Ok(())
    })
}
