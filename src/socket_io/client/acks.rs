//! Acknowledgements that a client waits for.

use std::time::Duration;

use super::Client;
use super::registry::{OnAck, get, get_mut};
use super::{AckError, listeners};
use crate::socket_io::arguments::Arguments;
use crate::{Key, Loop};

/// Makes sure that the timer of a client fires when its first acknowledgement is overdue.
pub(super) fn arm(lp: &mut Loop, client: Client) {
    let now = lp.now();
    let Some(state) = get_mut(lp, client) else { return };
    let deadline = state.acks.next_deadline();
    if let (Some((_, at)), Some(deadline)) = (state.ack_timer, deadline)
        && at <= deadline
    {
        // It fires early, and is started again then.
        return;
    }
    if let Some((old, _)) = state.ack_timer.take() {
        lp.clear(old);
    }
    let Some(deadline) = deadline else { return };
    let limit = deadline.saturating_duration_since(now).max(Duration::from_millis(1));
    let timer = lp.start_keyed_timer(limit, client.0, expire);
    // It keeps the loop alive: the program waits for a result.
    lp.ref_(timer);
    if let Some(state) = get_mut(lp, client) {
        state.ack_timer = Some((timer, deadline));
    }
}

fn expire(lp: &mut Loop, key: Key) {
    let (client, now) = (Client(key), lp.now());
    let Some(state) = get_mut(lp, client) else { return };
    state.ack_timer = None;
    // As in Node an event that was not sent in time is not sent at all.
    state.buffer.expire(now);
    for ((), done) in state.acks.expired(now) {
        listeners::call_ack(lp, client, done, Err(AckError::Timeout));
    }
    arm(lp, client);
}

/// An acknowledgement has arrived. One that nothing waits for is of no consequence, as in Node.
pub(super) fn received(lp: &mut Loop, client: Client, id: u64, arguments: Arguments<'_>) {
    let Some(done) = get_mut(lp, client).and_then(|state| state.acks.take((), id)) else { return };
    arm(lp, client);
    listeners::call_ack(lp, client, done, Ok(arguments));
}

/// The client is disconnected: takes what the server will not acknowledge. Events that were not sent yet keep their
/// acknowledgements.
pub(super) fn take_lost(lp: &mut Loop, client: Client) -> Vec<OnAck> {
    let Some(state) = get_mut(lp, client) else { return Vec::new() };
    let buffered: std::collections::HashSet<u64> = state.buffer.ids().collect();
    let lost = state.acks.drain_where((), |id| !buffered.contains(&id));
    arm(lp, client);
    lost
}

/// Calls what [`take_lost`] has returned.
pub(super) fn fail(lp: &mut Loop, client: Client, lost: Vec<OnAck>) {
    for done in lost {
        listeners::call_ack(lp, client, done, Err(AckError::Disconnected));
    }
}

/// The client is released.
pub(super) fn stop(lp: &mut Loop, client: Client) {
    if let Some((timer, _)) = get(lp, client).and_then(|state| state.ack_timer) {
        lp.clear(timer);
    }
}
