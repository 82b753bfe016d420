//! Sets of connections: the receivers of a message that have not got it, and those for which it was counted as missing.

use std::collections::{HashMap, VecDeque};

/// How much memory missing deliveries may take. Beyond it the oldest messages are forgotten.
const MISSED_BYTES: usize = 16 * 1024 * 1024;

/// The memory of a message with missing deliveries, in bytes, without its set of receivers.
const MISSED_MESSAGE: usize = 96;

/// A set of connections.
#[derive(Debug)]
pub(super) struct Bits(Box<[u64]>);

impl Bits {
    pub(super) fn new(len: usize) -> Bits {
        Bits(vec![0; len.div_ceil(64)].into())
    }

    fn has(&self, at: u64) -> bool {
        self.0.get((at / 64) as usize).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    pub(super) fn set(&mut self, at: u64) {
        self.0[(at / 64) as usize] |= 1 << (at % 64);
    }

    /// Removes a connection, and returns whether it was in the set.
    pub(super) fn take(&mut self, at: u64) -> bool {
        let had = self.has(at);
        if had {
            self.0[(at / 64) as usize] &= !(1 << (at % 64));
        }
        had
    }

    pub(super) fn list(&self) -> Vec<u64> {
        (0..self.0.len() as u64 * 64).filter(|&at| self.has(at)).collect()
    }
}

/// Deliveries that were counted as missing and have not been received since: for each message, its receivers. Only the
/// latest messages are kept, so that a long run against a server that loses messages needs no more memory.
#[derive(Debug)]
pub(super) struct Missed {
    members: usize,
    /// By sender and number.
    messages: HashMap<(u64, u64), Bits>,
    /// The same messages, the oldest first.
    order: VecDeque<(u64, u64)>,
    /// For each sender: messages below this number may have been forgotten.
    forgotten: Box<[u64]>,
}

impl Missed {
    pub(super) fn new(members: usize) -> Missed {
        Missed { members, messages: HashMap::new(), order: VecDeque::new(), forgotten: vec![0; members].into() }
    }

    /// How many messages are kept.
    pub(super) fn limit(members: usize) -> usize {
        (MISSED_BYTES / (MISSED_MESSAGE + members.div_ceil(8))).max(1)
    }

    /// Adds a missing delivery.
    pub(super) fn add(&mut self, receiver: u64, sender: u64, seq: u64) {
        let Missed { members, messages, order, forgotten } = self;
        let receivers = messages.entry((sender, seq)).or_insert_with(|| {
            order.push_back((sender, seq));
            Bits::new(*members)
        });
        receivers.set(receiver);
        if order.len() > Missed::limit(*members)
            && let Some(oldest) = order.pop_front()
        {
            messages.remove(&oldest);
            let below = &mut forgotten[oldest.0 as usize];
            *below = (oldest.1 + 1).max(*below);
        }
    }

    /// Removes a delivery that has come after all, and returns whether it was missing. Of a message that was forgotten,
    /// every delivery counts as missing: a late one is more probable than one that comes twice.
    pub(super) fn take(&mut self, receiver: u64, sender: u64, seq: u64) -> bool {
        match self.messages.get_mut(&(sender, seq)) {
            Some(receivers) => receivers.take(receiver),
            None => seq < self.forgotten[sender as usize],
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.messages.len().max(self.order.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_missing_deliveries_is_limited() {
        for members in [2, 100, 10_000] {
            let most = Missed::limit(members);
            let mut missed = Missed::new(members);
            for seq in 0..2 * most as u64 {
                missed.add(1, 0, seq);
            }
            assert_eq!(missed.len(), most);
            let last = 2 * most as u64 - 1;
            assert!(missed.take(1, 0, last) && !missed.take(1, 0, last), "it is late once");
            assert!(missed.take(1, 0, 0), "it was forgotten");
            assert!(!missed.take(1, 1, 0), "another sender's is not missing");
        }
    }
}
