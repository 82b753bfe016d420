//! Remembers recent records, because later records may name them as their cause: an arrow starts there.
//!
//! Most causes are a few records old. But a timer may have been armed hours ago, with millions of records since. So two
//! lists are kept: the latest records of any kind, and the latest records that armed a timer. A record with an older
//! cause gets no arrow, but the number of its cause is in the file.

use std::collections::VecDeque;

use crate::event_loop::Phase;

/// How many of the latest records are remembered, 32 bytes each: several turns of a busy server.
const RECENT: usize = 64 * 1024;

/// How many of the latest records that armed a timer are remembered.
const ARMED: usize = 64 * 1024;

/// A record as the start of an arrow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cause {
    pub(super) start_ns: u64,
    /// The number of its slice, or of the slice around it: arrows connect slices.
    pub(super) anchor: u64,
    pub(super) phase: Phase,
}

/// The remembered records. Both queues are sorted by number.
#[derive(Default)]
pub(super) struct Causes {
    recent: VecDeque<(u64, Cause)>,
    armed: VecDeque<(u64, Cause)>,
}

impl Causes {
    pub(super) fn remember(&mut self, number: u64, is_arming: bool, cause: Cause) {
        push(&mut self.recent, RECENT, (number, cause));
        if is_arming {
            push(&mut self.armed, ARMED, (number, cause));
        }
    }

    pub(super) fn find(&self, number: u64) -> Option<Cause> {
        let find_in = |queue: &VecDeque<(u64, Cause)>| {
            let index = queue.binary_search_by_key(&number, |&(number, _)| number).ok()?;
            Some(queue[index].1)
        };
        find_in(&self.recent).or_else(|| find_in(&self.armed))
    }
}

fn push(queue: &mut VecDeque<(u64, Cause)>, limit: usize, entry: (u64, Cause)) {
    if queue.len() == limit {
        queue.pop_front();
    }
    queue.push_back(entry);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_arm_a_timer_are_remembered_longer() {
        let mut causes = Causes::default();
        let cause = |number| Cause { start_ns: number, anchor: number, phase: Phase::Poll };
        for number in 0..2 * RECENT as u64 {
            causes.remember(number, number % 1000 == 0, cause(number));
        }
        let last = 2 * RECENT as u64 - 1;
        let table =
            [(last, true), (last + 1, false), (RECENT as u64, true), (RECENT as u64 - 1, false), (0, true), (1, false)];
        for (number, is_known) in table {
            assert_eq!(causes.find(number), is_known.then(|| cause(number)), "{number}");
        }
    }
}
