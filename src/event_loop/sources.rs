//! Other things to wait for than sockets: signals, standard input.
//!
//! `process` registers them here. A source is told when it is ready, edge-triggered (read until `WouldBlock`). It keeps
//! the loop alive if it says so.
//!
//! What a source runs when it is ready is this crate's code, which may have several things to tell the program: it calls
//! the program through [`Loop::call`] and has a boundary after each call, as the loop does itself.

use std::io;

use slab::Slab;

use super::Loop;
use super::token::{Key, Kind};

/// Names a source; from [`Loop::add_source`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SourceId(Key);

#[derive(Default)]
pub(crate) struct Sources {
    slots: Slab<Source>,
    next_serial: u32,
}

struct Source {
    serial: u32,
    is_referenced: bool,
    /// Owns the registered thing, whose descriptor is closed when this is dropped. Out while it is being called.
    on_ready: Option<OnReady>,
}

type OnReady = Box<dyn FnMut(&mut Loop, SourceId)>;

impl Loop {
    /// Registers `source` and calls `on_ready` whenever the kernel reports it.
    pub(crate) fn add_source<S: mio::event::Source + 'static>(
        &mut self,
        mut source: S,
        interest: mio::Interest,
        mut on_ready: impl FnMut(&mut Loop, SourceId, &mut S) + 'static,
    ) -> io::Result<SourceId> {
        let serial = self.sources.next_serial;
        let entry = self.sources.slots.vacant_entry();
        let key = Key::new(entry.key(), serial);
        self.registry.register(&mut source, key.token(Kind::Source), interest)?;
        self.sources.next_serial = serial.wrapping_add(1);
        let on_ready: OnReady = Box::new(move |lp, id| on_ready(lp, id, &mut source));
        entry.insert(Source { serial, is_referenced: true, on_ready: Some(on_ready) });
        self.active += 1;
        Ok(SourceId(key))
    }

    /// Forgets a source and closes it. Fine from inside its own call.
    pub(crate) fn remove_source(&mut self, id: SourceId) {
        if self.source(id).is_some() {
            let source = self.sources.slots.remove(id.0.slot());
            self.active -= usize::from(source.is_referenced);
        }
    }

    pub(crate) fn has_source(&mut self, id: SourceId) -> bool {
        self.source(id).is_some()
    }

    /// Whether a source keeps the loop alive.
    pub(crate) fn reference_source(&mut self, id: SourceId, is_referenced: bool) {
        let Some(source) = self.source(id) else { return };
        if source.is_referenced != is_referenced {
            source.is_referenced = is_referenced;
            self.active = if is_referenced { self.active + 1 } else { self.active - 1 };
        }
    }

    pub(super) fn serve_source(&mut self, key: Key) {
        let id = SourceId(key);
        let Some(mut on_ready) = self.source(id).and_then(|source| source.on_ready.take()) else { return };
        on_ready(self, id);
        if let Some(source) = self.source(id) {
            source.on_ready = Some(on_ready);
        }
    }

    fn source(&mut self, id: SourceId) -> Option<&mut Source> {
        self.sources.slots.get_mut(id.0.slot()).filter(|source| source.serial == id.0.serial)
    }
}
