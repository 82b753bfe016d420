//! Packets to sockets: encoded into buffers that are used again, and sent through their session.

use std::mem;
use std::rc::Rc;

use super::arguments::{Header, IntoArguments, OwnedArguments, encode_ack, encode_event};
use super::packet::{self, PacketType};
use super::registry::Registry;
use super::{Socket, json, listeners, recover};
use crate::Loop;
use crate::engine_io::{self, Session};

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
fn take_buffer(lp: &mut Loop) -> Encoded {
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

/// Encodes an event. `None`, with a line in the log, if it cannot be sent: its name is reserved, or its arguments cannot
/// be written as JSON.
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

/// Sends a packet that is encoded to one session.
pub(super) fn deliver(lp: &mut Loop, session: Session, encoded: &Encoded) -> bool {
    let mut is_low = session.send_packet(lp, &encoded.text);
    for bytes in &encoded.attachments {
        is_low = session.send_binary(lp, bytes);
    }
    is_low
}

/// Sends an event to one socket.
#[inline]
pub(super) fn event(
    lp: &mut Loop,
    socket: Socket,
    id: Option<u64>,
    name: &str,
    arguments: &impl IntoArguments,
    is_volatile: bool,
) -> bool {
    let registry = lp.layer_mut::<Registry>();
    let Some(state) = registry.socket(socket).filter(|state| state.is_connected()) else { return false };
    let (session, namespace) = (state.session, state.namespace);
    let Some(nsp) = registry.namespace(namespace).map(|state| state.name.clone()) else { return false };
    if is_volatile && !session.is_writable(lp) {
        return false;
    }
    // An event that the client would miss in an interruption is kept. Node keeps none that wants an acknowledgement.
    let is_kept = !is_volatile && id.is_none();
    let offset = if is_kept { recover::next_offset(lp, namespace) } else { None };
    let Some(encoded) = encode(lp, &nsp, id, name, arguments, offset.as_deref()) else { return false };
    let is_low = deliver(lp, session, &encoded);
    if offset.is_some() {
        recover::store_for_one(lp, namespace, &encoded, socket);
    }
    listeners::notify_outgoing(lp, &[socket], name, &encoded);
    give_back(lp, encoded);
    is_low
}

/// Sends an acknowledgement.
pub(super) fn ack(lp: &mut Loop, socket: Socket, id: u64, arguments: &impl IntoArguments) -> bool {
    let registry = lp.layer_mut::<Registry>();
    let Some(state) = registry.socket(socket).filter(|state| state.is_connected()) else { return false };
    let session = state.session;
    let Some(nsp) = registry.namespace(state.namespace).map(|state| state.name.clone()) else { return false };
    let mut encoded = take_buffer(lp);
    let is_low = match encode_ack(&mut encoded.text, &mut encoded.attachments, &Header::new(&nsp, Some(id)), arguments) {
        Ok(()) => deliver(lp, session, &encoded),
        Err(error) => {
            log::error!(target: "bucle::socket_io", "an acknowledgement cannot be sent: {error}");
            false
        }
    };
    give_back(lp, encoded);
    is_low
}

/// Sends a packet that is neither an event nor an acknowledgement. `data` is JSON.
pub(super) fn control(lp: &mut Loop, session: Session, kind: PacketType, namespace: &str, data: Option<&str>) -> bool {
    let mut encoded = take_buffer(lp);
    packet::push_header(&mut encoded.text, kind, 0, namespace, None);
    encoded.text.push_str(data.unwrap_or_default());
    let is_low = deliver(lp, session, &encoded);
    give_back(lp, encoded);
    is_low
}

/// Sends one packet to many sessions.
pub(super) fn deliver_to_all(lp: &mut Loop, sessions: &[Session], encoded: &Encoded) {
    let attachments: Vec<Rc<[u8]>> = encoded.attachments.iter().map(|bytes| Rc::from(bytes.as_slice())).collect();
    engine_io::send::broadcast(lp, sessions, &encoded.text, &attachments);
}
