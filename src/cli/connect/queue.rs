//! Bytes that a terminal has not taken yet.
//!
//! ```text
//!   bytes ────────────▶ parts ─▶ ready ─▶ terminal, as much as it takes
//!   a long message ──▶┘       └ escaped piece by piece
//! ```
//!
//! A control byte takes four bytes on the screen, so a long message is stored as it has arrived, and is escaped only
//! when its turn comes. Uses no terminal.

use std::collections::VecDeque;

use crate::cli::escape::{Escaper, one_line};

/// About how many bytes are ready to be written. More than a terminal takes at once.
const PIECE: usize = 16 * 1024;

/// A longer message is escaped in pieces.
pub(super) const LONG_MESSAGE: usize = PIECE;

/// A buffer of this capacity is given back when it is empty.
const LARGE: usize = 1024 * 1024;

/// Bytes in the order in which they are written.
#[derive(Default)]
pub(super) struct Queue {
    ready: Vec<u8>,
    /// How many bytes of `ready` are written.
    taken: usize,
    /// The bytes and messages that follow those of `ready`.
    parts: VecDeque<Part>,
}

enum Part {
    Bytes(Vec<u8>),
    /// A message, and how many bytes of it are escaped already.
    Message(String, usize),
}

impl Queue {
    /// Adds bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        match self.parts.back_mut() {
            None => {
                self.compact(self.ready.len() / 2);
                self.ready.extend_from_slice(bytes);
            }
            Some(Part::Bytes(last)) => last.extend_from_slice(bytes),
            Some(Part::Message(..)) => self.parts.push_back(Part::Bytes(bytes.to_vec())),
        }
    }

    /// Adds a message, which is escaped to one line without a line break.
    pub(super) fn push_message(&mut self, message: &str) {
        self.parts.push_back(Part::Message(message.to_owned(), 0));
    }

    /// The next bytes to write. Empty only if the queue is.
    pub(super) fn front(&mut self) -> &[u8] {
        while self.ready.len() - self.taken < PIECE
            && let Some(part) = self.parts.front_mut()
        {
            let is_over = match part {
                Part::Bytes(bytes) => {
                    self.ready.append(bytes);
                    true
                }
                Part::Message(text, at) => {
                    let end = text.floor_char_boundary(*at + PIECE);
                    self.ready.extend(Escaper::default().escape(one_line(&text[*at..end]).as_bytes()).as_bytes());
                    *at = end;
                    end == text.len()
                }
            };
            if is_over {
                self.parts.pop_front();
            }
            self.compact(0);
        }
        &self.ready[self.taken..]
    }

    /// The first `count` bytes of [`front`](Self::front) are written.
    pub(super) fn advance(&mut self, count: usize) {
        self.taken += count;
        if self.taken == self.ready.len() {
            self.taken = 0;
            self.ready.clear();
            if self.ready.capacity() > LARGE {
                self.ready = Vec::new();
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.taken == self.ready.len() && self.parts.is_empty()
    }

    /// Removes written bytes if there are more than `limit`. Moving the rest for every write would take quadratic time.
    fn compact(&mut self, limit: usize) {
        if self.taken > limit {
            self.ready.drain(..self.taken);
            self.taken = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes everything, `step` bytes at a time, and checks that little of it is escaped at once.
    fn taken(queue: &mut Queue, step: usize) -> String {
        let mut all = Vec::new();
        loop {
            let front = queue.front();
            let count = front.len().min(step);
            all.extend_from_slice(&front[..count]);
            if count == 0 {
                break;
            }
            queue.advance(count);
        }
        assert!(queue.is_empty());
        String::from_utf8(all).expect("text")
    }

    #[test]
    fn bytes_and_messages_keep_their_order() {
        for step in [1, 7, 5000, 1 << 20] {
            let mut queue = Queue::default();
            let long = "ñ\u{1}\r\n€".repeat(LONG_MESSAGE / 4);
            queue.push(b"a");
            queue.push_message(&long);
            queue.push(b"b");
            queue.push(b"c");
            queue.push_message("\n");
            queue.push(b"d");
            assert!(!queue.is_empty());
            let want = format!("a{}bc\\nd", r"ñ\x01\r\n€".repeat(LONG_MESSAGE / 4));
            assert!(taken(&mut queue, step) == want, "{step}");
            queue.push(b"later");
            assert_eq!(taken(&mut queue, step), "later");
        }
    }

    #[test]
    fn a_long_message_is_escaped_piece_by_piece() {
        let mut queue = Queue::default();
        queue.push_message(&"\u{1}".repeat(4 << 20));
        let mut written = 0;
        while !queue.is_empty() {
            let count = queue.front().len().min(100);
            queue.advance(count);
            written += count;
            assert!(queue.ready.capacity() <= 16 * PIECE, "{}", queue.ready.capacity());
        }
        assert_eq!(written, 16 << 20);
    }

    #[test]
    fn the_memory_of_written_bytes_is_used_again() {
        let mut queue = Queue::default();
        queue.push(&[b'x'; 1000]);
        for _ in 0..10_000 {
            queue.push(&[b'y'; 100]);
            queue.front();
            queue.advance(100);
        }
        assert!(queue.ready.capacity() < 10_000, "{}", queue.ready.capacity());
    }
}
