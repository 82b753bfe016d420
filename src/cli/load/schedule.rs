//! The due times of the messages of the open model.
//!
//! Messages are evenly spaced from the start of the load. Each due time is calculated from the number of the message in
//! whole numbers, so that rounding errors do not add up. Processes take turns:
//!
//! ```text
//!   all             0    1    2    3    4    5        one every 1/rate seconds
//!   process 0 of 2  0         2         4
//!   process 1 of 2       1         3         5
//! ```

use std::time::Duration;

/// The due times of one process's messages, in nanoseconds from the start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    /// Messages a second in all processes together.
    rate: u64,
    index: u64,
    of: u64,
    next: u64,
}

impl Schedule {
    pub(crate) fn new(rate: u64, index: u64, of: u64) -> Schedule {
        Schedule { rate, index, of, next: 0 }
    }

    /// The due time, in nanoseconds, of the first message of any process that is due at `time` or later.
    pub(crate) fn first_from(rate: u64, time: Duration) -> u128 {
        first_number_from(rate, time) * 1_000_000_000 / u128::from(rate.max(1))
    }

    /// The due time of the next message.
    pub(crate) fn due(&self) -> u64 {
        let number = u128::from(self.next) * u128::from(self.of) + u128::from(self.index);
        u64::try_from(number * 1_000_000_000 / u128::from(self.rate.max(1))).unwrap_or(u64::MAX)
    }

    /// Goes to the message after it.
    pub(crate) fn advance(&mut self) {
        self.skip(1);
    }

    /// Leaves out the next `count` messages.
    pub(crate) fn skip(&mut self, count: u64) {
        self.next = self.next.saturating_add(count);
    }

    /// How many messages, from the next one on, are due before `time` in nanoseconds.
    pub(crate) fn due_before(&self, time: u64) -> u64 {
        let all = first_number_from(self.rate, Duration::from_nanos(time));
        let own = all.saturating_sub(self.index.into()).div_ceil(self.of.into());
        u64::try_from(own).unwrap_or(u64::MAX).saturating_sub(self.next)
    }
}

/// The number, over all processes, of the first message that is due at `time` or later.
pub(crate) fn first_number_from(rate: u64, time: Duration) -> u128 {
    (time.as_nanos() * u128::from(rate)).div_ceil(1_000_000_000)
}

/// The share of process `index` when `total` is divided among `of` processes. Shares differ by at most one.
pub(crate) fn share(total: u64, index: u64, of: u64) -> u64 {
    total / of + u64::from(index < total % of)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(rate: u64, index: u64, of: u64, count: usize) -> Vec<u64> {
        let mut schedule = Schedule::new(rate, index, of);
        (0..count)
            .map(|_| {
                let due = schedule.due();
                schedule.advance();
                due
            })
            .collect()
    }

    #[test]
    fn due_times_are_evenly_spaced() {
        assert_eq!(first(1000, 0, 1, 3), [0, 1_000_000, 2_000_000]);
        assert_eq!(first(3, 0, 1, 4), [0, 333_333_333, 666_666_666, 1_000_000_000]);
        assert_eq!(first(1000, 0, 2, 2), [0, 2_000_000]);
        assert_eq!(first(1000, 1, 2, 2), [1_000_000, 3_000_000]);
    }

    #[test]
    fn messages_that_are_due_before_a_time_are_counted() {
        for (rate, of) in [(1, 1), (3, 1), (1000, 1), (1000, 3), (7, 4)] {
            for index in 0..of {
                for done in [0, 1, 5] {
                    let mut schedule = Schedule::new(rate, index, of);
                    schedule.skip(done);
                    for time in [0, 1, 1_000_000, 333_333_333, 333_333_334, 1_000_000_000, 2_500_000_001] {
                        let mut later = schedule;
                        let count = std::iter::from_fn(|| {
                            let due = later.due();
                            later.advance();
                            (due < time).then_some(())
                        });
                        let want = count.count() as u64;
                        assert_eq!(schedule.due_before(time), want, "{rate} {index}/{of} after {done}, {time}");
                    }
                }
            }
        }
    }

    #[test]
    fn shares_add_up() {
        for total in [0, 1, 2, 7, 100] {
            for of in 1..9 {
                assert_eq!((0..of).map(|index| share(total, index, of)).sum::<u64>(), total);
            }
        }
    }
}
