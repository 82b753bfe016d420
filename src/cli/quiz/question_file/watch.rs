//! A trial run of a program is watched here: its sockets and errors, which the printed lines do not show. A trial can
//! also run the program slowly.
//!
//! A program runs by a clock on which only `work` takes time. On a real computer everything takes some time, and a
//! timer may be due earlier than something else or later. A slow run takes this time at the places where it can change
//! an order: where a timer is armed, after a callback, and before a turn.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bucle::net::Socket;
use bucle::{Error, Loop};

use super::statement::{Event, Side};
use crate::cli::quiz::stage::{self, ms};

/// The longest time between two timers of one callback. Node arms a timer in microseconds, but it counts in
/// milliseconds, and a new one may begin in between.
const ARMING: Duration = ms(1);

/// The longest time of a callback, and of a turn.
const STEP: Duration = ms(3);

/// The longest time of the main body. In Node it is slow, because the code of its calls is loaded and compiled then:
/// the first `console.log` alone can take 5 ms.
const MAIN: Duration = ms(10);

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
    /// The side that prints nothing gets its data after all other events of the poll: another order of the sockets.
    is_quiet_side_late: bool,
    sockets: RefCell<Vec<Opened>>,
    /// The line of the first side that got bytes and has no `on data`.
    unread: Cell<Option<usize>>,
    /// The line of the first side that got a reset in the same turn as bytes.
    reset: Cell<Option<usize>>,
    unhandled: RefCell<Option<Unhandled>>,
}

/// A socket of the run.
struct Opened {
    socket: Socket,
    /// The line of its side.
    line: usize,
    has_data: bool,
    /// How many bytes it had got before this turn.
    bytes_before: u64,
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

    /// Watches a run in which the side that prints nothing gets its data last.
    pub(super) fn of_late_side() -> Rc<Watch> {
        Rc::new(Watch { is_quiet_side_late: true, ..Watch::default() })
    }

    /// Whether the block for this event runs after the poll, and not in it. Connections are not late: in Node, too, the
    /// server accepts before the client is connected.
    pub(super) fn is_late(&self, side: &Side, event: Event) -> bool {
        self.is_quiet_side_late && !side.prints && event == Event::Data
    }

    /// Begins to watch a run.
    pub(super) fn begin(self: &Rc<Self>, lp: &mut Loop) {
        let watch = Rc::clone(self);
        lp.on_prepare(move |lp| {
            watch.look_at_bytes(lp);
            watch.take_time(STEP);
            None
        });
    }

    /// A timer is armed next.
    pub(super) fn before_arming(&self) {
        self.take_time(ARMING);
    }

    /// The main body has ended.
    pub(super) fn after_main(&self) {
        self.take_time(MAIN);
    }

    /// A callback has ended.
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
        let (line, has_data) = (side.line, side.has(Event::Data));
        self.sockets.borrow_mut().push(Opened { socket, line, has_data, bytes_before: 0 });
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

    fn look_at_bytes(&self, lp: &mut Loop) {
        for opened in &mut *self.sockets.borrow_mut() {
            opened.bytes_before = bytes_of(lp, opened.socket);
            if opened.bytes_before > 0 && !opened.has_data && self.unread.get().is_none() {
                self.unread.set(Some(opened.line));
            }
        }
    }

    /// A socket got an error.
    pub(super) fn failed(&self, lp: &mut Loop, socket: Socket, error: &Error) {
        let sockets = self.sockets.borrow();
        let Some(opened) = sockets.iter().find(|opened| opened.socket == socket) else { return };
        let is_behind_bytes = error.code() == "ECONNRESET" && bytes_of(lp, socket) > opened.bytes_before;
        if is_behind_bytes && self.reset.get().is_none() {
            self.reset.set(Some(opened.line));
        }
    }

    /// The line of the first side that got a reset in the same turn as bytes. Node reports an end then, because libuv
    /// takes a hang-up behind a short read for it. Here it is an error.
    pub(super) fn reset_behind_bytes(&self) -> Option<usize> {
        self.reset.get()
    }
}

fn bytes_of(lp: &mut Loop, socket: Socket) -> u64 {
    socket.info(lp).map_or(0, |info| info.bytes_read)
}
