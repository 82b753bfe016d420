//! Explains from the trace of a run why one line ran before another.
//!
//! ```text
//!   line ──▶ its callback ──▶ kind, phase, turn
//!                  └─ cause ─▶ the callback that caused it ─ cause ─▶ … ─▶ the main body
//! ```
//!
//! The reason is the first of these that is true: one callback prints both lines; one callback caused the other; they
//! ran in different turns; in different phases; in the same phase, whose own rule decides.

use bucle::trace::{Kind, Phase, Record};

/// A printed line, and the callback that printed it: the number of its record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Line {
    pub(crate) text: &'static str,
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
pub(crate) struct Difference {
    /// Counted from 0.
    pub(crate) place: usize,
    pub(crate) expected: &'static str,
    pub(crate) ran: &'static str,
}

impl Run {
    pub(crate) fn new(lines: Vec<Line>, records: Vec<(u64, Record)>) -> Self {
        Run { lines, records }
    }

    /// The texts in the order in which they were printed.
    pub(crate) fn order(&self) -> Vec<&'static str> {
        self.lines.iter().map(|line| line.text).collect()
    }

    /// The first place where `answer` is wrong.
    pub(crate) fn first_difference(&self, answer: &[&'static str]) -> Option<Difference> {
        let pairs = self.lines.iter().zip(answer).enumerate();
        pairs
            .map(|(place, (line, &expected))| Difference { place, expected, ran: line.text })
            .find(|difference| difference.expected != difference.ran)
    }

    /// Why the line that ran came before the line that was expected: where each of them ran, and the rule.
    pub(crate) fn why(&self, difference: Difference) -> String {
        let find = |text| self.lines.iter().find(|line| line.text == text);
        let (Some(early), Some(late)) = (find(difference.ran), find(difference.expected)) else {
            return "The trace does not contain both lines.".to_owned();
        };
        let (Some(first), Some(second)) = (self.record(early.callback), self.record(late.callback)) else {
            return "The trace has lost one of the lines.".to_owned();
        };
        let rule = self.rule(early, first, late, second);
        let (early, late, here, there) = (early.text, late.text, place(first), place(second));
        if here == there {
            return format!("\"{early}\" and \"{late}\" both ran {here}. {rule}");
        }
        format!("\"{early}\" ran {here}; \"{late}\" {there}. {rule}")
    }

    /// All lines, each with its place and cause from the trace. The trace does not record which call a callback belongs
    /// to; `owner_of` returns that.
    pub(crate) fn table(&self, letter_of: impl Fn(&str) -> char, owner_of: impl Fn(&str) -> Option<String>) -> String {
        let width = self.lines.iter().map(|line| line.text.chars().count()).max().unwrap_or(0);
        let mut table = String::new();
        for line in &self.lines {
            let Some(record) = self.record(line.callback) else { continue };
            let kind = match record.kind {
                Kind::Main => String::new(),
                Kind::Callback => match owner_of(line.text) {
                    Some(owner) => format!(": the callback of {owner}"),
                    None => ": a callback".to_owned(),
                },
                kind => format!(": {}", kind_name(kind)),
            };
            let cause = match self.causing_callback(line.callback).and_then(|cause| self.name(cause)) {
                Some(cause) => format!(", caused by {cause}"),
                None => String::new(),
            };
            table += &format!("  {}  {:width$}  {}{kind}{cause}\n", letter_of(line.text), line.text, place(record));
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
    fn name(&self, callback: u64) -> Option<String> {
        let kind = self.record(callback)?.kind;
        let printed = self.lines.iter().rfind(|line| line.callback == callback);
        Some(match printed {
            Some(line) => format!("\"{}\"", line.text),
            None if kind == Kind::Main => "the main body".to_owned(),
            None => kind.as_str().to_owned(),
        })
    }

    /// The rule that put `early` before `late`.
    fn rule(&self, early: &Line, first: &Record, late: &Line, second: &Record) -> String {
        let (early_text, late_text) = (early.text, late.text);
        if early.callback == late.callback {
            return "One callback prints both, one after the other.".to_owned();
        }
        if self.is_descendant(late.callback, early.callback) {
            let how = if self.causing_callback(late.callback) == Some(early.callback) {
                "caused"
            } else {
                "indirectly caused"
            };
            return format!(
                "\"{late_text}\" was {how} by the callback that prints \"{early_text}\", and a callback runs to its \
                 end before the callbacks that it causes."
            );
        }
        if (first.turn, first.phase) != (second.turn, second.phase) {
            return self.between_phases(late, first, second);
        }
        // The late line was caused by a callback that itself ran after the early line.
        if let Some(cause) = self.causing_callback(late.callback)
            && cause > early.callback
            && let Some(name) = self.name(cause)
        {
            return format!("\"{late_text}\" was caused by {name}, which ran after \"{early_text}\".");
        }
        match (first.kind, second.kind) {
            (Kind::Timer, Kind::Timer) => self.between_timers(early, first, late, second),
            (first, second) => within_phase(first, second).to_owned(),
        }
    }

    /// The rule for lines in different phases or turns.
    fn between_phases(&self, late: &Line, first: &Record, second: &Record) -> String {
        let caused_in = self.causing_callback(late.callback).and_then(|cause| self.record(cause));
        // Caused in the same phase of an earlier turn: the phase did not run what was added to it meanwhile.
        let caused_in_this_phase =
            caused_in.is_some_and(|cause| cause.phase == second.phase && cause.turn < second.turn);
        if first.turn == second.turn {
            return match (first.phase, second.phase) {
                (Phase::Main, Phase::Timers) => {
                    "The loop looks at the timers only after the main body and its ticks.".to_owned()
                }
                (_, Phase::Pending) => "Work that a poll leaves pending is done right after that poll.".to_owned(),
                (before, after) => format!(
                    "In every turn the {after} phase comes after the {before} phase.",
                    before = before.as_str(),
                    after = after.as_str()
                ),
            };
        }
        let rule = match (second.kind, first) {
            (Kind::Immediate, _) if caused_in_this_phase => {
                "An immediate scheduled in the check phase waits for the check phase of the next turn."
            }
            (Kind::Timer, _) if caused_in_this_phase => {
                "A timer armed in the timers phase waits for the next timers phase, even if it is due: a whole turn \
                 comes in between."
            }
            (_, Record { turn: 0, phase: Phase::Timers, .. }) => {
                "Timers that are due at the end of the main body run before the first turn."
            }
            (_, Record { turn: 0, .. }) => "The main body and all of its ticks run before the first turn.",
            _ => return format!("Turn {} is over before turn {} begins.", first.turn, second.turn),
        };
        rule.to_owned()
    }

    /// The rule for timers of one timers phase: each delay has its own list.
    fn between_timers(&self, early: &Line, first: &Record, late: &Line, second: &Record) -> String {
        let armed = |record: &Record| self.record(record.cause.into()).filter(|armed| armed.kind == Kind::Armed);
        let (Some(one), Some(other)) = (armed(first), armed(second)) else {
            return "Timers run in the order in which their lists are due.".to_owned();
        };
        let due = |armed: &Record| armed.start_ns / 1_000_000 + u64::from(armed.size);
        let (one_ms, other_ms, early, late) = (one.size, other.size, early.text, late.text);
        if one_ms == other_ms {
            return format!(
                "Timers of equal delay ({one_ms} ms) share one list, in the order in which they were armed."
            );
        }
        if due(one) <= due(other) {
            return format!(
                "\"{early}\" was due {one_ms} ms after it was armed, \"{late}\" after {other_ms} ms. The list that is \
                 due first runs first."
            );
        }
        format!(
            "\"{late}\" was due earlier (at {} ms, \"{early}\" at {} ms), but timers of equal delay share one list, \
             and a list that has begun runs all of its due timers before the loop looks at the next list.",
            due(other),
            due(one),
        )
    }
}

/// The rule inside one phase, and for the ticks that are drained in it.
fn within_phase(first: Kind, second: Kind) -> &'static str {
    match (first, second) {
        (Kind::Tick, Kind::Tick) => "Ticks run in the order in which they were scheduled.",
        (Kind::Microtask, Kind::Microtask) => "Microtasks run in the order in which they were scheduled.",
        (Kind::OnDrain, Kind::Callback) => {
            "When all queued bytes are sent, on_drain runs first, then the callbacks of the writes."
        }
        (Kind::Callback, Kind::Callback) => "The callbacks of a socket's writes run in the order of the writes.",
        (Kind::Callback, Kind::OnFinish) => "The callback of an end runs before on_finish.",
        (Kind::Microtask, second) if is_deferred(second) => {
            "While microtasks run, a new tick waits until no microtask is left."
        }
        (first, Kind::Microtask) if is_deferred(first) => "All ticks run before the first microtask.",
        (first, second) if is_deferred(first) && is_deferred(second) => {
            "Both were deferred to the tick queue, which runs in the order in which it was filled."
        }
        (first, _) if is_deferred(first) || first == Kind::Microtask => {
            "After every callback the ticks and microtasks are drained, before the next callback of the phase."
        }
        (Kind::Immediate, Kind::Immediate) => "Immediates run in the order in which they were scheduled.",
        (Kind::OnClose, Kind::OnClose) => {
            "The sockets that wait for the close phase form a stack: the socket destroyed last gets its on_close first."
        }
        _ => "They ran in one phase, in the order in which the loop reached them.",
    }
}

/// Whether the loop defers a callback of this kind to the tick queue.
fn is_deferred(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Tick
            | Kind::OnError
            | Kind::OnEnd
            | Kind::OnFinish
            | Kind::OnServerClose
            | Kind::Callback
            | Kind::OnDrain
    )
}

/// The kind of a callback, in words.
fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Tick => "a tick",
        Kind::Microtask => "a microtask",
        Kind::Immediate => "an immediate",
        Kind::Timer => "a timer",
        kind => kind.as_str(),
    }
}

/// Where the callback ran: its turn and phase.
fn place(record: &Record) -> String {
    match (record.turn, record.phase, record.kind) {
        (0, Phase::Main, Kind::Main) => "in the main body".to_owned(),
        (0, Phase::Main, _) => "right after the main body".to_owned(),
        (0, phase, _) => format!("before the first turn, {} phase", phase.as_str()),
        (turn, phase, _) => format!("in turn {turn}, {} phase", phase.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records, each numbered by its place, and the lines that are printed in them.
    struct Script(Vec<(u64, Record)>, Vec<Line>);

    impl Script {
        fn new() -> Self {
            let mut script = Script(Vec::new(), Vec::new());
            script.prints("main", Kind::Main, 0, Phase::Main, 0);
            script
        }

        /// Adds a callback that prints `text`. Returns its number, which others can have as their cause.
        fn prints(&mut self, text: &'static str, kind: Kind, turn: u32, phase: Phase, cause: u64) -> u64 {
            let callback = self.record(kind, turn, phase, cause, 0, 0);
            self.1.push(Line { text, callback });
            callback
        }

        fn timer(&mut self, text: &'static str, armed_ms: u64, delay_ms: u32) {
            let arming = self.record(Kind::Armed, 0, Phase::Main, 0, armed_ms, delay_ms);
            self.prints(text, Kind::Timer, 0, Phase::Timers, arming);
        }

        fn record(&mut self, kind: Kind, turn: u32, phase: Phase, cause: u64, at_ms: u64, size: u32) -> u64 {
            let number = self.0.len() as u64;
            let (start_ns, cause) = (at_ms * 1_000_000, cause as u32);
            let mut record = Record::default();
            (record.kind, record.turn, record.phase) = (kind, turn, phase);
            (record.cause, record.start_ns, record.size) = (cause, start_ns, size);
            self.0.push((number, record));
            number
        }

        fn run(self) -> Run {
            Run::new(self.1, self.0)
        }
    }

    fn why(run: &Run, ran: &'static str, expected: &'static str) -> String {
        run.why(Difference { place: 0, expected, ran })
    }

    #[test]
    fn the_first_difference_is_found() {
        let mut script = Script::new();
        script.prints("tick", Kind::Tick, 0, Phase::Main, 0);
        script.prints("immediate", Kind::Immediate, 1, Phase::Check, 0);
        let run = script.run();
        assert_eq!(run.first_difference(&["main", "tick", "immediate"]), None);
        let want = Difference { place: 1, expected: "immediate", ran: "tick" };
        assert_eq!(run.first_difference(&["main", "immediate", "tick"]), Some(want));
    }

    #[test]
    fn each_rule_has_its_explanation() {
        let mut script = Script::new();
        script.prints("tick", Kind::Tick, 0, Phase::Main, 0);
        script.prints("microtask", Kind::Microtask, 0, Phase::Main, 0);
        script.timer("one", 0, 1);
        script.timer("ten", 0, 10);
        script.timer("ten again", 15, 10);
        script.timer("twenty", 0, 20);
        let data = script.prints("data", Kind::OnData, 1, Phase::Poll, 1);
        let immediate = script.prints("immediate", Kind::Immediate, 1, Phase::Check, data);
        script.prints("late tick", Kind::Tick, 1, Phase::Check, immediate);
        script.prints("second", Kind::Immediate, 1, Phase::Check, data);
        script.prints("close", Kind::OnClose, 1, Phase::Close, data);
        script.prints("nested", Kind::Immediate, 2, Phase::Check, immediate);
        let run = script.run();
        let table = [
            (
                "main",
                "tick",
                "\"main\" ran in the main body; \"tick\" right after the main body. \"tick\" was caused by",
            ),
            ("tick", "microtask", "both ran right after the main body. All ticks run before the first microtask."),
            (
                "microtask",
                "one",
                "\"one\" before the first turn, timers phase. The loop looks at the timers only after",
            ),
            ("one", "ten", "\"one\" was due 1 ms after it was armed, \"ten\" after 10 ms"),
            ("ten", "ten again", "Timers of equal delay (10 ms) share one list"),
            ("ten again", "twenty", "\"twenty\" was due earlier (at 20 ms, \"ten again\" at 25 ms)"),
            ("twenty", "second", "\"second\" in turn 1, check phase. Timers that are due at the end of the main body"),
            ("data", "close", "\"close\" was caused by the callback that prints \"data\""),
            ("data", "nested", "\"nested\" was indirectly caused by the callback that prints \"data\""),
            ("immediate", "second", "Immediates run in the order in which they were scheduled."),
            ("late tick", "second", "After every callback the ticks and microtasks are drained"),
            (
                "second",
                "close",
                "in turn 1, check phase; \"close\" in turn 1, close phase. In every turn the close phase",
            ),
            (
                "close",
                "nested",
                "An immediate scheduled in the check phase waits for the check phase of the next turn.",
            ),
        ];
        for (ran, expected, want) in table {
            let why = why(&run, ran, expected);
            assert!(why.contains(want), "{ran}, {expected}: {why}");
        }
    }

    #[test]
    fn the_table_shows_place_and_cause() {
        let mut script = Script::new();
        script.prints("tick", Kind::Tick, 0, Phase::Main, 0);
        script.prints("done", Kind::Callback, 1, Phase::Poll, 0);
        let letter_of = |text: &str| if text == "main" { 'a' } else { 'b' };
        let table = script.run().table(letter_of, |_| Some("the write".to_owned()));
        assert_eq!(
            table,
            "  a  main  in the main body\n  \
             b  tick  right after the main body: a tick, caused by \"main\"\n  \
             b  done  in turn 1, poll phase: the callback of the write, caused by \"main\"\n"
        );
    }

    #[test]
    fn a_trace_without_its_records_does_not_panic() {
        let run = Run::new(vec![Line { text: "a", callback: 7 }, Line { text: "b", callback: 8 }], Vec::new());
        assert_eq!(why(&run, "a", "b"), "The trace has lost one of the lines.");
        assert_eq!(why(&run, "a", "c"), "The trace does not contain both lines.");
        assert_eq!(run.table(|_| 'a', |_| None), "");
    }
}
