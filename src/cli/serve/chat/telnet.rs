//! The chat's door for telnet clients and `nc`: lines in, lines out.

use bucle::Loop;
use bucle::telnet::lines::printable;
use bucle::telnet::{Client, Handler};

use super::members::{Member, SharedRooms, call};
use super::rooms::Next;

/// The handler of the chat's telnet server.
pub(crate) struct TelnetDoor {
    rooms: SharedRooms,
}

impl TelnetDoor {
    pub(crate) fn new(rooms: SharedRooms) -> TelnetDoor {
        TelnetDoor { rooms }
    }

    fn leave(&self, lp: &mut Loop, client: Client) {
        let member = Member::Telnet(client);
        call(self.rooms, lp, member, |rooms, send| rooms.leave(member, send));
    }
}

impl Handler for TelnetDoor {
    fn on_open(&mut self, lp: &mut Loop, client: Client) {
        let member = Member::Telnet(client);
        call(self.rooms, lp, member, |rooms, send| rooms.enter(member, send));
    }

    fn on_line(&mut self, lp: &mut Loop, client: Client, line: &[u8]) {
        let member = Member::Telnet(client);
        // Text that is safe to show: no control bytes, so one member cannot paint on the terminal of another.
        let line = printable(line);
        if call(self.rooms, lp, member, |rooms, send| rooms.receive_line(member, &line, send)) == Some(Next::Leave) {
            client.end(lp);
        }
    }

    fn on_end(&mut self, lp: &mut Loop, client: Client) {
        self.leave(lp, client);
    }

    fn on_close(&mut self, lp: &mut Loop, client: Client, _had_error: bool) {
        self.leave(lp, client);
    }
}
