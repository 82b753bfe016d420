//! Keys, and how they travel through the kernel.
//!
//! A [`Key`] names one occupant of a slot (see `slots.rs`). mio carries one number per registered descriptor, the
//! token, from the registration to the event. It holds the key and the kind of thing that the key names:
//!
//! ```text
//!   63 ········ 32 │ 31 30 │ 29 ········ 0
//!       serial     │ kind  │     slot
//! ```
//!
//! A descriptor may be closed, and its slot used again, while an event for it is on its way. The serial in the token
//! is then an old one, the look-up finds nothing, and the event is dropped.

use std::fmt;

/// A slot, and the serial of one occupant of it.
///
/// Packed into one number, as in the token: the slot in the low half, the serial in the high one.
///
/// Invariant: a serial is used once (it wraps after 2^32), so a key that is kept after its occupant has left finds
/// nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key(u64);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slot {}, serial {}", self.slot(), self.serial())
    }
}

/// What a token's key names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(crate) enum TokenKind {
    Socket = 0,
    Server = 1,
    #[cfg(feature = "process")]
    Source = 2,
    Waker = 3,
}

const _: () = assert!(usize::BITS == 64, "a mio token packs a kind and two numbers into 64 bits");

/// Slots have 30 bits: no process has a billion descriptors.
const INDEX_BITS: u32 = 30;
const INDEX_MASK: u64 = (1 << INDEX_BITS) - 1;

impl Key {
    #[inline]
    pub const fn new(index: usize, serial: u32) -> Self {
        debug_assert!(index as u64 <= INDEX_MASK);
        Key((serial as u64) << 32 | index as u64)
    }

    #[inline]
    pub fn slot(self) -> usize {
        self.index() as usize
    }

    #[inline]
    pub fn index(self) -> u32 {
        self.0 as u32
    }

    #[inline]
    pub fn serial(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[inline]
    pub const fn token(self, kind: TokenKind) -> mio::Token {
        mio::Token((self.0 | (kind as u64) << INDEX_BITS) as usize)
    }
}

/// The token of the loop's own waker.
pub(crate) const WAKER: mio::Token = Key::new(0, 0).token(TokenKind::Waker);

/// The token of a gate's descriptor. It has the kind of the waker, because all four kinds are in use.
#[cfg(feature = "trace")]
pub(crate) const GATE: mio::Token = Key::new(1, 0).token(TokenKind::Waker);

/// The kind and the key that a token holds.
#[inline]
pub(crate) fn open(token: mio::Token) -> (TokenKind, Key) {
    let token = token.0 as u64;
    let kind = match (token >> INDEX_BITS) & 3 {
        0 => TokenKind::Socket,
        1 => TokenKind::Server,
        #[cfg(feature = "process")]
        2 => TokenKind::Source,
        _ => TokenKind::Waker,
    };
    (kind, Key(token & !(3 << INDEX_BITS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_holds_its_kind_and_key() {
        let kinds = [
            TokenKind::Socket,
            TokenKind::Server,
            #[cfg(feature = "process")]
            TokenKind::Source,
            TokenKind::Waker,
        ];
        for kind in kinds {
            for (index, serial) in [(0, 0), (1, 2), (INDEX_MASK as usize, u32::MAX), (12345, 0x8000_0000)] {
                let key = Key::new(index, serial);
                assert_eq!(open(key.token(kind)), (kind, key));
                assert_eq!((key.slot(), key.serial()), (index, serial));
                assert_eq!(format!("{key:?}"), format!("slot {index}, serial {serial}"));
            }
        }
    }
}
