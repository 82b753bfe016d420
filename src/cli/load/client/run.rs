//! The run: the state that the handlers of all its connections share.
//!
//! The other files of `client` each add the methods of one concern to [`Run`].

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Instant;

use bucle::Loop;

use super::book::Book;
use super::conn::Conn;
use super::metronome::Metronome;
use crate::cli::load::check::fanout::Room;
use crate::cli::load::check::{Expect, Phase, Rules};
use crate::cli::load::options::{Length, Load, Model};
use crate::cli::load::progress::Progress;
use crate::cli::load::schedule::{Schedule, share};
use crate::cli::load::stage::Stage;
use crate::cli::load::units::nanos;

/// How long the end of a connection is waited for when everything has been said.
pub(super) const FIN_TIMEOUT_NS: u64 = 200_000_000;

/// What one process has to do.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) load: Load,
    /// Which of how many processes this is.
    pub(crate) index: u64,
    pub(crate) of: u64,
    pub(crate) seed: u64,
    /// The target's addresses; none: its name could not be resolved, for this reason.
    pub(crate) targets: std::result::Result<Vec<IpAddr>, String>,
    /// Where to connect from; empty: the system chooses.
    pub(crate) sources: Vec<IpAddr>,
    /// Source ports to deal out, first and number; `None`: the system chooses.
    pub(crate) ports: Option<(u16, u64)>,
    /// Whether a parent says when to go, through standard input.
    pub(crate) is_worker: bool,
}

/// The run, shared by the handlers of all its connections.
pub(super) struct Run {
    pub(super) job: Job,
    pub(super) origin: Instant,
    pub(super) stage: Stage,
    pub(super) rules: Rules,
    pub(super) book: Book,
    pub(super) room: Option<Room>,
    pub(super) conns: Vec<Conn>,
    pub(super) shared: Option<Rc<RefCell<Run>>>,

    /// Connections that are made and not gone.
    pub(super) living: usize,
    pub(super) connecting: usize,
    /// Connections whose greeting is waited for before anything is sent.
    pub(super) ungreeted: usize,
    /// Connections of `--churn`, and passes of `--script`, that are begun and not through.
    pub(super) busy: usize,
    /// Connections whose first connect has been begun.
    pub(super) launched: usize,
    pub(super) wave_left: usize,
    pub(super) wave_began_at: u64,

    /// When the warm-up began; then the steady phase; then its end, as far as known.
    pub(super) go_at: u64,
    pub(super) steady_at: u64,
    pub(super) steady_end: u64,
    pub(super) cpu_at_start: u64,
    /// Messages, connections or passes that the steady phase may still begin; `None`: as many as there is time for.
    pub(super) left: Option<u64>,
    /// Messages that are due or begun, and not taken whole by the kernel.
    pub(super) untaken: u64,
    pub(super) schedule: Option<Schedule>,
    pub(super) metronome: Option<Metronome>,
    /// The connection whose turn it is in the open model.
    pub(super) next_conn: usize,
    pub(super) closing_until: u64,
    pub(super) swept_at: u64,
    pub(super) ticked_at: u64,
    /// Connections with bytes that the kernel did not take.
    pub(super) blocked: Vec<usize>,
    pub(super) is_watching_blocked: bool,
    pub(super) scratch: Vec<u8>,
    pub(super) progress: Progress,
}

pub(super) type SharedRun = Rc<RefCell<Run>>;

impl Run {
    pub(super) fn new(job: Job, progress: Progress) -> SharedRun {
        let load = &job.load;
        let count = share(load.connections, job.index, job.of) as usize;
        let mut messages = load.messages.clone();
        messages.seed = job.seed;
        let rules = Rules { expect: load.expect.clone(), messages, timeout: nanos(load.timeout) };
        let room = match load.expect {
            Expect::Fanout(kind) => Some(Room::new(kind, count)),
            _ => None,
        };
        let left = match load.length {
            Length::Messages(total) => Some(share(total, job.index, job.of)),
            Length::For(_) => None,
        };
        let conns = (0..count as u64).map(|at| Conn::new(at * job.of + job.index)).collect();
        let run = Run {
            rules,
            room,
            left,
            conns,
            origin: Instant::now(),
            stage: Stage::Connecting,
            book: Book::default(),
            shared: None,
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
            metronome: None,
            next_conn: 0,
            closing_until: u64::MAX,
            swept_at: 0,
            ticked_at: 0,
            blocked: Vec::new(),
            is_watching_blocked: false,
            scratch: Vec::new(),
            progress,
            job,
        };
        let run = Rc::new(RefCell::new(run));
        run.borrow_mut().shared = Some(run.clone());
        run
    }

    pub(super) fn now(&self) -> u64 {
        nanos(self.origin.elapsed())
    }

    /// Has `f` called by the loop, with the run.
    pub(super) fn later(&self, f: impl FnOnce(&mut Run, &mut Loop) + 'static) -> impl FnOnce(&mut Loop) + 'static {
        let run = self.shared.clone();
        move |lp: &mut Loop| {
            if let Some(run) = run {
                f(&mut run.borrow_mut(), lp);
            }
        }
    }

    pub(super) fn model(&self) -> &Model {
        &self.job.load.model
    }

    /// Which phase a message belongs to that is sent now.
    pub(super) fn phase_at(&self, now: u64) -> Phase {
        if now < self.steady_at { Phase::Warmup } else { Phase::Steady }
    }
}
