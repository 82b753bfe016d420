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
//! All of them are kept by [`bucle::net`]; the handlers only serve. A peer that does not read gets
//! no message before the reset: the message would be queued behind the bytes that the peer has not read.

mod chat;
mod discard;
mod echo;
mod errors;
mod failure;
mod lines;
mod options;
mod relay;
mod tutorial;

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::panic::{self, PanicHookInfo};
use std::process::ExitCode;

use bucle::net::{Drain, Handler, Limits, Listen, LocalAddress, Server, ServerOptions, Shared};
use bucle::process::{self, Signal};
use bucle::telnet::{self, Telnet};
use bucle::{EventLoop, Loop, Result};

use super::advice::words_for;
use super::keep_alive::{KEEP_ALIVE_DELAY, USER_TIMEOUT};
use super::stderr::print_error;
use super::target::Address;
use super::trace_file::TraceFile;
use super::{exit_code, machine, stderr};
use chat::rooms::Rooms;
use chat::telnet::TelnetDoor;
pub(crate) use options::{HIGH_WATER_MARK, Kind, Serve};

/// How many connections are accepted in one turn. A storm of thousands of connects takes some dozens of turns, and the
/// open connections are served between them.
const ACCEPTS_PER_TURN: usize = 64;

/// How many events are taken in one turn. An event costs some microseconds, and a thousand times as much where a line
/// goes to a thousand members. This many take about a millisecond; the next turn takes the others.
const EVENTS_PER_TURN: usize = 128;

/// The message that a line server sends to a connection that it refuses.
const FULL: &str = "server full, try again later\r\n";

/// The message that a line server sends to an idle connection before it closes it.
const IDLE: &str = "idle for too long, good-bye\r\n";

/// How many records are kept when they only serve to detect slow callbacks.
const SLOW_WATCH_RECORDS: usize = 1024;

/// Runs a server until SIGINT or SIGTERM.
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
    let max_connections = match machine::connection_limit(serve.max_connections) {
        Ok(max_connections) => max_connections,
        Err(status) => return status,
    };
    let mut event_loop = match EventLoop::new() {
        Ok(event_loop) => event_loop,
        Err(error) => return machine::report_open_files(&error),
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
    if trace.is_none() && log::log_enabled!(log::Level::Info) {
        // Nothing reads the records, but the loop warns about slow callbacks only while it records.
        event_loop.enter(|lp| lp.start_trace(SLOW_WATCH_RECORDS));
    }
    let opened = event_loop.enter(|lp| open(lp, serve, max_connections, make_handler));
    let address = match opened {
        Ok(address) => address,
        Err(error) if matches!(error.code(), "EMFILE" | "ENFILE") => return machine::report_open_files(&error),
        Err(error) => {
            let (message, advice) = failure::explain(&error, serve);
            print_error(&message, &advice);
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
            print_error(&format!("the loop has failed: {error}"), &[]);
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

/// Binds the server. The first SIGINT or SIGTERM drains it, the second ends the process immediately.
fn open<H: Handler>(
    lp: &mut Loop,
    serve: &Serve,
    max_connections: usize,
    make_handler: impl FnOnce(&mut Loop) -> H,
) -> Result<LocalAddress> {
    let options = ServerOptions {
        no_delay: true,
        keep_alive: true,
        keep_alive_initial_delay: KEEP_ALIVE_DELAY,
        user_timeout: USER_TIMEOUT,
        urgent_in_line: serve.kind.is_for_lines(),
        high_water_mark: HIGH_WATER_MARK,
        max_connections: Some(max_connections),
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
        log::info!(target: "bucle::serve", "{signal}: closing; a second signal exits immediately");
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
        Address::Unix(path) => failure::take_path(path, || server.id().listen_now(lp, Listen::path(path))),
    }
}

/// Writes one line to stdout, for scripts and tests, and a command to try next to stderr, for people.
///
/// stdout may be a full pipe, and the server must not wait for its reader: in that case a thread writes. Only in that
/// case, because in a process that has ever had a second thread, the C library's system calls stay slower until the
/// process ends.
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
            log::warn!(target: "bucle::serve", "{}: cannot write this line to standard output: {}", line.trim_end(), words_for(&error));
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
