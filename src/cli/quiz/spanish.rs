//! The questions in Spanish, in the order of [`QUESTIONS`](super::questions::QUESTIONS).
//!
//! Names of the loop (tick, immediate, `on_close`) stay as they are in the programs.

/// Title, hint and lesson of a question.
pub(crate) struct Words {
    pub(crate) title: &'static str,
    pub(crate) hint: &'static str,
    pub(crate) lesson: &'static str,
}

pub(crate) const SPANISH: &[Words] = &[
    Words {
        title: "cuerpo principal, tick, microtarea",
        hint: "Un callback aplazado nunca corre mientras corre otro, y el cuerpo principal cuenta como uno. Después de \
               él: los ticks, luego las microtareas.",
        lesson: "Un callback corre hasta su final; después corren todos los ticks, después todas las microtareas.",
    },
    Words {
        title: "un tick que agenda un tick",
        hint: "Los ticks son una sola cola. El bucle la vacía entera, también los ticks que se agregan mientras tanto.",
        lesson: "Un tick agendado por un tick va al final de la cola, y aun así corre antes de la primera microtarea.",
    },
    Words {
        title: "una microtarea que agenda un tick",
        hint: "El bucle vacía por completo una de las dos colas antes de mirar la otra.",
        lesson: "Mientras corren microtareas, un tick espera hasta que no quede ninguna, tampoco de las nuevas.",
    },
    Words {
        title: "un immediate que agenda un immediate",
        hint: "La fase check corre los immediates que existían cuando empezó. ¿Cuándo se vacían los ticks?",
        lesson: "Los ticks corren entre dos immediates. Un immediate agendado por un immediate corre una vuelta después.",
    },
    Words {
        title: "temporizadores de plazos iguales y distintos",
        hint: "Todos han vencido cuando termina el cuerpo principal. Y no existe un plazo de 0 ms.",
        lesson: "Los temporizadores corren en el orden de sus vencimientos; los de igual plazo, en el orden en que se \
                 armaron. Un plazo de 0 significa 1 ms.",
    },
    Words {
        title: "entre dos temporizadores",
        hint: "Los dos corren en una misma fase timers. ¿Cuándo se vacían los ticks: después de una fase, o después de \
               un callback?",
        lesson: "Los ticks y las microtareas se vacían después de cada callback, no solo entre fases.",
    },
    Words {
        title: "un cuerpo principal lento: timeout o immediate",
        hint: "El timeout ha vencido cuando termina el cuerpo principal. ¿Mira el bucle los temporizadores antes de la \
               primera fase check?",
        lesson: "El bucle mira los temporizadores una vez antes de la primera vuelta. Uno que ya venció corre antes de \
                 todo immediate.",
    },
    Words {
        title: "timeout de 0 o immediate, desde el cuerpo principal",
        hint: "El orden depende de si ha pasado un milisegundo cuando arranca el bucle. ¿Puede un programa confiar en \
               eso?",
        lesson: "Desde el cuerpo principal es una carrera, también en Node. El timeout corre primero si ha pasado un \
                 milisegundo (0 cuenta como 1) cuando el bucle mira sus temporizadores; si no, el immediate. No \
                 confíes en ninguno de los dos.",
    },
    Words {
        title: "un temporizador que arma un temporizador",
        hint: "Durante una fase timers la hora del bucle no cambia, aunque un callback sea lento.",
        lesson: "Un temporizador armado en la fase timers nunca corre en esa misma fase. Entre medio hay una vuelta \
                 entera, con su fase check.",
    },
    Words {
        title: "timeout o immediate, desde E/S",
        hint: "El callback corre en la fase poll. ¿Qué fase sigue: check, close o timers?",
        lesson: "Desde un callback de E/S no es una carrera: después de la fase poll viene check, así que el immediate \
                 corre primero.",
    },
    Words {
        title: "el último evento de un socket",
        hint: "destroy cierra el descriptor de inmediato, pero nunca llama a un callback. ¿En qué fase corre on_close?",
        lesson: "on_close corre en la fase close de la vuelta, después de los ticks y de los immediates.",
    },
    Words {
        title: "datos, y después el final",
        hint: "Una lectura que no llena el búfer termina el turno del socket en esta vuelta. El FIN viene después de \
               los datos.",
        lesson: "Los datos vienen antes que el final. En TCP el final se lee una vuelta después, así que los immediates \
                 corren entre medio.",
    },
    Words {
        title: "tres sockets destruidos en un callback",
        hint: "libuv guarda los handles que se cierran en una lista, y agrega cada uno nuevo al comienzo.",
        lesson: "El socket que se destruyó último recibe primero su on_close. Los ticks se vacían después de cada \
                 on_close.",
    },
    Words {
        title: "un error, y después close",
        hint: "destroy_with no llama a on_error por sí mismo. Aplaza la llamada, pero no por mucho.",
        lesson: "on_error corre como un tick, en fila con los otros ticks. on_close espera la fase close.",
    },
    Words {
        title: "finish, end, close",
        hint: "Nuestro lado termina primero. ¿Qué tiene que llegar al otro lado antes de que pueda terminar también?",
        lesson: "El callback y on_finish corren cuando se envía nuestro FIN, on_end cuando llega el FIN del otro lado, \
                 después on_close.",
    },
    Words {
        title: "el callback de una escritura, entre ticks",
        hint: "El núcleo toma cuatro bytes de inmediato. Aun así, una escritura nunca llama a su callback antes de \
               retornar.",
        lesson: "Si una escritura se completa de inmediato, su callback es un tick. La escritura lo pone en la cola, en \
                 fila con tus propios ticks.",
    },
    Words {
        title: "una lista de temporizadores que se adelanta",
        hint: "Vencen a los 10, 20 y 25 ms. Pero los temporizadores de igual plazo comparten una lista.",
        lesson: "Una lista de temporizadores que ha empezado corre todos los suyos que han vencido. Por eso un \
                 temporizador puede correr antes que uno que venció primero.",
    },
    Words {
        title: "drain y los callbacks de las escrituras",
        hint: "Cada escritura está completa solo cuando el núcleo ha tomado todos sus bytes. ¿Qué callback corre \
               entonces primero?",
        lesson: "Cuando todos los bytes de la cola se han enviado, primero corre on_drain, después los callbacks de las \
                 escrituras, en orden.",
    },
    Words {
        title: "un servidor y su último socket",
        hint: "Un socket destruido ya no cuenta como conexión. ¿Qué espera el servidor?",
        lesson: "on_server_close corre como un tick después de que se destruye la última conexión: antes del on_close \
                 de esa conexión.",
    },
    Words {
        title: "una vuelta entera al bucle",
        hint: "poll, check, close, timers; y después de cada callback los ticks, luego las microtareas.",
        lesson: "Después de un callback: ticks, luego microtareas. Después check, close, timers. Un immediate anidado \
                 espera la vuelta siguiente.",
    },
];

#[cfg(test)]
mod tests {
    use super::super::questions::QUESTIONS;
    use super::*;

    /// Names in the words of a question, such as `on_close`: they are the same in both languages.
    fn names(text: &str) -> Vec<&str> {
        let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
        let mut names: Vec<_> = words.filter(|word| word.contains('_')).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    #[test]
    fn every_question_has_its_words() {
        assert_eq!(SPANISH.len(), QUESTIONS.len());
        for (spanish, question) in SPANISH.iter().zip(QUESTIONS) {
            for (spanish, english) in
                [(spanish.title, question.title), (spanish.hint, question.hint), (spanish.lesson, question.lesson)]
            {
                assert_eq!(names(spanish), names(english), "{spanish} / {english}");
                assert_eq!(spanish.contains('?'), english.contains('?'), "{spanish} / {english}");
                assert_eq!(spanish.matches('¿').count(), spanish.matches('?').count(), "{spanish}");
            }
        }
    }
}
