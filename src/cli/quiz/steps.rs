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
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use bucle::trace::{Decision, Gate, Kind, Next};
use bucle::{EventLoop, Loop};

use super::language::{Language, Text, words};
use super::question::Question;
use super::show::{COLUMNS, Stop, read_line, show, width, wrap, wrap_behind};
use super::stage;

/// The gate of a program that is stepped.
struct Steps {
    /// It has nothing to do: the gate never holds the loop. Its descriptor is what a gate needs.
    idle: EventLoop,
    language: Language,
    is_typed: bool,
    /// How many lines of the program have been shown.
    shown: Rc<Cell<usize>>,
    /// Why nothing is shown any more. The program still runs to its end.
    stop: Rc<RefCell<Option<Stop>>>,
}

/// Shows the program of a question, step by step. `is_typed`: a person presses Enter for each step.
pub(super) fn run(question: &Question, language: Language, is_typed: bool) -> Result<(), Stop> {
    let cannot_run = |error: bucle::Error| cannot_run(&error, language);
    let keys = words!(
        language,
        "Enter runs what comes next; q ends the steps.",
        "Enter corre lo que sigue; q termina los pasos."
    );
    show(&if is_typed { wrap(&keys) + "\n" } else { "\n".to_owned() })?;
    let (stop, shown) = (Rc::default(), Rc::<Cell<usize>>::default());
    let idle = EventLoop::new().map_err(cannot_run)?;
    let steps = Steps { idle, language, is_typed, shown: Rc::clone(&shown), stop: Rc::clone(&stop) };
    let run = stage::run_with(|lp| question.program.start(lp), question.time, |lp| lp.set_gate(steps));
    match stop.take() {
        Some(Stop::Quit) => return Ok(()),
        Some(stop) => return Err(stop),
        None => {}
    }
    let run = run.map_err(cannot_run)?;
    show_printed(&run.order(), &shown, language)?;
    let order = run.order().join(", ");
    let ran = words!(language, "The loop ran: {order}.", "El bucle corrió: {order}.");
    show(&format!("\n{}{}", wrap(&ran), wrap(question.lesson())))
}

/// The end of a quiz whose program cannot run.
pub(super) fn cannot_run(error: &bucle::Error, language: Language) -> Stop {
    let code = error.code();
    Stop::Failed(words!(
        language,
        "the program of the question cannot run: {error}",
        "el programa de la pregunta no puede correr: {code}"
    ))
}

impl Steps {
    fn step(&mut self, lp: &Loop, next: &Next) -> Result<(), Stop> {
        show_printed(&stage::printed(), &self.shown, self.language)?;
        show(&line(lp, next, self.language))?;
        if !self.is_typed {
            return Ok(());
        }
        match read_line(self.language)? {
            Some(line) if line.trim() != "q" => Ok(()),
            _ => Err(Stop::Quit),
        }
    }
}

/// Shows the lines that were printed since the last call.
fn show_printed(printed: &[impl AsRef<str>], shown: &Cell<usize>, language: Language) -> Result<(), Stop> {
    for text in &printed[shown.replace(printed.len())..] {
        let text = text.as_ref();
        show(&words!(language, "  prints \"{text}\"\n", "  imprime \"{text}\"\n"))?;
    }
    Ok(())
}

/// One step: where the loop is, what comes next, and the queues that are not empty.
fn line(lp: &Loop, next: &Next, language: Language) -> String {
    let queues = lp.queues();
    let cause = next.cause.and_then(|number| lp.trace()?.get(number)).filter(|record| record.kind != Kind::Phase);
    let name = kind_word(next.kind, language);
    let what = match cause.map(|cause| kind_word(cause.kind, language)) {
        Some(cause) => words!(language, "{name}, caused by {cause}", "{name}, a causa de {cause}"),
        None => name.to_owned(),
    };
    let lengths = [
        (Text { en: "ticks", es: "ticks" }, queues.ticks),
        (Text { en: "microtasks", es: "microtareas" }, queues.microtasks),
        (Text { en: "immediates", es: "immediates" }, queues.immediates),
        (Text { en: "timers", es: "temporizadores" }, queues.timers),
        (Text { en: "closing", es: "por cerrar" }, queues.closing),
    ];
    let waiting: Vec<String> =
        lengths.iter().filter(|(_, n)| *n > 0).map(|(queue, n)| format!("{} {n}", queue.get(language))).collect();
    let waiting =
        if waiting.is_empty() { words!(language, "queues empty", "colas vacías") } else { waiting.join(", ") };
    let (turn, phase) = (next.turn, next.phase.as_str());
    if width() < COLUMNS {
        let head = words!(language, "turn {turn} {phase:8} ", "vuelta {turn} {phase:8} ");
        return wrap_behind(&head, &words!(language, "next: {what}; {waiting}", "sigue: {what}; {waiting}"));
    }
    words!(
        language,
        "turn {turn} {phase:8} next: {what:31} {waiting}\n",
        "vuelta {turn} {phase:8} sigue: {what:33} {waiting}\n"
    )
}

/// The kind of a record, in one word or two. Events of sockets have the same names in both languages.
fn kind_word(kind: Kind, language: Language) -> &'static str {
    match (language, kind) {
        (Language::Spanish, Kind::Main) => "cuerpo principal",
        (Language::Spanish, Kind::Microtask) => "microtarea",
        (Language::Spanish, Kind::Timer) => "temporizador",
        (Language::Spanish, Kind::Armed) => "armado",
        (Language::Spanish, Kind::Wait) => "espera",
        (Language::Spanish, Kind::Ready) => "socket listo",
        (Language::Spanish, Kind::Eof) => "fin de los datos",
        _ => kind.as_str(),
    }
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
