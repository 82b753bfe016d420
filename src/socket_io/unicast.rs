//! An event for one socket, with flags: `socket.compress(false).volatile().emit(…)`.

use std::time::Duration;

use super::arguments::IntoArguments;
use super::send::Flags;
use super::{AckResult, Socket, acks, send};
use crate::Loop;

/// An event for one socket, with flags that are set step by step. See [`Socket::compress`].
///
/// Node: [`socket.compress`](https://socket.io/docs/v4/server-api/#socketcompressvalue) and `socket.volatile`.
#[derive(Clone, Copy, Debug)]
#[must_use = "nothing is sent without `emit`"]
pub struct Unicast {
    pub(super) socket: Socket,
    pub(super) flags: Flags,
}

impl Unicast {
    /// Whether the event may be compressed if the client has agreed on `permessage-deflate`. Default: `true`.
    pub fn compress(mut self, compress: bool) -> Unicast {
        self.flags.compress = compress;
        self
    }

    /// The event is dropped if the client is not ready to take it.
    pub fn volatile(mut self) -> Unicast {
        self.flags.is_volatile = true;
        self
    }

    /// Sends the event, as [`Socket::emit`].
    pub fn emit(self, lp: &mut Loop, name: &str, arguments: impl IntoArguments) -> bool {
        send::event(lp, self.socket, None, name, &arguments, self.flags)
    }

    /// Sends an event that the client acknowledges, as [`Socket::emit_with_ack`]. One that is volatile and was dropped
    /// is not acknowledged: `done` gets an error when `timeout` is over.
    #[doc(alias = "emitWithAck")]
    pub fn emit_with_ack(
        self,
        lp: &mut Loop,
        name: &str,
        arguments: impl IntoArguments,
        timeout: Duration,
        done: impl FnOnce(&mut Loop, Socket, AckResult<'_>) + 'static,
    ) -> bool {
        acks::emit(lp, self.socket, name, &arguments, self.flags, timeout, Box::new(done))
    }
}
