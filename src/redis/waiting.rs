//! Commands that wait for a connection, up to a number of bytes.

use std::collections::VecDeque;

/// Commands in their order. `E` is what is expected for each.
pub(super) struct Waiting<E> {
    commands: VecDeque<(Vec<u8>, E)>,
    bytes: usize,
}

/// What a command costs besides its bytes.
const OVERHEAD: usize = 64;

impl<E> Default for Waiting<E> {
    fn default() -> Self {
        Waiting { commands: VecDeque::new(), bytes: 0 }
    }
}

impl<E> Waiting<E> {
    /// Adds a command, unless more than `limit` bytes would wait. Then it is returned.
    pub fn push(&mut self, command: Vec<u8>, expected: E, limit: usize) -> Result<(), E> {
        let len = command.len() + OVERHEAD;
        if self.bytes + len > limit {
            return Err(expected);
        }
        self.bytes += len;
        self.commands.push_back((command, expected));
        Ok(())
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
        assert_eq!(waiting.push(vec![1; 10], 'a', limit), Ok(()));
        assert_eq!(waiting.push(vec![2; 11], 'b', limit), Err('b'), "it is too long");
        assert_eq!(waiting.push(vec![3; 10], 'c', limit), Ok(()));
        assert_eq!(waiting.push(Vec::new(), 'd', limit), Err('d'), "the queue is full");
        let taken: Vec<char> = waiting.take().into_iter().map(|(_, expected)| expected).collect();
        assert_eq!(taken, ['a', 'c']);
        assert_eq!(waiting.push(vec![1; 10], 'e', limit), Ok(()), "the queue is empty again");
    }
}
