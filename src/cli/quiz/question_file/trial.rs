//! The trial of a program, before its question is asked.
//!
//! It shows what the text cannot: whether each line is printed exactly once, whether the program ends, and whether the
//! order is the same each time, also on a slow computer.

use std::rc::Rc;

use super::lines::Mistake;
use super::program::Written;
use super::watch::{Slowness, Unhandled, Watch};
use crate::cli::quiz::language::{Language, words};
use crate::cli::quiz::stage::{self, Time};

/// How often a program runs.
const RUNS: usize = 3;

/// How often a program with timers runs slowly, each time in another way. A wait for a timer takes half a second if
/// there are connections (`stage.rs`), so there are fewer runs then.
const SLOW_RUNS: u64 = 50;
const SLOW_RUNS_WITH_SOCKETS: u64 = 5;

/// The printed texts, and the number of the line of each.
type Prints = [(Rc<str>, usize)];

/// Tries a program.
///
/// # Errors
/// Why it is no question.
pub(super) fn run(program: &Written, prints: &Prints, language: Language) -> Result<(), Mistake> {
    let first_order = order(program, prints, &Watch::new(Slowness::None), language)?;
    for _ in 1..RUNS {
        if order(program, prints, &Watch::new(Slowness::None), language)? != first_order {
            let sentence = words!(
                language,
                "the order differs from run to run; print the events of one side of a connection only",
                "el orden cambia de una corrida a otra; imprime los eventos de un solo lado de una conexión"
            );
            return Err(Mistake { line: first_line(prints), sentence });
        }
    }
    if program.has("server") {
        check_late_side(program, prints, &first_order, language)?;
    }
    if !program.has("timeout") {
        return Ok(());
    }
    let runs = if program.has("server") { SLOW_RUNS_WITH_SOCKETS } else { SLOW_RUNS };
    for slowness in std::iter::once(Slowness::All).chain((1..runs).map(Slowness::Some)) {
        let slow = order(program, prints, &Watch::new(slowness), language).ok();
        if slow.as_ref() != Some(&first_order) {
            return Err(race(&first_order, slow.as_deref(), prints, language));
        }
    }
    Ok(())
}

/// Node may serve the two sockets of a connection in another order.
fn check_late_side(
    program: &Written,
    prints: &Prints,
    first_order: &[String],
    language: Language,
) -> Result<(), Mistake> {
    let watch = Watch::of_late_side();
    let is_same = match order(program, prints, &watch, language) {
        Ok(late) => late == first_order,
        // Only the side that acts late may have got an error by that.
        Err(_) if watch.reset_behind_bytes().is_some() => true,
        Err(_) => watch.first_unhandled().is_some_and(|unhandled| unhandled.is_quiet),
    };
    if is_same {
        return Ok(());
    }
    let sentence = words!(
        language,
        "what is printed depends on which side of a connection is served first; let the side that prints nothing act \
         later, in a `timeout 50`",
        "lo que se imprime depende de qué lado de una conexión se atiende primero; haz que el lado que no imprime actúe \
         más tarde, en un `timeout 50`"
    );
    Err(Mistake { line: first_line(prints), sentence })
}

/// Runs a program, and returns the lines that it has printed: each text once.
fn order(program: &Written, prints: &Prints, watch: &Rc<Watch>, language: Language) -> Result<Vec<String>, Mistake> {
    let main = |lp: &mut bucle::Loop| program.start_watched(lp, Rc::clone(watch));
    let run = stage::run_with(main, Time::ByHand, |lp| {
        watch.begin(lp);
        Ok(())
    });
    if let Some(line) = watch.reset_behind_bytes() {
        let sentence = words!(
            language,
            "a reset arrives here together with bytes, because the other side is destroyed before it has read all; there \
             Node reports an end, and bucle an error; let the other side read first, or `end`",
            "aquí llega un reset junto con bytes, porque el otro lado se destruye antes de leer todo; ahí Node informa un \
             final, y bucle un error; haz que el otro lado lea primero, o que termine con `end`"
        );
        return Err(Mistake { line, sentence });
    }
    if let Some(Unhandled { line, code, .. }) = watch.first_unhandled() {
        let sentence = words!(
            language,
            "the error {code} arrives here, where no `on error` handles it, and ends the program, as in Node; add an \
             `on error`, or avoid the error",
            "aquí llega el error {code}, que ningún `on error` maneja, y termina el programa, igual que en Node; agrega \
             un `on error`, o evita el error"
        );
        return Err(Mistake { line, sentence });
    }
    let unread = |mistake| watch.unread().map_or(mistake, |line| nothing_reads(line, language));
    let run = match run {
        Ok(run) => run,
        Err(error) if error.code() == stage::NO_END => {
            let sentence = words!(
                language,
                "the program cannot run: it does not end; each connection must be ended or destroyed",
                "el programa no puede correr: no termina; hay que terminar o destruir cada conexión"
            );
            return Err(unread(Mistake { line: first_line(prints), sentence }));
        }
        Err(error) => {
            let code = error.code();
            let sentence = words!(language, "the program cannot run: {code}", "el programa no puede correr: {code}");
            return Err(Mistake { line: first_line(prints), sentence });
        }
    };
    let order: Vec<String> = run.order().into_iter().map(str::to_owned).collect();
    for (text, line) in prints {
        let sentence = match order.iter().filter(|printed| ***printed == **text).count() {
            1 => continue,
            0 => {
                let sentence = words!(language, "\"{text}\" is never printed", "\"{text}\" no se imprime nunca");
                return Err(unread(Mistake { line: *line, sentence }));
            }
            count => words!(
                language,
                "\"{text}\" is printed {count} times; each line must be printed once",
                "\"{text}\" se imprime {count} veces; cada línea se tiene que imprimir una vez"
            ),
        };
        return Err(Mistake { line: *line, sentence });
    }
    Ok(order)
}

/// A slow run printed something else. `None`: not each text once.
fn race(first: &[String], slow: Option<&[String]>, prints: &Prints, language: Language) -> Mistake {
    let difference = slow.and_then(|slow| first.iter().zip(slow).find(|(one, other)| one != other));
    let Some((one, other)) = difference else {
        let sentence = words!(
            language,
            "what is printed depends on how fast the computer is, in Node too; let the times differ by more, or pass \
             them with `work`",
            "lo que se imprime depende de la velocidad del computador, también en Node; usa tiempos más distintos, o \
             hazlos pasar con `work`"
        );
        return Mistake { line: first_line(prints), sentence };
    };
    let sentence = words!(
        language,
        "\"{one}\" and \"{other}\" are a race: which is first depends on how fast the computer is, in Node too; let \
         the times differ by more, or pass them with `work`",
        "\"{one}\" y \"{other}\" son una carrera: cuál viene primero depende de la velocidad del computador, también en \
         Node; usa tiempos más distintos, o hazlos pasar con `work`"
    );
    let line_of = |text: &str| prints.iter().find(|(known, _)| **known == *text).map(|(_, line)| *line);
    Mistake { line: line_of(one).max(line_of(other)).unwrap_or(1), sentence }
}

/// Bytes arrived at a side without an `on data`, and the program has not done what it should.
fn nothing_reads(line: usize, language: Language) -> Mistake {
    let sentence = words!(
        language,
        "bytes arrive here and nothing reads them, so `end` does not come, as in Node; add an `on data`",
        "aquí llegan bytes y nada los lee, así que `end` no llega, igual que en Node; agrega un `on data`"
    );
    Mistake { line, sentence }
}

fn first_line(prints: &Prints) -> usize {
    prints.first().map_or(1, |(_, line)| *line)
}
