//! Finds the end of a head whose bytes arrive in pieces, and refuses early what cannot become one.
//!
//! ```text
//!   state          byte             next state
//!   Start          \r               StartFeed, at most twice and only before a request
//!                  token char       Method
//!   StartFeed      \n               Start
//!   Method         token char       Method
//!                  blank            Target
//!   Target         visible char     Target
//!                  blank            Version, after at least one char
//!   Version        of HTTP/d.d      Version; after the eighth byte: AfterVersion
//!   AfterVersion   \r               LineFeed
//!   Line           any but \r, \n   Line
//!                  \r               LineFeed
//!   LineFeed       \n               LineStart
//!   LineStart      \r               LastFeed
//!                  not a blank      Line
//!   LastFeed       \n               End
//! ```
//!
//! A response begins with Version, which Line follows: httparse checks the status.

use ::http::StatusCode;
use memchr::memchr2;

use crate::http::refusal::Refusal;
use crate::http::syntax::is_token;

pub(super) const NOT_A_HEAD: &str = "not a head of HTTP/1.1";

/// The longest method in IANA's registry, UPDATEREDIRECTREF, has 17 bytes.
const METHOD_LIMIT: usize = 32;

/// How many empty lines before a request are skipped. Old clients sent one behind a body (RFC 9112, section 2.2).
const EMPTY_LINES: usize = 2;

const VERSION_LEN: usize = "HTTP/1.1".len();

/// How large a head may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeadLimits {
    /// Bytes from the beginning of the start line, or of the empty lines before it, to the end of the empty line
    /// behind the fields. 16 KiB by default, as in Node.
    pub bytes: usize,
    /// Fields. 100 by default. (At most 24,576: the map of the crate `http` has no room for more.)
    pub headers: usize,
}

impl Default for HeadLimits {
    fn default() -> HeadLimits {
        HeadLimits { bytes: 16 * 1024, headers: 100 }
    }
}

/// The kind of the head's start line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Request,
    Response,
}

/// Where a complete head is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Found {
    /// The first byte of the start line.
    pub(super) start: usize,
    /// The first byte after the head.
    pub(super) end: usize,
    /// The number of lines between the start line and the empty line.
    pub(super) fields: usize,
}

/// How far the search has come.
///
/// Invariant: an error leaves it as it was, so the same bytes cause the same error again.
#[derive(Clone, Default, Debug)]
pub(super) struct Finder {
    /// Bytes that need not be examined again.
    examined: u32,
    /// In `Method`, `Target` and `Version`: where it begins.
    part_start: u32,
    /// Lines of fields that have begun.
    fields: u32,
    state: State,
}

/// The states of the table in the module's documentation.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum State {
    #[default]
    Start,
    StartFeed,
    Method,
    Target,
    Version,
    AfterVersion,
    Line,
    LineFeed,
    LineStart,
    LastFeed,
    End,
}

impl Finder {
    /// Examines the bytes that are new since the last call. `bytes` always begins with the first byte of the head.
    ///
    /// Of several mistakes the first byte that is one decides, so the result does not depend on the cuts.
    pub(super) fn find(&mut self, kind: Kind, bytes: &[u8], limits: &HeadLimits) -> Result<Option<Found>, Refusal> {
        // Positions are stored in 32 bits.
        let limit = limits.bytes.min(u32::MAX as usize);
        let visible = &bytes[..bytes.len().min(limit)];
        while self.state != State::End {
            let Some(&byte) = visible.get(self.at()) else { break };
            self.step(kind, byte, visible, limits)?;
        }
        match self.state {
            State::End => Ok(Some(self.found(visible))),
            State::Target if visible.len() == limit => {
                Err(Refusal::new(StatusCode::URI_TOO_LONG, "the request target is too long"))
            }
            _ if visible.len() == limit => {
                Err(Refusal::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the head is too long"))
            }
            _ => Ok(None),
        }
    }

    fn at(&self) -> usize {
        self.examined as usize
    }

    fn found(&self, visible: &[u8]) -> Found {
        let start = visible.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        Found { start, end: self.at(), fields: self.fields as usize }
    }

    /// One row of the table: `byte` is the first byte that has not been examined.
    fn step(&mut self, kind: Kind, byte: u8, visible: &[u8], limits: &HeadLimits) -> Result<(), Refusal> {
        match (self.state, byte) {
            (State::Start, _) if kind == Kind::Response => self.begin(State::Version, 0),
            (State::Start, b'\r') if self.at() < 2 * EMPTY_LINES => self.go_on(State::StartFeed, 1),
            (State::Start, _) if is_token(byte) => self.begin(State::Method, 0),
            (State::Start, b'\r') => return Err(Refusal::bad("empty lines before the request line")),
            (State::StartFeed, b'\n') => self.go_on(State::Start, 1),
            (State::Start | State::StartFeed, _) => return Err(Refusal::bad(NOT_A_HEAD)),
            (State::Method, b' ') => self.begin(State::Target, 1),
            (State::Method, _) => return self.method_step(byte),
            (State::Target, b' ') if self.at() > self.part_start as usize => self.begin(State::Version, 1),
            // A fragment never belongs to a target (RFC 9110, section 7.1).
            (State::Target, b'!'..=b'~') if byte != b'#' => self.go_on(State::Target, 1),
            (State::Target, _) => return Err(Refusal::bad("a bad request line")),
            (State::Version, _) => return self.version_step(kind, byte, visible),
            (State::AfterVersion, b'\r') => self.go_on(State::LineFeed, 1),
            (State::AfterVersion, _) => return Err(Refusal::bad("a bad request line")),
            (State::Line, _) => return self.line_step(visible),
            (State::LineFeed, b'\n') => self.go_on(State::LineStart, 1),
            (State::LastFeed, b'\n') => self.go_on(State::End, 1),
            (State::LineFeed | State::LastFeed, _) => return Err(Refusal::bad("a CR without LF")),
            (State::LineStart, b'\r') => self.go_on(State::LastFeed, 1),
            (State::LineStart, b' ' | b'\t') => return Err(Refusal::bad("a line begins with a blank")),
            (State::LineStart, _) if self.fields as usize >= limits.headers => {
                return Err(Refusal::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "too many fields"));
            }
            (State::LineStart, _) => {
                self.fields += 1;
                self.go_on(State::Line, 0);
            }
            (State::End, _) => {}
        }
        Ok(())
    }

    /// The next `len` bytes are fine.
    fn go_on(&mut self, state: State, len: usize) {
        self.examined += len as u32;
        self.state = state;
    }

    /// The same, and a part of the start line begins behind them.
    fn begin(&mut self, part: State, len: usize) {
        self.go_on(part, len);
        self.part_start = self.examined;
    }

    fn method_step(&mut self, byte: u8) -> Result<(), Refusal> {
        if !is_token(byte) {
            return Err(Refusal::bad(NOT_A_HEAD));
        }
        if self.at() - self.part_start as usize == METHOD_LIMIT {
            return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, "the method is longer than all known ones"));
        }
        self.go_on(State::Method, 1);
        Ok(())
    }

    /// RFC 9112, section 2.3: `HTTP/`, a digit, a point, a digit. The name is in capitals.
    fn version_step(&mut self, kind: Kind, byte: u8, visible: &[u8]) -> Result<(), Refusal> {
        let nth = self.at() - self.part_start as usize;
        let is_expected = match nth {
            5 | 7 => byte.is_ascii_digit(),
            _ => byte == b"HTTP/ . "[nth],
        };
        if !is_expected {
            return Err(Refusal::bad(NOT_A_HEAD));
        }
        if nth + 1 < VERSION_LEN {
            self.go_on(State::Version, 1);
            return Ok(());
        }
        if !matches!(&visible[self.part_start as usize..=self.at()], b"HTTP/1.0" | b"HTTP/1.1") {
            return Err(Refusal::new(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "the version is neither 1.0 nor 1.1"));
        }
        self.go_on(if kind == Kind::Request { State::AfterVersion } else { State::Line }, 1);
        Ok(())
    }

    /// Goes to the next byte that may end the line.
    fn line_step(&mut self, visible: &[u8]) -> Result<(), Refusal> {
        let rest = &visible[self.at()..];
        match memchr2(b'\r', b'\n', rest) {
            Some(len) if rest[len] == b'\r' => self.go_on(State::LineFeed, len + 1),
            Some(_) => return Err(Refusal::bad("an LF without CR")),
            None => self.go_on(State::Line, rest.len()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A peer that sends byte by byte must not make the server examine the whole head again each time.
    #[test]
    fn examines_each_byte_once() {
        let limits = HeadLimits::default();
        let heads: [(Kind, &[u8]); 2] = [
            (Kind::Request, b"\r\n\r\nPOST /a?b HTTP/1.1\r\nHost: a\r\nA: b\r\nC:\r\n\r\n"),
            (Kind::Response, b"HTTP/1.1 200 OK\r\nA: b\r\nC:\r\nD: e\r\n\r\n"),
        ];
        for (kind, head) in heads {
            let mut finder = Finder::default();
            for len in 0..head.len() {
                assert_eq!(finder.find(kind, &head[..len], &limits), Ok(None), "{kind:?}, {len} bytes");
                assert_eq!(finder.at(), len, "{kind:?}: all of them are examined");
            }
            // Bytes that are examined are not looked at again, so their loss has no effect.
            let mut lost = vec![b'?'; head.len()];
            lost[..4].copy_from_slice(&head[..4]);
            lost[head.len() - 1] = b'\n';
            let start = if kind == Kind::Request { 4 } else { 0 };
            let found = Found { start, end: head.len(), fields: 3 };
            assert_eq!(finder.find(kind, &lost, &limits), Ok(Some(found)), "{kind:?}");
        }
    }
}
