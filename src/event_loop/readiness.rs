//! What the poll says of one descriptor, in one byte.
//!
//! Taken from mio's event once, where events are given out: what serves a socket then tests bits, and can be handed a
//! readiness that no kernel has reported.

/// What a descriptor is ready for, and what has ended.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Readiness(u8);

impl Readiness {
    pub const READABLE: Readiness = Readiness(1);
    pub const WRITABLE: Readiness = Readiness(1 << 1);
    /// The peer sends no more.
    pub const READ_CLOSED: Readiness = Readiness(1 << 2);
    /// Nothing more can be sent.
    pub const WRITE_CLOSED: Readiness = Readiness(1 << 3);
    pub const ERROR: Readiness = Readiness(1 << 4);
    /// Urgent data.
    pub const PRIORITY: Readiness = Readiness(1 << 5);

    /// Either of the last words: no more to come, no more to send, or broken.
    pub const HANGUP: Readiness = Readiness(Self::READ_CLOSED.0 | Self::WRITE_CLOSED.0 | Self::ERROR.0);

    /// Both directions are closed, or something is wrong: a write may fail, and nobody sends any more.
    pub const BROKEN: Readiness = Readiness(Self::WRITE_CLOSED.0 | Self::ERROR.0);

    #[inline]
    pub fn of(event: &mio::event::Event) -> Self {
        let bit = |is_set: bool, bit: Readiness| if is_set { bit.0 } else { 0 };
        Readiness(
            bit(event.is_readable(), Self::READABLE)
                | bit(event.is_writable(), Self::WRITABLE)
                | bit(event.is_read_closed(), Self::READ_CLOSED)
                | bit(event.is_write_closed(), Self::WRITE_CLOSED)
                | bit(event.is_error(), Self::ERROR)
                | bit(event.is_priority(), Self::PRIORITY),
        )
    }

    /// Whether any of `wanted` is there.
    #[inline]
    pub fn is_any(self, wanted: Readiness) -> bool {
        self.0 & wanted.0 != 0
    }

    /// Something to read, and nothing out of the ordinary.
    #[inline]
    pub fn is_plain_data(self) -> bool {
        self.0 & !Self::WRITABLE.0 == Self::READABLE.0
    }
}

impl std::ops::BitOr for Readiness {
    type Output = Readiness;

    #[inline]
    fn bitor(self, other: Readiness) -> Readiness {
        Readiness(self.0 | other.0)
    }
}
