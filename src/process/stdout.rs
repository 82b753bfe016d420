//! Standard output and standard error, without surprises.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::{Error, Result};

/// Writes all of `bytes` to standard output, unbuffered, and **waits** as long as its reader makes it wait.
///
/// The loop stands still meanwhile. That is right for a command whose output is its purpose, and wrong for a server: what
/// a server has to say goes to the log. Unlike [`std::io::stdout`] it copes with an output that another program has made
/// non-blocking.
///
/// # Errors
/// `EPIPE` when nobody reads any more, `ENOSPC` when the disk is full.
pub fn write_stdout(bytes: &[u8]) -> Result<()> {
    write_all(&io::stdout(), bytes).map_err(|error| Error::system("write", &error))
}

/// Writes all of `bytes` to standard error, as [`write_stdout`] does to standard output. Whoever writes through
/// [`std::io::stderr`] meanwhile does not have to wait for this to end.
///
/// # Errors
/// As [`write_stdout`].
pub fn write_stderr(bytes: &[u8]) -> Result<()> {
    write_all(&io::stderr(), bytes).map_err(|error| Error::system("write", &error))
}

/// How many columns the terminal on standard output has; `None` if it is no terminal or does not say
/// ([Node: `writeStream.columns`](https://nodejs.org/docs/latest-v20.x/api/tty.html#writestreamcolumns)).
pub fn columns() -> Option<usize> {
    columns_of(&io::stdout())
}

/// The same for another output, such as [`std::io::stderr`].
pub fn columns_of(output: &impl AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(output).ok()?;
    (size.ws_col > 0).then_some(size.ws_col.into())
}

/// Whether a line can be written to `output` without waiting: a pipe that is writable has room for `PIPE_BUF` bytes, 4096
/// on Linux (pipe(7)). For a program that may not wait, and that has nothing to say most of the time.
pub fn takes_a_line(output: &impl AsFd) -> bool {
    look_at(output).contains(PollFlags::OUT)
}

/// A terminal that is written to **without waiting**, for a program that has to hear signals also while Ctrl-S holds the
/// output or nobody reads it. [`takes_a_line`] does not do for that: a terminal that is nearly full is writable, too.
///
/// It has the terminal open a second time. `O_NONBLOCK` belongs to the open file, and the one on standard output is shared
/// with the shell and with whoever else runs on the terminal. Where the system gives no second one (`/dev/fd` of macOS
/// does not, nor does Linux give somebody else's terminal) it is the same file: then a write waits where the terminal
/// takes a beginning only.
#[derive(Debug)]
pub struct TerminalOutput(OwnedFd);

impl TerminalOutput {
    /// The terminal on `output`, such as [`std::io::stdout`].
    ///
    /// # Errors
    /// `ENOTTY` when it is no terminal, `EMFILE` when too many files are open.
    pub fn new(output: &impl AsFd) -> Result<TerminalOutput> {
        // Another file, opened anew, would be written from its start.
        if !rustix::termios::isatty(output) {
            return Err(Error::system("isatty", &Errno::NOTTY.into()));
        }
        let path = format!("/dev/fd/{}", output.as_fd().as_raw_fd());
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(file) => file,
            Err(_) => output.as_fd().try_clone_to_owned().map_err(|error| Error::system("dup", &error))?,
        };
        Ok(TerminalOutput(file))
    }

    /// Writes as much of `bytes` as the terminal takes now, and answers how much that was.
    ///
    /// # Errors
    /// `EIO` when the terminal is gone.
    pub fn write(&self, bytes: &[u8]) -> Result<usize> {
        let mut written = 0;
        // What is wrong with it is told by the write.
        while written < bytes.len() && !look_at(&self.0).is_empty() {
            match rustix::io::write(&self.0, &bytes[written..]) {
                Ok(0) | Err(Errno::AGAIN) => break,
                Ok(len) => written += len,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::system("write", &errno.into())),
            }
        }
        Ok(written)
    }
}

/// Whether a write to `output` would be answered now, and how; empty if it would wait.
fn look_at(output: &impl AsFd) -> PollFlags {
    let mut output = [PollFd::new(output, PollFlags::OUT)];
    let is_told = rustix::event::poll(&mut output, Some(&Timespec::default()));
    if is_told.is_ok() { output[0].revents() } else { PollFlags::empty() }
}

fn write_all(file: &(impl AsFd + AsRawFd), mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(len) => bytes = &bytes[len..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => super::wait_until(file, mio::Interest::WRITABLE)?,
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
