//! Calls of the program's listeners. They are called from library code only when no other callback runs.

use std::rc::Rc;

use super::arguments::{Arguments, OwnedArguments};
use super::encode::{self, Encoded};
use super::event::Event;
use super::registry::{EventListener, Listeners, OnDisconnect, OnEvent, OnSocket, Registry};
use super::{DisconnectReason, Socket};
use crate::{Kind, Loop};

/// The events of one client in one turn. Then other clients have their turn.
pub(super) const EVENTS_AT_ONCE: u32 = 1024;

/// Calls a listener for sockets.
pub(super) fn call_on_socket(lp: &mut Loop, kind: Kind, socket: Socket, list: Vec<OnSocket>) {
    for listener in list {
        // It is borrowed only while it runs, and nothing calls back meanwhile.
        if let Ok(mut listener) = listener.try_borrow_mut() {
            lp.in_layer_callback(kind, socket.serial(), 0, |lp| listener(lp, socket));
        }
    }
}

pub(super) fn call_on_disconnect(lp: &mut Loop, socket: Socket, list: Vec<OnDisconnect>, reason: DisconnectReason) {
    for listener in list {
        if let Ok(mut listener) = listener.try_borrow_mut() {
            lp.in_guarded_callback(Kind::OnClose, socket.serial(), 0, |lp| listener(lp, socket, reason));
        }
    }
}

fn call_on_event(lp: &mut Loop, socket: Socket, listener: &OnEvent, event: &mut Event<'_>) {
    if let Ok(mut listener) = listener.try_borrow_mut() {
        let size = event.arguments.as_json().len();
        lp.in_layer_callback(Kind::OnEvent, socket.serial(), size, |lp| listener(lp, socket, event));
    }
}

/// An event of a connected socket has arrived: catch-all listeners, middlewares, and the listeners of its name. This is
/// the order of Node, so catch-all listeners see the events that a middleware stops.
pub(super) fn dispatch(lp: &mut Loop, socket: Socket, event: &mut Event<'_>) {
    let registry = lp.layer_mut::<Registry>();
    let Some(shared) = registry.list_of(socket) else { return };
    let has_own = registry.socket(socket).is_some_and(|state| state.listeners.is_some());
    if !has_own && shared.packet_middlewares.is_empty() && shared.any.is_empty() {
        // The common case: one listener, of the namespace.
        let Some(list) = shared.events.get(event.name) else { return };
        if let [EventListener { call, is_once: false }] = list.as_slice() {
            let call = Rc::clone(call);
            return call_on_event(lp, socket, &call, event);
        }
    }
    dispatch_to_all(lp, socket, event);
}

#[inline(never)]
fn dispatch_to_all(lp: &mut Loop, socket: Socket, event: &mut Event<'_>) {
    for listener in lp.layer_mut::<Registry>().collect(socket, |list| &list.any) {
        if is_connected(lp, socket) {
            call_on_event(lp, socket, &listener, event);
        }
    }
    for middleware in lp.layer_mut::<Registry>().collect(socket, |list| &list.packet_middlewares) {
        let Ok(mut middleware) = middleware.try_borrow_mut() else { continue };
        if !is_connected(lp, socket) {
            return;
        }
        let mut result = Ok(());
        lp.in_layer_callback(Kind::OnEvent, socket.serial(), 0, |lp| result = middleware(lp, socket, event));
        if let Err(error) = result {
            let listeners = lp.layer_mut::<Registry>().collect(socket, |list| &list.on_error);
            if listeners.is_empty() {
                let remedy = "socket_io::Namespace::on_error";
                lp.report_unhandled_message("bucle::socket_io", &socket, "E_REFUSED", &error, remedy);
            }
            for listener in listeners {
                if let Ok(mut listener) = listener.try_borrow_mut() {
                    lp.in_layer_callback(Kind::OnError, socket.serial(), 0, |lp| listener(lp, socket, &error));
                }
            }
            return;
        }
    }
    for listener in take_listeners(lp, socket, event.name) {
        if is_connected(lp, socket) {
            call_on_event(lp, socket, &listener, event);
        }
    }
}

fn is_connected(lp: &mut Loop, socket: Socket) -> bool {
    lp.layer_mut::<Registry>().socket(socket).is_some_and(|state| state.is_connected())
}

/// The listeners of an event, of which those for one call are removed.
fn take_listeners(lp: &mut Loop, socket: Socket, name: &str) -> Vec<OnEvent> {
    let registry = lp.layer_mut::<Registry>();
    let Some(list) = registry.socket(socket).and_then(|state| registry.namespace(state.namespace)).map(|ns| ns.list)
    else {
        return Vec::new();
    };
    let mut taken = Vec::new();
    let mut take = |list: &mut Listeners| {
        let Some(listeners) = list.events.get_mut(name) else { return };
        taken.extend(listeners.iter().map(|listener| listener.call.clone()));
        listeners.retain(|listener| !listener.is_once);
        if listeners.is_empty() {
            list.events.remove(name);
        }
    };
    take(&mut registry.lists[list as usize]);
    if let Some(own) = registry.socket_mut(socket).and_then(|state| state.listeners.as_deref_mut()) {
        take(own);
    }
    taken
}

/// An event was sent: the catch-all listeners for outgoing events are called in a tick, because a method never calls
/// back.
pub(super) fn notify_outgoing(lp: &mut Loop, sockets: &[Socket], name: &str, encoded: &Encoded) {
    let registry = lp.layer_mut::<Registry>();
    if !registry.has_outgoing_listeners {
        return;
    }
    let mut copied = None;
    let mut calls = Vec::new();
    for &socket in sockets {
        let has_shared = registry.list_of(socket).is_some_and(|list| !list.any_outgoing.is_empty());
        let own = registry.socket(socket).and_then(|state| state.listeners.as_deref());
        if !has_shared && own.is_none_or(|list| list.any_outgoing.is_empty()) {
            continue;
        }
        let arguments: &Rc<OwnedArguments> =
            copied.get_or_insert_with(|| Rc::new(encode::arguments_of(&encoded.text, encoded.attachments.clone(), 1)));
        calls.push((socket, registry.collect(socket, |list| &list.any_outgoing), arguments.clone()));
    }
    if calls.is_empty() {
        return;
    }
    let name = name.to_owned();
    lp.next_tick(move |lp| {
        for (socket, listeners, arguments) in calls {
            for listener in listeners {
                let arguments: Arguments<'_> = arguments.as_arguments();
                call_on_event(
                    lp,
                    socket,
                    &listener,
                    &mut Event { name: &name, arguments, ack: None, may_have_offset: false },
                );
            }
        }
    });
}
