//! The terminal of the quiz: text out, lines in.

use std::io::{self, BufRead, Read};

use bucle::{Error, process};

use super::language::{Language, words};
use crate::cli::{keys, wrap};

/// The longest answer that is read, in bytes. The longest right answer has about a hundred.
const LONGEST_ANSWER: u64 = 4096;

/// The width of printed text, in columns. A terminal may be narrower.
pub(super) const COLUMNS: usize = 80;

/// Why the quiz stops before its last question.
pub(super) enum Stop {
    /// `quit`, or the end of the input.
    Quit,
    /// The reader of standard output has closed it.
    NoReader,
    /// Standard output cannot be written to.
    CannotWrite(Error),
    /// An error, as a sentence.
    Failed(String),
}

/// Prints a text. It has its line breaks already.
pub(super) fn show(text: &str) -> Result<(), Stop> {
    process::write_stdout(text.as_bytes()).map_err(|error| match error.code() {
        "EPIPE" => Stop::NoReader,
        _ => Stop::CannotWrite(error),
    })
}

/// Reads a line of standard input. `None` at its end.
pub(super) fn read_line(language: Language) -> Result<Option<String>, Stop> {
    let mut line = Vec::new();
    match io::stdin().lock().take(LONGEST_ANSWER).read_until(b'\n', &mut line) {
        Ok(0) => Ok(None),
        // The terminal sends keys such as the arrows as escape sequences. `text_of` removes them.
        Ok(_) => Ok(Some(keys::text_of(&line))),
        Err(error) => Err(Stop::Failed(words!(
            language,
            "cannot read standard input: {error}",
            "no se puede leer la entrada estándar: {error}"
        ))),
    }
}

/// The width of the text: that of the terminal, at most [`COLUMNS`].
pub(super) fn width() -> usize {
    wrap::width(COLUMNS)
}

/// Wraps a text between words. Ends in a line break, unless it is empty.
pub(super) fn wrap(text: &str) -> String {
    wrap_behind("", text)
}

/// As [`wrap`], behind a head on the first line; the other lines are indented as far.
pub(super) fn wrap_behind(head: &str, text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.is_empty() && head.is_empty() { text } else { wrap::hanging(head, &text, width()) }
}
