//! What `bucle connect` shows on standard output and standard error.
//!
//! ```text
//!   server's bytes ─▶ Bytes                         ─▶ standard output
//!                  ─▶ Text: escaped                 ─▶ standard output, a terminal
//!                  ─▶ Prompt: escaped, above a line ─▶ queue ─▶ terminal, as much as it takes
//! ```
//!
//! With a prompt the terminal hands over single keys and does not show them ([`TerminalKeys`]). That setting outlives
//! the process, so it is undone whenever another program gets the terminal:
//!
//! | when | what happens |
//! |---|---|
//! | our side ends, the server ends, an error, a panic | the settings are restored |
//! | Ctrl-C, `SIGTERM`, `SIGHUP`, Ctrl-\\ | they are restored and the client ends; a second signal ends it immediately |
//! | Ctrl-Z | they are restored, then the process stops; they are changed again when the shell continues it |
//! | `SIGKILL` | nothing can be done; `stty sane` helps |
//!
//! Restoring the settings never blocks, so it is always done before anything is written. A write can block, on a
//! terminal that Ctrl-S holds or whose terminal emulator does not read. So with a prompt only as much is written as the
//! terminal takes immediately ([`TerminalOutput`]). The rest is queued, and the session pauses the socket and the
//! keyboard until it is written. Meanwhile the loop runs and handles signals.

use std::env;
use std::io::{self, IsTerminal};
use std::mem;
use std::ops::ControlFlow;

use bucle::Result;
use bucle::process::{self, TerminalKeys, TerminalOutput};

use super::history_file::HistoryFile;
use super::queue::{LONG_MESSAGE, Queue};
use super::secrets::Secrets;
use crate::cli::advice::words_for;
use crate::cli::escape::{Escaper, one_line};
use crate::cli::exit_code;
use crate::cli::screen::Screen;
use crate::cli::stderr::{self, error_text};

/// The width of a terminal that does not report its own.
const COLUMNS: usize = 80;

/// The options of a session at a terminal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    /// Control bytes of the server are written unchanged.
    pub(crate) raw: bool,
    /// Sent lines are kept for the next session.
    pub(crate) keeps_history: bool,
}

/// Standard output cannot be written any longer. If that is worth reporting, it has been reported.
pub(super) struct OutputFailed;

/// Shows messages of the server and notes to the user, and keeps the exit code of the program.
pub(super) struct Display {
    output: Output,
    /// Where sent lines are kept for the next session.
    history: HistoryFile,
    /// Whether a password is being typed. `None` without a prompt: then the text need not be searched.
    secrets: Option<Secrets>,
    /// Messages are written unchanged, also if they contain line breaks.
    is_raw: bool,
    /// Standard input is a terminal: its user is informed of what happens.
    is_typed: bool,
    /// Standard output, if there is a prompt.
    terminal: Option<TerminalOutput>,
    /// Bytes that the terminal has not taken yet. Bounded, because the input is paused while there are any: at most one
    /// chunk or one message.
    queue: Queue,
    /// How many bytes the terminal has taken.
    written: u64,
    /// Messages for standard error, held back until `queue` is written, so that they come after the server's text.
    postponed: String,
    /// A write to standard output has failed.
    has_failed: bool,
    /// The prompt has to be drawn again when `queue` is written.
    is_redraw_due: bool,
    /// Keeps the settings of the terminal while there is a prompt on it.
    keys: Option<TerminalKeys>,
    /// The exit code of the process, as the last report has set it.
    pub(super) exit_code: u8,
}

/// How the server's bytes are shown.
enum Output {
    /// Unchanged.
    Bytes,
    /// As text, at the cursor.
    Text(Escaper),
    /// As text, above the line that is being typed.
    Prompt(Escaper, Box<Screen>),
}

impl Display {
    pub(super) fn new(is_typed: bool, options: Terminal) -> Self {
        let Terminal { raw, keeps_history } = options;
        let is_shown = io::stdout().is_terminal() && !raw;
        let has_prompt = is_typed && is_shown && env::var_os("TERM").is_some_and(|term| term != "dumb");
        let history = if has_prompt && keeps_history { HistoryFile::open() } else { HistoryFile::default() };
        let output = match (is_shown, has_prompt) {
            (_, true) => Output::Prompt(Escaper::default(), Box::new(Screen::new(history.lines()))),
            (true, false) => Output::Text(Escaper::default()),
            (false, false) => Output::Bytes,
        };
        Display {
            output,
            history,
            secrets: has_prompt.then(Secrets::default),
            is_raw: raw,
            is_typed,
            terminal: if has_prompt { TerminalOutput::new(&io::stdout()).ok() } else { None },
            queue: Queue::default(),
            written: 0,
            postponed: String::new(),
            has_failed: false,
            is_redraw_due: false,
            keys: None,
            exit_code: 0,
        }
    }

    /// Whether the client edits and draws the line that is being typed.
    pub(super) fn has_prompt(&self) -> bool {
        matches!(self.output, Output::Prompt(..))
    }

    /// Shows bytes from the server.
    pub(super) fn show(&mut self, chunk: &[u8]) -> Result<(), OutputFailed> {
        self.watch(chunk);
        let text = match &mut self.output {
            Output::Bytes => None,
            Output::Text(escaper) => Some(escaper.escape(chunk)),
            Output::Prompt(escaper, screen) => {
                let text = screen.show(&escaper.escape(chunk), columns());
                let is_echo_off = self.secrets.as_ref().is_some_and(Secrets::is_echo_off);
                Some(text + &screen.set_echo_off(is_echo_off, columns()))
            }
        };
        self.write(text.as_ref().map_or(chunk, String::as_bytes))
    }

    fn watch(&mut self, chunk: &[u8]) {
        if let Some(secrets) = &mut self.secrets {
            secrets.watch(chunk);
        }
    }

    /// Shows a message of the server as one line: line breaks inside it are escaped, unless the output is raw.
    pub(super) fn show_line(&mut self, message: &str) -> Result<(), OutputFailed> {
        if message.len() > LONG_MESSAGE && self.terminal.is_some() {
            return self.show_long_line(message);
        }
        let mut line = if self.is_raw { message.to_owned() } else { one_line(message) };
        line.push('\n');
        self.show(line.as_bytes())
    }

    /// Shows a long message above the prompt.
    fn show_long_line(&mut self, message: &str) -> Result<(), OutputFailed> {
        self.watch(message.as_bytes());
        self.watch(b"\n");
        let Output::Prompt(_, screen) = &mut self.output else { return Ok(()) };
        let (before, after) = screen.around_line(columns());
        self.queue.push(before.as_bytes());
        self.queue.push_message(message);
        self.write(after.as_bytes())
    }

    /// Shows the unfinished line that was held back.
    pub(super) fn show_unfinished(&mut self) -> Result<(), OutputFailed> {
        self.change_screen(|screen| screen.show_unfinished(columns()))
    }

    pub(super) fn has_unfinished_line(&self) -> bool {
        matches!(&self.output, Output::Prompt(_, screen) if screen.has_unfinished_line())
    }

    /// The server sends no more: shows what was held back, and takes the prompt away.
    pub(super) fn finish(&mut self) {
        let rest = match &mut self.output {
            Output::Bytes => String::new(),
            Output::Text(escaper) => escaper.finish(),
            Output::Prompt(escaper, screen) => screen.show(&escaper.finish(), columns()),
        };
        let _ = self.write(rest.as_bytes());
        self.leave_prompt();
    }

    /// Takes in keys; see [`Screen::type_in`].
    pub(super) fn type_in(
        &mut self,
        keys: &[u8],
        mut send: impl FnMut(Option<&str>) -> ControlFlow<()>,
    ) -> Result<(), OutputFailed> {
        let is_secret = self.secrets.as_ref().is_some_and(Secrets::is_asked_for);
        let history = &mut self.history;
        let Output::Prompt(_, screen) = &mut self.output else { return Ok(()) };
        screen.set_secret(is_secret);
        let is_echo_off = self.secrets.as_ref().is_some_and(Secrets::is_echo_off);
        let before = screen.set_echo_off(is_echo_off, columns());
        let mut is_sent = false;
        let shown = screen.type_in(keys, columns(), |line| {
            let flow = send(line);
            // An empty line is no password: the server asks again, perhaps without a text.
            is_sent |= line.is_some_and(|line| !line.is_empty());
            if let Some(line) = line
                && flow.is_continue()
                && !is_secret
            {
                history.append(line);
            }
            flow
        });
        if let Some(secrets) = &mut self.secrets {
            if is_sent { secrets.sent() } else { secrets.typed() }
        }
        self.write((before + &shown).as_bytes())
    }

    /// Changes the terminal's settings and shows the prompt.
    ///
    /// # Errors
    /// When the settings cannot be changed.
    pub(super) fn start_prompt(&mut self) -> Result<()> {
        if self.has_prompt() {
            self.keys = Some(TerminalKeys::start()?);
            // A failed write is handled when the server sends something.
            let _ = self.change_screen(|screen| screen.prompt(columns()));
            stderr::set_prompt(true);
        }
        Ok(())
    }

    /// Shows the prompt again on a terminal that another program may have used meanwhile.
    pub(super) fn restore_prompt(&mut self) -> Result<(), OutputFailed> {
        if let Some(keys) = &mut self.keys
            && let Err(error) = keys.resume()
        {
            log::debug!(target: "bucle::connect", "the terminal is gone: {error}");
        }
        self.redraw()
    }

    /// Draws the prompt again, or remembers to do so when the terminal has taken everything.
    pub(super) fn redraw(&mut self) -> Result<(), OutputFailed> {
        if self.is_behind() {
            self.is_redraw_due = true;
            return Ok(());
        }
        self.change_screen(|screen| screen.redraw(columns()))
    }

    pub(super) fn redraw_if_due(&mut self) -> Result<(), OutputFailed> {
        if mem::take(&mut self.is_redraw_due) { self.redraw() } else { Ok(()) }
    }

    /// Gives the terminal to another program for a while.
    pub(super) fn hide_prompt(&mut self) {
        if let Some(keys) = &mut self.keys {
            keys.leave();
        }
        if !self.is_behind() {
            let _ = self.change_screen(|screen| screen.hide().to_owned());
        }
    }

    /// Restores the terminal's settings and takes the prompt away. Nothing happens without a prompt.
    pub(super) fn leave_prompt(&mut self) {
        stderr::set_prompt(false);
        self.keys = None;
        let _ = self.change_screen(Screen::leave);
    }

    fn change_screen(&mut self, change: impl FnOnce(&mut Screen) -> String) -> Result<(), OutputFailed> {
        let Output::Prompt(_, screen) = &mut self.output else { return Ok(()) };
        let shown = change(screen);
        self.write(shown.as_bytes())
    }

    /// A closed pipe (`EPIPE`) is not reported: a reader such as `head` may stop reading at any time.
    fn write(&mut self, bytes: &[u8]) -> Result<(), OutputFailed> {
        if self.has_failed {
            return Err(OutputFailed);
        }
        let result = match &self.terminal {
            Some(terminal) => {
                self.queue.push(bytes);
                write_queue(terminal, &mut self.queue, &mut self.written)
            }
            None => process::write_stdout(bytes),
        };
        result.map_err(|error| {
            self.has_failed = true;
            self.queue = Queue::default();
            if error.code() != "EPIPE" {
                self.fail(&format!("cannot write to standard output: {}", words_for(&error)));
            }
            OutputFailed
        })
    }

    /// Writes as much of the queue as the terminal takes now.
    pub(super) fn retry(&mut self) -> Result<(), OutputFailed> {
        self.write(b"")
    }

    /// Whether standard output takes nothing any longer.
    pub(super) fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// How many bytes the terminal has taken so far.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Whether the terminal has not taken everything yet.
    pub(super) fn is_behind(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Reports an error, which also sets the exit code.
    pub(super) fn fail(&mut self, what: &str) {
        self.exit_code = exit_code::FAILURE;
        self.leave_prompt();
        self.message(&error_text(what, &[]));
    }

    /// Writes a message, also with piped input.
    pub(super) fn tell(&mut self, what: &str) {
        self.leave_prompt();
        self.message(&format!("{what}\n"));
    }

    /// Writes a message while the session goes on, also with piped input. The prompt stays, below it.
    pub(super) fn note(&mut self, what: &str) {
        self.message(&format!("{what}\n"));
    }

    /// Writes a message for the user at the terminal. With piped input nothing is written.
    pub(super) fn inform(&mut self, what: &str) {
        if self.is_typed {
            self.message(&format!("{what}\n"));
        }
    }

    fn message(&mut self, text: &str) {
        if self.is_behind() {
            return self.postponed.push_str(text);
        }
        stderr::write_above_prompt(text.as_bytes());
    }

    /// Writes the messages that were postponed.
    pub(super) fn write_postponed(&mut self) {
        if self.postponed.is_empty() {
            return;
        }
        stderr::write_above_prompt(mem::take(&mut self.postponed).as_bytes());
    }
}

/// Writes as much of the queue as the terminal takes now.
fn write_queue(terminal: &TerminalOutput, queue: &mut Queue, written: &mut u64) -> Result<()> {
    loop {
        let front = queue.front();
        let len = front.len();
        if len == 0 {
            return Ok(());
        }
        let taken = terminal.write(front)?;
        queue.advance(taken);
        *written += taken as u64;
        if taken < len {
            return Ok(());
        }
    }
}

fn columns() -> usize {
    process::columns().unwrap_or(COLUMNS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_prompt_the_text_is_not_searched_for_passwords() {
        let display = Display::new(false, Terminal { raw: false, keeps_history: true });
        assert!(!display.has_prompt() && display.secrets.is_none());
    }
}
