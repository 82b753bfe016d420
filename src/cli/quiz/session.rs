//! A session of the quiz: asks questions, reads answers, counts.
//!
//! ```text
//!   question ─▶ read a line ─┬─ an order ─▶ run the program ─┬─ right: the whole run, and why
//!                            │                               ├─ wrong, a person's first try: a hint
//!                            │                               └─ wrong: the first difference, and why
//!                            └─ help, hint, why, next, quit
//! ```

use super::answer::{self, letter};
use super::explain::{Difference, Run};
use super::language::{Language, words};
use super::question::Question;
use super::questions::HARDEST;
use super::show::{Stop, read_line, show, wrap, wrap_behind};
use super::stage;
use super::steps::cannot_run;
use crate::cli::wrap::width;

/// How often a race is run to show both results. About half of the runs wait for a millisecond.
const RACES: usize = 100;

/// Where the answers come from.
pub(super) enum Answers {
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

/// What a line at the prompt can be besides an order.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Command {
    Help,
    Hint,
    Why,
    Next,
    Quit,
}

impl Command {
    /// The commands in both languages. They are understood in both, because a learner may switch.
    const NAMES: [(Command, &[&str]); 5] = [
        (Command::Help, &["help", "?", "ayuda"]),
        (Command::Hint, &["hint", "pista"]),
        (Command::Why, &["why", "por qué", "por que", "porqué", "porque"]),
        (Command::Next, &["next", "siguiente"]),
        (Command::Quit, &["quit", "exit", "salir"]),
    ];

    fn of(line: &str) -> Option<Command> {
        let line = line.to_lowercase();
        let known = Command::NAMES.iter().find(|(_, names)| names.contains(&&*line));
        known.map(|(command, _)| *command)
    }
}

/// A session. At its end [`has_erred`](Self::has_erred) gives the exit code.
pub(super) struct Session<'a> {
    questions: &'a [Question],
    language: Language,
    answers: Answers,
    /// The option of the command line that chooses these questions, for a command to try.
    pub(super) option: String,
    /// An answer was wrong, or a question was skipped or left open. A right answer afterwards does not change this.
    pub(super) has_erred: bool,
    /// A question was asked, and its answers have ended without one. In a pipe that is an error.
    pub(super) left_open: Option<usize>,
    /// The answer was not an order. Its sentence is an error message, except at a terminal.
    pub(super) mistake: Option<String>,
}

impl<'a> Session<'a> {
    pub(super) fn new(questions: &'a [Question], language: Language, answers: Answers, option: String) -> Session<'a> {
        Session { questions, language, answers, option, has_erred: false, left_open: None, mistake: None }
    }

    /// Asks one question. `number` counts from 1.
    pub(super) fn ask_one(&mut self, number: usize) -> Result<(), Stop> {
        match self.ask(number) {
            Err(Stop::Quit) => {
                self.leave_open(number);
                Ok(())
            }
            outcome => outcome.map(drop),
        }
    }

    /// Asks questions in this order, and counts. The first answer to each of them counts.
    pub(super) fn ask_all(&mut self, numbers: &[usize]) -> Result<(), Stop> {
        let language = self.language;
        let (mut asked, mut right, mut again) = (0, 0, Vec::new());
        for &number in numbers {
            match self.ask(number) {
                Ok(Verdict::Right) => right += 1,
                Ok(Verdict::Wrong) => again.push(number),
                Ok(Verdict::Unusable) => return Ok(()),
                Err(Stop::Quit) => {
                    self.leave_open(number);
                    again.push(number);
                    asked += 1;
                    break;
                }
                Err(stop) => return Err(stop),
            }
            asked += 1;
            show(&words!(language, "\nScore: {right} of {asked}\n\n", "\nPuntos: {right} de {asked}\n\n"))?;
        }
        self.show_score(right, asked, numbers.len(), &again)
    }

    /// The score at the end, and the questions to look at again.
    fn show_score(&self, right: usize, asked: usize, all: usize, again: &[usize]) -> Result<(), Stop> {
        let language = self.language;
        show(&wrap(&match all - asked {
            0 if right == all => words!(
                language,
                "{right} of {all} right. ¡Muy bien! The loop has no secrets from you.",
                "{right} de {all} bien. ¡Muy bien! El bucle no tiene secretos para ti."
            ),
            0 => words!(language, "{right} of {all} right.", "{right} de {all} bien."),
            left => words!(
                language,
                "{right} of {asked} right, and {left} not asked.",
                "{right} de {asked} bien, y {left} sin preguntar."
            ),
        }))?;
        let numbers: Vec<String> = again.iter().map(usize::to_string).collect();
        let Some(first) = numbers.first() else { return Ok(()) };
        let (numbers, option) = (numbers.join(", "), &self.option);
        // The command is not wrapped, so that it can be copied.
        let numbers = words!(language, "To look at again: {numbers}.", "Para mirar otra vez: {numbers}.");
        let command = format!("bucle quiz {first}{option} --step");
        let advice = words!(language, "  try:  {command}\n", "  prueba:  {command}\n");
        show(&(wrap(&numbers) + &advice))
    }

    /// Records a wrong answer or a skipped question.
    fn err(&mut self) -> Verdict {
        self.has_erred = true;
        Verdict::Wrong
    }

    /// Records that the question was asked and not answered. At a terminal the user knows that.
    fn leave_open(&mut self, number: usize) {
        self.has_erred = true;
        if !self.is_typed() {
            self.left_open = Some(number);
        }
    }

    fn is_typed(&self) -> bool {
        matches!(self.answers, Answers::Terminal)
    }

    /// Asks one question until it is answered or skipped. At a terminal the user may try again.
    fn ask(&mut self, number: usize) -> Result<Verdict, Stop> {
        let (questions, language) = (self.questions, self.language);
        let question = &questions[number - 1];
        if !matches!(self.answers, Answers::CommandLine(_)) {
            show(&question_text(number, questions.len(), question, language))?;
        }
        let mut best = Verdict::Right;
        loop {
            let line = self.next_line()?;
            let line = line.trim();
            match Command::of(line) {
                Some(Command::Help) => show(&help(language))?,
                Some(Command::Hint) => show(&hint(question, language))?,
                Some(Command::Why) => return show(&why(question, language)?).map(|()| self.err()),
                Some(Command::Next) => return Ok(self.err()),
                Some(Command::Quit) => return Err(Stop::Quit),
                None => match self.judge(question, line, best == Verdict::Right)? {
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
                        show(&wrap(&words!(
                            language,
                            "Try again, or type why (to see the whole run) or next.",
                            "Prueba otra vez, o escribe por qué (para ver la corrida entera) o siguiente."
                        )))?;
                    }
                },
            }
        }
    }

    /// Checks an answer, and prints everything there is to report about it. After the first try a person gets a hint,
    /// and not the answer.
    fn judge(&mut self, question: &Question, order: &str, is_first: bool) -> Result<Verdict, Stop> {
        let language = self.language;
        match answer::parse(order, &question.texts(), language) {
            Ok(places) => check(question, &places, is_first && self.is_typed(), language),
            Err(sentence) if self.is_typed() => show(&wrap(&sentence)).map(|()| Verdict::Unusable),
            Err(sentence) => {
                self.mistake = Some(sentence);
                Ok(Verdict::Unusable)
            }
        }
    }

    /// Reads the next answer or command.
    fn next_line(&mut self) -> Result<String, Stop> {
        match &mut self.answers {
            Answers::CommandLine(answer) => return answer.take().ok_or(Stop::Quit),
            Answers::Pipe => {}
            Answers::Terminal => show("> ")?,
        }
        match read_line(self.language)? {
            Some(line) => Ok(line),
            None if self.is_typed() => show("\n").and(Err(Stop::Quit)),
            None => Err(Stop::Quit),
        }
    }
}

/// The text of a question: title, program, names in Node.
fn question_text(number: usize, count: usize, question: &Question, language: Language) -> String {
    let mut text = question_head(number, count, question, language);
    text.extend(question.note(language).iter().map(|sentence| wrap(sentence)));
    text += &wrap(&words!(
        language,
        "In which order are the lines printed? Answer with letters or words, or type hint, why, next, quit or help.",
        "¿En qué orden se imprimen las líneas? Responde con letras o palabras, o escribe pista, por qué, siguiente, \
         salir o ayuda."
    ));
    text
}

/// The title and the program of a question.
pub(super) fn question_head(number: usize, count: usize, question: &Question, language: Language) -> String {
    let (title, listing) = (&question.title, question.listing());
    let difficulty = match question.difficulty {
        Some(stars) => words!(language, " (difficulty {stars} of {HARDEST})", " (dificultad {stars} de {HARDEST})"),
        None => String::new(),
    };
    let head = words!(
        language,
        "Question {number} of {count}: {title}{difficulty}",
        "Pregunta {number} de {count}: {title}{difficulty}"
    );
    // Code keeps its lines, also on a narrow terminal.
    format!("{}\n{listing}\n", wrap(&head))
}

fn help(language: Language) -> String {
    let introduction = words!(
        language,
        "Type the lines in the order in which the program prints them: their letters (`b a c` or `bac`) or their words \
         (`main, tick`). Every line is printed exactly once.",
        "Escribe las líneas en el orden en que el programa las imprime: sus letras (`b a c` o `bac`) o sus palabras \
         (`main, tick`). Cada línea se imprime exactamente una vez."
    );
    let commands = match language {
        Language::English => [
            ("  hint    ", "a help that does not give the answer"),
            ("  why     ", "the whole run and its reasons; the question counts as not answered"),
            ("  next    ", "skip this question"),
            ("  quit    ", "end the quiz and show the score (Ctrl-D too)"),
        ],
        Language::Spanish => [
            ("  pista      ", "una ayuda que no da la respuesta"),
            ("  por qué    ", "la corrida entera y sus razones; la pregunta cuenta como no respondida"),
            ("  siguiente  ", "saltar esta pregunta"),
            ("  salir      ", "terminar y mostrar los puntos (también Ctrl-D)"),
        ],
    };
    wrap(&introduction) + &commands.map(|(name, text)| wrap_behind(name, text)).concat()
}

fn hint(question: &Question, language: Language) -> String {
    match &question.hint {
        Some(hint) => wrap(hint),
        None => wrap(&words!(language, "This question has no hint.", "Esta pregunta no tiene pista.")),
    }
}

/// Runs the program, compares the answer with it, and prints the result.
fn check(question: &Question, answer: &[usize], hint_only: bool, language: Language) -> Result<Verdict, Stop> {
    if question.is_race() {
        let race = race(question, language)?;
        let text = words!(
            language,
            "¡Muy bien! Every answer is right here.\n{race}",
            "¡Muy bien! Aquí toda respuesta está bien.\n{race}"
        );
        return show(&text).map(|()| Verdict::Right);
    }
    let run = run_program(question, language)?;
    let texts = question.texts();
    let answer: Vec<_> = answer.iter().map(|&place| texts[place]).collect();
    let Some(difference) = run.first_difference(&answer) else {
        let solution = solution(question, &run, language);
        return show(&format!("¡Muy bien! {solution}")).map(|()| Verdict::Right);
    };
    let text = if hint_only {
        first_hint(question, difference, language)
    } else {
        let (place, expected, ran) = (difference.place + 1, difference.expected, difference.ran);
        let sentence = words!(
            language,
            "Not quite. Line {place}: you expected \"{expected}\", the loop ran \"{ran}\".",
            "Todavía no. Línea {place}: esperabas \"{expected}\", el bucle corrió \"{ran}\"."
        );
        wrap(&sentence) + &wrap(&run.why(difference, language)) + &wrap(question.lesson())
    };
    show(&text).map(|()| Verdict::Wrong)
}

/// How much of the answer is right, and the hint of the question.
fn first_hint(question: &Question, difference: Difference<'_>, language: Language) -> String {
    let sentence = match difference.place {
        0 => words!(language, "Not quite: another line comes first.", "Todavía no: primero viene otra línea."),
        1 => words!(
            language,
            "Not quite: the first line is right, but another one comes second.",
            "Todavía no: la primera línea está bien, pero segunda viene otra."
        ),
        right => words!(
            language,
            "Not quite: the first {right} lines are right, but another one comes next.",
            "Todavía no: las primeras {right} líneas están bien, pero después viene otra."
        ),
    };
    let hint = question.hint.as_ref();
    wrap(&sentence) + &hint.map_or_else(String::new, |hint| wrap(&words!(language, "Hint: {hint}", "Pista: {hint}")))
}

fn why(question: &Question, language: Language) -> Result<String, Stop> {
    if question.is_race() {
        return race(question, language);
    }
    Ok(solution(question, &run_program(question, language)?, language))
}

/// The whole run, and the lesson of the question.
fn solution(question: &Question, run: &Run, language: Language) -> String {
    let texts = question.texts();
    let letter_of = |text: &str| texts.iter().position(|&known| known == text).map_or('?', letter);
    let letters: Vec<_> = run.order().iter().map(|text| letter_of(text).to_string()).collect();
    // A row is a line, unless the terminal is narrower.
    let table = run.table(language, width(usize::MAX), letter_of, |text| question.program.owner_of_callback(text));
    let (letters, lesson) = (letters.join(" "), wrap(question.lesson()));
    words!(language, "The loop ran {letters}:\n{table}{lesson}", "El bucle corrió {letters}:\n{table}{lesson}")
}

/// Runs a race many times, and counts how often each line was first.
fn race(question: &Question, language: Language) -> Result<String, Stop> {
    let texts = question.texts();
    let mut wins = vec![0; texts.len()];
    for _ in 0..RACES {
        let run = run_program(question, language)?;
        let first = run.order().first().and_then(|first| texts.iter().position(|text| text == first));
        wins[first.unwrap_or(0)] += 1;
    }
    let counts = texts
        .iter()
        .zip(wins)
        .map(|(text, wins)| words!(language, "\"{text}\" was first in {wins}", "\"{text}\" fue primero en {wins}"));
    let counts = counts.collect::<Vec<_>>().join(", ");
    let sentence =
        words!(language, "In {RACES} runs just now, {counts}.", "En {RACES} corridas hechas ahora, {counts}.");
    Ok(wrap(&sentence) + &wrap(question.lesson()))
}

fn run_program(question: &Question, language: Language) -> Result<Run, Stop> {
    stage::run(|lp| question.program.start(lp), question.time).map_err(|error| cannot_run(&error, language))
}
