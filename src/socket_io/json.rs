//! JSON as text: is it valid, which items does an array have, which characters does a string have.
//!
//! Most packets are only passed on: their text is read once to know that it is JSON, and once to find the name of the
//! event. No value is built from it, nothing is allocated, and nothing here is recursive. Text that a program wants as
//! a value is read by serde_json later.
//!
//! ```text
//!   ["echo", {"a": [1, 2]}, true]      check    valid, and nested three levels deep
//!    ──────  ─────────────  ────       items    the texts of three items
//! ```
//!
//! [`check`] accepts what `JSON.parse` accepts, if it is nested at most [`MAX_DEPTH`] levels deep. The other functions
//! expect text that was checked. With any other text they return something without meaning, but never panic.

use std::borrow::Cow;
use std::io;

use memchr::memchr;
use serde::Serialize;

use super::malformed::Malformed;

#[cfg(test)]
mod tests;

/// How deeply arrays and objects may be nested. The array of an event's arguments is the first level.
///
/// Node has no limit. With this one the kinds of all open levels fit in one number, and recursive code of a program is
/// safe, such as serde_json, whose own limit is 127.
pub const MAX_DEPTH: u32 = 64;

const NOT_JSON: Malformed = Malformed::new("the data is not JSON");
const TOO_DEEP: Malformed = Malformed::new("the data is nested too deeply");

/// Checks that `text` is one JSON value (RFC 8259), and is nested at most [`MAX_DEPTH`] levels deep.
///
/// As in `JSON.parse`, a string may have half of a surrogate pair (`"\ud800"`), a number may be too large for a double,
/// and a name may occur twice in an object.
pub fn check(text: &str) -> Result<(), Malformed> {
    Checker { bytes: text.as_bytes(), at: 0 }.check(Form::Value)
}

/// Checks that `text` is a list of JSON values with commas between them: an array without its brackets, which count as
/// one level. The list may be empty.
pub fn check_items(text: &str) -> Result<(), Malformed> {
    Checker { bytes: text.as_bytes(), at: 0 }.check(Form::List)
}

/// The form that a text must have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Value,
    /// Values with commas between them, inside of an array.
    List,
}

struct Checker<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Checker<'_> {
    fn check(&mut self, form: Form) -> Result<(), Malformed> {
        if form == Form::List && self.peek().is_none() {
            return Ok(());
        }
        let outside = u32::from(form == Form::List);
        let mut depth = outside;
        // One bit for each open level, the innermost in the lowest bit: 1 for an object, 0 for an array.
        let mut objects: u64 = 0;
        loop {
            match self.peek() {
                Some(open @ (b'[' | b'{')) => {
                    if depth == MAX_DEPTH {
                        return Err(TOO_DEEP);
                    }
                    self.at += 1;
                    depth += 1;
                    objects = objects << 1 | u64::from(open == b'{');
                    // In ASCII both closing brackets come two after the opening ones.
                    if self.peek() != Some(open + 2) {
                        if open == b'{' {
                            self.name()?;
                        }
                        continue;
                    }
                }
                Some(b'"') => self.string()?,
                Some(b'-' | b'0'..=b'9') => self.number()?,
                Some(b't') => self.word(b"true")?,
                Some(b'f') => self.word(b"false")?,
                Some(b'n') => self.word(b"null")?,
                _ => return Err(NOT_JSON),
            }
            // A value ends here, and with it perhaps some of the levels around it.
            loop {
                let next = self.peek();
                if depth == outside {
                    match next {
                        None => return Ok(()),
                        Some(b',') if form == Form::List => self.at += 1,
                        _ => return Err(NOT_JSON),
                    }
                    break;
                }
                let is_object = objects & 1 == 1;
                self.at += 1;
                match next {
                    Some(b',') if is_object => {
                        self.name()?;
                        break;
                    }
                    Some(b',') => break,
                    Some(b'}') if is_object => {}
                    Some(b']') if !is_object => {}
                    _ => return Err(NOT_JSON),
                }
                objects >>= 1;
                depth -= 1;
            }
        }
    }

    /// The next byte that is no blank.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        self.at = skip_blanks(self.bytes, self.at);
        self.bytes.get(self.at).copied()
    }

    /// The name of a member, and the colon after it.
    fn name(&mut self) -> Result<(), Malformed> {
        if self.peek() != Some(b'"') {
            return Err(NOT_JSON);
        }
        self.string()?;
        let next = self.peek();
        self.at += 1;
        if next == Some(b':') { Ok(()) } else { Err(NOT_JSON) }
    }

    fn string(&mut self) -> Result<(), Malformed> {
        self.at += 1;
        loop {
            self.at = plain_end(self.bytes, self.at);
            match self.bytes.get(self.at..) {
                Some([b'"', ..]) => {
                    self.at += 1;
                    return Ok(());
                }
                Some([b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..]) => self.at += 2,
                Some([b'\\', b'u', digits @ ..]) if hex(digits).is_some() => self.at += 6,
                _ => return Err(NOT_JSON),
            }
        }
    }

    fn number(&mut self) -> Result<(), Malformed> {
        self.skips(b"-");
        // No other digit may follow a leading zero.
        if !self.skips(b"0") {
            self.digits()?;
        }
        if self.skips(b".") {
            self.digits()?;
        }
        if self.skips(b"eE") {
            self.skips(b"+-");
            self.digits()?;
        }
        Ok(())
    }

    /// Skips one byte if it is in `set`.
    fn skips(&mut self, set: &[u8]) -> bool {
        let is_there = self.bytes.get(self.at).is_some_and(|byte| set.contains(byte));
        self.at += usize::from(is_there);
        is_there
    }

    /// At least one digit.
    fn digits(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        if self.at == start { Err(NOT_JSON) } else { Ok(()) }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Malformed> {
        let is_there = self.bytes[self.at..].starts_with(word);
        self.at += word.len();
        if is_there { Ok(()) } else { Err(NOT_JSON) }
    }
}

/// The items of the array `text`, each as its text without the blanks around it. Empty if `text` is not an array.
pub fn items(text: &str) -> Items<'_> {
    let inner = text.trim_matches(is_blank).strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    Items::new(inner.unwrap_or_default())
}

/// An iterator over the items of an array. It finds one item at a time.
#[derive(Clone, Default, Debug)]
pub struct Items<'a> {
    rest: &'a str,
}

impl<'a> Items<'a> {
    /// The items of a list: of an array without its brackets.
    pub fn new(list: &'a str) -> Items<'a> {
        Items { rest: list }
    }

    /// The items that were not returned yet, as a list, without the blanks around it.
    pub fn rest(&self) -> &'a str {
        self.rest.trim_matches(is_blank)
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let bytes = self.rest.as_bytes();
        let start = skip_blanks(bytes, 0);
        let end = value_end(bytes, start);
        if start == end {
            return None;
        }
        let item = &self.rest[start..end];
        let next = skip_blanks(bytes, end);
        self.rest = &self.rest[next + usize::from(bytes.get(next) == Some(&b','))..];
        Some(item)
    }
}

/// The members of the object `text`, each as the texts of its name and its value. None if `text` is not an object.
#[cfg(feature = "redis")]
pub(super) fn members(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
    let mut rest = inner.unwrap_or_default();
    std::iter::from_fn(move || {
        let bytes = rest.as_bytes();
        let name = skip_blanks(bytes, 0);
        let name_end = value_end(bytes, name);
        let value = skip_blanks(bytes, skip_blanks(bytes, name_end) + 1);
        if name == name_end || value >= bytes.len() {
            return None;
        }
        let value_end = value_end(bytes, value);
        let next = skip_blanks(bytes, value_end);
        let member = (&rest[name..name_end], &rest[value..value_end]);
        rest = rest.get(next + 1..).unwrap_or_default();
        Some(member)
    })
}

/// A part of a JSON text, in its order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Token<'a> {
    /// The begin of an array or object.
    Open,
    /// Its end.
    Close,
    /// The text of a member's name, with its quotation marks.
    Name(&'a str),
    /// The text of a string that is no name, a number, `true`, `false` or `null`.
    Value(&'a str),
}

/// The tokens of a text.
pub(super) fn tokens(text: &str) -> impl Iterator<Item = Token<'_>> {
    let (bytes, mut at) = (text.as_bytes(), 0);
    std::iter::from_fn(move || {
        loop {
            let start = skip_blanks(bytes, at);
            at = start + 1;
            match bytes.get(start)? {
                b'[' | b'{' => return Some(Token::Open),
                b']' | b'}' => return Some(Token::Close),
                b',' | b':' => {}
                b'"' => {
                    at = string_end(bytes, start);
                    let is_name = bytes.get(skip_blanks(bytes, at)) == Some(&b':');
                    let text = &text[start..at];
                    return Some(if is_name { Token::Name(text) } else { Token::Value(text) });
                }
                _ => {
                    at = scalar_end(bytes, start);
                    return Some(Token::Value(&text[start..at]));
                }
            }
        }
    })
}

/// The characters of a string, from its text with quotation marks. `None` if `text` is not a string. Only a string with
/// escapes is copied.
///
/// Half of a surrogate pair, which no Rust string can have, becomes U+FFFD, as with `toWellFormed` in JavaScript.
pub fn string(text: &str) -> Option<Cow<'_, str>> {
    let content = text.strip_prefix('"')?.strip_suffix('"')?;
    Some(match memchr(b'\\', content.as_bytes()) {
        None => Cow::Borrowed(content),
        Some(_) => Cow::Owned(unescape(content)),
    })
}

fn unescape(content: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(content.len()), content);
    while let Some(at) = memchr(b'\\', rest.as_bytes()) {
        out.push_str(&rest[..at]);
        let mut len = 2;
        out.push(match rest.as_bytes()[at..] {
            [_, b'b', ..] => '\u{8}',
            [_, b'f', ..] => '\u{c}',
            [_, b'n', ..] => '\n',
            [_, b'r', ..] => '\r',
            [_, b't', ..] => '\t',
            [_, b'u', ref digits @ ..] => {
                let first = hex(digits).unwrap_or_default();
                let second = match digits {
                    [_, _, _, _, b'\\', b'u', digits @ ..] => hex(digits),
                    _ => None,
                };
                let decoded = char::decode_utf16([Some(first), second].into_iter().flatten()).next();
                let decoded = decoded.and_then(Result::ok).unwrap_or(char::REPLACEMENT_CHARACTER);
                len = 6 * decoded.len_utf16();
                decoded
            }
            [_, byte, ..] => byte.into(),
            _ => char::REPLACEMENT_CHARACTER,
        });
        rest = rest.get(at + len..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// The characters that JavaScript's `String(number)` has, from the text of a number: `1e3` becomes `1000`.
pub(super) fn number(text: &str) -> Cow<'_, str> {
    // Integers that a double represents exactly are written in JavaScript as most encoders write them.
    let is_plain = text.len() <= 15 && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_plain {
        return Cow::Borrowed(text);
    }
    let number: f64 = text.parse().unwrap_or(f64::NAN);
    let magnitude = number.abs();
    Cow::Owned(if number == 0.0 {
        "0".to_owned()
    } else if magnitude.is_infinite() {
        if number > 0.0 { "Infinity".to_owned() } else { "-Infinity".to_owned() }
    } else if (1e-6..1e21).contains(&magnitude) {
        number.to_string()
    } else {
        // ECMA-262, Number::toString: from 1e21 on, and below 1e-6, with an exponent that has a sign.
        let text = format!("{number:e}");
        if magnitude < 1.0 { text } else { text.replace('e', "e+") }
    })
}

/// Appends a string as JSON, escaped as `JSON.stringify` escapes it.
pub fn push_string(out: &mut String, text: &str) {
    if plain_end(text.as_bytes(), 0) == text.len() {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        push_value(out, text).expect("every string can be written as JSON");
    }
}

/// Appends a value as JSON. Numbers that JSON does not have, `NaN` and the infinite ones, become `null`, as in
/// `JSON.stringify`.
///
/// After an error `out` has a part of the value.
pub fn push_value<T: Serialize + ?Sized>(out: &mut String, value: &T) -> Result<(), serde_json::Error> {
    serde_json::to_writer(Pieces(out), value)
}

/// Where serde_json writes to. It writes whole strings, so that no piece ends inside a character.
struct Pieces<'a>(&'a mut String);

impl io::Write for Pieces<'_> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.0.push_str(str::from_utf8(piece).map_err(io::Error::other)?);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The blanks of JSON.
pub(super) fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\r')
}

fn skip_blanks(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

/// Where the value that begins at `start` ends. All ends are after an ASCII byte or before one, so they are between
/// characters.
fn value_end(bytes: &[u8], start: usize) -> usize {
    match bytes.get(start) {
        Some(b'"') => string_end(bytes, start),
        Some(b'[' | b'{') => container_end(bytes, start),
        _ => scalar_end(bytes, start),
    }
}

fn container_end(bytes: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0_usize);
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'"' => at = string_end(bytes, at - 1),
            b'[' | b'{' => depth += 1,
            b']' | b'}' => {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
            _ => {}
        }
    }
    at
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    loop {
        at = plain_end(bytes, at);
        match bytes.get(at) {
            Some(b'"') => return at + 1,
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
            None => return bytes.len(),
        }
    }
}

fn scalar_end(bytes: &[u8], start: usize) -> usize {
    let is_end = |byte: &u8| matches!(byte, b',' | b':' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r');
    bytes[start..].iter().position(is_end).map_or(bytes.len(), |len| start + len)
}

/// The next byte from `at` on that a string has only in escapes: `"`, `\` or a control character. Tests eight bytes at
/// a time ("Bit Twiddling Hacks", hasless and haszero).
#[inline]
fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    while let Some(eight) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let eight = u64::from_le_bytes(*eight);
        let [quotes, backslashes] = [b'"', b'\\'].map(|byte| eight ^ (ONES * u64::from(byte)));
        let controls = eight.wrapping_sub(ONES * 0x20) & !eight;
        let found = quotes.wrapping_sub(ONES) & !quotes | backslashes.wrapping_sub(ONES) & !backslashes | controls;
        // A borrow can only set bits above the first byte that was found.
        match found & HIGH {
            0 => at += 8,
            found => return at + found.trailing_zeros() as usize / 8,
        }
    }
    while bytes.get(at).is_some_and(|&byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        at += 1;
    }
    at
}

/// The number that the first four hexadecimal digits form.
fn hex(digits: &[u8]) -> Option<u16> {
    let digits = digits.first_chunk::<4>()?;
    digits.iter().try_fold(0, |number, &digit| Some(number << 4 | char::from(digit).to_digit(16)? as u16))
}
