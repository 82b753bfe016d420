//! Connecting: to an address, a path, or a name with several addresses.
//!
//! ```text
//!   connect_to ─┬─ IP ──── a tick ───────────────▶ connect(2) ─┐
//!               ├─ path ── at once ──────────────▶ connect(2) ─┼─ writable ─▶ on_connect, queued writes, on_ready
//!               └─ name ── helper thread, poll ──▶ connect(2) ─┘      │
//!                                                      ▲           failed, or 250 ms and there is another address
//!                                                      └──────────────┘
//! ```
//!
//! A name with addresses of both families is tried in turns, one of each family, so that a broken IPv6 route costs a
//! quarter of a second and not a minute (RFC 8305, "Happy Eyeballs"; Node's `autoSelectFamily`).

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::dial::{failed_at_path, open_tcp, open_unix};
use super::endpoint::{Resolution, failed_on, literal};
use super::lookup::LookupResult;
use super::state::Link;
use super::state::flag::*;
use super::stream::Stream;
use super::{Error, Family, NetTick, NetTimer, Pending, Socket, Target};
use crate::Result;
use crate::error_codes;
use crate::event_loop::TimerId;
use crate::event_loop::token::TokenKind;
use crate::event_loop::{Kind, Loop};

/// How long one address of several is tried before the next one is; Node's `autoSelectFamilyAttemptTimeout`.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(250);

/// Where no host is named; Node's default.
pub(super) const LOCALHOST: &str = "localhost";

/// An attempt to connect, from the call to its success or failure.
#[derive(Default)]
pub(super) struct Connecting {
    /// Which of all calls of `connect_to` it is. The socket may be destroyed and connected again before an answer comes.
    number: u64,
    /// What has not been tried yet.
    addresses: VecDeque<SocketAddr>,
    current: Option<SocketAddr>,
    path: Option<PathBuf>,
    local: Option<SocketAddr>,
    failures: Vec<Error>,
    pub attempt_timer: Option<TimerId>,
}

impl Connecting {
    pub fn is_path(&self) -> bool {
        self.path.is_some()
    }

    /// A failed call on the address or path of the moment.
    pub fn failed(&self, error: &io::Error) -> Error {
        match (self.current, &self.path) {
            (Some(address), _) => failed_on("connect", error, address),
            (None, Some(path)) => failed_at_path(error, path),
            (None, None) => Error::system("connect", error),
        }
    }
}

impl Loop {
    /// `connect_to`. What Node throws comes back; what fails later arrives in `on_error`.
    pub(super) fn connect_socket(&mut self, socket: Socket, target: Target) -> Result<()> {
        let Target { endpoint, family, local_address, local_port } = target;
        let port = endpoint.check()?;
        let local = match local_address {
            Some(text) => match literal(&text, local_port, "bind") {
                Some(Ok(address)) => Some(address),
                _ => return Err(Error::InvalidIpAddress(text.into())),
            },
            None if local_port != 0 => Some(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), local_port)),
            None => None,
        };
        let Some(state) = self.net.socket_mut(socket) else { return Err(Error::Gone) };
        if state.is(CLOSING) {
            self.begin_life_anew(socket);
        } else if state.is(OPENED | DESTROYED) {
            return Err(Error::AlreadyConnected);
        }
        self.net.attempts += 1;
        let number = self.net.attempts;
        let Some(state) = self.net.socket_mut(socket) else { return Err(Error::Gone) };
        state.set_link(Link::Connecting);
        let idle_timer = state.idle_timer;
        state.more().connecting = Some(Box::new(Connecting { number, local, ..Connecting::default() }));
        if let Some(timer) = idle_timer {
            self.restart_timer(timer);
        }
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

    /// A closed socket is connected again. What its last life has left undone is not this one's: writes and ends that
    /// still wait hear that they will not happen, and no shutdown or failure of then is waited for.
    fn begin_life_anew(&mut self, socket: Socket) {
        self.net.pending.retain(|(pending, _)| pending.socket() != socket);
        let Some(state) = self.net.socket_mut(socket) else { return };
        let outbox = state.take_outbox();
        let ends = state.more.as_mut().map(|more| std::mem::take(&mut more.end_callbacks)).unwrap_or_default();
        let tag = std::mem::take(&mut state.tag);
        state.begin_life();
        self.net.tables.forget(socket, tag);
        let writes = outbox.map(|outbox| self.take_back(outbox)).unwrap_or_default();
        for callback in writes.into_iter().chain(ends) {
            self.call_back(socket, Some(callback), Err(Error::ClosedBeforeConnection));
        }
    }

    fn look_up(&mut self, socket: Socket, number: u64, (host, port): (&str, u16), family: Option<Family>) {
        let name = host.to_owned();
        let on_answer = move |lp: &mut Loop, answer: LookupResult| {
            let answer = answer.and_then(|addresses| of_family(addresses, family, &name));
            lp.looked_up(socket, number, answer);
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

    /// The name's addresses are known, or not.
    fn looked_up(&mut self, socket: Socket, number: u64, answer: LookupResult) {
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
                return; // Destroyed when it heard of an earlier one.
            }
            self.emit(socket, Kind::OnLookup, 0, |handler, lp| handler.on_lookup(lp, socket, Ok(address.ip())));
        }
        let Some(connecting) = self.attempt(socket, number) else { return };
        connecting.addresses = in_turns(addresses);
        self.connect_next(socket);
    }

    /// The tick after `connect_to` with an address.
    pub(super) fn begin_attempt(&mut self, socket: Socket, number: u64) {
        if self.attempt(socket, number).is_some() {
            self.connect_next(socket);
        }
    }

    /// What is known of an attempt to connect, unless it is over.
    fn attempt(&mut self, socket: Socket, number: u64) -> Option<&mut Connecting> {
        self.connecting(socket).filter(|connecting| connecting.number == number)
    }

    pub(super) fn connecting(&mut self, socket: Socket) -> Option<&mut Connecting> {
        let state = self.net.socket_mut(socket)?;
        if state.among(CONNECTING | DESTROYED) != CONNECTING {
            return None;
        }
        state.more.as_mut()?.connecting.as_deref_mut()
    }

    /// Tries the next address.
    pub(super) fn connect_next(&mut self, socket: Socket) {
        let Some(connecting) = self.connecting(socket) else { return };
        let Some(address) = connecting.addresses.pop_front() else {
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
                let at = if syscall == "bind" { local.unwrap_or(address) } else { address };
                self.attempt_failed(socket, failed_on(syscall, &error, at));
            }
        }
    }

    fn connect_path(&mut self, socket: Socket, path: &Path) {
        #[cfg(any(test, fuzzing))]
        let opened = match &self.net.simulated {
            Some(kernel) => kernel.connect().map_err(|error| failed_at_path(&error, path)),
            None => open_unix(path).map(Stream::Unix),
        };
        #[cfg(not(any(test, fuzzing)))]
        let opened = open_unix(path).map(Stream::Unix);
        if let Some(connecting) = self.connecting(socket) {
            connecting.path = Some(path.to_owned());
        }
        match opened {
            Ok(stream) => self.await_connection(socket, stream, false),
            Err(error) => {
                let cause = self.cause();
                self.net.pending.push_back((Pending::ConnectFailed(socket, Box::new(error)), cause));
            }
        }
    }

    /// The kernel is connecting: the poll will say how it went.
    fn await_connection(&mut self, socket: Socket, mut stream: Stream, has_more: bool) {
        if let Err(error) = stream.register(&self.registry, socket.0.token(TokenKind::Socket)) {
            return self.attempt_failed(socket, Error::system("connect", &error));
        }
        self.note(Kind::Connect, socket.serial(), 0);
        let Some(state) = self.net.socket_mut(socket) else { return };
        state.stream = stream;
        state.clear(READABLE | HANGUP | BROKEN);
        let Some(number) = self.connecting(socket).map(|connecting| connecting.number) else { return };
        let timer = has_more.then(|| self.start_net_timer(ATTEMPT_TIMEOUT, NetTimer::Attempt(socket, number)));
        if let Some(connecting) = self.connecting(socket) {
            connecting.attempt_timer = timer;
        }
    }

    /// The current address has not answered in time, and there is another one.
    pub(super) fn attempt_timed_out(&mut self, socket: Socket, number: u64) {
        let Some(connecting) = self.attempt(socket, number) else { return };
        let error = connecting.failed(&io::Error::from_raw_os_error(error_codes::ETIMEDOUT));
        self.attempt_failed(socket, error);
    }

    /// One address failed: the next one, or the end.
    pub(super) fn attempt_failed(&mut self, socket: Socket, error: Error) {
        let Some(connecting) = self.connecting(socket) else { return };
        let timer = connecting.attempt_timer.take();
        if connecting.addresses.is_empty() && connecting.failures.is_empty() {
            return self.destroy_socket(socket, Some(error));
        }
        connecting.failures.push(error);
        if let Some(timer) = timer {
            self.timers_clear(timer);
        }
        if let Some(state) = self.net.socket_mut(socket) {
            state.stream = Stream::None;
        }
        self.connect_next(socket);
    }
}

/// All addresses of a name; or the first of a family, which is the only one that Node asks for then.
fn of_family(mut addresses: Vec<SocketAddr>, family: Option<Family>, host: &str) -> LookupResult {
    if let Some(family) = family {
        addresses.retain(|address| Family::from(address.ip()) == family);
        addresses.truncate(1);
    }
    if addresses.is_empty() { Err(Error::Lookup { code: "ENOTFOUND", host: host.into() }) } else { Ok(addresses) }
}

/// The addresses of both families in turns, each once, beginning with the one the system named first.
fn in_turns(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
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
