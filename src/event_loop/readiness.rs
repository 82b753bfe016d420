//! The readiness of one descriptor, in one byte.
//!
//! It is made from mio's event once, when the poll dispatches the event. The code that serves a socket then only tests
//! bits, and can also be called with a readiness that the kernel has not reported.

/// What a descriptor is ready for, and which directions are closed.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Readiness(u8);

impl Readiness {
    pub const READABLE: Readiness = Readiness(1);
    pub const WRITABLE: Readiness = Readiness(1 << 1);
    /// The peer will send no more data.
    pub const READ_CLOSED: Readiness = Readiness(1 << 2);
    /// No more data can be sent.
    pub const WRITE_CLOSED: Readiness = Readiness(1 << 3);
    pub const ERROR: Readiness = Readiness(1 << 4);
    /// Urgent data.
    pub const PRIORITY: Readiness = Readiness(1 << 5);

    /// A direction is closed, or there is an error.
    pub const HANGUP: Readiness = Readiness(Self::READ_CLOSED.0 | Self::WRITE_CLOSED.0 | Self::ERROR.0);

    /// Nothing can be sent, or there is an error. For TCP this means that both directions are closed.
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

    /// Whether any bit of `wanted` is set.
    #[inline]
    pub fn is_any(self, wanted: Readiness) -> bool {
        self.0 & wanted.0 != 0
    }

    /// Whether there is data to read, and neither an end, an error, nor urgent data.
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
