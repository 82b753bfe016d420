//! What a trial sees of a program that its lines do not show, and how slow it makes the program.
//!
//! A program runs by a clock on which only `work` takes time. On a real computer everything takes some time, and a
//! timer may be due earlier than something else or later. A slow run takes this time at the places where it can change
//! an order: where a timer is armed, after a callback, and before a turn.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bucle::Loop;
use bucle::net::Socket;

use super::statement::{Event, Side};
use crate::cli::quiz::stage::{self, ms};

/// The longest time between two timers of one callback. Node arms a timer in microseconds, but it counts in
/// milliseconds, and a new one may begin in between.
const ARMING: Duration = ms(1);

/// The longest time of a callback, and of a turn. Node's first ones are slow, because their code is not compiled yet.
const STEP: Duration = ms(3);

/// How slow a run is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Slowness {
    /// Only `work` takes time.
    #[default]
    None,
    /// Each step takes as long as it can.
    All,
    /// Some steps take as long as they can, and the others no time: the bits of a sequence that this number begins.
    Some(u64),
}

/// Watches one run of a program.
#[derive(Default)]
pub(super) struct Watch {
    slowness: Cell<Slowness>,
    /// The side that prints nothing acts after all other events of its poll: another order of the sockets.
    is_quiet_side_late: bool,
    /// The sockets without an `on data`, and the lines of their sides.
    deaf: RefCell<Vec<(usize, Socket)>>,
    /// The line of the first side that got bytes and has no `on data`.
    unread: Cell<Option<usize>>,
    unhandled: RefCell<Option<Unhandled>>,
}

/// An error without an `on error`.
#[derive(Clone)]
pub(super) struct Unhandled {
    /// The line of its side.
    pub(super) line: usize,
    pub(super) code: String,
    /// The side prints nothing.
    pub(super) is_quiet: bool,
}

impl Watch {
    /// Watches a run that is as slow as this.
    pub(super) fn new(slowness: Slowness) -> Rc<Watch> {
        Rc::new(Watch { slowness: Cell::new(slowness), ..Watch::default() })
    }

    /// Watches a run in which the side that prints nothing is served last.
    pub(super) fn of_late_side() -> Rc<Watch> {
        Rc::new(Watch { is_quiet_side_late: true, ..Watch::default() })
    }

    /// Whether the block for this event runs after the poll, and not in it.
    pub(super) fn is_late(&self, side: &Side, event: Event) -> bool {
        self.is_quiet_side_late && !side.prints && matches!(event, Event::Connection | Event::Connect | Event::Data)
    }

    /// Begins to watch a run.
    pub(super) fn begin(self: &Rc<Self>, lp: &mut Loop) {
        let watch = Rc::clone(self);
        lp.on_prepare(move |lp| {
            watch.look_for_unread(lp);
            watch.take_time(STEP);
            None
        });
    }

    /// A timer is armed next.
    pub(super) fn before_arming(&self) {
        self.take_time(ARMING);
    }

    /// A callback has ended, not a tick or a microtask: they take little time.
    pub(super) fn after_callback(&self) {
        self.take_time(STEP);
    }

    fn take_time(&self, longest: Duration) {
        let is_slow = match self.slowness.get() {
            Slowness::None => false,
            Slowness::All => true,
            Slowness::Some(state) => {
                // Knuth's MMIX generator. Its high bits are the random ones.
                let next = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                self.slowness.set(Slowness::Some(next));
                next >> 63 == 1
            }
        };
        if is_slow {
            stage::work_for(longest);
        }
    }

    /// A side has a new socket.
    pub(super) fn opened(&self, side: &Side, socket: Socket) {
        if !side.has(Event::Data) {
            self.deaf.borrow_mut().push((side.line, socket));
        }
    }

    /// A side without an `on error` got an error. The caller ends the program.
    pub(super) fn unhandled(&self, unhandled: Unhandled) {
        self.unhandled.borrow_mut().get_or_insert(unhandled);
    }

    /// The first error without an `on error`.
    pub(super) fn first_unhandled(&self) -> Option<Unhandled> {
        self.unhandled.borrow().clone()
    }

    /// The line of the first side that got bytes and has no `on data`. As in Node, nothing reads them, and `end` does
    /// not come.
    pub(super) fn unread(&self) -> Option<usize> {
        self.unread.get()
    }

    fn look_for_unread(&self, lp: &mut Loop) {
        if self.unread.get().is_some() {
            return;
        }
        let has_bytes = |socket: Socket, lp: &mut Loop| socket.info(lp).is_some_and(|info| info.bytes_read > 0);
        let unread = self.deaf.borrow().iter().find(|(_, socket)| has_bytes(*socket, lp)).map(|(line, _)| *line);
        self.unread.set(unread);
    }
}
