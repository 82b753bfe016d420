//! A simulated kernel for tests and fuzzers: connections, backlogs, edge-triggered events, and scripted answers to
//! calls.
//!
//! ```text
//!   the test, as the peer       Kernel                              the loop
//!   ─────────────────────       ──────────────────────────────      ─────────────────────
//!   send, fin, reset ─────────▶ incoming ───────────────────── read ▶ on_data
//!   taken ◀──────────────────── taken ◀─────────────────────── write
//!   take ─────────────────────▶ window
//!   incoming_connection ──────▶ backlog ──────────────────── accept ▶ on_connection
//!                               every change is an edge ────── poll ▶ Readiness
//! ```
//!
//! The kernel is edge-triggered, as epoll is: a change puts a connection on the list `woken`, and the next poll
//! reports once what the connection is ready for at that time. Before the kernel answers a call it takes an
//! [`Answer`] from the script. The script can choose anything that a real kernel may do at any time: fail, take or
//! give fewer bytes, block, receive a FIN or RST from the peer first, and report events late, in another order,
//! twice, or for a closed descriptor. Whatever such an answer withholds comes later, with a new edge. The script
//! cannot choose what no kernel does: no byte of an open connection is lost, and no edge is lost.

mod descriptors;
mod look;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::mem;
use std::net::IpAddr;
use std::rc::Rc;

use mio::Token;

pub(super) use self::descriptors::{SimulatedListener, SimulatedStream};
pub(crate) use self::look::{Holdings, Look};
use super::listener::Listener;
use super::stream::Stream;
use crate::event_loop::{Loop, Readiness};
use crate::{Error, error_codes};

/// The default window: how many written bytes the kernel holds until the peer takes them.
const WINDOW: usize = 64 * 1024;

/// A call to the kernel.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Call {
    Poll,
    Accept,
    Connect,
    /// The result of a connect (`SO_ERROR`).
    Outcome,
    Register,
    Read,
    Write,
    Shutdown,
}

/// How the kernel answers a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    /// The call behaves normally.
    Usual,
    /// Reads and writes: transfers at most this number of bytes, and at least one.
    Short(usize),
    /// The call fails with this error; the names are those of [`error_codes`]. `EAGAIN` and `EINTR` are harmless. Any
    /// other error of a read, a write or a connect ends the connection.
    Fail(&'static str),
    /// The peer's FIN arrives just before the call.
    FinFirst,
    /// The peer's RST arrives just before the call.
    ResetFirst,
    /// A poll: reports nothing; the next poll reports everything.
    Late,
    /// A poll: reports the first event only; the next poll reports the others.
    One,
    /// A poll: reports the events in reverse order.
    Backwards,
    /// A poll: also reports the events of the previous poll again.
    Again,
    /// A poll: also reports every open connection, with or without news.
    Spurious,
    /// A poll: also reports every closed connection, as ready for everything and broken.
    Stale,
    /// A poll: reports urgent data with every event.
    Urgent,
    /// A poll: reports only that connections are writable, as kqueue does; the rest comes with the next poll.
    Writable,
}

type Script = Box<dyn FnMut(Call) -> Answer>;

/// Names a connection, and also the peer at its other end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Peer(usize);

/// The kernel that simulated descriptors and their test share. A clone is another handle of the same kernel.
#[derive(Clone, Default)]
pub(crate) struct Kernel {
    state: Rc<RefCell<State>>,
}

#[derive(Default)]
struct State {
    connections: Vec<Connection>,
    listeners: Vec<ListenerState>,
    /// Connections and listeners with something to report, in the order in which it happened.
    woken: Vec<EventSource>,
    reported: Vec<EventSource>,
    script: Option<Script>,
    /// The result of every name lookup.
    addresses: Vec<IpAddr>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum EventSource {
    Connection(usize),
    Listener(usize),
}

#[derive(Default)]
struct ListenerState {
    token: Option<Token>,
    backlog: VecDeque<usize>,
    is_closed: bool,
}

/// One connection, from the point of view of the loop.
struct Connection {
    token: Option<Token>,
    is_connecting: bool,
    incoming: VecDeque<u8>,
    /// Every byte that the peer has sent.
    sent: Vec<u8>,
    /// Every byte that the loop has written.
    taken: Vec<u8>,
    window: usize,
    /// A write found the window full, so the next `take` is an edge.
    was_refused: bool,
    has_fin: bool,
    is_shut: bool,
    is_reset: bool,
    /// Returned once, by the next read, write or `SO_ERROR`.
    error: Option<&'static str>,
    /// The loop has opened a descriptor for it, and may have closed it since.
    was_opened: bool,
    closes: u32,
}

impl Connection {
    fn new() -> Self {
        Connection {
            token: None,
            is_connecting: false,
            incoming: VecDeque::new(),
            sent: Vec::new(),
            taken: Vec::new(),
            window: WINDOW,
            was_refused: false,
            has_fin: false,
            is_shut: false,
            is_reset: false,
            error: None,
            was_opened: false,
            closes: 0,
        }
    }

    fn is_open(&self) -> bool {
        self.was_opened && self.closes == 0
    }

    /// What epoll would report now, in mio's terms on Linux.
    fn readiness(&self) -> Readiness {
        if self.is_connecting {
            return Readiness::default();
        }
        let has_ended = self.has_fin || self.is_reset;
        let is_over = self.is_reset || self.has_fin && self.is_shut;
        let is_writable = self.window > 0 || self.is_shut || self.is_reset;
        let is_broken = self.error.is_some();
        let table = [
            (Readiness::READABLE, !self.incoming.is_empty() || has_ended),
            (Readiness::WRITABLE, is_writable),
            (Readiness::READ_CLOSED, has_ended),
            (Readiness::WRITE_CLOSED, is_over || is_writable && is_broken),
            (Readiness::ERROR, is_broken),
        ];
        let set = table.into_iter().filter(|&(_, is_set)| is_set);
        set.fold(Readiness::default(), |all, (bit, _)| all | bit)
    }

    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if !self.incoming.is_empty() {
            let n = buf.len().min(self.incoming.len());
            for (place, byte) in buf.iter_mut().zip(self.incoming.drain(..n)) {
                *place = byte;
            }
            return Ok(n);
        }
        match self.error.take() {
            Some(error) => Err(failure(error)),
            None if self.has_fin || self.is_reset => Ok(0),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(error) = self.error.take() {
            return Err(failure(error));
        }
        if self.is_reset || self.is_shut {
            return Err(failure("EPIPE"));
        }
        let n = bytes.len().min(self.window);
        if n == 0 && !bytes.is_empty() {
            self.was_refused = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.window -= n;
        self.taken.extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn reset(&mut self, error: &'static str) {
        if !self.is_reset {
            self.is_reset = true;
            self.is_connecting = false;
            self.error = Some(error);
        }
    }
}

fn failure(name: &'static str) -> io::Error {
    match name {
        "EAGAIN" => io::ErrorKind::WouldBlock.into(),
        "EINTR" => io::ErrorKind::Interrupted.into(),
        _ => io::Error::from_raw_os_error(error_codes::number_of(name)),
    }
}

impl State {
    /// Lets the script decide the answer to a call.
    fn next_answer(&mut self, call: Call) -> Answer {
        self.script.as_mut().map_or(Answer::Usual, |script| script(call))
    }

    fn wake(&mut self, source: EventSource) {
        if !self.woken.contains(&source) {
            self.woken.push(source);
        }
    }

    fn event(&self, source: EventSource) -> Option<(Token, Readiness)> {
        let (token, readiness) = match source {
            EventSource::Connection(id) => {
                let connection = &self.connections[id];
                (connection.token.filter(|_| connection.is_open())?, connection.readiness())
            }
            EventSource::Listener(id) => {
                let listener = &self.listeners[id];
                let has_backlog = !listener.is_closed && !listener.backlog.is_empty();
                (listener.token?, if has_backlog { Readiness::READABLE } else { Readiness::default() })
            }
        };
        (readiness != Readiness::default()).then_some((token, readiness))
    }

    /// Lets the script decide the answer to a call on a connection, and applies what happens before the call.
    fn next_answer_on(&mut self, id: usize, call: Call) -> Answer {
        let answer = self.next_answer(call);
        let connection = &mut self.connections[id];
        match answer {
            Answer::FinFirst if !connection.is_connecting => {
                connection.has_fin = true;
                self.wake(EventSource::Connection(id));
            }
            Answer::ResetFirst => {
                connection.reset("ECONNRESET");
                self.wake(EventSource::Connection(id));
            }
            Answer::Fail("EAGAIN") => self.wake(EventSource::Connection(id)),
            Answer::Fail(error) if error != "EINTR" => {
                connection.reset(error);
                connection.error = None;
            }
            _ => {}
        }
        answer
    }
}

/// The test's side.
impl Kernel {
    /// Lets `script` decide the answer to every call.
    pub fn set_script(&self, script: impl FnMut(Call) -> Answer + 'static) {
        self.state.borrow_mut().script = Some(Box::new(script));
    }

    /// A peer connects to the server that was opened as number `server`, from 0. Returns `None` if that server is
    /// closed.
    pub fn incoming_connection(&self, server: usize) -> Option<Peer> {
        let mut state = self.state.borrow_mut();
        let id = state.connections.len();
        let listener = state.listeners.get_mut(server).filter(|listener| !listener.is_closed)?;
        listener.backlog.push_back(id);
        state.connections.push(Connection::new());
        state.wake(EventSource::Listener(server));
        Some(Peer(id))
    }

    /// All connections so far, incoming and outgoing.
    pub fn peers(&self) -> Vec<Peer> {
        (0..self.state.borrow().connections.len()).map(Peer).collect()
    }

    /// Sets the result of every name lookup.
    pub fn set_addresses(&self, addresses: Vec<IpAddr>) {
        self.state.borrow_mut().addresses = addresses;
    }

    fn change(&self, peer: Peer, change: impl FnOnce(&mut Connection)) {
        let mut state = self.state.borrow_mut();
        change(&mut state.connections[peer.0]);
        state.wake(EventSource::Connection(peer.0));
    }

    pub fn send(&self, peer: Peer, bytes: &[u8]) {
        self.change(peer, |connection| {
            if !connection.is_connecting && !connection.has_fin && !connection.is_reset {
                connection.incoming.extend(bytes);
                connection.sent.extend_from_slice(bytes);
            }
        });
    }

    pub fn fin(&self, peer: Peer) {
        self.change(peer, |connection| connection.has_fin |= !connection.is_connecting);
    }

    pub fn reset(&self, peer: Peer, error: &'static str) {
        self.change(peer, |connection| connection.reset(error));
    }

    /// Completes a connect of the loop.
    pub fn accept(&self, peer: Peer) {
        self.change(peer, |connection| connection.is_connecting = false);
    }

    /// The peer reads: `bytes` more may be written before writes block.
    pub fn take(&self, peer: Peer, bytes: usize) {
        let mut state = self.state.borrow_mut();
        let connection = &mut state.connections[peer.0];
        connection.window = connection.window.saturating_add(bytes);
        if mem::take(&mut connection.was_refused) {
            state.wake(EventSource::Connection(peer.0));
        }
    }

    /// At most `bytes` may be written until the next [`take`](Self::take).
    pub fn set_window(&self, peer: Peer, bytes: usize) {
        self.state.borrow_mut().connections[peer.0].window = bytes;
    }

    /// Whether the peer reads only a limited number of bytes.
    #[cfg(feature = "socket-io")]
    pub fn has_window(&self, peer: Peer) -> bool {
        self.look(peer, |connection| connection.window < usize::MAX / 2)
    }

    fn look<T>(&self, peer: Peer, look: impl FnOnce(&Connection) -> T) -> T {
        look(&self.state.borrow().connections[peer.0])
    }

    pub fn is_connecting(&self, peer: Peer) -> bool {
        self.look(peer, |connection| connection.is_connecting)
    }

    /// The bytes that the loop has written to the peer.
    #[cfg(test)]
    pub fn taken(&self, peer: Peer) -> Vec<u8> {
        self.look(peer, |connection| connection.taken.clone())
    }

    pub fn taken_len(&self, peer: Peer) -> usize {
        self.look(peer, |connection| connection.taken.len())
    }

    /// Passes on the bytes that the loop has written to the peer, and the bytes that the peer has sent.
    pub fn with_bytes(&self, peer: Peer, look: impl FnOnce(&[u8], &[u8])) {
        self.look(peer, |connection| look(&connection.taken, &connection.sent));
    }

    /// How many of the peer's bytes the loop has read.
    pub fn read_len(&self, peer: Peer) -> usize {
        self.look(peer, |connection| connection.sent.len() - connection.incoming.len())
    }

    /// Whether the loop has sent a FIN.
    pub fn is_shut(&self, peer: Peer) -> bool {
        self.look(peer, |connection| connection.is_shut)
    }

    /// Whether the loop has an open descriptor for it.
    pub fn is_open(&self, peer: Peer) -> bool {
        self.look(peer, Connection::is_open)
    }

    /// Whether the loop has closed its descriptor, or the peer has reset the connection.
    #[cfg(feature = "socket-io")]
    pub fn has_ended(&self, peer: Peer) -> bool {
        self.look(peer, |connection| connection.is_reset || (connection.was_opened && !connection.is_open()))
    }

    /// Whether the next poll has something to report.
    pub fn has_events(&self) -> bool {
        let state = self.state.borrow();
        state.woken.iter().any(|&source| state.event(source).is_some())
    }
}

/// The loop's side.
impl Kernel {
    /// Returns the events of this poll.
    pub fn poll(&self) -> Vec<(Token, Readiness)> {
        let state = &mut *self.state.borrow_mut();
        let answer = state.next_answer(Call::Poll);
        let mut sources = match answer {
            Answer::Late | Answer::Fail(_) => return Vec::new(),
            Answer::Writable => {
                let is_writable = |connection: &&Connection| connection.readiness().is_any(Readiness::WRITABLE);
                let writable = state.connections.iter().filter(|connection| connection.is_open()).filter(is_writable);
                return writable.filter_map(|connection| Some((connection.token?, Readiness::WRITABLE))).collect();
            }
            Answer::One if !state.woken.is_empty() => vec![state.woken.remove(0)],
            _ => mem::take(&mut state.woken),
        };
        let repeated = mem::replace(&mut state.reported, sources.clone());
        let all_connections = (0..state.connections.len()).map(EventSource::Connection);
        match answer {
            Answer::Backwards => sources.reverse(),
            Answer::Again => {
                sources.splice(..0, repeated.into_iter().filter(|old| !state.reported.contains(old))).for_each(drop)
            }
            Answer::Spurious => sources.extend(all_connections.filter(|source| !state.reported.contains(source))),
            _ => {}
        }
        let mut events: Vec<_> = sources.into_iter().filter_map(|source| state.event(source)).collect();
        match answer {
            Answer::Stale => {
                let tokens = |is_open: bool| {
                    let connections =
                        state.connections.iter().filter(move |connection| connection.is_open() == is_open);
                    connections.filter_map(|connection| connection.token)
                };
                // A socket that was connected again has the same token as its closed connection.
                let stale: Vec<_> = tokens(false).filter(|token| !tokens(true).any(|open| open == *token)).collect();
                let everything = Readiness::READABLE | Readiness::WRITABLE | Readiness::HANGUP;
                events.splice(..0, stale.into_iter().map(|token| (token, everything)));
            }
            Answer::Urgent => {
                for (_, readiness) in &mut events {
                    *readiness = *readiness | Readiness::READABLE | Readiness::PRIORITY;
                }
            }
            _ => {}
        }
        events
    }

    pub(super) fn listen(&self) -> Listener {
        let mut state = self.state.borrow_mut();
        state.listeners.push(ListenerState::default());
        Listener::Simulated(SimulatedListener { kernel: self.clone(), id: state.listeners.len() - 1 })
    }

    /// Begins to connect. The test completes it with [`accept`](Self::accept) or fails it with [`reset`](Self::reset).
    pub(super) fn connect(&self) -> io::Result<Stream> {
        let mut state = self.state.borrow_mut();
        match state.next_answer(Call::Connect) {
            Answer::Fail(error) if error != "EINTR" && error != "EAGAIN" => return Err(failure(error)),
            _ => {}
        }
        let id = state.connections.len();
        state.connections.push(Connection { is_connecting: true, ..Connection::new() });
        Ok(self.open(&mut state, id))
    }

    /// Looks up a name.
    pub(super) fn look_up(&self, host: &str, port: u16) -> super::lookup::LookupResult {
        match &self.state.borrow().addresses {
            none if none.is_empty() => Err(Error::Lookup { code: "ENOTFOUND", host: host.into() }),
            addresses => Ok(addresses.iter().map(|&ip| (ip, port).into()).collect()),
        }
    }

    fn open(&self, state: &mut State, id: usize) -> Stream {
        state.connections[id].was_opened = true;
        Stream::Simulated(SimulatedStream { kernel: self.clone(), id })
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.borrow();
        let mut list = f.debug_list();
        for connection in &state.connections {
            list.entry(&format_args!(
                "{} sent, {} unread, {} taken, window {}, fin {}, shut {}, reset {}, open {}",
                connection.sent.len(),
                connection.incoming.len(),
                connection.taken.len(),
                connection.window,
                connection.has_fin,
                connection.is_shut,
                connection.is_reset,
                connection.is_open(),
            ));
        }
        list.finish()
    }
}

impl Loop {
    /// From now on opens every new descriptor in `kernel`.
    pub(crate) fn simulate(&mut self, kernel: Kernel) {
        self.net.simulated = Some(kernel);
    }

    /// The events of the simulated kernel, if there is one.
    pub(crate) fn simulated_events(&self) -> Vec<(Token, Readiness)> {
        self.net.simulated.as_ref().map(Kernel::poll).unwrap_or_default()
    }
}
