//! The error for what a peer sends wrong.

use std::{error, fmt};

/// Bytes of a peer that are not Engine.IO. Close the session: what follows them cannot be understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Malformed {
    /// The mistake, for the log and for the user.
    pub reason: &'static str,
}

impl Malformed {
    pub(super) const fn new(reason: &'static str) -> Malformed {
        Malformed { reason }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed Engine.IO data: {}", self.reason)
    }
}

impl error::Error for Malformed {}
