//! The connection that reads streams: it asks for new entries, calls the program with them, and asks again.

use std::rc::Rc;

use super::Link;
use super::entry::Entry;
use super::errors::{error, refusal, unexpected_reply};
use super::frame::Reply;
use super::links::{Expected, Links, OnEntry, Stage};
use crate::net::Error;
use crate::{Kind, Loop};

/// Adds a stream. Returns whether it is the first one, with which the connection must be made. If there is a connection,
/// it waits for entries, and its next command includes the new stream.
pub(super) fn add(lp: &mut Loop, link: Link, key: &[u8], call: OnEntry) -> bool {
    let Some(state) = lp.layer_mut::<Links>().get_mut(link) else { return false };
    let is_first = state.streams.is_empty();
    state.streams.push(key, call);
    if is_first {
        // The link is ready again when this connection is.
        state.is_ready = false;
    }
    is_first
}

/// Asks for new entries. Redis answers when there are some, or after an interval of pings.
fn read(lp: &mut Loop, link: Link) {
    let Some(state) = lp.layer_mut::<Links>().get_mut(link) else { return };
    let milliseconds = state.options.ping_interval.as_millis();
    let mut bytes = Vec::new();
    if state.streams.have_positions() {
        state.streams.push_read(&mut bytes, milliseconds);
        state.reader.expected.push_back(Expected::Entries);
    } else {
        state.reader.expected.extend(state.streams.push_new_questions(&mut bytes).map(Expected::LastEntry));
    }
    if let Some(socket) = state.reader.socket {
        socket.write(lp, bytes);
    }
}

/// A reply on this connection. Returns whether the connection is ready with it.
pub(super) fn received(lp: &mut Loop, link: Link, reply: Reply<'_>) -> Result<bool, Error> {
    let Some(state) = lp.layer_mut::<Links>().get_mut(link) else { return Ok(false) };
    let expected = state.reader.expected.pop_front().ok_or_else(unexpected_reply)?;
    let is_ready = state.reader.stage == Stage::Ready;
    match (expected, reply) {
        (Expected::LastEntry(_) | Expected::Entries, Reply::Error(text)) => {
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
        (Expected::Entries, reply) => {
            state.streams.received();
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
            for number in 0..state.streams.read(key, entry.id) {
                // A call may close the link.
                let Some(state) = lp.layer_mut::<Links>().get(link) else { return };
                if let Some(call) = state.streams.call(key, number) {
                    call_with(lp, link, &call, &entry);
                }
            }
        }
    }
}

fn call_with(lp: &mut Loop, link: Link, call: &OnEntry, entry: &Entry<'_>) {
    let call = Rc::clone(call);
    if let Ok(mut call) = call.try_borrow_mut() {
        lp.in_layer_callback(Kind::OnMessage, link.0.serial(), 0, |lp| call(lp, entry));
    }
}
