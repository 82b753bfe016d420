//! The client sessions of a loop. A session must be reachable while its handler runs, so the loop owns it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use super::cookies::CookieJar;
use super::machine::Machine;
use super::url::Location;
use super::{ClientHandler, ClientOptions, ClientSession};
use crate::engine_io::CloseReason;
use crate::engine_io::packet::FrameBuffer;
use crate::engine_io::payload::PayloadDecoder;
use crate::engine_io::registry::Queue;
use crate::engine_io::session::Transport;
use crate::http::{Client, HeaderMap, HeaderValue, RequestId};
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
    /// The servers to which the last WebSocket connection was made, for `remember_upgrade`.
    upgraded: Vec<Box<str>>,
}

/// How many servers [`Registry::upgraded`] remembers. Then the oldest one is forgotten.
const MAX_UPGRADED: usize = 64;

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

/// The cookies of a server, for one session or for several that follow each other.
pub(crate) type SharedJar = Rc<RefCell<CookieJar>>;

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
    /// A pong waits: among them, or in a WebSocket connection that is slow.
    pub has_pong: bool,
    /// `send` has returned `false`, so `on_drain` is due.
    pub needs_drain: bool,
    /// A tick that settles the session is queued.
    pub is_settling: bool,
    /// The program takes no messages for now.
    pub is_paused: bool,
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
    /// The transports with which the session may still be opened, the current one among them.
    pub transports: Vec<Transport>,
    /// With `with_credentials`. Shared by the sessions that follow each other; borrowed inside one function only.
    pub cookies: Option<SharedJar>,
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
        cookies: Option<SharedJar>,
    ) -> SessionState {
        SessionState {
            serial: 0,
            transports: options.transports.clone(),
            cookies,
            options,
            location: Rc::new(location),
            handler,
            stage: Stage::Alive,
            machine,
            id: String::new(),
            max_payload: usize::MAX,
            queue: Queue::default(),
            has_pong: false,
            needs_drain: false,
            is_settling: false,
            is_paused: false,
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

    /// The headers of a request: those of the program, and the cookies of the server behind its own.
    pub fn headers(&self) -> HeaderMap {
        let mut headers = self.options.headers.clone();
        let jar = self.cookies.as_ref().and_then(|jar| jar.borrow_mut().header(SystemTime::now()));
        if let Some(cookies) = jar {
            let mut values: Vec<&[u8]> = headers.get_all("cookie").iter().map(HeaderValue::as_bytes).collect();
            values.push(cookies.as_bytes());
            // Values of headers that are joined by ASCII are one again.
            if let Ok(value) = HeaderValue::try_from(values.join(&b"; "[..])) {
                headers.insert("cookie", value);
            }
        }
        headers
    }

    /// Takes the cookies of an answer.
    pub fn take_cookies(&self, headers: &HeaderMap) {
        let Some(jar) = &self.cookies else { return };
        let now = SystemTime::now();
        for set_cookie in headers.get_all("set-cookie") {
            jar.borrow_mut().set(now, set_cookie.as_bytes());
        }
    }

    /// Takes the transport that has failed out of those with which the session may be opened.
    pub fn next_transport(&mut self) -> Option<Transport> {
        let failed = self.machine.transport();
        self.transports.retain(|transport| *transport != failed);
        self.transports.first().copied()
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

    #[cfg(any(test, fuzzing))]
    pub fn holds_anything(&self) -> bool {
        self.sessions.len() > 0
    }

    /// Whether the last WebSocket connection to a server was made.
    pub fn has_upgraded(&self, authority: &str) -> bool {
        self.upgraded.iter().any(|other| **other == *authority)
    }

    /// Notes whether a WebSocket connection to a server was made.
    pub fn note_upgrade(&mut self, authority: &str, is_made: bool) {
        self.upgraded.retain(|other| **other != *authority);
        if is_made {
            if self.upgraded.len() == MAX_UPGRADED {
                self.upgraded.remove(0);
            }
            self.upgraded.push(authority.into());
        }
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

/// Notes whether the WebSocket connection of a session was made, if its options want to know.
pub(super) fn note_upgrade(lp: &mut Loop, session: ClientSession, is_made: bool) {
    let registry = lp.layer_mut::<Registry>();
    let Some(state) = registry.get(session).filter(|state| state.options.remember_upgrade) else { return };
    let location = state.location.clone();
    registry.note_upgrade(location.authority(), is_made);
}

/// A transport has failed: the session ends, or is opened with the next transport.
pub(super) fn fail(lp: &mut Loop, session: ClientSession, error: Error) {
    note_upgrade(lp, session, false);
    let Some(state) = get_mut(lp, session) else { return };
    let may_try = state.options.try_all_transports && state.is_alive() && !state.machine.is_open();
    let Some(next) = may_try.then(|| state.next_transport()).flatten() else {
        return end(lp, session, CloseReason::TransportError, error);
    };
    log::debug!(target: "bucle::engine_io", "{session}: {error}; {} is tried", next.as_str());
    state.machine.try_transport(next);
    state.ws_error = None;
    drop_connections(lp, session);
    super::open(lp, session);
}

/// Takes the connections of a session from it, and closes them.
fn drop_connections(lp: &mut Loop, session: ClientSession) {
    let Some(state) = get_mut(lp, session) else { return };
    state.reading = None;
    let (poll, post, http, ws) = (state.poll.take(), state.post.take(), state.http.take(), state.ws.take());
    for request in poll.into_iter().chain(post) {
        request.abort(lp);
    }
    if let Some(http) = http {
        http.release(lp);
    }
    if let Some(ws) = ws {
        ws.close(lp, CloseCode::NORMAL, "");
    }
}

/// Ends a session now. Its last event follows in a tick.
pub(super) fn end(lp: &mut Loop, session: ClientSession, reason: CloseReason, error: Error) {
    let Some(state) = get_mut(lp, session).filter(|state| !state.has_ended()) else { return };
    // After `close` the server may end its side before the last answer.
    let reason = if state.is_alive() { reason } else { CloseReason::ForcedClose };
    log::debug!(target: "bucle::engine_io", "{session} ends: {reason}, {error}");
    state.stage = Stage::Closed(reason, error);
    stop_timer(lp, session);
    drop_connections(lp, session);
    settle_later(lp, session);
}
