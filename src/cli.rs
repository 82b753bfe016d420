//! Stands in for the command until `serve` comes; only for trying `connect`.

mod advice;
mod connect;
mod screen;
mod target;

use std::io::{self, Write};
use std::process::ExitCode;

/// How the command ends; shell scripts rely on these.
pub(crate) mod exit_code {
    /// Something failed while it ran.
    pub(crate) const FAILURE: u8 = 1;
    /// The command line makes no sense; clap's number too.
    pub(crate) const USAGE: u8 = 2;
    /// It could not listen, or could not connect.
    pub(crate) const NO_CONNECTION: u8 = 3;
    /// Ctrl-C: 128 and the number of SIGINT, as shells have it.
    pub(crate) const INTERRUPTED: u8 = 130;
}

pub(crate) fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(2).collect();
    let target = words.iter().find(|word| !word.starts_with("--"));
    connect::run(target.map_or("", String::as_str), words.iter().any(|word| word == "--raw"))
}

/// Says what went wrong and what to try, on stderr, whether anybody reads it or not.
pub(crate) fn complain(what: &str, advice: &[String]) {
    let mut text = format!("error: {what}\n");
    for line in advice {
        text += &format!("  try:  {line}\n");
    }
    let _ = io::stderr().write_all(text.as_bytes());
}
