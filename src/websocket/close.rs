//! Close codes (RFC 6455, 7.4), the payload of a close frame, and the mistakes of a peer.
//!
//! Each side sends at most one close frame. Its payload is empty, or a code of two bytes and a reason in UTF-8:
//!
//! ```text
//!   88 05 │ 03 e9 │ b y e        1001 "bye"
//!   88 00 │                      no code: the receiver reports 1005
//! ```

use std::error::Error;
use std::fmt;

use super::utf8;

/// Why a connection was closed (RFC 6455, 7.4).
///
/// 1000 to 2999 belong to the protocol and its extensions, 3000 to 3999 to libraries and frameworks (registered with
/// IANA), and 4000 to 4999 to programs.
///
/// ```
/// use bucle::websocket::close::CloseCode;
///
/// assert_eq!(CloseCode::GOING_AWAY, CloseCode(1001));
/// assert_eq!(CloseCode(1001).to_string(), "1001 (going away)");
/// assert_eq!(CloseCode(4000).to_string(), "4000");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// The purpose of the connection is fulfilled.
    pub const NORMAL: CloseCode = CloseCode(1000);
    /// The server shuts down, or the browser leaves the page.
    pub const GOING_AWAY: CloseCode = CloseCode(1001);
    /// The peer broke a rule of the protocol.
    pub const PROTOCOL_ERROR: CloseCode = CloseCode(1002);
    /// The program does not accept this type of message, for example binary ones.
    pub const UNSUPPORTED_DATA: CloseCode = CloseCode(1003);
    /// The close frame had no code. Never sent in a frame.
    pub const NO_STATUS: CloseCode = CloseCode(1005);
    /// The connection ended without a close frame. Never sent in a frame.
    pub const ABNORMAL: CloseCode = CloseCode(1006);
    /// The content of a message does not fit its type: text that is not UTF-8.
    pub const INVALID_PAYLOAD: CloseCode = CloseCode(1007);
    /// A message violates the program's policy; for everything without a code of its own.
    pub const POLICY_VIOLATION: CloseCode = CloseCode(1008);
    /// A message is too large.
    pub const MESSAGE_TOO_BIG: CloseCode = CloseCode(1009);
    /// The client needs an extension that the server did not accept. Only clients send it.
    pub const MANDATORY_EXTENSION: CloseCode = CloseCode(1010);
    /// The program failed.
    pub const INTERNAL_ERROR: CloseCode = CloseCode(1011);
    /// The server restarts; the client may connect again after a random delay (registered with IANA).
    pub const SERVICE_RESTART: CloseCode = CloseCode(1012);
    /// The server is overloaded; the client should connect again later (registered with IANA).
    pub const TRY_AGAIN_LATER: CloseCode = CloseCode(1013);

    /// Whether this code may be in a close frame: 1000 to 1003, 1007 to 1014, and 3000 to 4999.
    ///
    /// 1004 is reserved, 1005, 1006 and 1015 are only reported to the program (RFC 6455, 7.4.1), and the rest is not
    /// defined. 1014 is registered with IANA: a gateway got an invalid response.
    pub const fn is_sendable(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }

    const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            1000 => "normal",
            1001 => "going away",
            1002 => "protocol error",
            1003 => "unsupported data",
            1005 => "no status",
            1006 => "abnormal",
            1007 => "invalid payload",
            1008 => "policy violation",
            1009 => "message too big",
            1010 => "mandatory extension",
            1011 => "internal error",
            1012 => "service restart",
            1013 => "try again later",
            1014 => "bad gateway",
            1015 => "TLS handshake",
            _ => return None,
        })
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{} ({name})", self.0),
            None => write!(f, "{}", self.0),
        }
    }
}

/// A rule that the peer broke. The connection cannot go on: send a close frame with this code and this reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Violation {
    /// The code for the close frame: 1002, 1007 or 1009.
    pub code: CloseCode,
    /// The reason for the close frame, in at most 123 bytes.
    pub reason: &'static str,
}

impl Violation {
    pub(super) const fn protocol(reason: &'static str) -> Violation {
        Violation { code: CloseCode::PROTOCOL_ERROR, reason }
    }

    pub(super) const fn invalid_payload(reason: &'static str) -> Violation {
        Violation { code: CloseCode::INVALID_PAYLOAD, reason }
    }

    pub(super) const fn too_big(reason: &'static str) -> Violation {
        Violation { code: CloseCode::MESSAGE_TOO_BIG, reason }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.reason)
    }
}

impl Error for Violation {}

/// Takes the payload of a close frame apart (RFC 6455, 5.5.1 and 7.4).
///
/// An empty payload has no code, and an empty reason. A payload of one byte, and a code for which
/// [`is_sendable`](CloseCode::is_sendable) is false, are protocol errors. A reason that is not UTF-8 is
/// [`INVALID_PAYLOAD`](CloseCode::INVALID_PAYLOAD).
///
/// ```
/// use bucle::websocket::close::{self, CloseCode};
///
/// assert_eq!(close::parse(b"\x03\xe9bye"), Ok((Some(CloseCode::GOING_AWAY), "bye")));
/// assert_eq!(close::parse(b""), Ok((None, "")));
/// ```
pub fn parse(payload: &[u8]) -> Result<(Option<CloseCode>, &str), Violation> {
    let (code, reason) = match payload {
        [] => return Ok((None, "")),
        [_] => return Err(ONE_BYTE),
        [high, low, reason @ ..] => (CloseCode(u16::from_be_bytes([*high, *low])), reason),
    };
    if !code.is_sendable() {
        return Err(Violation::protocol("the close code is not allowed in a frame"));
    }
    match utf8::check(reason) {
        Ok(reason) => Ok((Some(code), reason)),
        Err(_) => Err(Violation::invalid_payload("the close reason is not valid UTF-8")),
    }
}

/// Half a close code. The frame header shows it already.
pub(super) const ONE_BYTE: Violation = Violation::protocol("a close frame has a payload of one byte");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_codes_may_be_sent() {
        let table = [
            ("RFC 6455, 7.4.2: not used", 0..=999, false),
            ("7.4.1: defined", 1000..=1003, true),
            ("7.4.1: reserved, or only reported to the program", 1004..=1006, false),
            ("7.4.1 and IANA: defined", 1007..=1014, true),
            ("7.4.1: only reported to the program", 1015..=1015, false),
            ("7.4.2: reserved for the protocol", 1016..=2999, false),
            ("7.4.2: libraries and programs", 3000..=4999, true),
            ("beyond all ranges", 5000..=u16::MAX, false),
        ];
        for (name, codes, want) in table {
            for code in codes {
                assert_eq!(CloseCode(code).is_sendable(), want, "{name}: {code}");
            }
        }
    }

    #[test]
    fn a_registered_code_is_shown_with_its_name() {
        for code in 0..=5000 {
            let is_registered = matches!(code, 1000..=1003 | 1005..=1015);
            assert_eq!(CloseCode(code).to_string().contains(" ("), is_registered, "{code}");
        }
        assert_eq!(CloseCode(1014).to_string(), "1014 (bad gateway)");
        assert_eq!(CloseCode(4000).to_string(), "4000");
    }

    #[test]
    fn takes_payloads_apart() {
        let protocol = Err(CloseCode::PROTOCOL_ERROR);
        let invalid = Err(CloseCode::INVALID_PAYLOAD);
        type Row = (&'static str, &'static [u8], Result<(Option<CloseCode>, &'static str), CloseCode>);
        let table: &[Row] = &[
            ("empty", b"", Ok((None, ""))),
            ("one byte", b"\x03", protocol),
            ("a code", b"\x03\xe8", Ok((Some(CloseCode::NORMAL), ""))),
            ("a code and a reason", b"\x0f\xa0adi\xc3\xb3s", Ok((Some(CloseCode(4000)), "adi\u{f3}s"))),
            ("1005 is not sent", b"\x03\xed", protocol),
            ("a wrong code before a wrong reason", b"\x03\xed\xff", protocol),
            ("an invalid reason", b"\x03\xe8\xff", invalid),
            ("a reason that ends inside a character", b"\x03\xe8a\xc3", invalid),
        ];
        for (name, payload, want) in table {
            assert_eq!(parse(payload).map_err(|violation| violation.code), *want, "{name}");
        }
    }

    #[test]
    fn codes_and_violations_are_shown_with_names() {
        assert_eq!(CloseCode::TRY_AGAIN_LATER.to_string(), "1013 (try again later)");
        assert_eq!(CloseCode(3000).to_string(), "3000");
        assert_eq!(ONE_BYTE.to_string(), "1002 (protocol error): a close frame has a payload of one byte");
    }
}
