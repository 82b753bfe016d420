//! What is kept of one connection.

use std::collections::VecDeque;

use bucle::net::Socket;
use bucle::telnet::codec::Decoder;

use crate::cli::load::check::{Lines, Phase, Replies};
use crate::cli::load::script::{Pass, Said};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ConnState {
    Unused,
    Connecting,
    /// Connected; a line is waited for.
    Greeting,
    Ready,
    /// We have ended, and the server has not.
    Closing,
    Resting,
    Gone,
}

/// One connection of the run, and with `--churn` and `--script` those that come after it in its place.
#[derive(Debug)]
pub(crate) struct Conn {
    /// `{conn}`.
    pub(crate) id: u64,
    pub(crate) state: ConnState,
    pub(crate) socket: Option<Socket>,
    /// When the state began.
    pub(crate) since: u64,
    pub(crate) replies: Replies,
    /// When messages were due that have not been handed to the socket.
    pub(crate) queue: VecDeque<u64>,
    /// Messages that the socket has and the kernel has not, or not all of.
    pub(crate) outbox: VecDeque<Outgoing>,
    /// Bytes given to the socket, and of these to the kernel.
    pub(crate) written: u64,
    pub(crate) taken: u64,
    pub(crate) lines: Lines,
    pub(crate) telnet: Option<Box<Decoder>>,
    /// Whether it has tried, or will try, the source port that is its own.
    pub(crate) uses_assigned_port: bool,
    /// Nothing is sent anywhere before its greeting has come, or is overdue.
    pub(crate) delays_start: bool,
    pub(crate) pass: Option<Box<ActivePass>>,
    /// What its passes have sent last.
    pub(crate) last_sent: Option<Said>,
    /// Whether a connection of `--churn` or a pass is under way.
    pub(crate) is_busy: bool,
    /// Whether it sends on in the next turn.
    pub(crate) is_pump_queued: bool,
    /// Whether the connection of `--churn` has begun its message, and in which phase it was tried.
    pub(crate) has_sent: bool,
    pub(crate) phase: Phase,
    /// Whether something has come that was a reply or should have been one.
    pub(crate) has_replied: bool,
}

/// A message on its way into the kernel; `start` and `end` count the bytes of its connection.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) seq: u64,
    pub(crate) since: u64,
    pub(crate) phase: Phase,
    /// How many replies it is owed.
    pub(crate) receivers: u64,
}

/// A pass through a script, and where it stands.
#[derive(Debug)]
pub(crate) struct ActivePass {
    pub(crate) pass: Pass,
    pub(crate) phase: Phase,
    pub(crate) began: u64,
    /// The first write, and the last byte that was expected.
    pub(crate) started: Option<u64>,
    pub(crate) ended: u64,
    /// What has come and was not asked for yet.
    pub(crate) unread: Vec<u8>,
    /// Since when it waits for what it expects.
    pub(crate) waits_since: Option<u64>,
    pub(crate) is_pausing: bool,
}

/// How a connection ended before the run was done with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Loss {
    /// By the server's FIN.
    Closed,
    /// By its RST, or another error.
    Reset,
    /// By us: the server did not take what it was sent, or did not greet.
    GivenUp,
}

impl Conn {
    pub(crate) fn new(id: u64) -> Conn {
        Conn {
            id,
            state: ConnState::Unused,
            socket: None,
            since: 0,
            replies: Replies::default(),
            queue: VecDeque::new(),
            outbox: VecDeque::new(),
            written: 0,
            taken: 0,
            lines: Lines::default(),
            telnet: None,
            uses_assigned_port: true,
            delays_start: false,
            pass: None,
            last_sent: None,
            is_busy: false,
            is_pump_queued: false,
            has_sent: false,
            phase: Phase::Warmup,
            has_replied: false,
        }
    }

    /// Made, and not ended.
    pub(crate) fn is_living(&self) -> bool {
        matches!(self.state, ConnState::Greeting | ConnState::Ready)
    }
}
