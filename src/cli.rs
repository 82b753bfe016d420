//! What the command does with its words: understand them, start the log, hand over to the one who is meant.

mod advice;
mod args;
mod connect;
mod editor;
mod escape;
mod keys;
mod load;
mod log_filter;
mod machine;
#[cfg(feature = "trace")]
mod quiz;
mod screen;
mod serve;
mod stderr;
mod target;
#[cfg(feature = "trace")]
mod trace_file;

use std::env;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use args::Command;

/// How long a connection is silent before the kernel asks whether the peer is still there. A minute, so that whoever
/// vanished is noticed within two, and a telnet left open overnight costs a packet a minute; it keeps the entry of a NAT
/// alive too (RFC 5382 wants those kept for two hours, many keep them for five minutes).
pub(crate) const KEEP_ALIVE_DELAY: Duration = Duration::from_secs(60);

/// How long what was sent may go unacknowledged: the keepalive's delay and its ten questions, one a second, so that the
/// two agree on when a peer is gone.
pub(crate) const USER_TIMEOUT: Duration = Duration::from_secs(70);

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
    /// A question of the quiz was answered wrong, or not at all.
    #[cfg(feature = "trace")]
    pub(crate) const WRONG_ANSWER: u8 = 4;
    /// A limit of the machine stops it before it starts.
    pub(crate) const MACHINE_LIMIT: u8 = 6;
    /// Ctrl-C: 128 and the number of SIGINT, as shells have it.
    pub(crate) const INTERRUPTED: u8 = 130;
}

pub(crate) fn main() -> ExitCode {
    let status = run();
    stderr::finish();
    status
}

fn run() -> ExitCode {
    match args::parse() {
        Ok(Command::Serve { serve, verbosity }) => {
            start_log(verbosity, Nonsense::IsTold);
            serve::run(&serve)
        }
        Ok(Command::Connect { target, raw, verbosity }) => {
            start_log(verbosity, Nonsense::IsTold);
            connect::run(&target, raw)
        }
        Ok(Command::Load(load)) => {
            // A worker has the environment of the one who started it, who has told already.
            start_log(0, if load.worker.is_some() { Nonsense::IsKnown } else { Nonsense::IsTold });
            load::run(*load)
        }
        Ok(Command::Quiz { question, answer }) => quiz::run(question.as_deref(), answer.as_deref()),
        Err(status) => status,
    }
}

/// The quiz has its reasons from the trace. Without it there is none.
#[cfg(not(feature = "trace"))]
mod quiz {
    pub(crate) fn run(_: Option<&str>, _: Option<&str>) -> super::ExitCode {
        let advice = ["cargo build --features trace".to_owned()];
        super::complain("the quiz reads its reasons from the trace, and this bucle was built without it", &advice);
        super::ExitCode::from(super::exit_code::FAILURE)
    }
}

/// What becomes of what makes no sense in `RUST_LOG`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nonsense {
    IsTold,
    IsKnown,
}

/// The log goes to stderr. Without `-v` only what is wrong is said; `RUST_LOG` wins over `-v`, if it says anything.
fn start_log(verbosity: u8, nonsense: Nonsense) {
    let asked = env::var_os("RUST_LOG").unwrap_or_default();
    let sifted = log_filter::sift(&asked.to_string_lossy());
    if nonsense == Nonsense::IsTold && !sifted.nonsense.is_empty() {
        let words = sifted.nonsense.join(", ").escape_debug().to_string();
        stderr::say(
            format!("warning: RUST_LOG: no level and no part of bucle: {words}\n  try:  RUST_LOG=bucle=debug\n")
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
    let is_plain = |name, plain: fn(&std::ffi::OsStr) -> bool| env::var_os(name).is_some_and(|value| plain(&value));
    let wants_plain = is_plain("NO_COLOR", |value| !value.is_empty()) || is_plain("TERM", |term| term == "dumb");
    if io::stderr().is_terminal() && !wants_plain && env::var_os("RUST_LOG_STYLE").is_none() {
        // What it writes to does not look like a terminal any more.
        log.write_style(env_logger::WriteStyle::Always);
    }
    log.init();
}

/// Without the feature `trace` the loop keeps no records, and there is nothing to write.
#[cfg(not(feature = "trace"))]
mod trace_file {
    use std::path::Path;

    use super::*;

    pub(crate) enum TraceFile {}

    impl TraceFile {
        pub(crate) fn start(_: &mut bucle::EventLoop, _: &Path, _: &serve::Serve) -> Result<Self, ExitCode> {
            complain(
                "--trace: this bucle was built without the feature `trace`",
                &["cargo install bucle --features trace".to_owned()],
            );
            Err(ExitCode::from(exit_code::USAGE))
        }

        pub(crate) fn run(self, _: &mut bucle::EventLoop) -> bucle::Result<()> {
            match self {}
        }
    }
}

/// Says what went wrong and what to try, on stderr.
pub(crate) fn complain(what: &str, advice: &[String]) {
    stderr::say(complaint(what, advice).as_bytes());
}

/// The words of [`complain`].
pub(crate) fn complaint(what: &str, advice: &[String]) -> String {
    let mut text = format!("error: {what}\n");
    for line in advice {
        text += &format!("  try:  {line}\n");
    }
    text
}
