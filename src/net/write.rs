//! Writing: gathered, with the answers Node would give.
//!
//! Node makes one system call per `write()`. Here the writes of one phase are gathered, and each socket's leave in one
//! system call at the phase's end: sixteen answers to sixteen pipelined lines cost one `write(2)`.
//!
//! ```text
//!   on_data ─ write ─┐                                  ┌─▶ all taken: the outbox is taken back
//!   on_data ─ write ─┼─▶ outbox ── end of phase: send ──┤
//!   a tick  ─ write ─┘    │                             └─▶ WouldBlock: BLOCKED, until the socket is writable
//!                         └─ a high-water mark of bytes, 8 MiB of all sockets, a callback, cork, destroy: sent at once
//! ```
//!
//! What differs from Node is when the kernel is asked, not what the program is told: bytes that wait only because they
//! are gathered are reported as sent. When the kernel refuses, `write` answers `false` from a high-water mark of waiting
//! bytes on, and `on_drain` follows once all are out. One difference stays: a write to a peer whose reset has arrived
//! since the last poll answers `true`, and the error comes at the phase's end.
//!
//! Bytes of one socket leave in the order of its writes, whichever way they take.

use std::{io, mem};

use super::outbox::Offer;
use super::send::{Sent, not_sent, send, send_with};
use super::state::SocketState;
use super::state::flag::*;
use super::{Error, NetTick, Socket, WriteCallback};
use crate::event_loop::{Cause, Kind, Loop};

/// How many bytes all sockets together may have gathered. Beyond it a write takes along what its socket has: sixteen lines
/// for two thousand members are gathered whole, megabytes for each of them are not.
const GATHER_LIMIT: usize = 8 * 1024 * 1024;

/// What becomes of a failure while gathered bytes are sent: nobody is called inside a call of the program.
type FlushFailed = fn(&mut Loop, Socket, Error);

impl Loop {
    /// `write`: the answer is Node's, `false` when at least a high-water mark of bytes waits in the process.
    #[inline]
    pub(crate) fn write_socket(&mut self, socket: Socket, bytes: &[u8], callback: Option<WriteCallback>) -> bool {
        let cause = self.note(Kind::Write, socket.serial(), bytes.len());
        if callback.is_none() && self.gather(socket, bytes, cause) {
            return true;
        }
        self.write_slowly(socket, bytes, callback, cause)
    }

    /// The common case: an open socket that the kernel has not refused, and few bytes. `false`: it is another case.
    #[inline]
    fn gather(&mut self, socket: Socket, bytes: &[u8], cause: Cause) -> bool {
        const SPECIAL: u32 = ENDING | DESTROYED | ERRORED | CONNECTING | BLOCKED | BROKEN;
        let net = &mut self.net;
        let Some(state) = net.sockets.get_mut(socket.0) else { return false };
        if state.flags & (SPECIAL | OPENED) != OPENED {
            return false;
        }
        let gathered = net.gathered + bytes.len();
        if state.corks > 0 || gathered > GATHER_LIMIT {
            return false;
        }
        let high_water_mark = state.high_water_mark as usize;
        let (outbox, store) = match state.outbox {
            Some(id) => net.outboxes.open(id),
            None if bytes.len() >= high_water_mark => return false,
            None => {
                let id = net.outboxes.lend(cause);
                state.outbox = Some(id);
                net.outboxes.open(id)
            }
        };
        if outbox.len() + bytes.len() >= high_water_mark {
            return false;
        }
        outbox.append(store, bytes);
        net.gathered = gathered;
        state.bytes_written += bytes.len() as u64;
        self.counters.bytes_written += bytes.len() as u64;
        if !state.is(UNSENT) {
            state.set(UNSENT);
            net.unsent.push(socket);
        }
        if let Some(timer) = state.idle_timer {
            self.restart_timer(timer);
        }
        true
    }

    #[inline(never)]
    fn write_slowly(&mut self, socket: Socket, bytes: &[u8], callback: Option<WriteCallback>, cause: Cause) -> bool {
        let Some(state) = self.net.socket_mut(socket) else {
            self.call_back(socket, callback, Err(Error::Destroyed { action: "write" }));
            return false;
        };
        let refusal = if state.answers_end() && state.is(ENDING) { Some(Error::EndedByPeer) } else { refusal(state) };
        match refusal {
            Some(error) => {
                self.call_back(socket, callback, Err(error.clone()));
                self.destroy_socket(socket, Some(error));
                false
            }
            None => self.accept_write(socket, bytes, callback, cause),
        }
    }

    /// A write that is not refused: queued behind what waits, or sent at once.
    fn accept_write(&mut self, socket: Socket, bytes: &[u8], callback: Option<WriteCallback>, cause: Cause) -> bool {
        if let Some(error) = self.overrun(socket, bytes.len(), usize::from(callback.is_some())) {
            self.refuse_overrun(socket, callback, error);
            return false;
        }
        let Some(state) = self.net.socket_mut(socket) else { return false };
        if !state.is(OPENED) {
            self.fail_later(socket, callback.into_iter().collect(), Error::SocketClosed);
            return false;
        }
        let start = state.bytes_written;
        state.bytes_written += bytes.len() as u64;
        let (must_wait, idle_timer) = (state.is_waiting(), state.idle_timer);
        self.counters.bytes_written += bytes.len() as u64;
        let is_unfinished = if must_wait {
            self.queue_write(socket, bytes, callback, start, cause);
            false
        } else {
            match self.send_write(socket, bytes, callback, start, cause) {
                Ok(is_unfinished) => is_unfinished,
                Err(()) => return false,
            }
        };
        if let Some(timer) = idle_timer {
            self.restart_timer(timer);
        }
        let Some((state, outboxes)) = self.net.socket_and_outboxes(socket) else { return false };
        let length = outboxes.writable_length(state);
        let is_low = length == 0 || length < u64::from(state.high_water_mark);
        if !is_low {
            state.set(NEED_DRAIN);
        }
        let answer = is_low && !state.is(ERRORED);
        if state.outbox.is_none() {
            return answer;
        }
        self.waits(socket, is_unfinished);
        answer && self.net.socket(socket).is_some_and(|state| !state.is(DESTROYED))
    }

    /// Behind what waits.
    fn queue_write(&mut self, socket: Socket, bytes: &[u8], callback: Option<WriteCallback>, start: u64, cause: Cause) {
        let Some((state, outboxes)) = self.net.socket_and_outboxes(socket) else { return };
        let is_first = state.outbox.is_none();
        let id = *state.outbox.get_or_insert_with(|| outboxes.lend(cause));
        let (outbox, store) = outboxes.open(id);
        outbox.push(store, bytes);
        callback.into_iter().for_each(|callback| outbox.push_callback(callback));
        if is_first {
            // There is no connection yet. It is the write in flight as soon as there is.
            outbox.begin_flight(start, state.bytes_written);
        }
    }

    /// To the kernel, behind what was gathered. What it does not take waits from now on. Says whether it might take more;
    /// `Err`: it failed, and who has to know hears of it in a tick.
    fn send_write(
        &mut self,
        socket: Socket,
        bytes: &[u8],
        callback: Option<WriteCallback>,
        start: u64,
        cause: Cause,
    ) -> Result<bool, ()> {
        let net = &mut self.net;
        let Some(state) = net.sockets.get_mut(socket.0) else { return Err(()) };
        let gathered = net.outboxes.unsent(state);
        net.gathered = net.gathered.saturating_sub(gathered);
        let sent = match state.outbox {
            Some(id) => send_with(socket, &mut state.stream, net.outboxes.open(id), gathered, bytes),
            None => send(socket, &mut state.stream, bytes),
        };
        let is_unfinished = matches!(sent, Sent::Enough(_));
        match sent {
            Sent::All => {
                if let Some(id) = state.outbox.take() {
                    net.outboxes.take_back(id);
                }
                if callback.is_some() || state.is(NEED_DRAIN) {
                    self.tick(NetTick::AfterWrite(socket, callback.into_iter().collect()));
                }
                self.note_sent(cause, socket, gathered + bytes.len(), 0);
            }
            Sent::Part(n) | Sent::Enough(n) => {
                let id = *state.outbox.get_or_insert_with(|| net.outboxes.lend(cause));
                let (outbox, store) = net.outboxes.open(id);
                outbox.push(store, &bytes[n.saturating_sub(gathered)..]);
                callback.into_iter().for_each(|callback| outbox.push_callback(callback));
                let waiting = outbox.len();
                // Gathered writes before this one that are through are no part of what waits.
                let first_unsent = state.bytes_written - waiting as u64;
                outbox.begin_flight(first_unsent.min(start), state.bytes_written);
                state.set(BLOCKED);
                self.note_sent(cause, socket, n, waiting);
            }
            Sent::Failed(error) => {
                self.fail_later(socket, callback.into_iter().collect(), error);
                return Err(());
            }
        }
        Ok(is_unfinished)
    }

    /// Bytes of this socket wait from now on, or more than before. If the send has stopped although the kernel might take
    /// more, it goes on in the next poll.
    fn waits(&mut self, socket: Socket, is_unfinished: bool) {
        self.recount(socket);
        if is_unfinished {
            self.net.put_on_ready_list_to_send(socket);
        }
        self.outbox_waits(socket);
    }

    /// End of a phase: sends what it gathered. Says whether there was anything.
    #[inline]
    pub(crate) fn flush_unsent(&mut self) -> bool {
        self.flush_each(Self::flush_failed)
    }

    /// As [`flush_unsent`](Self::flush_unsent), when nobody may be called any more.
    pub(crate) fn flush_in_silence(&mut self) {
        self.flush_each(Self::flush_failed_in_call);
    }

    #[inline(always)]
    fn flush_each(&mut self, failed: FlushFailed) -> bool {
        if self.net.unsent.is_empty() {
            return false;
        }
        let mut list = mem::take(&mut self.net.unsent);
        self.net.gathered = 0;
        for &socket in &list {
            self.flush_at_once(socket, UNSENT, failed);
        }
        if self.net.unsent.is_empty() {
            list.clear();
            self.net.unsent = list;
        }
        true
    }

    /// Sends what one socket has gathered, inside a call of the program: who it fails for hears of it in a tick.
    pub(crate) fn flush_gathered(&mut self, socket: Socket) {
        let Some(state) = self.net.socket(socket) else { return };
        if !state.is_waiting() {
            let gathered = self.net.outboxes.unsent(state);
            self.net.gathered = self.net.gathered.saturating_sub(gathered);
            self.flush_at_once(socket, 0, Self::flush_failed_in_call);
        }
    }

    /// Sends what one socket has gathered before its FIN, in a phase of the loop.
    pub(crate) fn flush_before_end(&mut self, socket: Socket) {
        self.flush_at_once(socket, 0, Self::flush_failed);
    }

    fn flush_failed(&mut self, socket: Socket, error: Error) {
        self.write_failed(socket, Vec::new(), error);
    }

    fn flush_failed_in_call(&mut self, socket: Socket, error: Error) {
        self.fail_later(socket, Vec::new(), error);
    }

    /// Sends what one socket has gathered, and takes `marks` off it.
    #[inline(always)]
    fn flush_at_once(&mut self, socket: Socket, marks: u32, failed: FlushFailed) {
        let Some((state, outboxes)) = self.net.socket_and_outboxes(socket) else { return };
        state.clear(marks);
        if state.flags & (BLOCKED | CONNECTING | DESTROYED | ERRORED) != 0 || state.corks > 0 {
            return;
        }
        let Some(id) = state.outbox else { return };
        match outboxes.offer(id, |gathered| state.stream.write(gathered)) {
            Offer::Taken(cause, n) => {
                state.outbox = None;
                log::trace!(target: "bucle::net", "{socket} sent {n} bytes");
                self.note_sent(cause, socket, n, 0);
            }
            Offer::Much => self.flush_much(socket, Ok(0), failed),
            Offer::Less(result) => self.flush_much(socket, result, failed),
        }
    }

    /// What was gathered is in many pieces, or the kernel did not take at once all there was.
    #[cold]
    #[inline(never)]
    fn flush_much(&mut self, socket: Socket, first: io::Result<usize>, failed: FlushFailed) {
        let net = &mut self.net;
        let Some(state) = net.sockets.get_mut(socket.0) else { return };
        let Some(id) = state.outbox else { return };
        let (outbox, store) = net.outboxes.open(id);
        let (cause, waiting) = (outbox.cause, outbox.len());
        let sent = match first {
            Ok(n) => {
                outbox.advance(store, n);
                send_with(socket, &mut state.stream, (outbox, store), waiting - n, &[])
            }
            Err(error) => not_sent(socket, 0, waiting, &error),
        };
        let is_unfinished = matches!(sent, Sent::Enough(_));
        match sent {
            Sent::All => {
                state.outbox = None;
                net.outboxes.take_back(id);
                self.note_sent(cause, socket, waiting, 0);
            }
            Sent::Part(_) | Sent::Enough(_) => {
                let still_waiting = outbox.len();
                outbox.begin_flight(state.bytes_written - still_waiting as u64, state.bytes_written);
                state.set(BLOCKED);
                self.note_sent(cause, socket, waiting - still_waiting, still_waiting);
                self.waits(socket, is_unfinished);
            }
            Sent::Failed(error) => failed(self, socket, error),
        }
    }

    /// The socket is writable again, or has just been connected: what waits goes out, and the write in flight is
    /// completed when the kernel has all of it.
    pub(crate) fn send_queued(&mut self, socket: Socket) {
        let Some((state, outboxes)) = self.net.socket_and_outboxes(socket) else { return };
        let Some(id) = state.outbox else { return };
        let (outbox, store) = outboxes.open(id);
        // While corked only the write in flight goes on; what stands behind it waits for the uncork.
        let first_unsent = state.bytes_written - outbox.len() as u64;
        let limit = if state.corks > 0 { (outbox.inflight_end - first_unsent) as usize } else { outbox.len() };
        state.clear(UNFINISHED);
        let sent = send_with(socket, &mut state.stream, (&mut *outbox, store), limit, &[]);
        let is_unfinished = matches!(sent, Sent::Enough(_));
        if let Sent::Failed(error) = sent {
            let callbacks = outbox.take_inflight_callbacks();
            state.clear(BLOCKED);
            return self.write_failed(socket, callbacks, error);
        }
        let waiting = outbox.len();
        let still_unsent = state.bytes_written - waiting as u64;
        let (in_flight_is_through, sent) =
            (still_unsent >= outbox.inflight_end, (still_unsent - first_unsent) as usize);
        self.note_sent(self.cause(), socket, sent, waiting);
        if in_flight_is_through {
            return self.flight_is_over(socket, is_unfinished);
        }
        let Some((state, outboxes)) = self.net.socket_and_outboxes(socket) else { return };
        state.set(BLOCKED);
        if sent > 0
            && let Some(timer) = outboxes.of(state).and_then(|outbox| outbox.write_timer)
        {
            self.restart_timer(timer);
        }
        self.waits(socket, is_unfinished);
    }

    /// The kernel has all of the write in flight. What stands behind it is the next, unless it has gone out, too, or is corked.
    fn flight_is_over(&mut self, socket: Socket, is_unfinished: bool) {
        let Some((state, outboxes)) = self.net.socket_and_outboxes(socket) else { return };
        let Some(id) = state.outbox else { return };
        let (outbox, _) = outboxes.open(id);
        let (idle_timer, write_timer) = (state.idle_timer, outbox.write_timer.take());
        let callbacks = outbox.end_flight();
        let is_blocked = !outbox.is_empty() && state.corks == 0;
        let mut later = Vec::new();
        if is_blocked {
            outbox.begin_flight(outbox.unit_start, state.bytes_written);
            outbox.write_timer = write_timer;
            state.set(BLOCKED);
        } else {
            state.clear(BLOCKED);
            if state.corks == 0 {
                later = outbox.take_all_callbacks();
                state.outbox = None;
                outboxes.take_back(id);
            }
        }
        if !later.is_empty() {
            self.tick(NetTick::AfterWrite(socket, later));
        }
        match write_timer {
            Some(timer) if is_blocked => self.restart_timer(timer),
            Some(timer) => self.timers_clear(timer),
            None => {}
        }
        if is_blocked {
            self.waits(socket, is_unfinished);
        } else {
            self.recount(socket);
            self.count_outbox(socket);
        }
        if let Some(timer) = idle_timer {
            self.restart_timer(timer);
        }
        self.after_write(socket, callbacks);
    }

    /// Records what went to the kernel, and what waits because it took no more.
    #[inline]
    fn note_sent(&mut self, cause: Cause, socket: Socket, sent: usize, waiting: usize) {
        if sent > 0 {
            self.note_for(cause, Kind::Sent, socket.serial(), sent);
        }
        if waiting > 0 {
            self.note_for(cause, Kind::Blocked, socket.serial(), waiting);
        }
    }

    /// A write is through: `on_drain` if it is owed, then the callbacks, then perhaps the end.
    pub(crate) fn after_write(&mut self, socket: Socket, callbacks: Vec<WriteCallback>) {
        if let Some((state, outboxes)) = self.net.socket_and_outboxes(socket)
            && state.flags & (NEED_DRAIN | ENDING | DESTROYED) == NEED_DRAIN
            && outboxes.writable_length(state) == 0
        {
            state.clear(NEED_DRAIN);
            self.emit(socket, Kind::OnDrain, 0, |handler, lp| handler.on_drain(lp, socket));
            self.drained(socket);
        }
        for callback in callbacks {
            self.tell(socket, callback, Ok(()));
        }
        if self.net.socket(socket).is_some_and(|state| state.is(DESTROYED)) {
            self.fail_queued(socket);
        }
        self.finish_if_done(socket);
    }

    /// A write failed: its callbacks hear of it, then those behind it, then the socket is destroyed.
    pub(crate) fn write_failed(&mut self, socket: Socket, callbacks: Vec<WriteCallback>, error: Error) {
        if let Some(state) = self.net.socket_mut(socket) {
            state.set(ERRORED);
            state.more().errored.get_or_insert_with(|| error.clone());
        }
        for callback in callbacks {
            self.tell(socket, callback, Err(error.clone()));
        }
        self.fail_queued(socket);
        self.destroy_socket(socket, Some(error));
    }

    /// A write that failed at once: its callbacks and the error come in a tick.
    fn fail_later(&mut self, socket: Socket, callbacks: Vec<WriteCallback>, error: Error) {
        if let Some((state, outboxes)) = self.net.socket_and_outboxes(socket) {
            if state.corks == 0
                && let Some(outbox) = outboxes.of_mut(state)
            {
                // It was gathering, or is empty now, and counts as waiting from here on.
                outbox.unit_start = state.bytes_written - outbox.len() as u64;
            }
            state.set(ERRORED);
            state.more().errored.get_or_insert_with(|| error.clone());
        }
        self.tick(NetTick::WriteFailed(socket, Box::new((callbacks, error))));
    }

    /// Every write and end that still waits hears that it will not happen. What is in flight is not among them.
    pub(crate) fn fail_queued(&mut self, socket: Socket) {
        let Some((state, outboxes)) = self.net.socket_and_outboxes(socket) else { return };
        if state.is(BLOCKED) || state.has_early_write(outboxes) {
            return; // One is in flight: its end will see to those behind it.
        }
        let error = state.more.as_ref().and_then(|more| more.errored.clone());
        if let Some(outbox) = outboxes.of(state) {
            // What was cut off in flight counts as written, what stood behind it does not.
            let first_unsent = state.bytes_written - outbox.len() as u64;
            state.bytes_written = first_unsent.max(outbox.inflight_end.min(state.bytes_written));
        }
        let outbox = state.take_outbox();
        let ends = state.more.as_mut().map(|more| mem::take(&mut more.end_callbacks)).unwrap_or_default();
        let writes = outbox.map(|outbox| self.take_back(outbox)).unwrap_or_default();
        let failed = |action| error.clone().unwrap_or(Error::Destroyed { action });
        for callback in writes {
            self.tell(socket, callback, Err(failed("write")));
        }
        for callback in ends {
            self.tell(socket, callback, Err(failed("end")));
        }
    }

    pub(crate) fn cork_socket(&mut self, socket: Socket) {
        if !self.net.socket(socket).is_some_and(|state| state.is_writable()) {
            return;
        }
        // What was written before the cork is not held back by it.
        self.flush_gathered(socket);
        let net = &mut self.net;
        let Some(state) = net.sockets.get_mut(socket.0) else { return };
        let written = state.bytes_written;
        if state.outbox.is_none() {
            let id = net.outboxes.lend(Cause::default());
            let (outbox, _) = net.outboxes.open(id);
            outbox.begin_flight(written, written);
            state.outbox = Some(id);
        }
        state.corks = state.corks.saturating_add(1);
    }

    /// Takes `count` corks off. With the last one everything that was held back goes out as one write.
    pub(crate) fn uncork_socket(&mut self, socket: Socket, count: u32) {
        let net = &mut self.net;
        let Some(state) = net.sockets.get_mut(socket.0) else { return };
        if state.corks == 0 || state.is(DESTROYED) {
            return;
        }
        state.corks = state.corks.saturating_sub(count);
        let Some(id) = state.outbox.filter(|_| state.corks == 0) else { return };
        let flags = state.flags & (BLOCKED | CONNECTING | DESTROYED | OPENED);
        let (outbox, store) = net.outboxes.open(id);
        if flags & (BLOCKED | DESTROYED) != 0 {
            return;
        }
        if flags != OPENED {
            // Not connected yet. What was corked first is the write in flight when it is; if nothing was, the next one.
            if outbox.is_empty() && outbox.callbacks() == 0 {
                state.outbox = None;
                net.outboxes.take_back(id);
            } else if !outbox.is_in_flight() {
                outbox.begin_flight(outbox.unit_start, state.bytes_written);
            }
            return;
        }
        let (cause, waiting) = (outbox.cause, outbox.len());
        let idle_timer = state.idle_timer;
        let sent = send_with(socket, &mut state.stream, (&mut *outbox, store), waiting, &[]);
        let still_waiting = outbox.len();
        let is_unfinished = matches!(sent, Sent::Enough(_));
        match sent {
            Sent::All => {
                let callbacks = outbox.take_all_callbacks();
                state.outbox = None;
                net.outboxes.take_back(id);
                if !callbacks.is_empty() || state.is(NEED_DRAIN) {
                    self.tick(NetTick::AfterWrite(socket, callbacks));
                }
            }
            Sent::Part(_) | Sent::Enough(_) => {
                outbox.begin_flight(outbox.unit_start, state.bytes_written);
                state.set(BLOCKED);
                self.waits(socket, is_unfinished);
            }
            Sent::Failed(error) => {
                let callbacks = outbox.take_all_callbacks();
                self.fail_later(socket, callbacks, error);
            }
        }
        if let Some(timer) = idle_timer {
            self.restart_timer(timer);
        }
        self.note_sent(cause, socket, waiting - still_waiting, still_waiting);
    }

    /// Calls back in a tick; there may be nobody to call.
    pub(crate) fn call_back(&mut self, socket: Socket, callback: Option<WriteCallback>, result: crate::Result<()>) {
        if let Some(callback) = callback {
            self.tick(NetTick::Callback(socket, Box::new((callback, result))));
        }
    }

    /// Tells who wrote to a socket, or ended it, how that went. A panic costs the socket, as one in its handler does.
    pub(crate) fn tell(&mut self, socket: Socket, callback: WriteCallback, result: crate::Result<()>) {
        if !self.call(Kind::Callback, self.cause(), |lp| callback(lp, result)) {
            self.callback_panicked(socket);
        }
    }
}

/// Why a write to this socket is refused, if it is.
pub(crate) fn refusal(state: &SocketState) -> Option<Error> {
    if state.is(ENDING) {
        Some(Error::WriteAfterEnd)
    } else if state.is(DESTROYED) {
        Some(Error::Destroyed { action: "write" })
    } else {
        None
    }
}
