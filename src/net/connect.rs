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
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::lookup::Answer;
use super::outbox::Outboxes;
use super::place::{Meaning, Place, abstract_address, check_length, failed_on, literal, show_path};
use super::socket::{set_keep_alive, set_user_timeout};
use super::state::flag::*;
use super::state::{Reset, SocketState, Stream};
use super::{Error, Family, LocalAddress, NetTick, Pending, Socket};
use crate::Result;
use crate::error_codes;
use crate::event_loop::TimerId;
use crate::event_loop::token::TokenKind;
use crate::event_loop::{Kind, Loop};

/// How long one address of several is tried before the next one is; Node's `autoSelectFamilyAttemptTimeout`.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(250);

/// Where no host is named; Node's default.
const LOCALHOST: &str = "localhost";

/// Where to connect to, and how.
///
/// ```
/// use bucle::net::{Family, Target};
///
/// let near = Target::from(8080); // localhost
/// let far = Target::from(("example.org", 80)).family(Family::V4);
/// let path = Target::path("/run/app.sock");
/// # let _ = (near, far, path);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    place: Place,
    family: Option<Family>,
    local_address: Option<String>,
    local_port: u16,
}

impl Target {
    /// A unix socket. A path that begins with a NUL is an abstract name (Linux). One that is too long fails to connect, and what
    /// can be no path is refused, as in [`Listen::path`](super::Listen::path).
    pub fn path(path: impl Into<PathBuf>) -> Self {
        Target::at(Place::Path(path.into()))
    }

    /// If the target is a name, connects to the first address of this family that the system names, and to no other; if it
    /// names none, the name is not found (`ENOTFOUND`). All addresses are tried only where no family is set, as in Node.
    #[must_use]
    pub fn family(mut self, family: Family) -> Self {
        self.family = Some(family);
        self
    }

    /// Connects from this address. With the feature `late-ports`, on Linux, and unless a port is given too, its port is chosen
    /// for the target: one address then has all its ports to each of several targets.
    #[must_use]
    pub fn local_address(mut self, address: impl Into<String>) -> Self {
        self.local_address = Some(address.into());
        self
    }

    /// Connects from this port; 0, the default, is any.
    #[must_use]
    pub fn local_port(mut self, port: u16) -> Self {
        self.local_port = port;
        self
    }

    pub(super) fn at(place: Place) -> Self {
        Target { place, family: None, local_address: None, local_port: 0 }
    }
}

/// What a server of this process is bound to; `::` and `0.0.0.0` are reached over the loopback address.
impl From<LocalAddress> for Target {
    fn from(address: LocalAddress) -> Self {
        match address {
            LocalAddress::Ip(mut address) => {
                if address.ip().is_unspecified() {
                    let v4 = address.is_ipv4();
                    address.set_ip(if v4 { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
                }
                address.into()
            }
            LocalAddress::Path(path) => path.into(),
        }
    }
}

/// Where it connects to, as in errors and logs: `localhost:8080`, `[::1]:8080`, `/run/app.sock`.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.show(f, LOCALHOST)
    }
}

/// An attempt to connect, from the call to its success or failure.
#[derive(Default)]
pub(crate) struct Connecting {
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
    fn failed(&self, error: &io::Error) -> Error {
        match (self.current, &self.path) {
            (Some(address), _) => failed_on("connect", error, address),
            (None, Some(path)) => failed_at_path(error, path),
            (None, None) => Error::system("connect", error),
        }
    }
}

impl Loop {
    /// `connect_to`. What Node throws comes back; what fails later arrives in `on_error`.
    pub(crate) fn connect_socket(&mut self, socket: Socket, target: Target) -> Result<()> {
        let Target { place, family, local_address, local_port } = target;
        let port = place.check()?;
        let local = match local_address {
            Some(text) => match literal(&text, local_port, "bind") {
                Some(Ok(address)) => Some(address),
                _ => return Err(Error::InvalidIpAddress(text.into())),
            },
            None if local_port != 0 => Some(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), local_port)),
            None => None,
        };
        let Some(state) = self.net.socket_mut(socket) else { return Err(Error::Gone) };
        if state.is(OPENED | DESTROYED) && !state.is(CLOSING) {
            return Err(Error::AlreadyConnected);
        }
        if state.is(CLOSING) {
            self.begin_life_anew(socket);
        }
        self.net.attempts += 1;
        let number = self.net.attempts;
        let Some(state) = self.net.socket_mut(socket) else { return Err(Error::Gone) };
        state.set(OPENED | CONNECTING);
        let idle_timer = state.idle_timer;
        state.more().connecting = Some(Box::new(Connecting { number, local, ..Connecting::default() }));
        if let Some(timer) = idle_timer {
            self.restart_timer(timer);
        }
        match place.meaning(port, "connect") {
            Meaning::NoHost => self.look_up(socket, number, (LOCALHOST, port), family),
            Meaning::Name(host) => self.look_up(socket, number, (host, port), family),
            Meaning::Address(Ok(address)) => {
                if let Some(connecting) = self.connecting(socket) {
                    connecting.addresses.push_back(address);
                }
                self.tick(NetTick::Connect(socket, number));
            }
            Meaning::Address(Err(error)) => self.tick(NetTick::Destroy(socket, Box::new(error))),
            Meaning::Path(path) => self.connect_path(socket, path),
        }
        self.recount(socket);
        Ok(())
    }

    /// A closed socket is connected again. What its last life has left undone is not this one's: writes and ends that
    /// still wait hear that they will not happen, and no shutdown or failure of then is waited for.
    fn begin_life_anew(&mut self, socket: Socket) {
        self.pending.retain(|(pending, _)| pending.socket() != socket);
        let Some(state) = self.net.socket_mut(socket) else { return };
        let outbox = state.take_outbox();
        let ends = state.more.as_mut().map(|more| std::mem::take(&mut more.end_callbacks)).unwrap_or_default();
        state.begin_life();
        let writes = outbox.map(|outbox| self.take_back(outbox)).unwrap_or_default();
        for callback in writes.into_iter().chain(ends) {
            self.call_back(socket, Some(callback), Err(Error::ClosedBeforeConnection));
        }
    }

    fn look_up(&mut self, socket: Socket, number: u64, (host, port): (&str, u16), family: Option<Family>) {
        let name = host.to_owned();
        let on_answer = move |lp: &mut Loop, answer: Answer| {
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
    fn looked_up(&mut self, socket: Socket, number: u64, answer: Answer) {
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
    pub(crate) fn begin_attempt(&mut self, socket: Socket, number: u64) {
        if self.attempt(socket, number).is_some() {
            self.connect_next(socket);
        }
    }

    /// What is known of an attempt to connect, unless it is over.
    fn attempt(&mut self, socket: Socket, number: u64) -> Option<&mut Connecting> {
        self.connecting(socket).filter(|connecting| connecting.number == number)
    }

    fn connecting(&mut self, socket: Socket) -> Option<&mut Connecting> {
        let state = self.net.socket_mut(socket)?;
        if state.flags & (CONNECTING | DESTROYED) != CONNECTING {
            return None;
        }
        state.more.as_mut()?.connecting.as_deref_mut()
    }

    /// Tries the next address.
    pub(crate) fn connect_next(&mut self, socket: Socket) {
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
                self.pending.push_back((Pending::ConnectFailed(socket, Box::new(error)), cause));
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
        let timer = has_more
            .then(|| self.set_internal_timeout(ATTEMPT_TIMEOUT, move |lp| lp.attempt_timed_out(socket, number)));
        if let Some(connecting) = self.connecting(socket) {
            connecting.attempt_timer = timer;
        }
    }

    fn attempt_timed_out(&mut self, socket: Socket, number: u64) {
        let Some(connecting) = self.attempt(socket, number) else { return };
        let error = connecting.failed(&io::Error::from_raw_os_error(error_codes::ETIMEDOUT));
        self.attempt_failed(socket, error);
    }

    /// One address failed: the next one, or the end.
    pub(crate) fn attempt_failed(&mut self, socket: Socket, error: Error) {
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

    /// The descriptor is writable, or broken: it is connected, or not. A boundary after all that follows.
    pub(crate) fn finish_connect(&mut self, socket: Socket) {
        let Some(state) = self.net.socket_mut(socket) else { return };
        if state.is(DESTROYED) {
            return; // By a callback of this very poll, after the kernel had reported the connection.
        }
        let outcome = match state.stream.take_error() {
            Ok(None) => Ok(()),
            Ok(Some(error)) | Err(error) => Err(error),
        };
        if outcome.is_ok() && state.stream.is_tcp() && state.stream.peer_addr().is_none() {
            return; // Not yet: the event was of an earlier attempt's descriptor, or of none.
        }
        match outcome {
            Ok(()) => self.connected(socket),
            Err(error) => {
                let Some(connecting) = self.connecting(socket) else { return };
                let error = connecting.failed(&error);
                self.attempt_failed(socket, error);
            }
        }
        self.boundary();
    }

    /// Connected: `on_connect`, then what was written before, then `on_ready`, and reading begins.
    fn connected(&mut self, socket: Socket) {
        let Some((state, outboxes)) = self.net.socket_and_outboxes(socket) else { return };
        // It is in flight while `on_connect` runs: what that writes queues up behind it.
        let has_early_write = state.has_early_write(outboxes);
        state.clear(CONNECTING);
        if has_early_write {
            state.set(BLOCKED);
        }
        let idle_timer = state.idle_timer;
        if let Some(more) = &mut state.more {
            let timer = more.connecting.take().and_then(|connecting| connecting.attempt_timer);
            if more.no_delay {
                state.stream.with_tcp(|stream| stream.set_tcp_nodelay(true));
            }
            if let Some(delay) = more.keep_alive {
                state.stream.with_tcp(|stream| set_keep_alive(&stream, true, delay));
            }
            if !more.user_timeout.is_zero() {
                state.stream.with_tcp(|stream| set_user_timeout(&stream, more.user_timeout));
            }
            if let Some(timer) = timer {
                self.timers_clear(timer);
            }
        }
        if let Some(timer) = idle_timer {
            self.restart_timer(timer);
        }
        self.recount(socket);
        log::debug!(target: "bucle::net", "{socket} connected");
        self.emit(socket, Kind::OnConnect, 0, |handler, lp| handler.on_connect(lp, socket));
        self.reset_if_asked_for(socket, Reset::BeforeWrites);
        self.send_early_writes(socket, has_early_write);
        self.reset_if_asked_for(socket, Reset::AfterWrites);
        self.emit(socket, Kind::OnReady, 0, |handler, lp| handler.on_ready(lp, socket));
        let Some(state) = self.net.socket_mut(socket) else { return };
        if state.is(READING) {
            self.net.put_on_ready_list_if_readable(socket);
        } else if !state.is(PAUSED) {
            self.start_reading(socket);
        }
        self.recount(socket);
    }

    /// What `reset_and_destroy` has put off while it was connecting.
    fn reset_if_asked_for(&mut self, socket: Socket, when: Reset) {
        let Some(state) = self.net.socket(socket) else { return };
        if !state.is(DESTROYED) && state.more.as_ref().is_some_and(|more| more.resets_on_connect == Some(when)) {
            // Only reported where it is asked for; here it cannot fail.
            let _ = self.reset_socket(socket);
        }
    }

    /// Writes made before the connection was there, or an end.
    fn send_early_writes(&mut self, socket: Socket, has_early_write: bool) {
        let Some(state) = self.net.socket_mut(socket) else { return };
        if has_early_write && state.is(DESTROYED) {
            state.clear(BLOCKED);
            let first = self.net.take_inflight_callbacks(socket);
            self.write_failed(socket, first, Error::SocketClosed);
        } else if has_early_write {
            self.send_queued(socket);
        } else if state.flags & (SHUTTING | DESTROYED) == SHUTTING {
            let cause = self.cause();
            self.pending.push_back((Pending::Shutdown(socket), cause));
        }
    }
}

impl SocketState {
    /// Whether a write waits for the connection: Node's write in flight, which completes as soon as it is there, though it
    /// may be empty. What only a cork holds back is none.
    pub(super) fn has_early_write(&self, outboxes: &Outboxes) -> bool {
        self.is(CONNECTING) && outboxes.of(self).is_some_and(|outbox| self.corks == 0 || outbox.is_in_flight())
    }
}

/// Opens a TCP connection without waiting for it; says which call failed.
fn open_tcp(address: SocketAddr, local: Option<SocketAddr>) -> Result<mio::net::TcpStream, (&'static str, io::Error)> {
    let Some(local) = local else {
        return mio::net::TcpStream::connect(address).map_err(|error| ("connect", error));
    };
    let failed = |syscall| move |error| (syscall, error);
    let domain = socket2::Domain::for_address(address);
    let stream = socket2::Socket::new(domain, socket2::Type::STREAM, None).map_err(failed("connect"))?;
    stream.set_nonblocking(true).map_err(failed("connect"))?;
    let local = match (local.ip(), address) {
        (ip, SocketAddr::V6(_)) if ip == Ipv4Addr::UNSPECIFIED => {
            SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), local.port())
        }
        _ => local,
    };
    // The port is chosen with the target in view, so that one source has all its ports to each of several targets, and
    // those that another connection has just left. Where the option is missing, a port is taken by the bind. It has a feature
    // of its own because neither std nor socket2 knows it.
    #[cfg(all(target_os = "linux", feature = "late-ports"))]
    if local.port() == 0 {
        let _ = nix::sys::socket::setsockopt(&stream, nix::sys::socket::sockopt::IpBindAddressNoPort, &true);
    }
    // As libuv does: a port that an earlier connection left a moment ago can be had again.
    stream.set_reuse_address(true).map_err(failed("bind"))?;
    stream.bind(&local.into()).map_err(failed("bind"))?;
    match stream.connect(&address.into()) {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock && !is_in_progress(&error) => Err(("connect", error)),
        _ => Ok(mio::net::TcpStream::from_std(stream.into())),
    }
}

/// Whether the kernel says that it is at it; std has no stable name for that.
fn is_in_progress(error: &io::Error) -> bool {
    const EINPROGRESS: i32 = if cfg!(any(target_os = "linux", target_os = "android")) { 115 } else { 36 };
    error.raw_os_error() == Some(EINPROGRESS)
}

fn open_unix(path: &Path) -> Result<mio::net::UnixStream> {
    check_length(path)?;
    let opened = match abstract_address(path) {
        Some(address) => address.and_then(|address| mio::net::UnixStream::connect_addr(&address)),
        None => mio::net::UnixStream::connect(path),
    };
    opened.map_err(|error| failed_at_path(&error, path))
}

fn failed_at_path(error: &io::Error, path: &Path) -> Error {
    Error::system_at("connect", error, &show_path(path), None)
}

/// All addresses of a name; or the first of a family, which is the only one that Node asks for then.
fn of_family(mut addresses: Vec<SocketAddr>, family: Option<Family>, host: &str) -> Answer {
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
