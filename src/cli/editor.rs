//! A line editor for a terminal: bytes of keys in, lines out, and how the line is to be shown.
//!
//! ```text
//!   bytes ─▶ Keys ─▶ Editor ─┬▶ Typed: a line, the end, clear the screen, a bell
//!                   line     └▶ draw: the row with the prompt, in so many columns
//!                   history
//! ```
//!
//! The line has one row. One that is longer is seen through a window that follows the cursor, with `<` for the prompt when
//! something is hidden on its left, and `>` in the last column when something is on its right:
//!
//! ```text
//!   the line     hello, this is a line that is longer than the terminal
//!   16 columns          < s a line that >
//!                                 ▁
//! ```
//!
//! So whatever is typed, what a terminal scrolls is whole lines, and the row with the prompt is erased with one sequence.
//!
//! Widths of characters are a matter in which terminals disagree. Where they do the row must not break: it is written with
//! the terminal's wrapping switched off, and the cursor is left where the text before it ends, without counting.
//!
//! Nothing here reads, writes or waits. A line has at most [`LINE_LIMIT`] bytes; the history has its own bound.

mod history;
mod line;

use std::fmt::Write;
use std::mem;

use super::keys::{Key, Keys};
use history::History;
use line::{Line, clusters, text_width};

/// What stands before what is typed.
const PROMPT: &str = "> ";

/// The prompt of a line whose beginning is hidden.
const PROMPT_CUT: &str = "< ";

/// From here on a line takes no more: what `bucle serve` takes for a line, with its break.
pub(crate) const LINE_LIMIT: usize = 64 * 1024 - 1;

/// What came out of typing.
#[derive(PartialEq, Eq, Clone, Debug)]
pub(crate) enum Typed {
    /// A line, with Enter.
    Line(String),
    /// Ctrl-D where nothing is typed.
    End,
    /// The screen is to be cleared.
    Clear,
    /// There was no room.
    Bell,
}

/// The line, what came before it, and what of it is seen.
#[derive(Default)]
pub(crate) struct Editor {
    keys: Keys,
    line: Line,
    history: History,
    /// Where the window begins, in bytes. Set by drawing.
    first: usize,
}

impl Editor {
    /// Takes in what was typed and hands to `emit` what comes of it. The line has to be drawn after it.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut emit: impl FnMut(Typed)) {
        let mut keys = mem::take(&mut self.keys);
        keys.feed(bytes, |key| self.press(key).into_iter().for_each(&mut emit));
        self.keys = keys;
    }

    fn press(&mut self, key: Key) -> Option<Typed> {
        let line = &mut self.line;
        match key {
            Key::Char(c) if line.text().len() + c.len_utf8() > LINE_LIMIT => return Some(Typed::Bell),
            Key::Char(c) => line.insert(c),
            Key::Enter => {
                let line = mem::take(line).into_text();
                self.history.push(&line);
                return Some(Typed::Line(line));
            }
            Key::End if line.text().is_empty() => return Some(Typed::End),
            Key::End | Key::Delete => line.delete(),
            Key::Backspace => line.backspace(),
            Key::Left => line.left(),
            Key::Right => line.right(),
            Key::WordLeft => line.word_left(),
            Key::WordRight => line.word_right(),
            Key::ToStart => line.go_to_start(),
            Key::ToEnd => line.go_to_end(),
            Key::KillToStart => line.kill_to_start(),
            Key::KillToEnd => line.kill_to_end(),
            Key::KillWord => line.kill_word(),
            Key::Up => {
                if let Some(older) = self.history.up(line.text()) {
                    *line = Line::new(older);
                }
            }
            Key::Down => {
                if let Some(newer) = self.history.down() {
                    *line = Line::new(newer);
                }
            }
            Key::Redraw => return Some(Typed::Clear),
        }
        None
    }

    /// What is typed and was not sent.
    pub(crate) fn unsent(&self) -> &str {
        self.line.text()
    }

    /// The row with the prompt, for an empty row of so many columns. It leaves the cursor where typing goes on.
    pub(crate) fn draw(&mut self, columns: usize) -> String {
        // The last column is for the cursor at the end of the line, or for the sign that there is more.
        let room = columns.saturating_sub(PROMPT.len() + 1).max(1);
        self.follow_cursor(room);
        let text = self.line.text();
        let len = fitting(&text[self.first..], room);
        let (seen, hidden) = text[self.first..].split_at(len);
        let (before, after) = seen.split_at((self.line.cursor() - self.first).min(len));

        let mut row = String::from(if self.first > 0 { PROMPT_CUT } else { PROMPT });
        row += &visible(before);
        if !after.is_empty() || !hidden.is_empty() {
            // Remember the place, write the rest, and go back.
            let gap = if hidden.is_empty() { 0 } else { room - text_width(seen) };
            let more = if hidden.is_empty() { "" } else { ">" };
            // Writing to a string cannot fail.
            let _ = write!(row, "\x1b7{}{:gap$}{more}\x1b8", visible(after), "");
        }
        if seen.is_ascii() { row } else { format!("\x1b[?7l{row}\x1b[?7h") }
    }

    /// Moves the window if the cursor is not in it, so that it is in the middle then. All of a line that fits is seen.
    fn follow_cursor(&mut self, room: usize) {
        let (text, cursor) = (self.line.text(), self.line.cursor());
        if fitting(text, room) == text.len() {
            self.first = 0;
            return;
        }
        let under_cursor = clusters(&text[cursor..]).next().map_or(0, text_width);
        let is_seen = self.first < cursor
            && text.is_char_boundary(self.first)
            && text_width(&text[self.first..cursor]) + under_cursor <= room;
        if is_seen || cursor == 0 && self.first == 0 {
            return;
        }
        let before: Vec<&str> = clusters(&text[..cursor]).collect();
        let (mut first, mut width) = (cursor, under_cursor);
        for cluster in before.into_iter().rev() {
            width += text_width(cluster);
            if width > room / 2 && first < cursor || width > room {
                break;
            }
            first -= cluster.len();
        }
        self.first = first;
    }
}

/// A line as it is on the screen when it was sent.
pub(crate) fn whole(line: &str) -> String {
    format!("{PROMPT}{}", visible(line))
}

/// How many bytes of `text` fit in so many columns.
fn fitting(text: &str, columns: usize) -> usize {
    let (mut len, mut width) = (0, 0);
    for cluster in clusters(text) {
        width += text_width(cluster);
        if width > columns {
            break;
        }
        len += cluster.len();
    }
    len
}

/// A tab takes one column, wherever it is.
fn visible(text: &str) -> String {
    text.replace('\t', " ")
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
