//! Edits an unfinished line, and shows it on the client's screen.
//!
//! Most clients send whole lines: the terminal or the client itself has edited them. Others send each key as it is
//! typed, and a mistake and its correction with it: BusyBox's telnet while a password is hidden, the telnet of Windows,
//! many MUD clients, a terminal in raw mode. For these the server removes what the user has erased:
//!
//! | key | bytes | erases |
//! |---|---|---|
//! | Backspace, Delete | `08`, `7f`, IAC EC (RFC 854) | the last character, all its bytes |
//! | Ctrl-W | `17` | the last word, and the blanks behind it |
//! | Ctrl-U | `15`, IAC EL (RFC 854) | the line |
//!
//! ```text
//!   received   s e k 7f c r e t \r \0
//!   line       s se sek se sec … secret
//! ```
//!
//! These are the keys of a Unix terminal (termios(3): ERASE, WERASE, KILL), and on an empty line they do nothing, as
//! there. A character is what [`String::from_utf8_lossy`] makes one of: bytes that are not UTF-8 are erased one by one,
//! but for the beginning of a character that was cut off.
//!
//! A [`Screen`] makes the echo, if the server shows what is typed: less than ten bytes for each received one. Erased
//! columns are overwritten: backspace, space, backspace. Text after the end of the screen's row cannot be reached that
//! way; this is as in a Unix terminal.

use super::codec::command;
use super::columns::{columns, visible};

/// What a key erases.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Key {
    Character,
    Word,
    Line,
}

impl Key {
    pub fn of_byte(byte: u8) -> Option<Key> {
        match byte {
            0x08 | 0x7f => Some(Key::Character),
            0x15 => Some(Key::Line),
            0x17 => Some(Key::Word),
            _ => None,
        }
    }

    /// The telnet commands for keys.
    pub fn of_command(command: u8) -> Option<Key> {
        match command {
            command::EC => Some(Key::Character),
            command::EL => Some(Key::Line),
            _ => None,
        }
    }

    /// How many bytes of `line` are left after this key.
    pub fn remaining(self, line: &[u8]) -> usize {
        match self {
            Key::Character => line.len() - last_character(line).len(),
            Key::Word => {
                let end = line.iter().rposition(|byte| !is_blank(*byte)).map_or(0, |at| at + 1);
                line[..end].iter().rposition(|byte| is_blank(*byte)).map_or(0, |at| at + 1)
            }
            Key::Line => 0,
        }
    }
}

/// A change of the unfinished line.
#[derive(Debug)]
pub(super) enum Change<'a> {
    /// `line` is longer than the `before` bytes that it had.
    Typed { line: &'a [u8], before: usize },
    /// A key erases all of `line` but the first `remaining` bytes.
    Erased { line: &'a [u8], remaining: usize },
    /// `line`, which had `before` bytes, is complete. It is without its line break.
    Ended { line: &'a [u8], before: usize },
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// The last character, which may be incomplete; one byte if it is not UTF-8.
fn last_character(line: &[u8]) -> &[u8] {
    let continues = |byte: &&u8| (0x80..0xc0).contains(*byte);
    let continuation = line.iter().rev().take(3).take_while(continues).count();
    let first = line.len().saturating_sub(continuation + 1);
    let last = &line[first..];
    let is_one = match std::str::from_utf8(last) {
        Ok(text) => text.chars().count() == 1,
        Err(error) => error.valid_up_to() == 0 && error.error_len().is_none(),
    };
    if is_one { last } else { &line[line.len().saturating_sub(1)..] }
}

/// The place of the first key in `data`.
pub(super) fn next_key(data: &[u8]) -> Option<usize> {
    // Nearly all data has no key. A block without an early exit is compared with vector instructions.
    const BLOCK: usize = 128;
    let is_key = |byte: u8| (byte == 0x08) | (byte == 0x7f) | (byte == 0x15) | (byte == 0x17);
    let has_key = |block: &[u8]| block.iter().fold(false, |found, byte| found | is_key(*byte));
    let block = data.chunks(BLOCK).position(has_key)?;
    let at = data[block * BLOCK..].iter().position(|byte| Key::of_byte(*byte).is_some())?;
    Some(block * BLOCK + at)
}

/// More erased columns than this are not overwritten: a new row begins. No row of a screen is as long.
const LONGEST_ROW: usize = 4096;

/// How many characters without a column of their own are shown again when one of them is erased. Real characters have
/// less. In a longer row of them, an erased one stays on the screen, which only its author sees.
const MOST_MARKS: usize = 16;

/// The byte of Ctrl-D. Alone on a line it means the end, and is not shown.
pub(super) const CTRL_D: u8 = 0x04;

/// What a client's screen shows of the unfinished line.
///
/// ```text
///   the line   s e c r e t a b c d c3
///              └─ hidden ─┘└ shown ┘└─ the beginning of a character: not shown yet
/// ```
#[derive(Debug)]
pub(super) struct Screen {
    /// That many bytes at the beginning are not on the screen, or were put there by the client: they are not erased.
    hidden: u32,
    /// That many bytes are done with: hidden, or on the screen.
    shown: u32,
}

impl Screen {
    /// The line may be unfinished already when the screen is made; the first change tells how long it is.
    const UNKNOWN: u32 = u32::MAX;

    pub fn new() -> Screen {
        Screen { hidden: Screen::UNKNOWN, shown: 0 }
    }

    /// Appends to `out` what brings the screen up to date.
    pub fn update(&mut self, change: &Change<'_>, out: &mut Vec<u8>) {
        match *change {
            Change::Typed { line, before } => self.type_in(line, before, out),
            Change::Erased { line, remaining } => self.erase(line, remaining, out),
            Change::Ended { line, before } => self.end_line(line, before, out),
        }
    }

    /// Nothing of this change is shown.
    pub fn skip(&mut self, change: &Change<'_>) {
        match *change {
            Change::Typed { line, .. } => self.hide(line.len()),
            Change::Erased { remaining, .. } => self.hide(remaining),
            Change::Ended { .. } => self.hide(0),
        }
    }

    /// The line has this many bytes before a change. If this is the first one, they are not on the screen.
    fn start(&mut self, len: usize) {
        if self.hidden == Screen::UNKNOWN {
            self.hide(len);
        }
        // A handler that does not edit lines, to which the socket was upgraded for a while, has not updated the screen.
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        self.hidden = self.hidden.min(len);
        self.shown = self.shown.min(len);
    }

    /// Nothing of these first bytes of the line is shown.
    fn hide(&mut self, len: usize) {
        self.hidden = u32::try_from(len).unwrap_or(u32::MAX - 1);
        self.shown = self.hidden;
    }

    /// Shows the new characters.
    fn type_in(&mut self, line: &[u8], before: usize, out: &mut Vec<u8>) {
        self.start(before);
        if line == [CTRL_D] {
            return;
        }
        let new = &line[self.shown as usize..];
        let complete = new.len() - incomplete_end(new);
        show(&new[..complete], out);
        self.shown += complete as u32;
    }

    /// Removes the erased characters from the screen, as far as they are on it.
    fn erase(&mut self, line: &[u8], remaining: usize, out: &mut Vec<u8>) {
        self.start(line.len());
        let (hidden, shown) = (self.hidden as usize, self.shown as usize);
        self.hidden = hidden.min(remaining) as u32;
        self.shown = shown.min(remaining) as u32;
        let end = remaining.max(hidden);
        if end >= shown {
            return;
        }
        // What has no column is drawn on the character before, which is then erased too, and shown again.
        let mut begin = end;
        for _ in 0..MOST_MARKS {
            if begin == hidden || width(&line[begin..shown]) > 0 {
                break;
            }
            begin = Key::Character.remaining(&line[..begin]).max(hidden);
        }
        match width(&line[begin..shown]) {
            0 => {}
            columns if columns > LONGEST_ROW => {
                out.extend_from_slice(b"\r\n");
                self.hide(remaining);
            }
            columns => {
                out.extend_from_slice(&b"\x08 \x08".repeat(columns));
                show(&line[begin..end], out);
            }
        }
    }

    /// Shows the rest of the line and a line break.
    fn end_line(&mut self, line: &[u8], before: usize, out: &mut Vec<u8>) {
        self.start(before);
        show(&line[self.shown as usize..], out);
        out.extend_from_slice(b"\r\n");
        self.hide(0);
    }
}

/// The number of bytes at the end of `text` that are the beginning of a character.
fn incomplete_end(text: &[u8]) -> usize {
    let last = last_character(text);
    let is_begun = std::str::from_utf8(last).is_err_and(|error| error.error_len().is_none());
    if is_begun { last.len() } else { 0 }
}

/// Appends the characters of `text` as they are shown.
fn show(text: &[u8], out: &mut Vec<u8>) {
    let mut bytes = [0; 4];
    for c in String::from_utf8_lossy(text).chars() {
        out.extend_from_slice(as_shown(c).encode_utf8(&mut bytes).as_bytes());
    }
}

fn width(text: &[u8]) -> usize {
    String::from_utf8_lossy(text).chars().map(|c| columns(as_shown(c))).sum()
}

/// A tab is one space, so that it can be erased. What a terminal would execute is a picture; see
/// [`printable`](super::lines::printable).
fn as_shown(c: char) -> char {
    if c == '\t' { ' ' } else { visible(c) }
}

#[cfg(any(test, fuzzing))]
pub(crate) mod properties;
#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::properties::{Edited, edit, hold_for, hold_for_chunks};
    use super::*;
    use crate::telnet::lines::{LineTooLong, Lines};

    /// Name, what is received, the lines and the unfinished line, the rows of the screen.
    type Row = (&'static str, &'static [u8], &'static [&'static str], &'static [&'static str]);

    const TABLE: &[Row] = &[
        ("no key", b"hola\r\n", &["hola", ""], &["hola", ""]),
        ("backspace", b"hok\x08la\r\n", &["hola", ""], &["hola", ""]),
        ("delete", b"hok\x7fla\r\0", &["hola", ""], &["hola", ""]),
        ("several", b"hxyz\x7f\x08\x7fola\r", &["hola", ""], &["hola", ""]),
        ("more than there is", b"ab\x08\x08\x08\x7fhola\n", &["hola", ""], &["hola", ""]),
        ("on an empty line", b"\x08\x7f\x15\x17hola\r\n\x08\x15\x17\x7fx", &["hola", "x"], &["hola", "x"]),
        ("all of it", b"ab\x7f\x7f\r\n", &["", ""], &["", ""]),
        ("a line break is not erased", b"hola\r\n\x7f\x7fadios\r\n", &["hola", "adios", ""], &["hola", "adios", ""]),
        ("two bytes", "hoñ\x08la\r\n".as_bytes(), &["hola", ""], &["hola", ""]),
        ("three bytes", "ho€\x7fla\r\n".as_bytes(), &["hola", ""], &["hola", ""]),
        ("four bytes, two columns", "ho😀\x7fla\r\n".as_bytes(), &["hola", ""], &["hola", ""]),
        ("two columns each", "漢字字\x7fか\r\n".as_bytes(), &["漢字か", ""], &["漢字か", ""]),
        ("one of several", "ñandú\x08u\r\n".as_bytes(), &["ñandu", ""], &["ñandu", ""]),
        ("a mark on a letter", "cafe\u{301}\u{301}\x08s\r\n".as_bytes(), &["cafe\u{301}s", ""], &["cafe\u{301}s", ""]),
        ("a mark and its letter", "cafe\u{301}\x08\x08\r\n".as_bytes(), &["caf", ""], &["caf", ""]),
        ("a word", b"one two\x17three\r\n", &["one three", ""], &["one three", ""]),
        ("a word and blanks", b"one two \t \x17three\r\n", &["one three", ""], &["one three", ""]),
        ("the only word", b"one\x17two\r\n", &["two", ""], &["two", ""]),
        ("blanks only", b"  \x17two\r\n", &["two", ""], &["two", ""]),
        ("words of other letters", "¡adiós 漢字\x17ñ\r\n".as_bytes(), &["¡adiós ñ", ""], &["¡adiós ñ", ""]),
        ("the line", "one 漢字\x15two\r\n".as_bytes(), &["two", ""], &["two", ""]),
        ("a tab", b"a\tb\x08\x08c\r\n", &["ac", ""], &["ac", ""]),
        ("control characters are pictures", b"a\x1b[A\x07\x7f\r\n", &["a\x1b[A", ""], &["a␛[A", ""]),
        ("a key behind half a line break", b"a\r\x08\nb", &["a", "", "b"], &["a", "", "b"]),
        ("Ctrl-D alone is not shown", b"\x04", &["\x04"], &[""]),
        ("Ctrl-D elsewhere is", b"\x04a", &["\x04a"], &["␄a"]),
    ];

    #[test]
    fn keys_edit_the_line_and_the_screen_wherever_the_reads_fall() {
        for (name, input, lines, rows) in TABLE {
            let want = (lines.iter().map(|line| line.as_bytes().to_vec()).collect::<Vec<_>>(), rows);
            for i in 0..=input.len() {
                for j in i..=input.len() {
                    let Edited { mut lines, rest, screen } =
                        edit(Lines::LIMIT, &[&input[..i], &input[i..j], &input[j..]]);
                    lines.extend(rest);
                    assert_eq!(
                        (lines, &screen.iter().map(String::as_str).collect::<Vec<_>>()[..]),
                        (want.0.clone(), *want.1),
                        "{name}, cut at {i} and {j}"
                    );
                }
            }
        }
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_erased_as_they_are_shown() {
        // Name, the line, how many backspaces empty it.
        let table: &[(&str, &[u8], usize)] = &[
            ("Latin-1", b"adi\xf3s", 5),
            ("only continuations", b"\x80\x80\x80\x80\x80", 5),
            ("a continuation too many", b"\xe2\x82\xac\x80", 2),
            ("cut off after one byte", b"a\xe2", 2),
            ("cut off after two bytes", b"a\xe2\x82", 2),
            ("cut off after three bytes", b"a\xf0\x9f\x98", 2),
            ("cut off, and text behind", b"\xe2\x82a", 2),
            ("overlong", b"\xc0\x80", 2),
            ("a surrogate", b"\xed\xa0\x80", 3),
        ];
        for (name, line, count) in table {
            assert_eq!(String::from_utf8_lossy(line).chars().count(), *count, "{name}");
            let mut left = *line;
            for _ in 0..*count {
                assert!(!left.is_empty(), "{name}");
                left = &left[..Key::Character.remaining(left)];
            }
            assert_eq!(left, b"", "{name}");
        }
        assert_eq!(Key::Character.remaining(b""), 0);
        assert_eq!(Key::Word.remaining(b""), 0);
    }

    #[test]
    fn the_limit_of_a_line_counts_what_is_left_of_it() {
        let table: &[(&str, &[u8], bool)] = &[
            ("erased in time", b"123x\x7f4\n", true),
            ("erased and typed again and again", b"1234\x7f4\x7f4\x7f4\n", true),
            ("too long before it is erased", b"12345\x7f\n", false),
            ("too long, and a key behind", b"12345\n\x7f", false),
        ];
        for (name, input, fits) in table {
            for cut in 0..=input.len() {
                let got = edit(4, &[&input[..cut], &input[cut..]]);
                assert_eq!(got.rest.is_some(), *fits, "{name}, cut at {cut}");
                assert_eq!(got.lines, if *fits { vec![b"1234".to_vec()] } else { vec![] }, "{name}, cut at {cut}");
            }
        }
    }

    #[test]
    fn an_edited_line_that_is_empty_owns_no_heap() {
        let mut lines = Lines::default();
        for input in [&b"hola\x15"[..], b"a\x7f", b"one two\x17\x17", b"x\x08\x08"] {
            assert_eq!(lines.next_edited_line(&mut &input[..], &mut |_| {}), None);
            assert!(lines.is_idle(), "{}", input.escape_ascii());
        }
        let mut lines = Lines::with_limit(2);
        assert_eq!(lines.next_edited_line(&mut &b"123\x15"[..], &mut |_| {}), Some(Err(LineTooLong { limit: 2 })));
        assert_eq!(lines.next_edited_line(&mut &b"\x15"[..], &mut |_| {}), Some(Err(LineTooLong { limit: 2 })));
        assert_eq!(lines.next_edited_line(&mut &b""[..], &mut |_| {}), None, "an empty chunk ends a loop");
    }

    /// What was typed before this side showed it, or while a password was asked for, is not on the screen.
    #[test]
    fn only_what_was_shown_is_taken_from_the_screen() {
        let update = |screen: &mut Screen, change: Change<'_>| {
            let mut out = Vec::new();
            screen.update(&change, &mut out);
            String::from_utf8(out).expect("text")
        };
        let mut screen = Screen::new();
        assert_eq!(update(&mut screen, Change::Typed { line: b"abc", before: 2 }), "c");
        assert_eq!(update(&mut screen, Change::Erased { line: b"abc", remaining: 2 }), "\x08 \x08");
        assert_eq!(update(&mut screen, Change::Erased { line: b"ab", remaining: 1 }), "");
        assert_eq!(update(&mut screen, Change::Typed { line: b"ax", before: 1 }), "x");
        screen.skip(&Change::Typed { line: b"axy", before: 2 });
        assert_eq!(update(&mut screen, Change::Typed { line: b"axyz", before: 3 }), "z");
        assert_eq!(update(&mut screen, Change::Erased { line: b"axyz", remaining: 0 }), "\x08 \x08");
        assert_eq!(update(&mut screen, Change::Ended { line: b"hola", before: 0 }), "hola\r\n");
        // Half a character is shown when it is whole.
        assert_eq!(update(&mut screen, Change::Typed { line: b"\xc3", before: 0 }), "");
        assert_eq!(update(&mut screen, Change::Erased { line: b"\xc3", remaining: 0 }), "");
        assert_eq!(update(&mut screen, Change::Typed { line: b"\xc3", before: 0 }), "");
        assert_eq!(update(&mut screen, Change::Typed { line: b"\xc3\xb1", before: 1 }), "ñ");
        assert_eq!(update(&mut screen, Change::Ended { line: b"\xc3\xb1\xc3", before: 2 }), "\u{fffd}\r\n");
        let mut fresh = Screen::new();
        assert_eq!(update(&mut fresh, Change::Erased { line: b"abc", remaining: 1 }), "");
        assert_eq!(update(&mut Screen::new(), Change::Ended { line: b"abc", before: 1 }), "bc\r\n");
    }

    /// A row of marks costs no more than other text, neither time nor output.
    #[test]
    fn an_erased_mark_in_a_long_row_of_marks_sends_nothing() {
        let line = "e".to_owned() + &"\u{301}".repeat(30_000);
        let (mut screen, mut out) = (Screen::new(), Vec::new());
        screen.update(&Change::Typed { line: line.as_bytes(), before: 0 }, &mut out);
        assert_eq!(out, line.as_bytes());
        out.clear();
        for len in (1000..line.len()).rev().step_by(2) {
            screen.update(&Change::Erased { line: &line.as_bytes()[..len + 1], remaining: len - 1 }, &mut out);
        }
        assert_eq!(out, b"");
    }

    #[test]
    fn an_erased_row_that_is_very_long_is_left_behind() {
        let line = vec![b'x'; Lines::LIMIT];
        let (mut screen, mut out) = (Screen::new(), Vec::new());
        screen.update(&Change::Typed { line: &line, before: 0 }, &mut out);
        out.clear();
        screen.update(&Change::Erased { line: &line, remaining: 0 }, &mut out);
        assert_eq!(out, b"\r\n");
    }

    #[test]
    fn the_first_key_is_found_at_any_place() {
        for len in 0..300 {
            let mut data = vec![b'x'; len];
            assert_eq!(next_key(&data), None);
            for at in 0..len {
                for key in [0x08, 0x7f, 0x15, 0x17] {
                    data[at] = key;
                    assert_eq!(next_key(&data), Some(at), "{len} bytes");
                }
                data[at] = b'\x14';
            }
        }
    }

    fn typed_byte() -> impl Strategy<Value = u8> {
        prop::sample::select(&b"\r\n\0ab \t\x04\x08\x08\x7f\x15\x17\xc3\xb1\xe2\x82\xac\xf0\x9f\x98\x80\x1b"[..])
    }

    proptest! {
        #[test]
        fn edits_as_the_plain_version_does(input in prop::collection::vec(typed_byte(), 0..60)) {
            hold_for(&input);
        }

        #[test]
        fn the_screen_looks_like_the_line(
            text in "[\r\n a-c\t\x08\x7f\x15\x17\x1bñ€漢😀]{0,40}",
            cuts in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        ) {
            let bytes = text.as_bytes();
            let (i, j) = (cuts.0.index(bytes.len() + 1), cuts.1.index(bytes.len() + 1));
            let (i, j) = (i.min(j), i.max(j));
            hold_for_chunks(Lines::LIMIT, &[&bytes[..i], &bytes[i..j], &bytes[j..]], format_args!("cut at {i} and {j}"));
        }
    }
}
