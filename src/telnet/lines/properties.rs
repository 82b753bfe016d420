//! Properties of the splitter, for any bytes and any cuts between reads.

use super::*;
use crate::fuzzing::input::{Input, arrivals};

/// The result of splitting: the lines, then either the unfinished rest or the error.
#[derive(PartialEq, Debug)]
pub(super) struct Split {
    pub(super) lines: Vec<Vec<u8>>,
    pub(super) rest: Option<Vec<u8>>,
    pub(super) error: Option<LineTooLong>,
}

/// Which method takes the lines.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Asked {
    /// `next_line`.
    Plain,
    /// `next_raw_line`.
    Raw,
}

/// What the program does between lines.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Manner {
    /// It takes all lines and keeps its splitter.
    Steady,
    /// It drops the splitter whenever it is idle, as [`telnet`](crate::telnet) does between two reads.
    Forgetful,
    /// It stops after each line, and passes a copy of the rest together with the next read.
    Hesitant,
}

/// The first byte of the input is the limit; 255 means the default.
pub(crate) fn hold_for(input: &[u8]) {
    let mut input = Input(input);
    let limit = match input.byte() {
        255 => Lines::LIMIT,
        few => few.into(),
    };
    let chunks = input.chunks();
    let bytes = chunks.concat();
    for (asked, want) in [(Asked::Plain, split_plainly(limit, &bytes)), (Asked::Raw, split_raw_plainly(limit, &bytes))]
    {
        for (arrival, chunks) in arrivals(&bytes, &chunks) {
            for manner in [Manner::Steady, Manner::Forgetful, Manner::Hesitant] {
                let got = take_apart(asked, limit, &chunks, manner);
                assert_eq!(got, want, "{asked:?} lines of at most {limit} bytes, {arrival}, {manner:?}");
            }
        }
        for line in &want.lines {
            is_safe_to_show(line);
        }
    }
}

pub(super) fn take_apart(asked: Asked, limit: usize, chunks: &[&[u8]], manner: Manner) -> Split {
    let mut lines = Lines::with_limit(limit);
    let mut out = Split { lines: Vec::new(), rest: None, error: None };
    // The rest of the earlier reads; only `Hesitant` leaves one.
    let mut left = Vec::new();
    for (nth, read) in chunks.iter().enumerate() {
        left.extend_from_slice(read);
        let is_last = nth + 1 == chunks.len();
        loop {
            let offered = std::mem::take(&mut left);
            let mut chunk = &offered[..];
            match asked.next(&mut lines, &mut chunk) {
                Some(Ok(line)) => out.lines.push(line.to_vec()),
                Some(Err(error)) => {
                    assert!(chunk.is_empty() && lines.unfinished.capacity() == 0, "the rest is discarded");
                    is_spent(asked, &mut lines, error);
                    out.error = Some(error);
                    return out;
                }
                None => {
                    assert!(chunk.is_empty(), "`None` means that the chunk is used up");
                    assert_eq!(lines.unfinished.capacity() > 0, !lines.unfinished().is_empty(), "no idle heap");
                    break;
                }
            }
            left.extend_from_slice(chunk);
            if manner == Manner::Hesitant && !is_last && !left.is_empty() {
                break;
            }
        }
        is_bounded(asked, &lines, limit);
        if manner == Manner::Forgetful && lines.is_idle() {
            lines = Lines::with_limit(limit);
        }
    }
    out.rest = lines.finish().map(<[u8]>::to_vec);
    assert_eq!(lines.finish(), None, "the last line comes once");
    out
}

impl Asked {
    fn next<'a, 'chunk: 'a>(
        self,
        lines: &'a mut Lines,
        chunk: &mut &'chunk [u8],
    ) -> Option<Result<&'a [u8], LineTooLong>> {
        match self {
            Asked::Plain => lines.next_line(chunk),
            Asked::Raw => lines.next_raw_line(chunk),
        }
    }
}

fn is_bounded(asked: Asked, lines: &Lines, limit: usize) {
    let break_len = if asked == Asked::Raw { 2 } else { 0 };
    let capacity = lines.unfinished.capacity();
    assert!(capacity <= limit + break_len, "{capacity} bytes of memory for lines of at most {limit}");
}

fn is_spent(asked: Asked, lines: &mut Lines, error: LineTooLong) {
    assert!(!lines.is_idle() && lines.unfinished().is_empty());
    assert_eq!(asked.next(lines, &mut &b""[..]), None, "an empty chunk ends a loop");
    assert_eq!(asked.next(lines, &mut &b"\n"[..]), Some(Err(error)), "the error is permanent");
    assert_eq!(lines.finish(), None);
}

/// A reference splitter: byte by byte, without memchr, with copies of everything.
pub(super) fn split_plainly(limit: usize, input: &[u8]) -> Split {
    let (mut lines, mut line, mut before) = (Vec::new(), Vec::new(), 0);
    for &byte in input {
        match (before, byte) {
            (b'\r', b'\n' | 0) => {}
            (_, b'\n' | b'\r') => lines.push(std::mem::take(&mut line)),
            _ if line.len() == limit => return Split { lines, rest: None, error: Some(LineTooLong { limit }) },
            _ => line.push(byte),
        }
        before = byte;
    }
    Split { lines, rest: Some(line).filter(|line| !line.is_empty()), error: None }
}

/// The same for lines that keep their line breaks.
pub(super) fn split_raw_plainly(limit: usize, input: &[u8]) -> Split {
    let (mut lines, mut line) = (Vec::new(), Vec::new());
    for &byte in input {
        line.push(byte);
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if text.len() > limit {
            return Split { lines, rest: None, error: Some(LineTooLong { limit }) };
        }
        if byte == b'\n' {
            lines.push(std::mem::take(&mut line));
        }
    }
    Split { lines, rest: Some(line).filter(|line| !line.is_empty()), error: None }
}

/// The output of `printable` contains nothing that a terminal would obey, it is text, and a second pass does not
/// change it.
pub(super) fn is_safe_to_show(line: &[u8]) {
    let shown = printable(line);
    assert!(shown.chars().all(|c| c == '\t' || !c.is_control()), "{shown:?}");
    assert!(shown.len() <= 3 * line.len());
    assert!(matches!(printable(shown.as_bytes()), Cow::Borrowed(again) if again == shown));
}
