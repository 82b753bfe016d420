//! The programs of the questions. The program that is shown cannot differ from the one that runs: a question shows the
//! source text of the function that it calls.

mod alone;
mod sockets;

use bucle::{Loop, Result};

/// A program: a function, its name, and the text of its source file.
#[derive(Clone, Copy)]
pub(crate) struct Program {
    pub(crate) main: fn(&mut Loop) -> Result<()>,
    name: &'static str,
    file: &'static str,
}

macro_rules! programs {
    ($($file:ident { $($name:ident $constant:ident,)* })*) => {
        $($(
            pub(crate) const $constant: Program = Program {
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

impl Program {
    /// The source of the function.
    pub(crate) fn source(&self) -> &'static str {
        let head = format!("fn {}(", self.name);
        let from = self.file.find(&head).unwrap_or_default();
        let rest = &self.file[from..];
        let len = rest.find("\n}").map_or(rest.len(), |end| end + "\n}".len());
        &rest[..len]
    }

    /// The texts that it prints, in the order of the source. The first one is line `a`, the second `b`, …
    pub(crate) fn texts(&self) -> Vec<&'static str> {
        self.source().lines().flat_map(texts_of).collect()
    }

    /// The call whose callback prints `text`: "the write", "the second write", "the end". `None` for lines that an
    /// event or the loop's own callbacks print.
    pub(crate) fn owner_of_callback(&self, text: &str) -> Option<String> {
        const NTH: [&str; 4] = ["first ", "second ", "third ", "fourth "];
        let source = self.source();
        let (before, _) = source.split_once(&format!("{PRINT}{text}\""))?;
        let call = before.rfind("_then(")?;
        let verb = before[..call].rsplit(|c: char| !c.is_alphabetic()).next()?;
        let call = format!("{verb}_then(");
        let nth = match source.matches(&call).count() {
            1 => "",
            _ => NTH.get(before.matches(&call).count() - 1)?,
        };
        Some(format!("the {nth}{verb}"))
    }

    /// The source with a margin, which shows the letter of every line that prints.
    pub(crate) fn listing(&self) -> String {
        let mut letters = 'a'..='z';
        let mut listing = String::new();
        for line in self.source().lines() {
            let margin: String = letters.by_ref().take(texts_of(line).count()).collect();
            listing += format!("{margin:>4}  {line}").trim_end();
            listing += "\n";
        }
        listing
    }
}

fn texts_of(line: &str) -> impl Iterator<Item = &str> {
    line.split(PRINT).skip(1).filter_map(|rest| rest.split('"').next())
}
