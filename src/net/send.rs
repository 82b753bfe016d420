//! Handing bytes to the kernel: as many as it takes, but not for ever.
//!
//! ```text
//!   All       the kernel has them
//!   Part      it refused the rest, and will say when it takes more
//!   Enough    it might take more; after so many bytes the others have their turn (the ready list)
//!   Failed    the connection is gone
//! ```
//!
//! A short write alone says nothing: only after a refusal is a writable event sure to come. So it is tried until then.

use std::io::{self, IoSlice};

use super::outbox::{Outbox, Store};
use super::stream::Stream;
use super::{Error, Socket};

/// How many pieces of what waits leave in one system call: about 64 KiB, and all of it when it lies in one.
const PIECES: usize = 64;

/// How much one socket sends at a time, so that one who reads fast does not hold up the others: as much as is read of one.
const SEND_BUDGET: usize = 1024 * 1024;

/// What the kernel made of an attempt to send.
pub(super) enum Sent {
    All,
    /// So many bytes; the socket will say when it takes more.
    Part(usize),
    /// So many bytes, which is enough for now: the kernel might take more, and will not say so.
    Enough(usize),
    Failed(Error),
}

/// Sends `bytes`. A short write says that the kernel is full only once it also says so.
pub(super) fn send(socket: Socket, stream: &mut Stream, bytes: &[u8]) -> Sent {
    let mut sent = 0;
    while sent < bytes.len() {
        if sent >= SEND_BUDGET {
            return Sent::Enough(sent);
        }
        match stream.write(&bytes[sent..]) {
            Ok(n) => sent += n,
            Err(error) => return not_sent(socket, sent, bytes.len(), &error),
        }
    }
    log::trace!(target: "bucle::net", "{socket} sent {sent} bytes");
    Sent::All
}

/// Sends the first `limit` bytes of the outbox, and `more` behind the last of them without copying it there. Takes out of the
/// outbox what was sent.
pub(super) fn send_with(
    socket: Socket,
    stream: &mut Stream,
    (outbox, store): (&mut Outbox, &mut Store),
    limit: usize,
    more: &[u8],
) -> Sent {
    let total = limit + more.len();
    let mut sent = 0;
    while sent < total {
        if sent >= SEND_BUDGET {
            return Sent::Enough(sent);
        }
        let mut pieces = [IoSlice::new(&[]); PIECES + 1];
        let left = limit.saturating_sub(sent);
        let mut count = match left.min(SEND_BUDGET) {
            0 => 0,
            offered => outbox.pieces(store, offered, &mut pieces[..PIECES]),
        };
        if !more.is_empty() && pieces[..count].iter().map(|piece| piece.len()).sum::<usize>() == left {
            pieces[count] = IoSlice::new(&more[sent.saturating_sub(limit)..]);
            count += 1;
        }
        let result = if count == 1 { stream.write(&pieces[0]) } else { stream.write_pieces(&pieces[..count]) };
        match result {
            Ok(n) => {
                outbox.advance(store, n.min(left));
                sent += n;
            }
            Err(error) => return not_sent(socket, sent, total, &error),
        }
    }
    log::trace!(target: "bucle::net", "{socket} sent {sent} bytes");
    Sent::All
}

/// An attempt was turned down, with `sent` bytes before it.
#[cold]
pub(super) fn not_sent(socket: Socket, sent: usize, total: usize, error: &io::Error) -> Sent {
    if error.kind() != io::ErrorKind::WouldBlock {
        return Sent::Failed(Error::system("write", error));
    }
    log::trace!(target: "bucle::net", "{socket} sent {sent} of {total} bytes, the kernel takes no more for now");
    Sent::Part(sent)
}
