//! The cost of an echoed message, by connections, by messages in flight, and by size.

use crate::support::contest::{self, Contest, Question};
use crate::support::load::PingPong;
use crate::support::peers::{Peer, Role};

mod support;

const PEERS: &[Peer] = &[Peer::Floor, Peer::Bucle, Peer::Tokio, Peer::Node];

fn echo(contest: &mut Contest, group: &str, connections: usize, message: usize, in_flight: u64) {
    let parameter = match (in_flight, message) {
        (1, 64) if connections == 1 => "1 connection".to_owned(),
        (1, 64) => format!("{connections} connections"),
        (1, _) => format!("{message} bytes"),
        _ => format!("{in_flight} in flight, {connections} connections"),
    };
    let bytes = (message > 64).then_some(message as u64);
    let question = Question { group, parameter, role: Role::Echo, bytes, peers: PEERS };
    contest.run(&question, |port| PingPong::new(port, connections, message, in_flight));
}

/// The cost of a short message, by the number of active connections. With one connection each message has a turn of
/// its own. With many connections a turn is shared, and the work per socket dominates.
fn by_connections(contest: &mut Contest) {
    for connections in [1, 50, 1000] {
        echo(contest, "echo of 64 bytes", connections, 64, 1);
    }
    echo(contest, "echo of 64 bytes", 50, 64, 16);
}

/// The cost of bytes, by the size of a message: for large messages, nearly all of it is the kernel's copying.
fn by_size(contest: &mut Contest) {
    for message in [1024, 16 * 1024, 64 * 1024] {
        echo(contest, "echo, 50 connections", 50, message, 1);
    }
}

fn main() {
    contest::main(|contest| {
        by_connections(contest);
        by_size(contest);
    });
}
