//! The exit codes of the command. Shell scripts rely on them.

/// The command failed while it ran.
pub(crate) const FAILURE: u8 = 1;
/// The command line is wrong; clap uses the same number.
pub(crate) const USAGE: u8 = 2;
/// The command could not listen, or could not connect.
pub(crate) const NO_CONNECTION: u8 = 3;
/// `load`: a message failed, or none was sent in the steady phase.
pub(crate) const CHECK_FAILED: u8 = 4;
/// `load`: the condition of a `--fail-if` was true.
pub(crate) const THRESHOLD: u8 = 5;
/// `quiz`: a question was answered wrong, or not at all.
pub(crate) const WRONG_ANSWER: u8 = 4;
/// A limit of the machine prevents the start.
pub(crate) const MACHINE_LIMIT: u8 = 6;
/// Ctrl-C: 128 plus the number of SIGINT, as shells compute it.
pub(crate) const INTERRUPTED: u8 = 130;
