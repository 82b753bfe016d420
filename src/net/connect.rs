//! Connecting: to an address, a path, or a name with several addresses.
//!
//! ```text
//!   connect_to ─┬─ IP ──── a tick ───────────────▶ connect(2) ─┐
//!               ├─ path ── immediately ──────────▶ connect(2) ─┼─ writable ─▶ on_connect, early writes, on_ready
//!               └─ name ── helper thread, poll ──▶ connect(2) ─┘      │
//!                                                      ▲           failed, or 250 ms have passed: the next address
//!                                                      └──────────────┘
//! ```
//!
//! The addresses of a name are tried one after another, alternating between IPv6 and IPv4. So a broken IPv6 route costs
//! a quarter of a second and not a minute (RFC 8305, "Happy Eyeballs"; Node's `autoSelectFamily`).
//!
//! A socket can be destroyed, and connected again, while a lookup, a tick or a timer of an earlier attempt is under
//! way. Each call of `connect_to` therefore has a number, and each of these carries it: if it is not the number of the
//! current attempt, nothing happens.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::dial::{failed_at_path, open_tcp, open_unix};
use super::endpoint::{Resolution, failed_on, literal};
use super::lookup::LookupResult;
use super::state::flag::*;
use super::state::{Link, SocketState, Writing};
use super::stream::Stream;
use super::{Error, Family, NetTick, NetTimer, Pending, Socket, Target};
use crate::Result;
use crate::error_codes;
use crate::event_loop::TimerId;
use crate::event_loop::token::TokenKind;
use crate::event_loop::{Kind, Loop};

/// How long one address is tried before the next one; Node's `autoSelectFamilyAttemptTimeout`.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(250);

/// The host if none is given; Node's default.
pub(super) const LOCALHOST: &str = "localhost";

/// One call of `connect_to`, until it has succeeded or failed.
#[derive(Default)]
pub(super) struct Connecting {
    /// The number of this call among all calls of `connect_to` in the loop.
    number: u64,
    /// Addresses that have not been tried yet.
    addresses: VecDeque<SocketAddr>,
    /// The address that is being tried.
    current: Option<SocketAddr>,
    path: Option<PathBuf>,
    /// Bound before connecting.
    local: Option<SocketAddr>,
    /// The errors of the addresses before `current`.
    failures: Vec<Error>,
    /// Runs only while there is another address to try.
    pub attempt_timer: Option<TimerId>,
}

impl Connecting {
    pub fn is_path(&self) -> bool {
        self.path.is_some()
    }

    /// The error of the current address or path.
    pub fn failed(&self, error: &io::Error) -> Error {
        match (self.current, &self.path) {
            (Some(address), _) => failed_on("connect", error, address),
            (None, Some(path)) => failed_at_path(error, path),
            (None, None) => Error::system("connect", error),
        }
    }
}

impl Loop {
    /// `connect_to`. Returns the errors that Node throws; others arrive in `on_error`.
    pub(super) fn connect_socket(&mut self, socket: Socket, target: Target) -> Result<()> {
        let Target { endpoint, family, local_address, local_port } = target;
        let Some(state) = self.net.socket_mut(socket) else { return Err(Error::Gone) };
        // After `on_close` has begun the socket may be connected again, as in Node.
        if state.is_closing() {
            self.prepare_new_life(socket);
        } else if state.is(DESTROYED) || state.is(OPENED) && !state.has_failed_to_dial() {
            return Err(Error::AlreadyConnected);
        }
        let Some(state) = self.net.socket_mut(socket) else { return Err(Error::Gone) };
        // From here on the socket is connecting, as in Node, even if one of the checks below returns an error.
        state.set_link(Link::Connecting);
        if state.writing() != Writing::Open {
            // Ended before: the FIN follows the connection. Until then the socket takes writes again.
            state.set_writing(Writing::Open);
            state.more().ends_on_connect = true;
        }
        if let Some(timer) = state.idle_timer {
            self.restart_timer(timer);
        }
        let local = match local_address {
            Some(text) => match literal(&text, local_port, "bind") {
                Some(Ok(address)) => Some(address),
                _ => return Err(Error::InvalidIpAddress(text.into())),
            },
            None if local_port != 0 => Some(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), local_port)),
            None => None,
        };
        let port = endpoint.check()?;
        self.net.attempts += 1;
        let number = self.net.attempts;
        let Some(state) = self.net.socket_mut(socket) else { return Err(Error::Gone) };
        state.more().connecting = Some(Box::new(Connecting { number, local, ..Connecting::default() }));
        match endpoint.resolution(port, "connect") {
            Resolution::NoHost => self.look_up(socket, number, (LOCALHOST, port), family),
            Resolution::Name(host) => self.look_up(socket, number, (host, port), family),
            Resolution::Address(Ok(address)) => {
                if let Some(connecting) = self.connecting(socket) {
                    connecting.addresses.push_back(address);
                }
                self.tick(NetTick::Connect(socket, number));
            }
            Resolution::Address(Err(error)) => self.tick(NetTick::Destroy(socket, Box::new(error))),
            Resolution::Path(path) => self.connect_path(socket, path),
        }
        self.recount(socket);
        Ok(())
    }

    /// A closed socket is connected again. Work in the pending queue that belongs to its last connection is removed,
    /// and writes that wait fail in a tick. Callbacks of ends fail with the write in flight, if there is one. Otherwise
    /// they wait on, as in Node: for the end of the new connection, or for its destroy.
    fn prepare_new_life(&mut self, socket: Socket) {
        self.net.pending.retain(|(pending, _)| pending.socket() != socket);
        let Some((state, outboxes)) = self.net.socket_and_outboxes(socket) else { return };
        let fails_ends = state.has_early_write(outboxes);
        let outbox = state.outbox.take();
        let ends = state.more.as_mut().filter(|_| fails_ends).map(|more| std::mem::take(&mut more.end_callbacks));
        let tag = std::mem::take(&mut state.tag);
        state.reset_for_new_life();
        self.net.tables.forget(socket, tag);
        let writes = outbox.map(|outbox| self.take_back(outbox)).unwrap_or_default();
        // In a tick, because `connect_to` must not call the program.
        for callback in writes.into_iter().chain(ends.unwrap_or_default()) {
            self.call_back(socket, Some(callback), Err(Error::ClosedBeforeConnection));
        }
    }

    /// Starts a lookup on the helper thread. Its answer arrives in the poll phase, as
    /// [`lookup_finished`](Self::lookup_finished).
    fn look_up(&mut self, socket: Socket, number: u64, (host, port): (&str, u16), family: Option<Family>) {
        let name = host.to_owned();
        let on_answer = move |lp: &mut Loop, answer: LookupResult| {
            let answer = answer.and_then(|addresses| only_family(addresses, family, &name));
            lp.lookup_finished(socket, number, answer);
        };
        let remote = self.remote();
        #[cfg(any(test, fuzzing))]
        if let Some(kernel) = &self.net.simulated {
            let answer = kernel.look_up(host, port);
            remote.post_internal(move |lp| on_answer(lp, answer));
            return;
        }
        self.net.resolver.look_up((host, port), remote, on_answer);
    }

    /// The lookup has succeeded or failed: `on_lookup` for each address, as in Node, then the first attempt.
    fn lookup_finished(&mut self, socket: Socket, number: u64, answer: LookupResult) {
        if self.attempt(socket, number).is_none() {
            return;
        }
        let addresses = match answer {
            Ok(addresses) => addresses,
            Err(error) => {
                self.emit(socket, Kind::OnLookup, 0, |handler, lp| handler.on_lookup(lp, socket, Err(&error)));
                return self.tick(NetTick::Destroy(socket, Box::new(error)));
            }
        };
        for &address in &addresses {
            if self.attempt(socket, number).is_none() {
                return; // Destroyed in the `on_lookup` of an earlier address.
            }
            self.emit(socket, Kind::OnLookup, 0, |handler, lp| handler.on_lookup(lp, socket, Ok(address.ip())));
        }
        // The last `on_lookup` may have destroyed the socket, too.
        let Some(connecting) = self.attempt(socket, number) else { return };
        connecting.addresses = alternate_families(addresses);
        self.connect_next(socket);
    }

    /// The tick after `connect_to` with an address. As in Node, a socket that was destroyed before makes no system
    /// call.
    pub(super) fn begin_attempt(&mut self, socket: Socket, number: u64) {
        if self.attempt(socket, number).is_some() {
            self.connect_next(socket);
        }
    }

    /// The state of an attempt, if it is still the current one.
    fn attempt(&mut self, socket: Socket, number: u64) -> Option<&mut Connecting> {
        self.connecting(socket).filter(|connecting| connecting.number == number)
    }

    /// The state of the current attempt, if the socket is connecting.
    pub(super) fn connecting(&mut self, socket: Socket) -> Option<&mut Connecting> {
        let state = self.net.socket_mut(socket)?;
        if state.among(CONNECTING | DESTROYED) != CONNECTING {
            return None;
        }
        state.more.as_mut()?.connecting.as_deref_mut()
    }

    /// Tries the next address. If there is none left, the attempt has failed.
    pub(super) fn connect_next(&mut self, socket: Socket) {
        let Some(connecting) = self.connecting(socket) else { return };
        let Some(address) = connecting.addresses.pop_front() else {
            // As in Node: the error of a single address, or one error for all addresses.
            let failures = std::mem::take(&mut connecting.failures);
            let error = match <[Error; 1]>::try_from(failures) {
                Ok([only]) => only,
                Err(failures) => Error::AllAttemptsFailed(failures.into()),
            };
            return self.destroy_socket(socket, Some(error));
        };
        connecting.current = Some(address);
        log::debug!(target: "bucle::net", "{socket} connecting to {address}");
        let local = connecting.local;
        let has_more = !connecting.addresses.is_empty();
        #[cfg(any(test, fuzzing))]
        let opened = match &self.net.simulated {
            Some(kernel) => kernel.connect().map_err(|error| ("connect", error)),
            None => open_tcp(address, local).map(Stream::Tcp),
        };
        #[cfg(not(any(test, fuzzing)))]
        let opened = open_tcp(address, local).map(Stream::Tcp);
        match opened {
            Ok(stream) => self.await_connection(socket, stream, has_more),
            Err((syscall, error)) => {
                // A failed bind is about the local address.
                let at = if syscall == "bind" { local.unwrap_or(address) } else { address };
                self.attempt_failed(socket, failed_on(syscall, &error, at));
            }
        }
    }

    /// Connects to a unix path, inside the call of `connect_to`.
    fn connect_path(&mut self, socket: Socket, path: &Path) {
        #[cfg(any(test, fuzzing))]
        let opened = match &self.net.simulated {
            Some(kernel) => kernel.connect().map_err(|error| failed_at_path(&error, path)),
            None => open_unix(path).map(Stream::Unix),
        };
        #[cfg(not(any(test, fuzzing)))]
        let opened = open_unix(path).map(Stream::Unix);
        // Also if it has failed: the error of the attempt names the path.
        if let Some(connecting) = self.connecting(socket) {
            connecting.path = Some(path.to_owned());
        }
        match opened {
            Ok(stream) => self.await_connection(socket, stream, false),
            Err(error) => {
                // As in libuv, a path that fails immediately is reported in the pending phase.
                let cause = self.cause();
                self.net.pending.push_back((Pending::ConnectFailed(socket, Box::new(error)), cause));
            }
        }
    }

    /// The kernel is connecting. A writable event follows, on success and on failure.
    fn await_connection(&mut self, socket: Socket, mut stream: Stream, has_more: bool) {
        if let Err(error) = stream.register(&self.registry, socket.0.token(TokenKind::Socket)) {
            return self.attempt_failed(socket, Error::system("connect", &error));
        }
        self.note(Kind::Connect, socket.serial(), 0);
        let Some(state) = self.net.socket_mut(socket) else { return };
        state.stream = stream;
        // They describe the descriptor of the address before.
        state.clear(READABLE | HANGUP | BROKEN | URGENT);
        let Some(number) = self.connecting(socket).map(|connecting| connecting.number) else { return };
        let timer = has_more.then(|| self.start_net_timer(ATTEMPT_TIMEOUT, NetTimer::Attempt(socket, number)));
        if let Some(connecting) = self.connecting(socket) {
            connecting.attempt_timer = timer;
        }
    }

    /// The current address has not answered in time, and there is another one to try.
    pub(super) fn attempt_timed_out(&mut self, socket: Socket, number: u64) {
        let Some(connecting) = self.attempt(socket, number) else { return };
        let error = connecting.failed(&io::Error::from_raw_os_error(error_codes::ETIMEDOUT));
        self.attempt_failed(socket, error);
    }

    /// One address has failed: tries the next one, or destroys the socket.
    pub(super) fn attempt_failed(&mut self, socket: Socket, error: Error) {
        let Some(connecting) = self.connecting(socket) else { return };
        let timer = connecting.attempt_timer.take();
        if connecting.addresses.is_empty() && connecting.failures.is_empty() {
            // The only address. `destroy_socket` closes the descriptor.
            return self.destroy_socket(socket, Some(error));
        }
        connecting.failures.push(error);
        if let Some(timer) = timer {
            self.timers_clear(timer);
        }
        // Closes the descriptor. If this poll has already fetched an event of it, `finish_connect` detects that.
        if let Some(state) = self.net.socket_mut(socket) {
            state.stream = Stream::None;
        }
        self.connect_next(socket);
    }
}

impl SocketState {
    /// Whether `connect_to` has returned an error: the socket is connecting, and nothing is under way. It may be called
    /// again.
    fn has_failed_to_dial(&self) -> bool {
        self.link() == Link::Connecting && self.more.as_ref().is_none_or(|more| more.connecting.is_none())
    }
}

/// All addresses of a name. With a family, only the first address of that family, as Node's lookup returns.
fn only_family(mut addresses: Vec<SocketAddr>, family: Option<Family>, host: &str) -> LookupResult {
    if let Some(family) = family {
        addresses.retain(|address| Family::from(address.ip()) == family);
        addresses.truncate(1);
    }
    if addresses.is_empty() { Err(Error::Lookup { code: "ENOTFOUND", host: host.into() }) } else { Ok(addresses) }
}

/// The addresses without repetitions, alternating between the two families. The first address stays the first.
fn alternate_families(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let begins_with_v4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (mut one, mut other) = (Vec::new(), Vec::new());
    for address in addresses {
        let family = if address.is_ipv4() == begins_with_v4 { &mut one } else { &mut other };
        if !family.contains(&address) {
            family.push(address);
        }
    }
    let mut other = other.into_iter();
    let mut turns = VecDeque::new();
    for address in one {
        turns.push_back(address);
        turns.extend(other.next());
    }
    turns.extend(other);
    turns
}

#[cfg(test)]
mod tests;
