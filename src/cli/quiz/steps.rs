//! `bucle quiz N --step`: the program of a question on the real loop, callback by callback, with the queues.
//!
//! ```text
//!   main body ─▶ "main" is printed
//!   gate ─▶ turn, phase, queues, what comes next and why ─▶ Enter ─▶ the callback runs ─▶ gate ─▶ …
//! ```
//!
//! A gate of the loop prints a line before each callback and each wait. At a terminal it waits for Enter after the
//! line; meanwhile the loop's clock stands still.

use std::cell::{Cell, RefCell};
use std::io::{self, BufRead, IsTerminal, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use bucle::trace::{Decision, Gate, Kind, Next};
use bucle::{EventLoop, Loop};

use super::questions::Question;
use super::{LONGEST_ANSWER, Stop, question_head, show, stage, wrap};

/// The gate of a program that is stepped.
struct Steps {
    /// It has nothing to do: the gate never holds the loop. Its descriptor is what a gate needs.
    idle: EventLoop,
    is_typed: bool,
    /// How many lines of the program have been shown.
    shown: Rc<Cell<usize>>,
    /// Why nothing is shown any more. The program still runs to its end.
    stop: Rc<RefCell<Option<Stop>>>,
}

/// Shows the program of a question, step by step.
pub(super) fn run(number: usize, question: &Question) -> Result<(), Stop> {
    let is_typed = io::stdin().is_terminal();
    show(&question_head(number, question))?;
    show(if is_typed { "Enter runs what comes next; q ends the steps.\n\n" } else { "\n" })?;
    let (stop, shown) = (Rc::default(), Rc::<Cell<usize>>::default());
    let idle = EventLoop::new().map_err(cannot_run)?;
    let steps = Steps { idle, is_typed, shown: Rc::clone(&shown), stop: Rc::clone(&stop) };
    let run = stage::run_with(question.program.main, question.time, |lp| lp.set_gate(steps)).map_err(cannot_run)?;
    match stop.take() {
        Some(Stop::Quit) => return Ok(()),
        Some(stop) => return Err(stop),
        None => {}
    }
    show_printed(&run.order(), &shown)?;
    show(&format!("\nThe loop ran: {}.\n{}", run.order().join(", "), wrap(question.lesson)))
}

fn cannot_run(error: bucle::Error) -> Stop {
    Stop::Failed(format!("the program of the question cannot run: {error}"))
}

impl Steps {
    fn step(&mut self, lp: &Loop, next: &Next) -> Result<(), Stop> {
        show_printed(&stage::printed(), &self.shown)?;
        show(&line(lp, next))?;
        if !self.is_typed {
            return Ok(());
        }
        let mut line = Vec::new();
        match io::stdin().lock().take(LONGEST_ANSWER).read_until(b'\n', &mut line) {
            Ok(0) => Err(Stop::Quit),
            Ok(_) if line.trim_ascii() == b"q" => Err(Stop::Quit),
            Ok(_) => Ok(()),
            Err(error) => Err(Stop::Failed(format!("cannot read standard input: {error}"))),
        }
    }
}

/// Shows the lines that were printed since the last call.
fn show_printed(printed: &[&str], shown: &Cell<usize>) -> Result<(), Stop> {
    for text in &printed[shown.replace(printed.len())..] {
        show(&format!("  prints \"{text}\"\n"))?;
    }
    Ok(())
}

/// One step: where the loop is, what comes next, and the queues that are not empty.
fn line(lp: &Loop, next: &Next) -> String {
    let queues = lp.queues();
    let cause = next.cause.and_then(|number| lp.trace()?.get(number)).filter(|record| record.kind != Kind::Phase);
    let what = match cause {
        Some(cause) => format!("{}, caused by {}", next.kind, cause.kind),
        None => next.kind.to_string(),
    };
    let lengths = [
        ("ticks", queues.ticks),
        ("microtasks", queues.microtasks),
        ("immediates", queues.immediates),
        ("timers", queues.timers),
        ("closing", queues.closing),
    ];
    let waiting: Vec<String> =
        lengths.iter().filter(|(_, n)| *n > 0).map(|(queue, n)| format!("{queue} {n}")).collect();
    let waiting = if waiting.is_empty() { "queues empty".to_owned() } else { waiting.join(", ") };
    format!("turn {} {:8} next: {what:31} {waiting}\n", next.turn, next.phase.as_str())
}

impl Gate for Steps {
    fn fd(&self) -> RawFd {
        self.idle.as_raw_fd()
    }

    fn max_wait(&mut self) -> Option<Duration> {
        None
    }

    fn turn(&mut self, _: Option<Duration>) {}

    fn decide(&mut self, lp: &Loop, next: Option<&Next>) -> Decision {
        let is_over = self.stop.borrow().is_some();
        let Some(next) = next.filter(|_| !is_over) else { return Decision::Open };
        match self.step(lp, next) {
            Ok(()) => Decision::Pass,
            Err(stop) => {
                *self.stop.borrow_mut() = Some(stop);
                Decision::Open
            }
        }
    }
}
