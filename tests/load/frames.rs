//! WebSocket servers with the faults that a test needs, frame by frame, on plain threads.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};

use bucle::websocket::frame::{Header, Opcode, Role};
use bucle::websocket::handshake::accept_key;
use bucle::websocket::mask::apply_mask;

use crate::retry::retry;
use crate::server::Server;

/// One connection of a test server.
pub struct Peer {
    pub stream: TcpStream,
    received: Vec<u8>,
    /// The masks of the client's frames.
    pub masks: Vec<[u8; 4]>,
}

/// A frame of the client, unmasked.
pub struct Frame {
    pub opcode: Opcode,
    pub payload: Vec<u8>,
}

impl Server {
    /// A server that completes the handshake and calls `serve`.
    pub fn websocket(serve: impl Fn(&mut Peer) -> io::Result<()> + Send + Sync + 'static) -> Server {
        Server::start(move |stream, _| {
            let mut peer = Peer::new(stream);
            if peer.shake_hands(|accept| accept).is_ok() {
                // An error means that the client is gone.
                let _ = serve(&mut peer);
            }
        })
    }

    /// A server that calls `answer` for each message, and ends the connection as it should.
    pub fn messages(answer: impl Fn(&mut Peer, u64, &Frame) -> io::Result<()> + Send + Sync + 'static) -> Server {
        Server::websocket(move |peer| {
            for seq in 0.. {
                match peer.next()? {
                    frame if frame.opcode == Opcode::Close => return peer.close(&frame.payload),
                    frame => answer(peer, seq, &frame)?,
                }
            }
            Ok(())
        })
    }
}

impl Peer {
    pub fn new(stream: TcpStream) -> Peer {
        Peer { stream, received: Vec::new(), masks: Vec::new() }
    }

    /// Reads the request and sends 101, with what `change` makes of the right `Sec-WebSocket-Accept`.
    pub fn shake_hands(&mut self, change: fn(String) -> String) -> io::Result<()> {
        let request = self.read_request()?;
        let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
        let accept = change(accept_key(key));
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        self.stream.write_all(answer.as_bytes())
    }

    pub fn read_request(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head = self.received.drain(..end + 4).collect();
                return Ok(String::from_utf8(head).expect("a request is ASCII"));
            }
            self.read_more()?;
        }
    }

    /// The client's next frame.
    pub fn next(&mut self) -> io::Result<Frame> {
        loop {
            let parsed = Header::parse(&self.received, Role::Server, 1 << 30).expect("the client's frames are right");
            if let Some((header, head)) = parsed
                && let end = head + header.len as usize
                && self.received.len() >= end
            {
                let mut payload = self.received[head..end].to_vec();
                let mask = header.mask.expect("a client masks its frames");
                apply_mask(&mut payload, mask, 0);
                self.masks.push(mask);
                self.received.drain(..end);
                assert!(header.fin && !header.rsv1);
                return Ok(Frame { opcode: header.opcode, payload });
            }
            self.read_more()?;
        }
    }

    fn read_more(&mut self) -> io::Result<()> {
        let mut buf = [0; 16 * 1024];
        match retry(|| self.stream.read(&mut buf))? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            len => {
                self.received.extend_from_slice(&buf[..len]);
                Ok(())
            }
        }
    }

    /// Sends a frame of one message, unmasked.
    pub fn send(&mut self, opcode: Opcode, payload: &[u8]) -> io::Result<()> {
        self.send_frame(true, opcode, payload)
    }

    pub fn send_frame(&mut self, fin: bool, opcode: Opcode, payload: &[u8]) -> io::Result<()> {
        let header = Header { fin, rsv1: false, opcode, mask: None, len: payload.len() as u64 };
        self.stream.write_all(&[header.encode().as_ref(), payload].concat())
    }

    /// Sends a close frame and a FIN, and reads to the client's.
    pub fn close(&mut self, payload: &[u8]) -> io::Result<()> {
        self.send(Opcode::Close, payload)?;
        self.end()
    }

    pub fn end(&mut self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)?;
        io::copy(&mut self.stream, &mut io::sink()).map(drop)
    }
}
