//! Prepare callbacks: called before every turn, they may limit its wait, and they can be added and removed at any time.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use bucle::{EventLoop, Loop, PrepareId};

type Log = Rc<RefCell<Vec<String>>>;

/// Adds a prepare callback that logs its name, and returns `limit`.
fn prepare(lp: &mut Loop, log: &Log, name: &'static str, limit: Option<Duration>) -> PrepareId {
    let log = log.clone();
    lp.on_prepare(move |_| {
        log.borrow_mut().push(name.to_owned());
        limit
    })
}

/// Turns once without waiting. Returns what was logged.
fn turn(event_loop: &mut EventLoop, log: &Log) -> String {
    event_loop.turn(Some(Duration::ZERO)).expect("the poll works");
    log.take().join(" ")
}

#[test]
fn they_are_called_in_their_order_before_every_turn() {
    let (mut event_loop, log) = (EventLoop::new().expect("a loop"), Log::default());
    let [a, b] = event_loop.enter(|lp| ["a", "b"].map(|name| prepare(lp, &log, name, None)));
    let immediate = log.clone();
    event_loop.enter(|lp| lp.set_immediate(move |_| immediate.borrow_mut().push("immediate".to_owned())));
    assert_eq!(turn(&mut event_loop, &log), "a b immediate");
    assert_eq!(turn(&mut event_loop, &log), "a b");
    assert!(event_loop.enter(|lp| lp.remove_prepare(a)));
    assert!(!event_loop.enter(|lp| lp.remove_prepare(a)), "it is gone");
    event_loop.enter(|lp| prepare(lp, &log, "c", None));
    assert_eq!(turn(&mut event_loop, &log), "b c");
    assert!(event_loop.enter(|lp| lp.remove_prepare(b)));
    assert_eq!(turn(&mut event_loop, &log), "c");
    assert!(!event_loop.is_alive(), "they keep nothing alive");
    assert_eq!(event_loop.enter(|lp| lp.metrics().callbacks), 1, "the immediate: they are not counted");
}

#[test]
fn the_smallest_limit_counts() {
    let (mut event_loop, log) = (EventLoop::new().expect("a loop"), Log::default());
    // A loop that waits for nothing but another thread, which never comes: only the limit ends the wait.
    let hold = event_loop.enter(|lp| lp.remote().hold());
    event_loop.enter(|lp| {
        prepare(lp, &log, "a", None);
        prepare(lp, &log, "b", Some(Duration::from_millis(1)));
        prepare(lp, &log, "c", Some(Duration::from_secs(3600)));
    });
    event_loop.turn(None).expect("the poll works");
    event_loop.turn(Some(Duration::from_secs(3600))).expect("the poll works");
    drop(hold);
}

#[test]
fn they_may_add_and_remove_each_other() {
    let (mut event_loop, log) = (EventLoop::new().expect("a loop"), Log::default());
    event_loop.enter(|lp| {
        let first = prepare(lp, &log, "first", None);
        let ids = Rc::new(RefCell::new(vec![first]));
        let (seen, known) = (log.clone(), ids.clone());
        let own = lp.on_prepare(move |lp| {
            seen.borrow_mut().push("second".to_owned());
            // The first one, which was called already, the third one, which was not, and this one.
            for id in known.borrow_mut().drain(..) {
                assert!(lp.remove_prepare(id));
            }
            prepare(lp, &seen, "new", None);
            None
        });
        let third = prepare(lp, &log, "third", None);
        prepare(lp, &log, "fourth", None);
        ids.borrow_mut().extend([own, third]);
    });
    assert_eq!(turn(&mut event_loop, &log), "first second fourth");
    assert_eq!(turn(&mut event_loop, &log), "fourth new");
}

#[test]
fn one_that_panics_is_not_called_again_and_the_others_are() {
    for is_caught in [true, false] {
        let (mut event_loop, log) = (EventLoop::new().expect("a loop"), Log::default());
        event_loop.catch_panics(is_caught);
        event_loop.enter(|lp| {
            lp.on_prepare(|_| panic!("on purpose"));
            prepare(lp, &log, "other", None);
        });
        let first = catch_unwind(AssertUnwindSafe(|| turn(&mut event_loop, &log)));
        assert_eq!(first.ok().as_deref(), is_caught.then_some("other"));
        assert_eq!(turn(&mut event_loop, &log), "other");
        assert_eq!(event_loop.enter(|lp| lp.caught_panics()), u64::from(is_caught));
    }
}
