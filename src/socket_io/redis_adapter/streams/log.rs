//! The last broadcasts of a namespace in its stream, for clients that come back.
//!
//! ```text
//!   stream   …  5-0   5-1   6-0   6-1   7-0
//!               |                       |
//!               start                   the last entry that was read
//!               all broadcasts behind it are in the log
//! ```
//!
//! The log is limited in entries and in bytes; the oldest are dropped first. Older ones are still in Redis.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::redis::EntryId;
use crate::socket_io::adapter::MissedEvent;
use crate::socket_io::redis_adapter::wire::Broadcast;

/// A broadcast that clients can miss.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Kept {
    pub id: EntryId,
    pub broadcast: Rc<Broadcast>,
}

impl Kept {
    /// The event, if it was for a socket in these rooms.
    pub fn missed_in(&self, rooms: &[String]) -> Option<MissedEvent> {
        missed_in(&self.broadcast, rooms, || Some(self.id.to_string()))
    }

    /// An estimate of its memory.
    pub fn cost(&self) -> usize {
        let Broadcast { name, arguments, target, .. } = &*self.broadcast;
        let arguments = arguments.as_arguments();
        let attachments: usize = arguments.attachments().iter().map(Vec::len).sum();
        let names = target.rooms.iter().chain(&target.except).map(|name| name.len() + 32);
        ENTRY_COST + name.len() + arguments.as_json().len() + attachments + names.sum::<usize>()
    }
}

/// A broadcast as an event that a socket in these rooms has missed, if it was for the socket.
pub(super) fn missed_in(
    broadcast: &Broadcast,
    rooms: &[String],
    offset: impl FnOnce() -> Option<String>,
) -> Option<MissedEvent> {
    let Broadcast { name, arguments, target, .. } = broadcast;
    target.includes(rooms).then(|| MissedEvent { name: name.clone(), arguments: arguments.clone(), offset: offset() })
}

/// The memory of an entry without texts, from the sizes of the types and of allocations.
const ENTRY_COST: usize = 250;

/// The log of one namespace.
#[derive(Debug)]
pub(super) struct Log {
    entries: VecDeque<Kept>,
    /// Everything behind it is in `entries`. `None`: nothing is known yet.
    start: Option<EntryId>,
    /// Entries were dropped before this node has read them, and it is not known yet with which entry it goes on.
    has_gap: bool,
    bytes: usize,
    max_entries: usize,
    max_bytes: usize,
}

impl Log {
    pub fn new(max_entries: usize, max_bytes: usize) -> Log {
        Log { entries: VecDeque::new(), start: None, has_gap: false, bytes: 0, max_entries, max_bytes }
    }

    /// The entry of this id is the next one of the namespace. Anything that is not a broadcast is only noted.
    pub fn note(&mut self, id: EntryId) {
        let last = self.entries.back().map(|kept| kept.id).max(self.start);
        if last.is_some_and(|last| id <= last) {
            // Redis has lost its data, and its clock is behind.
            self.clear();
        }
        self.start.get_or_insert(id);
    }

    fn clear(&mut self) {
        self.entries = VecDeque::new();
        self.bytes = 0;
        self.start = None;
    }

    /// Entries were dropped before this node has read them.
    pub fn begin_gap(&mut self) {
        self.clear();
        self.has_gap = true;
    }

    /// The entry of this id is the first one behind the gap, in any namespace. If it is for this one, it is noted
    /// already. Returns `false` if there was no gap.
    pub fn end_gap(&mut self, id: EntryId) -> bool {
        let had_gap = std::mem::take(&mut self.has_gap);
        if had_gap {
            self.start.get_or_insert(id);
        }
        had_gap
    }

    /// Whether nothing is known before the next entry is read.
    pub fn has_gap(&self) -> bool {
        self.has_gap
    }

    /// Adds a broadcast behind all others.
    pub fn push(&mut self, kept: Kept) {
        self.bytes += kept.cost();
        self.entries.push_back(kept);
        while self.entries.len() > self.max_entries || self.bytes > self.max_bytes {
            let Some(dropped) = self.entries.pop_front() else { return };
            self.bytes -= dropped.cost();
            self.start = Some(dropped.id);
        }
    }

    /// How many bytes it may have.
    pub fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// Where it begins. If nothing is known yet, it begins now, behind the entry of this id.
    pub fn start(&mut self, now: EntryId) -> EntryId {
        *self.start.get_or_insert(now)
    }

    /// The broadcasts behind an entry that are for a socket in these rooms. `None`: some of them are not in the log.
    pub fn missed_since(&self, since: EntryId, rooms: &[String]) -> Option<Vec<MissedEvent>> {
        if self.start.is_none_or(|start| since < start) {
            return None;
        }
        let first = self.entries.partition_point(|kept| kept.id <= since);
        Some(self.entries.range(first..).filter_map(|kept| kept.missed_in(rooms)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket_io::OwnedArguments;
    use crate::socket_io::adapter::Target;

    fn id(sequence: u64) -> EntryId {
        EntryId { milliseconds: 5, sequence }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn kept(number: u64, rooms: &[&str], except: &[&str]) -> Kept {
        let broadcast = Broadcast {
            name: number.to_string(),
            target: Target { rooms: names(rooms), except: names(except) },
            arguments: OwnedArguments::default(),
            ..Broadcast::default()
        };
        Kept { id: id(number), broadcast: Rc::new(broadcast) }
    }

    fn missed(log: &Log, since: u64, rooms: &[&str]) -> Option<Vec<String>> {
        let missed = log.missed_since(id(since), &names(rooms))?;
        assert!(missed.iter().all(|event| event.offset == Some(format!("5-{}", event.name))));
        Some(missed.into_iter().map(|event| event.name).collect())
    }

    fn push(log: &mut Log, kept: Kept) {
        log.note(kept.id);
        log.push(kept);
    }

    #[test]
    fn a_client_gets_what_was_for_its_rooms_behind_its_offset() {
        let mut log = Log::new(100, 1 << 20);
        assert_eq!(missed(&log, 1, &["s"]), None, "nothing is known yet");
        push(&mut log, kept(1, &[], &[]));
        push(&mut log, kept(2, &["s"], &[]));
        push(&mut log, kept(3, &["other"], &[]));
        push(&mut log, kept(4, &["r", "other"], &[]));
        push(&mut log, kept(5, &[], &["r"]));
        assert_eq!(missed(&log, 1, &["s", "r"]), Some(names(&["2", "4"])));
        assert_eq!(missed(&log, 2, &["s"]), Some(names(&["5"])));
        assert_eq!(missed(&log, 5, &["s"]), Some(names(&[])));
        assert_eq!(missed(&log, 0, &["s"]), None, "there may have been entries before the first one");
    }

    #[test]
    fn a_log_begins_where_it_is_asked_first() {
        let mut log = Log::new(100, 1 << 20);
        assert_eq!(log.start(id(7)), id(7));
        push(&mut log, kept(8, &[], &[]));
        assert_eq!(log.start(id(8)), id(7));
        assert_eq!(missed(&log, 7, &[]), Some(names(&["8"])));
    }

    #[test]
    fn the_oldest_entries_are_dropped_and_then_it_does_not_answer() {
        for mut log in [Log::new(2, 1 << 20), Log::new(100, 3 * ENTRY_COST - 1)] {
            for number in 1..=4 {
                push(&mut log, kept(number, &[], &[]));
            }
            assert_eq!(missed(&log, 1, &[]), None);
            assert_eq!(missed(&log, 2, &[]), Some(names(&["3", "4"])));
        }
    }

    #[test]
    fn what_was_before_a_gap_is_not_known_behind_it() {
        let mut log = Log::new(100, 1 << 20);
        push(&mut log, kept(1, &[], &[]));
        assert!(!log.end_gap(id(2)), "there was none");
        log.begin_gap();
        assert!(log.has_gap());
        assert_eq!(missed(&log, 1, &[]), None);
        assert!(log.end_gap(id(7)) && !log.has_gap());
        push(&mut log, kept(8, &[], &[]));
        assert_eq!(missed(&log, 1, &[]), None);
        assert_eq!(missed(&log, 7, &[]), Some(names(&["8"])));
    }

    #[test]
    fn entries_of_a_stream_that_begins_again_are_a_new_log() {
        let mut log = Log::new(100, 1 << 20);
        push(&mut log, kept(8, &[], &[]));
        push(&mut log, kept(2, &[], &[]));
        push(&mut log, kept(3, &[], &[]));
        assert_eq!(missed(&log, 2, &[]), Some(names(&["3"])));
        assert_eq!(missed(&log, 1, &[]), None);
    }
}
