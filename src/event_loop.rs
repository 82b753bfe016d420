//! The event loop: one thread that waits for the kernel and calls callbacks, in phases that always have the same order.
//!
//! ```text
//!            main body, ticks, due timers
//!                        │
//!   ┌────────────────────▼─────────────────────────────────────────────┐
//!   │ pending   shutdowns, failed connects                             │
//!   │ poll      wait for the kernel; accept, read, write; other threads│
//!   │           then pending again, up to 8 rounds                     │  one turn
//!   │ check     immediates                                             │
//!   │ close     on_close, last destroyed first                         │
//!   │ timers    every timer that is due                                │
//!   └────────────────────┬─────────────────────────────────────────────┘
//!                        ▼
//!        again, until nothing keeps the loop alive
//! ```
//!
//! After **every** callback, in any phase, the ticks and then the microtasks are drained. At the end of each phase the
//! bytes that its callbacks have written are sent, with one system call per socket.
//!
//! The loop is *lent*: a callback gets `&mut Loop` and gives it back by returning. While a callback runs no other code
//! of the program can run, and the compiler checks that. [`EventLoop`] owns the poll and has `run`. [`Loop`] is the
//! part that is lent; it has no `run`, so a callback cannot start the loop a second time.
//!
//! A turn is bounded: at most 1,024 events, 32 full reads of each socket, 8 rounds of the pending phase; and the check,
//! close and timers phases run only what was there when they began. Ticks and microtasks have no bound, as in Node.
//!
//! This is what Node does on libuv ([Node: the event
//! loop](https://nodejs.org/en/learn/asynchronous-work/event-loop-timers-and-nexttick),
//! [libuv: the I/O loop](https://docs.libuv.org/en/v1.x/design.html#the-i-o-loop)).

mod calling;
mod clock;
mod firing;
#[cfg(feature = "trace")]
mod gate;
mod lent;
pub(crate) mod memory;
mod metrics;
mod nested;
#[cfg(feature = "trace")]
mod observe;
#[cfg(feature = "trace")]
mod overview;
mod polling;
mod prepare;
mod queues;
mod readiness;
mod remote;
pub(crate) mod slots;
#[cfg(feature = "process")]
mod sources;
mod timers;
pub(crate) mod token;
mod trace;

use std::time::Duration;
use std::{fmt, io, mem};

pub use clock::ManualClock;
#[cfg(feature = "trace")]
pub use gate::{Decision, Gate, Next, Step};
pub use lent::TimerOrImmediate;
pub use metrics::{Histogram, Metrics};
#[cfg(feature = "trace")]
pub use overview::{Queues, SlowCallback};
pub use prepare::PrepareId;
pub use queues::ImmediateId;
pub(crate) use queues::Tick;
pub(crate) use readiness::Readiness;
pub use remote::{KeepAlive, Remote};
#[cfg(feature = "process")]
pub(crate) use sources::SourceId;
pub use timers::TimerId;
pub(crate) use timers::{delay_ms, limit_ms};
#[cfg(feature = "trace")]
pub use trace::{CHROME_HEAD, Chrome, Record, Records, Trace};
pub(crate) use trace::{Cause, Span};
pub use trace::{Kind, Phase};

use crate::net::{Net, NetTimer};
use crate::{Error, Result};
use clock::Clock;
use metrics::Counters;
#[cfg(feature = "trace")]
use observe::Observed;
use prepare::Prepares;
use queues::{Immediates, Ticks};
#[cfg(feature = "process")]
use sources::Sources;
use timers::Timers;

/// A callback that runs once.
pub(crate) type Callback = Box<dyn FnOnce(&mut Loop)>;

/// A callback that can run repeatedly.
pub(crate) type RepeatedCallback = Box<dyn FnMut(&mut Loop)>;

/// The maximum number of events that one poll takes from the kernel, as in libuv.
const EVENTS_PER_POLL: usize = 1024;

/// The maximum number of bytes that one read of a socket takes, as in libuv.
const READ_BUFFER: usize = 64 * 1024;

/// How many times the pending phase runs after a poll, at most, before the check phase; as in libuv.
const PENDING_ROUNDS: usize = 8;

/// A callback that takes longer than this is slow. A person begins to notice a delay of this length, and many timers
/// are not longer than it.
#[cfg(feature = "trace")]
const SLOW_CALLBACK: Duration = Duration::from_millis(10);

/// Runs `main`, then turns the loop until nothing keeps it alive.
///
/// # Errors
/// The error of `main`, or of a poll that failed.
///
/// ```
/// use std::time::Duration;
///
/// let mut order = Vec::new();
/// bucle::run(|lp| {
///     lp.set_timeout(Duration::from_millis(20), |_| println!("later"));
///     lp.next_tick(|_| println!("soon"));
///     order.push("now");
///     Ok(())
/// })?;
/// assert_eq!(order, ["now"]);
/// # Ok::<(), bucle::Error>(())
/// ```
pub fn run<T>(main: impl FnOnce(&mut Loop) -> Result<T>) -> Result<T> {
    let mut event_loop = EventLoop::new()?;
    let result = event_loop.enter(main)?;
    event_loop.run()?;
    Ok(result)
}

/// Owns the poll and turns the loop.
///
/// When it is dropped, unsent bytes are sent as far as the kernel takes them, and everything is closed without further
/// callbacks.
pub struct EventLoop {
    poll: mio::Poll,
    events: mio::Events,
    /// The buffer that all sockets are read into. It is not part of [`Loop`], so chunks in it and the loop can be
    /// borrowed at the same time.
    read_buf: Box<[u8]>,
    /// How long the loop polls repeatedly before it sleeps.
    spin: Duration,
    /// Whether the last [`turn`](Self::turn) had events.
    had_events: bool,
    lp: Loop,
}

/// A summary of one turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Turn {
    /// How many events the kernel reported.
    pub events: usize,
    /// Whether something still keeps the loop alive.
    pub is_alive: bool,
    /// Whether [`Loop::stop`] was called. A program that turns the loop itself should end then, as [`EventLoop::run`]
    /// does.
    pub is_stopped: bool,
}

/// The part of the loop that is lent to callbacks: timers, ticks, immediates, and, through the handles of
/// [`net`](crate::net), all sockets.
///
/// A program cannot construct or keep it.
pub struct Loop {
    clock: Clock,
    /// Milliseconds since the loop was made, at the last reading of the clock.
    now_ms: i64,
    /// The same, not rounded.
    now: Duration,
    timers: Timers<TimerPayload>,
    pub(crate) ticks: Ticks,
    immediates: Immediates,
    #[cfg(feature = "process")]
    sources: Sources,
    remote: Remote,
    pub(crate) registry: mio::Registry,
    pub(crate) net: Net,
    /// How many sockets, servers and lookups keep the loop alive. Each of them adds and removes itself.
    pub(crate) active: usize,
    pub(crate) counters: Counters,
    before_exit: Vec<RepeatedCallback>,
    prepares: Prepares,
    is_stopping: bool,
    catches_panics: bool,
    caught_panics: u64,
    /// The ring of records and the gate, stored together: each hook costs one branch while the loop is not observed.
    #[cfg(feature = "trace")]
    observed: Option<Box<Observed>>,
    #[cfg(feature = "trace")]
    slow_limit: Option<Duration>,
}

/// The action of a timer, and the record in which it was armed.
struct TimerPayload {
    call: TimerCall,
    cause: Cause,
}

/// The action of a timer.
enum TimerCall {
    /// Runs once; then the timer is removed.
    Once(Callback),
    /// Runs when the timer fires; the timer stays and can be refreshed.
    Again(RepeatedCallback),
    /// Runs repeatedly.
    Every(RepeatedCallback),
    /// As `Every`, for this crate itself: not a callback of the program.
    InternalEvery(RepeatedCallback),
    /// The closure has been taken out and is running.
    Running,
    /// A timer of a socket or server. It has no closure, so that a million idle limits cost little memory.
    Net(NetTimer),
}

impl EventLoop {
    /// A loop on the system's monotonic clock.
    ///
    /// # Errors
    /// When the system cannot create a poll (`EMFILE`: too many open files).
    pub fn new() -> Result<Self> {
        Self::build(None)
    }

    /// A loop whose time is driven by hand. It never sleeps until a timer: if a timer waits, a turn only checks which
    /// descriptors are ready, and does not sleep.
    ///
    /// # Errors
    /// As [`EventLoop::new`].
    pub fn with_clock(clock: ManualClock) -> Result<Self> {
        Self::build(Some(clock))
    }

    fn build(manual: Option<ManualClock>) -> Result<Self> {
        let build = || -> io::Result<_> {
            let poll = mio::Poll::new()?;
            let registry = poll.registry().try_clone()?;
            let waker = mio::Waker::new(&registry, token::WAKER)?;
            Ok((poll, registry, waker))
        };
        let (poll, registry, waker) = build().map_err(|error| Error::system("epoll_create", &error))?;
        let lp = Loop {
            clock: Clock::new(manual),
            now_ms: 0,
            now: Duration::ZERO,
            timers: Timers::new(),
            ticks: Ticks::default(),
            immediates: Immediates::default(),
            #[cfg(feature = "process")]
            sources: Sources::default(),
            remote: Remote::new(waker),
            registry,
            net: Net::default(),
            active: 0,
            counters: Counters::default(),
            before_exit: Vec::new(),
            prepares: Prepares::default(),
            is_stopping: false,
            catches_panics: false,
            caught_panics: 0,
            #[cfg(feature = "trace")]
            observed: None,
            #[cfg(feature = "trace")]
            slow_limit: Some(SLOW_CALLBACK),
        };
        let (events, read_buf) = (mio::Events::with_capacity(EVENTS_PER_POLL), vec![0; READ_BUFFER].into());
        Ok(EventLoop { poll, events, read_buf, spin: Duration::ZERO, had_events: false, lp })
    }

    /// Sets whether a panic in a callback is caught. Default: no, it unwinds through [`run`](Self::run).
    ///
    /// A panic that is caught is logged and counted. The socket whose callback has panicked is destroyed; other sockets
    /// are not affected. A timer, tick or immediate that panics is dropped.
    pub fn catch_panics(&mut self, catches: bool) {
        self.lp.catches_panics = catches;
    }

    /// Sets how long a turn without events polls the kernel repeatedly before the thread sleeps. Default: zero.
    ///
    /// A sleeping thread takes some tens of microseconds to wake up, which is most of the latency of a quiet server. A
    /// thread that spins needs no waking. **It uses its core fully** for up to this time after every event, and all the
    /// time if events come more often, so use it only if the core has nothing else to do. Timers fire as without it.
    pub fn spin(&mut self, duration: Duration) {
        self.spin = duration;
    }

    /// Sets how many events one turn takes from the kernel at most; at least one. Default: 1,024, as in libuv. Other
    /// events are taken in the next turn.
    ///
    /// With fewer events turns are shorter: timers, immediates and new connections wait less, at the cost of a few more
    /// system calls. With more events, more writes to the same socket are sent in one system call, which helps if many
    /// clients send to many others at the same time.
    pub fn events_per_turn(&mut self, count: usize) {
        self.events = mio::Events::with_capacity(count.max(1));
    }

    /// Lends the loop to code that is not a callback: the main body of a program, or a test between two turns. Before
    /// this returns, ticks are drained and written bytes are sent.
    pub fn enter<T>(&mut self, f: impl FnOnce(&mut Loop) -> T) -> T {
        let lp = &mut self.lp;
        lp.update_now();
        let phase = lp.begin_phase(Phase::Main);
        let main = lp.begin(lp.cause(), Kind::Main, 0, 0);
        let result = f(lp);
        lp.end(main);
        lp.boundary();
        lp.end_phase(phase);
        result
    }

    /// Turns the loop until nothing keeps it alive or [`Loop::stop`] is called. Afterwards it can be called again.
    ///
    /// # Errors
    /// When the poll fails.
    pub fn run(&mut self) -> Result<()> {
        self.lp.begin_counting();
        // A panic that has ended an earlier run may have left ticks and unsent bytes.
        self.lp.catch_up();
        loop {
            // As in libuv's `uv_run`: due timers run once before the first turn, then at the end of each turn. They do
            // not cancel the first turn, even if nothing keeps the loop alive after them: its check phase runs the
            // unreferenced immediates.
            let mut goes_on = self.goes_on();
            if goes_on {
                self.lp.run_due_timers();
                goes_on = !self.lp.is_stopping;
            }
            while goes_on {
                let max_wait = self.lp.prepare(None);
                self.turn_once(max_wait)?;
                goes_on = self.goes_on();
            }
            if self.lp.is_stopping || !self.lp.run_before_exit() {
                break;
            }
        }
        self.lp.end_counting();
        self.lp.is_stopping = false;
        Ok(())
    }

    /// Whether [`run`](Self::run) makes another turn.
    fn goes_on(&self) -> bool {
        self.lp.is_alive() && !self.lp.is_stopping
    }

    /// Runs one turn: each phase once, in Node's order. Waits for the kernel at most for `max_wait`. Before it the
    /// callbacks of [`Loop::on_prepare`] are called.
    ///
    /// A program that turns the loop itself should check the result: the loop may have nothing left to do, or may have
    /// been stopped.
    ///
    /// # Errors
    /// When the poll fails.
    pub fn turn(&mut self, max_wait: Option<Duration>) -> Result<Turn> {
        self.lp.begin_counting();
        let max_wait = self.lp.prepare(max_wait);
        let events = self.turn_once(max_wait)?;
        self.had_events = events > 0;
        self.lp.end_counting();
        let is_stopped = mem::take(&mut self.lp.is_stopping);
        Ok(Turn { events, is_alive: self.lp.is_alive(), is_stopped })
    }

    /// The phases of a turn. Each of them drains the ticks after every callback, and sends the written bytes at its
    /// end.
    ///
    /// The order is that of `uv_run` since libuv 1.45, which Node 20 uses: timers come last, after the poll.
    fn turn_once(&mut self, max_wait: Option<Duration>) -> Result<usize> {
        self.lp.begin_turn();
        // Shutdowns that were queued outside of a poll, and failed connects.
        self.in_phase(Phase::Pending, |event_loop| event_loop.lp.run_pending());
        // The only place where the loop sleeps. It contains the pending rounds that follow the poll.
        let events = self.in_phase(Phase::Poll, |event_loop| event_loop.poll_for_io(max_wait))?;
        // Directly after the poll: an immediate that an I/O callback makes runs before any timer.
        self.in_phase(Phase::Check, |event_loop| event_loop.lp.run_immediates());
        self.in_phase(Phase::Close, |event_loop| event_loop.lp.run_closing());
        // Last: timers see the time that the other phases took, and what they make is found by the next poll.
        self.in_phase(Phase::Timers, |event_loop| event_loop.lp.run_due_timers());
        Ok(events)
    }

    /// Whether something keeps the loop alive.
    pub fn is_alive(&self) -> bool {
        self.lp.is_alive()
    }

    /// Runs a phase, and measures its time if [`Loop::time_phases`] is on.
    fn in_phase<T>(&mut self, phase: Phase, f: impl FnOnce(&mut Self) -> T) -> T {
        if self.lp.counters.times_phases == 0 {
            return f(self);
        }
        let (start, idle_before) = (self.lp.clock.elapsed(), self.lp.counters.idle);
        let result = f(self);
        self.lp.count_phase(phase, start, idle_before);
        result
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        // While the sockets still have their descriptors.
        self.lp.send_what_is_left();
        self.lp.remote.close();
    }
}

impl Loop {
    /// Queues a tick of a socket or server, behind all others. It keeps its cause for the trace.
    pub(crate) fn tick(&mut self, tick: crate::net::NetTick) {
        let cause = self.cause();
        self.ticks.ticks.push_back((Tick::Net(tick), cause));
    }

    /// Whether something keeps the loop alive, so that a callback may still come.
    pub(crate) fn is_alive(&self) -> bool {
        self.active > 0
            || self.timers.referenced() > 0
            || self.immediates.referenced() > 0
            || self.net.has_pending()
            || self.net.has_closing()
            || self.remote.is_held()
    }

    /// Runs ticks and sends bytes that were left outside of a turn. The next poll may sleep, and would not wake up for
    /// them.
    fn catch_up(&mut self) {
        if self.ticks.is_empty() && !self.net.has_unsent() {
            return;
        }
        let phase = self.begin_phase(Phase::Main);
        self.boundary();
        self.end_phase(phase);
    }

    /// Calls the callbacks of [`Loop::on_before_exit`]. Returns whether something keeps the loop alive afterwards.
    fn run_before_exit(&mut self) -> bool {
        if self.before_exit.is_empty() {
            return false;
        }
        let phase = self.begin_phase(Phase::Main);
        let mut callbacks = std::mem::take(&mut self.before_exit);
        callbacks.retain_mut(|callback| self.call(Kind::Main, self.cause(), callback));
        // Callbacks that were added meanwhile are called the next time.
        callbacks.append(&mut self.before_exit);
        self.before_exit = callbacks;
        self.boundary();
        self.end_phase(phase);
        self.is_alive()
    }

    /// Check phase: the immediates that were there when it began. An immediate that adds another one cannot hold the
    /// loop in this phase.
    fn run_immediates(&mut self) {
        let phase = self.begin_phase(Phase::Check);
        let end = self.immediates.end();
        if self.immediates.queued() > 0 {
            log::trace!(target: "bucle::loop", "check: {} immediates", self.immediates.queued());
        }
        while let Some((immediate, cause)) = self.immediates.pop_before(end) {
            log::trace!(target: "bucle::loop", "an immediate runs");
            self.call(Kind::Immediate, cause, immediate);
            self.boundary();
        }
        self.end_phase(phase);
    }

    /// The end of every phase: sends the bytes that its callbacks have written, with one system call per socket.
    #[inline]
    pub(crate) fn end_phase(&mut self, phase: Span) {
        // Sending may call user code: after a failed send, `on_error` and callbacks. They and their ticks may write
        // again.
        while self.flush_unsent() {
            self.boundary();
        }
        self.end(phase);
    }

    /// How many timers there are, whether they keep the loop alive or not.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn timer_count(&self) -> usize {
        self.timers.len()
    }

    /// Removes a timer. Does nothing if it is gone.
    pub(crate) fn timers_clear(&mut self, id: TimerId) {
        self.timers.remove(id);
    }
}

impl fmt::Debug for EventLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLoop").field("lp", &self.lp).finish_non_exhaustive()
    }
}

impl fmt::Debug for Loop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loop").field("now", &self.now).field("active", &self.active).finish_non_exhaustive()
    }
}
