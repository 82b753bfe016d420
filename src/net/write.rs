//! Writing: bytes are gathered and sent together, and `write` returns what Node's would.
//!
//! Node makes one system call per `write()`. Here the writes of one phase are gathered, and at the end of the phase
//! each socket's bytes leave in one system call: sixteen replies to sixteen pipelined lines cost one `write(2)`.
//!
//! ```text
//!   on_data ─ write ─┐                                  ┌─▶ all taken: the outbox is taken back
//!   on_data ─ write ─┼─▶ outbox ── end of phase: send ──┤
//!   a tick  ─ write ─┘    │                             └─▶ WouldBlock: BLOCKED, until the socket is writable
//!                         └─ a high-water mark of bytes, 8 MiB of all sockets, a callback, cork, destroy: sent now
//! ```
//!
//! Answers of more than 2 KiB to the socket that is being read are gathered in the loop's *reply buffer* and sent at
//! the end of its read, see `outbox.rs`: they leave in one piece, and their memory is free for the next socket.
//!
//! Gathering changes when the kernel is called, not what the program sees: gathered bytes are reported as sent. When
//! the kernel refuses bytes, `write` returns `false` once a high-water mark of them waits, and `on_drain` follows when
//! all have been sent. One difference from Node remains: a write to a peer whose reset has arrived since the last poll
//! returns `true`, and the error comes at the end of the phase.
//!
//! Bytes of one socket leave in the order of its writes, gathered or not. Offsets below count from the first byte that
//! the program wrote to the socket, as in the picture in `outbox.rs`.

use std::{io, mem};

use super::outbox::Offer;
use super::send::{Sent, not_sent, send, send_with};
use super::state::SocketState;
use super::state::flag::*;
use super::{Error, NetTick, Socket, WriteCallback};
use crate::event_loop::{Cause, Kind, Loop};

/// How many bytes all sockets together may have gathered. Beyond it a write is sent immediately, together with what its
/// socket has gathered. Sixteen lines for each of two thousand members fit; a megabyte for each of them would not.
const GATHER_LIMIT: usize = 8 * 1024 * 1024;

/// How a failed send is reported.
///
/// A method that the program has called must not call the program back, so it reports in a tick
/// ([`Loop::report_later`]). A phase of the loop, with no user code on the stack, reports now ([`Loop::report_now`]).
type Report = fn(&mut Loop, Socket, Vec<WriteCallback>, Error);

impl Loop {
    /// `write`. Returns what Node's returns: `false` when at least a high-water mark of bytes waits in the process.
    #[inline]
    pub(super) fn write_socket(&mut self, socket: Socket, bytes: &[u8], callback: Option<WriteCallback>) -> bool {
        let cause = self.note(Kind::Write, socket.serial(), bytes.len());
        if callback.is_none() && self.gather(socket, bytes, cause) {
            return true;
        }
        self.write_slowly(socket, bytes, callback, cause)
    }

    /// `write` of a protocol's message in two parts: a head that the protocol has made, and a body. They are gathered
    /// together, and a large body is sent from the caller's slice. Returns what a write of both as one returns.
    #[inline]
    pub(super) fn write_parts_of(&mut self, socket: Socket, head: &[u8], body: &[u8]) -> bool {
        let cause = self.note(Kind::Write, socket.serial(), head.len() + body.len());
        self.gather_parts(socket, head, body, cause) || self.write_parts_slowly(socket, head, body, cause)
    }

    /// The first write gathers or queues the head. The second one sends the body behind it, in the same system call.
    #[inline(never)]
    fn write_parts_slowly(&mut self, socket: Socket, head: &[u8], body: &[u8], cause: Cause) -> bool {
        if let Some(error) = self.overrun(socket, head.len() + body.len(), 0) {
            self.refuse_overrun(socket, None, error);
            return false;
        }
        if !self.gather(socket, head, cause) {
            self.write_slowly(socket, head, None, cause);
        }
        // The failed write of the head has reported the error already.
        let refused = self.net.socket(socket).is_none_or(|state| refusal(state).is_some() || state.is(ERRORED));
        !refused && self.write_slowly(socket, body, None, cause)
    }

    /// The common case: few bytes for an open socket that the kernel has not refused. Returns `false` in any other
    /// case, and has done nothing then.
    #[inline]
    fn gather(&mut self, socket: Socket, bytes: &[u8], cause: Cause) -> bool {
        self.gather_parts(socket, &[], bytes, cause)
    }

    /// As [`gather`](Self::gather), for bytes in two parts.
    #[inline(always)]
    fn gather_parts(&mut self, socket: Socket, head: &[u8], body: &[u8], cause: Cause) -> bool {
        let len = head.len() + body.len();
        // One comparison finds every reason against gathering. BROKEN: the write may fail, and is tried now, as in
        // Node.
        const SPECIAL: u32 = ENDED | DESTROYED | ERRORED | CONNECTING | BLOCKED | BROKEN;
        let net = &mut self.net;
        let Some(state) = net.sockets.get_mut(socket.0) else { return false };
        if state.among(SPECIAL | OPENED) != OPENED {
            return false;
        }
        let gathered = net.gathered + len;
        if state.corks > 0 || gathered > GATHER_LIMIT {
            return false;
        }
        let high_water_mark = state.high_water_mark as usize;
        let id = match state.outbox {
            Some(id) => id,
            // A large first write is sent from the caller's slice, without a copy. An empty one asks the kernel whether
            // the connection is broken.
            None if len == 0 || len >= high_water_mark => return false,
            None => {
                let id = net.outboxes.lend(cause);
                state.outbox = Some(id);
                id
            }
        };
        let (outbox, store) = net.outboxes.open(id);
        // Never with the outbox that was lent above, so it is not left empty.
        if outbox.len() + len >= high_water_mark {
            return false;
        }
        // Below the high-water mark even with these bytes, so the return value of `write` is `true`.
        if !outbox.append_to_buffer(store, head, body) {
            net.outboxes.append_large(id, head, body, net.replying == Some(socket));
        }
        net.gathered = gathered;
        state.bytes_written += len as u64;
        self.counters.bytes_written += len as u64;
        if !state.is(UNSENT) {
            state.set(UNSENT);
            net.unsent.push(socket);
        }
        if let Some(timer) = state.idle_timer {
            self.restart_timer(timer);
        }
        true
    }

    /// Every other case. Checks first whether the write must fail, in Node's order of errors.
    #[inline(never)]
    fn write_slowly(&mut self, socket: Socket, bytes: &[u8], callback: Option<WriteCallback>, cause: Cause) -> bool {
        let Some(state) = self.net.socket_mut(socket) else {
            self.call_back(socket, callback, Err(Error::Destroyed { action: "write" }));
            return false;
        };
        // This side has ended only because the peer has: Node's error names that.
        let refusal = if state.answers_end() && state.is(ENDED) { Some(Error::EndedByPeer) } else { refusal(state) };
        match refusal {
            Some(error) => {
                // Two ticks: the callback first, then `on_error`.
                self.call_back(socket, callback, Err(error.clone()));
                self.destroy_socket(socket, Some(error));
                false
            }
            None => self.accept_write(socket, bytes, callback, cause),
        }
    }

    /// A write that is not refused: it is queued behind bytes that wait, or sent now.
    fn accept_write(&mut self, socket: Socket, bytes: &[u8], callback: Option<WriteCallback>, cause: Cause) -> bool {
        if let Some(error) = self.overrun(socket, bytes.len(), usize::from(callback.is_some())) {
            self.refuse_overrun(socket, callback, error);
            return false;
        }
        let Some(state) = self.net.socket_mut(socket) else { return false };
        // Corked writes wait also if `connect_to` was never called: they fail when they are uncorked.
        if !state.is(OPENED) && !state.is_waiting() {
            self.report_later(socket, callback.into_iter().collect(), Error::SocketClosed);
            return false;
        }
        // The write is the offsets from `start` to the new `bytes_written`.
        let start = state.bytes_written;
        state.bytes_written += bytes.len() as u64;
        let (must_wait, idle_timer) = (state.is_waiting(), state.idle_timer);
        self.counters.bytes_written += bytes.len() as u64;
        if must_wait {
            self.queue_write(socket, bytes, callback, start, cause);
        } else {
            self.send_write(socket, bytes, callback, start, cause);
        }
        // As in Node only a write that reaches the kernel is activity, not one that waits.
        if let Some(timer) = idle_timer.filter(|_| !must_wait) {
            self.restart_timer(timer);
        }
        // Looked up again: the send may have gone over a limit, which destroys the socket.
        let Some((state, outboxes)) = self.net.socket_and_outboxes(socket) else { return false };
        if state.is(DESTROYED) {
            return false;
        }
        let length = outboxes.writable_length(state);
        // The first test matters for a high-water mark of 0.
        let is_low = length == 0 || length < u64::from(state.high_water_mark);
        if !is_low {
            state.set(NEED_DRAIN);
        }
        if must_wait {
            self.note_waiting(socket, false);
        }
        // `note_waiting` checks the limits and may have destroyed the socket.
        is_low && self.net.socket(socket).is_some_and(|state| !state.is(ERRORED | DESTROYED))
    }

    /// Queues a write behind the bytes that wait.
    fn queue_write(&mut self, socket: Socket, bytes: &[u8], callback: Option<WriteCallback>, start: u64, cause: Cause) {
        let Some((state, outboxes)) = self.net.socket_and_outboxes(socket) else { return };
        let is_first = state.outbox.is_none();
        // While connecting, the first write is in flight as soon as there is a connection, unless it is corked.
        let is_in_flight = state.is(CONNECTING) && !state.is(ERRORED) && state.corks == 0;
        let id = *state.outbox.get_or_insert_with(|| outboxes.lend(cause));
        let (outbox, store) = outboxes.open(id);
        if is_first {
            outbox.begin_flight(start, start);
        }
        outbox.push(store, bytes);
        callback.into_iter().for_each(|callback| outbox.push_callback(callback));
        if is_first && is_in_flight {
            outbox.awaits_connection = true;
            outbox.begin_flight(start, state.bytes_written);
        }
    }

    /// Sends a write, behind the bytes that were gathered before it. Bytes that the kernel refuses wait from now on.
    fn send_write(&mut self, socket: Socket, bytes: &[u8], callback: Option<WriteCallback>, start: u64, cause: Cause) {
        let net = &mut self.net;
        let Some(state) = net.sockets.get_mut(socket.0) else { return };
        let gathered = net.outboxes.unsent(state);
        // Saturating: while `flush_each` is at work the total is 0 already.
        net.gathered = net.gathered.saturating_sub(gathered);
        // In one system call if possible: the gathered bytes, and behind them those of this write, without a copy.
        let sent = match state.outbox {
            Some(id) => send_with(socket, &mut state.stream, net.outboxes.open(id), gathered, bytes),
            None => send(socket, &mut state.stream, bytes),
        };
        match sent {
            Sent::All => {
                if let Some(id) = state.outbox.take() {
                    net.outboxes.take_back(id);
                }
                if callback.is_some() || state.is(NEED_DRAIN) {
                    // In a tick, because the program is in the middle of its call of `write`.
                    self.tick(NetTick::AfterWrite(socket, callback.into_iter().collect()));
                }
                self.note_sent(cause, socket, gathered + bytes.len(), 0);
            }
            Sent::Part(n) | Sent::Enough(n) => {
                let id = *state.outbox.get_or_insert_with(|| net.outboxes.lend(cause));
                let (outbox, store) = net.outboxes.open(id);
                // The `n` bytes that were sent are first the gathered ones, then those of this write.
                outbox.push(store, &bytes[n.saturating_sub(gathered)..]);
                callback.into_iter().for_each(|callback| outbox.push_callback(callback));
                // If gathered bytes are left, the flight begins with them; otherwise with the whole of this write.
                let unit_start = outbox.first_unsent(state.bytes_written).min(start);
                self.not_all_sent(socket, sent, unit_start, cause, Self::report_later);
            }
            Sent::Failed(error) => self.report_later(socket, callback.into_iter().collect(), error),
        }
    }

    /// The kernel took a part, or failed: the one place where every send that began unblocked ends in that case. Bytes
    /// that wait are in the outbox. They are one write in flight from now on, which Node counts whole from
    /// `unit_start`.
    #[cold]
    #[inline(never)]
    fn not_all_sent(&mut self, socket: Socket, sent: Sent, unit_start: u64, cause: Cause, report: Report) {
        let Some((state, outboxes)) = self.net.socket_and_outboxes(socket) else { return };
        let Some(id) = state.outbox else { return };
        let (outbox, _) = outboxes.open(id);
        match sent {
            Sent::All => {}
            Sent::Part(n) | Sent::Enough(n) => {
                outbox.begin_flight(unit_start, state.bytes_written);
                let waiting = outbox.len();
                // The idle limit must see that the kernel has taken a part, also if the flight begins behind that part.
                outbox.seen_by_idle_limit = outbox.seen_by_idle_limit.max(waiting + n);
                state.set(BLOCKED);
                self.note_sent(cause, socket, n, waiting);
                self.note_waiting(socket, matches!(sent, Sent::Enough(_)));
            }
            Sent::Failed(error) => {
                let callbacks = outbox.take_all_callbacks();
                report(self, socket, callbacks, error);
            }
        }
    }

    /// Bytes of this socket wait from now on, or more than before. If the send stopped although the kernel might take
    /// more, it goes on in the next poll. A limit may be exceeded now, which destroys the socket, or another one.
    fn note_waiting(&mut self, socket: Socket, is_unfinished: bool) {
        self.recount(socket);
        if is_unfinished {
            self.net.put_on_ready_list_to_send(socket);
        }
        self.outbox_waits(socket);
    }

    /// End of a phase: sends what its callbacks have gathered. Returns whether there was anything.
    #[inline]
    pub(crate) fn flush_unsent(&mut self) -> bool {
        self.flush_each(Self::report_now)
    }

    /// As [`flush_unsent`](Self::flush_unsent), when the loop is dropped and no callback runs any more.
    pub(super) fn flush_without_callbacks(&mut self) {
        self.flush_each(Self::report_later);
    }

    #[inline(always)]
    fn flush_each(&mut self, report: Report) -> bool {
        if self.net.unsent.is_empty() {
            return false;
        }
        // Taken out: callbacks of failed sends may write, and put sockets on the list anew.
        let mut list = mem::take(&mut self.net.unsent);
        self.net.gathered = 0;
        for &socket in &list {
            self.flush_socket(socket, UNSENT, report);
        }
        if self.net.unsent.is_empty() {
            list.clear();
            self.net.unsent = list;
        }
        true
    }

    /// Sends what one socket has gathered, inside a call of the program.
    pub(super) fn flush_gathered(&mut self, socket: Socket) {
        let Some(state) = self.net.socket(socket) else { return };
        // Bytes that wait are not gathered: they are sent when the socket is writable, connected or uncorked.
        if !state.is_waiting() {
            let gathered = self.net.outboxes.unsent(state);
            self.net.gathered = self.net.gathered.saturating_sub(gathered);
            self.flush_socket(socket, 0, Self::report_later);
        }
    }

    /// End of a read: sends what the socket has gathered in the reply buffer, and takes the buffer back.
    #[inline(never)]
    pub(super) fn send_reply(&mut self, socket: Socket) {
        self.flush_gathered(socket);
        self.net.outboxes.end_reply();
    }

    /// Sends what one socket has gathered before its FIN, in the pending phase.
    pub(super) fn flush_before_end(&mut self, socket: Socket) {
        self.flush_socket(socket, 0, Self::report_now);
    }

    /// Sends what one socket has gathered, and clears `flags`.
    #[inline(always)]
    fn flush_socket(&mut self, socket: Socket, flags: u32, report: Report) {
        let Some((state, outboxes)) = self.net.socket_and_outboxes(socket) else { return };
        state.clear(flags);
        // The socket may have been blocked, corked or destroyed since it gathered: then these bytes wait, or are gone.
        if state.is(BLOCKED | CONNECTING | DESTROYED | ERRORED) || state.corks > 0 {
            return;
        }
        let Some(id) = state.outbox else { return };
        match outboxes.offer(id, |gathered| state.stream.write(gathered)) {
            Offer::Taken(cause, n) => {
                state.outbox = None;
                log::trace!(target: "bucle::net", "{socket} sent {n} bytes");
                self.note_sent(cause, socket, n, 0);
            }
            Offer::InPieces => self.flush_rest(socket, Ok(0), report),
            Offer::NotAll(result) => self.flush_rest(socket, result, report),
        }
    }

    /// The gathered bytes are in several pieces, or the first call did not take all of them.
    #[cold]
    #[inline(never)]
    fn flush_rest(&mut self, socket: Socket, first: io::Result<usize>, report: Report) {
        let net = &mut self.net;
        let Some(state) = net.sockets.get_mut(socket.0) else { return };
        let Some(id) = state.outbox else { return };
        let (outbox, store) = net.outboxes.open(id);
        let (cause, waiting) = (outbox.cause, outbox.len());
        let mut sent = match first {
            Ok(n) => {
                outbox.advance(store, n);
                send_with(socket, &mut state.stream, (outbox, store), waiting - n, &[])
            }
            Err(error) => not_sent(socket, 0, waiting, &error),
        };
        match &mut sent {
            Sent::All => {
                state.outbox = None;
                net.outboxes.take_back(id);
                return self.note_sent(cause, socket, waiting, 0);
            }
            // Both calls together.
            Sent::Part(n) | Sent::Enough(n) => *n = waiting - outbox.len(),
            Sent::Failed(_) => {}
        }
        let unit_start = outbox.first_unsent(state.bytes_written);
        self.not_all_sent(socket, sent, unit_start, cause, report);
    }

    /// The socket is writable again, or has just been connected: sends what waits. When the kernel has all of the write
    /// in flight, that write is complete.
    pub(super) fn send_queued(&mut self, socket: Socket) {
        let Some((state, outboxes)) = self.net.socket_and_outboxes(socket) else { return };
        let Some(id) = state.outbox else { return };
        let (outbox, store) = outboxes.open(id);
        // Offsets, which do not change when sent bytes are removed from the outbox.
        let before = outbox.first_unsent(state.bytes_written);
        // While corked only the write in flight is sent; what was written behind it waits for the uncork.
        let limit = if state.corks > 0 { (outbox.inflight_end - before) as usize } else { outbox.len() };
        state.clear(UNFINISHED);
        let sent = send_with(socket, &mut state.stream, (&mut *outbox, store), limit, &[]);
        let is_unfinished = matches!(sent, Sent::Enough(_));
        if let Sent::Failed(error) = sent {
            let callbacks = outbox.take_inflight_callbacks();
            // No write is in flight any longer, so `fail_queued` may fail the others.
            state.clear(BLOCKED);
            return self.report_now(socket, callbacks, error);
        }
        let (after, waiting) = (outbox.first_unsent(state.bytes_written), outbox.len());
        let (is_flight_over, sent) = (after >= outbox.inflight_end, (after - before) as usize);
        self.note_sent(self.cause(), socket, sent, waiting);
        if is_flight_over {
            return self.complete_flight(socket, is_unfinished);
        }
        let Some((state, outboxes)) = self.net.socket_and_outboxes(socket) else { return };
        state.set(BLOCKED);
        // The peer takes bytes, however slowly: its write timeout begins again.
        if sent > 0
            && let Some(timer) = outboxes.of(state).and_then(|outbox| outbox.write_timer)
        {
            self.restart_timer(timer);
        }
        self.note_waiting(socket, is_unfinished);
    }

    /// The kernel has all of the write in flight. Bytes behind it become the next one, unless they are corked or were
    /// sent in the same call.
    fn complete_flight(&mut self, socket: Socket, is_unfinished: bool) {
        let Some((state, outboxes)) = self.net.socket_and_outboxes(socket) else { return };
        let Some(id) = state.outbox else { return };
        let (outbox, _) = outboxes.open(id);
        let (idle_timer, write_timer) = (state.idle_timer, outbox.write_timer.take());
        let callbacks = outbox.end_flight();
        // Bytes that are left were written behind the flight, and the kernel has not taken them.
        let is_blocked = !outbox.is_empty() && state.corks == 0;
        let mut later = Vec::new();
        if is_blocked {
            outbox.begin_flight(outbox.unit_start, state.bytes_written);
            outbox.write_timer = write_timer;
            state.set(BLOCKED);
        } else {
            state.clear(BLOCKED);
            if state.corks == 0 {
                // Everything was sent. Callbacks of writes behind the flight run in a tick, as in Node.
                later = outbox.take_all_callbacks();
                state.outbox = None;
                outboxes.take_back(id);
            }
        }
        if !later.is_empty() {
            self.tick(NetTick::AfterWrite(socket, later));
        }
        // The kernel has taken bytes: the timeout of the next flight begins now.
        match write_timer {
            Some(timer) if is_blocked => self.restart_timer(timer),
            Some(timer) => self.timers_clear(timer),
            None => {}
        }
        if is_blocked {
            self.note_waiting(socket, is_unfinished);
        } else {
            self.recount(socket);
            self.count_outbox(socket);
        }
        if let Some(timer) = idle_timer {
            self.restart_timer(timer);
        }
        // Last, because it calls the program.
        self.after_write(socket, callbacks);
    }

    /// Records how much was sent, and how much waits because the kernel took no more.
    #[inline]
    fn note_sent(&mut self, cause: Cause, socket: Socket, sent: usize, waiting: usize) {
        if sent > 0 {
            self.note_for(cause, Kind::Sent, socket.serial(), sent);
        }
        if waiting > 0 {
            self.note_for(cause, Kind::Blocked, socket.serial(), waiting);
        }
    }

    /// The kernel has a write: `on_drain` if a write returned `false`, then the callbacks, then perhaps the end.
    pub(super) fn after_write(&mut self, socket: Socket, callbacks: Vec<WriteCallback>) {
        if let Some((state, outboxes)) = self.net.socket_and_outboxes(socket)
            && state.among(NEED_DRAIN | ENDED | DESTROYED) == NEED_DRAIN
            && outboxes.writable_length(state) == 0
        {
            state.clear(NEED_DRAIN);
            self.emit(socket, Kind::OnDrain, 0, |handler, lp| handler.on_drain(lp, socket));
            self.resume_sources(socket);
        }
        for callback in callbacks {
            self.run_write_callback(socket, callback, Ok(()));
        }
        // All of these ran user code, which may have written, ended or destroyed the socket. So it is looked up again.
        if self.net.socket(socket).is_some_and(|state| state.is(DESTROYED)) {
            self.fail_queued(socket);
        }
        self.finish_if_done(socket);
    }

    /// Reports a failed write now: to its callbacks, to those of the writes behind it, and as the socket's error.
    pub(super) fn report_now(&mut self, socket: Socket, callbacks: Vec<WriteCallback>, error: Error) {
        // First, so that a write inside one of the callbacks is queued and fails with the others.
        if let Some(state) = self.net.socket_mut(socket) {
            state.set(ERRORED);
            state.more().errored.get_or_insert_with(|| error.clone());
        }
        for callback in callbacks {
            self.run_write_callback(socket, callback, Err(error.clone()));
        }
        self.fail_queued(socket);
        self.destroy_socket(socket, Some(error));
    }

    /// Reports a failed write in a tick. From here on the socket takes no further writes, and its bytes count as
    /// waiting.
    fn report_later(&mut self, socket: Socket, callbacks: Vec<WriteCallback>, error: Error) {
        if let Some((state, outboxes)) = self.net.socket_and_outboxes(socket) {
            // What counts as waiting begins here. Gathering does not keep this mark up to date; a cork does.
            if state.corks == 0
                && let Some(outbox) = outboxes.of_mut(state)
            {
                outbox.unit_start = outbox.first_unsent(state.bytes_written);
            }
            state.set(ERRORED);
            state.more().errored.get_or_insert_with(|| error.clone());
        }
        self.tick(NetTick::WriteFailed(socket, Box::new((callbacks, error))));
    }

    /// Fails every write and end that waits. Not the write in flight: when it ends, this is called again.
    pub(super) fn fail_queued(&mut self, socket: Socket) {
        let Some((state, outboxes)) = self.net.socket_and_outboxes(socket) else { return };
        if state.is(BLOCKED) || state.has_early_write(outboxes) {
            return;
        }
        let error = state.more.as_ref().and_then(|more| more.errored.clone());
        if let Some(outbox) = outboxes.of(state) {
            // As in Node, `bytes_written` keeps the write in flight, though it was cut off, and loses the writes behind
            // it.
            let first_unsent = outbox.first_unsent(state.bytes_written);
            state.bytes_written = first_unsent.max(outbox.inflight_end.min(state.bytes_written));
        }
        // All callbacks are taken out before one runs: they are user code, which may write or end again.
        let outbox = state.outbox.take();
        let ends = state.more.as_mut().map(|more| mem::take(&mut more.end_callbacks)).unwrap_or_default();
        let writes = outbox.map(|outbox| self.take_back(outbox)).unwrap_or_default();
        let failed = |action| error.clone().unwrap_or(Error::Destroyed { action });
        for callback in writes {
            self.run_write_callback(socket, callback, Err(failed("write")));
        }
        for callback in ends {
            self.run_write_callback(socket, callback, Err(failed("end")));
        }
    }

    /// `cork`. It counts in any state, also after an end or a destroy, as in Node.
    pub(super) fn cork_socket(&mut self, socket: Socket) {
        // The cork holds back later writes only.
        self.flush_gathered(socket);
        let Some(state) = self.net.socket_mut(socket) else { return };
        state.corks = state.corks.saturating_add(1);
    }

    /// Takes `count` corks off. With the last one everything that was held back is sent as one write. As in Node this
    /// also happens behind a write that has failed: the second one has an error of its own.
    pub(super) fn uncork_socket(&mut self, socket: Socket, count: u16) {
        let net = &mut self.net;
        let Some(state) = net.sockets.get_mut(socket.0) else { return };
        if state.corks == 0 {
            return;
        }
        state.corks = state.corks.saturating_sub(count);
        let Some(id) = state.outbox.filter(|_| state.corks == 0) else { return };
        let flags = state.among(BLOCKED | CONNECTING | DESTROYED | OPENED);
        let (outbox, store) = net.outboxes.open(id);
        if flags & (BLOCKED | DESTROYED) != 0 {
            // Blocked: the corked writes leave when the write in flight is complete.
            return;
        }
        if flags & OPENED == 0 {
            // `connect_to` was never called: the writes fail now, also behind one that has failed.
            let callbacks = outbox.take_all_callbacks();
            state.bytes_written = outbox.first_unsent(state.bytes_written);
            state.outbox = None;
            net.outboxes.take_back(id);
            return self.report_later(socket, callbacks, Error::SocketClosed);
        }
        if flags & CONNECTING != 0 {
            if state.is(ERRORED) {
                return;
            }
            // All that was corked is one write, in flight when the connection is there.
            if !outbox.awaits_connection {
                outbox.awaits_connection = true;
                outbox.begin_flight(outbox.unit_start, state.bytes_written);
            }
            return;
        }
        let (cause, waiting) = (outbox.cause, outbox.len());
        let (idle_timer, unit_start) = (state.idle_timer, outbox.unit_start);
        let sent = send_with(socket, &mut state.stream, (&mut *outbox, store), waiting, &[]);
        let is_activity = waiting > 0 || outbox.callbacks() > 0;
        match sent {
            Sent::All => {
                let callbacks = outbox.take_all_callbacks();
                state.outbox = None;
                net.outboxes.take_back(id);
                if !callbacks.is_empty() || state.is(NEED_DRAIN) {
                    self.tick(NetTick::AfterWrite(socket, callbacks));
                }
                self.note_sent(cause, socket, waiting, 0);
            }
            Sent::Failed(error) => {
                // As in Node the bytes wait no longer: they have been tried.
                let callbacks = outbox.take_all_callbacks();
                state.outbox = None;
                net.outboxes.take_back(id);
                self.report_later(socket, callbacks, error);
            }
            Sent::Part(_) | Sent::Enough(_) => {
                self.not_all_sent(socket, sent, unit_start, cause, Self::report_later);
            }
        }
        if let Some(timer) = idle_timer.filter(|_| is_activity) {
            self.restart_timer(timer);
        }
    }

    /// Runs a callback in a tick, if there is one.
    pub(super) fn call_back(&mut self, socket: Socket, callback: Option<WriteCallback>, result: crate::Result<()>) {
        if let Some(callback) = callback {
            self.tick(NetTick::Callback(socket, Box::new((callback, result))));
        }
    }

    /// Runs the callback of a write or an end. A panic in it destroys the socket, as a panic in its handler does.
    pub(super) fn run_write_callback(&mut self, socket: Socket, callback: WriteCallback, result: crate::Result<()>) {
        if !self.call(Kind::Callback, self.cause(), |lp| callback(lp, result)) {
            self.callback_panicked(socket);
        }
    }
}

/// The error of a write to this socket, if it must fail.
pub(super) fn refusal(state: &SocketState) -> Option<Error> {
    if state.is(ENDED) {
        Some(Error::WriteAfterEnd)
    } else if state.is(DESTROYED) {
        Some(Error::Destroyed { action: "write" })
    } else {
        None
    }
}
