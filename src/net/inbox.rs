//! What was read and nobody takes yet: in the chunks in which it came.
//!
//! ```text
//!   read ── push ──▶ │ "a" │ "b" │ "c" │ ── pop ──▶ on_data "a": pauses, and "b" waits for the resume
//!                    ◀── unshift
//! ```
//!
//! As in Node, who pauses in the middle of what had waited is spared the rest of it. Chunks are kept apart up to
//! [`CHUNKS`]; what comes then is joined to the last. How many bytes there may be is decided by who reads: a high-water mark
//! and one read.

use std::collections::VecDeque;

/// How many chunks are kept apart: more than a person types before a busy server looks, and few enough to be nothing
/// beside the bytes of a peer that sends one at a time.
const CHUNKS: usize = 64;

/// Chunks that wait to be delivered. Empty, it owns nothing.
#[derive(Default)]
pub(super) struct Inbox {
    chunks: VecDeque<Vec<u8>>,
    len: usize,
}

impl Inbox {
    /// In bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds what was read.
    pub fn push(&mut self, chunk: &[u8]) {
        self.len += chunk.len();
        let is_full = self.chunks.len() >= CHUNKS;
        match self.chunks.back_mut().filter(|_| is_full) {
            Some(last) => last.extend_from_slice(chunk),
            None => self.chunks.push_back(chunk.to_vec()),
        }
    }

    /// Puts bytes in front of all that waits, as a chunk of their own.
    pub fn unshift(&mut self, bytes: &[u8]) {
        self.len += bytes.len();
        let is_full = self.chunks.len() >= CHUNKS;
        match self.chunks.front_mut().filter(|_| is_full) {
            Some(first) => drop(first.splice(..0, bytes.iter().copied())),
            None => self.chunks.push_front(bytes.to_vec()),
        }
    }

    /// The next chunk.
    pub fn pop(&mut self) -> Option<Vec<u8>> {
        let chunk = self.chunks.pop_front()?;
        self.len -= chunk.len();
        if self.is_empty() {
            *self = Inbox::default();
        }
        Some(chunk)
    }

    /// Makes one chunk of all that waits.
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
    fn chunks_come_out_as_they_came_in() {
        let mut inbox = Inbox::default();
        inbox.push(b"a");
        inbox.push(b"bc");
        assert_eq!(inbox.pop().as_deref(), Some(&b"a"[..]));
        inbox.unshift(b"A");
        assert_eq!(inbox.len(), 3);
        assert_eq!(all(inbox), [&b"A"[..], b"bc"]);
    }

    #[test]
    fn joined_they_are_one() {
        let mut inbox = Inbox::default();
        inbox.join();
        assert!(inbox.is_empty());
        inbox.push(b"a");
        inbox.push(b"bc");
        inbox.join();
        assert_eq!(all(inbox), [b"abc"]);
    }

    #[test]
    fn beyond_the_limit_they_grow_at_both_ends_and_nothing_is_lost() {
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
