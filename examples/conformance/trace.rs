//! The trace: one line per event, sorted into lanes, without anything that depends on chance.
//!
//! ```text
//!   c connect                       [srv+s1]
//!   srv connection s1               srv connection s1
//!   s1 data "ho"        ──▶         s1 data 4 "hola"
//!   c ready                         [c]
//!   s1 data "la"                    c connect
//!                                   c ready
//! ```
//!
//! Adjacent chunks of a socket are printed as one line, because the kernel may cut them anywhere. Long data is printed
//! as its hash.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Longer data is printed as its hash.
const SHOWN_LENGTH: usize = 60;

/// Collects lines in lanes.
pub struct Trace {
    /// The lanes of the scenario, in their order. They are printed before the others.
    listed: Vec<(Vec<String>, Lane)>,
    others: BTreeMap<String, Lane>,
    is_live: bool,
    /// Whether all received bytes are printed to stderr, in hexadecimal.
    dumps_bytes: bool,
}

type Lane = Vec<Entry>;

struct Entry {
    object: String,
    content: Content,
}

enum Content {
    Line(String),
    Bytes(Vec<u8>),
    Text(String),
}

/// Received data.
#[derive(Clone, Copy)]
pub enum Chunk<'a> {
    Bytes(&'a [u8]),
    Text(&'a str),
}

impl Chunk<'_> {
    pub fn bytes(&self) -> &[u8] {
        match self {
            Chunk::Bytes(bytes) => bytes,
            Chunk::Text(text) => text.as_bytes(),
        }
    }
}

impl Trace {
    /// A live trace is also printed to stderr.
    pub fn new(lanes: Vec<Vec<String>>, is_live: bool, dumps_bytes: bool) -> Trace {
        let listed = lanes.into_iter().map(|members| (members, Lane::new())).collect();
        Trace { listed, others: BTreeMap::new(), is_live, dumps_bytes }
    }

    pub fn line(&mut self, object: &str, text: &str) {
        if self.is_live {
            eprintln!("{object} {text}");
        }
        let entry = Entry { object: object.to_owned(), content: Content::Line(text.to_owned()) };
        self.lane(object).push(entry);
    }

    pub fn data(&mut self, object: &str, chunk: Chunk<'_>) {
        if self.is_live {
            eprintln!("{object} data chunk {}", chunk.bytes().len());
        }
        if self.dumps_bytes {
            let hex = chunk.bytes().iter().fold(String::new(), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            });
            eprintln!("RECEIVED {object} {hex}");
        }
        let lane = self.lane(object);
        match (lane.last_mut().filter(|last| last.object == object).map(|last| &mut last.content), chunk) {
            (Some(Content::Bytes(all)), Chunk::Bytes(more)) => return all.extend_from_slice(more),
            (Some(Content::Text(all)), Chunk::Text(more)) => return all.push_str(more),
            _ => {}
        }
        let content = match chunk {
            Chunk::Bytes(bytes) => Content::Bytes(bytes.to_owned()),
            Chunk::Text(text) => Content::Text(text.to_owned()),
        };
        lane.push(Entry { object: object.to_owned(), content });
    }

    fn lane(&mut self, object: &str) -> &mut Lane {
        let is_member = |(members, _): &(Vec<String>, Lane)| members.iter().any(|member| member == object);
        match self.listed.iter().rposition(is_member) {
            Some(place) => &mut self.listed[place].1,
            None => self.others.entry(object.to_owned()).or_default(),
        }
    }
}

/// The whole trace, in the format that is compared.
impl std::fmt::Display for Trace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let listed = self.listed.iter().map(|(members, lane)| (members.join("+"), lane));
        let others = self.others.iter().map(|(name, lane)| (name.clone(), lane));
        for (name, lane) in listed.chain(others).filter(|(_, lane)| !lane.is_empty()) {
            writeln!(f, "[{name}]")?;
            for entry in lane {
                writeln!(f, "{} {}", entry.object, entry.content.shown())?;
            }
        }
        Ok(())
    }
}

impl Content {
    fn shown(&self) -> String {
        match self {
            Content::Line(line) => line.clone(),
            Content::Bytes(bytes) => show("data", bytes.len(), bytes, || quote_bytes(bytes)),
            Content::Text(text) => show("text", text.chars().count(), text.as_bytes(), || quote_text(text)),
        }
    }
}

fn show(kind: &str, length: usize, bytes: &[u8], quote: impl FnOnce() -> String) -> String {
    if length > SHOWN_LENGTH {
        return format!("{kind} {length} fnv64={:016x}", fnv64(bytes));
    }
    format!("{kind} {length} {}", quote())
}

/// Quotes a text. Bytes that are not printable are escaped, other characters beyond ASCII are `\u{h}`.
pub fn quote_text(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match u8::try_from(c) {
            Ok(byte) if byte.is_ascii() => escape(&mut quoted, byte),
            _ => _ = write!(quoted, "\\u{{{:x}}}", u32::from(c)),
        }
    }
    quoted + "\""
}

/// Quotes bytes. Those that are not printable ASCII are escaped, most of them as `\xhh`.
fn quote_bytes(bytes: &[u8]) -> String {
    let mut quoted = String::from("\"");
    for &byte in bytes {
        escape(&mut quoted, byte);
    }
    quoted + "\""
}

fn escape(out: &mut String, byte: u8) {
    match byte {
        b'"' => out.push_str("\\\""),
        b'\\' => out.push_str("\\\\"),
        b'\n' => out.push_str("\\n"),
        b'\r' => out.push_str("\\r"),
        b'\t' => out.push_str("\\t"),
        0x20..0x7f => out.push(byte.into()),
        _ => _ = write!(out, "\\x{byte:02x}"),
    }
}

/// FNV-1a, 64 bits.
fn fnv64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf29ce484222325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100000001b3))
}
