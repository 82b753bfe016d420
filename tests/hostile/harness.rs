//! The harness of a fault: the real server in a process of its own, a healthy client, and the checks around each fault.
//!
//! ```text
//!   Harness ─┬─ bucle serve …         a process with its own memory, descriptors and processor time
//!            ├─ HealthyClient         must be served throughout, byte for byte; another one if there is `--http`
//!            └─ fault(&harness)       peers misbehave; then these must hold:
//!                 ├─ the healthy client was served during the fault, and is served after it
//!                 ├─ the peak of memory stayed within the fault's allowance
//!                 ├─ the number of descriptors is what it was before
//!                 ├─ the server sleeps: it uses no processor time while nothing happens
//!                 └─ stderr contains no panic
//! ```
//!
//! No check depends on the speed of the server, because the machine may be busy. Measured times are printed
//! (`--nocapture` shows them).

use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::healthy::{HealthyClient, Report};
use super::peer::Peer;
use super::server::{LIMIT, Server};
use super::talk::Talker;
use super::vitals::MIB;

/// How long a quiet moment lasts, and how many ticks of 10 ms the server may use in it.
const QUIET: Duration = Duration::from_millis(200);
const QUIET_TICKS: u64 = 1;

/// A fault: something that peers do to a server.
#[derive(Clone, Copy)]
pub struct Fault {
    pub name: &'static str,
    /// The arguments of the server in the test of its own.
    pub args: &'static str,
    pub run: fn(&Harness),
    /// How much more memory the server may use during the fault, in MiB.
    pub allowance: u64,
}

/// Lists the faults of a file, and makes a test of each, with a server of its own.
macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident on $args:literal within $allowance:literal MiB;)*) => {
        pub const FAULTS: &[$crate::harness::Fault] = &[$($crate::harness::Fault {
            name: stringify!($name),
            args: $args,
            run: $name,
            allowance: $allowance,
        }),*];

        mod alone {
            $(
                $(#[$doc])*
                #[test]
                fn $name() {
                    let fault = super::FAULTS.iter().find(|fault| fault.name == stringify!($name));
                    $crate::harness::survives_alone(fault.expect("it is in the list"));
                }
            )*
        }
    };
}
pub(crate) use faults;

/// Runs one fault against a fresh server.
pub fn survives_alone(fault: &Fault) {
    let harness = Harness::of(&fault.args.split(' ').collect::<Vec<_>>());
    let cost = harness.survives(fault);
    assert!(cost.growth <= fault.allowance * MIB, "{} KiB more than before", cost.growth);
    harness.end();
}

/// How often [`wait_until`] checks its condition.
const LOOK: Duration = Duration::from_millis(10);

/// Waits until a condition holds. Panics after [`LIMIT`].
pub fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < LIMIT, "waited too long until {what}");
        thread::park_timeout(LOOK);
    }
}

/// For servers with `--http`, whose messages have up to a MiB. After a block of that size was freed, glibc keeps such
/// blocks at the end of its heap. How many it keeps depends on how many peers send at the same time, so on the speed of
/// the machine. With this it returns every large block, and the memory at the end is what the server holds. Other
/// allocators ignore it.
const TUNABLES: &str = "glibc.malloc.mmap_threshold=131072";

/// Scales the number of repetitions or peers of a fault. The default is 30 %, with which the whole suite takes two
/// minutes. `HOSTILE_SCALE=1` is the full size, for a release build.
pub fn scaled(full: usize) -> usize {
    let scale = std::env::var("HOSTILE_SCALE").ok().and_then(|scale| scale.parse().ok()).unwrap_or(0.3_f64);
    ((full as f64 * scale) as usize).max(1)
}

/// The cost of a fault.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    pub report: Report,
    /// KiB above the memory before the fault.
    pub growth: u64,
    /// KiB in total.
    pub peak: u64,
}

pub struct Harness {
    pub server: Server,
    pub healthy: HealthyClient,
    /// The healthy WebSocket client of a server with `--http`.
    web_healthy: Option<HealthyClient>,
    is_chat: bool,
    /// The number of descriptors of the server while only the healthy clients are connected.
    descriptors: usize,
}

impl Harness {
    pub fn of(args: &[&str]) -> Harness {
        let mut command = Server::command(args);
        if args.contains(&"--http") {
            command.env("GLIBC_TUNABLES", TUNABLES);
        }
        let server = Server::spawn(&mut command);
        let is_chat = args.first() == Some(&"chat");
        let healthy = HealthyClient::of(server.address, is_chat);
        let web_healthy = server.web.map(|web| HealthyClient::of_web(web, is_chat));
        let descriptors = server.vitals().descriptors();
        Harness { server, healthy, web_healthy, is_chat, descriptors }
    }

    /// Runs the fault, and checks everything that must hold during and after it.
    pub fn survives(&self, fault: &Fault) -> Cost {
        let vitals = self.server.vitals();
        self.report();
        vitals.forget_peak();
        let before = vitals.peak();
        let began = Instant::now();
        (fault.run)(self);
        self.wait_for_healthy_lines(3);
        let took = began.elapsed();
        self.wait_until_all_are_closed();
        self.wait_until_it_sleeps();
        let cost = Cost { report: self.report(), growth: vitals.peak().saturating_sub(before), peak: vitals.peak() };
        println!(
            "{:44} {:6.2} s   slowest line {:8.2} ms   memory {:6.1} +{:5.1} MiB, now {:5.1}",
            fault.name,
            took.as_secs_f64(),
            cost.report.worst.as_secs_f64() * 1000.0,
            before as f64 / MIB as f64,
            cost.growth as f64 / MIB as f64,
            vitals.memory() as f64 / MIB as f64,
        );
        assert!(!self.server.log().contains("panic"), "{}", self.server.log());
        cost
    }

    /// Ends the healthy clients. Panics if one has failed.
    pub fn end(self) {
        self.healthy.end();
        if let Some(web_healthy) = self.web_healthy {
            web_healthy.end();
        }
    }

    /// The experience of the healthy clients since the last call.
    pub fn report(&self) -> Report {
        let (telnet, web) = (self.healthy.report(), self.web_healthy.as_ref().map(HealthyClient::report));
        let web = web.unwrap_or_default();
        Report { lines: telnet.lines + web.lines, worst: telnet.worst.max(web.worst) }
    }

    /// Waits until each healthy client has got `more` of its lines.
    pub fn wait_for_healthy_lines(&self, more: u64) {
        self.healthy.wait_for_lines(more);
        if let Some(web_healthy) = &self.web_healthy {
            web_healthy.wait_for_lines(more);
        }
    }

    /// The address of `--http`.
    pub fn web(&self) -> SocketAddr {
        self.server.web.expect("this server has --http")
    }

    pub fn is_chat(&self) -> bool {
        self.is_chat
    }

    /// Connects a peer that sends nothing yet.
    pub fn peer(&self) -> Peer {
        Peer::connect(self.server.address)
    }

    pub fn stream(&self) -> TcpStream {
        TcpStream::connect(self.server.address).expect("the server listens")
    }

    /// Connects a peer, and waits until its first line has come back.
    pub fn member(&self) -> Peer {
        let mut peer = self.peer();
        peer.send_and_wait("hola");
        peer
    }

    /// A member with small buffers: it is stuck as soon as the test does not read from it.
    pub fn stuck_member(&self) -> Peer {
        let mut peer = Peer::with_small_window(self.server.address);
        peer.send_and_wait("hola");
        peer
    }

    /// Adds a talker that sends this number of bytes in lines of 1,000, as fast as the healthy client and `others`
    /// receive them.
    pub fn talk(&self, bytes: usize, others: &[&super::talk::Listener]) {
        let mut listeners = vec![&*self.healthy.talk];
        listeners.extend(self.web_healthy.as_ref().map(|healthy| &*healthy.talk));
        listeners.extend(others.iter().map(|listener| &*listener.talk));
        Talker::of(self.server.address).talk(bytes, 1000, self.is_chat, &listeners);
    }

    fn wait_until_all_are_closed(&self) {
        let vitals = self.server.vitals();
        wait_until("all other connections are closed", || vitals.descriptors() <= self.descriptors);
    }

    /// Checks that an idle loop sleeps. A loop that spins would use twenty ticks.
    fn wait_until_it_sleeps(&self) {
        let vitals = self.server.vitals();
        let began = Instant::now();
        loop {
            let count = || {
                let before = vitals.ticks();
                // Not a wait for an event: it is the span in which the ticks are counted.
                thread::sleep(QUIET);
                vitals.ticks() - before
            };
            let used = self.healthy.pause_while(|| match &self.web_healthy {
                Some(web_healthy) => web_healthy.pause_while(count),
                None => count(),
            });
            if used <= QUIET_TICKS {
                return;
            }
            assert!(began.elapsed() < LIMIT, "{used} ticks in {QUIET:?}, and nothing to do");
        }
    }
}
