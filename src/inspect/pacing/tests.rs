//! Commands and gate points, and what becomes of them.

use std::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::trace::Phase;
use crate::{EventLoop, Loop};

/// Gate points of a real loop: `Next` cannot be made outside of it.
fn gate_points() -> Vec<Next> {
    struct Collects(EventLoop, Rc<RefCell<Vec<Next>>>);
    impl crate::trace::Gate for Collects {
        fn fd(&self) -> std::os::fd::RawFd {
            std::os::fd::AsRawFd::as_raw_fd(&self.0)
        }
        fn max_wait(&mut self) -> Option<Duration> {
            None
        }
        fn turn(&mut self, _: Option<Duration>) {}
        fn decide(&mut self, _: &Loop, next: Option<&Next>) -> Decision {
            self.1.borrow_mut().extend(next);
            Decision::Pass
        }
    }
    let points = Rc::default();
    let gate = Collects(EventLoop::new().expect("a loop"), Rc::clone(&points));
    crate::run(|lp| {
        lp.set_gate(gate)?;
        lp.set_immediate(|lp| lp.next_tick(|_| {}));
        lp.set_immediate(|lp| {
            lp.set_immediate(|_| {});
        });
        Ok(())
    })
    .expect("it runs");
    points.take()
}

/// The gate points of two turns: a wait, three callbacks of the check phase; a wait, a callback.
fn two_turns() -> Vec<Next> {
    let points = gate_points();
    let seen: Vec<_> = points.iter().map(|next| (next.turn, next.phase, next.kind)).collect();
    let (poll, check) = (Phase::Poll, Phase::Check);
    let first =
        [(1, poll, Kind::Wait), (1, check, Kind::Immediate), (1, check, Kind::Tick), (1, check, Kind::Immediate)];
    assert_eq!(seen[..4], first);
    assert_eq!(seen[4..], [(2, poll, Kind::Wait), (2, check, Kind::Immediate)]);
    points
}

/// A loop that stands before the first of these points.
fn standing(points: &[Next]) -> Pacing {
    let mut pacing = Pacing::default();
    pacing.command(Command::Pause).expect("it runs");
    assert_eq!(pacing.decide_in_wait(), Decision::Hold);
    assert!(!pacing.stands(), "it is not at a gate point yet");
    assert_eq!(pacing.decide_at(&points[0]), Decision::Hold);
    assert!(pacing.stands());
    pacing
}

#[test]
fn a_loop_that_runs_is_not_held() {
    let mut pacing = Pacing::default();
    assert_eq!(pacing.decide_in_wait(), Decision::Open);
    assert!(two_turns().iter().all(|next| pacing.decide_at(next) == Decision::Open));
    assert_eq!(pacing.state(), State::Running);
}

#[test]
fn a_paused_loop_stands_until_it_is_resumed() {
    let points = two_turns();
    let mut pacing = standing(&points);
    assert_eq!(pacing.decide_at(&points[0]), Decision::Hold);
    assert_eq!(pacing.held(), Some(&points[0]));
    pacing.command(Command::Resume).expect("it is paused");
    assert_eq!(pacing.decide_at(&points[0]), Decision::Open);
    assert_eq!((pacing.state(), pacing.held()), (State::Running, None));
}

#[test]
fn a_step_ends_where_it_says() {
    let points = two_turns();
    for (step, ends_at) in [(Step::Callback, 1), (Step::Phase, 1), (Step::Turn, 4)] {
        let mut pacing = standing(&points);
        pacing.command(Command::Step(step)).expect("it is paused");
        assert_eq!(pacing.decide_at(&points[0]), Decision::Pass);
        assert_eq!((pacing.state(), pacing.decide_in_wait()), (State::Stepping, Decision::Pass));
        for point in &points[1..ends_at] {
            assert_eq!(pacing.decide_at(point), Decision::Pass, "{step:?}");
        }
        assert_eq!(pacing.decide_at(&points[ends_at]), Decision::Hold, "{step:?}");
        assert!(pacing.stands() && pacing.held() == Some(&points[ends_at]));
    }
    let mut pacing = standing(&points[1..]);
    pacing.command(Command::Step(Step::Phase)).expect("it is paused");
    let decisions: Vec<_> = points[1..5].iter().map(|point| pacing.decide_at(point)).collect();
    assert_eq!(decisions, [Decision::Pass, Decision::Pass, Decision::Pass, Decision::Hold], "to the next poll");
}

#[test]
fn slow_mode_holds_callbacks_for_a_while_and_waits_not_at_all() {
    let points = two_turns();
    let hold = Duration::from_millis(250);
    let mut pacing = Pacing::default();
    pacing.command(Command::Slow(hold)).expect("it runs");
    assert_eq!((pacing.decide_at(&points[0]), pacing.hold_time()), (Decision::Pass, None), "a wait");
    for point in &points[1..3] {
        assert_eq!((pacing.decide_at(point), pacing.hold_time()), (Decision::Hold, Some(hold)));
        assert_eq!(pacing.decide_at(point), Decision::Hold, "the time is not over");
        pacing.end_hold();
        assert_eq!((pacing.hold_time(), pacing.decide_at(point)), (None, Decision::Pass));
    }
    assert_eq!(pacing.decide_at(&points[3]), Decision::Hold);
    pacing.command(Command::Pause).expect("it runs slowly");
    pacing.end_hold();
    assert_eq!(pacing.decide_at(&points[3]), Decision::Hold, "paused");
    assert!(pacing.stands());
    pacing.command(Command::Slow(hold)).expect("it is paused");
    assert_eq!(pacing.decide_at(&points[3]), Decision::Pass, "the callback that was seen is not held again");
}

#[test]
fn commands_that_make_no_sense_are_refused() {
    let points = two_turns();
    let slow = Command::Slow(Duration::from_millis(1));
    let step = Command::Step(Step::Callback);
    let mut pacing = Pacing::default();
    assert!(pacing.command(step).is_err(), "it runs");
    pacing.command(slow).expect("it runs");
    assert!(pacing.command(step).is_err(), "it runs slowly");
    let mut pacing = standing(&points);
    pacing.command(step).expect("it is paused");
    assert!(pacing.command(step).is_err() && pacing.command(slow).is_err(), "a step is running");
    assert_eq!(pacing.decide_at(&points[0]), Decision::Pass);
    pacing.command(Command::Pause).expect("always possible");
    assert_eq!(pacing.decide_in_wait(), Decision::Hold);
    pacing.command(Command::Pause).expect("it is paused already");
    assert!(pacing.command(step).is_err(), "it stands nowhere yet");
}

#[test]
fn a_released_loop_runs_for_good() {
    let points = two_turns();
    let mut pacing = standing(&points);
    pacing.release();
    assert_eq!(pacing.decide_at(&points[0]), Decision::Open);
    assert!(pacing.command(Command::Pause).is_err() && pacing.command(Command::Resume).is_err());
    assert!(points.iter().all(|next| pacing.decide_at(next) == Decision::Open));
}

#[test]
fn slow_mode_knows_its_speed() {
    let mut pacing = Pacing::default();
    assert_eq!(pacing.per_second(), None);
    for per_second in [0.1, 1.0, 3.0, 4.0, 7.0, 1000.0] {
        pacing.command(Command::Slow(Duration::from_secs_f64(1.0 / per_second))).expect("it runs");
        assert_eq!(pacing.per_second(), Some(per_second));
    }
    pacing.command(Command::Pause).expect("it runs slowly");
    assert_eq!(pacing.per_second(), None);
}
