//! The lines of all members, in the order in which every member must receive them.
//!
//! A relay puts the lines of all members into one order and sends it to each member. One member never leaves: the
//! *reference*. The lines that it receives are recorded here. Every other member must receive the same lines,
//! starting with its own first line:
//!
//! ```text
//!   reference   3·0  5·0  3·1  8·0  5·1  8·1  3·2 …        member · number of the line
//!   member 8                   8·0  5·1  8·1  3·2 …        no line lost, repeated or in another place
//! ```

use std::collections::{HashMap, VecDeque};

/// Identifies a line: its sender, and its number among the lines of this sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LineId {
    pub id: u32,
    pub number: u32,
}

/// The longest line. Most lines are short; a few are as long as pasted text.
const LONGEST: usize = 1000;

impl LineId {
    /// The bytes on the wire. Their number varies from line to line, but is always the same for the same line.
    pub fn bytes(self) -> Vec<u8> {
        let mut line = format!("{} {} ", self.id, self.number).into_bytes();
        let spread = self.id.wrapping_mul(2_654_435_761) ^ self.number.wrapping_mul(40_503);
        // Most lines are short and few are long: square an evenly distributed number.
        let part = (spread % 1024) as usize;
        let len = line.len() + part * part * LONGEST / (1024 * 1024);
        line.resize(len, b'a' + (spread % 26) as u8);
        line.push(b'\n');
        line
    }

    /// Parses a line, and checks that it has exactly the bytes that were sent.
    pub fn parse(bytes: &[u8]) -> LineId {
        let head = String::from_utf8_lossy(&bytes[..bytes.len().min(24)]);
        let mut numbers = head.split(' ').map_while(|number| number.parse().ok());
        let (Some(id), Some(number)) = (numbers.next(), numbers.next()) else {
            panic!("{head:?} is no line of a member")
        };
        let line = LineId { id, number };
        assert!(line.bytes() == bytes, "{line:?} has other bytes: {:?}", String::from_utf8_lossy(bytes));
        line
    }
}

#[derive(Default)]
pub struct Transcript {
    /// The place of the oldest line that is still stored.
    first: u64,
    lines: VecDeque<LineId>,
    /// How many lines of each member have been received.
    received_from: HashMap<u32, u32>,
    /// The place of each member's first line.
    entries: HashMap<u32, u64>,
}

impl Transcript {
    /// Appends the next line that the reference has received.
    pub fn push(&mut self, line: LineId) {
        let received = self.received_from.entry(line.id).or_insert(0);
        assert_eq!(
            line.number, *received,
            "lines of member {} come in order, none is lost and none comes twice",
            line.id
        );
        *received += 1;
        if line.number == 0 {
            self.entries.insert(line.id, self.end());
        }
        self.lines.push_back(line);
    }

    /// How many lines are stored because a member still has to receive them.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// The place after the last line.
    pub fn end(&self) -> u64 {
        self.first + self.lines.len() as u64
    }

    pub fn at(&self, place: u64) -> Option<LineId> {
        self.lines.get(usize::try_from(place.checked_sub(self.first)?).ok()?).copied()
    }

    /// The place of a member's first line, if the reference has received it.
    pub fn entry_of(&self, id: u32) -> Option<u64> {
        self.entries.get(&id).copied()
    }

    pub fn received_from(&self, id: u32) -> u32 {
        self.received_from.get(&id).copied().unwrap_or(0)
    }

    /// Drops the lines before `place`.
    pub fn forget_before(&mut self, place: u64) {
        while self.first < place && self.lines.pop_front().is_some() {
            self.first += 1;
        }
    }
}
