//! A view of all connections, for a page or a tool that shows many of them.

use super::Socket;
use super::socket::ReadyState;
use super::state::SocketState;
use super::state::flag::{CONNECTING, DESTROYED, ENDED, NEED_DRAIN, PAUSED};
use crate::Loop;

/// The state of one connection in numbers; from [`sockets`].
///
/// Unlike [`SocketInfo`](super::SocketInfo) it has no addresses, so making it calls the kernel for nothing. See
/// [`Socket::remote_address`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SocketSummary {
    /// Which directions are open.
    pub ready_state: ReadyState,
    /// Whether [`Socket::pause`] was called, and no `resume` since.
    pub is_paused: bool,
    /// A write has returned `false`, and `on_drain` has not followed yet.
    pub needs_drain: bool,
    /// Bytes received, delivered or not.
    pub bytes_read: u64,
    /// Bytes that the program has written, sent or not.
    pub bytes_written: u64,
    /// Written bytes that the kernel has refused so far.
    pub queued: usize,
    /// Written bytes that the end of the phase sends.
    pub gathered: usize,
    /// Received bytes that have not been delivered.
    pub inbox: usize,
    /// With this many queued bytes `write` returns `false`.
    pub high_water_mark: usize,
}

/// All sockets of the loop, in no particular order, including connecting and closing ones.
///
/// ```
/// bucle::run(|lp| {
///     assert_eq!(bucle::net::sockets(lp).count(), 0);
///     Ok(())
/// })?;
/// # Ok::<(), bucle::Error>(())
/// ```
pub fn sockets(lp: &Loop) -> impl Iterator<Item = (Socket, SocketSummary)> {
    lp.net.sockets.iter().map(|(key, state)| (Socket(key), summary(lp, state)))
}

fn summary(lp: &Loop, state: &SocketState) -> SocketSummary {
    let (unsent, refused) = (lp.net.outboxes.unsent(state), lp.net.outboxes.writable_length(state));
    let (queued, gathered) = if refused > 0 { (unsent, 0) } else { (0, unsent) };
    SocketSummary {
        ready_state: state.ready_state(),
        is_paused: state.is(PAUSED),
        needs_drain: state.among(NEED_DRAIN | DESTROYED | ENDED) == NEED_DRAIN,
        bytes_read: state.bytes_read,
        bytes_written: state.bytes_written,
        queued,
        gathered,
        inbox: state.more.as_ref().map_or(0, |more| more.inbox.len()),
        high_water_mark: state.high_water_mark as usize,
    }
}

impl SocketState {
    /// Which directions are open.
    pub(super) fn ready_state(&self) -> ReadyState {
        let connecting = self.is(CONNECTING) && !self.is(DESTROYED);
        match (connecting, self.is_readable(), self.is_writable()) {
            (true, _, _) => ReadyState::Opening,
            (false, true, true) => ReadyState::Open,
            (false, true, false) => ReadyState::ReadOnly,
            (false, false, true) => ReadyState::WriteOnly,
            (false, false, false) => ReadyState::Closed,
        }
    }
}
