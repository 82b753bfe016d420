//! Frame headers (RFC 6455, 5.2).
//!
//! A header has 2 to 14 bytes, and the payload follows it:
//!
//! ```text
//!   byte 0          byte 1       0, 2 or 8 bytes      0 or 4 bytes
//!   F R R R op op   M length     longer length        masking key
//!   │ │ └─┴ 0       │ └ 0 to 125, or 126: two bytes follow, or 127: eight bytes follow
//!   │ └ compressed  └ masked: always from a client, never from a server
//!   └ last frame of its message
//!
//!   81 05                  H e l l o             text, from a server
//!   81 85  37 fa 21 3d     7f 9f 4d 51 58        the same, from a client
//!   82 7e 01 00            …                     binary, 256 bytes
//! ```
//!
//! [`Header::parse`] judges each byte as soon as it is there, so a wrong header is refused before its last byte.

use super::close::{ONE_BYTE, Violation};

/// The largest payload of a control frame (RFC 6455, 5.5). The payload length of the second byte goes as far.
pub const MAX_CONTROL_LEN: usize = 125;

/// The longest header: two bytes, a length of eight and a masking key of four.
pub const MAX_HEADER_LEN: usize = 14;

pub(super) const FIN: u8 = 0x80;
pub(super) const RSV1: u8 = 0x40;
const RSV2_AND_RSV3: u8 = 0x30;
const OPCODE: u8 = 0x0f;
pub(super) const MASKED: u8 = 0x80;
pub(super) const SHORT_LEN: u8 = 0x7f;
/// In place of a short length: the length is in the next two bytes.
pub(super) const LEN_16: u8 = 126;
/// In place of a short length: the length is in the next eight bytes.
pub(super) const LEN_64: u8 = 127;

/// The type of a frame (RFC 6455, 5.2). The codes 3 to 7 and 11 to 15 are reserved.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Opcode {
    /// A further frame of the message that is not finished.
    Continuation = 0,
    /// The first frame of a text message.
    Text = 1,
    /// The first frame of a binary message.
    Binary = 2,
    /// The last frame that its sender sends.
    Close = 8,
    /// Wants a pong with the same payload.
    Ping = 9,
    /// The answer to a ping, or a heartbeat without a ping.
    Pong = 10,
}

impl Opcode {
    /// The opcode in the first byte of a frame, whose other bits are ignored; `None` if it is a reserved one.
    pub const fn of(first: u8) -> Option<Opcode> {
        Some(match first & OPCODE {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return None,
        })
    }

    /// Whether this is a close, a ping or a pong. They are short, never fragmented, and may come between fragments.
    pub const fn is_control(self) -> bool {
        matches!(self, Opcode::Close | Opcode::Ping | Opcode::Pong)
    }
}

/// Which side of the connection *we* are. A server receives masked frames and sends unmasked ones (RFC 6455, 5.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// We accepted the connection: the peer masks its frames.
    Server,
    /// We connected: the peer does not mask its frames.
    Client,
}

/// The fields of a frame header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Whether this is the last frame of its message.
    pub fin: bool,
    /// Whether the message is compressed (RFC 7692, 6). Only the first frame of a message has it.
    pub rsv1: bool,
    /// The type of the frame.
    pub opcode: Opcode,
    /// The masking key; see [`mask`](super::mask).
    pub mask: Option<[u8; 4]>,
    /// Bytes of payload.
    pub len: u64,
}

impl Header {
    /// Reads the header at the start of `bytes`, and returns it with its own length; `None` if more bytes are needed.
    ///
    /// `role` is our side. `max_len` is the largest payload that a data frame may have.
    ///
    /// Fails as soon as a byte is there that breaks a rule. A length is refused when all its possible values are
    /// wrong, also before its last byte: [`MESSAGE_TOO_BIG`](super::close::CloseCode::MESSAGE_TOO_BIG) above `max_len`.
    /// Everything else is a protocol error: reserved bits and opcodes, RSV1 on other frames than the first of a
    /// message, control frames that are fragmented or too long, a close with half a code, a mask that is missing or
    /// not allowed, and a length with a longer form than it needs. Whether a frame may come at this point, and
    /// whether RSV1 was agreed, is for the [receiver](super::receiver) to decide.
    ///
    /// ```
    /// use bucle::websocket::frame::{Header, Opcode, Role};
    ///
    /// // RFC 6455, 5.7: "A single-frame masked text message".
    /// let wire = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    /// let (header, len) = Header::parse(wire, Role::Server, 1000)?.expect("all bytes are there");
    /// assert_eq!((header.opcode, header.fin, header.len), (Opcode::Text, true, 5));
    /// assert_eq!((header.mask, len), (Some([0x37, 0xfa, 0x21, 0x3d]), 6));
    /// assert_eq!(Header::parse(&wire[..5], Role::Server, 1000)?, None);
    /// # Ok::<(), bucle::websocket::close::Violation>(())
    /// ```
    pub fn parse(bytes: &[u8], role: Role, max_len: u64) -> Result<Option<(Header, usize)>, Violation> {
        // The order of the checks is that of the bytes. So the same rule fails however the header is cut.
        let Some(&first) = bytes.first() else { return Ok(None) };
        if first & RSV2_AND_RSV3 != 0 {
            return Err(Violation::protocol("a reserved bit, RSV2 or RSV3, is set"));
        }
        let Some(opcode) = Opcode::of(first) else { return Err(Violation::protocol("the opcode is reserved")) };
        let (fin, rsv1) = (first & FIN != 0, first & RSV1 != 0);
        if rsv1 && !matches!(opcode, Opcode::Text | Opcode::Binary) {
            return Err(Violation::protocol("RSV1 is set on a control frame or a continuation frame"));
        }
        if opcode.is_control() && !fin {
            return Err(Violation::protocol("a control frame is fragmented"));
        }

        let Some(&second) = bytes.get(1) else { return Ok(None) };
        let (is_masked, short_len) = (second & MASKED != 0, second & SHORT_LEN);
        match role {
            Role::Server if !is_masked => return Err(Violation::protocol("a frame from a client is not masked")),
            Role::Client if is_masked => return Err(Violation::protocol("a frame from a server is masked")),
            _ => {}
        }
        if opcode.is_control() && usize::from(short_len) > MAX_CONTROL_LEN {
            return Err(Violation::protocol("a control frame has more than 125 bytes of payload"));
        }
        if opcode == Opcode::Close && short_len == 1 {
            return Err(ONE_BYTE);
        }

        let max_len = if opcode.is_control() { MAX_CONTROL_LEN as u64 } else { max_len };
        let Some((len, len_width)) = parse_len(short_len, &bytes[2..], max_len)? else { return Ok(None) };
        let after_len = &bytes[2 + len_width..];
        let (mask, key_width) = match after_len.first_chunk() {
            _ if !is_masked => (None, 0),
            Some(key) => (Some(*key), key.len()),
            None => return Ok(None),
        };
        Ok(Some((Header { fin, rsv1, opcode, mask, len }, 2 + len_width + key_width)))
    }

    /// The header in wire form, with the shortest form of the length.
    ///
    /// RFC 6455, 5.2 has no room for a length of 2⁶³ or more, and such a payload cannot exist in memory.
    ///
    /// ```
    /// use bucle::websocket::frame::{Header, Opcode};
    ///
    /// let header = Header { fin: true, rsv1: false, opcode: Opcode::Binary, mask: None, len: 256 };
    /// assert_eq!(header.encode().as_ref(), b"\x82\x7e\x01\x00");
    /// ```
    #[inline]
    pub fn encode(&self) -> EncodedHeader {
        let mut bytes = [0; MAX_HEADER_LEN];
        bytes[0] = self.opcode as u8 | if self.fin { FIN } else { 0 } | if self.rsv1 { RSV1 } else { 0 };
        let mut len = 2;
        bytes[1] = match (u8::try_from(self.len), u16::try_from(self.len)) {
            (Ok(short @ 0..LEN_16), _) => short,
            (_, Ok(medium)) => {
                bytes[2..4].copy_from_slice(&medium.to_be_bytes());
                len = 4;
                LEN_16
            }
            _ => {
                bytes[2..10].copy_from_slice(&self.len.to_be_bytes());
                len = 10;
                LEN_64
            }
        };
        if let Some(key) = self.mask {
            bytes[1] |= MASKED;
            bytes[len..len + 4].copy_from_slice(&key);
            len += 4;
        }
        EncodedHeader { bytes, len: len as u8 }
    }
}

/// A header in wire form, on the stack.
#[derive(Clone, Copy, Debug)]
pub struct EncodedHeader {
    bytes: [u8; MAX_HEADER_LEN],
    len: u8,
}

impl AsRef<[u8]> for EncodedHeader {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len.into()]
    }
}

/// The payload length and the width of its longer form, which is at the start of `field`; `None` if bytes are missing.
///
/// A length whose last bytes are missing lies between the value with zeros and the value with ones in their place.
fn parse_len(short_len: u8, field: &[u8], max_len: u64) -> Result<Option<(u64, usize)>, Violation> {
    let (width, minimum) = match short_len {
        LEN_16 => (2, LEN_16.into()),
        LEN_64 => (8, 1 << 16),
        _ => (0, 0),
    };
    let (mut least, mut most) = if width == 0 { (short_len.into(), short_len.into()) } else { (0, 0) };
    for at in 0..width {
        let byte = field.get(at).copied();
        least = least << 8 | u64::from(byte.unwrap_or(0x00));
        most = most << 8 | u64::from(byte.unwrap_or(0xff));
    }
    if least > i64::MAX as u64 {
        return Err(Violation::protocol("the highest bit of the payload length is set"));
    }
    if most < minimum {
        return Err(Violation::protocol("the payload length has a longer form than it needs"));
    }
    if least > max_len {
        return Err(Violation::too_big("the message is larger than the limit"));
    }
    Ok((field.len() >= width).then_some((least, width)))
}

#[cfg(test)]
mod tests;
