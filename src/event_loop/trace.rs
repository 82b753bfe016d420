//! The trace: what the loop did, as a ring of small records, each with the record that caused it.
//!
//! ```text
//!   poll ──▶ ready #41 ──▶ on_data #41 ──▶ write #41 ──▶ sent #41
//!                              │
//!                              └─▶ timer armed ──▶ (two turns later) timer fired ──▶ write #41 ──▶ sent #41
//! ```
//!
//! While a callback or a phase runs, its record is the *current* one, and each record that is made meanwhile has it as
//! its cause. Work for later (a tick, a timer, gathered bytes) stores its cause. So from any record a chain of causes
//! leads back to the poll, or to the program's main body.
//!
//! The loop only records. Observers (the command's `--trace`, a test, a quiz) read the ring, each at its own position:
//! see [`Trace::since`]. A [`Gate`](super::Gate) uses the same hooks to hold the loop before a callback; see
//! `observe.rs`. The ring has a fixed size and overwrites its oldest records.
//!
//! # What it costs
//!
//! Without the feature `trace`: nothing, the hooks are empty. With it, while nothing observes the loop: one
//! predictable branch per hook. Instructions per message of `bucle serve echo` in a release build (callgrind, 64-byte
//! messages one at a time per connection, the difference of 5,000 and 25,000 messages):
//!
//! | connections | without the feature | not recording | recording and writing `--trace` |
//! |---|---|---|---|
//! | 1, a turn for each message | 1,009 | 1,096 | 14,840 |
//! | 50 | 482 | 514 | 8,770 |
//!
//! Recording is a tenth of the last column, the rest is writing JSON. A record of a point in time takes about 140
//! instructions, a record with a beginning and an end twice as many; half of them read the clock. Measured in time on a
//! shared 2.8 GHz Xeon (the best of nine runs of two million, 2026-11-22): 20 to 30 ns for a point in time, 65 to 75
//! for a callback. Reading the clock takes 18 ns, and a callback reads it twice. The goal of 5 ns a record cannot be
//! reached with the system's clock; a cheaper clock would change that.

#[cfg(feature = "trace")]
pub(super) mod chrome;
#[cfg(feature = "trace")]
mod ring;

#[cfg(feature = "trace")]
use std::time::Duration;

#[cfg(feature = "trace")]
pub use chrome::{CHROME_HEAD, Chrome};
#[cfg(feature = "trace")]
pub use ring::{Record, Records, Trace};

use super::Loop;
#[cfg(feature = "trace")]
use super::observe::Open;

/// The phases of a turn, and the main body of the program.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(u8)]
pub enum Phase {
    /// The program's main body, or a call from outside ([`EventLoop::enter`](crate::EventLoop::enter)); ticks and
    /// writes of an observer before a turn ([`Loop::on_prepare`](crate::Loop::on_prepare)).
    #[default]
    Main,
    /// Shutdowns, failed connects.
    Pending,
    /// The wait for the kernel, and the events that it reports.
    Poll,
    /// Immediates.
    Check,
    /// `on_close`.
    Close,
    /// Timers that are due.
    Timers,
}

#[cfg(feature = "trace")]
impl Phase {
    /// All phases, in the order of a turn.
    pub const ALL: [Phase; 6] = [Phase::Main, Phase::Pending, Phase::Poll, Phase::Check, Phase::Close, Phase::Timers];

    /// Its name: `poll`, `check`, …
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Main => "main",
            Phase::Pending => "pending",
            Phase::Poll => "poll",
            Phase::Check => "check",
            Phase::Close => "close",
            Phase::Timers => "timers",
        }
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident $text:literal,)*) => {
        /// The kind of event that a record describes.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum Kind {
            $($(#[$doc])* $name,)*
        }

        #[cfg(feature = "trace")]
        impl Kind {
            /// Its name, as in the trace files: `on_data`, `timer`, …
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Kind::$name => $text,)*
                }
            }
        }
    };
}

kinds! {
    /// A phase, from its beginning to its end.
    #[default]
    Phase "phase",
    /// The wait for the kernel. Size: how many events it reported.
    #[cfg(feature = "trace")]
    Wait "wait",
    /// The kernel reported a descriptor, or a descriptor was known to be ready. The cause of the reads, writes and
    /// accepts that follow.
    Ready "ready",

    /// The program's main body, or a callback of [`Loop::on_before_exit`](crate::Loop::on_before_exit).
    Main "main",
    /// A tick. Cause: the record in which it was queued.
    Tick "tick",
    /// A microtask. Cause: the record in which it was queued.
    Microtask "microtask",
    /// An immediate. Cause: the record in which it was made.
    Immediate "immediate",
    /// A timer fires. Size: how late, in milliseconds. Cause: its arming.
    Timer "timer",
    /// A closure that another thread posted.
    Posted "posted",
    /// A signal arrived.
    #[cfg(any(feature = "process", feature = "trace"))]
    Signal "signal",
    /// Standard input was read, or ended.
    #[cfg(any(feature = "process", feature = "trace"))]
    Stdin "stdin",
    /// The callback of a write, an end or a close.
    Callback "callback",
    /// A handler's `on_connection`. Size: the peer's port, 0 on a unix path.
    OnConnection "on_connection",
    /// A handler's `on_lookup`.
    OnLookup "on_lookup",
    /// A handler's `on_connect`.
    OnConnect "on_connect",
    /// A handler's `on_ready`.
    OnReady "on_ready",
    /// A handler's `on_upgrade`.
    OnUpgrade "on_upgrade",
    /// A handler's `on_read` or `on_data`. Size: bytes.
    OnData "on_data",
    /// A handler's `on_text`. Size: bytes.
    OnText "on_text",
    /// A handler's `on_drain`.
    OnDrain "on_drain",
    /// A handler's `on_end`.
    OnEnd "on_end",
    /// A handler's `on_finish`.
    OnFinish "on_finish",
    /// A handler's `on_timeout`.
    OnTimeout "on_timeout",
    /// A handler's `on_error`.
    OnError "on_error",
    /// A handler's `on_close`.
    OnClose "on_close",
    /// A handler's `on_going_away`.
    OnGoingAway "on_going_away",
    /// A listener for an event of Socket.IO. Size: bytes of its arguments.
    #[cfg(any(feature = "socket-io", feature = "trace"))]
    OnEvent "on_event",
    /// The acknowledgement of an event of Socket.IO.
    #[cfg(any(feature = "socket-io", feature = "trace"))]
    OnAck "on_ack",
    /// A handler's `on_listening`.
    OnListening "on_listening",
    /// A handler's `on_drop`.
    OnDrop "on_drop",
    /// A handler's `on_server_error`.
    OnServerError "on_server_error",
    /// A handler's `on_server_close`.
    OnServerClose "on_server_close",
    /// A telnet handler's `on_line`, inside the `on_data` of its chunk. Size: bytes.
    OnLine "on_line",
    /// An HTTP handler's `on_head`, `on_request` or `on_upgrade`, inside the `on_data` of its chunk. Size: bytes of the
    /// body.
    #[cfg(any(feature = "http", feature = "trace"))]
    OnRequest "on_request",
    /// The callback of a request of an HTTP client, inside the callback of its socket. Size: bytes of the body.
    #[cfg(any(feature = "http", feature = "trace"))]
    OnResponse "on_response",
    /// A WebSocket handler's `on_handshake`. Like the next four it is inside the callback of the socket.
    #[cfg(any(feature = "websocket", feature = "trace"))]
    OnHandshake "on_handshake",
    /// A WebSocket handler's `on_open`.
    #[cfg(any(feature = "websocket", feature = "trace"))]
    OnOpen "on_open",
    /// A WebSocket handler's `on_message`. Size: bytes.
    #[cfg(any(feature = "websocket", feature = "trace"))]
    OnMessage "on_message",
    /// A WebSocket handler's `on_ping`. Size: bytes.
    #[cfg(any(feature = "websocket", feature = "trace"))]
    OnPing "on_ping",
    /// A WebSocket handler's `on_pong`. Size: bytes.
    #[cfg(any(feature = "websocket", feature = "trace"))]
    OnPong "on_pong",

    // Kinds from `Main` to here are callbacks; those from `Armed` on are points in time.
    /// A timer was armed. Size: its delay in milliseconds.
    Armed "armed",
    /// The program wrote. Size: bytes.
    Write "write",
    /// Bytes went to the kernel. Size: how many. Cause: the write that waited longest.
    Sent "sent",
    /// The kernel refused bytes. Size: the bytes that wait.
    Blocked "blocked",
    /// `end` was called.
    End "end",
    /// The FIN was sent.
    Shutdown "shutdown",
    /// The peer's FIN was read.
    Eof "eof",
    /// `pause` was called.
    Pause "pause",
    /// `resume` was called.
    Resume "resume",
    /// The system call `connect` was made.
    Connect "connect",
    /// The descriptor was closed.
    Destroy "destroy",
    /// A WebSocket close frame was sent. Size: its code.
    #[cfg(any(feature = "websocket", feature = "trace"))]
    CloseSent "close_sent",
    /// A WebSocket close frame was received. Size: its code.
    #[cfg(any(feature = "websocket", feature = "trace"))]
    CloseReceived "close_received",
}

#[cfg(feature = "trace")]
impl Kind {
    /// Whether it is a callback of the program.
    pub fn is_callback(self) -> bool {
        (Kind::Main as u8..Kind::Armed as u8).contains(&(self as u8))
    }
}

#[cfg(feature = "trace")]
impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The record that caused something. Stored with work that is done later. Empty without the feature.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cause {
    #[cfg(feature = "trace")]
    pub(super) number: u32,
}

/// A record that has begun and not ended.
#[must_use = "a span that is not ended has no duration, and stays the cause of everything that follows"]
#[derive(Default)]
pub(crate) struct Span {
    #[cfg(feature = "trace")]
    open: Option<Open>,
}

/// The hooks that the rest of the loop calls. Each is one branch while nothing observes the loop.
#[cfg(feature = "trace")]
impl Loop {
    /// The current record: the cause of records that are made now.
    #[inline]
    pub(crate) fn cause(&self) -> Cause {
        Cause { number: self.observed.as_ref().map_or(0, |observed| observed.current()) }
    }

    /// Makes `cause` the current record. Returns the previous one, which the caller sets again afterwards.
    #[inline]
    pub(crate) fn act_for(&mut self, cause: Cause) -> Cause {
        match &mut self.observed {
            Some(observed) => Cause { number: observed.set_current(cause.number) },
            None => Cause::default(),
        }
    }

    /// Records something that happens at a point in time, caused by the current record. Returns the new record, as a
    /// cause.
    #[inline]
    pub(crate) fn note(&mut self, kind: Kind, subject: u32, size: usize) -> Cause {
        match &self.observed {
            Some(observed) => self.note_recorded(observed.current(), kind, subject, size),
            None => Cause::default(),
        }
    }

    /// As [`note`](Self::note), caused by `cause` and not by the current record. Returns the new record, as a cause.
    #[inline]
    pub(crate) fn note_for(&mut self, cause: Cause, kind: Kind, subject: u32, size: usize) -> Cause {
        if self.observed.is_none() {
            return cause;
        }
        self.note_recorded(cause.number, kind, subject, size)
    }

    /// Begins a record that takes time and is no callback of the program. Until its [`end`](Self::end) it is the
    /// current record.
    #[inline]
    pub(crate) fn begin(&mut self, cause: Cause, kind: Kind, subject: u32, size: usize) -> Span {
        if self.observed.is_none() {
            return Span::default();
        }
        self.begin_recorded(cause.number, kind, subject, size)
    }

    /// Whether a ring or a gate is there.
    #[inline]
    pub(super) fn is_observed(&self) -> bool {
        self.observed.is_some()
    }

    /// As [`begin`](Self::begin), for a callback of the program: the gate may hold the loop before it.
    #[inline]
    pub(super) fn begin_callback(&mut self, cause: Cause, kind: Kind, subject: u32, size: usize) -> Span {
        if self.observed.is_none() {
            return Span::default();
        }
        self.begin_callback_observed(cause.number, kind, subject, size)
    }

    /// Ends a record. The record that was current before it is current again.
    #[inline]
    pub(crate) fn end(&mut self, span: Span) {
        if let Some(open) = span.open {
            self.end_recorded(open);
        }
    }

    // The functions below are not inlined: the hooks above are called in the busiest code of the loop.

    #[cold]
    #[inline(never)]
    fn note_recorded(&mut self, cause: u32, kind: Kind, subject: u32, size: usize) -> Cause {
        let now = self.clock.elapsed();
        let Some(observed) = &mut self.observed else { return Cause::default() };
        Cause { number: observed.note(now, cause, kind, subject, size) }
    }

    #[cold]
    #[inline(never)]
    fn begin_callback_observed(&mut self, cause: u32, kind: Kind, subject: u32, size: usize) -> Span {
        self.pass_gate(cause, kind, subject, size);
        self.begin_recorded(cause, kind, subject, size)
    }

    #[cold]
    #[inline(never)]
    fn begin_recorded(&mut self, cause: u32, kind: Kind, subject: u32, size: usize) -> Span {
        let now = self.clock.elapsed();
        let Some(observed) = &mut self.observed else { return Span::default() };
        Span { open: observed.begin(now, cause, kind, subject, size) }
    }

    #[cold]
    #[inline(never)]
    fn begin_phase_observed(&mut self, phase: Phase) -> Span {
        let now = self.clock.elapsed();
        let Some(observed) = &mut self.observed else { return Span::default() };
        Span { open: observed.begin_phase(now, phase) }
    }

    #[cold]
    #[inline(never)]
    fn end_recorded(&mut self, open: Open) {
        let now = self.clock.elapsed();
        let Some(record) = self.observed.as_mut().and_then(|observed| observed.end(now, open)) else { return };
        let took = Duration::from_nanos(record.duration_ns());
        if self.slow_limit.is_some_and(|limit| took > limit) && record.kind.is_callback() {
            self.warn_of_slow(&record, took);
        }
    }

    /// Notes and logs that a callback was slow, and how many timers it made late.
    fn warn_of_slow(&mut self, record: &Record, took: Duration) {
        let (kind, subject) = (record.kind, record.subject);
        let now = self.clock.elapsed();
        let late = self.late_timers(now);
        self.note_slow(record, took, late);
        let socket = if subject == 0 { String::new() } else { format!("#{subject} ") };
        let effect = match late {
            None => "no timer was due meanwhile".to_owned(),
            Some((1, late)) => format!("it made a timer {} ms late", late.as_millis()),
            Some((n, late)) => format!("it made {n} timers late, up to {} ms", late.as_millis()),
        };
        log::warn!(target: "bucle::loop", "{socket}slow callback: {kind} took {} ms; {effect}", took.as_millis());
    }

    /// Begins a turn: records carry its number.
    #[inline]
    pub(crate) fn begin_turn(&mut self) {
        if let Some(observed) = &mut self.observed {
            // The counter counts a turn only after its wait, so it is one behind here.
            observed.begin_turn(self.counters.turns + 1);
        }
    }

    /// Begins the record of a phase, which is ended by [`end_phase`](Self::end_phase).
    #[inline]
    pub(crate) fn begin_phase(&mut self, phase: Phase) -> Span {
        if self.observed.is_none() {
            return Span::default();
        }
        self.begin_phase_observed(phase)
    }

    /// While something is recorded: warns of callbacks that took longer than `limit`, with the timers they made late.
    /// Default: 10 ms. `None` switches it off.
    pub fn warn_of_slow_callbacks(&mut self, limit: Option<Duration>) {
        self.slow_limit = limit;
    }
}

/// Sets the size of a record that has begun, when it becomes known.
#[cfg(feature = "trace")]
impl Span {
    pub(super) fn set_size(&self, lp: &mut Loop, size: usize) {
        if let (Some(observed), Some(open)) = (&mut lp.observed, &self.open) {
            observed.set_size(open, size);
        }
    }
}

/// Without the feature the hooks do nothing.
#[cfg(not(feature = "trace"))]
impl Loop {
    #[inline(always)]
    pub(crate) fn cause(&self) -> Cause {
        Cause {}
    }

    #[inline(always)]
    pub(crate) fn act_for(&mut self, cause: Cause) -> Cause {
        cause
    }

    #[inline(always)]
    pub(crate) fn note(&mut self, _: Kind, _: u32, _: usize) -> Cause {
        Cause {}
    }

    #[inline(always)]
    pub(crate) fn note_for(&mut self, cause: Cause, _: Kind, _: u32, _: usize) -> Cause {
        cause
    }

    #[inline(always)]
    pub(crate) fn begin(&mut self, _: Cause, _: Kind, _: u32, _: usize) -> Span {
        Span {}
    }

    #[inline(always)]
    pub(super) fn is_observed(&self) -> bool {
        false
    }

    #[inline(always)]
    pub(super) fn begin_callback(&mut self, _: Cause, _: Kind, _: u32, _: usize) -> Span {
        Span {}
    }

    #[inline(always)]
    pub(crate) fn end(&mut self, _: Span) {}

    #[inline(always)]
    pub(crate) fn begin_turn(&mut self) {}

    #[inline(always)]
    pub(crate) fn begin_phase(&mut self, _: Phase) -> Span {
        Span {}
    }
}
