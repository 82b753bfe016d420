//! Calls of the program's listeners.
//!
//! On a loop that catches panics, a listener that panics costs its own call: the client goes on, also with its attempts
//! to connect. Only a listener for an event that has arrived costs the session, as on a server.

use std::rc::Rc;

use super::Client;
use super::registry::{Listeners, OnAck, OnAttempt, OnClient, OnConnectError, OnDisconnect, OnEvent, get, get_mut};
use super::{AckResult, ConnectError, DisconnectReason};
use crate::socket_io::encode;
use crate::socket_io::event::Event;
use crate::{Kind, Loop};

fn collect<T: Clone>(lp: &Loop, client: Client, of: impl Fn(&Listeners) -> &Vec<T>) -> Vec<T> {
    get(lp, client).map_or_else(Vec::new, |state| of(&state.listeners).clone())
}

pub(super) fn call(lp: &mut Loop, client: Client, kind: Kind, of: impl Fn(&Listeners) -> &Vec<OnClient>) {
    for listener in collect(lp, client, of) {
        // It is borrowed only while it runs, and nothing calls back meanwhile.
        if let Ok(mut listener) = listener.try_borrow_mut() {
            lp.in_guarded_callback(kind, client.serial(), 0, |lp| listener(lp, client));
        }
    }
}

pub(super) fn call_with_attempt(
    lp: &mut Loop,
    client: Client,
    attempt: u32,
    of: impl Fn(&Listeners) -> &Vec<OnAttempt>,
) {
    for listener in collect(lp, client, of) {
        if let Ok(mut listener) = listener.try_borrow_mut() {
            lp.in_guarded_callback(Kind::OnEvent, client.serial(), 0, |lp| listener(lp, client, attempt));
        }
    }
}

/// An attempt to connect has failed. Without a listener the error is reported, but only for the first one of several
/// attempts in a row: the others are made as long as the server is away.
pub(super) fn call_on_connect_error(lp: &mut Loop, client: Client, error: &ConnectError, is_repeated: bool) {
    let listeners = collect(lp, client, |list| &list.on_connect_error);
    if listeners.is_empty() && is_repeated {
        log::debug!(target: "bucle::socket_io", "{client}: {error}");
    } else if listeners.is_empty() {
        let remedy = "socket_io::Client::on_connect_error";
        lp.report_unhandled_message("bucle::socket_io", &client, error.code(), error, remedy);
    }
    call_with_error(lp, client, listeners, error);
}

pub(super) fn call_on_reconnect_error(lp: &mut Loop, client: Client, error: &ConnectError) {
    let listeners = collect(lp, client, |list| &list.on_reconnect_error);
    call_with_error(lp, client, listeners, error);
}

fn call_with_error(lp: &mut Loop, client: Client, listeners: Vec<OnConnectError>, error: &ConnectError) {
    for listener in listeners {
        if let Ok(mut listener) = listener.try_borrow_mut() {
            lp.in_guarded_callback(Kind::OnError, client.serial(), 0, |lp| listener(lp, client, error));
        }
    }
}

pub(super) fn call_on_disconnect(lp: &mut Loop, client: Client, reason: DisconnectReason) {
    for listener in collect::<OnDisconnect>(lp, client, |list| &list.on_disconnect) {
        if let Ok(mut listener) = listener.try_borrow_mut() {
            lp.in_guarded_callback(Kind::OnClose, client.serial(), 0, |lp| listener(lp, client, reason));
        }
    }
}

pub(super) fn call_ack(lp: &mut Loop, client: Client, done: OnAck, result: AckResult<'_>) {
    lp.in_guarded_callback(Kind::OnAck, client.serial(), 0, |lp| done(lp, client, result));
}

fn call_on_event(lp: &mut Loop, client: Client, listener: &OnEvent, event: &mut Event<'_>) {
    if let Ok(mut listener) = listener.try_borrow_mut() {
        let size = event.arguments.as_json().len();
        lp.in_layer_callback(Kind::OnEvent, client.serial(), size, |lp| listener(lp, client, event));
    }
}

/// An event has arrived: catch-all listeners, and then the listeners of its name. As in Node a catch-all listener may
/// add and remove those.
pub(super) fn dispatch(lp: &mut Loop, client: Client, event: &mut Event<'_>) {
    let Some(connection) = get(lp, client).map(|state| state.connection) else { return };
    // A listener may have disconnected the client.
    let is_connected =
        |lp: &Loop| get(lp, client).is_some_and(|state| state.is_connected() && state.connection == connection);
    for listener in collect(lp, client, |list| &list.any) {
        if is_connected(lp) {
            call_on_event(lp, client, &listener, event);
        }
    }
    if !is_connected(lp) {
        return;
    }
    for listener in take_listeners(lp, client, event.name) {
        if is_connected(lp) {
            call_on_event(lp, client, &listener, event);
        }
    }
}

/// The listeners of an event, of which those for one call are removed.
fn take_listeners(lp: &mut Loop, client: Client, name: &str) -> Vec<OnEvent> {
    let Some(state) = get_mut(lp, client) else { return Vec::new() };
    let Some(listeners) = state.listeners.events.get_mut(name) else { return Vec::new() };
    let taken = listeners.iter().map(|listener| listener.call.clone()).collect();
    listeners.retain(|listener| !listener.is_once);
    if listeners.is_empty() {
        state.listeners.events.remove(name);
    }
    taken
}

/// An event was sent: the catch-all listeners for outgoing events are called in a tick, because a method never calls
/// back.
pub(super) fn notify_outgoing(lp: &mut Loop, client: Client, name: &str, text: &str, attachments: &[Vec<u8>]) {
    let listeners = match get(lp, client) {
        Some(state) if !state.listeners.any_outgoing.is_empty() => state.listeners.any_outgoing.clone(),
        _ => return,
    };
    let arguments = Rc::new(encode::arguments_of(text, attachments.to_vec(), 1));
    let name = name.to_owned();
    lp.next_tick(move |lp| {
        for listener in listeners {
            let arguments = arguments.as_arguments();
            let mut event = Event { name: &name, arguments, ack: None, may_have_offset: false };
            call_on_event(lp, client, &listener, &mut event);
        }
    });
}
