//! The servers of the command: which there are, and how one is opened, announced and closed.
//!
//! ```text
//!   Serve ─▶ a handler (chat, echo, …) and ServerOptions with the limits ─▶ listen ─▶ announce ─▶ run
//!                                                                        SIGINT, SIGTERM ─▶ drain
//! ```
//!
//! | limit | option | a connection that reaches it |
//! |---|---|---|
//! | connections | `--max-connections` | is sent [`FULL`] if the server is for lines, and closed |
//! | idle time | `--idle-timeout` | is sent [`IDLE`] if the server is for lines, and closed |
//! | bytes that wait for a peer | `--outbox-limit`, `--total-outbox-limit` | is reset and logged |
//! | how long they wait | `--write-timeout` | is reset and logged |
//! | time to close | [`Drain::default`] | is destroyed |
//!
//! All of them are kept by [`bucle::net`]; the handlers only serve. A peer that does not read is not told why it is
//! reset: the reason would stand behind all that it has not read.

mod chat;
mod discard;
mod echo;
mod failure;
mod lines;
mod relay;
mod tutorial;

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::panic::{self, PanicHookInfo};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bucle::net::{
    Drain, Error, Handler, Limits, Listen, LocalAddress, READS_PER_TURN, Server, ServerOptions, Shared, Socket,
};
use bucle::process::{self, Signal};
use bucle::telnet::{self, Telnet};
use bucle::{EventLoop, Loop, Result};

use super::advice::words_for;
use super::keep_alive::{KEEP_ALIVE_DELAY, USER_TIMEOUT};
use super::stderr::complain;
use super::target::Address;
use super::trace_file::TraceFile;
use super::{exit_code, machine, stderr};
use chat::rooms::Rooms;
use chat::telnet::TelnetDoor;

/// From this many queued bytes on nothing more is read from a peer until it has read. One full read of the loop.
pub(crate) const HIGH_WATER_MARK: usize = 64 * 1024;

/// How many connections are accepted in one turn. A storm of thousands of connects takes some dozens of turns, and the
/// open connections are served between them.
const ACCEPTS_PER_TURN: usize = 64;

/// How many events are taken in one turn. An event costs some microseconds, and a thousand times as much where a line
/// goes to a thousand members. This many take about a millisecond; the next turn takes the others.
const EVENTS_PER_TURN: usize = 128;

/// What a refused connection of a line server reads.
const FULL: &str = "server full, try again later\r\n";

/// What an idle connection of a line server reads before it is closed.
const IDLE: &str = "idle for too long, good-bye\r\n";

/// A server that the command can run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Nicks and rooms, with commands.
    Chat,
    /// Sends every byte back (RFC 862).
    Echo,
    /// Sends every line back.
    Lines,
    /// Sends every line to all clients.
    Relay,
    /// The server of the tutorial that bucle began with.
    Tutorial,
    /// Reads and sends nothing (RFC 863).
    Discard,
}

/// How many records are kept when they only serve to detect slow callbacks.
#[cfg(feature = "trace")]
const SLOW_WATCH_RECORDS: usize = 1024;

/// The options of `bucle serve`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Serve {
    pub(crate) kind: Kind,
    /// Where to listen.
    pub(crate) address: Address,
    /// `None`: as many as there are descriptors for.
    pub(crate) max_connections: Option<usize>,
    /// Other processes may listen on the same port.
    pub(crate) reuse_port: bool,
    /// Zero: no limit.
    pub(crate) idle_timeout: Duration,
    /// How long the loop looks for work before it sleeps.
    pub(crate) spin: Duration,
    /// How much may wait for one peer, and how long.
    pub(crate) limits: Limits,
    /// How much may wait for all peers together.
    pub(crate) total_outbox_limit: Option<usize>,
    /// How many bytes a line may have, if the server is for lines.
    pub(crate) line_limit: usize,
    /// Where to write what the loop does, if anywhere.
    pub(crate) trace: Option<PathBuf>,
    /// How many bytes of trace are written at most.
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
            Kind::Chat => "nicks and rooms; a line goes to everyone in the room",
            Kind::Echo => "every byte back (RFC 862)",
            Kind::Lines => "every line back",
            Kind::Relay => "every line to all clients",
            Kind::Tutorial => "greets, answers each line, announces a `bye` to all clients",
            Kind::Discard => "reads and throws away (RFC 863)",
        }
    }

    /// The command line that starts it.
    pub(crate) fn command(self) -> String {
        if self == Kind::Chat { "bucle serve".to_owned() } else { format!("bucle serve {}", self.name()) }
    }

    /// The kind of that name; clap lets only names of [`ALL`](Self::ALL) through.
    pub(crate) fn of(name: &str) -> Kind {
        Kind::ALL.into_iter().find(|kind| kind.name() == name).unwrap_or(Kind::Chat)
    }

    /// How many reads one connection gets in a turn. A read of 64 KiB may be thousands of lines, and each may go to
    /// thousands of clients, so one is enough for a line server.
    fn reads_per_turn(self) -> usize {
        if self.is_for_lines() { 1 } else { READS_PER_TURN }
    }

    /// Whether clients read lines. Only then a message can tell why the connection ends: a client that expects bytes
    /// would take it for data.
    fn is_for_lines(self) -> bool {
        !matches!(self, Kind::Echo | Kind::Discard)
    }

    /// A last message, where there are lines. Empty means a FIN alone.
    fn last_message(self, line: &str) -> Option<Vec<u8>> {
        Some(if self.is_for_lines() { line.as_bytes().to_vec() } else { Vec::new() })
    }
}

/// Runs a server until it is told to end.
pub(crate) fn run(serve: &Serve) -> ExitCode {
    let lines = telnet::Options { max_line: serve.line_limit, ..telnet::Options::default() };
    let untouched_lines = telnet::Options { keeps_breaks: true, ..lines };
    match serve.kind {
        Kind::Chat => run_with(serve, |lp| {
            let rooms = Shared::new(lp, Rooms::default());
            Telnet::new(lines, TelnetDoor::new(rooms))
        }),
        Kind::Echo => run_with(serve, |_| echo::Echo),
        Kind::Lines => run_with(serve, |_| Telnet::new(untouched_lines, lines::Lines)),
        Kind::Relay => run_with(serve, |_| Telnet::new(untouched_lines, relay::Relay::default())),
        Kind::Tutorial => run_with(serve, |_| Telnet::new(lines, tutorial::Tutorial::default())),
        Kind::Discard => run_with(serve, |_| discard::Discard),
    }
}

/// Runs a server with the handler that `make_handler` makes.
fn run_with<H: Handler>(serve: &Serve, make_handler: impl FnOnce(&mut Loop) -> H) -> ExitCode {
    let places = match machine::connection_limit(serve.max_connections) {
        Ok(places) => places,
        Err(status) => return status,
    };
    let mut event_loop = match EventLoop::new() {
        Ok(event_loop) => event_loop,
        Err(error) => return machine::complain_of_descriptors(&error),
    };
    // A bug in one callback costs one connection and is logged; the others go on.
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
        // The records are not read. Recording is what makes the loop warn about slow callbacks.
        event_loop.enter(|lp| lp.start_trace(SLOW_WATCH_RECORDS));
    }
    let opened = event_loop.enter(|lp| open(lp, serve, places, make_handler));
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

/// Logs a panic. The default hook writes to stderr and blocks until that is read.
fn report_panic(panic: &PanicHookInfo<'_>) {
    log::error!(target: "bucle::serve", "{}", place_and_reason(panic));
}

fn place_and_reason(panic: &PanicHookInfo<'_>) -> String {
    let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    format!("panicked at {place}: {}", panic.payload_as_str().unwrap_or("?"))
}

/// Logs the error of a connection. That a peer vanishes is normal; what this side did to it is a warning.
fn log_error(socket: Socket, error: &Error) {
    let is_our_doing = matches!(error, Error::Custom { .. } | Error::TooSlow { .. });
    let level = if is_our_doing { log::Level::Warn } else { log::Level::Debug };
    log::log!(target: "bucle::serve", level, "{socket}: {error}");
}

/// Binds the server. The first SIGINT or SIGTERM drains it, the second ends the process immediately.
fn open<H: Handler>(
    lp: &mut Loop,
    serve: &Serve,
    places: usize,
    make_handler: impl FnOnce(&mut Loop) -> H,
) -> Result<LocalAddress> {
    let options = ServerOptions {
        no_delay: true,
        keep_alive: true,
        keep_alive_initial_delay: KEEP_ALIVE_DELAY,
        user_timeout: USER_TIMEOUT,
        urgent_in_line: serve.kind.is_for_lines(),
        high_water_mark: HIGH_WATER_MARK,
        max_connections: Some(places),
        full_message: serve.kind.last_message(FULL),
        timeout: serve.idle_timeout,
        idle_message: serve.kind.last_message(IDLE),
        accepts_per_turn: ACCEPTS_PER_TURN,
        limits: Limits { reads_per_turn: serve.kind.reads_per_turn(), ..serve.limits.clone() },
        ..ServerOptions::default()
    };
    lp.set_outbox_limit(serve.total_outbox_limit);
    let handler = make_handler(lp);
    let server = Server::new(lp, options, handler);
    listen(lp, server, serve)?;
    process::ignore(Signal::Hangup)?;
    process::on_signal(lp, &[Signal::Interrupt, Signal::Terminate], move |lp, signal| {
        log::info!(target: "bucle::serve", "{signal}: closing; once more ends it at once");
        for signal in [Signal::Interrupt, Signal::Terminate] {
            if let Err(error) = process::exit_on(signal, exit_code::INTERRUPTED.into()) {
                log::warn!(target: "bucle::serve", "{error}");
            }
        }
        server.drain(lp, Drain::default());
    })?;
    server.id().address(lp).ok_or(bucle::Error::Gone)
}

fn listen<H: Handler>(lp: &mut Loop, server: Server<H>, serve: &Serve) -> Result<()> {
    match &serve.address {
        Address::Tcp(host, port) => {
            server.id().listen_now(lp, Listen::from((host.as_str(), *port)).reuse_port(serve.reuse_port))
        }
        Address::Unix(path) => match server.id().listen_now(lp, Listen::path(path)) {
            Err(error) if error.code() == "EADDRINUSE" && failure::is_stale_socket(path) => {
                log::info!(target: "bucle::serve", "{}: no server answers there, so it is taken over", path.display());
                // If it cannot be removed, the second attempt fails with the reason.
                let _ = std::fs::remove_file(path);
                server.id().listen_now(lp, Listen::path(path))
            }
            result => result,
        },
    }
}

/// Writes one line to stdout, for scripts and tests, and what to type next to stderr, for people.
///
/// stdout may be a full pipe, and the server must not wait for its reader: then a thread writes. Only then, because a
/// process that has ever had a second thread pays more for some calls of the C library from then on.
fn announce(kind: Kind, address: &LocalAddress) {
    let line = format!("{} listening on {address}\n", kind.name());
    let hint = match address {
        LocalAddress::Path(path) => format!("bucle connect unix:{}", path.display()),
        LocalAddress::Ip(address) => {
            let (ip, port) = (address.ip(), address.port());
            let program = if kind.is_for_lines() { "telnet" } else { "nc" };
            let host = if ip.is_unspecified() { "localhost".to_owned() } else { ip.to_string() };
            // `connect` takes 127.0.0.1 for a target without a host.
            let target = match ip {
                IpAddr::V4(ip) if ip.is_unspecified() || ip == Ipv4Addr::LOCALHOST => format!(":{port}"),
                ip if ip.is_unspecified() => format!("[::1]:{port}"),
                _ => address.to_string(),
            };
            format!("bucle connect {target}      or  {program} {host} {port}")
        }
    };
    let write = move || {
        if let Err(error) = process::write_stdout(line.as_bytes()) {
            log::warn!(target: "bucle::serve", "{}: cannot say so on standard output: {}", line.trim_end(), words_for(&error));
        }
        stderr::write(format!("  try:  {hint}      (in another terminal; Ctrl-C here ends the server)\n").as_bytes());
    };
    if process::takes_a_line(&io::stdout()) {
        write();
    } else {
        std::thread::spawn(write);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_panic_is_logged_with_its_place_in_one_line() {
        let (sender, receiver) = mpsc::channel();
        let default = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            let _ = sender.send(place_and_reason(panic));
        }));
        let line = line!() + 1;
        let caught = panic::catch_unwind(|| panic!("on {}", "purpose"));
        panic::set_hook(default);
        assert!(caught.is_err());
        let want = format!("panicked at {}:{line}:", file!());
        let lines: Vec<String> = receiver.try_iter().filter(|line| line.starts_with(&want)).collect();
        assert!(matches!(&lines[..], [line] if line.ends_with(": on purpose")), "{lines:?}");
    }
}
