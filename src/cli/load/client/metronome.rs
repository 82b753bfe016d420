//! Wakes the loop when a message of the open model is due.
//!
//! The loop's timers count whole milliseconds, as Node's do; 50,000 messages a second must be spaced more finely than
//! that. So a second thread sleeps until the next message is due and then posts a call to the loop, which sends all
//! messages that are due. The thread posts at most once in [`REST`], and at most one call is waiting at a time: a loop
//! that is behind gets no additional work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bucle::Loop;

use crate::cli::load::schedule::Schedule;

/// The shortest time between two calls. Linux adds about 50 us to each sleep, so there are at most 6,000 calls a
/// second. Twice this time would save a tenth of a core, but would add as much to every response time.
const REST: Duration = Duration::from_micros(100);

/// The longest sleep: after it the thread checks whether the run is over.
const LOOK: Duration = Duration::from_millis(100);

/// The thread; it ends soon after this is dropped.
pub(crate) struct Metronome {
    is_over: Arc<AtomicBool>,
}

impl Metronome {
    /// Starts the thread, for a schedule that began `start` nanoseconds after `origin`. The loop calls `send_due` when
    /// messages are due. One more call may come after the metronome is dropped.
    pub(crate) fn start(
        lp: &Loop,
        mut schedule: Schedule,
        origin: Instant,
        start: u64,
        send_due: impl Fn(&mut Loop) + Copy + Send + 'static,
    ) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let remote = lp.remote();
        let ends = is_over.clone();
        let start = origin + Duration::from_nanos(start);
        thread::spawn(move || {
            let is_posted = Arc::new(AtomicBool::new(false));
            while !ends.load(Ordering::Relaxed) {
                let now = Instant::now();
                let mut due = start + Duration::from_nanos(schedule.due());
                if due > now {
                    thread::sleep((due - now).min(LOOK));
                    continue;
                }
                if !is_posted.swap(true, Ordering::AcqRel) {
                    let is_posted = is_posted.clone();
                    remote.post(move |lp| {
                        is_posted.store(false, Ordering::Release);
                        send_due(lp);
                    });
                }
                while due <= now {
                    schedule.advance();
                    due = start + Duration::from_nanos(schedule.due());
                }
                thread::sleep(REST);
            }
        });
        Metronome { is_over }
    }
}

impl Drop for Metronome {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}
