//! Text from the server, above the line that a user is typing.
//!
//! The terminal does not show keys itself, so this module draws the row with the prompt. When text arrives from the
//! server, the row is erased, the text is written in its place, and the row is drawn again below, with the cursor where
//! it was:
//!
//! ```text
//!   > hel▁         eva: ¿qué tal?
//!            ──▶   > hel▁
//! ```
//!
//! This needs whole lines. An unfinished line is held back for a moment, until the rest arrives. If it does not
//! ([`Screen::show_unfinished`]), the part gets its own row, and later so does the rest.
//!
//! The text contains no escape sequences: [`Escaper`](super::escape::Escaper) has removed them.

use std::fmt::Write;
use std::mem;
use std::ops::ControlFlow;

use super::editor::{Editor, LINE_LIMIT, Typed, whole_line};

/// Moves to the beginning of the row and erases the row.
pub(crate) const ERASE_ROW: &str = "\r\x1b[K";

/// Erases the screen and moves to its top.
const CLEAR: &str = "\x1b[H\x1b[2J";

const BELL: char = '\x07';

/// How many bytes of an unfinished line are held back at most. Far more than a row of a terminal; it limits memory.
const HELD_BACK_LIMIT: usize = 4096;

/// The server's text, and below it the line that is being typed.
#[derive(Default)]
pub(crate) struct Screen {
    is_prompting: bool,
    /// The line whose line break has not arrived yet. Always empty without a prompt.
    unfinished: String,
    editor: Editor,
}

impl Screen {
    /// A screen whose editor knows these lines of earlier sessions, the oldest first.
    pub(crate) fn new<'a>(history: impl Iterator<Item = &'a str>) -> Screen {
        Screen { editor: Editor::new(history), ..Screen::default() }
    }

    /// While `is_secret`, typed lines are not added to the history.
    pub(crate) fn set_secret(&mut self, is_secret: bool) {
        self.editor.set_secret(is_secret);
    }

    /// While `is_off`, the typed line is not shown. Returns the row with the prompt, if it has changed.
    pub(crate) fn set_echo_off(&mut self, is_off: bool, columns: usize) -> String {
        let before = self.editor.is_hidden();
        self.editor.set_echo_off(is_off);
        if self.editor.is_hidden() == before { String::new() } else { self.redraw(columns) }
    }

    /// Shows the prompt, for the first time.
    pub(crate) fn prompt(&mut self, columns: usize) -> String {
        self.is_prompting = true;
        self.redraw(columns)
    }

    /// Shows text, which must not contain control characters other than line breaks and tabs.
    pub(crate) fn show(&mut self, text: &str, columns: usize) -> String {
        if !self.is_prompting {
            return text.to_owned();
        }
        self.unfinished.push_str(text);
        if let Some(end) = self.unfinished.rfind('\n') {
            let rest = self.unfinished.split_off(end + 1);
            let lines = mem::replace(&mut self.unfinished, rest);
            return self.above(&lines, columns)
                + &self.show_unfinished_if(columns, |rest| rest.len() > HELD_BACK_LIMIT);
        }
        self.show_unfinished_if(columns, |rest| rest.len() > HELD_BACK_LIMIT)
    }

    /// A line of the server is given without a line break. Returns the bytes to write before it, and those to write
    /// after it.
    pub(crate) fn around_line(&mut self, columns: usize) -> (String, String) {
        if !self.is_prompting {
            return (String::new(), "\n".to_owned());
        }
        let before = self.show_unfinished(columns) + ERASE_ROW;
        (before, format!("\n{}", self.editor.draw(columns)))
    }

    /// Whether an unfinished line is held back.
    pub(crate) fn has_unfinished_line(&self) -> bool {
        !self.unfinished.is_empty()
    }

    /// Shows the unfinished line as it is: the rest has not arrived in time.
    pub(crate) fn show_unfinished(&mut self, columns: usize) -> String {
        self.show_unfinished_if(columns, |rest| !rest.is_empty())
    }

    /// Takes in typed bytes. Passes each line to `send`, and `None` at the end of the input. When `send` returns
    /// `Break`, the rest is ignored.
    pub(crate) fn type_in(
        &mut self,
        bytes: &[u8],
        columns: usize,
        mut send: impl FnMut(Option<&str>) -> ControlFlow<()>,
    ) -> String {
        let mut shown = String::from(ERASE_ROW);
        let (mut flow, mut rings) = (ControlFlow::Continue(()), false);
        let is_hidden = self.editor.is_hidden();
        self.editor.feed(bytes, |typed| {
            if flow.is_break() {
                return;
            }
            match typed {
                Typed::Line(line) => {
                    shown += &whole_line(if is_hidden { "" } else { &line });
                    shown.push('\n');
                    flow = send(Some(&line));
                }
                Typed::End => flow = send(None),
                Typed::Clear => shown += CLEAR,
                Typed::Bell => rings = true,
                Typed::TooLong => {
                    let _ = writeln!(shown, "not sent, because the line is longer than {LINE_LIMIT} bytes");
                }
            }
        });
        if rings {
            shown.push(BELL);
        }
        match flow {
            ControlFlow::Continue(()) => shown + &self.editor.draw(columns),
            ControlFlow::Break(()) => {
                // Keys after the end are dropped, so `leave` must not show them as an unsent line.
                self.editor = Editor::default();
                shown
            }
        }
    }

    /// Draws the row with the prompt again, after other output, or after the width of the terminal has changed.
    pub(crate) fn redraw(&mut self, columns: usize) -> String {
        if self.is_prompting { ERASE_ROW.to_owned() + &self.editor.draw(columns) } else { String::new() }
    }

    /// Erases the prompt until the next [`redraw`](Self::redraw).
    pub(crate) fn hide(&self) -> &'static str {
        if self.is_prompting { ERASE_ROW } else { "" }
    }

    /// Removes the prompt. Later text is shown at the cursor. A line that was typed and not sent stays visible.
    pub(crate) fn leave(&mut self) -> String {
        if !mem::take(&mut self.is_prompting) {
            return String::new();
        }
        let mut shown = String::from(ERASE_ROW);
        if self.has_unfinished_line() {
            shown += &mem::take(&mut self.unfinished);
            shown.push('\n');
        }
        if !self.editor.unsent().is_empty() && !self.editor.is_hidden() {
            shown += &whole_line(self.editor.unsent());
            shown.push('\n');
        }
        shown
    }

    fn show_unfinished_if(&mut self, columns: usize, is_due: impl FnOnce(&str) -> bool) -> String {
        if !is_due(&self.unfinished) {
            return String::new();
        }
        let rest = mem::take(&mut self.unfinished) + "\n";
        self.above(&rest, columns)
    }

    /// Writes whole lines in place of the prompt, and draws the prompt below them.
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
        assert!(screen.has_unfinished_line());
        assert_eq!(screen.show("ree\n", COLUMNS), "\r\x1b[Kthree\n> ");
        assert!(!screen.has_unfinished_line());
        assert_eq!(screen.show("four", COLUMNS), "");
        assert_eq!(screen.show_unfinished(COLUMNS), "\r\x1b[Kfour\n> ");
        assert_eq!(screen.show_unfinished(COLUMNS), "");
        screen.show("five", COLUMNS);
        assert_eq!(screen.leave(), "\r\x1b[Kfive\n");
        assert_eq!((screen.show("after", COLUMNS), screen.leave()), ("after".into(), String::new()));
    }

    #[test]
    fn the_typed_line_stays_below() {
        let mut screen = Screen::default();
        screen.prompt(COLUMNS);
        assert_eq!(typed(&mut screen, "hel\x1b[D").0, "\r\x1b[K> he\x1b7l\x1b8");
        assert_eq!(screen.show("eva: hola\n", COLUMNS), "\r\x1b[Keva: hola\n> he\x1b7l\x1b8");
        assert_eq!((screen.hide(), &*screen.redraw(COLUMNS)), ("\r\x1b[K", "\r\x1b[K> he\x1b7l\x1b8"));
        assert_eq!(typed(&mut screen, "l\x05o\r"), ("\r\x1b[K> hello\n> ".into(), vec![Some("hello".into())]));
        assert_eq!(typed(&mut screen, "ho\x0c").0, "\r\x1b[K\x1b[H\x1b[2J> ho");
        assert_eq!(screen.leave(), "\r\x1b[K> ho\n", "the unsent line stays visible");
        assert_eq!((screen.hide(), &*screen.redraw(COLUMNS)), ("", ""));
    }

    #[test]
    fn a_line_that_is_typed_while_the_echo_is_off_is_not_shown() {
        let mut screen = Screen::default();
        screen.prompt(COLUMNS);
        assert_eq!(typed(&mut screen, "ab").0, "\r\x1b[K> ab");
        assert_eq!(screen.set_echo_off(true, COLUMNS), "\r\x1b[K> ");
        assert_eq!(screen.set_echo_off(true, COLUMNS), "");
        assert_eq!(typed(&mut screen, "c\x1b[D").0, "\r\x1b[K> ");
        assert_eq!(screen.show("eva: hola\n", COLUMNS), "\r\x1b[Keva: hola\n> ");
        assert_eq!(screen.set_echo_off(false, COLUMNS), "", "the line was begun so");
        assert_eq!(typed(&mut screen, "\r"), ("\r\x1b[K> \n> ".into(), vec![Some("abc".into())]));
        assert_eq!(screen.set_echo_off(false, COLUMNS), "\r\x1b[K> ");
        assert_eq!(typed(&mut screen, "d").0, "\r\x1b[K> d");
        screen.set_echo_off(true, COLUMNS);
        assert_eq!(screen.leave(), "\r\x1b[K", "an unsent line does not appear at the end");
    }

    #[test]
    fn keys_after_the_end_are_ignored() {
        for (keys, shown) in [("a\rexit\rb\rc", "\r\x1b[K> a\n> exit\n"), ("a\r\x04b\rc", "\r\x1b[K> a\n")] {
            let mut screen = Screen::default();
            screen.prompt(COLUMNS);
            let (got, sent) = typed(&mut screen, keys);
            assert_eq!((&*got, sent.len(), &*screen.leave()), (shown, 2, "\r\x1b[K"), "{keys:?}");
        }
    }

    #[test]
    fn the_bell_rings_once_per_read() {
        let mut screen = Screen::default();
        screen.prompt(COLUMNS);
        let (shown, _) = typed(&mut screen, &"x".repeat(LINE_LIMIT + 5));
        assert_eq!(shown.matches('\x07').count(), 1);
    }

    #[test]
    fn a_line_that_is_too_long_is_not_sent() {
        let mut screen = Screen::default();
        screen.prompt(COLUMNS);
        let (shown, sent) = typed(&mut screen, &("x".repeat(LINE_LIMIT + 1) + "\rnext\r"));
        assert_eq!(sent, [Some("next".to_owned())]);
        assert_eq!(
            shown, "\r\x1b[Knot sent, because the line is longer than 65535 bytes\n> next\n\x07> ",
            "the user is told"
        );
    }

    #[test]
    fn a_very_long_unfinished_line_is_shown() {
        let mut screen = Screen::default();
        screen.prompt(COLUMNS);
        assert!(!screen.show(&"x".repeat(HELD_BACK_LIMIT + 1), COLUMNS).is_empty());
        assert!(!screen.has_unfinished_line());
    }
}
