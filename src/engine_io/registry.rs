//! The sessions of a loop. A session must be reachable while its handler runs, so the loop owns it and not the handler.

use std::any::Any;
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::index::Index;
use super::packet::{FrameBuffer, Queued};
use super::payload::PayloadDecoder;
use super::session::Machine;
use super::{Channels, CloseReason, Handler, Id, Options, Session};
use crate::http::compress::Encoding;
use crate::http::{Exchange, HeaderMap};
use crate::websocket::{Endpoint, Masks, WebSocket};
use crate::{HasSerial, Key, Loop, Slots, TimerId, free_vec, grow_vec};

/// All engines and sessions of a loop.
#[derive(Default)]
pub(super) struct Registry {
    engines: Vec<EngineState>,
    sessions: Slots<SessionState>,
    /// The session of each WebSocket connection, by the slot of its socket. Found for every message.
    by_socket: Vec<Option<(WebSocket, Session)>>,
    next_serial: u32,
    hasher: RandomState,
    random: Masks,
    /// Scratch: the WebSocket connections of a broadcast.
    pub receivers: Vec<WebSocket>,
    /// Scratch: a packet that is sent.
    pub packet: String,
    /// Scratch: a packet as a frame.
    pub frame: FrameBuffer,
    /// Scratch: bytes that a client has sent as base64.
    pub decoded: Vec<u8>,
}

struct EngineState {
    options: Rc<Options>,
    /// The sessions whose ids are valid, by their ids.
    by_id: Index,
    settle: Option<Settle>,
}

/// How the loop reaches the handler of an engine, whose type it does not know.
#[derive(Clone)]
pub(super) struct Settle {
    endpoint: Rc<dyn Any>,
    pub run: fn(&mut Loop, Key),
    pub expire: fn(&mut Loop, Key),
    pub read_on: fn(&mut Loop, Key),
}

impl Settle {
    pub fn of<H: Handler>(endpoint: Endpoint<Channels<H>>) -> Settle {
        let run = |lp: &mut Loop, key: Key| Channels::<H>::enter(lp, key, Channels::settle);
        let expire = |lp: &mut Loop, key: Key| Channels::<H>::enter(lp, key, Channels::expire);
        let read_on = |lp: &mut Loop, key: Key| Channels::<H>::enter(lp, key, Channels::read_on);
        Settle { endpoint: Rc::new(endpoint), run, expire, read_on }
    }
}

/// The packets that wait for a poll.
#[derive(Default)]
pub(super) struct Queue {
    packets: VecDeque<Queued>,
    bytes: usize,
}

impl Queue {
    pub fn push(&mut self, packet: Queued) {
        self.bytes += packet.size() + PER_PACKET;
        self.packets.push_back(packet);
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    pub fn len(&self) -> usize {
        self.packets.len()
    }

    /// The packets from the front.
    pub fn iter(&self) -> impl Iterator<Item = &Queued> {
        self.packets.iter()
    }

    /// Takes at most `most` packets out.
    pub fn take(&mut self, most: usize) -> Vec<Queued> {
        let taken: Vec<Queued> = self.packets.drain(..most.min(self.packets.len())).collect();
        self.bytes -= taken.iter().map(|packet| packet.size() + PER_PACKET).sum::<usize>();
        if self.packets.is_empty() {
            // An idle session has no buffer.
            *self = Queue::default();
        }
        taken
    }
}

/// The memory of a packet in the queue beside its data. It is counted, so that empty packets have a limit, too.
const PER_PACKET: usize = size_of::<Queued>();

/// A GET that waits for packets.
pub(super) struct Poll {
    pub exchange: Exchange,
    /// The headers that its answer gets beside those of the payload.
    pub headers: HeaderMap,
    /// The compression that its client accepts.
    pub encoding: Option<Encoding>,
}

/// A POST.
pub(super) enum Post {
    /// Its body is still to come.
    Receiving(Exchange),
    /// Its packets are being delivered.
    Reading { exchange: Exchange, headers: HeaderMap, decoder: PayloadDecoder },
}

/// The life of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    Open,
    /// The program has closed it, and polls still fetch what is queued.
    Closing,
    /// It has ended. `on_close` follows in a tick.
    Closed(CloseReason, &'static str),
}

pub(super) struct SessionState {
    serial: u32,
    pub engine: u32,
    pub id: Id,
    pub stage: Stage,
    pub machine: Machine,
    /// The client takes binary answers to polls.
    pub supports_binary: bool,
    /// `send` has returned `false`, so `on_drain` is due.
    pub needs_drain: bool,
    /// A tick that settles the session is queued.
    pub is_settling: bool,
    /// Its WebSocket connection, or the one that wants to take it over.
    pub ws: Option<WebSocket>,
    pub queue: Queue,
    /// The request that waits for packets.
    pub poll: Option<Box<Poll>>,
    /// The request whose packets are being received.
    pub post: Option<Box<Post>>,
    /// The number of the callback function, for a client that polls with scripts.
    pub jsonp: Option<Box<str>>,
    timer: Option<(TimerId, Instant)>,
}

impl HasSerial for SessionState {
    fn serial(&self) -> u32 {
        self.serial
    }
}

impl SessionState {
    #[inline]
    pub fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    pub fn has_ended(&self) -> bool {
        matches!(self.stage, Stage::Closed(..))
    }
}

impl Registry {
    pub fn add_engine(&mut self, options: Options) -> u32 {
        self.engines.push(EngineState { options: Rc::new(options), by_id: Index::default(), settle: None });
        self.engines.len() as u32 - 1
    }

    /// Whether there is a session, an id of one, or a WebSocket connection of one.
    #[cfg(any(test, fuzzing))]
    pub fn holds_anything(&self) -> bool {
        self.sessions.len() > 0
            || self.engines.iter().any(|engine| engine.by_id.len() > 0)
            || self.by_socket.iter().any(Option::is_some)
    }

    pub fn set_settle(&mut self, engine: u32, settle: Settle) {
        self.engines[engine as usize].settle = Some(settle);
    }

    pub fn options(&self, engine: u32) -> Rc<Options> {
        self.engines[engine as usize].options.clone()
    }

    pub fn settle(&self, engine: u32) -> Option<&Settle> {
        self.engines[engine as usize].settle.as_ref()
    }

    pub fn count(&self, engine: u32) -> usize {
        self.engines[engine as usize].by_id.len()
    }

    pub fn sessions_of(&self, engine: u32) -> impl Iterator<Item = Session> {
        self.sessions.iter().filter(move |(_, state)| state.engine == engine).map(|(key, _)| Session(key))
    }

    pub fn find(&self, engine: u32, id: &str) -> Option<Session> {
        let id = Id::parse(id)?;
        let is_it = |at| self.sessions[at].id == id;
        let at = self.engines[engine as usize].by_id.find(self.hasher.hash_one(id), is_it)?;
        Some(Session(Key::new(at as usize, self.sessions[at].serial)))
    }

    /// Adds a session.
    ///
    /// # Errors
    /// The system has no random source.
    pub fn add(&mut self, engine: u32, machine: Machine) -> crate::Result<Session> {
        let id = Id::from_random(self.random.random()?);
        let serial = self.next_serial;
        self.next_serial = self.next_serial.wrapping_add(1);
        let state = SessionState {
            serial,
            engine,
            id,
            stage: Stage::Open,
            machine,
            supports_binary: true,
            needs_drain: false,
            is_settling: false,
            ws: None,
            queue: Queue::default(),
            poll: None,
            post: None,
            jsonp: None,
            timer: None,
        };
        let session = Session(self.sessions.insert(state));
        let hash_of = |at| self.hasher.hash_one(self.sessions[at].id);
        let slot = session.0.index();
        self.engines[engine as usize].by_id.insert(self.hasher.hash_one(id), slot, hash_of);
        Ok(session)
    }

    /// The id of a session finds it no longer. Comes before [`remove`](Self::remove).
    pub fn forget_id(&mut self, session: Session) {
        let Some(state) = self.sessions.get(session.0) else { return };
        let (hash, slot) = (self.hasher.hash_one(state.id), session.0.index());
        let hash_of = |at| self.hasher.hash_one(self.sessions[at].id);
        self.engines[state.engine as usize].by_id.remove(hash, slot, hash_of);
    }

    pub fn remove(&mut self, session: Session) {
        self.sessions.remove(session.0);
        if self.sessions.len() == 0 {
            free_vec(&mut self.by_socket);
        }
    }

    /// From now on messages of this connection belong to the session.
    pub fn set_session_of(&mut self, ws: WebSocket, session: Session) {
        let slot = ws.socket().table_slot();
        if self.by_socket.len() <= slot {
            grow_vec(&mut self.by_socket, slot + 1);
            self.by_socket.resize(slot + 1, None);
        }
        self.by_socket[slot] = Some((ws, session));
    }

    #[inline]
    pub fn session_of(&self, ws: WebSocket) -> Option<Session> {
        match self.by_socket.get(ws.socket().table_slot()) {
            Some(Some((other, session))) if *other == ws => Some(*session),
            _ => None,
        }
    }

    pub fn forget_session_of(&mut self, ws: WebSocket) {
        if let Some(entry) = self.by_socket.get_mut(ws.socket().table_slot())
            && entry.is_some_and(|(other, _)| other == ws)
        {
            *entry = None;
        }
    }

    #[inline]
    pub fn get(&self, session: Session) -> Option<&SessionState> {
        self.sessions.get(session.0)
    }

    #[inline]
    pub fn get_mut(&mut self, session: Session) -> Option<&mut SessionState> {
        self.sessions.get_mut(session.0)
    }
}

#[inline]
pub(super) fn get(lp: &Loop, session: Session) -> Option<&SessionState> {
    lp.layer::<Registry>()?.get(session)
}

#[inline]
pub(super) fn get_mut(lp: &mut Loop, session: Session) -> Option<&mut SessionState> {
    lp.layer_mut::<Registry>().get_mut(session)
}

/// Queues a tick in which the engine does what the session needs: answers a poll, calls `on_drain` or `on_close`.
pub(super) fn settle_later(lp: &mut Loop, session: Session) {
    let registry = lp.layer_mut::<Registry>();
    let Some(state) = registry.get_mut(session) else { return };
    if std::mem::replace(&mut state.is_settling, true) {
        return;
    }
    let engine = state.engine;
    let Some(run) = registry.settle(engine).map(|settle| settle.run) else { return };
    lp.keyed_tick(session.0, run);
}

/// Makes sure that the session's timer fires at its next deadline, or before.
pub(super) fn arm(lp: &mut Loop, session: Session) {
    let now = lp.now();
    let registry = lp.layer_mut::<Registry>();
    let Some(state) = registry.get(session) else { return };
    let deadline = match state.stage {
        Stage::Open => state.machine.deadline(),
        Stage::Closing => now + CLOSE_TIMEOUT,
        Stage::Closed(..) => return,
    };
    if state.timer.is_some_and(|(_, at)| at <= deadline) {
        return;
    }
    let engine = state.engine;
    let Some(expire) = registry.settle(engine).map(|settle| settle.expire) else { return };
    stop_timer(lp, session);
    let limit = deadline.saturating_duration_since(now).max(Duration::from_millis(1));
    let timer = lp.start_keyed_timer(limit, session.0, expire);
    if let Some(state) = get_mut(lp, session) {
        state.timer = Some((timer, deadline));
    }
}

/// The session's timer has fired.
pub(super) fn disarm(lp: &mut Loop, session: Session) {
    if let Some(state) = get_mut(lp, session) {
        state.timer = None;
    }
}

pub(super) fn stop_timer(lp: &mut Loop, session: Session) {
    if let Some((timer, _)) = get_mut(lp, session).and_then(|state| state.timer.take()) {
        lp.clear(timer);
    }
}

/// How long polls may still fetch what a closed session has queued, as in Node.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

impl<H: Handler> Channels<H> {
    /// Calls `f` with the engine of a session, from a tick or a timer.
    fn enter(lp: &mut Loop, key: Key, f: fn(&mut Channels<H>, &mut Loop, Session)) {
        let session = Session(key);
        let registry = lp.layer_mut::<Registry>();
        let Some(engine) = registry.get(session).map(|state| state.engine) else { return };
        let Some(settle) = registry.settle(engine).cloned() else { return };
        if let Some(endpoint) = settle.endpoint.downcast_ref::<Endpoint<Channels<H>>>() {
            endpoint.with(lp, |channels, lp| f(channels, lp, session));
        }
    }
}
