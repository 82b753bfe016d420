//! The cost of an idle connection: bytes of the server's own memory. The kernel's memory for a connection, about four
//! thousand bytes, is the same for every server and not counted.

use crate::support::load::PingPong;
use crate::support::machine;
use crate::support::peers::{self, Peer, Role, Served};

mod support;

/// Half of the connections that one process may commonly open, and nearly all of them, to show whether more
/// connections cost more each.
const QUESTIONS: [(usize, &[Peer]); 2] =
    [(10_000, &[Peer::Floor, Peer::Bucle, Peer::Tokio, Peer::Node]), (19_000, &[Peer::Floor, Peer::Bucle])];

fn main() {
    let limit = machine::raise_descriptor_limit();
    if peers::is_server() || std::env::args().any(|arg| arg == "--test") {
        return;
    }
    println!("| idle connections | server | bytes each |\n|---|---|---|");
    for (connections, peers) in QUESTIONS {
        if connections + 100 > limit {
            eprintln!("skipped: {connections} connections, for {limit} open files are allowed");
            continue;
        }
        for &peer in peers.iter().filter(|peer| peer.is_installed()) {
            match bytes_each(peer, connections) {
                Some(bytes) => println!("| {connections} | {} | {bytes:.0} |", peer.name()),
                None => eprintln!("skipped: this system does not report the memory of a process"),
            }
        }
    }
}

/// How much the server's memory grows per connection. A few connections come first, so that one-time allocations are
/// not counted.
fn bytes_each(peer: Peer, connections: usize) -> Option<f64> {
    const FEW: usize = 10;
    let served = Served::start(peer, Role::Echo);
    let mut few = PingPong::new(served.port, FEW, 64, 1);
    few.wait_until_all_are_connected();
    let before = served.memory()?;
    let mut load = PingPong::new(served.port, connections, 64, 1);
    load.wait_until_all_are_connected();
    let grown = served.memory()? as f64 - before as f64;
    Some(grown / connections as f64)
}
