//! When the messages of the open model are due.
//!
//! Evenly spaced from the start, by whole numbers, so that no rounding adds up over a day. Processes take turns:
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
    /// A second in all processes.
    rate: u64,
    index: u64,
    of: u64,
    next: u64,
}

impl Schedule {
    pub(crate) fn new(rate: u64, index: u64, of: u64) -> Schedule {
        Schedule { rate, index, of, next: 0 }
    }

    /// When the first message of all processes is due that is due at `time` or later, in nanoseconds.
    pub(crate) fn first_from(rate: u64, time: Duration) -> u128 {
        first_number_from(rate, time) * 1_000_000_000 / u128::from(rate.max(1))
    }

    /// When the next message is due.
    pub(crate) fn due(&self) -> u64 {
        let number = u128::from(self.next) * u128::from(self.of) + u128::from(self.index);
        u64::try_from(number * 1_000_000_000 / u128::from(self.rate.max(1))).unwrap_or(u64::MAX)
    }

    /// Goes on to the one after it.
    pub(crate) fn advance(&mut self) {
        self.next += 1;
    }
}

/// The number of the first message, counted over all processes, that is due at `time` or later.
pub(crate) fn first_number_from(rate: u64, time: Duration) -> u128 {
    (time.as_nanos() * u128::from(rate)).div_ceil(1_000_000_000)
}

/// The part of `total` that is the `index`th of `of`: parts differ by one at most.
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
    fn evenly_spaced() {
        assert_eq!(first(1000, 0, 1, 3), [0, 1_000_000, 2_000_000]);
        assert_eq!(first(3, 0, 1, 4), [0, 333_333_333, 666_666_666, 1_000_000_000]);
        assert_eq!(first(1000, 0, 2, 2), [0, 2_000_000]);
        assert_eq!(first(1000, 1, 2, 2), [1_000_000, 3_000_000]);
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
