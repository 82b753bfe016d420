//! `Remote`: closures of other threads run on the loop, in order, and a hold keeps the loop alive for them.

use std::cell::RefCell;
use std::sync::mpsc;
use std::thread;

use bucle::EventLoop;

thread_local! {
    static SEEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn record(text: impl Into<String>) {
    SEEN.with_borrow_mut(|seen| seen.push(text.into()));
}

#[test]
fn closures_of_a_thread_run_on_the_loop_in_order() {
    let mut event_loop = EventLoop::new().expect("a loop");
    let threads: Vec<_> = event_loop.enter(|lp| {
        (0..4)
            .map(|thread| {
                let (remote, hold) = (lp.remote(), lp.remote().hold());
                thread::spawn(move || {
                    for n in 0..1000 {
                        remote.post(move |_| record(format!("{thread}:{n}")));
                    }
                    drop(hold);
                })
            })
            .collect()
    });
    event_loop.run().expect("the poll works");
    threads.into_iter().for_each(|thread| thread.join().expect("it ends"));
    let seen = SEEN.take();
    assert_eq!(seen.len(), 4000);
    for thread in 0..4 {
        let own: Vec<&String> = seen.iter().filter(|text| text.starts_with(&format!("{thread}:"))).collect();
        assert!(own.iter().enumerate().all(|(n, text)| **text == format!("{thread}:{n}")), "thread {thread}");
    }
}

#[test]
fn ticks_run_after_each_posted_closure() {
    let mut event_loop = EventLoop::new().expect("a loop");
    event_loop.enter(|lp| {
        for name in ["a", "b"] {
            lp.remote().post(move |lp| {
                record(name);
                lp.next_tick(move |_| record(format!("tick {name}")));
            });
        }
    });
    event_loop.turn(None).expect("the poll works");
    assert_eq!(SEEN.take(), ["a", "tick a", "b", "tick b"]);
}

#[test]
fn a_closure_posted_before_the_hold_is_dropped_is_run() {
    let mut event_loop = EventLoop::new().expect("a loop");
    event_loop.enter(|lp| {
        let (remote, hold) = (lp.remote(), lp.remote().hold());
        remote.post(|_| record("the answer"));
        drop(hold);
    });
    event_loop.run().expect("the poll works");
    assert_eq!(SEEN.take(), ["the answer"]);
}

#[test]
fn a_remote_does_not_keep_the_loop_alive() {
    let mut event_loop = EventLoop::new().expect("a loop");
    let remote = event_loop.enter(|lp| lp.remote());
    event_loop.run().expect("the loop ends immediately");
    drop(event_loop);
    remote.post(|_| unreachable!("the loop is gone"));
}

#[test]
fn dropping_the_last_hold_ends_a_waiting_loop() {
    let mut event_loop = EventLoop::new().expect("a loop");
    let (give, take) = mpsc::channel();
    give.send(event_loop.enter(|lp| lp.remote().hold())).expect("the channel is open");
    let thread = thread::spawn(move || drop(take.recv().expect("a hold")));
    event_loop.run().expect("it ends");
    thread.join().expect("it ends");
}

#[test]
fn another_thread_can_stop_the_loop() {
    let mut event_loop = EventLoop::new().expect("a loop");
    let (remote, _hold) = event_loop.enter(|lp| (lp.remote(), lp.remote().hold()));
    let thread = thread::spawn(move || remote.post(|lp| lp.stop()));
    event_loop.run().expect("it ends");
    thread.join().expect("it ends");
}

/// A posted closure may own a remote or a hold. The loop drops such a closure when it is dropped itself.
#[test]
fn posted_closures_are_dropped_with_the_loop_and_later_ones_refused() {
    let owned = std::sync::Arc::new(());
    let mut event_loop = EventLoop::new().expect("a loop");
    let remote = event_loop.enter(|lp| lp.remote());
    let (hold, mine) = (remote.hold(), owned.clone());
    assert!(remote.post(move |_| drop((hold, mine))));
    assert!(!remote.is_closed());
    drop(event_loop);
    assert_eq!(std::sync::Arc::strong_count(&owned), 1, "dropped without a run");
    assert!(remote.is_closed());
    let mine = owned.clone();
    assert!(!remote.post(move |_| drop(mine)));
    assert_eq!(std::sync::Arc::strong_count(&owned), 1);
}
