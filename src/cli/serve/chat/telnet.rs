//! The chat's door for telnet clients and `nc`: lines in, lines out.

use bucle::Loop;
use bucle::telnet::lines::printable;
use bucle::telnet::{Client, Handler};

use super::Chat;
use super::members::Member;

/// The handler of the chat's telnet server.
pub(crate) struct TelnetDoor {
    chat: Chat,
}

impl TelnetDoor {
    pub(crate) fn new(chat: Chat) -> TelnetDoor {
        TelnetDoor { chat }
    }

    fn leave(&self, lp: &mut Loop, client: Client) {
        self.chat.leave(lp, Member::Telnet(client));
    }
}

impl Handler for TelnetDoor {
    fn on_open(&mut self, lp: &mut Loop, client: Client) {
        self.chat.enter(lp, Member::Telnet(client));
    }

    fn on_line(&mut self, lp: &mut Loop, client: Client, line: &[u8]) {
        // Text that is safe to show: no control bytes, so one member cannot paint on the terminal of another.
        self.chat.receive_line(lp, Member::Telnet(client), &printable(line));
    }

    fn on_end(&mut self, lp: &mut Loop, client: Client) {
        self.leave(lp, client);
    }

    fn on_close(&mut self, lp: &mut Loop, client: Client, _had_error: bool) {
        self.leave(lp, client);
    }
}
