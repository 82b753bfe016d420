//! The handle of a connection: everything a program can do with one.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::state::flag::*;
use super::state::{NO_SERVER, SocketState, Writing};
use super::stream::{set_keep_alive, set_user_timeout};
use super::{Error, HIGH_WATER_MARK, IntoHandler, Limits, NetTimer, ServerId, Target};
use crate::Result;
use crate::event_loop::token::Key;
use crate::event_loop::{Kind, Loop, TimerId, limit_ms};

/// Names a connection, for ever ([Node: `net.Socket`](https://nodejs.org/docs/latest-v20.x/api/net.html#class-netsocket)).
///
/// 8 bytes, `Copy`; owns nothing. When the connection is gone it finds nothing: commands do nothing, questions answer
/// `None`. It can be a key; sorted, who came first stands first. Another loop knows nothing of it, and
/// may take it for one of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Socket(pub(crate) Key);

/// What a socket is made with; Node's names and defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// After the peer's end this side stays open until the program ends it. Default: no, it answers with its own end.
    #[doc(alias = "allowHalfOpen")]
    pub allow_half_open: bool,
    /// Queued bytes from which on `write` answers `false`, and how much is received while nobody takes it.
    /// Default: [`HIGH_WATER_MARK`].
    pub high_water_mark: usize,
    /// Data is delivered as it comes. With `false` nobody has asked for it yet: up to `high_water_mark` bytes wait in the
    /// process until [`Socket::resume`] or [`Socket::pipe`], as in Node before the first `data` listener. Default: true.
    pub flowing: bool,
    /// Small writes are sent at once, without waiting for the answer to the one before (`TCP_NODELAY`). Default: no.
    #[doc(alias = "noDelay")]
    pub no_delay: bool,
    /// The kernel asks an idle peer whether it is still there (`SO_KEEPALIVE`). Default: no.
    #[doc(alias = "keepAlive")]
    pub keep_alive: bool,
    /// As in [`Socket::set_keep_alive`].
    #[doc(alias = "keepAliveInitialDelay")]
    pub keep_alive_initial_delay: Duration,
    /// As [`Socket::set_user_timeout`]. Default: zero, the system's own.
    pub user_timeout: Duration,
    /// As [`Socket::set_timeout`]. Default: off.
    pub timeout: Duration,
    /// What the connection may cost. Default: no limits.
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
            timeout: Duration::ZERO,
            limits: Limits::NONE,
        }
    }
}

/// Which directions of a connection are open ([Node: `socket.readyState`](https://nodejs.org/docs/latest-v20.x/api/net.html#socketreadystate)).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ReadyState {
    /// Connecting.
    Opening,
    /// Both; a socket that was never connected says so too, as in Node.
    Open,
    /// Only reading: this side has ended.
    ReadOnly,
    /// Only writing: the peer has ended.
    WriteOnly,
    /// Neither.
    Closed,
}

impl ReadyState {
    /// Node's word: `opening`, `open`, `readOnly`, `writeOnly` or `closed`.
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

/// All there is to know about a socket, at the moment it was asked ([`Socket::info`]).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketInfo {
    /// Which directions are open.
    #[doc(alias = "readyState")]
    pub ready_state: ReadyState,
    /// Not connected: never, not yet, or not any more.
    pub pending: bool,
    /// `connect_to` was called and has not succeeded or failed.
    pub connecting: bool,
    /// `destroy` was called, by the program or by the loop.
    pub destroyed: bool,
    /// Data or an end may still come.
    pub readable: bool,
    /// `None`: nobody has asked for data. Otherwise whether it is delivered (`resume`) or not (`pause`).
    pub flowing: Option<bool>,
    /// It may be written to.
    pub writable: bool,
    /// `end` was called.
    #[doc(alias = "writableEnded")]
    pub writable_ended: bool,
    /// `on_finish` has been called.
    #[doc(alias = "writableFinished")]
    pub writable_finished: bool,
    /// Bytes that wait in the process because the kernel takes no more. Bytes that wait only because they are gathered do
    /// not count; a write that the kernel took in part counts whole until it is through.
    #[doc(alias = "writableLength")]
    pub writable_length: usize,
    /// `on_drain` is owed.
    #[doc(alias = "writableNeedDrain")]
    pub writable_need_drain: bool,
    /// How often it is corked.
    #[doc(alias = "writableCorked")]
    pub writable_corked: u32,
    /// Queued bytes from which on `write` answers `false`, and an inbox is full.
    #[doc(alias = "writableHighWaterMark")]
    pub high_water_mark: usize,
    /// Bytes received, whether they have been delivered or not.
    #[doc(alias = "bytesRead")]
    pub bytes_read: u64,
    /// Bytes written by the program, whether they have been sent or not.
    #[doc(alias = "bytesWritten")]
    pub bytes_written: u64,
    /// The idle limit in milliseconds; 0 is off.
    pub timeout_ms: u32,
    /// The peer. After the close only if it was asked for before. `None` on a unix path.
    #[doc(alias = "remoteAddress")]
    pub remote: Option<SocketAddr>,
    /// This side; nothing after the close. `None` on a unix path.
    #[doc(alias = "localAddress")]
    pub local: Option<SocketAddr>,
}

impl Socket {
    /// Connects to `target`: sugar for [`new`](Self::new) and [`connect_to`](Self::connect_to).
    ///
    /// # Errors
    /// As [`connect_to`](Self::connect_to). Failing to connect arrives in `on_error`.
    #[doc(alias = "createConnection")]
    pub fn connect(lp: &mut Loop, target: impl Into<Target>, handler: impl IntoHandler) -> Result<Socket> {
        Socket::connect_with(lp, target, SocketOptions::default(), handler)
    }

    /// As [`connect`](Self::connect), with options. Of a socket that may not even try nothing is left but its `on_close`.
    ///
    /// # Errors
    /// As [`connect_to`](Self::connect_to). Failing to connect arrives in `on_error`.
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

    /// A socket that is not connected yet. It lives until it is destroyed, or its connection ends.
    pub fn new(lp: &mut Loop, options: SocketOptions, handler: impl IntoHandler) -> Socket {
        let handler = handler.into_slot(lp);
        let serial = lp.net.take_serial();
        let high_water_mark = u32::try_from(options.high_water_mark).unwrap_or(u32::MAX);
        let mut state = SocketState::new(serial, handler, NO_SERVER, high_water_mark);
        if options.allow_half_open {
            state.set(ALLOW_HALF_OPEN);
        }
        if options.flowing {
            state.set(FLOWING | LISTENS | READING);
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
        lp.net.outboxes.store.blocks.connections_are(lp.net.sockets.len());
        socket.set_timeout(lp, options.timeout);
        socket
    }

    /// Connects. An IP address is called on in the next tick, a path at once, a name after its lookup. A socket that has
    /// been closed can be connected again from inside its `on_close`, with fresh state and counters.
    ///
    /// # Errors
    /// What Node throws: [`Error::BadPort`], [`Error::InvalidIpAddress`]; and [`Error::InvalidPath`],
    /// [`Error::AlreadyConnected`], [`Error::Gone`].
    pub fn connect_to(self, lp: &mut Loop, target: impl Into<Target>) -> Result<()> {
        lp.connect_socket(self, target.into())
    }

    /// Sends `bytes`. The answer is advice: `false` when at least a high-water mark of bytes waits in the process because
    /// the kernel takes no more. They are kept all the same; write on after `on_drain`, or memory grows with the peer's
    /// slowness ([Node: `socket.write`](https://nodejs.org/docs/latest-v20.x/api/net.html#socketwritedata-encoding-callback)).
    ///
    /// Also `false`, with an error to `on_error`, after the end: [`write_refusal`](Self::write_refusal) says beforehand.
    pub fn write(self, lp: &mut Loop, bytes: impl AsRef<[u8]>) -> bool {
        lp.write_socket(self, bytes.as_ref(), None)
    }

    /// As [`write`](Self::write), and calls `done` when the kernel has all of it, or never will.
    pub fn write_then(
        self,
        lp: &mut Loop,
        bytes: impl AsRef<[u8]>,
        done: impl FnOnce(&mut Loop, Result<()>) + 'static,
    ) -> bool {
        lp.write_socket(self, bytes.as_ref(), Some(Box::new(done)))
    }

    /// Hands what was gathered to the kernel now, and not at the end of the phase.
    pub fn flush(self, lp: &mut Loop) {
        lp.flush_gathered(self);
    }

    /// Ends this side: no further writes; when everything is out, the FIN. The peer may go on sending
    /// ([Node: `socket.end`](https://nodejs.org/docs/latest-v20.x/api/net.html#socketenddata-encoding-callback)).
    pub fn end(self, lp: &mut Loop) {
        lp.end_socket(self, None, None);
    }

    /// Writes `bytes`, then ends.
    pub fn end_with(self, lp: &mut Loop, bytes: impl AsRef<[u8]>) {
        lp.end_socket(self, Some(bytes.as_ref()), None);
    }

    /// Ends, and calls `done` when the FIN is sent, before `on_finish`. After a [`destroy`](Self::destroy) it is not
    /// called, as in Node.
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

    /// Closes the connection now: what has not reached the kernel is lost. `on_close` follows in the close phase. Only the
    /// first call counts.
    pub fn destroy(self, lp: &mut Loop) {
        lp.destroy_socket(self, None);
    }

    /// As [`destroy`](Self::destroy), with an error for `on_error`.
    pub fn destroy_with(self, lp: &mut Loop, error: Error) {
        lp.destroy_socket(self, Some(error));
    }

    /// Ends, and destroys when that is through, without waiting for the peer's end.
    #[doc(alias = "destroySoon")]
    pub fn destroy_soon(self, lp: &mut Loop) {
        lp.destroy_socket_soon(self);
    }

    /// Closes with a reset (RST): the peer gets `ECONNRESET`. While connecting, it happens right after `on_connect`; what was
    /// written before it is sent first.
    ///
    /// # Errors
    /// [`Error::InvalidHandleType`] on a unix path, which has no reset.
    #[doc(alias = "resetAndDestroy")]
    pub fn reset_and_destroy(self, lp: &mut Loop) -> Result<()> {
        lp.reset_socket(self)
    }

    /// No data is delivered after this returns. What comes waits, up to the high-water mark; then the peer has to wait.
    pub fn pause(self, lp: &mut Loop) {
        lp.pause_socket(self);
    }

    /// Delivers data again, beginning in the next tick with what waits.
    pub fn resume(self, lp: &mut Loop) {
        lp.resume_socket(self);
    }

    /// Whether `pause` was called, and no `resume` since.
    #[doc(alias = "isPaused")]
    pub fn is_paused(self, lp: &Loop) -> bool {
        lp.net.socket(self).is_some_and(|state| state.is(PAUSED))
    }

    /// Puts bytes back in front of all that waits: they are the next data. For a reader that pauses in the middle of a
    /// chunk and wants the rest when it resumes; an end that was read meanwhile comes after them
    /// ([Node: `readable.unshift`](https://nodejs.org/docs/latest-v20.x/api/stream.html#readableunshiftchunk-encoding)).
    pub fn unshift(self, lp: &mut Loop, bytes: impl AsRef<[u8]>) {
        lp.unshift_socket(self, bytes.as_ref());
    }

    /// Holds writes back until [`uncork`](Self::uncork). Counts: as many uncorks as corks. What was written before is sent.
    pub fn cork(self, lp: &mut Loop) {
        lp.cork_socket(self);
    }

    /// Takes one cork off. With the last one, all that was held back goes out as one write.
    pub fn uncork(self, lp: &mut Loop) {
        lp.uncork_socket(self, 1);
    }

    /// Writes all that this socket reads to `to`, at the pace of the slower, and ends `to` when this one ends. Starts
    /// reading, even after [`pause`](Self::pause), unless `to` has yet to drain.
    ///
    /// Of several destinations the slowest rules: reading goes on when each has drained, or is gone. One that fails,
    /// finishes or closes is unpiped. Inside `on_data` the pipe begins with the next chunk, inside `on_end` and after it `to`
    /// is ended in a tick
    /// ([Node: `readable.pipe`](https://nodejs.org/docs/latest-v20.x/api/stream.html#readablepipedestination-options)).
    pub fn pipe(self, lp: &mut Loop, to: Socket) {
        lp.pipe_socket(self, to, true);
    }

    /// As [`pipe`](Self::pipe), but leaves `to` open at the end.
    pub fn pipe_without_end(self, lp: &mut Loop, to: Socket) {
        lp.pipe_socket(self, to, false);
    }

    /// Takes a pipe away. Without any left the socket pauses, unless it waited for `to` to drain and its handler wants the
    /// data.
    pub fn unpipe(self, lp: &mut Loop, to: Socket) {
        lp.unpipe_socket(self, to);
    }

    /// Calls `on_timeout` after `limit` without activity: nothing connected, read or written. Once per idle period;
    /// nothing is closed. Zero switches it off. Whole milliseconds; more than 2^31 − 1 of
    /// them, some 25 days, are that many ([Node: `socket.setTimeout`](https://nodejs.org/docs/latest-v20.x/api/net.html#socketsettimeouttimeout-callback)).
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

    /// Gives this socket limits of its own, from now on; what waits already is held against them.
    pub fn set_limits(self, lp: &mut Loop, limits: Limits) {
        lp.set_socket_limits(self, limits);
    }

    /// Delivers UTF-8 text to `on_text` instead of bytes to `on_data`, from what waits now on. A character that comes in
    /// pieces is held back until it is whole; bytes that are no UTF-8 become U+FFFD
    /// ([Node: `socket.setEncoding`](https://nodejs.org/docs/latest-v20.x/api/net.html#socketsetencodingencoding)).
    #[doc(alias = "setEncoding")]
    pub fn set_encoding(self, lp: &mut Loop) {
        lp.decode_socket(self);
    }

    /// Sends small writes at once, without waiting for the answer to the one before (`TCP_NODELAY`).
    #[doc(alias = "setNoDelay")]
    pub fn set_no_delay(self, lp: &mut Loop, enable: bool) {
        let Some(state) = lp.net.socket_mut(self) else { return };
        if state.remembers_options() {
            state.more().no_delay = enable;
        }
        state.stream.with_tcp(|stream| stream.set_tcp_nodelay(enable));
    }

    /// Has the kernel ask an idle peer whether it is still there (`SO_KEEPALIVE`), first after `delay`; whole seconds are
    /// used, 0 is the system's own. With a delay it asks ten times, once a second, before it gives the connection up with
    /// `ETIMEDOUT`, as in Node (`TCP_KEEPIDLE`, `TCP_KEEPINTVL` 1, `TCP_KEEPCNT` 10).
    #[doc(alias = "setKeepAlive")]
    pub fn set_keep_alive(self, lp: &mut Loop, enable: bool, delay: Duration) {
        let Some(state) = lp.net.socket_mut(self) else { return };
        if state.remembers_options() {
            state.more().keep_alive = enable.then_some(delay);
        }
        state.stream.with_tcp(|stream| set_keep_alive(&stream, enable, delay));
    }

    /// How long what was sent may go without the peer's acknowledgement before the kernel gives the connection up with
    /// `ETIMEDOUT` (`TCP_USER_TIMEOUT`, [RFC 5482](https://www.rfc-editor.org/rfc/rfc5482)): for peers that vanish without a
    /// word, which otherwise takes the kernel a quarter of an hour. Whole milliseconds; zero is the system's own. On Linux;
    /// elsewhere, and on a unix path, it does nothing.
    ///
    /// It overrides the number of questions that [`set_keep_alive`](Self::set_keep_alive) asks, so where both are set it
    /// should be the keepalive's delay and ten seconds.
    pub fn set_user_timeout(self, lp: &mut Loop, limit: Duration) {
        let Some(state) = lp.net.socket_mut(self) else { return };
        if state.remembers_options() {
            state.more().user_timeout = limit;
        }
        state.stream.with_tcp(|stream| set_user_timeout(&stream, limit));
    }

    /// Gives this socket a handler of its own, from its next event on. The old one is dropped with its last socket.
    pub fn set_handler(self, lp: &mut Loop, handler: impl IntoHandler) {
        if lp.net.socket(self).is_none() {
            return;
        }
        let slot = handler.into_slot(lp);
        let Some(state) = lp.net.socket_mut(self) else { return };
        state.clear_tag();
        let old = std::mem::replace(&mut state.handler, slot);
        lp.release_handler(old);
    }

    /// Lets the socket keep the loop alive while it reads, which is how it starts.
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

    /// Everything there is to know about it; `None` when it is gone. The first call asks the kernel for the peer's address
    /// and remembers it.
    pub fn info(self, lp: &mut Loop) -> Option<SocketInfo> {
        let remembered = self.entry::<PeerAddr>(lp).map(|peer| peer.0);
        let (state, outboxes) = lp.net.socket_and_outboxes(self)?;
        let remote = state.stream.peer_addr().or(remembered);
        let (readable, writable) = (state.is_readable(), state.is_writable());
        let connecting = state.is(CONNECTING) && !state.is(DESTROYED);
        let ready_state = match (connecting, readable, writable) {
            (true, _, _) => ReadyState::Opening,
            (false, true, true) => ReadyState::Open,
            (false, true, false) => ReadyState::ReadOnly,
            (false, false, true) => ReadyState::WriteOnly,
            (false, false, false) => ReadyState::Closed,
        };
        let flowing = if state.is(FLOWING) { Some(true) } else { state.is(PAUSED).then_some(false) };
        let info = SocketInfo {
            ready_state,
            pending: connecting || !state.is(OPENED) || state.is(DESTROYED),
            connecting,
            destroyed: state.is(DESTROYED),
            readable,
            flowing,
            writable,
            writable_ended: state.is(ENDED),
            writable_finished: state.writing() == Writing::Finished,
            writable_length: outboxes.writable_length(state) as usize,
            writable_need_drain: state.is(NEED_DRAIN) && !state.is(DESTROYED | ENDED),
            writable_corked: state.corks.into(),
            high_water_mark: state.high_water_mark as usize,
            bytes_read: state.bytes_read,
            bytes_written: state.bytes_written,
            timeout_ms: state.idle_limit_ms,
            remote,
            local: state.stream.local_addr(),
        };
        if let (Some(remote), None) = (remote, remembered) {
            self.set_entry(lp, PeerAddr(remote));
        }
        Some(info)
    }

    /// The error that a write would get now; `None` if it would be taken.
    pub fn write_refusal(self, lp: &Loop) -> Option<Error> {
        match lp.net.socket(self) {
            None => Some(Error::Destroyed { action: "write" }),
            Some(state) if state.answers_end() && state.is(ENDED) => Some(Error::EndedByPeer),
            Some(state) if !state.is(OPENED | DESTROYED | ENDED) => Some(Error::SocketClosed),
            Some(state) => super::write::refusal(state),
        }
    }

    /// Whether the handle still finds something: from the socket's making to the end of its `on_close`.
    pub fn exists(self, lp: &Loop) -> bool {
        lp.net.socket(self).is_some()
    }

    /// Bytes that wait in the process because the kernel takes no more.
    pub fn writable_length(self, lp: &Loop) -> usize {
        lp.net.socket(self).map_or(0, |state| lp.net.outboxes.writable_length(state) as usize)
    }

    /// Bytes written that the kernel does not have yet, to the byte: what is gathered, and what it has not taken of a write
    /// that it took in part. What it has is [`SocketInfo::bytes_written`] less this.
    pub fn unsent_length(self, lp: &Loop) -> usize {
        lp.net.socket(self).map_or(0, |state| lp.net.outboxes.unsent(state))
    }

    /// Whether `on_drain` is owed: a write answered `false`, and not all is out yet. The moment to stop taking work from
    /// the peer ([Node: `writable.writableNeedDrain`](https://nodejs.org/docs/latest-v20.x/api/stream.html#writablewritableneeddrain)).
    #[doc(alias = "writableNeedDrain")]
    pub fn needs_drain(self, lp: &Loop) -> bool {
        lp.net.socket(self).is_some_and(|state| state.among(NEED_DRAIN | DESTROYED | ENDED) == NEED_DRAIN)
    }

    /// The peer's address; see [`SocketInfo::remote`]. Not remembered, so it costs no memory.
    pub fn remote_address(self, lp: &Loop) -> Option<SocketAddr> {
        let state = lp.net.socket(self)?;
        state.stream.peer_addr().or_else(|| self.entry::<PeerAddr>(lp).map(|peer| peer.0))
    }

    /// The server that accepted this socket; `None` for a client's, and after the destroy.
    pub fn server(self, lp: &Loop) -> Option<ServerId> {
        let server = lp.net.socket(self)?.server;
        lp.net.servers.at(server).map(|state| ServerId(Key::new(server as usize, state.serial)))
    }

    /// Whether it is connected, and nothing stands against taking more from the peer and answering it: not paused, no
    /// drain owed, not ended or destroyed. One look for what is asked before every line.
    #[inline]
    pub(crate) fn is_at_work(self, lp: &Loop) -> bool {
        const HINDRANCES: u32 = PAUSED | NEED_DRAIN | ENDED | DESTROYED | UPGRADING;
        lp.net.socket(self).is_some_and(|state| state.among(OPENED | HINDRANCES) == OPENED)
    }

    /// A number that no other socket of this loop has (until 2^32 sockets have been); for logs.
    pub fn serial(self) -> u32 {
        self.0.serial()
    }
}

/// The address of a peer, remembered since [`Socket::info`] asked for it: it is still known after the close, as in Node.
struct PeerAddr(SocketAddr);

/// `#41`, as in the logs.
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
    /// A socket's idle timer fired: `on_timeout`, unless a large write has moved on meanwhile.
    pub(super) fn idle_limit_reached(&mut self, socket: Socket, timer: TimerId) {
        let Some(state) = self.net.socket(socket) else { return };
        if state.idle_timer != Some(timer) {
            return;
        }
        if state.is(BLOCKED)
            && let Some(outbox) = self.net.outbox_mut(socket)
            && outbox.seen_by_idle_limit != outbox.len()
        {
            outbox.seen_by_idle_limit = outbox.len();
            return self.restart_timer(timer);
        }
        self.emit(socket, Kind::OnTimeout, 0, |handler, lp| handler.on_timeout(lp, socket));
        self.send_idle_away(socket);
    }
}

const _: () = assert!(size_of::<Socket>() == 8);
