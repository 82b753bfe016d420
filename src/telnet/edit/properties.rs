//! Properties of editing and echoing, for any bytes and any cuts between reads.

use super::*;
use crate::fuzzing::input::{Input, arrivals};
use crate::telnet::lines::Lines;

/// The result: the lines, the unfinished line or `None` after a line that was too long, and what is on the screen.
#[derive(PartialEq, Debug)]
pub(super) struct Edited {
    pub(super) lines: Vec<Vec<u8>>,
    pub(super) rest: Option<Vec<u8>>,
    pub(super) screen: Vec<String>,
}

/// The first byte of the input is the limit; 255 means the default.
pub(crate) fn hold_for(input: &[u8]) {
    let mut input = Input(input);
    let limit = match input.byte() {
        255 => Lines::LIMIT,
        few => few.into(),
    };
    let chunks = input.chunks();
    let bytes = chunks.concat();
    for (arrival, chunks) in arrivals(&bytes, &chunks) {
        hold_for_chunks(limit, &chunks, arrival);
    }
}

pub(super) fn hold_for_chunks(limit: usize, chunks: &[&[u8]], arrival: impl std::fmt::Display) {
    let bytes = chunks.concat();
    let (lines, rest) = edit_plainly(limit, &bytes);
    let got = edit(limit, chunks);
    assert_eq!((&got.lines, &got.rest), (&lines, &rest), "lines of at most {limit} bytes, {arrival}");
    let Some(rest) = rest else { return };
    if !has_sure_look(&bytes) || rest == [CTRL_D] {
        return;
    }
    let rows: Vec<String> = lines.iter().chain([&rest]).map(|line| row(line)).collect();
    assert_eq!(got.screen, rows, "{arrival}: {:?}", bytes.escape_ascii());
}

/// Whether the screen must look like the line. Bytes that are not UTF-8 may become UTF-8 when others are erased between
/// them; a mark at the beginning of a line is drawn on nothing.
fn has_sure_look(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| text.len() < 1000 && text.chars().all(|c| columns(c) > 0))
}

pub(super) fn edit(limit: usize, chunks: &[&[u8]]) -> Edited {
    let (mut lines, mut screen, mut terminal) = (Lines::with_limit(limit), Screen::new(), Terminal::default());
    let mut out = Edited { lines: Vec::new(), rest: Some(Vec::new()), screen: Vec::new() };
    for chunk in chunks {
        let mut chunk = *chunk;
        loop {
            let mut echo = |change: Change<'_>| {
                let mut shown = Vec::new();
                screen.update(&change, &mut shown);
                terminal.show(&shown);
            };
            match lines.next_edited_line(&mut chunk, &mut echo) {
                Some(Ok(line)) => out.lines.push(line.to_vec()),
                Some(Err(_)) => {
                    out.rest = None;
                    assert!(chunk.is_empty(), "the rest is discarded");
                    assert_eq!(
                        lines.next_edited_line(&mut &b"x\x08\n"[..], &mut |_| {}).map(|line| line.is_err()),
                        Some(true)
                    );
                    out.screen = terminal.rows();
                    return out;
                }
                None => break,
            }
        }
        assert!(chunk.is_empty(), "`None` means that the chunk is used up");
        assert!(lines.unfinished().len() <= limit);
        if lines.is_idle() {
            lines = Lines::with_limit(limit);
        }
    }
    out.rest = Some(lines.unfinished().to_vec());
    out.screen = terminal.rows();
    out
}

/// A reference: byte by byte, and characters by `String::pop`, where the line is UTF-8.
fn edit_plainly(limit: usize, input: &[u8]) -> (Vec<Vec<u8>>, Option<Vec<u8>>) {
    let (mut lines, mut line, mut before) = (Vec::new(), Vec::<u8>::new(), 0);
    for &byte in input {
        match (before, byte) {
            (b'\r', b'\n' | 0) => {}
            (_, b'\n' | b'\r') => lines.push(std::mem::take(&mut line)),
            (_, 0x08 | 0x7f) => drop(pop(&mut line)),
            (_, 0x15) => line.clear(),
            (_, 0x17) => {
                while line.pop_if(|byte| is_blank(*byte)).is_some() {}
                while line.pop_if(|byte| !is_blank(*byte)).is_some() {}
            }
            _ if line.len() == limit => return (lines, None),
            _ => line.push(byte),
        }
        before = byte;
    }
    (lines, Some(line))
}

/// Removes the last of the pieces that `utf8_chunks` sees.
fn pop(line: &mut Vec<u8>) -> Option<()> {
    let last = line.utf8_chunks().last()?;
    let len = match last.invalid() {
        [] => last.valid().chars().last()?.len_utf8(),
        invalid => invalid.len(),
    };
    line.truncate(line.len() - len);
    Some(())
}

/// The text that a line is shown as.
fn row(line: &[u8]) -> String {
    String::from_utf8_lossy(line).chars().map(as_shown).collect::<String>().trim_end().to_owned()
}

/// A terminal that knows text, backspace and line breaks. A wide character is followed by an empty cell.
#[derive(Default)]
struct Terminal {
    rows: Vec<Vec<String>>,
    cells: Vec<String>,
    column: usize,
}

impl Terminal {
    fn show(&mut self, bytes: &[u8]) {
        for c in std::str::from_utf8(bytes).expect("an echo is text").chars() {
            match c {
                '\r' => self.column = 0,
                '\n' => self.rows.push(std::mem::take(&mut self.cells)),
                '\x08' => self.column = self.column.checked_sub(1).expect("the prompt is not touched"),
                c => {
                    assert!(!c.is_control(), "{c:?} is executed");
                    let width = columns(c);
                    if width == 0 {
                        if let Some(cell) = self.cells[..self.column].iter_mut().rev().find(|cell| !cell.is_empty()) {
                            cell.push(c);
                        }
                        continue;
                    }
                    for at in self.column..self.column + width {
                        if at == self.cells.len() {
                            self.cells.push(String::new());
                        }
                        self.cells[at] = if at == self.column { c.into() } else { String::new() };
                    }
                    self.column += width;
                }
            }
        }
    }

    fn rows(&self) -> Vec<String> {
        self.rows.iter().chain([&self.cells]).map(|cells| cells.concat().trim_end().to_owned()).collect()
    }
}
