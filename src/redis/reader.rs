//! The connection that reads streams: it asks for new entries, calls the program with them, and asks again.

use std::mem;
use std::rc::Rc;

use super::Link;
use super::entry::Entry;
use super::errors::{error, refusal, unexpected_reply};
use super::frame::Reply;
use super::links::{Expected, Links, OnEntry, Side, Stage};
use crate::net::Error;
use crate::{Kind, Loop};

/// Adds a stream. Returns the number of its call, and whether it is the first one, with which the connection must be
/// made. If there is a connection, it waits for entries, and its next command includes the new stream.
pub(super) fn add(lp: &mut Loop, link: Link, key: &[u8], call: OnEntry) -> (u64, bool) {
    let Some(state) = lp.layer_mut::<Links>().get_mut(link) else { return (0, false) };
    let is_first = state.streams.is_empty();
    let number = state.streams.push(key, call);
    if is_first {
        // The link is ready again when this connection is.
        state.is_ready = false;
    }
    (number, is_first)
}

/// Removes the call of a stream. Returns whether it was the last one, with which the connection is closed.
pub(super) fn remove(lp: &mut Loop, link: Link, number: u64) -> bool {
    let Some(state) = lp.layer_mut::<Links>().get_mut(link) else { return false };
    let was_empty = state.streams.is_empty();
    state.streams.remove(number);
    if was_empty || !state.streams.is_empty() {
        return false;
    }
    let reader = mem::replace(&mut state.reader, Side::new(&state.options));
    if let Some(timer) = reader.retry {
        lp.clear(timer);
    }
    if let Some(socket) = reader.socket {
        socket.destroy(lp);
    }
    true
}

/// Asks for new entries. Redis answers when there are some, or after an interval of pings.
fn read(lp: &mut Loop, link: Link) {
    // Entries may have taken the program long.
    lp.update_now();
    let now = lp.now();
    let Some(state) = lp.layer_mut::<Links>().get_mut(link) else { return };
    // A call may have removed the last stream, and then there may be another connection.
    let Some(socket) = state.reader.socket.filter(|_| state.reader.stage != Stage::Away) else { return };
    let milliseconds = state.options.ping_interval.as_millis();
    let mut bytes = Vec::new();
    if state.streams.have_positions() {
        let checks = state.streams.push_checks(&mut bytes, now);
        state.reader.expected.extend(checks.into_iter().map(Expected::OldestEntry));
        state.streams.push_read(&mut bytes, milliseconds);
        state.reader.expected.push_back(Expected::Entries);
    } else {
        state.reader.expected.extend(state.streams.push_new_questions(&mut bytes).map(Expected::LastEntry));
    }
    socket.write(lp, bytes);
}

/// A reply on this connection. Returns whether the connection is ready with it.
pub(super) fn received(lp: &mut Loop, link: Link, reply: Reply<'_>) -> Result<bool, Error> {
    let Some(state) = lp.layer_mut::<Links>().get_mut(link) else { return Ok(false) };
    let expected = state.reader.expected.pop_front().ok_or_else(unexpected_reply)?;
    let is_ready = state.reader.stage == Stage::Ready;
    match (expected, reply) {
        (Expected::LastEntry(_) | Expected::OldestEntry(_) | Expected::Entries, Reply::Error(text)) => {
            let text = String::from_utf8_lossy(text);
            return Err(error("E_REDIS_REPLY", format!("Redis does not let a stream be read: {text}")));
        }
        (expected, Reply::Error(text)) => return Err(refusal(&expected, text)),
        (Expected::LastEntry(number), reply) => {
            state.streams.answered(number, &reply);
            // The greeting asks for all of them, and reads when it is over.
            if is_ready && state.reader.expected.is_empty() {
                read(lp, link);
            }
        }
        (Expected::OldestEntry(number), reply) => {
            if let Some(key) = state.streams.checked(number, &reply) {
                missed(lp, link, &key);
            }
        }
        (Expected::Entries, reply) => {
            let longest = reply.items().iter().filter_map(|stream| Some(stream.items().get(1)?.items().len())).max();
            state.streams.received(longest.unwrap_or_default());
            deliver(lp, link, &reply);
            read(lp, link);
        }
        (Expected::Greeting, _) => {
            // The command is queued before the program is informed that the link is ready.
            read(lp, link);
            return Ok(true);
        }
        _ => {}
    }
    Ok(false)
}

/// Calls the program with the entries of a reply: for each stream its key, and its entries. If there is none, the reply
/// is nil.
fn deliver(lp: &mut Loop, link: Link, reply: &Reply<'_>) {
    for stream in reply.items() {
        let [key, entries] = stream.items() else { continue };
        let Some(key) = key.bytes() else { continue };
        for entry in entries.items().iter().filter_map(Entry::from_reply) {
            let Some(state) = lp.layer_mut::<Links>().get_mut(link) else { return };
            state.statistics.received += 1;
            let mut after = if state.streams.read(key, entry.id) { 0 } else { u64::MAX };
            // A call may close the link, and remove calls.
            while let Some((number, call)) =
                lp.layer_mut::<Links>().get(link).and_then(|state| state.streams.next_call(key, after))
            {
                after = number;
                call_with(lp, link, &call, &entry);
            }
        }
    }
}

/// Redis has dropped entries of a stream before they were read.
#[cold]
fn missed(lp: &mut Loop, link: Link, key: &[u8]) {
    let Some(state) = lp.layer_mut::<Links>().get_mut(link) else { return };
    state.statistics.gaps += 1;
    log::warn!(
        target: "bucle::redis",
        "entries of the stream {:?} are lost: Redis has dropped them before this link has read them",
        String::from_utf8_lossy(key),
    );
    for (_, call) in state.on_gap.clone() {
        if let Ok(mut call) = call.try_borrow_mut() {
            lp.in_layer_callback(Kind::OnError, link.0.serial(), 0, |lp| call(lp, key));
        }
    }
}

fn call_with(lp: &mut Loop, link: Link, call: &OnEntry, entry: &Entry<'_>) {
    let call = Rc::clone(call);
    if let Ok(mut call) = call.try_borrow_mut() {
        lp.in_layer_callback(Kind::OnMessage, link.0.serial(), 0, |lp| call(lp, entry));
    }
}
