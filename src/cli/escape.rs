//! Turns bytes from a server into text that is safe to show.
//!
//! A server must not be able to control the user's terminal. [`Escaper`] lets only text, line breaks and tabs through.

use std::fmt::Write;
use std::{mem, str};

/// Decodes UTF-8, however the reads have cut it. Control characters and bytes that are not UTF-8 become escapes like
/// `\x1b`.
///
/// `\r\n` and `\n` become a line break; a tab stays a tab.
#[derive(Default)]
pub(crate) struct Escaper {
    /// The beginning of a character, or a `\r` that may be followed by `\n`. At most 3 bytes.
    cut_off: Vec<u8>,
}

impl Escaper {
    /// Takes in `chunk` and returns the part of it that is complete.
    pub(crate) fn escape(&mut self, chunk: &[u8]) -> String {
        let mut text = String::with_capacity(chunk.len());
        let joined;
        let mut bytes = chunk;
        if !self.cut_off.is_empty() {
            self.cut_off.extend_from_slice(chunk);
            joined = mem::take(&mut self.cut_off);
            bytes = &joined;
        }
        while !bytes.is_empty() {
            let (valid, invalid_len) = match str::from_utf8(bytes) {
                Ok(valid) => (valid, 0),
                Err(error) => {
                    let (valid, _) = bytes.split_at(error.valid_up_to());
                    // This cannot fail: `valid` ends where the valid part ends.
                    (str::from_utf8(valid).unwrap_or_default(), error.error_len().unwrap_or(0))
                }
            };
            // No error length means that only the end is missing: the next chunk may bring it.
            let is_cut_off = invalid_len == 0;
            let (_, rest) = bytes.split_at(valid.len());
            let (invalid, after) = rest.split_at(invalid_len);
            let held_back = if is_cut_off && rest.is_empty() && valid.ends_with('\r') { 1 } else { 0 };
            escape_controls(&valid[..valid.len() - held_back], &mut text);
            for &byte in invalid {
                escape_byte(byte, &mut text);
            }
            if is_cut_off {
                self.cut_off.extend_from_slice(&bytes[valid.len() - held_back..]);
                return text;
            }
            bytes = after;
        }
        text
    }

    /// No more bytes follow: returns what was held back, as escapes.
    pub(crate) fn finish(&mut self) -> String {
        let mut text = String::new();
        match mem::take(&mut self.cut_off).as_slice() {
            b"\r" => text.push_str("\\r"),
            bytes => bytes.iter().for_each(|&byte| escape_byte(byte, &mut text)),
        }
        text
    }
}

/// The text without line breaks: `\n` and `\r` inside it become escapes. Other control characters stay.
pub(crate) fn one_line(text: &str) -> String {
    text.replace('\r', "\\r").replace('\n', "\\n")
}

/// A short text of a server as a part of a line that a terminal shows.
pub(crate) fn shown_in_line(bytes: &[u8]) -> String {
    let mut escaper = Escaper::default();
    let text = escaper.escape(bytes) + &escaper.finish();
    one_line(&text)
}

fn escape_controls(valid: &str, text: &mut String) {
    let mut chars = valid.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\n' | '\t' => text.push(c),
            '\r' if chars.peek() == Some(&'\n') => {}
            '\r' => text.push_str("\\r"),
            c if c.is_ascii_control() => escape_byte(c as u8, text),
            // U+0080 to U+009F: some terminals obey these too.
            c if c.is_control() => text.extend(c.escape_unicode()),
            // Separators, which end a line in some terminals; embeddings, overrides and isolates, which reorder the
            // text after them. `telnet::lines::printable` replaces the same ones.
            '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => text.extend(c.escape_unicode()),
            c => text.push(c),
        }
    }
}

fn escape_byte(byte: u8, text: &mut String) {
    // Writing to a string cannot fail.
    let _ = write!(text, "\\x{byte:02x}");
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(chunks: &[&[u8]]) -> String {
        let mut escaper = Escaper::default();
        let mut text: String = chunks.iter().map(|chunk| escaper.escape(chunk)).collect();
        text += &escaper.finish();
        text
    }

    #[test]
    fn control_characters_become_escapes() {
        let table: &[(&str, &[u8], &str)] = &[
            ("text", "¡Bienvenido! ñandú €\n".as_bytes(), "¡Bienvenido! ñandú €\n"),
            ("line breaks", b"a\r\nb\nc\r\n", "a\nb\nc\n"),
            ("a lone carriage return", b"ab\rc\r\r\nd\r", "ab\\rc\\r\nd\\r"),
            ("a tab", b"a\tb", "a\tb"),
            ("a colour", b"\x1b[31mred", "\\x1b[31mred"),
            ("bell, delete and NUL", b"\x07\x7f\x00", "\\x07\\x7f\\x00"),
            ("C1 controls", "\u{9b}2J".as_bytes(), "\\u{9b}2J"),
            ("an override of direction", "a\u{202e}b\u{202c}".as_bytes(), "a\\u{202e}b\\u{202c}"),
            ("isolates and a separator", "\u{2066}a\u{2069}\u{2028}".as_bytes(), "\\u{2066}a\\u{2069}\\u{2028}"),
            ("right-to-left letters and their marks", "\u{200f}שלום\u{61c}".as_bytes(), "\u{200f}שלום\u{61c}"),
            ("telnet's IAC DO TIMING-MARK", b"\xff\xfd\x06x", "\\xff\\xfd\\x06x"),
            ("a character cut off by others", b"\xe2\x82x", "\\xe2\\x82x"),
            ("a character cut off by the end", b"x\xe2\x82", "x\\xe2\\x82"),
        ];
        for (name, bytes, want) in table {
            assert_eq!(escaped(&[bytes]), *want, "{name}");
        }
    }

    #[test]
    fn a_message_becomes_one_line() {
        let table =
            [("hola", "hola"), ("a\nb\r\nc\rd\n", "a\\nb\\r\\nc\\rd\\n"), ("\x1b[31m\tred", "\x1b[31m\tred"), ("", "")];
        for (text, want) in table {
            assert_eq!(one_line(text), want, "{text:?}");
        }
        assert_eq!(shown_in_line(b"a\n\x1b\xff\r"), "a\\n\\x1b\\xff\\r");
    }

    #[test]
    fn the_result_does_not_depend_on_the_reads() {
        let bytes = b"a\r\n\xc3\xb1\xe2\x82\xac\r\xf0\x9f\x98\x80\xf0\x9f\x1b\r\n\xff\xe2\x82";
        let whole = escaped(&[bytes]);
        for i in 0..=bytes.len() {
            for j in i..=bytes.len() {
                assert_eq!(escaped(&[&bytes[..i], &bytes[i..j], &bytes[j..]]), whole, "cut at {i} and {j}");
            }
        }
    }

    #[test]
    fn at_most_three_bytes_are_held_back() {
        let mut escaper = Escaper::default();
        for _ in 0..10 {
            escaper.escape(b"\xf0\x9f\x98");
            assert!(escaper.cut_off.len() <= 3);
        }
    }
}
