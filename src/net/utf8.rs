//! Decodes UTF-8 across reads: bytes in, text out.
//!
//! A read may end anywhere, also in the middle of a character. Decoding each read separately would turn one `é` into
//! two replacement characters. So the decoder keeps the first bytes of a cut character until the rest has arrived:
//!
//! ```text
//!   reads      63 61 66 C3 | A9 21
//!   carried             C3    ·
//!   text       "caf"         "é!"
//! ```
//!
//! Invalid bytes become U+FFFD, one per *maximal subpart* (Unicode Standard, 3.9, "U+FFFD Substitution of Maximal
//! Subparts"). This is the rule of the WHATWG Encoding Standard and of [`String::from_utf8_lossy`]: the decoded texts
//! and the result of [`Utf8Decoder::finish`], joined, equal what `from_utf8_lossy` returns for all bytes.
//!
//! Node's `socket.setEncoding('utf8')` gives the same text, sometimes later: no byte can complete `E0 80`, but Node
//! waits for one more byte, while this decoder returns U+FFFD twice immediately. Like Node, and unlike a browser, the
//! decoder leaves a byte order mark in the text.
//!
//! The decoder keeps at most three bytes. A chunk of `n` bytes gives at most `3 * n + 3` bytes of text.

use std::mem;
use std::str;

/// U+FFFD, which replaces invalid bytes.
const REPLACEMENT: &str = "\u{FFFD}";

/// The longest start of a character that still lacks a byte.
const MAX_CARRIED: usize = 3;

/// Decodes one stream of bytes, chunk by chunk.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Utf8Decoder {
    /// Invariant: the first `carried_len` bytes start a character that some next byte could complete.
    carried: [u8; MAX_CARRIED],
    carried_len: u8,
}

const _: () = assert!(mem::size_of::<Utf8Decoder>() <= 8, "every socket that reads text holds one");

impl Utf8Decoder {
    /// Returns the text that `chunk` completes; empty if no character is complete.
    ///
    /// A valid chunk that begins at the start of a character, by far the common case, is returned without a copy.
    /// Otherwise the text is built in `scratch`, whose old content is cleared.
    pub(super) fn decode<'a>(&mut self, chunk: &'a [u8], scratch: &'a mut String) -> &'a str {
        scratch.clear();
        let chunk = self.complete_carried(chunk, scratch);
        let (chunk, cut_character) = chunk.split_at(chunk.len() - cut_character_len(chunk));
        self.carry(cut_character);

        match str::from_utf8(chunk) {
            Ok(text) if scratch.is_empty() => return text,
            Ok(text) => scratch.push_str(text),
            Err(_) => push_lossy(chunk, scratch),
        }
        scratch
    }

    /// Ends the stream: returns U+FFFD if a character was left incomplete.
    ///
    /// Afterwards the decoder can be used for another stream.
    pub(super) fn finish(&mut self) -> Option<&'static str> {
        (mem::take(&mut self.carried_len) > 0).then_some(REPLACEMENT)
    }

    /// Whether the start of a character is held back.
    pub(super) fn is_midway(&self) -> bool {
        self.carried_len > 0
    }

    /// Moves bytes from the front of `chunk` to the carried ones until these are a character or are invalid.
    ///
    /// Returns the rest of the chunk, which is empty if bytes are still carried.
    fn complete_carried<'a>(&mut self, mut chunk: &'a [u8], text: &mut String) -> &'a [u8] {
        while let Some((&byte, rest)) = chunk.split_first()
            && self.carried_len > 0
        {
            let len = usize::from(self.carried_len);
            let mut character = [0; MAX_CARRIED + 1];
            character[..len].copy_from_slice(&self.carried[..len]);
            character[len] = byte;
            match str::from_utf8(&character[..=len]) {
                Ok(complete) => {
                    text.push_str(complete);
                    self.carried_len = 0;
                    chunk = rest;
                }
                Err(error) if error.error_len().is_none() => {
                    self.carry(&[byte]);
                    chunk = rest;
                }
                // The carried bytes are a maximal subpart. `byte` does not belong to it, and may start a character.
                Err(_) => {
                    text.push_str(REPLACEMENT);
                    self.carried_len = 0;
                }
            }
        }
        chunk
    }

    fn carry(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.carried[usize::from(self.carried_len)] = byte;
            self.carried_len += 1;
        }
    }
}

/// How many bytes at the end of `chunk` belong to a character that is cut by the end: 0 to 3.
///
/// That character can only start at the last byte that is not a continuation byte (`10xxxxxx`).
fn cut_character_len(chunk: &[u8]) -> usize {
    let is_continuation = |byte: u8| byte & 0b1100_0000 == 0b1000_0000;
    let last_bytes = chunk.iter().rev().take(MAX_CARRIED);
    let Some(from_end) = last_bytes.copied().position(|byte| !is_continuation(byte)) else { return 0 };
    let last_character = &chunk[chunk.len() - from_end - 1..];
    match str::from_utf8(last_character) {
        Err(error) if error.error_len().is_none() => last_character.len(),
        _ => 0,
    }
}

/// Appends `bytes` to `text`, with U+FFFD for each invalid maximal subpart.
fn push_lossy(bytes: &[u8], text: &mut String) {
    text.reserve(bytes.len());
    for piece in bytes.utf8_chunks() {
        text.push_str(piece.valid());
        if !piece.invalid().is_empty() {
            text.push_str(REPLACEMENT);
        }
    }
}

#[cfg(any(test, fuzzing))]
pub(super) mod properties;
#[cfg(test)]
mod tests {
    use super::properties::texts;
    use super::*;
    use proptest::prelude::*;

    /// A name, the chunks, and the text of each; the last text is that of the end.
    type Row = (&'static str, &'static [&'static [u8]], &'static [&'static str]);

    #[test]
    fn a_cut_character_is_kept_until_it_is_complete() {
        let table: &[Row] = &[
            (
                "tests/conformance/golden/net-utf8-split.trace",
                &[b"\xC2", b"\xA1\xE2", b"\x82\xAC\xF0\x9F", b"\x91\x8B\xFFA\xE2\x82"],
                &["", "¡", "€", "👋\u{FFFD}A", "\u{FFFD}"],
            ),
            ("nothing", &[b""], &["", ""]),
            ("ascii", &[b"hola"], &["hola", ""]),
            ("two bytes, cut", &[b"caf\xC3", b"\xA9!"], &["caf", "é!", ""]),
            ("three bytes, cut twice", &[b"\xE2", b"\x82", b"\xAC"], &["", "", "€", ""]),
            ("four bytes, byte by byte", &[b"\xF0", b"\x9F", b"\x98", b"\x80"], &["", "", "", "😀", ""]),
            ("an empty chunk in between", &[b"\xC3", b"", b"\xA9"], &["", "", "é", ""]),
            ("completed and cut again", &[b"\xC3", b"\xA9\xC3", b"\xA9"], &["", "é", "é", ""]),
            ("never completed", &[b"a\xF0\x9F\x98"], &["a", "\u{FFFD}"]),
            ("broken off by a letter", &[b"\xE2\x82", b"a"], &["", "\u{FFFD}a", ""]),
            ("broken off by another start", &[b"\xE2\x82", b"\xC3", b"\xA9"], &["", "\u{FFFD}", "é", ""]),
            ("continuation without a start", &[b"\x80", b"\xBF\xBFa"], &["\u{FFFD}", "\u{FFFD}\u{FFFD}a", ""]),
            ("overlong start is replaced immediately", &[b"\xE0\x80", b"\x80"], &["\u{FFFD}\u{FFFD}", "\u{FFFD}", ""]),
            ("start of a surrogate", &[b"\xED", b"\xA0\x80"], &["", "\u{FFFD}\u{FFFD}\u{FFFD}", ""]),
            ("beyond U+10FFFF", &[b"\xF4", b"\x90"], &["", "\u{FFFD}\u{FFFD}", ""]),
            ("never a start", &[b"\xC0\xFF\xF5"], &["\u{FFFD}\u{FFFD}\u{FFFD}", ""]),
            ("byte order mark stays", &[b"\xEF\xBB", b"\xBFa"], &["", "\u{FEFF}a", ""]),
        ];
        for (name, chunks, want) in table {
            assert_eq!(texts(chunks), *want, "{name}");
        }
    }

    #[test]
    fn a_valid_chunk_is_returned_without_a_copy() {
        let chunks: &[(&str, &[u8], usize)] = &[
            ("whole", "añb".as_bytes(), 4),
            ("cut at the end", b"a\xE2\x82", 1),
            ("only a cut character", b"\xE2", 0),
        ];
        for (name, chunk, want_len) in chunks {
            let mut scratch = String::new();
            let text = Utf8Decoder::default().decode(chunk, &mut scratch);
            assert_eq!((text.as_ptr(), text.len()), (chunk.as_ptr(), *want_len), "{name}");
            assert_eq!(scratch.capacity(), 0, "{name}");
        }
    }

    #[test]
    fn finish_leaves_the_decoder_as_new() {
        let mut decoder = Utf8Decoder::default();
        decoder.decode(b"\xE2\x82", &mut String::new());
        assert_eq!(decoder.finish(), Some(REPLACEMENT));
        assert_eq!(decoder.finish(), None);
        assert_eq!(decoder.decode(b"\xAC", &mut String::new()), "\u{FFFD}");
    }

    #[test]
    fn where_the_reads_fall_does_not_matter() {
        let corpus: &[(&str, &[u8])] = &[
            ("every length of character", "a é € 😀 \u{7FF}\u{800}\u{FFFF}\u{10000}\u{10FFFF}".as_bytes()),
            ("byte order marks", b"\xEF\xBB\xBF\xEF\xBB\xBFa\xEF\xBB"),
            ("Unicode Standard, table 3-8: not the shortest form", b"\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"),
            ("Unicode Standard, table 3-9: surrogates", b"\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"),
            ("Unicode Standard, table 3-10: other ill-formed", b"\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"),
            ("Unicode Standard, table 3-11: truncated", b"\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"),
            ("truncated among letters", b"a\xF1\x80\x80\xE1\x80\xC2b\x80c\x80\xBFd"),
            ("edges of what may follow a start", b"\xE0\x9F\xE0\xA0\xED\x9F\xED\xA0\xF0\x8F\xF0\x90\xF4\x8F\xF4\x90"),
            ("starts that break off starts", b"\xF0\x9F\x98\xF0\x9F\xF0\xE2\x82\xE2\xC3\xC3\xA9\xC3"),
            ("five and six bytes long", b"\xF8\x88\x80\x80\x80\xFC\x84\x80\x80\x80\x80\xFE\xFF"),
            ("continuations only", b"\x80\x80\x80\x80\x80\xBF\xBF\xBF\xBF"),
        ];
        for (name, input) in corpus {
            let whole = String::from_utf8_lossy(input);
            for i in 0..=input.len() {
                for j in i..=input.len() {
                    let text = texts(&[&input[..i], &input[i..j], &input[j..]]).concat();
                    assert_eq!(text, whole, "{name}, cut at {i} and {j}");
                }
            }
            let byte_by_byte: Vec<_> = input.chunks(1).collect();
            assert_eq!(texts(&byte_by_byte).concat(), whole, "{name}, byte by byte");
        }
    }

    /// All sequences of four bytes, with one byte for each class that the decoder distinguishes.
    #[test]
    fn every_short_sequence_decodes_like_the_whole() {
        const CLASSES: &[u8] = b"a\x80\x8F\x90\x9F\xA0\xBF\xC1\xC2\xDF\xE0\xE1\xEC\xED\xEE\xF0\xF1\xF3\xF4\xF5\xFF";
        for index in 0..CLASSES.len().pow(4) {
            let class = |place: u32| CLASSES[index / CLASSES.len().pow(place) % CLASSES.len()];
            let input = [class(0), class(1), class(2), class(3)];
            let mut decoder = Utf8Decoder::default();
            let mut scratch = String::new();
            let mut text = String::new();
            for chunk in input.chunks(1) {
                text.push_str(decoder.decode(chunk, &mut scratch));
            }
            text.push_str(decoder.finish().unwrap_or_default());
            assert_eq!(text, String::from_utf8_lossy(&input), "{input:x?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_cut_anywhere_decode_like_the_whole(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..9), 0..9),
        ) {
            let all_bytes = chunks.concat();
            let slices: Vec<_> = chunks.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(texts(&slices).concat(), String::from_utf8_lossy(&all_bytes));
        }

        #[test]
        fn any_text_cut_anywhere_stays_the_same(text in "\\PC{0,40}", size in 1..7usize) {
            let chunks: Vec<_> = text.as_bytes().chunks(size).collect();
            prop_assert_eq!(texts(&chunks).concat(), text);
        }
    }
}
