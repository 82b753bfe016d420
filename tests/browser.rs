//! Pages in a real browser: that of `bucle serve chat`, in one room with telnet clients, the live page, and that of the
//! example `chat`.
//!
//! The checks are in `tests/browser/chat.js`, `inspect.js` and `socketio_chat.js`. They drive Debian's Chromium with
//! Playwright, which `npm install` puts into `tests/browser/node_modules`. Without one of these programs the tests
//! print a note and are skipped; `.ci/run` installs them.

#![cfg(feature = "cli")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// How long the test waits for the server. Only a failing test waits this long.
const LIMIT: Duration = Duration::from_secs(60);

/// `bucle serve` with a listener for TCP clients and one with a page, on free ports.
struct Server {
    child: Child,
    /// The lines that it prints, until it ends.
    lines: Receiver<String>,
    tcp_port: String,
    page: String,
}

impl Server {
    fn start(args: &[&str]) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bucle"));
        command.args(["serve", "--port", "0"]).args(args).env_remove("RUST_LOG");
        let mut server = Server::of(&mut command);
        while server.tcp_port.is_empty() || server.page.is_empty() {
            let line = server.lines.recv_timeout(LIMIT).expect("two lines with addresses");
            if !line.contains("listening") {
                continue;
            }
            let mut words = line.split_whitespace();
            if let Some(page) = words.clone().find(|word| word.starts_with("http://")) {
                server.page = page.to_owned();
            } else if let Some(port) = words.find_map(|word| word.strip_prefix("127.0.0.1:")) {
                server.tcp_port = port.to_owned();
            }
        }
        server
    }

    /// A server whose ports are not known yet.
    fn of(command: &mut Command) -> Server {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the program is built and starts");
        let stdout = child.stdout.take().expect("it is piped");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            // Reads to the end, so that the server can always write.
            BufReader::new(stdout).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });
        Server { child, lines, tcp_port: String::new(), page: String::new() }
    }

    /// Sends SIGTERM and returns the exit status.
    fn end(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        let kill = Command::new("kill").args(["-s", "TERM", &pid]).status().expect("kill is there");
        assert!(kill.success(), "SIGTERM to {pid}");
        // Its output ends when it ends.
        let end = loop {
            if let Err(end) = self.lines.recv_timeout(LIMIT) {
                break end;
            }
        };
        assert_eq!(end, RecvTimeoutError::Disconnected, "the server does not end");
        self.child.wait().expect("it is our child").code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether all programs of a test are installed. In CI a missing one is an error.
fn is_installed(folder: &Path) -> bool {
    let mut missing: Vec<&str> = ["node", "chromium"]
        .into_iter()
        .filter(|program| Command::new(program).arg("--version").stdin(Stdio::null()).output().is_err())
        .collect();
    if !folder.join("node_modules/playwright-core").exists() {
        missing.push("tests/browser/node_modules (npm install)");
    }
    let missing = missing.join(", ");
    assert!(missing.is_empty() || std::env::var("CI").as_deref() != Ok("true"), "not installed: {missing}");
    if !missing.is_empty() {
        eprintln!("skipped, not installed: {missing}");
    }
    missing.is_empty()
}

/// Runs a script of checks against a server.
fn run(script: &str, args: &[&str]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    if !is_installed(&folder) {
        return;
    }
    let server = Server::start(args);
    let script = Command::new("node")
        .arg(folder.join(script))
        .args([&server.page, &server.tcp_port])
        .stdin(Stdio::null())
        .output()
        .expect("node is there");
    let report = String::from_utf8_lossy(&script.stdout);
    assert!(script.status.success(), "{report}{}", String::from_utf8_lossy(&script.stderr));
    assert!(report.lines().any(|line| line.starts_with("ok ")), "it has checked something: {report}");
    assert_eq!(server.end(), Some(0));
}

#[test]
fn the_page_chats_with_telnet_clients() {
    run("chat.js", &["chat", "--http", "0"]);
}

#[test]
fn the_live_page_pauses_and_steps_a_server() {
    run("inspect.js", &["echo", "--inspect", "0"]);
}

/// The example `chat`, with a folder for `CLIENT_DIST`. Returns its process and its port.
fn start_example(client_dist: Option<&Path>) -> (Server, String) {
    let test = std::env::current_exe().expect("the test has a path");
    let profile = test.parent().and_then(Path::parent).expect("it is target/PROFILE/deps/browser-…");
    let mut command = Command::new(profile.join("examples/chat"));
    command.env("PORT", "0").env_remove("CLIENT_DIST");
    if let Some(folder) = client_dist {
        command.env("CLIENT_DIST", folder);
    }
    let server = Server::of(&mut command);
    let line = server.lines.recv_timeout(LIMIT).expect("a line");
    let port = line.strip_prefix("listening on 127.0.0.1:").expect("it listens").to_owned();
    (server, port)
}

#[test]
fn the_page_of_the_example_works_with_its_own_client_and_with_that_of_npm() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("tests/browser");
    if !is_installed(&folder) {
        return;
    }
    let npm = root.join("tests/interop/node_modules/socket.io-client/dist");
    let has_npm = npm.join("socket.io.js").exists();
    assert!(
        has_npm || std::env::var("CI").as_deref() != Ok("true"),
        "not installed: socket.io-client in tests/interop"
    );
    let clients = if has_npm { vec![None, Some(&*npm)] } else { vec![None] };
    for client_dist in clients {
        let (_server, port) = start_example(client_dist);
        let script = Command::new("node")
            .arg(folder.join("socketio_chat.js"))
            .arg(&port)
            .stdin(Stdio::null())
            .output()
            .expect("node is there");
        let report = String::from_utf8_lossy(&script.stdout);
        assert!(script.status.success(), "{client_dist:?}: {report}{}", String::from_utf8_lossy(&script.stderr));
        assert!(report.lines().any(|line| line.starts_with("ok ")), "it has checked something: {report}");
    }
}
