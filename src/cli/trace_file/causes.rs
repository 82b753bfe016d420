//! Where the causes of things to come are: an arrow starts there.
//!
//! The cause of most things is a moment old. That of a timer may be hours old, and millions of records lie between. So
//! the last records are remembered whatever they are, and of those that arm a timer many more. What is older than that
//! gets no arrow; the number of its cause is in the file all the same.

use std::collections::VecDeque;

use bucle::trace::Phase;

/// How many records are remembered: several turns of a busy server. 24 bytes each.
const RECENT: usize = 64 * 1024;

/// How many armed timers are remembered beyond that.
const ARMED: usize = 64 * 1024;

/// A record, as the start of an arrow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cause {
    pub(super) start_ns: u64,
    /// The slice that it is, or that is around it: arrows go from slice to slice.
    pub(super) anchor: u64,
    pub(super) phase: Phase,
}

/// Both queues are sorted by number.
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
            let place = queue.binary_search_by_key(&number, |&(number, _)| number).ok()?;
            Some(queue[place].1)
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
    fn a_timer_is_remembered_longer_than_the_rest() {
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
