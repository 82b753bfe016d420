//! Commands that wait for a connection, up to a number of bytes.

use std::collections::VecDeque;

/// Commands in their order. `E` is what is expected for each.
pub(super) struct Waiting<E> {
    commands: VecDeque<(Vec<u8>, E)>,
    bytes: usize,
}

/// The memory of a command besides its bytes.
const OVERHEAD: usize = 64;

impl<E> Default for Waiting<E> {
    fn default() -> Self {
        Waiting { commands: VecDeque::new(), bytes: 0 }
    }
}

impl<E> Waiting<E> {
    /// Whether a command of so many bytes may wait: not more than `limit` bytes wait then.
    pub fn has_room(&self, len: usize, limit: usize) -> bool {
        self.bytes + len + OVERHEAD <= limit
    }

    /// How many bytes the commands have, with what each costs.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a command.
    pub fn push(&mut self, command: Vec<u8>, expected: E) {
        self.bytes += command.len() + OVERHEAD;
        self.commands.push_back((command, expected));
    }

    /// Takes all commands.
    pub fn take(&mut self) -> VecDeque<(Vec<u8>, E)> {
        self.bytes = 0;
        std::mem::take(&mut self.commands)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_wait_in_their_order_up_to_the_limit() {
        let mut waiting = Waiting::default();
        let limit = 2 * (OVERHEAD + 10);
        assert!(waiting.has_room(10, limit));
        waiting.push(vec![1; 10], 'a');
        assert!(!waiting.has_room(11, limit), "it is too long");
        waiting.push(vec![3; 10], 'c');
        assert!(!waiting.has_room(0, limit), "the queue is full");
        assert_eq!(waiting.bytes(), limit);
        let taken: Vec<char> = waiting.take().into_iter().map(|(_, expected)| expected).collect();
        assert_eq!(taken, ['a', 'c']);
        assert!(waiting.has_room(10, limit) && waiting.bytes() == 0, "the queue is empty again");
    }
}
