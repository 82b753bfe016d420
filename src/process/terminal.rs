//! The terminal on standard input: lines that it edits itself, or keys as they are pressed; and always given back as it was.
//!
//! ```text
//!   lines   (how a shell leaves it)   the terminal shows and edits; a line comes with Enter
//!   keys    [`TerminalKeys`]          nothing is shown; every key comes at once; Ctrl-C and Ctrl-Z are signals still
//! ```
//!
//! A terminal is shared: with the shell, and with whatever runs after us. What is changed here are its settings, which
//! outlive the process, so they are in the care of a value whose end restores them. `O_NONBLOCK` is never set on it.

use std::io::{self, IsTerminal};

use rustix::io::retry_on_intr;
use rustix::process::{Signal, getpgrp, getpid, kill_process};
use rustix::termios::{
    Action, InputModes, LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios, tcflow, tcflush,
    tcgetattr, tcgetpgrp, tcsetattr,
};

use crate::{Error, Result};

/// Has the terminal on standard input hand over each key as it is pressed, and show none by itself, for as long as this
/// lives ([Node: `readStream.setRawMode`](https://nodejs.org/docs/latest-v20.x/api/tty.html#readstreamsetrawmodemode)).
///
/// Unlike Node's raw mode it leaves alone what makes signals (Ctrl-C, Ctrl-Z, Ctrl-\\), the flow control of Ctrl-S and
/// Ctrl-Q, and what is done to output. Enter comes as `\n` if it did before.
///
/// Dropping it restores what was; so does a panic that unwinds. A program that ends itself at a signal, or by
/// [`std::process::exit`], has to [`leave`](Self::leave) before; one that stops itself, too.
#[derive(Debug)]
pub struct TerminalKeys {
    /// The settings that are not ours.
    lines: Termios,
    is_on: bool,
}

impl TerminalKeys {
    /// Changes the settings, from now on.
    ///
    /// In the background it stops the process until it is in the foreground again (`SIGTTOU`): until then the settings are
    /// somebody else's, and none to go back to.
    ///
    /// # Errors
    /// `ENOTTY` when standard input is no terminal, `EIO` when it is gone.
    pub fn start() -> Result<TerminalKeys> {
        wait_for_foreground();
        let mut keys = TerminalKeys { lines: settings()?, is_on: false };
        keys.change()?;
        Ok(keys)
    }

    /// Changes the settings again, after [`leave`](Self::leave), or after something else may have changed them.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn resume(&mut self) -> Result<()> {
        // Settings that we left behind us are not those that were there before.
        if !self.is_on {
            wait_for_foreground();
            self.lines = settings()?;
        }
        self.change()
    }

    /// Restores what was. In the background nothing is done: the settings are somebody else's then.
    pub fn leave(&mut self) {
        if std::mem::take(&mut self.is_on) && is_in_foreground() {
            // Where it is refused there is no terminal any more.
            let _ = retry_on_intr(|| tcsetattr(io::stdin(), OptionalActions::Now, &self.lines));
        }
    }

    fn change(&mut self) -> Result<()> {
        let mut keys = self.lines.clone();
        // Without `IEXTEN` no key is kept for quoting or discarding (macOS).
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

/// Throws away what was typed on the terminal of standard input and has not been read. A program that ends while somebody
/// types does so, or the shell gets the beginning of a line that was not meant for it. Nothing happens where standard input
/// is no terminal, and in the background.
pub fn discard_typed() {
    if io::stdin().is_terminal() && is_in_foreground() {
        // Where it is refused there is no terminal any more, and nothing typed on it.
        let _ = retry_on_intr(|| tcflush(io::stdin(), QueueSelector::IFlush));
    }
}

/// Stops the process until its shell lets it go on, as Ctrl-Z does to one that does not listen to
/// [`Signal::Suspend`](super::Signal::Suspend). Returns when it goes on. Where there is nobody to let it go on, because it
/// was not started by a shell that controls jobs, it does not stop.
pub fn stop() {
    // Not `SIGTSTP`, to which somebody listens. Not `SIGSTOP`, which the kernel does not ask whether anybody could end it.
    // It is refused by nobody: the process is our own.
    let _ = kill_process(getpid(), Signal::TTIN);
}

/// Stops the process while the terminal is somebody else's. To read the settings the system lets anybody, and a shell that
/// edits lines has its own while we are in the background.
///
/// Setting going what nobody has halted changes nothing, and is a change for which the system stops whoever is in the
/// background, again if that is where it goes on (`bg`). Where it does not stop us, because `SIGTTOU` is ignored or there
/// is no shell that could let us go on, we go on, as with any change. Better than a signal that we send: only the system
/// knows which of these is the case, and it asks and stops in one.
fn wait_for_foreground() {
    if !is_in_foreground() {
        // Where it is refused, so is the change.
        let _ = retry_on_intr(|| tcflow(io::stdin(), Action::OOn));
    }
}

fn settings() -> Result<Termios> {
    retry_on_intr(|| tcgetattr(io::stdin())).map_err(failed("tcgetattr"))
}

fn failed(call: &'static str) -> impl Fn(rustix::io::Errno) -> Error {
    move |errno| Error::system(call, &errno.into())
}

/// Whether the terminal is ours to change. One that controls no jobs is everybody's.
fn is_in_foreground() -> bool {
    tcgetpgrp(io::stdin()).map_or(true, |group| group == getpgrp())
}
