//! Paused is paused: nothing is read, called or sent until a step or a resume.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bucle::inspect::Options;
use serde_json::{Value, json};

use crate::client::{Watched, connect};

/// Whether something can be read now.
fn has_bytes(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).expect("it is a socket");
    let result = stream.peek(&mut [0]);
    stream.set_nonblocking(false).expect("it is a socket");
    match result {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            false
        }
    }
}

pub(crate) fn read(stream: &mut TcpStream, count: usize) -> String {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).expect("it is answered");
    String::from_utf8(bytes).expect("text")
}

fn callbacks(snapshot: &Value) -> u64 {
    snapshot["callbacks"].as_u64().expect("a number")
}

/// Steps until `is_there`. Checks at each step that what `next` named has passed.
fn step_until(watched: &Watched, mut now: Value, is_there: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..100 {
        if is_there(&now) {
            return now;
        }
        let is_wait = now["next"]["kind"] == "wait";
        let then = watched.page.step("callback");
        assert_eq!(then["state"], "paused", "{then}");
        assert_eq!(callbacks(&then) - callbacks(&now), u64::from(!is_wait), "{} has passed", now["next"]);
        now = then;
    }
    panic!("it does not come: {now}");
}

#[test]
fn an_echo_leaves_at_the_end_of_the_phase_of_its_callback() {
    let watched = Watched::start();
    let mut peer = connect(watched.echo);
    peer.write_all(b"one").expect("it is connected");
    assert_eq!(read(&mut peer, 3), "one");

    let paused = watched.page.pause();
    assert_eq!(paused["next"]["kind"], "wait", "{paused}");
    peer.write_all(b"hola").expect("the kernel takes it");
    // Several turns of the inner loop: it is served, the watched one is not.
    for _ in 0..5 {
        let snapshot = watched.page.state();
        assert_eq!(
            (&snapshot["callbacks"], &snapshot["turn"], &snapshot["next"]["kind"]),
            (&paused["callbacks"], &paused["turn"], &json!("wait")),
        );
        assert!(!has_bytes(&mut peer), "nothing is answered while the loop is paused");
    }

    let data = step_until(&watched, paused, |now| now["next"]["kind"] == "on_data");
    let row = &data["connections"]["rows"][0];
    assert_eq!(data["next"]["who"], format!("#{}", row["id"]), "{data}");
    assert_eq!((&data["next"]["bytes"], &data["phase"]), (&json!(4), &json!("poll")));
    assert!(data["next"]["cause"].as_str().is_some_and(|cause| cause.starts_with("ready #")), "{data}");
    assert_eq!(row["in"], 7, "the bytes have been read");
    assert_eq!(row["out"], 3);
    assert!(!has_bytes(&mut peer));

    // The callback writes, its phase ends, the bytes are sent, and the loop stands before the next wait.
    let after = watched.page.step("callback");
    assert_eq!(callbacks(&after), callbacks(&data) + 1);
    assert_eq!((&after["next"]["kind"], &after["state"]), (&json!("wait"), &json!("paused")));
    assert_eq!(after["connections"]["rows"][0]["out"], 7);
    assert_eq!(read(&mut peer, 4), "hola");

    watched.page.resume();
    peer.write_all(b"two").expect("it is connected");
    assert_eq!(read(&mut peer, 3), "two");
}

#[test]
fn a_step_out_of_a_wait_goes_on_until_something_happens() {
    let watched = Watched::start();
    let mut peer = connect(watched.echo);
    watched.page.pause();
    // The connection was accepted before the pause, or is accepted in the first step.
    let mut snapshot = watched.page.step("callback");
    while snapshot["state"] == "paused" {
        snapshot = watched.page.step("callback");
    }
    assert_eq!(snapshot["state"], "stepping", "after a second the answer is that it still waits");
    let refused = watched.page.control(&json!({ "do": "step", "unit": "turn" }));
    assert_eq!(refused.status, 409, "{}", refused.body);
    let refused = watched.page.control(&json!({ "do": "speed", "per_second": 4 }));
    assert_eq!(refused.status, 409, "{}", refused.body);
    peer.write_all(b"hola").expect("it is connected");
    while watched.page.state()["state"] == "stepping" {}
    assert_eq!(watched.page.state()["next"]["kind"], "on_data");
    assert!(!has_bytes(&mut peer));
    // A step is ended by a pause, too.
    while watched.page.step("turn")["state"] == "paused" {}
    let paused = watched.page.pause();
    assert_eq!(paused["next"]["kind"], "wait");
    assert_eq!(read(&mut peer, 4), "hola");
}

#[test]
fn time_stands_still_and_no_timer_is_late_afterwards() {
    let fired: Arc<Mutex<Vec<(Duration, Duration)>>> = Arc::default();
    let seen = Arc::clone(&fired);
    let watched = Watched::with(Options::default(), move |lp| {
        let start = lp.now();
        let real = std::time::Instant::now();
        lp.set_interval(Duration::from_millis(10), move |lp| {
            seen.lock().expect("no test panics with it").push((lp.now() - start, real.elapsed()));
        });
    });
    let count = || fired.lock().expect("no test panics with it").len();
    while count() < 3 {
        std::thread::yield_now();
    }
    let before = watched.page.pause();
    let (at_pause, up) = (count(), before["up_ms"].as_f64().expect("a number"));
    // Real time passes: more than thirty periods.
    std::thread::sleep(Duration::from_millis(350));
    assert_eq!(count(), at_pause);
    let later = watched.page.state();
    assert!(later["up_ms"].as_f64().expect("a number") <= up + 1.0, "{later}");
    watched.page.resume();
    while count() < at_pause + 5 {
        std::thread::yield_now();
    }
    let fired = fired.lock().expect("no test panics with it").clone();
    // As in Node an interval does not make up for missed calls, so a burst would be two calls in one period of the
    // loop's own time.
    for pair in fired.windows(2) {
        assert!(pair[1].0 - pair[0].0 >= Duration::from_millis(9), "{pair:?}");
    }
    let (loop_time, real) = fired[at_pause];
    assert!(real - loop_time >= Duration::from_millis(340), "the pause is not in the loop's time");
}

#[test]
fn a_phase_step_and_a_turn_step_end_where_they_say() {
    let watched = Watched::with(Options::default(), |lp| {
        fn again(lp: &mut bucle::Loop) {
            lp.set_immediate(|lp| lp.next_tick(|_| {}));
            lp.set_immediate(again);
            lp.set_timeout(Duration::from_millis(1), |_| {});
        }
        again(lp);
    });
    let mut now = watched.page.pause();
    for _ in 0..4 {
        let then = watched.page.step("phase");
        assert_eq!(then["state"], "paused", "{then}");
        assert_ne!((&now["turn"], &now["phase"]), (&then["turn"], &then["phase"]));
        now = then;
    }
    for _ in 0..4 {
        let then = watched.page.step("turn");
        assert_eq!(then["turn"].as_u64(), now["turn"].as_u64().map(|turn| turn + 1));
        now = then;
    }
    assert_eq!(now["next"]["kind"], "wait", "a turn begins with its poll");
    // Two immediates and a tick.
    let start = now.clone();
    step_until(&watched, now, |now| now["turn"] != start["turn"]);
}

#[test]
fn the_answer_to_a_command_that_lets_the_loop_go_on_is_about_where_it_stood() {
    let watched = Watched::with(Options::default(), |lp| {
        fn again(lp: &mut bucle::Loop) {
            lp.set_immediate(again);
        }
        again(lp);
    });
    for command in [json!({ "do": "speed", "per_second": 0.1 }), json!({ "do": "resume" })] {
        let paused = watched.page.pause();
        let stood = step_until(&watched, paused, |now| now["next"]["kind"] == "immediate");
        assert_eq!(stood["phase"], "check");
        let after = watched.page.control(&command).json();
        assert_eq!((&after["turn"], &after["phase"]), (&stood["turn"], &stood["phase"]), "{command}");
        assert!(after["next"].is_null(), "{after}");
    }
}

#[test]
fn slow_mode_goes_on_without_a_viewer() {
    let watched = Watched::start();
    let mut peer = connect(watched.echo);
    assert_eq!(watched.page.control(&json!({ "do": "speed", "per_second": 1000 })).json()["state"], "slow");
    for _ in 0..100 {
        peer.write_all(b"hola").expect("it is connected");
        assert_eq!(read(&mut peer, 4), "hola");
    }
}

#[test]
fn slow_mode_shows_each_callback_before_it_runs() {
    let watched = Watched::start();
    let mut peer = connect(watched.echo);
    let slow = watched.page.control(&json!({ "do": "speed", "per_second": 20 })).json();
    assert_eq!((&slow["state"], &slow["per_second"]), (&json!("slow"), &json!(20.0)));
    let mut events = watched.page.watch();
    peer.write_all(b"hola").expect("it is connected");
    loop {
        let snapshot = events.next();
        assert_eq!(snapshot["state"], "slow");
        if snapshot["next"]["kind"] == "on_data" {
            break;
        }
    }
    assert_eq!(read(&mut peer, 4), "hola");
    let refused = watched.page.control(&json!({ "do": "step", "unit": "callback" }));
    assert_eq!(refused.status, 409, "{}", refused.body);
    watched.page.resume();
    assert_eq!(watched.page.state()["state"], "running");
}

#[test]
fn commands_that_make_no_sense_are_answered_with_a_sentence() {
    let watched = Watched::start();
    let running = watched.page.control(&json!({ "do": "step", "unit": "callback" }));
    assert_eq!((running.status, running.body.as_str()), (409, "the loop runs: pause it first\n"));
    for body in [json!({}), json!({ "do": "stop" }), json!({ "do": "step" }), json!({ "do": "speed" })] {
        assert_eq!(watched.page.control(&body).status, 400, "{body}");
    }
    assert_eq!(watched.page.state()["state"], "running");
}

#[test]
fn of_two_commands_that_arrive_together_the_later_one_decides() {
    let watched = Watched::start();
    let (mut first, mut second) = (watched.page.open(), watched.page.open());
    for before in [json!({ "do": "resume" }), json!({ "do": "speed", "per_second": 1000 })] {
        watched.while_busy(|| {
            first.send_command(&before);
            second.send_command(&json!({ "do": "pause" }));
        });
        assert_eq!((first.answer().status, second.answer().json()["state"].clone()), (200, json!("paused")));
        assert_eq!(watched.page.state()["state"], "paused", "{before}");
        watched.page.resume();
    }
}

#[test]
fn the_pages_own_events_are_not_in_the_queue_of_events() {
    let watched = Watched::start();
    let mut client = watched.page.open();
    let mut peers = [connect(watched.echo), connect(watched.echo)];
    for peer in &mut peers {
        peer.write_all(b"hola").expect("it is connected");
        assert_eq!(read(peer, 4), "hola");
    }
    // The loop finds three events in one poll: those of the peers, and behind them that of the page.
    watched.while_busy(|| {
        peers.iter_mut().for_each(|peer| peer.write_all(b"more").expect("it is connected"));
        client.send_command(&json!({ "do": "pause" }));
    });
    let first = client.answer().json();
    assert_eq!((&first["next"]["kind"], &first["queues"]["events"]), (&json!("on_data"), &json!(1)), "{first}");
    let second = watched.page.step("callback");
    assert_eq!((&second["next"]["kind"], &second["queues"]["events"]), (&json!("on_data"), &json!(0)), "{second}");
    // And with the page's event before that of a peer.
    watched.page.resume();
    peers.iter_mut().for_each(|peer| assert_eq!(read(peer, 4), "more"));
    watched.while_busy(|| {
        client.send_command(&json!({ "do": "pause" }));
        peers[0].write_all(b"last").expect("it is connected");
    });
    let last = client.answer().json();
    assert_eq!((&last["next"]["kind"], &last["queues"]["events"]), (&json!("on_data"), &json!(0)), "{last}");
}
