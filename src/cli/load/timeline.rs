//! The course of the run, for the curves: counts per slice of time.
//!
//! ```text
//!            all are connected                                        the run closes
//!   before   │ load                                                   │
//!   ├────┬──▌├────┬────┬────┬────┬────┬────┬────┬────┬────┬────┬────┬─▌
//!    100 ms                                              the last is shorter
//! ```
//!
//! The slices of the load begin with the load, so that a warm-up of one second ends at the end of a slice. The time
//! before, while connections were made, has slices of its own. An event is counted in the slice of its own time. So
//! a tester that was held up has empty slices for that time.
//!
//! A short run has slices of 100 ms. From [`FINE_SLICES`] slices on they are joined into seconds. From
//! [`MOST_SLICES`] slices on they are joined in pairs, again and again, so that a run of days needs no more memory than
//! one of minutes. The last slice is usually shorter; [`Track::cuts`] gives the length of each slice.

use serde_json::{Value, json};

use super::counts::{Counts, pairs, u64_of};

/// The length of a slice in a short run, in nanoseconds.
const FINE: u64 = 100_000_000;

/// The length of a slice in a longer run; a multiple of [`FINE`].
const COARSE: u64 = 1_000_000_000;

/// A run with this many slices is long: 20 seconds.
const FINE_SLICES: usize = 200;

/// The most slices of a run: as many as a drawing can show.
const MOST_SLICES: usize = 1000;

/// The whole run.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    /// The time in which connections were made.
    pub(crate) before: Track,
    /// The time from the first message to the end of the last reply.
    pub(crate) load: Track,
    has_begun: bool,
}

/// A part of the run, in slices of the same length.
#[derive(Debug)]
pub(crate) struct Track {
    /// When it began, in nanoseconds of the run.
    start: u64,
    width: u64,
    /// The slices that have ended.
    slices: Vec<Slice>,
    current: Current,
    /// The length of the track, once it has ended.
    length: Option<u64>,
}

/// The counts of a slice.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slice {
    /// Connections that were open at its end.
    pub(crate) connections: u64,
    pub(crate) exact: u64,
    pub(crate) failed: u64,
    /// Response times, as [`Counts::buckets`]; after [`Slice::add`] in any order, and a value may occur several times.
    response: Vec<(u64, u64)>,
}

/// The slice that is being counted.
#[derive(Debug)]
struct Current {
    connections: u64,
    exact: u64,
    failed: u64,
    response: Counts,
}

/// A slice with its beginning and end, in nanoseconds of its track.
#[derive(Clone, Debug)]
pub(crate) struct Cut {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) slice: Slice,
}

impl Timeline {
    /// Begins the load: every connect has succeeded or failed.
    pub(crate) fn begin(&mut self, now: u64, connections: u64) {
        self.before.look(now, connections);
        self.before.end(now);
        self.has_begun = true;
        self.load = Track { start: now, ..Track::default() };
        self.load.current.connections = connections;
    }

    /// Records how many connections are open. It is called regularly.
    pub(crate) fn look(&mut self, now: u64, connections: u64) {
        self.track().look(now, connections);
    }

    pub(crate) fn exact(&mut self, now: u64) {
        self.at(now).exact += 1;
    }

    /// The response time of a reply that has just been counted.
    pub(crate) fn response(&mut self, ns: u64) {
        self.load.current.response.record(ns);
    }

    pub(crate) fn failed(&mut self, now: u64) {
        self.at(now).failed += 1;
    }

    /// Ends the track. Later events are counted in the last slice.
    pub(crate) fn end(&mut self, now: u64) {
        self.track().end(now);
    }

    fn track(&mut self) -> &mut Track {
        if self.has_begun { &mut self.load } else { &mut self.before }
    }

    fn at(&mut self, now: u64) -> &mut Current {
        let track = self.track();
        track.roll(now);
        &mut track.current
    }

    pub(crate) fn value(&self) -> Value {
        json!([self.before.value(), self.load.value()])
    }

    /// Adds the timeline of another process.
    pub(crate) fn add(&mut self, value: &Value) {
        self.before.add(&value[0]);
        self.load.add(&value[1]);
    }
}

impl Default for Track {
    fn default() -> Self {
        Track { start: 0, width: FINE, slices: Vec::new(), current: Current::default(), length: None }
    }
}

impl Default for Current {
    fn default() -> Self {
        Current { connections: 0, exact: 0, failed: 0, response: Counts::coarse() }
    }
}

impl Current {
    fn slice(&self) -> Slice {
        let Current { connections, exact, failed, response } = self;
        Slice { connections: *connections, exact: *exact, failed: *failed, response: response.buckets() }
    }
}

impl Slice {
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::coarse();
        self.response.iter().for_each(|&(value, count)| counts.record_n(value, count));
        counts
    }

    fn add(&mut self, other: &Slice) {
        self.exact += other.exact;
        self.failed += other.failed;
        self.response.extend(&other.response);
    }
}

impl Cut {
    pub(crate) fn seconds(&self) -> f64 {
        (self.to - self.from) as f64 / 1e9
    }
}

impl Track {
    /// The length of the track.
    pub(crate) fn length(&self) -> u64 {
        self.length.unwrap_or(self.slices.len() as u64 * self.width)
    }

    /// The length of a slice.
    pub(crate) fn width(&self) -> u64 {
        self.width
    }

    /// The slices with their times. If the last slice is less than half as long as the others, it is joined to the one
    /// before, because the counts of a few milliseconds make no reliable rate.
    pub(crate) fn cuts(&self) -> Vec<Cut> {
        let length = self.length();
        let mut cuts: Vec<Cut> = Vec::new();
        for (slice, from) in self.all().into_iter().zip((0..).step_by(self.width as usize)) {
            let to = (from + self.width).min(length);
            match cuts.last_mut() {
                Some(last) if to - from.min(to) < self.width / 2 => {
                    last.to = to;
                    last.slice.add(&slice);
                }
                _ => cuts.push(Cut { from: from.min(to), to, slice }),
            }
        }
        cuts
    }

    /// The slices between two times, cut there. Counts after `to` belong to the last slice, and so does the time up to
    /// `to` if the track is shorter. A slice that is less than half as long as the others is joined to its neighbour.
    pub(crate) fn cuts_between(&self, from: u64, to: u64) -> Vec<Cut> {
        let mut cuts: Vec<Cut> = Vec::new();
        let is_short = |from: u64, to: u64| to - from < self.width / 2;
        for (slice, begin) in self.all().into_iter().zip((0..).step_by(self.width as usize)) {
            if begin + self.width <= from || from >= to {
                continue;
            }
            let (begin, end) = (begin.clamp(from, to), (begin + self.width).min(to));
            match cuts.last_mut() {
                Some(last) if is_short(begin, end) || is_short(last.from, last.to) => {
                    last.to = end;
                    last.slice.add(&slice);
                }
                _ => cuts.push(Cut { from: begin, to: end, slice }),
            }
        }
        if let Some(last) = cuts.last_mut() {
            last.to = to;
        }
        cuts
    }

    fn all(&self) -> Vec<Slice> {
        let mut slices = self.slices.clone();
        let has_more = self.length() > slices.len() as u64 * self.width;
        if has_more || self.current.exact + self.current.failed > 0 {
            slices.push(self.current.slice());
        }
        slices
    }

    fn look(&mut self, now: u64, connections: u64) {
        self.roll(now);
        if self.length.is_none() {
            self.current.connections = connections;
        }
    }

    fn end(&mut self, now: u64) {
        self.roll(now);
        self.length.get_or_insert(now - self.start);
    }

    /// Ends the slices whose time has passed.
    fn roll(&mut self, now: u64) {
        while self.length.is_none() && now.saturating_sub(self.start) >= (self.slices.len() as u64 + 1) * self.width {
            let connections = self.current.connections;
            let over = std::mem::replace(&mut self.current, Current { connections, ..Current::default() });
            self.slices.push(over.slice());
            if self.slices.len() == if self.width == FINE { FINE_SLICES } else { MOST_SLICES } {
                self.coarsen();
            }
        }
    }

    /// Joins the slices: those of 100 ms into whole seconds, longer ones in pairs.
    fn coarsen(&mut self) {
        let join = |slices: &[Slice]| {
            let mut sum = Slice { connections: slices.last().map_or(0, |last| last.connections), ..Slice::default() };
            slices.iter().for_each(|slice| sum.add(slice));
            sum.response = sum.counts().buckets();
            sum
        };
        let width = if self.width == FINE { COARSE } else { self.width.saturating_mul(2) };
        self.slices = self.slices.chunks((width / self.width) as usize).map(join).collect();
        self.width = width;
    }

    fn value(&self) -> Value {
        let slices: Vec<Value> = self
            .all()
            .iter()
            .map(|slice| json!([slice.connections, slice.exact, slice.failed, slice.response]))
            .collect();
        json!({ "width": self.width, "length": self.length(), "slices": slices })
    }

    fn add(&mut self, value: &Value) {
        let slices = value["slices"].as_array().into_iter().flatten().map(|slice| Slice {
            connections: u64_of(&slice[0]),
            exact: u64_of(&slice[1]),
            failed: u64_of(&slice[2]),
            response: pairs(&slice[3]).collect(),
        });
        let mut other =
            Track { width: u64_of(&value["width"]).max(FINE), slices: slices.collect(), ..Track::default() };
        while other.width < self.width {
            other.coarsen();
        }
        while self.width < other.width {
            self.coarsen();
        }
        self.length = self.length.max(Some(u64_of(&value["length"])));
        for (at, slice) in other.slices.iter().enumerate() {
            if self.slices.len() == at {
                self.slices.push(Slice::default());
            }
            let own = &mut self.slices[at];
            own.connections += slice.connections;
            own.add(slice);
            own.response = own.counts().buckets();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// A reply every 10 ms, from the `start` of the load on.
    fn steady(start: u64, length: u64) -> Timeline {
        let mut timeline = Timeline::default();
        timeline.look(start / 2, 3);
        timeline.begin(start, 7);
        for now in (start..start + length).step_by(10 * MS as usize) {
            timeline.exact(now);
            timeline.response(MS);
            timeline.look(now, 7);
        }
        timeline.end(start + length);
        // Connections that close after the end do not change the last slice.
        timeline.look(start + length + 300 * MS, 0);
        timeline
    }

    #[test]
    fn a_steady_run_is_a_level_line() {
        let table: &[(&str, u64, &[u64])] = &[
            ("whole slices", 300, &[100, 200, 300]),
            ("a short slice at the end is joined to the one before", 340, &[100, 200, 340]),
            ("a longer slice at the end is separate", 370, &[100, 200, 300, 370]),
            ("a single short slice", 20, &[20]),
            ("no time at all", 0, &[]),
        ];
        for (name, length, ends) in table {
            let cuts = steady(33 * MS, length * MS).load.cuts();
            assert_eq!(cuts.iter().map(|cut| cut.to / MS).collect::<Vec<_>>(), *ends, "{name}");
            for cut in &cuts {
                assert_eq!((cut.slice.exact as f64 / cut.seconds()).round(), 100.0, "{name}");
                assert_eq!((cut.slice.connections, cut.slice.counts().total()), (7, cut.slice.exact), "{name}");
            }
        }
    }

    #[test]
    fn a_part_of_a_run_is_cut_at_its_ends() {
        // A reply every 10 ms for 500 ms.
        type Row<'a> = (&'a str, u64, u64, &'a [(u64, u64)], &'a [u64]);
        let table: &[Row<'_>] = &[
            ("whole slices", 100, 300, &[(100, 200), (200, 300)], &[10, 30]),
            ("a short beginning", 180, 300, &[(180, 300)], &[40]),
            ("a longer beginning", 130, 300, &[(130, 200), (200, 300)], &[10, 30]),
            ("a short end", 100, 320, &[(100, 200), (200, 320)], &[10, 30]),
            ("the time after the run", 300, 900, &[(300, 400), (400, 900)], &[10, 10]),
            ("a short part", 310, 320, &[(310, 320)], &[20]),
            ("no time", 300, 300, &[], &[]),
            ("after the run", 900, 950, &[], &[]),
        ];
        let timeline = steady(33 * MS, 500 * MS);
        for (name, from, to, times, counts) in table {
            let cuts = timeline.load.cuts_between(from * MS, to * MS);
            assert_eq!(cuts.iter().map(|cut| (cut.from / MS, cut.to / MS)).collect::<Vec<_>>(), *times, "{name}");
            assert_eq!(cuts.iter().map(|cut| cut.slice.counts().total()).collect::<Vec<_>>(), *counts, "{name}");
        }
    }

    #[test]
    fn a_long_run_is_cut_into_seconds() {
        let timeline = steady(0, 25_400 * MS);
        let cuts = timeline.load.cuts();
        assert_eq!((timeline.load.width(), cuts.len()), (COARSE, 25));
        assert!(cuts[..24].iter().all(|cut| cut.slice.exact == 100 && cut.slice.connections == 7));
        assert_eq!((cuts[24].to, cuts[24].slice.exact), (25_400 * MS, 140));
    }

    #[test]
    fn a_run_of_a_day_has_at_most_a_thousand_slices() {
        const SECONDS: u64 = 24 * 3600 + 1;
        let mut timeline = Timeline::default();
        timeline.begin(0, 7);
        for now in (0..SECONDS).map(|second| second * COARSE) {
            timeline.exact(now);
            timeline.response(if now.is_multiple_of(2 * COARSE) { MS } else { 2 * MS });
            assert!(timeline.load.slices.len() < MOST_SLICES);
        }
        timeline.end(SECONDS * COARSE);
        let cuts = timeline.load.cuts();
        assert_eq!((timeline.load.width(), cuts.len()), (128 * COARSE, 675));
        assert!(cuts[..674].iter().all(|cut| cut.slice.exact == 128 && cut.slice.counts().total() == 128));
        // Two times came, so that a slice has two buckets, however often it was joined.
        assert!(timeline.load.slices.iter().all(|slice| slice.response.len() <= 2));
        // The sum of several processes has no more slices, also if one of them has ended early.
        let mut sum = Timeline::default();
        for part in [&timeline, &steady(0, 300 * MS), &timeline] {
            sum.add(&part.value());
        }
        assert_eq!(sum.load.width(), 128 * COARSE);
        assert_eq!(sum.load.cuts().iter().map(|cut| cut.slice.exact).sum::<u64>(), 2 * SECONDS + 30);
        assert!(sum.load.slices.len() == 676 && sum.load.slices.iter().all(|slice| slice.response.len() <= 2));
    }

    #[test]
    fn a_pause_leaves_empty_slices() {
        let mut timeline = Timeline::default();
        timeline.begin(0, 1);
        timeline.exact(50 * MS);
        timeline.exact(350 * MS);
        timeline.failed(360 * MS);
        timeline.end(400 * MS);
        timeline.failed(500 * MS);
        let counts: Vec<_> = timeline.load.cuts().iter().map(|cut| (cut.slice.exact, cut.slice.failed)).collect();
        assert_eq!(counts, [(1, 0), (0, 0), (0, 0), (1, 2)]);
    }

    #[test]
    fn before_the_load_there_are_only_connections() {
        let timeline = steady(250 * MS, 100 * MS);
        let before: Vec<_> = timeline.before.cuts().iter().map(|cut| (cut.to / MS, cut.slice.connections)).collect();
        assert_eq!(before, [(100, 0), (200, 3), (250, 7)]);
    }

    #[test]
    fn processes_add_up() {
        for (name, lengths, width, total) in
            [("alike", [500, 560], FINE, 106), ("one is long", [19_900, 20_100], COARSE, 4000)]
        {
            let mut sum = Timeline::default();
            for length in lengths {
                sum.add(&steady(70 * MS, length * MS).value());
            }
            let cuts = sum.load.cuts();
            assert_eq!(sum.load.width(), width, "{name}");
            assert_eq!(cuts.iter().map(|cut| cut.slice.exact).sum::<u64>(), total, "{name}");
            assert_eq!(cuts.iter().map(|cut| cut.slice.counts().total()).sum::<u64>(), total, "{name}");
            assert_eq!((cuts[0].slice.connections, sum.load.length()), (14, lengths[1] * MS), "{name}");
        }
    }
}
