//! Lesson 8: a handle outlives its socket, and never finds a stranger.
//!
//! A `Socket` is two numbers: in which slot of the loop's table the connection sits, and its serial, which no other has.
//! Slots are used again, as seats are; a serial is given out once:
//!
//! ```text
//!   slot 0    #2 ─ gone ─▶ #4          a handle kept: slot 0, serial 2
//!   slot 1    #3                       in slot 0 sits serial 4: nobody is found
//! ```
//!
//! So a timer, another thread's answer or a list that was not tidied up may come late with a handle whose socket is gone.
//! It finds nothing: questions answer `None`, commands do nothing. With file descriptors, which are slots without
//! serials, the late one would write to whoever has come since. (Compared and sorted, handles go by serial: who came
//! first stands first.)
//!
//! Run: `cargo run --example 08_slots_and_serials`
//!
//! Expect:
//!
//! ```text
//! #2 is here
//! #3 is here
//! #2 has gone; it exists to the end of this callback: true
//! #4 is here; in the order in which they came: #3, #4
//! is #2 the same as #4? false
//! does #2 exist? false
//! does a write to #2 succeed? false, ERR_STREAM_DESTROYED
//! #2 is destroyed once more; does #4 exist? true
//! ```

use bucle::net::{self, Handler, LocalAddress, Socket};
use bucle::{Loop, Result};
use std::collections::BTreeSet;
use std::net::TcpStream;

/// The guests are plain sockets of the standard library: this way only our ends of the connections have slots.
struct House {
    address: LocalAddress,
    guests: Vec<TcpStream>,
    first: Option<Socket>,
    here: BTreeSet<Socket>,
}

impl House {
    /// Blocks until the kernel has put the connection into the server's backlog, and on this machine it does so at once.
    fn invite(&mut self) {
        let LocalAddress::Ip(address) = self.address else { return };
        match TcpStream::connect(address) {
            Ok(guest) => self.guests.push(guest),
            Err(error) => println!("the guest cannot come: {error}"),
        }
    }

    /// What can be done with a handle that was kept too long.
    fn come_late(&self, lp: &mut Loop, old: Socket, new: Socket) {
        println!("is {old} the same as {new}? {}", old == new);
        println!("does {old} exist? {}", old.exists(lp));
        let refusal = old.write_refusal(lp).map_or(String::new(), |error| error.code().to_owned());
        println!("does a write to {old} succeed? {}, {refusal}", old.write(lp, "to whom?"));
        old.destroy(lp);
        println!("{old} is destroyed once more; does {new} exist? {}", new.exists(lp));
    }
}

impl Handler for House {
    fn on_connection(&mut self, lp: &mut Loop, socket: Socket) {
        self.here.insert(socket);
        match self.first {
            None => {
                println!("{socket} is here");
                self.first = Some(socket);
            }
            Some(first) if first.exists(lp) => {
                println!("{socket} is here");
                drop(self.guests.remove(0)); // The first one leaves.
            }
            Some(first) => {
                let slots: Vec<String> = self.here.iter().map(Socket::to_string).collect();
                println!("{socket} is here; in the order in which they came: {}", slots.join(", "));
                self.come_late(lp, first, socket);
                self.guests.clear(); // All leave, and when nobody is left the loop ends.
                socket.server(lp).inspect(|server| server.close(lp));
            }
        }
    }

    fn on_close(&mut self, lp: &mut Loop, socket: Socket, _had_error: bool) {
        self.here.remove(&socket);
        if self.first == Some(socket) {
            println!("{socket} has gone; it exists to the end of this callback: {}", socket.exists(lp));
            self.invite();
        }
    }
}

fn main() -> Result<()> {
    bucle::run(|lp| {
        let server = net::listen(lp, ("127.0.0.1", 0), net::on())?;
        let address = server.address(lp).expect("listen has bound it");
        let mut house = House { address, guests: Vec::new(), first: None, here: BTreeSet::new() };
        house.invite();
        house.invite();
        server.set_handler(lp, house);
        Ok(())
    })
}
