//! Entries of streams and their ids.

use std::fmt;
use std::str::FromStr;

use super::frame::Reply;

/// The id of an entry: a time in milliseconds, and a number. Redis gives each entry of a stream a greater one than the
/// entry before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct EntryId {
    /// Milliseconds since 1970 by the clock of Redis.
    pub milliseconds: u64,
    /// The number of the entry in this millisecond.
    pub sequence: u64,
}

impl EntryId {
    /// The least id that is greater.
    pub fn next(self) -> EntryId {
        match self.sequence.checked_add(1) {
            Some(sequence) => EntryId { sequence, ..self },
            None => EntryId { milliseconds: self.milliseconds.saturating_add(1), sequence: 0 },
        }
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.milliseconds, self.sequence)
    }
}

/// A text that is not the id of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoEntryId;

impl fmt::Display for NoEntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the id of an entry has two numbers with a hyphen between them")
    }
}

impl std::error::Error for NoEntryId {}

impl FromStr for EntryId {
    type Err = NoEntryId;

    /// Reads `1700000000000-0`.
    fn from_str(text: &str) -> Result<EntryId, NoEntryId> {
        // Parsing accepts a sign, which an id does not have.
        let number = |text: &str| text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
        let (milliseconds, sequence) = text.split_once('-').ok_or(NoEntryId)?;
        Ok(EntryId {
            milliseconds: number(milliseconds).ok_or(NoEntryId)?,
            sequence: number(sequence).ok_or(NoEntryId)?,
        })
    }
}

/// An entry of a stream, borrowed from the received bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry<'a> {
    /// Its id.
    pub id: EntryId,
    fields: &'a [Reply<'a>],
}

impl<'a> Entry<'a> {
    /// Reads an entry as `XRANGE` and `XREAD` return it: its id, and an array of names and values.
    pub fn from_reply(reply: &'a Reply<'a>) -> Option<Entry<'a>> {
        let [id, fields] = reply.items() else { return None };
        let id = std::str::from_utf8(id.bytes()?).ok()?.parse().ok()?;
        Some(Entry { id, fields: fields.items() })
    }

    /// The value of a field. The first one, if there are several of this name.
    pub fn field(&self, name: &str) -> Option<&'a [u8]> {
        self.fields.chunks_exact(2).find(|pair| pair[0].bytes() == Some(name.as_bytes()))?[1].bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_written_and_ordered_as_redis_does() {
        let id = |text: &str| text.parse::<EntryId>();
        for text in ["0-0", "1700000000000-7", "18446744073709551615-18446744073709551615"] {
            assert_eq!(id(text).expect("an id").to_string(), text);
        }
        for text in ["", "1", "-", "1-", "-1", "+1-0", "1-+0", "1-0-0", "1 -0", "18446744073709551616-0", "$", "é-0"] {
            assert_eq!(id(text), Err(NoEntryId), "{text}");
        }
        let [a, b, c, d] = ["1-9", "1-10", "9-10", "10-1"].map(|text| id(text).expect("an id"));
        assert!(a < b && b < c && c < d);
        assert_eq!(id("1-9").map(EntryId::next), id("1-10"));
        assert_eq!(id("1-18446744073709551615").map(EntryId::next), id("2-0"));
    }

    #[test]
    fn an_entry_has_fields_and_anything_else_is_none() {
        let bytes = |text: &'static str| Reply::Bytes(text.as_bytes());
        let fields = Reply::Array(vec![bytes("a"), bytes("1"), bytes("b"), bytes(""), bytes("odd")]);
        let reply = Reply::Array(vec![bytes("5-1"), fields]);
        let entry = Entry::from_reply(&reply).expect("an entry");
        assert_eq!(entry.id, EntryId { milliseconds: 5, sequence: 1 });
        assert_eq!((entry.field("a"), entry.field("b")), (Some(&b"1"[..]), Some(&b""[..])));
        assert_eq!((entry.field("odd"), entry.field("c")), (None, None));
        for other in [Reply::Nil, bytes("5-1"), Reply::Array(vec![bytes("5-1")]), Reply::Array(vec![Reply::Nil; 2])] {
            assert_eq!(Entry::from_reply(&other), None, "{other:?}");
        }
    }
}
