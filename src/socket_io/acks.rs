//! Acknowledgements that this side waits for: of one socket, of the receivers of a broadcast, of other nodes.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::adapter::{Answer, BroadcastPacket, RemoteSocket, RequestId, Target};
use super::answers::Collection;
use super::arguments::{Arguments, IntoArguments};
use super::cluster::{self, with_adapter};
use super::deliver::{Sent, deliver_encoded};
use super::encode::Encoded;
use super::event::{Ack, AckTo, Event, NodeAck, ServerAnswer};
use super::registry::{Nodes, OnAck, OnAnswers, OnFetched, OnRooms, OnServerAnswers, Operation, Registry, select};
use super::send::Flags;
use super::{AckError, Answers, Namespace, OwnedArguments, ServerAnswers, Socket, encode, listeners, send};
use crate::{Key, Kind, Loop};

/// Sends an event to one socket, which acknowledges it.
pub(super) fn emit(
    lp: &mut Loop,
    socket: Socket,
    name: &str,
    arguments: &impl IntoArguments,
    flags: Flags,
    timeout: Duration,
    done: OnAck,
) -> bool {
    let now = lp.now();
    let registry = lp.layer_mut::<Registry>();
    let Some(namespace) = registry.socket(socket).filter(|state| state.is_connected()).map(|state| state.namespace)
    else {
        lp.next_tick(move |lp| done(lp, socket, Err(AckError::Disconnected)));
        return false;
    };
    let deadline = (!timeout.is_zero()).then(|| now + timeout);
    let Some(state) = registry.namespace_mut(namespace) else { return false };
    let id = state.acks.insert(socket, deadline, done);
    let is_low = send::event(lp, socket, Some(id), name, arguments, flags);
    arm(lp, namespace);
    is_low
}

/// Makes sure that the timer of a namespace fires when its first acknowledgement is overdue.
fn arm(lp: &mut Loop, namespace: Namespace) {
    let now = lp.now();
    let Some(state) = lp.layer_mut::<Registry>().namespace_mut(namespace) else { return };
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
    let timer = lp.start_keyed_timer(limit, namespace.0, expire);
    // It keeps the loop alive: the program waits for a result.
    lp.ref_(timer);
    if let Some(state) = lp.layer_mut::<Registry>().namespace_mut(namespace) {
        state.ack_timer = Some((timer, deadline));
    }
}

fn expire(lp: &mut Loop, key: Key) {
    let (namespace, now) = (Namespace(key), lp.now());
    let Some(state) = lp.layer_mut::<Registry>().namespace_mut(namespace) else { return };
    state.ack_timer = None;
    for (socket, done) in state.acks.expired(now) {
        call(lp, socket, done, Err(AckError::Timeout));
    }
    arm(lp, namespace);
}

fn call(lp: &mut Loop, socket: Socket, done: OnAck, result: super::AckResult<'_>) {
    lp.in_guarded_callback(Kind::OnAck, socket.serial(), 0, |lp| done(lp, socket, result));
}

/// An acknowledgement has arrived. One that nothing waits for is of no consequence, as in Node.
pub(super) fn received(lp: &mut Loop, socket: Socket, id: u64, arguments: Arguments<'_>) {
    let registry = lp.layer_mut::<Registry>();
    let Some(namespace) = registry.socket(socket).map(|state| state.namespace) else { return };
    let Some(state) = registry.namespace_mut(namespace) else { return };
    if let Some(done) = state.acks.take(socket, id) {
        arm(lp, namespace);
        return call(lp, socket, done, Ok(arguments));
    }
    match state.operations.get_mut(&id) {
        Some(Operation::Broadcast { collection, .. }) => {
            collection.answer(socket, arguments.to_owned());
            if collection.is_settled() {
                finish(lp, namespace, id);
            }
        }
        Some(Operation::Relayed { waiting, .. }) if waiting.contains(&socket) => {
            // The closure is out of the table while it runs.
            let Some(Operation::Relayed { mut waiting, timer, mut on_answer }) = state.operations.remove(&id) else {
                return;
            };
            waiting.remove(&socket);
            let is_last = waiting.is_empty();
            on_answer(lp, arguments.to_owned());
            match lp.layer_mut::<Registry>().namespace_mut(namespace) {
                Some(state) if !is_last => {
                    state.operations.insert(id, Operation::Relayed { waiting, timer, on_answer });
                }
                _ => {
                    stop(lp, timer);
                    cluster::remove_if_empty(lp, namespace);
                }
            }
        }
        _ => {}
    }
}

/// A socket is disconnected: nothing that it has not acknowledged will be.
pub(super) fn fail_all(lp: &mut Loop, socket: Socket) {
    let registry = lp.layer_mut::<Registry>();
    let Some(namespace) = registry.socket(socket).map(|state| state.namespace) else { return };
    let Some(state) = registry.namespace_mut(namespace) else { return };
    let mut settled = Vec::new();
    for (number, operation) in &mut state.operations {
        let is_settled = match operation {
            Operation::Broadcast { collection, .. } => {
                collection.close(socket);
                collection.is_settled()
            }
            Operation::Relayed { waiting, .. } => waiting.remove(&socket) && waiting.is_empty(),
            _ => false,
        };
        if is_settled {
            settled.push(*number);
        }
    }
    for done in state.acks.drain(socket) {
        call(lp, socket, done, Err(AckError::Disconnected));
    }
    arm(lp, namespace);
    for number in settled {
        finish(lp, namespace, number);
    }
}

/// Sends an event to many sockets, which acknowledge it.
#[expect(clippy::too_many_arguments, reason = "a broadcast has this many parts")]
pub(super) fn broadcast(
    lp: &mut Loop,
    namespace: Namespace,
    target: &Target,
    is_local: bool,
    name: &str,
    arguments: &impl IntoArguments,
    timeout: Duration,
    done: OnAnswers,
) -> Sent {
    let Some(Numbered { id, sockets, encoded }) = number(lp, namespace, target, name, arguments) else {
        return Sent::default();
    };
    let registry = lp.layer_mut::<Registry>();
    let ids = sockets.iter().filter_map(|socket| Some((*socket, registry.socket(*socket)?.id.clone())));
    let mut collection = Collection::with_other_nodes(ids);
    let other_nodes = other_nodes(registry, namespace, is_local);
    if let Some(count) = other_nodes {
        collection.expect_nodes(count);
    }
    if let Some(state) = registry.namespace_mut(namespace) {
        let operation = Operation::Broadcast { collection, is_cut_off: false, timer: None, done };
        state.operations.insert(id, operation);
    }
    let sent = Sent { receivers: send_numbered(lp, &sockets, name, encoded, Flags::default()) };
    if other_nodes != Some(0)
        && let Some(arguments) = encode::to_owned(arguments)
    {
        let packet = BroadcastPacket { name, arguments: &arguments, volatile: false, compress: true, offset: None };
        with_adapter(lp, namespace, |adapter, lp| {
            adapter.broadcast_with_ack(lp, namespace, target, packet, timeout, RequestId(id));
        });
    }
    begin_operation(lp, namespace, id, timeout);
    sent
}

/// How many other nodes an operation is for. `None`: the adapter asks for it.
fn other_nodes(registry: &Registry, namespace: Namespace, is_local: bool) -> Option<usize> {
    match registry.namespace(namespace).and_then(|state| state.adapter.as_ref()) {
        Some(adapter) if !is_local => adapter.nodes().map(|nodes| nodes.saturating_sub(1)),
        _ => Some(0),
    }
}

/// An event that several sockets acknowledge with the same number.
struct Numbered {
    id: u64,
    sockets: Vec<Socket>,
    /// `None`: it cannot be sent, and there are no sockets.
    encoded: Option<Encoded>,
}

/// Encodes an event with a number. `None`: the namespace is gone.
fn number(
    lp: &mut Loop,
    namespace: Namespace,
    target: &Target,
    name: &str,
    arguments: &impl IntoArguments,
) -> Option<Numbered> {
    let state = lp.layer_mut::<Registry>().namespace_mut(namespace)?;
    let (nsp, id) = (state.name.clone(), state.acks.new_id());
    let mut sockets = Vec::new();
    select(lp, namespace, target, &mut sockets);
    let encoded = encode::encode(lp, &nsp, Some(id), name, arguments, None);
    if encoded.is_none() {
        sockets.clear();
    }
    Some(Numbered { id, sockets, encoded })
}

/// Sends such an event. Returns to how many sockets.
fn send_numbered(lp: &mut Loop, sockets: &[Socket], name: &str, encoded: Option<Encoded>, flags: Flags) -> usize {
    let Some(encoded) = encoded else { return 0 };
    let receivers = deliver_encoded(lp, sockets, &encoded, flags);
    listeners::notify_outgoing(lp, sockets, name, &encoded);
    encode::give_back(lp, encoded);
    receivers
}

/// Starts the time limit of an operation, or ends it in a tick if it waits for nothing.
fn begin_operation(lp: &mut Loop, namespace: Namespace, id: u64, timeout: Duration) {
    let Some(state) = lp.layer_mut::<Registry>().namespace_mut(namespace) else { return };
    let is_complete = match state.operations.get(&id) {
        Some(Operation::Broadcast { collection, .. }) => collection.is_settled(),
        Some(Operation::Relayed { waiting, .. }) => waiting.is_empty(),
        Some(
            Operation::Fetch { nodes, .. } | Operation::AllRooms { nodes, .. } | Operation::ServerSide { nodes, .. },
        ) => nodes.is_settled(),
        None => return,
    };
    if is_complete {
        return lp.next_tick(move |lp| finish(lp, namespace, id));
    }
    let new_timer = lp.set_timeout(timeout, move |lp| finish(lp, namespace, id));
    let Some(state) = lp.layer_mut::<Registry>().namespace_mut(namespace) else { return };
    if let Some(
        Operation::Broadcast { timer, .. }
        | Operation::Relayed { timer, .. }
        | Operation::Fetch { timer, .. }
        | Operation::AllRooms { timer, .. }
        | Operation::ServerSide { timer, .. },
    ) = state.operations.get_mut(&id)
    {
        *timer = Some(new_timer);
    }
}

/// An operation is complete, or its time is over.
fn finish(lp: &mut Loop, namespace: Namespace, id: u64) {
    let Some(state) = lp.layer_mut::<Registry>().namespace_mut(namespace) else { return };
    let Some(operation) = state.operations.remove(&id) else { return };
    match operation {
        Operation::Relayed { timer, .. } => stop(lp, timer),
        Operation::Broadcast { collection, is_cut_off, timer, done } => {
            stop(lp, timer);
            let is_complete = collection.is_complete() && !is_cut_off;
            let missing = collection.missing().cloned().collect();
            let answered = collection.into_answers().into_iter().map(|answer| (answer.from, answer.value)).collect();
            let answers = Answers { answered, missing, is_complete };
            lp.in_guarded_callback(Kind::OnAck, 0, answers.answered.len(), |lp| done(lp, answers));
        }
        Operation::Fetch { found, timer, done, .. } => {
            stop(lp, timer);
            lp.in_guarded_callback(Kind::OnAck, 0, found.len(), |lp| done(lp, found));
        }
        Operation::AllRooms { found, timer, done, .. } => {
            stop(lp, timer);
            lp.in_guarded_callback(Kind::OnAck, 0, found.len(), |lp| done(lp, found.into_iter().collect()));
        }
        Operation::ServerSide { answers, nodes, timer, done } => {
            stop(lp, timer);
            let answers = ServerAnswers { answers, is_complete: nodes.is_complete() };
            lp.in_guarded_callback(Kind::OnAck, 0, answers.answers.len(), |lp| done(lp, answers));
        }
    }
    cluster::remove_if_empty(lp, namespace);
}

fn stop(lp: &mut Loop, timer: Option<crate::TimerId>) {
    if let Some(timer) = timer {
        lp.clear(timer);
    }
}

/// Finds the sockets of a target, on all nodes.
pub(super) fn fetch(
    lp: &mut Loop,
    namespace: Namespace,
    target: &Target,
    is_local: bool,
    timeout: Duration,
    done: OnFetched,
) {
    let found = namespace.local_sockets(lp, target);
    let registry = lp.layer_mut::<Registry>();
    let other_nodes = other_nodes(registry, namespace, is_local);
    let Some(state) = registry.namespace_mut(namespace) else { return };
    let id = state.acks.new_id();
    let operation = Operation::Fetch { found, nodes: Nodes::new(other_nodes), timer: None, done };
    state.operations.insert(id, operation);
    if other_nodes != Some(0) {
        with_adapter(lp, namespace, |adapter, lp| adapter.fetch_sockets(lp, namespace, target, RequestId(id)));
    }
    begin_operation(lp, namespace, id, timeout);
}

/// Finds the rooms of all nodes.
pub(super) fn all_rooms(lp: &mut Loop, namespace: Namespace, timeout: Duration, done: OnRooms) {
    let found = namespace.local_rooms(lp).into_iter().collect();
    let registry = lp.layer_mut::<Registry>();
    let other_nodes = other_nodes(registry, namespace, false);
    let Some(state) = registry.namespace_mut(namespace) else { return };
    let id = state.acks.new_id();
    state.operations.insert(id, Operation::AllRooms { found, nodes: Nodes::new(other_nodes), timer: None, done });
    if other_nodes != Some(0) {
        with_adapter(lp, namespace, |adapter, lp| adapter.all_rooms(lp, namespace, RequestId(id)));
    }
    begin_operation(lp, namespace, id, timeout);
}

/// Asks the servers of the other nodes.
pub(super) fn server_side(
    lp: &mut Loop,
    namespace: Namespace,
    name: &str,
    arguments: &impl IntoArguments,
    timeout: Duration,
    done: OnServerAnswers,
) {
    let Some(arguments) = encode::to_owned(arguments) else { return };
    let registry = lp.layer_mut::<Registry>();
    let other_nodes = other_nodes(registry, namespace, false);
    let Some(state) = registry.namespace_mut(namespace) else { return };
    let id = state.acks.new_id();
    let nodes = Nodes::new(other_nodes);
    state.operations.insert(id, Operation::ServerSide { answers: Vec::new(), nodes, timer: None, done });
    with_adapter(lp, namespace, |adapter, lp| {
        adapter.server_side_emit(lp, namespace, name, &arguments, Some(RequestId(id)));
    });
    begin_operation(lp, namespace, id, timeout);
}

impl Namespace {
    /// For an [`Adapter`](super::adapter::Adapter): the sockets of this node that a target names, as other nodes see
    /// them.
    pub fn local_sockets(self, lp: &mut Loop, target: &Target) -> Vec<RemoteSocket> {
        let mut sockets = Vec::new();
        select(lp, self, target, &mut sockets);
        sockets.into_iter().filter_map(|socket| remote_socket(lp, socket)).collect()
    }

    /// For an [`Adapter`](super::adapter::Adapter): the names of all rooms of this node, also of those that the ids of
    /// its sockets name.
    pub fn local_rooms(self, lp: &Loop) -> Vec<String> {
        let Some(registry) = lp.layer::<Registry>() else { return Vec::new() };
        let Some(state) = registry.namespace(self) else { return Vec::new() };
        let ids = state.rooms.sockets().filter_map(|socket| state.rooms.id_of(socket)).map(|id| id.as_str());
        ids.chain(state.rooms.room_names()).map(str::to_owned).collect()
    }

    /// For an [`Adapter`](super::adapter::Adapter): another node has answered an operation of this one. The last answer
    /// of a node to a request is `is_last`. An answer that nobody waits for is of no consequence.
    pub fn answered(self, lp: &mut Loop, request: RequestId, answer: Answer, is_last: bool) {
        let Some(state) = lp.layer_mut::<Registry>().namespace_mut(self) else { return };
        let is_complete = match (state.operations.get_mut(&request.0), answer) {
            (Some(Operation::Broadcast { collection, .. }), answer) => {
                match answer {
                    Answer::ClientCount(count) => collection.node_reported(count),
                    Answer::Ack(arguments) => collection.node_answered(arguments),
                    _ => {}
                }
                collection.is_settled()
            }
            (Some(Operation::Fetch { found, nodes, .. }), Answer::Sockets(sockets)) => {
                found.extend(sockets);
                nodes.answered += usize::from(is_last);
                nodes.is_settled()
            }
            (Some(Operation::AllRooms { found, nodes, .. }), Answer::Rooms(rooms)) => {
                found.extend(rooms);
                nodes.answered += usize::from(is_last);
                nodes.is_settled()
            }
            (Some(Operation::AllRooms { found, nodes, .. }), Answer::Sockets(sockets)) => {
                found.extend(sockets.into_iter().flat_map(|socket| socket.rooms));
                nodes.answered += usize::from(is_last);
                nodes.is_settled()
            }
            (Some(Operation::ServerSide { answers, nodes, .. }), Answer::Server(value)) => {
                answers.push(value);
                nodes.answered += usize::from(is_last);
                nodes.is_settled()
            }
            _ => false,
        };
        if is_complete {
            finish(lp, self, request.0);
        }
    }

    /// For an [`Adapter`](super::adapter::Adapter) whose [`nodes`](super::adapter::Adapter::nodes) are not known: how
    /// many nodes there are for an operation of this one, this node included. `None`: there is no way to know; the
    /// operation has the answers of this node only, and is not complete.
    pub fn expect_nodes(self, lp: &mut Loop, request: RequestId, nodes: Option<usize>) {
        let Some(state) = lp.layer_mut::<Registry>().namespace_mut(self) else { return };
        let others = nodes.map(|nodes| nodes.saturating_sub(1));
        let is_settled = match state.operations.get_mut(&request.0) {
            Some(Operation::Broadcast { collection, is_cut_off, .. }) => {
                collection.expect_nodes(others.unwrap_or(0));
                *is_cut_off = others.is_none();
                collection.is_settled()
            }
            Some(
                Operation::Fetch { nodes, .. }
                | Operation::AllRooms { nodes, .. }
                | Operation::ServerSide { nodes, .. },
            ) => {
                nodes.expected = others;
                nodes.is_cut_off = others.is_none();
                nodes.is_settled()
            }
            _ => false,
        };
        if is_settled {
            // In a tick, because the adapter may know it in the method that begins the operation.
            lp.next_tick(move |lp| finish(lp, self, request.0));
        }
    }

    /// For an [`Adapter`](super::adapter::Adapter): an event of another node for sockets of this one, which acknowledge
    /// it. `on_answer` gets each acknowledgement that comes within `timeout`. Returns how many sockets get the event.
    pub fn receive_broadcast_with_ack(
        self,
        lp: &mut Loop,
        target: &Target,
        packet: BroadcastPacket<'_>,
        timeout: Duration,
        on_answer: impl FnMut(&mut Loop, OwnedArguments) + 'static,
    ) -> usize {
        let Some(Numbered { id, sockets, encoded }) = number(lp, self, target, packet.name, packet.arguments) else {
            return 0;
        };
        if let Some(state) = lp.layer_mut::<Registry>().namespace_mut(self) {
            let waiting = sockets.iter().copied().collect();
            let operation = Operation::Relayed { waiting, timer: None, on_answer: Box::new(on_answer) };
            state.operations.insert(id, operation);
        }
        let flags = Flags { is_volatile: packet.volatile, compress: packet.compress };
        let receivers = send_numbered(lp, &sockets, packet.name, encoded, flags);
        begin_operation(lp, self, id, timeout);
        receivers
    }

    /// For an [`Adapter`](super::adapter::Adapter): another node has sent an event to the servers. `answer` gets what
    /// this one answers, if the other node waits for it.
    pub fn receive_server_event(
        self,
        lp: &mut Loop,
        name: &str,
        arguments: &OwnedArguments,
        answer: Option<ServerAnswer>,
    ) {
        let registry = lp.layer_mut::<Registry>();
        let Some(list) = registry.namespace(self).map(|state| state.list) else { return };
        let found = registry.lists[list as usize].server_events.get(name).cloned().unwrap_or_default();
        let ack = answer.map(|answer| Ack { to: AckTo::Node(NodeAck(answer)) });
        let mut event = Event { name, arguments: arguments.as_arguments(), ack, may_have_offset: false };
        for listener in found {
            if let Ok(mut listener) = listener.try_borrow_mut() {
                lp.in_layer_callback(Kind::OnEvent, 0, 0, |lp| listener(lp, &mut event));
            }
        }
    }
}

/// A socket as other nodes see it.
fn remote_socket(lp: &Loop, socket: Socket) -> Option<RemoteSocket> {
    let registry = lp.layer::<Registry>()?;
    let state = registry.socket(socket)?;
    let handshake = socket.handshake(lp)?;
    let headers: Map<_, _> = handshake.headers().map(|(name, value)| (name.to_owned(), value.into())).collect();
    let query: Map<_, _> =
        handshake.query().map(|(name, value)| (name.into_owned(), value.into_owned().into())).collect();
    let auth: Value =
        state.auth.as_deref().and_then(|auth| serde_json::from_str(auth).ok()).unwrap_or_else(|| json!({}));
    let since = handshake.time().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Some(RemoteSocket {
        id: state.id.to_string(),
        rooms: socket.rooms(lp),
        handshake: json!({
            "headers": headers,
            "time": httpdate::fmt_http_date(handshake.time()),
            "address": handshake.address().map(|address| address.ip().to_string()),
            "xdomain": handshake.xdomain(),
            "secure": false,
            "issued": u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            "url": handshake.url(),
            "query": query,
            "auth": auth,
        }),
        data: state.data.as_ref().map_or_else(|| json!({}), |data| data.to_json()),
    })
}
