//! A WebSocket client that the test controls frame by frame. It is written without the library, so that a mistake of
//! the library cannot hide here.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use super::peer::{Peer, without_nick};

/// The first byte of a frame (RFC 6455, 5.2): the last of its message, and its opcode.
pub const TEXT: u8 = 0x81;
pub const BINARY: u8 = 0x82;
pub const CLOSE: u8 = 0x88;
pub const PING: u8 = 0x89;
pub const PONG: u8 = 0x8a;
/// The first frame of a binary message, a frame in its middle, and its last frame.
pub const BEGIN: u8 = 0x02;
pub const MIDDLE: u8 = 0x00;
pub const LAST: u8 = 0x80;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The request for a WebSocket connection, without the last line break.
pub fn request(to: SocketAddr) -> String {
    request_for(to, "/ws")
}

fn request_for(to: SocketAddr, target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: {to}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
}

/// A masked frame.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(first, payload.len() as u64);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The header of a masked frame that claims to have `len` bytes.
pub fn header(first: u8, len: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    match len {
        0..126 => bytes.push(0x80 | len as u8),
        126..0x1_0000 => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&len.to_be_bytes());
        }
    }
    bytes.extend_from_slice(&MASK);
    bytes
}

/// A close frame with a code.
pub fn close(code: u16) -> Vec<u8> {
    frame(CLOSE, &code.to_be_bytes())
}

/// A client whose connection is open.
pub struct WebPeer {
    pub peer: Peer,
}

impl WebPeer {
    pub fn open(to: SocketAddr) -> WebPeer {
        WebPeer::over(Peer::connect(to), to)
    }

    /// As [`Peer::with_small_window`].
    pub fn with_small_window(to: SocketAddr) -> WebPeer {
        WebPeer::over(Peer::with_small_window(to), to)
    }

    /// Opens a connection of another path.
    pub fn open_at(to: SocketAddr, target: &str) -> WebPeer {
        WebPeer::with_target(Peer::connect(to), to, target)
    }

    /// As [`open_at`](Self::open_at), with small buffers.
    pub fn with_small_window_at(to: SocketAddr, target: &str) -> WebPeer {
        WebPeer::with_target(Peer::with_small_window(to), to, target)
    }

    fn over(peer: Peer, to: SocketAddr) -> WebPeer {
        WebPeer::with_target(peer, to, "/ws")
    }

    fn with_target(peer: Peer, to: SocketAddr, target: &str) -> WebPeer {
        peer.send(request_for(to, target) + "\r\n");
        let mut client = WebPeer { peer };
        client.read_switch();
        client
    }

    /// Reads the answer to the request.
    fn read_switch(&mut self) {
        let status = self.peer.line();
        assert_eq!(String::from_utf8_lossy(&status), "HTTP/1.1 101 Switching Protocols");
        while !self.peer.line().is_empty() {}
    }

    pub fn send(&self, bytes: impl AsRef<[u8]>) {
        self.peer.send(bytes);
    }

    pub fn send_text(&self, text: &str) {
        self.send(frame(TEXT, text.as_bytes()));
    }

    /// Reads the next frame: its first byte and its payload.
    pub fn frame(&mut self) -> (u8, Vec<u8>) {
        let start = self.peer.bytes(2);
        let len = match start[1] {
            126 => u16::from_be_bytes(self.peer.bytes(2).try_into().expect("two bytes")).into(),
            127 => u64::from_be_bytes(self.peer.bytes(8).try_into().expect("eight bytes")) as usize,
            len if len < 126 => len.into(),
            _ => panic!("a server does not mask"),
        };
        (start[0], self.peer.bytes(len))
    }

    /// Reads the next text message. Answers pings.
    pub fn text(&mut self) -> String {
        loop {
            match self.frame() {
                (TEXT, payload) => return String::from_utf8(payload).expect("text is UTF-8"),
                (PING, payload) => self.send(frame(PONG, &payload)),
                other => panic!("{other:?} is no text"),
            }
        }
    }

    /// Reads messages until one is `text`, from any member.
    pub fn wait_for_text(&mut self, text: &str) {
        while without_nick(self.text().as_bytes()) != text.as_bytes() {}
    }

    /// Reads frames up to the close frame, answers it, and reads up to the FIN. Returns the code.
    pub fn close_code(mut self) -> u16 {
        let payload = loop {
            let (first, payload) = self.frame();
            if first == CLOSE {
                break payload;
            }
        };
        // The server may have ended the connection already.
        let _ = self.peer.stream().write_all(&frame(CLOSE, &payload));
        assert_eq!(self.peer.read_to_end(), b"", "nothing comes behind a close frame");
        u16::from_be_bytes([payload[0], payload[1]])
    }

    /// Sends until nothing has been taken for a while. Returns how many bytes were sent.
    pub fn send_until_stuck(&self, bytes: &[u8]) -> usize {
        self.peer.send_until_stuck(bytes, Duration::from_millis(300))
    }
}
