//! Bodies: where they end (RFC 9112, section 6), and the chunked coding in both directions (section 7).
//!
//! The head determines the [`Framing`] of its body: a length, chunks, or everything up to the end of the connection.
//! Chunks are for bodies whose length is not known when they begin:
//!
//! ```text
//!   4\r\n hola \r\n │ 6;note=x\r\n ·amigo \r\n │ 0\r\n │ Trailer: x\r\n │ \r\n
//!   size  data      │ size and extension       │ last  │ trailer field  │ end
//! ```
//!
//! A read may end anywhere, so the [`BodyDecoder`] remembers its state between two reads:
//!
//! ```text
//!   state       byte          next state
//!   Size        hex digit     Size, at most 16 times
//!               ;             Extension, after at least one digit
//!               \r            SizeFeed, after at least one digit
//!   Extension   \r            SizeFeed
//!               text          Extension
//!   SizeFeed    \n            Data, or FieldStart if the size is 0
//!   Data        any           Data, as many as the size says; then DataReturn
//!   DataReturn  \r            DataFeed
//!   DataFeed    \n            Size
//!   FieldStart  \r            LastFeed
//!               token char    FieldName
//!   FieldName   token char    FieldName
//!               :             FieldValue
//!   FieldValue  \r            FieldFeed
//!               text          FieldValue
//!   FieldFeed   \n            FieldStart
//!   LastFeed    \n            Complete
//! ```
//!
//! Every other byte is refused. So a size has no sign, no `0x` and no blank around it, a line never ends with a bare
//! `\n`, and exactly `\r\n` follows the data. RFC 9112 allows a blank before the `;`; it is refused too, because a
//! decoder that forgets this blank reads another size.
//!
//! Extensions and trailer fields are dropped, as section 7.1 permits. Their bytes are counted: all those of one body
//! may be at most [`OVERHEAD_LIMIT`]. Size lines without an extension are not counted, because a long body may have any
//! number of them.

use std::io::Write;

use ::http::StatusCode;

use super::refusal::Refusal;
use super::syntax::{is_text, is_token};

#[cfg(test)]
mod tests;

/// How many bytes of extensions and trailer fields one body may have: as many as a head.
pub const OVERHEAD_LIMIT: usize = 16 * 1024;

/// The chunk that ends a chunked body, without trailer fields.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// More digits would not fit into 64 bits.
const MAX_DIGITS: u8 = 16;

/// How the end of a body is found (RFC 9112, section 6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// There is no body.
    None,
    /// The body has this many bytes, possibly 0. The caller compares it with its own limit.
    Length(u64),
    /// The body is chunked.
    Chunked,
    /// The body ends with the connection. Only responses can have this framing.
    UntilClose,
}

/// Takes a body out of the received bytes. It does not matter where the reads cut them.
///
/// 24 bytes, and no heap: the data is lent from the input. The decoder has no limit for the data; the caller counts it.
#[derive(Clone, Debug)]
pub struct BodyDecoder {
    state: State,
    /// Of the body with a length, or of the current chunk: how many data bytes are missing. In `Size`: the size so far.
    missing: u64,
    /// Bytes of extensions and trailer fields so far.
    overhead: usize,
}

const _: () = assert!(size_of::<BodyDecoder>() <= 24);

/// The states of the table in the module's documentation, and those of the other framings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Length,
    UntilClose,
    Size { digits: u8 },
    Extension,
    SizeFeed,
    Data,
    DataReturn,
    DataFeed,
    FieldStart,
    FieldName,
    FieldValue,
    FieldFeed,
    LastFeed,
    Complete,
}

impl BodyDecoder {
    /// A decoder for one body.
    pub fn new(framing: Framing) -> BodyDecoder {
        let (state, missing) = match framing {
            Framing::None | Framing::Length(0) => (State::Complete, 0),
            Framing::Length(len) => (State::Length, len),
            Framing::Chunked => (State::Size { digits: 0 }, 0),
            Framing::UntilClose => (State::UntilClose, 0),
        };
        BodyDecoder { state, missing, overhead: 0 }
    }

    /// Takes data from the front of `rest`, at least one byte; `None` when `rest` is used up or the body is complete.
    ///
    /// Where the data is cut into pieces has no meaning. After the end of the body `rest` begins with the next message.
    ///
    /// # Errors
    ///
    /// A mistake in the chunked coding. A further call with the same `rest` returns the same error.
    ///
    /// ```
    /// use bucle::http::body::{BodyDecoder, Framing};
    ///
    /// let (mut body, mut rest) = (BodyDecoder::new(Framing::Chunked), &b"4\r\nhola\r\n0\r\n\r\nGET /"[..]);
    /// assert_eq!(body.next(&mut rest)?, Some(&b"hola"[..]));
    /// assert_eq!(body.next(&mut rest)?, None);
    /// assert!(body.is_complete());
    /// assert_eq!(rest, b"GET /");
    /// # Ok::<(), bucle::http::Refusal>(())
    /// ```
    pub fn next<'a>(&mut self, rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Refusal> {
        while let Some((&byte, after)) = rest.split_first() {
            match self.state {
                State::Complete => return Ok(None),
                State::UntilClose => return Ok(Some(std::mem::take(rest))),
                State::Length => return Ok(Some(self.take_data(rest, State::Complete))),
                State::Data => return Ok(Some(self.take_data(rest, State::DataReturn))),
                _ => self.state = self.step(byte)?,
            }
            *rest = after;
        }
        Ok(None)
    }

    /// The body has been read to its end. A body [until close](Framing::UntilClose) is complete after
    /// [`finish`](BodyDecoder::finish).
    pub fn is_complete(&self) -> bool {
        self.state == State::Complete
    }

    /// Takes in the end of the connection.
    ///
    /// # Errors
    ///
    /// The body is cut off (RFC 9112, section 8): its data must not be taken for the whole.
    pub fn finish(&mut self) -> Result<(), Refusal> {
        if !matches!(self.state, State::UntilClose | State::Complete) {
            return Err(Refusal::bad("the connection ended before the body"));
        }
        self.state = State::Complete;
        Ok(())
    }

    /// Takes the data that has arrived. After the last missing byte, the state is `next`.
    fn take_data<'a>(&mut self, rest: &mut &'a [u8], next: State) -> &'a [u8] {
        let len = usize::try_from(self.missing).map_or(rest.len(), |missing| missing.min(rest.len()));
        let (data, after) = rest.split_at(len);
        *rest = after;
        self.missing -= len as u64;
        if self.missing == 0 {
            self.state = next;
        }
        data
    }

    /// One byte of the chunked coding that is not data: one row of the table. An error leaves the decoder as it was.
    fn step(&mut self, byte: u8) -> Result<State, Refusal> {
        Ok(match (self.state, byte) {
            (State::Size { digits }, _) => return self.size_step(digits, byte),
            (State::Extension, b'\r') => State::SizeFeed,
            (State::Extension, byte) if is_text(byte) => self.count(State::Extension)?,
            (State::Extension, _) => return Err(Refusal::bad("a control byte in a chunk extension")),
            (State::SizeFeed, b'\n') if self.missing == 0 => State::FieldStart,
            (State::SizeFeed, b'\n') => State::Data,
            (State::DataReturn, b'\r') => State::DataFeed,
            (State::DataFeed, b'\n') => State::Size { digits: 0 },
            (State::DataReturn | State::DataFeed, _) => return Err(Refusal::bad("no CRLF after the data of a chunk")),
            (State::FieldStart, b'\r') => State::LastFeed,
            (State::FieldStart | State::FieldName, byte) if is_token(byte) => self.count(State::FieldName)?,
            (State::FieldName, b':') => self.count(State::FieldValue)?,
            (State::FieldStart | State::FieldName, _) => return Err(Refusal::bad("a bad name of a trailer field")),
            (State::FieldValue, b'\r') => State::FieldFeed,
            (State::FieldValue, byte) if is_text(byte) => self.count(State::FieldValue)?,
            (State::FieldValue, _) => return Err(Refusal::bad("a control byte in a trailer field")),
            (State::FieldFeed, b'\n') => State::FieldStart,
            (State::LastFeed, b'\n') => State::Complete,
            _ => return Err(Refusal::bad("a CR without LF in the chunked coding")),
        })
    }

    fn size_step(&mut self, digits: u8, byte: u8) -> Result<State, Refusal> {
        match (byte, char::from(byte).to_digit(16)) {
            (_, Some(_)) if digits == MAX_DIGITS => Err(Refusal::bad("a chunk size of more than 16 digits")),
            (_, Some(digit)) => {
                self.missing = self.missing << 4 | u64::from(digit);
                Ok(State::Size { digits: digits + 1 })
            }
            (b';', None) if digits > 0 => self.count(State::Extension),
            (b'\r', None) if digits > 0 => Ok(State::SizeFeed),
            _ => Err(Refusal::bad("a bad chunk size")),
        }
    }

    /// Counts one byte of an extension or of a trailer field.
    fn count(&mut self, next: State) -> Result<State, Refusal> {
        if self.overhead == OVERHEAD_LIMIT {
            return Err(match next {
                State::Extension => Refusal::bad("chunk extensions are too long"),
                _ => Refusal::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "trailer fields are too long"),
            });
        }
        self.overhead += 1;
        Ok(next)
    }
}

/// Appends `data` as one chunk. Empty data appends nothing: a chunk of size 0 would end the body.
///
/// ```
/// use bucle::http::body::{LAST_CHUNK, push_chunk};
///
/// let mut out = Vec::new();
/// push_chunk(&mut out, b"hola");
/// out.extend_from_slice(LAST_CHUNK);
/// assert_eq!(out, b"4\r\nhola\r\n0\r\n\r\n");
/// ```
pub fn push_chunk(out: &mut Vec<u8>, data: &[u8]) {
    if !data.is_empty() {
        write!(out, "{:x}\r\n", data.len()).expect("a vector takes every write");
        out.extend_from_slice(data);
        out.extend_from_slice(b"\r\n");
    }
}
