//! The servers of the command: which there are, and how one is opened, announced and closed.
//!
//! ```text
//!   Serve ─▶ a handler (chat, echo, …) ─▶ in a House, which keeps the limits ─▶ listen ─▶ announce ─▶ run
//!                                                                                            Ctrl-C ─▶ close
//! ```

mod chat;
mod discard;
mod echo;
mod failure;
mod house;
mod lines;
mod relay;
mod tutorial;

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::panic::{self, PanicHookInfo};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bucle::net::{Handler, Limits, Listen, LocalAddress, READS_PER_TURN, Server, ServerOptions};
use bucle::process::{self, Signal};
use bucle::telnet::{self, Telnet};
use bucle::{EventLoop, Loop, Result};

use super::advice::words_for;
use super::keep_alive::{KEEP_ALIVE_DELAY, USER_TIMEOUT};
use super::stderr::complain;
use super::target::Address;
use super::trace_file::TraceFile;
use super::{exit_code, machine, stderr};
use house::{House, Rules};

/// How many bytes may wait for a peer before it is no longer read from. One full read of the loop.
pub(crate) const HIGH_WATER_MARK: usize = 64 * 1024;

/// How many connections are accepted in one turn: a storm of thousands is through in some dozens of turns, and those who
/// are in already are served between them.
const ACCEPTS_PER_TURN: usize = 64;

/// How many events a turn may have. Of a thousand who are ready each costs some microseconds, and where each tells all the others
/// something, a thousand times as much; so many are through in a millisecond, and the next turn has the rest.
const EVENTS_PER_TURN: usize = 128;

/// A server that the command can run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Chat,
    Echo,
    Lines,
    Relay,
    Tutorial,
    Discard,
}

/// How many records are kept where they only serve to notice slow callbacks.
#[cfg(feature = "trace")]
const SLOW_WATCH_RECORDS: usize = 1024;

/// What `bucle serve` was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Serve {
    pub(crate) kind: Kind,
    /// Where to listen.
    pub(crate) address: Address,
    /// `None`: as many as there are descriptors for.
    pub(crate) max_connections: Option<usize>,
    /// Others may listen on the same port.
    pub(crate) reuse_port: bool,
    /// Zero is never.
    pub(crate) idle_timeout: Duration,
    /// How long the loop looks for work before it sleeps.
    pub(crate) spin: Duration,
    /// What one peer may have waiting, and for how long.
    pub(crate) limits: Limits,
    /// What all may have waiting together.
    pub(crate) total_outbox_limit: Option<usize>,
    /// How many bytes a line may have, where there are lines.
    pub(crate) line_limit: usize,
    /// Where to write what the loop does, if anywhere.
    pub(crate) trace: Option<PathBuf>,
    /// How many bytes of it.
    pub(crate) trace_limit: u64,
}

impl Kind {
    pub(crate) const ALL: [Kind; 6] = [Kind::Chat, Kind::Echo, Kind::Lines, Kind::Relay, Kind::Tutorial, Kind::Discard];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Chat => "chat",
            Kind::Echo => "echo",
            Kind::Lines => "lines",
            Kind::Relay => "relay",
            Kind::Tutorial => "tutorial",
            Kind::Discard => "discard",
        }
    }

    pub(crate) fn about(self) -> &'static str {
        match self {
            Kind::Chat => "nicks, rooms, and everybody hears everybody",
            Kind::Echo => "every byte back (RFC 862)",
            Kind::Lines => "every line back",
            Kind::Relay => "every line to everybody",
            Kind::Tutorial => "greets, answers each line, tells everybody of a `bye`",
            Kind::Discard => "reads and throws away (RFC 863)",
        }
    }

    /// What is typed to have it.
    pub(crate) fn command(self) -> String {
        if self == Kind::Chat { "bucle serve".to_owned() } else { format!("bucle serve {}", self.name()) }
    }

    /// The kind of that name; clap lets only names of [`ALL`](Self::ALL) through.
    pub(crate) fn of(name: &str) -> Kind {
        Kind::ALL.into_iter().find(|kind| kind.name() == name).unwrap_or(Kind::Chat)
    }

    /// How often one guest is read in a turn before others have theirs. Where a read of 64 KiB is thousands of lines, each
    /// perhaps for thousands of members, one is much.
    fn reads_per_turn(self) -> usize {
        if self.is_for_lines() { 1 } else { READS_PER_TURN }
    }

    /// Whether a person is told why the connection ends. In a protocol of bytes it would pass for data.
    fn is_for_lines(self) -> bool {
        !matches!(self, Kind::Echo | Kind::Discard)
    }
}

/// Runs a server until it is told to end.
pub(crate) fn run(serve: &Serve) -> ExitCode {
    let lines = telnet::Options { max_line: serve.line_limit, ..telnet::Options::default() };
    let untouched_lines = telnet::Options { keeps_breaks: true, ..lines };
    match serve.kind {
        Kind::Chat => run_with(serve, Telnet::new(lines, chat::Chat::default())),
        Kind::Echo => run_with(serve, echo::Echo),
        Kind::Lines => run_with(serve, Telnet::new(untouched_lines, lines::Lines)),
        Kind::Relay => run_with(serve, Telnet::new(untouched_lines, relay::Relay::default())),
        Kind::Tutorial => run_with(serve, Telnet::new(lines, tutorial::Tutorial::default())),
        Kind::Discard => run_with(serve, discard::Discard),
    }
}

fn run_with(serve: &Serve, handler: impl Handler) -> ExitCode {
    let places = match machine::connection_limit(serve.max_connections) {
        Ok(places) => places,
        Err(status) => return status,
    };
    let mut event_loop = match EventLoop::new() {
        Ok(event_loop) => event_loop,
        Err(error) => return machine::complain_of_descriptors(&error),
    };
    // A mistake of ours in one conversation shall not cost the others theirs, and shall be found.
    event_loop.catch_panics(true);
    event_loop.spin(serve.spin);
    event_loop.events_per_turn(EVENTS_PER_TURN);
    panic::set_hook(Box::new(report_panic));
    let start_trace = |path| {
        let title = format!("bucle serve {}", serve.kind.name());
        TraceFile::start(&mut event_loop, path, &title, serve.trace_limit)
    };
    let trace = match serve.trace.as_deref().map(start_trace).transpose() {
        Ok(trace) => trace,
        Err(status) => return status,
    };
    #[cfg(feature = "trace")]
    if trace.is_none() && log::log_enabled!(log::Level::Info) {
        // Nobody reads this ring: it is there for the warnings of slow callbacks, which come with recording.
        event_loop.enter(|lp| lp.start_trace(SLOW_WATCH_RECORDS));
    }
    let opened = event_loop.enter(|lp| open(lp, serve, places, handler));
    let address = match opened {
        Ok(address) => address,
        Err(error) if matches!(error.code(), "EMFILE" | "ENFILE") => return machine::complain_of_descriptors(&error),
        Err(error) => {
            let (what, advice) = failure::explain(&error, serve);
            complain(&what, &advice);
            return ExitCode::from(exit_code::NO_CONNECTION);
        }
    };
    announce(serve.kind, &address);
    let result = match trace {
        Some(trace) => trace.run(&mut event_loop),
        None => event_loop.run(),
    };
    let metrics = event_loop.enter(|lp| lp.metrics());
    log::info!(
        target: "bucle::serve",
        "{} turns, the longest {:.2?}, busy {:.1} % of the time; {} bytes read, {} written",
        metrics.loop_count,
        metrics.longest_turn,
        metrics.utilization * 100.0,
        metrics.bytes_read,
        metrics.bytes_written,
    );
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("the loop cannot go on: {error}"), &[]);
            ExitCode::from(exit_code::FAILURE)
        }
    }
}

/// A line of the log. The default would write to stderr itself, and wait for whoever reads it.
fn report_panic(panic: &PanicHookInfo<'_>) {
    log::error!(target: "bucle::serve", "{}", place_and_reason(panic));
}

fn place_and_reason(panic: &PanicHookInfo<'_>) -> String {
    let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    format!("panicked at {place}: {}", panic.payload_as_str().unwrap_or("?"))
}

/// Binds the server and has it closed in order at the first SIGINT or SIGTERM; the second ends the process at once.
fn open(lp: &mut Loop, serve: &Serve, places: usize, handler: impl Handler) -> Result<LocalAddress> {
    let rules =
        Rules { max_connections: places, idle_timeout: serve.idle_timeout, says_why: serve.kind.is_for_lines() };
    let options = ServerOptions {
        no_delay: true,
        keep_alive: true,
        keep_alive_initial_delay: KEEP_ALIVE_DELAY,
        user_timeout: USER_TIMEOUT,
        high_water_mark: HIGH_WATER_MARK,
        timeout: serve.idle_timeout,
        accepts_per_turn: ACCEPTS_PER_TURN,
        limits: Limits { reads_per_turn: serve.kind.reads_per_turn(), ..serve.limits.clone() },
        ..ServerOptions::default()
    };
    lp.set_outbox_limit(serve.total_outbox_limit);
    let server = Server::new(lp, options, House::new(rules, handler));
    listen(lp, server, serve)?;
    process::ignore(Signal::Hangup)?;
    process::on_signal(lp, &[Signal::Interrupt, Signal::Terminate], move |lp, signal| {
        log::info!(target: "bucle::serve", "{signal}: closing; once more ends it at once");
        for signal in [Signal::Interrupt, Signal::Terminate] {
            if let Err(error) = process::exit_on(signal, exit_code::INTERRUPTED.into()) {
                log::warn!(target: "bucle::serve", "{error}");
            }
        }
        house::close(lp, server);
    })?;
    server.id().address(lp).ok_or(bucle::Error::Gone)
}

fn listen<H: Handler>(lp: &mut Loop, server: Server<H>, serve: &Serve) -> Result<()> {
    match &serve.address {
        Address::Tcp(host, port) => {
            server.id().listen_now(lp, Listen::from((host.as_str(), *port)).reuse_port(serve.reuse_port))
        }
        Address::Unix(path) => failure::take_path(path, || server.id().listen_now(lp, Listen::path(path))),
    }
}

/// The one line on stdout, for scripts and tests, and what to type next, for people.
///
/// stdout may be a full pipe, and a server does not stop for that: then a thread of its own waits. Only then, for the C
/// library's system calls cost more, for good, in a process that has ever had a second thread.
fn announce(kind: Kind, address: &LocalAddress) {
    let line = format!("{} listening on {address}\n", kind.name());
    let hint = match address {
        LocalAddress::Path(path) => format!("bucle connect unix:{}", path.display()),
        LocalAddress::Ip(address) => {
            let (ip, port) = (address.ip(), address.port());
            let program = if kind.is_for_lines() { "telnet" } else { "nc" };
            let host = if ip.is_unspecified() { "localhost".to_owned() } else { ip.to_string() };
            // `connect` takes no host for 127.0.0.1.
            let target = match ip {
                IpAddr::V4(ip) if ip.is_unspecified() || ip == Ipv4Addr::LOCALHOST => format!(":{port}"),
                ip if ip.is_unspecified() => format!("[::1]:{port}"),
                _ => address.to_string(),
            };
            format!("bucle connect {target}      or  {program} {host} {port}")
        }
    };
    let say = move || {
        if let Err(error) = process::write_stdout(line.as_bytes()) {
            log::warn!(target: "bucle::serve", "{}: cannot say so on standard output: {}", line.trim_end(), words_for(&error));
        }
        stderr::write(format!("  try:  {hint}      (in another terminal; Ctrl-C here ends the server)\n").as_bytes());
    };
    if process::takes_a_line(&io::stdout()) {
        say();
    } else {
        std::thread::spawn(say);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_panic_is_told_with_its_place_in_one_line() {
        let (said, heard) = mpsc::channel();
        let default = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            let _ = said.send(place_and_reason(panic));
        }));
        let line = line!() + 1;
        let caught = panic::catch_unwind(|| panic!("on {}", "purpose"));
        panic::set_hook(default);
        assert!(caught.is_err());
        let want = format!("panicked at {}:{line}:", file!());
        let told: Vec<String> = heard.try_iter().filter(|told| told.starts_with(&want)).collect();
        assert!(matches!(&told[..], [told] if told.ends_with(": on purpose")), "{told:?}");
    }
}
