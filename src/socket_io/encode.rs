//! Packets as text, in buffers that are used again.

use std::mem;

use super::arguments::{Header, IntoArguments, OwnedArguments, encode_ack, encode_event};
use super::registry::Registry;
use super::{Namespace, json, packet};
use crate::Loop;

/// The type of an Engine.IO message, in front of every packet of Socket.IO.
const MESSAGE: char = '4';

/// A packet of up to this size leaves its buffer to the next one.
const SCRATCH: usize = 64 * 1024;

/// A packet that is encoded: the text with the type of Engine.IO, and its attachments.
#[derive(Default)]
pub(super) struct Encoded {
    pub text: String,
    pub attachments: Vec<Vec<u8>>,
}

/// Takes the buffer of packets.
pub(super) fn take_buffer(lp: &mut Loop) -> Encoded {
    let mut text = mem::take(&mut lp.layer_mut::<Registry>().scratch.packet);
    text.clear();
    text.push(MESSAGE);
    Encoded { text, attachments: Vec::new() }
}

pub(super) fn give_back(lp: &mut Loop, encoded: Encoded) {
    if encoded.text.capacity() <= SCRATCH {
        lp.layer_mut::<Registry>().scratch.packet = encoded.text;
    }
}

/// Encodes an event. `None`, with a line in the log, if it cannot be sent: its name is reserved, or its arguments
/// cannot be written as JSON.
pub(super) fn encode(
    lp: &mut Loop,
    namespace: &str,
    id: Option<u64>,
    name: &str,
    arguments: &impl IntoArguments,
    offset: Option<&str>,
) -> Option<Encoded> {
    if packet::RESERVED_EVENTS.contains(&name) {
        log::error!(target: "bucle::socket_io", "{name:?} is reserved and cannot be emitted: choose another name");
        return None;
    }
    let mut encoded = take_buffer(lp);
    let header = Header::new(namespace, id);
    match encode_event(&mut encoded.text, &mut encoded.attachments, &header, name, arguments, offset) {
        Ok(()) => Some(encoded),
        Err(error) => {
            log::error!(target: "bucle::socket_io", "event {name:?} cannot be sent: {error}");
            give_back(lp, encoded);
            None
        }
    }
}

/// Copies arguments, for operations that need them later. `None`, with a line in the log, if they cannot be written as
/// JSON.
pub(super) fn to_owned(arguments: &impl IntoArguments) -> Option<OwnedArguments> {
    let mut encoded = Encoded::default();
    match encode_ack(&mut encoded.text, &mut encoded.attachments, &Header::new("/", Some(0)), arguments) {
        Ok(()) => Some(arguments_of(&encoded.text, encoded.attachments, 0)),
        Err(error) => {
            log::error!(target: "bucle::socket_io", "arguments cannot be sent: {error}");
            None
        }
    }
}

/// The arguments of a packet that this crate has encoded, without the first `skipped` items of its data.
pub(super) fn arguments_of(packet: &str, attachments: Vec<Vec<u8>>, skipped: usize) -> OwnedArguments {
    let mut items = json::items(packet.find('[').map_or("", |at| &packet[at..]));
    for _ in 0..skipped {
        items.next();
    }
    OwnedArguments::new(items.rest().to_owned(), attachments).unwrap_or_default()
}

/// Adds the last offset to an event that is not kept and ends with a string: the clients for JavaScript take the last
/// argument of every event without an acknowledgement for its offset, if it is a string.
pub(super) fn guard(lp: &mut Loop, namespace: Namespace, encoded: &mut Encoded) {
    if !encoded.text.ends_with("\"]") {
        return;
    }
    let Some(state) = lp.layer::<Registry>().and_then(|registry| registry.namespace(namespace)) else { return };
    let offset = match (&state.recovery, &state.adapter) {
        (Some(recovery), _) => Some(recovery.last_offset().to_string()),
        (None, Some(adapter)) if state.are_sessions_elsewhere => adapter.last_offset(lp),
        _ => None,
    };
    if let Some(offset) = offset {
        encoded.text.pop();
        encoded.text.push_str(&format!(",\"{offset}\"]"));
    }
}
