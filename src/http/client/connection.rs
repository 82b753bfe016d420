//! One connection of a client: a request is sent, its response is received, and the next one follows.
//!
//! ```text
//!               start                       send            the response is complete
//!   request ──────┬─▶ a new connection ──────────▶ busy ──────────────┬─▶ idle, for 4 s
//!                 ├─▶ an idle connection ────────▶  │                 └─▶ closed
//!                 └─▶ it waits for a connection     │
//!                                                   └─ fails ─┬─▶ the error
//!                                                             └─▶ once more, on a new connection
//! ```
//!
//! The callback of a request is called last, when nothing is left to do. It may make requests, abort others, or panic.

use std::mem;
use std::rc::Rc;
use std::time::Duration;

use super::pool::{Clients, Pending};
use super::response::{BadResponse, ClientResponse, Received, ResponseReader, keep_alive_hint};
use super::{Client, ClientConnection, RequestId, socket_options};
use crate::net::{Error, Socket};
use crate::{Kind, Loop, Result, TimerId};

/// The state of a connection, from its making on. Without it the connection is of no interest any longer.
pub(super) struct Connection {
    client: Client,
    host: Rc<str>,
    /// `None`: it is idle.
    request: Option<RequestId>,
    /// From when the request is sent until its response is complete.
    reader: Option<Box<ResponseReader>>,
    /// The request is not the first one. So the server may have closed the connection before it was sent.
    is_reused: bool,
    idle_timer: Option<TimerId>,
}

/// Gives a new request a connection, or lets it wait.
pub(super) fn start(lp: &mut Loop, id: RequestId) {
    let clients = lp.layer_mut::<Clients>();
    let Some(pending) = clients.pending_mut(id) else { return };
    let (client, host) = (pending.client, pending.host.clone());
    // Requests get connections in their order.
    if clients.has_waiting(client, &host) {
        return clients.wait(id);
    }
    if let Some(socket) = take_idle(lp, client, &host) {
        return send_again(lp, socket, id);
    }
    let clients = lp.layer_mut::<Clients>();
    if clients.may_connect(client, &host) {
        connect(lp, id);
    } else {
        clients.wait(id);
    }
}

/// Gives connections to requests that wait.
fn serve_waiting(lp: &mut Loop, client: Client, host: &str) {
    while lp.layer_mut::<Clients>().has_waiting(client, host) {
        let idle = take_idle(lp, client, host);
        let clients = lp.layer_mut::<Clients>();
        if idle.is_none() && !clients.may_connect(client, host) {
            return;
        }
        let Some(id) = clients.take_waiting(client, host) else { return };
        match idle {
            Some(socket) => send_again(lp, socket, id),
            None => connect(lp, id),
        }
    }
}

/// The idle connection that was used last. One that has failed in this turn, and whose events are still to come, is
/// not used.
fn take_idle(lp: &mut Loop, client: Client, host: &str) -> Option<Socket> {
    loop {
        let socket = lp.layer_mut::<Clients>().take_idle(client, host)?;
        if socket.write_refusal(lp).is_none() {
            return Some(socket);
        }
        remove(lp, socket);
    }
}

/// Makes a connection for a request.
fn connect(lp: &mut Loop, id: RequestId) {
    let clients = lp.layer_mut::<Clients>();
    let Some(pending) = clients.pending_mut(id) else { return };
    let (client, host) = (pending.client, pending.host.clone());
    let Some((name, port)) = clients.address(client, &host) else { return };
    match Socket::connect_with(lp, (name.as_str(), port), socket_options(), ClientConnection) {
        Ok(socket) => {
            lp.layer_mut::<Clients>().connection_made(client, &host);
            let state = Connection { client, host, request: None, reader: None, is_reused: false, idle_timer: None };
            socket.set_entry(lp, state);
            assign(lp, socket, id);
        }
        // In a tick, because a method must not call the program.
        Err(error) => lp.next_tick(move |lp| finish(lp, id, Err(error))),
    }
}

/// The connection is for this request from now on.
fn assign(lp: &mut Loop, socket: Socket, id: RequestId) {
    if let Some(connection) = socket.entry_mut::<Connection>(lp) {
        connection.request = Some(id);
        if let Some(timer) = connection.idle_timer.take() {
            lp.clear(timer);
        }
    }
    if let Some(pending) = lp.layer_mut::<Clients>().pending_mut(id) {
        pending.connection = Some(socket);
        match pending.is_unreferenced {
            true => socket.unref(lp),
            false => socket.ref_(lp),
        }
    }
}

/// Sends a request on a connection that has had others.
fn send_again(lp: &mut Loop, socket: Socket, id: RequestId) {
    assign(lp, socket, id);
    if let Some(connection) = socket.entry_mut::<Connection>(lp) {
        connection.is_reused = true;
    }
    send(lp, socket);
}

/// The connection is made, or was idle: sends the request.
pub(super) fn send(lp: &mut Loop, socket: Socket) {
    let Some(connection) = socket.entry::<Connection>(lp) else { return };
    let (Some(id), is_reused) = (connection.request, connection.is_reused) else { return };
    let clients = lp.layer_mut::<Clients>();
    let Some(pending) = clients.pending_mut(id) else { return };
    let (head, body) = (mem::take(&mut pending.head), mem::take(&mut pending.body));
    let (client, method) = (pending.client, pending.method.clone());
    let may_be_repeated = is_reused && method.is_idempotent();
    let reader = ResponseReader::new(method, clients.max_body(client));
    if let Some(connection) = socket.entry_mut::<Connection>(lp) {
        connection.reader = Some(Box::new(reader));
    }
    socket.write_parts(lp, &head, &body);
    if may_be_repeated && let Some(pending) = lp.layer_mut::<Clients>().pending_mut(id) {
        (pending.head, pending.body) = (head, body);
    }
}

/// Bytes have arrived.
pub(super) fn receive(lp: &mut Loop, socket: Socket, chunk: &[u8]) {
    let Some(connection) = socket.entry_mut::<Connection>(lp) else { return };
    let Some(reader) = &mut connection.reader else {
        // No request has asked for them. Some servers send 408 before they close an idle connection.
        log::debug!(target: "bucle::http", "{socket}: bytes without a request, closing");
        return close(lp, socket);
    };
    match reader.receive(chunk) {
        Ok(None) => {}
        Ok(Some(received)) => complete(lp, socket, received),
        Err(bad) => fail(lp, socket, error_of(bad)),
    }
}

/// The server has sent its FIN.
pub(super) fn ended(lp: &mut Loop, socket: Socket) {
    let Some(connection) = socket.entry_mut::<Connection>(lp) else { return };
    match connection.reader.as_mut().map_or(Err(BadResponse::CutOff), |reader| reader.finish()) {
        Ok(Some(received)) => complete(lp, socket, received),
        Ok(None) => {}
        Err(bad) => lost(lp, socket, error_of(bad)),
    }
}

/// The connection is closed, and nothing has said why.
pub(super) fn closed(lp: &mut Loop, socket: Socket) {
    lost(lp, socket, error_of(BadResponse::CutOff));
}

fn error_of(bad: BadResponse) -> Error {
    Error::custom(bad.code(), bad.to_string())
}

/// The response is complete.
fn complete(lp: &mut Loop, socket: Socket, received: Received) {
    let Received { response, is_reusable } = received;
    // A server may answer before it has read the whole request.
    let is_reusable = is_reusable && socket.unsent_length(lp) == 0 && socket.write_refusal(lp).is_none();
    let Some(connection) = socket.entry_mut::<Connection>(lp) else { return };
    connection.reader = None;
    let Some(id) = connection.request.take() else { return };
    let (client, host) = (connection.client, connection.host.clone());
    if !(is_reusable && store(lp, socket, &response)) {
        close(lp, socket);
        return finish(lp, id, Ok(response));
    }
    finish(lp, id, Ok(response));
    // After the callback: if it panics, its connection is destroyed, and no other request must be on it.
    serve_waiting(lp, client, &host);
}

/// Keeps the connection for the next request. Returns `false` if it is not to be kept.
fn store(lp: &mut Loop, socket: Socket, response: &ClientResponse) -> bool {
    let Some(connection) = socket.entry::<Connection>(lp) else { return false };
    let (client, host) = (connection.client, connection.host.clone());
    let clients = lp.layer_mut::<Clients>();
    let limit = clients.options(client).map_or(Duration::ZERO, |options| options.keep_alive);
    let limit = keep_alive_hint(&response.head).map_or(limit, |hint| hint.min(limit));
    if limit.is_zero() || !clients.store_idle(client, &host, socket) {
        return false;
    }
    socket.unref(lp);
    let timer = socket.start_layer_timer(lp, limit, idle_for_too_long);
    if let Some(connection) = socket.entry_mut::<Connection>(lp) {
        connection.idle_timer = Some(timer);
    }
    true
}

fn idle_for_too_long(lp: &mut Loop, socket: Socket) {
    if let Some(connection) = socket.entry_mut::<Connection>(lp) {
        connection.idle_timer = None;
        close(lp, socket);
    }
}

/// The connection cannot be used further: destroys it, and another one may take its place.
pub(super) fn close(lp: &mut Loop, socket: Socket) {
    if let Some(connection) = remove(lp, socket) {
        serve_waiting(lp, connection.client, &connection.host);
    }
}

/// Destroys a connection. Its state is returned, because nothing else has it from here on.
fn remove(lp: &mut Loop, socket: Socket) -> Option<Connection> {
    let connection = socket.take_entry::<Connection>(lp)?;
    if let Some(timer) = connection.idle_timer {
        lp.clear(timer);
    }
    socket.destroy(lp);
    lp.layer_mut::<Clients>().connection_gone(connection.client, &connection.host, socket);
    Some(connection)
}

/// The response is not acceptable.
fn fail(lp: &mut Loop, socket: Socket, error: Error) {
    let Some(connection) = remove(lp, socket) else { return };
    serve_waiting(lp, connection.client, &connection.host);
    if let Some(id) = connection.request {
        finish(lp, id, Err(error));
    }
}

/// The connection could not be made, or is lost.
pub(super) fn lost(lp: &mut Loop, socket: Socket, error: Error) {
    let Some(connection) = socket.entry::<Connection>(lp) else { return };
    let has_begun = connection.reader.as_ref().is_some_and(|reader| reader.has_begun());
    // A server that is alive and takes no bytes would take none of a second attempt.
    let was_closed = !matches!(error, Error::TooSlow { .. });
    let (is_reused, request) = (connection.is_reused, connection.request);
    if let Some(id) = request.filter(|_| is_reused && !has_begun && was_closed)
        && lp.layer_mut::<Clients>().pending_mut(id).is_some_and(|pending| !pending.head.is_empty())
    {
        log::debug!(target: "bucle::http", "{socket} was closed while it was idle, connecting again");
        remove(lp, socket);
        return connect(lp, id);
    }
    fail(lp, socket, error);
}

/// The time of a request is over.
pub(super) fn timed_out(lp: &mut Loop, id: RequestId) {
    let Some(pending) = lp.layer_mut::<Clients>().pending_mut(id) else { return };
    let error = Error::custom("ETIMEDOUT", "the response was not complete in time");
    match pending.connection {
        Some(socket) => fail(lp, socket, error),
        None => finish(lp, id, Err(error)),
    }
}

/// The program gives the request up.
pub(super) fn abort(lp: &mut Loop, id: RequestId) {
    let Some(pending) = end(lp, id) else { return };
    if let Some(socket) = pending.connection {
        close(lp, socket);
    }
}

/// Calls the program with the result of a request.
fn finish(lp: &mut Loop, id: RequestId, result: Result<ClientResponse>) {
    let Some(pending) = end(lp, id) else { return };
    let serial = pending.connection.map_or(0, Socket::serial);
    let size = result.as_ref().map_or(0, |response| response.body.len());
    lp.in_layer_callback(Kind::OnResponse, serial, size, |lp| (pending.on_response)(lp, result));
}

/// Takes a request out.
fn end(lp: &mut Loop, id: RequestId) -> Option<Pending> {
    let pending = lp.layer_mut::<Clients>().end(id)?;
    if let Some(timer) = pending.timer {
        lp.clear(timer);
    }
    Some(pending)
}

/// Whether the request keeps the loop running.
pub(super) fn set_referenced(lp: &mut Loop, id: RequestId, is_referenced: bool) {
    let Some(pending) = lp.layer_mut::<Clients>().pending_mut(id) else { return };
    pending.is_unreferenced = !is_referenced;
    match pending.connection {
        Some(socket) if is_referenced => socket.ref_(lp),
        Some(socket) => socket.unref(lp),
        None => {}
    }
}

/// Whether a request is under way on the connection.
pub(super) fn is_busy(lp: &Loop, socket: Socket) -> bool {
    socket.entry::<Connection>(lp).is_some_and(|connection| connection.request.is_some())
}
