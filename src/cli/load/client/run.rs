//! The state of a run, which the handlers of all its connections share.
//!
//! The other files of `client` add the methods to [`Run`], each for one part of the work.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Instant;

use bucle::Loop;
use bucle::net::Shared;
use bucle::websocket::Masks;

use super::book::Book;
use super::conn::Conn;
use super::metronome::Metronome;
use crate::cli::load::check::fanout::Room;
use crate::cli::load::check::{Expect, Phase, Rules};
use crate::cli::load::options::{Length, Load, Model};
use crate::cli::load::progress::Progress;
use crate::cli::load::schedule::{Schedule, share};
use crate::cli::load::socket_io::PacketBuffer;
use crate::cli::load::stage::Stage;
use crate::cli::load::units::nanos;

/// How long a connection that we have half-closed is read before it is destroyed, if the server's FIN does not come.
pub(super) const FIN_TIMEOUT_NS: u64 = 200_000_000;

/// The part of the work of one process.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) load: Load,
    /// The number of this process, and how many there are.
    pub(crate) index: u64,
    pub(crate) of: u64,
    pub(crate) seed: u64,
    /// The target's addresses, or the error code of the look-up.
    pub(crate) targets: std::result::Result<Vec<IpAddr>, String>,
    /// Source addresses, used in turn; empty: the system chooses.
    pub(crate) sources: Vec<IpAddr>,
    /// Source ports to assign to the connections: the first, and how many. `None`: the system chooses.
    pub(crate) ports: Option<(u16, u64)>,
    /// Whether this is a worker process, which a parent starts and stops through standard input.
    pub(crate) is_worker: bool,
}

/// A run under way.
pub(super) struct Run {
    pub(super) job: Job,
    pub(super) origin: Instant,
    pub(super) stage: Stage,
    pub(super) rules: Rules,
    pub(super) book: Book,
    pub(super) room: Option<Room>,
    pub(super) conns: Vec<Conn>,
    /// The run as callbacks know it. `None` only before the run is started.
    pub(super) handle: Option<Shared<Run>>,

    /// How many connections are open.
    pub(super) living: usize,
    pub(super) connecting: usize,
    /// How many connections wait for the greeting that delays the start of the load.
    pub(super) ungreeted: usize,
    /// How many connections of `--churn`, or passes of `--script`, are begun and not finished.
    pub(super) busy: usize,
    /// How many connections have begun their first connect.
    pub(super) launched: usize,
    /// How many more connects the current wave may begin, and when the wave began.
    pub(super) wave_left: usize,
    pub(super) wave_began_at: u64,

    /// When the warm-up began, when the steady phase begins, and when it ends (`u64::MAX`: not known yet).
    pub(super) go_at: u64,
    pub(super) steady_at: u64,
    pub(super) steady_end: u64,
    pub(super) cpu_at_start: u64,
    /// With `-n`, how many messages, connections or passes the steady phase may still begin.
    pub(super) left: Option<u64>,
    /// How many messages are due or begun, but not taken whole by the kernel.
    pub(super) untaken: u64,
    pub(super) schedule: Option<Schedule>,
    /// The due times of messages for which there was no connection, with `--reconnect`.
    pub(super) waiting: VecDeque<u64>,
    pub(super) metronome: Option<Metronome>,
    /// The open model: the connection that sends the next message.
    pub(super) next_conn: usize,
    pub(super) closing_until: u64,
    /// When the steady phase ended.
    pub(super) drain_at: u64,
    /// Whether the run was stopped, by Ctrl-C or `--fail-fast`: nothing that comes later is counted.
    pub(super) is_cut_short: bool,
    pub(super) swept_at: u64,
    pub(super) ticked_at: u64,
    /// Connections with bytes that the kernel has not taken yet.
    pub(super) blocked: Vec<usize>,
    pub(super) is_watching_blocked: bool,
    /// The buffer in which a batch of messages is put together, kept for its capacity.
    pub(super) scratch: Vec<u8>,
    /// The keys of WebSocket frames.
    pub(super) masks: Masks,
    /// Socket.IO: the text of a message, and its packet.
    pub(super) packet: PacketBuffer,
    pub(super) progress: Progress,
}

impl Run {
    pub(super) fn new(job: Job, progress: Progress) -> Run {
        let load = &job.load;
        let count = share(load.connections, job.index, job.of) as usize;
        let mut messages = load.messages.clone();
        messages.seed = job.seed;
        let rules = Rules {
            expect: load.expect.clone(),
            messages,
            timeout: nanos(load.timeout),
            max_reply: load.max_reply as usize,
        };
        let room = match load.expect {
            Expect::Fanout(kind) => Some(Room::new(kind, count)),
            _ => None,
        };
        let left = match load.length {
            Length::Messages(total) => Some(share(total, job.index, job.of)),
            Length::For(_) => None,
        };
        let conns = (0..count as u64).map(|at| Conn::new(at * job.of + job.index)).collect();
        Run {
            rules,
            room,
            left,
            conns,
            origin: Instant::now(),
            stage: Stage::Connecting,
            book: Book::default(),
            handle: None,
            living: 0,
            connecting: 0,
            ungreeted: 0,
            busy: 0,
            launched: 0,
            wave_left: 0,
            wave_began_at: 0,
            go_at: 0,
            steady_at: u64::MAX,
            steady_end: u64::MAX,
            cpu_at_start: 0,
            untaken: 0,
            schedule: None,
            waiting: VecDeque::new(),
            metronome: None,
            next_conn: 0,
            closing_until: u64::MAX,
            drain_at: u64::MAX,
            is_cut_short: false,
            swept_at: 0,
            ticked_at: 0,
            blocked: Vec::new(),
            is_watching_blocked: false,
            scratch: Vec::new(),
            masks: Masks::default(),
            packet: PacketBuffer::default(),
            progress,
            job,
        }
    }

    pub(super) fn now(&self) -> u64 {
        nanos(self.origin.elapsed())
    }

    /// Wraps `f` as a callback for the loop to which the run is lent.
    pub(super) fn later(&self, f: impl FnOnce(&mut Run, &mut Loop) + 'static) -> impl FnOnce(&mut Loop) + 'static {
        let run = self.handle;
        move |lp: &mut Loop| {
            if let Some(run) = run {
                run.with(lp, f);
            }
        }
    }

    pub(super) fn model(&self) -> &Model {
        &self.job.load.model
    }

    /// The phase of a message that is due (or sent, in the closed model) at this time.
    pub(super) fn phase_at(&self, now: u64) -> Phase {
        if now < self.steady_at { Phase::Warmup } else { Phase::Steady }
    }
}

/// Random bytes for a mask or a key.
pub(super) fn random<const N: usize>(masks: &mut Masks) -> [u8; N] {
    masks.random().expect("the system has a random source; the hash maps need it too")
}
