//! Why one line ran before another, read from the trace of the run.
//!
//! ```text
//!   line ──▶ its callback ──▶ kind, phase, turn
//!                  └─ cause ─▶ who asked for it ─ cause ─▶ … ─▶ the main body
//! ```
//!
//! Two lines compare like this, the first that holds being the reason: one callback said both; one asked for the other;
//! they ran in different turns; in different phases; in the same phase, and then its own rule decides.

use bucle::trace::{Kind, Phase, Record};

/// A line that was said, and in which callback: the number of its record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Line {
    pub(crate) text: &'static str,
    pub(crate) callback: u64,
}

/// What a program said, and the trace of it.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) lines: Vec<Line>,
    /// Ascending by number.
    records: Vec<(u64, Record)>,
}

/// The first place at which an answer and a run differ.
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

    /// The texts in the order in which they were said.
    pub(crate) fn order(&self) -> Vec<&'static str> {
        self.lines.iter().map(|line| line.text).collect()
    }

    /// Where `answer` goes wrong.
    pub(crate) fn first_difference(&self, answer: &[&'static str]) -> Option<Difference> {
        let pairs = self.lines.iter().zip(answer).enumerate();
        pairs
            .map(|(place, (line, &expected))| Difference { place, expected, ran: line.text })
            .find(|difference| difference.expected != difference.ran)
    }

    /// Why the line that ran was before the one that was expected: where both ran, and the rule.
    pub(crate) fn why(&self, difference: Difference) -> String {
        let find = |text| self.lines.iter().find(|line| line.text == text);
        let (Some(early), Some(late)) = (find(difference.ran), find(difference.expected)) else {
            return "The trace does not know one of them.".to_owned();
        };
        let (Some(first), Some(second)) = (self.record(early.callback), self.record(late.callback)) else {
            return "The trace has lost one of them.".to_owned();
        };
        let rule = self.rule(early, first, late, second);
        let (early, late, here, there) = (early.text, late.text, place(first), place(second));
        if here == there {
            return format!("\"{early}\" and \"{late}\" both ran {here}. {rule}");
        }
        format!("\"{early}\" ran {here}; \"{late}\" {there}. {rule}")
    }

    /// All lines with what the trace says of them. It does not know whose callback a callback is: `whose` does.
    pub(crate) fn table(&self, letter_of: impl Fn(&str) -> char, whose: impl Fn(&str) -> Option<String>) -> String {
        let width = self.lines.iter().map(|line| line.text.chars().count()).max().unwrap_or(0);
        let mut table = String::new();
        for line in &self.lines {
            let Some(record) = self.record(line.callback) else { continue };
            let what = match record.kind {
                Kind::Main => String::new(),
                Kind::Callback => match whose(line.text) {
                    Some(owner) => format!(": the callback of {owner}"),
                    None => ": a callback".to_owned(),
                },
                kind => format!(": {}", what(kind)),
            };
            let asker = match self.asker(line.callback).and_then(|asker| self.name(asker)) {
                Some(asker) => format!(", asked for by {asker}"),
                None => String::new(),
            };
            table += &format!("  {}  {:width$}  {}{what}{asker}\n", letter_of(line.text), line.text, place(record));
        }
        table
    }

    fn record(&self, number: u64) -> Option<&Record> {
        let place = self.records.binary_search_by_key(&number, |&(number, _)| number).ok()?;
        Some(&self.records[place].1)
    }

    /// The record that caused this one; `None` if nothing did.
    fn cause(&self, number: u64) -> Option<u64> {
        let cause = u64::from(self.record(number)?.cause);
        (cause < number).then_some(cause)
    }

    /// The callback in which a callback was asked for, through however many records in between.
    fn asker(&self, number: u64) -> Option<u64> {
        let mut number = self.cause(number)?;
        while !self.record(number)?.kind.is_callback() {
            number = self.cause(number)?;
        }
        Some(number)
    }

    fn is_descendant(&self, mut number: u64, of: u64) -> bool {
        while let Some(asker) = self.asker(number) {
            if asker == of {
                return true;
            }
            number = asker;
        }
        false
    }

    /// How a callback is called: by the last thing it says, else by its kind.
    fn name(&self, callback: u64) -> Option<String> {
        let kind = self.record(callback)?.kind;
        let said = self.lines.iter().rfind(|line| line.callback == callback);
        Some(match said {
            Some(line) => format!("\"{}\"", line.text),
            None if kind == Kind::Main => "the main body".to_owned(),
            None => kind.as_str().to_owned(),
        })
    }

    /// The rule that put `early` before `late`.
    fn rule(&self, early: &Line, first: &Record, late: &Line, second: &Record) -> String {
        let (early_text, late_text) = (early.text, late.text);
        if early.callback == late.callback {
            return "One callback says both, one after the other.".to_owned();
        }
        if self.is_descendant(late.callback, early.callback) {
            let how = if self.asker(late.callback) == Some(early.callback) { "asked" } else { "in the end asked" };
            return format!(
                "\"{late_text}\" was {how} for by the callback that says \"{early_text}\", and a callback runs to its \
                 end before anything it asks for."
            );
        }
        if (first.turn, first.phase) != (second.turn, second.phase) {
            return self.between_phases(late, first, second);
        }
        // One was asked for by something that came after the other.
        if let Some(asker) = self.asker(late.callback)
            && asker > early.callback
            && let Some(name) = self.name(asker)
        {
            return format!("\"{late_text}\" was asked for only by {name}, which ran after \"{early_text}\".");
        }
        match (first.kind, second.kind) {
            (Kind::Timer, Kind::Timer) => self.between_timers(early, first, late, second),
            (first, second) => within_phase(first, second).to_owned(),
        }
    }

    /// The order of the phases and turns, and why the later one was not earlier.
    fn between_phases(&self, late: &Line, first: &Record, second: &Record) -> String {
        let asked_in = self.asker(late.callback).and_then(|asker| self.record(asker));
        let asked_here = asked_in.is_some_and(|asker| asker.phase == second.phase && asker.turn < second.turn);
        if first.turn == second.turn {
            return match (first.phase, second.phase) {
                (Phase::Main, Phase::Timers) => {
                    "The timers are looked at only when the main body and its ticks are through.".to_owned()
                }
                (_, Phase::Pending) => "What a poll leaves pending is done right after it.".to_owned(),
                (before, after) => format!(
                    "In every turn the {after} phase comes after the {before} phase.",
                    before = before.as_str(),
                    after = after.as_str()
                ),
            };
        }
        match (second.kind, first) {
            (Kind::Immediate, _) if asked_here => "An immediate made in the check phase waits for the check phase of the next turn.".to_owned(),
            (Kind::Timer, _) if asked_here => "A timer armed in the timers phase waits for the next one, however late it is: a whole turn comes in between.".to_owned(),
            (_, Record { turn: 0, phase: Phase::Timers, .. }) => "Timers that are due when the main body is through run before the first turn.".to_owned(),
            (_, Record { turn: 0, .. }) => "The main body and all of its ticks come before the first turn.".to_owned(),
            _ => format!("Turn {} is over before turn {} begins.", first.turn, second.turn),
        }
    }

    /// Timers of one pass: by list.
    fn between_timers(&self, early: &Line, first: &Record, late: &Line, second: &Record) -> String {
        let armed = |record: &Record| self.record(record.cause.into()).filter(|armed| armed.kind == Kind::Armed);
        let (Some(one), Some(other)) = (armed(first), armed(second)) else {
            return "Timers run in the order in which their lists are due.".to_owned();
        };
        let due = |armed: &Record| armed.start_ns / 1_000_000 + u64::from(armed.size);
        let (one_ms, other_ms, early, late) = (one.size, other.size, early.text, late.text);
        if one_ms == other_ms {
            return format!("Timers of equal delay ({one_ms} ms) are one list, in the order in which they were armed.");
        }
        if due(one) <= due(other) {
            return format!(
                "\"{early}\" was due {one_ms} ms after its arming, \"{late}\" {other_ms} ms; the list that is due first runs first."
            );
        }
        format!(
            "\"{late}\" was due earlier (at {} ms, \"{early}\" at {} ms), but timers of equal delay are one list, and a \
             list that has begun runs all of its timers that are due before the next list is looked at.",
            due(other),
            due(one),
        )
    }
}

/// The rule of one phase, or of the ticks that are drained in it.
fn within_phase(first: Kind, second: Kind) -> &'static str {
    match (first, second) {
        (Kind::Tick, Kind::Tick) => "Ticks run in the order in which they were asked for.",
        (Kind::Microtask, Kind::Microtask) => "Microtasks run in the order in which they were asked for.",
        (Kind::OnDrain, Kind::Callback) => "When all is out on_drain comes first, then the callbacks of the writes.",
        (Kind::Callback, Kind::Callback) => "The callbacks of a socket's writes run in the order of the writes.",
        (Kind::Callback, Kind::OnFinish) => "The callbacks of an end come before on_finish.",
        (Kind::Microtask, second) if is_put_off(second) => {
            "While microtasks run, a new tick waits until there is none left."
        }
        (first, Kind::Microtask) if is_put_off(first) => "All ticks run before the first microtask.",
        (first, second) if is_put_off(first) && is_put_off(second) => {
            "Both were put off to the queue of the ticks, which runs in the order in which it was filled."
        }
        (first, _) if is_put_off(first) || first == Kind::Microtask => {
            "After every callback the ticks and microtasks are drained, before the next callback of the phase."
        }
        (Kind::Immediate, Kind::Immediate) => "Immediates run in the order in which they were made.",
        (Kind::OnClose, Kind::OnClose) => {
            "The sockets that wait for the close phase are a stack: the last one destroyed is the first to hear of it."
        }
        _ => "They ran in one phase, in the order in which the loop came to them.",
    }
}

/// Whether the loop puts such a callback off to the queue of the ticks.
fn is_put_off(kind: Kind) -> bool {
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

/// What a callback is, in words.
fn what(kind: Kind) -> &'static str {
    match kind {
        Kind::Tick => "a tick",
        Kind::Microtask => "a microtask",
        Kind::Immediate => "an immediate",
        Kind::Timer => "a timer",
        kind => kind.as_str(),
    }
}

/// Where in the turns of the loop it was.
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

    /// Records, each with its place as its number, and what is said in them.
    struct Script(Vec<(u64, Record)>, Vec<Line>);

    impl Script {
        fn new() -> Self {
            let mut script = Script(Vec::new(), Vec::new());
            script.says("main", Kind::Main, 0, Phase::Main, 0);
            script
        }

        /// A callback that says `text`. Gives its number, to be the cause of others.
        fn says(&mut self, text: &'static str, kind: Kind, turn: u32, phase: Phase, cause: u64) -> u64 {
            let callback = self.record(kind, turn, phase, cause, 0, 0);
            self.1.push(Line { text, callback });
            callback
        }

        fn timer(&mut self, text: &'static str, armed_ms: u64, delay_ms: u32) {
            let arming = self.record(Kind::Armed, 0, Phase::Main, 0, armed_ms, delay_ms);
            self.says(text, Kind::Timer, 0, Phase::Timers, arming);
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
        script.says("tick", Kind::Tick, 0, Phase::Main, 0);
        script.says("immediate", Kind::Immediate, 1, Phase::Check, 0);
        let run = script.run();
        assert_eq!(run.first_difference(&["main", "tick", "immediate"]), None);
        let want = Difference { place: 1, expected: "immediate", ran: "tick" };
        assert_eq!(run.first_difference(&["main", "immediate", "tick"]), Some(want));
    }

    #[test]
    fn each_reason_has_its_words() {
        let mut script = Script::new();
        script.says("tick", Kind::Tick, 0, Phase::Main, 0);
        script.says("microtask", Kind::Microtask, 0, Phase::Main, 0);
        script.timer("one", 0, 1);
        script.timer("ten", 0, 10);
        script.timer("ten again", 15, 10);
        script.timer("twenty", 0, 20);
        let data = script.says("data", Kind::OnData, 1, Phase::Poll, 1);
        let immediate = script.says("immediate", Kind::Immediate, 1, Phase::Check, data);
        script.says("late tick", Kind::Tick, 1, Phase::Check, immediate);
        script.says("second", Kind::Immediate, 1, Phase::Check, data);
        script.says("close", Kind::OnClose, 1, Phase::Close, data);
        script.says("nested", Kind::Immediate, 2, Phase::Check, immediate);
        let run = script.run();
        let table = [
            (
                "main",
                "tick",
                "\"main\" ran in the main body; \"tick\" right after the main body. \"tick\" was asked for by",
            ),
            ("tick", "microtask", "both ran right after the main body. All ticks run before the first microtask."),
            ("microtask", "one", "\"one\" before the first turn, timers phase. The timers are looked at only when"),
            ("one", "ten", "\"one\" was due 1 ms after its arming, \"ten\" 10 ms"),
            ("ten", "ten again", "Timers of equal delay (10 ms) are one list"),
            ("ten again", "twenty", "\"twenty\" was due earlier (at 20 ms, \"ten again\" at 25 ms)"),
            (
                "twenty",
                "second",
                "\"second\" in turn 1, check phase. Timers that are due when the main body is through",
            ),
            ("data", "close", "\"close\" was asked for by the callback that says \"data\""),
            ("data", "nested", "\"nested\" was in the end asked for by the callback that says \"data\""),
            ("immediate", "second", "Immediates run in the order in which they were made."),
            ("late tick", "second", "After every callback the ticks and microtasks are drained"),
            (
                "second",
                "close",
                "in turn 1, check phase; \"close\" in turn 1, close phase. In every turn the close phase",
            ),
            ("close", "nested", "An immediate made in the check phase waits for the check phase of the next turn."),
        ];
        for (ran, expected, want) in table {
            let why = why(&run, ran, expected);
            assert!(why.contains(want), "{ran}, {expected}: {why}");
        }
    }

    #[test]
    fn the_table_tells_where_and_who_asked() {
        let mut script = Script::new();
        script.says("tick", Kind::Tick, 0, Phase::Main, 0);
        script.says("done", Kind::Callback, 1, Phase::Poll, 0);
        let letter_of = |text: &str| if text == "main" { 'a' } else { 'b' };
        let table = script.run().table(letter_of, |_| Some("the write".to_owned()));
        assert_eq!(
            table,
            "  a  main  in the main body\n  \
             b  tick  right after the main body: a tick, asked for by \"main\"\n  \
             b  done  in turn 1, poll phase: the callback of the write, asked for by \"main\"\n"
        );
    }

    #[test]
    fn a_trace_that_has_lost_something_is_no_panic() {
        let run = Run::new(vec![Line { text: "a", callback: 7 }, Line { text: "b", callback: 8 }], Vec::new());
        assert_eq!(why(&run, "a", "b"), "The trace has lost one of them.");
        assert_eq!(why(&run, "a", "c"), "The trace does not know one of them.");
        assert_eq!(run.table(|_| 'a', |_| None), "");
    }
}
