//! Frames of RESP 2, the protocol of Redis: commands out, replies and messages in.
//!
//! The crate `redis-protocol` encodes and decodes. Its decoder calls itself for each level of nested arrays, without a
//! limit, and starts at the first byte each time. So [`frame_len`] finds the end of a frame first: it refuses a frame
//! that is too deep or too long, and the decoder sees only whole frames.
//!
//! ```text
//!   *3\r\n $7\r\nmessage\r\n $4\r\nroom\r\n $4\r\nhola\r\n    a message of a channel
//!   *1\r\n $4\r\nPING\r\n                                     a command
//!   +PONG\r\n    -ERR …\r\n    :42\r\n    $-1\r\n             replies: text, error, integer, nil
//! ```
//!
//! Source: [Redis: serialization protocol](https://redis.io/docs/latest/develop/reference/protocol-spec/).

use std::{error, fmt};

use redis_protocol::resp2::decode::decode_range;
use redis_protocol::resp2::encode::encode_borrowed;
use redis_protocol::resp2::types::{BorrowedFrame, RangeFrame};

#[cfg(test)]
mod tests;

/// How many levels of arrays a reply may have. Redis sends at most four or five.
pub const MAX_DEPTH: usize = 16;

/// How many bytes a frame may have.
pub const MAX_FRAME: usize = 64 * 1024 * 1024;

/// How many bytes the line may have with which a part of a frame begins, if it is not a text or an error.
const MAX_NUMBER: usize = 32;

/// How many bytes a text or an error may have.
const MAX_LINE: usize = 64 * 1024;

/// A reply, borrowed from the received bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply<'a> {
    /// A short text, such as `OK`.
    Status(&'a [u8]),
    /// An error: its kind in capital letters, a blank, and a sentence.
    Error(&'a [u8]),
    /// A number.
    Integer(i64),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Several replies.
    Array(Vec<Reply<'a>>),
    /// There is no value.
    Nil,
}

impl<'a> Reply<'a> {
    /// The bytes of a status or of bytes.
    pub fn bytes(&self) -> Option<&'a [u8]> {
        match self {
            Reply::Status(bytes) | Reply::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The number, also one that was sent as text.
    pub fn integer(&self) -> Option<i64> {
        match self {
            Reply::Integer(number) => Some(*number),
            Reply::Bytes(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
            _ => None,
        }
    }

    /// The items of an array; none if it is not one.
    pub fn items(&self) -> &[Reply<'a>] {
        match self {
            Reply::Array(items) => items,
            _ => &[],
        }
    }
}

/// Why received bytes are no frame. The connection must be closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoFrame {
    /// The reason.
    pub reason: &'static str,
}

impl fmt::Display for NoFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason)
    }
}

impl error::Error for NoFrame {}

const fn no_frame<T>(reason: &'static str) -> Result<T, NoFrame> {
    Err(NoFrame { reason })
}

const TOO_LONG: &str = "a reply is longer than 64 MiB";

/// The length of the frame at the beginning of `bytes`. `None`: more bytes must come.
///
/// The cost does not depend on the lengths of values, only on their number.
pub fn frame_len(bytes: &[u8]) -> Result<Option<usize>, NoFrame> {
    // How many parts of each open array are still to come.
    let mut open = [0_usize; MAX_DEPTH];
    let (mut depth, mut at) = (0, 0);
    loop {
        let Some(&kind) = bytes.get(at) else { return Ok(None) };
        let limit = match kind {
            b'+' | b'-' => MAX_LINE,
            b':' | b'$' | b'*' => MAX_NUMBER,
            _ => return no_frame("this is not the protocol of Redis"),
        };
        let line = &bytes[at + 1..];
        let Some(len) = memchr::memmem::find(&line[..line.len().min(limit)], b"\r\n") else {
            return if line.len() < limit { Ok(None) } else { no_frame("a line of a reply is too long") };
        };
        at += len + 3;
        if matches!(kind, b'$' | b'*') {
            let number = std::str::from_utf8(&line[..len]).ok().and_then(|text| text.parse::<i64>().ok());
            let Some(number @ -1..) = number else { return no_frame("the length of a value is not a number") };
            // -1 stands for nil.
            let count = usize::try_from(number).unwrap_or(0);
            if count > MAX_FRAME {
                return no_frame(TOO_LONG);
            }
            if kind == b'$' && number >= 0 {
                at += count + 2;
                // The decoder does not look at these two bytes.
                if bytes.get(at - 2..at).is_some_and(|end| end != b"\r\n") {
                    return no_frame("a value is longer than it says");
                }
            } else if count > 0 {
                if depth == MAX_DEPTH {
                    return no_frame("a reply is nested too deeply");
                }
                open[depth] = count;
                depth += 1;
                continue;
            }
        }
        if at > MAX_FRAME {
            return no_frame(TOO_LONG);
        }
        if at > bytes.len() {
            return Ok(None);
        }
        // A part ends here, and with it perhaps some of the arrays around it.
        loop {
            if depth == 0 {
                return Ok(Some(at));
            }
            open[depth - 1] -= 1;
            if open[depth - 1] > 0 {
                break;
            }
            depth -= 1;
        }
    }
}

/// Decodes the frame at the beginning of `bytes`. Returns it and its length, or `None` if more bytes must come.
pub fn decode(bytes: &[u8]) -> Result<Option<(Reply<'_>, usize)>, NoFrame> {
    let Some(len) = frame_len(bytes)? else { return Ok(None) };
    let frame = &bytes[..len];
    match decode_range(frame) {
        Ok(Some((ranges, used))) if used == len => Ok(Some((reply(frame, &ranges), len))),
        _ => no_frame("a reply is malformed"),
    }
}

fn reply<'a>(frame: &'a [u8], ranges: &RangeFrame) -> Reply<'a> {
    let bytes = |range: &(usize, usize)| frame.get(range.0..range.1).unwrap_or_default();
    match ranges {
        RangeFrame::SimpleString(range) => Reply::Status(bytes(range)),
        RangeFrame::Error(range) => Reply::Error(bytes(range)),
        RangeFrame::Integer(number) => Reply::Integer(*number),
        RangeFrame::BulkString(range) => Reply::Bytes(bytes(range)),
        RangeFrame::Array(items) => Reply::Array(items.iter().map(|item| reply(frame, item)).collect()),
        RangeFrame::Null => Reply::Nil,
    }
}

/// Appends a command: its name and its arguments.
pub fn push_command(out: &mut Vec<u8>, parts: &[&[u8]]) {
    let parts: Vec<BorrowedFrame<'_>> = parts.iter().map(|part| BorrowedFrame::BulkString(part)).collect();
    let frame = BorrowedFrame::Array(&parts);
    let start = out.len();
    out.resize(start + frame.encode_len(false), 0);
    let written =
        encode_borrowed(&mut out[start..], &frame, false).expect("the frame has the length that was computed");
    out.truncate(start + written);
}
