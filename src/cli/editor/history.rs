//! The lines that were sent; Up and Down bring them back.
//!
//! ```text
//!   oldest … newest │ the draft: the line that was being typed
//!      ◀── up       │       down ──▶
//! ```
//!
//! A line that is brought back is a copy: editing it does not change the history. At most [`MOST_BYTES`] bytes are
//! kept; the oldest lines are dropped first.

use std::collections::VecDeque;

/// About a thousand lines of a chat.
const MOST_BYTES: usize = 64 * 1024;

#[derive(Default)]
pub(super) struct History {
    lines: VecDeque<String>,
    bytes: usize,
    /// How many lines Up has gone back; 0 is the line that is being typed.
    back: usize,
    /// The line that was being typed, while an older line is shown.
    draft: String,
}

impl History {
    /// Adds a line that was sent, and returns to the newest. Empty lines and repetitions of the newest line are not
    /// added.
    pub(super) fn push(&mut self, line: &str) {
        self.back = 0;
        self.draft.clear();
        if line.trim().is_empty() || self.lines.back().is_some_and(|last| last == line) {
            return;
        }
        self.bytes += line.len();
        self.lines.push_back(line.to_owned());
        while self.bytes > MOST_BYTES {
            self.bytes -= self.lines.pop_front().map_or(self.bytes, |oldest| oldest.len());
        }
    }

    /// Returns to the newest line, as after a line that is not added.
    pub(super) fn leave(&mut self) {
        self.back = 0;
        self.draft.clear();
    }

    /// The line that is `back` lines behind; 1 is the newest.
    pub(super) fn line(&self, back: usize) -> Option<&str> {
        let at = self.lines.len().checked_sub(back).filter(|_| back > 0)?;
        self.lines.get(at).map(String::as_str)
    }

    /// How far back the newest line with this text is, from `from` lines back on.
    pub(super) fn find(&self, text: &str, from: usize) -> Option<usize> {
        (from.max(1)..=self.lines.len()).find(|&back| self.line(back).is_some_and(|line| line.contains(text)))
    }

    /// The line before the one that is shown now; `None` if that is the oldest. `shown` is the text that is shown now.
    pub(super) fn up(&mut self, shown: &str) -> Option<String> {
        let older = self.lines.len().checked_sub(self.back + 1)?;
        if self.back == 0 {
            shown.clone_into(&mut self.draft);
        }
        self.back += 1;
        self.lines.get(older).cloned()
    }

    /// The line after the one that is shown now; the draft is the last one.
    pub(super) fn down(&mut self) -> Option<String> {
        self.back = self.back.checked_sub(1)?;
        match self.back {
            0 => Some(std::mem::take(&mut self.draft)),
            back => self.lines.get(self.lines.len() - back).cloned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn up_and_down_and_back_to_the_draft() {
        let mut history = History::default();
        assert_eq!((history.up("draft"), history.down()), (None, None));
        for line in ["one", "two", "two", "", "  "] {
            history.push(line);
        }
        assert_eq!(history.up("draft").as_deref(), Some("two"));
        assert_eq!(history.up("two, changed").as_deref(), Some("one"));
        assert_eq!(history.up("one"), None);
        assert_eq!(history.down().as_deref(), Some("two"));
        assert_eq!(history.down().as_deref(), Some("draft"));
        assert_eq!(history.down(), None);
        assert_eq!(history.up("another").as_deref(), Some("two"));
        history.push("three");
        assert_eq!(history.up("").as_deref(), Some("three"));
    }

    #[test]
    fn the_oldest_lines_are_dropped_first() {
        let mut history = History::default();
        for number in 0..10_000 {
            history.push(&format!("line {number}"));
            assert!(history.bytes <= MOST_BYTES);
        }
        assert_eq!(history.bytes, history.lines.iter().map(String::len).sum::<usize>());
        assert_eq!(history.up("").as_deref(), Some("line 9999"));
        history.push(&"x".repeat(MOST_BYTES + 1));
        assert_eq!((history.up(""), history.bytes), (None, 0));
    }
}
