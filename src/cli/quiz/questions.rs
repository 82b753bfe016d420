//! The questions of the quiz, from the easy ones to the hard ones, in both languages.

use super::language::{Language, Text};
use super::programs::{self, Function};
use super::question::Question;
use super::stage::Time;

/// A question in both languages. The fields are those of [`Question`].
struct Entry {
    title: Text,
    difficulty: usize,
    program: Function,
    time: Time,
    hint: Text,
    lesson: Text,
}

pub(crate) const HARDEST: usize = 5;

/// The questions in a language, in their order.
pub(crate) fn questions(language: Language) -> Vec<Question> {
    let question = |entry: &Entry| Question {
        title: entry.title.get(language).to_owned(),
        difficulty: Some(entry.difficulty),
        program: Box::new(entry.program),
        time: entry.time,
        hint: Some(entry.hint.get(language).to_owned()),
        lesson: Some(entry.lesson.get(language).to_owned()),
    };
    ENTRIES.iter().map(question).collect()
}

const ENTRIES: &[Entry] = &[
    Entry {
        title: Text { en: "main body, tick, microtask", es: "cuerpo principal, tick, microtarea" },
        difficulty: 1,
        program: programs::MAIN_TICK_MICROTASK,
        time: Time::ByHand,
        hint: Text {
            en: "Deferred callbacks never run while a callback runs, and the main body counts as one. After it: \
                 ticks, then microtasks.",
            es: "Un callback aplazado nunca corre mientras corre otro, y el cuerpo principal cuenta como uno. Después \
                 de él: los ticks, luego las microtareas.",
        },
        lesson: Text {
            en: "A callback runs to its end; then all ticks run, then all microtasks.",
            es: "Un callback corre hasta su final; después corren todos los ticks, después todas las microtareas.",
        },
    },
    Entry {
        title: Text { en: "a tick that schedules a tick", es: "un tick que agenda un tick" },
        difficulty: 1,
        program: programs::TICKS_OF_TICKS,
        time: Time::ByHand,
        hint: Text {
            en: "The ticks are one queue. The loop empties it completely, including the ticks that are added \
                 meanwhile.",
            es: "Los ticks son una sola cola. El bucle la vacía entera, también los ticks que se agregan mientras \
                 tanto.",
        },
        lesson: Text {
            en: "A tick scheduled by a tick goes to the end of the queue, and still runs before the first microtask.",
            es: "Un tick agendado por un tick va al final de la cola, y aun así corre antes de la primera microtarea.",
        },
    },
    Entry {
        title: Text { en: "a microtask that schedules a tick", es: "una microtarea que agenda un tick" },
        difficulty: 2,
        program: programs::TICKS_OF_MICROTASKS,
        time: Time::ByHand,
        hint: Text {
            en: "The loop empties one of the two queues completely before it looks at the other one.",
            es: "El bucle vacía por completo una de las dos colas antes de mirar la otra.",
        },
        lesson: Text {
            en: "While microtasks run, a tick waits until no microtask is left, including new ones.",
            es: "Mientras corren microtareas, un tick espera hasta que no quede ninguna, tampoco de las nuevas.",
        },
    },
    Entry {
        title: Text { en: "an immediate that schedules an immediate", es: "un immediate que agenda un immediate" },
        difficulty: 2,
        program: programs::NESTED_IMMEDIATES,
        time: Time::ByHand,
        hint: Text {
            en: "The check phase runs the immediates that existed when it began. When are ticks drained?",
            es: "La fase check corre los immediates que existían cuando empezó. ¿Cuándo se vacían los ticks?",
        },
        lesson: Text {
            en: "Ticks run between two immediates. An immediate scheduled by an immediate runs one turn later.",
            es: "Los ticks corren entre dos immediates. Un immediate agendado por un immediate corre una vuelta \
                 después.",
        },
    },
    Entry {
        title: Text {
            en: "timers of equal and of different delays",
            es: "temporizadores de plazos iguales y distintos",
        },
        difficulty: 2,
        program: programs::EQUAL_AND_OTHER_DELAYS,
        time: Time::ByHand,
        hint: Text {
            en: "All of them are due when the main body ends. And there is no delay of 0 ms.",
            es: "Todos han vencido cuando termina el cuerpo principal. Y no existe un plazo de 0 ms.",
        },
        lesson: Text {
            en: "Timers run in the order of their due times, timers of equal delay in the order of arming. A delay of \
                 0 means 1 ms.",
            es: "Los temporizadores corren en el orden de sus vencimientos; los de igual plazo, en el orden en que se \
                 armaron. Un plazo de 0 significa 1 ms.",
        },
    },
    Entry {
        title: Text { en: "between two timers", es: "entre dos temporizadores" },
        difficulty: 2,
        program: programs::BETWEEN_TWO_TIMERS,
        time: Time::ByHand,
        hint: Text {
            en: "Both timers run in one timers phase. When are ticks drained: after a phase, or after a callback?",
            es: "Los dos corren en una misma fase timers. ¿Cuándo se vacían los ticks: después de una fase, o después \
                 de un callback?",
        },
        lesson: Text {
            en: "Ticks and microtasks are drained after every callback, not only between phases.",
            es: "Los ticks y las microtareas se vacían después de cada callback, no solo entre fases.",
        },
    },
    Entry {
        title: Text {
            en: "a slow main body: timeout or immediate",
            es: "un cuerpo principal lento: timeout o immediate",
        },
        difficulty: 3,
        program: programs::LATE_FOR_THE_IMMEDIATE,
        time: Time::ByHand,
        hint: Text {
            en: "The timeout is due when the main body ends. Does the loop look at the timers before the first check \
                 phase?",
            es: "El timeout ha vencido cuando termina el cuerpo principal. ¿Mira el bucle los temporizadores antes de \
                 la primera fase check?",
        },
        lesson: Text {
            en: "The loop looks at the timers once before the first turn. A timer due by then runs before every \
                 immediate.",
            es: "El bucle mira los temporizadores una vez antes de la primera vuelta. Uno que ya venció corre antes \
                 de todo immediate.",
        },
    },
    Entry {
        title: Text {
            en: "timeout of 0 or immediate, from the main body",
            es: "timeout de 0 o immediate, desde el cuerpo principal",
        },
        difficulty: 3,
        program: programs::RACE,
        time: Time::Real,
        hint: Text {
            en: "The order depends on whether a millisecond has passed when the loop starts. Can a program rely on \
                 that?",
            es: "El orden depende de si ha pasado un milisegundo cuando arranca el bucle. ¿Puede un programa confiar \
                 en eso?",
        },
        lesson: Text {
            en: "From the main body it is a race by design, in Node too. The timeout runs first if a millisecond has \
                 passed (0 counts as 1) when the loop looks at its timers, else the immediate. Do not rely on either.",
            es: "Desde el cuerpo principal es una carrera, también en Node. El timeout corre primero si ha pasado un \
                 milisegundo (0 cuenta como 1) cuando el bucle mira sus temporizadores; si no, el immediate. No \
                 confíes en ninguno de los dos.",
        },
    },
    Entry {
        title: Text { en: "a timer that arms a timer", es: "un temporizador que arma un temporizador" },
        difficulty: 3,
        program: programs::TIMER_OF_A_TIMER,
        time: Time::ByHand,
        hint: Text {
            en: "During one timers phase the loop's time does not change, even if a callback is slow.",
            es: "Durante una fase timers la hora del bucle no cambia, aunque un callback sea lento.",
        },
        lesson: Text {
            en: "A timer armed in the timers phase never runs in the same phase. A whole turn with its check phase \
                 comes in between.",
            es: "Un temporizador armado en la fase timers nunca corre en esa misma fase. Entre medio hay una vuelta \
                 entera, con su fase check.",
        },
    },
    Entry {
        title: Text { en: "timeout or immediate, from I/O", es: "timeout o immediate, desde E/S" },
        difficulty: 3,
        program: programs::IMMEDIATE_AGAINST_TIMEOUT,
        time: Time::ByHand,
        hint: Text {
            en: "The callback runs in the poll phase. Which phase follows: check, close or timers?",
            es: "El callback corre en la fase poll. ¿Qué fase sigue: check, close o timers?",
        },
        lesson: Text {
            en: "From an I/O callback it is not a race: the check phase follows the poll phase, so the immediate runs \
                 first.",
            es: "Desde un callback de E/S no es una carrera: después de la fase poll viene check, así que el \
                 immediate corre primero.",
        },
    },
    Entry {
        title: Text { en: "the last event of a socket", es: "el último evento de un socket" },
        difficulty: 3,
        program: programs::CLOSE_WAITS,
        time: Time::ByHand,
        hint: Text {
            en: "destroy closes the descriptor immediately, but it never calls back. In which phase does on_close run?",
            es: "destroy cierra el descriptor de inmediato, pero nunca llama a un callback. ¿En qué fase corre \
                 on_close?",
        },
        lesson: Text {
            en: "on_close runs in the close phase of the turn, after the ticks and the immediates.",
            es: "on_close corre en la fase close de la vuelta, después de los ticks y de los immediates.",
        },
    },
    Entry {
        title: Text { en: "data, then the end", es: "datos, y después el final" },
        difficulty: 4,
        program: programs::DATA_AND_END,
        time: Time::ByHand,
        hint: Text {
            en: "A read that does not fill the buffer ends the socket's share of the turn. The FIN comes after the \
                 data.",
            es: "Una lectura que no llena el búfer termina el turno del socket en esta vuelta. El FIN viene después \
                 de los datos.",
        },
        lesson: Text {
            en: "Data come before the end. On TCP the end is read one turn later, so immediates run in between.",
            es: "Los datos vienen antes que el final. En TCP el final se lee una vuelta después, así que los \
                 immediates corren entre medio.",
        },
    },
    Entry {
        title: Text { en: "three sockets destroyed in one callback", es: "tres sockets destruidos en un callback" },
        difficulty: 4,
        program: programs::LAST_FIRST,
        time: Time::ByHand,
        hint: Text {
            en: "libuv keeps the closing handles in a list, and adds each new one at the front.",
            es: "libuv guarda los handles que se cierran en una lista, y agrega cada uno nuevo al comienzo.",
        },
        lesson: Text {
            en: "The socket that was destroyed last gets its on_close first. Ticks are drained after each on_close.",
            es: "El socket que se destruyó último recibe primero su on_close. Los ticks se vacían después de cada \
                 on_close.",
        },
    },
    Entry {
        title: Text { en: "an error, then close", es: "un error, y después close" },
        difficulty: 4,
        program: programs::ERROR_AND_CLOSE,
        time: Time::ByHand,
        hint: Text {
            en: "destroy_with does not call on_error itself. It defers the call, but not for long.",
            es: "destroy_with no llama a on_error por sí mismo. Aplaza la llamada, pero no por mucho.",
        },
        lesson: Text {
            en: "on_error runs as a tick, in line with the other ticks. on_close waits for the close phase.",
            es: "on_error corre como un tick, en fila con los otros ticks. on_close espera la fase close.",
        },
    },
    Entry {
        title: Text { en: "finish, end, close", es: "finish, end, close" },
        difficulty: 4,
        program: programs::FINISH_END_CLOSE,
        time: Time::ByHand,
        hint: Text {
            en: "Our side ends first. What must reach the peer before it can end too?",
            es: "Nuestro lado termina primero. ¿Qué tiene que llegar al otro lado antes de que pueda terminar también?",
        },
        lesson: Text {
            en: "The callback and on_finish run when our FIN is sent, on_end when the peer's FIN has arrived, then \
                 on_close.",
            es: "El callback y on_finish corren cuando se envía nuestro FIN, on_end cuando llega el FIN del otro \
                 lado, después on_close.",
        },
    },
    Entry {
        title: Text { en: "the callback of a write, among ticks", es: "el callback de una escritura, entre ticks" },
        difficulty: 4,
        program: programs::WRITTEN,
        time: Time::ByHand,
        hint: Text {
            en: "The kernel takes four bytes immediately. Even so, a write never calls back before it returns.",
            es: "El núcleo toma cuatro bytes de inmediato. Aun así, una escritura nunca llama a su callback antes de \
                 retornar.",
        },
        lesson: Text {
            en: "If a write is done immediately, its callback is a tick. The write queues it, in line with your own \
                 ticks.",
            es: "Si una escritura se completa de inmediato, su callback es un tick. La escritura lo pone en la cola, \
                 en fila con tus propios ticks.",
        },
    },
    Entry {
        title: Text { en: "a timer list that overtakes", es: "una lista de temporizadores que se adelanta" },
        difficulty: 5,
        program: programs::LIST_RUNS_AHEAD,
        time: Time::ByHand,
        hint: Text {
            en: "They are due at 10, 20 and 25 ms. But timers of equal delay share one list.",
            es: "Vencen a los 10, 20 y 25 ms. Pero los temporizadores de igual plazo comparten una lista.",
        },
        lesson: Text {
            en: "A timer list that has begun runs all of its due timers. So a timer may run before one that was due \
                 earlier.",
            es: "Una lista de temporizadores que ha empezado corre todos los suyos que han vencido. Por eso un \
                 temporizador puede correr antes que uno que venció primero.",
        },
    },
    Entry {
        title: Text { en: "drain and the callbacks of writes", es: "drain y los callbacks de las escrituras" },
        difficulty: 5,
        program: programs::DRAINED,
        time: Time::ByHand,
        hint: Text {
            en: "Each write is done only when the kernel has taken all of its bytes. Which callback runs first then?",
            es: "Cada escritura está completa solo cuando el núcleo ha tomado todos sus bytes. ¿Qué callback corre \
                 entonces primero?",
        },
        lesson: Text {
            en: "When all queued bytes are sent, on_drain runs first, then the callbacks of the writes in order.",
            es: "Cuando todos los bytes de la cola se han enviado, primero corre on_drain, después los callbacks de \
                 las escrituras, en orden.",
        },
    },
    Entry {
        title: Text { en: "a server and its last socket", es: "un servidor y su último socket" },
        difficulty: 5,
        program: programs::SERVER_FIRST,
        time: Time::ByHand,
        hint: Text {
            en: "A destroyed socket no longer counts as a connection. What does the server wait for?",
            es: "Un socket destruido ya no cuenta como conexión. ¿Qué espera el servidor?",
        },
        lesson: Text {
            en: "on_server_close runs as a tick after the last connection is destroyed: before the on_close of that \
                 connection.",
            es: "on_server_close corre como un tick después de que se destruye la última conexión: antes del on_close \
                 de esa conexión.",
        },
    },
    Entry {
        title: Text { en: "once around the loop", es: "una vuelta entera al bucle" },
        difficulty: 5,
        program: programs::ROUND_THE_LOOP,
        time: Time::ByHand,
        hint: Text {
            en: "poll, check, close, timers; and after every callback the ticks, then the microtasks.",
            es: "poll, check, close, timers; y después de cada callback los ticks, luego las microtareas.",
        },
        lesson: Text {
            en: "After a callback: ticks, then microtasks. Then check, close, timers. A nested immediate waits for \
                 the next turn.",
            es: "Después de un callback: ticks, luego microtareas. Después check, close, timers. Un immediate anidado \
                 espera la vuelta siguiente.",
        },
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_get_harder_and_show_the_names_in_node() {
        let questions = questions(Language::English);
        assert!(questions.len() >= 12);
        assert!(questions.is_sorted_by_key(|question| question.difficulty));
        for question in questions {
            let title = &question.title;
            assert!(question.difficulty.is_some_and(|difficulty| (1..=HARDEST).contains(&difficulty)), "{title}");
            assert!(!question.program.node_names(Language::English).is_empty(), "{title}");
            assert!(question.hint.is_some_and(|hint| hint.ends_with(['.', '?'])), "{title}");
            assert!(question.lesson.is_some_and(|lesson| lesson.ends_with('.')), "{title}");
        }
    }

    /// A line must not be mistaken for a letter, nor for another line.
    #[test]
    fn lines_are_distinct_in_an_answer() {
        for question in questions(Language::English) {
            let texts = question.texts();
            for (place, text) in texts.iter().enumerate() {
                assert!(text.len() > 1 && text.to_lowercase() == *text, "{text}");
                assert!(!texts[..place].contains(text), "{text}");
            }
        }
    }

    /// Names in the words of a question, such as `on_close`: they are the same in both languages.
    fn names(text: &str) -> Vec<&str> {
        let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
        let mut names: Vec<_> = words.filter(|word| word.contains('_')).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    #[test]
    fn both_languages_name_the_same_things() {
        for entry in ENTRIES {
            for Text { en, es } in [entry.title, entry.hint, entry.lesson] {
                assert_eq!(names(es), names(en), "{es} / {en}");
                assert_eq!(es.contains('?'), en.contains('?'), "{es} / {en}");
                assert_eq!(es.matches('¿').count(), es.matches('?').count(), "{es}");
            }
        }
    }
}
