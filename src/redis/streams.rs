//! The streams that a link reads, with the positions up to which it has read them. They outlive the connection: after a
//! loss the link goes on where it was.

use std::time::{Duration, Instant};

use super::entry::{Entry, EntryId};
use super::frame::{self, Reply};
use crate::net::Error;

/// How many entries of each stream Redis may send at a time, as in Node.
const MAX_COUNT: u32 = 100;

/// If a command that reads follows the one before it so soon, and the reply had fewer entries than it could, Redis is
/// not asked whether it has dropped entries: it cannot have got enough new ones for that.
const CHECK_AFTER: Duration = Duration::from_millis(10);

/// The streams in the order in which they were added. `F` is called with entries.
pub(super) struct Streams<F> {
    list: Vec<Stream<F>>,
    /// The last number of a stream or of a call.
    last: u64,
    /// How many entries the next command asks for.
    count: u32,
    /// When entries were asked for last. `None`: not on this connection.
    asked: Option<Instant>,
    /// The last reply had as many entries of a stream as Redis was asked for: there may be more.
    was_full: bool,
}

struct Stream<F> {
    /// Names it in questions: it may be removed and added again before the answer comes.
    number: u64,
    key: Box<[u8]>,
    /// The last entry that was read. `None`: Redis must be asked which entry is the last one.
    position: Option<EntryId>,
    /// Entries were dropped before they were read, and none was read since.
    has_gap: bool,
    /// By their numbers, in the order in which they were added. Redis is asked for the stream once.
    calls: Vec<(u64, F)>,
}

impl<F> Default for Streams<F> {
    fn default() -> Self {
        Streams { list: Vec::new(), last: 0, count: MAX_COUNT, asked: None, was_full: false }
    }
}

impl<F: Clone> Streams<F> {
    /// Adds a stream, or a further call for one that is read already. Returns the number of the call.
    pub fn push(&mut self, key: &[u8], call: F) -> u64 {
        self.last += 1;
        let calls = vec![(self.last, call)];
        match self.list.iter_mut().find(|stream| *stream.key == *key) {
            Some(stream) => stream.calls.extend(calls),
            None => {
                let number = self.last;
                self.list.push(Stream { number, key: key.into(), position: None, has_gap: false, calls });
            }
        }
        self.last
    }

    /// Removes a call, and with its last call a stream.
    pub fn remove(&mut self, number: u64) {
        for stream in &mut self.list {
            stream.calls.retain(|(other, _)| *other != number);
        }
        self.list.retain(|stream| !stream.calls.is_empty());
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Appends commands that ask for the last entry of each stream. A stream that was read already may have lost its
    /// entries in a restart of Redis.
    /// Returns the numbers of the streams, for [`answered`](Self::answered).
    pub fn push_questions(&self, bytes: &mut Vec<u8>) -> impl Iterator<Item = u64> {
        self.list.iter().for_each(|stream| stream.push_question(bytes));
        self.list.iter().map(|stream| stream.number)
    }

    /// The same for the streams that have no position yet.
    pub fn push_new_questions(&self, bytes: &mut Vec<u8>) -> impl Iterator<Item = u64> {
        let new = self.list.iter().filter(|stream| stream.position.is_none());
        new.map(|stream| {
            stream.push_question(bytes);
            stream.number
        })
    }

    /// Redis has sent the last entry of a stream, or none if it is empty.
    pub fn answered(&mut self, number: u64, reply: &Reply<'_>) {
        let last = reply.items().first().and_then(Entry::from_reply).map_or(EntryId::default(), |entry| entry.id);
        if let Some(stream) = self.list.iter_mut().find(|stream| stream.number == number) {
            stream.position = Some(stream.position.map_or(last, |position| position.min(last)));
        }
    }

    /// Appends commands that ask for the oldest entry up to the position of each stream, if entries may have been
    /// dropped that were not read. Returns the numbers of the streams, for [`checked`](Self::checked).
    ///
    /// The oldest entries are dropped first: if there is one of them, all behind the position are there. This is true
    /// also when the next command is carried out, because Redis does so at once.
    pub fn push_checks(&mut self, bytes: &mut Vec<u8>, now: Instant) -> Vec<u64> {
        let asked = self.asked.replace(now);
        if !self.was_full && asked.is_some_and(|asked| now.saturating_duration_since(asked) < CHECK_AFTER) {
            return Vec::new();
        }
        let read = self.list.iter().filter(|stream| !stream.has_gap);
        let with_position = read.filter_map(|stream| Some((stream, stream.position?)));
        let with_entries = with_position.filter(|(_, position)| *position != EntryId::default());
        let checked = with_entries.map(|(stream, position)| {
            let position = position.to_string();
            frame::push_command(bytes, &[b"XRANGE", &stream.key, b"-", position.as_bytes(), b"COUNT", b"1"]);
            stream.number
        });
        checked.collect()
    }

    /// Redis has sent the oldest entry up to the position, or none. Returns the key of the stream if entries were
    /// dropped before they were read.
    pub fn checked(&mut self, number: u64, reply: &Reply<'_>) -> Option<Box<[u8]>> {
        let stream = self.list.iter_mut().find(|stream| stream.number == number)?;
        if !reply.items().is_empty() {
            return None;
        }
        stream.has_gap = true;
        Some(stream.key.clone())
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

    /// Notes that an entry was read. Returns `false` if the stream is not read, or not yet.
    pub fn read(&mut self, key: &[u8], entry: EntryId) -> bool {
        let stream = self.list.iter_mut().find(|stream| *stream.key == *key && stream.position.is_some());
        let Some(stream) = stream else { return false };
        (stream.position, stream.has_gap) = (Some(entry), false);
        true
    }

    /// The first call of a stream behind the one of number `after`. A caller that asks again after each call calls none
    /// that was removed meanwhile.
    pub fn next_call(&self, key: &[u8], after: u64) -> Option<(u64, F)> {
        let stream = self.list.iter().find(|stream| *stream.key == *key)?;
        stream.calls.iter().find(|(number, _)| *number > after).cloned()
    }

    /// A reply has come, with at most so many entries of one stream: the next one may have more of them.
    pub fn received(&mut self, entries: usize) {
        self.was_full = u32::try_from(entries).is_ok_and(|entries| entries >= self.count);
        self.count = self.count.saturating_mul(2).min(MAX_COUNT);
    }

    /// The connection is lost. If a reply was too long, the next one has a single entry.
    pub fn lost(&mut self, error: &Error) {
        self.asked = None;
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
        text(&bytes)
    }

    /// The first command of these bytes.
    fn text(bytes: &[u8]) -> String {
        let (reply, _) = frame::decode(bytes).expect("a frame").expect("a whole one");
        let parts = reply.items().iter().filter_map(Reply::bytes).map(String::from_utf8_lossy);
        parts.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_stream_is_read_from_its_last_entry_on_and_after_a_loss_from_where_it_was() {
        let mut streams = Streams::default();
        let [a, b] = [(b"a", 'x'), (b"b", 'y')].map(|(key, call)| streams.push(key, call));
        assert!(!streams.have_positions());
        streams.answered(a, &last("5-1"));
        streams.answered(b, &Reply::Array(Vec::new()));
        assert!(streams.have_positions());
        assert_eq!([streams.position(b"a"), streams.position(b"c")], ["5-1".parse().ok(), None]);
        assert_eq!(command(&streams), "XREAD BLOCK 5000 COUNT 100 STREAMS a b 5-1 0-0");
        assert!(streams.read(b"a", "5-2".parse().expect("an id")));
        assert_eq!([streams.next_call(b"a", 0), streams.next_call(b"a", a)], [Some((a, 'x')), None]);
        assert!(!streams.read(b"c", "5-2".parse().expect("an id")), "it was not asked for");
        streams.answered(a, &last("7-0"));
        assert_eq!(command(&streams), "XREAD BLOCK 5000 COUNT 100 STREAMS a b 5-2 0-0");
        streams.answered(a, &Reply::Array(Vec::new()));
        assert_eq!(command(&streams), "XREAD BLOCK 5000 COUNT 100 STREAMS a b 0-0 0-0", "Redis has lost its data");
    }

    #[test]
    fn a_stream_with_two_calls_is_asked_for_once() {
        let mut streams = Streams::default();
        let x = streams.push(b"a", 'x');
        streams.answered(x, &last("5-1"));
        let y = streams.push(b"a", 'y');
        assert!(streams.have_positions());
        assert_eq!(command(&streams), "XREAD BLOCK 5000 COUNT 100 STREAMS a 5-1");
        assert!(streams.read(b"a", "5-2".parse().expect("an id")));
        assert_eq!([0, x, y].map(|after| streams.next_call(b"a", after)), [Some((x, 'x')), Some((y, 'y')), None]);
        streams.remove(x);
        assert_eq!(streams.next_call(b"a", 0), Some((y, 'y')));
        assert!(streams.position(b"a").is_some());
        streams.remove(y);
        assert!(streams.is_empty());
    }

    #[test]
    fn a_stream_that_was_removed_and_added_again_begins_with_its_last_entry() {
        let mut streams = Streams::default();
        let old = streams.push(b"a", 'x');
        streams.remove(old);
        let new = streams.push(b"a", 'y');
        streams.answered(old, &last("5-1"));
        assert!(!streams.have_positions(), "the answer is for the old one");
        assert!(!streams.read(b"a", "5-2".parse().expect("an id")), "so is an entry");
        streams.answered(new, &last("5-3"));
        assert_eq!(streams.position(b"a"), "5-3".parse().ok());
    }

    #[test]
    fn entries_that_were_dropped_before_they_were_read_are_noticed_once() {
        let mut streams = Streams::default();
        let [a, b] = [(b"a", 'x'), (b"b", 'y')].map(|(key, call)| streams.push(key, call));
        streams.answered(a, &last("5-1"));
        streams.answered(b, &Reply::Array(Vec::new()));
        let start = Instant::now();
        let check = |streams: &mut Streams<char>, milliseconds| {
            let mut bytes = Vec::new();
            let numbers = streams.push_checks(&mut bytes, start + Duration::from_millis(milliseconds));
            (numbers.clone(), if numbers.is_empty() { String::new() } else { text(&bytes) })
        };
        // An empty stream has no entry that could be dropped.
        assert_eq!(check(&mut streams, 100), (vec![a], "XRANGE a - 5-1 COUNT 1".to_owned()));
        assert_eq!(streams.checked(a, &last("4-0")), None);
        assert_eq!(check(&mut streams, 109).0, [0; 0], "too little time for so many entries");
        streams.received(100);
        assert_eq!(check(&mut streams, 110).0, [a], "there are more entries");
        streams.received(99);
        assert_eq!(check(&mut streams, 120).0, [a], "much time has passed");
        assert_eq!(streams.checked(a, &Reply::Array(Vec::new())).as_deref(), Some(&b"a"[..]));
        assert_eq!(check(&mut streams, 200).0, [0; 0], "it is known");
        assert!(streams.read(b"a", "9-0".parse().expect("an id")));
        assert_eq!(check(&mut streams, 300).1, "XRANGE a - 9-0 COUNT 1");
        streams.lost(&Error::custom("ECONNRESET", "lost"));
        assert_eq!(check(&mut streams, 300).0, [a], "with each connection");
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
            streams.received(0);
        }
    }
}
