//! Sends every line back, with one `write` each.
//!
//! TCP has no lines: one may arrive in pieces, and dozens in one read. The telnet layer puts them together. However
//! many lines are written in a turn, they leave in one system call.

use bucle::Loop;
use bucle::telnet::{Client, Handler};

pub(crate) struct Lines;

impl Handler for Lines {
    fn on_line(&mut self, lp: &mut Loop, client: Client, line: &[u8]) {
        client.write(lp, line);
    }
}
