//! Standard error, without waiting for whoever reads it.
//!
//! A server logs on its loop's thread. If standard error is a pipe that nobody empties, a plain write there would stop the
//! loop and everybody it serves. So what is said is written at once only where it is taken at once. From the first time
//! that it is not, it goes into a queue, and a thread of its own writes it:
//!
//! ```text
//!   loop: log, complain ─┬─ takes a line ───────────────────────────▶ standard error
//!                        └─ does not ─▶ queue, at most 1 MiB ─▶ thread ─▶┘
//!                                        └ full: dropped, counted, and told when it is read again
//! ```
//!
//! A terminal can be nearly full, and takes a part of a line then: the rest goes into the queue.
//!
//! The thread is not there before it is needed, for the C library's system calls cost more, for good, in a process that has
//! ever had a second one.

use std::io::{self, IsTerminal, Write};
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use bucle::process::{self, TerminalOutput};

use super::screen::ERASE_ROW;

/// How much may wait to be written: some ten thousand lines of the log.
const QUEUE_LIMIT: usize = 1024 * 1024;

/// What a pipe that is writable takes without waiting: `PIPE_BUF` of Linux (pipe(7)).
const AT_ONCE: usize = 4096;

/// How long the end of the process may be held up by what is not written yet.
const LAST_WORDS: Duration = Duration::from_millis(500);

static QUEUE: Mutex<Queue> = Mutex::new(Queue { bytes: Vec::new(), dropped: 0, has_thread: false, is_writing: false });
static CHANGED: Condvar = Condvar::new();

/// If standard error is one.
static TERMINAL: OnceLock<Option<TerminalOutput>> = OnceLock::new();

/// There is a prompt on the terminal that the log is written to: a line of the log takes its row.
static HAS_PROMPT: AtomicBool = AtomicBool::new(false);
/// A line of the log has taken the row of the prompt.
static HAS_TAKEN_ROW: AtomicBool = AtomicBool::new(false);

struct Queue {
    bytes: Vec<u8>,
    /// Lines that found no room.
    dropped: u64,
    has_thread: bool,
    /// The thread has taken something and is not through with it.
    is_writing: bool,
}

/// Says it, whether anybody reads it or not. Whole lines, so that none is dropped in part.
pub(crate) fn say(text: &[u8]) {
    let mut queue = lock();
    let is_in_line = queue.has_thread || !queue.bytes.is_empty();
    let rest = if is_in_line { text } else { say_at_once(text) };
    if rest.is_empty() {
        return;
    }
    if queue.bytes.len() + rest.len() > QUEUE_LIMIT {
        queue.dropped += 1;
        return;
    }
    queue.bytes.extend_from_slice(rest);
    if !queue.has_thread {
        // Without a thread, which is a machine at its end, it waits for the next attempt to have one.
        queue.has_thread = thread::Builder::new().name("stderr".to_owned()).spawn(write_on).is_ok();
    }
    CHANGED.notify_all();
}

/// Waits until all is written, but not for long: a reader that does not read shall not keep the process.
pub(crate) fn finish() {
    let is_busy = |queue: &mut Queue| queue.has_thread && (!queue.bytes.is_empty() || queue.is_writing);
    drop(CHANGED.wait_timeout_while(lock(), LAST_WORDS, is_busy));
}

/// Says whether there is a prompt, whose row the log has to erase before it writes there.
pub(crate) fn set_prompt(has_prompt: bool) {
    HAS_PROMPT.store(has_prompt && io::stderr().is_terminal(), Ordering::Relaxed);
}

/// Whether the log has written where the prompt was, since this was asked last.
pub(crate) fn has_taken_row() -> bool {
    HAS_TAKEN_ROW.swap(false, Ordering::Relaxed)
}

/// What the log writes to.
pub(crate) struct Log;

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if HAS_PROMPT.load(Ordering::Relaxed) {
            HAS_TAKEN_ROW.store(true, Ordering::Relaxed);
            say(&[ERASE_ROW.as_bytes(), line].concat());
        } else {
            say(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes what is taken without waiting, and gives back the rest. What cannot be written at all is lost: there is nobody to
/// tell.
fn say_at_once(text: &[u8]) -> &[u8] {
    if let Some(terminal) = TERMINAL.get_or_init(|| TerminalOutput::new(&io::stderr()).ok()) {
        return &text[terminal.write(text).unwrap_or(text.len())..];
    }
    let mut rest = text;
    while let Some(piece) = rest.get(..rest.len().min(AT_ONCE)).filter(|piece| !piece.is_empty()) {
        if !process::takes_a_line(&io::stderr()) {
            break;
        }
        let _ = process::write_stderr(piece);
        rest = &rest[piece.len()..];
    }
    rest
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
        mem::swap(&mut bytes, &mut queue.bytes);
        let dropped = mem::take(&mut queue.dropped);
        queue.is_writing = true;
        drop(queue);
        if dropped > 0 {
            let lines = if dropped == 1 { "line was" } else { "lines were" };
            bytes.extend(format!("({dropped} {lines} dropped here: nobody read them in time)\n").bytes());
        }
        let _ = process::write_stderr(&bytes);
    }
}

fn lock() -> MutexGuard<'static, Queue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}
