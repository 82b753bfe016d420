//! State that all connections of an endpoint share: topics, the settings for sending, the compression. The handler does
//! not own it, because a connection needs it while the handler runs.
//!
//! The loop has one [`Registry`]. It has an entry for each endpoint, found by the slot of the endpoint's handler.

use std::rc::{Rc, Weak};

use super::deflate::{Deflater, Inflater};
use super::topics::Topics;
use super::{Options, WebSocket};
use crate::Loop;

/// The endpoints of a loop, and the streams and buffers that they share.
#[derive(Default)]
pub(super) struct Registry {
    endpoints: Vec<EndpointState>,
    /// One stream for each level and window that is in use. All messages without context takeover share them.
    deflaters: Vec<(u32, u8, Deflater)>,
    inflater: Option<Inflater>,
    /// Scratch: a message that is compressed before it is sent.
    pub outgoing: Vec<u8>,
    /// Scratch: a frame that is masked before it is sent.
    pub masked: Vec<u8>,
    /// Scratch: the frame of a broadcast.
    pub broadcast: Vec<u8>,
    /// Scratch: an inflated message.
    pub incoming: Vec<u8>,
    pub masks: super::masks::Masks,
}

/// The state that the connections of an endpoint share.
pub(super) struct EndpointState {
    slot: u32,
    /// Alive as long as the endpoint's handler.
    alive: Weak<()>,
    pub options: Rc<Options>,
    pub topics: Topics<WebSocket>,
}

impl Registry {
    /// Adds an endpoint whose handler is in this slot. Entries of endpoints whose handlers were dropped are removed.
    pub fn add(&mut self, slot: u32, options: Rc<Options>, alive: &Rc<()>) {
        self.endpoints.retain(|endpoint| endpoint.slot != slot && endpoint.alive.strong_count() > 0);
        self.endpoints.push(EndpointState { slot, alive: Rc::downgrade(alive), options, topics: Topics::default() });
    }

    pub fn endpoint(&self, slot: u32) -> Option<&EndpointState> {
        // A program has few endpoints.
        self.endpoints.iter().find(|endpoint| endpoint.slot == slot)
    }

    pub fn endpoint_mut(&mut self, slot: u32) -> Option<&mut EndpointState> {
        self.endpoints.iter_mut().find(|endpoint| endpoint.slot == slot)
    }

    /// For a connection that has another handler already.
    pub fn leave_all_topics(&mut self, ws: WebSocket) {
        self.endpoints.iter_mut().for_each(|endpoint| endpoint.topics.leave_all(ws));
    }

    /// The shared stream for messages without context takeover.
    pub fn deflater(&mut self, level: u32, window_bits: u8) -> &mut Deflater {
        let deflaters = &mut self.deflaters;
        let at = deflaters.iter().position(|(l, w, _)| (*l, *w) == (level, window_bits)).unwrap_or_else(|| {
            deflaters.push((level, window_bits, Deflater::new(level, window_bits)));
            deflaters.len() - 1
        });
        &mut deflaters[at].2
    }

    /// The shared stream for messages without context takeover. Its window fits every sender.
    pub fn inflater(&mut self) -> &mut Inflater {
        self.inflater.get_or_insert_with(Inflater::new)
    }
}

impl Loop {
    /// The state of the endpoint that a connection belongs to.
    pub(super) fn websocket_endpoint(&mut self, ws: WebSocket) -> Option<&mut EndpointState> {
        let slot = ws.0.handler_slot(self)?;
        self.layer_mut::<Registry>().endpoint_mut(slot)
    }
}
