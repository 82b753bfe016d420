//! `bucle serve --trace FILE`: a viewer can open the file, even after the server was killed, and it has the events of
//! all clients.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::Instant;

use serde_json::Value;

use crate::served::{LIMIT, Served, bucle};
use crate::web_events::{ANSWER, FRAMES, WebServed, talk};

/// The path of a file for this test, which does not exist yet.
fn file(name: &str) -> PathBuf {
    let name = format!("trace-{name}-{}.json", std::process::id());
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_file(&path);
    path
}

fn served(path: &Path, args: &[&str]) -> Served {
    let mut all = args.to_vec();
    all.extend(["--trace", path.to_str().expect("a path in UTF-8")]);
    Served::start(&all)
}

fn wait_for(log: &Receiver<String>, what: &str) -> String {
    loop {
        let line = log.recv_timeout(LIMIT).expect("a line on stderr");
        if line.contains(what) {
            return line;
        }
    }
}

/// Waits until the file has `count` lines with `what`. A file sends no event when it grows, so this polls.
fn wait_for_lines(path: &Path, what: &str, count: usize) {
    let begin = Instant::now();
    while fs::read_to_string(path).expect("a trace").matches(what).count() < count {
        assert!(begin.elapsed() < LIMIT, "{count} of {what}");
        thread::yield_now();
    }
}

/// The events of a file without the closing bracket.
fn unfinished(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("a trace");
    serde_json::from_str(&format!("{text}]")).expect("JSON but for the last bracket")
}

fn finished(path: &Path) -> Vec<Value> {
    serde_json::from_str(&fs::read_to_string(path).expect("a trace")).expect("JSON")
}

/// Microseconds with three decimals, as nanoseconds.
fn ns(event: &Value, field: &str) -> u64 {
    (event[field].as_f64().unwrap_or_else(|| panic!("{field} in {event}")) * 1000.0).round() as u64
}

fn with<'a>(events: &'a [Value], field: &str, value: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event[field] == value).collect()
}

/// Checks everything that must hold for any trace.
fn check(events: &[Value]) {
    slices_nest(events);
    arrows_have_two_ends_in_slices(events);
    causes_lead_back(events);
    let threads: HashSet<_> = with(events, "name", "thread_name").iter().map(|event| event["tid"].as_u64()).collect();
    for event in events.iter().filter(|event| "Xi".contains(event["ph"].as_str().expect("a kind"))) {
        assert!(threads.contains(&event["tid"].as_u64()), "the track has a name: {event}");
    }
}

fn slices_nest(events: &[Value]) {
    let mut tracks: HashMap<u64, Vec<(u64, u64)>> = HashMap::new();
    for event in with(events, "ph", "X") {
        let start = ns(event, "ts");
        let tid = event["tid"].as_u64().expect("a track");
        tracks.entry(tid).or_default().push((start, start + ns(event, "dur")));
    }
    for (tid, mut slices) in tracks {
        slices.sort_by_key(|&(start, end)| (start, u64::MAX - end));
        let mut open: Vec<u64> = Vec::new();
        for (start, end) in slices {
            open.retain(|&outer| outer > start);
            assert!(open.last().is_none_or(|&outer| end <= outer), "track {tid}: {start} to {end} sticks out");
            open.push(end);
        }
    }
}

fn arrows_have_two_ends_in_slices(events: &[Value]) {
    let ends = |ph| -> HashMap<u64, &Value> {
        with(events, "ph", ph).into_iter().map(|event| (event["id"].as_u64().expect("a number"), event)).collect()
    };
    let (starts, finishes) = (ends("s"), ends("f"));
    assert_eq!(starts.keys().collect::<HashSet<_>>(), finishes.keys().collect());
    assert!(!starts.is_empty());
    let slices = with(events, "ph", "X");
    for (id, event) in starts.iter().chain(&finishes) {
        let at = ns(event, "ts");
        let is_around = |slice: &Value| {
            slice["tid"] == event["tid"] && (ns(slice, "ts")..=ns(slice, "ts") + ns(slice, "dur")).contains(&at)
        };
        assert!(slices.iter().any(|slice| is_around(slice)), "an end of arrow {id} is in no slice");
        assert!(ns(starts[id], "ts") <= ns(finishes[id], "ts"), "arrow {id} goes back in time");
    }
}

fn causes_lead_back(events: &[Value]) {
    let by_number: HashMap<u64, &Value> =
        events.iter().filter_map(|event| Some((event["args"]["n"].as_u64()?, event))).collect();
    for (&number, event) in &by_number {
        let mut event = *event;
        while let Some(cause) = event["args"]["cause"].as_u64() {
            event = by_number.get(&cause).unwrap_or_else(|| panic!("{cause}, a cause of {number}, is missing"));
        }
        assert_eq!((&event["ph"], &event["cat"]), (&"X".into(), &"loop".into()), "{number} goes back to {event}");
    }
}

fn sum(events: &[Value], name: &str, field: &str) -> u64 {
    with(events, "name", name).iter().map(|event| event["args"][field].as_u64().expect("a number")).sum()
}

#[test]
fn the_trace_of_a_killed_server_has_the_events_of_its_clients() {
    const CLIENTS: usize = 5;
    const MESSAGES: usize = 20;
    let path = file("killed");
    let mut server = served(&path, &["echo"]);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| server.connect()).collect();
    let mut sent = 0;
    for round in 0..MESSAGES {
        for (n, client) in clients.iter_mut().enumerate() {
            let message = vec![b'x'; 1 + round * 100 + n];
            client.send(&message);
            assert_eq!(client.bytes(message.len()), message);
            sent += message.len() as u64;
        }
    }
    // One client stays connected.
    for client in &mut clients[1..] {
        client.finish();
        assert_eq!(client.rest(), b"");
    }
    wait_for_lines(&path, r#""name":"on_close""#, CLIENTS - 1);
    server.child.kill().expect("it runs");
    server.child.wait().expect("it has ended");

    let events = unfinished(&path);
    check(&events);
    let count = |name| with(&events, "name", name).len();
    assert_eq!((count("on_connection"), count("on_end"), count("on_close")), (CLIENTS, CLIENTS - 1, CLIENTS - 1));
    assert_eq!(
        [("on_data", "bytes"), ("write", "bytes"), ("sent", "bytes")].map(|(name, field)| sum(&events, name, field)),
        [sent; 3]
    );

    let ports: HashSet<_> = with(&events, "name", "on_connection").iter().map(|e| e["args"]["port"].as_u64()).collect();
    let port_of = |client: &crate::served::Peer| client.0.local_addr().ok().map(|address| u64::from(address.port()));
    assert_eq!(ports, clients.iter().map(port_of).collect());

    let ids =
        |ph| -> HashSet<_> { with(&events, "ph", ph).iter().map(|event| event["id2"]["local"].as_str()).collect() };
    let (begun, ended) = (ids("b"), ids("e"));
    assert_eq!((begun.len(), ended.len()), (CLIENTS, CLIENTS - 1));
    assert!(ended.is_subset(&begun));

    let open = with(&events, "name", "connections");
    let open: Vec<_> = open.iter().filter_map(|event| event["args"]["open"].as_u64()).collect();
    assert_eq!((open.iter().max(), open.last()), (Some(&(CLIENTS as u64)), Some(&1)));
    let ready = sum(&events, "events", "ready");
    assert_eq!(ready, sum(&events, "wait", "events"));
    assert!(ready as usize >= CLIENTS * MESSAGES, "each message made an event");
}

#[test]
fn a_server_that_ends_completes_its_trace() {
    let path = file("ended");
    let server = served(&path, &["chat"]);
    let mut peer = server.greeted();
    peer.send("hola\r\n");
    server.signal("-TERM");
    let _ = peer.rest();
    let (status, stderr) = server.end();
    assert_eq!(status, Some(0), "{stderr}");
    assert!(
        stderr.ends_with(&format!("trace in {}: open it at https://ui.perfetto.dev\n", path.display())),
        "{stderr}"
    );
    let events = finished(&path);
    check(&events);
    assert_eq!(with(&events, "name", "signal").len(), 1);
    assert_eq!(with(&events, "name", "on_close").len(), 1);
    assert_eq!(with(&events, "ph", "e").len(), 1);
}

#[test]
fn a_trace_names_the_events_of_a_websocket() {
    let path = file("websocket");
    let server = WebServed::start(&["echo", "--trace", path.to_str().expect("a path in UTF-8")]);
    talk(server.open(), FRAMES, ANSWER);
    server.end();
    let events = finished(&path);
    check(&events);
    let table = [
        ("on_request", "bytes", 0),
        ("on_message", "bytes", 4),
        ("on_ping", "bytes", 2),
        ("on_pong", "bytes", 0),
        ("close_received", "code", 4000),
        ("close_sent", "code", 4000),
    ];
    for (name, unit, size) in table {
        let found = with(&events, "name", name);
        assert_eq!(found.len(), 1, "{name}");
        let args = &found[0]["args"];
        assert_eq!((&args[unit], &args["subject"]), (&size.into(), &"#3".into()), "{name}: {args}");
    }
    assert_eq!(with(&events, "name", "on_open").len(), 1);
}

/// With a peer that does not read, the kernel refuses bytes, and the trace shows the queued ones.
#[test]
fn queued_bytes_are_counted_until_they_are_sent() {
    let path = file("queued");
    let server = served(&path, &["echo"]);
    let mut peer = server.connect();
    let mut writer = peer.0.try_clone().expect("a descriptor");
    const SENT: usize = 32 * 1024 * 1024;
    let writing = thread::spawn(move || std::io::Write::write_all(&mut writer, &vec![b'x'; SENT]));
    // The server pauses when the kernel buffers are full, and continues when the peer reads.
    wait_for_lines(&path, r#""name":"pause""#, 1);
    assert_eq!(peer.bytes(SENT).len(), SENT);
    writing.join().expect("no panic").expect("it was written");
    peer.finish();
    assert_eq!(peer.rest(), b"");
    server.signal("-TERM");
    assert_eq!(server.end().0, Some(0));
    let events = finished(&path);
    check(&events);
    let queued = with(&events, "name", "queued");
    let queued: Vec<_> = queued.iter().filter_map(|event| event["args"]["bytes"].as_u64()).collect();
    assert!(queued.iter().any(|&bytes| bytes > 0));
    assert_eq!(queued.last(), Some(&0));
    assert_eq!(sum(&events, "sent", "bytes"), SENT as u64);
    assert!(!with(&events, "name", "blocked").is_empty() && !with(&events, "name", "on_drain").is_empty());
}

#[test]
fn the_limit_ends_the_trace_and_not_the_server() {
    let path = file("limit");
    let mut server = served(&path, &["echo", "--trace-limit", "16K"]);
    let log = server.heard();
    let mut peer = server.connect();
    // One message makes some hundred bytes of trace.
    for _ in 0..200 {
        peer.send("hola");
        assert_eq!(peer.bytes(4), b"hola");
    }
    let warning = wait_for(&log, "limit");
    assert!(warning.contains("recording stopped"), "{warning}");
    let text_len = fs::metadata(&path).expect("a trace").len();
    assert!((15 * 1024..=16 * 1024).contains(&text_len), "{text_len}");
    let events = finished(&path);
    let last = events.last().expect("an event");
    assert_eq!(last["name"], "recording stopped: the file has reached its limit of 16384 bytes");
    peer.send("still here");
    assert_eq!(peer.bytes(10), b"still here");
    assert_eq!(fs::metadata(&path).expect("a trace").len(), text_len);
}

/// A pipe whose reader has closed behaves like a full disk: from then on every write fails.
#[test]
fn a_failed_write_to_the_trace_is_logged_once() {
    let path = file("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo is there").success());
    let reader = path.clone();
    let reading = thread::spawn(move || {
        let mut head = [0; 64];
        fs::File::open(reader).and_then(|mut pipe| pipe.read_exact(&mut head))
    });
    let mut server = served(&path, &["echo"]);
    reading.join().expect("no panic").expect("the head of a trace");
    let log = server.heard();
    let mut peer = server.connect();
    peer.send("hola");
    assert_eq!(peer.bytes(4), b"hola");
    let warning = wait_for(&log, "cannot write the trace");
    assert!(warning.contains("recording stopped"), "{warning}");
    peer.send("still here");
    assert_eq!(peer.bytes(10), b"still here");
    server.signal("-TERM");
    let _ = peer.rest();
    let others: Vec<_> = log.iter().filter(|line| line.contains("trace")).collect();
    assert!(others.is_empty(), "{others:?}");
}

/// A limit of the file's size, which the kernel enforces with a signal that ends a process.
#[test]
fn a_trace_that_cannot_grow_does_not_end_the_server() {
    let path = file("ulimit");
    let mut command = Command::new("sh");
    let script = r#"ulimit -f 32; exec "$0" serve echo --port 0 --trace "$1""#;
    command.args(["-c", script, env!("CARGO_BIN_EXE_bucle")]).arg(&path).env_remove("RUST_LOG");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut server = Served::of(command);
    let log = server.heard();
    let mut peer = server.connect();
    // One message makes some hundred bytes of trace.
    for _ in 0..200 {
        peer.send("hola");
        assert_eq!(peer.bytes(4), b"hola");
    }
    let warning = wait_for(&log, "cannot write the trace");
    assert!(warning.contains("recording stopped"), "{warning}");
    // A viewer opens the file: no line of it is cut.
    let events = finished(&path);
    assert!(!with(&events, "name", "thread_name").is_empty());
    peer.send("still here");
    assert_eq!(peer.bytes(10), b"still here");
}

#[test]
fn only_a_trace_is_overwritten() {
    let path = file("other");
    let text = path.to_str().expect("a path in UTF-8");
    for precious in ["precious", "[", "[{\"name\":\"another program's\"}]"] {
        fs::write(&path, precious).expect("a file");
        let output = bucle(&["serve", "--port", "0", "--trace", text]).output().expect("the program starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(" exists and is not a trace\n  try:  --trace with another name"), "{stderr}");
        assert_eq!(fs::read_to_string(&path).expect("it is still there"), precious);
    }
    fs::write(&path, "").expect("a file");
    // An empty file, the trace of a killed server, and a complete trace are overwritten.
    drop(served(&path, &["echo"]));
    for _ in 0..2 {
        let server = served(&path, &["echo"]);
        server.signal("-TERM");
        assert_eq!(server.end().0, Some(0));
        check(&finished(&path));
    }
}

#[test]
fn a_trace_that_cannot_start_is_an_error_before_the_server_starts() {
    let table: [(&str, &[&str], i32, &str); 5] = [
        ("no file", &["--trace", "-"], 2, "a trace goes to a file"),
        (
            "no folder",
            &["--trace", "no/such/folder/t.json"],
            2,
            "no/such/folder/t.json: its folder does not exist\n  try:  mkdir -p no/such/folder\n",
        ),
        ("full disk", &["--trace", "/dev/full"], 1, "cannot write the trace to /dev/full"),
        ("small limit", &["--trace", "t.json", "--trace-limit", "1K"], 2, "at least 16K"),
        ("only a limit", &["--trace-limit", "64M"], 2, "--trace <FILE>"),
    ];
    for (name, args, status, want) in table {
        let mut all = vec!["serve", "--port", "0"];
        all.extend(args);
        let output = bucle(&all).output().expect("the program starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{name}: {stderr}");
        assert!(stderr.contains(want), "{name}: {stderr}");
        assert!(output.stdout.is_empty(), "{name}");
    }
}

/// The second server has the port or the trace of the first.
#[test]
fn a_server_that_does_not_start_leaves_the_trace_of_another_alone() {
    let path = file("two-servers");
    let text = path.to_str().expect("a path in UTF-8");
    let server = served(&path, &["echo"]);
    let mut peer = server.connect();
    peer.send("hola");
    assert_eq!(peer.bytes(4), b"hola");
    let port = server.port().to_string();
    for (name, port) in [("the port is taken", &*port), ("the trace is taken", "0")] {
        let output = bucle(&["serve", "echo", "--port", port, "--trace", text]).output().expect("the program starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{name}: {stderr}");
        assert!(stderr.contains("--trace: another process writes its trace to "), "{name}: {stderr}");
    }
    server.signal("-TERM");
    let _ = peer.rest();
    assert_eq!(server.end().0, Some(0));
    let trace = fs::read(&path).expect("a trace");
    check(&finished(&path));

    // Nobody writes the trace any longer, and the port is taken.
    let other = Served::start(&["echo"]);
    let port = other.port().to_string();
    let output = bucle(&["serve", "echo", "--port", &port, "--trace", text]).output().expect("the program starts");
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(fs::read(&path).expect("a trace") == trace, "the trace is unchanged");
}
