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
//! A service manager can pass listening sockets (`activation.rs`), and is notified when the server is ready
//! (`service_manager.rs`).
//!
//! `--inspect` serves a page about the loop of the server ([`bucle::inspect`]), on a listener of its own.
//!
//! With `--http` the chat, the echo and the tutorial have a second listener, for browsers, WebSocket clients (`web.rs`)
//! and clients of Socket.IO (`socket_io.rs`).
//!
//! With `--cluster` the chat is one of several nodes that Redis connects (`chat/cluster.rs`).
//!
//! All of them are kept by [`bucle::net`]; the handlers only serve. A peer that does not read gets
//! no message before the reset: the message would be queued behind the bytes that the peer has not read.

mod activation;
mod chat;
mod discard;
mod echo;
mod errors;
mod failure;
mod lines;
mod options;
mod relay;
mod service_manager;
mod socket_io;
mod tutorial;
mod web;

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::panic::{self, PanicHookInfo};
use std::process::ExitCode;
use std::time::Duration;

use bucle::engine_io;
use bucle::http::{self, Http};
use bucle::inspect::{self, Inspector, Lessons};
use bucle::net::{Drain, Handler, Limits, Listen, LocalAddress, Server, ServerId, ServerOptions};
use bucle::process::{self, Signal};
use bucle::telnet::{self, Telnet};
use bucle::websocket::Endpoint;
use bucle::{Error, EventLoop, Loop};

use super::advice::words_for;
use super::keep_alive::{KEEP_ALIVE_DELAY, USER_TIMEOUT};
use super::stderr::print_error;
use super::target::Address;
use super::trace_file::TraceFile;
use super::{exit_code, machine, stderr};
use activation::{Passed, Role};
use chat::Chat;
use chat::telnet::TelnetDoor;
use chat::web::{ChatSite, WebDoor};
use failure::Place;
pub(crate) use options::{HIGH_WATER_MARK, Inspect, Kind, Serve, Web};

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

/// Connections that are open for this long after the first signal are reported: the process waits for them.
const REPORT_WAIT_AFTER: Duration = Duration::from_millis(300);

/// Makes the lessons of the live page.
pub(crate) type MakeLessons = fn() -> Box<dyn Lessons>;

/// Runs a server until SIGINT or SIGTERM.
pub(crate) fn run(serve: &Serve, lessons: MakeLessons) -> ExitCode {
    let lines = telnet::Options { max_line: serve.line_limit, ..telnet::Options::default() };
    let untouched_lines = telnet::Options { keeps_breaks: true, ..lines };
    match serve.kind {
        Kind::Chat => run_with(serve, lessons, |lp, common| {
            let chat = match &serve.cluster {
                Some(redis) => Chat::in_cluster(lp, redis, serve.line_limit),
                None => Chat::new(lp),
            };
            let telnet = add(lp, common, Telnet::new(lines, TelnetDoor::new(chat)));
            let web = serve.web.as_ref().map(|web| {
                let options = web::endpoint_options(serve, web, serve.line_limit);
                let endpoint = Endpoint::new(lp, options, WebDoor::new(chat));
                let site = ChatSite::new(endpoint, web::OwnHost::new(web));
                let max_packet = chat::socket_io::packet_limit(serve.line_limit);
                add_with_socket_io(lp, web, common, max_packet, site, |lp, io| {
                    chat::socket_io::open(lp, io, chat, serve.line_limit);
                    socket_io::disconnect_idle(lp, io, serve.idle_timeout, |lp, socket| {
                        chat::socket_io::notify(lp, socket, IDLE.trim_end());
                    });
                })
            });
            Servers { tcp: telnet, web }
        }),
        Kind::Echo => run_with(serve, lessons, |lp, common| {
            let tcp = add(lp, common, echo::Echo);
            let web = serve.web.as_ref().map(|web| {
                let options = web::endpoint_options(serve, web, web.message_limit);
                let site = echo::EchoSite { endpoint: Endpoint::new(lp, options, echo::MessageEcho) };
                let options = web::http_options(web, http::Options::default());
                add(lp, &web::listener_options(common, web.message_limit), Http::new(options, site))
            });
            Servers { tcp, web }
        }),
        Kind::Lines => run_alone(serve, lessons, || Telnet::new(untouched_lines, lines::Lines)),
        Kind::Relay => run_alone(serve, lessons, || Telnet::new(untouched_lines, relay::Relay::default())),
        Kind::Tutorial => run_with(serve, lessons, |lp, common| {
            let tcp = add(lp, common, Telnet::new(lines, tutorial::Tutorial::default()));
            let web = serve.web.as_ref().map(|web| {
                let site = tutorial::Site::new(web::OwnHost::new(web));
                add_with_socket_io(lp, web, common, web.message_limit, site, |lp, io| {
                    tutorial::serve(lp, io);
                    socket_io::disconnect_idle(lp, io, serve.idle_timeout, |_, _| {});
                })
            });
            Servers { tcp, web }
        }),
        Kind::Discard => run_alone(serve, lessons, || discard::Discard),
    }
}

/// The servers that one command runs. They are made first and listen later.
#[derive(Clone, Copy)]
struct Servers {
    tcp: ServerId,
    /// With `--http`.
    web: Option<ServerId>,
}

fn add<H: Handler>(lp: &mut Loop, options: &ServerOptions, handler: H) -> ServerId {
    Server::new(lp, options.clone(), handler).id()
}

/// Adds a second listener that also speaks Socket.IO: `open` adds the listeners of events. `max_packet` limits what a
/// client may send.
fn add_with_socket_io<S: http::Handler>(
    lp: &mut Loop,
    web: &Web,
    common: &ServerOptions,
    max_packet: usize,
    site: S,
    open: impl FnOnce(&mut Loop, socket_io::Server),
) -> ServerId {
    let listener = socket_io::OwnListener::default();
    let (io, options) = socket_io::new_server(lp, web, common, max_packet, &listener);
    open(lp, io);
    let http_options = web::http_options(web, engine_io::http_options(&options.engine));
    let server = add(lp, &web::listener_options(common, max_packet), Http::new(http_options, io.attach(site)));
    listener.set(Some(server));
    server
}

/// Runs a server without a second listener.
fn run_alone<H: Handler>(serve: &Serve, lessons: MakeLessons, make_handler: impl FnOnce() -> H) -> ExitCode {
    run_with(serve, lessons, |lp, common| Servers { tcp: add(lp, common, make_handler()), web: None })
}

/// Runs the servers that `make` makes with the options that all servers have.
fn run_with(serve: &Serve, lessons: MakeLessons, make: impl FnOnce(&mut Loop, &ServerOptions) -> Servers) -> ExitCode {
    // First, while the process has one thread: it changes the environment.
    let passed = match activation::take_sockets(serve) {
        Ok(passed) => passed,
        Err((why, advice)) => {
            print_error(&format!("cannot listen: {why}"), &[advice]);
            return ExitCode::from(exit_code::NO_CONNECTION);
        }
    };
    let inspector = if serve.inspect.is_some() { inspect::DESCRIPTORS } else { 0 };
    let others = inspector + if serve.cluster.is_some() { chat::cluster::DESCRIPTORS } else { 0 };
    let max_connections = match machine::connection_limit(serve.max_connections, others) {
        Ok(limit) => limit,
        Err(status) => return status,
    };
    // A trace or a log that reaches the limit of a file's size must not end the server. If the system refuses this, it
    // does.
    let _ = process::ignore(Signal::FileSize);
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
    let opened = event_loop.enter(|lp| open(lp, serve, passed, max_connections, lessons, make));
    let announcement = match opened {
        Ok(announcement) => announcement,
        Err((_, error)) if matches!(error.code(), "EMFILE" | "ENFILE") => return machine::report_open_files(&error),
        Err((place, error)) => {
            let (message, advice) = failure::explain(&error, serve, &place);
            print_error(&message, &advice);
            return ExitCode::from(exit_code::NO_CONNECTION);
        }
    };
    if let Some(trace) = &trace
        && let Err(status) = event_loop.enter(|lp| trace.begin(lp))
    {
        return status;
    }
    let status = announcement.status();
    announcement.print();
    service_manager::is_ready(&status);
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

/// Binds the servers. The first SIGINT or SIGTERM drains them, the second ends the process immediately.
fn open(
    lp: &mut Loop,
    serve: &Serve,
    passed: Passed,
    max_connections: usize,
    lessons: MakeLessons,
    make: impl FnOnce(&mut Loop, &ServerOptions) -> Servers,
) -> Result<Announcement, (Place, Error)> {
    let common = ServerOptions {
        no_delay: true,
        keep_alive: true,
        keep_alive_initial_delay: KEEP_ALIVE_DELAY,
        user_timeout: USER_TIMEOUT,
        urgent_in_line: serve.kind.is_for_lines(),
        high_water_mark: HIGH_WATER_MARK,
        // Also the limit of Socket.IO's sessions. The limit of all listeners together is set below.
        max_connections: Some(max_connections),
        full_message: serve.kind.last_message(FULL),
        timeout: serve.idle_timeout,
        idle_message: serve.kind.last_message(IDLE),
        accepts_per_turn: ACCEPTS_PER_TURN,
        limits: Limits { reads_per_turn: serve.kind.reads_per_turn(), ..serve.limits.clone() },
        ..ServerOptions::default()
    };
    lp.set_outbox_limit(serve.total_outbox_limit);
    lp.set_connection_limit(Some(max_connections));
    let servers = make(lp, &common);
    // The manager keeps a passed socket, so the next process can accept what waits there.
    let drain = |server, is_passed| (server, Drain { leave_backlog: is_passed, ..Drain::default() });
    let drains = [
        Some(drain(servers.tcp, passed.main.is_some())),
        servers.web.map(|server| drain(server, passed.http.is_some())),
    ];
    let address = if passed.main.is_some() { Place::Passed(Role::Main) } else { Place::of(serve) };
    let at_address = |error| (address.clone(), error);
    listen(lp, servers.tcp, passed.main, &serve.address, serve.reuse_port).map_err(at_address)?;
    if let (Some(server), Some(web)) = (servers.web, &serve.web) {
        let address = Address::Tcp(web.host.clone(), web.port);
        let is_passed = passed.http.is_some();
        listen(lp, server, passed.http, &address, serve.reuse_port)
            .map_err(|error| (if is_passed { Place::Passed(Role::Http) } else { Place::Web(address) }, error))?;
    }
    service_manager::report_turns(lp);
    close_on_signals(lp, drains.into_iter().flatten().collect()).map_err(at_address)?;
    let announcement = Announcement::new(lp, serve.kind, servers).ok_or((address, Error::Gone))?;
    // After the servers: their first callbacks are not held, and the lines come in this order.
    let Some(options) = &serve.inspect else { return Ok(announcement) };
    let inspector = start_inspector(lp, serve.kind, options, passed.inspect, lessons())?;
    Ok(announcement.with_inspector(&inspector))
}

/// Starts the live page.
fn start_inspector(
    lp: &mut Loop,
    kind: Kind,
    options: &Inspect,
    listen: Option<Listen>,
    lessons: Box<dyn Lessons>,
) -> Result<Inspector, (Place, Error)> {
    let Inspect { address, allow_remote, read_only } = *options;
    let place = match listen {
        Some(_) => Place::Passed(Role::Inspect),
        None => Place::Inspect(Address::Tcp(address.ip().to_string(), address.port())),
    };
    let title = format!("bucle serve {}", kind.name());
    let options = inspect::Options { address, listen, allow_remote, read_only, title };
    let inspector = inspect::start_with_lessons(lp, options, lessons).map_err(|error| (place, error))?;
    if !inspector.address().ip().is_loopback() {
        log::warn!(
            target: "bucle::serve",
            "the inspector at {} can be reached by other machines; the connection is not encrypted",
            inspector.address()
        );
    }
    Ok(inspector)
}

/// The first SIGINT or SIGTERM drains the servers, the second ends the process immediately.
fn close_on_signals(lp: &mut Loop, servers: Vec<(ServerId, Drain)>) -> Result<(), Error> {
    process::ignore(Signal::Hangup)?;
    process::on_signal(lp, &[Signal::Interrupt, Signal::Terminate], move |lp, signal| {
        log::info!(target: "bucle::serve", "{signal}: closing; a second signal exits immediately");
        service_manager::is_stopping();
        for signal in [Signal::Interrupt, Signal::Terminate] {
            if let Err(error) = process::exit_on(signal, exit_code::INTERRUPTED.into()) {
                log::warn!(target: "bucle::serve", "{error}");
            }
        }
        for &(server, drain) in &servers {
            server.drain(lp, drain);
        }
        let servers = servers.clone();
        let report = lp.set_timeout(REPORT_WAIT_AFTER, move |lp| report_wait(lp, &servers));
        lp.unref(report);
    })?;
    Ok(())
}

/// Reports the connections that the process waits for, if there are any.
fn report_wait(lp: &Loop, servers: &[(ServerId, Drain)]) {
    let waits_for = match servers.iter().map(|(server, _)| server.connections(lp)).sum() {
        0 => return,
        1 => "1 connection".to_owned(),
        count => format!("{count} connections"),
    };
    let limit = Drain::default().limit.as_secs_f64();
    let text = format!("waiting up to {limit} s for {waits_for} to end; Ctrl-C again exits at once\n");
    stderr::write(text.as_bytes());
}

/// Listens on the socket that was passed, or at the address.
fn listen(
    lp: &mut Loop,
    server: ServerId,
    passed: Option<Listen>,
    address: &Address,
    reuse_port: bool,
) -> Result<(), Error> {
    if let Some(socket) = passed {
        return server.listen_now(lp, socket);
    }
    match address {
        Address::Tcp(host, port) => server.listen_now(lp, Listen::from((host.as_str(), *port)).reuse_port(reuse_port)),
        Address::Unix(path) => failure::take_path(path, || server.listen_now(lp, Listen::path(path))),
    }
}

/// The lines that are printed when the servers listen.
struct Announcement {
    /// For scripts and tests: one line for each listener, on stdout.
    lines: String,
    /// For people: what to try next, on stderr.
    hint: String,
}

impl Announcement {
    fn new(lp: &Loop, kind: Kind, servers: Servers) -> Option<Announcement> {
        let address = servers.tcp.address(lp)?;
        let mut lines = format!("{} listening on {address}\n", kind.name());
        let mut hint = format!("  try:  {}\n", try_next(kind, &address));
        if let (Some(server), Some(scheme)) = (servers.web, kind.web_scheme()) {
            lines += &format!("{} listening on {}\n", kind.name(), web::url(scheme, &server.address(lp)?));
            // Browsers and clients connect to no unix socket.
            if let Some(url) = web::local_url(scheme, lp, server) {
                hint += &match kind {
                    Kind::Chat => format!("  or:   {url}      (in a browser)\n"),
                    Kind::Tutorial => format!("  or:   {url}      (for a client of Socket.IO)\n"),
                    _ => format!("  or:   bucle connect {url}\n"),
                };
            }
        }
        hint += "        (in another terminal; Ctrl-C here ends the server)\n";
        Some(Announcement { lines, hint })
    }

    /// Adds the line with the URL of the live page.
    fn with_inspector(mut self, inspector: &Inspector) -> Announcement {
        self.lines += &format!("inspector listening on {}\n", inspector.url());
        self
    }

    /// The lines in one, for the service manager. Without the token of the live page, because every user of the machine
    /// can read the status.
    fn status(&self) -> String {
        let lines: Vec<&str> = self.lines.lines().map(|line| line.split('?').next().unwrap_or(line)).collect();
        lines.join(", ")
    }

    /// stdout may be a full pipe, and the server must not wait for its reader: in that case a thread writes. Only in
    /// that case, because in a process that has ever had a second thread, the C library's system calls stay slower
    /// until the process ends.
    fn print(self) {
        let Announcement { lines, hint } = self;
        let write = move || {
            if let Err(error) = process::write_stdout(lines.as_bytes()) {
                log::warn!(target: "bucle::serve", "{}: cannot write this to standard output: {}", lines.trim_end(), words_for(&error));
            }
            stderr::write(hint.as_bytes());
        };
        if process::takes_a_line(&io::stdout()) {
            write();
        } else {
            std::thread::spawn(write);
        }
    }
}

/// Commands that connect to this address.
fn try_next(kind: Kind, address: &LocalAddress) -> String {
    match address {
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
