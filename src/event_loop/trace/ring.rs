//! The ring of records.

use std::fmt;
use std::mem;
use std::time::Duration;

use super::{Kind, Phase};

/// One thing the loop did; 32 bytes.
///
/// Its number is its place in the order of all records since recording began ([`Trace::drain`] gives it).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Record {
    /// When it began, in nanoseconds since the loop was made.
    pub start_ns: u64,
    /// The number of the record that caused it, cut to 32 bits; its own number if nothing did.
    pub cause: u32,
    /// Whom it concerns: a socket's or server's serial, or 0.
    pub subject: u32,
    /// Bytes, events or milliseconds, as the kind says.
    pub size: u32,
    /// In which turn of the loop.
    pub turn: u32,
    /// What it was.
    pub kind: Kind,
    /// In which phase.
    pub phase: Phase,
    /// How long it took, in nanoseconds, lowest part first: a loop waits for hours, so 32 bits are too few.
    duration: [u16; 3],
}

const _: () = assert!(size_of::<Record>() == 32);

impl Record {
    /// The longest duration that a record can say: 78 hours.
    const LONGEST_NS: u64 = (1 << 48) - 1;

    /// How long it took, in nanoseconds; at most 78 hours. 0 for what happens at a point in time.
    pub fn duration_ns(&self) -> u64 {
        let [low, middle, high] = self.duration.map(u64::from);
        low | middle << 16 | high << 32
    }

    /// Changes that; for tests of who reads records.
    pub fn set_duration_ns(&mut self, duration_ns: u64) {
        let duration_ns = duration_ns.min(Self::LONGEST_NS);
        self.duration = [duration_ns as u16, (duration_ns >> 16) as u16, (duration_ns >> 32) as u16];
    }
}

/// The ring of records; from [`Loop::trace`](crate::Loop::trace).
///
/// Bounded: when nobody reads it, the oldest records are overwritten and [`dropped`](Self::dropped) counts them.
pub struct Trace {
    ring: Box<[Record]>,
    /// How many records have been made; the number of the next one.
    made: u64,
    /// Up to where they have been read.
    read: u64,
    dropped: u64,
    /// The record in whose name things are done now.
    current: u32,
    turn: u32,
    phase: Phase,
}

/// A record that has begun and not ended.
pub(crate) struct Open {
    /// The lower half of its number.
    number: u32,
    outer: u32,
}

impl Trace {
    /// A ring for at least `capacity` records.
    pub(crate) fn new(capacity: usize) -> Self {
        let capacity = capacity.clamp(16, 1 << 28).next_power_of_two();
        let ring = vec![Record::default(); capacity].into_boxed_slice();
        Trace { ring, made: 0, read: 0, dropped: 0, current: 0, turn: 0, phase: Phase::Main }
    }

    /// Reads what has been recorded since the last call, oldest first, with the number of each.
    pub fn drain(&mut self, mut f: impl FnMut(u64, &Record)) {
        self.read = self.read.max(self.oldest());
        while self.read < self.made {
            let number = self.read;
            self.read += 1;
            f(number, &self.ring[self.place(number)]);
        }
    }

    /// All records that the ring still holds, oldest first; reading them here does not use them up.
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

    /// Where an open record is, if the ring still has it. Nothing is open for 2^32 records: it would be long gone.
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

    /// The number of the record in whose name things are done now.
    pub(crate) fn current(&self) -> u32 {
        self.current
    }

    /// Changes that, and says what it was.
    pub(crate) fn set_current(&mut self, number: u32) -> u32 {
        mem::replace(&mut self.current, number)
    }

    /// The number of the next record: the cause of what nothing caused.
    pub(crate) fn next(&self) -> u32 {
        self.made as u32
    }

    /// Records something that happens at a point in time.
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

    /// Records something that takes time; until its end it is the cause of all that is recorded.
    pub(crate) fn begin(&mut self, now: Duration, kind: Kind, subject: u32, size: usize, cause: u32) -> Open {
        let outer = self.current;
        self.current = self.note(now, kind, subject, size, cause);
        Open { number: self.current, outer }
    }

    /// Says how much it was of, when that is known only now.
    pub(crate) fn set_size(&mut self, open: &Open, size: usize) {
        if let Some(place) = self.place_of(open) {
            self.ring[place].size = u32::try_from(size).unwrap_or(u32::MAX);
        }
    }

    /// Ends it. Gives the record back, if the ring still has it.
    pub(crate) fn end(&mut self, now: Duration, open: Open) -> Option<Record> {
        self.current = open.outer;
        let place = self.place_of(&open)?;
        let record = &mut self.ring[place];
        let duration = (now.as_nanos() as u64).saturating_sub(record.start_ns);
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
    fn what_is_recorded_inside_is_caused_by_what_is_outside() {
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
    fn hours_are_no_too_long_duration() {
        let mut record = Record::default();
        for ns in [0, 1, 0xffff, 0x1_0000, u64::from(u32::MAX) + 1, 10 * 3600 * 1_000_000_000, Record::LONGEST_NS] {
            record.set_duration_ns(ns);
            assert_eq!(record.duration_ns(), ns);
        }
        record.set_duration_ns(u64::MAX);
        assert_eq!(record.duration_ns(), Record::LONGEST_NS, "and no less");
    }

    #[test]
    fn a_full_ring_forgets_the_oldest_and_counts_them() {
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
