//! The questions, from the easy ones to the hard ones.

use super::programs::{self, Program};
use super::stage::Time;

/// A program, and the question in which order its lines are printed.
pub(crate) struct Question {
    pub(crate) title: &'static str,
    /// From 1 to [`HARDEST`].
    pub(crate) difficulty: usize,
    pub(crate) program: Program,
    /// With the real clock no order is promised: the program is a race, and every answer is right.
    pub(crate) time: Time,
    /// Helps without giving the answer.
    pub(crate) hint: &'static str,
    /// The rule to remember.
    pub(crate) lesson: &'static str,
}

pub(crate) const HARDEST: usize = 5;

impl Question {
    pub(crate) fn is_race(&self) -> bool {
        self.time == Time::Real
    }

    /// Node's names of the calls in the program, as `set_immediate = setImmediate`.
    pub(crate) fn node_names(&self) -> Vec<String> {
        let source = self.program.source();
        let used = NODE_NAMES.iter().filter(|(call, _, _)| source.contains(call));
        used.map(|(_, name, node)| format!("{name} = {node}")).collect()
    }
}

/// The text to look for in a source, the name of the call, and Node's name.
const NODE_NAMES: &[(&str, &str, &str)] = &[
    ("lp.next_tick(", "next_tick", "process.nextTick"),
    ("lp.queue_microtask(", "queue_microtask", "queueMicrotask, or a promise's then"),
    ("lp.set_immediate(", "set_immediate", "setImmediate"),
    ("lp.set_timeout(", "set_timeout", "setTimeout"),
    ("serve(lp", "serve", "net.createServer().listen(0).unref()"),
    ("Socket::connect(", "Socket::connect", "net.connect"),
    (".connection(|", "on().connection", "server.on('connection')"),
    (".connect(|", "on().connect", "socket.on('connect')"),
    (".data(|", "on().data", "socket.on('data')"),
    (".drain(|", "on().drain", "socket.on('drain')"),
    (".end(|", "on().end", "socket.on('end')"),
    (".finish(|", "on().finish", "socket.on('finish')"),
    (".error(|", "on().error", "socket.on('error')"),
    (".close(|", "on().close", "socket.on('close')"),
    (".server_close(|", "on().server_close", "server.on('close')"),
    (".write_then(", "write_then", "socket.write(data, callback)"),
    (".end_with(", "end_with", "socket.end(data)"),
    (".end_then(", "end_then", "socket.end(callback)"),
    (".destroy(", "destroy", "socket.destroy"),
    (".destroy_with(", "destroy_with", "socket.destroy(error)"),
    ("server.close(", "close", "server.close"),
];

pub(crate) const QUESTIONS: &[Question] = &[
    Question {
        title: "main body, tick, microtask",
        difficulty: 1,
        program: programs::MAIN_TICK_MICROTASK,
        time: Time::ByHand,
        hint: "Deferred callbacks never run while a callback runs, and the main body counts as one. After it: ticks, \
               then microtasks.",
        lesson: "A callback runs to its end; then all ticks run, then all microtasks.",
    },
    Question {
        title: "a tick that schedules a tick",
        difficulty: 1,
        program: programs::TICKS_OF_TICKS,
        time: Time::ByHand,
        hint: "The ticks are one queue. The loop empties it completely, including the ticks that are added meanwhile.",
        lesson: "A tick scheduled by a tick goes to the end of the queue, and still runs before the first microtask.",
    },
    Question {
        title: "a microtask that schedules a tick",
        difficulty: 2,
        program: programs::TICKS_OF_MICROTASKS,
        time: Time::ByHand,
        hint: "The loop empties one of the two queues completely before it looks at the other one.",
        lesson: "While microtasks run, a tick waits until no microtask is left, including new ones.",
    },
    Question {
        title: "an immediate that schedules an immediate",
        difficulty: 2,
        program: programs::NESTED_IMMEDIATES,
        time: Time::ByHand,
        hint: "The check phase runs the immediates that existed when it began. When are ticks drained?",
        lesson: "Ticks run between two immediates. An immediate scheduled by an immediate runs one turn later.",
    },
    Question {
        title: "timers of equal and of different delays",
        difficulty: 2,
        program: programs::EQUAL_AND_OTHER_DELAYS,
        time: Time::ByHand,
        hint: "All of them are due when the main body ends. And there is no delay of 0 ms.",
        lesson: "Timers run in the order of their due times, timers of equal delay in the order of arming. A delay of \
                 0 means 1 ms.",
    },
    Question {
        title: "between two timers",
        difficulty: 2,
        program: programs::BETWEEN_TWO_TIMERS,
        time: Time::ByHand,
        hint: "Both timers run in one timers phase. When are ticks drained: after a phase, or after a callback?",
        lesson: "Ticks and microtasks are drained after every callback, not only between phases.",
    },
    Question {
        title: "a slow main body: timeout or immediate",
        difficulty: 3,
        program: programs::LATE_FOR_THE_IMMEDIATE,
        time: Time::ByHand,
        hint: "The timeout is due when the main body ends. Does the loop look at the timers before the first check \
               phase?",
        lesson: "The loop looks at the timers once before the first turn. A timer due by then runs before every \
                 immediate.",
    },
    Question {
        title: "timeout of 0 or immediate, from the main body",
        difficulty: 3,
        program: programs::RACE,
        time: Time::Real,
        hint: "The order depends on whether a millisecond has passed when the loop starts. Can a program rely on that?",
        lesson: "From the main body it is a race by design, in Node too. The timeout runs first if a millisecond has \
                 passed (0 counts as 1) when the loop looks at its timers, else the immediate. Do not rely on either.",
    },
    Question {
        title: "a timer that arms a timer",
        difficulty: 3,
        program: programs::TIMER_OF_A_TIMER,
        time: Time::ByHand,
        hint: "During one timers phase the loop's time does not change, even if a callback is slow.",
        lesson: "A timer armed in the timers phase never runs in the same phase. A whole turn with its check phase \
                 comes in between.",
    },
    Question {
        title: "timeout or immediate, from I/O",
        difficulty: 3,
        program: programs::IMMEDIATE_AGAINST_TIMEOUT,
        time: Time::ByHand,
        hint: "The callback runs in the poll phase. Which phase follows: check, close or timers?",
        lesson: "From an I/O callback it is not a race: the check phase follows the poll phase, so the immediate runs \
                 first.",
    },
    Question {
        title: "the last event of a socket",
        difficulty: 3,
        program: programs::CLOSE_WAITS,
        time: Time::ByHand,
        hint: "destroy closes the descriptor immediately, but it never calls back. In which phase does on_close run?",
        lesson: "on_close runs in the close phase of the turn, after the ticks and the immediates.",
    },
    Question {
        title: "data, then the end",
        difficulty: 4,
        program: programs::DATA_AND_END,
        time: Time::ByHand,
        hint: "A read that does not fill the buffer ends the socket's share of the turn. The FIN comes after the data.",
        lesson: "Data come before the end. On TCP the end is read one turn later, so immediates run in between.",
    },
    Question {
        title: "three sockets destroyed in one callback",
        difficulty: 4,
        program: programs::LAST_FIRST,
        time: Time::ByHand,
        hint: "libuv keeps the closing handles in a list, and adds each new one at the front.",
        lesson: "The socket that was destroyed last gets its on_close first. Ticks are drained after each on_close.",
    },
    Question {
        title: "an error, then close",
        difficulty: 4,
        program: programs::ERROR_AND_CLOSE,
        time: Time::ByHand,
        hint: "destroy_with does not call on_error itself. It defers the call, but not for long.",
        lesson: "on_error runs as a tick, in line with the other ticks. on_close waits for the close phase.",
    },
    Question {
        title: "finish, end, close",
        difficulty: 4,
        program: programs::FINISH_END_CLOSE,
        time: Time::ByHand,
        hint: "Our side ends first. What must reach the peer before it can end too?",
        lesson: "The callback and on_finish run when our FIN is sent, on_end when the peer's FIN has arrived, then \
                 on_close.",
    },
    Question {
        title: "the callback of a write, among ticks",
        difficulty: 4,
        program: programs::WRITTEN,
        time: Time::ByHand,
        hint: "The kernel takes four bytes immediately. Even so, a write never calls back before it returns.",
        lesson: "If a write is done immediately, its callback is a tick. The write queues it, in line with your own \
                 ticks.",
    },
    Question {
        title: "a timer list that overtakes",
        difficulty: 5,
        program: programs::LIST_RUNS_AHEAD,
        time: Time::ByHand,
        hint: "They are due at 10, 20 and 25 ms. But timers of equal delay share one list.",
        lesson: "A timer list that has begun runs all of its due timers. So a timer may run before one that was due \
                 earlier.",
    },
    Question {
        title: "drain and the callbacks of writes",
        difficulty: 5,
        program: programs::DRAINED,
        time: Time::ByHand,
        hint: "Each write is done only when the kernel has taken all of its bytes. Which callback runs first then?",
        lesson: "When all queued bytes are sent, on_drain runs first, then the callbacks of the writes in order.",
    },
    Question {
        title: "a server and its last socket",
        difficulty: 5,
        program: programs::SERVER_FIRST,
        time: Time::ByHand,
        hint: "A destroyed socket no longer counts as a connection. What does the server wait for?",
        lesson: "on_server_close runs as a tick after the last connection is destroyed: before the on_close of that \
                 connection.",
    },
    Question {
        title: "once around the loop",
        difficulty: 5,
        program: programs::ROUND_THE_LOOP,
        time: Time::ByHand,
        hint: "poll, check, close, timers; and after every callback the ticks, then the microtasks.",
        lesson: "After a callback: ticks, then microtasks. Then check, close, timers. A nested immediate waits for \
                 the next turn.",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_get_harder_and_show_the_names_in_node() {
        assert!(QUESTIONS.len() >= 12);
        assert!(QUESTIONS.is_sorted_by_key(|question| question.difficulty));
        for question in QUESTIONS {
            assert!((1..=HARDEST).contains(&question.difficulty), "{}", question.title);
            assert!(!question.node_names().is_empty(), "{}", question.title);
            assert!(question.hint.ends_with(['.', '?']) && question.lesson.ends_with('.'), "{}", question.title);
        }
    }

    /// A line must not be mistaken for a letter, nor for another line.
    #[test]
    fn lines_are_distinct_in_an_answer() {
        for question in QUESTIONS {
            let texts = question.program.texts();
            for (place, text) in texts.iter().enumerate() {
                assert!(text.len() > 1 && text.to_lowercase() == *text, "{text}");
                assert!(!texts[..place].contains(text), "{text}");
            }
        }
    }
}
