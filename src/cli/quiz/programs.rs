//! The programs of the questions. The program that is shown cannot differ from the one that runs: a question shows the
//! source text of the function that it calls.

mod alone;
mod sockets;

use bucle::{Loop, Result};

use super::explain::Owner;
use super::language::{Language, Text};
use super::question::Program;

/// A program: a function, its name, and the text of its source file.
#[derive(Clone, Copy)]
pub(crate) struct Function {
    main: fn(&mut Loop) -> Result<()>,
    name: &'static str,
    file: &'static str,
}

macro_rules! programs {
    ($($file:ident { $($name:ident $constant:ident,)* })*) => {
        $($(
            pub(crate) const $constant: Function = Function {
                main: $file::$name,
                name: stringify!($name),
                file: include_str!(concat!("programs/", stringify!($file), ".rs")),
            };
        )*)*
    };
}

programs! {
    alone {
        main_tick_microtask MAIN_TICK_MICROTASK,
        ticks_of_ticks TICKS_OF_TICKS,
        ticks_of_microtasks TICKS_OF_MICROTASKS,
        nested_immediates NESTED_IMMEDIATES,
        equal_and_other_delays EQUAL_AND_OTHER_DELAYS,
        between_two_timers BETWEEN_TWO_TIMERS,
        late_for_the_immediate LATE_FOR_THE_IMMEDIATE,
        race RACE,
        timer_of_a_timer TIMER_OF_A_TIMER,
        list_runs_ahead LIST_RUNS_AHEAD,
    }
    sockets {
        immediate_against_timeout IMMEDIATE_AGAINST_TIMEOUT,
        data_and_end DATA_AND_END,
        close_waits CLOSE_WAITS,
        last_first LAST_FIRST,
        error_and_close ERROR_AND_CLOSE,
        finish_end_close FINISH_END_CLOSE,
        written WRITTEN,
        drained DRAINED,
        server_first SERVER_FIRST,
        round_the_loop ROUND_THE_LOOP,
    }
}

/// The call that prints a line, up to its text, as the source has it.
const PRINT: &str = "print(lp, \"";

/// The text to look for in a source, the name of the call, and Node's name.
const NODE_NAMES: &[(&str, &str, Text)] = &[
    ("lp.next_tick(", "next_tick", name("process.nextTick")),
    (
        "lp.queue_microtask(",
        "queue_microtask",
        Text { en: "queueMicrotask, or a promise's then", es: "queueMicrotask, o promise.then" },
    ),
    ("lp.set_immediate(", "set_immediate", name("setImmediate")),
    ("lp.set_timeout(", "set_timeout", name("setTimeout")),
    ("serve(lp", "serve", name("net.createServer().listen(0).unref()")),
    ("Socket::connect(", "Socket::connect", name("net.connect")),
    (".connection(|", "on().connection", name("server.on('connection')")),
    (".connect(|", "on().connect", name("socket.on('connect')")),
    (".data(|", "on().data", name("socket.on('data')")),
    (".drain(|", "on().drain", name("socket.on('drain')")),
    (".end(|", "on().end", name("socket.on('end')")),
    (".finish(|", "on().finish", name("socket.on('finish')")),
    (".error(|", "on().error", name("socket.on('error')")),
    (".close(|", "on().close", name("socket.on('close')")),
    (".server_close(|", "on().server_close", name("server.on('close')")),
    (".write_then(", "write_then", name("socket.write(data, callback)")),
    (".end_with(", "end_with", name("socket.end(data)")),
    (".end_then(", "end_then", name("socket.end(callback)")),
    (".destroy(", "destroy", name("socket.destroy")),
    (".destroy_with(", "destroy_with", name("socket.destroy(error)")),
    ("server.close(", "close", name("server.close")),
];

/// A name of Node, which is the same in both languages.
const fn name(name: &'static str) -> Text {
    Text { en: name, es: name }
}

impl Program for Function {
    fn start(&self, lp: &mut Loop) -> Result<()> {
        (self.main)(lp)
    }

    /// The source of the function.
    fn source(&self) -> &str {
        let head = format!("fn {}(", self.name);
        let from = self.file.find(&head).unwrap_or_default();
        let rest = &self.file[from..];
        let len = rest.find("\n}").map_or(rest.len(), |end| end + "\n}".len());
        &rest[..len]
    }

    fn printed_by<'a>(&self, line: &'a str) -> Vec<&'a str> {
        line.split(PRINT).skip(1).filter_map(|rest| rest.split('"').next()).collect()
    }

    fn owner_of_callback(&self, text: &str) -> Option<Owner> {
        let source = self.source();
        let (before, _) = source.split_once(&format!("{PRINT}{text}\""))?;
        let call = before.rfind("_then(")?;
        let method = before[..call].rsplit(|c: char| !c.is_alphabetic()).next()?;
        let call = format!("{method}_then(");
        let is_one_of_several = source.matches(&call).count() > 1;
        let nth = is_one_of_several.then(|| before.matches(&call).count() - 1);
        Some(Owner { method: method.to_owned(), nth })
    }

    fn node_names(&self, language: Language) -> Vec<String> {
        let source = self.source();
        let used = NODE_NAMES.iter().filter(|(call, _, _)| source.contains(call));
        used.map(|(_, name, node)| format!("{name} = {}", node.get(language))).collect()
    }

    fn busy_call(&self) -> Option<&'static str> {
        self.source().contains("work_for(").then_some("work_for")
    }
}
