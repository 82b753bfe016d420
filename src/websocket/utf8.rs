//! UTF-8 that is checked as the bytes arrive.
//!
//! A text message must be valid UTF-8 as a whole (RFC 6455, 5.6 and 8.1). Fragments and reads may cut it anywhere, also
//! in the middle of a character. The check does not wait for the rest: it fails at the first byte after which no
//! continuation could make the text valid.
//!
//! ```text
//!   parts      63 61 66 c3 | a9 21      63 ed | a0
//!   kept                c3 |  ·            ed |
//!   text       "caf"       | "é" "!"    "c"   | invalid: a surrogate, one byte before its end
//! ```
//!
//! At most three bytes are kept between two parts.

use std::error::Error;
use std::fmt;
use std::str;

/// From this many bytes on, the vector instructions of `simdutf8` are faster than the standard library.
const LONG: usize = 64;

/// The text can no longer become valid UTF-8.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InvalidUtf8;

impl fmt::Display for InvalidUtf8 {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("the text is not valid UTF-8")
    }
}

impl Error for InvalidUtf8 {}

/// Checks a whole text. The result is that of [`str::from_utf8`], in a fraction of the time if the text is long.
///
/// ```
/// use bucle::websocket::utf8;
///
/// assert_eq!(utf8::check(b"caf\xc3\xa9"), Ok("caf\u{e9}"));
/// assert_eq!(utf8::check(b"caf\xc3"), Err(utf8::InvalidUtf8));
/// ```
#[inline]
pub fn check(bytes: &[u8]) -> Result<&str, InvalidUtf8> {
    if bytes.len() < LONG {
        str::from_utf8(bytes).map_err(|_| InvalidUtf8)
    } else {
        simdutf8::basic::from_utf8(bytes).map_err(|_| InvalidUtf8)
    }
}

/// Checks one text that arrives in parts.
///
/// ```
/// use bucle::websocket::utf8::{InvalidUtf8, Utf8Check};
///
/// let mut text = Utf8Check::default();
/// assert_eq!(text.feed(b"caf\xc3"), Ok((None, "caf")));
/// assert_eq!(text.feed(b"\xa9!"), Ok((Some('\u{e9}'), "!")));
/// assert_eq!(text.finish(), Ok(()));
/// ```
#[derive(Clone, Copy, Default, Debug)]
pub struct Utf8Check {
    /// Invariant: the first `cut_len` bytes begin a character, and some next byte could continue it.
    cut: [u8; MAX_CUT],
    cut_len: u8,
}

/// A character has at most four bytes, and a cut one lacks at least one of them.
const MAX_CUT: usize = 3;

const _: () = assert!(size_of::<Utf8Check>() <= 8, "every unfinished text message holds one");

impl Utf8Check {
    /// Takes in the next part and returns the text that it completes.
    ///
    /// That is the character that the parts before had begun, if there is one and this part ends it, and then the
    /// characters after it. Their bytes are lent from `part`. The start of a character at the end of `part` is kept.
    ///
    /// After an error the check is spent.
    pub fn feed<'a>(&mut self, part: &'a [u8]) -> Result<(Option<char>, &'a str), InvalidUtf8> {
        let (character, part) = if self.cut_len == 0 { (None, part) } else { self.complete(part)? };
        let (complete, cut) = part.split_at(part.len() - cut_len(part));
        let text = check(complete)?;
        for &byte in cut {
            self.keep(byte);
        }
        Ok((character, text))
    }

    /// The text ends here. Fails if a character is incomplete.
    pub fn finish(&self) -> Result<(), InvalidUtf8> {
        if self.cut_len == 0 { Ok(()) } else { Err(InvalidUtf8) }
    }

    /// How many bytes of a cut character are kept: 0 to 3.
    pub fn kept_len(&self) -> usize {
        self.cut_len.into()
    }

    /// Continues the cut character with bytes from the front of `part`. Returns the rest, which is empty if the
    /// character is still incomplete.
    fn complete<'a>(&mut self, part: &'a [u8]) -> Result<(Option<char>, &'a [u8]), InvalidUtf8> {
        let mut rest = part;
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            let len = self.kept_len();
            let mut bytes = [0; MAX_CUT + 1];
            bytes[..len].copy_from_slice(&self.cut[..len]);
            bytes[len] = byte;
            match str::from_utf8(&bytes[..=len]) {
                Ok(text) => {
                    self.cut_len = 0;
                    return Ok((text.chars().next(), rest));
                }
                Err(error) if error.error_len().is_none() => self.keep(byte),
                Err(_) => return Err(InvalidUtf8),
            }
        }
        Ok((None, rest))
    }

    fn keep(&mut self, byte: u8) {
        self.cut[self.kept_len()] = byte;
        self.cut_len += 1;
    }
}

/// How many bytes at the end of `part` begin a character whose rest is missing: 0 to 3.
///
/// Bytes that no next byte can make valid are not counted, so that the check of the other bytes fails.
fn cut_len(part: &[u8]) -> usize {
    if part.last().is_none_or(u8::is_ascii) {
        return 0;
    }
    let tail = &part[part.len().saturating_sub(MAX_CUT)..];
    let Some(start) = tail.iter().rposition(|byte| !is_continuation(*byte)) else { return 0 };
    match str::from_utf8(&tail[start..]) {
        Err(error) if error.error_len().is_none() => tail.len() - start,
        _ => 0,
    }
}

/// Whether this is the second, third or fourth byte of a character (RFC 3629, 3).
fn is_continuation(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text, or how many bytes were taken in when the check failed. The end counts as one more byte.
    fn texts(parts: &[&[u8]]) -> Result<String, usize> {
        let (mut check, mut text, mut taken) = (Utf8Check::default(), String::new(), 0);
        for part in parts {
            taken += part.len();
            let (character, more) = check.feed(part).map_err(|_| taken)?;
            text.extend(character);
            text.push_str(more);
            assert_eq!(text.len() + check.kept_len(), taken, "each byte is in the text or kept");
        }
        check.finish().map_err(|_| taken + 1)?;
        Ok(text)
    }

    fn byte_by_byte(bytes: &[u8]) -> Result<String, usize> {
        texts(&bytes.chunks(1).collect::<Vec<_>>())
    }

    /// A name, the bytes, and the number of bytes after which the check fails; 0 for a valid text.
    const TABLE: &[(&str, &[u8], usize)] = &[
        ("nothing", b"", 0),
        ("ASCII", b"hola", 0),
        ("two, three and four bytes", b"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 0),
        ("Autobahn 6.2: Greek", b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5", 0),
        ("the last character", b"\xf4\x8f\xbf\xbf", 0),
        ("beyond the last one (Autobahn 6.4): at its second byte", b"\xce\xba\xf4\x90\x80\x80", 4),
        ("around the surrogates", b"\xed\x9f\xbf\xee\x80\x80", 0),
        ("a surrogate: at its second byte", b"a\xed\xa0\x80", 3),
        ("overlong, two bytes: at the first", b"a\xc0\xaf", 2),
        ("overlong, three bytes: at the second", b"a\xe0\x80\xaf", 3),
        ("overlong, four bytes: at the second", b"a\xf0\x80\x80\xaf", 3),
        ("a continuation byte alone", b"a\x80", 2),
        ("five bytes: at the first", b"a\xf8\x88\x80\x80\x80", 2),
        ("never in UTF-8", b"a\xfe", 2),
        ("broken off by a letter", b"\xe2\x82a", 3),
        ("broken off by the start of another character", b"\xe2\x82\xc3\xa9", 3),
        ("cut by the end after one byte", b"a\xe2", 3),
        ("cut by the end after three bytes", b"\xf0\x9f\x98", 4),
    ];

    #[test]
    fn fails_at_the_first_byte_that_makes_the_text_invalid() {
        for (name, bytes, fails_after) in TABLE {
            let want =
                if *fails_after == 0 { Ok(str::from_utf8(bytes).expect(name).to_owned()) } else { Err(*fails_after) };
            assert_eq!(byte_by_byte(bytes), want, "{name}");
            assert_eq!(check(bytes).map(str::to_owned).ok(), want.ok(), "{name}, whole");
        }
    }

    #[test]
    fn where_the_parts_are_cut_does_not_matter() {
        for (name, bytes, fails_after) in TABLE {
            // A long text before it, so that both ways of checking are used.
            for before in [0, 61, 62, 63, 64, 65, 130] {
                let bytes = [&vec![b'x'; before][..], bytes].concat();
                let want = (*fails_after == 0).then(|| String::from_utf8(bytes.clone()).expect(name));
                for i in 0..=bytes.len() {
                    for j in (i..=bytes.len()).skip(i.min(before / 2)) {
                        let cut = texts(&[&bytes[..i], &bytes[i..j], &bytes[j..]]);
                        assert_eq!(cut.clone().ok(), want, "{name} after {before}, cut at {i} and {j}");
                        // The part in which it fails is the one with the byte.
                        if let Err(taken) = cut
                            && let fails_after = before + fails_after
                            && fails_after <= bytes.len()
                        {
                            let end = [i, j, bytes.len()].into_iter().find(|end| fails_after <= *end);
                            assert_eq!(Some(taken), end, "{name} after {before}, cut at {i} and {j}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn all_pairs_and_triples_of_telling_bytes_agree_with_the_standard_library() {
        let edges: &[u8] =
            b"a\x7f\x80\x8f\x90\x9f\xa0\xbf\xc0\xc1\xc2\xdf\xe0\xe1\xec\xed\xee\xef\xf0\xf1\xf3\xf4\xf5\xff";
        for &a in edges {
            for &b in edges {
                for &c in edges {
                    for &d in edges {
                        let bytes = [a, b, c, d];
                        let want = match str::from_utf8(&bytes) {
                            Ok(text) => Ok(text.to_owned()),
                            // The first prefix that can no longer become valid, or the end.
                            Err(_) => Err((1..=4)
                                .find(|len| {
                                    str::from_utf8(&bytes[..*len]).is_err_and(|error| error.error_len().is_some())
                                })
                                .unwrap_or(5)),
                        };
                        assert_eq!(byte_by_byte(&bytes), want, "{bytes:x?}");
                    }
                }
            }
        }
    }
}
