//! One response, from its first byte to its last: bytes in, a value out.
//!
//! ```text
//!   interim responses ──▶ head ──▶ body ──▶ complete
//!     (100, 102, 103)               by length, in chunks, or until the connection ends
//! ```

use std::fmt;
use std::time::Duration;

use crate::http::body::{BodyDecoder, Framing};
use crate::http::head::{HeadLimits, HeadParser, Method, ResponseHead, StatusCode};
use crate::http::refusal::{Malformed, Refusal};

#[cfg(test)]
mod tests;

/// A connection is closed this long before the server says that it will close it. Otherwise a request could be under
/// way when it does.
const EARLIER: Duration = Duration::from_secs(1);

/// The response to a request: its head, and its whole body.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ClientResponse {
    /// The status and the headers.
    pub head: ResponseHead,
    /// The body, as it was sent: if `Content-Encoding` names a coding, it is still encoded.
    pub body: Vec<u8>,
}

impl ClientResponse {
    /// The status: 200 to 999. Every status is a response; only what prevents a response is an error.
    pub fn status(&self) -> StatusCode {
        self.head.status()
    }
}

/// Reads the response to one request. It does not matter where the reads cut it.
#[derive(Debug)]
pub(crate) struct ResponseReader {
    /// The method of the request, which decides whether there is a body.
    method: Method,
    max_body: usize,
    parser: HeadParser,
    /// The beginning of a head. At most one head and one read.
    received: Vec<u8>,
    /// At least one byte has arrived.
    has_begun: bool,
    head: Option<(ResponseHead, BodyDecoder, Framing)>,
    body: Vec<u8>,
}

/// A response that is complete.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Received {
    pub response: ClientResponse,
    /// Another request may be sent on this connection.
    pub is_reusable: bool,
}

/// Why there is no response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BadResponse {
    Malformed(Malformed),
    /// The status is 101, and this client asks for no other protocol.
    Switched,
    /// The body is longer than the limit.
    TooLarge,
    /// The connection has ended before the response was complete.
    CutOff,
}

impl BadResponse {
    /// The code of the error that the program gets.
    pub fn code(self) -> &'static str {
        match self {
            BadResponse::Malformed(_) | BadResponse::Switched => "E_BAD_RESPONSE",
            BadResponse::TooLarge => "E_BODY_TOO_LARGE",
            // Node's code for its `socket hang up`.
            BadResponse::CutOff => "ECONNRESET",
        }
    }
}

impl fmt::Display for BadResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadResponse::Malformed(malformed) => malformed.fmt(f),
            BadResponse::Switched => f.write_str("the server has changed the protocol without being asked"),
            BadResponse::TooLarge => f.write_str("the body of the response is larger than this client accepts"),
            BadResponse::CutOff => f.write_str("the server has closed the connection before its response was complete"),
        }
    }
}

impl From<Malformed> for BadResponse {
    fn from(malformed: Malformed) -> BadResponse {
        BadResponse::Malformed(malformed)
    }
}

impl From<Refusal> for BadResponse {
    fn from(refusal: Refusal) -> BadResponse {
        BadResponse::Malformed(refusal.into())
    }
}

impl ResponseReader {
    /// A reader for the response to a request with this method, whose body may have `max_body` bytes.
    pub fn new(method: Method, max_body: usize) -> ResponseReader {
        ResponseReader {
            method,
            max_body,
            parser: HeadParser::default(),
            received: Vec::new(),
            has_begun: false,
            head: None,
            body: Vec::new(),
        }
    }

    /// Whether a byte has arrived, also of an interim response.
    pub fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Takes in bytes. `None`: more must come. After a response or an error the reader is used up.
    pub fn receive(&mut self, chunk: &[u8]) -> Result<Option<Received>, BadResponse> {
        self.has_begun |= !chunk.is_empty();
        if self.head.is_some() {
            return self.receive_body(chunk);
        }
        self.received.extend_from_slice(chunk);
        // How many bytes of interim responses are in front. They are removed together, so that thousands of them cost
        // no more than their bytes.
        let mut start = 0;
        loop {
            let bytes = &self.received[start..];
            let Some((head, framing, used)) = self.parser.response(bytes, &HeadLimits::default(), &self.method)? else {
                self.received.drain(..start);
                return Ok(None);
            };
            start += used;
            if head.status() == StatusCode::SWITCHING_PROTOCOLS {
                return Err(BadResponse::Switched);
            }
            // An interim response is followed by another one (RFC 9110, 15.2).
            if !head.status().is_informational() {
                // Nothing of such a body needs to be received.
                if matches!(framing, Framing::Length(len) if len > self.max_body as u64) {
                    return Err(BadResponse::TooLarge);
                }
                self.head = Some((head, BodyDecoder::new(framing), framing));
                let received = std::mem::take(&mut self.received);
                return self.receive_body(&received[start..]);
            }
        }
    }

    fn receive_body(&mut self, mut chunk: &[u8]) -> Result<Option<Received>, BadResponse> {
        let Some((_, decoder, _)) = &mut self.head else { return Ok(None) };
        while let Some(piece) = decoder.next(&mut chunk)? {
            if piece.len() > self.max_body - self.body.len() {
                return Err(BadResponse::TooLarge);
            }
            self.body.extend_from_slice(piece);
        }
        if !decoder.is_complete() {
            return Ok(None);
        }
        // Bytes behind a response belong to no request: this side and the server do not agree on where it ends.
        Ok(self.complete(chunk.is_empty()))
    }

    /// Takes in the end of the connection, which ends a body without a length.
    pub fn finish(&mut self) -> Result<Option<Received>, BadResponse> {
        let Some((_, decoder, _)) = &mut self.head else { return Err(BadResponse::CutOff) };
        decoder.finish().map_err(|_| BadResponse::CutOff)?;
        Ok(self.complete(false))
    }

    fn complete(&mut self, is_open: bool) -> Option<Received> {
        let (head, _, framing) = self.head.take()?;
        let is_reusable = is_open && head.keeps_alive() && framing != Framing::UntilClose;
        Some(Received { response: ClientResponse { head, body: std::mem::take(&mut self.body) }, is_reusable })
    }
}

/// How long the connection may wait for the next request, if the server says when it will close it: `Keep-Alive:
/// timeout=5`, in seconds. Node's server sends this field, and Node's agent reads it.
pub(super) fn keep_alive_hint(head: &ResponseHead) -> Option<Duration> {
    let parameters = head.header("keep-alive")?.split(',').filter_map(|parameter| parameter.trim().split_once('='));
    let (_, seconds) = parameters.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("timeout"))?;
    Some(Duration::from_secs(seconds.parse().ok()?).saturating_sub(EARLIER))
}
