//! The mode of the terminal on standard input: lines that the terminal edits, or single keys.
//!
//! ```text
//!   lines   (as a shell leaves it)   the terminal echoes and edits; a line is read after Enter
//!   keys    [`TerminalKeys`]         no echo; every key is read immediately; Ctrl-C and Ctrl-Z still send signals
//! ```
//!
//! A terminal is shared with the shell and with later programs, and its settings outlive the process. So a value owns
//! the change, and restores the old settings when it is dropped. `O_NONBLOCK` is never set on the terminal.

use std::io::{self, IsTerminal};

use rustix::io::retry_on_intr;
use rustix::process::{Signal, getpgrp, getpid, kill_process};
use rustix::termios::{
    Action, InputModes, LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios, tcflow, tcflush,
    tcgetattr, tcgetpgrp, tcsetattr,
};

use crate::{Error, Result};

/// While this lives, the terminal on standard input delivers each key immediately and without echo
/// ([Node: `readStream.setRawMode`](https://nodejs.org/docs/latest-v20.x/api/tty.html#readstreamsetrawmodemode)).
///
/// Unlike Node's raw mode, it does not change the keys that send signals (Ctrl-C, Ctrl-Z, Ctrl-\\), the flow control of
/// Ctrl-S and Ctrl-Q, or the processing of output. Enter is read as `\n` if it was before.
///
/// Dropping it restores the settings, also during a panic. A program must call [`leave`](Self::leave) before it ends
/// itself at a signal or with [`std::process::exit`], and before it stops itself.
#[derive(Debug)]
pub struct TerminalKeys {
    /// The settings to restore.
    lines: Termios,
    is_on: bool,
}

impl TerminalKeys {
    /// Saves and changes the settings.
    ///
    /// A process in the background is stopped until it is in the foreground (`SIGTTOU`). Until then another program may
    /// have changed the settings, so they must not be saved.
    ///
    /// # Errors
    /// `ENOTTY` if standard input is not a terminal, `EIO` if it is gone.
    pub fn start() -> Result<TerminalKeys> {
        wait_for_foreground();
        let mut keys = TerminalKeys { lines: settings()?, is_on: false };
        keys.change()?;
        Ok(keys)
    }

    /// Changes the settings again, after [`leave`](Self::leave), or after another program may have changed them.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn resume(&mut self) -> Result<()> {
        // While the mode is on, the present settings are ours and must not be saved.
        if !self.is_on {
            wait_for_foreground();
            self.lines = settings()?;
        }
        self.change()
    }

    /// Restores the settings. In the background it does nothing, because the terminal then belongs to another program.
    pub fn leave(&mut self) {
        if std::mem::take(&mut self.is_on) && is_in_foreground() {
            // This fails only if the terminal is gone.
            let _ = retry_on_intr(|| tcsetattr(io::stdin(), OptionalActions::Now, &self.lines));
        }
    }

    fn change(&mut self) -> Result<()> {
        let mut keys = self.lines.clone();
        // With `IEXTEN` the terminal would keep the keys for quoting and discarding (macOS).
        keys.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::IEXTEN);
        keys.input_modes.remove(InputModes::ISTRIP);
        keys.special_codes[SpecialCodeIndex::VMIN] = 1;
        keys.special_codes[SpecialCodeIndex::VTIME] = 0;
        retry_on_intr(|| tcsetattr(io::stdin(), OptionalActions::Now, &keys)).map_err(failed("tcsetattr"))?;
        self.is_on = true;
        Ok(())
    }
}

impl Drop for TerminalKeys {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Discards the keys that were typed on the terminal of standard input and have not been read.
///
/// Call it in a program that may end while the user types: otherwise the shell reads the rest of the line as a command.
/// It does nothing if standard input is not a terminal, or in the background.
pub fn discard_typed() {
    if io::stdin().is_terminal() && is_in_foreground() {
        // This fails only if the terminal is gone.
        let _ = retry_on_intr(|| tcflush(io::stdin(), QueueSelector::IFlush));
    }
}

/// Stops the process until its shell continues it, as Ctrl-Z does with a process that does not listen to
/// [`Signal::Suspend`](super::Signal::Suspend). Returns when the process continues.
///
/// If no shell with job control could continue the process, it does not stop.
pub fn stop() {
    // Not `SIGTSTP`: the program listens to it. Not `SIGSTOP`: it stops the process even if no shell could continue it.
    // A process may always send itself a signal, so the result is ignored.
    let _ = kill_process(getpid(), Signal::TTIN);
}

/// Stops the process while it is in the background.
///
/// The system allows a background process to read the settings, but they may be those of the shell, which has its own
/// while it edits lines. The system does stop a background process that changes something on the terminal (`SIGTTOU`).
/// So this makes a change without an effect: it resumes output that is not suspended. A process that is continued in
/// the background (`bg`) is stopped again.
///
/// If the system does not stop the process, because `SIGTTOU` is ignored or no shell could continue it, the process
/// goes on, as it would for any change. Sending a signal would be worse: only the system can check these cases and stop
/// the process in one step.
fn wait_for_foreground() {
    if !is_in_foreground() {
        // If this fails, the change of the settings fails too.
        let _ = retry_on_intr(|| tcflow(io::stdin(), Action::OOn));
    }
}

fn settings() -> Result<Termios> {
    retry_on_intr(|| tcgetattr(io::stdin())).map_err(failed("tcgetattr"))
}

fn failed(call: &'static str) -> impl Fn(rustix::io::Errno) -> Error {
    move |errno| Error::system(call, &errno.into())
}

/// Whether the process may change the terminal: it is in the foreground, or the terminal has no job control.
fn is_in_foreground() -> bool {
    tcgetpgrp(io::stdin()).map_or(true, |group| group == getpgrp())
}
