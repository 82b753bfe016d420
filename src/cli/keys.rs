//! Bytes from a terminal in, keys out.
//!
//! A terminal sends text as UTF-8, a few keys as control characters, and the others as sequences that begin with escape.
//! Any of them may be cut anywhere between two reads:
//!
//! ```text
//!   reads   "ho" | "l\xc3" | "\xa1\x1b[" | "D\r"
//!   keys     h o    l          ¡            Left Enter
//! ```
//!
//! Sequences are read as ECMA-48 has them (`ESC [`, parameters, a final byte), to their end, whether they mean something
//! here or not: no piece of an unknown key becomes text. An escape by itself is nobody's key: what comes next is read as
//! if it were not there, unless the two are a sequence. So nothing depends on time.
//!
//! At most [`LONGEST_SEQUENCE`] bytes are kept of what is not complete.

use std::{mem, str};

/// What is kept of a sequence. Keys need six bytes; the rest of a longer one is read and forgotten.
const LONGEST_SEQUENCE: usize = 16;

/// What was pressed, as far as it means anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Key {
    /// A character, tab included, and no other control character.
    Char(char),
    Enter,
    /// Ctrl-D: the end of the input where nothing is typed, else Delete.
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
}

/// Puts keys together.
#[derive(Default)]
pub(crate) struct Keys {
    state: State,
}

#[derive(Default)]
enum State {
    #[default]
    Ground,
    /// The beginning of a character of several bytes.
    Char(Vec<u8>),
    Escape,
    /// After `ESC [`: the parameters so far.
    Sequence(Vec<u8>),
    /// After `ESC O`.
    Shifted,
    /// After `ESC [ [`: a function key of Linux's console, of which one more byte comes.
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
        let state = mem::take(&mut self.state);
        // A control character is one, whatever it interrupts: a broken sequence swallows no Enter.
        let is_plain = matches!(state, State::Ground) || byte.is_ascii_control() && !matches!(state, State::Escape);
        if is_plain {
            if let State::Char(_) = state {
                emit(Key::Char(char::REPLACEMENT_CHARACTER));
            }
            return self.start(byte, emit);
        }
        match state {
            State::Ground => {}
            State::Char(bytes) => self.go_on(bytes, byte, emit),
            State::Escape => match byte {
                b'[' => self.state = State::Sequence(Vec::new()),
                b'O' => self.state = State::Shifted,
                b'b' => emit(Key::WordLeft),
                b'f' => emit(Key::WordRight),
                0x08 | 0x7f => emit(Key::KillWord),
                byte => self.start(byte, emit),
            },
            State::Sequence(parameters) => match byte {
                b'[' if parameters.is_empty() => self.state = State::Console,
                0x40..=0x7e => sequence(&parameters, byte).into_iter().for_each(emit),
                0x20..=0x3f => self.state = State::Sequence(kept(parameters, byte)),
                // No sequence has such a byte.
                byte => self.start(byte, emit),
            },
            State::Shifted => sequence(b"", byte).into_iter().for_each(emit),
            State::Console => {}
        }
    }

    /// A byte that nothing came before.
    fn start(&mut self, byte: u8, emit: &mut impl FnMut(Key)) {
        match byte {
            0x1b => self.state = State::Escape,
            0x80.. => self.go_on(Vec::new(), byte, emit),
            byte => control(byte).into_iter().for_each(emit),
        }
    }

    /// One more byte of a character of several.
    fn go_on(&mut self, mut bytes: Vec<u8>, byte: u8, emit: &mut impl FnMut(Key)) {
        bytes.push(byte);
        match str::from_utf8(&bytes) {
            // U+0080 to U+009F control some terminals, and are nothing that is typed.
            Ok(text) => text.chars().filter(|c| !c.is_control()).map(Key::Char).for_each(emit),
            Err(error) if error.error_len().is_none() => self.state = State::Char(bytes),
            Err(_) => {
                emit(Key::Char(char::REPLACEMENT_CHARACTER));
                // The byte that does not belong to it may begin something else; one that stood alone may not.
                if bytes.len() > 1 {
                    self.start(byte, emit);
                }
            }
        }
    }
}

/// The text among `bytes`, without the keys that are none. For a line that a terminal has edited itself.
#[cfg(feature = "trace")]
pub(crate) fn text_of(bytes: &[u8]) -> String {
    let mut text = String::new();
    Keys::default().feed(bytes, |key| {
        if let Key::Char(c) = key {
            text.push(c)
        }
    });
    text
}

/// The sequence with one more byte, as far as it is kept.
fn kept(mut parameters: Vec<u8>, byte: u8) -> Vec<u8> {
    if parameters.len() < LONGEST_SEQUENCE {
        parameters.push(byte);
    }
    parameters
}

/// One byte below 128. The letters are Emacs's, which shells have made everybody's.
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
        byte if byte == ctrl(b'K') => Key::KillToEnd,
        byte if byte == ctrl(b'L') => Key::Redraw,
        byte if byte == ctrl(b'N') => Key::Down,
        byte if byte == ctrl(b'P') => Key::Up,
        byte if byte == ctrl(b'U') => Key::KillToStart,
        byte if byte == ctrl(b'W') => Key::KillWord,
        _ => return None,
    })
}

/// A sequence by its parameters and its last byte, as xterm, rxvt, tmux, screen and Linux's console send them. A second
/// parameter says what was held down; with Ctrl or Alt, 3 or 5 and more, the arrows go by words.
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
    fn each_key_by_what_terminals_send() {
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
    fn what_means_nothing_leaves_nothing() {
        use Key::*;
        let table: &[(&str, &[u8], &[Key])] = &[
            ("Insert, page up, F5", b"\x1b[2~\x1b[5~\x1b[15~x", &[Char('x')]),
            ("F1, xterm's and the console's", b"\x1bOP\x1b[[Ax", &[Char('x')]),
            ("a report of the cursor's place", b"\x1b[12;40Rx", &[Char('x')]),
            ("marks around what is pasted", b"\x1b[200~x\x1b[201~", &[Char('x')]),
            ("a sequence without measure", &[b"\x1b[", &[b'1'; 1000][..], b"~x"].concat(), &[Char('x')]),
            ("other control characters", b"\x00\x03\x07\x1a\x1c\x1fx", &[Char('x')]),
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
    fn bytes_that_are_no_text_are_shown_to_be_none() {
        use Key::*;
        const NONE: Key = Char(char::REPLACEMENT_CHARACTER);
        let table: &[(&str, &[u8], &[Key])] = &[
            ("Latin-1", b"a\xf1o", &[Char('a'), NONE, Char('o')]),
            ("a character cut off by a letter", b"\xe2\x82x", &[NONE, Char('x')]),
            ("by another", b"\xe2\x82\xc3\xa9", &[NONE, Char('é')]),
            ("by Enter", b"\xe2\x82\r", &[NONE, Enter]),
            ("by a key", b"\xe2\x82\x1b[D", &[NONE, Left]),
            ("never a beginning", b"\x80\xff", &[NONE, NONE]),
        ];
        for (name, bytes, want) in table {
            assert_eq!(keys(&[bytes]), *want, "{name}");
        }
    }

    #[test]
    fn where_the_reads_fall_does_not_matter() {
        let bytes = b"a\xc3\xb1\x1b[1;5D\xe2\x82\xac\x1bOA\xf0\x9f\x98\x80\x1b[3~\xe2\x82\x1b\x1b[[Bb\x1bf\xff\r";
        let whole = keys(&[bytes]);
        for i in 0..=bytes.len() {
            for j in i..=bytes.len() {
                assert_eq!(keys(&[&bytes[..i], &bytes[i..j], &bytes[j..]]), whole, "cut at {i} and {j}");
            }
        }
    }
}
