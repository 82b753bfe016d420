//! The streams that a link reads, with the positions up to which it has read them. They outlive the connection: after a
//! loss the link goes on where it was.

use super::entry::{Entry, EntryId};
use super::frame::{self, Reply};
use crate::net::Error;

/// How many entries of each stream Redis may send at a time, as in Node.
const MAX_COUNT: u32 = 100;

/// The streams in the order in which they were added. `F` is called with entries.
pub(super) struct Streams<F> {
    list: Vec<Stream<F>>,
    /// How many entries the next command asks for.
    count: u32,
}

struct Stream<F> {
    key: Box<[u8]>,
    /// The last entry that was read. `None`: Redis must be asked which entry is the last one.
    position: Option<EntryId>,
    /// In the order in which they were added. Redis is asked for the stream once.
    calls: Vec<F>,
}

impl<F> Default for Streams<F> {
    fn default() -> Self {
        Streams { list: Vec::new(), count: MAX_COUNT }
    }
}

impl<F: Clone> Streams<F> {
    /// Adds a stream, or a further call for one that is read already.
    pub fn push(&mut self, key: &[u8], call: F) {
        match self.list.iter_mut().find(|stream| *stream.key == *key) {
            Some(stream) => stream.calls.push(call),
            None => self.list.push(Stream { key: key.into(), position: None, calls: vec![call] }),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Appends commands that ask for the last entry of each stream. A stream that was read already may have lost its
    /// entries in a restart of Redis.
    /// Returns the numbers of the streams, for [`answered`](Self::answered).
    pub fn push_questions(&self, bytes: &mut Vec<u8>) -> impl Iterator<Item = usize> {
        self.list.iter().for_each(|stream| stream.push_question(bytes));
        0..self.list.len()
    }

    /// The same for the streams that have no position yet.
    pub fn push_new_questions(&self, bytes: &mut Vec<u8>) -> impl Iterator<Item = usize> {
        let new = self.list.iter().enumerate().filter(|(_, stream)| stream.position.is_none());
        new.map(|(number, stream)| {
            stream.push_question(bytes);
            number
        })
    }

    /// Redis has sent the last entry of a stream, or none if it is empty.
    pub fn answered(&mut self, number: usize, reply: &Reply<'_>) {
        let last = reply.items().first().and_then(Entry::from_reply).map_or(EntryId::default(), |entry| entry.id);
        if let Some(stream) = self.list.get_mut(number) {
            stream.position = Some(stream.position.map_or(last, |position| position.min(last)));
        }
    }

    /// Appends the command that waits for new entries, for at most so many milliseconds.
    pub fn push_read(&self, bytes: &mut Vec<u8>, milliseconds: u128) {
        // Zero would be no limit.
        let [limit, count] = [milliseconds.max(1).to_string(), self.count.to_string()];
        let mut parts = vec![&b"XREAD"[..], b"BLOCK", limit.as_bytes(), b"COUNT", count.as_bytes(), b"STREAMS"];
        parts.extend(self.list.iter().map(|stream| &*stream.key));
        let positions: Vec<String> =
            self.list.iter().map(|stream| stream.position.unwrap_or_default().to_string()).collect();
        parts.extend(positions.iter().map(|position| position.as_bytes()));
        frame::push_command(bytes, &parts);
    }

    /// The position of a stream.
    pub fn position(&self, key: &[u8]) -> Option<EntryId> {
        self.list.iter().find(|stream| *stream.key == *key)?.position
    }

    /// Whether all streams have a position.
    pub fn have_positions(&self) -> bool {
        self.list.iter().all(|stream| stream.position.is_some())
    }

    /// Notes that an entry was read. Returns how many calls it has: none for a stream that is not read.
    pub fn read(&mut self, key: &[u8], entry: EntryId) -> usize {
        let Some(stream) = self.list.iter_mut().find(|stream| *stream.key == *key) else { return 0 };
        stream.position = Some(entry);
        stream.calls.len()
    }

    /// A call of a stream, by its number.
    pub fn call(&self, key: &[u8], number: usize) -> Option<F> {
        self.list.iter().find(|stream| *stream.key == *key)?.calls.get(number).cloned()
    }

    /// Entries have come in one reply: the next one may have more of them.
    pub fn received(&mut self) {
        self.count = self.count.saturating_mul(2).min(MAX_COUNT);
    }

    /// The connection is lost. If a reply was too long, the next one has a single entry.
    pub fn lost(&mut self, error: &Error) {
        if error.code() == "E_REDIS_PROTOCOL" {
            self.count = 1;
        }
    }
}

impl<F> Stream<F> {
    fn push_question(&self, bytes: &mut Vec<u8>) {
        frame::push_command(bytes, &[b"XREVRANGE", &self.key, b"+", b"-", b"COUNT", b"1"]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(id: &'static str) -> Reply<'static> {
        Reply::Array(vec![Reply::Array(vec![Reply::Bytes(id.as_bytes()), Reply::Array(Vec::new())])])
    }

    fn command(streams: &Streams<char>) -> String {
        let mut bytes = Vec::new();
        streams.push_read(&mut bytes, 5000);
        let (reply, _) = frame::decode(&bytes).expect("a frame").expect("a whole one");
        let parts = reply.items().iter().filter_map(Reply::bytes).map(String::from_utf8_lossy);
        parts.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_stream_is_read_from_its_last_entry_on_and_after_a_loss_from_where_it_was() {
        let mut streams = Streams::default();
        for (key, call) in [(b"a", 'x'), (b"b", 'y')] {
            streams.push(key, call);
        }
        assert!(!streams.have_positions());
        streams.answered(0, &last("5-1"));
        streams.answered(1, &Reply::Array(Vec::new()));
        assert!(streams.have_positions());
        assert_eq!([streams.position(b"a"), streams.position(b"c")], ["5-1".parse().ok(), None]);
        assert_eq!(command(&streams), "XREAD BLOCK 5000 COUNT 100 STREAMS a b 5-1 0-0");
        assert_eq!(streams.read(b"a", "5-2".parse().expect("an id")), 1);
        assert_eq!([streams.call(b"a", 0), streams.call(b"a", 1), streams.call(b"c", 0)], [Some('x'), None, None]);
        assert_eq!(streams.read(b"c", "5-2".parse().expect("an id")), 0, "it was not asked for");
        streams.answered(0, &last("7-0"));
        assert_eq!(command(&streams), "XREAD BLOCK 5000 COUNT 100 STREAMS a b 5-2 0-0");
        streams.answered(0, &Reply::Array(Vec::new()));
        assert_eq!(command(&streams), "XREAD BLOCK 5000 COUNT 100 STREAMS a b 0-0 0-0", "Redis has lost its data");
    }

    #[test]
    fn a_stream_with_two_calls_is_asked_for_once() {
        let mut streams = Streams::default();
        streams.push(b"a", 'x');
        streams.answered(0, &last("5-1"));
        streams.push(b"a", 'y');
        assert!(streams.have_positions());
        assert_eq!(command(&streams), "XREAD BLOCK 5000 COUNT 100 STREAMS a 5-1");
        assert_eq!(streams.read(b"a", "5-2".parse().expect("an id")), 2);
        assert_eq!([0, 1, 2].map(|number| streams.call(b"a", number)), [Some('x'), Some('y'), None]);
    }

    #[test]
    fn after_a_reply_that_is_too_long_entries_are_read_one_by_one_at_first() {
        let mut streams = Streams::default();
        streams.push(b"a", 'x');
        streams.lost(&Error::custom("ECONNRESET", "lost"));
        assert!(command(&streams).contains("COUNT 100 "));
        streams.lost(&Error::custom("E_REDIS_PROTOCOL", "too long"));
        for count in ["COUNT 1 ", "COUNT 2 ", "COUNT 4 "] {
            assert!(command(&streams).contains(count), "{}", command(&streams));
            streams.received();
        }
    }
}
