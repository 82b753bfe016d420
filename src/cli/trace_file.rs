//! `--trace FILE`: writes what the loop did to a file that Perfetto and `chrome://tracing` open.
//!
//! ```text
//!   the loop ─▶ ring of records ── before each turn ─▶ Chrome: lines ─▶ buffer ── ten times a second ─▶ FILE
//! ```
//!
//! The loop does not know this module. A prepare callback borrows the loop before every turn, reads the ring, and
//! writes the lines to the file when the last write is a tenth of a second ago. While lines are buffered, the turn
//! waits for events no longer than until then. With an empty buffer it waits without a limit, so an idle server stays
//! idle.
//!
//! An existing trace is overwritten, but no other file is, and no trace that another process writes: the file is locked
//! while it is written. It is overwritten only when the server listens, so a server that cannot start destroys nothing.
//!
//! The trace is less important than the server. If the file can no longer be written, one warning is logged and the
//! server runs on without a trace. The file then has what was written before, and ends with a whole line. The loop's
//! own thread writes the file. The kernel buffers writes to a regular file, but a disk that is too slow, or a pipe that
//! is not read, makes the server wait.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::mem;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bucle::net::Shared;
use bucle::trace::{CHROME_HEAD, Chrome, Trace};
use bucle::{EventLoop, Loop, PrepareId};

use super::advice::cannot_write;
use super::stderr::print_error;
use super::usage::Usage;
use super::{exit_code, stderr};

/// How many records the ring holds, 32 bytes each. If one turn makes more, the oldest are lost. A line of chat to a
/// thousand members makes two thousand.
const RING: usize = 128 * 1024;

/// How long a line may stay in the buffer. A killed process loses the lines of this time.
const FLUSH_INTERVAL: Duration = Duration::from_millis(100);

/// With this many bytes the buffer is written immediately.
const BUFFER: usize = 64 * 1024;

/// A trace that is being written.
pub(crate) struct TraceFile {
    path: PathBuf,
    file: File,
    chrome: Chrome,
    buffer: Vec<u8>,
    /// How many bytes of whole lines are in the file.
    len: u64,
    flushed_at: Instant,
    /// The number of the first record that was not read yet.
    position: u64,
    /// Nothing is recorded for this file any more: it is complete, full, or cannot be written.
    is_over: bool,
}

/// A trace file and the prepare callback that writes it.
pub(crate) struct Recording {
    trace: Shared<TraceFile>,
    prepare: PrepareId,
}

impl Recording {
    /// Overwrites the file. `Err` is the exit code if that fails.
    pub(crate) fn begin(&self, lp: &mut Loop) -> Result<(), ExitCode> {
        self.trace.with(lp, |trace, _| trace.begin()).unwrap_or(Ok(()))
    }

    /// Runs the loop to its end and writes its records to the file.
    pub(crate) fn run(self, event_loop: &mut EventLoop) -> bucle::Result<()> {
        let result = event_loop.run();
        event_loop.enter(|lp| {
            lp.remove_prepare(self.prepare);
            self.trace.with(lp, TraceFile::finish);
            self.trace.release(lp);
        });
        result
    }
}

impl TraceFile {
    /// Opens the file and starts recording; the file is written from [`Recording::begin`] on. `title` names the process
    /// in the viewer; `limit` is the largest size of the file in bytes. `Err` is the exit code if that fails.
    pub(crate) fn start(
        event_loop: &mut EventLoop,
        path: &Path,
        title: &str,
        limit: u64,
    ) -> Result<Recording, ExitCode> {
        if is_another_file(path) {
            let why = format!("--trace: {} exists and is not a trace", path.display());
            return Err(Usage::new(why, "--trace with another name      or remove the file first").report());
        }
        let file =
            File::options().write(true).create(true).truncate(false).open(path).map_err(|error| {
                cannot_write("--trace", path, &error, "bucle serve … --trace /tmp/trace.json").report()
            })?;
        if is_written_by_another(&file) {
            let why = format!("--trace: another process writes its trace to {}", path.display());
            return Err(Usage::new(why, "--trace with another name").report());
        }
        let trace = TraceFile::new(file, path, title, limit);
        Ok(event_loop.enter(|lp| trace.record(lp)))
    }

    /// Starts recording, and writes before every turn.
    fn record(mut self, lp: &mut Loop) -> Recording {
        lp.start_trace(RING);
        self.position = lp.trace().map_or(0, Trace::next_number);
        let trace = Shared::new(lp, self);
        let prepare = lp.on_prepare(move |lp| trace.with(lp, TraceFile::before_turn).flatten());
        Recording { trace, prepare }
    }

    fn new(file: File, path: &Path, title: &str, limit: u64) -> Self {
        let mut buffer = Vec::with_capacity(2 * BUFFER);
        let chrome = Chrome::new(title, limit, &mut buffer);
        TraceFile {
            path: path.to_owned(),
            file,
            chrome,
            buffer,
            len: 0,
            flushed_at: Instant::now(),
            position: 0,
            is_over: false,
        }
    }

    /// Replaces the content of the file by the beginning of the trace.
    fn begin(&mut self) -> Result<(), ExitCode> {
        let emptied = if is_regular(&self.file) { self.file.set_len(0) } else { Ok(()) };
        emptied.and_then(|()| self.flush()).map_err(|error| {
            print_error(&format!("cannot write the trace to {}: {error}", self.path.display()), &[]);
            ExitCode::from(exit_code::FAILURE)
        })
    }

    /// Takes the records of the last turn. Returns how long the next turn may wait for events, so that buffered lines
    /// are written in time.
    fn before_turn(&mut self, lp: &mut Loop) -> Option<Duration> {
        if self.is_over {
            return None;
        }
        let result = self.take_records(lp).and_then(|()| self.flush_in_time(lp.now()));
        match result {
            Ok(_) if self.chrome.is_full() => self.stop_at_limit(lp),
            Ok(wait) => return wait,
            Err(error) => self.give_up(lp, &error),
        }
        None
    }

    /// Writes the last records and the end of the array.
    fn finish(&mut self, lp: &mut Loop) {
        if self.is_over {
            return;
        }
        let result = self.take_records(lp).and_then(|()| {
            self.chrome.end(&mut self.buffer);
            self.flush()
        });
        self.stop(lp);
        match result {
            Ok(()) => {
                stderr::write(
                    format!("trace in {}: open it at https://ui.perfetto.dev\n", self.path.display()).as_bytes(),
                );
            }
            Err(error) => self.give_up(lp, &error),
        }
    }

    /// Turns the records of the ring into lines.
    fn take_records(&mut self, lp: &Loop) -> io::Result<()> {
        let Some(trace) = lp.trace() else { return Ok(()) };
        let records = trace.since(self.position);
        self.position = trace.next_number();
        if records.lost() > 0 {
            self.chrome.lost(records.lost(), &mut self.buffer);
        }
        for (number, record) in records {
            self.chrome.record(number, record, &mut self.buffer);
            if self.buffer.len() >= BUFFER {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Writes the buffer if the last write is long enough ago. Otherwise returns how long it may still wait.
    fn flush_in_time(&mut self, now: Instant) -> io::Result<Option<Duration>> {
        if self.buffer.is_empty() {
            return Ok(None);
        }
        let age = now.saturating_duration_since(self.flushed_at);
        if age < FLUSH_INTERVAL {
            return Ok(Some(FLUSH_INTERVAL - age));
        }
        self.flush()?;
        self.flushed_at = now;
        Ok(None)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer)?;
        self.len += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// After a write that has failed: removes the part of the buffer that was written, which may end inside a line, and
    /// ends the array. A viewer opens the file also without its end.
    fn mend(&mut self) {
        if !is_regular(&self.file) {
            return;
        }
        let mut end = Vec::new();
        self.chrome.end(&mut end);
        let mended = self.file.set_len(self.len).and_then(|()| self.file.write_all_at(&end, self.len));
        if mended.is_err() {
            // A part of the end is a line that is cut, too.
            let _ = self.file.set_len(self.len);
        }
    }

    /// Stops recording for this file; other observers may go on.
    fn stop(&mut self, lp: &mut Loop) {
        if !mem::replace(&mut self.is_over, true) {
            lp.stop_trace();
        }
    }

    fn stop_at_limit(&mut self, lp: &mut Loop) {
        self.chrome.end(&mut self.buffer);
        self.stop(lp);
        match self.flush() {
            Ok(()) => log::warn!(
                target: "bucle::serve",
                "{}: the trace has reached its limit, recording stopped; --trace-limit sets another",
                self.path.display()
            ),
            Err(error) => self.give_up(lp, &error),
        }
    }

    fn give_up(&mut self, lp: &mut Loop, error: &io::Error) {
        self.stop(lp);
        self.mend();
        log::warn!(
            target: "bucle::serve",
            "{}: cannot write the trace, recording stopped: {error}",
            self.path.display()
        );
    }
}

/// Whether the file exists and is not a trace. A pipe or a device may be written to: it has no content to lose.
fn is_another_file(path: &Path) -> bool {
    let has_bytes = path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() > 0);
    let mut head = [0; CHROME_HEAD.len()];
    has_bytes
        && !File::open(path)
            .and_then(|mut file| file.read_exact(&mut head))
            .is_ok_and(|()| head == CHROME_HEAD.as_bytes())
}

/// Locks a regular file, until it is closed. A pipe or a device may have several writers. A file system without locks
/// is no reason to have no trace.
fn is_written_by_another(file: &File) -> bool {
    is_regular(file) && matches!(file.try_lock(), Err(TryLockError::WouldBlock))
}

fn is_regular(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_records_are_reported_once() {
        let mut event_loop = EventLoop::new().expect("a loop");
        let file = File::create("/dev/null").expect("it can be opened");
        let mut trace = TraceFile::new(file, Path::new("/dev/null"), "test", u64::MAX);
        event_loop.enter(|lp| lp.start_trace(16));
        event_loop.enter(|lp| (0..50).for_each(|_| lp.next_tick(|_| {})));
        // Two records (phase and main) for each of the two calls, and 50 ticks: 54 records.
        for lines in [1, 0] {
            event_loop.enter(|lp| trace.take_records(lp)).expect("/dev/null takes everything");
            let text = String::from_utf8_lossy(&trace.buffer);
            assert_eq!(text.matches("38 records lost: the ring was full").count(), lines);
            trace.flush().expect("/dev/null takes everything");
        }
    }
}
