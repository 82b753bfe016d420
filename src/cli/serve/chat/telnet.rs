//! The chat's door for telnet clients and `nc`: lines in, lines out.

use bucle::Loop;
use bucle::net::Shared;
use bucle::telnet::lines::printable;
use bucle::telnet::{self, Client, Handler};

use super::rooms::{Next, Rooms, To};

/// The handler of the chat's telnet server.
pub(crate) struct TelnetDoor {
    rooms: Shared<Rooms<Client>>,
}

impl TelnetDoor {
    pub(crate) fn new(rooms: Shared<Rooms<Client>>) -> TelnetDoor {
        TelnetDoor { rooms }
    }

    /// Calls the rooms on behalf of `client`, and sends the lines that they have for their members.
    fn call<R>(
        &self,
        lp: &mut Loop,
        client: Client,
        f: impl FnOnce(&mut Rooms<Client>, &mut dyn FnMut(To<'_, Client>, String)) -> R,
    ) -> Option<R> {
        self.rooms.with(lp, |rooms, lp| {
            let is_logged = log::log_enabled!(target: "bucle::chat", log::Level::Debug);
            let before = if is_logged { rooms.describe(client) } else { None };
            let result = f(rooms, &mut |to, text| deliver(lp, to, text));
            if is_logged {
                log_change(client, before, rooms.describe(client));
            }
            result
        })
    }

    fn leave(&self, lp: &mut Loop, client: Client) {
        self.call(lp, client, |rooms, send| rooms.leave(client, send));
    }
}

impl Handler for TelnetDoor {
    fn on_open(&mut self, lp: &mut Loop, client: Client) {
        self.call(lp, client, |rooms, send| rooms.enter(client, send));
    }

    fn on_line(&mut self, lp: &mut Loop, client: Client, line: &[u8]) {
        // Text that is safe to show: no control bytes, so one member cannot paint on the terminal of another.
        let line = printable(line);
        if self.call(lp, client, |rooms, send| rooms.receive_line(client, &line, send)) == Some(Next::Leave) {
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

/// Sends one line. Nothing is allocated per member.
fn deliver(lp: &mut Loop, to: To<'_, Client>, mut line: String) {
    line.push_str("\r\n");
    match to {
        To::One(member) => drop(member.write(lp, line)),
        To::Room(members) => telnet::broadcast(lp, members, line),
    }
}

fn log_change(client: Client, before: Option<String>, after: Option<String>) {
    if before == after {
        return;
    }
    match (before, after) {
        (None, Some(after)) => log::debug!(target: "bucle::chat", "{client} is {after}"),
        (Some(before), Some(after)) => log::debug!(target: "bucle::chat", "{client} was {before} and is {after}"),
        (Some(before), None) => log::debug!(target: "bucle::chat", "{client}, {before}, has left"),
        (None, None) => {}
    }
}
