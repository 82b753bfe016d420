//! Whether the watched loop runs, stands, steps or runs slowly. Pure: commands and gate points in, decisions out.
//!
//! ```text
//!             pause                         step
//!   running ─────────▶ paused ◀───────────────────────── stepping
//!      ▲  ▲              │ ▲                the step ends,     ▲
//!      │  └── resume ────┘ │                or pause           │
//!      │                   │ pause                             │
//!      └── resume ── slow ◀┴─ speed ─────────── paused ── step ┘
//! ```
//!
//! A *gate point* is a callback or a wait that comes next; see [`Gate`](crate::trace::Gate). The loop *stands* when it
//! is held at one. Slow mode holds each callback for a while, and no wait.

use std::time::Duration;

use crate::trace::{Decision, Kind, Next, Step};

/// A command of a viewer to the loop.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Command {
    Pause,
    Resume,
    Step(Step),
    /// Hold each callback for this long.
    Slow(Duration),
}

/// The state of the watched loop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Running,
    Paused,
    Slow,
    Stepping,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            State::Running => "running",
            State::Paused => "paused",
            State::Slow => "slow",
            State::Stepping => "stepping",
        }
    }
}

#[derive(Debug, Default)]
enum Mode {
    #[default]
    Running,
    Paused,
    /// The step began where the loop stood before `from`.
    Stepping {
        step: Step,
        from: Next,
    },
    Slow(Duration),
    /// The program closes: it runs, and takes no more commands.
    Released,
}

/// The state machine.
#[derive(Debug, Default)]
pub(super) struct Pacing {
    mode: Mode,
    /// The callback, or the wait, before which the loop is held.
    held: Option<Next>,
    /// In slow mode: the time for which the loop is held at `held` is over.
    is_hold_over: bool,
}

impl Pacing {
    pub fn state(&self) -> State {
        match self.mode {
            Mode::Running | Mode::Released => State::Running,
            Mode::Paused => State::Paused,
            Mode::Slow(_) => State::Slow,
            Mode::Stepping { .. } => State::Stepping,
        }
    }

    /// The callback or wait that the loop stands before.
    pub fn held(&self) -> Option<&Next> {
        self.held.as_ref()
    }

    /// Whether the loop is paused and stands at a gate point. Directly after a pause it stands nowhere yet.
    pub fn stands(&self) -> bool {
        self.state() == State::Paused && self.held.is_some()
    }

    /// Carries out a command. The error is a sentence: the command makes no sense now.
    pub fn command(&mut self, command: Command) -> Result<(), &'static str> {
        if matches!(self.mode, Mode::Released) {
            return Err("the program is closing: it takes no more commands");
        }
        let is_stepping = self.state() == State::Stepping;
        self.mode = match (command, self.held) {
            (Command::Pause, _) => Mode::Paused,
            (Command::Resume, _) => Mode::Running,
            (Command::Slow(_) | Command::Step(_), _) if is_stepping => {
                return Err("a step is running: pause or resume first");
            }
            (Command::Slow(hold), _) => {
                // The callback that the loop stands before has been seen long enough.
                self.is_hold_over = true;
                Mode::Slow(hold)
            }
            (Command::Step(step), Some(from)) if self.state() == State::Paused => Mode::Stepping { step, from },
            (Command::Step(_), _) => return Err("the loop runs: pause it first"),
        };
        Ok(())
    }

    /// Lets the loop run, for good.
    pub fn release(&mut self) {
        self.mode = Mode::Released;
    }

    /// The loop is at a gate point. Decides, and remembers it if the loop is held.
    pub fn decide_at(&mut self, next: &Next) -> Decision {
        match self.mode {
            Mode::Running | Mode::Released => self.pass(Decision::Open),
            Mode::Paused => self.hold(next),
            // The loop stood at the beginning of the step: it goes on here.
            Mode::Stepping { .. } if self.held.is_some() => self.pass(Decision::Pass),
            Mode::Stepping { step, from } if step.ends(&from, next) => {
                self.mode = Mode::Paused;
                self.hold(next)
            }
            Mode::Stepping { .. } => Decision::Pass,
            Mode::Slow(_) if next.kind == Kind::Wait => self.pass(Decision::Pass),
            Mode::Slow(_) if self.held.is_none() => self.hold(next),
            Mode::Slow(_) if self.is_hold_over => self.pass(Decision::Pass),
            Mode::Slow(_) => Decision::Hold,
        }
    }

    /// The loop is in the middle of a wait.
    pub fn decide_in_wait(&self) -> Decision {
        match self.state() {
            State::Running => Decision::Open,
            State::Paused => Decision::Hold,
            State::Slow | State::Stepping => Decision::Pass,
        }
    }

    /// How many callbacks a second slow mode lets pass. `None` in other states.
    pub fn per_second(&self) -> Option<f64> {
        let Mode::Slow(hold) = self.mode else { return None };
        // Thousandths: a hold is a whole number of nanoseconds.
        Some((1000.0 / hold.as_secs_f64()).round() / 1000.0)
    }

    /// For how long the loop is held at the callback that it stands before, in slow mode.
    pub fn hold_time(&self) -> Option<Duration> {
        match self.mode {
            Mode::Slow(hold) if self.held.is_some() && !self.is_hold_over => Some(hold),
            _ => None,
        }
    }

    /// The time of [`hold_time`](Self::hold_time) has passed.
    pub fn end_hold(&mut self) {
        self.is_hold_over = true;
    }

    fn hold(&mut self, next: &Next) -> Decision {
        self.held = Some(*next);
        self.is_hold_over = false;
        Decision::Hold
    }

    fn pass(&mut self, decision: Decision) -> Decision {
        self.held = None;
        decision
    }
}

#[cfg(test)]
mod tests;
