//! The gate: holds the loop before a callback or a wait, for a program that shows the loop step by step.
//!
//! ```text
//!                    ┌──────────── one turn of the gate's own loop ◀──┐
//!                    ▼                                                │ Hold
//!   callback next ─▶ decide(lp, next) ────────────────────────────────┤
//!   wait next                                                         └▶ Pass, Open: the callback is called
//! ```
//!
//! A gate usually serves a page or a socket, on an [`EventLoop`] of its own in the thread of the loop that it watches.
//! That *inner* loop is turned in two places:
//!
//! * While the outer loop is held: nothing else happens then.
//! * Inside the outer loop's wait for the kernel. The inner loop's descriptor is registered in the outer poll. When
//!   it is ready, the inner loop is turned once and the outer loop waits again; this counts as no turn, event or
//!   record of the outer loop. After an inner turn with events the next wait is zero, because the kernel reports a
//!   descriptor only once per change. There is one inner turn per outer wait, so a busy viewer cannot keep the outer
//!   loop from its own events.
//!
//! The gate is consulted before each callback of the program and before each wait: those are the gate points. A wait is
//! one because a loop that is held must not read or accept. The gate is not consulted before the program's main body
//! ([`EventLoop::enter`](super::EventLoop::enter)), prepare callbacks, and the loop's own closures (delay monitor,
//! connect attempts, accept retries, lookups).
//!
//! A gate point comes before the handler is taken out, so the whole loop can be lent to the gate for a snapshot.
//!
//! While the loop is held its clock stands still. So after the hold no timer is late, idle limits have not advanced,
//! and no metric includes the hold. Timers of the kernel, other threads and timeouts of peers are not held.

use std::any::Any;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;

use super::{EventLoop, Kind, Loop, Phase, token};
use crate::{Error, Result};

/// Decides, before each callback and before each wait for the kernel, whether the loop goes on. Set with
/// [`Loop::set_gate`].
///
/// For a gate that serves a loop of its own, `inner`, the first three methods are `inner.as_raw_fd()`,
/// `inner.next_wait()` and `inner.turn(max_wait)`. An error of that turn must open the gate ([`Decision::Open`]), or
/// the outer loop would spin.
///
/// ```
/// use std::cell::RefCell;
/// use std::os::fd::{AsRawFd, RawFd};
/// use std::rc::Rc;
/// use std::time::Duration;
/// use bucle::trace::{Decision, Gate, Next};
/// use bucle::{EventLoop, Loop};
///
/// /// Notes what comes next, and holds nothing. Its own loop has nothing to do.
/// struct Note(EventLoop, Rc<RefCell<Vec<&'static str>>>);
///
/// impl Gate for Note {
///     fn fd(&self) -> RawFd {
///         self.0.as_raw_fd()
///     }
///     fn max_wait(&mut self) -> Option<Duration> {
///         self.0.next_wait()
///     }
///     fn turn(&mut self, max_wait: Option<Duration>) {
///         self.0.turn(max_wait).ok();
///     }
///     fn decide(&mut self, _: &Loop, next: Option<&Next>) -> Decision {
///         self.1.borrow_mut().extend(next.map(|next| next.kind.as_str()));
///         Decision::Pass
///     }
/// }
///
/// let notes = Rc::new(RefCell::new(Vec::new()));
/// let gate = Note(EventLoop::new()?, notes.clone());
/// bucle::run(|lp| {
///     lp.set_gate(gate)?;
///     lp.set_immediate(|lp| lp.next_tick(|_| {}));
///     Ok(())
/// })?;
/// assert_eq!(*notes.borrow(), ["wait", "immediate", "tick"]);
/// # Ok::<(), bucle::Error>(())
/// ```
///
/// A gate must not panic. If it does, the panic unwinds through the loop, and the loop has no gate from then on.
pub trait Gate: Any {
    /// A descriptor that becomes readable when the gate needs to be turned. [`Loop::set_gate`] calls this once; the
    /// descriptor must stay open as long as the gate is set.
    fn fd(&self) -> RawFd;

    /// How long the outer loop may wait for the kernel before the gate has to be turned, even if its descriptor is not
    /// readable. `None`: no limit. Zero: the gate has something to do now.
    fn max_wait(&mut self) -> Option<Duration>;

    /// Turns the gate's own loop once. It may wait for `max_wait` at most. `None` is for an outer loop that is held:
    /// it may wait until something happens. A gate whose loop has nothing to wait for must open, or the held loop
    /// would spin.
    fn turn(&mut self, max_wait: Option<Duration>);

    /// Decides whether the loop goes on, with the loop lent to look at. Must not wait.
    ///
    /// `next` is the callback or wait that comes next. It is `None` after a [`turn`](Self::turn) in the middle of a
    /// wait: the gate can look at the loop and answer its clients there. If it decides [`Decision::Hold`], it is
    /// consulted about the rest of that wait, or, if events have arrived meanwhile, about the next callback.
    ///
    /// After a hold it is consulted about the same `next` again, until it lets it pass.
    fn decide(&mut self, lp: &Loop, next: Option<&Next>) -> Decision;
}

/// What a [`Gate`] has decided.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Decision {
    /// Go on. The gate is not consulted again until it has been turned in a wait. A loop whose gate is open runs at
    /// full speed.
    Open,
    /// Go on with this callback or wait, and consult the gate before the next.
    Pass,
    /// Hold the loop here: turn the gate, then consult it again about the same callback or wait.
    Hold,
}

/// A callback that would be called next, or a wait that would begin next.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct Next {
    /// The kind of callback, or [`Kind::Wait`].
    pub kind: Kind,
    /// The serial of the socket or server that it is about, or 0.
    pub subject: u32,
    /// Bytes, milliseconds or a port, as the [`Kind`] says.
    pub size: usize,
    /// The number of the record that caused it, to be looked up with [`Trace::get`](super::Trace::get). `None` for a
    /// wait, and while nothing is recorded.
    pub cause: Option<u64>,
    /// In which turn: 0 before the first one, then [`Metrics::loop_count`](super::Metrics::loop_count) as it is after
    /// that turn's wait.
    pub turn: u64,
    /// In which phase.
    pub phase: Phase,
    /// How long the loop would wait at most; `None`: until something happens. Only of a wait; `None` for a callback.
    pub wait: Option<Duration>,
}

/// How far a loop that was held may go before it is held again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Step {
    /// To the next callback or wait.
    Callback,
    /// To the first callback or wait of another phase. Phases without any are passed over.
    Phase,
    /// To the first callback or wait of another turn.
    Turn,
}

impl Step {
    /// Whether a step that began at `from` ends at `next`.
    pub fn ends(self, from: &Next, next: &Next) -> bool {
        match self {
            Step::Callback => true,
            Step::Phase => (from.turn, from.phase) != (next.turn, next.phase),
            Step::Turn => from.turn != next.turn,
        }
    }
}

/// A gate that is set.
pub(crate) struct GateSlot {
    /// Taken out while it is consulted.
    gate: Option<Box<dyn Gate>>,
    fd: RawFd,
    /// The last decision.
    decision: Decision,
}

impl Loop {
    /// Sets the loop's gate, in place of the one before. It is consulted first before the next callback or wait.
    ///
    /// # Errors
    /// When the system refuses to watch the gate's descriptor. Then the loop has no gate.
    pub fn set_gate(&mut self, gate: impl Gate) -> Result<()> {
        self.take_gate();
        let fd = gate.fd();
        self.registry
            .register(&mut SourceFd(&fd), token::GATE, mio::Interest::READABLE)
            .map_err(|error| Error::system("epoll_ctl", &error))?;
        let slot = GateSlot { gate: Some(Box::new(gate)), fd, decision: Decision::Pass };
        self.observe().gate = Some(slot);
        Ok(())
    }

    /// Takes the gate off and returns it. `None` if there was none.
    pub fn take_gate(&mut self) -> Option<Box<dyn Gate>> {
        let slot = self.observed.as_mut()?.gate.take()?;
        self.drop_observed_if_unused();
        // A gate that has panicked was dropped with its descriptor, whose number may be in use again.
        let gate = slot.gate?;
        // Fails only if the descriptor is closed already. Then the kernel has removed it from the poll.
        let _ = self.registry.deregister(&mut SourceFd(&slot.fd));
        Some(gate)
    }

    /// Whether the loop has a gate of this type.
    #[cfg(feature = "inspect")]
    pub(crate) fn has_gate<G: Gate>(&self) -> bool {
        let slot = self.observed.as_ref().and_then(|observed| observed.gate.as_ref());
        let gate = slot.and_then(|slot| slot.gate.as_deref());
        gate.is_some_and(|gate| (gate as &dyn Any).is::<G>())
    }

    /// Before a callback. Returns when the gate lets it pass.
    pub(super) fn pass_gate(&mut self, cause: u32, kind: Kind, subject: u32, size: usize) {
        if self.gate_decision().is_none_or(|decision| decision == Decision::Open) {
            return;
        }
        let Some(observed) = &self.observed else { return };
        let cause = observed.trace.as_ref().and_then(|trace| trace.number_of(cause));
        let next = Next { kind, subject, size, cause, turn: observed.turn, phase: observed.phase, wait: None };
        self.consult_gate(&next);
    }

    /// Before a wait, or in the middle of one. Returns when the gate lets it pass.
    fn pass_gate_to_wait(&mut self, max_wait: Option<Duration>) {
        if self.gate_decision().is_none_or(|decision| decision == Decision::Open) {
            return;
        }
        let wait = self.poll_wait(max_wait);
        let Some(observed) = &self.observed else { return };
        let (turn, phase) = (observed.turn, observed.phase);
        self.consult_gate(&Next { kind: Kind::Wait, subject: 0, size: 0, cause: None, turn, phase, wait });
    }

    /// Consults the gate until it lets `next` pass. Meanwhile the clock stands still.
    fn consult_gate(&mut self, next: &Next) {
        let start = self.clock.elapsed();
        self.with_gate(|gate, lp| {
            let mut decision = gate.decide(lp, Some(next));
            while decision == Decision::Hold {
                // Blocks until the gate's own loop has an event.
                gate.turn(None);
                // Also before each `decide`: a gate that looks at the loop sees no time pass.
                lp.clock.turn_back_to(start);
                decision = gate.decide(lp, Some(next));
            }
            decision
        });
        self.clock.turn_back_to(start);
    }

    /// Turns the gate once, in the middle of a wait, if it has something to do.
    fn serve_gate(&mut self, is_readable: bool) {
        let decision = self.gate_decision().unwrap_or(Decision::Open);
        self.with_gate(|gate, lp| {
            if !is_readable && gate.max_wait() != Some(Duration::ZERO) {
                return decision;
            }
            gate.turn(Some(Duration::ZERO));
            gate.decide(lp, None)
        });
    }

    /// How long the gate need not be turned: see [`Gate::max_wait`].
    fn gate_max_wait(&mut self) -> Option<Duration> {
        self.gate_slot()?.gate.as_mut()?.max_wait()
    }

    fn gate_decision(&self) -> Option<Decision> {
        Some(self.observed.as_ref()?.gate.as_ref()?.decision)
    }

    /// Takes the gate out, so that the loop can be lent to it, and puts it back with its decision.
    fn with_gate(&mut self, f: impl FnOnce(&mut dyn Gate, &mut Loop) -> Decision) {
        let Some(mut gate) = self.gate_slot().and_then(|slot| slot.gate.take()) else { return };
        let decision = f(&mut *gate, self);
        if let Some(slot) = self.gate_slot() {
            (slot.gate, slot.decision) = (Some(gate), decision);
        }
    }

    fn gate_slot(&mut self) -> Option<&mut GateSlot> {
        self.observed.as_mut()?.gate.as_mut()
    }
}

impl EventLoop {
    /// The wait of a loop that is observed: it is recorded, and a gate is consulted before it and served in it.
    /// Returns how many of the reported events belong to the gate and not to this loop.
    #[cold]
    #[inline(never)]
    pub(super) fn wait_observed(&mut self, max_wait: Option<Duration>) -> Result<usize> {
        self.lp.pass_gate_to_wait(max_wait);
        // Only now: the gate may have held the loop, and an observer may have queued work.
        let wait = self.lp.poll_wait(max_wait);
        self.lp.count_turn_time();
        let before = self.lp.now;
        let waiting = self.lp.begin(self.lp.cause(), Kind::Wait, 0, 0);
        self.lp.counters.waiting_since = (wait != Some(Duration::ZERO)).then_some(before);
        let gate_events = match self.lp.gate_decision() {
            Some(_) => self.wait_and_serve_gate(max_wait, wait),
            None => self.poll_once(wait).map(|()| 0),
        };
        self.lp.counters.waiting_since = None;
        let gate_events = gate_events?;
        self.lp.count_wait(wait, before);
        let reported = self.events.iter().count();
        self.lp.begin_events(reported - gate_events);
        waiting.set_size(&mut self.lp, reported - gate_events);
        self.lp.end(waiting);
        Ok(gate_events)
    }

    /// Waits for events of this loop, at most for `max_wait`. Meanwhile it turns the gate as often as the gate needs
    /// it.
    fn wait_and_serve_gate(&mut self, max_wait: Option<Duration>, mut wait: Option<Duration>) -> Result<usize> {
        // The caller's limit is in real time, but the clock of the loop may be driven by hand.
        let mut waited = Duration::ZERO;
        loop {
            let start = Instant::now();
            let gate_wait = self.lp.gate_max_wait();
            self.poll_once(super::prepare::shorter(wait, gate_wait))?;
            let gate_events = self.events.iter().filter(|event| event.token() == token::GATE).count();
            let has_own_events = self.events.iter().count() > gate_events;
            // Also before own events are served, so that they cannot keep the gate from its turn.
            self.lp.serve_gate(gate_events > 0);
            waited += start.elapsed();
            if has_own_events || wait == Some(Duration::ZERO) {
                return Ok(gate_events);
            }
            let rest = max_wait.map(|max_wait| max_wait.saturating_sub(waited));
            // In its turn the gate may have decided to hold: then the loop is held in the middle of its wait.
            if self.lp.gate_decision() == Some(Decision::Hold) {
                self.lp.pass_gate_to_wait(rest);
            }
            wait = self.lp.poll_wait(rest);
            if wait == Some(Duration::ZERO) {
                return Ok(gate_events);
            }
        }
    }
}
