//! The answers of the endpoints about a loop that runs.

use std::io::{Read, Write};
use std::time::Duration;

use bucle::inspect::Options;
use serde_json::{Value, json};

use crate::client::{Watched, connect};
use crate::paused::read;

#[test]
fn the_inspectors_own_work_is_not_in_the_numbers_of_the_loop() {
    let watched = Watched::start();
    let before = watched.page.state();
    for _ in 0..20 {
        watched.page.state();
    }
    let after = watched.page.state();
    for field in ["turn", "callbacks", "connections"] {
        assert_eq!(before[field], after[field], "{field}");
    }
    let events: Value = watched.page.get("/trace.json?last=60s").json();
    let waits = events.as_array().expect("a list").iter().filter(|event| event["name"] == "wait").count();
    assert_eq!(waits, 1, "the idle loop is in its first wait");
}

#[test]
fn connections_and_queues_are_shown() {
    let watched = Watched::with(Options::default(), |lp| {
        for _ in 0..3 {
            lp.set_timeout(Duration::from_secs(3600), |_| {});
        }
    });
    let mut peer = connect(watched.echo);
    peer.write_all(b"hola").expect("it is connected");
    peer.read_exact(&mut [0; 4]).expect("it is answered");
    let state = watched.page.state();
    assert_eq!((&state["state"], &state["phase"], &state["next"]), (&json!("running"), &json!("poll"), &Value::Null));
    assert_eq!((&state["queues"]["timers"], &state["queues"]["unsent"]), (&json!(3), &json!(0)));
    assert!(state["next_timer_ms"].as_f64().is_some_and(|ms| ms > 3_000_000.0), "{state}");
    let row = &state["connections"]["rows"][0];
    assert_eq!((&state["connections"]["open"], &row["state"]), (&json!(1), &json!("open")));
    assert_eq!(row["peer"], peer.local_addr().expect("it is connected").to_string());
    assert_eq!((&row["in"], &row["out"], &row["queued"]), (&json!(4), &json!(4), &json!(0)));
}

#[test]
fn a_slow_callback_is_shown_with_the_timers_that_it_made_late() {
    let watched = Watched::start();
    watched.post(|lp| {
        lp.set_timeout(Duration::from_millis(1), |_| {});
        std::thread::sleep(Duration::from_millis(30));
    });
    let slow = watched.page.state()["slow"][0].clone();
    assert_eq!(slow["kind"], "posted", "{slow}");
    assert!(slow["ms"].as_f64().is_some_and(|ms| ms >= 30.0), "{slow}");
    assert_eq!(slow["late_timers"], 1, "{slow}");
    assert!(slow["made_late"].as_str().is_some_and(|text| text.starts_with("1 timer by ")), "{slow}");
}

#[test]
fn the_trace_is_that_of_perfetto() {
    let watched = Watched::start();
    let mut peer = connect(watched.echo);
    peer.write_all(b"hola").expect("it is connected");
    peer.read_exact(&mut [0; 4]).expect("it is answered");
    // The poll phase of the answer has ended when the loop stands before its next wait.
    watched.page.pause();
    let events = watched.page.get("/trace.json?last=60s").json();
    let named = |name: &str| events.as_array().expect("a list").iter().filter(|event| event["name"] == name).count();
    assert_eq!((named("on_connection"), named("on_data"), named("write"), named("sent")), (1, 1, 1, 1), "{events}");
    let text = watched.page.get("/metrics").body;
    assert!(text.contains("\nbucle_connections 1\n") && text.contains("\nbucle_received_bytes_total 4\n"), "{text}");
}

#[test]
fn the_trace_has_the_records_that_the_loop_is_inside_of_however_long_ago_they_began() {
    let watched = Watched::start();
    let last = |watched: &Watched| watched.page.get("/trace.json?last=0s").json();
    let has = |events: &Value, name: &str| events.as_array().expect("a list").iter().any(|event| event["name"] == name);
    assert!(has(&last(&watched), "wait"), "the loop waits");
    let mut now = watched.page.pause();
    let mut peer = connect(watched.echo);
    while now["next"]["kind"] != "on_connection" {
        peer.write_all(b"hola").expect("the kernel takes it");
        now = watched.page.step("callback");
    }
    assert!(has(&last(&watched), "poll"), "it stands in the poll phase");
    let one = watched.page.get("/trace.json?last=60s&records=1").json();
    let records = one.as_array().expect("a list").iter().filter(|event| event["args"]["n"].is_u64());
    assert!(records.count() <= 1, "{one}");
}

#[test]
fn viewers_get_snapshots_while_the_loop_runs_and_when_it_stands() {
    let watched = Watched::start();
    let mut events = watched.page.watch();
    for _ in 0..3 {
        assert_eq!(events.next()["state"], "running");
    }
    watched.page.pause();
    while events.next()["state"] != "paused" {}
    let stepped = watched.page.step("callback");
    if stepped["state"] == "paused" {
        assert_eq!(events.next()["turn"], stepped["turn"]);
    }
}

#[test]
fn of_two_snapshots_the_newer_one_has_the_higher_number() {
    let watched = Watched::start();
    let number = |snapshot: &Value| snapshot["number"].as_u64().expect("a number");
    let mut events = watched.page.watch();
    let mut newest = number(&events.next());
    for _ in 0..3 {
        for snapshot in [watched.page.state(), watched.page.pause(), watched.page.state()] {
            assert!(number(&snapshot) > newest, "{snapshot}");
            newest = number(&snapshot);
        }
        watched.page.resume();
    }
    let mut before = 0;
    while before <= newest {
        let after = number(&events.next());
        assert!(after > before);
        before = after;
    }
}

#[test]
fn a_viewer_that_has_not_read_for_a_while_gets_the_state_in_which_the_loop_stands() {
    let watched = Watched::start();
    let mut peers: Vec<_> = (0..100).map(|_| connect(watched.echo)).collect();
    peers.iter_mut().for_each(|peer| {
        peer.write_all(b"hola").expect("it is connected");
        assert_eq!(read(peer, 4), "hola");
    });
    let mut viewer = watched.page.watch();
    // Each answer is also an event, and together they are more than the kernel takes for a viewer that does not read.
    let mut sent = 0;
    while sent < 15_000_000 {
        sent += watched.page.pause().to_string().len();
    }
    watched.page.resume();
    peers[0].write_all(b"hola").expect("it is connected");
    assert_eq!(read(&mut peers[0], 4), "hola");
    let last = watched.page.pause();
    while viewer.next()["callbacks"] != last["callbacks"] {}
}

/// Whether both have the same fields, also inside. Of lists the first items are compared.
fn assert_same_fields(documented: &Value, real: &Value, place: &str) {
    match (documented, real) {
        (Value::Object(documented), Value::Object(real)) => {
            let [one, other] = [documented, real].map(|object| {
                let mut names: Vec<&String> = object.keys().collect();
                names.sort_unstable();
                names
            });
            assert_eq!(one, other, "the fields of {place}");
            for (name, value) in documented {
                assert_same_fields(value, &real[name], &format!("{place}.{name}"));
            }
        }
        (Value::Array(documented), Value::Array(real)) => {
            let first = documented.first().zip(real.first());
            let (documented, real) = first.unwrap_or_else(|| panic!("{place} is empty"));
            assert_same_fields(documented, real, place);
        }
        _ => {}
    }
}

#[test]
fn the_documented_snapshot_has_the_fields_of_a_real_one() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/live-page.md");
    let document = std::fs::read_to_string(path).expect("it is there");
    let example = document.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let documented: Value = serde_json::from_str(example).expect("it is JSON");
    let watched = Watched::start();
    let mut peer = connect(watched.echo);
    peer.write_all(b"hola").expect("it is connected");
    peer.read_exact(&mut [0; 4]).expect("it is answered");
    watched.post(|_| std::thread::sleep(Duration::from_millis(30)));
    let mut real = watched.page.pause();
    peer.write_all(b"held").expect("the kernel takes it");
    while real["next"]["kind"] != "on_data" {
        real = watched.page.step("callback");
    }
    assert_same_fields(&documented, &real, "the snapshot");
}
