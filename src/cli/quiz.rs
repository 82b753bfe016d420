//! `bucle quiz`: in which order does this program say its lines?
//!
//! ```text
//!   question ─▶ its program, shown ─▶ an answer ─▶ the program, run on the real loop ─▶ first difference, and why
//!                                     hint, why, next, quit
//! ```
//!
//! Nothing is compared with a stored solution: the program that is shown is performed, and the reasons come from the
//! trace of that very run. In a terminal it is a conversation; with `--answer`, or with answers on standard input, it is
//! for scripts and tests.

mod answer;
mod explain;
mod programs;
mod questions;
mod stage;

use std::io::{self, BufRead, IsTerminal, Read};
use std::process::ExitCode;

use bucle::process;

use super::advice::words_for;
use super::{complain, exit_code};
use answer::letter;
use explain::Run;
use questions::{HARDEST, QUESTIONS, Question};

/// How long an answer may be, in bytes; the longest right one has some hundred.
const LONGEST_ANSWER: u64 = 4096;

/// How often a race is run to show that it is one. Half of the runs wait for a millisecond.
const RACES: usize = 100;

/// The width of a line of text.
const COLUMNS: usize = 80;

/// What the user wants to be asked.
enum Wanted {
    All,
    List,
    One(usize),
}

/// How a question ended.
enum Outcome {
    Right,
    /// Wrong, or right only after it was wrong.
    Wrong,
    /// Not answered.
    Passed,
    /// An answer that is no order, where nobody is there to correct it.
    Unusable,
}

/// Why the quiz cannot go on with its questions.
enum Stop {
    /// `quit`, or the end of the input.
    Quit,
    /// Nobody reads what we say any more.
    NoReader,
    /// What went wrong, as a sentence.
    Failed(String),
}

pub(crate) fn run(wanted: Option<&str>, answer: Option<&str>) -> ExitCode {
    let Some(wanted) = parse_wanted(wanted) else {
        complain(
            &format!("there is no such question; there are 1 to {}", QUESTIONS.len()),
            &["bucle quiz list".into()],
        );
        return ExitCode::from(exit_code::USAGE);
    };
    let mut quiz = Quiz { given: answer.map(str::to_owned), is_typed: answer.is_none() && io::stdin().is_terminal() };
    let result = match wanted {
        Wanted::List if answer.is_some() => {
            complain("an answer wants the number of its question", &["bucle quiz 1 --answer \"c b a\"".into()]);
            return ExitCode::from(exit_code::USAGE);
        }
        Wanted::List => show(&list()).map(|()| ExitCode::SUCCESS),
        Wanted::One(number) => quiz.ask_one(number),
        Wanted::All => quiz.ask_all(),
    };
    match result {
        Ok(status) => status,
        Err(Stop::Quit | Stop::NoReader) => ExitCode::SUCCESS,
        Err(Stop::Failed(what)) => {
            complain(&what, &[]);
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
    /// From the command line; taken by the first question.
    given: Option<String>,
    /// A person answers, and can be asked again.
    is_typed: bool,
}

impl Quiz {
    fn ask_one(&mut self, number: usize) -> Result<ExitCode, Stop> {
        let outcome = match self.ask(number) {
            Err(Stop::Quit) if !self.is_typed => {
                complain("there is no answer on standard input", &[format!("bucle quiz {number} --answer \"c b a\"")]);
                return Ok(ExitCode::from(exit_code::USAGE));
            }
            outcome => outcome?,
        };
        Ok(self.status(matches!(outcome, Outcome::Right), matches!(outcome, Outcome::Unusable)))
    }

    /// All questions in order; what counts is the first answer to each.
    fn ask_all(&mut self) -> Result<ExitCode, Stop> {
        let (mut asked, mut right) = (0, 0);
        for number in 1..=QUESTIONS.len() {
            match self.ask(number) {
                Ok(Outcome::Right) => right += 1,
                Ok(Outcome::Wrong | Outcome::Passed) => {}
                Ok(Outcome::Unusable) => return Ok(self.status(false, true)),
                Err(Stop::Quit) => break,
                Err(stop) => return Err(stop),
            }
            asked += 1;
            show(&format!("\nScore: {right} of {asked}\n\n"))?;
        }
        let words = if right == QUESTIONS.len() { " ¡Muy bien! The loop has no secrets from you." } else { "" };
        show(&format!("{right} of {} right.{words}\n", QUESTIONS.len()))?;
        Ok(self.status(right == QUESTIONS.len(), false))
    }

    /// A person is not told by exit codes.
    fn status(&self, is_right: bool, is_unusable: bool) -> ExitCode {
        match (is_right || self.is_typed, is_unusable) {
            (_, true) => ExitCode::from(exit_code::USAGE),
            (true, false) => ExitCode::SUCCESS,
            (false, false) => ExitCode::from(exit_code::WRONG_ANSWER),
        }
    }

    /// One question, until it is answered or given up.
    fn ask(&mut self, number: usize) -> Result<Outcome, Stop> {
        let question = &QUESTIONS[number - 1];
        if self.given.is_none() {
            show(&poster(number, question))?;
        }
        let mut outcome = Outcome::Right;
        loop {
            let line = self.next_line()?;
            match line.trim() {
                "hint" => show(&wrap(question.hint))?,
                "quit" | "exit" => return Err(Stop::Quit),
                "next" | "skip" => return Ok(if is_right(&outcome) { Outcome::Passed } else { outcome }),
                "why" => {
                    show(&solution(question)?)?;
                    return Ok(if is_right(&outcome) { Outcome::Passed } else { outcome });
                }
                typed => match answer::parse(typed, &question.program.texts()) {
                    Ok(places) => {
                        if check(question, &places)? {
                            return Ok(outcome);
                        }
                        outcome = Outcome::Wrong;
                        if !self.is_typed {
                            return Ok(outcome);
                        }
                        show("Once more? Or why (the whole run), or next.\n")?;
                    }
                    Err(sentence) if self.is_typed => show(&format!("{sentence}\n"))?,
                    Err(sentence) => {
                        complain(&sentence, &[]);
                        return Ok(Outcome::Unusable);
                    }
                },
            }
        }
    }

    /// The next line of the user; the answer on the command line comes first, and is all there is then.
    fn next_line(&mut self) -> Result<String, Stop> {
        if let Some(given) = self.given.take() {
            return Ok(given);
        }
        if self.is_typed {
            show("> ")?;
        }
        let mut line = Vec::new();
        match io::stdin().lock().take(LONGEST_ANSWER).read_until(b'\n', &mut line) {
            Ok(0) if self.is_typed => show("\n").and(Err(Stop::Quit)),
            Ok(0) => Err(Stop::Quit),
            Ok(_) => Ok(String::from_utf8_lossy(&line).into_owned()),
            Err(error) => Err(Stop::Failed(format!("cannot read standard input: {error}"))),
        }
    }
}

fn is_right(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Right)
}

/// The question as it is asked.
fn poster(number: usize, question: &Question) -> String {
    let (count, title, difficulty) = (QUESTIONS.len(), question.title, question.difficulty);
    let mut poster = format!("Question {number} of {count}: {title} (difficulty {difficulty} of {HARDEST})\n\n");
    poster += &question.program.listing();
    poster += "\n";
    poster += &wrap(&format!("In Node: {}.", question.node_names().join("; ")));
    if question.program.source().contains("hold_up(") {
        poster += "hold_up keeps the loop busy for that long.\n";
    }
    poster += "In which order are the lines said? Letters or words; or: hint, why, next, quit.\n";
    poster
}

/// Performs the program and compares. Says what came out of it, and whether the answer was right.
fn check(question: &Question, answer: &[usize]) -> Result<bool, Stop> {
    let run = perform(question)?;
    let texts = question.program.texts();
    let answer: Vec<_> = answer.iter().map(|&place| texts[place]).collect();
    if question.is_race() {
        show(&format!("¡Muy bien! Every answer is right here.\n{}", race(question)?))?;
        return Ok(true);
    }
    match run.first_difference(&answer) {
        None => show(&wrap(&format!("¡Muy bien! {}", question.lesson))).map(|()| true),
        Some(difference) => {
            let (place, expected, ran) = (difference.place + 1, difference.expected, difference.ran);
            let why = run.why(difference);
            let difference = format!("Not quite. Line {place}: you expected \"{expected}\", the loop ran \"{ran}\".");
            show(&(wrap(&difference) + &wrap(&why) + &wrap(question.lesson))).map(|()| false)
        }
    }
}

/// The whole run, and what is to be learnt from it.
fn solution(question: &Question) -> Result<String, Stop> {
    if question.is_race() {
        return race(question);
    }
    let run = perform(question)?;
    let texts = question.program.texts();
    let letter_of = |text: &str| texts.iter().position(|&known| known == text).map_or('?', letter);
    let letters: Vec<_> = run.order().iter().map(|text| letter_of(text).to_string()).collect();
    Ok(format!("The loop ran {}:\n{}{}", letters.join(" "), run.table(letter_of), wrap(question.lesson)))
}

/// Runs a race many times, and says who won how often.
fn race(question: &Question) -> Result<String, Stop> {
    let texts = question.program.texts();
    let mut wins = vec![0; texts.len()];
    for _ in 0..RACES {
        let run = perform(question)?;
        let first = run.order().first().and_then(|first| texts.iter().position(|text| text == first));
        wins[first.unwrap_or(0)] += 1;
    }
    let counts = texts.iter().zip(wins).map(|(text, wins)| format!("\"{text}\" was first in {wins}"));
    let counts = counts.collect::<Vec<_>>().join(", ");
    Ok(wrap(&format!("Of {RACES} runs just now, {counts}.")) + &wrap(question.lesson))
}

fn perform(question: &Question) -> Result<Run, Stop> {
    stage::perform(question.program, question.time)
        .map_err(|error| Stop::Failed(format!("the program of the question cannot run: {error}")))
}

/// Breaks a text between words, at the width of a terminal that nobody has changed.
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
