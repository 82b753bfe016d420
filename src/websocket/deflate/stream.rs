//! Compressed messages (RFC 7692, 7.2): one stream compresses, one decompresses.
//!
//! The streams are those of `zlib-rs`. Both can be used again for the next message without an allocation.
//!
//! # Where a message ends
//!
//! A compressed message that is cut short is not an error for DEFLATE: the stream simply waits for more. An
//! [`Inflater`] therefore checks that each message ends as RFC 7692 requires, with an empty stored block whose last
//! four bytes are not sent. It appends these four bytes and one byte more, and lets the stream stop at the next block
//! boundary (`Z_BLOCK` in zlib):
//!
//! ```text
//!   payload … │ 00 00 ff ff │ 01
//!                           └ the stream must stop here and leave the last byte, without new output
//! ```
//!
//! In the middle of a block the stream takes the last byte too, or fails, or produces output. That is why this file
//! uses `zlib-rs` directly: the crate `flate2` does not offer this way to stop.

use std::{error, fmt};

use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Inflate, InflateFlush, Status, Strategy};

/// The last four bytes of the empty stored block at the end of a message. They are not sent (RFC 7692, 7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// [`TAIL`], and a byte that a complete stream leaves alone.
const TAIL_AND_PROBE: [u8; 5] = [0x00, 0x00, 0xff, 0xff, 0x01];

/// An empty message: an empty stored block without its last four bytes (RFC 7692, 7.2.3.6).
const EMPTY: u8 = 0x00;

/// Room for the headers of blocks and the tail, in addition to the payload itself.
const OVERHEAD: usize = 64;

/// The least and the most room for output that is made at once. Room is filled with zeros first, so it is not made much
/// larger than needed.
const ROOM: (usize, usize) = (512, 64 * 1024);

/// How many final blocks a message may have. Each begins a new stream, which costs as much as some hundred bytes of
/// output; an empty one has two bytes. Senders end a message with one at most.
pub(super) const MAX_STREAMS: usize = 1024;

/// Memory level of zlib: blocks of 2,048 symbols. The default, 8, takes 98 KiB more, and its output is not smaller.
const MEMORY_LEVEL: i32 = 5;

/// Compresses messages.
pub struct Deflater {
    stream: Deflate,
}

impl Deflater {
    /// A compressor with a level from 0 to 9 and a window of `window_bits`, 8 to 15.
    ///
    /// zlib has no window of 8 bits. Such a compressor encodes single bytes by their frequency and does not look for
    /// repetitions; its output is legal for every window.
    pub fn new(level: u32, window_bits: u8) -> Deflater {
        let mut config = DeflateConfig::new(level.min(9) as i32);
        // A negative number: raw DEFLATE without header and checksum.
        config.window_bits = -i32::from(window_bits.clamp(9, 15));
        config.mem_level = MEMORY_LEVEL;
        if window_bits < 9 {
            config.strategy = Strategy::HuffmanOnly;
        }
        Deflater { stream: Deflate::new_with_config(config) }
    }

    /// Compresses one whole message and appends it to `out`, as it is sent.
    ///
    /// With `keeps_context` the next message may refer to this one. Then this message must be sent, or
    /// [forgotten](Self::forget): without it the receiver cannot decompress the next one.
    pub fn deflate(&mut self, payload: &[u8], out: &mut Vec<u8>, keeps_context: bool) {
        if payload.is_empty() {
            // A flush without new input produces nothing.
            out.push(EMPTY);
            return;
        }
        let mut input = payload;
        let mut len = out.len();
        loop {
            out.resize(len + input.len().min(ROOM.1) + OVERHEAD, 0);
            let (taken, produced) = (self.stream.total_in(), self.stream.total_out());
            let result = self.stream.compress(input, &mut out[len..], DeflateFlush::SyncFlush);
            result.expect("a stream that was set up correctly compresses any input");
            input = &input[(self.stream.total_in() - taken) as usize..];
            len += (self.stream.total_out() - produced) as usize;
            // A flush is complete when it leaves room.
            if input.is_empty() && len < out.len() {
                break;
            }
        }
        debug_assert!(out[..len].ends_with(&TAIL), "a flush ends with an empty stored block");
        out.truncate(len - TAIL.len());
        if !keeps_context {
            self.forget();
        }
    }

    /// Forgets the context: the next message does not refer to earlier ones. After this the last message need not be
    /// sent.
    pub fn forget(&mut self) {
        self.stream.reset();
    }
}

/// Decompresses messages. Its window has 15 bits, so it can read the messages of every compressor.
pub struct Inflater {
    stream: Inflate,
}

impl Default for Inflater {
    fn default() -> Inflater {
        Inflater::new()
    }
}

impl Inflater {
    /// An empty stream.
    pub fn new() -> Inflater {
        Inflater { stream: Inflate::new(false, 15) }
    }

    /// Decompresses one whole message and appends it to `out`. With `keeps_context` the next message may refer to this
    /// one.
    ///
    /// After an error `out` is as before, and the stream has forgotten all messages: without context takeover it can be
    /// used further. The memory of `out` grows to at most twice of what it contained plus `limit`.
    pub fn inflate(
        &mut self,
        payload: &[u8],
        out: &mut Vec<u8>,
        limit: usize,
        keeps_context: bool,
    ) -> Result<(), InflateError> {
        let mut output = Output { start: out.len(), len: out.len(), limit, bytes: out };
        let result = self.inflate_payload(payload, &mut output);
        let len = if result.is_ok() { output.len } else { output.start };
        out.truncate(len);
        if result.is_err() || !keeps_context {
            self.stream.reset(false);
        }
        result
    }

    fn inflate_payload(&mut self, mut payload: &[u8], output: &mut Output<'_>) -> Result<(), InflateError> {
        let mut streams = 0;
        // When the output is full, the stream may have more of it although it has taken all input.
        while !payload.is_empty() || output.is_full() {
            let is_ended = self.step(&mut payload, InflateFlush::NoFlush, output)?;
            if is_ended && payload.is_empty() {
                // Without the empty block that should follow a final block (RFC 7692, 7.2.3.4), but complete.
                return Ok(());
            }
            streams += usize::from(is_ended);
            if streams > MAX_STREAMS {
                return Err(InflateError::Corrupt);
            }
        }
        self.inflate_tail(output)
    }

    /// Appends the tail that the sender has cut, and checks that it is the end of a block.
    fn inflate_tail(&mut self, output: &mut Output<'_>) -> Result<(), InflateError> {
        let before = output.len;
        let mut tail = &TAIL_AND_PROBE[..];
        while tail.len() > 1 {
            self.step(&mut tail, InflateFlush::Block, output).map_err(|_| InflateError::Truncated)?;
            if output.len > before {
                return Err(InflateError::Truncated);
            }
        }
        if tail.len() == 1 { Ok(()) } else { Err(InflateError::Truncated) }
    }

    /// Takes in a part of `input`. Returns whether it ended with a final block (BFINAL): after it a new stream begins.
    fn step(&mut self, input: &mut &[u8], flush: InflateFlush, output: &mut Output<'_>) -> Result<bool, InflateError> {
        let (taken, produced) = (self.stream.total_in(), self.stream.total_out());
        let status = self.stream.decompress(input, output.room(input.len()), flush);
        *input = &input[(self.stream.total_in() - taken) as usize..];
        output.len += (self.stream.total_out() - produced) as usize;
        if output.len - output.start > output.limit {
            return Err(InflateError::TooLarge);
        }
        match status {
            Ok(Status::StreamEnd) => {
                self.stream.reset(false);
                Ok(true)
            }
            Ok(Status::Ok) => Ok(false),
            // There was nothing to do.
            Ok(Status::BufError) if input.is_empty() => Ok(false),
            Ok(Status::BufError) | Err(_) => Err(InflateError::Corrupt),
        }
    }
}

/// The end of a `Vec` where output is written.
struct Output<'a> {
    /// The bytes from `len` on are zeros.
    bytes: &'a mut Vec<u8>,
    /// Where the message begins.
    start: usize,
    /// Where the message ends so far.
    len: usize,
    /// How many bytes the message may have.
    limit: usize,
}

impl Output<'_> {
    /// Room for at least one byte: one byte over the limit shows that the message is too long. The room grows with the
    /// message, so that a long message takes few steps.
    fn room(&mut self, input_len: usize) -> &mut [u8] {
        if self.is_full() {
            let produced = self.len - self.start;
            let wanted = input_len.saturating_mul(4).max(produced).clamp(ROOM.0, ROOM.1);
            let most = (self.limit - produced).saturating_add(1);
            self.bytes.resize(self.len + wanted.min(most), 0);
        }
        &mut self.bytes[self.len..]
    }

    fn is_full(&self) -> bool {
        self.len == self.bytes.len()
    }
}

/// A compressed message that is not delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum InflateError {
    /// The message is longer than the limit: close code 1009.
    TooLarge,
    /// The payload is not DEFLATE, refers to bytes before the window, or has more than 1,024 final blocks: close code
    /// 1007.
    Corrupt,
    /// The payload ends in the middle of a block: close code 1007.
    Truncated,
}

impl fmt::Display for InflateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InflateError::TooLarge => "a compressed message is longer than the limit",
            InflateError::Corrupt => "a compressed message is corrupt",
            InflateError::Truncated => "a compressed message ends too early",
        })
    }
}

impl error::Error for InflateError {}
