//! `bucle quiz --file FILE`: the questions of a teacher.
//!
//! ```text
//!   file ─▶ parser: drafts ─▶ a trial run of each program ─▶ questions
//! ```
//!
//! The trial shows what the text cannot: whether each line is printed exactly once, whether the program ends, and
//! whether the order is the same each time.

mod parser;
mod program;
mod statement;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::rc::Rc;

use super::language::{Language, words};
use super::question::Question;
use super::stage::{self, Time};
use parser::{Draft, Mistake};
use program::Written;

/// The largest file, in bytes.
const LARGEST: u64 = 256 * 1024;

/// How often a program runs in its trial.
const TRIALS: usize = 3;

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
    parser::parse(text, language)?.into_iter().map(|draft| question(draft, language)).collect()
}

fn question(draft: Draft, language: Language) -> Result<Question, Mistake> {
    let Draft { title, hint, lesson, source, body, prints } = draft;
    let program = Box::new(Written { source, body });
    let question = Question { title, difficulty: None, program, time: Time::ByHand, hint, lesson };
    let first_line = prints.first().map_or(1, |(_, line)| *line);
    let mut first_order: Option<Vec<String>> = None;
    for _ in 0..TRIALS {
        let run = stage::run(|lp| question.program.start(lp), question.time).map_err(|error| {
            let why = match error.code() {
                stage::NO_END => words!(
                    language,
                    "it does not end; each connection must be ended or destroyed",
                    "no termina; hay que terminar o destruir cada conexión"
                ),
                code => code.to_owned(),
            };
            let sentence = words!(language, "the program cannot run: {why}", "el programa no puede correr: {why}");
            Mistake { line: first_line, sentence }
        })?;
        let order: Vec<String> = run.order().into_iter().map(str::to_owned).collect();
        check_counts(&prints, &order, language)?;
        if *first_order.get_or_insert_with(|| order.clone()) != order {
            return Err(Mistake {
                line: first_line,
                sentence: words!(
                    language,
                    "the order differs from run to run; print the events of one side of a connection only",
                    "el orden cambia de una corrida a otra; imprime los eventos de un solo lado de una conexión"
                ),
            });
        }
    }
    Ok(question)
}

/// Each line must be printed once.
fn check_counts(prints: &[(Rc<str>, usize)], order: &[String], language: Language) -> Result<(), Mistake> {
    for (text, line) in prints {
        let sentence = match order.iter().filter(|printed| ***printed == **text).count() {
            1 => continue,
            0 => words!(language, "\"{text}\" is never printed", "\"{text}\" no se imprime nunca"),
            count => words!(
                language,
                "\"{text}\" is printed {count} times; each line must be printed once",
                "\"{text}\" se imprime {count} veces; cada línea se tiene que imprimir una vez"
            ),
        };
        return Err(Mistake { line: *line, sentence });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
