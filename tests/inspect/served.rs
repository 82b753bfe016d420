//! `bucle serve … --inspect`: on every server of the command, at Ctrl-C, and under load.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::{Page, connect};

const LIMIT: Duration = Duration::from_secs(60);

/// `bucle serve` with an inspector, as a child process.
struct Served {
    child: Child,
    address: SocketAddr,
    page: Page,
}

impl Served {
    /// From here on the process is ended by the drop.
    fn of(child: Child) -> Served {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        Served { child, address, page: Page { address, token: String::new() } }
    }

    fn start(args: &[&str]) -> Served {
        Served::start_with(args, Stdio::null())
    }

    fn start_with(args: &[&str], log: Stdio) -> Served {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bucle"));
        command.arg("serve").args(args).args(["--port", "0", "--inspect", "0"]).env_remove("RUST_LOG");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut served = Served::of(command.spawn().expect("the program starts"));
        let stdout = served.child.stdout.take().expect("it is piped");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });
        let mut address = None;
        loop {
            let line = lines.recv_timeout(LIMIT).expect("a line with an address");
            if let Some(url) = line.strip_prefix("inspector listening on ") {
                served.address = address.expect("the server's line comes first");
                served.page = Page::of_url(url);
                return served;
            }
            address = address.or_else(|| line.rsplit_once(' ')?.1.parse().ok());
        }
    }

    fn signal(&self, name: &str) {
        let kill = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(kill.expect("kill is there").success());
    }

    fn end(mut self) -> Option<i32> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status.code();
            }
            assert!(began.elapsed() < LIMIT, "the server does not end");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn every_server_can_be_inspected() {
    let table: &[&[&str]] = &[
        &["chat"],
        &["chat", "--http", "0"],
        &["echo"],
        &["echo", "--http", "0"],
        &["lines"],
        &["relay"],
        &["tutorial"],
        &["tutorial", "--http", "0"],
        &["discard"],
    ];
    for args in table {
        let served = Served::start(args);
        let state = served.page.state();
        assert_eq!((&state["state"], &state["title"]), (&json!("running"), &json!(format!("bucle serve {}", args[0]))));
        served.page.pause();
        served.page.resume();
        served.signal("TERM");
        assert_eq!(served.end(), Some(0), "{args:?}");
    }
}

#[test]
fn the_programs_of_the_quiz_run_from_the_page() {
    let served = Served::start(&["echo"]);
    let lessons = served.page.get("/lessons.json").json();
    let lessons = lessons.as_array().expect("a list");
    assert!(lessons.len() >= 12);
    let callbacks = served.page.state()["callbacks"].clone();
    for (number, lesson) in lessons.iter().enumerate() {
        let order: Vec<usize> = (0..lesson["lines"].as_array().expect("a list").len()).collect();
        let run = |order: &serde_json::Value| {
            let body = json!({ "lesson": number, "order": order }).to_string();
            served.page.request("POST", "/lesson", "", &body).json()
        };
        let first = run(&json!(order));
        // The program of a race may run differently each time, and every order is right.
        assert_eq!(run(&first["order"])["right"], true, "{}", lesson["title"]);
    }
    for body in [json!({}), json!({ "lesson": 0, "order": [0] }), json!({ "lesson": 999, "order": [0, 1, 2] })] {
        assert_eq!(served.page.request("POST", "/lesson", "", &body.to_string()).status, 400, "{body}");
    }
    assert_eq!(served.page.state()["callbacks"], callbacks, "they run on loops of their own");
}

/// How many connections the next test makes, and how many messages it sends between two snapshots. Without enough
/// descriptors there are fewer connections.
const MANY: usize = 10_000;
const MESSAGES: usize = 1_000;

/// The bound for the time of a snapshot is measured, not tested: docs/live-page.md has the figures.
#[test]
fn a_snapshot_of_ten_thousand_busy_connections_is_small() {
    let limit = usize::try_from(bucle::process::raise_descriptor_limit()).unwrap_or(usize::MAX);
    // Other tests of this process have some, too.
    let connections = MANY.min(limit.saturating_sub(1000));
    if connections < MANY {
        eprintln!("only {connections} connections: at most {limit} files may be open");
    }
    let served = Served::start(&["echo"]);
    let mut events = served.page.watch();
    events.next();
    let ask = |peer: &mut std::net::TcpStream| {
        peer.write_all(b"hola").expect("it is connected");
        peer.read_exact(&mut [0; 4]).expect("it is answered");
    };
    let new_peer = |_| {
        let mut peer = connect(served.address);
        // An answer before the next one, so that the kernel's queue of new connections does not overflow.
        ask(&mut peer);
        peer
    };
    let mut peers: Vec<_> = (0..connections).map(new_peer).collect();
    let small = |snapshot: serde_json::Value| {
        assert!(snapshot.to_string().len() <= 64 * 1024, "{}", snapshot.to_string().len());
        snapshot
    };
    loop {
        let snapshot = small(events.next());
        if snapshot["connections"]["open"].as_u64() == Some(connections as u64) {
            assert_eq!(snapshot["connections"]["rows"].as_array().map(Vec::len), Some(200));
            break;
        }
        ask(&mut peers[0]);
    }
    for round in 0..5 {
        for message in round * MESSAGES..(round + 1) * MESSAGES {
            ask(&mut peers[message % connections]);
        }
        small(events.next());
    }
}

#[test]
fn the_log_is_about_the_watched_loop_only() {
    let path = std::env::temp_dir().join(format!("bucle-inspect-{}.log", std::process::id()));
    let file = std::fs::File::create(&path).expect("a temporary file");
    let served = Served::start_with(&["echo", "-vvv"], file.into());
    served.page.state();
    let mut peer = connect(served.address);
    peer.write_all(b"hola").expect("it is connected");
    peer.read_exact(&mut [0; 4]).expect("it is answered");
    served.page.pause();
    served.page.resume();
    served.signal("TERM");
    assert_eq!(served.end(), Some(0));
    let log = std::fs::read_to_string(&path).expect("it is there");
    std::fs::remove_file(&path).expect("it is there");
    assert_eq!((log.matches("listening on").count(), log.matches("accepted from").count()), (1, 1), "{log}");
    assert!(!log.contains("/state.json") && !log.contains("/control"), "{log}");
}

#[test]
fn each_line_of_one_read_is_a_step() {
    let served = Served::start(&["lines"]);
    let mut peer = connect(served.address);
    peer.write_all(b"hola\n").expect("it is connected");
    peer.read_exact(&mut [0; 5]).expect("it is answered");
    let mut now = served.page.pause();
    peer.write_all(b"one\ntwo\nthree\n").expect("the kernel takes it");
    let mut lines = Vec::new();
    while lines.len() < 3 {
        if now["next"]["kind"] == "on_line" {
            lines.push(now["next"]["bytes"].as_u64().expect("a number"));
        }
        now = served.page.step("callback");
        assert_eq!(now["state"], "paused", "{now}");
    }
    assert_eq!(lines, [4, 4, 6]);
    served.page.resume();
    peer.read_exact(&mut [0; 14]).expect("it is answered");
}

#[test]
fn a_signal_lets_a_paused_server_close_in_order() {
    for signal in ["INT", "TERM"] {
        let served = Served::start(&["lines"]);
        let mut peer = connect(served.address);
        served.page.pause();
        peer.write_all(b"hola\n").expect("the kernel takes it");
        served.signal(signal);
        let mut answer = String::new();
        peer.read_to_string(&mut answer).expect("the connection is ended, not reset");
        assert_eq!(answer, "hola\n", "{signal}");
        drop(peer);
        assert_eq!(served.end(), Some(0), "{signal}");
    }
}

#[test]
fn load_on_a_server_whose_page_is_open_loses_nothing() {
    let served = Served::start(&["echo"]);
    let mut events = served.page.watch();
    let target = served.address.to_string();
    let load = thread::spawn(move || {
        Command::new(env!("CARGO_BIN_EXE_bucle"))
            .args(["load", &target, "--connections", "20", "--duration", "2s"])
            .stdin(Stdio::null())
            .output()
            .expect("the program starts")
    });
    let mut busiest = 0;
    let mut pauses = 0;
    while !load.is_finished() {
        let snapshot = events.next();
        busiest = busiest.max(snapshot["connections"]["open"].as_u64().unwrap_or(0));
        if pauses < 5 && busiest >= 20 {
            served.page.pause();
            for _ in 0..10 {
                served.page.step("callback");
            }
            served.page.resume();
            pauses += 1;
        }
    }
    let report = load.join().expect("no panic");
    assert!(report.status.success(), "{}", String::from_utf8_lossy(&report.stdout));
    assert!(busiest >= 20 && pauses == 5, "{busiest} connections, {pauses} pauses");
}
