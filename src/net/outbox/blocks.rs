//! Memory for bytes that wait long or are many: blocks of a kibibyte, cut from regions of 32 MiB.
//!
//! When many readers are slow, tens of megabytes wait for a minute, in pieces that come and go in any order. As single
//! allocations these pieces would lie between longer-lived ones, and the allocator could return few of their pages to
//! the system. A region is one allocation, larger than any that an allocator keeps: when its last block is freed, all
//! of its pages go back to the system.
//!
//! ```text
//!   region   ▓▓▓▓░▓▓▓░░▓▓░▓···············  32 MiB; pages that were never used (·) take no memory
//!                ▲ taken next: the lowest free block
//!   chain    first ──▶ ▓▓▓▓ ──▶ ▓▓▓▓ ──▶ ▓▓░░ ◀── last
//!                      ░▲ head               len bytes from there
//! ```
//!
//! Blocks are taken from the lowest upwards, so the bytes of a single slow reader mostly lie in adjacent blocks.
//! Adjacent blocks of a chain are sent as one piece.
//!
//! | action | cost |
//! |---|---|
//! | push | a copy, and for each block the search for a free bit, which starts where the last one ended |
//! | advance | nothing is moved; a block that is empty is freed |
//! | the first block of a region, its last | one system call, unless the region is [kept](KEEP_BLOCKS) |
//!
//! Bound: a region is freed only as a whole. One slow reader with a single block keeps the pages of a region that many
//! readers have used, at most 32 MiB.

use std::io::IoSlice;

/// The length of a block. A chain wastes half a block on average, and there may be thousands of chains.
pub(in crate::net) const BLOCK: usize = 1024;

/// How many words the bitmap of a region has. Each word stands for 64 blocks.
const WORDS: usize = 512;

const REGION_BLOCKS: usize = 64 * WORDS;

/// A page more than 32 MiB. Up to 32 MiB glibc may keep freed memory for itself (`M_MMAP_THRESHOLD` in mallopt(3));
/// larger allocations go back to the system when they are freed.
const REGION_BYTES: usize = REGION_BLOCKS * BLOCK + 4096;

/// The empty first region is kept if no more than this many of its blocks were ever used: a high-water mark for each
/// connection, within these bounds. The lower one, 256 KiB, keeps the region for a single slow reader that comes and
/// goes; the upper one, 8 MiB, is what all sockets together may gather.
const KEEP_BLOCKS: std::ops::RangeInclusive<usize> = 256..=8192;

/// How many of these blocks are kept for each connection: Node's high-water mark.
const KEEP_EACH: usize = 16;

/// All regions of a loop.
#[derive(Default)]
pub(in crate::net) struct Blocks {
    regions: Vec<Region>,
    /// All regions before this one are full.
    first_with_room: usize,
    /// How many connections there are: decides how large an empty region may be to be kept.
    connections: usize,
}

/// Many blocks in one allocation, which is made when the first block is taken.
///
/// Invariant: a block is free unless it is in exactly one chain.
#[derive(Default)]
struct Region {
    bytes: Vec<u8>,
    /// For each block the next one in its chain. Only as long as the highest block that was ever used.
    next: Vec<u32>,
    /// The bitmap: a bit for each block, set while the block is taken.
    taken: Vec<u64>,
    /// How many blocks are taken.
    used: usize,
    /// All words of `taken` before this one are full.
    first_with_room: usize,
}

impl Region {
    /// Takes the lowest free block. There must be one.
    #[inline]
    fn take(&mut self) -> usize {
        if self.bytes.is_empty() {
            self.allocate();
        }
        while self.taken[self.first_with_room] == u64::MAX {
            self.first_with_room += 1;
        }
        // The number of ones at the low end is the place of the first zero.
        let bit = self.taken[self.first_with_room].trailing_ones() as usize;
        self.taken[self.first_with_room] |= 1 << bit;
        let index = 64 * self.first_with_room + bit;
        self.used += 1;
        if index == self.next.len() {
            self.next.push(0);
        }
        index
    }

    #[cold]
    fn allocate(&mut self) {
        // The allocator maps zeroed memory of this size, and the kernel provides each page when it is first touched.
        self.bytes = vec![0; REGION_BYTES];
        self.taken = vec![0; WORDS];
    }

    #[inline]
    fn give_back(&mut self, index: usize) {
        let word = index / 64;
        debug_assert!(self.taken[word] & 1 << (index % 64) != 0, "a block is given back once");
        self.taken[word] &= !(1 << (index % 64));
        self.first_with_room = self.first_with_room.min(word);
        self.used -= 1;
    }
}

impl Blocks {
    /// Takes the lowest free block of the first region that has one. Blocks are numbered through all regions.
    #[inline]
    fn take(&mut self) -> u32 {
        while self.regions.get(self.first_with_room).is_some_and(|region| region.used == REGION_BLOCKS) {
            self.first_with_room += 1;
        }
        if self.first_with_room == self.regions.len() {
            self.regions.push(Region::default());
        }
        (self.first_with_room * REGION_BLOCKS + self.regions[self.first_with_room].take()) as u32
    }

    #[inline]
    fn give_back(&mut self, block: u32) {
        let (at, index) = place(block);
        let region = &mut self.regions[at];
        region.give_back(index);
        self.first_with_room = self.first_with_room.min(at);
        if region.used == 0 {
            self.release();
        }
    }

    /// Sets the number of connections. With fewer than before, a smaller region is kept.
    pub fn set_connections(&mut self, count: usize) {
        let are_fewer = count < self.connections;
        self.connections = count;
        if are_fewer {
            self.release();
        }
    }

    /// Frees empty regions. The first one is kept if no more of it was ever used than `keep` blocks.
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

    /// `len` bytes, beginning `from` bytes into a block. They may go on into the blocks behind it in memory.
    fn bytes(&self, block: u32, from: usize, len: usize) -> &[u8] {
        let (region, index) = place(block);
        &self.regions[region].bytes[index * BLOCK + from..][..len]
    }

    /// Whether the next block of the chain is also the next one in memory.
    fn next_is_adjacent(&self, block: u32) -> bool {
        // Index 0 is the beginning of another region, which is another allocation.
        self.next_of(block) == block + 1 && place(block + 1).1 != 0
    }

    fn bytes_mut(&mut self, block: u32) -> &mut [u8] {
        let (region, index) = place(block);
        &mut self.regions[region].bytes[index * BLOCK..][..BLOCK]
    }

    /// How many blocks are taken.
    #[cfg(any(test, fuzzing))]
    pub fn used(&self) -> usize {
        self.regions.iter().map(|region| region.used).sum()
    }
}

/// The region of a block, and its index there.
fn place(block: u32) -> (usize, usize) {
    (block as usize / REGION_BLOCKS, block as usize % REGION_BLOCKS)
}

/// A sequence of bytes in blocks. A chain that is dropped without [`clear`](Self::clear) leaks its blocks until the
/// loop is dropped.
#[derive(Default)]
pub(in crate::net) struct Chain {
    /// The first and the last block. Without meaning while the chain is empty.
    first: u32,
    last: u32,
    /// The bytes before this one in the first block have been sent.
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

    /// Appends bytes.
    #[inline]
    pub fn push(&mut self, blocks: &mut Blocks, bytes: &[u8]) {
        // Where the bytes end in the last block. 0: the last block is full, or there is none.
        let end = (self.head + self.len) % BLOCK;
        if end == 0 || bytes.len() > BLOCK - end {
            return self.push_into_new(blocks, bytes);
        }
        // The common case: the bytes fit into the last block.
        blocks.bytes_mut(self.last)[end..end + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Appends bytes that need at least one more block.
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

    /// Removes the first `n` bytes, and frees the blocks that get empty.
    pub fn advance(&mut self, blocks: &mut Blocks, mut n: usize) {
        debug_assert!(n <= self.len);
        while n > 0 {
            // What is left of `n`, of the first block, or of the chain: the least of the three.
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

    /// Removes all bytes.
    #[inline]
    pub fn clear(&mut self, blocks: &mut Blocks) {
        // More than one block, or none: `advance` handles both. One block is the common case.
        if self.is_empty() || self.head + self.len > BLOCK {
            return self.advance(blocks, self.len);
        }
        blocks.give_back(self.first);
        (self.head, self.len) = (0, 0);
    }

    /// All bytes, if one block holds them. The chain must not be empty.
    #[inline]
    pub fn in_one_block<'a>(&self, blocks: &'a Blocks) -> Option<&'a [u8]> {
        (self.head + self.len <= BLOCK).then(|| blocks.bytes(self.first, self.head, self.len))
    }

    /// Fills `pieces` with the first `limit` bytes, or with as many as fit, and returns the number of pieces.
    pub fn pieces<'a>(&self, blocks: &'a Blocks, limit: usize, pieces: &mut [IoSlice<'a>]) -> usize {
        let (mut first, mut from, mut left) = (self.first, self.head, self.len.min(limit));
        let mut count = 0;
        for piece in pieces {
            if left == 0 {
                break;
            }
            // A piece begins `from` bytes into the block `first` (0 but for the first piece), and grows over adjacent
            // blocks.
            let (mut last, mut len) = (first, left.min(BLOCK - from));
            while len < left && blocks.next_is_adjacent(last) {
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
    fn adjacent_blocks_are_one_piece() {
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
        // A piece does not go from the end of a region into the next one.
        let mut most = filled(&mut blocks, (REGION_BLOCKS - 1) * BLOCK);
        let across = filled(&mut blocks, 2 * BLOCK);
        assert_eq!(lengths(&across, &blocks, usize::MAX), [BLOCK, BLOCK]);
        most.clear(&mut blocks);
    }

    #[test]
    fn an_empty_region_is_freed_if_much_of_it_was_ever_used() {
        let mut blocks = Blocks::default();
        let least = *KEEP_BLOCKS.start();
        let mut little = filled(&mut blocks, least * BLOCK);
        little.clear(&mut blocks);
        assert_eq!(sizes(&blocks), [REGION_BYTES], "little was used: the region is kept");
        let (mut stays, mut much) = (filled(&mut blocks, 1), filled(&mut blocks, least * BLOCK));
        much.clear(&mut blocks);
        assert_eq!(blocks.used(), 1);
        stays.clear(&mut blocks);
        assert_eq!((sizes(&blocks), blocks.used()), (vec![0], 0));
    }

    #[test]
    fn with_many_connections_a_larger_region_is_kept() {
        let mut blocks = Blocks::default();
        blocks.set_connections(500);
        let mut gathered = filled(&mut blocks, 500 * 16 * BLOCK);
        gathered.clear(&mut blocks);
        assert_eq!(sizes(&blocks), [REGION_BYTES]);
        blocks.set_connections(499);
        assert_eq!(sizes(&blocks), [0]);
        blocks.set_connections(1_000_000);
        let mut waited = filled(&mut blocks, (KEEP_BLOCKS.end() + 1) * BLOCK);
        waited.clear(&mut blocks);
        assert_eq!(sizes(&blocks), [0], "no more is kept than all sockets together may gather");
    }

    #[test]
    fn when_a_region_is_full_the_next_one_is_used() {
        let mut blocks = Blocks::default();
        let mut all: Vec<Chain> = (0..3).map(|_| filled(&mut blocks, REGION_BLOCKS * 2 / 3 * BLOCK)).collect();
        assert_eq!(sizes(&blocks), [REGION_BYTES; 2]);
        all[0].clear(&mut blocks);
        all[2].clear(&mut blocks);
        assert_eq!(sizes(&blocks), [REGION_BYTES; 2], "the second chain has blocks in both regions");
        all[1].clear(&mut blocks);
        assert_eq!((sizes(&blocks), blocks.used()), (vec![0, 0], 0));
        assert_eq!(blocks.take(), 0, "the lowest block is taken first again");
    }
}
