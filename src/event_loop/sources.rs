//! Event sources that are not sockets: signals and standard input.
//!
//! The module `process` registers them here. The loop calls a source when the kernel reports it, edge-triggered: the
//! source must read until `WouldBlock`. A source keeps the loop alive while it is referenced and not paused.
//!
//! ```text
//!   descriptor ───── poll ─▶ serve_source ─┬─▶ on_ready ── for each event ──▶ Loop::call, boundary
//!   helper thread ── post ─▶ wake_source ──┘
//! ```
//!
//! `on_ready` is code of this crate and may report several events to the program. It calls the program through
//! [`Loop::call`], with a boundary after each call, as the loop does.

use std::io;

use super::Loop;
use super::slots::{HasSerial, Slots};
use super::token::{Key, TokenKind};

/// Names a source; from [`Loop::add_source`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SourceId(Key);

#[derive(Default)]
pub(crate) struct Sources {
    slots: Slots<Source>,
    next_serial: u32,
}

struct Source {
    serial: u32,
    is_referenced: bool,
    /// A paused source is not called and does not keep the loop alive.
    is_paused: bool,
    /// Owns the descriptor, which is closed when this is dropped. `None` while it is being called.
    on_ready: Option<OnReady>,
}

type OnReady = Box<dyn FnMut(&mut Loop, SourceId)>;

impl HasSerial for Source {
    fn serial(&self) -> u32 {
        self.serial
    }
}

impl Source {
    fn keeps_alive(&self) -> bool {
        self.is_referenced && !self.is_paused
    }
}

impl Loop {
    /// Registers `source`. Calls `on_ready` whenever the kernel reports it.
    pub(crate) fn add_source<S: mio::event::Source + 'static>(
        &mut self,
        mut source: S,
        interest: mio::Interest,
        mut on_ready: impl FnMut(&mut Loop, SourceId, &mut S) + 'static,
    ) -> io::Result<SourceId> {
        let token = self.sources.next_key().token(TokenKind::Source);
        self.registry.register(&mut source, token, interest)?;
        Ok(self.insert_source(Box::new(move |lp, id| on_ready(lp, id, &mut source))))
    }

    /// Adds a source without a descriptor. A helper thread posts [`wake_source`](Self::wake_source) when there is an
    /// event. The first call of `on_ready`, in the next poll phase, starts the helper.
    pub(crate) fn add_woken_source(&mut self, on_ready: impl FnMut(&mut Loop, SourceId) + 'static) -> SourceId {
        let id = self.insert_source(Box::new(on_ready));
        self.remote.post_internal(move |lp| lp.wake_source(id));
        id
    }

    /// Removes a source and closes its descriptor. A source may remove itself while it is called.
    pub(crate) fn remove_source(&mut self, id: SourceId) {
        if let Some(source) = self.sources.slots.remove(id.0) {
            self.active -= usize::from(source.keeps_alive());
        }
    }

    pub(crate) fn has_source(&mut self, id: SourceId) -> bool {
        self.source(id).is_some()
    }

    /// Whether a source exists and is not paused.
    pub(crate) fn is_reading_source(&mut self, id: SourceId) -> bool {
        self.source(id).is_some_and(|source| !source.is_paused)
    }

    /// Sets whether a source keeps the loop alive.
    pub(crate) fn reference_source(&mut self, id: SourceId, is_referenced: bool) {
        self.change_source(id, |source| source.is_referenced = is_referenced);
    }

    /// The source is not called until it is resumed.
    pub(crate) fn pause_source(&mut self, id: SourceId) {
        self.change_source(id, |source| source.is_paused = true);
    }

    /// The source is called again, for the first time in the next poll phase: it may have missed an event.
    pub(crate) fn resume_source(&mut self, id: SourceId) {
        if self.source(id).is_some_and(|source| source.is_paused) {
            self.change_source(id, |source| source.is_paused = false);
            self.remote.post_internal(move |lp| lp.wake_source(id));
        }
    }

    /// Calls a source as if the kernel had reported it.
    pub(crate) fn wake_source(&mut self, id: SourceId) {
        self.serve_source(id.0);
    }

    pub(super) fn serve_source(&mut self, key: Key) {
        let id = SourceId(key);
        if !self.is_reading_source(id) {
            return;
        }
        // Taken out of the loop, which it gets as an argument.
        let Some(mut on_ready) = self.source(id).and_then(|source| source.on_ready.take()) else { return };
        // Runs user code. The source may remove itself, and its slot may have another occupant then: look it up again.
        on_ready(self, id);
        if let Some(source) = self.source(id) {
            source.on_ready = Some(on_ready);
        }
    }

    fn insert_source(&mut self, on_ready: OnReady) -> SourceId {
        let key = self.sources.next_key();
        self.sources.next_serial = key.serial().wrapping_add(1);
        let source = Source { serial: key.serial(), is_referenced: true, is_paused: false, on_ready: Some(on_ready) };
        self.active += 1;
        SourceId(self.sources.slots.insert(source))
    }

    /// Changes a source, and counts it in `active` if it keeps the loop alive from now on, or not.
    fn change_source(&mut self, id: SourceId, change: impl FnOnce(&mut Source)) {
        let Some(source) = self.source(id) else { return };
        let before = source.keeps_alive();
        change(source);
        let after = source.keeps_alive();
        self.active = self.active + usize::from(after) - usize::from(before);
    }

    fn source(&mut self, id: SourceId) -> Option<&mut Source> {
        self.sources.slots.get_mut(id.0)
    }
}

impl Sources {
    /// The key that the next source will have. It is in the token before the source is inserted.
    fn next_key(&self) -> Key {
        self.slots.next_key(self.next_serial)
    }
}
