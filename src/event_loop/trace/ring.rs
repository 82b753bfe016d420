//! The ring of records: a bounded list that overwrites its oldest entry, with any number of readers.
//!
//! ```text
//!   number   ··· 4093  4094  4095 │ 4096  4097  4098 ··· 8191 │ 8192
//!            overwritten          │ oldest           newest   │ the next record
//!                  reader A, at 4094:               reader B, at 8190:
//!                  2 records lost, then 4096 …      8190, 8191
//! ```
//!
//! The ring does not store its readers. Each reader keeps its own position, the number of the first record that it has
//! not read. [`Trace::since`] returns how many records were overwritten before they could be read.

use std::fmt;

use super::{Kind, Phase};

/// A record of one thing that the loop has done; 32 bytes.
///
/// Records are numbered in their order since recording began; [`Trace::since`] returns each record with its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Record {
    /// When it began, in nanoseconds since the loop was made.
    pub start_ns: u64,
    /// The number of the record that caused it, cut to 32 bits. Without a cause: the record's own number.
    pub cause: u32,
    /// The serial of the socket or server that it is about, or 0.
    pub subject: u32,
    /// Bytes, events or milliseconds, as the kind says.
    pub size: u32,
    /// In which turn of the loop: 0 before the first, then [`Metrics::loop_count`](crate::Metrics::loop_count) of
    /// that turn, cut to 32 bits.
    pub turn: u32,
    /// The kind of event.
    pub kind: Kind,
    /// In which phase.
    pub phase: Phase,
    /// How long it took, in nanoseconds, lowest part first. 48 bits, because a wait may take hours.
    pub(in crate::event_loop) duration: [u16; 3],
}

const _: () = assert!(size_of::<Record>() == 32);

impl Record {
    /// The longest duration that a record can store: 78 hours.
    const LONGEST_NS: u64 = (1 << 48) - 1;

    /// How long it took, in nanoseconds; at most 78 hours. 0 for what happens at a point in time.
    pub fn duration_ns(&self) -> u64 {
        let [low, middle, high] = self.duration.map(u64::from);
        low | middle << 16 | high << 32
    }

    /// Sets how long it took; for tests of programs that read records.
    pub fn set_duration_ns(&mut self, duration_ns: u64) {
        let duration_ns = duration_ns.min(Self::LONGEST_NS);
        self.duration = [duration_ns as u16, (duration_ns >> 16) as u16, (duration_ns >> 32) as u16];
    }
}

/// The ring of records; from [`Loop::trace`](crate::Loop::trace).
///
/// It holds the newest records, at least as many as [`Loop::start_trace`](crate::Loop::start_trace) was given; older
/// ones are overwritten, read or not. Reading changes nothing, so there may be any number of readers.
///
/// ```
/// use bucle::EventLoop;
/// use bucle::trace::Kind;
///
/// let mut event_loop = EventLoop::new()?;
/// event_loop.enter(|lp| lp.start_trace(1024));
/// let mut position = 0;
/// let mut ticks = Vec::new();
/// for _ in 0..2 {
///     event_loop.enter(|lp| lp.next_tick(|_| {}));
///     event_loop.enter(|lp| {
///         let Some(trace) = lp.trace() else { return };
///         let records = trace.since(position);
///         assert_eq!(records.lost(), 0);
///         ticks.push(records.filter(|(_, record)| record.kind == Kind::Tick).count());
///         position = trace.next_number();
///     });
/// }
/// assert_eq!(ticks, [1, 1]);
/// # Ok::<(), bucle::Error>(())
/// ```
pub struct Trace {
    ring: Box<[Record]>,
    /// How many records have been made; the number of the next one.
    made: u64,
    /// The number of the oldest record when the ring grew. Older ones were overwritten before, although their places in
    /// the larger ring are free.
    grown_at: u64,
}

/// Records in the order in which they were made, each with its number; from [`Trace::since`].
#[derive(Clone, Debug)]
pub struct Records<'a> {
    trace: &'a Trace,
    next: u64,
    lost: u64,
}

impl Trace {
    /// A ring for at least `capacity` records.
    pub(crate) fn new(capacity: usize) -> Self {
        Trace { ring: vec![Record::default(); size_for(capacity)].into_boxed_slice(), made: 0, grown_at: 0 }
    }

    /// The records from `number` on that the ring still holds, oldest first. [`Records::lost`] is the number of those
    /// that have been overwritten since. A number that no record has yet gives no records.
    ///
    /// A record of something that takes time is there from its beginning; until it ends its duration is 0. Between two
    /// turns ([`Loop::on_prepare`](crate::Loop::on_prepare)) all have ended.
    pub fn since(&self, number: u64) -> Records<'_> {
        let next = number.max(self.oldest());
        Records { trace: self, next, lost: next - number }
    }

    /// All records that the ring still holds, oldest first.
    pub fn records(&self) -> Records<'_> {
        self.since(0)
    }

    /// A record by its number; `None` if it was overwritten or does not exist yet.
    pub fn get(&self, number: u64) -> Option<&Record> {
        (self.oldest()..self.made).contains(&number).then(|| &self.ring[self.place(number)])
    }

    /// The number that the next record will have: the position of a reader that has read everything, and how many
    /// records have been made.
    pub fn next_number(&self) -> u64 {
        self.made
    }

    /// How many records the ring holds at most.
    pub fn capacity(&self) -> usize {
        self.ring.len()
    }

    /// The number of the record that caused `record`, whose own number is `number`. It is the whole number;
    /// [`Record::cause`] has only its lower half. `None` if nothing caused it. The ring may have overwritten the cause.
    pub fn cause_of(number: u64, record: &Record) -> Option<u64> {
        match (number as u32).wrapping_sub(record.cause) {
            0 => None,
            distance => number.checked_sub(distance.into()),
        }
    }

    fn oldest(&self) -> u64 {
        self.made.saturating_sub(self.ring.len() as u64).max(self.grown_at)
    }

    fn place(&self, number: u64) -> usize {
        number as usize & (self.ring.len() - 1)
    }

    /// The whole number of a record, from the lower half of it. Right if fewer than 2^32 records were made since.
    pub(crate) fn number_of(&self, low: u32) -> Option<u64> {
        self.made.checked_sub(u64::from((self.made as u32).wrapping_sub(low)))
    }

    /// A record by the lower half of its number, to be changed.
    pub(crate) fn get_mut(&mut self, low: u32) -> Option<&mut Record> {
        let number = self.number_of(low)?;
        let place = self.place(number);
        (self.oldest()..self.made).contains(&number).then(|| &mut self.ring[place])
    }

    /// Adds a record, in the place of the oldest one if the ring is full. Returns the lower half of its number.
    pub(crate) fn push(&mut self, record: Record) -> u32 {
        let number = self.made;
        let place = self.place(number);
        self.ring[place] = record;
        self.made += 1;
        number as u32
    }

    /// Makes room for at least `capacity` records. What the ring holds stays, with the same numbers.
    pub(crate) fn grow(&mut self, capacity: usize) {
        let size = size_for(capacity);
        if size <= self.ring.len() {
            return;
        }
        let mut ring = vec![Record::default(); size].into_boxed_slice();
        for (number, record) in self.records() {
            // The place depends on the size of the ring, so each record moves to its place in the larger one.
            ring[number as usize & (size - 1)] = *record;
        }
        self.grown_at = self.oldest();
        self.ring = ring;
    }
}

/// A power of two, so that a record's place is the low bits of its number. At most 8 GiB of records.
fn size_for(capacity: usize) -> usize {
    capacity.clamp(16, 1 << 28).next_power_of_two()
}

impl Records<'_> {
    /// How many records were overwritten before they could be read here.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = (u64, &'a Record);

    fn next(&mut self) -> Option<Self::Item> {
        let number = self.next;
        let record = self.trace.get(number)?;
        self.next += 1;
        Some((number, record))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.trace.made.saturating_sub(self.next) as usize;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Records<'_> {}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace").field("made", &self.made).field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(trace: &mut Trace, subjects: std::ops::Range<u32>) {
        for subject in subjects {
            trace.push(Record { kind: Kind::Write, subject, ..Record::default() });
        }
    }

    /// What a reader at `position` gets: how many were lost, and the numbers of the rest. Each record has its number
    /// as its subject.
    fn read(trace: &Trace, position: u64) -> (u64, Vec<u64>) {
        let records = trace.since(position);
        let (lost, length) = (records.lost(), records.len());
        let numbers: Vec<u64> = records
            .map(|(number, record)| {
                assert_eq!(u64::from(record.subject), number);
                number
            })
            .collect();
        assert_eq!(numbers.len(), length);
        (lost, numbers)
    }

    #[test]
    fn a_duration_of_hours_is_kept() {
        let mut record = Record::default();
        for ns in [0, 1, 0xffff, 0x1_0000, u64::from(u32::MAX) + 1, 10 * 3600 * 1_000_000_000, Record::LONGEST_NS] {
            record.set_duration_ns(ns);
            assert_eq!(record.duration_ns(), ns);
        }
        record.set_duration_ns(u64::MAX);
        assert_eq!(record.duration_ns(), Record::LONGEST_NS, "the longest that fits");
    }

    #[test]
    fn each_reader_learns_how_many_records_it_has_missed() {
        let mut trace = Trace::new(16);
        assert_eq!(read(&trace, 0), (0, vec![]));
        push(&mut trace, 0..20);
        let table: [(&str, u64, u64, std::ops::Range<u64>); 5] = [
            ("a reader that has read nothing", 0, 4, 4..20),
            ("one that missed a single record", 3, 1, 4..20),
            ("one that is in time", 4, 0, 4..20),
            ("one that has read everything", 20, 0, 0..0),
            ("one that is ahead: the ring is a newer one", 1000, 0, 0..0),
        ];
        for (name, position, lost, numbers) in table {
            assert_eq!(read(&trace, position), (lost, numbers.collect()), "{name}");
        }
        assert_eq!(trace.next_number(), 20);
        assert_eq!(trace.get(3), None, "overwritten");
        assert_eq!(trace.get(20), None, "not made yet");
        assert_eq!(trace.get(4).map(|record| record.subject), Some(4));
    }

    #[test]
    fn a_ring_that_grows_keeps_its_records_and_their_numbers() {
        let mut trace = Trace::new(16);
        push(&mut trace, 0..20);
        trace.grow(100);
        assert_eq!(trace.capacity(), 128);
        push(&mut trace, 20..40);
        assert_eq!(read(&trace, 0), (4, (4..40).collect()));
        trace.grow(16);
        assert_eq!(trace.capacity(), 128, "it does not shrink");
    }

    #[test]
    fn a_number_of_which_half_is_known_is_found_again() {
        let mut trace = Trace::new(16);
        trace.made = (1 << 32) - 2;
        push(&mut trace, 0..4);
        for (low, number) in [(u32::MAX, (1 << 32) - 1), (0, 1 << 32), (1, (1 << 32) + 1)] {
            assert_eq!(trace.number_of(low), Some(number));
            let record = Record { cause: low, ..Record::default() };
            assert_eq!(Trace::cause_of(number + 1, &record), Some(number));
            assert_eq!(Trace::cause_of(number, &record), None, "its own number: nothing caused it");
        }
        assert!(trace.get_mut(u32::MAX - 1).is_some());
        assert!(trace.get_mut(2).is_none(), "not made yet");
    }
}
