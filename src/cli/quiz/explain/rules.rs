//! The rules of the loop as sentences: why a callback of one kind, phase and turn ran before another one.

use bucle::trace::{Kind, Phase, Record};

use crate::cli::quiz::language::{Language, Text, words};

/// The rule for callbacks in different phases or turns. `is_caused_in_this_phase`: the second one was caused in its own
/// phase of an earlier turn.
pub(super) fn between_phases(
    first: &Record,
    second: &Record,
    is_caused_in_this_phase: bool,
    language: Language,
) -> String {
    if first.turn == second.turn {
        let (before, after) = (first.phase.as_str(), second.phase.as_str());
        return match (first.phase, second.phase) {
            (Phase::Main, Phase::Timers) => words!(
                language,
                "The loop looks at the timers only after the main body and its ticks.",
                "El bucle mira los temporizadores solo después del cuerpo principal y de sus ticks."
            ),
            (_, Phase::Pending) => words!(
                language,
                "Work that a poll leaves pending is done right after that poll.",
                "El trabajo que un poll deja pendiente se hace justo después de ese poll."
            ),
            _ => words!(
                language,
                "In every turn the {after} phase comes after the {before} phase.",
                "En cada vuelta la fase {after} viene después de la fase {before}."
            ),
        };
    }
    let (earlier, later) = (first.turn, second.turn);
    match (second.kind, first) {
        (Kind::Immediate, _) if is_caused_in_this_phase => words!(
            language,
            "An immediate scheduled in the check phase waits for the check phase of the next turn.",
            "Un immediate agendado en la fase check espera la fase check de la vuelta siguiente."
        ),
        (Kind::Timer, _) if is_caused_in_this_phase => words!(
            language,
            "A timer armed in the timers phase waits for the next timers phase, even if it is due: a whole turn comes \
             in between.",
            "Un temporizador armado en la fase timers espera la siguiente fase timers, aunque haya vencido: entre medio \
             hay una vuelta entera."
        ),
        (_, Record { turn: 0, phase: Phase::Timers, .. }) => words!(
            language,
            "Timers that are due at the end of the main body run before the first turn.",
            "Los temporizadores que han vencido al final del cuerpo principal corren antes de la primera vuelta."
        ),
        (_, Record { turn: 0, .. }) => words!(
            language,
            "The main body and all of its ticks run before the first turn.",
            "El cuerpo principal y todos sus ticks corren antes de la primera vuelta."
        ),
        _ => words!(
            language,
            "Turn {earlier} is over before turn {later} begins.",
            "La vuelta {earlier} termina antes de que empiece la vuelta {later}."
        ),
    }
}

/// The rule inside one phase, and for the ticks that are drained in it.
pub(super) fn within_phase(first: Kind, second: Kind) -> Text {
    match (first, second) {
        (Kind::Tick, Kind::Tick) => Text {
            en: "Ticks run in the order in which they were scheduled.",
            es: "Los ticks corren en el orden en que se agendaron.",
        },
        (Kind::Microtask, Kind::Microtask) => Text {
            en: "Microtasks run in the order in which they were scheduled.",
            es: "Las microtareas corren en el orden en que se agendaron.",
        },
        (Kind::OnDrain, Kind::Callback) => Text {
            en: "When all queued bytes are sent, on_drain runs first, then the callbacks of the writes.",
            es: "Cuando se han enviado todos los bytes de la cola, primero corre on_drain, después los callbacks de las \
                 escrituras.",
        },
        (Kind::Callback, Kind::Callback) => Text {
            en: "The callbacks of a socket's writes run in the order of the writes.",
            es: "Los callbacks de las escrituras de un socket corren en el orden de las escrituras.",
        },
        (Kind::Callback, Kind::OnFinish) => Text {
            en: "The callback of an end runs before on_finish.",
            es: "El callback de un end corre antes que on_finish.",
        },
        (Kind::Microtask, second) if is_deferred(second) => Text {
            en: "While microtasks run, a new tick waits until no microtask is left.",
            es: "Mientras corren microtareas, un tick nuevo espera hasta que no quede ninguna.",
        },
        (first, Kind::Microtask) if is_deferred(first) => Text {
            en: "All ticks run before the first microtask.",
            es: "Todos los ticks corren antes que la primera microtarea.",
        },
        (first, second) if is_deferred(first) && is_deferred(second) => Text {
            en: "Both were deferred to the tick queue, which runs in the order in which it was filled.",
            es: "Los dos se aplazaron a la cola de ticks, que corre en el orden en que se llenó.",
        },
        (first, _) if is_deferred(first) || first == Kind::Microtask => Text {
            en: "After every callback the ticks and microtasks are drained, before the next callback of the phase.",
            es: "Después de cada callback se vacían los ticks y las microtareas, antes del siguiente callback de la \
                 fase.",
        },
        (Kind::Immediate, Kind::Immediate) => Text {
            en: "Immediates run in the order in which they were scheduled.",
            es: "Los immediates corren en el orden en que se agendaron.",
        },
        (Kind::OnClose, Kind::OnClose) => Text {
            en: "The sockets that wait for the close phase form a stack: the socket destroyed last gets its on_close \
                 first.",
            es: "Los sockets que esperan la fase close forman una pila: el que se destruyó último recibe primero su \
                 on_close.",
        },
        _ => Text {
            en: "They ran in one phase, in the order in which the loop reached them.",
            es: "Corrieron en una misma fase, en el orden en que el bucle llegó a ellos.",
        },
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
