//! The handle of a server, its options, and its life from `listen` to `on_server_close`.
//!
//! ```text
//!   listen ── no host, a path, a descriptor: now ─┐
//!          ── an IP address: in a tick ───────────┼─▶ bound ─▶ a tick: on_listening
//!          ── a host name: after a lookup ────────┘     │
//!                                                       ├─▶ accept: on_connection, or on_drop if the server is full
//!                                                       ▼
//!   close ─▶ descriptor closed, unix file removed ─▶ last connection destroyed ─▶ a tick: on_server_close
//!   drain ─▶ backlog accepted, each connection ended when it is quiet ─▶ close
//! ```
//!
//! A server can listen again after it was closed, so it keeps its slot until [`remove`](ServerId::remove). Each call of
//! `listen` and `close` has a number ([`ServerState::listening_id`]): a tick or lookup of an earlier call has no
//! effect.
//!
//! A server costs its options and a descriptor. Its connections are counted, not listed: they refer to the server.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::PathBuf;
use std::time::Duration;

use super::drain::{Drain, Draining};
use super::endpoint::{Endpoint, Resolution};
use super::listener::{Listen, Listener, LocalAddress, open_listener};
use super::lookup::{LookupResult, resolve};
use super::state::NO_SERVER;
use super::tally::Tally;
use super::{Error, HIGH_WATER_MARK, Handler, IntoHandler, Limits, NetTick, Socket, WriteCallback};
use crate::Result;
use crate::event_loop::slots::HasSerial;
use crate::event_loop::token::{Key, TokenKind};
use crate::event_loop::{Kind, Loop};

/// A handle of a server ([Node: `net.Server`](https://nodejs.org/docs/latest-v20.x/api/net.html#class-netserver)).
///
/// 8 bytes, `Copy`; callbacks get it as an argument. It never names another server of the same loop. A server that was
/// closed can listen again, until it is [`remove`](ServerId::remove)d.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(pub(crate) Key);

/// A handle of a server whose handler is an `H`; from [`listen`]. With it a timer or another server can reach the
/// handler's state: see [`with`](Server::with).
pub struct Server<H> {
    id: ServerId,
    handler: PhantomData<fn() -> H>,
}

/// The options of a new server, with Node's names and defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerOptions {
    /// When the peer ends, this side stays open until the program ends it. Default: no, this side ends, too.
    #[doc(alias = "allowHalfOpen")]
    pub allow_half_open: bool,
    /// A new socket is not read until [`Socket::resume`](super::Socket::resume). Default: no.
    #[doc(alias = "pauseOnConnect")]
    pub pause_on_connect: bool,
    /// Data is delivered from the start; see [`SocketOptions::flowing`](super::SocketOptions::flowing). Default: true.
    pub flowing: bool,
    /// The kernel sends small writes immediately (`TCP_NODELAY`). Default: no.
    #[doc(alias = "noDelay")]
    pub no_delay: bool,
    /// The kernel checks with probes whether idle peers still exist (`SO_KEEPALIVE`). Default: no.
    #[doc(alias = "keepAlive")]
    pub keep_alive: bool,
    /// As in [`Socket::set_keep_alive`](super::Socket::set_keep_alive).
    #[doc(alias = "keepAliveInitialDelay")]
    pub keep_alive_initial_delay: Duration,
    /// As [`Socket::set_user_timeout`](super::Socket::set_user_timeout). Default: zero, the system's own.
    pub user_timeout: Duration,
    /// As [`Socket::set_urgent_in_line`](super::Socket::set_urgent_in_line). Default: no, as in Node.
    #[doc(alias = "SO_OOBINLINE")]
    pub urgent_in_line: bool,
    /// The high-water mark of each socket, for reading and writing. Default: [`HIGH_WATER_MARK`].
    pub high_water_mark: usize,
    /// With this many connections the server is full: each further connection is accepted, reported to `on_drop` and
    /// closed. Default: no limit. `Some(0)` is no limit either, as in Node; to accept no connections, close the server.
    #[doc(alias = "maxConnections")]
    pub max_connections: Option<usize>,
    /// The message that a full server sends to a connection before it closes it: a line, or an HTTP response with
    /// status
    /// 503. If it is empty, only a FIN is sent. Default: `None`, a refused connection is closed without a message, as
    ///    in Node.
    ///
    /// The peer has a second to read the message and to answer with its own FIN. Each refused connection has a
    /// descriptor, so at most 16 of a loop are open at a time. The next one is closed right after the message, and a
    /// reset may destroy the message before the peer reads it. Refused connections do not count as connections, have no
    /// events but `on_drop`, and keep neither the server nor the loop alive.
    pub full_message: Option<Vec<u8>>,
    /// The idle limit of new sockets, as [`Socket::set_timeout`](super::Socket::set_timeout). Default: off.
    pub timeout: Duration,
    /// The message that is sent to a connection when it has reached its idle limit, before it is ended. If it is empty,
    /// only a FIN is sent. Default: `None`, `on_timeout` decides what happens, as in Node.
    ///
    /// `on_timeout` is called first, and may end the connection itself. Then the message and a FIN are sent, and data
    /// that the peer still sends is discarded. If the connection is still open a second later, it is destroyed.
    pub idle_message: Option<Vec<u8>>,
    /// How many connections are accepted in one turn. Default: 1, as in Node. A larger number needs fewer turns for
    /// many connects at the same time.
    pub accepts_per_turn: usize,
    /// Limits on the memory and time that each connection may cost. Default: no limits.
    pub limits: Limits,
}

impl Default for ServerOptions {
    fn default() -> Self {
        ServerOptions {
            allow_half_open: false,
            pause_on_connect: false,
            flowing: true,
            no_delay: false,
            keep_alive: false,
            keep_alive_initial_delay: Duration::ZERO,
            user_timeout: Duration::ZERO,
            urgent_in_line: false,
            high_water_mark: HIGH_WATER_MARK,
            max_connections: None,
            full_message: None,
            timeout: Duration::ZERO,
            idle_message: None,
            accepts_per_turn: 1,
            limits: Limits::NONE,
        }
    }
}

/// Makes a server that listens. It is bound when this returns: a binding error is returned, and does not go to
/// `on_server_error`. The lookup of a host name blocks.
///
/// # Errors
/// Bad port, a text that is not `HOST:PORT`, name not found, address in use (`EADDRINUSE`), no address of this machine
/// (`EADDRNOTAVAIL`), not permitted (`EACCES`), not a listening socket ([`Error::InvalidDescriptor`]).
#[doc(alias = "createServer")]
pub fn listen<T: IntoHandler>(lp: &mut Loop, on: impl Into<Listen>, handler: T) -> Result<Server<T::Handler>> {
    listen_with(lp, on, ServerOptions::default(), handler)
}

/// As [`listen`], with options. If the server cannot listen, it is removed again.
///
/// # Errors
/// As [`listen`].
pub fn listen_with<T: IntoHandler>(
    lp: &mut Loop,
    on: impl Into<Listen>,
    options: ServerOptions,
    handler: T,
) -> Result<Server<T::Handler>> {
    let server = Server::new(lp, options, handler);
    match server.listen_now(lp, on) {
        Ok(()) => Ok(server),
        Err(error) => {
            server.remove(lp);
            Err(error)
        }
    }
}

impl<H: Handler> Server<H> {
    /// A server that does not listen yet.
    pub fn new(lp: &mut Loop, options: ServerOptions, handler: impl IntoHandler<Handler = H>) -> Server<H> {
        let handler = handler.into_slot(lp);
        let serial = lp.net.take_serial();
        let state = ServerState {
            serial,
            handler,
            max_connections: options.max_connections.unwrap_or(0),
            options,
            listener: Listener::None,
            path: None,
            connections: 0,
            is_unreferenced: false,
            is_counted: false,
            is_looking_up: false,
            is_ready: false,
            accepts_later: false,
            gone_in_a_row: 0,
            listening_id: 0,
            close_callbacks: Vec::new(),
            drain: None,
            refused: Tally::default(),
            idle: Tally::default(),
        };
        let id = ServerId(lp.net.servers.insert(state));
        Server { id, handler: PhantomData }
    }

    /// The handle without the handler's type. All its methods can be called on this handle, too.
    pub fn id(self) -> ServerId {
        self.id
    }

    /// Lends the handler to `f`, for example in a timer or in a callback of another server.
    ///
    /// `None` inside a callback of the handler itself, where it is `self`, and after [`ServerId::remove`].
    pub fn with<R>(self, lp: &mut Loop, f: impl FnOnce(&mut H, &mut Loop) -> R) -> Option<R> {
        let slot = lp.net.server(self.id)?.handler;
        lp.with_handler_as(slot, f)
    }
}

impl<H> Clone for Server<H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H> Copy for Server<H> {}

/// The methods of [`ServerId`].
impl<H> Deref for Server<H> {
    type Target = ServerId;

    fn deref(&self) -> &ServerId {
        &self.id
    }
}

impl<H> From<Server<H>> for ServerId {
    fn from(server: Server<H>) -> ServerId {
        server.id
    }
}

impl<H> PartialEq for Server<H> {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl<H> Eq for Server<H> {}

impl<H> Hash for Server<H> {
    fn hash<S: Hasher>(&self, state: &mut S) {
        self.id.hash(state);
    }
}

impl<H> fmt::Display for Server<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}

impl<H> fmt::Debug for Server<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.id, f)
    }
}

impl ServerId {
    /// Listens. Without a host, on a path or on a descriptor, the server is bound when this returns. An IP address is
    /// bound in the next tick, a name after its lookup.
    ///
    /// Then `on_listening` is called in a tick, or `on_server_error`, after which the server can listen again. A second
    /// call before the server is bound replaces the first one.
    ///
    /// # Errors
    /// Only the errors that Node throws: [`Error::BadPort`], [`Error::AlreadyListening`], [`Error::InvalidPath`]; and
    /// [`Error::InvalidAddress`], [`Error::Gone`].
    pub fn listen(self, lp: &mut Loop, on: impl Into<Listen>) -> Result<()> {
        let on = on.into();
        let (id, port) = lp.begin_listening(self, &on)?;
        let Some(endpoint) = on.endpoint() else {
            lp.bind_server(self, &on, None);
            return Ok(());
        };
        match endpoint.resolution(port, "listen") {
            Resolution::NoHost | Resolution::Path(_) => lp.bind_server(self, &on, None),
            Resolution::Address(Ok(address)) => {
                lp.tick(NetTick::Server(self, ServerTick::Bind(id, Box::new((on, address)))));
            }
            Resolution::Address(Err(error)) => lp.tick(NetTick::Server(self, ServerTick::Error(Box::new(error)))),
            Resolution::Name(host) => {
                lp.set_looking_up(self, true);
                let host = host.to_owned();
                let remote = lp.remote();
                let on_answer = move |lp: &mut Loop, answer| lp.server_looked_up(self, id, &on, answer);
                lp.net.resolver.look_up((&host, port), remote, on_answer);
            }
        }
        Ok(())
    }

    /// As [`listen`](Self::listen), but the server is bound when this returns, and binding errors are returned. The
    /// lookup of a host name blocks.
    ///
    /// # Errors
    /// As the function [`listen`].
    pub fn listen_now(self, lp: &mut Loop, on: impl Into<Listen>) -> Result<()> {
        let on = on.into();
        let (_, port) = lp.begin_listening(self, &on)?;
        let address = match on.endpoint().map(|endpoint| endpoint.resolution(port, "listen")) {
            None | Some(Resolution::NoHost | Resolution::Path(_)) => None,
            Some(Resolution::Address(address)) => Some(address?),
            Some(Resolution::Name(host)) => resolve(host, port)?.first().copied(),
        };
        lp.try_bind(self, &on, address)?;
        lp.tick(NetTick::Server(self, ServerTick::Listening));
        Ok(())
    }

    /// Stops accepting connections. Open connections are not affected; when the last one is destroyed,
    /// `on_server_close` is called in a tick. The server can listen again.
    pub fn close(self, lp: &mut Loop) {
        lp.close_server(self, None);
    }

    /// As [`close`](Self::close), and calls `done` after `on_server_close`. The result is [`Error::NotRunning`] if the
    /// server was not listening.
    pub fn close_then(self, lp: &mut Loop, done: impl FnOnce(&mut Loop, Result<()>) + 'static) {
        lp.close_server(self, Some(Box::new(done)));
    }

    /// Closes the server without losing requests or answers, within a time limit. Connections that wait in the backlog
    /// are accepted, and requests that have arrived can be answered. Each connection is ended when it is quiet, and
    /// destroyed if its peer does not end in time. `on_server_close` follows. See [`Drain`] for the steps and their
    /// times.
    ///
    /// During a drain a second call has no effect.
    pub fn drain(self, lp: &mut Loop, drain: Drain) {
        lp.drain_server(self, drain);
    }

    /// Whether the server drains: from the call of [`drain`](Self::drain) until its last connection is destroyed.
    pub fn is_draining(self, lp: &Loop) -> bool {
        lp.net.server(self).is_some_and(|state| state.drain.is_some())
    }

    /// Closes the server if it listens, and frees its slot: afterwards the handle names nothing.
    ///
    /// Open connections keep the handler and the limits, but are not counted any longer. So `on_server_close` is not
    /// called, and callbacks of [`close_then`](Self::close_then) run in a tick, with [`Error::Gone`] if connections are
    /// open.
    pub fn remove(self, lp: &mut Loop) {
        let Some(state) = lp.net.server_mut(self) else { return };
        state.listener.close(&lp.registry);
        let limits = state.options.limits.clone();
        // Neither the listener nor a lookup keeps the loop alive from here on.
        lp.recount_server(self);
        lp.set_looking_up(self, false);
        // Sockets refer to their server by its slot, which another server may get. Visiting all sockets is acceptable
        // here: servers are seldom removed.
        for socket in
            lp.net.sockets.iter_mut().map(|(_, socket)| socket).filter(|socket| socket.server == self.0.index())
        {
            socket.server = NO_SERVER;
            // Limits are looked up in the server's options, which are dropped, so each socket gets a copy.
            if limits != Limits::NONE {
                socket.more().limits.get_or_insert_with(|| Box::new(limits.clone()));
            }
        }
        let Some(state) = lp.net.servers.remove(self.0) else { return };
        // Each open connection is a user of the handler, too, so it lives as long as they do.
        lp.release_handler(state.handler);
        for (callback, result) in state.close_callbacks {
            let result = if state.connections == 0 { result } else { Err(Error::Gone) };
            lp.next_tick(|lp| callback(lp, result));
        }
    }

    /// The address or path that the server is bound to. `None` if it is not bound. A path is returned also after the
    /// close, and after a `listen` on it that failed, as in Node
    /// ([`server.address()`](https://nodejs.org/docs/latest-v20.x/api/net.html#serveraddress)).
    pub fn address(self, lp: &Loop) -> Option<LocalAddress> {
        let state = lp.net.server(self)?;
        state.listener.address().or_else(|| state.path.clone().map(LocalAddress::Path))
    }

    /// The port that the server is bound to. `None` if it is not bound, or bound to a path.
    pub fn port(self, lp: &Loop) -> Option<u16> {
        self.address(lp)?.port()
    }

    /// The connections that the server has accepted and that are not destroyed, in no particular order. Visits every
    /// socket of the loop.
    pub fn sockets(self, lp: &Loop) -> Vec<Socket> {
        if lp.net.server(self).is_none() {
            return Vec::new();
        }
        let sockets = lp.net.sockets.iter().filter(|(_, state)| state.server == self.0.index());
        sockets.map(|(key, _)| Socket(key)).collect()
    }

    /// Whether the server is bound.
    pub fn is_listening(self, lp: &Loop) -> bool {
        lp.net.server(self).is_some_and(|state| state.listener.is_bound())
    }

    /// How many connections the server has ([Node:
    /// `server.getConnections`](https://nodejs.org/docs/latest-v20.x/api/net.html#servergetconnectionscallback)). A
    /// connection counts until it is destroyed; its `on_close` comes later.
    #[doc(alias = "getConnections")]
    pub fn connections(self, lp: &Loop) -> usize {
        lp.net.server(self).map_or(0, |state| state.connections as usize)
    }

    /// Changes [`ServerOptions::max_connections`]. Open connections are not affected. 0 is no limit, as in Node.
    #[doc(alias = "maxConnections")]
    pub fn set_max_connections(self, lp: &mut Loop, max: usize) {
        if let Some(state) = lp.net.server_mut(self) {
            state.max_connections = max;
        }
    }

    /// The server keeps the loop alive while it listens. This is the default.
    #[doc(alias = "ref")]
    pub fn ref_(self, lp: &mut Loop) {
        lp.reference_server(self, true);
    }

    /// The loop may end although the server listens.
    pub fn unref(self, lp: &mut Loop) {
        lp.reference_server(self, false);
    }

    /// Gives the server another handler. Sockets that it accepts from now on get this handler, too.
    pub fn set_handler(self, lp: &mut Loop, handler: impl IntoHandler) {
        if lp.net.server(self).is_none() {
            return;
        }
        let slot = handler.into_slot(lp);
        let Some(state) = lp.net.server_mut(self) else { return };
        let old = std::mem::replace(&mut state.handler, slot);
        lp.release_handler(old);
    }
}

/// `server #3`, as in the logs.
impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "server #{}", self.0.serial())
    }
}

impl fmt::Debug for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server#{}", self.0.serial())
    }
}

/// The state of a server. It exists until the server is removed, because a closed server can listen again.
pub(super) struct ServerState {
    pub serial: u32,
    pub handler: u32,
    pub options: ServerOptions,
    pub listener: Listener,
    /// The path of the last `listen` on one.
    path: Option<PathBuf>,
    pub connections: u32,
    /// 0 is no limit.
    pub max_connections: usize,
    is_unreferenced: bool,
    /// The server is counted in `Loop::active`: it listens and is referenced.
    is_counted: bool,
    /// A lookup is running. It is counted in `Loop::active`, too.
    is_looking_up: bool,
    /// The listener is on the ready list.
    pub is_ready: bool,
    /// An accept call has failed, and a timer will retry it.
    pub accepts_later: bool,
    /// How many connections in a row had failed before they were accepted.
    pub gone_in_a_row: u32,
    /// Counts the calls of `listen` and `close`. A tick or lookup of an earlier call has no effect.
    listening_id: u32,
    /// The callbacks of `close`, each with its result, which is known at the call: the server was listening, or not.
    close_callbacks: Vec<(WriteCallback, Result<()>)>,
    /// `Some` while the server drains.
    pub(super) drain: Option<Box<Draining>>,
    /// Counts refused connections, for the log.
    pub(super) refused: Tally,
    /// Counts connections that were ended because they were idle, for the log.
    pub(super) idle: Tally,
}

impl HasSerial for ServerState {
    fn serial(&self) -> u32 {
        self.serial
    }
}

/// The ticks of servers.
pub(crate) enum ServerTick {
    /// Binds to an address, for the call of `listen` with this number.
    Bind(u32, Box<(Listen, SocketAddr)>),
    /// `on_listening`. As in Node it is called if the server is bound by then, even if by a later `listen`.
    Listening,
    /// `on_server_error`: listening has failed.
    Error(Box<Error>),
    /// `on_going_away` for all connections: a drain has begun.
    GoingAway,
    /// `on_server_close`, and the callbacks of `close`.
    Close,
}

impl Loop {
    /// Makes the checks for which Node throws, and cancels an earlier call that has not bound yet. Returns the call's
    /// number and the port.
    fn begin_listening(&mut self, server: ServerId, on: &Listen) -> Result<(u32, u16)> {
        let port = on.endpoint().map_or(Ok(0), Endpoint::check)?;
        let Some(state) = self.net.server_mut(server) else { return Err(Error::Gone) };
        if state.listener.is_bound() {
            return Err(Error::AlreadyListening);
        }
        state.listening_id = state.listening_id.wrapping_add(1);
        let id = state.listening_id;
        if let Some(Endpoint::Path(path)) = on.endpoint() {
            state.path = Some(path.clone());
        }
        // A lookup of the earlier call may still run, but its result is ignored and it need not keep the loop alive.
        self.set_looking_up(server, false);
        Ok((id, port))
    }

    /// The result of a lookup: binds to the first address, as in Node.
    fn server_looked_up(&mut self, server: ServerId, id: u32, on: &Listen, answer: LookupResult) {
        if self.net.server(server).is_none_or(|state| state.listening_id != id) {
            return;
        }
        self.set_looking_up(server, false);
        match answer {
            Ok(addresses) => self.bind_server(server, on, addresses.first().copied()),
            Err(error) => self.tick(NetTick::Server(server, ServerTick::Error(Box::new(error)))),
        }
    }

    /// Binds, and reports the result in a tick.
    fn bind_server(&mut self, server: ServerId, on: &Listen, address: Option<SocketAddr>) {
        let tick = match self.try_bind(server, on, address) {
            Ok(()) => ServerTick::Listening,
            Err(error) => ServerTick::Error(Box::new(error)),
        };
        self.tick(NetTick::Server(server, tick));
    }

    /// Opens the listener, at `address` if there is one, and registers it.
    fn try_bind(&mut self, server: ServerId, on: &Listen, address: Option<SocketAddr>) -> Result<()> {
        let Some(state) = self.net.server_mut(server) else { return Err(Error::Gone) };
        let options = state.options.clone();
        #[cfg(any(test, fuzzing))]
        let opened = match &self.net.simulated {
            Some(kernel) => Ok(kernel.listen()),
            None => open_listener(on, address, &options),
        };
        #[cfg(not(any(test, fuzzing)))]
        let opened = open_listener(on, address, &options);
        let mut listener = opened?;
        // A failure from here on drops the listener, which closes the descriptor and removes the file of a unix socket.
        let token = server.0.token(TokenKind::Server);
        let interest = mio::Interest::READABLE;
        match &mut listener {
            Listener::Tcp(listener) => self.registry.register(listener, token, interest),
            Listener::Unix(listener, ..) => self.registry.register(listener, token, interest),
            #[cfg(any(test, fuzzing))]
            Listener::Simulated(listener) => listener.register(token),
            Listener::None => Ok(()),
        }
        .map_err(|error| Error::system("listen", &error))?;
        if let Some(state) = self.net.server_mut(server) {
            if let Some(address) = listener.address() {
                log::info!(target: "bucle::net", "{server} listening on {address}");
            }
            state.listener = listener;
        }
        // A listening server keeps the loop alive.
        self.recount_server(server);
        Ok(())
    }

    pub(super) fn run_server_tick(&mut self, server: ServerId, tick: ServerTick) {
        let Some(state) = self.net.server_mut(server) else { return };
        match tick {
            // Only if neither `listen` nor `close` was called since.
            ServerTick::Bind(id, on) if state.listening_id == id => self.bind_server(server, &on.0, Some(on.1)),
            ServerTick::Bind(..) => {}
            ServerTick::Listening => {
                if state.listener.is_bound() {
                    self.emit_server(server, Kind::OnListening, |handler, lp| handler.on_listening(lp, server));
                }
            }
            ServerTick::Error(error) => {
                self.emit_server(server, Kind::OnServerError, |handler, lp| {
                    handler.on_server_error(lp, server, *error)
                });
            }
            ServerTick::GoingAway => self.announce_drain(server),
            ServerTick::Close => {
                log::info!(target: "bucle::net", "{server} closed");
                // Taken out before user code runs: `on_server_close` may listen and close again, with new callbacks.
                let callbacks = std::mem::take(&mut state.close_callbacks);
                self.emit_server(server, Kind::OnServerClose, |handler, lp| handler.on_server_close(lp, server));
                for (callback, result) in callbacks {
                    self.call(Kind::Callback, self.cause(), |lp| callback(lp, result));
                }
            }
        }
    }

    /// `close`: closes the listener. The connections stay; after the last one comes the tick of `on_server_close`.
    pub(super) fn close_server(&mut self, server: ServerId, callback: Option<WriteCallback>) {
        let Some(state) = self.net.server_mut(server) else {
            if let Some(callback) = callback {
                self.next_tick(|lp| callback(lp, Err(Error::NotRunning)));
            }
            return;
        };
        // Cancels a bind that is still to come, in a tick or after a lookup.
        state.listening_id = state.listening_id.wrapping_add(1);
        if let Some(callback) = callback {
            let result = if state.listener.is_bound() { Ok(()) } else { Err(Error::NotRunning) };
            state.close_callbacks.push((callback, result));
        }
        if state.listener.is_bound() {
            log::info!(target: "bucle::net", "{server} takes no more connections, {} go on", state.connections);
        }
        state.listener.close(&self.registry);
        self.set_looking_up(server, false);
        self.recount_server(server);
        self.close_server_if_idle(server);
    }

    /// Queues the tick of `on_server_close` if the server neither listens nor has connections.
    fn close_server_if_idle(&mut self, server: ServerId) {
        if self.net.server(server).is_some_and(|state| !state.listener.is_bound() && state.connections == 0) {
            self.end_drain(server);
            self.tick(NetTick::Server(server, ServerTick::Close));
        }
    }

    /// A connection of the server in `slot` was destroyed.
    pub(super) fn connection_gone(&mut self, slot: u32) {
        let Some(state) = self.net.servers.at_mut(slot) else { return };
        state.connections = state.connections.saturating_sub(1);
        let server = ServerId(Key::new(slot as usize, state.serial));
        self.net.accepted = self.net.accepted.saturating_sub(1);
        // A closed server whose last connection this was gets its `on_server_close`.
        self.close_server_if_idle(server);
    }

    fn reference_server(&mut self, server: ServerId, is_referenced: bool) {
        if let Some(state) = self.net.server_mut(server) {
            state.is_unreferenced = !is_referenced;
            self.recount_server(server);
        }
    }

    /// Updates whether the server keeps the loop alive. To be called after a change of its listener or its reference.
    fn recount_server(&mut self, server: ServerId) {
        let Some(state) = self.net.server_mut(server) else { return };
        let keeps_alive = state.listener.is_bound() && !state.is_unreferenced;
        if keeps_alive != state.is_counted {
            state.is_counted = keeps_alive;
            self.active = if keeps_alive { self.active + 1 } else { self.active - 1 };
        }
    }

    /// Sets whether a lookup is running. It keeps the loop alive, even if the server is unreferenced.
    fn set_looking_up(&mut self, server: ServerId, is_looking_up: bool) {
        let Some(state) = self.net.server_mut(server) else { return };
        if state.is_looking_up != is_looking_up {
            state.is_looking_up = is_looking_up;
            self.active = if is_looking_up { self.active + 1 } else { self.active - 1 };
        }
    }
}
