//! Packets: one text message is one packet, and binary messages may follow it.
//!
//! ```text
//!   <type>[<attachments>-][<namespace>,][<acknowledgement id>][data]
//!
//!   2["hola",1]                                            an event in the namespace /
//!   2/admin,12["hola",1]                                   in /admin; wants the acknowledgement 12
//!   3/admin,12["bien"]                                     that acknowledgement
//!   51-["image",{"_placeholder":true,"num":0}]  + 1 binary message    see `binary`
//!   0/admin,{"token":"x"}                                  asks to join /admin
//! ```
//!
//! [`parse`] borrows from the message and allocates nothing. It refuses what `socket.io-parser` 4.2 refuses, and some
//! texts that no encoder writes:
//!
//! | text | Node | here |
//! |---|---|---|
//! | no data in an event, an acknowledgement or a refusal | `undefined` | refused |
//! | blanks before the data, `2 ["a"]` | the acknowledgement id 0 | refused |
//! | leading zeros, `2012["a"]`, `501-["a"]` | read as 12 and 1 | refused |
//! | an acknowledgement id from 2^53 on | rounded | refused |
//! | other forms of a number of attachments, `51e0-["a"]` | read as 1 | refused |
//! | data that is nested more than [`MAX_DEPTH`](json::MAX_DEPTH) levels deep | read | refused |
//! | a namespace of any length | read | limited |
//! | an empty message | type 0 | refused |

use std::fmt::Write;

use memchr::memchr;

use super::json;
use super::malformed::Malformed;

#[cfg(test)]
mod tests;

/// The first character of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PacketType {
    /// 0: a client asks to join a namespace, or the server confirms it.
    Connect = 0,
    /// 1: a side leaves a namespace.
    Disconnect = 1,
    /// 2: an event.
    Event = 2,
    /// 3: the acknowledgement of an event.
    Ack = 3,
    /// 4: the server refuses a namespace. Revision 4 of the protocol calls it ERROR.
    ConnectError = 4,
    /// 5: an event with attachments.
    BinaryEvent = 5,
    /// 6: an acknowledgement with attachments.
    BinaryAck = 6,
}

impl PacketType {
    const ALL: [PacketType; 7] = [
        PacketType::Connect,
        PacketType::Disconnect,
        PacketType::Event,
        PacketType::Ack,
        PacketType::ConnectError,
        PacketType::BinaryEvent,
        PacketType::BinaryAck,
    ];

    /// The type that a character means.
    pub fn of(character: u8) -> Option<PacketType> {
        PacketType::ALL.get(usize::from(character.checked_sub(b'0')?)).copied()
    }

    /// The character, `0` to `6`.
    pub fn digit(self) -> char {
        char::from(b'0' + self as u8)
    }

    /// Whether attachments follow the packet.
    pub fn is_binary(self) -> bool {
        matches!(self, PacketType::BinaryEvent | PacketType::BinaryAck)
    }
}

/// A packet, borrowed from its message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet<'a> {
    /// The type.
    pub kind: PacketType,
    /// How many binary messages follow. 0 if and only if the type is not a binary one.
    pub attachments: usize,
    /// Begins with `/`. In revision 4 of the protocol a query may follow the name: `/admin?token=x`.
    pub namespace: &'a str,
    /// Less than 2^53. An event has it if its sender wants an acknowledgement, and that acknowledgement has the same.
    /// As in Node any packet may have one; an acknowledgement without one answers nothing.
    pub id: Option<u64>,
    /// JSON of the form that the type requires, without blanks around it: see [`parse`].
    pub data: Option<&'a str>,
}

/// The limit of `socket.io-parser` for the attachments of a packet (`maxAttachments`), since the versions 4.2.6 and
/// 3.4.4.
pub const MAX_ATTACHMENTS: usize = 10;

/// Limits of what a peer may send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Attachments of one packet. [`MAX_ATTACHMENTS`].
    pub max_attachments: usize,
    /// Bytes of a namespace. 256, and Node has no limit. In revision 4 of the protocol the query of a namespace counts,
    /// so a server that gets long tokens in it needs more.
    pub max_namespace: usize,
    /// Bytes of a packet and of its attachments together. 11,000,000: the most that Node accepts, in eleven messages of
    /// up to 1,000,000 bytes (`maxHttpBufferSize`). A packet without attachments is not limited here, but by the
    /// transport.
    pub max_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { max_attachments: MAX_ATTACHMENTS, max_namespace: 256, max_bytes: 11_000_000 }
    }
}

impl Limits {
    /// For a packet that was accepted before.
    pub(super) const NONE: Limits =
        Limits { max_attachments: usize::MAX, max_namespace: usize::MAX, max_bytes: usize::MAX };
}

/// Names that an event may not have: Node emits events of these names on its sockets itself.
pub const RESERVED_EVENTS: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// The largest integer that JavaScript numbers count to (`Number.MAX_SAFE_INTEGER`).
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// Reads a text message.
///
/// The data must be JSON, and
///
/// * for [`Connect`](PacketType::Connect) an object, or absent;
/// * for [`Disconnect`](PacketType::Disconnect) absent;
/// * for events an array whose first item, the name, is a number, or a string that is not in [`RESERVED_EVENTS`];
/// * for acknowledgements an array;
/// * for [`ConnectError`](PacketType::ConnectError) an object or a string.
///
/// Placeholders are not checked here, but by a [`Reconstructor`](super::binary::Reconstructor).
pub fn parse<'a>(text: &'a str, limits: &Limits) -> Result<Packet<'a>, Malformed> {
    let packet = split(text, limits)?;
    check_data(&packet)?;
    Ok(packet)
}

/// Splits a message into its parts. The data is not checked.
pub(super) fn split<'a>(text: &'a str, limits: &Limits) -> Result<Packet<'a>, Malformed> {
    let digit = *text.as_bytes().first().ok_or(Malformed::new("the message is empty"))?;
    let kind = PacketType::of(digit).ok_or(Malformed::new("the type is unknown"))?;
    let mut rest = Rest(&text[1..]);
    let attachments = if kind.is_binary() { rest.attachments(limits)? } else { 0 };
    let namespace = rest.namespace(limits)?;
    let id =
        rest.number().map_err(|()| Malformed::new("the acknowledgement id is too large, or begins with a zero"))?;
    let data = rest.0.trim_end_matches(json::is_blank);
    Ok(Packet { kind, attachments, namespace, id, data: (!rest.0.is_empty()).then_some(data) })
}

/// The part of a message that was not read yet.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn attachments(&mut self, limits: &Limits) -> Result<usize, Malformed> {
        const ILLEGAL: Malformed = Malformed::new("the number of attachments is not a number from 1 on");
        let count = self.number().map_err(|()| ILLEGAL)?.filter(|&count| count > 0).ok_or(ILLEGAL)?;
        self.0 = self.0.strip_prefix('-').ok_or(ILLEGAL)?;
        let count = usize::try_from(count).ok().filter(|&count| count <= limits.max_attachments);
        count.ok_or(Malformed::new("there are too many attachments"))
    }

    /// A namespace ends with a comma or with the message.
    fn namespace(&mut self, limits: &Limits) -> Result<&'a str, Malformed> {
        if !self.0.starts_with('/') {
            return Ok("/");
        }
        let (namespace, rest) = match memchr(b',', self.0.as_bytes()) {
            Some(comma) => (&self.0[..comma], &self.0[comma + 1..]),
            None => (self.0, ""),
        };
        if namespace.len() > limits.max_namespace {
            return Err(Malformed::new("the namespace is too long"));
        }
        self.0 = rest;
        Ok(namespace)
    }

    /// The number that comes next, if there is one.
    fn number(&mut self) -> Result<Option<u64>, ()> {
        let len = self.0.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.0.split_at(len);
        if len == 0 {
            return Ok(None);
        }
        if len > 1 && digits.starts_with('0') {
            return Err(());
        }
        self.0 = rest;
        let number = digits.parse().ok().filter(|&number: &u64| number <= MAX_SAFE_INTEGER);
        number.map(Some).ok_or(())
    }
}

fn check_data(packet: &Packet<'_>) -> Result<(), Malformed> {
    const WRONG: Malformed = Malformed::new("the data has not the form that the type requires");
    let (kind, data) = (packet.kind, packet.data.unwrap_or_default());
    let first = data.as_bytes().first();
    let is_of_form = match kind {
        PacketType::Connect => packet.data.is_none() || first == Some(&b'{'),
        PacketType::Disconnect => packet.data.is_none(),
        PacketType::Event | PacketType::BinaryEvent | PacketType::Ack | PacketType::BinaryAck => first == Some(&b'['),
        PacketType::ConnectError => matches!(first, Some(b'{' | b'"')),
    };
    if !is_of_form {
        return Err(WRONG);
    }
    if packet.data.is_some() {
        json::check(data)?;
    }
    if matches!(kind, PacketType::Event | PacketType::BinaryEvent) {
        let name = json::items(data).next().ok_or(WRONG)?;
        match json::string(name) {
            Some(name) if RESERVED_EVENTS.contains(&&*name) => {
                return Err(Malformed::new("the name of the event is reserved"));
            }
            Some(_) => {}
            None if name.starts_with(|first: char| first == '-' || first.is_ascii_digit()) => {}
            None => return Err(WRONG),
        }
    }
    Ok(())
}

/// Appends all of a packet but its data.
///
/// `namespace` begins with `/` and has no comma, which would end it. `attachments` is written for the binary types
/// only.
pub fn push_header(out: &mut String, kind: PacketType, attachments: usize, namespace: &str, id: Option<u64>) {
    debug_assert!(namespace.starts_with('/') && !namespace.contains(','), "{namespace:?} can be sent");
    out.push(kind.digit());
    if kind.is_binary() {
        let _ = write!(out, "{attachments}-");
    }
    if namespace != "/" {
        out.push_str(namespace);
        out.push(',');
    }
    if let Some(id) = id {
        let _ = write!(out, "{id}");
    }
}
