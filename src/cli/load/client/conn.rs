//! The state of one connection of a run.

use std::collections::VecDeque;

use bucle::net::Socket;
use bucle::websocket::receiver::Receiver;

use super::book::EarlyReply;
use crate::cli::load::check::{Lines, Phase, Replies};
use crate::cli::load::script::{Pass, Said};
use crate::cli::load::telnet::Telnet;
use crate::cli::load::websocket::Opening;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ConnState {
    Unused,
    /// For `ws://` until the handshake is complete, and for `sio://` until the namespace is joined.
    Connecting,
    /// Connected; the greeting has not come whole (`--skip-line`).
    Greeting,
    Ready,
    /// We have sent our FIN, or our close frame; the server's FIN has not come.
    Closing,
    /// Closed, and opened again: for the next connection of `--churn`, the next pass of `--script`, or `--reconnect`.
    Resting,
    Gone,
}

/// A connection. With `--churn` and `--script` several sockets follow each other in it.
#[derive(Debug)]
pub(crate) struct Conn {
    /// `{conn}`.
    pub(crate) id: u64,
    pub(crate) state: ConnState,
    pub(crate) socket: Option<Socket>,
    /// When the connect began, the connection was made, the greeting came, or our FIN was sent: the last of these.
    pub(crate) since: u64,
    pub(crate) replies: Replies,
    /// The due times of messages that have not been given to the socket yet.
    pub(crate) queue: VecDeque<u64>,
    /// Messages that were given to the socket, but that the kernel has not taken whole.
    pub(crate) outbox: VecDeque<Outgoing>,
    /// How many bytes were given to the socket, and how many of these the kernel has taken.
    pub(crate) written: u64,
    pub(crate) taken: u64,
    pub(crate) lines: Lines,
    pub(crate) wire: Wire,
    /// WebSocket: why the connection is lost, for the report.
    pub(crate) fault: Option<String>,
    /// Whether its next connect uses the source port that is assigned to it; not after that port turned out to be in
    /// use.
    pub(crate) uses_assigned_port: bool,
    /// Whether no connection sends before this one's greeting has come or is overdue.
    pub(crate) delays_start: bool,
    pub(crate) pass: Option<Box<ActivePass>>,
    /// `--script`: received bytes that no step has consumed yet. A pass leaves the rest to the next one.
    pub(crate) unread: Vec<u8>,
    /// Whether `unread` has reached `--max-reply`, and bytes after it were dropped.
    pub(crate) has_dropped: bool,
    /// The text that its passes have sent last.
    pub(crate) last_sent: Option<Said>,
    /// Whether a connection of `--churn` or a pass is under way.
    pub(crate) is_busy: bool,
    /// Whether a call of `pump` is queued for the next turn.
    pub(crate) is_pump_queued: bool,
    /// `--churn`: whether the message was begun, and in which phase the connect began.
    pub(crate) has_sent: bool,
    pub(crate) phase: Phase,
    /// Whether a reply has come, right or wrong.
    pub(crate) has_replied: bool,
    /// `--reconnect`: how many connects in succession have failed or were of no use.
    pub(crate) tries: u32,
    /// Since when it has been lost, or could not be made.
    pub(crate) away_since: Option<u64>,
}

/// How messages are written, and replies are read.
#[derive(Debug, Default)]
pub(crate) enum Wire {
    /// As they are.
    #[default]
    Plain,
    /// As they are, with telnet commands in between.
    Telnet(Box<Telnet>),
    /// As WebSocket messages.
    WebSocket(Box<WebSocket>),
}

/// The WebSocket of a connection.
#[derive(Debug, Default)]
pub(crate) struct WebSocket {
    /// The handshake, until the server has answered it.
    pub(crate) opening: Option<Box<Opening>>,
    /// Socket.IO: the handshake is complete, and the namespace is not joined yet.
    pub(crate) is_joining: bool,
    pub(crate) receiver: Receiver,
    /// The payload of the latest ping that could not be answered because the socket had unsent bytes.
    pub(crate) ping: Option<Vec<u8>>,
    pub(crate) session: Session,
    /// Whether the server's close frame has come, or was counted as missing.
    pub(crate) is_closed_by_server: bool,
}

/// Socket.IO: the session of a connection.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// Whether the server has opened it, and the namespace was requested.
    pub(crate) is_open: bool,
    /// A ping of the session could not be answered because the socket had unsent bytes.
    pub(crate) owes_pong: bool,
}

/// A message that was given to the socket. `start` and `end` are its place in the bytes written to the connection.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) seq: u64,
    pub(crate) since: u64,
    pub(crate) phase: Phase,
    /// How many replies are expected.
    pub(crate) receivers: u64,
    /// Its reply, if that has come already.
    pub(crate) reply: Option<Box<EarlyReply>>,
}

/// A pass through a script that is under way.
#[derive(Debug)]
pub(crate) struct ActivePass {
    pub(crate) pass: Pass,
    pub(crate) phase: Phase,
    pub(crate) began: u64,
    /// When its first byte was written, and when the last expected text was found.
    pub(crate) started: Option<u64>,
    pub(crate) ended: u64,
    /// Since when a step waits for the text that it expects.
    pub(crate) waits_since: Option<u64>,
    /// Since when it pauses.
    pub(crate) pauses_since: Option<u64>,
    /// How long it has paused in all, until its first byte was written, and until the last expected text was found.
    pub(crate) paused: u64,
    pub(crate) paused_at_start: u64,
    pub(crate) paused_at_end: u64,
}

/// Why a connection ended before the run closed it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Loss {
    /// The server sent a FIN.
    Closed,
    /// The server sent an RST, or there was another error.
    Reset,
    /// We gave it up: a timeout passed without the bytes being taken, the greeting, or the text a script expects.
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
            wire: Wire::Plain,
            fault: None,
            uses_assigned_port: true,
            delays_start: false,
            pass: None,
            unread: Vec::new(),
            has_dropped: false,
            last_sent: None,
            is_busy: false,
            is_pump_queued: false,
            has_sent: false,
            phase: Phase::Warmup,
            has_replied: false,
            tries: 0,
            away_since: None,
        }
    }

    /// Keeps received bytes for the steps of a script. A step that waits for a text skips any number of bytes before
    /// it. While no step waits, at most `limit` bytes are kept.
    pub(crate) fn keep_unread(&mut self, bytes: &[u8], limit: usize) {
        let is_awaited = self.pass.as_ref().is_some_and(|active| active.waits_since.is_some());
        let room = if is_awaited { usize::MAX } else { limit.saturating_sub(self.unread.len()) };
        self.has_dropped |= bytes.len() > room;
        self.unread.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Connected, and not closed by either side.
    pub(crate) fn is_living(&self) -> bool {
        matches!(self.state, ConnState::Greeting | ConnState::Ready)
    }
}
