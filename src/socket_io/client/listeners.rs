//! Calls of the program's listeners.

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
            lp.in_layer_callback(kind, client.serial(), 0, |lp| listener(lp, client));
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
            lp.in_layer_callback(Kind::OnEvent, client.serial(), 0, |lp| listener(lp, client, attempt));
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
            lp.in_layer_callback(Kind::OnError, client.serial(), 0, |lp| listener(lp, client, error));
        }
    }
}

pub(super) fn call_on_disconnect(lp: &mut Loop, client: Client, reason: DisconnectReason) {
    for listener in collect::<OnDisconnect>(lp, client, |list| &list.on_disconnect) {
        if let Ok(mut listener) = listener.try_borrow_mut() {
            lp.in_layer_callback(Kind::OnClose, client.serial(), 0, |lp| listener(lp, client, reason));
        }
    }
}

pub(super) fn call_ack(lp: &mut Loop, client: Client, done: OnAck, result: AckResult<'_>) {
    lp.in_layer_callback(Kind::OnAck, client.serial(), 0, |lp| done(lp, client, result));
}

fn call_on_event(lp: &mut Loop, client: Client, listener: &OnEvent, event: &mut Event<'_>) {
    if let Ok(mut listener) = listener.try_borrow_mut() {
        let size = event.arguments.as_json().len();
        lp.in_layer_callback(Kind::OnEvent, client.serial(), size, |lp| listener(lp, client, event));
    }
}

/// An event has arrived: catch-all listeners, and then the listeners of its name.
pub(super) fn dispatch(lp: &mut Loop, client: Client, event: &mut Event<'_>) {
    let any = collect(lp, client, |list| &list.any);
    let Some(state) = get_mut(lp, client) else { return };
    let mut named = Vec::new();
    if let Some(listeners) = state.listeners.events.get_mut(event.name) {
        named.extend(listeners.iter().map(|listener| listener.call.clone()));
        listeners.retain(|listener| !listener.is_once);
        if listeners.is_empty() {
            state.listeners.events.remove(event.name);
        }
    }
    let connection = state.connection;
    for listener in any.into_iter().chain(named) {
        // A listener may have disconnected the client.
        if get(lp, client).is_some_and(|state| state.is_connected() && state.connection == connection) {
            call_on_event(lp, client, &listener, event);
        }
    }
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
