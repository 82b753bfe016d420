//! The server of the tutorial that bucle began with: it greets, answers each line, and announces a `bye` to all
//! clients.

use std::collections::BTreeSet;

use bucle::Loop;
use bucle::telnet::{self, Client, Handler};

#[derive(Default)]
pub(crate) struct Tutorial {
    clients: BTreeSet<Client>,
}

impl Handler for Tutorial {
    fn on_open(&mut self, lp: &mut Loop, client: Client) {
        self.clients.insert(client);
        client.write_line(lp, "¡Bienvenido!");
    }

    fn on_line(&mut self, lp: &mut Loop, client: Client, line: &[u8]) {
        // Three writes, one packet: they are gathered until the end of the phase.
        client.write(lp, "server: ");
        client.write_line(lp, line);
        if line == b"bye" {
            telnet::broadcast(lp, &self.clients, "Broadcasting bye\r\n");
        }
    }

    fn on_close(&mut self, _: &mut Loop, client: Client, _had_error: bool) {
        self.clients.remove(&client);
    }
}
