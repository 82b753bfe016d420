//! permessage-deflate (RFC 7692): messages that are compressed on the wire.
//!
//! Both sides agree on it in the opening handshake ([`negotiate`], [`offer`], [`accept`]). From then on either side may
//! compress a message, and marks it with the bit RSV1 of its first frame. The payload is a raw DEFLATE stream (RFC
//! 1951) that ends with an empty stored block. The last four bytes of that block are always the same, so they are not
//! sent:
//!
//! ```text
//!   message      H e l l o
//!   DEFLATE      f2 48 cd c9 c9 07 00 │ 00 00 ff ff
//!   on the wire  f2 48 cd c9 c9 07 00 │ (cut by the sender, added by the receiver)
//! ```
//!
//! # Context takeover
//!
//! A compressor finds repetitions in its *window*: the last bytes that it has seen. If the window keeps the bytes of
//! earlier messages (*context takeover*), similar messages become much shorter. The price is a [`Deflater`] and an
//! [`Inflater`] for each connection. Without takeover each message is compressed alone. Then one pair of streams is
//! enough for all connections, and a message that was compressed once can be sent to many receivers.
//!
//! | memory of | bytes |
//! |---|---|
//! | a [`Deflater`] with a window of 15 bits | 273 KiB |
//! | a [`Deflater`] with a window of 12, of 9 bits | 161 KiB, 147 KiB |
//! | an [`Inflater`] | 46 KiB, for every window |
//! | a connection without takeover | nothing |
//!
//! So the default is no takeover, in both directions.
//!
//! # Bounds
//!
//! A small payload may inflate to a thousand times its size. [`Inflater::inflate`] checks its limit while it inflates
//! and produces at most one byte more.

mod offer;
#[cfg(any(test, fuzzing))]
mod plain;
#[cfg(any(test, fuzzing))]
pub(crate) mod properties;
mod stream;
#[cfg(test)]
mod tests;

pub use offer::{BadAnswer, DeflateOptions, Params, accept, negotiate, offer};
pub use stream::{Deflater, InflateError, Inflater};
