//! A client's side of WebSocket, without sockets: the opening handshake, and frames for a batch.
//!
//! ```text
//!   request ──▶
//!           ◀── 101, and perhaps the first frames       Opened: from here on each message is a frame
//!           ◀── another status, and a body              Failed: the status, and the body's first line
//!           ◀── a wrong 101, no HTTP, nothing           Failed
//!
//!   batch    81 a0 key payload | 81 a0 key payload      each frame has a new key, and is masked in its place
//! ```
//!
//! The codecs of the library do the work. `client` adds the sockets.

use bucle::http::body::BodyDecoder;
use bucle::http::head::{HeadLimits, HeadParser, Method, ResponseHead, StatusCode};
use bucle::websocket::CloseCode;
use bucle::websocket::frame::{Header, Opcode};
use bucle::websocket::handshake::{Target, check_response, key, request};
use bucle::websocket::mask::apply_mask;

use super::message::show;

/// How much of the body of a refusal is kept, to show its first line.
const MAX_BODY: usize = 4096;

/// How many bytes of the first line are shown.
const SHOWN: usize = 200;

/// The error code of an answer that is neither a refusal nor a correct 101.
pub(crate) const BAD_RESPONSE: &str = "E_BAD_RESPONSE";

/// The opening handshake of one connection.
#[derive(Debug)]
pub(crate) struct Opening {
    key: String,
    parser: HeadParser,
    received: Vec<u8>,
    refused: Option<Refused>,
}

/// How far a handshake is.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    /// The answer is not complete.
    Waits,
    /// The connection is open. The last `rest` bytes of the chunk are frames.
    Opened {
        rest: usize,
    },
    Failed(Failed),
}

/// A handshake that has failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Failed {
    /// The name under which it is counted, such as `HTTP 503`.
    pub(crate) code: String,
    /// The failure, as a sentence.
    pub(crate) why: String,
}

/// An answer that is not 101. Its body may be incomplete.
#[derive(Debug)]
struct Refused {
    status: StatusCode,
    reason: String,
    decoder: BodyDecoder,
    body: Vec<u8>,
}

impl Opening {
    /// A handshake with `target`, and its request. `random` must be new for each connection (RFC 6455, 4.1).
    pub(crate) fn new(target: &Target, random: [u8; 16]) -> (Opening, Vec<u8>) {
        let key = key(random);
        let request = request(target, &key, &[], None, &Default::default()).expect("only subprotocols can be wrong");
        (Opening { key, parser: HeadParser::default(), received: Vec::new(), refused: None }, request)
    }

    /// Takes in received bytes.
    pub(crate) fn feed(&mut self, chunk: &[u8]) -> Progress {
        if let Some(refused) = &mut self.refused {
            return refused.feed(chunk);
        }
        self.received.extend_from_slice(chunk);
        loop {
            let (head, framing, used) = match self.parser.response(&self.received, &HeadLimits::default(), &Method::GET)
            {
                Ok(Some(found)) => found,
                Ok(None) => return Progress::Waits,
                Err(error) => {
                    return failed(BAD_RESPONSE, format!("the server did not answer as HTTP: {}", error.reason));
                }
            };
            self.received.drain(..used);
            if head.status() == StatusCode::SWITCHING_PROTOCOLS {
                return self.judge(&head);
            }
            // Another response follows an interim one (RFC 9110, 15.2).
            if !head.status().is_informational() {
                let decoder = BodyDecoder::new(framing);
                let reason = head.reason().to_owned();
                let refused = self.refused.insert(Refused { status: head.status(), reason, decoder, body: Vec::new() });
                return refused.feed(&std::mem::take(&mut self.received));
            }
        }
    }

    fn judge(&self, head: &ResponseHead) -> Progress {
        match check_response(head.status(), head.headers(), &self.key, &[], None) {
            Ok(_) => Progress::Opened { rest: self.received.len() },
            Err(error) => failed(BAD_RESPONSE, format!("the server's answer to the handshake is wrong: {error}")),
        }
    }

    /// The server has ended the connection before the handshake was complete.
    pub(crate) fn end(&self) -> Failed {
        let why = "the server closed the connection without an answer to the handshake";
        self.refusal().unwrap_or(Failed { code: BAD_RESPONSE.to_owned(), why: why.to_owned() })
    }

    /// The handshake is not complete in time.
    pub(crate) fn time_out(&self) -> Failed {
        let why = "the server accepted the connection, but did not answer the handshake in time";
        self.refusal().unwrap_or(Failed { code: "ETIMEDOUT".to_owned(), why: why.to_owned() })
    }

    fn refusal(&self) -> Option<Failed> {
        self.refused.as_ref().map(Refused::failed)
    }
}

impl Refused {
    fn feed(&mut self, mut chunk: &[u8]) -> Progress {
        while let Ok(Some(piece)) = self.decoder.next(&mut chunk) {
            let room = MAX_BODY - self.body.len();
            self.body.extend_from_slice(&piece[..piece.len().min(room)]);
        }
        // Bytes are left over if the body is complete or malformed.
        let is_over = self.decoder.is_complete() || !chunk.is_empty();
        match is_over || self.body.len() == MAX_BODY || self.body.contains(&b'\n') {
            true => Progress::Failed(self.failed()),
            false => Progress::Waits,
        }
    }

    fn failed(&self) -> Failed {
        let code = self.status.as_u16();
        let reason = match self.reason.as_str() {
            "" => self.status.canonical_reason().unwrap_or_default(),
            reason => reason,
        };
        let line = self.body.split(|&byte| byte == b'\n').next().unwrap_or_default().trim_ascii();
        let mut why = format!("the server refused the upgrade: {code} {}", show(reason.as_bytes(), SHOWN));
        if !line.is_empty() {
            why = format!("{}: {}", why.trim_end(), show(line, SHOWN));
        }
        Failed { code: format!("HTTP {code}"), why: why.trim_end().to_owned() }
    }
}

fn failed(code: &str, why: String) -> Progress {
    Progress::Failed(Failed { code: code.to_owned(), why })
}

/// Appends a masked frame to `out`. `write` appends its payload of `len` bytes, which is then masked in its place.
pub(crate) fn put_frame(
    out: &mut Vec<u8>,
    opcode: Opcode,
    mask: [u8; 4],
    len: usize,
    write: impl FnOnce(&mut Vec<u8>),
) {
    let header = Header { fin: true, rsv1: false, opcode, mask: Some(mask), len: len as u64 };
    out.extend_from_slice(header.encode().as_ref());
    let start = out.len();
    write(out);
    debug_assert_eq!(out.len() - start, len);
    apply_mask(&mut out[start..], mask, 0);
}

/// Appends a close frame without a reason to `out`. A frame cannot have the code of an empty one, so that is empty too.
pub(crate) fn put_close(out: &mut Vec<u8>, code: CloseCode, mask: [u8; 4]) {
    let bytes = code.0.to_be_bytes();
    let payload = if code.is_sendable() { &bytes[..] } else { &[] };
    put_frame(out, Opcode::Close, mask, payload.len(), |out| out.extend_from_slice(payload));
}

/// The name of a type of message.
pub(crate) fn type_name(opcode: Opcode) -> &'static str {
    if opcode == Opcode::Text { "text" } else { "binary" }
}

#[cfg(test)]
mod tests {
    use bucle::websocket::handshake::parse_url;

    use super::*;

    /// RFC 6455, 1.3: the key of the example, and its answer.
    const RANDOM: [u8; 16] = *b"the sample nonce";
    const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    fn opening() -> Opening {
        let (opening, request) = Opening::new(&parse_url("ws://host:81/path?a=b").unwrap(), RANDOM);
        let request = String::from_utf8(request).unwrap();
        assert!(request.starts_with("GET /path?a=b HTTP/1.1\r\nHost: host:81\r\n"), "{request}");
        assert!(request.contains("\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), "{request}");
        opening
    }

    fn switching(accept: &str) -> String {
        let fields = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
        format!("HTTP/1.1 101 Switching Protocols\r\n{fields}Sec-WebSocket-Accept: {accept}\r\n\r\n")
    }

    /// The result of an answer that is followed by the end of the connection.
    fn result(chunks: &[&[u8]]) -> Progress {
        let mut opening = opening();
        for chunk in chunks {
            match opening.feed(chunk) {
                Progress::Waits => {}
                progress => return progress,
            }
        }
        Progress::Failed(opening.end())
    }

    #[test]
    fn answers_open_the_connection_or_have_a_name() {
        let refused = "the server refused the upgrade:";
        let table = [
            ("opened", switching(ACCEPT), Ok(0)),
            ("opened, with a frame", switching(ACCEPT) + "\u{1}\u{2}", Ok(2)),
            ("an interim response first", "HTTP/1.1 103 Early\r\n\r\n".to_owned() + &switching(ACCEPT), Ok(0)),
            (
                "refused, with a body",
                "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 9\r\n\r\nfull\nlate".to_owned(),
                Err(("HTTP 503", format!("{refused} 503 Service Unavailable: full"))),
            ),
            (
                "refused, with control bytes",
                "HTTP/1.1 403 \r\nContent-Length: 4\r\n\r\na\u{1b}[m".to_owned(),
                Err(("HTTP 403", format!("{refused} 403 Forbidden: a\\x1b[m"))),
            ),
            (
                "refused, without a body",
                "HTTP/1.1 404 Nowhere\r\nContent-Length: 0\r\n\r\n".to_owned(),
                Err(("HTTP 404", format!("{refused} 404 Nowhere"))),
            ),
            (
                "refused, in chunks",
                "HTTP/1.1 426 \r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n".to_owned(),
                Err(("HTTP 426", format!("{refused} 426 Upgrade Required: no"))),
            ),
            (
                "refused, until the end",
                "HTTP/1.1 200 OK\r\n\r\n<html>".to_owned(),
                Err(("HTTP 200", format!("{refused} 200 OK: <html>"))),
            ),
            (
                "a wrong key",
                switching("s3pPLMBiTxaQ9kYGzzhZRbK+xO0="),
                Err((
                    BAD_RESPONSE,
                    "the server's answer to the handshake is wrong: \
                     the server's Sec-WebSocket-Accept does not fit the key"
                        .to_owned(),
                )),
            ),
            (
                "cut",
                "HTTP/1.1 101 Switch".to_owned(),
                Err((BAD_RESPONSE, "the server closed the connection without an answer to the handshake".to_owned())),
            ),
        ];
        for (name, bytes, want) in table {
            let want = match want {
                Ok(rest) => Progress::Opened { rest },
                Err((code, why)) => Progress::Failed(Failed { code: code.to_owned(), why }),
            };
            assert_eq!(result(&[bytes.as_bytes()]), want, "{name}");
            for at in 0..bytes.len() {
                let (one, other) = bytes.as_bytes().split_at(at);
                let head_len = |rest: usize| bytes.len() - rest;
                let want = match want {
                    // The first chunk has the whole answer, and perhaps a part of the frames.
                    Progress::Opened { rest } if at >= head_len(rest) => {
                        &Progress::Opened { rest: at - head_len(rest) }
                    }
                    ref want => want,
                };
                assert_eq!(result(&[one, other]), *want, "{name}, cut at {at}");
            }
        }
        let text = "SSH-2.0-OpenSSH\r\n";
        assert!(
            matches!(result(&[text.as_bytes()]), Progress::Failed(it) if it.why.contains("did not answer as HTTP"))
        );
    }

    #[test]
    fn a_refusal_is_reported_although_its_body_does_not_end() {
        let mut opening = opening();
        assert_eq!(opening.time_out().code, "ETIMEDOUT");
        assert_eq!(opening.feed(b"HTTP/1.1 503 Full\r\nContent-Length: 9\r\n\r\nwai"), Progress::Waits);
        assert_eq!(opening.time_out().code, "HTTP 503");
        assert_eq!(opening.time_out().why, "the server refused the upgrade: 503 Full: wai");
    }

    #[test]
    fn frames_are_masked_in_their_place() {
        let mut out = b"before".to_vec();
        let key = [0x37, 0xfa, 0x21, 0x3d];
        put_frame(&mut out, Opcode::Text, key, 5, |out| out.extend_from_slice(b"Hello"));
        // RFC 6455, 5.7: "A single-frame masked text message".
        assert_eq!(out, b"before\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
        let close = |code| {
            let mut out = Vec::new();
            put_close(&mut out, code, [0; 4]);
            out
        };
        assert_eq!(close(CloseCode::NORMAL), b"\x88\x82\0\0\0\0\x03\xe8");
        assert_eq!(close(CloseCode::NO_STATUS), b"\x88\x80\0\0\0\0");
    }
}
