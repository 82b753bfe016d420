//! Events that wait until the client is connected. Their number is not limited, but their bytes are.

use std::collections::VecDeque;
use std::time::Instant;

/// An event that waits.
#[derive(Debug)]
pub(super) struct Entry {
    pub name: Box<str>,
    /// The text packet, with the type of Engine.IO.
    pub text: String,
    pub attachments: Vec<Vec<u8>>,
    /// The number of its acknowledgement.
    pub id: Option<u64>,
    /// It is not sent any longer from then on.
    pub deadline: Option<Instant>,
}

impl Entry {
    /// Its memory, in bytes.
    fn size(&self) -> usize {
        let attachments: usize = self.attachments.iter().map(|bytes| bytes.len() + size_of::<Vec<u8>>()).sum();
        size_of::<Entry>() + self.name.len() + self.text.len() + attachments
    }
}

/// The events that wait, in the order in which they were emitted.
#[derive(Default, Debug)]
pub(super) struct Buffer {
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl Buffer {
    /// Adds an event if all of them together have at most `limit` bytes. Returns whether it was added.
    pub fn push(&mut self, entry: Entry, limit: usize) -> bool {
        let size = entry.size();
        if self.bytes.saturating_add(size) > limit {
            return false;
        }
        self.bytes += size;
        self.entries.push_back(entry);
        true
    }

    /// Takes the first event.
    pub fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.size();
        if self.entries.is_empty() {
            // A client that is connected has no buffer.
            *self = Buffer::default();
        }
        Some(entry)
    }

    /// The numbers of the acknowledgements of all events.
    pub fn ids(&self) -> impl Iterator<Item = u64> {
        self.entries.iter().filter_map(|entry| entry.id)
    }

    /// Drops the events whose deadline is not after `now`.
    pub fn expire(&mut self, now: Instant) {
        let is_expired = |entry: &Entry| entry.deadline.is_some_and(|deadline| deadline <= now);
        let expired: usize = self.entries.iter().filter(|entry| is_expired(entry)).map(Entry::size).sum();
        if expired > 0 {
            self.entries.retain(|entry| !is_expired(entry));
            self.bytes -= expired;
        }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn entry(id: Option<u64>, text: &str, deadline: Option<Instant>) -> Entry {
        Entry { name: "e".into(), text: text.to_owned(), attachments: Vec::new(), id, deadline }
    }

    #[test]
    fn events_come_out_in_their_order_and_give_their_bytes_back() {
        let mut buffer = Buffer::default();
        for id in 0..3 {
            assert!(buffer.push(entry(Some(id), "hola", None), 10_000));
        }
        assert_eq!(buffer.ids().collect::<Vec<_>>(), [0, 1, 2]);
        for id in 0..3 {
            assert_eq!(buffer.pop().and_then(|entry| entry.id), Some(id));
        }
        assert_eq!((buffer.pop().is_none(), buffer.bytes, buffer.len()), (true, 0, 0));
    }

    #[test]
    fn an_event_for_which_there_is_no_room_is_refused() {
        let mut buffer = Buffer::default();
        let size = entry(None, "hola", None).size();
        assert!(buffer.push(entry(None, "hola", None), 2 * size));
        assert!(buffer.push(entry(None, "hola", None), 2 * size));
        assert!(!buffer.push(entry(None, "", None), 2 * size));
        buffer.pop();
        assert!(buffer.push(entry(None, "", None), 2 * size));
        let mut large = entry(None, "", None);
        large.attachments.push(vec![0; 2 * size]);
        assert!(!buffer.push(large, 2 * size), "attachments count");
    }

    #[test]
    fn an_event_is_dropped_at_its_deadline() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let mut buffer = Buffer::default();
        for (id, deadline) in [(0, None), (1, Some(now)), (2, Some(now + second)), (3, Some(now - second))] {
            buffer.push(entry(Some(id), "hola", deadline), 10_000);
        }
        buffer.expire(now);
        assert_eq!(buffer.ids().collect::<Vec<_>>(), [0, 2]);
        buffer.expire(now + second);
        assert_eq!(buffer.ids().collect::<Vec<_>>(), [0]);
        buffer.pop();
        assert_eq!(buffer.bytes, 0);
    }
}
