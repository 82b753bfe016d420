//! The other implementations, as programs.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use serde_json::Value;

use crate::{LIMIT, root, work};

/// Another implementation.
pub struct Peer {
    interpreter: PathBuf,
    client: &'static str,
    server: &'static str,
}

/// `ws` of npm.
pub fn ws() -> Option<Peer> {
    let is_installed = Command::new("node").arg("--version").output().is_ok()
        && root().join("tests/interop/node_modules/ws/package.json").exists();
    let peer = Peer { interpreter: "node".into(), client: "ws_client.js", server: "ws_server.js" };
    if_installed("Node and the package ws (npm install in tests/interop)", is_installed, peer)
}

/// Whether Node and packages of npm are installed.
#[cfg(feature = "redis")]
pub fn has_packages(names: &[&str]) -> bool {
    let folder = root().join("tests/interop/node_modules");
    let is_installed = Command::new("node").arg("--version").output().is_ok()
        && names.iter().all(|name| folder.join(name).join("package.json").exists());
    assert!(is_installed || std::env::var("CI").as_deref() != Ok("true"), "not installed: Node and {names:?}");
    if !is_installed {
        eprintln!("skipped, not installed: Node and {names:?} (npm install in tests/interop)");
    }
    is_installed
}

/// `websockets` of PyPI.
pub fn websockets() -> Option<Peer> {
    let interpreter = work().join("venv/bin/python");
    let is_installed = Command::new(&interpreter).args(["-c", "import websockets"]).output();
    let is_installed = is_installed.is_ok_and(|output| output.status.success());
    let peer = Peer { interpreter, client: "websockets_client.py", server: "websockets_server.py" };
    if_installed("websockets for Python (see .ci/run)", is_installed, peer)
}

fn if_installed(what: &str, is_installed: bool, peer: Peer) -> Option<Peer> {
    if !is_installed {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "not installed: {what}");
        eprintln!("skipped, not installed: {what}");
    }
    is_installed.then_some(peer)
}

impl Peer {
    /// Runs the client with this configuration, and returns the lines that it has printed. It has passed all checks.
    pub fn run_client(&self, config: &Value) -> Vec<String> {
        let output = self.command(self.client, config).stdin(Stdio::null()).output().expect("it is installed");
        let report = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{report}{}", String::from_utf8_lossy(&output.stderr));
        assert!(report.lines().any(|line| line.starts_with("ok ")), "it has checked something: {report}");
        report.lines().map(str::to_owned).collect()
    }

    /// Starts the server, with one port for each row of options.
    pub fn start_server(&self, rows: &Value) -> PeerServer {
        let mut child = self
            .command(self.server, rows)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it is installed");
        let stdout = child.stdout.take().expect("it is piped");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });
        let mut server = PeerServer { child, lines, ports: Vec::new() };
        let ports = server.line();
        server.ports = serde_json::from_str(&ports).expect("a list of ports");
        server
    }

    fn command(&self, script: &str, argument: &Value) -> Command {
        let mut command = Command::new(&self.interpreter);
        command.arg(root().join("tests/interop").join(script)).arg(argument.to_string()).env("PYTHONUTF8", "1");
        command
    }
}

/// Another implementation's server.
pub struct PeerServer {
    child: Child,
    lines: Receiver<String>,
    pub ports: Vec<u16>,
}

impl PeerServer {
    /// The next line that it prints.
    pub fn line(&self) -> String {
        self.lines.recv_timeout(LIMIT).expect("a line")
    }
}

impl Drop for PeerServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
