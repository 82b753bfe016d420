//! Bytes that were read but not delivered yet, kept in chunks as they arrived.
//!
//! ```text
//!   read ── push ──▶ │ "a" │ "b" │ "c" │ ── pop ──▶ on_data("a") pauses the socket; "b" waits for the resume
//!                    ◀── unshift
//! ```
//!
//! Chunks are stored apart because, as in Node, a socket that pauses on one chunk does not get the next one. At most
//! [`CHUNKS`] are kept apart; later bytes are appended to the last chunk. The reader limits the number of bytes to the
//! high-water mark plus one read.

use std::collections::VecDeque;

/// How many chunks are kept apart: more than a person types while a busy server does not read, and few enough that a
/// peer that sends single bytes costs little memory.
const CHUNKS: usize = 64;

/// Chunks that wait to be delivered. An empty inbox owns no memory.
#[derive(Default)]
pub(super) struct Inbox {
    chunks: VecDeque<Vec<u8>>,
    len: usize,
}

impl Inbox {
    /// The length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a chunk that was read.
    pub fn push(&mut self, chunk: &[u8]) {
        self.len += chunk.len();
        let is_full = self.chunks.len() >= CHUNKS;
        match self.chunks.back_mut().filter(|_| is_full) {
            Some(last) => last.extend_from_slice(chunk),
            None => self.chunks.push_back(chunk.to_vec()),
        }
    }

    /// Puts bytes before everything that waits, as a chunk of their own.
    pub fn unshift(&mut self, bytes: &[u8]) {
        self.len += bytes.len();
        let is_full = self.chunks.len() >= CHUNKS;
        match self.chunks.front_mut().filter(|_| is_full) {
            Some(first) => drop(first.splice(..0, bytes.iter().copied())),
            None => self.chunks.push_front(bytes.to_vec()),
        }
    }

    /// Removes and returns the next chunk.
    pub fn pop(&mut self) -> Option<Vec<u8>> {
        let chunk = self.chunks.pop_front()?;
        self.len -= chunk.len();
        if self.is_empty() {
            // Frees the queue's buffer: an idle socket owns none.
            *self = Inbox::default();
        }
        Some(chunk)
    }

    /// Joins everything that waits into one chunk.
    pub fn join(&mut self) {
        if self.chunks.len() > 1 {
            let all = self.chunks.drain(..).flatten().collect();
            self.chunks.push_back(all);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut inbox: Inbox) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| inbox.pop()).collect()
    }

    #[test]
    fn chunks_are_popped_as_they_were_pushed() {
        let mut inbox = Inbox::default();
        inbox.push(b"a");
        inbox.push(b"bc");
        assert_eq!(inbox.pop().as_deref(), Some(&b"a"[..]));
        inbox.unshift(b"A");
        assert_eq!(inbox.len(), 3);
        assert_eq!(all(inbox), [&b"A"[..], b"bc"]);
    }

    #[test]
    fn join_makes_one_chunk() {
        let mut inbox = Inbox::default();
        inbox.join();
        assert!(inbox.is_empty());
        inbox.push(b"a");
        inbox.push(b"bc");
        inbox.join();
        assert_eq!(all(inbox), [b"abc"]);
    }

    #[test]
    fn beyond_the_limit_the_outer_chunks_grow_and_no_byte_is_lost() {
        let mut inbox = Inbox::default();
        for byte in 0..CHUNKS as u8 + 10 {
            inbox.push(&[byte]);
        }
        inbox.unshift(b"front");
        assert_eq!(inbox.len(), CHUNKS + 15);
        let chunks = all(inbox);
        assert_eq!(chunks.len(), CHUNKS);
        assert_eq!(chunks[0], b"front\0");
        assert_eq!(chunks[CHUNKS - 1].len(), 11);
        let bytes: Vec<u8> = b"front".iter().copied().chain(0..CHUNKS as u8 + 10).collect();
        assert_eq!(chunks.concat(), bytes);
    }
}
