//! The adapters of namespaces.

use super::Namespace;
use super::adapter::Adapter;
use super::registry::{NamespaceState, Registry};
use crate::Loop;

/// Calls `f` with the adapter of a namespace, if it has one.
pub(super) fn with_adapter(lp: &mut Loop, namespace: Namespace, f: impl FnOnce(&mut dyn Adapter, &mut Loop)) {
    let taken = lp.layer_mut::<Registry>().namespace_mut(namespace).and_then(|state| state.adapter.take());
    let Some(mut adapter) = taken else { return };
    // A panic that is caught does not lose the adapter.
    lp.guarded(|lp| f(&mut *adapter, lp));
    match lp.layer_mut::<Registry>().namespace_mut(namespace) {
        Some(state) if state.adapter.is_none() => state.adapter = Some(adapter),
        // Another closure has removed the namespace meanwhile, or has given it another adapter.
        _ => adapter.close(lp, namespace),
    }
}

/// Whether the adapter of a namespace is to be called when rooms are created and deleted.
pub(super) fn watches_rooms(state: &NamespaceState) -> bool {
    state.adapter.as_ref().is_some_and(|adapter| adapter.watches_rooms())
}

/// Rooms of this node were created, or deleted.
pub(super) fn rooms_changed(lp: &mut Loop, namespace: Namespace, rooms: &[String], created: bool) {
    if rooms.is_empty() {
        return;
    }
    with_adapter(lp, namespace, |adapter, lp| {
        for room in rooms {
            match created {
                true => adapter.room_created(lp, namespace, room),
                false => adapter.room_deleted(lp, namespace, room),
            }
        }
    });
}

/// Gives a namespace the adapter of its server, if the server has one.
pub(super) fn install(lp: &mut Loop, namespace: Namespace) {
    let registry = lp.layer_mut::<Registry>();
    let Some(state) = registry.namespace_mut(namespace).filter(|state| !state.name.is_empty()) else { return };
    let (server, name) = (state.server, state.name.clone());
    let Some(make) = registry.servers[server as usize].adapters.clone() else { return };
    let old = registry.namespace_mut(namespace).and_then(|state| state.adapter.take());
    let mut adapter = make(lp, &name);
    adapter.open(lp, namespace);
    // Afterwards, so that both need a subscription that they share.
    if let Some(mut old) = old {
        old.close(lp, namespace);
    }
    let registry = lp.layer_mut::<Registry>();
    let options = registry.servers[server as usize].options.clone();
    let are_elsewhere = options.recovery.as_ref().is_some_and(|options| adapter.keep_sessions(options));
    let recovery = if are_elsewhere { None } else { registry.new_recovery(server) };
    let Some(state) = registry.namespace_mut(namespace) else { return adapter.close(lp, namespace) };
    state.are_sessions_elsewhere = are_elsewhere;
    if are_elsewhere || state.recovery.is_none() {
        state.recovery = recovery;
    }
    state.adapter = Some(adapter);
}

/// Removes a namespace that exists on demand, when its last socket has left.
pub(super) fn remove_if_empty(lp: &mut Loop, namespace: Namespace) {
    let adapter = lp.layer_mut::<Registry>().remove_if_empty(namespace);
    if let Some(mut adapter) = adapter {
        adapter.close(lp, namespace);
    }
}

/// Takes the adapter of a namespace away. From then on sessions are kept in memory.
fn close(lp: &mut Loop, namespace: Namespace) {
    let registry = lp.layer_mut::<Registry>();
    let Some(state) = registry.namespace_mut(namespace) else { return };
    let Some(mut adapter) = state.adapter.take() else { return };
    let server = state.server;
    if std::mem::take(&mut state.are_sessions_elsewhere) {
        let recovery = registry.new_recovery(server);
        if let Some(state) = registry.namespace_mut(namespace) {
            state.recovery = recovery;
        }
    }
    adapter.close(lp, namespace);
}

/// The namespaces of a server.
pub(super) fn namespaces(lp: &mut Loop, server: u32) -> Vec<Namespace> {
    let of_server = lp.layer_mut::<Registry>().namespaces.iter().filter(|(_, state)| state.server == server);
    of_server.map(|(key, _)| Namespace(key)).collect()
}

/// The server is closed: so are its adapters. In a tick, because they keep the sessions of its sockets before, whose
/// last callbacks run in ticks, too.
pub(super) fn close_all(lp: &mut Loop, server: u32) {
    lp.layer_mut::<Registry>().servers[server as usize].adapters = None;
    lp.next_tick(move |lp| {
        // The program may have given the server another adapter.
        if lp.layer_mut::<Registry>().servers[server as usize].adapters.is_none() {
            for namespace in namespaces(lp, server) {
                close(lp, namespace);
            }
        }
    });
}
