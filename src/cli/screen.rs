//! What the server says, on a terminal where somebody may be typing.
//!
//! The terminal itself edits the line that is being typed and shows it; the program hears of it with the Enter key. So
//! the text from the server is put in *above* the row with the prompt, whatever is on it, and the cursor stays where it
//! is in what is being typed:
//!
//! ```text
//!   > hel▁                 eva: ¿qué tal?
//!                   ──▶    > hel▁
//! ```
//!
//! Only whole rows can be put in. A line that comes in pieces waits a moment for the rest, see [`Screen::settle`], and then
//! gets a row of its own as it is, and so does the rest. A typed line longer than a row is torn apart on the screen by what
//! is put in; what is sent is what was typed.
//!
//! What is shown here has been made harmless before, by [`Escaper`](super::escape::Escaper).

use std::mem;

/// What stands before what is typed.
const PROMPT: &str = "> ";

/// A line from which on it is shown without its end. Far more than a terminal has room for, and a bound for memory.
const LINE_LIMIT: usize = 4096;

/// Where the text goes above the prompt.
#[derive(Default)]
pub(crate) struct Screen {
    is_prompting: bool,
    /// The end of what has come, of which no line break has come yet. Empty without a prompt.
    unfinished: String,
}

impl Screen {
    /// The prompt, for the beginning and after each line that was typed.
    pub(crate) fn prompt(&mut self) -> &'static str {
        self.is_prompting = true;
        PROMPT
    }

    /// Shows text that holds no control characters but line breaks and tabs.
    pub(crate) fn show(&mut self, text: &str, columns: usize) -> String {
        if !self.is_prompting {
            return text.to_owned();
        }
        self.unfinished.push_str(text);
        let mut shown = String::new();
        while let Some(end) = self.unfinished.find('\n') {
            let rest = self.unfinished.split_off(end + 1);
            let line = mem::replace(&mut self.unfinished, rest);
            put_above(&line[..end], columns, &mut shown);
        }
        if self.unfinished.len() > LINE_LIMIT {
            shown += &self.settle(columns);
        }
        shown
    }

    /// Whether the end of a line is awaited.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.unfinished.is_empty()
    }

    /// The end of the line has not come: shows what there is of it.
    pub(crate) fn settle(&mut self, columns: usize) -> String {
        let mut shown = String::new();
        if self.is_waiting() {
            put_above(&mem::take(&mut self.unfinished), columns, &mut shown);
        }
        shown
    }

    /// Takes the prompt away for good. What comes later is shown where the cursor is.
    pub(crate) fn leave(&mut self, columns: usize) -> String {
        let mut shown = self.settle(columns);
        if mem::take(&mut self.is_prompting) {
            shown += "\r\x1b[K";
        }
        shown
    }
}

/// Puts a line above the row with the cursor, in as many rows as it needs.
fn put_above(line: &str, columns: usize, shown: &mut String) {
    let mut rest = line;
    loop {
        let row;
        (row, rest) = rest.split_at(row_len(rest, columns));
        // A row down and up again: on the last row this scrolls, so that there is one below. Then remember the place,
        // insert an empty row in it, which moves the prompt's row down, write, and go back, one row down.
        shown.push_str("\x1bD\x1b[A\x1b7\r\x1b[L");
        shown.push_str(row);
        shown.push_str("\x1b8\x1b[B");
        if rest.is_empty() {
            return;
        }
    }
}

/// How many bytes of `text` fit in a row for sure. Whatever is not ASCII is taken to be two columns wide, which most of
/// it is not: rows break early then, and the prompt is never written over.
fn row_len(text: &str, columns: usize) -> usize {
    let mut width = 0;
    for (i, c) in text.char_indices() {
        width += match c {
            '\t' => 8,
            c if c.is_ascii() => 1,
            _ => 2,
        };
        if width > columns && i > 0 {
            return i;
        }
    }
    text.len()
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests {
    use super::*;

    /// The rows that were put in, without what puts them there.
    fn rows(shown: &str) -> Vec<String> {
        shown
            .split("\x1b[L")
            .skip(1)
            .map(|row| row.replace("\x1b8\x1b[B", "").replace("\x1bD\x1b[A\x1b7\r", ""))
            .collect()
    }

    #[test]
    fn whole_lines_go_above_the_prompt() {
        let mut screen = Screen::default();
        assert_eq!(screen.show("before", 80), "before");
        assert_eq!(screen.prompt(), "> ");
        assert_eq!(rows(&screen.show("one\n\ntwo\nth", 80)), ["one", "", "two"]);
        assert!(screen.is_waiting());
        assert_eq!(rows(&screen.show("ree\n", 80)), ["three"]);
        assert!(!screen.is_waiting());
        screen.show("four", 80);
        assert_eq!(rows(&screen.settle(80)), ["four"]);
        assert_eq!(screen.settle(80), "");
        screen.show("five", 80);
        let last = screen.leave(80);
        assert!(last.ends_with("\r\x1b[K") && rows(last.trim_end_matches("\r\x1b[K")) == ["five"]);
        assert_eq!((screen.show("after", 80), screen.leave(80)), ("after".into(), String::new()));
    }

    #[test]
    fn a_row_is_never_wider_than_the_terminal() {
        let table: &[(&str, usize, &[&str])] = &[
            ("abcdef", 3, &["abc", "def"]),
            ("abcd", 4, &["abcd"]),
            ("añb€", 3, &["añ", "b€"]),
            ("日本", 1, &["日", "本"]),
            ("a\tb", 9, &["a\t", "b"]),
        ];
        for (line, columns, want) in table {
            let mut shown = String::new();
            put_above(line, *columns, &mut shown);
            assert_eq!(rows(&shown), *want, "{line:?}");
        }
    }

    #[test]
    fn a_line_without_end_is_shown_all_the_same() {
        let mut screen = Screen::default();
        screen.prompt();
        assert!(!screen.show(&"x".repeat(LINE_LIMIT + 1), 80).is_empty());
        assert!(!screen.is_waiting());
    }
}
