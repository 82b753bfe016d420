//! The memory, descriptors and processor time of a process, as the kernel reports them (proc(5)).

use std::fs;

/// A MiB, in the KiB in which the kernel reports memory.
pub const MIB: u64 = 1024;

/// A process that a test observes.
#[derive(Clone, Copy)]
pub struct Vitals {
    pid: u32,
}

impl Vitals {
    pub fn of(pid: u32) -> Vitals {
        Vitals { pid }
    }

    /// The anonymous memory of the process (without files) now, in KiB.
    pub fn memory(self) -> u64 {
        self.status("RssAnon:")
    }

    /// The peak of its memory (with files) since it began or since [`forget_peak`](Self::forget_peak), in KiB.
    pub fn peak(self) -> u64 {
        self.status("VmHWM:")
    }

    /// Resets the peak. Where the kernel does not support this, the peak covers the whole life of the process.
    pub fn forget_peak(self) {
        let _ = fs::write(format!("/proc/{}/clear_refs", self.pid), "5");
    }

    pub fn descriptors(self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid)).map_or(0, Iterator::count)
    }

    /// Processor time, in ticks of 10 ms.
    pub fn ticks(self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        // The name in parentheses may contain spaces, so count the fields after it: 14 and 15 of proc(5).
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        fields.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
    }

    fn status(self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    }
}
