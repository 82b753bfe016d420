//! The entry of the command: parse the arguments, start the log, run the subcommand.
//!
//! ```text
//!   args                                       reads the options of all subcommands
//!   serve   connect   load   quiz              the subcommands; none imports another
//!   completions   man                          made from the options of all subcommands
//!   trace_file   machine   advice ─▶ target    used by several subcommands
//!   socket_io                                  the protocol of `connect` and `load` over WebSocket
//!   stderr ─▶ screen ─▶ editor ─▶ keys         standard error; the row with the prompt
//!   wrap                                       lines as wide as the terminal
//!   escape   log_filter                        pure functions
//!   usage ─▶ exit_code   keep_alive            an error of the command line; constants
//! ```
//!
//! Imports point down, and to the right within a line.

mod advice;
mod args;
mod color;
mod completions;
mod connect;
mod editor;
mod escape;
mod exit_code;
mod help;
mod keep_alive;
mod keys;
mod load;
mod log_filter;
mod machine;
mod man;
mod quiz;
mod screen;
mod serve;
mod socket_io;
mod stderr;
mod target;
mod trace_file;
mod usage;
mod wrap;

use std::env;
use std::io::{self, IsTerminal};
use std::process::ExitCode;

use args::Command;
use color::Color;

pub(crate) fn main() -> ExitCode {
    let status = run();
    stderr::finish();
    status
}

fn run() -> ExitCode {
    match args::parse() {
        Ok(Command::Serve { serve, verbosity }) => {
            start_log(verbosity, Mistakes::Report);
            serve::run(&serve, || Box::new(quiz::PageLessons))
        }
        Ok(Command::Connect { connect, verbosity }) => {
            start_log(verbosity, Mistakes::Report);
            connect::run(&connect)
        }
        Ok(Command::Load(load)) => {
            // A worker process inherits the environment of the process that started it, which has already reported
            // them.
            start_log(0, if load.worker.is_some() { Mistakes::Ignore } else { Mistakes::Report });
            load::run(*load)
        }
        Ok(Command::Quiz(options)) => quiz::run(&options),
        Ok(Command::Completions(shell)) => completions::print(&args::command(), shell),
        Ok(Command::Man(folder)) => man::write_pages(&args::command(), &folder),
        Err(status) => status,
    }
}

/// Whether a mistake in `RUST_LOG` is reported.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mistakes {
    Report,
    Ignore,
}

/// Starts the log, which goes to standard error. Without `-v` it has warnings and errors only. `RUST_LOG` wins over
/// `-v` if it has a valid directive.
fn start_log(verbosity: u8, mistakes: Mistakes) {
    let variable = env::var_os("RUST_LOG").unwrap_or_default();
    let sifted = log_filter::sift(&variable.to_string_lossy());
    if mistakes == Mistakes::Report && !sifted.mistakes.is_empty() {
        let words = sifted.mistakes.join(", ").escape_debug().to_string();
        stderr::write(
            format!(
                "warning: RUST_LOG: neither a level nor a module of bucle: {words}\n  try:  RUST_LOG=bucle=debug\n"
            )
            .as_bytes(),
        );
    }
    let filter = sifted.filter.as_deref().unwrap_or(match verbosity {
        0 => "warn",
        1 => "warn,bucle=info",
        2 => "warn,bucle=debug",
        _ => "warn,bucle=trace",
    });
    let mut log = env_logger::Builder::new();
    log.parse_filters(filter).parse_write_style(&env::var("RUST_LOG_STYLE").unwrap_or_default());
    log.target(env_logger::Target::Pipe(Box::new(stderr::Log)));
    if verbosity > 2 {
        // Hundreds of events have the same second.
        log.format_timestamp_micros();
    }
    let color = Color::typed();
    if env::var_os("RUST_LOG_STYLE").is_none() || color != Color::Auto {
        // `env_logger` sees a pipe here, and would not use colours.
        let is_on = color.is_on(io::stderr().is_terminal(), |name| env::var_os(name));
        log.write_style(if is_on { env_logger::WriteStyle::Always } else { env_logger::WriteStyle::Never });
    }
    let log = log.build();
    log::set_max_level(log.filter());
    // This fails only if a logger is set already. None is.
    let _ = log::set_boxed_logger(Box::new(WatchedOnly(log)));
}

/// Leaves out what the loop of `--inspect` logs: it has a server #1, too.
struct WatchedOnly(env_logger::Logger);

impl log::Log for WatchedOnly {
    fn enabled(&self, metadata: &log::Metadata) -> bool {
        !bucle::inspect::is_working() && self.0.enabled(metadata)
    }

    fn log(&self, record: &log::Record) {
        if !bucle::inspect::is_working() {
            self.0.log(record);
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}
