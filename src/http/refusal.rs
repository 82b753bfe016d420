//! The two errors of the parsers: what a server refuses, and what a client cannot understand.

use std::{error, fmt};

use ::http::StatusCode;

/// A request that is not served. Send [`status`](Refusal::status) and close the connection: where the next request
/// begins is unknown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Refusal {
    /// The status of the response: 400, 405, 413, 414, 417, 431, 501 or 505. (A 405 needs a field `Allow`, RFC 9110,
    /// section 15.5.6.)
    pub status: StatusCode,
    /// The mistake, for the log and for the body of the response.
    pub reason: &'static str,
}

impl Refusal {
    /// A refusal with any status.
    pub(super) const fn new(status: StatusCode, reason: &'static str) -> Refusal {
        Refusal { status, reason }
    }

    /// A refusal with the status 400: bytes that are not HTTP/1.1.
    pub(super) const fn bad(reason: &'static str) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, reason)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.status, self.reason)
    }
}

impl error::Error for Refusal {}

/// A response that a client does not accept. Close the connection: where the next response begins is unknown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Malformed {
    /// The mistake, for the log and for the user.
    pub reason: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed response: {}", self.reason)
    }
}

impl error::Error for Malformed {}

/// The rules for bytes are the same in both directions. A client has no use for the status.
impl From<Refusal> for Malformed {
    fn from(refusal: Refusal) -> Malformed {
        Malformed { reason: refusal.reason }
    }
}
