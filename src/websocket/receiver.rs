//! Bytes in; messages, pings, pongs and the close out.
//!
//! A message is one frame or several *fragments*, and control frames may come between the fragments. A read may end
//! anywhere, and may hold several messages:
//!
//! ```text
//!   reads     01 03 H e l 89 00 80 | 02 l o 82 01 7f 88 00
//!   frames    text, more  ping  last       binary    close
//!   events                Ping       Text  Binary    Close
//!   kept                  "Hel"+80 | ·
//! ```
//!
//! The usual message is one frame, and it arrives in one read. It is unmasked where it lies and lent from there:
//! nothing is copied or allocated. [`whole_message`] does only that. The [`Receiver`] does everything else, and holds
//! only what is unfinished: a cut header, a cut control frame, a message whose end has not arrived. A connection
//! between two messages needs no receiver.
//!
//! The memory of a connection is bounded by [`Settings::limit`] and one control frame. A length in a header
//! allocates nothing: the buffer grows with the bytes that arrive, to at most twice their number. A fragment costs its
//! bytes and nothing else, so a message of many empty fragments is harmless.
//!
//! Errors are found with the byte that is wrong, also inside a header and inside a character of a text. The payload of
//! a close frame is judged when the frame is complete.

use std::mem;

use super::close::{self, CloseCode, Violation};
use super::frame::{FIN, Header, LEN_16, MASKED, MAX_HEADER_LEN, Opcode, RSV1, Role, SHORT_LEN};
use super::mask::apply_mask;
use super::utf8::{self, InvalidUtf8, Utf8Check};

/// The first buffer of a message that arrives in parts has room for this many bytes, or for the whole message.
const FIRST_ROOM: usize = 64;

/// The agreed settings of a connection, and its limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Which side we are.
    pub role: Role,
    /// The largest message in bytes, over all its fragments. See [`limit`](Settings::limit) for compressed messages.
    pub max_message: usize,
    /// Whether permessage-deflate was agreed on, so that messages may be compressed (RFC 7692).
    pub deflate: bool,
}

impl Settings {
    /// How many bytes of payload a message may have on the wire.
    ///
    /// Bytes in which the compressor finds no repetition become longer: with the fixed codes of DEFLATE a byte has at
    /// most 9 bits (RFC 1951, 3.2.6). So the limit of a compressed message is an eighth larger, and has room for the
    /// headers of blocks. The caller compares the inflated message with `max_message`.
    pub fn limit(&self, is_compressed: bool) -> usize {
        let more = if is_compressed { self.max_message / 8 + 64 } else { 0 };
        self.max_message.saturating_add(more)
    }
}

/// A message that is not compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message<'a> {
    /// Text, which is valid UTF-8.
    Text(&'a str),
    /// Any bytes.
    Binary(&'a [u8]),
}

/// A message or control frame of the peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event<'a> {
    /// A whole message.
    Message(Message<'a>),
    /// A whole message that is compressed. UTF-8 is not checked yet.
    Compressed {
        /// [`Opcode::Text`] or [`Opcode::Binary`].
        opcode: Opcode,
        /// The compressed bytes of all fragments.
        payload: &'a [u8],
    },
    /// A ping with its payload, which the pong must have, too.
    Ping(&'a [u8]),
    /// A pong with its payload.
    Pong(&'a [u8]),
    /// The last event: the receiver ignores all bytes after it.
    Close {
        /// The code in the frame; `None` if the frame was empty ([`CloseCode::NO_STATUS`]).
        code: Option<CloseCode>,
        /// The reason; may be empty.
        reason: &'a str,
    },
}

/// Puts messages together. Holds only what is unfinished.
///
/// ```
/// use bucle::websocket::frame::Role;
/// use bucle::websocket::receiver::{Event, Message, Receiver, Settings};
///
/// // RFC 6455, 5.7: "A fragmented unmasked text message", with a ping between the fragments.
/// let (mut first, mut second) = (*b"\x01\x03Hel\x89\x05Hello", *b"\x80\x02lo");
/// let settings = Settings { role: Role::Client, max_message: 1024, deflate: false };
/// let mut receiver = Receiver::default();
///
/// let mut rest = &mut first[..];
/// assert_eq!(receiver.next(&settings, &mut rest)?, Some(Event::Ping(b"Hello")));
/// assert_eq!(receiver.next(&settings, &mut rest)?, None);
/// assert!(!receiver.is_idle());
/// let mut rest = &mut second[..];
/// assert_eq!(receiver.next(&settings, &mut rest)?, Some(Event::Message(Message::Text("Hello"))));
/// assert!(receiver.is_idle());
/// # Ok::<(), bucle::websocket::close::Violation>(())
/// ```
#[derive(Default, Debug)]
pub struct Receiver {
    /// The data message that is not finished, or, while `is_delivered`, the one that the last event lent.
    message: Option<Partial>,
    /// The payload of a control frame that did not arrive in one piece. Empty unless `frame` is one, or the last event
    /// lent it.
    control: Vec<u8>,
    /// The frame whose payload is not finished.
    frame: Option<Frame>,
    /// The start of a header whose end has not arrived: the first `header_len` bytes.
    header: [u8; MAX_HEADER_LEN - 1],
    header_len: u8,
    is_delivered: bool,
    /// A close frame or a violation came: all further bytes are ignored.
    is_over: bool,
}

const _: () = assert!(size_of::<Receiver>() <= 96, "every connection with an unfinished message holds one");

/// A data message so far.
#[derive(Debug)]
enum Partial {
    /// Checked text, and the start of a character that its next byte completes.
    Text {
        text: String,
        check: Utf8Check,
    },
    Binary(Vec<u8>),
    Compressed {
        opcode: Opcode,
        bytes: Vec<u8>,
    },
}

/// A frame whose header has arrived.
#[derive(Clone, Copy, Debug)]
struct Frame {
    /// Bytes of payload that have not arrived.
    left: usize,
    /// The masking key, rotated so that it begins with the key byte of the next payload byte.
    key: Option<[u8; 4]>,
    opcode: Opcode,
    fin: bool,
}

/// Something that is complete.
enum Complete<'b> {
    /// An event whose payload lies in the bytes that arrived.
    Here(Event<'b>),
    /// A close frame whose payload lies there.
    CloseHere(&'b [u8]),
    /// The message of the receiver.
    Message,
    /// The control frame of the receiver.
    Control(Opcode),
}

impl Receiver {
    /// The next event of `rest`, which shrinks; `None` when all of `rest` is used up.
    ///
    /// Payload is unmasked in place. A message of one frame that is whole in `rest` is lent from there, other messages
    /// are lent from the receiver. The caller may stop after any event and go on later with the same `rest`.
    ///
    /// Fails if the peer broke a rule. After that, and after [`Event::Close`], there is nothing more: all bytes are
    /// skipped.
    pub fn next<'s, 'b: 's>(
        &'s mut self,
        settings: &Settings,
        rest: &mut &'b mut [u8],
    ) -> Result<Option<Event<'s>>, Violation> {
        self.free_lent();
        if self.is_over {
            *rest = &mut [];
            return Ok(None);
        }
        let complete = match self.advance(settings, rest) {
            Ok(Some(complete)) => complete,
            Ok(None) => return Ok(None),
            Err(violation) => {
                *rest = &mut [];
                self.end();
                return Err(violation);
            }
        };
        let close_payload = match complete {
            Complete::Here(event) => return Ok(Some(event)),
            Complete::Message => {
                self.is_delivered = true;
                return Ok(self.message.as_ref().map(Partial::event));
            }
            Complete::Control(Opcode::Ping) => return Ok(Some(Event::Ping(&self.control))),
            Complete::Control(Opcode::Pong) => return Ok(Some(Event::Pong(&self.control))),
            Complete::Control(_) => {
                self.end();
                &self.control
            }
            Complete::CloseHere(payload) => {
                self.end();
                payload
            }
        };
        let (code, reason) = close::parse(close_payload)?;
        Ok(Some(Event::Close { code, reason }))
    }

    /// Whether nothing is unfinished: the receiver can be dropped, and a new one can go on.
    ///
    /// False after a close frame or a violation, because a new receiver would accept the bytes that come after it.
    pub fn is_idle(&self) -> bool {
        let is_between_messages = self.message.is_none() || self.is_delivered;
        is_between_messages && self.frame.is_none() && self.header_len == 0 && !self.is_over
    }

    /// Bytes of heap that the receiver owns: at most [`Settings::limit`] and 125 for a control frame.
    ///
    /// The bytes of an event are freed with the call of [`next`](Receiver::next) after it.
    pub fn kept_bytes(&self) -> usize {
        self.message.as_ref().map_or(0, Partial::capacity) + self.control.capacity()
    }

    /// Frees what the last event lent.
    fn free_lent(&mut self) {
        if mem::take(&mut self.is_delivered) {
            self.message = None;
        }
        if self.frame.is_none() && self.control.capacity() > 0 {
            self.control = Vec::new();
        }
    }

    /// Ignores all further bytes. `control` is kept: it may be the payload of the close frame.
    fn end(&mut self) {
        self.is_over = true;
        self.message = None;
        self.frame = None;
        self.header_len = 0;
    }

    /// Takes bytes from the front of `rest` until something is complete, or all are used up.
    fn advance<'b>(&mut self, settings: &Settings, rest: &mut &'b mut [u8]) -> Result<Option<Complete<'b>>, Violation> {
        loop {
            let mut frame = match self.frame.take() {
                Some(frame) => frame,
                None => {
                    let Some(header) = self.take_header(settings, rest)? else { return Ok(None) };
                    // The length is at most `limit`, so it fits.
                    let mut frame =
                        Frame { left: header.len as usize, key: header.mask, opcode: header.opcode, fin: header.fin };
                    let is_one_frame = header.fin && header.opcode != Opcode::Continuation;
                    if is_one_frame && frame.left <= rest.len() {
                        let payload = take_front(rest, frame.left);
                        frame.unmask(payload);
                        return complete_here(&header, payload).map(Some);
                    }
                    self.prepare_for(&header);
                    frame
                }
            };
            let part = take_front(rest, frame.left.min(rest.len()));
            frame.unmask(part);
            self.collect(settings, &frame, part)?;
            frame.left -= part.len();
            if frame.left > 0 {
                self.frame = Some(frame);
                return Ok(None);
            }
            if frame.opcode.is_control() {
                return Ok(Some(Complete::Control(frame.opcode)));
            }
            if frame.fin {
                if let Some(Partial::Text { check, .. }) = &self.message {
                    check.finish().map_err(invalid_text)?;
                }
                return Ok(Some(Complete::Message));
            }
        }
    }

    /// The header at the front of `rest`, behind the bytes of it that came before. `None` if it is not complete; then
    /// all bytes are kept.
    fn take_header(&mut self, settings: &Settings, rest: &mut &mut [u8]) -> Result<Option<Header>, Violation> {
        if rest.is_empty() {
            return Ok(None);
        }
        let kept = usize::from(self.header_len);
        if kept == 0
            && let Some((header, len)) = self.parse_header(settings, rest)?
        {
            take_front(rest, len);
            return Ok(Some(header));
        }
        let mut bytes = [0; MAX_HEADER_LEN];
        let more = rest.len().min(MAX_HEADER_LEN - kept);
        bytes[..kept].copy_from_slice(&self.header[..kept]);
        bytes[kept..kept + more].copy_from_slice(&rest[..more]);
        let bytes = &bytes[..kept + more];
        match self.parse_header(settings, bytes)? {
            Some((header, len)) => {
                take_front(rest, len - kept);
                self.header_len = 0;
                Ok(Some(header))
            }
            None => {
                self.header[..bytes.len()].copy_from_slice(bytes);
                self.header_len = bytes.len() as u8;
                *rest = &mut [];
                Ok(None)
            }
        }
    }

    /// Reads a header, and checks whether its frame may come now (RFC 6455, 5.4).
    fn parse_header(&self, settings: &Settings, bytes: &[u8]) -> Result<Option<(Header, usize)>, Violation> {
        let mut is_compressed = false;
        if let [first, ..] = *bytes {
            is_compressed = self.message.as_ref().map_or(first & RSV1 != 0, Partial::is_compressed);
            match Opcode::of(first) {
                Some(Opcode::Continuation) if self.message.is_none() => {
                    return Err(Violation::protocol("a continuation frame without a message to continue"));
                }
                Some(Opcode::Text | Opcode::Binary) if self.message.is_some() => {
                    return Err(Violation::protocol("a new message begins inside a fragmented one"));
                }
                Some(Opcode::Text | Opcode::Binary) if first & RSV1 != 0 && !settings.deflate => {
                    return Err(Violation::protocol("RSV1 is set, but compression was not agreed on"));
                }
                _ => {}
            }
        }
        let so_far = self.message.as_ref().map_or(0, Partial::len);
        Header::parse(bytes, settings.role, settings.limit(is_compressed).saturating_sub(so_far) as u64)
    }

    /// Makes a place for the payload of a frame that is not whole, or not the only one of its message.
    fn prepare_for(&mut self, header: &Header) {
        match header.opcode {
            Opcode::Continuation => {}
            opcode @ (Opcode::Text | Opcode::Binary) => self.message = Some(Partial::new(opcode, header.rsv1)),
            // So few bytes that they need not arrive before there is room for them.
            Opcode::Close | Opcode::Ping | Opcode::Pong => self.control = Vec::with_capacity(header.len as usize),
        }
    }

    /// Appends a part of a payload to the message or to the control frame.
    fn collect(&mut self, settings: &Settings, frame: &Frame, part: &[u8]) -> Result<(), Violation> {
        if frame.opcode.is_control() {
            self.control.extend_from_slice(part);
        } else if let Some(message) = &mut self.message {
            let max_len = if frame.fin { message.len() + frame.left } else { settings.limit(message.is_compressed()) };
            message.append(part, max_len).map_err(invalid_text)?;
        }
        Ok(())
    }
}

impl Partial {
    fn new(opcode: Opcode, is_compressed: bool) -> Partial {
        match opcode {
            opcode if is_compressed => Partial::Compressed { opcode, bytes: Vec::new() },
            Opcode::Text => Partial::Text { text: String::new(), check: Utf8Check::default() },
            _ => Partial::Binary(Vec::new()),
        }
    }

    fn is_compressed(&self) -> bool {
        matches!(self, Partial::Compressed { .. })
    }

    /// Bytes of the message so far, with those of a cut character.
    fn len(&self) -> usize {
        match self {
            Partial::Text { text, check } => text.len() + check.kept_len(),
            Partial::Binary(bytes) | Partial::Compressed { bytes, .. } => bytes.len(),
        }
    }

    fn capacity(&self) -> usize {
        match self {
            Partial::Text { text, .. } => text.capacity(),
            Partial::Binary(bytes) | Partial::Compressed { bytes, .. } => bytes.capacity(),
        }
    }

    /// Appends `part` to a message that will have at most `max_len` bytes.
    fn append(&mut self, part: &[u8], max_len: usize) -> Result<(), InvalidUtf8> {
        let room = grown_room(self.capacity(), self.len() + part.len(), max_len);
        match self {
            Partial::Text { text, check } => {
                let (character, more) = check.feed(part)?;
                text.reserve_exact(room - text.len());
                text.extend(character);
                text.push_str(more);
            }
            Partial::Binary(bytes) | Partial::Compressed { bytes, .. } => {
                bytes.reserve_exact(room - bytes.len());
                bytes.extend_from_slice(part);
            }
        }
        Ok(())
    }

    fn event(&self) -> Event<'_> {
        match self {
            Partial::Text { text, .. } => Event::Message(Message::Text(text)),
            Partial::Binary(bytes) => Event::Message(Message::Binary(bytes)),
            Partial::Compressed { opcode, bytes } => Event::Compressed { opcode: *opcode, payload: bytes },
        }
    }
}

impl Frame {
    /// Unmasks the next part of the payload.
    fn unmask(&mut self, part: &mut [u8]) {
        if let Some(key) = &mut self.key {
            apply_mask(part, *key, 0);
            key.rotate_left(part.len() % 4);
        }
    }
}

/// The message at the front of `rest`, if it is whole, in one frame, and not compressed. That is the usual case.
///
/// Call this only if nothing is unfinished: before there is a [`Receiver`]. `None` means that the receiver must decide,
/// and nothing has changed. An error is as final as one of the receiver.
///
/// ```
/// use bucle::websocket::frame::Role;
/// use bucle::websocket::receiver::{Message, Settings, whole_message};
///
/// // RFC 6455, 5.7: "A single-frame masked text message", and the first byte of the next one.
/// let mut read = *b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58\x81";
/// let settings = Settings { role: Role::Server, max_message: 1024, deflate: false };
/// let mut rest = &mut read[..];
/// assert_eq!(whole_message(&settings, &mut rest), Some(Ok(Message::Text("Hello"))));
/// assert_eq!(whole_message(&settings, &mut rest), None);
/// assert_eq!(rest, b"\x81");
/// ```
#[inline(always)]
pub fn whole_message<'b>(settings: &Settings, rest: &mut &'b mut [u8]) -> Option<Result<Message<'b>, Violation>> {
    let [first, second, after @ ..] = &**rest else { return None };
    let is_text = match *first {
        WHOLE_TEXT => true,
        WHOLE_BINARY => false,
        _ => return None,
    };
    let is_masked = settings.role == Role::Server;
    if is_masked != (second & MASKED != 0) {
        return None;
    }
    let (len, key_at) = match second & SHORT_LEN {
        short @ 0..LEN_16 => (usize::from(short), 2),
        long => long_len(long, after)?,
    };
    let header_len = if is_masked { key_at + 4 } else { key_at };
    // The first comparison also keeps the sum from overflowing.
    if len > settings.max_message || rest.len() < header_len || rest.len() - header_len < len {
        return None;
    }
    let (frame, behind) = mem::take(rest).split_at_mut(header_len + len);
    *rest = behind;
    let (header, payload) = frame.split_at_mut(header_len);
    let key = header.last_chunk().copied().unwrap_or_default();
    if is_masked {
        apply_mask(payload, key, 0);
    }
    Some(message(is_text, payload))
}

/// A length of 126 bytes or more, and the length of the header up to its end. A length in too long a form is left to
/// the receiver, which refuses it.
fn long_len(short: u8, after: &[u8]) -> Option<(usize, usize)> {
    let (len, minimum, end) = if short == LEN_16 {
        (u16::from_be_bytes(*after.first_chunk()?).into(), u64::from(LEN_16), 4)
    } else {
        (u64::from_be_bytes(*after.first_chunk()?), 1 << 16, 10)
    };
    (len >= minimum).then_some((usize::try_from(len).ok()?, end))
}

/// The first byte of a text message in one frame: FIN and the opcode.
const WHOLE_TEXT: u8 = FIN | Opcode::Text as u8;
/// The first byte of a binary message in one frame.
const WHOLE_BINARY: u8 = FIN | Opcode::Binary as u8;

/// A frame that is whole and not part of a fragmented message. Its payload is unmasked.
fn complete_here<'b>(header: &Header, payload: &'b [u8]) -> Result<Complete<'b>, Violation> {
    Ok(Complete::Here(match header.opcode {
        Opcode::Ping => Event::Ping(payload),
        Opcode::Pong => Event::Pong(payload),
        Opcode::Close => return Ok(Complete::CloseHere(payload)),
        opcode if header.rsv1 => Event::Compressed { opcode, payload },
        opcode => Event::Message(message(opcode == Opcode::Text, payload)?),
    }))
}

#[inline]
fn message(is_text: bool, payload: &[u8]) -> Result<Message<'_>, Violation> {
    if is_text { utf8::check(payload).map(Message::Text).map_err(invalid_text) } else { Ok(Message::Binary(payload)) }
}

fn invalid_text(_: InvalidUtf8) -> Violation {
    Violation::invalid_payload("the text message is not valid UTF-8")
}

/// The capacity of a buffer that must hold `len` bytes now and `max_len` at most in the end. It doubles, so that the
/// time for a message in many parts is proportional to its length.
fn grown_room(capacity: usize, len: usize, max_len: usize) -> usize {
    if len <= capacity { capacity } else { len.max(2 * capacity).max(FIRST_ROOM).min(max_len) }
}

/// Splits off the first `len` bytes.
#[inline]
fn take_front<'b>(rest: &mut &'b mut [u8], len: usize) -> &'b mut [u8] {
    let (front, back) = mem::take(rest).split_at_mut(len);
    *rest = back;
    front
}

#[cfg(test)]
mod tests;
