//! What the command does with its words: understand them, start the log, hand over to the one who is meant.

mod advice;
mod args;
mod connect;
mod load;
mod screen;
mod serve;
mod target;

use std::io::{self, Write};
use std::process::ExitCode;

use args::Command;

/// How the command ends; shell scripts rely on these.
pub(crate) mod exit_code {
    /// Something failed while it ran.
    pub(crate) const FAILURE: u8 = 1;
    /// The command line makes no sense; clap's number too.
    pub(crate) const USAGE: u8 = 2;
    /// It could not listen, or could not connect.
    pub(crate) const NO_CONNECTION: u8 = 3;
    /// A reply was not what it had to be.
    pub(crate) const CHECK_FAILED: u8 = 4;
    /// A `--fail-if` was true.
    pub(crate) const THRESHOLD: u8 = 5;
    /// A limit of the machine stops it before it starts.
    pub(crate) const MACHINE_LIMIT: u8 = 6;
    /// Ctrl-C: 128 and the number of SIGINT, as shells have it.
    pub(crate) const INTERRUPTED: u8 = 130;
}

pub(crate) fn main() -> ExitCode {
    match args::parse() {
        Ok(Command::Serve { serve, verbosity }) => {
            start_log(verbosity);
            serve::run(&serve)
        }
        Ok(Command::Connect { target, raw, verbosity }) => {
            start_log(verbosity);
            connect::run(&target, raw)
        }
        Ok(Command::Load(load)) => {
            start_log(0);
            load::run(*load)
        }
        Err(status) => status,
    }
}

/// The log goes to stderr. Without `-v` only what is wrong is said; `RUST_LOG` wins over `-v`.
fn start_log(verbosity: u8) {
    let filter = match verbosity {
        0 => "warn",
        1 => "warn,bucle=info",
        2 => "warn,bucle=debug",
        _ => "warn,bucle=trace",
    };
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(filter)).init();
}

/// Says what went wrong and what to try, on stderr, whether anybody reads it or not.
pub(crate) fn complain(what: &str, advice: &[String]) {
    let mut text = format!("error: {what}\n");
    for line in advice {
        text += &format!("  try:  {line}\n");
    }
    let _ = io::stderr().write_all(text.as_bytes());
}
