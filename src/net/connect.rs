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
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::outbox::Outboxes;
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
#[derive(Clone, Debug)]
pub struct Target {
    to: To,
    family: Option<Family>,
    local_address: Option<String>,
    local_port: u16,
}

#[derive(Clone, Debug)]
enum To {
    Host(String, i64),
    Path(PathBuf),
}

impl Target {
    /// A unix socket. A path that begins with a NUL is an abstract name (Linux).
    pub fn path(path: impl Into<PathBuf>) -> Self {
        Target { to: To::Path(path.into()), family: None, local_address: None, local_port: 0 }
    }

    /// Uses only addresses of this family, if the target is a name.
    pub fn family(mut self, family: Family) -> Self {
        self.family = Some(family);
        self
    }

    /// Connects from this address.
    pub fn local_address(mut self, address: impl Into<String>) -> Self {
        self.local_address = Some(address.into());
        self
    }

    /// Connects from this port; 0, the default, is any.
    pub fn local_port(mut self, port: u16) -> Self {
        self.local_port = port;
        self
    }

    fn host(host: &str, port: i64) -> Self {
        Target { to: To::Host(host.to_owned(), port), family: None, local_address: None, local_port: 0 }
    }
}

/// A port on `localhost`, Node's default host.
impl From<u16> for Target {
    fn from(port: u16) -> Self {
        Target::host("localhost", port.into())
    }
}

/// A port on `localhost`. Anything but 0 to 65535 is refused by the call that it is given to.
impl From<i32> for Target {
    fn from(port: i32) -> Self {
        Target::host("localhost", port.into())
    }
}

impl From<(&str, u16)> for Target {
    fn from((host, port): (&str, u16)) -> Self {
        Target::host(host, port.into())
    }
}

impl From<(&str, i32)> for Target {
    fn from((host, port): (&str, i32)) -> Self {
        Target::host(host, port.into())
    }
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        Target::host(&address.ip().to_string(), address.port().into())
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

impl From<&Path> for Target {
    fn from(path: &Path) -> Self {
        Target::path(path)
    }
}

impl From<PathBuf> for Target {
    fn from(path: PathBuf) -> Self {
        Target::path(path)
    }
}

/// An attempt to connect, from the call to its success or failure.
#[derive(Default)]
pub(crate) struct Connecting {
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
}

impl Loop {
    /// `connect_to`. What Node throws comes back; what fails later arrives in `on_error`.
    pub(crate) fn connect_socket(&mut self, socket: Socket, target: Target) -> Result<()> {
        let Target { to, family, local_address, local_port } = target;
        let port = match &to {
            To::Host(_, port) => u16::try_from(*port).map_err(|_| Error::BadPort(*port))?,
            To::Path(_) => 0,
        };
        let local = match local_address {
            Some(text) => match text.parse::<IpAddr>() {
                Ok(ip) => Some(SocketAddr::new(ip, local_port)),
                Err(_) => return Err(Error::InvalidIpAddress(text.into())),
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
        let Some(state) = self.net.socket_mut(socket) else { return Err(Error::Gone) };
        state.set(OPENED | CONNECTING);
        let idle_timer = state.idle_timer;
        let addresses = match &to {
            To::Host(host, _) => host.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, port)),
            To::Path(_) => None,
        };
        let addresses: VecDeque<_> = addresses.into_iter().collect();
        let is_known = !addresses.is_empty();
        state.more().connecting = Some(Box::new(Connecting { addresses, local, ..Connecting::default() }));
        if let Some(timer) = idle_timer {
            self.restart_timer(timer);
        }
        match to {
            To::Path(path) => self.connect_path(socket, path),
            To::Host(..) if is_known => self.tick(NetTick::Connect(socket)),
            To::Host(host, _) => {
                let remote = self.remote();
                let on_answer = move |lp: &mut Loop, answer| lp.looked_up(socket, port, family, answer);
                #[cfg(any(test, fuzzing))]
                if let Some(kernel) = &self.net.simulated {
                    let answer = kernel.look_up(&host);
                    remote.post(move |lp| on_answer(lp, answer));
                    self.recount(socket);
                    return Ok(());
                }
                self.net.resolver.look_up(&host, remote, on_answer);
            }
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

    /// The name's addresses are known, or not.
    fn looked_up(&mut self, socket: Socket, port: u16, family: Option<Family>, answer: Result<Vec<IpAddr>>) {
        if !self.net.socket(socket).is_some_and(|state| state.is(CONNECTING) && !state.is(DESTROYED)) {
            return;
        }
        let addresses = match answer {
            Ok(addresses) => in_turns(addresses, family),
            Err(error) => {
                self.emit(socket, Kind::OnLookup, 0, |handler, lp| handler.on_lookup(lp, socket, Err(&error)));
                return self.tick(NetTick::Destroy(socket, Box::new(error)));
            }
        };
        for &address in &addresses {
            if self.connecting(socket).is_none() {
                return; // Destroyed when it heard of an earlier one.
            }
            self.emit(socket, Kind::OnLookup, 0, |handler, lp| handler.on_lookup(lp, socket, Ok(address)));
        }
        let Some(connecting) = self.connecting(socket) else { return };
        connecting.addresses = addresses.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
        self.connect_next(socket);
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
                Err(failures) if failures.is_empty() => Error::Lookup { code: "ENOTFOUND", host: "".into() },
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
                let error = Error::system_at(syscall, &error, &at.ip().to_string(), Some(at.port()));
                self.attempt_failed(socket, error);
            }
        }
    }

    fn connect_path(&mut self, socket: Socket, path: PathBuf) {
        #[cfg(any(test, fuzzing))]
        let opened = match &self.net.simulated {
            Some(kernel) => kernel.connect(),
            None => open_unix(&path).map(Stream::Unix),
        };
        #[cfg(not(any(test, fuzzing)))]
        let opened = open_unix(&path).map(Stream::Unix);
        if let Some(connecting) = self.connecting(socket) {
            connecting.path = Some(path.clone());
        }
        match opened {
            Ok(stream) => self.await_connection(socket, stream, false),
            Err(error) => {
                let error = Error::system_at("connect", &error, &path.to_string_lossy(), None);
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
        let timer = has_more.then(|| self.set_timeout(ATTEMPT_TIMEOUT, move |lp| lp.attempt_timed_out(socket)));
        if let Some(connecting) = self.connecting(socket) {
            connecting.attempt_timer = timer;
        }
    }

    fn attempt_timed_out(&mut self, socket: Socket) {
        let Some(connecting) = self.connecting(socket) else { return };
        let Some(address) = connecting.current else { return };
        let timed_out = io::Error::from_raw_os_error(error_codes::ETIMEDOUT);
        let error = Error::system_at("connect", &timed_out, &address.ip().to_string(), Some(address.port()));
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
                let error = match (connecting.current, &connecting.path) {
                    (Some(at), _) => Error::system_at("connect", &error, &at.ip().to_string(), Some(at.port())),
                    (None, Some(path)) => Error::system_at("connect", &error, &path.to_string_lossy(), None),
                    (None, None) => Error::system("connect", &error),
                };
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
        self.is(CONNECTING)
            && outboxes.of(self).is_some_and(|outbox| self.corks == 0 || outbox.inflight_end > outbox.unit_start)
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
    // those that another connection has just left. Where the option is missing, a port is taken by the bind.
    #[cfg(all(target_os = "linux", feature = "cli"))]
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

fn open_unix(path: &Path) -> io::Result<mio::net::UnixStream> {
    match super::listener::abstract_address(path) {
        Some(address) => mio::net::UnixStream::connect_addr(&address?),
        None => mio::net::UnixStream::connect(path),
    }
}

/// The addresses of a family, or of both in turns, beginning with the one the system named first.
fn in_turns(addresses: Vec<IpAddr>, family: Option<Family>) -> Vec<IpAddr> {
    if let Some(family) = family {
        return addresses.into_iter().find(|&address| Family::from(address) == family).into_iter().collect();
    }
    let Some(first) = addresses.first().copied() else { return addresses };
    let (one, other): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|a| a.is_ipv4() == first.is_ipv4());
    let mut other = other.into_iter();
    let mut turns = Vec::new();
    for address in one {
        turns.push(address);
        turns.extend(other.next());
    }
    turns.extend(other);
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let ips = |texts: &str| texts.split_whitespace().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
        let table = [
            ("both", "::1 ::2 1.1.1.1", None, "::1 1.1.1.1 ::2"),
            ("four first", "1.1.1.1 1.1.1.2 ::1", None, "1.1.1.1 ::1 1.1.1.2"),
            ("one family", "::1 ::2", None, "::1 ::2"),
            ("only four", "::1 1.1.1.1 1.1.1.2", Some(Family::V4), "1.1.1.1"),
            ("none", "::1", Some(Family::V4), ""),
        ];
        for (name, addresses, family, want) in table {
            assert_eq!(in_turns(ips(addresses), family), ips(want), "{name}");
        }
    }
}
