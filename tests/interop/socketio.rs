//! Socket.IO: the clients of npm and python-socketio against the example `socketio_contract`, and against Node's own
//! server with the same contract. Their output must be equal, line by line.
//!
//! The scripts name the differences that are on purpose.

use std::io::{BufRead, BufReader};
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;

use crate::{LIMIT, root, work};

fn scripts() -> PathBuf {
    root().join("tests/interop")
}

/// Whether Node and the packages of `package.json` are there.
fn has_node() -> bool {
    let packages = ["socket.io", "socket.io-client", "socket.io-client-v2", "ws"];
    let is_installed = Command::new("node").arg("--version").output().is_ok()
        && packages.iter().all(|name| scripts().join("node_modules").join(name).join("package.json").exists());
    or_skip("Node and the packages of tests/interop/package.json (npm install in tests/interop)", is_installed)
}

fn python() -> Option<PathBuf> {
    let interpreter = work().join("venv/bin/python");
    let output = Command::new(&interpreter).args(["-c", "import socketio"]).output();
    let is_installed = output.is_ok_and(|output| output.status.success());
    or_skip("python-socketio (see .ci/run)", is_installed).then_some(interpreter)
}

fn or_skip(what: &str, is_installed: bool) -> bool {
    if !is_installed {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "not installed: {what}");
        eprintln!("skipped, not installed: {what}");
    }
    is_installed
}

/// A server as a child process, which is killed when it is dropped.
struct Server {
    child: Child,
    port: String,
}

impl Server {
    fn start(command: &mut Command, variables: &[(&str, &str)]) -> Server {
        command.env("PORT", "0").envs(variables.iter().copied()).stdin(Stdio::null()).stdout(Stdio::piped());
        command.env("CLIENT_DIST", scripts().join("node_modules/socket.io/client-dist"));
        let mut child = command.spawn().expect("it is installed");
        let stdout = child.stdout.take().expect("it is piped");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });
        let mut server = Server { child, port: String::new() };
        let line = lines.recv_timeout(LIMIT).expect("a line");
        server.port = line.strip_prefix("listening on 127.0.0.1:").expect("a port").to_owned();
        server
    }

    /// The example.
    fn ours(variables: &[(&str, &str)]) -> Server {
        let test = std::env::current_exe().expect("the test has a path");
        let profile = test.parent().and_then(Path::parent).expect("it is target/PROFILE/deps/interop-…");
        let program = profile.join("examples/socketio_contract");
        assert!(program.exists(), "{} is missing: run `cargo build --examples`", program.display());
        Server::start(&mut Command::new(program), variables)
    }

    fn of_node(variables: &[(&str, &str)]) -> Server {
        Server::start(Command::new("node").arg(scripts().join("socketio_contract.js")), variables)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a client. It ends by itself, because each of its waits has a limit.
fn run(server: &Server, interpreter: &Path, script: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(interpreter);
    command.arg(scripts().join(script)).arg(&server.port).args(arguments).env("PYTHONUTF8", "1");
    command.stdin(Stdio::null()).output().expect("it is installed")
}

/// The lines of a client that has come to its end.
fn report(name: &str, output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.trim_end().ends_with("-- end"),
        "{name}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text.lines().map(str::to_owned).collect()
}

/// Runs a client against both servers and compares what it prints. The last argument of each run is its own.
fn compare(variables: &[(&str, &str)], interpreter: &Path, script: &str, arguments: &[&str], last: [Option<&str>; 2]) {
    let name = format!("{script} {arguments:?} {variables:?}");
    let [ours, theirs] = thread::scope(|scope| {
        let runs = [(Server::ours(variables), last[0]), (Server::of_node(variables), last[1])].map(|(server, last)| {
            let arguments: Vec<&str> = arguments.iter().copied().chain(last).collect();
            scope.spawn(move || run(&server, interpreter, script, &arguments))
        });
        runs.map(|run| run.join().expect("it runs"))
    });
    let (theirs, ours) = (report(&format!("Node: {name}"), &theirs), report(&format!("bucle: {name}"), &ours));
    for (line, (theirs, ours)) in theirs.iter().zip(&ours).enumerate() {
        assert_eq!(ours, theirs, "{name}, line {}: bucle on the left, Node on the right", line + 1);
    }
    assert_eq!(ours.len(), theirs.len(), "{name}");
}

fn compare_on_node(variables: &[(&str, &str)], script: &str, arguments: &[&str]) {
    if has_node() {
        compare(variables, Path::new("node"), script, arguments, [None; 2]);
    }
}

#[test]
fn requests_and_packets_by_hand_are_answered_as_by_node() {
    compare_on_node(&[], "socketio_wire.js", &[]);
}

#[test]
fn limits_of_time_and_size_are_those_of_node() {
    let limits = [
        ("PING_INTERVAL", "500"),
        ("PING_TIMEOUT", "2000"),
        ("CONNECT_TIMEOUT", "1000"),
        ("MAX_HTTP_BUFFER_SIZE", "1000"),
    ];
    let compare = || compare_on_node(&limits, "socketio_wire.js", &["short"]);
    // Three attempts: on a busy machine a client may send a request only after the next heartbeat.
    if catch_unwind(compare).is_err() && catch_unwind(compare).is_err() {
        compare();
    }
}

#[test]
fn clients_of_version_4_see_no_difference_to_node() {
    for mode in ["websocket", "polling", "upgrade"] {
        compare_on_node(&[], "socketio_client.js", &["4", mode]);
    }
}

#[test]
fn clients_of_version_2_see_no_difference_to_node() {
    for mode in ["websocket", "polling", "upgrade"] {
        compare_on_node(&[], "socketio_client.js", &["2", mode]);
    }
}

#[test]
fn clients_that_were_cut_off_are_recovered_as_by_node() {
    compare_on_node(&[("RECOVERY", "1")], "socketio_client.js", &["4", "recovery"]);
}

#[test]
fn clients_of_python_see_no_difference_to_node() {
    let Some(python) = python().filter(|_| has_node()) else { return };
    for (mode, count_of_node) in [("websocket", "300"), ("polling", "10"), ("upgrade", "10")] {
        compare(&[], &python, "socketio_client.py", &[mode], [Some("300"), Some(count_of_node)]);
    }
}
