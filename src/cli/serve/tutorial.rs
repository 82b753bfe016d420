//! The server of the tutorial that bucle grew out of: it greets, answers each line, and `bye` is told to everybody.

use std::collections::BTreeSet;

use bucle::Loop;
use bucle::telnet::{Client, Handler};

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
            for &client in &self.clients {
                client.write_line(lp, "Broadcasting bye");
            }
        }
    }

    fn on_close(&mut self, _: &mut Loop, client: Client, _had_error: bool) {
        self.clients.remove(&client);
    }
}
