//! Sends every line to all clients, the sender included: a chat without names.
//!
//! It is the first server here with state: a set of clients in the handler. The set needs no lock, because nothing else
//! runs while a callback does.

use std::collections::BTreeSet;

use bucle::Loop;
use bucle::telnet::{self, Client, Handler};

#[derive(Default)]
pub(crate) struct Relay {
    clients: BTreeSet<Client>,
}

impl Handler for Relay {
    fn on_open(&mut self, _: &mut Loop, client: Client) {
        self.clients.insert(client);
    }

    fn on_line(&mut self, lp: &mut Loop, _: Client, line: &[u8]) {
        telnet::broadcast(lp, &self.clients, line);
        if !line.ends_with(b"\n") {
            // The last line before a FIN may have no break. Without one the next line would continue it.
            telnet::broadcast(lp, &self.clients, "\r\n");
        }
    }

    fn on_close(&mut self, _: &mut Loop, client: Client, _had_error: bool) {
        self.clients.remove(&client);
    }
}
