//! Names that never point at a stranger.
//!
//! A slot of a slab is used again as soon as its tenant has left. A name therefore holds two numbers: which slot, and
//! which tenant of that slot. Whoever looks a slot up compares the second one:
//!
//! ```text
//!   slot 7   tenant #41 ── closes ──▶ empty ── accept ──▶ tenant #57
//!   Key { index: 7, serial: 41 }      finds nothing       finds nothing
//! ```
//!
//! The same two numbers, and what kind of thing it is, travel through the kernel as mio's token. An event that was on
//! its way while its socket closed finds nobody.

/// Which slot, and which tenant of it.
///
/// Invariant: a serial is given out once (it wraps after 2^32), so a key kept after its tenant left finds either
/// nothing or a newer serial, never a stranger.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Key {
    pub index: u32,
    pub serial: u32,
}

/// What a token names.
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

/// Slots are numbered with 30 bits: a billion descriptors are more than a process can have.
const INDEX_BITS: u32 = 30;
const INDEX_MASK: u32 = (1 << INDEX_BITS) - 1;

impl Key {
    pub fn new(index: usize, serial: u32) -> Self {
        debug_assert!(index <= INDEX_MASK as usize);
        Key { index: index as u32, serial }
    }

    pub fn slot(self) -> usize {
        self.index as usize
    }

    pub fn token(self, kind: TokenKind) -> mio::Token {
        let low = (kind as u32) << INDEX_BITS | self.index;
        mio::Token((self.serial as usize) << 32 | low as usize)
    }
}

/// Takes a token apart again.
pub(crate) fn open(token: mio::Token) -> (TokenKind, Key) {
    let low = token.0 as u32;
    let kind = match low >> INDEX_BITS {
        0 => TokenKind::Socket,
        1 => TokenKind::Server,
        #[cfg(feature = "process")]
        2 => TokenKind::Source,
        _ => TokenKind::Waker,
    };
    (kind, Key { index: low & INDEX_MASK, serial: (token.0 >> 32) as u32 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_as_it_went() {
        for kind in [TokenKind::Socket, TokenKind::Server, TokenKind::Waker] {
            for (index, serial) in [(0, 0), (1, 2), (INDEX_MASK, u32::MAX), (12345, 0x8000_0000)] {
                let key = Key { index, serial };
                assert_eq!(open(key.token(kind)), (kind, key));
            }
        }
    }
}
