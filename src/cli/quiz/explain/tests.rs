//! Each rule is found in a trace and has its explanation.

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
        self.1.push(Line { text: text.to_owned(), callback });
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

fn why(run: &Run, ran: &str, expected: &str) -> String {
    run.why(Difference { place: 0, expected, ran }, Language::English)
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
        ("main", "tick", "\"main\" ran in the main body; \"tick\" right after the main body. \"tick\" was caused by"),
        ("tick", "microtask", "both ran right after the main body. All ticks run before the first microtask."),
        ("microtask", "one", "\"one\" before the first turn, timers phase. The loop looks at the timers only after"),
        ("one", "ten", "\"one\" was due 1 ms after it was armed, \"ten\" after 10 ms"),
        ("ten", "ten again", "Timers of equal delay (10 ms) share one list"),
        ("ten again", "twenty", "\"twenty\" was due earlier (at 20 ms, \"ten again\" at 25 ms)"),
        ("twenty", "second", "\"second\" in turn 1, check phase. Timers that are due at the end of the main body"),
        ("data", "close", "\"close\" was caused by the callback that prints \"data\""),
        ("data", "nested", "\"nested\" was indirectly caused by the callback that prints \"data\""),
        ("immediate", "second", "Immediates run in the order in which they were scheduled."),
        ("late tick", "second", "After every callback the ticks and microtasks are drained"),
        ("second", "close", "in turn 1, check phase; \"close\" in turn 1, close phase. In every turn the close phase"),
        ("close", "nested", "An immediate scheduled in the check phase waits for the check phase of the next turn."),
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
    let owner = Owner { method: "write".to_owned(), nth: None };
    let table = script.run().table(Language::English, 80, letter_of, |_| Some(owner.clone()));
    assert_eq!(
        table,
        "  a  main  in the main body\n  \
         b  tick  right after the main body: a tick, caused by \"main\"\n  \
         b  done  in turn 1, poll phase: the callback of the write, caused by \"main\"\n"
    );
}

#[test]
fn a_trace_without_its_records_does_not_panic() {
    let run = Run::new(
        [("a", 7), ("b", 8)].map(|(text, callback)| Line { text: text.to_owned(), callback }).to_vec(),
        Vec::new(),
    );
    assert_eq!(why(&run, "a", "b"), "The trace has lost one of the lines.");
    assert_eq!(why(&run, "a", "c"), "The trace does not contain both lines.");
    assert_eq!(run.table(Language::English, 200, |_| 'a', |_| None), "");
}
