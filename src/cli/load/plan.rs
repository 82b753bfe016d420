//! The plan: checks, before anything is connected, that the machine can make the connections.
//!
//! ```text
//!   descriptors   connections of a process + 64   ≤  the hard limit
//!                 2 for each process + 64         ≤  the same, in the process that starts the others
//!   ports         connections of a source address ≤  the size of ip_local_port_range, because there is one target
//!                 (a unix socket has no ports)
//!   message       the longest                     ≤  --max-reply
//!   memory        about 5 KiB a connection        ≤  the available memory (only a warning)
//! ```
//!
//! This file only calculates; `machine` reads the limits.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};

use super::check::Expect;
use super::options::{Load, MOST_PROCS, Procs, Sources};
use super::units::grouped;
use crate::cli::target::Address;

/// Descriptors that a process needs besides its connections: the poll, the log, the standard streams, and a reserve.
const SPARE_DESCRIPTORS: u64 = 64;

/// Descriptors that a process needs for each worker that it starts: the pipes of its standard input and output.
const WORKER_DESCRIPTORS: u64 = 2;

/// The kernel memory of an idle connection to a server on the same machine, which has two sockets with their inodes and
/// descriptors; from /proc/slabinfo (TCP, sock_inode_cache, filp, dentry, eventpoll_epi). To another machine it is
/// half.
const KERNEL_BYTES: u64 = 4 * 1024;

/// The memory of a connection in this process.
const CLIENT_BYTES: u64 = 1024;

/// The limits of the machine.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// The hard limit of descriptors of a process.
    pub(crate) descriptors: u64,
    /// How many ports a source address has for one target.
    pub(crate) ports: u64,
    pub(crate) first_port: u16,
    /// The available memory in bytes.
    pub(crate) memory: u64,
}

/// What a run needs, and what the machine has.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) connections: u64,
    pub(crate) procs: u64,
    pub(crate) descriptors_needed: u64,
    pub(crate) ports_needed: u64,
    /// How long a message can be, and the limit of `--max-reply`.
    pub(crate) longest_message: u64,
    pub(crate) max_reply: u64,
    pub(crate) machine: Machine,
    /// The source addresses; empty: the system chooses.
    pub(crate) sources: Vec<IpAddr>,
    /// Whether sockets must be bound to a source address.
    pub(crate) binds: bool,
    /// What to type if a limit is too low.
    pub(crate) tries: Vec<String>,
}

impl Plan {
    /// `targets`: the addresses of the target; empty if they are not known.
    pub(crate) fn new(load: &Load, machine: Machine, targets: &[IpAddr]) -> Plan {
        let connections = load.connections;
        let room = machine.descriptors.saturating_sub(SPARE_DESCRIPTORS).max(1);
        let procs_needed = connections.div_ceil(room);
        let procs = match load.procs {
            Procs::Auto => procs_needed.min(MOST_PROCS),
            Procs::Count(count) => count.min(connections),
        };
        let ports_needed = if matches!(load.place, Address::Unix(_)) { 0 } else { connections };
        let sources_needed = ports_needed.div_ceil(machine.ports.max(1));
        let is_loopback = !targets.is_empty() && targets.iter().all(IpAddr::is_loopback);
        let has_v4 = targets.iter().any(IpAddr::is_ipv4);
        let (sources, binds) = match &load.sources {
            Sources::These(list) => (list.clone(), true),
            Sources::Auto if is_loopback && has_v4 && sources_needed > 1 => (loopback(sources_needed), true),
            // One source address is enough. It is bound explicitly only if its ports are assigned, see
            // `assigned_ports`.
            Sources::Auto if is_loopback => {
                let one = targets.iter().find(|ip| ip.is_ipv4()).or(targets.first()).copied();
                (one.into_iter().collect(), connections > machine.ports / 2)
            }
            Sources::Auto => (Vec::new(), false),
        };
        let descriptors_needed = of_worker(connections, procs).max(of_parent(procs));
        let (longest_message, max_reply) = (load.longest_message(), load.max_reply);
        let tries = Vec::new();
        let mut plan = Plan {
            connections,
            procs,
            descriptors_needed,
            ports_needed,
            longest_message,
            max_reply,
            machine,
            sources,
            binds,
            tries,
        };
        plan.tries = plan.advice(load, procs_needed, sources_needed, is_loopback && has_v4);
        plan
    }

    /// What to type for each limit that is too low.
    fn advice(&self, load: &Load, procs_needed: u64, sources_needed: u64, is_loopback: bool) -> Vec<String> {
        let mut tries = Vec::new();
        if !self.has_descriptors() {
            let room = self.machine.descriptors.saturating_sub(SPARE_DESCRIPTORS);
            let most = (room / WORKER_DESCRIPTORS).min(MOST_PROCS);
            let can_divide = !matches!(load.expect, Expect::Fanout(_));
            tries.push(match room {
                0 => format!("ulimit -Hn {}", self.descriptors_needed),
                _ if can_divide && procs_needed <= most.max(1) => format!("--procs {procs_needed}"),
                _ if can_divide && most > 1 => format!("-c {} --procs {most}", most.saturating_mul(room)),
                _ => format!("-c {room}"),
            });
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
        if !self.has_short_messages() {
            tries.push(format!("--max-reply {}", self.longest_message));
        }
        tries
    }

    fn ports_available(&self) -> u64 {
        (self.sources.len().max(1) as u64).saturating_mul(self.machine.ports)
    }

    /// The source ports, the first and how many, if each connection is assigned one.
    ///
    /// Linux searches for a free port one by one, first among the even ports and then among the odd. When more than
    /// half of the ports of a source are in use, each connect costs a millisecond or more. Naming the port avoids the
    /// search.
    pub(crate) fn assigned_ports(&self) -> Option<(u16, u64)> {
        let is_crowded = self.connections > self.ports_available() / 2;
        (self.binds && is_crowded).then_some((self.machine.first_port, self.machine.ports))
    }

    fn has_descriptors(&self) -> bool {
        self.descriptors_needed <= self.machine.descriptors
    }

    fn has_ports(&self) -> bool {
        self.ports_needed <= self.ports_available()
    }

    fn has_short_messages(&self) -> bool {
        self.longest_message <= self.max_reply
    }

    fn bytes(&self) -> (u64, u64) {
        (self.connections.saturating_mul(KERNEL_BYTES), self.connections.saturating_mul(CLIENT_BYTES))
    }

    fn has_memory(&self) -> bool {
        let (kernel, client) = self.bytes();
        kernel.saturating_add(client) <= self.machine.memory
    }

    /// Whether the run can start. Too little memory is only a warning: the estimate is rough, and the kernel enforces
    /// the real limit.
    pub(crate) fn is_fine(&self) -> bool {
        self.has_descriptors() && self.has_ports() && self.has_short_messages()
    }

    /// The limits that are too low, each as a sentence.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let limit = self.machine.descriptors;
        if !self.has_descriptors() && of_worker(self.connections, self.procs) <= limit {
            problems.push(format!(
                "the process that starts {} others needs {} descriptors; the limit is {}",
                grouped(self.procs),
                grouped(self.descriptors_needed),
                grouped(limit)
            ));
        } else if !self.has_descriptors() {
            problems.push(format!(
                "{} connections in {} need {} descriptors per process; the limit is {}",
                grouped(self.connections),
                if self.procs == 1 { "one process".to_owned() } else { format!("{} processes", self.procs) },
                grouped(of_worker(self.connections, self.procs)),
                grouped(limit)
            ));
        }
        if !self.has_ports() {
            let sources = self.sources.len().max(1);
            problems.push(format!(
                "{} connections to one target need one port each; {sources} source address{} {}",
                grouped(self.connections),
                if sources == 1 { " has" } else { "es have" },
                grouped(self.ports_available())
            ));
        }
        if !self.has_short_messages() {
            problems.push(format!(
                "a message may have up to {} bytes; the limit of --max-reply is {}",
                grouped(self.longest_message),
                grouped(self.max_reply)
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

    /// The plan as text, a line for each limit.
    pub(crate) fn text(&self) -> String {
        let (kernel, client) = self.bytes();
        let sources = match &self.sources[..] {
            [] => "the system's source address".to_owned(),
            [one] => one.to_string(),
            [first, .., last] => format!("{} sources {first} to {last}", self.sources.len()),
        };
        let mark = |is_fine: bool| if is_fine { "ok" } else { "NOT ENOUGH" };
        let (longest, limit) = (grouped(self.longest_message), grouped(self.max_reply));
        let message = match self.longest_message {
            0 => String::new(),
            _ => format!("message      up to {longest} of {limit} bytes: {}\n", mark(self.has_short_messages())),
        };
        let ports = match self.ports_needed {
            0 => String::new(),
            needed => format!(
                "ports        {} of {} from {sources}: {}\n",
                grouped(needed),
                grouped(self.ports_available()),
                mark(self.has_ports())
            ),
        };
        format!(
            "connections  {} in {} process{}\n\
             descriptors  {} of {} per process: {}\n\
             {ports}\
             {message}\
             memory       {} MiB in the kernel, {} MiB here, of {} MiB: {}\n",
            grouped(self.connections),
            self.procs,
            if self.procs == 1 { "" } else { "es" },
            grouped(self.descriptors_needed),
            grouped(self.machine.descriptors),
            mark(self.has_descriptors()),
            grouped(kernel.div_ceil(1 << 20)),
            grouped(client.div_ceil(1 << 20)),
            grouped(self.machine.memory >> 20),
            if self.has_memory() { "ok" } else { "tight" },
        )
    }

    /// The plan as JSON: schema `bucle-load-plan/1`.
    pub(crate) fn json(&self, exit: u8) -> Value {
        let (kernel, client) = self.bytes();
        let sources: Vec<String> = self.sources.iter().map(ToString::to_string).collect();
        json!({
            "schema": "bucle-load-plan/1",
            "connections": self.connections,
            "procs": self.procs,
            "fds": { "needed": self.descriptors_needed, "limit": self.machine.descriptors, "ok": self.has_descriptors() },
            "ports": {
                "needed": self.ports_needed, "per_source": self.machine.ports, "sources": sources, "ok": self.has_ports(),
            },
            "message": { "bytes": self.longest_message, "limit": self.max_reply, "ok": self.has_short_messages() },
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

/// The descriptors of the fullest process that connects.
fn of_worker(connections: u64, procs: u64) -> u64 {
    connections.div_ceil(procs) + SPARE_DESCRIPTORS
}

/// The descriptors of the process that starts the others. A single process starts none.
fn of_parent(procs: u64) -> u64 {
    if procs > 1 { procs * WORKER_DESCRIPTORS + SPARE_DESCRIPTORS } else { 0 }
}

/// The first `count` addresses from 127.0.0.2 on, without those that end in 0 or 255.
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
        plan_with(20_000, args, target)
    }

    fn plan_with(descriptors: u64, args: &[&str], target: &str) -> Plan {
        let matches = options::command().try_get_matches_from([&["load"], args].concat()).unwrap();
        let machine = Machine { descriptors, ports: 28_232, first_port: 32_768, memory: 1 << 30 };
        Plan::new(&options::load_of(&matches).unwrap(), machine, &[target.parse().unwrap()])
    }

    #[test]
    fn limits() {
        // Arguments, target; processes, descriptors, sources, whether it is fine, what to type.
        type Row<'a> = (&'a [&'a str], &'a str, u64, u64, usize, bool, &'a [&'a str]);
        let table: &[Row<'_>] = &[
            (&[], "127.0.0.1", 1, 74, 1, true, &[]),
            (&["-c", "19936"], "127.0.0.1", 1, 20_000, 1, true, &[]),
            (&["-c", "19937"], "127.0.0.1", 1, 20_001, 1, false, &["--procs 2"]),
            (&["-c", "19937", "--procs", "auto"], "127.0.0.1", 2, 10_033, 1, true, &[]),
            (&["-c", "100k", "--procs", "auto"], "127.0.0.1", 6, 16_731, 4, true, &[]),
            (&["-c", "100k"], "127.0.0.1", 1, 100_064, 4, false, &["--procs 6"]),
            (&["-c", "1M", "--procs", "auto", "--hold"], "127.0.0.1", 51, 19_672, 36, true, &[]),
            (&["--size", "256M"], "127.0.0.1", 1, 74, 1, false, &["--max-reply 256000000"]),
            (&["--size", "256M", "--max-reply", "256M"], "127.0.0.1", 1, 74, 1, true, &[]),
            (&["--hold", "--max-reply", "1"], "127.0.0.1", 1, 74, 1, true, &[]),
            (&["-c", "3", "--procs", "5"], "127.0.0.1", 3, 70, 1, true, &[]),
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
    fn the_process_that_starts_the_others_needs_descriptors_for_them() {
        type Row<'a> = (u64, &'a [&'a str], u64, u64, &'a [&'a str]);
        let table: &[Row<'_>] = &[
            (70, &["-c", "40", "--procs", "40"], 40, 144, &["-c 18 --procs 3"]),
            (70, &["-c", "18", "--procs", "3"], 3, 70, &[]),
            (70, &["-c", "18", "--procs", "auto"], 3, 70, &[]),
            (70, &["-c", "1M", "--procs", "auto"], 1024, 2112, &["-c 18 --procs 3"]),
            (70, &["-c", "1M"], 1, 1_000_064, &["-c 18 --procs 3"]),
            (66, &["-c", "9"], 1, 73, &["-c 2"]),
            (64, &["-c", "9"], 1, 73, &["ulimit -Hn 73"]),
            (1000, &["-c", "900", "--procs", "600"], 600, 1264, &["--procs 1"]),
            (20_000, &["-c", "30M", "--procs", "auto"], 1024, 29_361, &["-c 20414464 --procs 1024"]),
        ];
        for (limit, args, procs, needed, tries) in table {
            let mut plan = plan_with(*limit, args, "127.0.0.1");
            plan.tries.retain(|flags| !flags.starts_with("--source"));
            let got = (plan.procs, plan.descriptors_needed, &plan.tries[..]);
            assert_eq!(got, (*procs, *needed, &tries.map_to_strings()[..]), "{limit}: {args:?}");
        }
        let why = "the process that starts 40 others needs 144 descriptors; the limit is 70";
        assert_eq!(plan_with(70, &["-c", "40", "--procs", "40"], "127.0.0.1").problems(), [why]);
    }

    #[test]
    fn only_a_message_that_can_be_too_long_is_refused() {
        // "1:0 " and "1:9 ", 32 letters and a line end; later numbers are longer.
        let table: &[(&[&str], u64)] = &[
            (&["-n", "10"], 37),
            (&["-n", "11"], 38),
            (&["-n", "10", "--warmup", "1s"], 56),
            (&["-d", "1s"], 56),
            (&["-n", "10", "-m", "hola"], 4),
        ];
        for (args, longest) in table {
            for (limit, is_fine) in [(*longest, true), (longest - 1, false)] {
                let limit = limit.to_string();
                let plan = plan(&[&["-c", "2", "--max-reply", &limit], *args].concat(), "127.0.0.1");
                assert_eq!((plan.longest_message, plan.is_fine()), (*longest, is_fine), "{args:?}");
                let why = format!("a message may have up to {longest} bytes; the limit of --max-reply is {limit}");
                assert_eq!(plan.problems().contains(&why), !is_fine, "{args:?}");
            }
        }
    }

    #[test]
    fn memory_only_warns() {
        let plan = plan(&["-c", "1M", "--procs", "auto"], "127.0.0.1");
        assert!(plan.is_fine() && plan.warning().is_some());
        assert_eq!(plan.sources[0].to_string(), "127.0.0.2");
    }
}
