//! Records every call and event of every socket, and checks them against the rules.
//!
//! ```text
//!            connection │ connect, ready            data, text, timeout, drain               end      finish
//!   new ──▶ connecting ──▶ open ──▶ ……………………………………………………………………………………… ──▶ no data ─┐   │
//!             │             │                                                              ├─▶ (destroyed) ──▶
//! [error] ──▶ close
//!             └─────────────┴──────────────── destroy, by any cause ──────────────────────┘
//! nothing
//! ```
//!
//! The program calls its sockets through the ledger, and [`Watched`] stands between the loop and the handler of the
//! program. The ledger compares both with the kernel: the bytes that the peer got must be a prefix of the bytes that
//! were written, and the delivered bytes must be a prefix of the bytes that the peer has sent.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;

use crate::net::simulated::{Kernel, Look, Peer};
use crate::net::{Dropped, Error, Handler, ServerId, Socket, SocketOptions, Target};
use crate::{Loop, Result};

/// An event of a socket.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Event {
    Connection,
    Lookup,
    Connect,
    Ready,
    Data,
    Drain,
    End,
    Finish,
    Timeout,
    Error,
    Close,
}

/// A write or an end with a callback.
#[derive(Clone, Debug)]
struct Expected {
    is_end: bool,
    /// How many bytes had been written to the socket at the time of the call.
    offset: usize,
    /// Whether the socket was already destroyed or failed. In this case Node never calls back an end.
    is_late: bool,
    results: Vec<Option<&'static str>>,
}

/// One life of a socket: from one `connect_to` or accept to its close.
#[derive(Clone, Default)]
pub(crate) struct Account {
    pub peer: Option<Peer>,
    /// All events in order; consecutive data is one event.
    pub events: Vec<Event>,
    pub delivered: Vec<u8>,
    pub written: Vec<u8>,
    /// A pipe or a layer above also writes to the socket, without the ledger.
    pub is_written_by_others: bool,
    /// A layer above puts delivered bytes back and gets them again.
    is_delivered_again: bool,
    expected: Vec<Expected>,
    owes_drain: bool,
    /// How many bytes of each direction have been compared with the kernel already.
    compared_taken: usize,
    compared_delivered: usize,
    pub error: Option<String>,
}

impl Account {
    fn has_event(&self, event: Event) -> bool {
        self.events.contains(&event)
    }

    fn is_connected(&self) -> bool {
        self.has_event(Event::Connection) || self.has_event(Event::Connect)
    }

    /// The results of the callbacks of writes and ends, in the order of the calls.
    #[cfg(test)]
    pub fn callback_results(&self) -> Vec<Vec<Option<&'static str>>> {
        self.expected.iter().map(|expected| expected.results.clone()).collect()
    }

    fn has_ended_well(&self) -> bool {
        self.expected.iter().any(|expected| expected.is_end && expected.results == [None])
    }

    pub fn is_closed(&self) -> bool {
        self.has_event(Event::Close)
    }

    /// Why `event` may not come now, or `None` if it may.
    fn objection(&self, event: Event, look: &Look) -> Option<&'static str> {
        let table: &[(&[Event], bool, &'static str)] = &[
            (&[], self.is_closed(), "after the close"),
            (&[Event::Connection, Event::Connect], self.is_connected(), "connected twice"),
            (&[Event::Connection], !self.events.is_empty(), "not the first event"),
            (&[Event::Connect], look.is_connecting, "still connecting"),
            (&[Event::Lookup], self.is_connected(), "looked up when connected"),
            (&[Event::Ready], !self.has_event(Event::Connect), "not connected"),
            (&[Event::Data, Event::Drain, Event::End, Event::Finish], !self.is_connected(), "never connected"),
            (&[Event::Data, Event::End], self.has_event(Event::End), "after the end"),
            (&[Event::Data], look.is_paused, "while paused"),
            (
                &[Event::Connection, Event::Connect, Event::Lookup, Event::Drain, Event::Timeout],
                look.is_destroyed,
                "after the destroy",
            ),
            // As in Node a destroyed socket delivers what it has read, until `on_error` or the next tick.
            (&[Event::Data, Event::End], !look.may_deliver, "after the destroy and its tick"),
            (&[Event::Data, Event::End], self.has_event(Event::Error), "after the error"),
            // As in Node: the callbacks of an end come first and may destroy the socket, and `finish` comes all the
            // same.
            (&[Event::Finish], look.is_destroyed && !self.has_ended_well(), "after the destroy"),
            (&[Event::Drain], !self.owes_drain && !self.is_written_by_others, "not expected"),
            (&[Event::Drain], look.is_ending, "after the own end"),
            (&[Event::Finish], !look.is_ending, "without an end"),
            (&[Event::Ready], self.has_event(Event::Ready), "twice"),
            (&[Event::Finish], self.has_event(Event::Finish), "twice"),
            (&[Event::Error], self.has_event(Event::Error), "twice"),
            (&[Event::Error, Event::Close], !look.is_destroyed, "before the destroy"),
        ];
        let concerns = |events: &[Event]| events.is_empty() || events.contains(&event);
        table.iter().find(|(events, is_wrong, _)| *is_wrong && concerns(events)).map(|(_, _, why)| *why)
    }
}

/// The accounts of all sockets so far.
#[derive(Clone)]
pub(crate) struct Ledger {
    accounts: Rc<RefCell<Accounts>>,
    kernel: Kernel,
}

#[derive(Default)]
struct Accounts {
    current: BTreeMap<Socket, Account>,
    /// Earlier lives of sockets that were connected again.
    past: Vec<(Socket, Account)>,
}

impl Ledger {
    pub fn new(kernel: Kernel) -> Ledger {
        Ledger { accounts: Rc::default(), kernel }
    }

    /// The accounts of all lives: past ones first, then by socket.
    #[cfg(test)]
    pub fn accounts(&self) -> Vec<Account> {
        let accounts = self.accounts.borrow();
        let past = accounts.past.iter().map(|(_, account)| account.clone());
        past.chain(accounts.current.values().cloned()).collect()
    }

    fn with<T>(&self, socket: Socket, f: impl FnOnce(&mut Account) -> T) -> T {
        f(self.accounts.borrow_mut().current.entry(socket).or_default())
    }

    pub fn is_written_by_others(&self, socket: Socket) {
        self.with(socket, |account| account.is_written_by_others = true);
    }

    /// Telnet writes to the socket, and puts delivered bytes back.
    pub fn is_behind_telnet(&self, socket: Socket) {
        self.with(socket, |account| {
            account.is_written_by_others = true;
            account.is_delivered_again = true;
        });
    }

    pub fn written_len(&self, socket: Socket) -> usize {
        self.with(socket, |account| account.written.len())
    }

    /// Like [`Socket::new`].
    pub fn socket(&self, lp: &mut Loop, options: SocketOptions, handler: impl Handler) -> Socket {
        let socket = Socket::new(lp, options, Watched::new(self.clone(), handler));
        self.with(socket, |_| {});
        socket
    }

    /// Like [`Socket::connect_to`].
    pub fn connect_to(&self, lp: &mut Loop, socket: Socket, target: impl Into<Target>) -> Result<()> {
        let result = socket.connect_to(lp, target);
        let is_anew = result.is_ok() && self.with(socket, |account| account.is_closed());
        if is_anew {
            let mut accounts = self.accounts.borrow_mut();
            // A pipe into this socket that was set up inside its `on_close` continues in the new life.
            let is_written_by_others =
                accounts.current.get(&socket).is_some_and(|account| account.is_written_by_others);
            let account = Account { is_written_by_others, ..Account::default() };
            if let Some(account) = accounts.current.insert(socket, account) {
                accounts.past.push((socket, account));
            }
        }
        result
    }

    /// Like [`Socket::write`], and checks its result.
    pub fn write(&self, lp: &mut Loop, socket: Socket, bytes: &[u8]) -> bool {
        self.checked_write(lp, socket, bytes, |lp| socket.write(lp, bytes))
    }

    /// Like [`Socket::write_then`].
    pub fn write_then(
        &self,
        lp: &mut Loop,
        socket: Socket,
        bytes: &[u8],
        then: impl FnOnce(&mut Loop) + 'static,
    ) -> bool {
        self.checked_write(lp, socket, bytes, |lp| {
            let done = self.expect_callback(lp, socket, false, then);
            socket.write_then(lp, bytes, done)
        })
    }

    /// Like [`Socket::end_then`].
    pub fn end_then(&self, lp: &mut Loop, socket: Socket, then: impl FnOnce(&mut Loop) + 'static) {
        let done = self.expect_callback(lp, socket, true, then);
        socket.end_then(lp, done);
    }

    /// Like [`Socket::end_with`].
    pub fn end_with(&self, lp: &mut Loop, socket: Socket, bytes: &[u8]) {
        self.checked_write(lp, socket, bytes, |lp| {
            socket.end_with(lp, bytes);
            false
        });
    }

    fn checked_write(
        &self,
        lp: &mut Loop,
        socket: Socket,
        bytes: &[u8],
        write: impl FnOnce(&mut Loop) -> bool,
    ) -> bool {
        let before = socket.look(lp);
        // A corked socket takes writes also before `connect_to`.
        let takes = |look: Look| (look.is_opened || look.is_corked) && !look.is_ending && !look.is_destroyed;
        let is_taken = before.is_some_and(takes);
        if is_taken {
            // Before the call: the write may already send, and a failed write may not report it.
            self.with(socket, |account| account.written.extend_from_slice(bytes));
        }
        let answer = write(lp);
        let Some(after) = socket.look(lp) else {
            assert!(!answer || before.is_some_and(|look| look.is_opened), "{socket} accepted a write and is gone");
            return answer;
        };
        if !is_taken || after.is_ending {
            return answer;
        }
        let waiting = socket.writable_length(lp);
        let has_room = waiting == 0 || waiting < after.high_water_mark;
        if !after.is_errored {
            assert_eq!(answer, has_room, "{socket}: {waiting} of {} bytes wait", after.high_water_mark);
            assert!(answer || after.owes_drain, "{socket}: write returned false, and no drain follows");
        }
        if !answer && after.owes_drain {
            self.with(socket, |account| account.owes_drain = true);
        }
        answer
    }

    /// Like [`Socket::unshift`] with the last `n` delivered bytes.
    pub fn unshift(&self, lp: &mut Loop, socket: Socket, n: usize) {
        let Some(look) = socket.look(lp) else { return };
        let bytes = self.with(socket, |account| {
            if look.is_destroyed || account.has_event(Event::End) || account.is_closed() {
                return Vec::new();
            }
            let keep = account.delivered.len().saturating_sub(n);
            account.compared_delivered = account.compared_delivered.min(keep);
            account.delivered.split_off(keep)
        });
        socket.unshift(lp, bytes);
    }

    /// Like [`Socket::set_handler`].
    pub fn set_handler(&self, lp: &mut Loop, socket: Socket, handler: impl Handler) {
        socket.set_handler(lp, Watched::new(self.clone(), handler));
    }

    /// Like [`Socket::pipe`].
    pub fn pipe(&self, lp: &mut Loop, from: Socket, to: Socket) {
        self.is_written_by_others(to);
        from.pipe(lp, to);
    }

    /// Checks that the state of a socket is consistent, and agrees with the kernel and with the events so far.
    pub fn check_info(&self, lp: &mut Loop, socket: Socket) {
        let Some(info) = socket.info(lp) else { return };
        let unsent = socket.unsent_length(lp);
        let look = socket.look(lp).expect("it has an info");
        if !look.is_errored {
            let is_taken = info.writable && look.is_opened;
            assert_eq!(socket.write_refusal(lp).is_none(), is_taken, "{socket}: {info:?}");
        }
        assert!(!info.destroyed || !info.readable && !info.writable && !info.connecting, "{socket}: {info:?}");
        assert!(!info.writable_finished || info.writable_ended, "{socket}: {info:?}");
        assert!(!info.writable_need_drain || info.writable || look.is_errored, "{socket}: {info:?}");
        assert!(info.writable_length as u64 <= info.bytes_written, "{socket}: {info:?}");
        let Some(peer) = look.peer else { return };
        self.with(socket, |account| {
            let read = self.kernel.read_len(peer);
            assert_eq!(info.bytes_read, read as u64, "{socket}: {info:?}");
            assert!(
                account.is_delivered_again || account.delivered.len() <= read,
                "{socket} delivered more than it read"
            );
            if !look.is_errored && !look.is_connecting {
                let taken = self.kernel.taken_len(peer);
                assert_eq!(
                    (taken + unsent) as u64,
                    info.bytes_written,
                    "{socket}: {taken} taken, {unsent} unsent, {info:?}"
                );
            }
        });
    }

    /// Makes a callback whose call is recorded.
    fn expect_callback(
        &self,
        lp: &Loop,
        socket: Socket,
        is_end: bool,
        then: impl FnOnce(&mut Loop) + 'static,
    ) -> impl FnOnce(&mut Loop, Result<()>) + 'static {
        let is_late = socket.look(lp).is_none_or(|look| look.is_destroyed || look.is_errored || !look.is_opened);
        let place = self.with(socket, |account| {
            account.expected.push(Expected { is_end, offset: account.written.len(), is_late, results: Vec::new() });
            account.expected.len() - 1
        });
        let ledger = self.clone();
        let life = self.lives(socket);
        move |lp, result| {
            ledger.called_back(lp, socket, life, place, &result);
            then(lp);
        }
    }

    /// How often the socket has been connected again.
    fn lives(&self, socket: Socket) -> usize {
        self.accounts.borrow().past.iter().filter(|(past, _)| *past == socket).count()
    }

    fn called_back(&self, lp: &Loop, socket: Socket, life: usize, place: usize, result: &Result<()>) {
        let code = result.as_ref().err().map(|error| match error {
            Error::System(system) => system.syscall,
            Error::Destroyed { .. } => "destroyed",
            _ => "another",
        });
        if life != self.lives(socket) {
            let mut accounts = self.accounts.borrow_mut();
            let lives = accounts.past.iter_mut().filter(|(past, _)| *past == socket);
            if let Some((_, account)) = lives.into_iter().nth(life) {
                account.expected[place].results.push(code);
            }
            return;
        }
        let look = socket.look(lp);
        self.with(socket, |account| {
            account.expected[place].results.push(code);
            let expected = &account.expected[place];
            assert_eq!(expected.results.len(), 1, "{socket} calls back twice: {expected:?}");
            if code.is_some() {
                return;
            }
            let earlier = account.expected[..place]
                .iter()
                .filter(|earlier| !earlier.is_late && !earlier.is_end && !expected.is_end);
            for earlier in earlier {
                assert!(!earlier.results.is_empty(), "{socket} calls back {expected:?} before {earlier:?}");
            }
            let is_open = look.is_some_and(|look| look.is_opened && !look.is_destroyed);
            if let (true, false, Some(peer)) = (is_open, account.is_written_by_others, look.and_then(|look| look.peer))
            {
                let taken = self.kernel.taken_len(peer);
                assert!(
                    taken >= expected.offset,
                    "{socket} called back {expected:?}, but the kernel has only {taken} bytes"
                );
                assert!(!expected.is_end || self.kernel.is_shut(peer), "{socket} called back its end without a FIN");
            }
        });
    }

    /// Records and checks an event on its way to the program.
    pub fn record(&self, lp: &Loop, socket: Socket, event: Event) {
        log::trace!(target: "bucle::faults", "{socket} gets {event:?}");
        let look = socket.look(lp).unwrap_or_else(|| panic!("{socket} gets {event:?} and is gone"));
        self.with(socket, |account| {
            if let Some(why) = account.objection(event, &look) {
                panic!("{socket} gets {event:?} {why}; its events before: {:?}", account.events);
            }
            if event != Event::Data || account.events.last() != Some(&Event::Data) {
                account.events.push(event);
            }
            account.owes_drain &= event != Event::Drain;
            account.peer = look.peer.or(account.peer);
            if !look.is_destroyed && !look.is_errored && !account.is_written_by_others {
                assert_eq!(look.bytes_written, account.written.len() as u64, "{socket}: bytes_written");
            }
            self.check_bytes(socket, account);
        });
    }

    /// Compares the bytes since the last comparison with the kernel.
    fn check_bytes(&self, socket: Socket, account: &mut Account) {
        let Some(peer) = account.peer else { return };
        self.kernel.with_bytes(peer, |taken, sent| {
            let (from, to) = (account.compared_taken, taken.len());
            let is_written = account.is_written_by_others || account.written.get(from..to) == Some(&taken[from..]);
            assert!(is_written, "{socket}: the peer got bytes that were not written");
            account.compared_taken = to;
            let (from, to) = (account.compared_delivered.min(account.delivered.len()), account.delivered.len());
            let is_sent = || sent.get(from..to) == Some(&account.delivered[from..]);
            let is_text = || String::from_utf8_lossy(sent).as_bytes().starts_with(&account.delivered);
            let is_whole = account.is_delivered_again || is_sent() || is_text();
            assert!(is_whole, "{socket}: the delivered bytes are not the sent ones");
            account.compared_delivered = to;
        });
    }

    fn deliver(&self, socket: Socket, chunk: &[u8]) {
        assert!(!chunk.is_empty(), "{socket} got an empty chunk");
        self.with(socket, |account| account.delivered.extend_from_slice(chunk));
    }

    /// Checks after the end that every socket was closed once, every callback was called, and every descriptor is
    /// closed.
    pub fn check_at_the_end(&self) {
        let accounts = &mut *self.accounts.borrow_mut();
        let past = accounts.past.iter_mut().map(|(socket, account)| (&*socket, account));
        for (socket, account) in past.chain(&mut accounts.current) {
            let closes = account.events.iter().filter(|event| **event == Event::Close).count();
            assert_eq!(closes, 1, "{socket} got {:?}", account.events);
            for expected in &account.expected {
                let has_answer = expected.results.len() == 1 || expected.is_end && expected.is_late;
                assert!(has_answer, "{socket}: {expected:?} was not called back; its events: {:?}", account.events);
            }
            self.check_bytes(*socket, account);
        }
        for peer in self.kernel.peers() {
            assert!(!self.kernel.is_open(peer), "{peer:?}: a descriptor was not closed");
        }
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let accounts = self.accounts.borrow();
        let mut map = f.debug_map();
        for (socket, account) in &accounts.current {
            map.entry(
                socket,
                &format_args!(
                    "{:?}, {} written, expected {:?}",
                    account.events,
                    account.written.len(),
                    account.expected
                ),
            );
        }
        map.finish()
    }
}

/// A handler whose events are recorded in a ledger.
pub(crate) struct Watched<H> {
    ledger: Ledger,
    handler: H,
}

impl<H> Watched<H> {
    pub fn new(ledger: Ledger, handler: H) -> Self {
        Watched { ledger, handler }
    }
}

impl<H: Handler> Handler for Watched<H> {
    fn on_connection(&mut self, lp: &mut Loop, socket: Socket) {
        self.ledger.record(lp, socket, Event::Connection);
        self.handler.on_connection(lp, socket);
    }
    fn on_lookup(&mut self, lp: &mut Loop, socket: Socket, result: Result<IpAddr, &Error>) {
        self.ledger.record(lp, socket, Event::Lookup);
        self.handler.on_lookup(lp, socket, result);
    }
    fn on_connect(&mut self, lp: &mut Loop, socket: Socket) {
        self.ledger.record(lp, socket, Event::Connect);
        self.handler.on_connect(lp, socket);
    }
    fn on_ready(&mut self, lp: &mut Loop, socket: Socket) {
        self.ledger.record(lp, socket, Event::Ready);
        self.handler.on_ready(lp, socket);
    }
    fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
        self.ledger.deliver(socket, chunk);
        self.ledger.record(lp, socket, Event::Data);
        self.handler.on_data(lp, socket, chunk);
    }
    fn on_text(&mut self, lp: &mut Loop, socket: Socket, text: &str) {
        self.ledger.deliver(socket, text.as_bytes());
        self.ledger.record(lp, socket, Event::Data);
        self.handler.on_text(lp, socket, text);
    }
    fn on_drain(&mut self, lp: &mut Loop, socket: Socket) {
        self.ledger.record(lp, socket, Event::Drain);
        self.handler.on_drain(lp, socket);
    }
    fn on_end(&mut self, lp: &mut Loop, socket: Socket) {
        self.ledger.record(lp, socket, Event::End);
        self.handler.on_end(lp, socket);
    }
    fn on_finish(&mut self, lp: &mut Loop, socket: Socket) {
        self.ledger.record(lp, socket, Event::Finish);
        self.handler.on_finish(lp, socket);
    }
    fn on_timeout(&mut self, lp: &mut Loop, socket: Socket) {
        self.ledger.record(lp, socket, Event::Timeout);
        self.handler.on_timeout(lp, socket);
    }
    fn on_error(&mut self, lp: &mut Loop, socket: Socket, error: Error) {
        self.ledger.record(lp, socket, Event::Error);
        self.ledger.with(socket, |account| account.error = Some(error.code().to_owned()));
        self.handler.on_error(lp, socket, error);
    }
    fn on_close(&mut self, lp: &mut Loop, socket: Socket, had_error: bool) {
        self.ledger.record(lp, socket, Event::Close);
        let has_event = self.ledger.with(socket, |account| account.has_event(Event::Error));
        assert!(!had_error || has_event, "{socket} closes with an error but without an error event");
        self.handler.on_close(lp, socket, had_error);
    }
    fn on_listening(&mut self, lp: &mut Loop, server: ServerId) {
        self.handler.on_listening(lp, server);
    }
    fn on_drop(&mut self, lp: &mut Loop, server: ServerId, dropped: Dropped) {
        self.handler.on_drop(lp, server, dropped);
    }
    fn on_server_error(&mut self, lp: &mut Loop, server: ServerId, error: Error) {
        self.handler.on_server_error(lp, server, error);
    }
    fn on_server_close(&mut self, lp: &mut Loop, server: ServerId) {
        self.handler.on_server_close(lp, server);
    }
}
