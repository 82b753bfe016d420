//! A question in one language: a program, and in which order its lines are printed.
//!
//! Questions come from two places: those of the quiz (`questions.rs`, whose programs are functions of Rust) and those
//! of a file (`question_file.rs`, whose programs are interpreted). The other files treat both in the same way.

use bucle::{Loop, Result};

use super::answer::letter;
use super::explain::Owner;
use super::language::{Language, words};
use super::stage::Time;

/// A program that prints lines, each of them once.
pub(crate) trait Program {
    /// The main body.
    fn start(&self, lp: &mut Loop) -> Result<()>;

    /// Its text, without letters.
    fn source(&self) -> &str;

    /// The texts that a line of the source prints.
    fn printed_by<'a>(&self, line: &'a str) -> Vec<&'a str>;

    /// The call whose callback prints `text`. `None` for lines that an event or the loop's own callbacks print.
    fn owner_of_callback(&self, text: &str) -> Option<Owner>;

    /// Node's names of the calls in it, as `set_immediate = setImmediate`.
    fn node_names(&self, language: Language) -> Vec<String>;

    /// The name of the call that keeps the loop busy, if the program has it.
    fn busy_call(&self) -> Option<&'static str>;
}

/// A program, and the texts that go with it.
pub(crate) struct Question {
    pub(crate) title: String,
    /// From 1 to [`HARDEST`](super::questions::HARDEST), if it has one.
    pub(crate) difficulty: Option<usize>,
    pub(crate) program: Box<dyn Program>,
    /// With the real clock no order is promised: the program is a race, and every answer is right.
    pub(crate) time: Time,
    /// Helps without giving the answer.
    pub(crate) hint: Option<String>,
    /// The rule to remember.
    pub(crate) lesson: Option<String>,
}

impl Question {
    pub(crate) fn is_race(&self) -> bool {
        self.time == Time::Real
    }

    /// The texts that its program prints, in the order of the source. The first one is line `a`, the second `b`, …
    pub(crate) fn texts(&self) -> Vec<&str> {
        self.program.source().lines().flat_map(|line| self.program.printed_by(line)).collect()
    }

    /// The source with a margin, which shows the letter of every line that prints.
    pub(crate) fn listing(&self) -> String {
        let mut places = 0..;
        let mut listing = String::new();
        for line in self.program.source().lines() {
            let count = self.program.printed_by(line).len();
            let margin: String = places.by_ref().take(count).map(letter).collect();
            listing += format!("{margin:>4}  {line}").trim_end();
            listing += "\n";
        }
        listing
    }

    /// Sentences about the calls in the program: their names in Node, and which one keeps the loop busy.
    pub(crate) fn note(&self, language: Language) -> Vec<String> {
        let names = self.program.node_names(language).join("; ");
        let names = (!names.is_empty()).then(|| words!(language, "In Node: {names}.", "En Node: {names}."));
        let busy = self.program.busy_call().map(|call| {
            words!(
                language,
                "{call} keeps the loop busy for that time.",
                "{call} mantiene ocupado el bucle durante ese tiempo."
            )
        });
        names.into_iter().chain(busy).collect()
    }

    /// The lesson; empty if it has none.
    pub(crate) fn lesson(&self) -> &str {
        self.lesson.as_deref().unwrap_or_default()
    }
}
