//! What wakes the loop when a message is due.
//!
//! The loop's timers count milliseconds, as Node's do; a schedule of 50,000 messages a second wants them evenly spaced.
//! So a thread of its own sleeps until the next message is due and posts a call to the loop, which sends everything that
//! is due by then. It wakes at most every [`REST`], and never has more than one call waiting: a loop that is behind is
//! not pushed further.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bucle::Loop;

use crate::cli::load::schedule::Schedule;

/// The least time between two calls. With what a sleep takes longer than asked for (50 us on Linux) that makes six
/// thousand a second; half as often costs a tenth of a core less, and adds as much to every response time.
const REST: Duration = Duration::from_micros(100);

/// How long it may sleep before it looks whether it is still needed.
const LOOK: Duration = Duration::from_millis(100);

/// The thread. Dropping this ends it, at its next look.
pub(crate) struct Metronome {
    is_over: Arc<AtomicBool>,
}

/// What the loop calls when messages are due.
type OnBeat = Rc<dyn Fn(&mut Loop)>;

thread_local! {
    /// What a posted call calls: a posted closure has to be `Send`, and this is not.
    static ON_BEAT: RefCell<Option<OnBeat>> = const { RefCell::new(None) };
}

impl Metronome {
    /// Beats for a schedule that began at `start`, nanoseconds after `origin`.
    pub(crate) fn start(lp: &Loop, mut schedule: Schedule, origin: Instant, start: u64, on_beat: OnBeat) -> Self {
        ON_BEAT.set(Some(on_beat));
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
                        let on_beat = ON_BEAT.with_borrow(Clone::clone);
                        if let Some(on_beat) = on_beat {
                            on_beat(lp);
                        }
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
        ON_BEAT.set(None);
    }
}
