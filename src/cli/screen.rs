//! What the server says, on a terminal where somebody is typing.
//!
//! The row with the prompt is ours: the terminal shows no key by itself. So when the server says something the row is
//! erased, the text is written in its place, and the row is drawn anew below it, with the cursor where it was:
//!
//! ```text
//!   > hel▁         eva: ¿qué tal?
//!            ──▶   > hel▁
//! ```
//!
//! Text ends with a line break then. A line that comes in pieces waits a moment for the rest, see [`Screen::settle`], and
//! then gets a row of its own as it is, and so does the rest.
//!
//! What is shown here has been made harmless before, by [`Escaper`](super::escape::Escaper).

use std::mem;
use std::ops::ControlFlow;

use super::editor::{Editor, Typed, whole};

/// To the beginning of the row, and all of it erased.
pub(crate) const ERASE_ROW: &str = "\r\x1b[K";

/// All of the screen erased, and the cursor at its top.
const CLEAR: &str = "\x1b[H\x1b[2J";

const BELL: char = '\x07';

/// A line from which on it is shown without its end. Far more than a terminal has room for, and a bound for memory.
const LINE_LIMIT: usize = 4096;

/// Text above, the line that is being typed below.
#[derive(Default)]
pub(crate) struct Screen {
    is_prompting: bool,
    /// The end of what has come, of which no line break has come yet. Empty without a prompt.
    unfinished: String,
    editor: Editor,
}

impl Screen {
    /// Shows the prompt, for the first time.
    pub(crate) fn prompt(&mut self, columns: usize) -> String {
        self.is_prompting = true;
        self.redraw(columns)
    }

    /// Shows text that holds no control characters but line breaks and tabs.
    pub(crate) fn show(&mut self, text: &str, columns: usize) -> String {
        if !self.is_prompting {
            return text.to_owned();
        }
        self.unfinished.push_str(text);
        if let Some(end) = self.unfinished.rfind('\n') {
            let rest = self.unfinished.split_off(end + 1);
            let lines = mem::replace(&mut self.unfinished, rest);
            return self.above(&lines, columns) + &self.settle_if(columns, |rest| rest.len() > LINE_LIMIT);
        }
        self.settle_if(columns, |rest| rest.len() > LINE_LIMIT)
    }

    /// Whether the end of a line is awaited.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.unfinished.is_empty()
    }

    /// The end of the line has not come: shows what there is of it.
    pub(crate) fn settle(&mut self, columns: usize) -> String {
        self.settle_if(columns, |rest| !rest.is_empty())
    }

    /// Takes in what was typed. Each line goes to `send`, and `None` at the end of the input; nothing is taken in any more
    /// when that breaks.
    pub(crate) fn type_in(
        &mut self,
        bytes: &[u8],
        columns: usize,
        mut send: impl FnMut(Option<&str>) -> ControlFlow<()>,
    ) -> String {
        let mut shown = String::from(ERASE_ROW);
        let (mut flow, mut rings) = (ControlFlow::Continue(()), false);
        self.editor.feed(bytes, |typed| {
            if flow.is_break() {
                return;
            }
            match typed {
                Typed::Line(line) => {
                    shown += &whole(&line);
                    shown.push('\n');
                    flow = send(Some(&line));
                }
                Typed::End => flow = send(None),
                Typed::Clear => shown += CLEAR,
                Typed::Bell => rings = true,
            }
        });
        if rings {
            shown.push(BELL);
        }
        match flow {
            ControlFlow::Continue(()) => shown + &self.editor.draw(columns),
            ControlFlow::Break(()) => {
                self.editor = Editor::default();
                shown
            }
        }
    }

    /// The row with the prompt, after something else may have been written, or the terminal has another width.
    pub(crate) fn redraw(&mut self, columns: usize) -> String {
        if self.is_prompting { ERASE_ROW.to_owned() + &self.editor.draw(columns) } else { String::new() }
    }

    /// Takes the prompt away for a while, until the next [`redraw`](Self::redraw).
    pub(crate) fn hide(&self) -> &'static str {
        if self.is_prompting { ERASE_ROW } else { "" }
    }

    /// Takes the prompt away for good. What comes later is shown where the cursor is. What was typed and not sent stays to
    /// be seen.
    pub(crate) fn leave(&mut self) -> String {
        if !mem::take(&mut self.is_prompting) {
            return String::new();
        }
        let mut shown = String::from(ERASE_ROW);
        if self.is_waiting() {
            shown += &mem::take(&mut self.unfinished);
            shown.push('\n');
        }
        if !self.editor.unsent().is_empty() {
            shown += &whole(self.editor.unsent());
            shown.push('\n');
        }
        shown
    }

    fn settle_if(&mut self, columns: usize, is_due: impl FnOnce(&str) -> bool) -> String {
        if !is_due(&self.unfinished) {
            return String::new();
        }
        let rest = mem::take(&mut self.unfinished) + "\n";
        self.above(&rest, columns)
    }

    fn above(&mut self, lines: &str, columns: usize) -> String {
        format!("{ERASE_ROW}{lines}{}", self.editor.draw(columns))
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: usize = 80;

    fn typed(screen: &mut Screen, bytes: &str) -> (String, Vec<Option<String>>) {
        let mut sent = Vec::new();
        let shown = screen.type_in(bytes.as_bytes(), COLUMNS, |line| {
            sent.push(line.map(str::to_owned));
            if matches!(line, None | Some("exit")) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        (shown, sent)
    }

    #[test]
    fn whole_lines_go_above_the_prompt() {
        let mut screen = Screen::default();
        assert_eq!(screen.show("before", COLUMNS), "before");
        assert_eq!(screen.prompt(COLUMNS), "\r\x1b[K> ");
        assert_eq!(screen.show("one\n\ntwo\nth", COLUMNS), "\r\x1b[Kone\n\ntwo\n> ");
        assert!(screen.is_waiting());
        assert_eq!(screen.show("ree\n", COLUMNS), "\r\x1b[Kthree\n> ");
        assert!(!screen.is_waiting());
        assert_eq!(screen.show("four", COLUMNS), "");
        assert_eq!(screen.settle(COLUMNS), "\r\x1b[Kfour\n> ");
        assert_eq!(screen.settle(COLUMNS), "");
        screen.show("five", COLUMNS);
        assert_eq!(screen.leave(), "\r\x1b[Kfive\n");
        assert_eq!((screen.show("after", COLUMNS), screen.leave()), ("after".into(), String::new()));
    }

    #[test]
    fn what_is_being_typed_stays_below() {
        let mut screen = Screen::default();
        screen.prompt(COLUMNS);
        assert_eq!(typed(&mut screen, "hel\x1b[D").0, "\r\x1b[K> he\x1b7l\x1b8");
        assert_eq!(screen.show("eva: hola\n", COLUMNS), "\r\x1b[Keva: hola\n> he\x1b7l\x1b8");
        assert_eq!((screen.hide(), &*screen.redraw(COLUMNS)), ("\r\x1b[K", "\r\x1b[K> he\x1b7l\x1b8"));
        assert_eq!(typed(&mut screen, "l\x05o\r"), ("\r\x1b[K> hello\n> ".into(), vec![Some("hello".into())]));
        assert_eq!(typed(&mut screen, "ho\x0c").0, "\r\x1b[K\x1b[H\x1b[2J> ho");
        assert_eq!(screen.leave(), "\r\x1b[K> ho\n", "what was not sent stays to be seen");
        assert_eq!((screen.hide(), &*screen.redraw(COLUMNS)), ("", ""));
    }

    #[test]
    fn nothing_is_taken_in_after_the_end() {
        for (keys, shown) in [("a\rexit\rb\rc", "\r\x1b[K> a\n> exit\n"), ("a\r\x04b\rc", "\r\x1b[K> a\n")] {
            let mut screen = Screen::default();
            screen.prompt(COLUMNS);
            let (got, sent) = typed(&mut screen, keys);
            assert_eq!((&*got, sent.len(), &*screen.leave()), (shown, 2, "\r\x1b[K"), "{keys:?}");
        }
    }

    #[test]
    fn one_bell_will_do() {
        let mut screen = Screen::default();
        screen.prompt(COLUMNS);
        let (shown, _) = typed(&mut screen, &"x".repeat(super::super::editor::LINE_LIMIT + 5));
        assert_eq!(shown.matches('\x07').count(), 1);
    }

    #[test]
    fn a_line_without_end_is_shown_all_the_same() {
        let mut screen = Screen::default();
        screen.prompt(COLUMNS);
        assert!(!screen.show(&"x".repeat(LINE_LIMIT + 1), COLUMNS).is_empty());
        assert!(!screen.is_waiting());
    }
}
