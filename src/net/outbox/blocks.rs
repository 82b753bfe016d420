//! Memory for what waits: blocks of a kibibyte, cut from regions that go back to the system whole.
//!
//! A crowd of slow readers makes tens of megabytes wait for a minute, in pieces that come and go in any order. Taken one by
//! one from the allocator they would lie between things that stay, and their holes would be the process's for the rest of
//! its life. A region is one allocation, larger than any an allocator keeps to itself: when the last block in it is free,
//! its pages are the system's again.
//!
//! ```text
//!   region   ▓▓▓▓░▓▓▓░░▓▓░▓···············  32 MiB; what was never used (·) is in nobody's memory
//!                ▲ taken next: the lowest that is free
//!   chain    first ──▶ ▓▓▓▓ ──▶ ▓▓▓▓ ──▶ ▓▓░░ ◀── last
//!                      ░▲ head               len bytes from there
//! ```
//!
//! What one reader alone is owed comes to lie in one piece for the most part, and leaves as such.
//!
//! | action | cost |
//! |---|---|
//! | push, advance | a copy, or none; per block the search for a free bit, which goes up and hardly ever back |
//! | the first block of a region, its last | one system call, unless it is [kept](KEEP_BLOCKS) |
//!
//! Nothing is given back from inside a region: a reader who is always a little behind keeps what a crowd has used, up to
//! 32 MiB, until he is not.

use std::io::IoSlice;

/// How long a block is. Of its last one a chain wastes half on average, and that for each of thousands.
pub(in crate::net) const BLOCK: usize = 1024;

/// A region's free blocks, 64 to the word.
const WORDS: usize = 512;

const REGION_BLOCKS: usize = 64 * WORDS;

/// A page more than 32 MiB, which is glibc's own limit of what it may come to keep (`M_MMAP_THRESHOLD` in mallopt(3)).
const REGION_BYTES: usize = REGION_BLOCKS * BLOCK + 4096;

/// How many blocks of the first region may have been used for it to be kept when it is empty: what a high-water mark for each
/// connection takes, but a quarter of a megabyte at least, so that a slow reader now and then does not make it come and go; and at
/// most the eight megabytes that all may have gathered.
const KEEP_BLOCKS: std::ops::RangeInclusive<usize> = 256..=8192;

/// How many of them for each connection: Node's high-water mark.
const KEEP_EACH: usize = 16;

/// All regions.
#[derive(Default)]
pub(in crate::net) struct Blocks {
    regions: Vec<Region>,
    /// No region before this one has a free block.
    open: usize,
    /// How many may have waited for it.
    connections: usize,
}

/// Many blocks in one allocation, or none until they are needed.
///
/// Invariant: a block is free unless it is in exactly one chain.
#[derive(Default)]
struct Region {
    bytes: Vec<u8>,
    /// What stands behind each block in its chain, of those that were ever used.
    next: Vec<u32>,
    /// A bit for each block that is taken.
    taken: Vec<u64>,
    used: usize,
    /// No word before this one has a free bit.
    open: usize,
}

impl Region {
    #[inline]
    fn take(&mut self) -> usize {
        if self.bytes.is_empty() {
            self.allocate();
        }
        while self.taken[self.open] == u64::MAX {
            self.open += 1;
        }
        let bit = self.taken[self.open].trailing_ones() as usize;
        self.taken[self.open] |= 1 << bit;
        let index = 64 * self.open + bit;
        self.used += 1;
        if index == self.next.len() {
            self.next.push(0);
        }
        index
    }

    #[cold]
    fn allocate(&mut self) {
        // Zeroed memory of that size is the kernel's, which gives each page when it is first touched.
        self.bytes = vec![0; REGION_BYTES];
        self.taken = vec![0; WORDS];
    }

    #[inline]
    fn give_back(&mut self, index: usize) {
        let word = index / 64;
        debug_assert!(self.taken[word] & 1 << (index % 64) != 0, "a block is given back once");
        self.taken[word] &= !(1 << (index % 64));
        self.open = self.open.min(word);
        self.used -= 1;
    }
}

impl Blocks {
    #[inline]
    fn take(&mut self) -> u32 {
        while self.regions.get(self.open).is_some_and(|region| region.used == REGION_BLOCKS) {
            self.open += 1;
        }
        if self.open == self.regions.len() {
            self.regions.push(Region::default());
        }
        (self.open * REGION_BLOCKS + self.regions[self.open].take()) as u32
    }

    #[inline]
    fn give_back(&mut self, block: u32) {
        let (at, index) = place(block);
        let region = &mut self.regions[at];
        region.give_back(index);
        self.open = self.open.min(at);
        if region.used == 0 {
            self.release();
        }
    }

    /// There are so many connections now.
    pub fn connections_are(&mut self, count: usize) {
        let are_fewer = count < self.connections;
        self.connections = count;
        if are_fewer {
            self.release();
        }
    }

    /// Gives back what is empty: all but the first region, and that, too, if it was much.
    fn release(&mut self) {
        let keep = (self.connections * KEEP_EACH).clamp(*KEEP_BLOCKS.start(), *KEEP_BLOCKS.end());
        for (at, region) in self.regions.iter_mut().enumerate() {
            if region.used == 0 && (at > 0 || region.next.len() > keep) {
                *region = Region::default();
            }
        }
    }

    fn next(&mut self, block: u32) -> &mut u32 {
        let (region, index) = place(block);
        &mut self.regions[region].next[index]
    }

    fn next_of(&self, block: u32) -> u32 {
        let (region, index) = place(block);
        self.regions[region].next[index]
    }

    /// So many bytes from a block on, which those behind it in memory hold, too.
    fn bytes(&self, block: u32, from: usize, len: usize) -> &[u8] {
        let (region, index) = place(block);
        &self.regions[region].bytes[index * BLOCK + from..][..len]
    }

    /// Whether what stands behind this block in its chain also stands behind it in memory.
    fn goes_on(&self, block: u32) -> bool {
        self.next_of(block) == block + 1 && place(block + 1).1 != 0
    }

    fn bytes_mut(&mut self, block: u32) -> &mut [u8] {
        let (region, index) = place(block);
        &mut self.regions[region].bytes[index * BLOCK..][..BLOCK]
    }

    /// How many are in chains.
    #[cfg(any(test, fuzzing))]
    pub fn used(&self) -> usize {
        self.regions.iter().map(|region| region.used).sum()
    }
}

fn place(block: u32) -> (usize, usize) {
    (block as usize / REGION_BLOCKS, block as usize % REGION_BLOCKS)
}

/// Bytes in blocks, in order. Who drops one without [`clear`](Self::clear) loses its blocks until the loop is dropped.
#[derive(Default)]
pub(in crate::net) struct Chain {
    /// These two mean nothing while it is empty.
    first: u32,
    last: u32,
    /// What is before this in the first block has left.
    head: usize,
    len: usize,
}

impl Chain {
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Behind what there is.
    #[inline]
    pub fn push(&mut self, blocks: &mut Blocks, bytes: &[u8]) {
        let end = (self.head + self.len) % BLOCK;
        if end == 0 || bytes.len() > BLOCK - end {
            return self.push_into_new(blocks, bytes);
        }
        // Nearly always: it fits into the last block.
        blocks.bytes_mut(self.last)[end..end + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn push_into_new(&mut self, blocks: &mut Blocks, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let end = (self.head + self.len) % BLOCK;
            if end == 0 {
                let block = blocks.take();
                if self.is_empty() {
                    self.first = block;
                } else {
                    *blocks.next(self.last) = block;
                }
                self.last = block;
            }
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - end));
            blocks.bytes_mut(self.last)[end..end + now.len()].copy_from_slice(now);
            self.len += now.len();
            bytes = later;
        }
    }

    /// The first `n` bytes have left.
    pub fn advance(&mut self, blocks: &mut Blocks, mut n: usize) {
        debug_assert!(n <= self.len);
        while n > 0 {
            let here = n.min(BLOCK - self.head).min(self.len);
            self.head += here;
            self.len -= here;
            n -= here;
            if self.head == BLOCK || self.is_empty() {
                let next = blocks.next_of(self.first);
                blocks.give_back(self.first);
                self.first = next;
                self.head = 0;
            }
        }
    }

    #[inline]
    pub fn clear(&mut self, blocks: &mut Blocks) {
        if self.is_empty() || self.head + self.len > BLOCK {
            return self.advance(blocks, self.len);
        }
        blocks.give_back(self.first);
        (self.head, self.len) = (0, 0);
    }

    /// All there is, if one block holds it. Not to be asked of an empty chain.
    #[inline]
    pub fn in_one_block<'a>(&self, blocks: &'a Blocks) -> Option<&'a [u8]> {
        (self.head + self.len <= BLOCK).then(|| blocks.bytes(self.first, self.head, self.len))
    }

    /// The first `limit` bytes, as far as there are places for their pieces; says how many there are.
    pub fn pieces<'a>(&self, blocks: &'a Blocks, limit: usize, pieces: &mut [IoSlice<'a>]) -> usize {
        let (mut first, mut from, mut left) = (self.first, self.head, self.len.min(limit));
        let mut count = 0;
        for piece in pieces {
            if left == 0 {
                break;
            }
            let (mut last, mut len) = (first, left.min(BLOCK - from));
            while len < left && blocks.goes_on(last) {
                last += 1;
                len += BLOCK.min(left - len);
            }
            *piece = IoSlice::new(blocks.bytes(first, from, len));
            (first, from, left) = (blocks.next_of(last), 0, left - len);
            count += 1;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(blocks: &mut Blocks, len: usize) -> Chain {
        let mut chain = Chain::default();
        chain.push(blocks, &vec![b'x'; len]);
        chain
    }

    fn sizes(blocks: &Blocks) -> Vec<usize> {
        blocks.regions.iter().map(|region| region.bytes.len()).collect()
    }

    #[test]
    fn the_lowest_free_block_is_taken_first() {
        let mut blocks = Blocks::default();
        let mut chains: Vec<Chain> = (0..200).map(|_| filled(&mut blocks, 1)).collect();
        for freed in [150, 3, 70] {
            chains[freed].clear(&mut blocks);
        }
        let taken: Vec<u32> = (0..4).map(|_| blocks.take()).collect();
        assert_eq!(taken, [3, 70, 150, 200]);
    }

    #[test]
    fn what_lies_in_one_piece_leaves_in_one() {
        let mut blocks = Blocks::default();
        let lengths = |chain: &Chain, blocks: &Blocks, limit| {
            let mut pieces = [IoSlice::new(&[]); 3];
            let count = chain.pieces(blocks, limit, &mut pieces);
            pieces[..count].iter().map(|piece| piece.len()).collect::<Vec<_>>()
        };
        let mut one = filled(&mut blocks, 5 * BLOCK);
        assert_eq!(lengths(&one, &blocks, usize::MAX), [5 * BLOCK]);
        let mut other = filled(&mut blocks, 1);
        one.push(&mut blocks, &[b'x'; 2 * BLOCK]);
        assert_eq!(lengths(&one, &blocks, usize::MAX), [5 * BLOCK, 2 * BLOCK]);
        assert_eq!(lengths(&one, &blocks, 5 * BLOCK + 1), [5 * BLOCK, 1]);
        one.advance(&mut blocks, BLOCK + 10);
        assert_eq!(lengths(&one, &blocks, usize::MAX), [4 * BLOCK - 10, 2 * BLOCK]);
        other.clear(&mut blocks);
        one.clear(&mut blocks);
        // Nor does a piece go from the end of a region into the next.
        let mut most = filled(&mut blocks, (REGION_BLOCKS - 1) * BLOCK);
        let across = filled(&mut blocks, 2 * BLOCK);
        assert_eq!(lengths(&across, &blocks, usize::MAX), [BLOCK, BLOCK]);
        most.clear(&mut blocks);
    }

    #[test]
    fn a_region_goes_when_its_last_block_is_free_if_it_was_ever_large() {
        let mut blocks = Blocks::default();
        let least = *KEEP_BLOCKS.start();
        let mut little = filled(&mut blocks, least * BLOCK);
        little.clear(&mut blocks);
        assert_eq!(sizes(&blocks), [REGION_BYTES], "kept for the next");
        let (mut stays, mut much) = (filled(&mut blocks, 1), filled(&mut blocks, least * BLOCK));
        much.clear(&mut blocks);
        assert_eq!(blocks.used(), 1);
        stays.clear(&mut blocks);
        assert_eq!((sizes(&blocks), blocks.used()), (vec![0], 0));
    }

    #[test]
    fn many_connections_keep_more_until_they_leave() {
        let mut blocks = Blocks::default();
        blocks.connections_are(500);
        let mut gathered = filled(&mut blocks, 500 * 16 * BLOCK);
        gathered.clear(&mut blocks);
        assert_eq!(sizes(&blocks), [REGION_BYTES]);
        blocks.connections_are(499);
        assert_eq!(sizes(&blocks), [0]);
        blocks.connections_are(1_000_000);
        let mut waited = filled(&mut blocks, (KEEP_BLOCKS.end() + 1) * BLOCK);
        waited.clear(&mut blocks);
        assert_eq!(sizes(&blocks), [0], "more than can be gathered");
    }

    #[test]
    fn what_one_region_does_not_hold_is_in_the_next() {
        let mut blocks = Blocks::default();
        let mut all: Vec<Chain> = (0..3).map(|_| filled(&mut blocks, REGION_BLOCKS * 2 / 3 * BLOCK)).collect();
        assert_eq!(sizes(&blocks), [REGION_BYTES; 2]);
        all[0].clear(&mut blocks);
        all[2].clear(&mut blocks);
        assert_eq!(sizes(&blocks), [REGION_BYTES; 2], "the one between is in both");
        all[1].clear(&mut blocks);
        assert_eq!((sizes(&blocks), blocks.used()), (vec![0, 0], 0));
        assert_eq!(blocks.take(), 0, "and all begins again");
    }
}
