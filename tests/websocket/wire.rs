//! The other side of a connection, by hand: requests and frames as bytes.

/// The key of RFC 6455, 1.3, and its answer.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// First bytes of frames: FIN and the opcode (RFC 6455, 5.2).
pub const TEXT: u8 = 0x81;
pub const BINARY: u8 = 0x82;
pub const CLOSE: u8 = 0x88;
pub const PING: u8 = 0x89;
pub const PONG: u8 = 0x8a;
/// Parts of a fragmented message.
pub const FIRST_TEXT: u8 = 0x01;
pub const FIRST_BINARY: u8 = 0x02;
pub const MIDDLE: u8 = 0x00;
pub const LAST: u8 = 0x80;
/// Marks the first frame of a compressed message (RFC 7692, 6).
pub const RSV1: u8 = 0x40;

/// A correct handshake, with further headers; each ends with CRLF.
pub fn request(more: &str) -> String {
    format!(
        "GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\n\
         Sec-WebSocket-Version: 13\r\n{more}\r\n"
    )
}

/// A frame as it was received.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    pub first: u8,
    pub mask: Option<[u8; 4]>,
    /// Unmasked.
    pub payload: Vec<u8>,
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = &self.payload[..self.payload.len().min(60)];
        write!(f, "{:02x} ({} bytes) {}", self.first, self.payload.len(), shown.escape_ascii())
    }
}

/// The frame at the front of `bytes`, and its length.
pub fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (&[first, second], mut rest) = bytes.split_first_chunk()?;
    let len = match second & 0x7f {
        126 => {
            let (len, after) = rest.split_first_chunk()?;
            rest = after;
            u16::from_be_bytes(*len).into()
        }
        127 => {
            let (len, after) = rest.split_first_chunk()?;
            rest = after;
            u64::from_be_bytes(*len) as usize
        }
        len => usize::from(len),
    };
    let mut mask = None;
    if second & 0x80 != 0 {
        let (key, after) = rest.split_first_chunk()?;
        (mask, rest) = (Some(*key), after);
    }
    let mut payload = rest.get(..len)?.to_vec();
    if let Some(key) = mask {
        payload.iter_mut().enumerate().for_each(|(at, byte)| *byte ^= key[at % 4]);
    }
    Some((Frame { first, mask, payload }, bytes.len() - rest.len() + len))
}

/// A frame as a server sends it.
pub fn plain(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    encode(first, None, payload.as_ref())
}

/// A frame as a client sends it, with the mask of RFC 6455, 5.7.
pub fn masked(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    encode(first, Some([0x37, 0xfa, 0x21, 0x3d]), payload.as_ref())
}

fn encode(first: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let mask_bit = if mask.is_some() { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match payload.len() {
        len @ ..126 => bytes.push(mask_bit | len as u8),
        len @ ..65_536 => {
            bytes.push(mask_bit | 126);
            bytes.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            bytes.push(mask_bit | 127);
            bytes.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    match mask {
        Some(key) => {
            bytes.extend_from_slice(&key);
            bytes.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]));
        }
        None => bytes.extend_from_slice(payload),
    }
    bytes
}

/// The payload of a close frame.
pub fn close(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason.as_bytes()].concat()
}
