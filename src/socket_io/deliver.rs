//! An event for the sockets of this node: it is encoded once, and sent to each.

use std::mem;

use super::adapter::Target;
use super::arguments::IntoArguments;
use super::encode::{self, Encoded};
use super::registry::{Certainty, Registry, select};
use super::send::Flags;
use super::{Namespace, Socket, listeners, recover, send};
use crate::Loop;

/// The result of a broadcast on this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sent {
    /// How many sockets of this node the event was sent to, or queued for.
    pub receivers: usize,
}

/// Sends an event to the sockets of this node.
pub(super) fn deliver(
    lp: &mut Loop,
    namespace: Namespace,
    target: &Target,
    name: &str,
    arguments: &impl IntoArguments,
    flags: Flags,
    // That of an adapter that keeps the event.
    offset: Option<&str>,
) -> Sent {
    let registry = lp.layer_mut::<Registry>();
    let Some(nsp) = registry.namespace(namespace).map(|state| state.name.clone()) else { return Sent::default() };
    let kept = if flags.is_volatile { None } else { recover::next_offset(lp, namespace) };
    let Some(mut encoded) = encode::encode(lp, &nsp, None, name, arguments, offset.or(kept.as_deref())) else {
        return Sent::default();
    };
    if offset.is_none() && kept.is_none() {
        encode::guard(lp, namespace, &mut encoded);
    }
    let mut sockets = mem::take(&mut lp.layer_mut::<Registry>().scratch.sockets);
    sockets.clear();
    select(lp, namespace, target, &mut sockets);
    if kept.is_some() {
        recover::store(lp, namespace, &encoded, &target.rooms, &target.except, &sockets);
    }
    if offset.is_some() {
        // Events without an offset whose places are known are before this one.
        let registry = lp.layer_mut::<Registry>();
        for socket in &sockets {
            if let Some(state) = registry.socket_mut(*socket)
                && state.certainty == Certainty::UntilOffset
            {
                state.certainty = Certainty::Certain;
            }
        }
    }
    let receivers = deliver_encoded(lp, &sockets, &encoded, flags);
    listeners::notify_outgoing(lp, &sockets, name, &encoded);
    sockets.clear();
    lp.layer_mut::<Registry>().scratch.sockets = sockets;
    encode::give_back(lp, encoded);
    Sent { receivers }
}

/// Sends a packet that is encoded to sockets. Returns to how many.
pub(super) fn deliver_encoded(lp: &mut Loop, sockets: &[Socket], encoded: &Encoded, flags: Flags) -> usize {
    let registry = lp.layer_mut::<Registry>();
    let mut sessions = mem::take(&mut registry.scratch.sessions);
    sessions.clear();
    sessions.extend(sockets.iter().filter_map(|socket| registry.socket(*socket)).map(|state| state.session));
    if flags.is_volatile {
        sessions.retain(|session| session.is_writable(lp));
    }
    send::deliver_to_all(lp, &sessions, encoded, flags.compress);
    let receivers = sessions.len();
    sessions.clear();
    lp.layer_mut::<Registry>().scratch.sessions = sessions;
    receivers
}
