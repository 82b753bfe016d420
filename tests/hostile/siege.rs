//! A server under siege: the real program in a process of its own, a healthy client beside every fault, and what must be
//! true around each.
//!
//! ```text
//!   Siege ─┬─ bucle serve …           a process: memory, descriptors, processor time are its own
//!          ├─ Witness                 served throughout, byte for byte
//!          └─ fault(&siege)           whatever is done to it; then
//!               ├─ the witness was served while it lasted, and is served after it
//!               ├─ the peak of memory stayed within the fault's allowance
//!               ├─ the descriptors are those of before
//!               ├─ it sleeps: no processor time in a quiet moment
//!               └─ stderr speaks of no panic
//! ```
//!
//! Nothing here asserts how fast the server was: the machine may be busy with something else. What was measured is
//! printed (`--nocapture` shows it).

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use super::peer::Peer;
use super::server::{LIMIT, Server};
use super::talk::Talker;
use super::vitals::MIB;
use super::witness::{Testimony, Witness};

/// How long a quiet moment is, and how many ticks of 10 ms the server may use in it.
const QUIET: Duration = Duration::from_millis(200);
const QUIET_TICKS: u64 = 1;

/// One thing done to a server.
#[derive(Clone, Copy)]
pub struct Fault {
    pub name: &'static str,
    pub run: fn(&Siege),
    /// How much memory the server may take for it, in MiB.
    pub allowance: u64,
}

/// Lists the faults of a file, and makes a test of each: a siege with nothing but that fault.
macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident on $kind:literal within $allowance:literal MiB;)*) => {
        pub const FAULTS: &[$crate::siege::Fault] = &[$($crate::siege::Fault {
            name: stringify!($name),
            run: $name,
            allowance: $allowance,
        }),*];

        mod alone {
            $(
                $(#[$doc])*
                #[test]
                fn $name() {
                    let fault = super::FAULTS.iter().find(|fault| fault.name == stringify!($name));
                    $crate::siege::withstands_alone($kind, fault.expect("it is in the list"));
                }
            )*
        }
    };
}
pub(crate) use faults;

/// A server that nothing else has been done to.
pub fn withstands_alone(kind: &str, fault: &Fault) {
    let siege = Siege::of(&[kind]);
    let cost = siege.withstands(fault);
    assert!(cost.growth <= fault.allowance * MIB, "{} KiB more than before", cost.growth);
    siege.end();
}

/// How often the kernel is asked whether something outside has happened.
const LOOK: Duration = Duration::from_millis(10);

/// Waits for what has to come.
pub fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < LIMIT, "it never came to this: {what}");
        thread::park_timeout(LOOK);
    }
}

/// How many there are of what is done thousands of times: a third, so that the whole suite takes two minutes. `HOSTILE_SCALE=1` is
/// the full size, for a release build.
pub fn scaled(full: usize) -> usize {
    let scale = std::env::var("HOSTILE_SCALE").ok().and_then(|scale| scale.parse().ok()).unwrap_or(0.3_f64);
    ((full as f64 * scale) as usize).max(1)
}

/// What a fault cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    pub testimony: Testimony,
    /// KiB above what the server had in memory before.
    pub growth: u64,
    /// KiB, all in all.
    pub peak: u64,
}

pub struct Siege {
    pub server: Server,
    pub witness: Witness,
    is_chat: bool,
    /// Descriptors of the server with nobody but the witness there.
    descriptors: usize,
}

impl Siege {
    pub fn of(args: &[&str]) -> Siege {
        let server = Server::start(args);
        let is_chat = args.first() == Some(&"chat");
        let witness = Witness::of(server.address, is_chat);
        let descriptors = server.vitals().descriptors();
        Siege { server, witness, is_chat, descriptors }
    }

    /// Runs the fault, and looks whether everything that must be true around it is.
    pub fn withstands(&self, fault: &Fault) -> Cost {
        let vitals = self.server.vitals();
        self.witness.testify();
        vitals.forget_peak();
        let before = vitals.peak();
        let began = Instant::now();
        (fault.run)(self);
        self.witness.wait_for_lines(3);
        let took = began.elapsed();
        self.wait_until_all_have_left();
        self.wait_until_it_sleeps();
        let cost = Cost {
            testimony: self.witness.testify(),
            growth: vitals.peak().saturating_sub(before),
            peak: vitals.peak(),
        };
        println!(
            "{:44} {:6.2} s   worst answer {:8.2} ms   memory {:6.1} +{:5.1} MiB, now {:5.1}",
            fault.name,
            took.as_secs_f64(),
            cost.testimony.worst.as_secs_f64() * 1000.0,
            before as f64 / MIB as f64,
            cost.growth as f64 / MIB as f64,
            vitals.memory() as f64 / MIB as f64,
        );
        assert!(!self.server.log().contains("panic"), "{}", self.server.log());
        cost
    }

    /// The witness's last word.
    pub fn end(self) {
        self.witness.end();
    }

    pub fn is_chat(&self) -> bool {
        self.is_chat
    }

    /// A peer that is connected and has done nothing yet.
    pub fn visitor(&self) -> Peer {
        Peer::connect(self.server.address)
    }

    pub fn bare(&self) -> TcpStream {
        TcpStream::connect(self.server.address).expect("the server listens")
    }

    /// A peer that has been greeted and heard.
    pub fn member(&self) -> Peer {
        let mut peer = self.visitor();
        peer.say_and_hear("hola");
        peer
    }

    /// A member that reads nothing from now on, and whose kernel takes next to nothing for it.
    pub fn stuck_member(&self) -> Peer {
        let mut peer = Peer::with_small_window(self.server.address);
        peer.say_and_hear("hola");
        peer
    }

    /// Somebody says so many bytes in lines of 1,000, as fast as the witness and these others can hear it.
    pub fn talk(&self, bytes: usize, others: &[&super::talk::Listener]) {
        let mut listeners = vec![&*self.witness.talk];
        listeners.extend(others.iter().map(|listener| &*listener.talk));
        Talker::of(self.server.address).talk(bytes, 1000, self.is_chat, &listeners);
    }

    fn wait_until_all_have_left(&self) {
        let vitals = self.server.vitals();
        wait_until("all have left", || vitals.descriptors() <= self.descriptors);
    }

    /// A loop that has nothing to do sleeps; one that was left spinning would use twenty ticks.
    fn wait_until_it_sleeps(&self) {
        let vitals = self.server.vitals();
        let began = Instant::now();
        loop {
            let used = self.witness.rest(|| {
                let before = vitals.ticks();
                thread::sleep(QUIET);
                vitals.ticks() - before
            });
            if used <= QUIET_TICKS {
                return;
            }
            assert!(began.elapsed() < LIMIT, "{used} ticks in {QUIET:?}, and nothing to do");
        }
    }
}
