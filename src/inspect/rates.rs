//! The work of the loop in the last second: the differences between two readings of its counters. Pure.
//!
//! ```text
//!   readings   0.0   0.1   0.2   …   1.0   1.1 s
//!                     └────── last second ──┘
//! ```
//!
//! Times are those of the watched loop, so a second in which it stood does not count.

use std::collections::VecDeque;
use std::time::Duration;

use crate::Histogram;

/// The time that the readings cover.
const SPAN: Duration = Duration::from_secs(1);

/// Two readings are at least this far apart.
const APART: Duration = Duration::from_millis(50);

/// The loop's counters at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Reading {
    /// The loop's time.
    pub at: Duration,
    pub turns: u64,
    pub callbacks: u64,
    /// The time that it has waited.
    pub idle: Duration,
    /// The time per phase, without waiting, in the order of [`Phase`](crate::Phase).
    pub phases: [Duration; 6],
    /// The time that the inspector has taken.
    pub inspector: Duration,
    pub turn_times: Histogram,
}

/// The last second, in the units of the snapshot.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LastSecond {
    /// The time that it covers. Shorter at the beginning, longer if nobody has asked for a while.
    pub span: Duration,
    pub turns: u64,
    pub callbacks: u64,
    /// Shares of the time, from 0 to 1.
    pub poll_wait: f64,
    pub busy: f64,
    pub inspector: f64,
    /// Shares of each phase, without waiting.
    pub phases: [f64; 6],
    pub turn_times: Histogram,
}

/// The readings of the last second.
#[derive(Debug, Default)]
pub(super) struct Rates {
    readings: VecDeque<Reading>,
}

impl Rates {
    /// Adds a reading, and returns what has happened since the oldest one of the last second.
    pub fn read(&mut self, reading: Reading) -> LastSecond {
        // The oldest one that is kept is as old as the span, or the only one.
        while self.readings.get(1).is_some_and(|second| reading.at.saturating_sub(second.at) >= SPAN) {
            self.readings.pop_front();
        }
        let last = match self.readings.front() {
            Some(oldest) => difference(oldest, &reading),
            None => difference(&Reading::default(), &reading),
        };
        if self.readings.back().is_none_or(|newest| reading.at.saturating_sub(newest.at) >= APART) {
            self.readings.push_back(reading);
        }
        last
    }
}

fn difference(from: &Reading, to: &Reading) -> LastSecond {
    let span = to.at.saturating_sub(from.at);
    let share = |to: Duration, from: Duration| {
        let part = to.saturating_sub(from).as_secs_f64();
        if span.is_zero() { 0.0 } else { (part / span.as_secs_f64()).min(1.0) }
    };
    let poll_wait = share(to.idle, from.idle);
    LastSecond {
        span,
        turns: to.turns.saturating_sub(from.turns),
        callbacks: to.callbacks.saturating_sub(from.callbacks),
        poll_wait,
        busy: if span.is_zero() { 0.0 } else { 1.0 - poll_wait },
        inspector: share(to.inspector, from.inspector),
        phases: std::array::from_fn(|phase| share(to.phases[phase], from.phases[phase])),
        turn_times: to.turn_times.since(&from.turn_times),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn reading(at: u64, turns: u64, idle: u64) -> Reading {
        Reading { at: ms(at), turns, idle: ms(idle), ..Reading::default() }
    }

    #[test]
    fn the_last_second_is_the_difference_of_two_readings() {
        let mut rates = Rates::default();
        let first = rates.read(reading(100, 4, 50));
        assert_eq!((first.span, first.turns, first.poll_wait), (ms(100), 4, 0.5), "since the beginning");
        for tenth in 2..=30 {
            rates.read(reading(tenth * 100, tenth * 10, tenth * 90));
        }
        let last = rates.read(reading(3100, 310, 2790));
        assert_eq!((last.span, last.turns), (ms(1000), 100));
        assert!((last.poll_wait - 0.9).abs() < 1e-9 && (last.busy - 0.1).abs() < 1e-9);
    }

    #[test]
    fn readings_without_time_between_them_divide_by_nothing() {
        let mut rates = Rates::default();
        let last = rates.read(reading(0, 0, 0));
        assert_eq!((last.poll_wait, last.busy, last.inspector, last.phases), (0.0, 0.0, 0.0, [0.0; 6]));
        rates.read(reading(1000, 1, 1000));
        for _ in 0..1000 {
            rates.read(reading(1000, 1, 1000));
        }
        assert!(rates.readings.len() <= 2, "a paused loop that is asked often keeps no more readings");
    }

    #[test]
    fn seldom_readings_cover_more_than_a_second() {
        let mut rates = Rates::default();
        rates.read(reading(1000, 1, 0));
        assert_eq!(rates.read(reading(61_000, 601, 60_000)).span, ms(60_000));
        assert_eq!(rates.read(reading(62_000, 611, 61_000)).turns, 10);
    }
}
