//! All faults, one after another, against one process: it must survive them as a server in production would.

use super::harness::{Fault, Harness};
use super::vitals::MIB;
use super::{bytes, connecting, floods, http, leaving, machine, slow, socket_io, websocket};

/// The most memory that the server may ever use, during any fault.
const PEAK: u64 = 96 * MIB;

/// How much more memory it may use at the end than at the beginning. Tables have grown, and the allocator keeps small
/// free blocks between blocks that are still in use.
const KEPT: u64 = 2 * MIB;

const TCP: &[&[Fault]] =
    &[connecting::FAULTS, leaving::FAULTS, slow::FAULTS, floods::FAULTS, bytes::FAULTS, machine::FAULTS];

/// The faults of a server with `--http` that are made for this kind of server.
fn web_faults(kind: &str) -> Vec<Fault> {
    let all = http::FAULTS.iter().chain(websocket::FAULTS);
    all.filter(|fault| fault.args.starts_with(kind)).copied().collect()
}

fn survives_everything(args: &[&str], faults: &[Fault]) {
    let harness = Harness::of(args);
    let kind = args[0];
    let vitals = harness.server.vitals();
    let before = vitals.memory();
    let (mut worst, mut peak) = (Default::default(), 0);
    for fault in faults {
        let cost = harness.survives(fault);
        worst = cost.report.worst.max(worst);
        peak = cost.peak.max(peak);
    }
    let (lines, after) = (harness.report().lines, vitals.memory());
    println!(
        "{kind}: {lines} lines of the healthy clients came back in order, the slowest after {worst:.1?}; memory {before} KiB before, {after} after, {peak} at the peak"
    );
    harness.end();
    assert!(peak <= PEAK, "{peak} KiB at the peak");
    assert!(after <= before + KEPT, "{after} KiB are left, of {before} before");
}

#[test]
fn a_relay_survives_everything() {
    survives_everything(&["relay"], &TCP.concat());
}

#[test]
fn a_chat_survives_everything() {
    survives_everything(&["chat"], &TCP.concat());
}

#[test]
fn a_web_echo_survives_everything() {
    survives_everything(&["echo", "--http", "0", "--handshake-timeout", "3s"], &web_faults("echo"));
}

#[test]
fn a_web_chat_survives_everything() {
    survives_everything(&["chat", "--http", "0", "--handshake-timeout", "3s"], &web_faults("chat"));
}

/// Thousands of sessions, each of several blocks, leave many free blocks between those that stay. When all faults come
/// again, they use the free ones. One round may need more memory than the rounds before, because more sessions happen to
/// be open at the same time. A leak would need more in every round.
#[test]
fn a_server_of_sessions_survives_everything_again() {
    let harness = Harness::of(&["chat", "--http", "0"]);
    let vitals = harness.server.vitals();
    let mut after_each: Vec<u64> = Vec::new();
    let is_steady = |after_each: &[u64]| match after_each {
        [before @ .., last] if before.len() >= 2 => before.iter().any(|earlier| *last <= earlier + KEPT),
        _ => false,
    };
    while after_each.len() < 6 && !is_steady(&after_each) {
        for fault in socket_io::FAULTS {
            let cost = harness.survives(fault);
            assert!(cost.peak <= PEAK, "{}: {} KiB at the peak", fault.name, cost.peak);
        }
        after_each.push(vitals.memory());
    }
    println!("memory after each time: {after_each:?} KiB");
    harness.end();
    assert!(is_steady(&after_each), "{after_each:?} KiB");
}
