//! The line that is being typed: text and a cursor.
//!
//! The cursor moves over, and keys delete, what a person sees as one character: a letter with its combining marks.
//!
//! ```text
//!   text     e ◌́ ñ 日
//!   stops   |    |  |  |      never between the e and its accent
//! ```

use unicode_width::UnicodeWidthChar;

/// Joins the characters around it into one glyph.
const ZERO_WIDTH_JOINER: char = '\u{200d}';

/// Text, and the position where the next character is inserted.
#[derive(Default, PartialEq, Eq, Clone, Debug)]
pub(super) struct Line {
    text: String,
    /// Invariant: the byte offset of a character of `text`, or its length.
    cursor: usize,
}

impl Line {
    /// A line with the cursor at its end.
    pub(super) fn new(text: String) -> Self {
        Line { cursor: text.len(), text }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// The byte offset of the cursor.
    pub(super) fn cursor(&self) -> usize {
        self.cursor
    }

    pub(super) fn insert(&mut self, c: char) {
        self.text.insert(self.cursor, c);
        self.cursor += c.len_utf8();
    }

    pub(super) fn left(&mut self) {
        self.cursor = self.before();
    }

    pub(super) fn right(&mut self) {
        self.cursor = self.after();
    }

    pub(super) fn go_to_start(&mut self) {
        self.cursor = 0;
    }

    pub(super) fn go_to_end(&mut self) {
        self.cursor = self.text.len();
    }

    pub(super) fn word_left(&mut self) {
        self.cursor = self.word_start(char::is_alphanumeric);
    }

    pub(super) fn word_right(&mut self) {
        let rest = &self.text[self.cursor..];
        let start = rest.find(char::is_alphanumeric).unwrap_or(rest.len());
        let len = rest[start..].find(|c| !is_in_word(c)).unwrap_or(rest.len() - start);
        self.cursor += start + len;
    }

    pub(super) fn backspace(&mut self) {
        self.kill_from(self.before());
    }

    pub(super) fn delete(&mut self) {
        let after = self.after();
        self.text.drain(self.cursor..after);
    }

    pub(super) fn kill_to_start(&mut self) {
        self.kill_from(0);
    }

    pub(super) fn kill_to_end(&mut self) {
        self.text.truncate(self.cursor);
    }

    /// Deletes back to a blank, like Ctrl-W of the terminal driver.
    pub(super) fn kill_word(&mut self) {
        self.kill_from(self.word_start(|c| !c.is_whitespace()));
    }

    fn kill_from(&mut self, start: usize) {
        self.text.drain(start..self.cursor);
        self.cursor = start;
    }

    fn before(&self) -> usize {
        clusters(&self.text[..self.cursor]).last().map_or(0, |cluster| self.cursor - cluster.len())
    }

    fn after(&self) -> usize {
        self.cursor + clusters(&self.text[self.cursor..]).next().map_or(0, str::len)
    }

    /// Where the word before the cursor begins; `is_of_word` decides which characters make a word.
    fn word_start(&self, is_of_word: impl Fn(char) -> bool) -> usize {
        let is_of_word = |c: char| is_of_word(c) || width(c) == 0;
        let before = self.text[..self.cursor].trim_end_matches(|c| !is_of_word(c));
        before.trim_end_matches(is_of_word).len()
    }
}

/// Whether a character is a letter, a digit, or a combining mark.
fn is_in_word(c: char) -> bool {
    c.is_alphanumeric() || width(c) == 0
}

/// The characters as a person sees them, each with its combining marks.
pub(super) fn clusters(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut joins = true;
        let is_next = |c: char| {
            let belongs = joins || width(c) == 0;
            joins = c == ZERO_WIDTH_JOINER;
            !belongs
        };
        let (cluster, after) = rest.split_at(rest.find(is_next).unwrap_or(rest.len()));
        rest = after;
        (!cluster.is_empty()).then_some(cluster)
    })
}

/// How many columns `text` takes on a terminal. A tab is shown as a blank.
pub(super) fn text_width(text: &str) -> usize {
    text.chars().map(width).sum()
}

fn width(c: char) -> usize {
    if c == '\t' { 1 } else { c.width().unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `|` is the cursor.
    fn line(text: &str) -> Line {
        let cursor = text.find('|').expect("the test has a cursor");
        Line { text: text.replace('|', ""), cursor }
    }

    fn shown(line: &Line) -> String {
        format!("{}|{}", &line.text[..line.cursor], &line.text[line.cursor..])
    }

    #[test]
    fn each_edit_changes_the_line_as_expected() {
        type Row<'a> = (&'a str, fn(&mut Line), &'a [(&'a str, &'a str)]);
        let table: &[Row] = &[
            ("insert", |line| line.insert('ñ'), &[("|", "ñ|"), ("a|b", "añ|b")]),
            ("left", Line::left, &[("|a", "|a"), ("añ|b", "a|ñb"), ("日|", "|日"), ("e\u{301}|", "|e\u{301}")]),
            ("right", Line::right, &[("a|", "a|"), ("a|ñb", "añ|b"), ("|e\u{301}x", "e\u{301}|x")]),
            ("left over a family", Line::left, &[("a👨\u{200d}👩\u{200d}👧|", "a|👨\u{200d}👩\u{200d}👧")]),
            ("to start", Line::go_to_start, &[("añ|b", "|añb")]),
            ("to end", Line::go_to_end, &[("|añb", "añb|")]),
            ("word left", Line::word_left, &[("ab, cd|", "ab, |cd"), ("ab, |cd", "|ab, cd"), ("  |", "|  ")]),
            ("word left over an accent", Line::word_left, &[("x ne\u{301}e|", "x |ne\u{301}e")]),
            ("word right", Line::word_right, &[("|ab, cd", "ab|, cd"), ("ab|, cd", "ab, cd|"), ("a| ", "a |")]),
            ("word right over an accent", Line::word_right, &[("|ne\u{301}e x", "ne\u{301}e| x")]),
            ("backspace", Line::backspace, &[("|a", "|a"), ("añ|b", "a|b"), ("xe\u{301}|", "x|"), ("日|本", "|本")]),
            ("delete", Line::delete, &[("a|", "a|"), ("a|ñb", "a|b"), ("|e\u{301}x", "|x")]),
            ("kill to start", Line::kill_to_start, &[("añ|b", "|b"), ("|b", "|b")]),
            ("kill to end", Line::kill_to_end, &[("a|ñb", "a|"), ("a|", "a|")]),
            ("kill word", Line::kill_word, &[("a b.c|d", "a |d"), ("a b  |d", "a |d"), ("a|", "|"), ("|a", "|a")]),
            ("a mark with nothing before it", Line::backspace, &[("\u{301}|", "|")]),
        ];
        for (name, edit, cases) in table {
            for (before, after) in *cases {
                let mut line = line(before);
                edit(&mut line);
                assert_eq!(shown(&line), *after, "{name} of {before}");
            }
        }
    }

    #[test]
    fn widths_are_those_of_a_terminal() {
        let table =
            [("", 0), ("abc", 3), ("ñé", 2), ("e\u{301}", 1), ("日本", 4), ("a\tb", 3), ("😀", 2), ("\u{fffd}", 1)];
        for (text, want) in table {
            assert_eq!(text_width(text), want, "{text:?}");
        }
    }
}
