//! The cost of an echoed WebSocket message, by messages in flight and by size.

use crate::support::contest::{self, Contest, Question};
use crate::support::load::messages::{Kind, Messages};
use crate::support::peers::{Peer, Role};

mod support;

const PEERS: &[Peer] = &[Peer::Tungstenite, Peer::Bucle, Peer::Ws];

fn echo(contest: &mut Contest, connections: usize, message: usize, in_flight: u64) {
    let parameter = format!("{message} bytes, {in_flight} in flight, {connections} connections");
    let bytes = (message > 64).then_some(message as u64);
    let question = Question { group: "WebSocket echo", parameter, role: Role::Messages, bytes, peers: PEERS };
    contest.run(&question, |port| Messages::new(port, Kind::Binary, connections, message, in_flight));
}

fn main() {
    contest::main(|contest| {
        // Short messages: the cost of a turn, and the cost of a message when a turn is shared.
        echo(contest, 16, 20, 1);
        echo(contest, 16, 20, 32);
        // Longer ones: the cost of bytes.
        echo(contest, 64, 1024, 4);
        echo(contest, 16, 16 * 1024, 2);
        echo(contest, 8, 64 * 1024, 2);
    });
}
