//! What the server says, on a terminal where somebody may be typing.
//!
//! The terminal itself edits the line that is being typed and shows it; the program hears of it with the Enter key. So
//! the text from the server is put in *above* the row with the prompt, whatever is on it, and the cursor stays where it
//! is in what is being typed:
//!
//! ```text
//!   > hel▁                 eva: ¿qué tal?
//!                   ──▶    > hel▁
//! ```
//!
//! Only whole rows can be put in. A line that comes in pieces waits a moment for the rest, see [`Screen::settle`], and then
//! gets a row of its own as it is, and so does the rest. A typed line longer than a row is torn apart on the screen by what
//! is put in; what is sent is what was typed.
//!
//! Nothing a server sends may do anything to the terminal but show text: [`Escaper`] sees to that.

use std::fmt::Write;
use std::mem;

/// What stands before what is typed.
const PROMPT: &str = "> ";

/// A line from which on it is shown without its end. Far more than a terminal has room for, and a bound for memory.
const LINE_LIMIT: usize = 4096;

/// Where the text goes above the prompt.
#[derive(Default)]
pub(crate) struct Screen {
    is_prompting: bool,
    /// The end of what has come, of which no line break has come yet. Empty without a prompt.
    unfinished: String,
}

impl Screen {
    /// The prompt, for the beginning and after each line that was typed.
    pub(crate) fn prompt(&mut self) -> &'static str {
        self.is_prompting = true;
        PROMPT
    }

    /// Shows text that holds no control characters but line breaks and tabs.
    pub(crate) fn show(&mut self, text: &str, columns: usize) -> String {
        if !self.is_prompting {
            return text.to_owned();
        }
        self.unfinished.push_str(text);
        let mut shown = String::new();
        while let Some(end) = self.unfinished.find('\n') {
            let rest = self.unfinished.split_off(end + 1);
            let line = mem::replace(&mut self.unfinished, rest);
            put_above(&line[..end], columns, &mut shown);
        }
        if self.unfinished.len() > LINE_LIMIT {
            shown += &self.settle(columns);
        }
        shown
    }

    /// Whether the end of a line is awaited.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.unfinished.is_empty()
    }

    /// The end of the line has not come: shows what there is of it.
    pub(crate) fn settle(&mut self, columns: usize) -> String {
        let mut shown = String::new();
        if self.is_waiting() {
            put_above(&mem::take(&mut self.unfinished), columns, &mut shown);
        }
        shown
    }

    /// Takes the prompt away for good. What comes later is shown where the cursor is.
    pub(crate) fn leave(&mut self, columns: usize) -> String {
        let mut shown = self.settle(columns);
        if mem::take(&mut self.is_prompting) {
            shown += "\r\x1b[K";
        }
        shown
    }
}

/// Puts a line above the row with the cursor, in as many rows as it needs.
fn put_above(line: &str, columns: usize, shown: &mut String) {
    let mut rest = line;
    loop {
        let row;
        (row, rest) = rest.split_at(row_len(rest, columns));
        // A row down and up again: on the last row this scrolls, so that there is one below. Then remember the place,
        // insert an empty row in it, which moves the prompt's row down, write, and go back, one row down.
        shown.push_str("\x1bD\x1b[A\x1b7\r\x1b[L");
        shown.push_str(row);
        shown.push_str("\x1b8\x1b[B");
        if rest.is_empty() {
            return;
        }
    }
}

/// How many bytes of `text` fit in a row for sure. Whatever is not ASCII is taken to be two columns wide, which most of
/// it is not: rows break early then, and the prompt is never written over.
fn row_len(text: &str, columns: usize) -> usize {
    let mut width = 0;
    for (i, c) in text.char_indices() {
        width += match c {
            '\t' => 8,
            c if c.is_ascii() => 1,
            _ => 2,
        };
        if width > columns && i > 0 {
            return i;
        }
    }
    text.len()
}

/// Bytes to text that is safe to show: UTF-8 as it is, cut anywhere; control characters and what is not UTF-8 as `\x1b`.
///
/// `\r\n` becomes a line break, as `\n` is one; a tab stays.
#[derive(Default)]
pub(crate) struct Escaper {
    /// The beginning of a character, or a `\r` of which it is not known what follows. At most 3 bytes.
    cut_off: Vec<u8>,
}

impl Escaper {
    /// Takes in `chunk` and answers with all of it that is complete.
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
                    // It cannot fail: it is as long as it is valid.
                    (str::from_utf8(valid).unwrap_or_default(), error.error_len().unwrap_or(0))
                }
            };
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

    /// Nothing follows: what was held back is shown as the bytes it is.
    pub(crate) fn finish(&mut self) -> String {
        let mut text = String::new();
        match mem::take(&mut self.cut_off).as_slice() {
            b"\r" => text.push_str("\\r"),
            bytes => bytes.iter().for_each(|&byte| escape_byte(byte, &mut text)),
        }
        text
    }
}

fn escape_controls(valid: &str, text: &mut String) {
    let mut chars = valid.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\n' | '\t' => text.push(c),
            '\r' if chars.peek() == Some(&'\n') => {}
            '\r' => text.push_str("\\r"),
            c if c.is_ascii_control() => escape_byte(c as u8, text),
            // U+0080 to U+009F: some terminals obey these as well.
            c if c.is_control() => text.extend(c.escape_unicode()),
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
    fn only_text_is_left() {
        let table: &[(&str, &[u8], &str)] = &[
            ("text", "¡Bienvenido! ñandú €\n".as_bytes(), "¡Bienvenido! ñandú €\n"),
            ("line breaks", b"a\r\nb\nc\r\n", "a\nb\nc\n"),
            ("a lone carriage return", b"ab\rc\r\r\nd\r", "ab\\rc\\r\nd\\r"),
            ("a tab", b"a\tb", "a\tb"),
            ("a colour", b"\x1b[31mred", "\\x1b[31mred"),
            ("bell, delete and NUL", b"\x07\x7f\x00", "\\x07\\x7f\\x00"),
            ("C1 controls", "\u{9b}2J".as_bytes(), "\\u{9b}2J"),
            ("telnet's IAC DO TIMING-MARK", b"\xff\xfd\x06x", "\\xff\\xfd\\x06x"),
            ("a character cut off by others", b"\xe2\x82x", "\\xe2\\x82x"),
            ("a character cut off by the end", b"x\xe2\x82", "x\\xe2\\x82"),
        ];
        for (name, bytes, want) in table {
            assert_eq!(escaped(&[bytes]), *want, "{name}");
        }
    }

    #[test]
    fn where_the_reads_fall_does_not_matter() {
        let bytes = b"a\r\n\xc3\xb1\xe2\x82\xac\r\xf0\x9f\x98\x80\xf0\x9f\x1b\r\n\xff\xe2\x82";
        let whole = escaped(&[bytes]);
        for i in 0..=bytes.len() {
            for j in i..=bytes.len() {
                assert_eq!(escaped(&[&bytes[..i], &bytes[i..j], &bytes[j..]]), whole, "cut at {i} and {j}");
            }
        }
    }

    #[test]
    fn little_is_held_back() {
        let mut escaper = Escaper::default();
        for _ in 0..10 {
            escaper.escape(b"\xf0\x9f\x98");
            assert!(escaper.cut_off.len() <= 3);
        }
    }

    /// The rows that were put in, without what puts them there.
    fn rows(shown: &str) -> Vec<String> {
        shown
            .split("\x1b[L")
            .skip(1)
            .map(|row| row.replace("\x1b8\x1b[B", "").replace("\x1bD\x1b[A\x1b7\r", ""))
            .collect()
    }

    #[test]
    fn whole_lines_go_above_the_prompt() {
        let mut screen = Screen::default();
        assert_eq!(screen.show("before", 80), "before");
        assert_eq!(screen.prompt(), "> ");
        assert_eq!(rows(&screen.show("one\n\ntwo\nth", 80)), ["one", "", "two"]);
        assert!(screen.is_waiting());
        assert_eq!(rows(&screen.show("ree\n", 80)), ["three"]);
        assert!(!screen.is_waiting());
        screen.show("four", 80);
        assert_eq!(rows(&screen.settle(80)), ["four"]);
        assert_eq!(screen.settle(80), "");
        screen.show("five", 80);
        let last = screen.leave(80);
        assert!(last.ends_with("\r\x1b[K") && rows(last.trim_end_matches("\r\x1b[K")) == ["five"]);
        assert_eq!((screen.show("after", 80), screen.leave(80)), ("after".into(), String::new()));
    }

    #[test]
    fn a_row_is_never_wider_than_the_terminal() {
        let table: &[(&str, usize, &[&str])] = &[
            ("abcdef", 3, &["abc", "def"]),
            ("abcd", 4, &["abcd"]),
            ("añb€", 3, &["añ", "b€"]),
            ("日本", 1, &["日", "本"]),
            ("a\tb", 9, &["a\t", "b"]),
        ];
        for (line, columns, want) in table {
            let mut shown = String::new();
            put_above(line, *columns, &mut shown);
            assert_eq!(rows(&shown), *want, "{line:?}");
        }
    }

    #[test]
    fn a_line_without_end_is_shown_all_the_same() {
        let mut screen = Screen::default();
        screen.prompt();
        assert!(!screen.show(&"x".repeat(LINE_LIMIT + 1), 80).is_empty());
        assert!(!screen.is_waiting());
    }
}
