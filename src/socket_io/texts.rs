//! Texts that are kept as long as their clients, in cells of one table.
//!
//! A text is a chain of cells:
//!
//! ```text
//!   TextId ──▶ 1st 51 bytes, next, holders ──▶ 2nd 51 bytes, next ──▶ the rest
//! ```
//!
//! A block of memory for each text would be simpler. But small blocks that stay when most clients have left, or that
//! the allocator keeps for later, hold back the free memory between them: see `event_loop/memory.rs`. The table has a
//! mapping of its own, and is freed with the last text.

use slab::Slab;

use crate::{insert_into_slab, remove_from_slab};

/// The bytes of a cell. A slab stores the cell in 64 bytes.
const CELL: usize = 51;

/// In place of the next cell: this is the last one.
const NONE: u32 = u32::MAX;

/// A text in [`Texts`]. It is valid as long as it has a holder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TextId(u32);

struct Cell {
    next: u32,
    /// How many clients and sockets hold the text. Counted in its first cell.
    holders: u32,
    len: u8,
    bytes: [u8; CELL],
}

#[derive(Default)]
pub(super) struct Texts {
    cells: Slab<Cell>,
}

impl Texts {
    /// Adds a text with one holder.
    pub fn add(&mut self, text: &str) -> TextId {
        let (chunks, rest) = text.as_bytes().as_chunks::<CELL>();
        // From the end, because each cell has the number of the next one.
        let mut next = self.add_cell(rest, NONE);
        for chunk in chunks.iter().rev() {
            next = self.add_cell(chunk, next);
        }
        TextId(next)
    }

    fn add_cell(&mut self, part: &[u8], next: u32) -> u32 {
        let mut bytes = [0; CELL];
        bytes[..part.len()].copy_from_slice(part);
        let cell = Cell { next, holders: 1, len: part.len() as u8, bytes };
        // 2^32 cells do not fit into memory.
        u32::try_from(insert_into_slab(&mut self.cells, cell)).expect("fewer than 2^32 cells")
    }

    /// The text has one more holder.
    pub fn hold(&mut self, id: TextId) {
        self.cells[id.0 as usize].holders += 1;
    }

    /// A copy of a text.
    pub fn get(&self, id: TextId) -> String {
        let (mut text, mut at) = (Vec::new(), id.0);
        while at != NONE {
            let cell = &self.cells[at as usize];
            text.extend_from_slice(&cell.bytes[..cell.len.into()]);
            at = cell.next;
        }
        // It is what `add` has got.
        String::from_utf8(text).unwrap_or_default()
    }

    /// The text has one holder less. The last one takes its cells with it.
    pub fn release(&mut self, id: TextId) {
        let first = &mut self.cells[id.0 as usize];
        first.holders -= 1;
        if first.holders > 0 {
            return;
        }
        let mut at = id.0;
        while at != NONE {
            at = remove_from_slab(&mut self.cells, at as usize).next;
        }
    }

    #[cfg(any(test, fuzzing))]
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_each_length_stay_as_they_are_until_they_are_released() {
        let text = |len: usize| -> String { "añ日".chars().cycle().take(len).collect() };
        let mut texts = Texts::default();
        let ids: Vec<TextId> = (0..400).map(|len| texts.add(&text(len))).collect();
        for (len, &id) in ids.iter().enumerate().filter(|(len, _)| len % 2 == 0) {
            assert_eq!(texts.get(id), text(len));
            texts.release(id);
        }
        // New texts get cells of those that were released.
        let again: Vec<TextId> = (0..200).map(|len| texts.add(&text(len))).collect();
        for (len, &id) in ids.iter().enumerate().filter(|(len, _)| len % 2 == 1).chain(again.iter().enumerate()) {
            assert_eq!(texts.get(id), text(len));
            texts.release(id);
        }
        assert!(texts.is_empty());
    }

    #[test]
    fn a_text_stays_until_its_last_holder_releases_it() {
        let mut texts = Texts::default();
        let id = texts.add("a");
        // More than a small counter can count: a client may join and leave again and again in one turn.
        for _ in 0..70_000 {
            texts.hold(id);
        }
        for _ in 0..70_000 {
            texts.release(id);
        }
        assert_eq!(texts.get(id), "a");
        texts.release(id);
        assert!(texts.is_empty());
    }

    #[test]
    fn a_cell_has_64_bytes() {
        assert_eq!(size_of::<Cell>() + size_of::<u32>(), 64);
    }

    #[test]
    fn the_table_of_many_texts_is_freed_with_the_last_one() {
        let mut texts = Texts::default();
        let ids: Vec<TextId> = (0..1000).map(|_| texts.add(&"x".repeat(200))).collect();
        assert!(texts.cells.capacity() >= 4000);
        ids.into_iter().for_each(|id| texts.release(id));
        assert_eq!(texts.cells.capacity(), 0);
    }
}
