//! How many instructions a server executes for a message, outside the kernel. Callgrind counts them, so the result
//! hardly depends on what else the machine does. Two runs differ only in the number of messages; their difference is
//! the cost of messages.

use std::process::{Command, Stdio};

use crate::support::contest::Load;
use crate::support::load::{FanOut, PingPong};
use crate::support::peers::{self, Peer, Role, Served};

mod support;

const PEERS: [Peer; 3] = [Peer::Floor, Peer::Bucle, Peer::Tokio];
const VALGRIND: &[&str] = &["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"];

/// A question: its name, the role, the load, and the number of operations in a round of the load.
type Question = (&'static str, Role, fn(u16) -> Box<dyn Load>, u64);

const QUESTIONS: [Question; 5] = [
    ("echo, 1 connection", Role::Echo, |port| Box::new(PingPong::new(port, 1, 64, 1)), 1),
    ("echo, 50 connections", Role::Echo, |port| Box::new(PingPong::new(port, 50, 64, 1)), 50),
    ("echo, 1000 connections", Role::Echo, |port| Box::new(PingPong::new(port, 1000, 64, 1)), 1000),
    ("a line, 16 in flight, 50 connections", Role::Lines, |port| Box::new(PingPong::new(port, 50, 64, 16)), 800),
    ("a delivery, 100 members", Role::Relay, |port| Box::new(FanOut::new(port, 100, 64, 1)), 100),
];

fn main() {
    if peers::is_server() || std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let version = Command::new(VALGRIND[0]).arg("--version").stdout(Stdio::null()).status();
    if !version.is_ok_and(|status| status.success()) {
        return eprintln!("skipped: valgrind is not installed");
    }
    let names = PEERS.map(Peer::name).join(" | ");
    println!("| user instructions for | {names} |\n|---|{}", "---|".repeat(PEERS.len()));
    for question in &QUESTIONS {
        let counts = PEERS.map(|peer| format!("{:.0}", per_operation(peer, question)));
        println!("| {} | {} |", question.0, counts.join(" | "));
    }
}

fn per_operation(peer: Peer, question: &Question) -> f64 {
    const FEW: u64 = 1_000;
    const MORE: u64 = 6_000;
    let (few, few_operations) = count(peer, question, FEW);
    let (more, more_operations) = count(peer, question, MORE);
    (more - few) as f64 / (more_operations - few_operations) as f64
}

/// The instructions of a server from start to end, with about `operations` operations in between, and their exact
/// number.
fn count(peer: Peer, &(_, role, load, round): &Question, operations: u64) -> (u64, u64) {
    let served = Served::start_under(VALGRIND, peer, role);
    let mut load = load(served.port);
    // Wait for all answers of a round before the next one, so that turns are about as full in both runs.
    let rounds = operations.div_ceil(round);
    let done = (0..rounds).map(|_| load.exchange(round)).sum();
    drop(load);
    let report = served.end();
    let collected = report.lines().find_map(|line| line.split("Collected :").nth(1));
    let instructions = collected.and_then(|count| count.trim().parse().ok());
    (instructions.unwrap_or_else(|| panic!("callgrind reports {report:?}")), done)
}
