//! Signals, from the handler to the loop.
//!
//! The whole process shares one set of signal handlers, while a listener belongs to a loop. As in Node, a signal has
//! the system's default action unless a listener is set:
//!
//! ```text
//!   no listener        SIGINT ends the process
//!   on_signal      ──▶ SIGINT calls back
//!   remove         ──▶ SIGINT ends the process
//! ```

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fmt, fs, io};

use signal_hook::consts;
use signal_hook::flag;
use signal_hook_mio::v1_0::Signals;

use crate::event_loop::Kind;
use crate::event_loop::{Loop, SourceId};
use crate::{Error, Result};

/// The signals that a program can listen to
/// ([Node: signal events](https://nodejs.org/docs/latest-v20.x/api/process.html#signal-events)).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Signal {
    /// `SIGHUP`: the terminal is gone. Many servers read their configuration again.
    Hangup,
    /// `SIGINT`: Ctrl-C.
    Interrupt,
    /// `SIGQUIT`: Ctrl-\.
    Quit,
    /// `SIGTERM`: a request to end, from `kill` and from service managers.
    Terminate,
    /// `SIGUSR1`: the program decides what it means.
    User1,
    /// `SIGUSR2`: the program decides what it means.
    User2,
    /// `SIGWINCH`: the size of the terminal has changed.
    WindowChange,
    /// `SIGTSTP`: Ctrl-Z. It does not stop a program that listens to it. Such a program stops itself when it is ready,
    /// with [`stop`](super::stop).
    Suspend,
    /// `SIGCONT`: the process continues after it was stopped.
    Continue,
    /// `SIGXFSZ`: a file would exceed the limit of its size (`ulimit -f`). If this is [`ignore`]d, the write fails with
    /// `EFBIG` instead.
    FileSize,
}

impl Signal {
    const ALL: [Signal; 10] = [
        Signal::Hangup,
        Signal::Interrupt,
        Signal::Quit,
        Signal::Terminate,
        Signal::User1,
        Signal::User2,
        Signal::WindowChange,
        Signal::Suspend,
        Signal::Continue,
        Signal::FileSize,
    ];

    /// The system's number. For a program that a signal has ended, a shell reports the exit status 128 plus this
    /// number.
    pub fn number(self) -> i32 {
        match self {
            Signal::Hangup => consts::SIGHUP,
            Signal::Interrupt => consts::SIGINT,
            Signal::Quit => consts::SIGQUIT,
            Signal::Terminate => consts::SIGTERM,
            Signal::User1 => consts::SIGUSR1,
            Signal::User2 => consts::SIGUSR2,
            Signal::WindowChange => consts::SIGWINCH,
            Signal::Suspend => consts::SIGTSTP,
            Signal::Continue => consts::SIGCONT,
            Signal::FileSize => consts::SIGXFSZ,
        }
    }

    /// The system's name: `SIGINT`.
    pub fn name(self) -> &'static str {
        match self {
            Signal::Hangup => "SIGHUP",
            Signal::Interrupt => "SIGINT",
            Signal::Quit => "SIGQUIT",
            Signal::Terminate => "SIGTERM",
            Signal::User1 => "SIGUSR1",
            Signal::User2 => "SIGUSR2",
            Signal::WindowChange => "SIGWINCH",
            Signal::Suspend => "SIGTSTP",
            Signal::Continue => "SIGCONT",
            Signal::FileSize => "SIGXFSZ",
        }
    }

    fn of_number(number: i32) -> Option<Signal> {
        Signal::ALL.into_iter().find(|signal| signal.number() == number)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Names a listener to signals; from [`on_signal`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SignalId(SourceId);

impl SignalId {
    /// Removes the listener. A signal without any listener has the system's default action again. The callback itself
    /// may call this.
    pub fn remove(self, lp: &mut Loop) {
        lp.remove_source(self.0);
    }

    /// Lets the listener keep the loop alive. By default it does not.
    #[doc(alias = "ref")]
    pub fn ref_(self, lp: &mut Loop) {
        lp.reference_source(self.0, true);
    }

    /// Lets the loop end although this listener is set: the default.
    pub fn unref(self, lp: &mut Loop) {
        lp.reference_source(self.0, false);
    }
}

/// Calls `f` for each of `signals` that the process receives from now on, instead of the system's default action.
///
/// `f` runs in the poll phase, with a callback boundary after it. Signals are flags, not messages: a signal that
/// arrives several times before the loop handles it causes one call. While a callback blocks the loop, `f` is not
/// called; see [`exit_on`]. As in Node, a listener does not keep the loop alive; see [`SignalId::ref_`]. A signal may
/// have any number of listeners.
///
/// ```
/// use bucle::net::{self, on};
/// use bucle::process::{self, Signal};
///
/// bucle::run(|lp| {
///     let server = net::listen(lp, ("127.0.0.1", 0), on())?;
///     process::on_signal(lp, &[Signal::Interrupt, Signal::Terminate], move |lp, signal| {
///         println!("{signal}: closing. A second one ends the program immediately.");
///         server.close(lp);
///         process::exit_on(signal, 128 + signal.number()).ok();
///     })?;
/// #   server.close(lp);
///     Ok(())
/// })?;
/// # Ok::<(), bucle::Error>(())
/// ```
///
/// # Errors
/// When the system gives no pipe to wake the loop with (`EMFILE`: too many open files).
pub fn on_signal(lp: &mut Loop, signals: &[Signal], f: impl FnMut(&mut Loop, Signal) + 'static) -> Result<SignalId> {
    let listen = || listen(lp, signals, Some(Watch::new(signals)?), f);
    listen().map_err(|error| Error::system("sigaction", &error))
}

/// As [`on_signal`], but does not count as a listener: what a signal does stays as it is. `f` is called for signals
/// that another listener, of any loop, keeps from ending the process.
///
/// For an observer with an event loop of its own, which has to let the observed loop go on when that one gets a
/// signal. A signal that was ignored when the process started does what the system does by default after this, unless
/// another listener takes it or it is [`ignore`]d again.
///
/// # Errors
/// As [`on_signal`].
pub fn notice(lp: &mut Loop, signals: &[Signal], f: impl FnMut(&mut Loop, Signal) + 'static) -> Result<SignalId> {
    let notice = || {
        for &signal in signals {
            watched(&mut lock(), signal)?;
        }
        listen(lp, signals, None, f)
    };
    notice().map_err(|error| Error::system("sigaction", &error))
}

/// Calls `f` with the signals that arrive, and keeps their default off with `watch` for as long as it does.
fn listen(
    lp: &mut Loop,
    signals: &[Signal],
    watch: Option<Watch>,
    mut f: impl FnMut(&mut Loop, Signal) + 'static,
) -> io::Result<SignalId> {
    let pipe = Signals::new(signals.iter().map(|signal| signal.number()))?;
    let id = lp.add_source(pipe, mio::Interest::READABLE, move |lp, id, pipe| {
        let _ends_with_the_source = &watch;
        for signal in pipe.pending().filter_map(Signal::of_number) {
            // The callback before may have removed the listener; then it gets no further signal.
            if !lp.has_source(id) {
                return;
            }
            if !lp.call(Kind::Signal, lp.cause(), |lp| f(lp, signal)) {
                lp.remove_source(id);
            }
            lp.boundary();
        }
    })?;
    lp.reference_source(id, false);
    Ok(SignalId(id))
}

/// Ignores `signal` from now on, for the lifetime of the process. A server that outlives its terminal ignores
/// [`Signal::Hangup`]. Child processes are not affected.
///
/// # Errors
/// If the system does not let the signal's handler be changed.
pub fn ignore(signal: Signal) -> Result<()> {
    watch(signal).map_err(|error| Error::system("sigaction", &error))
}

/// Whether the process ignores `signal`. It may have inherited that: a shell without job control starts a command with
/// `&` so that it ignores [`Signal::Interrupt`], and nohup(1) does the same with [`Signal::Hangup`]. A program should
/// leave such a signal ignored, so it asks before it listens to it.
///
/// Only on Linux. Elsewhere the answer is `false`.
pub fn is_ignored(signal: Signal) -> bool {
    // proc(5): a bit per signal, in hexadecimal digits.
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal.number() - 1) & 1 == 1)
}

/// Ends the process with this exit status when it receives `signal`, even while a callback blocks the loop. Unsent
/// bytes are lost, and no destructor runs.
///
/// Use it in a program that has nothing to finish at Ctrl-C, or for the second Ctrl-C in a program that shuts down in
/// order at the first.
///
/// # Errors
/// If the system does not let the signal's handler be changed.
pub fn exit_on(signal: Signal, status: i32) -> Result<()> {
    let exit = || -> io::Result<()> {
        watch(signal)?;
        flag::register_conditional_shutdown(signal.number(), status, Arc::new(AtomicBool::new(true)))?;
        Ok(())
    };
    exit().map_err(|error| Error::system("sigaction", &error))
}

/// How many watchers each signal has in the whole process.
static WATCHED: Mutex<BTreeMap<Signal, Watched>> = Mutex::new(BTreeMap::new());

struct Watched {
    watchers: usize,
    /// Whether there are no watchers. The handler reads it, because a handler stays installed: if this is set, the
    /// handler takes the system's default action.
    is_unwatched: Arc<AtomicBool>,
}

/// Turns off the default action of some signals while it lives.
struct Watch(Vec<Signal>);

impl Watch {
    fn new(signals: &[Signal]) -> io::Result<Self> {
        let mut watch = Watch(Vec::new());
        for &signal in signals {
            self::watch(signal)?;
            watch.0.push(signal);
        }
        Ok(watch)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut all = lock();
        for signal in &self.0 {
            if let Some(watched) = all.get_mut(signal) {
                watched.watchers -= 1;
                watched.is_unwatched.store(watched.watchers == 0, Ordering::SeqCst);
            }
        }
    }
}

fn watch(signal: Signal) -> io::Result<()> {
    let mut all = lock();
    let watched = watched(&mut all, signal)?;
    watched.watchers += 1;
    watched.is_unwatched.store(false, Ordering::SeqCst);
    Ok(())
}

/// The signal's entry. The first time, a handler is installed that does what the system would do while nothing watches.
fn watched(all: &mut BTreeMap<Signal, Watched>, signal: Signal) -> io::Result<&mut Watched> {
    match all.entry(signal) {
        Entry::Occupied(entry) => Ok(entry.into_mut()),
        Entry::Vacant(entry) => {
            let is_unwatched = Arc::new(AtomicBool::new(true));
            flag::register_conditional_default(signal.number(), is_unwatched.clone())?;
            Ok(entry.insert(Watched { watchers: 0, is_unwatched }))
        }
    }
}

fn lock() -> MutexGuard<'static, BTreeMap<Signal, Watched>> {
    // No operation on the table panics half-way, so a poisoned table is still valid.
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}
