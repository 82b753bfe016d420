//! What a protocol above needs of a socket: a place for its own state.
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

use super::Socket;
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
}
