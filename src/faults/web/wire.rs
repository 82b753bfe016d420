//! What both sides of a connection have written, read again from the beginning: the second opinion of the checks.
//!
//! These functions get all bytes at once, so no kernel, no cut and no pause can change their results.

use crate::http::StatusCode;
use crate::http::body::{BodyDecoder, Framing};
use crate::http::head::{HeadLimits, Method, parse_request, parse_response};
use crate::websocket::close::{CloseCode, Violation};
use crate::websocket::deflate::{InflateError, Inflater};
use crate::websocket::frame::{Opcode, Role};
use crate::websocket::receiver::{Event, Message, Receiver, Settings};

/// The largest message in these tests.
pub(crate) const MAX_MESSAGE: usize = 1024 * 1024;

/// A request that a peer has sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Asked {
    pub method: Method,
    pub target: String,
    /// `None`: the body is not complete.
    pub body: Option<Vec<u8>>,
    /// The place of the first byte behind it.
    pub end: usize,
}

/// The requests at the front of `bytes`, up to the first that is refused or not complete.
pub(crate) fn requests(bytes: &[u8]) -> Vec<Asked> {
    let (mut asked, mut at) = (Vec::new(), 0);
    while let Ok(Some((request, framing, used))) = parse_request(&bytes[at..], &HeadLimits::default()) {
        at += used;
        let (body, used) = body(framing, &bytes[at..]);
        at += used;
        let is_whole = body.is_some();
        asked.push(Asked { method: request.method().clone(), target: request.target().to_owned(), body, end: at });
        if !is_whole {
            break;
        }
    }
    asked
}

/// The body at the front of `bytes`, and its length on the wire. `None` if it is not complete.
fn body(framing: Framing, bytes: &[u8]) -> (Option<Vec<u8>>, usize) {
    let (mut decoder, mut rest, mut body) = (BodyDecoder::new(framing), bytes, Vec::new());
    while let Ok(Some(piece)) = decoder.next(&mut rest) {
        body.extend_from_slice(piece);
    }
    (decoder.is_complete().then_some(body), bytes.len() - rest.len())
}

/// A response on the wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Answered {
    pub status: StatusCode,
    /// As much as has arrived.
    pub body: Vec<u8>,
    pub is_whole: bool,
}

/// Takes the response at the front of `bytes`, the answer to a request with this method. `None` if its head is not
/// complete.
pub(crate) fn response(bytes: &mut &[u8], method: &Method) -> Option<Answered> {
    let (head, framing, used) = parse_response(bytes, &HeadLimits::default(), method).expect("a correct response")?;
    *bytes = &bytes[used..];
    let (mut decoder, mut body) = (BodyDecoder::new(framing), Vec::new());
    while let Some(piece) = decoder.next(bytes).expect("a correct body") {
        body.extend_from_slice(piece);
    }
    Some(Answered { status: head.status(), body, is_whole: decoder.is_complete() })
}

/// A message or control frame that a peer has sent.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Part {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

impl From<Message<'_>> for Part {
    fn from(message: Message<'_>) -> Part {
        match message {
            Message::Text(text) => Part::Text(text.to_owned()),
            Message::Binary(bytes) => Part::Binary(bytes.to_vec()),
        }
    }
}

/// A stream of frames.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Frames {
    pub parts: Vec<Part>,
    /// The code of the close frame; [`CloseCode::NO_STATUS`] if it has none.
    pub close: Option<CloseCode>,
    pub violation: Option<Violation>,
    /// How many bytes come behind the close frame.
    pub behind: usize,
}

/// Reads frames. `role` is the side that receives them.
pub(crate) fn frames(bytes: &[u8], role: Role, deflate: bool) -> Frames {
    let settings = Settings { role, max_message: MAX_MESSAGE, deflate };
    let (mut bytes, mut receiver, mut frames) = (bytes.to_vec(), Receiver::default(), Frames::default());
    let mut inflater = Inflater::new();
    let mut rest = &mut bytes[..];
    loop {
        let part = match receiver.next(&settings, &mut rest) {
            Ok(None) => return frames,
            Ok(Some(Event::Message(message))) => Ok(message.into()),
            Ok(Some(Event::Compressed { opcode, payload })) => inflate(&mut inflater, opcode, payload),
            Ok(Some(Event::Ping(payload))) => Ok(Part::Ping(payload.to_vec())),
            Ok(Some(Event::Pong(payload))) => Ok(Part::Pong(payload.to_vec())),
            Ok(Some(Event::Close { code, .. })) => {
                frames.close = Some(code.unwrap_or(CloseCode::NO_STATUS));
                frames.behind = rest.len();
                return frames;
            }
            Err(violation) => Err(violation),
        };
        match part {
            Ok(part) => frames.parts.push(part),
            Err(violation) => {
                frames.violation = Some(violation);
                return frames;
            }
        }
    }
}

/// The context is kept. A message that was compressed alone does not refer to it.
fn inflate(inflater: &mut Inflater, opcode: Opcode, payload: &[u8]) -> Result<Part, Violation> {
    let mut bytes = Vec::new();
    let bad = |code| Violation { code, reason: "the compressed message is wrong" };
    inflater.inflate(payload, &mut bytes, MAX_MESSAGE, true).map_err(|error| match error {
        InflateError::TooLarge => bad(CloseCode::MESSAGE_TOO_BIG),
        _ => bad(CloseCode::INVALID_PAYLOAD),
    })?;
    if opcode == Opcode::Binary {
        return Ok(Part::Binary(bytes));
    }
    String::from_utf8(bytes).map(Part::Text).map_err(|_| bad(CloseCode::INVALID_PAYLOAD))
}
