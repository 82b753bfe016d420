//! The connections of a link: made, greeted, kept alive, lost and made again.
//!
//! ```text
//!             connect              greet                         the first ping is answered
//!   Away ───────────────▶ Away ───────────▶ Greeting ──────────────────────────────────────▶ Ready
//!    ▲                      │      AUTH, SELECT or the subscriptions, PING                      │
//!    └── after a delay ◀────┴───────────────── lost ◀───────────────────────────────────────────┘
//! ```

use std::mem;
use std::rc::Rc;
use std::time::Duration;

use super::errors::{error, refusal, unexpected_reply};
use super::frame::{self, Reply};
use super::links::{Expected, Links, Role, Side, Stage};
use super::{Link, LinkConnection, reader, subscriber};
use crate::net::{Error, Limits, Socket, SocketOptions};
use crate::{Kind, Loop};

/// How many commands may be sent and not answered. A server that answers nothing is lost before that, at any rate of
/// commands that it can take.
const MAX_UNANSWERED: usize = 1 << 20;

/// A connection is lost if nothing comes for so many intervals after a ping.
const MAX_SILENT: u32 = 2;

/// For how long Redis may take no bytes. Pings notice it earlier, unless the link was closed.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// The state of a connection, in the table of its socket.
struct Owner {
    link: Link,
    role: Role,
}

fn side_mut(lp: &mut Loop, link: Link, role: Role) -> Option<&mut Side> {
    lp.layer_mut::<Links>().get_mut(link).map(|state| state.side_mut(role))
}

/// The link of a connection that is in use.
fn owner(lp: &mut Loop, socket: Socket) -> Option<(Link, Role)> {
    let Owner { link, role } = *socket.entry::<Owner>(lp)?;
    let side = side_mut(lp, link, role)?;
    (side.socket == Some(socket)).then_some((link, role))
}

/// Makes a connection.
pub(super) fn connect(lp: &mut Loop, link: Link, role: Role) {
    let Some(state) = lp.layer_mut::<Links>().get_mut(link) else { return };
    let (options, is_unreferenced) = (state.options.clone(), state.is_unreferenced);
    let address = &options.address;
    // A read has hundreds of messages, and each may go to thousands of clients, who are to be served in between.
    let limits = Limits { write_timeout: WRITE_TIMEOUT, reads_per_turn: 1, ..Limits::NONE };
    let socket_options = SocketOptions { no_delay: true, keep_alive: true, limits, ..SocketOptions::default() };
    match Socket::connect_with(lp, (address.host.as_str(), address.port), socket_options, LinkConnection) {
        Ok(socket) => {
            socket.set_entry(lp, Owner { link, role });
            if is_unreferenced {
                socket.unref(lp);
            }
            if let Some(side) = side_mut(lp, link, role) {
                side.socket = Some(socket);
                side.silent = 0;
            }
        }
        // In a tick, because a method must not call the program.
        Err(error) => lp.next_tick(move |lp| lost(lp, link, role, error)),
    }
}

/// The connection is made: logs in, subscribes, and sends a ping. When it is answered, everything before it is done.
pub(super) fn greet(lp: &mut Loop, socket: Socket) {
    let Some((link, role)) = owner(lp, socket) else { return };
    let Some(state) = lp.layer_mut::<Links>().get_mut(link) else { return };
    let address = state.options.clone();
    let address = &address.address;
    let mut bytes = Vec::new();
    let mut expected = Vec::new();
    if let Some(password) = &address.password {
        match &address.user {
            Some(user) => frame::push_command(&mut bytes, &[b"AUTH", user.as_bytes(), password.as_bytes()]),
            None => frame::push_command(&mut bytes, &[b"AUTH", password.as_bytes()]),
        }
        expected.push(Expected::Login);
    }
    match role {
        Role::Commands if address.database != 0 => {
            frame::push_command(&mut bytes, &[b"SELECT", address.database.to_string().as_bytes()]);
            expected.push(Expected::Database);
        }
        Role::Commands => {}
        Role::Subscriber => {
            for topics in state.subscriptions.commands() {
                expected.push(subscriber::push_topics(&mut bytes, topics, true));
            }
        }
        Role::Reader => expected.extend(state.streams.push_questions(&mut bytes).map(Expected::LastEntry)),
    }
    frame::push_command(&mut bytes, &[b"PING"]);
    expected.push(Expected::Greeting);
    let side = state.side_mut(role);
    side.stage = Stage::Greeting;
    side.silent = 0;
    side.expected.extend(expected);
    socket.write(lp, bytes);
}

/// Bytes have arrived.
pub(super) fn receive(lp: &mut Loop, socket: Socket, chunk: &[u8]) {
    let Some((link, role)) = owner(lp, socket) else { return };
    let Some(side) = side_mut(lp, link, role) else { return };
    side.silent = 0;
    let mut received = mem::take(&mut side.received);
    let result = if received.is_empty() {
        let result = take_frames(lp, socket, link, role, chunk);
        if let Ok(used) = result {
            received.extend_from_slice(&chunk[used..]);
        }
        result
    } else {
        received.extend_from_slice(chunk);
        let result = take_frames(lp, socket, link, role, &received);
        if let Ok(used) = result {
            received.drain(..used);
        }
        result
    };
    match result {
        Err(error) => lost(lp, link, role, error),
        Ok(_) if received.is_empty() && received.capacity() > 64 * 1024 => {}
        Ok(_) => {
            if owner(lp, socket).is_some()
                && let Some(side) = side_mut(lp, link, role)
            {
                side.received = received;
            }
        }
    }
}

/// Handles all whole frames. Returns how many bytes they have.
fn take_frames(lp: &mut Loop, socket: Socket, link: Link, role: Role, bytes: &[u8]) -> Result<usize, Error> {
    let mut used = 0;
    while let Some((reply, len)) = frame::decode(&bytes[used..]).map_err(|bad| bad_frame(lp, link, bad))? {
        used += len;
        match role {
            Role::Commands => commands_received(lp, link, reply)?,
            Role::Subscriber => {
                if subscriber::received(lp, link, reply)? {
                    ready(lp, link, role);
                }
            }
            Role::Reader => {
                if reader::received(lp, link, reply)? {
                    ready(lp, link, role);
                }
            }
        }
        // A callback may have closed the link.
        if owner(lp, socket).is_none() {
            return Ok(bytes.len());
        }
    }
    Ok(used)
}

fn bad_frame(lp: &mut Loop, link: Link, bad: frame::NoFrame) -> Error {
    let address = lp.layer_mut::<Links>().get(link).map(|state| state.options.address.to_string());
    error("E_REDIS_PROTOCOL", format!("what {} sends cannot be read: {bad}", address.unwrap_or_default()))
}

/// A reply on the connection for commands.
fn commands_received(lp: &mut Loop, link: Link, reply: Reply<'_>) -> Result<(), Error> {
    let Some(side) = side_mut(lp, link, Role::Commands) else { return Ok(()) };
    let expected = side.expected.pop_front().ok_or_else(unexpected_reply)?;
    match (expected, reply) {
        (Expected::Call(done), reply) => {
            lp.in_layer_callback(Kind::OnResponse, link.0.serial(), 0, |lp| match reply {
                Reply::Error(text) => done(lp, Err(error("E_REDIS_REPLY", String::from_utf8_lossy(text)))),
                reply => done(lp, Ok(reply)),
            });
        }
        (Expected::Nothing, Reply::Error(text)) => {
            let refused = lp.layer_mut::<Links>().get_mut(link).map_or(0, |state| {
                state.refused += 1;
                state.refused
            });
            // A user without the right to publish has every message refused, and the log must not be filled with that.
            if refused.is_power_of_two() {
                let text = String::from_utf8_lossy(text);
                log::warn!(target: "bucle::redis", "Redis refuses a message, number {refused} so far: {text}");
            }
        }
        (expected, Reply::Error(text)) => return Err(refusal(&expected, text)),
        (Expected::Greeting, _) => ready(lp, link, Role::Commands),
        _ => {}
    }
    Ok(())
}

/// A connection has been greeted: it is ready. With the last one the link is.
fn ready(lp: &mut Loop, link: Link, role: Role) {
    let Some(state) = lp.layer_mut::<Links>().get_mut(link) else { return };
    let side = state.side_mut(role);
    side.stage = Stage::Ready;
    side.backoff.reset();
    let socket = side.socket;
    if role == Role::Commands
        && let Some(socket) = socket
    {
        for (command, expected) in state.waiting.take() {
            if let Some(side) = side_mut(lp, link, role) {
                side.expected.push_back(expected);
            }
            socket.write(lp, command);
        }
    }
    check_ready(lp, link);
}

/// If all connections are ready, the link is.
pub(super) fn check_ready(lp: &mut Loop, link: Link) {
    let Some(state) = lp.layer_mut::<Links>().get_mut(link) else { return };
    if state.is_ready || state.roles().any(|role| state.side(role).stage != Stage::Ready) {
        return;
    }
    state.is_ready = true;
    state.has_logged_drop = false;
    state.statistics.connections += 1;
    if mem::take(&mut state.has_reported) {
        log::info!(target: "bucle::redis", "Redis at {} is reachable again", state.options.address);
    }
    for (_, call) in state.on_ready.clone() {
        if let Ok(mut call) = call.try_borrow_mut() {
            lp.in_layer_callback(Kind::OnReady, link.0.serial(), 0, |lp| call(lp));
        }
    }
}

/// The connection has failed.
pub(super) fn failed(lp: &mut Loop, socket: Socket, error: Error) {
    if let Some((link, role)) = owner(lp, socket) {
        lost(lp, link, role, error);
    }
}

/// Redis has closed the connection.
pub(super) fn closed(lp: &mut Loop, socket: Socket) {
    failed(lp, socket, error("ECONNRESET", "Redis has closed the connection"));
}

/// A connection is lost, or could not be made: it is made again after a delay.
fn lost(lp: &mut Loop, link: Link, role: Role, error: Error) {
    let Some(state) = lp.layer_mut::<Links>().get_mut(link) else { return };
    let (is_first, is_unreferenced) = (!mem::replace(&mut state.has_reported, true), state.is_unreferenced);
    state.is_ready = false;
    if role == Role::Reader {
        state.streams.lost(&error);
    }
    let side = state.side_mut(role);
    let expected = mem::take(&mut side.expected);
    let socket = side.socket.take();
    side.stage = Stage::Away;
    side.received = Vec::new();
    let delay = side.backoff.next_delay(random());
    let address = state.options.clone();
    let on_lost = if is_first { state.on_lost.clone() } else { Vec::new() };
    if let Some(socket) = socket {
        socket.destroy(lp);
    }
    let timer = lp.set_timeout(delay, move |lp| {
        if let Some(side) = side_mut(lp, link, role) {
            side.retry = None;
            connect(lp, link, role);
        }
    });
    if is_unreferenced {
        lp.unref(timer);
    }
    if let Some(side) = side_mut(lp, link, role) {
        side.retry = Some(timer);
    }
    let address = &address.address;
    match is_first {
        true => log::warn!(target: "bucle::redis", "Redis at {address} cannot be used: {error}; trying again"),
        false => log::debug!(target: "bucle::redis", "Redis at {address} cannot be used: {error}"),
    }
    fail_all(lp, link, expected, &error);
    for (_, call) in on_lost {
        if let Ok(mut call) = call.try_borrow_mut() {
            lp.in_layer_callback(Kind::OnError, link.0.serial(), 0, |lp| call(lp, &error));
        }
    }
}

/// A random number from 0 up to 1. Without a random source delays are not spread.
fn random() -> f64 {
    let mut bytes = [0; 4];
    match getrandom::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / 4_294_967_296.0,
        Err(_) => 0.5,
    }
}

/// Commands that were sent and are not answered fail: it is not known whether Redis has done them.
fn fail_all(lp: &mut Loop, link: Link, expected: impl IntoIterator<Item = Expected>, error: &Error) {
    for expected in expected {
        if let Expected::Call(done) = expected {
            lp.in_layer_callback(Kind::OnResponse, link.0.serial(), 0, |lp| done(lp, Err(error.clone())));
        }
    }
}

/// Sends a command, or lets it wait for the connection. Returns what is expected for it if there is no room.
pub(super) fn send(lp: &mut Loop, link: Link, parts: &[&[u8]], expected: Expected) -> Result<(), Expected> {
    let Some(state) = lp.layer_mut::<Links>().get_mut(link) else { return Err(expected) };
    let limit = state.options.max_waiting;
    let side = &state.commands;
    let is_full = side.expected.len() >= MAX_UNANSWERED;
    let Some(socket) = side.socket.filter(|_| side.stage == Stage::Ready) else {
        return wait(lp, link, parts, expected);
    };
    let (unsent, len) = (socket.unsent_length(lp), parts.iter().map(|part| part.len()).sum::<usize>());
    // A command that is longer than the limit is sent when no other waits.
    if is_full || unsent > 0 && unsent + len > limit {
        return dropped(lp, link, expected);
    }
    let links = lp.layer_mut::<Links>();
    if let Some(state) = links.get_mut(link) {
        state.commands.expected.push_back(expected);
    }
    let mut command = mem::take(&mut links.command);
    command.clear();
    frame::push_command(&mut command, parts);
    socket.write(lp, &command);
    // A long command must not keep its memory.
    if command.capacity() <= 64 * 1024 {
        lp.layer_mut::<Links>().command = command;
    }
    Ok(())
}

/// Lets a command wait for the connection.
fn wait(lp: &mut Loop, link: Link, parts: &[&[u8]], expected: Expected) -> Result<(), Expected> {
    let Some(state) = lp.layer_mut::<Links>().get_mut(link) else { return Err(expected) };
    let limit = state.options.max_waiting;
    let len = parts.iter().map(|part| part.len()).sum::<usize>();
    if !state.waiting.has_room(len, limit) {
        return dropped(lp, link, expected);
    }
    let mut command = Vec::new();
    frame::push_command(&mut command, parts);
    state.waiting.push(command, expected);
    Ok(())
}

/// There is no room for a command.
#[cold]
fn dropped(lp: &mut Loop, link: Link, expected: Expected) -> Result<(), Expected> {
    if let Some(state) = lp.layer_mut::<Links>().get_mut(link) {
        state.statistics.dropped += 1;
        if !mem::replace(&mut state.has_logged_drop, true) {
            log::warn!(
                target: "bucle::redis",
                "more than {} bytes wait for Redis at {}: messages are dropped until it takes them",
                state.options.max_waiting, state.options.address,
            );
        }
    }
    Err(expected)
}

/// Sends pings, and gives connections up that have been silent for too long.
pub(super) fn ping(lp: &mut Loop, link: Link) {
    for role in Role::ALL {
        let Some(side) = side_mut(lp, link, role) else { return };
        let Some(socket) = side.socket else { continue };
        side.silent += 1;
        if side.silent > MAX_SILENT {
            lost(lp, link, role, error("ETIMEDOUT", "Redis does not answer"));
            continue;
        }
        // A ping would wait behind the command that reads, which is answered in time without one.
        if side.stage == Stage::Ready && role != Role::Reader && side.expected.len() < MAX_UNANSWERED {
            side.expected.push_back(Expected::Nothing);
            let mut bytes = Vec::new();
            frame::push_command(&mut bytes, &[b"PING"]);
            socket.write(lp, bytes);
        }
    }
}

/// Closes a link. Commands that were not answered fail in a tick.
pub(super) fn close(lp: &mut Loop, link: Link) {
    let Some(mut state) = lp.layer_mut::<Links>().slots.remove(link.0) else { return };
    let mut expected = Vec::new();
    if let Some(timer) = state.pings.take() {
        lp.clear(timer);
    }
    for role in Role::ALL {
        let side = state.side_mut(role);
        if let Some(timer) = side.retry.take() {
            lp.clear(timer);
        }
        expected.extend(mem::take(&mut side.expected));
        // Bytes that were written are still sent.
        if let Some(socket) = side.socket.take() {
            socket.end(lp);
            socket.destroy_soon(lp);
        }
    }
    expected.extend(state.waiting.take().into_iter().map(|(_, expected)| expected));
    lp.next_tick(move |lp| fail_all(lp, link, expected, &error("E_REDIS_CLOSED", "the link to Redis was closed")));
}

/// Whether the link keeps the loop running.
pub(super) fn set_referenced(lp: &mut Loop, link: Link, is_referenced: bool) {
    let Some(state) = lp.layer_mut::<Links>().get_mut(link) else { return };
    state.is_unreferenced = !is_referenced;
    let sides = Role::ALL.map(|role| (state.side(role).socket, state.side(role).retry));
    for (socket, timer) in sides {
        match (socket, is_referenced) {
            (Some(socket), true) => socket.ref_(lp),
            (Some(socket), false) => socket.unref(lp),
            (None, _) => {}
        }
        match (timer, is_referenced) {
            (Some(timer), true) => lp.ref_(timer),
            (Some(timer), false) => lp.unref(timer),
            (None, _) => {}
        }
    }
}

/// A link with its first connections.
pub(super) fn open(lp: &mut Loop, options: super::Options) -> Link {
    let options = Rc::new(options);
    let interval = options.ping_interval;
    let links = lp.layer_mut::<Links>();
    links.last_serial = links.last_serial.wrapping_add(1);
    let state = super::links::LinkState {
        serial: links.last_serial,
        commands: Side::new(&options),
        subscriber: Side::new(&options),
        reader: Side::new(&options),
        options,
        streams: Default::default(),
        subscriptions: Default::default(),
        waiting: Default::default(),
        statistics: Default::default(),
        on_ready: Vec::new(),
        on_lost: Vec::new(),
        on_gap: Vec::new(),
        last_listener: 0,
        is_ready: false,
        has_reported: false,
        has_logged_drop: false,
        refused: 0,
        is_unreferenced: false,
        pings: None,
    };
    let link = Link(links.slots.insert(state));
    let pings = lp.set_internal_interval(interval, move |lp| ping(lp, link));
    lp.unref(pings);
    if let Some(state) = lp.layer_mut::<Links>().get_mut(link) {
        state.pings = Some(pings);
    }
    connect(lp, link, Role::Commands);
    connect(lp, link, Role::Subscriber);
    link
}
