//! The ring buffer of trace records.

use std::fmt;
use std::mem;
use std::time::Duration;

use super::{Kind, Phase};

/// One action of the loop, in 32 bytes.
///
/// Records are numbered from the beginning of the recording; [`Trace::drain`] passes the number along.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Record {
    /// When it began, in nanoseconds since the loop was made.
    pub start_ns: u64,
    /// The number of the record that caused it, cut to 32 bits; its own number if nothing did.
    pub cause: u32,
    /// The serial of the socket or server that it concerns, or 0.
    pub subject: u32,
    /// A number of bytes, events or milliseconds, depending on the kind.
    pub size: u32,
    /// The turn of the loop.
    pub turn: u32,
    /// The kind of action.
    pub kind: Kind,
    /// The phase of the loop.
    pub phase: Phase,
    /// The duration in nanoseconds, lowest part first. It has 48 bits, because a loop may wait for hours.
    duration: [u16; 3],
}

const _: () = assert!(size_of::<Record>() == 32);

impl Record {
    /// The longest duration that a record can hold: 78 hours.
    const LONGEST_NS: u64 = (1 << 48) - 1;

    /// The duration in nanoseconds, at most 78 hours. 0 for an action at a point in time.
    pub fn duration_ns(&self) -> u64 {
        let [low, middle, high] = self.duration.map(u64::from);
        low | middle << 16 | high << 32
    }

    /// Sets the duration, for tests of code that reads records.
    pub fn set_duration_ns(&mut self, duration_ns: u64) {
        let duration_ns = duration_ns.min(Self::LONGEST_NS);
        self.duration = [duration_ns as u16, (duration_ns >> 16) as u16, (duration_ns >> 32) as u16];
    }
}

/// The ring buffer of records; from [`Loop::trace`](crate::Loop::trace).
///
/// Its size is fixed. If it is not read, new records overwrite the oldest, and [`dropped`](Self::dropped) counts these.
pub struct Trace {
    ring: Box<[Record]>,
    /// How many records have been made; the number of the next one.
    made: u64,
    /// The number of the next record to read.
    read: u64,
    dropped: u64,
    /// The number of the record that causes what is recorded now.
    current: u32,
    turn: u32,
    phase: Phase,
}

/// A record that has begun but not ended.
pub(crate) struct Open {
    /// The lower 32 bits of its number.
    number: u32,
    outer: u32,
}

impl Trace {
    /// Makes a ring for at least `capacity` records.
    pub(crate) fn new(capacity: usize) -> Self {
        let capacity = capacity.clamp(16, 1 << 28).next_power_of_two();
        let ring = vec![Record::default(); capacity].into_boxed_slice();
        Trace { ring, made: 0, read: 0, dropped: 0, current: 0, turn: 0, phase: Phase::Main }
    }

    /// Calls `f` with each record since the last call, oldest first, and its number.
    pub fn drain(&mut self, mut f: impl FnMut(u64, &Record)) {
        self.read = self.read.max(self.oldest());
        while self.read < self.made {
            let number = self.read;
            self.read += 1;
            f(number, &self.ring[self.place(number)]);
        }
    }

    /// All records in the ring, oldest first. This does not mark them as read.
    pub fn records(&self) -> impl Iterator<Item = (u64, &Record)> {
        (self.oldest()..self.made).map(|number| (number, &self.ring[self.place(number)]))
    }

    /// How many records were overwritten before they were read.
    pub fn dropped(&self) -> u64 {
        self.dropped + self.oldest().saturating_sub(self.read)
    }

    fn oldest(&self) -> u64 {
        self.made.saturating_sub(self.ring.len() as u64)
    }

    fn place(&self, number: u64) -> usize {
        number as usize & (self.ring.len() - 1)
    }

    /// The index of an open record, if the ring still holds it. 32 bits of the number are enough, because the ring
    /// holds fewer than 2^32 records.
    fn place_of(&self, open: &Open) -> Option<usize> {
        let age = u64::from((self.made as u32).wrapping_sub(open.number));
        (1..=self.ring.len() as u64).contains(&age).then(|| self.place(self.made.wrapping_sub(age)))
    }

    pub(crate) fn set_phase(&mut self, phase: Phase) {
        self.phase = phase;
    }

    pub(crate) fn next_turn(&mut self) {
        self.turn = self.turn.wrapping_add(1);
    }

    /// The number of the record that causes what is recorded now.
    pub(crate) fn current(&self) -> u32 {
        self.current
    }

    /// Sets the current record, and returns the previous one.
    pub(crate) fn set_current(&mut self, number: u32) -> u32 {
        mem::replace(&mut self.current, number)
    }

    /// The number of the next record. A record without a cause has its own number as the cause.
    pub(crate) fn next(&self) -> u32 {
        self.made as u32
    }

    /// Records an action at a point in time, and returns its number.
    pub(crate) fn note(&mut self, now: Duration, kind: Kind, subject: u32, size: usize, cause: u32) -> u32 {
        let number = self.made;
        self.made += 1;
        if number >= self.read + self.ring.len() as u64 {
            self.dropped += 1;
            self.read += 1;
        }
        let place = self.place(number);
        self.ring[place] = Record {
            start_ns: now.as_nanos() as u64,
            duration: [0; 3],
            cause,
            subject,
            size: u32::try_from(size).unwrap_or(u32::MAX),
            turn: self.turn,
            kind,
            phase: self.phase,
        };
        number as u32
    }

    /// Begins the record of an action that takes time. Until it ends, it is the cause of what is recorded.
    pub(crate) fn begin(&mut self, now: Duration, kind: Kind, subject: u32, size: usize, cause: u32) -> Open {
        let outer = self.current;
        self.current = self.note(now, kind, subject, size, cause);
        Open { number: self.current, outer }
    }

    /// Sets the size of an open record, if it is known only now.
    pub(crate) fn set_size(&mut self, open: &Open, size: usize) {
        if let Some(place) = self.place_of(open) {
            self.ring[place].size = u32::try_from(size).unwrap_or(u32::MAX);
        }
    }

    /// Ends an open record. Returns it, if the ring still holds it.
    pub(crate) fn end(&mut self, now: Duration, open: Open) -> Option<Record> {
        self.current = open.outer;
        let place = self.place_of(&open)?;
        let record = &mut self.ring[place];
        let duration = (now.as_nanos() as u64).saturating_sub(record.start_ns);
        // 0 would mean a point in time.
        record.set_duration_ns(duration.max(1));
        Some(*record)
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace").field("made", &self.made).field("dropped", &self.dropped()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ns: u64) -> Duration {
        Duration::from_nanos(ns)
    }

    #[test]
    fn an_open_record_is_the_cause_of_the_records_inside_it() {
        let mut trace = Trace::new(16);
        let outer = trace.begin(at(10), Kind::OnData, 7, 5, 0);
        let write = trace.note(at(20), Kind::Write, 7, 5, trace.current());
        let inner = trace.begin(at(30), Kind::Tick, 0, 0, write);
        assert_eq!(trace.current(), 2);
        assert_eq!(trace.end(at(40), inner).map(|record| record.duration_ns()), Some(10));
        assert_eq!(trace.end(at(60), outer).map(|record| record.duration_ns()), Some(50));
        let seen: Vec<_> = trace.records().map(|(n, r)| (n, r.kind, r.cause, r.duration_ns())).collect();
        assert_eq!(seen, [(0, Kind::OnData, 0, 50), (1, Kind::Write, 0, 0), (2, Kind::Tick, 1, 10)]);
    }

    #[test]
    fn durations_of_hours_fit() {
        let mut record = Record::default();
        for ns in [0, 1, 0xffff, 0x1_0000, u64::from(u32::MAX) + 1, 10 * 3600 * 1_000_000_000, Record::LONGEST_NS] {
            record.set_duration_ns(ns);
            assert_eq!(record.duration_ns(), ns);
        }
        record.set_duration_ns(u64::MAX);
        assert_eq!(record.duration_ns(), Record::LONGEST_NS, "a longer one becomes the longest");
    }

    #[test]
    fn a_full_ring_drops_the_oldest_and_counts_them() {
        let mut trace = Trace::new(16);
        for n in 0..20 {
            trace.note(at(n), Kind::Write, n as u32, 0, 0);
        }
        let mut seen = Vec::new();
        trace.drain(|number, record| seen.push((number, record.subject)));
        assert_eq!(seen.first(), Some(&(4, 4)));
        assert_eq!((seen.len(), trace.dropped()), (16, 4));
        trace.note(at(20), Kind::Write, 20, 0, 0);
        seen.clear();
        trace.drain(|number, record| seen.push((number, record.subject)));
        assert_eq!((seen, trace.dropped()), (vec![(20, 20)], 4));
    }
}
