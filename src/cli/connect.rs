//! `bucle connect`: a client for a terminal and for pipes.
//!
//! ```text
//!   standard input ── typed lines, or bytes ──▶ socket ──▶ server
//!   standard output ◀── text above the prompt, or bytes ── socket ◀──┘
//! ```
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

mod display;

use std::io::{self, IsTerminal};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::Duration;

use bucle::net::{Error, Handler, Shared, Socket, SocketOptions, Target};
use bucle::process::{self, Input, Signal, Stdin};
use bucle::{EventLoop, Loop, Result, TimerId};

use super::advice::{self, words_for};
use super::keep_alive::{KEEP_ALIVE_DELAY, USER_TIMEOUT};
use super::stderr::print_error;
use super::target::{Address, port_in};
use super::{exit_code, machine, stderr};
use display::{Display, OutputFailed};

/// How long an unfinished line is held back before it is shown. Longer than the time between two packets that carry
/// parts of one line, shorter than a person notices.
const LINE_WAIT: Duration = Duration::from_millis(50);

/// How long the client goes on sending typed lines after the server has ended its side. A server that no longer reads
/// would never take the rest.
const FINAL_SEND_LIMIT: Duration = Duration::from_millis(500);

/// How often the client looks at the progress of piped input after the server has ended its side.
const CHECK: Duration = Duration::from_millis(100);

/// After the server has ended its side: how long piped input may wait for a server that takes nothing of it.
const STUCK_LIMIT: Duration = Duration::from_secs(30);

/// After the server has ended its side: how long the client waits for more piped input. A server that has closed the
/// whole connection cannot be told from one that still reads, and a program that keeps its end of the pipe open would
/// wait for the client.
const INPUT_LIMIT: Duration = Duration::from_secs(5);

/// The first wait before a terminal that is full is written to again. Each time that it takes nothing the wait doubles,
/// up to [`LONGEST_RETRY`]. So a terminal that is only slow is not slowed down further, and one that Ctrl-S holds for
/// an hour costs little.
const RETRY: Duration = Duration::from_millis(1);

const LONGEST_RETRY: Duration = Duration::from_millis(100);

pub(crate) fn run(target: &str, raw: bool) -> ExitCode {
    let address = match Address::parse(target) {
        Ok(address) => address,
        Err(why) => {
            let meant = port_in(target).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
            print_error(
                &format!("cannot understand the target '{}': {why}", target.escape_debug()),
                &[format!("bucle connect {meant}")],
            );
            return ExitCode::from(exit_code::USAGE);
        }
    };
    if let Err(status) = machine::check_client() {
        return status;
    }
    match run_loop(Session::new(address, raw)) {
        Ok(exit_code) => ExitCode::from(exit_code),
        Err(error) if matches!(error.code(), "EMFILE" | "ENFILE") => machine::report_open_files(&error),
        Err(error) => {
            print_error(&format!("the loop cannot go on: {error}"), &[]);
            ExitCode::from(exit_code::FAILURE)
        }
    }
}

/// Connects, runs the loop to its end, and returns the exit code.
fn run_loop(session: Session) -> Result<u8> {
    let mut event_loop = EventLoop::new()?;
    let has_prompt = session.display.has_prompt();
    let session = event_loop.enter(|lp| Shared::new(lp, session));
    let result = event_loop.enter(|lp| open(lp, session, has_prompt)).and_then(|()| event_loop.run());
    let exit_code = event_loop.enter(|lp| session.with(lp, |session, _| session.finish()));
    // `with` returns `None` only inside a callback of the session, and none is running here.
    result.map(|()| exit_code.unwrap_or(exit_code::FAILURE))
}

fn open(lp: &mut Loop, session: Shared<Session>, has_prompt: bool) -> Result<()> {
    listen_to_signals(lp, session, has_prompt)?;
    lp.on_prepare(move |lp| {
        session.with(lp, |session, lp| session.before_turn(lp));
        None
    });
    let is_typed = session.with(lp, |it, _| it.is_typed).unwrap_or(false);
    let options = SocketOptions {
        allow_half_open: !is_typed,
        keep_alive: true,
        keep_alive_initial_delay: KEEP_ALIVE_DELAY,
        user_timeout: USER_TIMEOUT,
        ..SocketOptions::default()
    };
    let socket = Socket::new(lp, options, session);
    let target = session.with(lp, |it, _| {
        (it.handle, it.socket) = (Some(session), Some(socket));
        it.target()
    });
    target.map_or(Ok(()), |target| socket.connect_to(lp, target))
}

/// Without a prompt SIGINT simply ends the process. With a prompt the terminal's settings are restored first.
fn listen_to_signals(lp: &mut Loop, session: Shared<Session>, has_prompt: bool) -> Result<()> {
    if !has_prompt {
        return process::exit_on(Signal::Interrupt, exit_code::INTERRUPTED.into());
    }
    let ends = [Signal::Interrupt, Signal::Terminate, Signal::Hangup, Signal::Quit];
    process::on_signal(lp, &ends, move |lp, signal| {
        // The status that a shell reports for a process that a signal has ended.
        let status = |signal: Signal| 128 + signal.number();
        for second in ends {
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

/// One connection, standard input, and what is shown of both.
struct Session {
    /// The session as timers and standard input know it. `None` only before the connection is opened.
    handle: Option<Shared<Session>>,
    address: Address,
    display: Display,
    socket: Option<Socket>,
    /// Opened when the socket is connected: if there is no connection, the input belongs to the shell.
    stdin: Option<Stdin>,
    /// Standard input is a terminal: `exit` is a command.
    is_typed: bool,
    progress: Progress,
    /// Our input has ended, so our side ends when everything is sent.
    has_ended: bool,
    /// The socket and standard input are paused until the terminal has taken everything.
    is_held: bool,
    /// The socket is closed; the loop runs only until the terminal has taken the rest.
    is_over: bool,
    /// Shows an unfinished line when the rest of it does not arrive in time.
    line_timer: Option<TimerId>,
}

/// The state of the connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Connecting,
    Connected,
    ServerEnded {
        /// The server had not read everything that we had to send, or more input may come.
        had_unsent: bool,
    },
}

impl Session {
    fn new(address: Address, raw: bool) -> Self {
        let is_typed = io::stdin().is_terminal();
        Session {
            handle: None,
            address,
            display: Display::new(is_typed, raw),
            socket: None,
            stdin: None,
            is_typed,
            progress: Progress::Connecting,
            has_ended: false,
            is_held: false,
            is_over: false,
            line_timer: None,
        }
    }

    fn target(&self) -> Target {
        match &self.address {
            Address::Tcp(host, port) => Target::from((host.as_str(), *port)),
            Address::Unix(path) => Target::path(path),
        }
    }

    /// A callback that borrows this session when it runs.
    fn callback<F>(&self, f: F) -> impl Fn(&mut Loop) + use<F>
    where
        F: Fn(&mut Session, &mut Loop) + 'static,
    {
        let handle = self.handle;
        move |lp| {
            handle.and_then(|handle| handle.with(lp, &f));
        }
    }

    /// Draws the prompt again if a line of the log has replaced it, before the loop waits for events.
    fn before_turn(&mut self, lp: &mut Loop) {
        if stderr::has_taken_row() && self.display.redraw().is_err() {
            lp.stop();
        }
        self.hold_if_behind(lp);
    }

    /// Called after the loop has ended; returns the exit code.
    fn finish(&mut self) -> u8 {
        self.display.write_postponed();
        // The user was typing for the server when the connection was closed.
        if self.is_typed && self.progress != Progress::Connecting && !self.has_ended {
            process::discard_typed();
        }
        self.display.exit_code
    }

    /// Pauses the socket and standard input while the terminal is behind: both would add to the queue for the terminal.
    fn hold_if_behind(&mut self, lp: &mut Loop) {
        if !self.display.is_behind() || self.is_held {
            return;
        }
        self.is_held = true;
        if let Some(socket) = self.socket {
            socket.pause(lp);
        }
        if let Some(stdin) = self.stdin {
            stdin.pause(lp);
        }
        self.retry_in(RETRY, lp);
    }

    /// Writes to the terminal again after `wait`.
    fn retry_in(&self, wait: Duration, lp: &mut Loop) {
        lp.set_timeout(
            wait,
            self.callback(move |session, lp| {
                let before = session.display.queued_bytes();
                let result = session.display.retry();
                match session.display.queued_bytes() {
                    0 => session.release(lp, result),
                    left if left < before => session.retry_in(RETRY, lp),
                    _ => session.retry_in(LONGEST_RETRY.min(wait * 2), lp),
                }
            }),
        );
    }

    /// Nothing is queued for the terminal any longer: it has taken everything, or `result` is its failure.
    fn release(&mut self, lp: &mut Loop, result: Result<(), OutputFailed>) {
        self.is_held = false;
        self.display.write_postponed();
        if self.is_over {
            return lp.stop();
        }
        let result = result.and_then(|()| self.display.redraw_if_due());
        let Some(socket) = self.socket else { return };
        if result.is_err() {
            return socket.destroy(lp);
        }
        socket.resume(lp);
        if !socket.needs_drain(lp) {
            self.resume_stdin(lp);
        }
    }

    /// Reads standard input again, unless our side has ended or the terminal is behind.
    fn resume_stdin(&self, lp: &mut Loop) {
        if let Some(stdin) = self.stdin
            && !self.has_ended
            && !self.is_held
        {
            stdin.resume(lp);
        }
    }

    fn open_stdin(&mut self, lp: &mut Loop, socket: Socket) -> Result<()> {
        let Some(handle) = self.handle else { return Ok(()) };
        let stdin = process::stdin(lp, move |lp, stdin, input| {
            handle.with(lp, |session, lp| session.on_input(lp, socket, stdin, input));
        })?;
        self.stdin = Some(stdin);
        Ok(())
    }

    fn close_stdin(&mut self, lp: &mut Loop) {
        if let Some(stdin) = self.stdin.take() {
            stdin.close(lp);
        }
    }

    fn on_input(&mut self, lp: &mut Loop, socket: Socket, stdin: Stdin, input: Input<'_>) {
        match input {
            Input::Data(chunk) => {
                let takes_more = match (self.display.has_prompt(), self.is_typed) {
                    (true, _) => self.send_keys(lp, socket, chunk),
                    (false, true) => self.send_lines(lp, socket, chunk),
                    (false, false) => socket.write(lp, chunk),
                };
                if !takes_more {
                    // `on_drain` resumes it.
                    stdin.pause(lp);
                }
            }
            Input::End => self.end(lp, socket),
            Input::Failed(error) => {
                self.display.fail(&format!("cannot read standard input: {}", words_for(&error)));
                self.end(lp, socket);
            }
            _ => {}
        }
    }

    /// Gives keys to the editor and sends the lines that come out of it. Returns whether more input may be read.
    fn send_keys(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) -> bool {
        let (mut takes_more, mut ends) = (true, false);
        let shown = self.display.type_in(chunk, |line| match line.filter(|line| !is_exit(line.as_bytes())) {
            Some(line) => {
                takes_more = socket.write(lp, format!("{line}\n"));
                ControlFlow::Continue(())
            }
            None => {
                ends = true;
                ControlFlow::Break(())
            }
        });
        if ends {
            self.end(lp, socket);
        }
        if shown.is_err() {
            socket.destroy(lp);
        }
        takes_more && !ends
    }

    /// Sends lines that the terminal has edited. It usually hands over one line per read.
    fn send_lines(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) -> bool {
        let mut takes_more = true;
        for line in chunk.split_inclusive(|&byte| byte == b'\n') {
            if is_exit(line) {
                self.end(lp, socket);
                return false;
            }
            takes_more = socket.write(lp, line);
        }
        takes_more
    }

    /// Ends our side of the connection.
    fn end(&mut self, lp: &mut Loop, socket: Socket) {
        self.has_ended = true;
        self.display.leave_prompt();
        let is_watched = !self.is_typed && matches!(self.progress, Progress::ServerEnded { .. });
        if !is_watched {
            socket.end(lp);
        }
    }

    /// Piped input after the server has ended its side: looks at the progress until the input has ended and is sent.
    ///
    /// `seen` are the bytes that were written and those that the kernel had not taken at the last look, and `quiet` is
    /// how long they have not changed.
    fn watch_sending(&self, lp: &mut Loop, socket: Socket, seen: (u64, usize), quiet: Duration) {
        let look = self.callback(move |session, lp| {
            let Some(info) = socket.info(lp) else { return };
            let unsent = socket.unsent_length(lp);
            let now = (info.bytes_written, unsent);
            let quiet = if now == seen && !session.is_held { quiet + CHECK } else { Duration::ZERO };
            if unsent > 0 && quiet >= STUCK_LIMIT {
                return socket.destroy_with(lp, Error::custom("ETIMEDOUT", "the server no longer reads"));
            }
            // Our FIN follows the last bytes by one look: if the server has closed the whole connection, its reset
            // arrives in this time and is reported.
            let is_over = unsent == 0 && (session.has_ended && quiet >= CHECK || quiet >= INPUT_LIMIT);
            if is_over {
                session.has_ended = true;
                session.close_stdin(lp);
                return socket.end(lp);
            }
            session.watch_sending(lp, socket, now, quiet);
        });
        lp.set_timeout(CHECK, look);
    }

    /// Each part of an unfinished line starts the wait for the rest again.
    fn wait_for_line(&mut self, lp: &mut Loop, socket: Socket) {
        match self.line_timer {
            Some(timer) => drop(lp.refresh(timer)),
            None => {
                let show = self.callback(move |session, lp| {
                    if session.display.show_unfinished().is_err() {
                        socket.destroy(lp);
                    }
                });
                self.line_timer = Some(lp.set_timer(LINE_WAIT, show));
            }
        }
    }
}

impl Handler for Session {
    fn on_connect(&mut self, lp: &mut Loop, socket: Socket) {
        self.progress = Progress::Connected;
        self.display.inform(&format!("connected to {}; exit or Ctrl-D ends it", self.address));
        if let Err(error) = self.display.start_prompt().and_then(|()| self.open_stdin(lp, socket)) {
            self.display.fail(&format!("cannot read standard input: {error}"));
            socket.destroy(lp);
        }
    }

    fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
        if self.display.show(chunk).is_err() {
            return socket.destroy(lp);
        }
        if self.display.has_unfinished_line() {
            self.wait_for_line(lp, socket);
        }
        // Not only before the next turn: this turn may read much more.
        self.hold_if_behind(lp);
    }

    fn on_drain(&mut self, lp: &mut Loop, _: Socket) {
        self.resume_stdin(lp);
    }

    /// With typed input the socket ends our side in response, and closes when everything is sent. Piped input is sent
    /// to its end.
    fn on_end(&mut self, lp: &mut Loop, socket: Socket) {
        let had_unsent = socket.writable_length(lp) > 0;
        if !self.is_typed {
            self.progress = Progress::ServerEnded { had_unsent: had_unsent || !self.has_ended };
            self.display.finish();
            return self.watch_sending(lp, socket, (0, 0), Duration::ZERO);
        }
        self.progress = Progress::ServerEnded { had_unsent };
        self.close_stdin(lp);
        self.display.finish();
        if !self.has_ended {
            self.display.inform("the server closed the connection");
        }
        lp.set_timeout(FINAL_SEND_LIMIT, move |lp| {
            socket.destroy_with(lp, Error::custom("ETIMEDOUT", "the server no longer reads"));
        });
    }

    fn on_error(&mut self, _: &mut Loop, _: Socket, error: Error) {
        let address = &self.address;
        self.display.finish();
        match self.progress {
            Progress::Connecting => {
                let (what, tries) = advice::cannot_connect(address, &error);
                print_error(&what, &tries);
                self.display.exit_code = exit_code::NO_CONNECTION;
            }
            Progress::Connected => {
                self.display.fail(&format!("the connection to {address} was lost: {}", words_for(&error)));
            }
            Progress::ServerEnded { had_unsent: true } => {
                self.display.fail(&format!("{address} closed the connection before it had read all of the input"));
            }
            // Everything was sent and received: an error after that does not matter.
            Progress::ServerEnded { had_unsent: false } => {}
        }
    }

    /// Stops the loop as soon as the terminal has taken everything.
    fn on_close(&mut self, lp: &mut Loop, _: Socket, _: bool) {
        self.close_stdin(lp);
        self.display.finish();
        self.is_over = true;
        if self.display.is_behind() {
            return self.hold_if_behind(lp);
        }
        lp.stop();
    }
}

/// Whether a typed line is the command that ends the connection.
fn is_exit(line: &[u8]) -> bool {
    line.trim_ascii() == b"exit"
}
