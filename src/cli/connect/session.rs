//! One session: a connection, standard input, and what is shown of both.
//!
//! The session reads the input and pauses it, edits the line at a terminal, and waits for a terminal that is full. How
//! input is sent, and how the connection ends, is different for each [`Connection`].

use std::fmt;
use std::io::{self, IsTerminal};
use std::mem;
use std::ops::ControlFlow;
use std::time::Duration;

use bucle::net::Shared;
use bucle::process::{self, Input, Stdin};
use bucle::{Loop, Result};

use super::display::{Display, OutputFailed, Terminal};
use crate::cli::advice::words_for;
use crate::cli::stderr::{self, Row};

/// The first wait before a terminal that is full is written to again. Each time that it takes nothing the wait doubles,
/// up to [`LONGEST_RETRY`]. So a terminal that is only slow is not slowed down further, and one that Ctrl-S holds for
/// an hour costs little.
const RETRY: Duration = Duration::from_millis(1);

const LONGEST_RETRY: Duration = Duration::from_millis(100);

/// A connection as the session sees it: the handle of one protocol.
pub(super) trait Connection: Copy + 'static {
    /// The protocol's own state in the session.
    type State;

    fn pause(self, lp: &mut Loop);
    fn resume(self, lp: &mut Loop);
    fn destroy(self, lp: &mut Loop);
    /// The connection was not made in this time: reports it and destroys the connection.
    fn give_up(self, lp: &mut Loop, session: &mut Session<Self>, timeout: Duration);
    /// Whether the server reads too slowly: no more input is read until it has read.
    fn needs_drain(self, lp: &Loop) -> bool;

    /// Sends a line that was edited at the prompt. Returns whether more input may be read. Adds to `notes` what the
    /// user must know.
    fn send_line(self, lp: &mut Loop, state: &mut Self::State, line: &str, notes: &mut Vec<String>) -> bool;
    /// Sends input without a prompt, as it was read. Returns whether more input may be read.
    fn send_chunk(self, lp: &mut Loop, session: &mut Session<Self>, chunk: &[u8]) -> bool;
    /// The input has ended.
    fn end(self, lp: &mut Loop, session: &mut Session<Self>);
}

/// One connection, standard input, and what is shown of both.
pub(super) struct Session<C: Connection> {
    /// The session as timers and standard input know it. `None` only before the connection is opened.
    pub(super) handle: Option<Shared<Session<C>>>,
    pub(super) display: Display,
    pub(super) connection: Option<C>,
    /// The protocol's own state.
    pub(super) state: C::State,
    /// How long the connection may take to be made.
    pub(super) timeout: Option<Duration>,
    /// Opened when the connection is made: if there is no connection, the input belongs to the shell.
    stdin: Option<Stdin>,
    /// Standard input is a terminal: `exit` is a command.
    pub(super) is_typed: bool,
    pub(super) is_connected: bool,
    /// Our input has ended, so our side ends when everything is sent.
    pub(super) has_ended: bool,
    /// The connection and standard input are paused until the terminal has taken everything.
    pub(super) is_held: bool,
    /// A timer is set, because the row with the prompt is about to be replaced.
    looks_again: bool,
    /// The connection is closed; the loop runs only until the terminal has taken the rest.
    is_over: bool,
}

impl<C: Connection> Session<C> {
    pub(super) fn new(state: C::State, terminal: Terminal, timeout: Option<Duration>) -> Self {
        let is_typed = io::stdin().is_terminal();
        Session {
            handle: None,
            display: Display::new(is_typed, terminal),
            timeout,
            connection: None,
            state,
            stdin: None,
            is_typed,
            is_connected: false,
            has_ended: false,
            is_held: false,
            looks_again: false,
            is_over: false,
        }
    }

    /// `--timeout`: gives up the connection if it is not made in time.
    pub(super) fn limit_connecting(&self, lp: &mut Loop) {
        let Some(timeout) = self.timeout else { return };
        let give_up = self.callback(move |session, lp| {
            if let Some(connection) = session.connection
                && !session.is_connected
            {
                connection.give_up(lp, session, timeout);
            }
        });
        let timer = lp.set_timeout(timeout, give_up);
        lp.unref(timer);
    }

    /// A callback that borrows this session when it runs.
    pub(super) fn callback<F>(&self, f: F) -> impl Fn(&mut Loop) + use<C, F>
    where
        F: Fn(&mut Session<C>, &mut Loop) + 'static,
    {
        let handle = self.handle;
        move |lp| {
            handle.and_then(|handle| handle.with(lp, &f));
        }
    }

    /// Draws the prompt again if a line of the log has replaced it, before the loop waits for events.
    pub(super) fn before_turn(&mut self, lp: &mut Loop) {
        match stderr::row() {
            Row::Kept => {}
            Row::AwaitsQueue => self.look_again(lp),
            Row::Taken => {
                if self.display.redraw().is_err() {
                    lp.stop();
                }
            }
        }
        self.hold_if_behind(lp);
    }

    /// Lets the loop turn again soon: nothing else wakes it when a line of the log is written.
    fn look_again(&mut self, lp: &mut Loop) {
        if mem::replace(&mut self.looks_again, true) {
            return;
        }
        let look = self.callback(|session, _| session.looks_again = false);
        let timer = lp.set_timeout(LONGEST_RETRY, look);
        lp.unref(timer);
    }

    /// Called after the loop has ended; returns the exit code.
    pub(super) fn finish(&mut self) -> u8 {
        self.display.write_postponed();
        // The user was typing for the server when the connection was closed.
        if self.is_typed && self.is_connected && !self.has_ended {
            process::discard_typed();
        }
        self.display.exit_code
    }

    /// Pauses the connection and standard input while the terminal is behind: both would add to the queue for the
    /// terminal.
    pub(super) fn hold_if_behind(&mut self, lp: &mut Loop) {
        if !self.display.is_behind() || self.is_held {
            return;
        }
        self.is_held = true;
        if let Some(connection) = self.connection {
            connection.pause(lp);
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
                let before = session.display.written();
                let result = session.display.retry();
                if !session.display.is_behind() {
                    return session.release(lp, result);
                }
                let has_taken = session.display.written() > before;
                session.retry_in(if has_taken { RETRY } else { LONGEST_RETRY.min(wait * 2) }, lp);
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
        let Some(connection) = self.connection else { return };
        if result.is_err() {
            return connection.destroy(lp);
        }
        connection.resume(lp);
        if !connection.needs_drain(lp) {
            self.resume_stdin(lp);
        }
    }

    /// Reads standard input again, unless our side has ended or the terminal is behind.
    pub(super) fn resume_stdin(&self, lp: &mut Loop) {
        if let Some(stdin) = self.stdin
            && !self.has_ended
            && !self.is_held
        {
            stdin.resume(lp);
        }
    }

    /// The connection is made: shows the prompt and reads standard input. `name` is that of the server.
    pub(super) fn connected(&mut self, lp: &mut Loop, connection: C, name: &dyn fmt::Display) {
        self.is_connected = true;
        self.display.inform(&format!("connected to {name}; exit or Ctrl-D ends it"));
        if let Err(error) = self.display.start_prompt().and_then(|()| self.open_stdin(lp)) {
            self.display.fail(&format!("cannot read standard input: {error}"));
            connection.destroy(lp);
        }
    }

    fn open_stdin(&mut self, lp: &mut Loop) -> Result<()> {
        let Some(handle) = self.handle else { return Ok(()) };
        let stdin = process::stdin(lp, move |lp, stdin, input| {
            handle.with(lp, |session, lp| session.on_input(lp, stdin, input));
        })?;
        self.stdin = Some(stdin);
        Ok(())
    }

    pub(super) fn close_stdin(&mut self, lp: &mut Loop) {
        if let Some(stdin) = self.stdin.take() {
            stdin.close(lp);
        }
    }

    /// Stops reading standard input, until it is resumed.
    pub(super) fn pause_stdin(&self, lp: &mut Loop) {
        if let Some(stdin) = self.stdin {
            stdin.pause(lp);
        }
    }

    fn on_input(&mut self, lp: &mut Loop, stdin: Stdin, input: Input<'_>) {
        // Without a connection nothing is read.
        let Some(connection) = self.connection else { return stdin.pause(lp) };
        match input {
            Input::Data(chunk) => {
                let takes_more = if self.display.has_prompt() {
                    self.send_keys(lp, connection, chunk)
                } else {
                    connection.send_chunk(lp, self, chunk)
                };
                if !takes_more {
                    // `on_drain` resumes it.
                    stdin.pause(lp);
                }
            }
            Input::End => self.end(lp, connection),
            Input::Failed(error) => {
                self.display.fail(&format!("cannot read standard input: {}", words_for(&error)));
                self.end(lp, connection);
            }
            _ => {}
        }
    }

    /// Gives keys to the editor and sends the lines that come out of it. Returns whether more input may be read.
    fn send_keys(&mut self, lp: &mut Loop, connection: C, chunk: &[u8]) -> bool {
        let (mut takes_more, mut ends, mut notes) = (true, false, Vec::new());
        let state = &mut self.state;
        let shown = self.display.type_in(chunk, |line| match line.filter(|line| !is_exit(line.as_bytes())) {
            Some(line) => {
                takes_more = connection.send_line(lp, state, line, &mut notes);
                ControlFlow::Continue(())
            }
            None => {
                ends = true;
                ControlFlow::Break(())
            }
        });
        // Below the line that they are about.
        notes.iter().for_each(|note| self.display.note(note));
        if ends {
            self.end(lp, connection);
        }
        if shown.is_err() {
            connection.destroy(lp);
        }
        takes_more && !ends
    }

    /// The input has ended: ends our side of the connection.
    pub(super) fn end(&mut self, lp: &mut Loop, connection: C) {
        self.has_ended = true;
        self.display.leave_prompt();
        connection.end(lp, self);
    }

    /// The connection is closed: stops the loop as soon as the terminal has taken everything.
    pub(super) fn closed(&mut self, lp: &mut Loop) {
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
pub(super) fn is_exit(line: &[u8]) -> bool {
    line.trim_ascii() == b"exit"
}
