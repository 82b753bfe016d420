//! The cost of a line when many are in flight and the server writes each of them separately. Gathering exists for
//! this case.

use crate::support::contest::{self, Contest, Question};
use crate::support::load::PingPong;
use crate::support::peers::{Peer, Role};

mod support;

const PEERS: &[Peer] = &[Peer::Floor, Peer::Bucle, Peer::TokioBuffered, Peer::Tokio, Peer::Node];

/// Lines of 64 bytes on 50 connections, by lines in flight. The floor and the buffered tokio gather explicitly.
fn by_lines_in_flight(contest: &mut Contest) {
    for in_flight in [1, 16] {
        let parameter = format!("{in_flight} in flight");
        let question = Question { group: "a write per line", parameter, role: Role::Lines, bytes: None, peers: PEERS };
        contest.run(&question, |port| PingPong::new(port, 50, 64, in_flight));
    }
}

fn main() {
    contest::main(by_lines_in_flight);
}
