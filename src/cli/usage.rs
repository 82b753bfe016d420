//! A command line that clap accepts, and that is wrong all the same.

use std::process::ExitCode;

use super::exit_code;
use super::stderr::print_error;

/// The reason why a command line is wrong, and commands to type instead.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Usage {
    /// A sentence without a capital letter and a full stop.
    pub(crate) why: String,
    /// Commands to try.
    pub(crate) tries: Vec<String>,
}

impl Usage {
    pub(crate) fn new(why: impl Into<String>, command: impl Into<String>) -> Usage {
        Usage { why: why.into(), tries: vec![command.into()] }
    }

    /// Adds another command to try.
    pub(crate) fn or(mut self, command: impl Into<String>) -> Usage {
        self.tries.push(command.into());
        self
    }

    /// Prints the error, and returns the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        print_error(&self.why, &self.tries);
        ExitCode::from(exit_code::USAGE)
    }
}
