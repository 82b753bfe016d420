//! The handle of a connection, and its options: what a program can do with a socket.
//!
//! The methods here check little and do little: most of them call the function of `Loop` that does the work, in the
//! file that is named like the verb (`write.rs`, `end.rs`, `close.rs`, `read.rs`, `pipe.rs`, `connect.rs`). The state
//! that they work on is in `state.rs`.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::state::flag::*;
use super::state::{IDLE_LIMIT_UNSET, NO_SERVER, SocketState, Writing};
use super::stream::{set_keep_alive, set_urgent_in_line, set_user_timeout};
use super::{Error, HIGH_WATER_MARK, IntoHandler, Limits, NetTimer, ServerId, Target};
use crate::Result;
use crate::event_loop::token::Key;
use crate::event_loop::{Kind, Loop, TimerId, limit_ms};

/// A connection, open or not ([Node: `net.Socket`](https://nodejs.org/docs/latest-v20.x/api/net.html#class-netsocket)).
///
/// A `Socket` is a handle of 8 bytes: it is `Copy` and owns nothing. The loop keeps the state of the socket until
/// `on_close` has been called. After that the handle names nothing: methods do nothing, and questions return `None`,
/// `false` or 0. It never names a later connection of the same loop. It can be a key in a map; handles are ordered by
/// age. A handle is valid only for the loop that has made it: another loop may have a socket of its own with the same
/// number.
///
/// No method calls the program back. Events arrive later, in the [`Handler`](super::Handler) of the socket.
///
/// The methods, in the order of the source:
///
/// * Connecting: [`new`](Self::new), [`connect`](Self::connect), [`connect_with`](Self::connect_with),
///   [`connect_to`](Self::connect_to).
/// * Writing: [`write`](Self::write), [`write_then`](Self::write_then), [`flush`](Self::flush), [`cork`](Self::cork),
///   [`uncork`](Self::uncork).
/// * Ending and destroying: [`end`](Self::end), [`end_with`](Self::end_with), [`end_then`](Self::end_then),
///   [`end_with_then`](Self::end_with_then), [`destroy`](Self::destroy), [`destroy_with`](Self::destroy_with),
///   [`destroy_soon`](Self::destroy_soon), [`reset_and_destroy`](Self::reset_and_destroy).
/// * Reading and pausing: [`pause`](Self::pause), [`resume`](Self::resume), [`is_paused`](Self::is_paused),
///   [`unshift`](Self::unshift), [`set_encoding`](Self::set_encoding).
/// * Pipes: [`pipe`](Self::pipe), [`pipe_without_end`](Self::pipe_without_end), [`unpipe`](Self::unpipe).
/// * Limits and options: [`set_timeout`](Self::set_timeout), [`set_limits`](Self::set_limits),
///   [`set_no_delay`](Self::set_no_delay), [`set_keep_alive`](Self::set_keep_alive),
///   [`set_user_timeout`](Self::set_user_timeout), [`set_urgent_in_line`](Self::set_urgent_in_line).
/// * State: [`info`](Self::info), [`exists`](Self::exists), [`serial`](Self::serial), [`server`](Self::server),
///   [`remote_address`](Self::remote_address), [`write_refusal`](Self::write_refusal),
///   [`writable_length`](Self::writable_length), [`unsent_length`](Self::unsent_length),
///   [`needs_drain`](Self::needs_drain).
/// * Keeping the loop alive: [`ref_`](Self::ref_), [`unref`](Self::unref).
/// * Handlers: [`set_handler`](Self::set_handler), [`upgrade`](Self::upgrade).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Socket(pub(crate) Key);

/// The options of a new socket, with Node's names and defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// When the peer ends, this side stays open until the program ends it. Default: no, this side ends, too.
    #[doc(alias = "allowHalfOpen")]
    pub allow_half_open: bool,
    /// With this many queued bytes `write` returns `false`, and this many received bytes wait while the socket is
    /// paused. Default: [`HIGH_WATER_MARK`].
    pub high_water_mark: usize,
    /// Data is delivered from the start. With `false` up to `high_water_mark` bytes wait in the process until
    /// [`Socket::resume`] or [`Socket::pipe`] is called, as in Node before the first `data` listener. Default: true.
    pub flowing: bool,
    /// As [`Socket::set_no_delay`]. Default: no.
    #[doc(alias = "noDelay")]
    pub no_delay: bool,
    /// As [`Socket::set_keep_alive`]. Default: no.
    #[doc(alias = "keepAlive")]
    pub keep_alive: bool,
    /// The delay of [`Socket::set_keep_alive`]. Default: zero, the system's own.
    #[doc(alias = "keepAliveInitialDelay")]
    pub keep_alive_initial_delay: Duration,
    /// As [`Socket::set_user_timeout`]. Default: zero, the system's own.
    pub user_timeout: Duration,
    /// As [`Socket::set_urgent_in_line`]. Default: no, as in Node.
    #[doc(alias = "SO_OOBINLINE")]
    pub urgent_in_line: bool,
    /// As [`Socket::set_timeout`]. Default: off.
    pub timeout: Duration,
    /// Limits on the memory and time that the connection may cost. Default: none.
    pub limits: Limits,
}

impl Default for SocketOptions {
    fn default() -> Self {
        SocketOptions {
            allow_half_open: false,
            high_water_mark: HIGH_WATER_MARK,
            flowing: true,
            no_delay: false,
            keep_alive: false,
            keep_alive_initial_delay: Duration::ZERO,
            user_timeout: Duration::ZERO,
            urgent_in_line: false,
            timeout: Duration::ZERO,
            limits: Limits::NONE,
        }
    }
}

/// Which directions of a connection are open
/// ([Node: `socket.readyState`](https://nodejs.org/docs/latest-v20.x/api/net.html#socketreadystate)).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ReadyState {
    /// The socket is connecting.
    Opening,
    /// Both directions are open. Also a socket that was never connected, as in Node.
    Open,
    /// Only reading is open: this side has ended.
    ReadOnly,
    /// Only writing is open: the peer has ended.
    WriteOnly,
    /// Neither direction is open.
    Closed,
}

impl ReadyState {
    /// Node's name: `opening`, `open`, `readOnly`, `writeOnly` or `closed`.
    pub fn as_str(self) -> &'static str {
        match self {
            ReadyState::Opening => "opening",
            ReadyState::Open => "open",
            ReadyState::ReadOnly => "readOnly",
            ReadyState::WriteOnly => "writeOnly",
            ReadyState::Closed => "closed",
        }
    }
}

impl fmt::Display for ReadyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The state of a socket at one moment, from [`Socket::info`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketInfo {
    /// Which directions are open.
    #[doc(alias = "readyState")]
    pub ready_state: ReadyState,
    /// There is no connection: not yet, or no longer.
    pub pending: bool,
    /// `connect_to` was called and has not succeeded or failed yet.
    pub connecting: bool,
    /// The program or the loop has destroyed the socket.
    pub destroyed: bool,
    /// Data or an end may still come.
    pub readable: bool,
    /// Whether data is delivered. `None`: neither `resume` nor `pause` was called, and the socket was not made flowing.
    pub flowing: Option<bool>,
    /// A write would be accepted.
    pub writable: bool,
    /// `end` was called.
    #[doc(alias = "writableEnded")]
    pub writable_ended: bool,
    /// `on_finish` has been called.
    #[doc(alias = "writableFinished")]
    pub writable_finished: bool,
    /// Bytes that wait in the process because the kernel takes no more. Bytes that are only gathered do not count. A
    /// write that the kernel took in part counts whole, until all of it is sent.
    #[doc(alias = "writableLength")]
    pub writable_length: usize,
    /// A write has returned `false`, and `on_drain` has not followed yet.
    #[doc(alias = "writableNeedDrain")]
    pub writable_need_drain: bool,
    /// How many corks hold writes back.
    #[doc(alias = "writableCorked")]
    pub writable_corked: u32,
    /// With this many queued bytes `write` returns `false`; with this many bytes the inbox is full.
    #[doc(alias = "writableHighWaterMark")]
    pub high_water_mark: usize,
    /// Bytes received, delivered or not.
    #[doc(alias = "bytesRead")]
    pub bytes_read: u64,
    /// Bytes that the program has written, sent or not.
    #[doc(alias = "bytesWritten")]
    pub bytes_written: u64,
    /// The idle limit in milliseconds; 0 means none. `None` if none was ever set, as in Node.
    #[doc(alias = "timeout")]
    pub timeout_ms: Option<u32>,
    /// The peer's address, `None` while connecting. After the close it is known only if it was queried before. `None`
    /// on a unix path.
    #[doc(alias = "remoteAddress")]
    pub remote: Option<SocketAddr>,
    /// The address of this side. `None` after the close, and on a unix path.
    #[doc(alias = "localAddress")]
    pub local: Option<SocketAddr>,
}

impl Socket {
    /// Makes a socket that is not connected. It exists until it is destroyed or its connection ends.
    pub fn new(lp: &mut Loop, options: SocketOptions, handler: impl IntoHandler) -> Socket {
        let handler = handler.into_slot(lp);
        let serial = lp.net.take_serial();
        let high_water_mark = u32::try_from(options.high_water_mark).unwrap_or(u32::MAX);
        let mut state = SocketState::new(serial, handler, NO_SERVER, high_water_mark);
        if options.allow_half_open {
            state.set(ALLOW_HALF_OPEN);
        }
        if options.flowing {
            state.set(FLOWING | PROGRAM_READS | READING);
        }
        if options.urgent_in_line {
            state.more().urgent_in_line = true;
        }
        if options.no_delay || options.keep_alive || !options.user_timeout.is_zero() {
            state.more().no_delay = options.no_delay;
            state.more().keep_alive = options.keep_alive.then_some(options.keep_alive_initial_delay);
            state.more().user_timeout = options.user_timeout;
        }
        if options.limits != Limits::NONE {
            state.more().limits = Some(Box::new(options.limits));
        }
        let socket = Socket(lp.net.sockets.insert(state));
        lp.net.outboxes.store.blocks.set_connections(lp.net.sockets.len());
        if !options.timeout.is_zero() {
            socket.set_timeout(lp, options.timeout);
        }
        socket
    }

    /// Makes a socket and connects it: [`new`](Self::new) and [`connect_to`](Self::connect_to) in one call.
    ///
    /// # Errors
    /// As [`connect_to`](Self::connect_to). A connect that fails later is reported to `on_error`.
    #[doc(alias = "createConnection")]
    pub fn connect(lp: &mut Loop, target: impl Into<Target>, handler: impl IntoHandler) -> Result<Socket> {
        Socket::connect_with(lp, target, SocketOptions::default(), handler)
    }

    /// As [`connect`](Self::connect), with options. If it returns an error, the handler still gets `on_close`.
    ///
    /// # Errors
    /// As [`connect_to`](Self::connect_to). A connect that fails later is reported to `on_error`.
    pub fn connect_with(
        lp: &mut Loop,
        target: impl Into<Target>,
        options: SocketOptions,
        handler: impl IntoHandler,
    ) -> Result<Socket> {
        let socket = Socket::new(lp, options, handler);
        match socket.connect_to(lp, target) {
            Ok(()) => Ok(socket),
            Err(error) => {
                socket.destroy(lp);
                Err(error)
            }
        }
    }

    /// Connects the socket. The attempt begins in the next tick for an IP address, immediately for a path, and after
    /// the lookup for a name. A closed socket can be connected again from inside its `on_close`; its state and counters
    /// start anew.
    ///
    /// # Errors
    /// The errors that Node throws: [`Error::BadPort`], [`Error::InvalidIpAddress`]; and [`Error::InvalidAddress`],
    /// [`Error::InvalidPath`], [`Error::AlreadyConnected`], [`Error::Gone`]. A connect that fails later is reported to
    /// `on_error`.
    pub fn connect_to(self, lp: &mut Loop, target: impl Into<Target>) -> Result<()> {
        lp.connect_socket(self, target.into())
    }

    /// Writes `bytes`. Returns `false` if at least a high-water mark of bytes now waits in the process because the
    /// kernel takes no more. The bytes are queued all the same, but a program should write on only after `on_drain`:
    /// otherwise memory grows for as long as the peer is slower ([Node:
    /// `socket.write`](https://nodejs.org/docs/latest-v20.x/api/net.html#socketwritedata-encoding-callback)).
    ///
    /// Also returns `false` if the write is refused, for example after [`end`](Self::end); the error is reported to
    /// `on_error`. [`write_refusal`](Self::write_refusal) returns that error beforehand.
    pub fn write(self, lp: &mut Loop, bytes: impl AsRef<[u8]>) -> bool {
        lp.write_socket(self, bytes.as_ref(), None)
    }

    /// Writes a message in two parts, for protocols that put a head in front of a body: as one [`write`](Self::write)
    /// of both, but without joining them first. A body of a high-water mark or more goes to the kernel without a copy.
    ///
    /// ```
    /// # use bucle::{Loop, net::Socket};
    /// /// Sends a message behind its length.
    /// fn send(lp: &mut Loop, socket: Socket, message: &[u8]) -> bool {
    ///     socket.write_parts(lp, (message.len() as u32).to_be_bytes(), message)
    /// }
    /// ```
    pub fn write_parts(self, lp: &mut Loop, head: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> bool {
        lp.write_parts_of(self, head.as_ref(), body.as_ref())
    }

    /// As [`write`](Self::write). Calls `done` when the kernel has all of the bytes, or with the error if it never
    /// will.
    pub fn write_then(
        self,
        lp: &mut Loop,
        bytes: impl AsRef<[u8]>,
        done: impl FnOnce(&mut Loop, Result<()>) + 'static,
    ) -> bool {
        lp.write_socket(self, bytes.as_ref(), Some(Box::new(done)))
    }

    /// Sends gathered bytes now and not at the end of the phase.
    pub fn flush(self, lp: &mut Loop) {
        lp.flush_gathered(self);
    }

    /// Holds later writes back until [`uncork`](Self::uncork). Corks are counted: each one needs an uncork. Earlier
    /// writes are sent.
    pub fn cork(self, lp: &mut Loop) {
        lp.cork_socket(self);
    }

    /// Takes one cork off. With the last one, all writes that were held back are sent as one.
    pub fn uncork(self, lp: &mut Loop) {
        lp.uncork_socket(self, 1);
    }

    /// Ends this side: later writes are refused, and when all bytes are sent, the FIN follows. The peer may go on
    /// sending ([Node:
    /// `socket.end`](https://nodejs.org/docs/latest-v20.x/api/net.html#socketenddata-encoding-callback)).
    pub fn end(self, lp: &mut Loop) {
        lp.end_socket(self, None, None);
    }

    /// Writes `bytes`, then ends.
    pub fn end_with(self, lp: &mut Loop, bytes: impl AsRef<[u8]>) {
        lp.end_socket(self, Some(bytes.as_ref()), None);
    }

    /// Ends, and calls `done` when the FIN is sent, before `on_finish`. If the socket is destroyed first, `done` gets
    /// an error; if it had been destroyed before this call, `done` is not called, as in Node.
    pub fn end_then(self, lp: &mut Loop, done: impl FnOnce(&mut Loop, Result<()>) + 'static) {
        lp.end_socket(self, None, Some(Box::new(done)));
    }

    /// Writes `bytes`, ends, and calls `done` when the FIN is sent.
    pub fn end_with_then(
        self,
        lp: &mut Loop,
        bytes: impl AsRef<[u8]>,
        done: impl FnOnce(&mut Loop, Result<()>) + 'static,
    ) {
        lp.end_socket(self, Some(bytes.as_ref()), Some(Box::new(done)));
    }

    /// Closes the connection now. Bytes that the kernel does not take now are lost. `on_close` follows in the close
    /// phase. Only the first call has an effect.
    pub fn destroy(self, lp: &mut Loop) {
        lp.destroy_socket(self, None);
    }

    /// As [`destroy`](Self::destroy), with an error for `on_error`.
    pub fn destroy_with(self, lp: &mut Loop, error: Error) {
        lp.destroy_socket(self, Some(error));
    }

    /// Ends, and destroys the socket when the FIN is sent, without waiting for the peer's end.
    #[doc(alias = "destroySoon")]
    pub fn destroy_soon(self, lp: &mut Loop) {
        lp.destroy_socket_soon(self);
    }

    /// Closes the connection with a reset (RST): the peer gets `ECONNRESET`. While connecting, the reset follows
    /// `on_connect`; bytes that were written before this call are sent first.
    ///
    /// # Errors
    /// [`Error::InvalidHandleType`] on a unix path, which has no reset.
    #[doc(alias = "resetAndDestroy")]
    pub fn reset_and_destroy(self, lp: &mut Loop) -> Result<()> {
        lp.reset_socket(self)
    }

    /// Delivers no data after this returns. Received bytes wait, up to the high-water mark; then the socket reads no
    /// more, and the peer has to wait.
    pub fn pause(self, lp: &mut Loop) {
        lp.pause_socket(self);
    }

    /// Delivers data again. The bytes that wait are delivered from the next tick on.
    pub fn resume(self, lp: &mut Loop) {
        lp.resume_socket(self);
    }

    /// Whether `pause` was called, and `resume` has not been called since.
    #[doc(alias = "isPaused")]
    pub fn is_paused(self, lp: &Loop) -> bool {
        lp.net.socket(self).is_some_and(|state| state.is(PAUSED))
    }

    /// Puts bytes in front of all bytes that wait: they are delivered next. For a handler that pauses in the middle of
    /// a chunk and wants the rest when it resumes. An end that was read meanwhile comes after them ([Node:
    /// `readable.unshift`](https://nodejs.org/docs/latest-v20.x/api/stream.html#readableunshiftchunk-encoding)).
    pub fn unshift(self, lp: &mut Loop, bytes: impl AsRef<[u8]>) {
        lp.unshift_socket(self, bytes.as_ref());
    }

    /// Delivers UTF-8 text to `on_text` instead of bytes to `on_data`, beginning with the bytes that wait. A character
    /// that arrives in pieces is held back until it is complete. Invalid bytes become U+FFFD ([Node:
    /// `socket.setEncoding`](https://nodejs.org/docs/latest-v20.x/api/net.html#socketsetencodingencoding)).
    #[doc(alias = "setEncoding")]
    pub fn set_encoding(self, lp: &mut Loop) {
        lp.decode_socket(self);
    }

    /// Writes all data of this socket to `to`, at the pace of the slower one, and ends `to` when this socket's peer
    /// ends. Begins to read, even after [`pause`](Self::pause), unless `to` must drain first.
    ///
    /// With several destinations the slowest one decides: reading goes on when each of them has drained or is gone. A
    /// destination that fails, finishes or closes is unpiped. A pipe that is added inside `on_data` begins with the
    /// next chunk. A pipe that is added inside `on_end` or later ends `to` in a tick ([Node:
    /// `readable.pipe`](https://nodejs.org/docs/latest-v20.x/api/stream.html#readablepipedestination-options)).
    pub fn pipe(self, lp: &mut Loop, to: Socket) {
        lp.pipe_socket(self, to, true);
    }

    /// As [`pipe`](Self::pipe), but does not end `to`.
    pub fn pipe_without_end(self, lp: &mut Loop, to: Socket) {
        lp.pipe_socket(self, to, false);
    }

    /// Removes a pipe. Without any pipe left this socket pauses, unless it was waiting for `to` to drain and its
    /// handler takes the data, too.
    pub fn unpipe(self, lp: &mut Loop, to: Socket) {
        lp.unpipe_socket(self, to);
    }

    /// Calls `on_timeout` after `limit` without activity: a connect, a read or a write. It is called once for each idle
    /// period, and nothing is closed. Zero means no limit. The limit is cut to whole milliseconds, and at most 2^31 − 1
    /// of them, some 25 days ([Node:
    /// `socket.setTimeout`](https://nodejs.org/docs/latest-v20.x/api/net.html#socketsettimeouttimeout-callback)).
    #[doc(alias = "setTimeout")]
    pub fn set_timeout(self, lp: &mut Loop, limit: Duration) {
        let Some(state) = lp.net.socket_mut(self) else { return };
        if state.is(DESTROYED) {
            return;
        }
        state.idle_limit_ms = if limit.is_zero() { 0 } else { limit_ms(limit) };
        if let Some(timer) = state.idle_timer.take() {
            lp.timers_clear(timer);
        }
        if !limit.is_zero() {
            let timer = lp.start_net_timer(limit, NetTimer::Idle(self));
            if let Some(state) = lp.net.socket_mut(self) {
                state.idle_timer = Some(timer);
            }
        }
    }

    /// Gives this socket limits of its own, which hold immediately: bytes that wait already count.
    pub fn set_limits(self, lp: &mut Loop, limits: Limits) {
        lp.set_socket_limits(self, limits);
    }

    /// Sends small writes immediately, without waiting until the peer has acknowledged the previous one
    /// (`TCP_NODELAY`).
    #[doc(alias = "setNoDelay")]
    pub fn set_no_delay(self, lp: &mut Loop, enable: bool) {
        let Some(state) = lp.net.socket_mut(self) else { return };
        if state.remembers_options() {
            state.more().no_delay = enable;
        }
        state.stream.with_tcp(|stream| stream.set_tcp_nodelay(enable));
    }

    /// Lets the kernel probe an idle peer (`SO_KEEPALIVE`), for the first time after `delay`. Whole seconds are used;
    /// zero leaves the times to the system. With a delay the kernel sends ten probes, one a second, and then closes the
    /// connection with `ETIMEDOUT`, as in Node (`TCP_KEEPIDLE`, `TCP_KEEPINTVL` 1, `TCP_KEEPCNT` 10).
    #[doc(alias = "setKeepAlive")]
    pub fn set_keep_alive(self, lp: &mut Loop, enable: bool, delay: Duration) {
        let Some(state) = lp.net.socket_mut(self) else { return };
        if state.remembers_options() {
            state.more().keep_alive = enable.then_some(delay);
        }
        state.stream.with_tcp(|stream| set_keep_alive(&stream, enable, delay));
    }

    /// How long sent bytes may stay unacknowledged before the kernel closes the connection with `ETIMEDOUT`
    /// (`TCP_USER_TIMEOUT`, [RFC 5482](https://www.rfc-editor.org/rfc/rfc5482)). For peers that vanish without a FIN or
    /// RST; otherwise the kernel needs a quarter of an hour to notice. Whole milliseconds; zero is the system's own
    /// value. On Linux only; elsewhere, and on a unix path, it does nothing.
    ///
    /// It takes the place of the number of probes of [`set_keep_alive`](Self::set_keep_alive). So where both are set,
    /// it should be the keepalive's delay plus ten seconds.
    pub fn set_user_timeout(self, lp: &mut Loop, limit: Duration) {
        let Some(state) = lp.net.socket_mut(self) else { return };
        if state.remembers_options() {
            state.more().user_timeout = limit;
        }
        state.stream.with_tcp(|stream| set_user_timeout(&stream, limit));
    }

    /// Keeps an urgent byte of TCP (`MSG_OOB`) where it is in the stream (`SO_OOBINLINE`, tcp(7) and socket(7)).
    /// Without this, reads skip the byte, as in Node: a protocol that sends a byte as urgent, such as telnet's Data
    /// Mark, would lose it. [`Telnet`](crate::telnet::Telnet) switches this on for its sockets.
    ///
    /// On Linux the byte is not lost if this is called before the byte is read. On a unix path it does nothing.
    #[doc(alias = "SO_OOBINLINE")]
    pub fn set_urgent_in_line(self, lp: &mut Loop, enable: bool) {
        let Some(state) = lp.net.socket_mut(self) else { return };
        if state.remembers_options() {
            state.more().urgent_in_line = enable;
        }
        state.stream.with_tcp(|stream| set_urgent_in_line(&stream, enable));
    }

    /// The state of the socket; `None` when it is gone. The first call asks the kernel for the peer's address and
    /// remembers it.
    pub fn info(self, lp: &mut Loop) -> Option<SocketInfo> {
        let remembered = self.entry::<PeerAddr>(lp).map(|peer| peer.0);
        let (state, outboxes) = lp.net.socket_and_outboxes(self)?;
        // As in Node a socket has no peer while it is connecting, even if the kernel has connected it already.
        let remote = if state.is(CONNECTING) { None } else { state.stream.peer_addr().or(remembered) };
        let connecting = state.is(CONNECTING) && !state.is(DESTROYED);
        let flowing = if state.is(FLOWING) { Some(true) } else { state.is(PAUSED).then_some(false) };
        let info = SocketInfo {
            ready_state: state.ready_state(),
            pending: connecting || !state.is(OPENED) || state.is(DESTROYED),
            connecting,
            destroyed: state.is(DESTROYED),
            readable: state.is_readable(),
            flowing,
            writable: state.is_writable(),
            writable_ended: state.is(ENDED),
            writable_finished: state.writing() == Writing::Finished,
            writable_length: outboxes.writable_length(state) as usize,
            writable_need_drain: state.is(NEED_DRAIN) && !state.is(DESTROYED | ENDED),
            writable_corked: state.corks.into(),
            high_water_mark: state.high_water_mark as usize,
            bytes_read: state.bytes_read,
            bytes_written: state.bytes_written,
            timeout_ms: (state.idle_limit_ms != IDLE_LIMIT_UNSET).then_some(state.idle_limit_ms),
            remote,
            local: state.stream.local_addr(),
        };
        if let (Some(remote), None) = (remote, remembered) {
            self.set_entry(lp, PeerAddr(remote));
        }
        Some(info)
    }

    /// Whether the handle still names a socket: from its making to the end of its `on_close`.
    pub fn exists(self, lp: &Loop) -> bool {
        lp.net.socket(self).is_some()
    }

    /// A number that no other socket of this loop has, until 2^32 sockets have been made. For logs.
    pub fn serial(self) -> u32 {
        self.0.serial()
    }

    /// The server that has accepted this socket. `None` for a client's socket, and after the destroy.
    pub fn server(self, lp: &Loop) -> Option<ServerId> {
        let server = lp.net.socket(self)?.server;
        lp.net.servers.at(server).map(|state| ServerId(Key::new(server as usize, state.serial)))
    }

    /// The peer's address; see [`SocketInfo::remote`]. Unlike [`info`](Self::info) it does not remember the address, so
    /// it costs no memory.
    pub fn remote_address(self, lp: &Loop) -> Option<SocketAddr> {
        let state = lp.net.socket(self)?;
        if state.is(CONNECTING) {
            return None;
        }
        state.stream.peer_addr().or_else(|| self.entry::<PeerAddr>(lp).map(|peer| peer.0))
    }

    /// The error that a write would fail with now; `None` if it would be accepted.
    pub fn write_refusal(self, lp: &Loop) -> Option<Error> {
        match lp.net.socket(self) {
            None => Some(Error::Destroyed { action: "write" }),
            Some(state) if state.answers_end() && state.is(ENDED) => Some(Error::EndedByPeer),
            Some(state) if !state.is(OPENED | DESTROYED | ENDED) => Some(Error::SocketClosed),
            Some(state) => super::write::refusal(state),
        }
    }

    /// Bytes that wait in the process because the kernel takes no more; see [`SocketInfo::writable_length`].
    pub fn writable_length(self, lp: &Loop) -> usize {
        lp.net.socket(self).map_or(0, |state| lp.net.outboxes.writable_length(state) as usize)
    }

    /// The exact number of written bytes that the kernel does not have yet: gathered bytes, and the unsent rest of a
    /// write that it took in part. [`SocketInfo::bytes_written`] minus this is the number of bytes that the kernel has.
    pub fn unsent_length(self, lp: &Loop) -> usize {
        lp.net.socket(self).map_or(0, |state| lp.net.outboxes.unsent(state))
    }

    /// Whether a write has returned `false` and `on_drain` has not followed yet. A server should then stop to take
    /// requests from the peer ([Node:
    /// `writable.writableNeedDrain`](https://nodejs.org/docs/latest-v20.x/api/stream.html#writablewritableneeddrain)).
    #[doc(alias = "writableNeedDrain")]
    pub fn needs_drain(self, lp: &Loop) -> bool {
        lp.net.socket(self).is_some_and(|state| state.among(NEED_DRAIN | DESTROYED | ENDED) == NEED_DRAIN)
    }

    /// Whether the socket is connected and a protocol should go on with its requests: it is not paused, ended or
    /// destroyed, does not wait for a drain, and its handler is not about to change. Protocols check this before each
    /// line.
    #[inline]
    pub(crate) fn is_ready_for_more(self, lp: &Loop) -> bool {
        lp.net.socket(self).is_some_and(super::state::SocketState::is_ready_for_more)
    }

    /// Lets the socket keep the loop alive while it reads. This is the default.
    #[doc(alias = "ref")]
    pub fn ref_(self, lp: &mut Loop) {
        if let Some(state) = lp.net.socket_mut(self) {
            state.clear(UNREFERENCED);
            lp.recount(self);
        }
    }

    /// Lets the loop end although the socket is open.
    pub fn unref(self, lp: &mut Loop) {
        if let Some(state) = lp.net.socket_mut(self) {
            state.set(UNREFERENCED);
            lp.recount(self);
        }
    }

    /// Gives this socket a handler of its own, from its next event on. The old handler is dropped when no socket or
    /// server has it.
    pub fn set_handler(self, lp: &mut Loop, handler: impl IntoHandler) {
        if lp.net.socket(self).is_none() {
            return;
        }
        let slot = handler.into_slot(lp);
        let Some(state) = lp.net.socket_mut(self) else { return };
        // The tag belongs to the protocol of the old handler.
        state.clear_tag();
        let old = std::mem::replace(&mut state.handler, slot);
        lp.release_handler(old);
    }
}

/// The peer's address, remembered by [`Socket::info`]. As in Node, it is then still known after the close.
struct PeerAddr(SocketAddr);

/// `#41`, as in the log.
impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0.serial())
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Socket#{}", self.0.serial())
    }
}

impl Loop {
    /// A socket's idle timer has fired: `on_timeout`, unless the kernel has taken some of a large write meanwhile.
    pub(super) fn idle_limit_reached(&mut self, socket: Socket, timer: TimerId) {
        let Some(state) = self.net.socket(socket) else { return };
        if state.idle_timer != Some(timer) {
            return;
        }
        // As in Node, progress of a large write counts as activity, but is noticed only when the limit is reached.
        let (is_blocked, written) = (state.is(BLOCKED), state.bytes_written);
        if is_blocked
            && let Some(outbox) = self.net.outbox_mut(socket)
            && outbox.seen_by_idle_limit != outbox.in_flight(written)
        {
            outbox.seen_by_idle_limit = outbox.in_flight(written);
            return self.restart_timer(timer);
        }
        self.emit(socket, Kind::OnTimeout, 0, |handler, lp| handler.on_timeout(lp, socket));
        self.close_idle(socket);
    }
}

const _: () = assert!(size_of::<Socket>() == 8);
