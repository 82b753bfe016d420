//! Messages: templates, and the texts that are made from them.
//!
//! A text depends only on its connection, its number and the run's seed:
//!
//! ```text
//!   "{conn}:{seq} {rand:4}\n"   connection 3, number 17   ──▶   "3:17 a9Xq\n"
//! ```
//!
//! So sent texts are not stored. A reply is compared with the text part by part ([`Messages::compare`]), and the
//! comparison can begin anywhere in the text: a reply that arrives in a thousand pieces is compared once. A reply that
//! is received twice, or minutes late, is recognised by its number ([`Messages::recognize`]) without using memory.

mod letters;

use memchr::memmem;

use super::fingerprint::Fingerprint;
use letters::{Digits, common_beginning, common_letters, mix, push_letters};

/// A part of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    Text(Box<[u8]>),
    Conn,
    Seq,
    /// This number of letters or digits.
    Rand(usize),
    /// Letters or digits that fill the message up to this number of bytes. The line end comes after it and does not
    /// count.
    Fill(usize),
}

/// A message with its placeholders.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Template {
    parts: Vec<Part>,
    /// How many lines it has. 0 if it does not end in a line break: such a message is counted in bytes.
    lines: usize,
}

/// How far bytes agree with the text of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Agreement {
    /// How many bytes, from the first one, are those of the text.
    pub(crate) agreed: usize,
    /// The length of the text.
    pub(crate) len: usize,
}

/// How the end of a message is changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LineEnd {
    AsIs,
    /// `\r\n`, in place of a `\n` if there is one.
    CrLf,
    /// None: a message of WebSocket needs no line end.
    Removed,
}

/// The messages of a run. The templates are used in turn: message n is made from template n modulo their count.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Messages {
    templates: Vec<Template>,
    /// Where the texts may have their numbers, each place once.
    places: Vec<Place>,
    are_numbered: bool,
    pub(crate) seed: u64,
}

/// The place of the number in a text: behind so many bytes, and so many numbers of the connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Place {
    bytes: usize,
    conns: usize,
}

/// The longest `{rand:N}`.
const LONGEST_RAND: usize = 16 * 1024 * 1024;

/// A reply of more bytes than this is not searched for its message: the search is only for a hint.
const SEARCHED: usize = 64 * 1024;

/// Replaces the escapes `\n \r \t \\ \xHH`.
pub(crate) fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let (&kind, after) = rest.split_first().ok_or(r"the text ends in a single \; write \\ for a backslash")?;
        rest = after;
        out.push(match kind {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'\\' => b'\\',
            b'x' => {
                let digits = rest.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
                let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
                let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                rest = rest.get(2..).unwrap_or_default();
                byte.ok_or(r"\x needs two hexadecimal digits, as in \x0a")?
            }
            _ => return Err(format!(r"unknown escape \{}; there are \n \r \t \\ and \xHH", char::from(kind))),
        });
    }
    Ok(out)
}

impl Template {
    /// Adjacent texts are joined, so that equal templates have equal parts, however they were made.
    fn of(typed: Vec<Part>) -> Template {
        let mut parts: Vec<Part> = Vec::with_capacity(typed.len());
        for part in typed {
            match (parts.last_mut(), part) {
                (Some(Part::Text(text)), Part::Text(more)) => *text = [&**text, &more].concat().into(),
                (_, part) => parts.push(part),
            }
        }
        let is_line = matches!(parts.last(), Some(Part::Text(tail)) if tail.last() == Some(&b'\n'));
        let breaks = |part: &Part| match part {
            Part::Text(text) => memchr::memchr_iter(b'\n', text).count(),
            _ => 0,
        };
        let lines = if is_line { parts.iter().map(breaks).sum() } else { 0 };
        Template { parts, lines }
    }

    /// Parses `{conn}`, `{seq}` and `{rand:N}`. Other braces are text.
    pub(crate) fn parse(text: &[u8]) -> Result<Template, String> {
        if text.is_empty() {
            return Err("the message is empty; write its text after -m".to_owned());
        }
        let mut parts = Vec::new();
        let mut literal = Vec::new();
        let mut rest = text;
        while let Some(&first) = rest.first() {
            let (part, len) = if rest.starts_with(b"{conn}") {
                (Part::Conn, 6)
            } else if rest.starts_with(b"{seq}") {
                (Part::Seq, 5)
            } else if rest.starts_with(b"{rand:") {
                let close = rest.iter().position(|&byte| byte == b'}').ok_or("{rand:N} needs a closing brace")?;
                let number = std::str::from_utf8(&rest[6..close]).ok().and_then(|digits| digits.parse().ok());
                let number = number.filter(|number| (1..=LONGEST_RAND).contains(number));
                (Part::Rand(number.ok_or(format!("{{rand:N}} needs a number from 1 to {LONGEST_RAND}"))?), close + 1)
            } else {
                literal.push(first);
                rest = &rest[1..];
                continue;
            };
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal).into()));
            }
            parts.push(part);
            rest = &rest[len..];
        }
        if !literal.is_empty() {
            parts.push(Part::Text(literal.into()));
        }
        Ok(Template::of(parts))
    }

    /// Texts that look like placeholders but are not: a word in braces (`{foo}`, `{ seq }`), or braces that begin like
    /// a placeholder (`{conn3}`, `{rand 8}`). Other braces are taken for text, such as JSON.
    fn mistaken(&self) -> impl Iterator<Item = String> {
        let texts = self.parts.iter().filter_map(|part| match part {
            Part::Text(text) => std::str::from_utf8(text).ok(),
            _ => None,
        });
        texts.flat_map(|text| text.split('{').skip(1)).filter_map(|rest| {
            let inside = rest.split_once('}')?.0;
            let word = inside.trim().to_ascii_lowercase();
            let is_word = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
            let is_near = ["conn", "seq", "rand"].iter().any(|name| word.starts_with(name)) && word.len() <= 16;
            (is_word || is_near).then(|| format!("{{{inside}}}"))
        })
    }

    fn with_line_end(mut self, line_end: LineEnd) -> Template {
        if line_end != LineEnd::AsIs {
            let mut tail = match self.parts.pop() {
                Some(Part::Text(text)) => text.into_vec(),
                other => {
                    self.parts.extend(other);
                    Vec::new()
                }
            };
            if tail.last() == Some(&b'\n') {
                tail.pop();
            }
            if tail.last() == Some(&b'\r') {
                tail.pop();
            }
            if line_end == LineEnd::CrLf {
                tail.extend_from_slice(b"\r\n");
            }
            if !tail.is_empty() {
                self.parts.push(Part::Text(tail.into()));
            }
        }
        Template::of(self.parts)
    }

    fn add_to(&self, fingerprint: &mut Fingerprint) {
        for part in &self.parts {
            match part {
                Part::Text(text) => fingerprint.add(b't', text),
                Part::Conn => fingerprint.add(b'c', b""),
                Part::Seq => fingerprint.add(b's', b""),
                Part::Rand(len) => fingerprint.add(b'r', &(*len as u64).to_le_bytes()),
                Part::Fill(size) => fingerprint.add(b'f', &(*size as u64).to_le_bytes()),
            }
        }
    }

    pub(crate) fn has_rand(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Rand(_) | Part::Fill(_)))
    }

    fn has_seq(&self) -> bool {
        self.parts.contains(&Part::Seq)
    }

    /// Whether each message has another text.
    fn varies(&self) -> bool {
        self.has_rand() || self.has_seq()
    }

    /// Whether it begins with `{conn}:{seq} `.
    fn is_tagged(&self) -> bool {
        matches!(&self.parts[..], [Part::Conn, Part::Text(colon), Part::Seq, Part::Text(space), ..]
            if **colon == *b":" && space.starts_with(b" "))
    }

    /// Appends the text of message `seq` to `out`.
    pub(crate) fn write(&self, seed: u64, conn: u64, seq: u64, out: &mut Vec<u8>) {
        self.write_parts(&self.parts, seed, conn, seq, out);
    }

    fn write_parts(&self, parts: &[Part], seed: u64, conn: u64, seq: u64, out: &mut Vec<u8>) {
        let start = out.len();
        for (i, part) in parts.iter().enumerate() {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Conn => out.extend_from_slice(&Digits::of(conn)),
                Part::Seq => out.extend_from_slice(&Digits::of(seq)),
                Part::Rand(_) | Part::Fill(_) => {
                    let len = part.len(conn, seq, out.len() - start);
                    push_letters(part.letters(seed, conn, seq, i), len, out);
                }
            }
        }
    }

    /// How far `bytes` agree with the text of message `seq`. The first `from` of them are known to agree.
    fn compare(&self, seed: u64, conn: u64, seq: u64, bytes: &[u8], from: usize) -> Agreement {
        #[cfg(test)]
        COMPARISONS.set(COMPARISONS.get() + 1);
        let (mut agreed, mut is_equal) = (from, true);
        let mut start = 0;
        for (i, part) in self.parts.iter().enumerate() {
            let end = start + part.len(conn, seq, start);
            if is_equal && agreed < end && agreed < bytes.len() {
                let got = &bytes[agreed..end.min(bytes.len())];
                let at = agreed - start;
                let n = match part {
                    Part::Text(text) => common_beginning(&text[at..], got),
                    Part::Conn => common_beginning(&Digits::of(conn)[at..], got),
                    Part::Seq => common_beginning(&Digits::of(seq)[at..], got),
                    Part::Rand(_) | Part::Fill(_) => common_letters(part.letters(seed, conn, seq, i), at, got),
                };
                agreed += n;
                is_equal = n == got.len();
            }
            start = end;
        }
        Agreement { agreed, len: start }
    }

    /// Where the number is in a text. `None` if the template has none.
    fn place_of_number(&self) -> Option<Place> {
        let before = &self.parts[..self.parts.iter().position(|part| *part == Part::Seq)?];
        let conns = before.iter().filter(|part| **part == Part::Conn).count();
        let others = before.iter().filter(|part| **part != Part::Conn);
        Some(Place { bytes: others.fold(0, |start, part| start + part.len(0, 0, start)), conns })
    }
}

impl Place {
    /// Its first byte, in the texts of this connection.
    fn start(self, conn: u64) -> usize {
        self.bytes + self.conns * Part::Conn.len(conn, 0, 0)
    }
}

/// The numbers that digits at the beginning of `text` may stand for: all of them, and their prefixes, the longest
/// first.
fn numbers_at(text: &[u8]) -> impl Iterator<Item = u64> {
    let len = text.iter().take_while(|byte| byte.is_ascii_digit()).take(20).count();
    // A number has no leading zeros.
    let longest = if text.first() == Some(&b'0') { len.min(1) } else { len };
    let digits = &text[..longest];
    (1..=longest).rev().filter_map(move |len| std::str::from_utf8(&digits[..len]).ok()?.parse().ok())
}

impl Part {
    /// Its length, if it begins at `start` in the text.
    fn len(&self, conn: u64, seq: u64, start: usize) -> usize {
        let digits = |number: u64| number.checked_ilog10().map_or(1, |log| log as usize + 1);
        match self {
            Part::Text(text) => text.len(),
            Part::Conn => digits(conn),
            Part::Seq => digits(seq),
            Part::Rand(len) => *len,
            Part::Fill(size) => size.saturating_sub(start),
        }
    }

    /// The number that its random letters are made from. `i` is its place among the parts.
    fn letters(&self, seed: u64, conn: u64, seq: u64, i: usize) -> u64 {
        match self {
            Part::Fill(_) => mix(seed ^ mix(conn ^ mix(seq))),
            _ => mix(seed ^ mix(conn ^ mix(seq ^ (i as u64) << 56))),
        }
    }
}

impl Messages {
    fn of(templates: Vec<Template>) -> Messages {
        let mut places: Vec<Place> = templates.iter().filter_map(Template::place_of_number).collect();
        let are_numbered = places.len() == templates.len();
        places.sort_unstable();
        places.dedup();
        Messages { templates, places, are_numbered, seed: 0 }
    }

    pub(crate) fn one(template: Template, line_end: LineEnd) -> Messages {
        Messages::of(vec![template.with_line_end(line_end)])
    }

    /// The default message filled up to exactly `size` bytes.
    pub(crate) fn filled(size: usize, line_end: LineEnd) -> Messages {
        let end: &[u8] = match line_end {
            LineEnd::AsIs => b"\n",
            LineEnd::CrLf => b"\r\n",
            LineEnd::Removed => b"",
        };
        let text = |text: &[u8]| Part::Text(text.into());
        let mut parts = vec![Part::Conn, text(b":"), Part::Seq, text(b" "), Part::Fill(size - end.len())];
        if !end.is_empty() {
            parts.push(text(end));
        }
        Messages::of(vec![Template::of(parts)])
    }

    /// One message per line. Line ends are kept, unless `line_end` changes them.
    pub(crate) fn from_file(bytes: &[u8], line_end: LineEnd) -> Result<Messages, String> {
        let lines = bytes.split_inclusive(|&byte| byte == b'\n');
        let templates: Result<Vec<_>, _> =
            lines.map(|line| Ok::<_, String>(Template::parse(line)?.with_line_end(line_end))).collect();
        match templates? {
            templates if templates.is_empty() => Err("the file is empty".to_owned()),
            templates => Ok(Messages::of(templates)),
        }
    }

    /// Adds the messages to a fingerprint. Messages with the same texts have the same fingerprint.
    pub(crate) fn add_to(&self, fingerprint: &mut Fingerprint) {
        for template in &self.templates {
            fingerprint.add(b'm', b"");
            template.add_to(fingerprint);
        }
    }

    /// Texts that look like placeholders but are not, see [`Template::parse`].
    pub(crate) fn mistaken(&self) -> impl Iterator<Item = String> {
        self.templates.iter().flat_map(Template::mistaken)
    }

    /// Adds `\n` to the messages that do not end in a line break.
    pub(crate) fn add_line_breaks(&mut self) {
        for template in self.templates.iter_mut().filter(|template| template.lines == 0) {
            let mut parts = std::mem::take(&mut template.parts);
            parts.push(Part::Text(b"\n".as_slice().into()));
            *template = Template::of(parts);
        }
    }

    /// Whether every message ends in a line break.
    pub(crate) fn are_lines(&self) -> bool {
        self.templates.iter().all(|template| template.lines > 0)
    }

    pub(crate) fn are_tagged_lines(&self) -> bool {
        self.are_tagged() && self.templates.iter().all(|template| template.lines == 1)
    }

    /// Whether every message begins with `{conn}:{seq} `.
    pub(crate) fn are_tagged(&self) -> bool {
        self.templates.iter().all(Template::is_tagged)
    }

    /// Whether every message is valid UTF-8.
    pub(crate) fn are_utf8(&self) -> bool {
        // A placeholder is ASCII, so it cannot be a part of a character.
        let is_utf8 = |part: &Part| match part {
            Part::Text(text) => std::str::from_utf8(text).is_ok(),
            _ => true,
        };
        self.templates.iter().flat_map(|template| &template.parts).all(is_utf8)
    }

    fn template(&self, seq: u64) -> &Template {
        &self.templates[(seq % self.templates.len() as u64) as usize]
    }

    /// Appends the text of message `seq` to `out`.
    pub(crate) fn write(&self, conn: u64, seq: u64, out: &mut Vec<u8>) {
        self.template(seq).write(self.seed, conn, seq, out);
    }

    pub(crate) fn text(&self, conn: u64, seq: u64) -> Vec<u8> {
        let mut text = Vec::new();
        self.write(conn, seq, &mut text);
        text
    }

    /// The length of the text of message `seq`.
    pub(crate) fn len(&self, conn: u64, seq: u64) -> usize {
        self.compare(conn, seq, b"", 0).len
    }

    /// How far `bytes` agree with the text of message `seq`. The first `from` of them are known to agree.
    ///
    /// The comparison ends at the first difference, so that most other messages cost a few bytes.
    pub(crate) fn compare(&self, conn: u64, seq: u64, bytes: &[u8], from: usize) -> Agreement {
        self.template(seq).compare(self.seed, conn, seq, bytes, from)
    }

    /// Whether `bytes` are the text of message `seq`.
    pub(crate) fn is_text(&self, conn: u64, seq: u64, bytes: &[u8]) -> bool {
        self.len(conn, seq) == bytes.len() && self.begins_with_text(conn, seq, bytes)
    }

    /// Whether the text of message `seq`, without its line break, is a part of `bytes`, in upper or lower case. Bytes
    /// of more than [`SEARCHED`] are not searched.
    pub(crate) fn is_in(&self, conn: u64, seq: u64, bytes: &[u8]) -> bool {
        if bytes.len() > SEARCHED || self.len(conn, seq) > SEARCHED {
            return false;
        }
        let text = self.text(conn, seq).to_ascii_lowercase();
        let text = text.trim_ascii_end();
        // The search is linear in the length of both, whatever they contain.
        !text.is_empty() && memmem::find(&bytes.to_ascii_lowercase(), text).is_some()
    }

    /// Whether `bytes` are the text of message `seq` with another line end: `\r\n` in place of `\n`, or the reverse.
    pub(crate) fn is_text_with_other_end(&self, conn: u64, seq: u64, bytes: &[u8]) -> bool {
        let (own, len) = (self.break_len(seq), self.len(conn, seq));
        let got = if bytes.ends_with(b"\r\n") { 2 } else { 1 };
        let body = len - own;
        own > 0
            && got != own
            && bytes.ends_with(b"\n")
            && bytes.len() == body + got
            && self.compare(conn, seq, &bytes[..body], 0).agreed == body
    }

    /// Whether `bytes` begin with the text of message `seq`.
    pub(crate) fn begins_with_text(&self, conn: u64, seq: u64, bytes: &[u8]) -> bool {
        let Agreement { agreed, len } = self.compare(conn, seq, bytes, 0);
        agreed == len
    }

    /// How long a message can be in a run with this many connections, and numbers up to `last`.
    pub(crate) fn longest(&self, connections: u64, last: u64) -> u64 {
        let len = |template: &Template| template.compare(0, connections.saturating_sub(1), last, b"", 0).len as u64;
        self.templates.iter().map(len).max().unwrap_or(0)
    }

    /// The numbers from `from` to below `end` whose messages have different texts, the latest first. A template without
    /// a number and without random letters always has the same text; only its latest number is among them.
    pub(crate) fn distinct(&self, from: u64, end: u64) -> impl Iterator<Item = u64> {
        let count = self.templates.len() as u64;
        (from..end).rev().filter(move |&seq| end - seq <= count || self.template(seq).varies())
    }

    /// The number of the message before `seq` that has the same text, because the text has no number and no random
    /// letters.
    pub(crate) fn same_before(&self, seq: u64) -> Option<u64> {
        if self.template(seq).varies() { None } else { seq.checked_sub(self.templates.len() as u64) }
    }

    /// The length of the line break, `\n` or `\r\n`, at the end of message `seq`; 0 if there is none.
    pub(crate) fn break_len(&self, seq: u64) -> usize {
        match self.template(seq).parts.last() {
            Some(Part::Text(tail)) if tail.ends_with(b"\r\n") => 2,
            Some(Part::Text(tail)) if tail.ends_with(b"\n") => 1,
            _ => 0,
        }
    }

    /// How many lines message `seq` has; 0 if it does not end in a line break.
    pub(crate) fn lines(&self, seq: u64) -> usize {
        self.template(seq).lines
    }

    /// The number, below `end`, of the message that `bytes` are or begin with. `None` if there is none, or if the
    /// messages contain no number.
    pub(crate) fn recognize(&self, conn: u64, bytes: &[u8], end: u64) -> Option<u64> {
        self.find_number(conn, bytes, end, |template, len| template.lines == 0 || bytes.len() == len)
    }

    /// The same, if `bytes` are the whole message.
    pub(crate) fn recognize_whole(&self, conn: u64, bytes: &[u8], end: u64) -> Option<u64> {
        self.find_number(conn, bytes, end, |_, len| bytes.len() == len)
    }

    /// The number of a message that `bytes` begin with, and whose template and length are right.
    fn find_number(
        &self,
        conn: u64,
        bytes: &[u8],
        end: u64,
        is_right: impl Fn(&Template, usize) -> bool,
    ) -> Option<u64> {
        let texts = self.places.iter().filter_map(|place| bytes.get(place.start(conn)..));
        let mut numbers = texts.flat_map(numbers_at).filter(|&seq| seq < end);
        // A number names its template, so only one is compared, although a file may have thousands.
        numbers.find(|&seq| {
            let template = self.template(seq);
            let Agreement { agreed, len } = self.compare(conn, seq, bytes, 0);
            template.has_seq() && agreed == len && is_right(template, len)
        })
    }

    /// Whether every message contains its number.
    pub(crate) fn are_numbered(&self) -> bool {
        self.are_numbered
    }
}

/// Formats bytes for people: control characters and invalid UTF-8 as `\xHH`, and at most `limit` of the bytes.
pub(crate) fn show(bytes: &[u8], limit: usize) -> String {
    let shown = &bytes[..bytes.len().min(limit)];
    let mut out = String::with_capacity(shown.len());
    let hex = |out: &mut String, bytes: &[u8]| bytes.iter().for_each(|byte| out.push_str(&format!("\\x{byte:02x}")));
    for chunk in shown.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() || is_direction(c) {
                hex(&mut out, c.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                out.push(c);
            }
        }
        hex(&mut out, chunk.invalid());
    }
    if bytes.len() > limit {
        out.push_str(&format!("… ({} bytes)", bytes.len()));
    }
    out
}

/// Whether `c` changes the direction of the surrounding text, or is a separator that terminals treat as a line end.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
thread_local! {
    /// How many texts this thread has compared, so that a test can limit them.
    pub(crate) static COMPARISONS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
