//! Private state of a loop and its sockets that only tests read.

use super::Peer;
use crate::event_loop::Loop;
use crate::net::Socket;
use crate::net::stream::Stream;

/// Numbers of the things that a loop still holds. All are 0 when nothing is left.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Holdings {
    pub sockets: usize,
    pub servers: usize,
    pub handlers: usize,
    pub timers: usize,
    pub unsent: usize,
    pub ticks: bool,
    pub pending: usize,
    pub closing: usize,
    pub active: usize,
    pub outboxes: usize,
    /// Blocks of outboxes in use.
    pub blocks: usize,
    /// The total of the waiting bytes, as `net/limits/waiting.rs` counts them.
    pub waiting: usize,
    /// Entries of protocols in the tables of `net/layer.rs`.
    pub entries: usize,
}

impl Loop {
    pub(crate) fn holdings(&self) -> Holdings {
        Holdings {
            sockets: self.net.sockets.len(),
            servers: self.net.servers.len(),
            handlers: self.net.handlers.len(),
            timers: self.timer_count(),
            unsent: self.net.unsent.len(),
            ticks: !self.ticks.is_empty(),
            pending: self.net.pending.len(),
            closing: self.net.closing.len(),
            active: self.active,
            outboxes: self.net.outboxes.lent(),
            blocks: self.net.outboxes.store.blocks.used(),
            waiting: self.net.outboxes.waiting.total(),
            entries: self.net.tables.entries(),
        }
    }

    /// All sockets that have not been closed.
    pub(crate) fn open_sockets(&self) -> Vec<Socket> {
        self.net.sockets.iter().map(|(key, _)| Socket(key)).collect()
    }
}

/// The state of a socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub is_opened: bool,
    pub is_connecting: bool,
    pub is_destroyed: bool,
    /// Whether data and an end may still come: also after a destroy, as in Node, until `on_error` or the next tick.
    pub may_deliver: bool,
    pub is_errored: bool,
    pub is_ending: bool,
    pub is_paused: bool,
    pub is_corked: bool,
    pub owes_drain: bool,
    pub high_water_mark: usize,
    pub bytes_written: u64,
    pub peer: Option<Peer>,
}

impl Socket {
    /// The state of the socket. Unlike [`Socket::info`] this changes nothing, not even a cached address.
    pub(crate) fn look(self, lp: &Loop) -> Option<Look> {
        use crate::net::state::flag::*;
        let state = lp.net.socket(self)?;
        Some(Look {
            is_opened: state.is(OPENED),
            is_connecting: state.is(CONNECTING),
            is_destroyed: state.is(DESTROYED),
            may_deliver: state.may_deliver(),
            is_errored: state.is(ERRORED),
            is_ending: state.is(ENDED),
            is_paused: state.is(PAUSED),
            is_corked: state.corks > 0,
            owes_drain: state.is(NEED_DRAIN),
            high_water_mark: state.high_water_mark as usize,
            bytes_written: state.bytes_written,
            peer: match &state.stream {
                Stream::Simulated(stream) => Some(stream.peer()),
                _ => None,
            },
        })
    }
}
