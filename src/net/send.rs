//! Handing bytes to the kernel: until it refuses, or one socket has had its share.
//!
//! | result | meaning | what follows |
//! |---|---|---|
//! | `All` | the kernel took all bytes | |
//! | `Part` | the kernel refused the rest (`WouldBlock`) | a writable event |
//! | `Enough` | a mebibyte was sent; the kernel might take more | the ready list: the next poll goes on |
//! | `Failed` | the connection is broken | the socket's error |
//!
//! A short write is not a refusal: epoll reports a writable event only after a send has returned `WouldBlock`. So a
//! short write is followed by another one, until the kernel refuses or everything is sent.

use std::io::{self, IoSlice};

use super::outbox::{Outbox, Store};
use super::stream::Stream;
use super::{Error, Socket};

/// How many pieces one system call sends: 64 KiB of separate blocks, or more when blocks are adjacent in memory.
const PIECES: usize = 64;

/// How much one socket sends at a time, so that a peer that reads fast does not hold up the others. Reading has a
/// budget of the same order.
const SEND_BUDGET: usize = 1024 * 1024;

/// The result of a send; see the table above.
pub(super) enum Sent {
    All,
    /// This many bytes were sent. The kernel will report when it takes more.
    Part(usize),
    /// This many bytes were sent. The kernel might take more, and will not report it.
    Enough(usize),
    Failed(Error),
}

/// Sends `bytes`. If there are none, the kernel is asked all the same: as in Node, an empty write to a connection that
/// is broken fails.
pub(super) fn send(socket: Socket, stream: &mut Stream, bytes: &[u8]) -> Sent {
    let mut sent = 0;
    loop {
        if sent >= SEND_BUDGET {
            return Sent::Enough(sent);
        }
        match stream.write(&bytes[sent..]) {
            Ok(n) => sent += n,
            // Nothing is left that would have to wait.
            Err(error) if bytes.is_empty() && error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return not_sent(socket, sent, bytes.len(), &error),
        }
        if sent >= bytes.len() {
            break;
        }
    }
    log::trace!(target: "bucle::net", "{socket} sent {sent} bytes");
    Sent::All
}

/// Sends the first `limit` bytes of the outbox and `more` behind them, without copying `more` into the outbox. Removes
/// the sent bytes from the outbox.
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
        // One place more than the outbox fills: for `more`.
        let mut pieces = [IoSlice::new(&[]); PIECES + 1];
        // How much of `limit` is still in the outbox. 0 when only `more` is left.
        let left = limit.saturating_sub(sent);
        let mut count = match left.min(SEND_BUDGET) {
            0 => 0,
            offered => outbox.pieces(store, offered, &mut pieces[..PIECES]),
        };
        // `more` joins only if the pieces cover all that is left before it: the order of bytes must not change.
        if !more.is_empty() && pieces[..count].iter().map(|piece| piece.len()).sum::<usize>() == left {
            // `sent - limit` of its bytes are out already, if the outbox is.
            pieces[count] = IoSlice::new(&more[sent.saturating_sub(limit)..]);
            count += 1;
        }
        let result = if count == 1 { stream.write(&pieces[0]) } else { stream.write_pieces(&pieces[..count]) };
        match result {
            Ok(n) => {
                // Of the `n` bytes the first `left` came from the outbox, the others from `more`.
                outbox.advance(store, n.min(left));
                sent += n;
            }
            Err(error) => return not_sent(socket, sent, total, &error),
        }
    }
    log::trace!(target: "bucle::net", "{socket} sent {sent} bytes");
    Sent::All
}

/// The result of a send whose last system call failed, after `sent` bytes.
#[cold]
pub(super) fn not_sent(socket: Socket, sent: usize, total: usize, error: &io::Error) -> Sent {
    if error.kind() != io::ErrorKind::WouldBlock {
        return Sent::Failed(Error::system("write", error));
    }
    log::trace!(target: "bucle::net", "{socket} sent {sent} of {total} bytes, the kernel takes no more for now");
    Sent::Part(sent)
}
