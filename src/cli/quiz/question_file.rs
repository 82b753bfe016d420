//! `bucle quiz --file FILE`: the questions of a teacher.
//!
//! ```text
//!   file ─▶ parser: drafts ─▶ a trial run of each program ─▶ questions
//! ```
//!
mod lines;
mod parser;
mod program;
mod statement;
mod trial;
mod watch;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::language::{Language, words};
use super::question::Question;
use super::stage::Time;
use lines::Mistake;
use parser::Draft;
use program::Written;

/// The largest file, in bytes.
const LARGEST: u64 = 256 * 1024;

/// Why a file has no questions, as an error message.
pub(super) enum Failure {
    Unreadable(String),
    Mistaken(String),
}

/// Reads the questions of a file.
pub(super) fn read(path: &Path, language: Language) -> Result<Vec<Question>, Failure> {
    let name = path.display();
    let text = text_of(path).map_err(|error| {
        let why = match error.kind() {
            io::ErrorKind::NotFound => words!(language, "there is no such file", "no existe ese archivo"),
            io::ErrorKind::PermissionDenied => words!(language, "permission denied", "permiso denegado"),
            io::ErrorKind::IsADirectory => words!(language, "it is a directory", "es un directorio"),
            io::ErrorKind::InvalidData => words!(language, "it is not text in UTF-8", "no es texto en UTF-8"),
            io::ErrorKind::FileTooLarge => {
                let kib = LARGEST / 1024;
                words!(language, "it is larger than {kib} KiB", "es más grande que {kib} KiB")
            }
            _ => error.to_string(),
        };
        Failure::Unreadable(words!(language, "cannot read {name}: {why}", "no se puede leer {name}: {why}"))
    })?;
    questions(&text, language)
        .map_err(|Mistake { line, sentence }| Failure::Mistaken(format!("{name}:{line}: {sentence}")))
}

fn text_of(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Parses the questions, and tries their programs.
fn questions(text: &str, language: Language) -> Result<Vec<Question>, Mistake> {
    // A byte order mark; some editors of Windows write one.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    parser::parse(text, language)?.into_iter().map(|draft| question(draft, language)).collect()
}

fn question(draft: Draft, language: Language) -> Result<Question, Mistake> {
    let Draft { title, hint, lesson, source, body, prints } = draft;
    let program = Written { source, body };
    trial::run(&program, &prints, language)?;
    Ok(Question { title, difficulty: None, program: Box::new(program), time: Time::ByHand, hint, lesson })
}

#[cfg(test)]
mod tests;
