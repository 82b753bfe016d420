//! Explains from the trace of a run why one line ran before another.
//!
//! ```text
//!   line ──▶ its callback ──▶ kind, phase, turn
//!                  └─ cause ─▶ the callback that caused it ─ cause ─▶ … ─▶ the main body
//! ```
//!
//! The reason is the first of these that is true: one callback prints both lines; one callback caused the other; they
//! ran in different turns; in different phases; in the same phase, whose own rule decides (`explain/rules.rs`).

mod rules;

use bucle::trace::{Kind, Phase, Record};

use super::language::{Language, words};
use crate::cli::wrap::hanging;
use rules::within_phase;

/// A printed line, and the callback that printed it: the number of its record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) callback: u64,
}

/// The lines of a program, and its trace.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) lines: Vec<Line>,
    /// Sorted by number.
    records: Vec<(u64, Record)>,
}

/// The first place where an answer and a run differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Difference<'a> {
    /// Counted from 0.
    pub(crate) place: usize,
    pub(crate) expected: &'a str,
    pub(crate) ran: &'a str,
}

/// The call whose callback prints a line: the method, and which of several calls of it, counted from 0.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Owner {
    pub(crate) method: String,
    pub(crate) nth: Option<usize>,
}

impl Run {
    pub(crate) fn new(lines: Vec<Line>, records: Vec<(u64, Record)>) -> Self {
        Run { lines, records }
    }

    /// The texts in the order in which they were printed.
    pub(crate) fn order(&self) -> Vec<&str> {
        self.lines.iter().map(|line| &*line.text).collect()
    }

    /// The first place where `answer` is wrong.
    pub(crate) fn first_difference<'a>(&'a self, answer: &[&'a str]) -> Option<Difference<'a>> {
        let pairs = self.lines.iter().zip(answer).enumerate();
        pairs
            .map(|(place, (line, &expected))| Difference { place, expected, ran: &line.text })
            .find(|difference| difference.expected != difference.ran)
    }

    /// Why the line that ran came before the line that was expected: where each of them ran, and the rule.
    pub(crate) fn why(&self, difference: Difference<'_>, language: Language) -> String {
        let find = |text| self.lines.iter().find(|line| line.text == text);
        let (Some(early), Some(late)) = (find(difference.ran), find(difference.expected)) else {
            return words!(language, "The trace does not contain both lines.", "El registro no tiene las dos líneas.");
        };
        let (Some(first), Some(second)) = (self.record(early.callback), self.record(late.callback)) else {
            return words!(
                language,
                "The trace has lost one of the lines.",
                "El registro ha perdido una de las líneas."
            );
        };
        let rule = self.rule(early, first, late, second, language);
        let (here, there) = (place(first, language), place(second, language));
        let (early, late) = (&early.text, &late.text);
        if here == there {
            return words!(
                language,
                "\"{early}\" and \"{late}\" both ran {here}. {rule}",
                "\"{early}\" y \"{late}\" corrieron {here}. {rule}"
            );
        }
        words!(
            language,
            "\"{early}\" ran {here}; \"{late}\" {there}. {rule}",
            "\"{early}\" corrió {here}; \"{late}\", {there}. {rule}"
        )
    }

    /// All lines, each with its place and cause from the trace, in rows of at most `columns` characters. The trace does
    /// not record which call a callback belongs to; `owner_of` returns that.
    pub(crate) fn table(
        &self,
        language: Language,
        columns: usize,
        letter_of: impl Fn(&str) -> char,
        owner_of: impl Fn(&str) -> Option<Owner>,
    ) -> String {
        let width = self.lines.iter().map(|line| line.text.chars().count()).max().unwrap_or(0);
        let mut table = String::new();
        for line in &self.lines {
            let Some(record) = self.record(line.callback) else { continue };
            let kind = match record.kind {
                Kind::Main => String::new(),
                Kind::Callback => format!(": {}", callback_of(owner_of(&line.text), language)),
                kind => format!(": {}", kind_name(kind, language)),
            };
            let cause = match self.causing_callback(line.callback).and_then(|cause| self.name(cause, language)) {
                Some(cause) => words!(language, ", caused by {cause}", ", a causa de {cause}"),
                None => String::new(),
            };
            let (letter, text, place) = (letter_of(&line.text), &line.text, place(record, language));
            table += &hanging(&format!("  {letter}  {text:width$}  "), &format!("{place}{kind}{cause}"), columns);
        }
        table
    }

    fn record(&self, number: u64) -> Option<&Record> {
        let place = self.records.binary_search_by_key(&number, |&(number, _)| number).ok()?;
        Some(&self.records[place].1)
    }

    /// The record that caused this one. `None` for a record without a cause.
    fn cause(&self, number: u64) -> Option<u64> {
        let cause = u64::from(self.record(number)?.cause);
        (cause < number).then_some(cause)
    }

    /// The callback that caused this one. There may be several records of other kinds in between.
    fn causing_callback(&self, number: u64) -> Option<u64> {
        let mut number = self.cause(number)?;
        while !self.record(number)?.kind.is_callback() {
            number = self.cause(number)?;
        }
        Some(number)
    }

    fn is_descendant(&self, mut number: u64, of: u64) -> bool {
        while let Some(cause) = self.causing_callback(number) {
            if cause == of {
                return true;
            }
            number = cause;
        }
        false
    }

    /// The name of a callback: the last line that it printed, else its kind.
    fn name(&self, callback: u64, language: Language) -> Option<String> {
        let kind = self.record(callback)?.kind;
        let printed = self.lines.iter().rfind(|line| line.callback == callback);
        Some(match printed {
            Some(line) => format!("\"{}\"", line.text),
            None if kind == Kind::Main => words!(language, "the main body", "el cuerpo principal"),
            None => kind_name(kind, language),
        })
    }

    /// The rule that put `early` before `late`.
    fn rule(&self, early: &Line, first: &Record, late: &Line, second: &Record, language: Language) -> String {
        let (early_text, late_text) = (&early.text, &late.text);
        if early.callback == late.callback {
            return words!(
                language,
                "One callback prints both, one after the other.",
                "Un mismo callback imprime las dos, una después de la otra."
            );
        }
        if self.is_descendant(late.callback, early.callback) {
            let is_direct = self.causing_callback(late.callback) == Some(early.callback);
            let how = match (is_direct, language) {
                (true, Language::English) => "caused",
                (false, Language::English) => "indirectly caused",
                (true, Language::Spanish) => "es efecto",
                (false, Language::Spanish) => "es efecto indirecto",
            };
            return words!(
                language,
                "\"{late_text}\" was {how} by the callback that prints \"{early_text}\", and a callback runs to its \
                 end before the callbacks that it causes.",
                "\"{late_text}\" {how} del callback que imprime \"{early_text}\", y un callback corre hasta su final \
                 antes que los callbacks que causa."
            );
        }
        if (first.turn, first.phase) != (second.turn, second.phase) {
            return self.between_phases(late, first, second, language);
        }
        // The late line was caused by a callback that itself ran after the early line.
        if let Some(cause) = self.causing_callback(late.callback)
            && cause > early.callback
            && let Some(name) = self.name(cause, language)
        {
            return words!(
                language,
                "\"{late_text}\" was caused by {name}, which ran after \"{early_text}\".",
                "\"{late_text}\" es efecto de {name}, que corrió después de \"{early_text}\"."
            );
        }
        match (first.kind, second.kind) {
            (Kind::Timer, Kind::Timer) => self.between_timers(early, first, late, second, language),
            (first, second) => within_phase(first, second).get(language).to_owned(),
        }
    }

    /// The rule for lines in different phases or turns.
    fn between_phases(&self, late: &Line, first: &Record, second: &Record, language: Language) -> String {
        let caused_in = self.causing_callback(late.callback).and_then(|cause| self.record(cause));
        // Caused in the same phase of an earlier turn: the phase did not run what was added to it meanwhile.
        let is_caused_in_this_phase =
            caused_in.is_some_and(|cause| cause.phase == second.phase && cause.turn < second.turn);
        rules::between_phases(first, second, is_caused_in_this_phase, language)
    }

    /// The rule for timers of one timers phase: each delay has its own list.
    fn between_timers(&self, early: &Line, first: &Record, late: &Line, second: &Record, language: Language) -> String {
        let armed = |record: &Record| self.record(record.cause.into()).filter(|armed| armed.kind == Kind::Armed);
        let (Some(one), Some(other)) = (armed(first), armed(second)) else {
            return words!(
                language,
                "Timers run in the order in which their lists are due.",
                "Los temporizadores corren en el orden en que vencen sus listas."
            );
        };
        let due = |armed: &Record| armed.start_ns / 1_000_000 + u64::from(armed.size);
        let (one_ms, other_ms, one_due, other_due) = (one.size, other.size, due(one), due(other));
        let (early, late) = (&early.text, &late.text);
        if one_ms == other_ms {
            return words!(
                language,
                "Timers of equal delay ({one_ms} ms) share one list, in the order in which they were armed.",
                "Los temporizadores de igual plazo ({one_ms} ms) comparten una lista, en el orden en que se armaron."
            );
        }
        if one_due <= other_due {
            return words!(
                language,
                "\"{early}\" was due {one_ms} ms after it was armed, \"{late}\" after {other_ms} ms. The list that is \
                 due first runs first.",
                "\"{early}\" vencía {one_ms} ms después de armarse, \"{late}\" después de {other_ms} ms. La lista que \
                 vence primero corre primero."
            );
        }
        words!(
            language,
            "\"{late}\" was due earlier (at {other_due} ms, \"{early}\" at {one_due} ms), but timers of equal delay \
             share one list, and a list that has begun runs all of its due timers before the loop looks at the next \
             list.",
            "\"{late}\" vencía antes (a los {other_due} ms, \"{early}\" a los {one_due} ms), pero los temporizadores de \
             igual plazo comparten una lista, y una lista que ha empezado corre todos los suyos que han vencido antes \
             de que el bucle mire la lista siguiente."
        )
    }
}

/// A callback of a call such as `write_then`.
fn callback_of(owner: Option<Owner>, language: Language) -> String {
    const NTH: [(&str, &str); 4] =
        [("first ", "primer "), ("second ", "segundo "), ("third ", "tercer "), ("fourth ", "cuarto ")];
    let Some(Owner { method, nth }) = owner else { return words!(language, "a callback", "un callback") };
    let (en, es) = nth.and_then(|nth| NTH.get(nth)).unwrap_or(&("", ""));
    words!(language, "the callback of the {en}{method}", "el callback del {es}{method}")
}

/// The kind of a callback, in words.
fn kind_name(kind: Kind, language: Language) -> String {
    match kind {
        Kind::Tick => words!(language, "a tick", "un tick"),
        Kind::Microtask => words!(language, "a microtask", "una microtarea"),
        Kind::Immediate => words!(language, "an immediate", "un immediate"),
        Kind::Timer => words!(language, "a timer", "un temporizador"),
        Kind::Callback => words!(language, "a callback", "un callback"),
        kind => kind.as_str().to_owned(),
    }
}

/// Where the callback ran: its turn and phase.
fn place(record: &Record, language: Language) -> String {
    let (turn, phase) = (record.turn, record.phase.as_str());
    match (turn, record.phase, record.kind) {
        (0, Phase::Main, Kind::Main) => words!(language, "in the main body", "en el cuerpo principal"),
        (0, Phase::Main, _) => {
            words!(language, "right after the main body", "justo después del cuerpo principal")
        }
        (0, ..) => words!(language, "before the first turn, {phase} phase", "antes de la primera vuelta, fase {phase}"),
        _ => words!(language, "in turn {turn}, {phase} phase", "en la vuelta {turn}, fase {phase}"),
    }
}

#[cfg(test)]
mod tests;
