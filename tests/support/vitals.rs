//! What the kernel says about a process: its memory, its descriptors, its processor time (proc(5)).

use std::fs;

/// Kernel memory figures are in KiB; a MiB has so many.
pub const MIB: u64 = 1024;

/// A process that is looked at from outside.
#[derive(Clone, Copy)]
pub struct Vitals {
    pid: u32,
}

impl Vitals {
    pub fn of(pid: u32) -> Vitals {
        Vitals { pid }
    }

    /// What it holds in memory of its own now, without files, in KiB.
    pub fn memory(self) -> u64 {
        self.status("RssAnon:")
    }

    /// The most that was in memory since it began or since [`forget_peak`](Self::forget_peak), in KiB, files included.
    pub fn peak(self) -> u64 {
        self.status("VmHWM:")
    }

    /// From now on the peak is counted anew. Where the kernel does not offer that, it stays the peak of the whole life.
    pub fn forget_peak(self) {
        let _ = fs::write(format!("/proc/{}/clear_refs", self.pid), "5");
    }

    pub fn descriptors(self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid)).map_or(0, Iterator::count)
    }

    /// Processor time, in ticks of 10 ms.
    pub fn ticks(self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        // The name in parentheses may have spaces in it; the fields are counted behind it: 14 and 15 of proc(5).
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        fields.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
    }

    fn status(self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    }
}
