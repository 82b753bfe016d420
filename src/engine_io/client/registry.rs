//! The client sessions of a loop. A session must be reachable while its handler runs, so the loop owns it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::machine::Machine;
use super::url::Location;
use super::{ClientHandler, ClientOptions, ClientSession};
use crate::engine_io::CloseReason;
use crate::engine_io::packet::FrameBuffer;
use crate::engine_io::payload::PayloadDecoder;
use crate::engine_io::registry::Queue;
use crate::http::{Client, RequestId};
use crate::websocket::{CloseCode, Masks, WebSocket};
use crate::{Error, HasSerial, Loop, Slots, TimerId};

/// All client sessions of a loop.
#[derive(Default)]
pub(super) struct Registry {
    sessions: Slots<SessionState>,
    next_serial: u32,
    pub random: Masks,
    /// Scratch: a packet as a frame.
    pub frame: FrameBuffer,
    /// Scratch: a packet that is sent.
    pub packet: String,
    /// Scratch: bytes that a server has sent as base64.
    pub decoded: Vec<u8>,
}

/// The life of a session.
#[derive(Debug)]
pub(super) enum Stage {
    /// It is being opened, or is open: the machine knows.
    Alive,
    /// The program has closed it, and its last packets are posted.
    Closing,
    /// It has ended. Its last event follows in a tick.
    Closed(CloseReason, Error),
}

/// The packets of the server that were received in one turn.
#[derive(Clone, Copy, Default)]
pub(super) struct Burst {
    pub turn: u64,
    pub packets: u32,
}

pub(super) struct SessionState {
    pub serial: u32,
    pub options: Rc<ClientOptions>,
    pub location: Rc<Location>,
    pub handler: Rc<RefCell<dyn ClientHandler>>,
    pub stage: Stage,
    pub machine: Machine,
    /// Empty until the session is open.
    pub id: String,
    /// How many bytes the body of a POST may have.
    pub max_payload: usize,
    /// Packets that wait for a POST, or for the upgrade.
    pub queue: Queue,
    /// `send` has returned `false`, so `on_drain` is due.
    pub needs_drain: bool,
    /// A tick that settles the session is queued.
    pub is_settling: bool,
    /// For polling.
    pub http: Option<Client>,
    pub poll: Option<RequestId>,
    pub post: Option<RequestId>,
    /// The answer to a poll whose packets are being delivered.
    pub reading: Option<PayloadDecoder>,
    /// Its WebSocket connection, or the one to which it may change.
    pub ws: Option<WebSocket>,
    /// Why the WebSocket connection has failed.
    pub ws_error: Option<Error>,
    pub burst: Burst,
    timer: Option<(TimerId, Instant)>,
}

impl HasSerial for SessionState {
    fn serial(&self) -> u32 {
        self.serial
    }
}

impl SessionState {
    /// A session that is being opened.
    pub fn new(
        options: Rc<ClientOptions>,
        location: Location,
        handler: Rc<RefCell<dyn ClientHandler>>,
        machine: Machine,
    ) -> SessionState {
        SessionState {
            serial: 0,
            options,
            location: Rc::new(location),
            handler,
            stage: Stage::Alive,
            machine,
            id: String::new(),
            max_payload: usize::MAX,
            queue: Queue::default(),
            needs_drain: false,
            is_settling: false,
            http: None,
            poll: None,
            post: None,
            reading: None,
            ws: None,
            ws_error: None,
            burst: Burst::default(),
            timer: None,
        }
    }

    /// Messages can be sent.
    #[inline]
    pub fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Alive) && self.machine.is_open()
    }

    pub fn is_alive(&self) -> bool {
        matches!(self.stage, Stage::Alive)
    }

    pub fn has_ended(&self) -> bool {
        matches!(self.stage, Stage::Closed(..))
    }
}

impl Registry {
    pub fn add(&mut self, mut state: SessionState) -> ClientSession {
        state.serial = self.next_serial;
        self.next_serial = self.next_serial.wrapping_add(1);
        ClientSession(self.sessions.insert(state))
    }

    pub fn remove(&mut self, session: ClientSession) -> Option<SessionState> {
        self.sessions.remove(session.0)
    }

    #[inline]
    pub fn get(&self, session: ClientSession) -> Option<&SessionState> {
        self.sessions.get(session.0)
    }

    #[inline]
    pub fn get_mut(&mut self, session: ClientSession) -> Option<&mut SessionState> {
        self.sessions.get_mut(session.0)
    }
}

#[inline]
pub(super) fn get(lp: &Loop, session: ClientSession) -> Option<&SessionState> {
    lp.layer::<Registry>()?.get(session)
}

#[inline]
pub(super) fn get_mut(lp: &mut Loop, session: ClientSession) -> Option<&mut SessionState> {
    lp.layer_mut::<Registry>().get_mut(session)
}

/// Queues a tick in which the session does what is due: posts packets, changes its transport, or calls its last event.
pub(super) fn settle_later(lp: &mut Loop, session: ClientSession) {
    let Some(state) = get_mut(lp, session) else { return };
    if !std::mem::replace(&mut state.is_settling, true) {
        lp.keyed_tick(session.0, |lp, key| super::settle(lp, ClientSession(key)));
    }
}

/// How long the last packets of a closed session may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Makes sure that the session's timer fires at its next deadline, or before.
pub(super) fn arm(lp: &mut Loop, session: ClientSession) {
    let now = lp.now();
    let Some(state) = get_mut(lp, session) else { return };
    let deadline = match state.stage {
        Stage::Alive => state.machine.deadline(),
        Stage::Closing => Some(now + CLOSE_TIMEOUT),
        Stage::Closed(..) => None,
    };
    let Some(deadline) = deadline else { return };
    if state.timer.is_some_and(|(_, at)| at <= deadline) {
        return;
    }
    stop_timer(lp, session);
    let limit = deadline.saturating_duration_since(now).max(Duration::from_millis(1));
    let timer = lp.start_keyed_timer(limit, session.0, |lp, key| super::expire(lp, ClientSession(key)));
    if let Some(state) = get_mut(lp, session) {
        state.timer = Some((timer, deadline));
    }
}

/// The session's timer has fired.
pub(super) fn disarm(lp: &mut Loop, session: ClientSession) {
    if let Some(state) = get_mut(lp, session) {
        state.timer = None;
    }
}

pub(super) fn stop_timer(lp: &mut Loop, session: ClientSession) {
    if let Some((timer, _)) = get_mut(lp, session).and_then(|state| state.timer.take()) {
        lp.clear(timer);
    }
}

/// Ends a session now. Its last event follows in a tick.
pub(super) fn end(lp: &mut Loop, session: ClientSession, reason: CloseReason, error: Error) {
    let Some(state) = get_mut(lp, session).filter(|state| !state.has_ended()) else { return };
    // After `close` the server may end its side before the last answer.
    let reason = if state.is_alive() { reason } else { CloseReason::ForcedClose };
    log::debug!(target: "bucle::engine_io", "{session} ends: {reason}, {error}");
    state.stage = Stage::Closed(reason, error);
    state.reading = None;
    let (poll, post, http, ws) = (state.poll.take(), state.post.take(), state.http.take(), state.ws.take());
    stop_timer(lp, session);
    for request in poll.into_iter().chain(post) {
        request.abort(lp);
    }
    if let Some(http) = http {
        http.release(lp);
    }
    if let Some(ws) = ws {
        ws.close(lp, CloseCode::NORMAL, "");
    }
    settle_later(lp, session);
}
