//! Payloads: several packets in one body of HTTP, the answer to a poll or what a client posts.
//!
//! ```text
//!   revision 4           4hola ␞ bAQID ␞ 2                separated by the character U+001E
//!   revision 3, text     5:4hola 6:b4AQID 1:2             each with its length before it
//!   revision 3, binary   00 05 ff "4hola" 01 04 ff 04 01 02 03
//!                        │  │  │          └ bytes: as a binary frame of a WebSocket
//!                        │  │  └ ends the length
//!                        │  └ the length, a byte for each decimal digit
//!                        └ 0: a string, 1: bytes
//! ```
//!
//! The binary form of revision 3 is for payloads with bytes, between peers that can take it. Its content type is
//! `application/octet-stream`. The clients for Java post it always.
//!
//! # Refused payloads
//!
//! The decoder of Node accepts more than its encoder writes. This one accepts what encoders of clients write:
//!
//! | payload | Node | here |
//! |---|---|---|
//! | an empty body in text | refused | refused |
//! | an empty body in binary | no packet | no packet |
//! | revision 4: an empty packet | refused | refused |
//! | revision 3: an empty packet in text, `0:` | skipped | skipped |
//! | revision 3: an empty packet in binary | refused, or a packet without a type | refused |
//! | a length with sign, blank, leading zero, fraction or exponent | accepted | refused |
//! | a length beyond the end of the body | refused in text, cut in binary | refused |
//! | a length that ends inside a character | cut | refused |
//! | a binary packet of an unknown type | a packet without a type | refused |
//! | base64 that is wrong | wrong characters are skipped | refused; see [`packet`](super::packet) |
//! | text that is not UTF-8 | U+FFFD instead | refused |
//!
//! # Bounds
//!
//! The time is linear in the size of the body, over all calls of [`next`](PayloadDecoder::next). The memory is that of
//! the body, and of the longest packet in base64. No memory is allocated for a length before its data is there.

use super::error::Malformed;
use super::packet::{Packet, Queued, QueuedData, Revision, parse_binary, parse_text};

#[cfg(test)]
mod tests;
mod v3;
mod v4;

/// How many packets one answer to a poll may have.
///
/// The clients for Python (python-engineio) refuse a payload with more. Node sends any number, and loses such a client
/// when many packets are waiting for its poll.
pub const MAX_PACKETS: usize = 16;

/// Takes the packets out of a body, one by one. A program can do something else between two of them.
///
/// ```
/// use bucle::engine_io::packet::{Data, Revision};
/// use bucle::engine_io::payload::PayloadDecoder;
///
/// let mut payload = PayloadDecoder::new(Revision::V4, b"4hola\x1e4amigo".to_vec(), false);
/// let mut texts = Vec::new();
/// while let Some(packet) = payload.next() {
///     if let Data::Text(text) = packet?.data {
///         texts.push(text.to_owned());
///     }
/// }
/// assert_eq!(texts, ["hola", "amigo"]);
/// # Ok::<(), bucle::engine_io::Malformed>(())
/// ```
#[derive(Debug)]
pub struct PayloadDecoder {
    revision: Revision,
    body: Body,
    /// Where the next packet begins in the body.
    at: usize,
    /// The data of the last packet, if it was base64.
    decoded: Vec<u8>,
    /// All packets, or an error, were returned.
    is_done: bool,
}

#[derive(Debug)]
enum Body {
    Text(String),
    /// Revision 3 only.
    Binary(Vec<u8>),
    /// A body that is wrong as a whole.
    Refused(Malformed),
}

impl PayloadDecoder {
    /// A decoder for a whole body. `is_binary` means that its content type is `application/octet-stream`.
    pub fn new(revision: Revision, body: Vec<u8>, is_binary: bool) -> PayloadDecoder {
        let body = match (revision, is_binary) {
            (Revision::V3, true) => Body::Binary(body),
            (Revision::V4, true) => Body::Refused(Malformed::new("revision 4 has no binary payloads")),
            (_, false) => String::from_utf8(body)
                .map_or_else(|_| Body::Refused(Malformed::new("the payload is not UTF-8")), Body::Text),
        };
        PayloadDecoder { revision, body, at: 0, decoded: Vec::new(), is_done: false }
    }

    /// The next packet; `None` after the last one, and after an error.
    ///
    /// # Errors
    ///
    /// The table in the documentation of this module lists them. Packets in front of the mistake are returned first, as
    /// in Node.
    #[expect(clippy::should_implement_trait, reason = "an Iterator cannot lend its items")]
    pub fn next(&mut self) -> Option<Result<Packet<'_>, Malformed>> {
        if self.is_done {
            return None;
        }
        let packet = match &self.body {
            Body::Text(text) => {
                let packet = match self.revision {
                    Revision::V3 => v3::next_in_text(text, &mut self.at),
                    Revision::V4 => v4::next(text, &mut self.at).map(Ok),
                };
                packet.map(|packet| parse_text(self.revision, packet?, &mut self.decoded))
            }
            Body::Binary(bytes) => v3::next_in_binary(bytes, &mut self.at).map(|packet| match packet? {
                v3::Framed::Text(text) => parse_text(self.revision, text, &mut self.decoded),
                v3::Framed::Bytes(bytes) => parse_binary(self.revision, bytes),
            }),
            Body::Refused(malformed) => Some(Err(*malformed)),
        };
        self.is_done = !matches!(packet, Some(Ok(_)));
        packet
    }
}

/// A payload that can be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Encoded {
    /// To be sent as `text/plain; charset=UTF-8`.
    Text(String),
    /// To be sent as `application/octet-stream`. Revision 3 only.
    Binary(Vec<u8>),
}

impl Encoded {
    /// Whether the content type is `application/octet-stream`.
    pub fn is_binary(&self) -> bool {
        matches!(self, Encoded::Binary(_))
    }

    /// The body.
    pub fn into_bytes(self) -> Vec<u8> {
        match self {
            Encoded::Text(text) => text.into_bytes(),
            Encoded::Binary(bytes) => bytes,
        }
    }
}

/// The packets as one payload. A server sends it and a client posts it in the same form.
///
/// `supports_binary` is `false` if the first request of this transport has `b64` or `j` in its query. In revision 4 it
/// has no effect.
///
/// ```
/// use bucle::engine_io::packet::{PacketType, Queued, Revision};
/// use bucle::engine_io::payload::{Encoded, encode};
///
/// let packets = [Queued::text(PacketType::Message, "hola"), Queued::binary(vec![1, 2, 3])];
/// assert_eq!(encode(Revision::V4, &packets, true), Encoded::Text("4hola\x1ebAQID".into()));
/// assert_eq!(encode(Revision::V3, &packets, false), Encoded::Text("5:4hola6:b4AQID".into()));
/// assert_eq!(encode(Revision::V3, &packets, true), Encoded::Binary(b"\0\x05\xff4hola\x01\x04\xff\x04\x01\x02\x03".into()));
/// ```
pub fn encode<'a, P>(revision: Revision, packets: P, supports_binary: bool) -> Encoded
where
    P: IntoIterator<Item = &'a Queued>,
    P::IntoIter: Clone,
{
    let packets = packets.into_iter();
    let mut size = Size::default();
    packets.clone().for_each(|packet| size.add(revision, packet));
    if revision == Revision::V3 && supports_binary && size.has_bytes {
        let mut body = Vec::with_capacity(size.binary);
        packets.for_each(|packet| v3::push_binary(packet, &mut body));
        return Encoded::Binary(body);
    }
    let mut body = String::with_capacity(size.text);
    match revision {
        Revision::V4 => packets.for_each(|packet| v4::push(packet, &mut body)),
        Revision::V3 => packets.for_each(|packet| v3::push_text(packet, &mut body)),
    }
    if body.is_empty() && revision == Revision::V3 {
        body.push_str("0:");
    }
    Encoded::Text(body)
}

/// How many packets at the front make a payload of at most `max_bytes` bytes; at least one, if there is one.
///
/// A server answers a longer body with 413 and closes the session. Its limit is
/// [`max_payload`](super::packet::OpenPacket::max_payload).
pub fn count_within<'a>(
    revision: Revision,
    packets: impl IntoIterator<Item = &'a Queued>,
    supports_binary: bool,
    max_bytes: usize,
) -> usize {
    let (mut size, mut count) = (Size::default(), 0);
    for packet in packets {
        size.add(revision, packet);
        let is_binary = revision == Revision::V3 && supports_binary && size.has_bytes;
        let len = if is_binary { size.binary } else { size.text };
        if count > 0 && len > max_bytes {
            break;
        }
        count += 1;
    }
    count
}

/// The size of a payload in its two forms.
#[derive(Default)]
struct Size {
    text: usize,
    /// Revision 3 only.
    binary: usize,
    has_bytes: bool,
}

impl Size {
    fn add(&mut self, revision: Revision, packet: &Queued) {
        self.has_bytes |= matches!(packet.data, QueuedData::Binary(_));
        match revision {
            Revision::V4 => self.text += usize::from(self.text > 0) + packet.text_len(revision),
            Revision::V3 => {
                self.text += v3::text_len(packet);
                self.binary += v3::binary_len(packet);
            }
        }
    }
}
