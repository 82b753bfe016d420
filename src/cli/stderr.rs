//! Standard error, without waiting for whoever reads it.
//!
//! A server logs on its loop's thread. If standard error is a pipe that nobody empties, a plain write there would stop the
//! loop and everybody it serves. So what is said goes into a queue, and a thread of its own writes it:
//!
//! ```text
//!   loop: log, complain ──▶ queue, at most 1 MiB ──▶ thread ──▶ standard error
//!                             └ full: dropped, counted, and said when it is read again
//! ```

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;

/// How much may wait to be written: some ten thousand lines of the log.
const QUEUE_LIMIT: usize = 1024 * 1024;

/// How long the end of the process may be held up by what is not written yet.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How long to wait for a standard error that another program has made non-blocking, and that is full.
const FULL_WAIT: Duration = Duration::from_millis(20);

static QUEUE: Mutex<Queue> = Mutex::new(Queue { bytes: Vec::new(), dropped: 0, is_writing: false });
static CHANGED: Condvar = Condvar::new();
static HAS_THREAD: AtomicBool = AtomicBool::new(false);

struct Queue {
    bytes: Vec<u8>,
    /// Lines that found no room.
    dropped: u64,
    /// The thread has taken something and is not through with it.
    is_writing: bool,
}

/// From here on nothing that is said waits for its reader.
pub(crate) fn start() {
    let thread = thread::Builder::new().name("stderr".to_owned()).spawn(write_on);
    HAS_THREAD.store(thread.is_ok(), Ordering::Relaxed);
}

/// Says it, whether anybody reads it or not. Whole lines, so that none is dropped in part.
pub(crate) fn say(text: &[u8]) {
    if !HAS_THREAD.load(Ordering::Relaxed) {
        let _ = io::stderr().write_all(text);
        return;
    }
    let mut queue = lock();
    if queue.bytes.len() + text.len() > QUEUE_LIMIT {
        queue.dropped += 1;
        return;
    }
    queue.bytes.extend_from_slice(text);
    if queue.bytes.len() == text.len() {
        CHANGED.notify_all();
    }
}

/// Waits until all is written, but not for long: a reader that does not read shall not keep the process.
pub(crate) fn finish() {
    if HAS_THREAD.load(Ordering::Relaxed) {
        let is_busy = |queue: &mut Queue| !queue.bytes.is_empty() || queue.is_writing;
        drop(CHANGED.wait_timeout_while(lock(), LAST_WORDS, is_busy));
    }
}

/// What the log writes to.
pub(crate) struct Log;

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        say(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The thread: writes what there is, and sleeps until there is more.
fn write_on() {
    let mut bytes = Vec::new();
    loop {
        let mut queue = lock();
        queue.is_writing = false;
        CHANGED.notify_all();
        while queue.bytes.is_empty() && queue.dropped == 0 {
            queue = CHANGED.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        bytes.clear();
        std::mem::swap(&mut bytes, &mut queue.bytes);
        let dropped = std::mem::take(&mut queue.dropped);
        queue.is_writing = true;
        drop(queue);
        if dropped > 0 {
            let lines = if dropped == 1 { "line" } else { "lines" };
            bytes.extend(format!("(here {dropped} {lines} were dropped: nobody read them in time)\n").bytes());
        }
        write_all(&bytes);
    }
}

/// Without the standard library's lock on it: whoever writes there directly, such as a panic, waits for the reader at most,
/// and not for this thread too. What cannot be written is lost; there is nobody to tell.
fn write_all(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match rustix::io::write(io::stderr(), bytes) {
            Ok(0) => return,
            Ok(len) => bytes = &bytes[len..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => thread::sleep(FULL_WAIT),
            Err(_) => return,
        }
    }
}

fn lock() -> MutexGuard<'static, Queue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}
