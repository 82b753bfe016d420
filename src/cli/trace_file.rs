//! `--trace FILE`: what the loop did, as a file that Perfetto and `chrome://tracing` show.
//!
//! ```text
//!   the loop ─▶ ring of records ── before each turn ─▶ Chrome: lines ─▶ buffer ── ten times a second ─▶ FILE
//! ```
//!
//! The loop knows nothing of this. A prepare callback is lent the loop before every turn, reads the ring and writes.
//! Lines that wait to be written are written when a tenth of a second is over: a turn is told to wait no longer than
//! that. When none wait any more, it waits as long as it likes, so an idle server stays idle.
//!
//! A trace that is there already is written over, and no other file.
//!
//! A trace is a help, not the purpose: when the file cannot be written any more that is said once, and the server goes on
//! without it. Writing is done by the loop's own thread. A regular file takes it into memory; one on a disk that cannot
//! keep up, or a pipe that nobody reads, makes the server wait.

mod causes;
mod chrome;
mod pieces;

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read, Write};
use std::mem;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bucle::trace::Trace;
use bucle::{EventLoop, Loop, PrepareId};

use super::serve::Serve;
use super::{complain, exit_code, stderr};
use chrome::{Chrome, HEAD};

/// How many records the ring holds: what one turn may do before some are lost. A line of chat to a thousand guests is two
/// thousand. 32 bytes each.
const RING: usize = 128 * 1024;

/// How long a line may wait to be written: what a killed process loses.
const FLUSH_INTERVAL: Duration = Duration::from_millis(100);

/// From how many bytes on they are written at once.
const BUFFER: usize = 64 * 1024;

/// A trace being written.
pub(crate) struct TraceFile {
    path: PathBuf,
    file: File,
    chrome: Chrome,
    buffer: Vec<u8>,
    flushed_at: Instant,
    /// The number of the first record that was not read yet.
    position: u64,
    /// Nothing is recorded for this file any longer: it is complete, full, or cannot be written.
    is_over: bool,
}

/// A trace file and the prepare callback that writes it.
pub(crate) struct Recording {
    trace: Rc<RefCell<TraceFile>>,
    prepare: PrepareId,
}

impl Recording {
    /// Runs the loop to its end and writes what it does.
    pub(crate) fn run(self, event_loop: &mut EventLoop) -> bucle::Result<()> {
        let result = event_loop.run();
        event_loop.enter(|lp| {
            lp.remove_prepare(self.prepare);
            self.trace.borrow_mut().finish(lp);
        });
        result
    }
}

impl TraceFile {
    /// Makes the file, and has the loop record from here on. `Err` is how the process ends if it cannot be.
    pub(crate) fn start(event_loop: &mut EventLoop, path: &Path, serve: &Serve) -> Result<Recording, ExitCode> {
        let process = format!("bucle serve {}", serve.kind.name());
        if is_something_else(path) {
            let path = path.display();
            complain(
                &format!("{path} is no trace, and is left alone"),
                &["--trace with another name      or remove it first".to_owned()],
            );
            return Err(ExitCode::from(exit_code::FAILURE));
        }
        match Self::create(path, serve.trace_limit, &process) {
            Ok(trace) => Ok(event_loop.enter(|lp| trace.record(lp))),
            Err(error) => {
                complain(&format!("cannot write the trace to {}: {error}", path.display()), &[]);
                Err(ExitCode::from(exit_code::FAILURE))
            }
        }
    }

    /// Records from here on, and writes before every turn.
    fn record(mut self, lp: &mut Loop) -> Recording {
        lp.start_trace(RING);
        self.position = lp.trace().map_or(0, Trace::next_number);
        let trace = Rc::new(RefCell::new(self));
        let writer = trace.clone();
        let prepare = lp.on_prepare(move |lp| writer.borrow_mut().before_turn(lp));
        Recording { trace, prepare }
    }

    fn create(path: &Path, limit: u64, process: &str) -> io::Result<Self> {
        let mut buffer = Vec::with_capacity(2 * BUFFER);
        let chrome = Chrome::new(process, limit, &mut buffer);
        let file = File::create(path)?;
        let mut trace = TraceFile {
            path: path.to_owned(),
            file,
            chrome,
            buffer,
            flushed_at: Instant::now(),
            position: 0,
            is_over: false,
        };
        trace.flush()?;
        Ok(trace)
    }

    /// Takes what the last turn recorded. Says how long the next one may wait, so that all of it is written soon.
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

    /// The last of it, and the end of the array.
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
                stderr::say(
                    format!("trace in {}: open it at https://ui.perfetto.dev\n", self.path.display()).as_bytes(),
                );
            }
            Err(error) => self.give_up(lp, &error),
        }
    }

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
        self.buffer.clear();
        Ok(())
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
        log::warn!(
            target: "bucle::serve",
            "{}: cannot write the trace, recording stopped: {error}",
            self.path.display()
        );
    }
}

/// Whether somebody would miss what is there. A pipe or a device has nothing to lose.
fn is_something_else(path: &Path) -> bool {
    let has_bytes = path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() > 0);
    let mut head = [0; HEAD.len()];
    has_bytes
        && !File::open(path).and_then(|mut file| file.read_exact(&mut head)).is_ok_and(|()| head == HEAD.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_ring_has_lost_is_said_once() {
        let mut event_loop = EventLoop::new().expect("a loop");
        let mut trace = TraceFile::create(Path::new("/dev/null"), u64::MAX, "test").expect("it takes everything");
        event_loop.enter(|lp| lp.start_trace(16));
        event_loop.enter(|lp| (0..50).for_each(|_| lp.next_tick(|_| {})));
        // A phase and a main body for each call, and 50 ticks: 54 records.
        for lines in [1, 0] {
            event_loop.enter(|lp| trace.take_records(lp)).expect("it takes everything");
            let text = String::from_utf8_lossy(&trace.buffer);
            assert_eq!(text.matches("38 records lost: the ring was full").count(), lines);
            trace.flush().expect("it takes everything");
        }
    }
}
