//! Standard output and standard error: unbuffered writes, and checks that a write will not block.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::{Error, Result};

/// Writes all of `bytes` to standard output, unbuffered. It **blocks** while the reader is slow.
///
/// Meanwhile the loop does not run. That is acceptable for a command whose purpose is its output, but not for a server,
/// which should write to its log instead. Unlike [`std::io::stdout`], this works with an output that another program
/// has made non-blocking.
///
/// # Errors
/// `EPIPE` if the reader is gone, `ENOSPC` if the disk is full.
pub fn write_stdout(bytes: &[u8]) -> Result<()> {
    write_all(&io::stdout(), bytes).map_err(|error| Error::system("write", &error))
}

/// Writes all of `bytes` to standard error, as [`write_stdout`] does to standard output. It does not lock
/// [`std::io::stderr`], so other threads can write there meanwhile.
///
/// # Errors
/// As [`write_stdout`].
pub fn write_stderr(bytes: &[u8]) -> Result<()> {
    write_all(&io::stderr(), bytes).map_err(|error| Error::system("write", &error))
}

/// How many columns the terminal on standard output has. `None` if it is not a terminal, or the terminal does not know
/// ([Node: `writeStream.columns`](https://nodejs.org/docs/latest-v20.x/api/tty.html#writestreamcolumns)).
pub fn columns() -> Option<usize> {
    columns_of(&io::stdout())
}

/// How many columns the terminal on `output` has, such as [`std::io::stderr`].
pub fn columns_of(output: &impl AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(output).ok()?;
    (size.ws_col > 0).then_some(size.ws_col.into())
}

/// Whether a line can be written to `output` without blocking. A writable pipe has room for `PIPE_BUF` bytes, which is
/// 4096 on Linux (pipe(7)).
pub fn takes_a_line(output: &impl AsFd) -> bool {
    look_at(output).contains(PollFlags::OUT)
}

/// A terminal that is written to **without blocking**, so that a program can handle signals while Ctrl-S stops the
/// output. [`takes_a_line`] is not enough for that, because a terminal that is nearly full is writable too.
///
/// It opens the terminal a second time. `O_NONBLOCK` belongs to the open file, and the file of standard output is
/// shared with the shell and with other programs on the terminal. If the system cannot open it again (macOS through
/// `/dev/fd`, Linux for the terminal of another user), the same file is used. Then a write blocks if the terminal has
/// room for only a part of it.
#[derive(Debug)]
pub struct TerminalOutput(OwnedFd);

impl TerminalOutput {
    /// Opens the terminal on `output`, such as [`std::io::stdout`].
    ///
    /// # Errors
    /// `ENOTTY` if it is not a terminal, `EMFILE` if too many files are open.
    pub fn new(output: &impl AsFd) -> Result<TerminalOutput> {
        // Checked first: a regular file that is opened again would be overwritten from its start.
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

    /// Writes as much of `bytes` as the terminal takes now, and returns how many bytes that was.
    ///
    /// # Errors
    /// `EIO` if the terminal is gone.
    pub fn write(&self, bytes: &[u8]) -> Result<usize> {
        let mut written = 0;
        // Any flag will do: after an error condition the write returns the error.
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

/// The poll flags of `output`: empty if a write would block.
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
