//! Standard input, whatever it is: a terminal, a pipe, a file, `/dev/null`, a socket.
//!
//! The loop could wait for some of these itself, in three ways, each with a trap. `epoll` refuses files and `/dev/null`.
//! Reading without blocking needs `O_NONBLOCK`, which belongs to the *open file* and not to the descriptor: a terminal is
//! shared with the user's shell and would stay non-blocking after our end, a pipe with whoever else reads or inherited it.
//! Opening the file anew (`/dev/tty`, `/proc/self/fd/0`) gets round that, but not for sockets, not without `/proc`, and not
//! for a pipe of another user. So there is one way for all of them, the one in which nothing can go wrong: a helper
//! thread that does plain blocking reads, and only when it is asked to.
//!
//! ```text
//!   loop thread                              helper thread
//!   an empty buffer ───────────────────────▶ read(0, buffer): waits as long as it takes
//!   |lp, stdin, Input::Data(chunk)| … ◀───── the buffer, filled
//!   and back it goes, unless paused
//! ```
//!
//! There is one buffer, so there is one chunk: nothing is read ahead while a chunk is being handled or reading is paused,
//! and memory stays bounded however much comes in. The price is two switches of thread per 64 KiB. A thread that waits in
//! a read does not keep the process from ending: it is gone with it, and what it has not read stays for the next reader.

use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use rustix::io::Errno;

use crate::event_loop::Kind;
use crate::event_loop::{Loop, Remote, SourceId};
use crate::{Error, Result};

/// How much one read takes: what a pipe holds on Linux, and the size Node reads in.
const CHUNK_SIZE: usize = 64 * 1024;

/// What comes out of standard input.
#[derive(Debug)]
#[non_exhaustive]
pub enum Input<'a> {
    /// Bytes, as one read gave them: from a terminal a line, else whatever there was.
    Data(&'a [u8]),
    /// There is no more: the writers of the pipe have closed it, the file is over, Ctrl-D was typed. Nothing follows.
    End,
    /// It cannot be read (`EISDIR`: it is a directory; `EIO`: the terminal is gone). Nothing follows.
    Failed(Error),
}

/// Names the reading of standard input; from [`stdin`]. When that is over the handle finds nothing and does nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stdin(SourceId);

impl Stdin {
    /// Nothing more is delivered, nor read from the system, until [`resume`](Self::resume). A read that is under way is
    /// kept. A paused input does not keep the loop alive.
    pub fn pause(self, lp: &mut Loop) {
        lp.pause_source(self.0);
    }

    /// Reads again, from the next poll phase on.
    pub fn resume(self, lp: &mut Loop) {
        lp.resume_source(self.0);
    }

    /// Reads no more, for good. A read that is under way takes what it gets with it.
    pub fn close(self, lp: &mut Loop) {
        lp.remove_source(self.0);
    }

    /// Lets the input keep the loop alive while it reads, which is how it starts.
    #[doc(alias = "ref")]
    pub fn ref_(self, lp: &mut Loop) {
        lp.reference_source(self.0, true);
    }

    /// Lets the loop end although there may be more to read.
    pub fn unref(self, lp: &mut Loop) {
        lp.reference_source(self.0, false);
    }
}

/// Reads standard input and calls `f` with what comes
/// ([Node: `process.stdin`](https://nodejs.org/docs/latest-v20.x/api/process.html#processstdin)).
///
/// Reading begins, and `f` runs, in the poll phase, one chunk per turn, and it is one closure so that data
/// and end can share what they work on. The state of a terminal is not changed: lines come when they are complete.
///
/// Bytes that the program has already taken in by [`std::io::stdin`] into its buffer are not seen. Two readers at a time
/// share the input at random.
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
/// When the system gives no thread (`EAGAIN`).
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
        if lp.is_reading_source(id)
            && let Some(buf) = spare.take()
        {
            // It cannot fail: the thread waits for buffers as long as the input goes on.
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

/// A buffer that was given to the thread, and what came of it: 0 bytes mean the end.
struct Filled {
    buf: Vec<u8>,
    result: io::Result<usize>,
}

/// The helper thread: fills each buffer it is given, until the input or the loop's interest in it is over.
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

/// Past the buffer of `std::io::stdin`, whose lock would be held while this waits.
fn read(buf: &mut [u8]) -> io::Result<usize> {
    loop {
        match rustix::io::read(io::stdin(), &mut *buf) {
            Err(Errno::INTR) => {}
            // Somebody else has made it non-blocking.
            Err(Errno::AGAIN) => super::wait_until(&io::stdin(), mio::Interest::READABLE)?,
            result => return Ok(result?),
        }
    }
}
