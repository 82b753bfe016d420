//! `bucle quiz`: in which order does this program print its lines?
//!
//! ```text
//!   questions: those of the quiz, or those of a file ─┬─▶ session: ask, read answers, run the program, explain
//!   question_file: a teacher's own programs           ├─▶ steps: run a program callback by callback
//!                                                     └─▶ page: the lesson screen of the live page
//! ```
//!
//! There are no stored solutions: the quiz runs the program that it shows, and takes the reasons from the trace of that
//! run. At a terminal the user can try again. With `--answer`, or with answers on standard input, the quiz is for
//! scripts and tests.
//!
//! Every text is in English and Spanish (`language.rs`).

mod answer;
mod explain;
mod language;
mod page;
mod programs;
mod question;
mod question_file;
mod questions;
mod session;
mod show;
mod stage;
mod steps;

use std::env;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use super::advice::words_for;
use super::{exit_code, stderr};
pub(crate) use language::Language;
use language::words;
pub(crate) use page::PageLessons;
use question::Question;
use question_file::Failure;
use questions::{HARDEST, questions};
use session::{Answers, Session, question_head};
use show::{Stop, show, wrap_behind};

/// The options of `bucle quiz`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Options {
    /// The number of a question, or `list`.
    pub(crate) question: Option<String>,
    pub(crate) answer: Option<String>,
    pub(crate) is_stepped: bool,
    /// A file with questions, instead of those of the quiz.
    pub(crate) file: Option<PathBuf>,
    pub(crate) is_shuffled: bool,
    /// `None`: that of the environment at a terminal, else English.
    pub(crate) language: Option<Language>,
}

/// The questions to ask.
enum Wanted {
    All,
    List,
    One(usize),
}

pub(crate) fn run(options: &Options) -> ExitCode {
    let is_typed = io::stdin().is_terminal();
    let language = options.language.unwrap_or_else(|| default_language(options, is_typed));
    let questions = match &options.file {
        None => questions(language),
        Some(path) => match question_file::read(path, language) {
            Ok(questions) => questions,
            Err(Failure::Unreadable(why)) => return refuse(exit_code::USAGE, &why, "bucle quiz", language),
            Err(Failure::Mistaken(why)) => return refuse(exit_code::USAGE, &why, "", language),
        },
    };
    let count = questions.len();
    let typed = options.question.as_deref();
    let Some(wanted) = parse_wanted(typed, count) else {
        let typed = typed.unwrap_or_default().escape_debug();
        let why = words!(
            language,
            "there is no question {typed}: write a number from 1 to {count}, or list",
            "no existe la pregunta {typed}: escribe un número del 1 al {count}, o list"
        );
        return refuse(exit_code::USAGE, &why, &format!("bucle quiz list{}", file_option(options)), language);
    };
    let answers = match &options.answer {
        Some(answer) => Answers::CommandLine(Some(answer.clone())),
        None if is_typed => Answers::Terminal,
        None => Answers::Pipe,
    };
    let mut session = Session::new(&questions, language, answers, file_option(options));
    let result = match wanted {
        Wanted::List if options.answer.is_some() || options.is_stepped => {
            let name = if options.is_stepped { "--step" } else { "--answer" };
            let command = if options.is_stepped { "bucle quiz 1 --step" } else { "bucle quiz 1 --answer \"c b a\"" };
            let why =
                words!(language, "{name} needs the number of a question", "{name} necesita el número de una pregunta");
            return refuse(exit_code::USAGE, &why, command, language);
        }
        Wanted::List => show(&list(&questions)),
        Wanted::One(number) if options.is_stepped => {
            let question = &questions[number - 1];
            show(&question_head(number, count, question, language))
                .and_then(|()| steps::run(question, language, is_typed))
        }
        Wanted::One(number) => session.ask_one(number),
        Wanted::All => {
            let mut numbers: Vec<usize> = (1..=count).collect();
            if options.is_shuffled {
                shuffle(&mut numbers);
            }
            session.ask_all(&numbers)
        }
    };
    finish(result, &session, language)
}

/// Prints the last messages, and returns the exit code. It follows the same rule at a terminal, in a pipe and with
/// `--answer`. Questions that were not asked do not count.
fn finish(result: Result<(), Stop>, session: &Session<'_>, language: Language) -> ExitCode {
    match result {
        Ok(()) | Err(Stop::Quit) => {}
        Err(Stop::NoReader) => return ExitCode::SUCCESS,
        Err(Stop::Failed(sentence)) => return refuse(exit_code::FAILURE, &sentence, "", language),
        Err(Stop::CannotWrite(error)) => {
            let (why, code) = (words_for(&error), error.code());
            let sentence = words!(
                language,
                "cannot write to standard output: {why}",
                "no se puede escribir en la salida estándar: {code}"
            );
            return refuse(exit_code::FAILURE, &sentence, "", language);
        }
    }
    if let Some(sentence) = &session.mistake {
        return refuse(exit_code::WRONG_ANSWER, &as_error(sentence), "", language);
    }
    if let Some(number) = session.left_open {
        let why = words!(language, "no answer was given", "no se dio ninguna respuesta");
        let command = format!("bucle quiz {number}{} --answer \"c b a\"", session.option);
        return refuse(exit_code::WRONG_ANSWER, &why, &command, language);
    }
    if session.has_erred { ExitCode::from(exit_code::WRONG_ANSWER) } else { ExitCode::SUCCESS }
}

/// Prints an error message, and a command to try. Returns the exit code.
fn refuse(code: u8, why: &str, command: &str, language: Language) -> ExitCode {
    stderr::print_wrapped(&format!("error: {why}"));
    if !command.is_empty() {
        // In one line, so that it can be copied.
        stderr::write(words!(language, "  try:  {command}\n", "  prueba:  {command}\n").as_bytes());
    }
    ExitCode::from(code)
}

/// The language without `--lang`. Only a person gets that of the environment: what a script reads must not depend on
/// the machine that it runs on.
fn default_language(options: &Options, is_typed: bool) -> Language {
    if !is_typed || !io::stdout().is_terminal() || options.answer.is_some() {
        return Language::English;
    }
    Language::of_environment(|name| env::var(name).ok())
}

fn parse_wanted(wanted: Option<&str>, count: usize) -> Option<Wanted> {
    match wanted {
        None => Some(Wanted::All),
        Some("list") => Some(Wanted::List),
        Some(number) => number.parse().ok().filter(|number| (1..=count).contains(number)).map(Wanted::One),
    }
}

/// The option `--file` as it was given, for a command to try.
fn file_option(options: &Options) -> String {
    options.file.as_ref().map_or_else(String::new, |path| format!(" --file {}", path.display()))
}

fn list(questions: &[Question]) -> String {
    let line = |(place, question): (usize, &Question)| {
        let number = place + 1;
        match question.difficulty {
            Some(difficulty) => {
                let stars = "*".repeat(difficulty);
                wrap_behind(&format!("{number:>2}  {stars:HARDEST$}  "), &question.title)
            }
            None => wrap_behind(&format!("{number:>2}  "), &question.title),
        }
    };
    questions.iter().enumerate().map(line).collect()
}

/// Puts numbers into a random order (Fisher and Yates).
fn shuffle(numbers: &mut [usize]) {
    let random = RandomState::new();
    for last in (1..numbers.len()).rev() {
        numbers.swap(last, (random.hash_one(last) % (last as u64 + 1)) as usize);
    }
}

/// Turns a sentence into the text after `error: `: without the capital letter and the full stop.
fn as_error(sentence: &str) -> String {
    let mut chars = sentence.chars();
    let first = chars.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(chars.as_str().trim_end_matches('.').chars()).collect()
}

#[cfg(test)]
mod tests;
