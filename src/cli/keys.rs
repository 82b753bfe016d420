//! Turns bytes from a terminal into keys.
//!
//! A terminal sends text as UTF-8, a few keys as control characters, and the others as sequences that begin with
//! escape. A read may end anywhere inside any of them:
//!
//! ```text
//!   reads   "ho" | "l\xc3" | "\xa1\x1b[" | "D\r"
//!   keys     h o    l          ¡            Left Enter
//! ```
//!
//! Sequences are read to their end as ECMA-48 defines them (`ESC [`, parameters, a final byte), whether this module
//! knows the key or not: so no part of an unknown key becomes text. A lone escape is not a key. If the next byte does
//! not make a sequence with it, the escape is ignored. So no timeout is needed to tell them apart.
//!
//! At most [`LONGEST_SEQUENCE`] bytes of an unfinished sequence are kept.

use std::{mem, str};

/// How many bytes of a sequence are kept. Keys need six; the rest of a longer sequence is read and dropped.
const LONGEST_SEQUENCE: usize = 16;

/// A key that the editor knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Key {
    /// A character that is not a control character; tab is included.
    Char(char),
    Enter,
    /// Ctrl-D: the end of the input if the line is empty, otherwise Delete.
    End,
    Backspace,
    Delete,
    Left,
    Right,
    WordLeft,
    WordRight,
    ToStart,
    ToEnd,
    Up,
    Down,
    KillToStart,
    KillToEnd,
    KillWord,
    Redraw,
    /// Ctrl-R: search in the history.
    Search,
    /// Ctrl-G: leave the search.
    Cancel,
}

/// Assembles keys from bytes.
#[derive(Default)]
pub(crate) struct Keys {
    unfinished: Unfinished,
}

/// A key that has not arrived completely: its first bytes.
#[derive(Default)]
enum Unfinished {
    #[default]
    Nothing,
    /// The beginning of a multi-byte character.
    Char(Vec<u8>),
    /// After `ESC`.
    Escape,
    /// After `ESC [`: the parameters so far.
    Sequence(Vec<u8>),
    /// After `ESC O`.
    SingleShift,
    /// After `ESC [ [`: a function key of the Linux console, which has one more byte.
    Console,
}

impl Keys {
    /// Takes in `bytes` and hands each complete key to `emit`.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut emit: impl FnMut(Key)) {
        for &byte in bytes {
            self.take(byte, &mut emit);
        }
    }

    fn take(&mut self, byte: u8, emit: &mut impl FnMut(Key)) {
        let unfinished = mem::take(&mut self.unfinished);
        // A control character counts even inside a sequence or character: a broken sequence must not swallow an Enter.
        let is_first = matches!(unfinished, Unfinished::Nothing)
            || byte.is_ascii_control() && !matches!(unfinished, Unfinished::Escape);
        if is_first {
            if let Unfinished::Char(_) = unfinished {
                emit(Key::Char(char::REPLACEMENT_CHARACTER));
            }
            return self.start(byte, emit);
        }
        match unfinished {
            Unfinished::Nothing => {}
            Unfinished::Char(bytes) => self.continue_char(bytes, byte, emit),
            Unfinished::Escape => match byte {
                b'[' => self.unfinished = Unfinished::Sequence(Vec::new()),
                b'O' => self.unfinished = Unfinished::SingleShift,
                b'b' => emit(Key::WordLeft),
                b'f' => emit(Key::WordRight),
                0x08 | 0x7f => emit(Key::KillWord),
                byte => self.start(byte, emit),
            },
            Unfinished::Sequence(parameters) => match byte {
                b'[' if parameters.is_empty() => self.unfinished = Unfinished::Console,
                0x40..=0x7e => sequence(&parameters, byte).into_iter().for_each(emit),
                0x20..=0x3f => self.unfinished = Unfinished::Sequence(kept(parameters, byte)),
                // This byte cannot be part of a sequence.
                byte => self.start(byte, emit),
            },
            Unfinished::SingleShift => sequence(b"", byte).into_iter().for_each(emit),
            Unfinished::Console => {}
        }
    }

    /// The first byte of a key.
    fn start(&mut self, byte: u8, emit: &mut impl FnMut(Key)) {
        match byte {
            0x1b => self.unfinished = Unfinished::Escape,
            0x80.. => self.continue_char(Vec::new(), byte, emit),
            byte => control(byte).into_iter().for_each(emit),
        }
    }

    /// The next byte of a multi-byte character.
    fn continue_char(&mut self, mut bytes: Vec<u8>, byte: u8, emit: &mut impl FnMut(Key)) {
        bytes.push(byte);
        match str::from_utf8(&bytes) {
            // U+0080 to U+009F control some terminals, and no key types them.
            Ok(text) => text.chars().filter(|c| !c.is_control()).map(Key::Char).for_each(emit),
            Err(error) if error.error_len().is_none() => self.unfinished = Unfinished::Char(bytes),
            Err(_) => {
                emit(Key::Char(char::REPLACEMENT_CHARACTER));
                // The byte that does not fit may begin another key. If it was the first one, it cannot: it is no valid
                // beginning.
                if bytes.len() > 1 {
                    self.start(byte, emit);
                }
            }
        }
    }
}

/// The text in `bytes`, without other keys. For a line that the terminal has edited.
pub(crate) fn text_of(bytes: &[u8]) -> String {
    let mut text = String::new();
    Keys::default().feed(bytes, |key| {
        if let Key::Char(c) = key {
            text.push(c)
        }
    });
    text
}

/// Appends a byte to the parameters, up to [`LONGEST_SEQUENCE`].
fn kept(mut parameters: Vec<u8>, byte: u8) -> Vec<u8> {
    if parameters.len() < LONGEST_SEQUENCE {
        parameters.push(byte);
    }
    parameters
}

/// The key of one byte below 128. The Ctrl keys are those of Emacs, which shells use too.
fn control(byte: u8) -> Option<Key> {
    let ctrl = |letter: u8| letter & 0x1f;
    Some(match byte {
        b'\t' | b' '..=b'~' => Key::Char(byte.into()),
        b'\r' | b'\n' => Key::Enter,
        0x08 | 0x7f => Key::Backspace,
        byte if byte == ctrl(b'A') => Key::ToStart,
        byte if byte == ctrl(b'B') => Key::Left,
        byte if byte == ctrl(b'D') => Key::End,
        byte if byte == ctrl(b'E') => Key::ToEnd,
        byte if byte == ctrl(b'F') => Key::Right,
        byte if byte == ctrl(b'G') => Key::Cancel,
        byte if byte == ctrl(b'K') => Key::KillToEnd,
        byte if byte == ctrl(b'L') => Key::Redraw,
        byte if byte == ctrl(b'N') => Key::Down,
        byte if byte == ctrl(b'P') => Key::Up,
        byte if byte == ctrl(b'R') => Key::Search,
        byte if byte == ctrl(b'U') => Key::KillToStart,
        byte if byte == ctrl(b'W') => Key::KillWord,
        _ => return None,
    })
}

/// The key of a sequence with these parameters and this last byte, as xterm, rxvt, tmux, screen and the Linux console
/// send it. The second parameter encodes the modifier keys. From 3 on it includes Ctrl or Alt, with which the arrows
/// move by words.
fn sequence(parameters: &[u8], last: u8) -> Option<Key> {
    let mut numbers = parameters.split(|&byte| byte == b';');
    let first = numbers.next().unwrap_or_default();
    let by_word = matches!(numbers.next(), Some([b'3'..=b'8']));
    Some(match (first, last) {
        (_, b'A') => Key::Up,
        (_, b'B') => Key::Down,
        (_, b'C') if by_word => Key::WordRight,
        (_, b'D') if by_word => Key::WordLeft,
        (_, b'C') => Key::Right,
        (_, b'D') => Key::Left,
        (_, b'H') | (b"1" | b"7", b'~') => Key::ToStart,
        (_, b'F') | (b"4" | b"8", b'~') => Key::ToEnd,
        (b"3", b'~') => Key::Delete,
        // rxvt's arrows with Ctrl.
        (b"", b'c') => Key::WordRight,
        (b"", b'd') => Key::WordLeft,
        _ => return None,
    })
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests {
    use super::*;

    fn keys(chunks: &[&[u8]]) -> Vec<Key> {
        let (mut keys, mut all) = (Keys::default(), Vec::new());
        for chunk in chunks {
            keys.feed(chunk, |key| all.push(key));
        }
        all
    }

    #[test]
    fn each_key_is_recognized_as_terminals_send_it() {
        use Key::*;
        let table: &[(&str, &[u8], &[Key])] = &[
            ("text", "aé€😀".as_bytes(), &[Char('a'), Char('é'), Char('€'), Char('😀')]),
            ("a combining mark", "e\u{301}".as_bytes(), &[Char('e'), Char('\u{301}')]),
            ("a tab", b"\t", &[Char('\t')]),
            ("Enter, both ways", b"\r\n", &[Enter, Enter]),
            ("Ctrl-D", b"\x04", &[End]),
            ("Backspace, both ways", b"\x7f\x08", &[Backspace, Backspace]),
            ("Emacs's movements", b"\x01\x02\x05\x06\x10\x0e", &[ToStart, Left, ToEnd, Right, Up, Down]),
            ("Emacs's deletions", b"\x0b\x15\x17", &[KillToEnd, KillToStart, KillWord]),
            ("Ctrl-L", b"\x0c", &[Redraw]),
            ("Ctrl-R, Ctrl-G", b"\x12\x07", &[Search, Cancel]),
            ("xterm's arrows", b"\x1b[A\x1b[B\x1b[C\x1b[D", &[Up, Down, Right, Left]),
            ("in application mode", b"\x1bOA\x1bOB\x1bOC\x1bOD\x1bOH\x1bOF", &[Up, Down, Right, Left, ToStart, ToEnd]),
            ("xterm's Home and End", b"\x1b[H\x1b[F", &[ToStart, ToEnd]),
            ("tmux's Home and End", b"\x1b[1~\x1b[4~", &[ToStart, ToEnd]),
            ("rxvt's Home and End", b"\x1b[7~\x1b[8~", &[ToStart, ToEnd]),
            ("Delete", b"\x1b[3~", &[Delete]),
            ("Ctrl-Left, Ctrl-Right", b"\x1b[1;5D\x1b[1;5C", &[WordLeft, WordRight]),
            ("Alt-Left, Alt-Right", b"\x1b[1;3D\x1b[1;3C", &[WordLeft, WordRight]),
            ("Shift-Left", b"\x1b[1;2D", &[Left]),
            ("rxvt's Ctrl-Left, Ctrl-Right", b"\x1bOd\x1bOc", &[WordLeft, WordRight]),
            ("Alt-b, Alt-f, Alt-Backspace", b"\x1bb\x1bf\x1b\x7f", &[WordLeft, WordRight, KillWord]),
        ];
        for (name, bytes, want) in table {
            assert_eq!(keys(&[bytes]), *want, "{name}");
        }
    }

    #[test]
    fn unknown_sequences_are_dropped_whole() {
        use Key::*;
        let table: &[(&str, &[u8], &[Key])] = &[
            ("Insert, page up, F5", b"\x1b[2~\x1b[5~\x1b[15~x", &[Char('x')]),
            ("F1, xterm's and the console's", b"\x1bOP\x1b[[Ax", &[Char('x')]),
            ("a report of the cursor position", b"\x1b[12;40Rx", &[Char('x')]),
            ("marks around pasted text", b"\x1b[200~x\x1b[201~", &[Char('x')]),
            ("a very long sequence", &[b"\x1b[", &[b'1'; 1000][..], b"~x"].concat(), &[Char('x')]),
            ("other control characters", b"\x00\x03\x1a\x1c\x1fx", &[Char('x')]),
            ("C1 controls", "\u{9b}Ax".as_bytes(), &[Char('A'), Char('x')]),
            ("an escape and a letter", b"\x1bx", &[Char('x')]),
            ("two escapes and a key", b"\x1b\x1b[D", &[Left]),
            ("an escape and Enter", b"\x1b\r", &[Enter]),
            ("a sequence that Enter interrupts", b"\x1b[1\rx", &[Enter, Char('x')]),
            ("a sequence that another interrupts", b"\x1b[1\x1b[D", &[Left]),
            ("a character in a sequence", "\x1b[é".as_bytes(), &[Char('é')]),
        ];
        for (name, bytes, want) in table {
            assert_eq!(keys(&[bytes]), *want, "{name}");
        }
    }

    #[test]
    fn invalid_utf_8_becomes_replacement_characters() {
        use Key::*;
        const REPLACED: Key = Char(char::REPLACEMENT_CHARACTER);
        let table: &[(&str, &[u8], &[Key])] = &[
            ("Latin-1", b"a\xf1o", &[Char('a'), REPLACED, Char('o')]),
            ("a character cut off by a letter", b"\xe2\x82x", &[REPLACED, Char('x')]),
            ("by another", b"\xe2\x82\xc3\xa9", &[REPLACED, Char('é')]),
            ("by Enter", b"\xe2\x82\r", &[REPLACED, Enter]),
            ("by a key", b"\xe2\x82\x1b[D", &[REPLACED, Left]),
            ("bytes that begin no character", b"\x80\xff", &[REPLACED, REPLACED]),
        ];
        for (name, bytes, want) in table {
            assert_eq!(keys(&[bytes]), *want, "{name}");
        }
    }

    #[test]
    fn the_keys_do_not_depend_on_the_reads() {
        let bytes = b"a\xc3\xb1\x1b[1;5D\xe2\x82\xac\x1bOA\xf0\x9f\x98\x80\x1b[3~\xe2\x82\x1b\x1b[[Bb\x1bf\xff\r";
        let whole = keys(&[bytes]);
        for i in 0..=bytes.len() {
            for j in i..=bytes.len() {
                assert_eq!(keys(&[&bytes[..i], &bytes[i..j], &bytes[j..]]), whole, "cut at {i} and {j}");
            }
        }
    }
}
