//! What a protocol above needs of a socket: a place for its own state, and a way to its handler.
//!
//! A protocol remembers things of a connection (which options it has agreed to), and its handle has to reach them from any
//! callback, although the handler is out while it runs. So they stand with the socket, under a type that only the protocol
//! knows, and are gone with it:
//!
//! ```text
//!   telnet::Client ──▶ Socket ──▶ its state ──▶ More ──▶ layer: Box<dyn Any> = telnet's own
//! ```
//!
//! Nobody has to clean up, and a handler that is replaced leaves nothing behind in a table. A socket without such state,
//! which is nearly every one, pays nothing for it.

use std::any::Any;

use super::state::flag::*;
use super::{Handler, Socket};
use crate::event_loop::Loop;

impl Socket {
    /// What the layer above has left here, if that is a `T`.
    pub(crate) fn layer<T: Any>(self, lp: &Loop) -> Option<&T> {
        lp.net.socket(self)?.more.as_ref()?.layer.as_ref()?.downcast_ref()
    }

    /// As [`layer`](Self::layer), to change it.
    pub(crate) fn layer_mut<T: Any>(self, lp: &mut Loop) -> Option<&mut T> {
        lp.net.socket_mut(self)?.more.as_mut()?.layer.as_mut()?.downcast_mut()
    }

    /// Leaves something here, in the place of what was, for as long as the socket is there.
    pub(crate) fn set_layer<T: Any>(self, lp: &mut Loop, layer: T) {
        if let Some(state) = lp.net.socket_mut(self) {
            state.more().layer = Some(Box::new(layer));
        }
    }

    /// Takes away what the layer above has left, if that is a `T`.
    pub(crate) fn take_layer<T: Any>(self, lp: &mut Loop) -> Option<Box<T>> {
        let layer = &mut lp.net.socket_mut(self)?.more.as_mut()?.layer;
        layer.take_if(|layer| layer.is::<T>())?.downcast().ok()
    }

    /// Whether it is connected, and not destroyed: `on_connection` or `on_connect` is over.
    pub(crate) fn is_connected(self, lp: &Loop) -> bool {
        lp.net.socket(self).is_some_and(|state| state.flags & (OPENED | CONNECTING | DESTROYED) == OPENED)
    }

    /// Whether data is delivered as it comes: asked for, and not paused.
    pub(crate) fn is_flowing(self, lp: &Loop) -> bool {
        lp.net.socket(self).is_some_and(|state| state.is(FLOWING))
    }

    /// Lends the socket's handler to `f` as soon as the current callback returns, if it is an `H` by then.
    pub(crate) fn with_handler_next<H: Handler>(self, lp: &mut Loop, f: impl FnOnce(&mut H, &mut Loop) + 'static) {
        lp.first_tick(move |lp| {
            let Some(state) = lp.net.socket(self) else { return };
            let slot = state.handler;
            let panics = lp.caught_panics();
            lp.with_handler_as(slot, f);
            if lp.caught_panics() > panics {
                lp.callback_panicked(self);
            }
        });
    }
}
