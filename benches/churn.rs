//! The cost of a short connection: connect, one message there and back, close.

use crate::support::contest::{self, Contest, Question};
use crate::support::load::Churn;
use crate::support::peers::{Peer, Role};

mod support;

const PEERS: &[Peer] = &[Peer::Floor, Peer::Bucle, Peer::Tokio, Peer::Node];

/// Thirty-two connections at a time, each for one message of 64 bytes.
fn visits(contest: &mut Contest) {
    let parameter = "32 at a time".to_owned();
    let question = Question { group: "short connection", parameter, role: Role::Echo, bytes: None, peers: PEERS };
    contest.run(&question, |port| Churn::new(port, 32, 64));
}

fn main() {
    contest::main(visits);
}
