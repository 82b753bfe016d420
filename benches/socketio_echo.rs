//! The cost of an event of Socket.IO and its acknowledgement, over WebSocket, by events in flight and by size.

use crate::support::contest::{self, Contest, Question};
use crate::support::load::messages::{Kind, Messages};
use crate::support::peers::{Peer, Role};

mod support;

const PEERS: &[Peer] = &[Peer::Bucle, Peer::SocketIo];

fn echo(contest: &mut Contest, connections: usize, payload: usize, in_flight: u64) {
    let parameter = format!("{payload} bytes, {in_flight} in flight, {connections} connections");
    let bytes = (payload > 64).then_some(payload as u64);
    let question = Question { group: "Socket.IO echo", parameter, role: Role::Events, bytes, peers: PEERS };
    contest.run(&question, |port| Messages::new(port, Kind::Events, connections, payload, in_flight));
}

fn main() {
    contest::main(|contest| {
        // Short events: the cost of a turn, and the cost of an event when a turn is shared.
        echo(contest, 16, 20, 1);
        echo(contest, 16, 20, 32);
        // Longer ones: the cost of bytes.
        echo(contest, 64, 1024, 4);
        echo(contest, 16, 16 * 1024, 2);
    });
}
