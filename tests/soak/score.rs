//! What was said, in the order in which everybody must have heard it.
//!
//! A relay puts the lines of all members into one order and sends it to each of them. One member that never leaves is the
//! *reference*: what it hears is written down here. Every other member hears the same, from its own first line on:
//!
//! ```text
//!   reference   3·0  5·0  3·1  8·0  5·1  8·1  3·2 …        member · number of the line
//!   member 8                   8·0  5·1  8·1  3·2 …        not one less, not one twice, none in another place
//! ```

use std::collections::{HashMap, VecDeque};

/// One line: who said it, and as which of all that it said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Said {
    pub who: u32,
    pub number: u32,
}

/// The longest line: a short word, or a paste.
const LONGEST: usize = 1000;

impl Said {
    /// The line as it goes over the wire. Its length is anything, but always the same for the same line.
    pub fn line(self) -> Vec<u8> {
        let mut line = format!("{} {} ", self.who, self.number).into_bytes();
        let spread = self.who.wrapping_mul(2_654_435_761) ^ self.number.wrapping_mul(40_503);
        // Mostly short, seldom long: the square of an even spread.
        let part = (spread % 1024) as usize;
        let len = line.len() + part * part * LONGEST / (1024 * 1024);
        line.resize(len, b'a' + (spread % 26) as u8);
        line.push(b'\n');
        line
    }

    /// Reads a line, and insists that it is byte for byte what was said.
    pub fn read(line: &[u8]) -> Said {
        let head = String::from_utf8_lossy(&line[..line.len().min(24)]);
        let mut numbers = head.split(' ').map_while(|number| number.parse().ok());
        let (Some(who), Some(number)) = (numbers.next(), numbers.next()) else { panic!("nobody said {head:?}") };
        let said = Said { who, number };
        assert!(said.line() == line, "{said:?} was said in other words: {:?}", String::from_utf8_lossy(line));
        said
    }
}

#[derive(Default)]
pub struct Score {
    /// The place of the oldest line that is still kept.
    first: u64,
    lines: VecDeque<Said>,
    /// How many lines of each member are in it.
    heard_of: HashMap<u32, u32>,
    /// Where each member's first line stands.
    entries: HashMap<u32, u64>,
}

impl Score {
    /// The reference has heard the next line.
    pub fn write_down(&mut self, said: Said) {
        let heard = self.heard_of.entry(said.who).or_insert(0);
        assert_eq!(said.number, *heard, "lines of member {} come in order, none is lost and none twice", said.who);
        *heard += 1;
        if said.number == 0 {
            self.entries.insert(said.who, self.end());
        }
        self.lines.push_back(said);
    }

    /// How many lines somebody has yet to hear.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// The place behind the last line.
    pub fn end(&self) -> u64 {
        self.first + self.lines.len() as u64
    }

    pub fn at(&self, place: u64) -> Option<Said> {
        self.lines.get(usize::try_from(place.checked_sub(self.first)?).ok()?).copied()
    }

    /// Where a member's own first line stands, if the reference has heard it.
    pub fn entry_of(&self, who: u32) -> Option<u64> {
        self.entries.get(&who).copied()
    }

    pub fn heard_of(&self, who: u32) -> u32 {
        self.heard_of.get(&who).copied().unwrap_or(0)
    }

    /// Nobody needs what stands before `place` any more.
    pub fn forget_before(&mut self, place: u64) {
        while self.first < place && self.lines.pop_front().is_some() {
            self.first += 1;
        }
    }
}
