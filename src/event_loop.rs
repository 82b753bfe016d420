//! The loop: one thread, one `poll`, and phases that always come in the same order.
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
//! After **every** callback, in whatever phase, the ticks and then the microtasks are drained. After every phase what
//! its callbacks have written is sent, one system call per socket.
//!
//! The loop is *lent*: a callback gets `&mut Loop` and gives it back by returning. While your callback runs nothing
//! else can, and the compiler knows it. [`EventLoop`] owns the poll and has `run`; [`Loop`] is what is lent, and has
//! none, so a callback cannot start the loop a second time.
//!
//! This is what Node does on libuv ([Node: the event loop](https://nodejs.org/en/learn/asynchronous-work/event-loop-timers-and-nexttick),
//! [libuv: the I/O loop](https://docs.libuv.org/en/v1.x/design.html#the-i-o-loop)).

mod calling;
mod clock;
mod firing;
#[cfg(feature = "trace")]
mod gate;
mod lent;
mod metrics;
mod nested;
#[cfg(feature = "trace")]
mod observe;
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
pub use prepare::PrepareId;
pub use queues::ImmediateId;
pub(crate) use queues::Tick;
pub(crate) use readiness::Readiness;
pub use remote::{KeepAlive, Remote};
#[cfg(feature = "process")]
pub(crate) use sources::SourceId;
pub use timers::TimerId;
pub(crate) use timers::{delay_ms, limit_ms};
pub(crate) use trace::{Cause, Span};
pub use trace::{Kind, Phase};
#[cfg(feature = "trace")]
pub use trace::{Record, Records, Trace};

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

/// A callback that runs again and again.
pub(crate) type RepeatedCallback = Box<dyn FnMut(&mut Loop)>;

/// How many events one poll takes from the kernel; libuv's number.
const EVENTS_PER_POLL: usize = 1024;

/// How much one read of a socket may take; libuv's number.
const READ_BUFFER: usize = 64 * 1024;

/// How often finished writes and shutdowns are looked at after a poll before the check phase comes; libuv's number.
const PENDING_ROUNDS: usize = 8;

/// From when on a callback is slow: a hundredth of a second is what a person notices, and many a timer's delay.
#[cfg(feature = "trace")]
const SLOW_CALLBACK: Duration = Duration::from_millis(10);

/// Runs `main`, then turns the loop until nothing keeps it alive.
///
/// # Errors
/// What `main` returned, or a poll that failed.
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
/// Dropping it sends what is unsent, as far as the kernel takes it, and closes everything without further callbacks.
pub struct EventLoop {
    poll: mio::Poll,
    events: mio::Events,
    /// The one buffer that every socket is read into. It stands outside of what is lent, so that no panic can lose it.
    read_buf: Box<[u8]>,
    /// How long the kernel is asked again and again before the loop sleeps.
    spin: Duration,
    /// Whether the last [`turn`](Self::turn) had events.
    had_events: bool,
    lp: Loop,
}

/// What one turn did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Turn {
    /// How many events the kernel reported.
    pub events: usize,
    /// Whether something still keeps the loop alive.
    pub is_alive: bool,
    /// Whether [`Loop::stop`] was called in it: who turns the loop by hand should end, as [`EventLoop::run`] does.
    pub is_stopped: bool,
}

/// What a callback is lent: timers, ticks, immediates, and through the handles of [`net`](crate::net) every socket.
///
/// It is never constructed by a program and cannot be kept.
pub struct Loop {
    clock: Clock,
    /// Milliseconds since the loop was made, as of the last look at the clock.
    now_ms: i64,
    now: Duration,
    timers: Timers<TimerPayload>,
    pub(crate) ticks: Ticks,
    immediates: Immediates,
    #[cfg(feature = "process")]
    sources: Sources,
    remote: Remote,
    pub(crate) registry: mio::Registry,
    pub(crate) net: Net,
    /// How many handles and requests keep the loop alive: each socket, server and lookup counts itself.
    pub(crate) active: usize,
    pub(crate) counters: Counters,
    before_exit: Vec<RepeatedCallback>,
    prepares: Prepares,
    is_stopping: bool,
    catches_panics: bool,
    caught_panics: u64,
    /// The ring of records and the gate. Stored together, so that a loop that is not observed pays for one branch.
    #[cfg(feature = "trace")]
    observed: Option<Box<Observed>>,
    #[cfg(feature = "trace")]
    slow_limit: Option<Duration>,
}

/// What a timer does when it fires, and what armed it.
struct TimerPayload {
    call: TimerCall,
    cause: Cause,
}

/// What a timer does when it fires.
enum TimerCall {
    /// Runs once and is gone.
    Once(Callback),
    /// Runs when it fires and stays, to be refreshed.
    Again(RepeatedCallback),
    /// Runs again and again.
    Every(RepeatedCallback),
    /// As `Every`, this crate's own: no callback of the program.
    InternalEvery(RepeatedCallback),
    /// Its closure is out, being called.
    Running,
    /// A timer of a socket or server. No closure, so that a million idle limits cost little.
    Net(NetTimer),
}

impl EventLoop {
    /// A loop on the system's monotonic clock.
    ///
    /// # Errors
    /// When the system gives no poll (`EMFILE`: too many open files).
    pub fn new() -> Result<Self> {
        Self::build(None)
    }

    /// A loop whose time is driven by hand. It never sleeps for a timer: with timers waiting, a turn without `max_wait`
    /// only looks whether something is ready.
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

    /// Whether a panic in a callback is caught. Default: no, it unwinds through [`run`](Self::run).
    ///
    /// When caught it is logged and counted, the socket whose callback it was is destroyed, and everybody else is
    /// served on. A panicking timer, tick or immediate is dropped.
    pub fn catch_panics(&mut self, catches: bool) {
        self.lp.catches_panics = catches;
    }

    /// How long a turn with nothing to do asks the kernel again and again before it goes to sleep. Default: not at all.
    ///
    /// A sleeping thread takes some tens of microseconds to wake, which is most of the latency of a quiet server; one that
    /// spins answers at once. **It burns its core** for up to that long after every event, and all the time if events come
    /// more often: for a core that has nothing else to do. Timers and what they promise are not touched.
    pub fn spin(&mut self, duration: Duration) {
        self.spin = duration;
    }

    /// How many events one turn takes from the kernel at most, one at least. Default: 1,024, as in libuv. The others have
    /// theirs in the next turn.
    ///
    /// Fewer make shorter turns, so that timers, immediates and those who come later wait less, for a few more system calls.
    /// What a turn has written to a socket leaves together, so many who speak to many at the same time want more.
    pub fn events_per_turn(&mut self, count: usize) {
        self.events = mio::Events::with_capacity(count.max(1));
    }

    /// Lends the loop from outside: a program's main body, or a test between two turns. Ticks are drained and writes
    /// sent before this returns.
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

    /// Turns until nothing keeps the loop alive or [`Loop::stop`] is called. Can be called again after that.
    ///
    /// # Errors
    /// When the poll fails.
    pub fn run(&mut self) -> Result<()> {
        self.lp.begin_counting();
        // A panic that has ended an earlier run may have left something.
        self.lp.catch_up();
        loop {
            if self.goes_on() {
                self.lp.run_due_timers();
            }
            while self.goes_on() {
                let max_wait = self.lp.prepare(None);
                self.turn_once(max_wait)?;
            }
            if self.lp.is_stopping || !self.lp.run_before_exit() {
                break;
            }
        }
        self.lp.end_counting();
        self.lp.is_stopping = false;
        Ok(())
    }

    fn goes_on(&self) -> bool {
        self.lp.is_alive() && !self.lp.is_stopping
    }

    /// One turn: each phase once, in Node's order. Waits for the kernel no longer than `max_wait`. The callbacks of
    /// [`Loop::on_prepare`] come before it.
    ///
    /// Who turns by hand looks at what it returns: the loop may have nothing to do any more, or was told to stop.
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

    fn turn_once(&mut self, max_wait: Option<Duration>) -> Result<usize> {
        self.lp.begin_turn();
        self.in_phase(Phase::Pending, |event_loop| event_loop.lp.run_pending());
        let events = self.in_phase(Phase::Poll, |event_loop| event_loop.poll_for_io(max_wait))?;
        self.in_phase(Phase::Check, |event_loop| event_loop.lp.run_immediates());
        self.in_phase(Phase::Close, |event_loop| event_loop.lp.run_closing());
        self.in_phase(Phase::Timers, |event_loop| event_loop.lp.run_due_timers());
        Ok(events)
    }

    /// Whether something keeps the loop alive.
    pub fn is_alive(&self) -> bool {
        self.lp.is_alive()
    }

    /// Runs a phase, and times it if that is wanted.
    fn in_phase<T>(&mut self, phase: Phase, f: impl FnOnce(&mut Self) -> T) -> T {
        if !self.lp.counters.times_phases {
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
        self.lp.send_what_is_left();
        self.lp.remote.close();
    }
}

impl Loop {
    pub(crate) fn tick(&mut self, tick: crate::net::NetTick) {
        let cause = self.cause();
        self.ticks.ticks.push_back((Tick::Net(tick), cause));
    }

    /// Whether anything would still call back.
    pub(crate) fn is_alive(&self) -> bool {
        self.active > 0
            || self.timers.referenced() > 0
            || self.immediates.referenced() > 0
            || self.net.has_pending()
            || self.net.has_closing()
            || self.remote.is_held()
    }

    /// Runs ticks and sends bytes that are left from outside of a turn. A poll that sleeps would not wake for them.
    fn catch_up(&mut self) {
        if self.ticks.is_empty() && !self.net.has_unsent() {
            return;
        }
        let phase = self.begin_phase(Phase::Main);
        self.boundary();
        self.end_phase(phase);
    }

    /// Calls the program's last words. Says whether the loop goes on after them.
    fn run_before_exit(&mut self) -> bool {
        if self.before_exit.is_empty() {
            return false;
        }
        let phase = self.begin_phase(Phase::Main);
        let mut callbacks = std::mem::take(&mut self.before_exit);
        callbacks.retain_mut(|callback| self.call(Kind::Main, self.cause(), callback));
        // What they have added is called the next time.
        callbacks.append(&mut self.before_exit);
        self.before_exit = callbacks;
        self.boundary();
        self.end_phase(phase);
        self.is_alive()
    }

    /// Check phase: the immediates that were there when it began.
    fn run_immediates(&mut self) {
        let phase = self.begin_phase(Phase::Check);
        let end = self.immediates.end();
        while let Some((immediate, cause)) = self.immediates.pop_before(end) {
            self.call(Kind::Immediate, cause, immediate);
            self.boundary();
        }
        self.end_phase(phase);
    }

    /// The end of every phase: what its callbacks wrote is sent, one system call per socket, until nothing is unsent.
    #[inline]
    pub(crate) fn end_phase(&mut self, phase: Span) {
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
