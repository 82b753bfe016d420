//! `bucle connect`: a client for a terminal and for pipes, over TCP, a unix socket or WebSocket.
//!
//! ```text
//!   standard input ── typed lines, or bytes ──▶ socket ──▶ server
//!   standard output ◀── text above the prompt, or bytes ── socket ◀──┘
//!
//!   run ─▶ Session ─┬─ tcp.rs         bytes
//!                   └─ websocket.rs   a line is a message, or with events.rs an event of Socket.IO
//! ```
//!
//! Over WebSocket the input is always lines, and the connection ends in another way: see `websocket.rs`. All of the
//! following is about TCP and unix sockets; typed input and the terminal are the same for both.
//!
//! * **Typed input**: each line is sent when Enter is pressed, with its `\n`. `exit` or Ctrl-D ends our side of the
//!   connection, and the client waits until the server ends its side. If standard input and output are both a terminal,
//!   the client edits and draws the line that is being typed ([`Display`]). With `--raw`, or where `TERM` is `dumb`,
//!   the terminal does that.
//! * **Piped input**: bytes are sent unchanged. At their end the client ends its side and waits until the server ends
//!   its side, like `nc -N`. The client reads its input no faster than the server reads, so memory stays bounded. A
//!   server may end its side first and go on reading: the client sends all of its input. Input that cannot be delivered
//!   is an error.
//! * **Output** on a terminal is text, with control bytes escaped. With `--raw`, or if standard output is not a
//!   terminal, the server's bytes are written unchanged.
//!
//! A user who is typing when the server closes the connection has typed for the server. The client discards that input,
//! or the shell would take it for a command. Input that is typed after `exit` or Ctrl-D is for the shell, and is kept.

mod answers;
mod breaks;
mod display;
mod events;
mod history_file;
mod queue;
mod secrets;
mod session;
mod tcp;
mod websocket;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use bucle::net::{Shared, Socket};
use bucle::process::{self, Signal};
use bucle::{Error, EventLoop, Loop, Result};

use super::stderr::print_error;
use super::target::Address;
use super::target::words::{cannot_understand, without_secrets};
use super::usage::Usage;
use super::{exit_code, machine, socket_io};
pub(crate) use display::Terminal;
pub(crate) use events::EventOptions;
use events::Events;
use session::{Connection, Session};
use tcp::Tcp;
use websocket::{Link, Messages};

/// How long the client waits for answers at the end of piped input, unless `--linger` sets it.
const LINGER: Duration = Duration::from_secs(5);

/// The same for a user, who has seen the answers already.
const TYPED_LINGER: Duration = Duration::from_secs(1);

/// The options of `bucle connect`.
#[derive(Debug)]
pub(crate) struct Connect {
    pub(crate) target: String,
    pub(crate) terminal: Terminal,
    /// Lines end in `\r\n`. Only for TCP.
    pub(crate) crlf: bool,
    /// How long the connection may take to be made.
    pub(crate) timeout: Option<Duration>,
    /// Only for WebSocket.
    pub(crate) hex: bool,
    /// Only for WebSocket.
    pub(crate) linger: Option<Duration>,
    /// Only for WebSocket.
    pub(crate) reconnect: bool,
    /// Only for Socket.IO.
    pub(crate) events: EventOptions,
}

pub(crate) fn run(options: &Connect) -> ExitCode {
    let result = match () {
        () if socket_io::is_url(&options.target) => connect_socket_io(options),
        () => check_events(options).and_then(|()| match is_websocket(&options.target) {
            true => connect_websocket(options),
            false => connect_tcp(options),
        }),
    };
    match result {
        Ok(exit_code) => ExitCode::from(exit_code),
        Err(Stop::Usage(usage)) => usage.report(),
        Err(Stop::Machine(status)) => status,
        Err(Stop::Loop(error)) if matches!(error.code(), "EMFILE" | "ENFILE") => machine::report_open_files(&error),
        Err(Stop::Loop(error)) => {
            print_error(&format!("the loop cannot go on: {error}"), &[]);
            ExitCode::from(exit_code::FAILURE)
        }
    }
}

/// Why the command ends before the session does.
enum Stop {
    /// The command line is wrong.
    Usage(Usage),
    /// The machine does not allow a start, which is reported already.
    Machine(ExitCode),
    Loop(Error),
}

/// Whether the target is a URL of a WebSocket. `wss://` is one: it is refused there.
fn is_websocket(target: &str) -> bool {
    let scheme = target.split_once("://").map_or("", |(scheme, _)| scheme);
    scheme.eq_ignore_ascii_case("ws") || scheme.eq_ignore_ascii_case("wss")
}

fn connect_tcp(options: &Connect) -> Result<u8, Stop> {
    let target = &options.target;
    let address = Address::parse(target).map_err(|why| bad_target(target, &why))?;
    let only_websocket =
        [("--hex", options.hex), ("--linger", options.linger.is_some()), ("--reconnect", options.reconnect)];
    if let Some((option, _)) = only_websocket.into_iter().find(|(_, is_given)| *is_given) {
        let why = format!(
            "{option} is for WebSocket and Socket.IO only, and '{}' is plain TCP",
            without_secrets(target).escape_debug()
        );
        return Err(Stop::Usage(Usage::new(why, "bucle connect ws://127.0.0.1:8081/")));
    }
    run_session(Session::<Socket>::new(Tcp::new(address, options.crlf), options.terminal, options.timeout), tcp::open)
}

/// Options that are for Socket.IO only must not be given.
fn check_events(options: &Connect) -> Result<(), Stop> {
    let EventOptions { event, ack, auth, transport } = &options.events;
    let only_socket_io = [
        ("--event", event.is_some()),
        ("--ack", *ack),
        ("--auth", auth.is_some()),
        ("--transport", transport.is_some()),
    ];
    match only_socket_io.into_iter().find(|(_, is_given)| *is_given) {
        None => Ok(()),
        Some((option, _)) => {
            let why = format!(
                "{option} is for Socket.IO only, and '{}' is not",
                without_secrets(&options.target).escape_debug()
            );
            Err(Stop::Usage(Usage::new(why, "bucle connect sio://127.0.0.1:8081/")))
        }
    }
}

fn connect_socket_io(options: &Connect) -> Result<u8, Stop> {
    let target = &options.target;
    let place = socket_io::parse_url(target).map_err(|why| bad_target(target, &why))?;
    let events = Events::new(place, options.events.clone(), options.hex);
    run_messages(Messages::of_events(target, events, linger_of(options)), options)
}

fn run_messages(messages: Messages, options: &Connect) -> Result<u8, Stop> {
    if options.crlf {
        let why = format!(
            "--crlf is for TCP only, and '{}' is not: a message has no line end",
            without_secrets(&options.target).escape_debug()
        );
        return Err(Stop::Usage(Usage::new(why, "bucle connect HOST:PORT --crlf")));
    }
    let messages = if options.reconnect { messages.reconnecting() } else { messages };
    run_session(Session::<Link>::new(messages, options.terminal, options.timeout), websocket::open)
}

fn linger_of(options: &Connect) -> Duration {
    let default = if io::stdin().is_terminal() { TYPED_LINGER } else { LINGER };
    options.linger.unwrap_or(default)
}

fn connect_websocket(options: &Connect) -> Result<u8, Stop> {
    let messages = Messages::new(&options.target, options.hex, linger_of(options))
        .map_err(|why| bad_target(&options.target, &why.to_string()))?;
    run_messages(messages, options)
}

fn bad_target(target: &str, why: &str) -> Stop {
    Stop::Usage(cannot_understand("connect", target, why))
}

/// Checks the machine and runs the session.
fn run_session<C: Connection>(
    session: Session<C>,
    open: impl FnOnce(&mut Loop, Shared<Session<C>>) -> Result<()>,
) -> Result<u8, Stop> {
    machine::check_client().map_err(Stop::Machine)?;
    run_loop(session, open).map_err(Stop::Loop)
}

/// Connects, runs the loop to its end, and returns the exit code.
fn run_loop<C: Connection>(
    session: Session<C>,
    open: impl FnOnce(&mut Loop, Shared<Session<C>>) -> Result<()>,
) -> Result<u8> {
    let mut event_loop = EventLoop::new()?;
    let has_prompt = session.display.has_prompt();
    let session = event_loop.enter(|lp| Shared::new(lp, session));
    let result = event_loop.enter(|lp| {
        observe(lp, session, has_prompt)?;
        open(lp, session)?;
        session.with(lp, |session, lp| session.limit_connecting(lp));
        Ok(())
    });
    let result = result.and_then(|()| event_loop.run());
    let exit_code = event_loop.enter(|lp| session.with(lp, |session, _| session.finish()));
    // `with` returns `None` only inside a callback of the session, and none is running here.
    result.map(|()| exit_code.unwrap_or(exit_code::FAILURE))
}

/// Handles signals, and draws the prompt again when a line of the log has replaced it.
fn observe<C: Connection>(lp: &mut Loop, session: Shared<Session<C>>, has_prompt: bool) -> Result<()> {
    listen_to_signals(lp, session, has_prompt)?;
    lp.on_prepare(move |lp| {
        session.with(lp, |session, lp| session.before_turn(lp));
        None
    });
    session.with(lp, |it, _| it.handle = Some(session));
    Ok(())
}

/// Without a prompt SIGINT simply ends the process. With a prompt the terminal's settings are restored first. A signal
/// that was ignored when the process started stays ignored: a script has started the client in the background.
fn listen_to_signals<C: Connection>(lp: &mut Loop, session: Shared<Session<C>>, has_prompt: bool) -> Result<()> {
    if !has_prompt {
        return match process::is_ignored(Signal::Interrupt) {
            true => Ok(()),
            false => process::exit_on(Signal::Interrupt, exit_code::INTERRUPTED.into()),
        };
    }
    let mut ends = vec![Signal::Interrupt, Signal::Terminate, Signal::Hangup, Signal::Quit];
    ends.retain(|&signal| !process::is_ignored(signal));
    process::on_signal(lp, &ends.clone(), move |lp, signal| {
        // The status that a shell reports for a process that a signal has ended.
        let status = |signal: Signal| 128 + signal.number();
        for &second in &ends {
            // If the system refuses this, this handler gets the second signal too.
            let _ = process::exit_on(second, status(second));
        }
        session.with(lp, |session, _| {
            session.display.exit_code = u8::try_from(status(signal)).unwrap_or(exit_code::INTERRUPTED);
            session.display.leave_prompt();
        });
        lp.stop();
    })?;
    process::on_signal(lp, &[Signal::Suspend, Signal::Continue, Signal::WindowChange], move |lp, signal| {
        session.with(lp, |session, lp| {
            if signal == Signal::Suspend {
                session.display.hide_prompt();
                // Returns when the shell continues the process.
                process::stop();
            }
            if session.display.restore_prompt().is_err() {
                lp.stop();
            }
        });
    })?;
    Ok(())
}
