//! The error for what a peer sends against the rules of the protocol.

use std::{error, fmt};

/// A message that is not a packet, or one that may not come now. As in Node, the connection must be closed: what
/// follows cannot be understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed {
    /// The rule that was broken, for a log.
    pub reason: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed Socket.IO packet: {}", self.reason)
    }
}

impl error::Error for Malformed {}

impl Malformed {
    pub(super) const fn new(reason: &'static str) -> Malformed {
        Malformed { reason }
    }
}
