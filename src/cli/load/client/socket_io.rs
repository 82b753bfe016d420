//! Socket.IO on top of a WebSocket: the namespace is joined, a message is an event, and its reply the acknowledgement.

use bucle::Loop;
use bucle::socket_io::Arguments;
use bucle::socket_io::packet::PacketType;
use bucle::websocket::CloseCode;
use bucle::websocket::frame::Opcode;

use super::conn::{ConnState, Session};
use super::connection::Incoming;
use super::run::Run;
use super::websocket::{Ending, SHOWN};
use crate::cli::load::message::show;
use crate::cli::load::options::SocketIo;
use crate::cli::load::websocket::Failed;
use crate::cli::socket_io::{self, Message, PONG};

/// The code under which a refused namespace is counted.
const REFUSED: &str = "E_CONNECT_ERROR";

impl Run {
    /// A text message has arrived. Returns whether the namespace is joined now.
    #[expect(clippy::too_many_arguments, reason = "the connection's parts are borrowed one by one")]
    pub(super) fn receive_packet(
        &mut self,
        lp: &mut Loop,
        at: usize,
        socket_io: &SocketIo,
        text: &str,
        is_joining: bool,
        session: &mut Session,
        now: u64,
    ) -> Result<bool, Ending> {
        let broken = |why: &str| {
            let bytes = text.as_bytes();
            Ending::Violation {
                code: CloseCode::POLICY_VIOLATION,
                why: format!("the server broke the protocol of Socket.IO: {why}"),
                bytes: bytes[..bytes.len().min(SHOWN)].to_vec(),
            }
        };
        match socket_io::read(text, &socket_io.namespace).map_err(|why| broken(&why))? {
            // A second one would be answered again, without an end.
            Message::Open if is_joining && !session.is_open => {
                session.is_open = true;
                self.send_packet(lp, at, &socket_io::connect(&socket_io.namespace, socket_io.auth.as_deref()));
            }
            Message::Joined if is_joining => return Ok(true),
            Message::Refused(message) if is_joining => {
                let (namespace, message) = (&socket_io.namespace, show(message.as_bytes(), SHOWN));
                let why = format!("the server refused the namespace {namespace}: {message}");
                return Err(Ending::Refused(Failed { code: REFUSED.to_owned(), why }));
            }
            Message::Open | Message::Joined | Message::Refused(_) => return Err(broken("a packet came a second time")),
            Message::Ping => {
                let is_blocked = self.conns[at].socket.is_some_and(|socket| socket.unsent_length(lp) > 0);
                match is_blocked {
                    true => session.owes_pong = true,
                    false => self.send_packet(lp, at, PONG),
                }
            }
            Message::Left => return Err(Ending::Left("the server disconnected the client from the namespace")),
            Message::Closed => return Err(Ending::Left("the server closed the session")),
            Message::Packet(packet) => match (packet.kind, packet.id) {
                (PacketType::Ack | PacketType::BinaryAck, Some(seq)) => {
                    let arguments = Arguments::of_ack(&packet, None);
                    // A reply is one string. Anything else is shown as it came.
                    let argument = arguments.text(0).filter(|_| arguments.len() == 1);
                    let argument = argument.as_deref().unwrap_or(arguments.as_json()).as_bytes();
                    self.process(at, Incoming::Acknowledgement { seq, argument }, now);
                }
                // The first event may be the greeting. Others are no replies.
                _ if self.conns[at].state == ConnState::Greeting => {
                    self.process(at, Incoming::Message(Opcode::Text, text.as_bytes()), now);
                }
                _ => {}
            },
            Message::Other => {}
        }
        Ok(false)
    }
}
