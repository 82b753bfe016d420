//! A line editor for a terminal: it turns keys into lines, and draws the line that is being typed.
//!
//! ```text
//!   bytes ─▶ Keys ─▶ Editor ─┬▶ Typed: a line, the end, clear the screen, a bell
//!                   line     └▶ draw: the row with the prompt, for a given number of columns
//!                   history
//! ```
//!
//! The line takes one row of the terminal. A longer line is shown through a window that follows the cursor. The prompt
//! is `<` instead of `>` when text is hidden on the left, and `>` is in the last column when text is hidden on the
//! right:
//!
//! ```text
//!   the line     hello, this is a line that is longer than the terminal
//!   16 columns          < s a line that >
//!                                 ▁
//! ```
//!
//! So one escape sequence erases the row with the prompt, however long the line is.
//!
//! Terminals disagree about the width of some characters, and a terminal may have less room than the prompt needs. The
//! row must not break then. So it is written with the terminal's line wrapping switched off, and the cursor is placed
//! by writing the text before it, not by counting columns.
//!
//! This module does no input or output. A line has at most [`LINE_LIMIT`] bytes; the history has its own limit.

mod history;
mod line;

use std::fmt::Write;
use std::mem;

use super::keys::{Key, Keys};
use history::History;
use line::{Line, clusters, text_width};

/// The text before the line that is being typed.
const PROMPT: &str = "> ";

/// The prompt when the beginning of the line is hidden.
const PROMPT_CUT: &str = "< ";

/// The text before what is searched for.
const SEARCH_PROMPT: &str = "find ";

/// The longest text that is searched for, in bytes.
const QUERY_LIMIT: usize = 256;

/// The longest line. With its line break it is the longest one that `bucle serve` accepts by default.
pub(crate) const LINE_LIMIT: usize = 64 * 1024 - 1;

/// The effect of a key beyond its change of the line.
#[derive(PartialEq, Eq, Clone, Debug)]
pub(crate) enum Typed {
    /// Enter: the line is complete.
    Line(String),
    /// Ctrl-D on an empty line.
    End,
    /// Ctrl-L: the screen must be cleared.
    Clear,
    /// The line is full, and the character was dropped.
    Bell,
    /// Enter, but characters were dropped: the line is not sent and is gone.
    TooLong,
}

/// The line that is being typed, the lines before it, and the visible part of it.
#[derive(Default)]
pub(crate) struct Editor {
    keys: Keys,
    line: Line,
    history: History,
    /// Lines are not added to the history.
    is_secret: bool,
    /// The line is not drawn.
    is_hidden: bool,
    /// The line has lost characters, because it was full.
    is_cut: bool,
    /// Ctrl-R: a line of the history is searched for.
    search: Option<Search>,
    /// The byte of the line where the window begins. Set when the line is drawn.
    first: usize,
}

/// A search in the history.
struct Search {
    query: String,
    /// The line that was found, counted from the newest; 0 if none was.
    back: usize,
}

impl Editor {
    /// An editor that knows these lines, the oldest first.
    pub(crate) fn new<'a>(history: impl Iterator<Item = &'a str>) -> Editor {
        let mut editor = Editor::default();
        history.for_each(|line| editor.history.push(line));
        editor
    }

    /// While `is_secret`, lines are not added to the history.
    pub(crate) fn set_secret(&mut self, is_secret: bool) {
        self.is_secret = is_secret;
    }

    /// While `is_off`, the line is not drawn: as with telnet(1) and ssh(1), a password leaves no trace on the screen. A
    /// line that was begun so stays hidden until it is sent or erased.
    pub(crate) fn set_echo_off(&mut self, is_off: bool) {
        self.is_hidden = is_off || self.is_hidden && !self.line.text().is_empty();
    }

    pub(crate) fn is_hidden(&self) -> bool {
        self.is_hidden
    }

    /// Takes in typed bytes and hands the results to `emit`. The caller must draw the line afterwards.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut emit: impl FnMut(Typed)) {
        let mut keys = mem::take(&mut self.keys);
        keys.feed(bytes, |key| self.press(key).into_iter().for_each(&mut emit));
        self.keys = keys;
    }

    fn press(&mut self, key: Key) -> Option<Typed> {
        let typed = self.edit(key);
        self.is_cut &= !self.line.text().is_empty();
        typed
    }

    fn edit(&mut self, key: Key) -> Option<Typed> {
        if let Some(search) = self.search.take() {
            return self.press_in_search(search, key);
        }
        let line = &mut self.line;
        match key {
            Key::Char(c) if line.text().len() + c.len_utf8() > LINE_LIMIT => {
                self.is_cut = true;
                return Some(Typed::Bell);
            }
            Key::Char(c) => line.insert(c),
            Key::Enter if self.is_cut => {
                *line = Line::default();
                self.history.leave();
                return Some(Typed::TooLong);
            }
            Key::Enter => {
                let line = mem::take(line).into_text();
                if self.is_secret {
                    self.history.leave();
                } else {
                    self.history.push(&line);
                }
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
                    self.is_cut = false;
                }
            }
            Key::Down => {
                if let Some(newer) = self.history.down() {
                    *line = Line::new(newer);
                    self.is_cut = false;
                }
            }
            Key::Redraw => return Some(Typed::Clear),
            Key::Search => self.search = Some(Search { query: String::new(), back: 0 }),
            Key::Cancel => {}
        }
        None
    }

    /// A key while the history is searched. Keys that do not belong to the search take over the line that was found,
    /// and then do what they always do.
    fn press_in_search(&mut self, mut search: Search, key: Key) -> Option<Typed> {
        let result = match key {
            Key::Char(c) if search.query.len() + c.len_utf8() > QUERY_LIMIT => Some(Typed::Bell),
            Key::Char(c) => {
                search.query.push(c);
                // The line that is shown may have the longer text, too.
                self.find(&mut search, 0)
            }
            Key::Backspace => {
                search.query.pop();
                search.back = 0;
                self.find(&mut search, 0)
            }
            Key::Search => self.find(&mut search, 1),
            Key::Redraw => Some(Typed::Clear),
            Key::Cancel => return None,
            // The line that was typed before is not visible, so it is not sent.
            Key::Enter if search.back == 0 => return Some(Typed::Bell),
            key => {
                if let Some(found) = self.history.line(search.back) {
                    self.line = Line::new(found.to_owned());
                    self.is_cut = false;
                }
                return self.press(key);
            }
        };
        self.search = Some(search);
        result
    }

    /// Looks for an older line with the text, from `skip` lines behind the present one on. Without one the present line
    /// stays.
    fn find(&self, search: &mut Search, skip: usize) -> Option<Typed> {
        if search.query.is_empty() {
            search.back = 0;
            return None;
        }
        match self.history.find(&search.query, search.back.max(1) + skip.min(search.back)) {
            Some(back) => {
                search.back = back;
                None
            }
            None => {
                if !self.history.line(search.back).is_some_and(|line| line.contains(&search.query)) {
                    search.back = 0;
                }
                Some(Typed::Bell)
            }
        }
    }

    /// The row of a search: the text that is searched for, and the line that was found.
    fn draw_search(&self, search: &Search, columns: usize) -> String {
        let found = self.history.line(search.back).unwrap_or_default();
        let row = format!("{SEARCH_PROMPT}{}: {}", visible(&search.query), visible(found));
        let row = &row[..fitting(&row, columns.saturating_sub(1).max(1))];
        if row.is_ascii() { row.to_owned() } else { format!("\x1b[?7l{row}\x1b[?7h") }
    }

    /// The line so far, which was not sent.
    pub(crate) fn unsent(&self) -> &str {
        self.line.text()
    }

    /// The row with the prompt, to be written to an empty row of `columns` columns. It leaves the cursor where the next
    /// character will be inserted.
    pub(crate) fn draw(&mut self, columns: usize) -> String {
        if let Some(search) = &self.search {
            return self.draw_search(search, columns);
        }
        if self.is_hidden {
            return PROMPT.to_owned();
        }
        // The last column is reserved for the cursor at the end of the line, or for the `>` of hidden text.
        let room = columns.saturating_sub(PROMPT.len() + 1).max(1);
        self.follow_cursor(room);
        let text = self.line.text();
        let len = fitting(&text[self.first..], room);
        let (shown, hidden) = text[self.first..].split_at(len);
        let (before, after) = shown.split_at((self.line.cursor() - self.first).min(len));

        let mut row = String::from(if self.first > 0 { PROMPT_CUT } else { PROMPT });
        row += &visible(before);
        if !after.is_empty() || !hidden.is_empty() {
            // Save the cursor, write the text behind it, and restore the cursor.
            let gap = if hidden.is_empty() { 0 } else { room - text_width(shown) };
            let more = if hidden.is_empty() { "" } else { ">" };
            // Writing to a string cannot fail.
            let _ = write!(row, "\x1b7{}{:gap$}{more}\x1b8", visible(after), "");
        }
        // A terminal of fewer columns has no room for the prompt, a character and the `>`.
        let fits = columns >= PROMPT.len() + 2;
        if fits && shown.is_ascii() { row } else { format!("\x1b[?7l{row}\x1b[?7h") }
    }

    /// Moves the window if the cursor is not in it; the cursor is then in the middle. A line that fits is shown whole.
    fn follow_cursor(&mut self, room: usize) {
        let (text, cursor) = (self.line.text(), self.line.cursor());
        if fitting(text, room) == text.len() {
            self.first = 0;
            return;
        }
        let under_cursor = clusters(&text[cursor..]).next().map_or(0, text_width);
        // A cursor at the left edge counts as outside: one could not see which character Backspace deletes.
        let is_inside = self.first < cursor
            && text.is_char_boundary(self.first)
            && text_width(&text[self.first..cursor]) + under_cursor <= room;
        if is_inside || cursor == 0 && self.first == 0 {
            return;
        }
        let before: Vec<&str> = clusters(&text[..cursor]).collect();
        let (mut first, mut width) = (cursor, under_cursor);
        for cluster in before.into_iter().rev() {
            width += text_width(cluster);
            // At least one character before the cursor is shown, if there is room for it.
            if width > room / 2 && first < cursor || width > room {
                break;
            }
            first -= cluster.len();
        }
        self.first = first;
    }
}

/// A whole line with its prompt, as it stays on the screen after it was sent.
pub(crate) fn whole_line(line: &str) -> String {
    format!("{PROMPT}{}", visible(line))
}

/// How many bytes of `text` fit into `columns`.
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

/// The text as it is drawn: a tab takes one column, at any position.
fn visible(text: &str) -> String {
    text.replace('\t', " ")
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
