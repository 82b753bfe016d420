//! Splits received bytes into lines, and makes lines safe to show on a terminal.
//!
//! TCP has no messages: one `write` by the peer may arrive as three reads, and three writes as one. A program that
//! works with lines has to put them together again:
//!
//! ```text
//!   reads         "he" | "llo\r\nwo" | "rld\r\n"
//!   unfinished     he     wo            ·
//!   lines                 hello         world
//! ```
//!
//! A line that is complete within one read is lent from the read buffer and not copied. Only an unfinished line is
//! copied. It is never longer than the limit (64 KiB by default), and its buffer is freed with the line: a connection
//! between two lines owns no heap.
//!
//! # What ends a line
//!
//! | bytes | who sends them |
//! |---|---|
//! | `\r\n` | telnet's end of line (RFC 854, "The NVT Printer and Keyboard"), `plink -telnet`, `nc -C` |
//! | `\n` | `nc`, scripts, most programs that print lines |
//! | `\r\0` | telnet's carriage return alone: the Enter key of Debian's telnets when they send each key |
//! | `\r` | the Enter key of a terminal in raw mode (`stty raw; nc …`) |
//!
//! So `\r` ends the line immediately, and a `\n` or `\0` right after it belongs to the same line break. RFC 854
//! requires one of the two there, but a terminal in raw mode sends neither, and its user waits for an answer: a
//! splitter that waited for the next byte would deliver every line one line late. The price: a text with a single `\r`
//! inside, such as a progress bar, arrives as several lines, and `\r\r\n` makes an additional empty line.

use std::{borrow::Cow, error, fmt};

use memchr::{memchr, memchr2};

use super::columns::visible;
use super::edit::{Change, Key, next_key};

/// Puts lines together again. It does not matter where the reads cut them.
///
/// 32 bytes, and no heap unless a line is unfinished.
#[derive(Debug)]
pub struct Lines {
    /// The part of a line whose line break has not arrived, or the line that was lent last.
    ///
    /// Invariant: neither its length nor its capacity is larger than `limit`, plus the break of a raw line.
    unfinished: Vec<u8>,
    limit: u32,
    /// `unfinished` was lent as a complete line: the next call clears it.
    is_lent: bool,
    /// The last byte was `\r`: a `\n` or `\0` as the next byte belongs to it.
    is_after_return: bool,
    /// A line was too long. Splitting cannot go on: the rest of that line would be taken for a line.
    is_spent: bool,
}

const _: () = assert!(size_of::<Lines>() <= 32);

/// A line is longer than the limit. The splitter cannot go on: close the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct LineTooLong {
    /// The number of bytes that a line may have, without its line break.
    pub limit: usize,
}

impl Default for Lines {
    fn default() -> Lines {
        Lines::with_limit(Lines::LIMIT)
    }
}

impl Lines {
    /// How many bytes a line may have by default: 64 KiB, the size of the loop's read buffer. A line that is typed has
    /// less than 4,096 (the limit of a Linux terminal); longer lines come from programs.
    pub const LIMIT: usize = 64 * 1024;

    /// A splitter for lines of at most `limit` bytes, without their line breaks. (A limit over 4 GiB becomes 4 GiB.)
    pub fn with_limit(limit: usize) -> Lines {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        Lines { unfinished: Vec::new(), limit, is_lent: false, is_after_return: false, is_spent: false }
    }

    /// Changes the limit, from the next call on. An unfinished line that is longer than it is too long then.
    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = u32::try_from(limit).unwrap_or(u32::MAX);
    }

    /// Takes one line from the front of `chunk` and lends it, without its line break; `None` when `chunk` is used up.
    ///
    /// The caller may stop between two lines (pause, close) and pass the rest of `chunk` later. The rest starts with
    /// the next line, not with half a line break.
    ///
    /// After [`LineTooLong`] every further call with data returns the same error.
    ///
    /// ```
    /// let mut lines = bucle::telnet::lines::Lines::default();
    /// let mut chunk = &b"one\r\ntwo\nthr"[..];
    /// assert_eq!(lines.next_line(&mut chunk), Some(Ok(&b"one"[..])));
    /// assert_eq!(chunk, b"two\nthr");
    /// assert_eq!(lines.next_line(&mut chunk), Some(Ok(&b"two"[..])));
    /// assert_eq!(lines.next_line(&mut chunk), None);
    /// assert_eq!(lines.next_line(&mut &b"ee\r\n"[..]), Some(Ok(&b"three"[..])));
    /// ```
    pub fn next_line<'a, 'chunk: 'a>(&'a mut self, chunk: &mut &'chunk [u8]) -> Option<Result<&'a [u8], LineTooLong>> {
        self.forget_lent_line();
        self.skip_rest_of_break(chunk);
        let end = memchr2(b'\n', b'\r', chunk);
        // Complete lines are checked too: the limit must not depend on where the reads fall.
        let line_len = self.unfinished.len() + end.unwrap_or(chunk.len());
        if line_len > self.limit as usize || self.is_spent {
            return self.refuse(chunk);
        }
        let Some(end) = end else {
            self.keep(chunk);
            *chunk = &[];
            return None;
        };
        let line = &chunk[..end];
        self.is_after_return = chunk[end] == b'\r';
        *chunk = &chunk[end + 1..];
        self.skip_rest_of_break(chunk);
        if self.unfinished.is_empty() {
            return Some(Ok(line));
        }
        self.keep(line);
        self.is_lent = true;
        Some(Ok(&self.unfinished))
    }

    /// As [`next_line`](Lines::next_line), but lends the line with its line break, exactly as it was sent: for servers
    /// that forward lines. Only `\n` ends such a line: after a `\r` the line break may or may not be complete, and only
    /// the next byte would show which.
    ///
    /// Do not mix the two methods on one connection.
    ///
    /// ```
    /// let mut lines = bucle::telnet::lines::Lines::default();
    /// let mut chunk = &b"one\r\ntwo\nthr"[..];
    /// assert_eq!(lines.next_raw_line(&mut chunk), Some(Ok(&b"one\r\n"[..])));
    /// assert_eq!(lines.next_raw_line(&mut chunk), Some(Ok(&b"two\n"[..])));
    /// assert_eq!(lines.next_raw_line(&mut chunk), None);
    /// assert_eq!(lines.finish(), Some(&b"thr"[..]));
    /// ```
    pub fn next_raw_line<'a, 'chunk: 'a>(
        &'a mut self,
        chunk: &mut &'chunk [u8],
    ) -> Option<Result<&'a [u8], LineTooLong>> {
        self.forget_lent_line();
        let end = memchr(b'\n', chunk);
        let text = &chunk[..end.unwrap_or(chunk.len())];
        let has_return = text.last().or(self.unfinished.last()) == Some(&b'\r');
        let line_len = self.unfinished.len() + text.len() - usize::from(has_return);
        if line_len > self.limit as usize || self.is_spent {
            return self.refuse(chunk);
        }
        let Some(end) = end else {
            self.keep(chunk);
            *chunk = &[];
            return None;
        };
        let line = &chunk[..=end];
        *chunk = &chunk[end + 1..];
        if self.unfinished.is_empty() {
            return Some(Ok(line));
        }
        self.keep(line);
        self.is_lent = true;
        Some(Ok(&self.unfinished))
    }

    /// As [`next_line`](Lines::next_line), but the bytes of [`Key`]s edit the line, and are not part of it. `echo` gets
    /// each change of the line, the complete line included.
    ///
    /// The time is linear in the length of the chunk, however many keys there are.
    pub(super) fn next_edited_line<'a, 'chunk: 'a>(
        &'a mut self,
        chunk: &mut &'chunk [u8],
        echo: &mut dyn FnMut(Change<'_>),
    ) -> Option<Result<&'a [u8], LineTooLong>> {
        self.forget_lent_line();
        self.skip_rest_of_break(chunk);
        let end = memchr2(b'\n', b'\r', chunk);
        let mut typed = &chunk[..end.unwrap_or(chunk.len())];
        while let Some(at) = next_key(typed) {
            if self.is_spent || self.type_in(&typed[..at], echo).is_err() {
                return self.refuse(chunk);
            }
            if let Some(key) = Key::of_byte(typed[at]) {
                self.erase(key, echo);
            }
            typed = &typed[at + 1..];
            *chunk = &chunk[at + 1..];
        }
        if end.is_none() && !self.is_spent {
            if self.type_in(typed, echo).is_err() {
                return self.refuse(chunk);
            }
            *chunk = &[];
            return None;
        }
        let before = self.unfinished.len();
        let line = self.next_line(chunk)?;
        if let Ok(line) = line {
            echo(Change::Ended { line, before });
        }
        Some(line)
    }

    /// A key of the peer that erases something of the unfinished line. Nothing happens if there is none.
    pub(super) fn erase(&mut self, key: Key, echo: &mut dyn FnMut(Change<'_>)) {
        self.forget_lent_line();
        self.is_after_return = false;
        let remaining = key.remaining(&self.unfinished);
        if remaining < self.unfinished.len() {
            echo(Change::Erased { line: &self.unfinished, remaining });
        }
        self.unfinished.truncate(remaining);
        self.keep(&[]);
    }

    /// Appends bytes without a line break or a key to the unfinished line.
    fn type_in(&mut self, mut part: &[u8], echo: &mut dyn FnMut(Change<'_>)) -> Result<(), LineTooLong> {
        if part.is_empty() {
            return Ok(());
        }
        let before = self.unfinished.len();
        if let Some(Err(error)) = self.next_line(&mut part) {
            return Err(error);
        }
        echo(Change::Typed { line: &self.unfinished, before });
        Ok(())
    }

    /// Bytes of the peer that are not part of any line: they are discarded, and so is a line break that they cut. The
    /// unfinished line stays.
    pub(super) fn skip(&mut self, bytes: &[u8]) {
        self.forget_lent_line();
        if let Some(last) = bytes.last() {
            self.is_after_return = *last == b'\r';
        }
    }

    /// Takes all of `chunk` and calls `emit` with each complete line, without its line break.
    ///
    /// For callers that never stop in the middle of a chunk; the others use [`next_line`](Lines::next_line). Lines in
    /// front of a line that is too long are still delivered.
    ///
    /// # Errors
    /// [`LineTooLong`]: close the connection. Every further call with data returns the same error.
    ///
    /// ```
    /// use bucle::telnet::lines::{LineTooLong, Lines};
    ///
    /// let (mut lines, mut seen) = (Lines::with_limit(4), Vec::new());
    /// let result: Result<(), LineTooLong> = lines.feed(b"hola\r\nadios\r\nuf\r\n", |line| seen.push(line.to_vec()));
    /// assert_eq!(seen, [b"hola"]);
    /// assert_eq!(result.map_err(|error| error.limit), Err(4));
    /// ```
    pub fn feed(&mut self, mut chunk: &[u8], mut emit: impl FnMut(&[u8])) -> Result<(), LineTooLong> {
        while let Some(line) = self.next_line(&mut chunk) {
            emit(line?);
        }
        Ok(())
    }

    /// The bytes after the last line break: the start of an unfinished line, or nothing.
    ///
    /// Call this after [`next_line`](Lines::next_line) has returned `None`. A telnet client's Ctrl-D is found here: it
    /// is the byte `04` without a line break.
    pub fn unfinished(&self) -> &[u8] {
        if self.is_lent { &[] } else { &self.unfinished }
    }

    /// Whether the splitter is between two lines, like a new one: it need not be kept.
    pub fn is_idle(&self) -> bool {
        self.unfinished().is_empty() && !self.is_after_return && !self.is_spent
    }

    /// The peer sends no more (FIN): lends the last line if it has no line break, and starts again.
    pub fn finish(&mut self) -> Option<&[u8]> {
        self.forget_lent_line();
        self.is_after_return = false;
        self.is_lent = !self.unfinished.is_empty();
        self.is_lent.then_some(&self.unfinished)
    }

    /// Keeps the allocation for now. If the same chunk ends in an unfinished line, it is used again; otherwise `keep`
    /// frees it.
    fn forget_lent_line(&mut self) {
        if self.is_lent {
            self.unfinished.clear();
            self.is_lent = false;
        }
    }

    fn skip_rest_of_break(&mut self, chunk: &mut &[u8]) {
        let Some(next) = chunk.first() else { return };
        if self.is_after_return && matches!(next, b'\n' | 0) {
            *chunk = &chunk[1..];
        }
        self.is_after_return = false;
    }

    /// Appends `part` to the unfinished line, or frees the buffer if there is nothing to keep. The caller has checked
    /// the limit.
    fn keep(&mut self, part: &[u8]) {
        let len = self.unfinished.len() + part.len();
        if len == 0 {
            self.unfinished = Vec::new();
        } else if len > self.unfinished.capacity() {
            // Doubles the capacity, for peers that send each key, but unlike `Vec` not beyond the limit.
            let capacity = (self.unfinished.capacity() * 2).max(32).clamp(len, len.max(self.limit as usize));
            self.unfinished.reserve_exact(capacity - self.unfinished.len());
        }
        self.unfinished.extend_from_slice(part);
    }

    fn refuse<T>(&mut self, chunk: &mut &[u8]) -> Option<Result<T, LineTooLong>> {
        self.unfinished = Vec::new();
        self.is_spent = true;
        let had_bytes = !chunk.is_empty();
        *chunk = &[];
        // An empty chunk gives `None`: otherwise a caller's `while let Some(…)` would not end.
        had_bytes.then_some(Err(LineTooLong { limit: self.limit as usize }))
    }
}

impl fmt::Display for LineTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line over {} bytes", self.limit)
    }
}

impl error::Error for LineTooLong {}

/// Makes a received line safe to show on another user's terminal. Borrows if there is nothing to change.
///
/// A terminal executes control characters: a chat line with `ESC ] 0 ;` renames the reader's window, and a `\r` lets a
/// line overwrite the sender's name. Every such character is replaced by *one visible character*. It is not removed:
/// the reader should see that it was there, and a removal could join two harmless parts into a harmful one.
///
/// | in the line | shown as |
/// |---|---|
/// | bytes that are not UTF-8 | U+FFFD, as [`String::from_utf8_lossy`] does |
/// | C0 controls but tab | their pictures, U+2400 to U+241F: `␀` `␛` |
/// | DEL | its picture, U+2421: `␡` |
/// | C1 controls, U+0080 to U+009F (U+009B alone starts an escape sequence) | U+FFFD |
/// | line and paragraph separator, U+2028 and U+2029 | U+FFFD |
/// | embeddings, overrides, isolates: U+202A to U+202E, U+2066 to U+2069 (they reorder the text after them) | U+FFFD |
/// | everything else, tab and right-to-left letters and their marks included | itself |
///
/// The result is at most three times as long as the line.
pub fn printable(line: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(line);
    if text.chars().all(|c| visible(c) == c) {
        return text;
    }
    Cow::Owned(text.chars().map(visible).collect())
}

#[cfg(any(test, fuzzing))]
pub(crate) mod properties;
#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::properties::Asked::{Plain, Raw};
    use super::properties::{Asked, Manner, Split, is_safe_to_show, split_plainly, split_raw_plainly, take_apart};
    use super::*;

    fn split(asked: Asked, limit: usize, chunks: &[&[u8]]) -> Split {
        take_apart(asked, limit, chunks, Manner::Steady)
    }

    #[test]
    fn splits_on_line_breaks() {
        // Name, reads, lines, unfinished rest.
        type Row = (&'static str, &'static [&'static [u8]], &'static [&'static str], &'static str);
        let table: &[Row] = &[
            ("two lines in one read", &[b"a\r\nb\r\n"], &["a", "b"], ""),
            ("line feeds alone, as nc sends them", &[b"a\nb\n"], &["a", "b"], ""),
            ("return and NUL, as telnet's Enter key", &[b"a\r\0b\r\0"], &["a", "b"], ""),
            ("returns alone, as a raw terminal", &[b"a\rb\r"], &["a", "b"], ""),
            ("a return does not wait for what follows", &[b"hola\r"], &["hola"], ""),
            ("break cut in half", &[b"hola\r", b"\n"], &["hola"], ""),
            ("break cut in half, NUL", &[b"hola\r", b"\0a"], &["hola"], "a"),
            ("empty read inside a break", &[b"hola\r", b"", b"\na\n"], &["hola", "a"], ""),
            ("empty lines", &[b"\r\n\n\r\0\r"], &["", "", "", ""], ""),
            ("a second line feed is a line", &[b"a\r\n\nb"], &["a", ""], "b"),
            ("a second return is a line", &[b"a\r\r\nb"], &["a", ""], "b"),
            ("a NUL elsewhere is data", &[b"\0a\0\n\0"], &["\0a\0"], "\0"),
            ("a line in three reads", &[b"h", b"ol", b"a\r\n"], &["hola"], ""),
            ("a break in a read of its own", &[b"hola", b"\n"], &["hola"], ""),
            ("unfinished line is kept", &[b"hola"], &[], "hola"),
            ("nothing at all", &[b"", b""], &[], ""),
        ];
        for (name, chunks, want, rest) in table {
            let got = split(Plain, Lines::LIMIT, chunks);
            assert_eq!(got.lines, want.iter().map(|line| line.as_bytes().to_vec()).collect::<Vec<_>>(), "{name}");
            assert_eq!(got.rest.unwrap_or_default(), rest.as_bytes(), "{name}");
            assert_eq!(got.error, None, "{name}");
        }
    }

    #[test]
    fn where_the_reads_fall_does_not_matter() {
        let input = b"one\r\n\r\ntwo\n\rthree\r\0\0\r\r\nfour!\r\nfive";
        for limit in [0, 1, 3, 4, 5, Lines::LIMIT] {
            let whole = split(Plain, limit, &[input]);
            assert_eq!(whole, split_plainly(limit, input), "limit {limit}");
            for i in 0..=input.len() {
                for j in i..=input.len() {
                    let cut = split(Plain, limit, &[&input[..i], &input[i..j], &input[j..]]);
                    assert_eq!(cut, whole, "limit {limit}, cut at {i} and {j}");
                }
            }
        }
    }

    #[test]
    fn raw_lines_are_what_was_sent_wherever_the_reads_fall() {
        let input = b"one\r\n\n\r\n\rt\rw\r\0o\n1234\r\n5678\nlast\r";
        for limit in [0, 1, 3, 4, 6, 7, Lines::LIMIT] {
            let whole = split(Raw, limit, &[input]);
            if limit >= 7 {
                let all = [whole.lines.concat(), whole.rest.clone().unwrap_or_default()].concat();
                assert_eq!((whole.lines.len(), all.as_slice()), (6, &input[..]));
            }
            for i in 0..=input.len() {
                for j in i..=input.len() {
                    let cut = split(Raw, limit, &[&input[..i], &input[i..j], &input[j..]]);
                    assert_eq!(cut, whole, "limit {limit}, cut at {i} and {j}");
                }
            }
        }
    }

    #[test]
    fn the_limit_of_a_raw_line_does_not_count_its_break() {
        let table: &[(&str, &[&[u8]], bool)] = &[
            ("exactly, \\r\\n", &[b"1234\r\n"], true),
            ("exactly, \\n", &[b"1234\n"], true),
            ("exactly, cut", &[b"1234\r", b"\n"], true),
            ("over, \\r\\n", &[b"12345\r\n"], false),
            ("over, no break yet", &[b"1234", b"5"], false),
            ("a return that is no break", &[b"1234\r", b"5"], false),
        ];
        for (name, chunks, fits) in table {
            assert_eq!(split(Raw, 4, chunks).error.is_none(), *fits, "{name}");
        }
    }

    #[test]
    fn a_line_of_exactly_the_limit_passes_and_one_byte_more_does_not() {
        // Name, reads, lines, whether all fit.
        type Row = (&'static str, &'static [&'static [u8]], &'static [&'static [u8]], bool);
        let table: &[Row] = &[
            ("exactly, whole", &[b"1234\r\n"], &[b"1234"], true),
            ("exactly, cut", &[b"12", b"34", b"\r", b"\n"], &[b"1234"], true),
            ("exactly, no break", &[b"1234"], &[], true),
            ("over, whole", &[b"12345\r\n"], &[], false),
            ("over, cut", &[b"123", b"45\n"], &[], false),
            ("over, no break", &[b"1234", b"5"], &[], false),
            ("lines in front are still handed over", &[b"a\nb\r\n12345\nc\n"], &[b"a", b"b"], false),
        ];
        for (name, chunks, want, fits) in table {
            let got = split(Plain, 4, chunks);
            assert_eq!(got.lines, *want, "{name}");
            assert_eq!(got.error, (!fits).then_some(LineTooLong { limit: 4 }), "{name}");
        }
    }

    #[test]
    fn after_a_line_that_is_too_long_only_errors_follow() {
        let mut lines = Lines::with_limit(4);
        let mut chunk = &b"12345\nok\n"[..];
        assert_eq!(lines.next_line(&mut chunk), Some(Err(LineTooLong { limit: 4 })));
        assert_eq!(lines.next_line(&mut chunk), None, "the chunk is used up, so that loops end");
        assert_eq!(lines.next_line(&mut &b"ok\n"[..]), Some(Err(LineTooLong { limit: 4 })));
        assert_eq!(lines.finish(), None);
        assert_eq!(LineTooLong { limit: 4 }.to_string(), "line over 4 bytes");
    }

    #[test]
    fn can_stop_after_any_line_and_go_on_later() {
        let input = b"one\r\ntwo\r\0three\rfour\n";
        let whole = split(Plain, Lines::LIMIT, &[input]).lines;
        for cut in 0..=input.len() {
            let (mut lines, mut out, mut left) = (Lines::default(), Vec::new(), Vec::new());
            for part in [&input[..cut], &input[cut..]] {
                left.extend_from_slice(part);
                loop {
                    // What is left is copied and offered again, as after a pause.
                    let kept = std::mem::take(&mut left);
                    let mut chunk = &kept[..];
                    let Some(line) = lines.next_line(&mut chunk) else { break };
                    out.push(line.expect("all are short").to_vec());
                    assert!(!chunk.starts_with(b"\n") && !chunk.starts_with(b"\0"), "no half break is left");
                    left.extend_from_slice(chunk);
                }
            }
            assert_eq!(out, whole, "cut at {cut}");
        }
    }

    #[test]
    fn owns_heap_only_while_a_line_is_unfinished() {
        let table: &[(&str, &[&[u8]], bool)] = &[
            ("fresh", &[], false),
            ("whole lines", &[b"one\r\ntwo\r\n"], false),
            ("unfinished", &[b"one\r\ntw"], true),
            ("finished again", &[b"one\r\ntw", b"o\r\n"], false),
            ("finished, with whole lines behind", &[b"on", b"e\ntwo\n"], false),
            ("finished, and unfinished again", &[b"on", b"e\ntw"], true),
            ("finished by a break of its own", &[b"one", b"\r"], false),
        ];
        for (name, chunks, want) in table {
            let mut lines = Lines::default();
            for chunk in *chunks {
                lines.feed(chunk, |_| {}).expect("all are short");
            }
            assert_eq!(lines.unfinished.capacity() > 0, *want, "{name}");
            assert_eq!(!lines.unfinished().is_empty(), *want, "{name}");
        }
    }

    #[test]
    fn whole_lines_are_lent_from_the_chunk() {
        let input = b"one\r\ntwo\n";
        Lines::default()
            .feed(input, |line| assert!(input.as_ptr_range().contains(&line.as_ptr())))
            .expect("all are short");
    }

    #[test]
    fn the_last_line_needs_no_break() {
        let mut lines = Lines::default();
        lines.feed(b"one\ntwo", |_| {}).expect("all are short");
        assert_eq!(lines.unfinished(), b"two");
        assert_eq!(lines.finish(), Some(&b"two"[..]));
        assert_eq!(lines.unfinished(), b"");
        assert_eq!(lines.finish(), None);
        assert_eq!(lines.next_line(&mut &b"three\n"[..]), Some(Ok(&b"three"[..])));
    }

    proptest! {
        #[test]
        fn does_the_same_as_the_plain_version(
            chunks in prop::collection::vec(prop::collection::vec(prop::sample::select(&b"\r\n\0ab"[..]), 0..9), 0..9),
            limit in 0usize..12,
        ) {
            let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(split(Plain, limit, &chunks), split_plainly(limit, &chunks.concat()));
            prop_assert_eq!(split(Raw, limit, &chunks), split_raw_plainly(limit, &chunks.concat()));
        }

        #[test]
        fn only_printable_characters_are_left(line in prop::collection::vec(any::<u8>(), 0..64), text in ".*") {
            is_safe_to_show(&line);
            is_safe_to_show(text.as_bytes());
        }
    }

    #[test]
    fn replaces_what_a_terminal_would_execute() {
        let table: &[(&str, &[u8], &str)] = &[
            ("plain text, tab included", b"a\tb ~", "a\tb ~"),
            ("letters of the world", "¡Adiós! שלום 👩‍👧".as_bytes(), "¡Adiós! שלום 👩‍👧"),
            ("an escape sequence", b"\x1b[2Jhi", "␛[2Jhi"),
            ("a return that overwrites", b"ana: hi\rbob: hi", "ana: hi␍bob: hi"),
            ("bell, backspace, NUL, DEL", b"\x07\x08\0\x7f", "␇␈␀␡"),
            ("the last C0 control, the first after", b"\x1f \x20", "␟  "),
            ("C1 as UTF-8: CSI", "\u{9b}2J\u{80}\u{9f}\u{a0}".as_bytes(), "\u{fffd}2J\u{fffd}\u{fffd}\u{a0}"),
            ("C1 as a bare byte", b"\x9b2J", "\u{fffd}2J"),
            ("Latin-1", b"adi\xf3s", "adi\u{fffd}s"),
            ("cut-off UTF-8", b"adi\xc3", "adi\u{fffd}"),
            ("right-to-left override", "a\u{202e}b\u{202c}".as_bytes(), "a\u{fffd}b\u{fffd}"),
            ("isolates", "\u{2066}\u{2069}\u{206a}".as_bytes(), "\u{fffd}\u{fffd}\u{206a}"),
            ("separators", "\u{2027}\u{2028}\u{2029}".as_bytes(), "\u{2027}\u{fffd}\u{fffd}"),
            ("nothing", b"", ""),
        ];
        for (name, line, want) in table {
            let got = printable(line);
            assert_eq!(got, *want, "{name}");
            assert_eq!(matches!(got, Cow::Borrowed(_)), *line == want.as_bytes(), "{name}: copied only if changed");
        }
    }
}
