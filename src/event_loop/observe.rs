//! Observers: programs that watch the loop without being part of it.
//!
//! ```text
//!   the loop's hooks ──▶ Observed ─┬─▶ ring of records ──▶ any number of readers     (trace.rs, trace/ring.rs)
//!                                  └─▶ gate: may hold the loop here                  (gate.rs)
//!   before every turn ──▶ on_prepare: the observers' own callbacks                   (prepare.rs)
//! ```
//!
//! Ring and gate are stored together, behind one pointer. So a hook of a loop that is not observed is a single branch,
//! for any kind of observer, and starting or stopping a trace does not touch the gate.
//!
//! An observer that serves clients, such as a page that shows the loop, runs an event loop of its own inside this
//! loop's wait; see [`Gate`](super::Gate).

use std::mem;
use std::time::Duration;

use super::gate::GateSlot;
use super::overview::Overview;
use super::{Kind, Loop, Phase, Record, Trace};

/// The ring and the gate of a loop that is observed, and what both need to know.
#[derive(Default)]
pub(crate) struct Observed {
    pub trace: Option<Trace>,
    /// How many more times recording was started than stopped.
    recorders: u32,
    pub gate: Option<GateSlot>,
    pub overview: Overview,
    /// The turn, as in [`Record::turn`] but with all 64 bits.
    pub turn: u64,
    pub phase: Phase,
    /// The current record, which is the cause of records that are made now: the lower half of its number.
    current: u32,
}

/// A record that has begun and not ended.
pub(crate) struct Open {
    /// The lower half of its number.
    number: u32,
    /// The current record before it.
    outer: u32,
}

impl Observed {
    /// The current record.
    pub fn current(&self) -> u32 {
        self.current
    }

    /// Sets the current record and returns the previous one.
    pub fn set_current(&mut self, number: u32) -> u32 {
        mem::replace(&mut self.current, number)
    }

    pub fn begin_turn(&mut self, turn: u64) {
        self.turn = turn;
    }

    /// Records something that happens at a point in time. Returns the lower half of the record's number.
    pub fn note(&mut self, now: Duration, cause: u32, kind: Kind, subject: u32, size: usize) -> u32 {
        let Some(trace) = &mut self.trace else { return 0 };
        trace.push(Record {
            start_ns: now.as_nanos() as u64,
            cause,
            subject,
            size: u32::try_from(size).unwrap_or(u32::MAX),
            turn: self.turn as u32,
            kind,
            phase: self.phase,
            ..Record::default()
        })
    }

    /// Begins a record that takes time. Until its end it is the current record.
    pub fn begin(&mut self, now: Duration, cause: u32, kind: Kind, subject: u32, size: usize) -> Option<Open> {
        self.trace.as_ref()?;
        let number = self.note(now, cause, kind, subject, size);
        Some(Open { number, outer: self.set_current(number) })
    }

    /// Begins the record of a phase, which has no cause.
    pub fn begin_phase(&mut self, now: Duration, phase: Phase) -> Option<Open> {
        self.phase = phase;
        // A record whose cause is its own number has none: see `Trace::cause_of`.
        let own_number = self.trace.as_ref()?.next_number() as u32;
        self.begin(now, own_number, Kind::Phase, 0, 0)
    }

    pub fn set_size(&mut self, open: &Open, size: usize) {
        if let Some(record) = self.trace.as_mut().and_then(|trace| trace.get_mut(open.number)) {
            record.size = u32::try_from(size).unwrap_or(u32::MAX);
        }
    }

    /// Ends a record. Returns it, if the ring still has it.
    pub fn end(&mut self, now: Duration, open: Open) -> Option<Record> {
        self.current = open.outer;
        let record = self.trace.as_mut()?.get_mut(open.number)?;
        // A record that has ended took a nanosecond at least: 0 means that it is still open.
        let duration_ns = (now.as_nanos() as u64).saturating_sub(record.start_ns).max(1);
        record.set_duration_ns(duration_ns);
        Some(*record)
    }
}

impl Loop {
    /// Records what the loop does from now on, in a ring of at least `capacity` records of 32 bytes each; at least
    /// 16, at most 2^28 of them. A record costs one or two readings of the clock.
    ///
    /// Several observers may record at the same time. If a ring is there already it is kept, with its records and
    /// their numbers, and made larger if it is too small. Recording goes on until [`stop_trace`](Self::stop_trace)
    /// was called as many times as this.
    pub fn start_trace(&mut self, capacity: usize) {
        let observed = self.observe();
        observed.recorders += 1;
        match &mut observed.trace {
            Some(trace) => trace.grow(capacity),
            None => observed.trace = Some(Trace::new(capacity)),
        }
    }

    /// Ends one [`start_trace`](Self::start_trace). The last one stops recording and returns the ring; `None` if
    /// another observer is still recording, or nothing was recorded.
    pub fn stop_trace(&mut self) -> Option<Trace> {
        let observed = self.observed.as_mut()?;
        observed.recorders = observed.recorders.saturating_sub(1);
        if observed.recorders > 0 {
            return None;
        }
        observed.current = 0;
        let trace = observed.trace.take();
        self.drop_observed_if_unused();
        trace
    }

    /// The ring, while something is recorded. See [`Trace::since`].
    pub fn trace(&self) -> Option<&Trace> {
        self.observed.as_ref()?.trace.as_ref()
    }

    pub(super) fn observe(&mut self) -> &mut Observed {
        let turn = self.counters.turns;
        self.observed.get_or_insert_with(|| Box::new(Observed { turn, ..Observed::default() }))
    }

    /// Drops `observed` when there is neither a ring nor a gate, so that each hook is one branch again.
    pub(super) fn drop_observed_if_unused(&mut self) {
        self.observed.take_if(|observed| observed.trace.is_none() && observed.gate.is_none());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ns: u64) -> Duration {
        Duration::from_nanos(ns)
    }

    #[test]
    fn a_record_inside_another_is_caused_by_it() {
        let mut observed = Observed { trace: Some(Trace::new(16)), ..Observed::default() };
        let outer = observed.begin(at(10), 0, Kind::OnData, 7, 5).expect("it records");
        let write = observed.note(at(20), observed.current(), Kind::Write, 7, 5);
        let inner = observed.begin(at(30), write, Kind::Tick, 0, 0).expect("it records");
        assert_eq!(observed.current(), 2);
        assert_eq!(observed.end(at(40), inner).map(|record| record.duration_ns()), Some(10));
        assert_eq!(observed.end(at(60), outer).map(|record| record.duration_ns()), Some(50));
        let trace = observed.trace.expect("it was given one");
        let seen: Vec<_> = trace.records().map(|(n, r)| (n, r.kind, r.cause, r.duration_ns())).collect();
        assert_eq!(seen, [(0, Kind::OnData, 0, 50), (1, Kind::Write, 0, 0), (2, Kind::Tick, 1, 10)]);
    }
}
