//! The questions, from the easy ones to the hard ones.

use super::programs::{self, Program};
use super::stage::Time;

/// A program whose order is asked for.
pub(crate) struct Question {
    pub(crate) title: &'static str,
    /// From 1 to [`HARDEST`].
    pub(crate) difficulty: usize,
    pub(crate) program: Program,
    /// By the real clock the order is nobody's promise: a race, in which every answer is right.
    pub(crate) time: Time,
    /// Helps without giving it away.
    pub(crate) hint: &'static str,
    /// What is to be remembered.
    pub(crate) lesson: &'static str,
}

pub(crate) const HARDEST: usize = 5;

impl Question {
    pub(crate) fn is_race(&self) -> bool {
        self.time == Time::Real
    }

    /// How Node calls what the program uses, as `set_immediate = setImmediate`.
    pub(crate) fn node_names(&self) -> Vec<String> {
        let source = self.program.source();
        let used = NODE_NAMES.iter().filter(|(call, _, _)| source.contains(call));
        used.map(|(_, name, node)| format!("{name} = {node}")).collect()
    }
}

/// What to look for in a source, what it is called, and what Node calls it.
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
        hint: "Nothing that is put off runs while a callback runs, and the main body is one. Then: ticks, microtasks.",
        lesson: "A callback runs to its end; then all ticks, then all microtasks.",
    },
    Question {
        title: "a tick that asks for a tick",
        difficulty: 1,
        program: programs::TICKS_OF_TICKS,
        time: Time::ByHand,
        hint: "The ticks are one queue, and it is emptied to the last, also of what is added meanwhile.",
        lesson: "A tick added by a tick goes to the end of the queue, and still runs before the first microtask.",
    },
    Question {
        title: "a microtask that asks for a tick",
        difficulty: 2,
        program: programs::TICKS_OF_MICROTASKS,
        time: Time::ByHand,
        hint: "Whichever of the two queues is being emptied is emptied to the last.",
        lesson: "While microtasks run, a tick has to wait until there are no microtasks left, new ones included.",
    },
    Question {
        title: "an immediate that asks for an immediate",
        difficulty: 2,
        program: programs::NESTED_IMMEDIATES,
        time: Time::ByHand,
        hint: "The check phase runs the immediates that were there when it began. When are ticks drained?",
        lesson: "Ticks run between two immediates; an immediate made by an immediate runs one turn later.",
    },
    Question {
        title: "timers of equal and of other delays",
        difficulty: 2,
        program: programs::EQUAL_AND_OTHER_DELAYS,
        time: Time::ByHand,
        hint: "All are due when the main body is through. And there is no delay of 0 ms.",
        lesson: "Earlier due, earlier run; equal delays in the order of arming; and a delay of 0 is one of 1 ms.",
    },
    Question {
        title: "between two timers",
        difficulty: 2,
        program: programs::BETWEEN_TWO_TIMERS,
        time: Time::ByHand,
        hint: "Both timers run in one timers phase. After what are the ticks drained: after a phase, or after a callback?",
        lesson: "Ticks and microtasks are drained after every callback, not only between phases.",
    },
    Question {
        title: "a late main body: timeout or immediate",
        difficulty: 3,
        program: programs::LATE_FOR_THE_IMMEDIATE,
        time: Time::ByHand,
        hint: "When the main body is through the timeout is due. Where do the timers come before the first turn?",
        lesson: "The timers are looked at once before the first turn, and what is due by then precedes every immediate.",
    },
    Question {
        title: "timeout of 0 against immediate, from the main body",
        difficulty: 3,
        program: programs::RACE,
        time: Time::Real,
        hint: "It depends on whether a millisecond is over when the loop starts. Who could promise that?",
        lesson: "From the main body it is a race by design, in Node too: the timeout is first if a millisecond (0 counts as \
                 1) has gone by when the loop looks at its timers, else the immediate is. Do not build on either.",
    },
    Question {
        title: "a timer that arms a timer",
        difficulty: 3,
        program: programs::TIMER_OF_A_TIMER,
        time: Time::ByHand,
        hint: "In one pass of the timers time stands still, however long the callbacks take.",
        lesson: "A timer armed during the timers phase never runs in it; a whole turn with its check phase comes between.",
    },
    Question {
        title: "timeout against immediate, from I/O",
        difficulty: 3,
        program: programs::IMMEDIATE_AGAINST_TIMEOUT,
        time: Time::ByHand,
        hint: "The callback runs in the poll phase. Which phase is next: check, close or timers?",
        lesson: "From an I/O callback there is no race: check comes right after poll, the immediate is first.",
    },
    Question {
        title: "the last word of a socket",
        difficulty: 3,
        program: programs::CLOSE_WAITS,
        time: Time::ByHand,
        hint: "destroy closes the descriptor at once, but it never calls back. In which phase is on_close?",
        lesson: "on_close comes in the close phase of the turn, after the ticks and after the immediates.",
    },
    Question {
        title: "data, and the end behind it",
        difficulty: 4,
        program: programs::DATA_AND_END,
        time: Time::ByHand,
        hint: "A read that is not full ends the socket's share of the turn, and the FIN waits behind the data.",
        lesson: "Data come before their end, and on TCP the end is read one turn later: immediates run in between.",
    },
    Question {
        title: "three sockets destroyed in one callback",
        difficulty: 4,
        program: programs::LAST_FIRST,
        time: Time::ByHand,
        hint: "libuv keeps the handles that are being closed in a list to which it adds at the front.",
        lesson: "The last one destroyed is the first to hear on_close; ticks are drained after each.",
    },
    Question {
        title: "an error and its close",
        difficulty: 4,
        program: programs::ERROR_AND_CLOSE,
        time: Time::ByHand,
        hint: "on_error is not called by destroy_with; it is put off, but not for long.",
        lesson: "The error is a tick, in line with the others; the close waits for the close phase.",
    },
    Question {
        title: "finish, end, close",
        difficulty: 4,
        program: programs::FINISH_END_CLOSE,
        time: Time::ByHand,
        hint: "Our side ends first. Who has to learn of it before the other side can end too?",
        lesson: "Callback and finish when our FIN is sent, end when the peer's has come, close when both are through.",
    },
    Question {
        title: "the callback of a write, among ticks",
        difficulty: 4,
        program: programs::WRITTEN,
        time: Time::ByHand,
        hint: "The kernel takes four bytes at once. Even so a write never calls back before it returns.",
        lesson: "The callback of a write that is done at once is a tick, queued by the write: in line with your own ticks.",
    },
    Question {
        title: "a timer list runs ahead",
        difficulty: 5,
        program: programs::LIST_RUNS_AHEAD,
        time: Time::ByHand,
        hint: "They are due at 10, at 20 and at 25 ms. But timers of equal delay are one list.",
        lesson: "A list that has begun runs all of its timers that are due: one of them may overtake one that was due earlier.",
    },
    Question {
        title: "drain and the callbacks of writes",
        difficulty: 5,
        program: programs::DRAINED,
        time: Time::ByHand,
        hint: "Neither write is through before the kernel has all of it. Who is told first that it has?",
        lesson: "When everything is out on_drain comes first, then the callbacks of the writes, in order.",
    },
    Question {
        title: "a server and its last socket",
        difficulty: 5,
        program: programs::SERVER_FIRST,
        time: Time::ByHand,
        hint: "A destroyed socket does not count as a connection any more. What does the server wait for?",
        lesson: "A server's close is a tick after its last connection is gone: before the on_close of that connection.",
    },
    Question {
        title: "once round the loop",
        difficulty: 5,
        program: programs::ROUND_THE_LOOP,
        time: Time::ByHand,
        hint: "poll, check, close, timers; and after every callback the ticks, then the microtasks.",
        lesson: "Callback, ticks, microtasks; then check, close, timers; and what an immediate asks for waits a turn.",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_get_harder_and_say_what_node_calls_it() {
        assert!(QUESTIONS.len() >= 12);
        assert!(QUESTIONS.is_sorted_by_key(|question| question.difficulty));
        for question in QUESTIONS {
            assert!((1..=HARDEST).contains(&question.difficulty), "{}", question.title);
            assert!(!question.node_names().is_empty(), "{}", question.title);
            assert!(question.hint.ends_with(['.', '?']) && question.lesson.ends_with('.'), "{}", question.title);
        }
    }

    /// A text must not be taken for an answer in letters, nor one for the other.
    #[test]
    fn lines_can_be_told_apart() {
        for question in QUESTIONS {
            let texts = question.program.texts();
            for (place, text) in texts.iter().enumerate() {
                assert!(text.len() > 1 && text.to_lowercase() == *text, "{text}");
                assert!(!texts[..place].contains(text), "{text}");
            }
        }
    }
}
