//! The two errors of the files that know no sockets: what a peer sends wrong, and what a program sets wrong.

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

/// An option of a server whose value would make an invalid header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct InvalidOption {
    /// The option, for example `cookie.path`.
    pub option: &'static str,
}

impl InvalidOption {
    pub(super) const fn new(option: &'static str) -> InvalidOption {
        InvalidOption { option }
    }
}

impl fmt::Display for InvalidOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the option {} has a value that cannot be sent in a header", self.option)
    }
}

impl error::Error for InvalidOption {}

impl From<InvalidOption> for crate::Error {
    fn from(error: InvalidOption) -> crate::Error {
        crate::Error::custom("E_INVALID_OPTION", error.to_string())
    }
}
