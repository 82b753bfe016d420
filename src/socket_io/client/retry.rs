//! Events that are sent one by one, each again until the server has acknowledged it (`retries`). An event may arrive
//! more than once, but never out of order.

use std::time::Duration;

use super::registry::{OnAck, Registry, Retry, get_mut};
use super::{AckError, AckResult, Client, listeners, send};
use crate::Loop;
use crate::socket_io::OwnedArguments;

/// Adds an event. Returns `false` if there is no room.
pub(super) fn add(
    lp: &mut Loop,
    client: Client,
    name: &str,
    arguments: OwnedArguments,
    timeout: Duration,
    done: Option<OnAck>,
) -> bool {
    let registry = lp.layer_mut::<Registry>();
    let Some(manager) = registry.client(client).map(|state| state.manager) else { return false };
    let limit = registry.manager(manager).map_or(0, |state| state.options.max_buffer);
    let Some(state) = registry.client_mut(client) else { return false };
    let retry = Retry { name: name.into(), arguments, timeout, attempts: 0, is_pending: false, done };
    let bytes = state.retry_bytes.saturating_add(retry.size());
    if bytes > limit {
        log::warn!(target: "bucle::socket_io", "{client} keeps too many events: {name:?} is dropped");
        if let Some(done) = retry.done {
            lp.next_tick(move |lp| done(lp, client, Err(AckError::Disconnected)));
        }
        return false;
    }
    state.retry_bytes = bytes;
    state.retries.push_back(retry);
    send_first(lp, client, false);
    true
}

/// Sends the first event. One that was sent already is sent again only if the client was disconnected since.
pub(super) fn send_first(lp: &mut Loop, client: Client, is_new_connection: bool) {
    let Some(state) = get_mut(lp, client).filter(|state| state.is_connected()) else { return };
    let Some(first) = state.retries.front_mut() else { return };
    if first.is_pending && !is_new_connection {
        return;
    }
    first.is_pending = true;
    first.attempts = first.attempts.saturating_add(1);
    let (name, arguments, timeout) = (first.name.clone(), first.arguments.clone(), first.timeout);
    let attempt = first.attempts;
    let done: OnAck = Box::new(move |lp, client, result| answered(lp, client, attempt, result));
    send::event(lp, client, &name, &arguments, false, Some((timeout, done)));
}

/// The first event was acknowledged, or not.
fn answered(lp: &mut Loop, client: Client, attempt: u32, result: AckResult<'_>) {
    let registry = lp.layer_mut::<Registry>();
    let Some(manager) = registry.client(client).map(|state| state.manager) else { return };
    let most = registry.manager(manager).map_or(0, |state| state.options.retries);
    let Some(state) = registry.client_mut(client) else { return };
    let Some(first) = state.retries.front_mut() else { return };
    // The answer to an attempt that was given up comes too late.
    if first.attempts != attempt {
        return;
    }
    first.is_pending = false;
    if result.is_ok() || attempt > most {
        let retry = state.retries.pop_front();
        state.retry_bytes -= retry.as_ref().map_or(0, Retry::size);
        let done = retry.and_then(|retry| retry.done);
        if let Some(done) = done {
            listeners::call_ack(lp, client, done, result);
        }
    }
    send_first(lp, client, false);
}
