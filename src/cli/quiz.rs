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
use super::stderr::complain;
use super::{exit_code, keys};
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

/// Where the answers come from.
enum Answers {
    /// The one answer of `--answer`, until it is taken.
    CommandLine(Option<String>),
    Pipe,
    /// A person, who can be asked again.
    Terminal,
}

/// How a question ended, or what an answer was.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Right,
    /// Wrong, given up, or right only after it was wrong.
    Wrong,
    /// No order at all.
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
    let answers = match answer {
        Some(answer) => Answers::CommandLine(Some(answer.to_owned())),
        None if io::stdin().is_terminal() => Answers::Terminal,
        None => Answers::Pipe,
    };
    let mut quiz = Quiz { answers, has_erred: false };
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
        Err(Stop::Quit) => quiz.status(),
        Err(Stop::NoReader) => ExitCode::SUCCESS,
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
    answers: Answers,
    /// An answer was wrong, or a question was given up or left open; a better answer after it changes nothing.
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

    /// All questions in order; what counts is the first answer to each.
    fn ask_all(&mut self) -> Result<ExitCode, Stop> {
        let (mut asked, mut right) = (0, 0);
        for number in 1..=QUESTIONS.len() {
            match self.ask(number) {
                Ok(Outcome::Right) => right += 1,
                Ok(Outcome::Wrong) => {}
                Ok(Outcome::Unusable) => return Ok(self.status()),
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

    /// The exit code: the same for a person, for a pipe and for `--answer`. Questions that were not asked do not count.
    fn status(&self) -> ExitCode {
        if self.has_erred { ExitCode::from(exit_code::WRONG_ANSWER) } else { ExitCode::SUCCESS }
    }

    /// Wrong, or given up: that stays, whatever is answered then.
    fn err(&mut self) -> Outcome {
        self.has_erred = true;
        Outcome::Wrong
    }

    /// The question was asked, and there is no answer to it. A person knows.
    fn leave_open(&mut self, number: usize) {
        self.has_erred = true;
        if !self.is_typed() {
            complain("there is no answer", &[format!("bucle quiz {number} --answer \"c b a\"")]);
        }
    }

    /// One question, until it is answered or given up. A person may try again.
    fn ask(&mut self, number: usize) -> Result<Outcome, Stop> {
        let question = &QUESTIONS[number - 1];
        if !matches!(self.answers, Answers::CommandLine(_)) {
            show(&poster(number, question))?;
        }
        let mut best = Outcome::Right;
        loop {
            match self.next_line()?.trim() {
                "hint" => show(&wrap(question.hint))?,
                "why" => return show(&why(question)?).map(|()| self.err()),
                "next" => return Ok(self.err()),
                "quit" => return Err(Stop::Quit),
                order => match self.judge(question, order)? {
                    Outcome::Right => return Ok(best),
                    Outcome::Unusable if !self.is_typed() => {
                        self.has_erred = true;
                        return Ok(Outcome::Unusable);
                    }
                    Outcome::Unusable => {}
                    Outcome::Wrong => {
                        best = self.err();
                        if !self.is_typed() {
                            return Ok(best);
                        }
                        show("Once more? Or why (the whole run), or next.\n")?;
                    }
                },
            }
        }
    }

    /// What becomes of an answer. All there is to say about it is said.
    fn judge(&self, question: &Question, order: &str) -> Result<Outcome, Stop> {
        match answer::parse(order, &question.program.texts()) {
            Ok(places) => check(question, &places),
            Err(sentence) if self.is_typed() => show(&wrap(&sentence)).map(|()| Outcome::Unusable),
            Err(sentence) => {
                complain(&as_error(&sentence), &[]);
                Ok(Outcome::Unusable)
            }
        }
    }

    fn is_typed(&self) -> bool {
        matches!(self.answers, Answers::Terminal)
    }

    /// The next line of the user.
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
            // The arrow keys, say: the terminal hands them over as they are.
            Ok(_) => Ok(keys::text_of(&line)),
            Err(error) => Err(Stop::Failed(format!("cannot read standard input: {error}"))),
        }
    }
}

/// A sentence as what comes after `error: `: without the capital, and without the full stop.
fn as_error(sentence: &str) -> String {
    let mut chars = sentence.chars();
    let first = chars.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(chars.as_str().trim_end_matches('.').chars()).collect()
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

/// Performs the program, compares, and says what came out of it.
fn check(question: &Question, answer: &[usize]) -> Result<Outcome, Stop> {
    if question.is_race() {
        let everybody_wins = format!("¡Muy bien! Every answer is right here.\n{}", race(question)?);
        return show(&everybody_wins).map(|()| Outcome::Right);
    }
    let run = perform(question)?;
    let texts = question.program.texts();
    let answer: Vec<_> = answer.iter().map(|&place| texts[place]).collect();
    let Some(difference) = run.first_difference(&answer) else {
        return show(&format!("¡Muy bien! {}", solution(question, &run))).map(|()| Outcome::Right);
    };
    let (place, expected, ran) = (difference.place + 1, difference.expected, difference.ran);
    let what = format!("Not quite. Line {place}: you expected \"{expected}\", the loop ran \"{ran}\".");
    show(&(wrap(&what) + &wrap(&run.why(difference)) + &wrap(question.lesson))).map(|()| Outcome::Wrong)
}

fn why(question: &Question) -> Result<String, Stop> {
    if question.is_race() { race(question) } else { Ok(solution(question, &perform(question)?)) }
}

/// The whole run, and what is to be learnt from it.
fn solution(question: &Question, run: &Run) -> String {
    let texts = question.program.texts();
    let letter_of = |text: &str| texts.iter().position(|&known| known == text).map_or('?', letter);
    let letters: Vec<_> = run.order().iter().map(|text| letter_of(text).to_string()).collect();
    let table = run.table(letter_of, |text| question.program.whose_callback(text));
    format!("The loop ran {}:\n{table}{}", letters.join(" "), wrap(question.lesson))
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
