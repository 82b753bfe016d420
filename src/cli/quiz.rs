//! `bucle quiz`: in which order does this program print its lines?
//!
//! ```text
//!   question ─▶ show its program ─▶ read an answer ─▶ run the program on the real loop ─▶ first difference, and why
//!                                   hint, why, next, quit
//! ```
//!
//! There are no stored solutions: the quiz runs the program that it shows, and takes the reasons from the trace of that
//! run. With `--step` a question is not asked: its program runs callback by callback (`steps.rs`). At a terminal the user can try again. With `--answer`, or with answers on standard input, the quiz is for
//! scripts and tests.

mod answer;
mod explain;
mod page;
mod programs;
mod questions;
mod spanish;
mod stage;
mod steps;

use std::io::{self, BufRead, IsTerminal, Read};
use std::process::ExitCode;

use bucle::process;

use super::advice::words_for;
use super::stderr::print_error;
use super::{exit_code, keys};
use answer::letter;
use explain::Run;
pub(crate) use page::PageLessons;
use questions::{HARDEST, QUESTIONS, Question};

/// The longest answer that is read, in bytes. The longest right answer has about a hundred.
const LONGEST_ANSWER: u64 = 4096;

/// How often a race is run to show both results. About half of the runs wait for a millisecond.
const RACES: usize = 100;

/// The width of printed text, in columns.
const COLUMNS: usize = 80;

/// The questions to ask.
enum Wanted {
    All,
    List,
    One(usize),
}

/// Where the answers come from.
enum Answers {
    /// The answer of `--answer`; `None` after it was used.
    CommandLine(Option<String>),
    Pipe,
    /// A person, who may try again.
    Terminal,
}

/// The result of an answer, or of a whole question.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Right,
    /// Wrong, skipped, or right only after a wrong answer.
    Wrong,
    /// The answer is not an order.
    Unusable,
}

/// Why the quiz stops before its last question.
enum Stop {
    /// `quit`, or the end of the input.
    Quit,
    /// The reader of standard output is gone.
    NoReader,
    /// An error, as a sentence.
    Failed(String),
}

pub(crate) fn run(wanted: Option<&str>, answer: Option<&str>, is_stepped: bool) -> ExitCode {
    let Some(wanted) = parse_wanted(wanted) else {
        print_error(
            &format!("there is no such question; the questions are 1 to {}", QUESTIONS.len()),
            &["bucle quiz list".into()],
        );
        return ExitCode::from(exit_code::USAGE);
    };
    let answers = match answer {
        Some(answer) => Answers::CommandLine(Some(answer.to_owned())),
        None if io::stdin().is_terminal() => Answers::Terminal,
        None => Answers::Pipe,
    };
    let mut quiz = Quiz { answers, has_erred: false };
    let result = match wanted {
        Wanted::List if answer.is_some() => {
            print_error("--answer needs the number of a question", &["bucle quiz 1 --answer \"c b a\"".into()]);
            return ExitCode::from(exit_code::USAGE);
        }
        Wanted::List if is_stepped => {
            print_error("--step needs the number of a question", &["bucle quiz 1 --step".into()]);
            return ExitCode::from(exit_code::USAGE);
        }
        Wanted::List => show(&list()).map(|()| ExitCode::SUCCESS),
        Wanted::One(number) if is_stepped => steps::run(number, &QUESTIONS[number - 1]).map(|()| ExitCode::SUCCESS),
        Wanted::One(number) => quiz.ask_one(number),
        Wanted::All => quiz.ask_all(),
    };
    match result {
        Ok(status) => status,
        Err(Stop::Quit) => quiz.status(),
        Err(Stop::NoReader) => ExitCode::SUCCESS,
        Err(Stop::Failed(sentence)) => {
            print_error(&sentence, &[]);
            ExitCode::from(exit_code::FAILURE)
        }
    }
}

fn parse_wanted(wanted: Option<&str>) -> Option<Wanted> {
    match wanted {
        None => Some(Wanted::All),
        Some("list") => Some(Wanted::List),
        Some(number) => number.parse().ok().filter(|number| (1..=QUESTIONS.len()).contains(number)).map(Wanted::One),
    }
}

fn list() -> String {
    let line = |(place, question): (usize, &Question)| {
        let stars = "*".repeat(question.difficulty);
        format!("{:>2}  {stars:HARDEST$}  {}\n", place + 1, question.title)
    };
    QUESTIONS.iter().enumerate().map(line).collect()
}

struct Quiz {
    answers: Answers,
    /// An answer was wrong, or a question was skipped or left open. A right answer afterwards does not change this.
    has_erred: bool,
}

impl Quiz {
    fn ask_one(&mut self, number: usize) -> Result<ExitCode, Stop> {
        match self.ask(number) {
            Err(Stop::Quit) => self.leave_open(number),
            outcome => drop(outcome?),
        }
        Ok(self.status())
    }

    /// Asks all questions in order. The first answer to each of them counts.
    fn ask_all(&mut self) -> Result<ExitCode, Stop> {
        let (mut asked, mut right) = (0, 0);
        for number in 1..=QUESTIONS.len() {
            match self.ask(number) {
                Ok(Verdict::Right) => right += 1,
                Ok(Verdict::Wrong) => {}
                Ok(Verdict::Unusable) => return Ok(self.status()),
                Err(Stop::Quit) => {
                    self.leave_open(number);
                    asked += 1;
                    break;
                }
                Err(stop) => return Err(stop),
            }
            asked += 1;
            show(&format!("\nScore: {right} of {asked}\n\n"))?;
        }
        let all = QUESTIONS.len();
        show(&match all - asked {
            0 if right == all => format!("{right} of {all} right. ¡Muy bien! The loop has no secrets from you.\n"),
            0 => format!("{right} of {all} right.\n"),
            left => format!("{right} of {asked} right, and {left} not asked.\n"),
        })?;
        Ok(self.status())
    }

    /// The exit code, by the same rule at a terminal, in a pipe and with `--answer`. Questions not asked do not count.
    fn status(&self) -> ExitCode {
        if self.has_erred { ExitCode::from(exit_code::WRONG_ANSWER) } else { ExitCode::SUCCESS }
    }

    /// Records a wrong answer or a skipped question.
    fn err(&mut self) -> Verdict {
        self.has_erred = true;
        Verdict::Wrong
    }

    /// Records that the question was asked and not answered. At a terminal the user knows that, so nothing is printed.
    fn leave_open(&mut self, number: usize) {
        self.has_erred = true;
        if !self.is_typed() {
            print_error("no answer was given", &[format!("bucle quiz {number} --answer \"c b a\"")]);
        }
    }

    /// Asks one question until it is answered or skipped. At a terminal the user may try again.
    fn ask(&mut self, number: usize) -> Result<Verdict, Stop> {
        let question = &QUESTIONS[number - 1];
        if !matches!(self.answers, Answers::CommandLine(_)) {
            show(&question_text(number, question))?;
        }
        let mut best = Verdict::Right;
        loop {
            match self.next_line()?.trim() {
                "hint" => show(&wrap(question.hint))?,
                "why" => return show(&why(question)?).map(|()| self.err()),
                "next" => return Ok(self.err()),
                "quit" => return Err(Stop::Quit),
                order => match self.judge(question, order)? {
                    Verdict::Right => return Ok(best),
                    Verdict::Unusable if !self.is_typed() => {
                        self.has_erred = true;
                        return Ok(Verdict::Unusable);
                    }
                    Verdict::Unusable => {}
                    Verdict::Wrong => {
                        best = self.err();
                        if !self.is_typed() {
                            return Ok(best);
                        }
                        show("Try again, or type why (to see the whole run) or next.\n")?;
                    }
                },
            }
        }
    }

    /// Checks an answer, and prints everything there is to report about it.
    fn judge(&self, question: &Question, order: &str) -> Result<Verdict, Stop> {
        match answer::parse(order, &question.program.texts()) {
            Ok(places) => check(question, &places),
            Err(sentence) if self.is_typed() => show(&wrap(&sentence)).map(|()| Verdict::Unusable),
            Err(sentence) => {
                print_error(&as_error(&sentence), &[]);
                Ok(Verdict::Unusable)
            }
        }
    }

    fn is_typed(&self) -> bool {
        matches!(self.answers, Answers::Terminal)
    }

    /// Reads the next answer or command.
    fn next_line(&mut self) -> Result<String, Stop> {
        match &mut self.answers {
            Answers::CommandLine(answer) => return answer.take().ok_or(Stop::Quit),
            Answers::Pipe => {}
            Answers::Terminal => show("> ")?,
        }
        let mut line = Vec::new();
        match io::stdin().lock().take(LONGEST_ANSWER).read_until(b'\n', &mut line) {
            Ok(0) if self.is_typed() => show("\n").and(Err(Stop::Quit)),
            Ok(0) => Err(Stop::Quit),
            // The terminal sends keys such as the arrows as escape sequences. `text_of` removes them.
            Ok(_) => Ok(keys::text_of(&line)),
            Err(error) => Err(Stop::Failed(format!("cannot read standard input: {error}"))),
        }
    }
}

/// Turns a sentence into the text after `error: `: without the capital letter and the full stop.
fn as_error(sentence: &str) -> String {
    let mut chars = sentence.chars();
    let first = chars.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(chars.as_str().trim_end_matches('.').chars()).collect()
}

/// The text of a question: title, program, names in Node.
fn question_text(number: usize, question: &Question) -> String {
    let mut text = question_head(number, question);
    text += &wrap(&format!("In Node: {}.", question.node_names().join("; ")));
    if question.program.source().contains("work_for(") {
        text += "work_for keeps the loop busy for that time.\n";
    }
    text += "In which order are the lines printed? Answer with letters or words,\nor type hint, why, next or quit.\n";
    text
}

/// The title and the program of a question.
fn question_head(number: usize, question: &Question) -> String {
    let (count, title, difficulty) = (QUESTIONS.len(), question.title, question.difficulty);
    let listing = question.program.listing();
    format!("Question {number} of {count}: {title} (difficulty {difficulty} of {HARDEST})\n\n{listing}\n")
}

/// Runs the program, compares the answer with it, and prints the result.
fn check(question: &Question, answer: &[usize]) -> Result<Verdict, Stop> {
    if question.is_race() {
        let text = format!("¡Muy bien! Every answer is right here.\n{}", race(question)?);
        return show(&text).map(|()| Verdict::Right);
    }
    let run = run_program(question)?;
    let texts = question.program.texts();
    let answer: Vec<_> = answer.iter().map(|&place| texts[place]).collect();
    let Some(difference) = run.first_difference(&answer) else {
        return show(&format!("¡Muy bien! {}", solution(question, &run))).map(|()| Verdict::Right);
    };
    let (place, expected, ran) = (difference.place + 1, difference.expected, difference.ran);
    let sentence = format!("Not quite. Line {place}: you expected \"{expected}\", the loop ran \"{ran}\".");
    show(&(wrap(&sentence) + &wrap(&run.why(difference)) + &wrap(question.lesson))).map(|()| Verdict::Wrong)
}

fn why(question: &Question) -> Result<String, Stop> {
    if question.is_race() { race(question) } else { Ok(solution(question, &run_program(question)?)) }
}

/// The whole run, and the lesson of the question.
fn solution(question: &Question, run: &Run) -> String {
    let texts = question.program.texts();
    let letter_of = |text: &str| texts.iter().position(|&known| known == text).map_or('?', letter);
    let letters: Vec<_> = run.order().iter().map(|text| letter_of(text).to_string()).collect();
    let table = run.table(letter_of, |text| question.program.owner_of_callback(text));
    format!("The loop ran {}:\n{table}{}", letters.join(" "), wrap(question.lesson))
}

/// Runs a race many times, and counts how often each line was first.
fn race(question: &Question) -> Result<String, Stop> {
    let texts = question.program.texts();
    let mut wins = vec![0; texts.len()];
    for _ in 0..RACES {
        let run = run_program(question)?;
        let first = run.order().first().and_then(|first| texts.iter().position(|text| text == first));
        wins[first.unwrap_or(0)] += 1;
    }
    let counts = texts.iter().zip(wins).map(|(text, wins)| format!("\"{text}\" was first in {wins}"));
    let counts = counts.collect::<Vec<_>>().join(", ");
    Ok(wrap(&format!("In {RACES} runs just now, {counts}.")) + &wrap(question.lesson))
}

fn run_program(question: &Question) -> Result<Run, Stop> {
    stage::run(question.program.main, question.time)
        .map_err(|error| Stop::Failed(format!("the program of the question cannot run: {error}")))
}

/// Wraps a text between words, at the usual width of a terminal.
fn wrap(text: &str) -> String {
    let (mut wrapped, mut column) = (String::new(), 0);
    for word in text.split_whitespace() {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > COLUMNS {
            wrapped += "\n";
            column = 0;
        } else if column > 0 {
            wrapped += " ";
            column += 1;
        }
        wrapped += word;
        column += width;
    }
    wrapped + "\n"
}

fn show(text: &str) -> Result<(), Stop> {
    process::write_stdout(text.as_bytes()).map_err(|error| match error.code() {
        "EPIPE" => Stop::NoReader,
        _ => Stop::Failed(format!("cannot write to standard output: {}", words_for(&error))),
    })
}

#[cfg(test)]
mod tests;
