//! What a trial sees of a program that its lines do not show.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bucle::net::Socket;
use bucle::{Error, Loop};

use super::statement::{Event, Side};

/// Watches one run of a program.
#[derive(Default)]
pub(super) struct Watch {
    /// The sockets without an `on data`, and the lines of their sides.
    deaf: RefCell<Vec<(usize, Socket)>>,
    /// The line of the first side that got bytes and has no `on data`.
    unread: Cell<Option<usize>>,
    /// The first error without an `on error`: the line of its side, and its code.
    unhandled: RefCell<Option<(usize, String)>>,
}

impl Watch {
    /// Begins to watch a run.
    pub(super) fn begin(self: &Rc<Self>, lp: &mut Loop) {
        let watch = Rc::clone(self);
        lp.on_prepare(move |lp| {
            watch.look_for_unread(lp);
            None
        });
    }

    /// A side has a new socket.
    pub(super) fn opened(&self, side: &Side, socket: Socket) {
        if !side.has(Event::Data) {
            self.deaf.borrow_mut().push((side.line, socket));
        }
    }

    /// A side without an `on error` got an error. The caller ends the program.
    pub(super) fn unhandled(&self, line: usize, error: &Error) {
        self.unhandled.borrow_mut().get_or_insert_with(|| (line, error.code().to_owned()));
    }

    /// The first error without an `on error`: the line of its side, and its code.
    pub(super) fn first_unhandled(&self) -> Option<(usize, String)> {
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
