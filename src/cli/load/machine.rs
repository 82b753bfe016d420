//! Reads the limits of the machine for the plan: descriptors, ports, memory.

use bucle::process;

use super::plan::Machine;

/// Linux's default port range, used if the range cannot be read: the first port, and how many.
const PORTS: (u16, u64) = (32_768, 60_999 - 32_768 + 1);

/// Reads the limits, and raises the soft limit of descriptors to the hard limit.
pub(crate) fn limits() -> Machine {
    let number = |text: &str| text.parse::<u64>().ok();
    let ports = || {
        let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
        let mut bounds = text.split_whitespace().map(number);
        let (low, high) = (bounds.next()??, bounds.next()??);
        Some((u16::try_from(low).ok()?, high.checked_sub(low)? + 1))
    };
    let memory = || {
        let text = std::fs::read_to_string("/proc/meminfo").ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        Some(number(line.trim().strip_suffix(" kB")?)? * 1024)
    };
    let (first_port, ports) = ports().unwrap_or(PORTS);
    Machine {
        descriptors: process::raise_descriptor_limit().min(i64::MAX as u64),
        ports,
        first_port,
        memory: memory().unwrap_or(i64::MAX as u64),
    }
}
