//! Packets to sockets, through their sessions.

use std::rc::Rc;

use super::adapter::Target;
use super::arguments::{Header, IntoArguments, encode_ack};
use super::encode::{Encoded, encode, give_back, guard, take_buffer, to_owned};
use super::event::{Ack, AckTo, NodeAck};
use super::packet::{self, PacketType};
use super::registry::Registry;
use super::{Socket, listeners, recover, sessions};
use crate::Loop;
use crate::engine_io::{self, Session};

/// How an event is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Flags {
    /// It is dropped for sockets that are not ready.
    pub is_volatile: bool,
    /// It may be compressed for clients that have agreed on it.
    pub compress: bool,
}

impl Default for Flags {
    fn default() -> Flags {
        Flags { is_volatile: false, compress: true }
    }
}

/// Sends a packet that is encoded to one session.
#[inline]
fn deliver_with(lp: &mut Loop, session: Session, encoded: &Encoded, compress: bool) -> bool {
    match compress {
        true => deliver(lp, session, encoded),
        false => session.send_uncompressed(lp, &encoded.text, &encoded.attachments),
    }
}

/// As [`deliver_with`], compressed if the client has agreed on it.
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
    flags: Flags,
) -> bool {
    let Flags { is_volatile, compress } = flags;
    let registry = lp.layer_mut::<Registry>();
    let Some(state) = registry.socket(socket).filter(|state| state.is_connected()) else { return false };
    let (session, namespace) = (state.session, state.namespace);
    let Some(nsp) = registry.namespace(namespace).map(|state| state.name.clone()) else { return false };
    if is_volatile && !session.is_writable(lp) {
        return false;
    }
    if !is_volatile && id.is_none() && sessions::are_kept(lp, namespace) {
        let Some(id) = socket.id(lp) else { return false };
        let target = Target { rooms: vec![id.to_string()], except: Vec::new() };
        let is_sent = sessions::emit(lp, namespace, &target, name, arguments, true);
        return is_sent && session.buffered_amount(lp) < engine_io::send::HIGH_WATER_MARK;
    }
    // An event that the client would miss in an interruption is kept. Node keeps none that wants an acknowledgement.
    let is_kept = !is_volatile && id.is_none();
    let offset = if is_kept { recover::next_offset(lp, namespace) } else { None };
    let Some(mut encoded) = encode(lp, &nsp, id, name, arguments, offset.as_deref()) else { return false };
    if is_volatile && id.is_none() {
        guard(lp, namespace, &mut encoded);
    }
    let is_low = deliver_with(lp, session, &encoded, compress);
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
    let is_low = match encode_ack(&mut encoded.text, &mut encoded.attachments, &Header::new(&nsp, Some(id)), arguments)
    {
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
pub(super) fn deliver_to_all(lp: &mut Loop, sessions: &[Session], encoded: &Encoded, compress: bool) {
    let attachments: Vec<Rc<[u8]>> = encoded.attachments.iter().map(|bytes| Rc::from(bytes.as_slice())).collect();
    engine_io::send::broadcast(lp, sessions, &encoded.text, &attachments, compress);
}

impl Ack {
    /// Sends the acknowledgement. Returns what [`Socket::emit`] returns.
    pub fn send(self, lp: &mut Loop, arguments: impl IntoArguments) -> bool {
        match self.to {
            AckTo::Client { socket, id } => ack(lp, socket, id, &arguments),
            AckTo::Server { client, id, connection } => client.send_ack(lp, id, connection, &arguments),
            AckTo::Node(NodeAck(answer)) => {
                let Some(arguments) = to_owned(&arguments) else { return false };
                // As in Node, the first argument is the answer.
                answer(lp, arguments.as_arguments().get(0).unwrap_or_default());
                true
            }
        }
    }
}
