//! A kernel of memory, for tests and fuzzers: connections, a backlog, edges, and any answer that a script wants given.
//!
//! ```text
//!   the test, as the peer       Kernel                              the loop
//!   ─────────────────────       ──────────────────────────────      ─────────────────────
//!   send, fin, reset ─────────▶ incoming ───────────────────── read ▶ on_data
//!   (what it was sent) ◀─────── taken ◀─────────────────────── write
//!   take ─────────────────────▶ window
//!   knock ────────────────────▶ backlog ──────────────────── accept ▶ on_connection
//!                               every change wakes: an edge ── poll ▶ Readiness
//! ```
//!
//! It is edge-triggered as epoll is: a change wakes a connection, and the next poll reports once all that it is ready
//! for by then. Before it answers a call it asks the script, which may have it do what a kernel may do at any time: fail,
//! take or give less, refuse for now, hear of the peer first, report late, in another order, too often, or for a
//! descriptor that is closed. What is withheld so comes later, with an edge of its own. Nothing that no kernel does is
//! done: no byte is lost on an open connection, and no edge.

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

/// How much of what is written waits in the kernel until the peer takes it, if the test does not say.
const WINDOW: usize = 64 * 1024;

/// What the kernel is asked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Call {
    Poll,
    Accept,
    Connect,
    /// How a connect went (`SO_ERROR`).
    Outcome,
    Register,
    Read,
    Write,
    Shutdown,
}

/// What it answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    /// What a kernel does that has nothing against it.
    Usual,
    /// Reads and writes: no more than so many bytes, and at least one.
    Short(usize),
    /// The call fails with this error; the names are those of [`error_codes`]. `EAGAIN` and `EINTR` harm nothing, an
    /// error of a read, a write or a connect is the end of the connection.
    Fail(&'static str),
    /// The peer's FIN arrives just before.
    FinFirst,
    /// The peer's RST arrives just before.
    ResetFirst,
    /// A poll: nothing yet; everything comes with the next one.
    Late,
    /// A poll: the first event only, the others come with the next one.
    One,
    /// A poll: the last first.
    Backwards,
    /// A poll: those of the one before too.
    Again,
    /// A poll: everything that is open, whether something has happened or not.
    Spurious,
    /// A poll: everything that is closed too, ready for everything, and broken.
    Stale,
    /// A poll: urgent data is said to be there.
    Urgent,
    /// A poll: of everybody only that it is writable, as kqueue has it; the rest comes with the next one.
    Writable,
}

type Script = Box<dyn FnMut(Call) -> Answer>;

/// Names a connection, and the peer at its other end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Peer(usize);

/// What a simulated descriptor and its test share. Cloning it gives another handle.
#[derive(Clone, Default)]
pub(crate) struct Kernel {
    state: Rc<RefCell<State>>,
}

#[derive(Default)]
struct State {
    connections: Vec<Connection>,
    listeners: Vec<Backlog>,
    /// Who has something to report, in the order in which it happened.
    woken: Vec<Waiter>,
    reported: Vec<Waiter>,
    script: Option<Script>,
    /// What a name is resolved to.
    addresses: Vec<IpAddr>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiter {
    Connection(usize),
    Listener(usize),
}

#[derive(Default)]
struct Backlog {
    token: Option<Token>,
    newcomers: VecDeque<usize>,
    is_closed: bool,
}

/// One connection, as the loop's side of the kernel sees it.
struct Connection {
    token: Option<Token>,
    is_connecting: bool,
    incoming: VecDeque<u8>,
    /// Everything that the peer has ever sent.
    sent: Vec<u8>,
    /// Everything that the loop has ever written.
    taken: Vec<u8>,
    window: usize,
    /// A write found the window closed: its opening is an edge.
    was_refused: bool,
    has_fin: bool,
    is_shut: bool,
    is_reset: bool,
    /// Told to the next read, write or `SO_ERROR`, once.
    error: Option<&'static str>,
    /// The loop has, or had, its descriptor.
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

    /// What epoll would report now, as mio reads it on Linux.
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
    /// Has the script decide what becomes of a call.
    fn ask(&mut self, call: Call) -> Answer {
        self.script.as_mut().map_or(Answer::Usual, |script| script(call))
    }

    fn wake(&mut self, waiter: Waiter) {
        if !self.woken.contains(&waiter) {
            self.woken.push(waiter);
        }
    }

    fn event(&self, waiter: Waiter) -> Option<(Token, Readiness)> {
        let (token, readiness) = match waiter {
            Waiter::Connection(id) => {
                let connection = &self.connections[id];
                (connection.token.filter(|_| connection.is_open())?, connection.readiness())
            }
            Waiter::Listener(id) => {
                let backlog = &self.listeners[id];
                let is_waited_for = !backlog.is_closed && !backlog.newcomers.is_empty();
                (backlog.token?, if is_waited_for { Readiness::READABLE } else { Readiness::default() })
            }
        };
        (readiness != Readiness::default()).then_some((token, readiness))
    }

    /// A call on a connection: what the script has happen first, and what it wants answered.
    fn ask_for(&mut self, id: usize, call: Call) -> Answer {
        let answer = self.ask(call);
        let connection = &mut self.connections[id];
        match answer {
            Answer::FinFirst if !connection.is_connecting => {
                connection.has_fin = true;
                self.wake(Waiter::Connection(id));
            }
            Answer::ResetFirst => {
                connection.reset("ECONNRESET");
                self.wake(Waiter::Connection(id));
            }
            Answer::Fail("EAGAIN") => self.wake(Waiter::Connection(id)),
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
    /// Has every call decided by `script`.
    pub fn set_script(&self, script: impl FnMut(Call) -> Answer + 'static) {
        self.state.borrow_mut().script = Some(Box::new(script));
    }

    /// Somebody connects to the server that listened as the `listener`th. `None` if it does not.
    pub fn knock(&self, listener: usize) -> Option<Peer> {
        let mut state = self.state.borrow_mut();
        let id = state.connections.len();
        let backlog = state.listeners.get_mut(listener).filter(|backlog| !backlog.is_closed)?;
        backlog.newcomers.push_back(id);
        state.connections.push(Connection::new());
        state.wake(Waiter::Listener(listener));
        Some(Peer(id))
    }

    /// The connections that there have been so far, those of knocks and those of connects.
    pub fn peers(&self) -> Vec<Peer> {
        (0..self.state.borrow().connections.len()).map(Peer).collect()
    }

    /// What names are resolved to.
    pub fn set_addresses(&self, addresses: Vec<IpAddr>) {
        self.state.borrow_mut().addresses = addresses;
    }

    fn change(&self, peer: Peer, change: impl FnOnce(&mut Connection)) {
        let mut state = self.state.borrow_mut();
        change(&mut state.connections[peer.0]);
        state.wake(Waiter::Connection(peer.0));
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

    /// A connect succeeds.
    pub fn accept(&self, peer: Peer) {
        self.change(peer, |connection| connection.is_connecting = false);
    }

    /// So many bytes more may be written until it blocks.
    pub fn take(&self, peer: Peer, bytes: usize) {
        let mut state = self.state.borrow_mut();
        let connection = &mut state.connections[peer.0];
        connection.window = connection.window.saturating_add(bytes);
        if mem::take(&mut connection.was_refused) {
            state.wake(Waiter::Connection(peer.0));
        }
    }

    /// Until the next [`take`](Self::take) no more than so many bytes may be written.
    pub fn set_window(&self, peer: Peer, bytes: usize) {
        self.state.borrow_mut().connections[peer.0].window = bytes;
    }

    fn look<T>(&self, peer: Peer, look: impl FnOnce(&Connection) -> T) -> T {
        look(&self.state.borrow().connections[peer.0])
    }

    pub fn is_connecting(&self, peer: Peer) -> bool {
        self.look(peer, |connection| connection.is_connecting)
    }

    /// What the loop has written to it.
    #[cfg(test)]
    pub fn taken(&self, peer: Peer) -> Vec<u8> {
        self.look(peer, |connection| connection.taken.clone())
    }

    pub fn taken_len(&self, peer: Peer) -> usize {
        self.look(peer, |connection| connection.taken.len())
    }

    /// What the loop has written to it, and what it has sent.
    pub fn with_bytes(&self, peer: Peer, look: impl FnOnce(&[u8], &[u8])) {
        self.look(peer, |connection| look(&connection.taken, &connection.sent));
    }

    /// How much of what it has sent the loop has read.
    pub fn read_len(&self, peer: Peer) -> usize {
        self.look(peer, |connection| connection.sent.len() - connection.incoming.len())
    }

    /// Whether the loop has sent its FIN.
    pub fn is_shut(&self, peer: Peer) -> bool {
        self.look(peer, |connection| connection.is_shut)
    }

    /// Whether the loop has its descriptor.
    pub fn is_open(&self, peer: Peer) -> bool {
        self.look(peer, Connection::is_open)
    }

    /// Whether something is to be reported.
    pub fn has_events(&self) -> bool {
        let state = self.state.borrow();
        state.woken.iter().any(|&waiter| state.event(waiter).is_some())
    }
}

/// The loop's side.
impl Kernel {
    /// What the poll reports.
    pub fn poll(&self) -> Vec<(Token, Readiness)> {
        let state = &mut *self.state.borrow_mut();
        let answer = state.ask(Call::Poll);
        let mut waiters = match answer {
            Answer::Late | Answer::Fail(_) => return Vec::new(),
            Answer::Writable => {
                let is_writable = |connection: &&Connection| connection.readiness().is_any(Readiness::WRITABLE);
                let writable = state.connections.iter().filter(|connection| connection.is_open()).filter(is_writable);
                return writable.filter_map(|connection| Some((connection.token?, Readiness::WRITABLE))).collect();
            }
            Answer::One if !state.woken.is_empty() => vec![state.woken.remove(0)],
            _ => mem::take(&mut state.woken),
        };
        let repeated = mem::replace(&mut state.reported, waiters.clone());
        let everybody = (0..state.connections.len()).map(Waiter::Connection);
        match answer {
            Answer::Backwards => waiters.reverse(),
            Answer::Again => {
                waiters.splice(..0, repeated.into_iter().filter(|old| !state.reported.contains(old))).for_each(drop)
            }
            Answer::Spurious => waiters.extend(everybody.filter(|waiter| !state.reported.contains(waiter))),
            _ => {}
        }
        let mut events: Vec<_> = waiters.into_iter().filter_map(|waiter| state.event(waiter)).collect();
        match answer {
            Answer::Stale => {
                let tokens = |is_open: bool| {
                    let connections =
                        state.connections.iter().filter(move |connection| connection.is_open() == is_open);
                    connections.filter_map(|connection| connection.token)
                };
                // A socket that was connected again has the name it had.
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
        state.listeners.push(Backlog::default());
        Listener::Simulated(SimulatedListener { kernel: self.clone(), id: state.listeners.len() - 1 })
    }

    /// Begins to connect: the test says with [`accept`](Self::accept) or [`reset`](Self::reset) how it goes.
    pub(super) fn connect(&self) -> io::Result<Stream> {
        let mut state = self.state.borrow_mut();
        match state.ask(Call::Connect) {
            Answer::Fail(error) if error != "EINTR" && error != "EAGAIN" => return Err(failure(error)),
            _ => {}
        }
        let id = state.connections.len();
        state.connections.push(Connection { is_connecting: true, ..Connection::new() });
        Ok(self.open(&mut state, id))
    }

    /// What a name is resolved to.
    pub(super) fn look_up(&self, host: &str, port: u16) -> super::lookup::Answer {
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
    /// Has everything that is opened from now on be opened in `kernel`.
    pub(crate) fn simulate(&mut self, kernel: Kernel) {
        self.net.simulated = Some(kernel);
    }

    /// What the simulated kernel reports, if there is one.
    pub(crate) fn simulated_events(&self) -> Vec<(Token, Readiness)> {
        self.net.simulated.as_ref().map(Kernel::poll).unwrap_or_default()
    }
}
