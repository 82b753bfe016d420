//! Parses a file of questions. Pure.
//!
//! ```text
//!   title a tick in a timer          begins a question
//!   hint  When are ticks run?        optional
//!   lesson Ticks run after …         optional
//!
//!   timeout 5                        the program: one statement a line; a block is indented deeper
//!       print first
//!       tick
//!           print nested tick
//!   print main
//! ```
//!
//! Lines that begin with `#` are comments. There are no loops, so each statement runs at most once for each event, and
//! a program ends by itself unless a connection stays open. The limits below bound what a file may cost.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use super::lines::{Line, Lines, Mistake};
use super::statement::{Block, Event, Side, Statement, When};
use crate::cli::quiz::language::{Language, words};

/// How many questions a file has at most.
pub(super) const QUESTIONS: usize = 100;
/// How many statements a program has at most.
const STATEMENTS: usize = 200;
/// How deep blocks are nested at most.
const DEPTH: usize = 8;
/// How many lines a program prints at most: as many as there are letters.
const PRINTS: usize = 26;
/// The longest text, in characters.
const TEXT: usize = 40;
/// The longest title, hint or lesson, in characters.
const PROSE: usize = 500;
/// The longest time, in milliseconds.
const MOST_MS: u64 = 60_000;

/// A question as the file has it.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Draft {
    pub(super) title: String,
    pub(super) hint: Option<String>,
    pub(super) lesson: Option<String>,
    pub(super) source: String,
    pub(super) body: Block,
    /// The printed texts, and the number of the line of each.
    pub(super) prints: Vec<(Rc<str>, usize)>,
}

/// Parses a file.
///
/// # Errors
/// The first mistake.
pub(super) fn parse(text: &str, language: Language) -> Result<Vec<Draft>, Mistake> {
    let mut drafts: Vec<Draft> = Vec::new();
    let mut lines = Lines::of(text, language);
    while let Some(line) = lines.next_line()? {
        if line.word() != "title" {
            return Err(line.mistake(words!(
                language,
                "a question begins with a title, such as `title ticks and timers`",
                "una pregunta empieza con un título, como `title ticks y temporizadores`"
            )));
        }
        if drafts.len() == QUESTIONS {
            return Err(line.mistake(words!(
                language,
                "a file has at most {QUESTIONS} questions",
                "un archivo tiene como máximo {QUESTIONS} preguntas"
            )));
        }
        drafts.push(draft(&line, &mut lines, language)?);
    }
    if drafts.is_empty() {
        let sentence = words!(language, "the file has no question", "el archivo no tiene ninguna pregunta");
        return Err(Mistake { line: 1, sentence });
    }
    Ok(drafts)
}

/// Parses a question behind its title.
fn draft(title_line: &Line, lines: &mut Lines, language: Language) -> Result<Draft, Mistake> {
    let title = prose_of(title_line, language)?;
    let mut prose = HashMap::new();
    while let Some(line) = lines.next_if(|line| matches!(line.word(), "hint" | "lesson"))? {
        let text = prose_of(&line, language)?;
        if prose.insert(line.word().to_owned(), text).is_some() {
            let word = line.word();
            let sentence =
                words!(language, "this question has a `{word}` already", "esta pregunta ya tiene un `{word}`");
            return Err(line.mistake(sentence));
        }
    }
    let mut parser = Parser {
        lines,
        language,
        source: String::new(),
        prints: Vec::new(),
        count: 0,
        has_server: false,
        printing: None,
        indent: 0,
    };
    let body = parser.block(0, Place { depth: 0, side: None })?;
    let Parser { source, prints, .. } = parser;
    if prints.len() < 2 {
        return Err(title_line.mistake(words!(
            language,
            "the program of this question must print at least two lines",
            "el programa de esta pregunta tiene que imprimir al menos dos líneas"
        )));
    }
    if let Some((text, line)) = prints.iter().find(|(text, _)| is_joined(text, &prints)) {
        let sentence = words!(
            language,
            "\"{text}\" is also other printed texts in a row, and an answer could mean those; put _ in place of a space",
            "\"{text}\" es también otros textos impresos seguidos, y una respuesta podría nombrar esos; pon _ en lugar de un \
             espacio"
        );
        return Err(Mistake { line: *line, sentence });
    }
    Ok(Draft { title, hint: prose.remove("hint"), lesson: prose.remove("lesson"), source, body: body.into(), prints })
}

fn prose_of(line: &Line, language: Language) -> Result<String, Mistake> {
    let (word, text) = (line.word(), line.rest());
    match text.chars().count() {
        0 => Err(line.mistake(words!(language, "`{word}` needs a text behind it", "`{word}` necesita un texto"))),
        1..=PROSE => Ok(text.to_owned()),
        _ => Err(line.mistake(words!(
            language,
            "the text has more than {PROSE} characters",
            "el texto tiene más de {PROSE} caracteres"
        ))),
    }
}

/// Whether a text is two or more other texts, one behind the other, with a space between them.
fn is_joined(text: &str, prints: &[(Rc<str>, usize)]) -> bool {
    let text = text.to_lowercase();
    prints.iter().any(|(first, _)| {
        let rest = text.strip_prefix(&first.to_lowercase()).and_then(|rest| rest.strip_prefix(' '));
        rest.is_some_and(|rest| prints.iter().any(|(other, _)| other.to_lowercase() == rest) || is_joined(rest, prints))
    })
}

/// Where a statement stands.
#[derive(Clone, Copy)]
struct Place {
    depth: usize,
    /// The line of the `server` or `connect` of the event that it is inside of, so there is a socket.
    side: Option<usize>,
}

impl Place {
    fn deeper(self) -> Place {
        Place { depth: self.depth + 1, ..self }
    }
}

struct Parser<'a> {
    lines: &'a mut Lines,
    language: Language,
    source: String,
    prints: Vec<(Rc<str>, usize)>,
    /// The statements so far.
    count: usize,
    has_server: bool,
    /// The side whose events are printed: its line, and that of its first printed text.
    printing: Option<(usize, usize)>,
    /// The indentation of the line before.
    indent: usize,
}

impl Parser<'_> {
    /// Parses the statements of one block, all of them indented by `indent`.
    fn block(&mut self, indent: usize, place: Place) -> Result<Vec<Statement>, Mistake> {
        let mut block = Vec::new();
        while let Some(line) = self.next_of_block(indent)? {
            block.push(self.statement(&line, place)?);
        }
        Ok(block)
    }

    /// The next line, if it belongs to the block with this indentation.
    fn next_of_block(&mut self, indent: usize) -> Result<Option<Line>, Mistake> {
        let language = self.language;
        let is_end = |line: &Line| line.indent < indent || line.indent == 0 && line.word() == "title";
        if self.lines.peek().is_none_or(is_end) {
            return Ok(None);
        }
        let Some(line) = self.lines.next_line()? else { return Ok(None) };
        let indent_before = std::mem::replace(&mut self.indent, line.indent);
        if line.indent > indent && line.indent < indent_before {
            return Err(line.mistake(words!(
                language,
                "this line ends a block, but it is indented deeper than the line that begins the block, and less than \
                 the block",
                "esta línea termina un bloque, pero tiene más sangría que la línea que empieza el bloque, y menos que el \
                 bloque"
            )));
        }
        if line.indent > indent {
            return Err(line.mistake(words!(
                language,
                "this line is indented deeper than the one before it, which has no block",
                "esta línea tiene más sangría que la anterior, que no lleva un bloque"
            )));
        }
        self.count += 1;
        if self.count > STATEMENTS {
            return Err(line.mistake(words!(
                language,
                "a program has at most {STATEMENTS} statements",
                "un programa tiene como máximo {STATEMENTS} instrucciones"
            )));
        }
        // Exactly one space, whatever space the file has there: the lines that print are found by it.
        self.source += format!("{:indent$}{} {}", "", line.word(), line.rest()).trim_end();
        self.source += "\n";
        Ok(Some(line))
    }

    fn statement(&mut self, line: &Line, place: Place) -> Result<Statement, Mistake> {
        let language = self.language;
        let statement = match line.word() {
            "print" => Statement::Print(self.print(line, place)?),
            "work" => Statement::Work(self.time(line)?),
            "tick" => self.later(line, When::Tick, place)?,
            "microtask" => self.later(line, When::Microtask, place)?,
            "immediate" => self.later(line, When::Immediate, place)?,
            "timeout" => {
                let when = When::Timeout(self.time(line)?);
                Statement::Later(when, self.inner(line, place)?)
            }
            "server" if place.depth == 0 && !self.has_server => {
                self.nothing_behind(line)?;
                let side = self.side(line, Event::OF_SERVER, place)?;
                self.has_server = true;
                Statement::Server(side)
            }
            "server" => {
                return Err(line.mistake(words!(
                    language,
                    "a program has one server, which is not inside of a block",
                    "un programa tiene un solo server, que no está dentro de un bloque"
                )));
            }
            "connect" if self.has_server => {
                self.nothing_behind(line)?;
                Statement::Connect(self.side(line, Event::OF_CLIENT, place)?)
            }
            "connect" => {
                let sentence = words!(
                    language,
                    "`connect` needs a `server` above it",
                    "`connect` necesita un `server` más arriba"
                );
                return Err(line.mistake(sentence));
            }
            word @ ("write" | "end" | "destroy") if place.side.is_none() => {
                return Err(line.mistake(words!(
                    language,
                    "`{word}` needs a socket: it stands below an `on` of a `server` or a `connect`",
                    "`{word}` necesita un socket: va debajo de un `on` de un `server` o de un `connect`"
                )));
            }
            "write" => Statement::Write(self.text(line)?, self.callback(line, place)?),
            "end" => {
                let text = if line.rest().is_empty() { None } else { Some(self.text(line)?) };
                Statement::End(text, self.callback(line, place)?)
            }
            "destroy" => {
                self.nothing_behind(line)?;
                Statement::Destroy
            }
            "on" => {
                return Err(line.mistake(words!(
                    language,
                    "`on` stands directly below a `server` or a `connect`",
                    "`on` va directamente debajo de un `server` o de un `connect`"
                )));
            }
            "hint" | "lesson" => {
                return Err(line.mistake(words!(
                    language,
                    "hint and lesson stand between the title and the program",
                    "hint y lesson van entre el título y el programa"
                )));
            }
            word => return Err(line.mistake(unknown(word, STATEMENT_WORDS, language))),
        };
        Ok(statement)
    }

    fn later(&mut self, line: &Line, when: When, place: Place) -> Result<Statement, Mistake> {
        self.nothing_behind(line)?;
        Ok(Statement::Later(when, self.inner(line, place)?))
    }

    /// The block below a line that must have one.
    fn inner(&mut self, line: &Line, place: Place) -> Result<Block, Mistake> {
        let language = self.language;
        match self.callback(line, place)? {
            Some(block) => Ok(block),
            None => {
                let word = line.word();
                Err(line.mistake(words!(
                    language,
                    "`{word}` runs a block later: indent the statements below it",
                    "`{word}` corre un bloque más tarde: pon con sangría las instrucciones debajo"
                )))
            }
        }
    }

    /// The block below a line, if there is one.
    fn callback(&mut self, line: &Line, place: Place) -> Result<Option<Block>, Mistake> {
        let Some(indent) = self.indent_below(line) else { return Ok(None) };
        self.check_depth(line, place)?;
        Ok(Some(self.block(indent, place.deeper())?.into()))
    }

    /// The blocks of events below a `server` or a `connect`.
    fn side(&mut self, line: &Line, events: &[Event], place: Place) -> Result<Side, Mistake> {
        let language = self.language;
        let mut side = Side { line: line.number, blocks: Vec::new(), prints: false };
        let Some(indent) = self.indent_below(line) else { return Ok(side) };
        self.check_depth(line, place)?;
        let place = Place { side: Some(line.number), ..place.deeper() };
        while let Some(line) = self.next_of_block(indent)? {
            let names: Vec<&str> = events.iter().map(|event| event.name()).collect();
            if line.word() != "on" {
                let names = names.join(", ");
                return Err(line.mistake(words!(
                    language,
                    "here stand events: `on` and one of {names}",
                    "aquí van eventos: `on` y uno de {names}"
                )));
            }
            let Some(event) = events.iter().copied().find(|event| event.name() == line.rest()) else {
                return Err(line.mistake(unknown(line.rest(), &names, language)));
            };
            if side.has(event) {
                let name = event.name();
                let sentence = words!(language, "there is an `on {name}` already", "ya hay un `on {name}`");
                return Err(line.mistake(sentence));
            }
            let block = self.inner(&line, place)?;
            side.blocks.push((event, block));
        }
        side.prints = self.printing.is_some_and(|(side, _)| side == line.number);
        Ok(side)
    }

    /// The indentation of the next line, if it is deeper than that of `line`.
    fn indent_below(&mut self, line: &Line) -> Option<usize> {
        self.lines.peek().map(|below| below.indent).filter(|indent| *indent > line.indent)
    }

    fn check_depth(&self, line: &Line, place: Place) -> Result<(), Mistake> {
        if place.depth < DEPTH {
            return Ok(());
        }
        Err(line.mistake(words!(
            self.language,
            "blocks are nested at most {DEPTH} deep",
            "los bloques se anidan como máximo {DEPTH} veces"
        )))
    }

    /// A text to print: it must not be mistaken for a letter or for another text.
    fn print(&mut self, line: &Line, place: Place) -> Result<Rc<str>, Mistake> {
        let language = self.language;
        let text = self.text(line)?;
        let is_plain = |c: char| c.is_alphanumeric() || c == ' ' || c == '_';
        if text.chars().count() < 2 || !text.chars().all(is_plain) {
            return Err(line.mistake(words!(
                language,
                "a printed text has at least two characters: letters, digits, spaces and _",
                "un texto impreso tiene al menos dos caracteres: letras, cifras, espacios y _"
            )));
        }
        // An answer names lines by letters, too: "a b" would be the first line and the second one.
        let is_letter = |word: &str| matches!(word.as_bytes(), [b'a'..=b'z']);
        if let Some(word) = text.split(' ').find(|word| is_letter(&word.to_lowercase())) {
            return Err(line.mistake(words!(
                language,
                "a word of a printed text has at least two letters: in an answer `{word}` is the letter of a line",
                "una palabra de un texto impreso tiene al menos dos letras: en una respuesta `{word}` es la letra de una \
                 línea"
            )));
        }
        if let Some((_, number)) = self.prints.iter().find(|(known, _)| known.to_lowercase() == text.to_lowercase()) {
            return Err(line.mistake(words!(
                language,
                "line {number} prints the same text; each text is printed once",
                "la línea {number} imprime el mismo texto; cada texto se imprime una vez"
            )));
        }
        if self.prints.len() == PRINTS {
            return Err(line.mistake(words!(
                language,
                "a program prints at most {PRINTS} lines",
                "un programa imprime como máximo {PRINTS} líneas"
            )));
        }
        if let Some(side) = place.side {
            let (printing, number) = *self.printing.get_or_insert((side, line.number));
            if printing != side {
                return Err(line.mistake(words!(
                    language,
                    "line {number} prints an event of another `server` or `connect`; print the events of one of them \
                     only, because Node serves sockets in any order",
                    "la línea {number} imprime un evento de otro `server` o `connect`; imprime los eventos de uno solo, \
                     porque Node atiende los sockets en cualquier orden"
                )));
            }
        }
        self.prints.push((Rc::clone(&text), line.number));
        Ok(text)
    }

    fn text(&self, line: &Line) -> Result<Rc<str>, Mistake> {
        let (word, text) = (line.word(), line.rest());
        match text.chars().count() {
            0 => Err(line.mistake(words!(
                self.language,
                "`{word}` needs a text, such as `{word} hola`",
                "`{word}` necesita un texto, como `{word} hola`"
            ))),
            1..=TEXT => Ok(text.into()),
            _ => Err(line.mistake(words!(
                self.language,
                "a text has at most {TEXT} characters",
                "un texto tiene como máximo {TEXT} caracteres"
            ))),
        }
    }

    fn time(&self, line: &Line) -> Result<Duration, Mistake> {
        let word = line.word();
        match line.rest().parse::<u64>() {
            Ok(ms) if ms <= MOST_MS => Ok(Duration::from_millis(ms)),
            _ => Err(line.mistake(words!(
                self.language,
                "`{word}` needs a time in milliseconds, from 0 to {MOST_MS}, such as `{word} 5`",
                "`{word}` necesita un tiempo en milisegundos, de 0 a {MOST_MS}, como `{word} 5`"
            ))),
        }
    }

    fn nothing_behind(&self, line: &Line) -> Result<(), Mistake> {
        if line.rest().is_empty() {
            return Ok(());
        }
        let word = line.word();
        Err(line.mistake(words!(self.language, "`{word}` stands alone on its line", "`{word}` va solo en su línea")))
    }
}

const STATEMENT_WORDS: &[&str] =
    &["print", "work", "tick", "microtask", "immediate", "timeout", "server", "connect", "write", "end", "destroy"];

fn unknown(word: &str, known: &[&str], language: Language) -> String {
    let (word, known) = (word.escape_debug(), known.join(", "));
    words!(language, "there is no `{word}`; there are {known}", "no existe `{word}`; existen {known}")
}

#[cfg(test)]
mod tests;
