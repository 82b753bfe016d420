//! Standard output and standard error, without surprises.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use rustix::event::{PollFd, PollFlags, Timespec};
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
    let mut output = [PollFd::new(output, PollFlags::OUT)];
    let is_told = rustix::event::poll(&mut output, Some(&Timespec::default()));
    is_told.is_ok() && output[0].revents().contains(PollFlags::OUT)
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
