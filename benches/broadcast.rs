//! The cost of a broadcast, per delivery: one line to one member.

use crate::support::contest::{self, Contest, Question};
use crate::support::load::FanOut;
use crate::support::peers::{Peer, Role};

mod support;

const PEERS: &[Peer] = &[Peer::Floor, Peer::Bucle, Peer::TokioBuffered, Peer::Node];

/// Lines of 64 bytes, by the number of members, and by the number of lines at a time. A member sends when all members
/// have received the lines before.
fn by_members_and_lines(contest: &mut Contest) {
    for in_flight in [1, 16] {
        for members in [10, 100, 1000] {
            let group = if in_flight == 1 { "broadcast of a line" } else { "broadcast of 16 lines" };
            let parameter = format!("{members} members");
            let question = Question { group, parameter, role: Role::Relay, bytes: None, peers: PEERS };
            contest.run(&question, |port| FanOut::new(port, members, 64, in_flight));
        }
    }
}

fn main() {
    contest::main(by_members_and_lines);
}
