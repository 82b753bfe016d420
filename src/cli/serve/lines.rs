//! Every line back, one `write` each. TCP knows no lines: they may come in pieces or by the dozen, and telnet puts them
//! together again. What is written here leaves in one system call per turn, however many lines it is.

use bucle::Loop;
use bucle::telnet::{Client, Handler};

pub(crate) struct Lines;

impl Handler for Lines {
    fn on_line(&mut self, lp: &mut Loop, client: Client, line: &[u8]) {
        client.write(lp, line);
    }
}
