//! Standard input of any kind: a terminal, a pipe, a file, `/dev/null`, a socket.
//!
//! The loop cannot wait for all of these in the same way:
//!
//! * `epoll` does not accept files and `/dev/null`.
//! * Non-blocking reads need `O_NONBLOCK`, which belongs to the *open file* and not to the descriptor. A terminal is
//!   shared with the user's shell and would stay non-blocking after the program has ended; a pipe is shared with other
//!   readers.
//! * Opening the file again (`/dev/tty`, `/proc/self/fd/0`) avoids that, but fails for sockets, without `/proc`, and
//!   for the pipe of another user.
//!
//! A helper thread with blocking reads works for all of them. It reads only when the loop sends it a buffer:
//!
//! ```text
//!   loop thread                              helper thread
//!   an empty buffer ───────────────────────▶ read(0, buffer): blocks until there is input
//!   |lp, stdin, Input::Data(chunk)| … ◀───── the filled buffer
//!   sends the buffer back, unless paused
//! ```
//!
//! There is only one buffer. So nothing is read ahead while a callback runs or reading is paused, and memory is
//! bounded. The cost is two thread switches per 64 KiB. A thread that blocks in a read does not keep the process alive:
//! it ends with the process, and input that it has not read is left for the next reader.

use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use rustix::io::Errno;

use crate::event_loop::Kind;
use crate::event_loop::{Loop, Remote, SourceId};
use crate::{Error, Result};

/// The size of one read: the capacity of a pipe on Linux, and the size of Node's reads.
const CHUNK_SIZE: usize = 64 * 1024;

/// An event of standard input.
#[derive(Debug)]
#[non_exhaustive]
pub enum Input<'a> {
    /// The bytes of one read: from a terminal one line, otherwise any number of bytes.
    Data(&'a [u8]),
    /// The end of the input: the writers have closed the pipe, the file has ended, or Ctrl-D was typed. No event
    /// follows.
    End,
    /// The read failed (`EISDIR`: it is a directory; `EIO`: the terminal is gone). No event follows.
    Failed(Error),
}

/// A handle to a reader of standard input; from [`stdin`]. After the end of the input its methods do nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stdin(SourceId);

impl Stdin {
    /// Stops reading and delivering until [`resume`](Self::resume). The bytes of a read in progress are kept. A paused
    /// input does not keep the loop alive.
    pub fn pause(self, lp: &mut Loop) {
        lp.pause_source(self.0);
    }

    /// Starts reading again, from the next poll phase on.
    pub fn resume(self, lp: &mut Loop) {
        lp.resume_source(self.0);
    }

    /// Stops reading permanently. The bytes of a read in progress are lost.
    pub fn close(self, lp: &mut Loop) {
        lp.remove_source(self.0);
    }

    /// Lets the input keep the loop alive while it reads: the default.
    #[doc(alias = "ref")]
    pub fn ref_(self, lp: &mut Loop) {
        lp.reference_source(self.0, true);
    }

    /// Lets the loop end although there may be more input.
    pub fn unref(self, lp: &mut Loop) {
        lp.reference_source(self.0, false);
    }
}

/// Reads standard input and calls `f` with each event
/// ([Node: `process.stdin`](https://nodejs.org/docs/latest-v20.x/api/process.html#processstdin)).
///
/// Reading begins, and `f` runs, in the poll phase, for one chunk per turn. One closure handles all events, so that
/// they can share state. The settings of a terminal are not changed, so it delivers complete lines.
///
/// Bytes that [`std::io::stdin`] has already buffered are not delivered. If there are several readers, each chunk goes
/// to an arbitrary one of them.
///
/// ```no_run
/// use bucle::process::{self, Input};
///
/// bucle::run(|lp| {
///     let mut bytes = 0;
///     process::stdin(lp, move |_, _, input| match input {
///         Input::Data(chunk) => bytes += chunk.len(),
///         Input::End => println!("{bytes} bytes"),
///         Input::Failed(error) => eprintln!("standard input: {error}"),
///         _ => {}
///     })?;
///     Ok(())
/// })?;
/// # Ok::<(), bucle::Error>(())
/// ```
///
/// # Errors
/// If the system cannot start a thread (`EAGAIN`).
pub fn stdin(lp: &mut Loop, mut f: impl FnMut(&mut Loop, Stdin, Input<'_>) + 'static) -> Result<Stdin> {
    let (to_fill, empty) = mpsc::channel();
    let (filled, chunks) = mpsc::channel();
    let mut spare = Some(vec![0; CHUNK_SIZE]);
    let id = lp.add_woken_source(move |lp, id| {
        let stdin = Stdin(id);
        if let Ok(Filled { buf, result }) = chunks.try_recv() {
            let input = match result {
                Ok(0) => Input::End,
                Ok(len) => Input::Data(&buf[..len]),
                Err(error) => Input::Failed(Error::system("read", &error)),
            };
            if !matches!(input, Input::Data(_)) {
                lp.remove_source(id);
            }
            if !lp.call(Kind::Stdin, lp.cause(), |lp| f(lp, stdin, input)) {
                lp.remove_source(id);
            }
            lp.boundary();
            spare = Some(buf);
        }
        // The callback may have paused or closed the input, so this is looked up again.
        if lp.is_reading_source(id)
            && let Some(buf) = spare.take()
        {
            // This fails only if the thread has ended, and then the source has been removed.
            let _ = to_fill.send(buf);
        }
    });
    let remote = lp.remote();
    let read = move || read_on_demand(&empty, &filled, &remote, id);
    if let Err(error) = thread::Builder::new().name("bucle-stdin".to_owned()).spawn(read) {
        lp.remove_source(id);
        return Err(Error::system("pthread_create", &error));
    }
    Ok(Stdin(id))
}

/// A buffer that the thread has filled, and the result of the read: 0 bytes mean the end.
struct Filled {
    buf: Vec<u8>,
    result: io::Result<usize>,
}

/// The body of the helper thread: fills each buffer that it receives, until the input ends or the loop has closed it.
fn read_on_demand(to_fill: &Receiver<Vec<u8>>, filled: &Sender<Filled>, remote: &Remote, id: SourceId) {
    for mut buf in to_fill {
        let result = read(&mut buf);
        let is_over = !matches!(result, Ok(1..));
        if filled.send(Filled { buf, result }).is_err() {
            return;
        }
        remote.post_internal(move |lp| lp.wake_source(id));
        if is_over {
            return;
        }
    }
}

/// Reads without the buffer of `std::io::stdin`, whose lock would be held while the read blocks.
fn read(buf: &mut [u8]) -> io::Result<usize> {
    loop {
        match rustix::io::read(io::stdin(), &mut *buf) {
            Err(Errno::INTR) => {}
            // Another program has made the file non-blocking.
            Err(Errno::AGAIN) => super::wait_until(&io::stdin(), mio::Interest::READABLE)?,
            result => return Ok(result?),
        }
    }
}
