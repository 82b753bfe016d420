//! Writes to standard error that never block.
//!
//! A server logs on its loop's thread. If standard error is a pipe that is full because its reader has stopped reading,
//! a plain write would block the loop and all its connections. So text is written directly only while standard error
//! takes it without blocking. The first time that it would block, the text goes into a queue, and from then on a second
//! thread writes it:
//!
//! ```text
//!   loop: log, print_error ─┬─ would not block ────────────────────────▶ standard error
//!                           └─ would block ─▶ queue, at most 1 MiB ─▶ thread ─▶┘
//!                                             └ full: the line is dropped and counted; the count is written later
//! ```
//!
//! A terminal that is nearly full takes a part of a line: the rest goes into the queue.
//!
//! The thread starts only when it is needed: in a process that has ever had a second thread, the C library's system
//! calls stay slower until the process ends.

use std::io::{self, IsTerminal, Write};
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use bucle::process::{self, TerminalOutput};

use super::screen::ERASE_ROW;
use super::wrap::hanging;

/// The most bytes that the queue may hold: about ten thousand lines of the log.
const QUEUE_LIMIT: usize = 1024 * 1024;

/// How many bytes a writable pipe takes without blocking: `PIPE_BUF` of Linux (pipe(7)).
const PIPE_BUF: usize = 4096;

/// How long the process waits at its end for the queue to be written.
const FINAL_FLUSH_LIMIT: Duration = Duration::from_millis(500);

static QUEUE: Mutex<Queue> = Mutex::new(Queue { bytes: Vec::new(), dropped: 0, has_thread: false, is_writing: false });
static CHANGED: Condvar = Condvar::new();

/// Standard error, if it is a terminal.
static TERMINAL: OnceLock<Option<TerminalOutput>> = OnceLock::new();

/// The terminal shows a prompt: a line of the log or a note replaces the row with the prompt.
static HAS_PROMPT: AtomicBool = AtomicBool::new(false);
/// A line has replaced the row with the prompt.
static HAS_TAKEN_ROW: AtomicBool = AtomicBool::new(false);

struct Queue {
    bytes: Vec<u8>,
    /// How many lines were dropped because the queue was full.
    dropped: u64,
    has_thread: bool,
    /// The thread is writing bytes that it has taken from the queue.
    is_writing: bool,
}

impl Queue {
    fn is_written(&self) -> bool {
        self.bytes.is_empty() && !self.is_writing
    }
}

/// Writes `text` to standard error, or queues it when that would block.
///
/// `text` must be whole lines: when the queue is full, `text` is dropped as a whole.
pub(crate) fn write(text: &[u8]) {
    let mut queue = lock();
    // Text that is queued already must be written first.
    let must_queue = queue.has_thread || !queue.bytes.is_empty();
    let rest = if must_queue { text } else { write_directly(text) };
    if rest.is_empty() {
        return;
    }
    if queue.bytes.len() + rest.len() > QUEUE_LIMIT {
        queue.dropped += 1;
        return;
    }
    queue.bytes.extend_from_slice(rest);
    if !queue.has_thread {
        // If the system refuses a thread, the text stays queued, and the next call tries again.
        queue.has_thread = thread::Builder::new().name("stderr".to_owned()).spawn(write_queue).is_ok();
    }
    CHANGED.notify_all();
}

/// Writes an error message, and commands to try.
pub(crate) fn print_error(message: &str, advice: &[String]) {
    write(error_text(message, advice).as_bytes());
}

/// Writes a message in lines that fit into the terminal.
pub(crate) fn print_wrapped(message: &str) {
    write(fitted(message).as_bytes());
}

/// The text that [`print_error`] writes. Commands are in one line each, so that they can be copied.
pub(crate) fn error_text(message: &str, advice: &[String]) -> String {
    let mut text = fitted(&format!("error: {message}"));
    for line in advice {
        text += &format!("  try:  {line}\n");
    }
    text
}

/// The message in lines that fit into the terminal, if standard error is one.
fn fitted(message: &str) -> String {
    match process::columns_of(&io::stderr()) {
        Some(columns) => message.lines().map(|line| hanging("", line, columns)).collect(),
        None => format!("{message}\n"),
    }
}

/// Waits until the queue is written, but at most [`FINAL_FLUSH_LIMIT`]: a reader that has stopped reading must not keep
/// the process from ending.
pub(crate) fn finish() {
    let is_busy = |queue: &mut Queue| queue.has_thread && !queue.is_written();
    drop(CHANGED.wait_timeout_while(lock(), FINAL_FLUSH_LIMIT, is_busy));
}

/// Sets whether the terminal shows a prompt. While it does, each line of the log and each note first erases the row
/// with the prompt.
pub(crate) fn set_prompt(has_prompt: bool) {
    HAS_PROMPT.store(has_prompt && io::stderr().is_terminal(), Ordering::Relaxed);
}

/// Whether a line of the log has replaced the row with the prompt since the last call, or will replace it.
pub(crate) fn row() -> Row {
    let row = row_of(&lock(), HAS_TAKEN_ROW.load(Ordering::Relaxed));
    if row == Row::Taken {
        HAS_TAKEN_ROW.store(false, Ordering::Relaxed);
    }
    row
}

/// The row of the terminal that has the prompt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Row {
    Kept,
    /// A line that waits in the queue will replace it. A prompt that is drawn now would be erased.
    AwaitsQueue,
    /// A line has replaced it.
    Taken,
}

fn row_of(queue: &Queue, has_taken_row: bool) -> Row {
    match (has_taken_row, queue.is_written()) {
        (false, _) => Row::Kept,
        (true, false) => Row::AwaitsQueue,
        (true, true) => Row::Taken,
    }
}

/// Writes whole lines in place of the prompt, if there is one. It is drawn again before a turn of the loop: [`row`].
pub(crate) fn write_above_prompt(lines: &[u8]) {
    if HAS_PROMPT.load(Ordering::Relaxed) {
        HAS_TAKEN_ROW.store(true, Ordering::Relaxed);
        write(&[ERASE_ROW.as_bytes(), lines].concat());
    } else {
        write(lines);
    }
}

/// The writer that the log uses.
pub(crate) struct Log;

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        write_above_prompt(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes as much as standard error takes without blocking, and returns the rest. Text that fails to be written is
/// lost: there is no other place to report that.
fn write_directly(text: &[u8]) -> &[u8] {
    if let Some(terminal) = TERMINAL.get_or_init(|| TerminalOutput::new(&io::stderr()).ok()) {
        return &text[terminal.write(text).unwrap_or(text.len())..];
    }
    let mut rest = text;
    while let Some(piece) = rest.get(..rest.len().min(PIPE_BUF)).filter(|piece| !piece.is_empty()) {
        if !process::takes_a_line(&io::stderr()) {
            break;
        }
        let _ = process::write_stderr(piece);
        rest = &rest[piece.len()..];
    }
    rest
}

/// The thread: writes the queue, and sleeps until there is more.
fn write_queue() {
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
            bytes.extend(format!("({dropped} {lines} dropped here: the reader was too slow)\n").bytes());
        }
        let _ = process::write_stderr(&bytes);
    }
}

fn lock() -> MutexGuard<'static, Queue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompt_is_drawn_again_only_when_the_queued_lines_are_written() {
        let queue =
            |bytes: &[u8], is_writing| Queue { bytes: bytes.to_vec(), dropped: 0, has_thread: true, is_writing };
        let table = [
            (queue(b"", false), Row::Taken),
            (queue(b"a line\n", false), Row::AwaitsQueue),
            (queue(b"", true), Row::AwaitsQueue),
        ];
        for (queue, want) in table {
            assert_eq!(row_of(&queue, true), want);
            assert_eq!(row_of(&queue, false), Row::Kept);
        }
    }
}
