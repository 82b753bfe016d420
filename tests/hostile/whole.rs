//! All faults, one after another, against one process: it must survive them as a server in production would.

use super::harness::{Fault, Harness};
use super::vitals::MIB;
use super::{bytes, connecting, floods, leaving, machine, slow};

/// The most memory that the server may ever use, during any fault.
const PEAK: u64 = 96 * MIB;

/// How much more memory it may use at the end than at the beginning. Tables have grown, and the allocator keeps small
/// free blocks between blocks that are still in use.
const KEPT: u64 = 2 * MIB;

fn all_faults() -> impl Iterator<Item = &'static Fault> {
    let files = [connecting::FAULTS, leaving::FAULTS, slow::FAULTS, floods::FAULTS, bytes::FAULTS, machine::FAULTS];
    files.into_iter().flatten()
}

fn survives_everything(kind: &str) {
    let harness = Harness::of(&[kind]);
    let vitals = harness.server.vitals();
    let before = vitals.memory();
    let (mut worst, mut peak) = (Default::default(), 0);
    for fault in all_faults() {
        let cost = harness.survives(fault);
        worst = cost.report.worst.max(worst);
        peak = cost.peak.max(peak);
    }
    let (lines, after) = (harness.healthy.report().lines, vitals.memory());
    println!(
        "{kind}: {lines} lines of the healthy client came back in order, the slowest after {worst:.1?}; memory {before} KiB before, {after} after, {peak} at the peak"
    );
    harness.end();
    assert!(peak <= PEAK, "{peak} KiB at the peak");
    assert!(after <= before + KEPT, "{after} KiB are left, of {before} before");
}

#[test]
fn a_relay_survives_everything() {
    survives_everything("relay");
}

#[test]
fn a_chat_survives_everything() {
    survives_everything("chat");
}
