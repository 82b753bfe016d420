//! Sending: messages, control frames, compression and masks.
//!
//! | connection | a message is |
//! |---|---|
//! | of a server, not compressed | gathered from the caller's slice, behind its header |
//! | with `permessage-deflate`, from the threshold on | compressed into the loop's scratch buffer |
//! | of a client | copied to the scratch buffer and masked there |

use std::mem;

use super::deflate::{Deflater, Inflater, Params};
use super::frame::{Header, Opcode};
use super::mask::apply_mask;
use super::receiver::Message;
use super::registry::Registry;
use super::{WebSocket, tag};
use crate::Loop;

/// The streams of a connection that does not share those of the loop: it keeps its context from message to message, or
/// has a smaller window.
pub(super) struct OwnStreams {
    pub params: Params,
    pub deflater: Option<Deflater>,
    pub inflater: Option<Inflater>,
}

/// Whether this side keeps its context from message to message, and the window of its messages.
pub(super) fn outgoing(params: Params, is_client: bool) -> (bool, u8) {
    if is_client {
        (!params.client_no_context_takeover, params.client_max_window_bits)
    } else {
        (!params.server_no_context_takeover, params.server_max_window_bits)
    }
}

/// Whether the peer keeps its context from message to message.
pub(super) fn keeps_incoming_context(params: Params, is_client: bool) -> bool {
    if is_client { !params.server_no_context_takeover } else { !params.client_no_context_takeover }
}

impl<'a> From<&'a str> for Message<'a> {
    fn from(text: &'a str) -> Self {
        Message::Text(text)
    }
}

impl<'a> From<&'a String> for Message<'a> {
    fn from(text: &'a String) -> Self {
        Message::Text(text)
    }
}

impl<'a> From<&'a [u8]> for Message<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Message::Binary(bytes)
    }
}

impl<'a> From<&'a Vec<u8>> for Message<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Message::Binary(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Message<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Message::Binary(bytes)
    }
}

impl<'a> Message<'a> {
    /// The payload: of a text in UTF-8.
    #[inline]
    pub fn as_bytes(&self) -> &'a [u8] {
        match self {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
        }
    }

    #[inline]
    pub(super) fn opcode(&self) -> Opcode {
        match self {
            Message::Text(_) => Opcode::Text,
            Message::Binary(_) => Opcode::Binary,
        }
    }
}

/// The header of an unmasked frame.
#[inline]
fn header(opcode: Opcode, is_compressed: bool, len: usize) -> Header {
    Header { fin: true, rsv1: is_compressed, opcode, mask: None, len: len as u64 }
}

impl WebSocket {
    /// Sends a message: a `&str` as text, bytes as a binary message. Everything that is sent in one phase leaves in one
    /// system call.
    ///
    /// Returns `false` if the peer reads more slowly than the program sends: at least a high-water mark of bytes waits.
    /// The message is queued all the same; send on when [`Handler::on_drain`](super::Handler::on_drain) is called. Also
    /// returns `false`, and sends nothing, before the connection is open and after a [`close`](Self::close).
    ///
    /// Node:
    /// [`websocket.send`](https://github.com/websockets/ws/blob/master/doc/ws.md#websocketsenddata-options-callback) of
    /// `ws`, which returns nothing.
    #[inline]
    pub fn send<'a>(self, lp: &mut Loop, message: impl Into<Message<'a>>) -> bool {
        let message = message.into();
        const SPECIAL: u16 = tag::CLOSE_SENT | tag::DEFLATE | tag::CLIENT;
        if self.0.tag(lp) & (tag::OPEN | SPECIAL) == tag::OPEN {
            let payload = message.as_bytes();
            return self.0.write_parts(lp, header(message.opcode(), false, payload.len()).encode(), payload);
        }
        self.send_specially(lp, message)
    }

    /// As [`send`](Self::send), without compression: the message is compressed already, or is a secret whose length
    /// must not depend on its content.
    ///
    /// Node: the option `compress: false` of `ws`.
    #[doc(alias = "compress")]
    pub fn send_uncompressed<'a>(self, lp: &mut Loop, message: impl Into<Message<'a>>) -> bool {
        let message = message.into();
        if self.0.tag(lp) & (tag::OPEN | tag::CLOSE_SENT) != tag::OPEN {
            return false;
        }
        let payload = message.as_bytes();
        self.send_frame(lp, header(message.opcode(), false, payload.len()), payload)
    }

    /// Sends a message of a connection that compresses or masks, or is not open.
    #[inline(never)]
    fn send_specially(self, lp: &mut Loop, message: Message<'_>) -> bool {
        let tag = self.0.tag(lp);
        if tag & (tag::OPEN | tag::CLOSE_SENT) != tag::OPEN {
            return false;
        }
        let payload = message.as_bytes();
        if tag & tag::DEFLATE == 0 || payload.len() < self.threshold(lp) {
            return self.send_frame(lp, header(message.opcode(), false, payload.len()), payload);
        }
        let mut compressed = mem::take(&mut lp.layer_mut::<Registry>().outgoing);
        compressed.clear();
        let result = if self.compress(lp, payload, &mut compressed) {
            self.send_frame(lp, header(message.opcode(), true, compressed.len()), &compressed)
        } else {
            self.send_frame(lp, header(message.opcode(), false, payload.len()), payload)
        };
        give_back(&mut lp.layer_mut::<Registry>().outgoing, compressed);
        result
    }

    /// Messages below this length are not compressed.
    fn threshold(self, lp: &Loop) -> usize {
        let deflate = self.endpoint(lp).and_then(|endpoint| endpoint.options.deflate.as_ref());
        deflate.map_or(0, |deflate| deflate.threshold)
    }

    /// Compresses a payload, with the stream of this connection or the shared one. Returns `false` if the payload must
    /// be sent as it is, because compression makes it longer. Then the peer's limit could refuse it.
    fn compress(self, lp: &mut Loop, payload: &[u8], out: &mut Vec<u8>) -> bool {
        let deflate = self.endpoint(lp).and_then(|endpoint| endpoint.options.deflate.as_ref());
        let level = deflate.map_or(1, |deflate| deflate.level);
        let is_client = self.is_client(lp);
        let mut bits = 15;
        if self.0.tag(lp) & tag::OWN_STREAMS != 0
            && let Some(streams) = self.0.entry_mut::<OwnStreams>(lp)
        {
            let (keeps_context, window_bits) = outgoing(streams.params, is_client);
            if keeps_context {
                let deflater = streams.deflater.get_or_insert_with(|| Deflater::new(level, window_bits));
                deflater.deflate(payload, out, true);
                // A short message is sent compressed all the same: the next one may repeat it.
                let is_worth_it = out.len() < payload.len() || payload.len() < 1 << window_bits;
                if !is_worth_it {
                    deflater.forget();
                }
                return is_worth_it;
            }
            bits = window_bits;
        }
        lp.layer_mut::<Registry>().deflater(level, bits).deflate(payload, out, false);
        out.len() < payload.len()
    }

    /// Sends a frame, masked if this side is the client.
    fn send_frame(self, lp: &mut Loop, header: Header, payload: &[u8]) -> bool {
        if !self.is_client(lp) {
            return self.0.write_parts(lp, header.encode(), payload);
        }
        let registry = lp.layer_mut::<Registry>();
        let mask = match registry.masks.random() {
            Ok(mask) => mask,
            Err(error) => {
                self.0.destroy_with(lp, error);
                return false;
            }
        };
        let mut masked = mem::take(&mut registry.masked);
        masked.clear();
        masked.extend_from_slice(payload);
        apply_mask(&mut masked, mask, 0);
        let result = self.0.write_parts(lp, Header { mask: Some(mask), ..header }.encode(), &masked);
        give_back(&mut lp.layer_mut::<Registry>().masked, masked);
        result
    }

    /// Sends a control frame. The payload has at most 125 bytes.
    pub(super) fn send_control(self, lp: &mut Loop, opcode: Opcode, payload: &[u8]) -> bool {
        let name = match opcode {
            Opcode::Ping => "ping",
            Opcode::Pong => "pong",
            _ => "control frame",
        };
        log::trace!(target: "bucle::websocket", "{self} sends a {name} of {} bytes", payload.len());
        self.send_frame(lp, header(opcode, false, payload.len()), payload)
    }

    /// Sends a ping, which the peer answers with a pong of the same payload
    /// ([`Handler::on_pong`](super::Handler::on_pong)). The payload is cut at 125 bytes (RFC 6455, 5.5).
    ///
    /// An endpoint sends pings by itself to connections from which nothing arrives: see
    /// [`Options::idle_limit`](super::Options::idle_limit).
    pub fn ping(self, lp: &mut Loop, payload: impl AsRef<[u8]>) -> bool {
        let payload = payload.as_ref();
        if self.0.tag(lp) & (tag::OPEN | tag::CLOSE_SENT) != tag::OPEN {
            return false;
        }
        self.send_control(lp, Opcode::Ping, &payload[..payload.len().min(super::frame::MAX_CONTROL_LEN)])
    }
}

/// How large a scratch buffer may stay between two messages: one full read.
const SCRATCH: usize = 64 * 1024;

/// Puts a scratch buffer back. A larger one is freed: a block that stays above blocks of connections would keep their
/// memory in the process after they have closed.
pub(super) fn give_back(place: &mut Vec<u8>, mut buffer: Vec<u8>) {
    buffer.clear();
    if buffer.capacity() > SCRATCH {
        // Shrunk first: glibc raises its mmap threshold when a large block is freed.
        buffer.shrink_to(SCRATCH);
        buffer = Vec::new();
    }
    *place = buffer;
}
