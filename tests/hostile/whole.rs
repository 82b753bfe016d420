//! Everything, one after another, to one process that has to live through it as a server in production would.

use super::siege::{Fault, Siege};
use super::vitals::MIB;
use super::{bytes, connecting, floods, leaving, machine, slow};

/// The most memory that the server may ever have, whatever was done to it.
const PEAK: u64 = 96 * MIB;

/// How much more it may have at the end than at the beginning: tables that have grown, and small holes between what stays, which
/// the allocator keeps.
const KEPT: u64 = 2 * MIB;

fn all_faults() -> impl Iterator<Item = &'static Fault> {
    let files = [connecting::FAULTS, leaving::FAULTS, slow::FAULTS, floods::FAULTS, bytes::FAULTS, machine::FAULTS];
    files.into_iter().flatten()
}

fn withstands_everything(kind: &str) {
    let siege = Siege::of(&[kind]);
    let vitals = siege.server.vitals();
    let before = vitals.memory();
    let (mut worst, mut peak) = (Default::default(), 0);
    for fault in all_faults() {
        let cost = siege.withstands(fault);
        worst = cost.testimony.worst.max(worst);
        peak = cost.peak.max(peak);
    }
    let (lines, after) = (siege.witness.testify().lines, vitals.memory());
    println!(
        "{kind}: {lines} lines of the witness answered in order, the slowest after {worst:.1?}; memory {before} KiB before, {after} after, {peak} at the peak"
    );
    siege.end();
    assert!(peak <= PEAK, "{peak} KiB at the peak");
    assert!(after <= before + KEPT, "{after} KiB are left, of {before} before");
}

#[test]
fn a_relay_withstands_everything() {
    withstands_everything("relay");
}

#[test]
fn a_chat_withstands_everything() {
    withstands_everything("chat");
}
