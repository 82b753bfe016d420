//! The plan: whether the machine can do it, before anything is connected.
//!
//! ```text
//!   a process     its connections + 64 descriptors        ≤  the hard limit
//!   a source      ports of ip_local_port_range            ≥  its connections, for there is one target
//!   a connection  some KiB in the kernel, one or so here  ≤  what memory is available (only a warning)
//! ```
//!
//! The arithmetic takes numbers and gives numbers; [`Machine::look`] is where they come from.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};

use super::check::Expect;
use super::options::{Load, Procs, Sources};
use super::units::grouped;

/// Descriptors that a process needs besides its connections: the poll, the log, standard streams, and some to spare.
const SPARE_DESCRIPTORS: u64 = 64;

/// What an idle connection costs the kernel: two socket structures with their inodes and descriptors when the server is on
/// the same machine, one of them otherwise; from /proc/slabinfo (TCP, sock_inode_cache, filp, dentry, eventpoll_epi).
const KERNEL_BYTES: u64 = 4 * 1024;

/// What a connection costs this process.
const CLIENT_BYTES: u64 = 1024;

/// What the machine has.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// The hard limit of descriptors a process.
    pub(crate) descriptors: u64,
    pub(crate) ports: u64,
    /// The first of them.
    pub(crate) first_port: u16,
    pub(crate) memory: u64,
}

/// What the run needs and what there is.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) connections: u64,
    pub(crate) procs: u64,
    pub(crate) descriptors_needed: u64,
    pub(crate) machine: Machine,
    /// Empty: the system chooses.
    pub(crate) sources: Vec<IpAddr>,
    /// Whether sockets have to be bound to them.
    pub(crate) binds: bool,
    pub(crate) tries: Vec<String>,
}

impl Plan {
    /// `targets`: the addresses of the target, none when they are not known.
    pub(crate) fn new(load: &Load, machine: Machine, targets: &[IpAddr]) -> Plan {
        let connections = load.connections;
        let room = machine.descriptors.saturating_sub(SPARE_DESCRIPTORS).max(1);
        let procs_needed = connections.div_ceil(room);
        let procs = match load.procs {
            Procs::Auto => procs_needed,
            Procs::Count(count) => count.min(connections),
        };
        let sources_needed = connections.div_ceil(machine.ports.max(1));
        let is_loopback = !targets.is_empty() && targets.iter().all(IpAddr::is_loopback);
        let has_v4 = targets.iter().any(IpAddr::is_ipv4);
        let (sources, binds) = match &load.sources {
            Sources::These(list) => (list.clone(), true),
            Sources::Auto if is_loopback && has_v4 && sources_needed > 1 => (loopback(sources_needed), true),
            // Bound to the one it has anyway where its ports are dealt out, see `assigned_ports`.
            Sources::Auto if is_loopback => {
                let one = targets.iter().find(|ip| ip.is_ipv4()).or(targets.first()).copied();
                (one.into_iter().collect(), connections > machine.ports / 2)
            }
            Sources::Auto => (Vec::new(), false),
        };
        let descriptors_needed = connections.div_ceil(procs) + SPARE_DESCRIPTORS;
        let mut plan = Plan { connections, procs, descriptors_needed, machine, sources, binds, tries: Vec::new() };
        plan.tries = plan.advice(load, procs_needed, sources_needed, is_loopback && has_v4);
        plan
    }

    fn advice(&self, load: &Load, procs_needed: u64, sources_needed: u64, is_loopback: bool) -> Vec<String> {
        let mut tries = Vec::new();
        if !self.has_descriptors() {
            let can_divide = !matches!(load.expect, Expect::Fanout(_)) && self.machine.descriptors > SPARE_DESCRIPTORS;
            if can_divide {
                tries.push(format!("--procs {procs_needed}"));
            } else if self.machine.descriptors > SPARE_DESCRIPTORS {
                tries.push(format!("-c {}", self.machine.descriptors - SPARE_DESCRIPTORS));
            } else {
                tries.push(format!("ulimit -Hn {}", self.descriptors_needed));
            }
        }
        if !self.has_ports() {
            if is_loopback {
                let last = loopback(sources_needed).last().map_or(String::new(), ToString::to_string);
                tries.push(format!("--source 127.0.0.2-{last}"));
            } else {
                tries.push(format!("-c {}", self.ports_available()));
                tries.push(format!("--source IP-IP with {sources_needed} addresses of this machine"));
            }
        }
        tries
    }

    fn ports_available(&self) -> u64 {
        (self.sources.len().max(1) as u64).saturating_mul(self.machine.ports)
    }

    /// The source ports, first and number, if they have to be dealt out one by one.
    ///
    /// Linux looks for a free port among the even ones first, one after the other, and then among the odd: beyond half of
    /// a source's ports each connect costs it a millisecond and more. Who names the port spares it the search.
    pub(crate) fn assigned_ports(&self) -> Option<(u16, u64)> {
        let is_crowded = self.connections > self.ports_available() / 2;
        (self.binds && is_crowded).then_some((self.machine.first_port, self.machine.ports))
    }

    fn has_descriptors(&self) -> bool {
        self.descriptors_needed <= self.machine.descriptors
    }

    fn has_ports(&self) -> bool {
        self.connections <= self.ports_available()
    }

    fn bytes(&self) -> (u64, u64) {
        (self.connections.saturating_mul(KERNEL_BYTES), self.connections.saturating_mul(CLIENT_BYTES))
    }

    fn has_memory(&self) -> bool {
        let (kernel, client) = self.bytes();
        kernel.saturating_add(client) <= self.machine.memory
    }

    /// Memory only warns: the estimate is rough, and the kernel says no when it has to.
    pub(crate) fn is_fine(&self) -> bool {
        self.has_descriptors() && self.has_ports()
    }

    /// Why not; a sentence a limit.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !self.has_descriptors() {
            problems.push(format!(
                "{} connections in {} need {} descriptors a process; the limit is {}",
                grouped(self.connections),
                if self.procs == 1 { "one process".to_owned() } else { format!("{} processes", self.procs) },
                grouped(self.descriptors_needed),
                grouped(self.machine.descriptors)
            ));
        }
        if !self.has_ports() {
            let sources = self.sources.len().max(1);
            problems.push(format!(
                "{} connections to one target need as many ports; {sources} source address{} have {}",
                grouped(self.connections),
                if sources == 1 { "" } else { "es" },
                grouped(self.ports_available())
            ));
        }
        problems
    }

    pub(crate) fn warning(&self) -> Option<String> {
        let (kernel, client) = self.bytes();
        (!self.has_memory()).then(|| {
            format!(
                "{} connections may take {} MiB in the kernel and {} MiB here; {} MiB are available",
                grouped(self.connections),
                grouped(kernel >> 20),
                grouped(client >> 20),
                grouped(self.machine.memory >> 20)
            )
        })
    }

    /// The plan in lines, for people.
    pub(crate) fn text(&self) -> String {
        let (kernel, client) = self.bytes();
        let sources = match &self.sources[..] {
            [] => "the system's source address".to_owned(),
            [one] => one.to_string(),
            [first, .., last] => format!("{} sources {first} to {last}", self.sources.len()),
        };
        let mark = |is_fine: bool| if is_fine { "ok" } else { "NOT ENOUGH" };
        format!(
            "connections  {} in {} process{}\n\
             descriptors  {} a process of {}: {}\n\
             ports        {} of {} from {sources}: {}\n\
             memory       {} MiB in the kernel, {} MiB here, of {} MiB: {}\n",
            grouped(self.connections),
            self.procs,
            if self.procs == 1 { "" } else { "es" },
            grouped(self.descriptors_needed),
            grouped(self.machine.descriptors),
            mark(self.has_descriptors()),
            grouped(self.connections),
            grouped(self.ports_available()),
            mark(self.has_ports()),
            grouped(kernel.div_ceil(1 << 20)),
            grouped(client.div_ceil(1 << 20)),
            grouped(self.machine.memory >> 20),
            if self.has_memory() { "ok" } else { "tight" },
        )
    }

    pub(crate) fn json(&self, exit: u8) -> Value {
        let (kernel, client) = self.bytes();
        let sources: Vec<String> = self.sources.iter().map(ToString::to_string).collect();
        json!({
            "schema": "bucle-load-plan/1",
            "connections": self.connections,
            "procs": self.procs,
            "fds": { "needed": self.descriptors_needed, "limit": self.machine.descriptors, "ok": self.has_descriptors() },
            "ports": {
                "needed": self.connections, "per_source": self.machine.ports, "sources": sources, "ok": self.has_ports(),
            },
            "memory": {
                "kernel_bytes": kernel, "client_bytes": client, "available_bytes": self.machine.memory,
                "ok": self.has_memory(),
            },
            "try": self.tries,
            "ok": self.is_fine(),
            "exit": exit,
        })
    }
}

/// So many addresses from 127.0.0.2 on; the first and last of each 256 are left out.
fn loopback(count: u64) -> Vec<IpAddr> {
    let first = u32::from(Ipv4Addr::new(127, 0, 0, 2));
    let last = u32::from(Ipv4Addr::new(127, 255, 255, 254));
    let usable = (first..=last).filter(|bits| !matches!(bits & 255, 0 | 255));
    usable.take(usize::try_from(count).unwrap_or(usize::MAX)).map(|bits| Ipv4Addr::from(bits).into()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::options;
    use super::*;

    fn plan(args: &[&str], target: &str) -> Plan {
        let matches = options::command().try_get_matches_from([&["load"], args].concat()).unwrap();
        let machine = Machine { descriptors: 20_000, ports: 28_232, first_port: 32_768, memory: 1 << 30 };
        Plan::new(&options::load_of(&matches).unwrap(), machine, &[target.parse().unwrap()])
    }

    #[test]
    fn limits() {
        // Arguments, target; processes, descriptors, sources, fine; what to try.
        type Row<'a> = (&'a [&'a str], &'a str, u64, u64, usize, bool, &'a [&'a str]);
        let table: &[Row<'_>] = &[
            (&[], "127.0.0.1", 1, 74, 1, true, &[]),
            (&["-c", "19936"], "127.0.0.1", 1, 20_000, 1, true, &[]),
            (&["-c", "19937"], "127.0.0.1", 1, 20_001, 1, false, &["--procs 2"]),
            (&["-c", "19937", "--procs", "auto"], "127.0.0.1", 2, 10_033, 1, true, &[]),
            (&["-c", "100k", "--procs", "auto"], "127.0.0.1", 6, 16_731, 4, true, &[]),
            (&["-c", "100k"], "127.0.0.1", 1, 100_064, 4, false, &["--procs 6"]),
            (&["-c", "1M", "--procs", "auto", "--hold"], "127.0.0.1", 51, 19_672, 36, true, &[]),
            (&["-c", "3", "--procs", "5"], "127.0.0.1", 3, 65, 1, true, &[]),
            (&["-c", "20k", "--expect", "fanout"], "127.0.0.1", 1, 20_064, 1, false, &["-c 19936"]),
            (
                &["-c", "30k", "--procs", "auto"],
                "10.0.0.1",
                2,
                15_064,
                0,
                false,
                &["-c 28232", "--source IP-IP with 2 addresses of this machine"],
            ),
            (
                &["-c", "30k", "--procs", "2", "--source", "127.0.0.2"],
                "127.0.0.1",
                2,
                15_064,
                1,
                false,
                &["--source 127.0.0.2-127.0.0.3"],
            ),
            (&["-c", "30k", "--procs", "2", "--source", "10.0.0.2-10.0.0.3"], "10.0.0.1", 2, 15_064, 2, true, &[]),
        ];
        for (args, target, procs, descriptors, sources, is_fine, tries) in table {
            let plan = plan(args, target);
            let got = (plan.procs, plan.descriptors_needed, plan.sources.len(), plan.is_fine(), &plan.tries[..]);
            let want = (*procs, *descriptors, *sources, *is_fine, &tries.map_to_strings()[..]);
            assert_eq!(got, want, "{args:?}");
            assert_eq!(plan.problems().is_empty(), *is_fine);
        }
    }

    trait Strings {
        fn map_to_strings(&self) -> Vec<String>;
    }

    impl Strings for &[&str] {
        fn map_to_strings(&self) -> Vec<String> {
            self.iter().map(|text| (*text).to_owned()).collect()
        }
    }

    #[test]
    fn memory_only_warns() {
        let plan = plan(&["-c", "1M", "--procs", "auto"], "127.0.0.1");
        assert!(plan.is_fine() && plan.warning().is_some());
        assert_eq!(plan.sources[0].to_string(), "127.0.0.2");
    }
}
