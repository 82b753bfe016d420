//! Packets: what the two sides of a session exchange.
//!
//! A packet has a type, which is a digit, and data. On a WebSocket a text frame is one packet:
//!
//! ```text
//!   4hola          the message "hola"
//!   2probe         a ping with data
//!   6              a noop
//!   bAQID          the message 01 02 03, for a peer that takes no binary frames
//! ```
//!
//! Binary data differs between the two revisions of the protocol:
//!
//! | | revision 4 | revision 3 |
//! |---|---|---|
//! | binary frame | the data of a message | one byte with the type (4), then the data |
//! | in text | `b` and base64 | `b`, the digit of the type, and base64 |
//!
//! A client that sets `b64=1` in its query gets binary data in text only, on WebSocket too (the option `forceBase64` of
//! the clients). Several packets in one body of HTTP are a [`payload`](super::payload).
//!
//! # Base64
//!
//! The decoder of Node skips every character that is not base64. Here the data must be base64 (RFC 4648, section 4),
//! with two exceptions: the padding may be missing, and line breaks are skipped, because the client for Java sends them
//! after every 76 characters.

use std::rc::Rc;
use std::time::Duration;

use ::base64::alphabet::STANDARD;
use ::base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use ::base64::engine::{DecodePaddingMode, Engine as _};
use serde_json::{Value, json};

use super::error::Malformed;

#[cfg(test)]
mod tests;

/// Accepts base64 with and without padding, and writes it with padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The revision of the protocol. A client sends it as `EIO` in its query.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Revision {
    /// `EIO=3`: clients of Socket.IO 1 and 2.
    V3,
    /// `EIO=4`: clients of Socket.IO 3 and 4.
    V4,
}

impl Revision {
    /// The revision for the value of `EIO`. As in Node, everything but `4` means revision 3.
    pub fn from_query(eio: Option<&str>) -> Revision {
        if eio == Some("4") { Revision::V4 } else { Revision::V3 }
    }

    /// 3 or 4.
    pub fn number(self) -> u8 {
        match self {
            Revision::V3 => 3,
            Revision::V4 => 4,
        }
    }
}

/// The type of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum PacketType {
    /// The first packet of the server, with the settings of the session: [`OpenPacket`].
    Open = 0,
    /// Ends the session.
    Close = 1,
    /// Asks for a [`Pong`](PacketType::Pong) with the same data.
    Ping = 2,
    /// Answers a [`Ping`](PacketType::Ping).
    Pong = 3,
    /// Data of the program.
    Message = 4,
    /// Ends the change of the transport.
    Upgrade = 5,
    /// Has no meaning. It answers a poll when there is nothing to send.
    Noop = 6,
}

impl PacketType {
    const ALL: [PacketType; 7] = [
        PacketType::Open,
        PacketType::Close,
        PacketType::Ping,
        PacketType::Pong,
        PacketType::Message,
        PacketType::Upgrade,
        PacketType::Noop,
    ];

    /// The type for a number from 0 to 6, as it begins a binary frame of revision 3.
    pub fn from_number(number: u8) -> Option<PacketType> {
        PacketType::ALL.get(usize::from(number)).copied()
    }

    /// The type for an ASCII digit from `0` to `6`, as it begins a packet in text.
    pub fn from_digit(digit: u8) -> Option<PacketType> {
        PacketType::from_number(digit.wrapping_sub(b'0'))
    }

    /// From 0 to 6.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// From `'0'` to `'6'`.
    pub fn digit(self) -> char {
        char::from(b'0' + self.number())
    }
}

/// A packet that borrows its data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet<'a> {
    /// The type.
    pub kind: PacketType,
    /// The data, without the type. It may be empty.
    pub data: Data<'a>,
}

/// The data of a packet, or a frame of a WebSocket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Data<'a> {
    /// Text.
    Text(&'a str),
    /// Any bytes.
    Binary(&'a [u8]),
}

/// A packet that owns its data, for queues. A clone is cheap: all receivers of a broadcast share the data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Queued {
    /// The type.
    pub kind: PacketType,
    /// The data, without the type. It may be empty.
    pub data: QueuedData,
}

/// The data of a [`Queued`] packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum QueuedData {
    /// Text.
    Text(Rc<str>),
    /// Any bytes. Only messages have them: revision 4 sends no type with bytes.
    Binary(Rc<[u8]>),
}

impl Queued {
    /// A packet with text, which may be empty.
    pub fn text(kind: PacketType, text: impl Into<Rc<str>>) -> Queued {
        Queued { kind, data: QueuedData::Text(text.into()) }
    }

    /// A message with bytes.
    pub fn binary(bytes: impl Into<Rc<[u8]>>) -> Queued {
        Queued { kind: PacketType::Message, data: QueuedData::Binary(bytes.into()) }
    }

    /// The length of the data in bytes.
    pub fn size(&self) -> usize {
        match &self.data {
            QueuedData::Text(text) => text.len(),
            QueuedData::Binary(bytes) => bytes.len(),
        }
    }

    /// The packet as the frame of a WebSocket. `buffer` is overwritten, and holds the frame if it is not the data
    /// itself.
    ///
    /// `supports_binary` is `false` if the first request of this transport has `b64` in its query.
    ///
    /// ```
    /// use bucle::engine_io::packet::{Data, FrameBuffer, PacketType, Queued, Revision};
    ///
    /// let mut buffer = FrameBuffer::default();
    /// let text = Queued::text(PacketType::Message, "hola");
    /// assert_eq!(text.frame(Revision::V4, true, &mut buffer), Data::Text("4hola"));
    /// let binary = Queued::binary(vec![1, 2, 3]);
    /// assert_eq!(binary.frame(Revision::V4, true, &mut buffer), Data::Binary(&[1, 2, 3]));
    /// assert_eq!(binary.frame(Revision::V3, true, &mut buffer), Data::Binary(&[4, 1, 2, 3]));
    /// assert_eq!(binary.frame(Revision::V4, false, &mut buffer), Data::Text("bAQID"));
    /// ```
    pub fn frame<'a>(&'a self, revision: Revision, supports_binary: bool, buffer: &'a mut FrameBuffer) -> Data<'a> {
        buffer.clear();
        match (&self.data, revision) {
            (QueuedData::Binary(bytes), Revision::V4) if supports_binary => Data::Binary(bytes),
            (QueuedData::Binary(bytes), Revision::V3) if supports_binary => {
                buffer.bytes.push(self.kind.number());
                buffer.bytes.extend_from_slice(bytes);
                Data::Binary(&buffer.bytes)
            }
            _ => {
                self.push_text(revision, &mut buffer.text);
                Data::Text(&buffer.text)
            }
        }
    }

    /// Appends the packet as text: the type and the data, or the mark of binary data and base64.
    pub(super) fn push_text(&self, revision: Revision, out: &mut String) {
        match &self.data {
            QueuedData::Text(text) => {
                out.push(self.kind.digit());
                out.push_str(text);
            }
            QueuedData::Binary(bytes) => {
                out.push('b');
                if revision == Revision::V3 {
                    out.push(self.kind.digit());
                }
                BASE64.encode_string(bytes, out);
            }
        }
    }

    /// How many bytes [`push_text`](Self::push_text) appends.
    pub(super) fn text_len(&self, revision: Revision) -> usize {
        match (&self.data, revision) {
            (QueuedData::Text(text), _) => 1 + text.len(),
            (QueuedData::Binary(bytes), Revision::V4) => 1 + base64_len(bytes),
            (QueuedData::Binary(bytes), Revision::V3) => 2 + base64_len(bytes),
        }
    }
}

/// How many characters the base64 form of `bytes` has, with padding.
fn base64_len(bytes: &[u8]) -> usize {
    4 * bytes.len().div_ceil(3)
}

/// Memory in which [`Queued::frame`] makes a frame. One is enough for all sessions.
///
/// It keeps at most [`KEPT`](FrameBuffer::KEPT) bytes for each of the two kinds of frames when it is used again.
#[derive(Default, Debug)]
pub struct FrameBuffer {
    text: String,
    bytes: Vec<u8>,
}

impl FrameBuffer {
    /// A buffer that has grown over this many bytes is freed before its next use.
    pub const KEPT: usize = 64 * 1024;

    fn clear(&mut self) {
        self.text.clear();
        self.text.shrink_to(FrameBuffer::KEPT);
        self.bytes.clear();
        self.bytes.shrink_to(FrameBuffer::KEPT);
    }
}

/// The packet in a text frame of a WebSocket, or one packet of a payload in text.
///
/// Bytes that are sent as base64 are decoded into `decoded`, which is overwritten.
///
/// # Errors
///
/// The text is empty, its type is unknown, or its base64 is wrong.
///
/// ```
/// use bucle::engine_io::packet::{Data, PacketType, Revision, parse_text};
///
/// let mut decoded = Vec::new();
/// let packet = parse_text(Revision::V4, "4hola", &mut decoded)?;
/// assert_eq!((packet.kind, packet.data), (PacketType::Message, Data::Text("hola")));
/// let packet = parse_text(Revision::V4, "bAQID", &mut decoded)?;
/// assert_eq!((packet.kind, packet.data), (PacketType::Message, Data::Binary(&[1, 2, 3])));
/// # Ok::<(), bucle::engine_io::Malformed>(())
/// ```
pub fn parse_text<'a>(revision: Revision, text: &'a str, decoded: &'a mut Vec<u8>) -> Result<Packet<'a>, Malformed> {
    let Some(&first) = text.as_bytes().first() else { return Err(EMPTY) };
    if first != b'b' {
        let kind = PacketType::from_digit(first).ok_or(UNKNOWN_TYPE)?;
        return Ok(Packet { kind, data: Data::Text(&text[1..]) });
    }
    let (kind, base64) = match revision {
        Revision::V4 => (PacketType::Message, &text.as_bytes()[1..]),
        Revision::V3 => {
            let (&digit, base64) = text.as_bytes()[1..].split_first().ok_or(UNKNOWN_TYPE)?;
            (PacketType::from_digit(digit).ok_or(UNKNOWN_TYPE)?, base64)
        }
    };
    decode_base64(base64, decoded)?;
    Ok(Packet { kind, data: Data::Binary(decoded) })
}

/// The packet in a binary frame of a WebSocket.
///
/// # Errors
///
/// In revision 3, the frame is empty or its type is unknown. In revision 4 every frame is a message.
pub fn parse_binary(revision: Revision, bytes: &[u8]) -> Result<Packet<'_>, Malformed> {
    match revision {
        Revision::V4 => Ok(Packet { kind: PacketType::Message, data: Data::Binary(bytes) }),
        Revision::V3 => {
            let (&number, data) = bytes.split_first().ok_or(EMPTY)?;
            let kind = PacketType::from_number(number).ok_or(UNKNOWN_TYPE)?;
            Ok(Packet { kind, data: Data::Binary(data) })
        }
    }
}

const EMPTY: Malformed = Malformed::new("the packet is empty");
const UNKNOWN_TYPE: Malformed = Malformed::new("the packet type is unknown");
const BAD_BASE64: Malformed = Malformed::new("the packet is not base64");

fn decode_base64(base64: &[u8], decoded: &mut Vec<u8>) -> Result<(), Malformed> {
    decoded.clear();
    if memchr::memchr2(b'\r', b'\n', base64).is_none() {
        return BASE64.decode_vec(base64, decoded).map_err(|_| BAD_BASE64);
    }
    let without_breaks: Vec<u8> = base64.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    BASE64.decode_vec(without_breaks, decoded).map_err(|_| BAD_BASE64)
}

/// The data of the packet [`Open`](PacketType::Open), with the keys of Node in their order.
///
/// `max_payload` is in bytes. Node sends it in both revisions; servers of Socket.IO 2 do not send it.
///
/// ```
/// use bucle::engine_io::packet::open_packet;
///
/// assert_eq!(
///     open_packet("lv_VI97HAXpY6yYWAAAC", &["websocket"], 25_000, 20_000, Some(1_000_000)),
///     r#"{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#,
/// );
/// ```
pub fn open_packet(
    sid: &str,
    upgrades: &[&str],
    ping_interval_ms: u64,
    ping_timeout_ms: u64,
    max_payload: Option<usize>,
) -> String {
    let mut open = json!({
        "sid": sid,
        "upgrades": upgrades,
        "pingInterval": ping_interval_ms,
        "pingTimeout": ping_timeout_ms,
    });
    if let Some(max_payload) = max_payload {
        open["maxPayload"] = max_payload.into();
    }
    open.to_string()
}

/// The data of the packet [`Open`](PacketType::Open), as a client reads it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenPacket {
    /// The id of the session. It is not empty.
    pub sid: String,
    /// The transports to which the session can change: empty, or `websocket`.
    pub upgrades: Vec<String>,
    /// The time between two pings.
    pub ping_interval: Duration,
    /// How long the answer to a ping may take.
    pub ping_timeout: Duration,
    /// The longest body, in bytes, that the server accepts. `None` from servers of Socket.IO 2.
    pub max_payload: Option<usize>,
}

impl OpenPacket {
    /// Reads the JSON text. Keys that are not known are ignored.
    ///
    /// # Errors
    ///
    /// The text is not a JSON object, or a key is missing or has another type than Node's. `maxPayload` may be missing.
    pub fn parse(json: &str) -> Result<OpenPacket, Malformed> {
        let open: Value = serde_json::from_str(json).map_err(|_| Malformed::new("the open packet is not JSON"))?;
        let time = |key| {
            let ms = open[key].as_u64().ok_or(Malformed::new("the open packet has no ping interval or ping timeout"));
            ms.map(Duration::from_millis)
        };
        let sid = open["sid"].as_str().filter(|sid| !sid.is_empty());
        let upgrades = open["upgrades"].as_array().and_then(|upgrades| {
            upgrades.iter().map(|upgrade| Some(upgrade.as_str()?.to_owned())).collect::<Option<Vec<String>>>()
        });
        let max_payload = match &open["maxPayload"] {
            Value::Null => None,
            // A limit that does not fit into memory is no limit.
            limit => match limit.as_u64() {
                Some(limit) => Some(usize::try_from(limit).unwrap_or(usize::MAX)),
                None => return Err(Malformed::new("the open packet has a bad limit of payloads")),
            },
        };
        Ok(OpenPacket {
            sid: sid.ok_or(Malformed::new("the open packet has no session id"))?.to_owned(),
            upgrades: upgrades.ok_or(Malformed::new("the open packet has no list of upgrades"))?,
            ping_interval: time("pingInterval")?,
            ping_timeout: time("pingTimeout")?,
            max_payload,
        })
    }
}
