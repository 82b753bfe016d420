//! The lines of a file of questions. Pure.

use std::iter::Peekable;
use std::vec::IntoIter;

use crate::cli::quiz::language::{Language, words};

/// A mistake in a file: the number of the line, and a sentence.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Mistake {
    pub(super) line: usize,
    pub(super) sentence: String,
}

/// A line that is neither empty nor a comment.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) number: usize,
    pub(super) indent: usize,
    pub(super) text: String,
    /// A mistake of the line alone. It is reported in its turn, behind those of the lines above.
    mistake: Option<String>,
}

impl Line {
    /// The first word: the name of the statement.
    pub(super) fn word(&self) -> &str {
        self.text.split_whitespace().next().unwrap_or_default()
    }

    /// The text of the line behind its first word.
    pub(super) fn rest(&self) -> &str {
        self.text[self.word().len()..].trim()
    }

    pub(super) fn mistake(&self, sentence: String) -> Mistake {
        Mistake { line: self.number, sentence }
    }
}

/// The lines of a file that are neither empty nor comments.
pub(super) struct Lines(Peekable<IntoIter<Line>>);

impl Lines {
    pub(super) fn of(text: &str, language: Language) -> Lines {
        let mut lines = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let (number, content) = (index + 1, line.trim());
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            let margin = &line[..line.len() - line.trim_start().len()];
            let mistake = if margin.chars().any(|c| c != ' ') {
                Some(words!(
                    language,
                    "indent with spaces, not with tabs",
                    "la sangría se hace con espacios, sin tabuladores"
                ))
            } else if content.chars().any(char::is_control) {
                Some(words!(language, "there is a control character", "hay un carácter de control"))
            } else {
                None
            };
            lines.push(Line { number, indent: margin.len(), text: content.to_owned(), mistake });
        }
        Lines(lines.into_iter().peekable())
    }

    pub(super) fn next_line(&mut self) -> Result<Option<Line>, Mistake> {
        self.next_if(|_| true)
    }

    pub(super) fn next_if(&mut self, f: impl FnOnce(&Line) -> bool) -> Result<Option<Line>, Mistake> {
        let Some(mut line) = self.0.next_if(f) else { return Ok(None) };
        match line.mistake.take() {
            Some(sentence) => Err(line.mistake(sentence)),
            None => Ok(Some(line)),
        }
    }

    pub(super) fn peek(&mut self) -> Option<&Line> {
        self.0.peek()
    }
}
