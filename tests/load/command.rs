//! Runs `bucle load` and reads its output. A run that does not end is killed.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::server::Server;

/// The time limit of a run; every run of these tests is much shorter.
const LIMIT: Duration = Duration::from_secs(120);

/// A run under way. Dropping it kills the process.
pub struct Run {
    child: Child,
}

/// A run that has ended.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs the load tester against a server, to the end.
#[track_caller]
pub fn load(server: &Server, args: &[&str]) -> Ended {
    let target = format!(":{}", server.port);
    Run::start(&[&[target.as_str()], args].concat()).end()
}

impl Run {
    pub fn start(args: &[&str]) -> Run {
        Run::start_with(Command::new(env!("CARGO_BIN_EXE_bucle")).arg("load").args(args).stdin(Stdio::null()))
    }

    /// Starts a run in a process group of its own, which [`Run::signal_group`] signals.
    pub fn start_in_group(args: &[&str]) -> Run {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bucle"));
        Run::start_with(command.arg("load").args(args).stdin(Stdio::null()).process_group(0))
    }

    /// Starts a command whose output is that of a run.
    pub fn start_with(command: &mut Command) -> Run {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command starts");
        Run { child }
    }

    /// Starts a run in a new terminal with this many columns. Its stdout and stderr both go to the terminal and are
    /// read as stdout. `None`, with a message, if `script` (bsdutils) is not installed.
    pub fn in_terminal(columns: u32, args: &[&str]) -> Option<Run> {
        let quoted: Vec<String> = args.iter().map(|arg| format!("'{arg}'")).collect();
        let command = format!("stty cols {columns}; exec '{}' load {}", env!("CARGO_BIN_EXE_bucle"), quoted.join(" "));
        let child = Command::new("script")
            .args(["--quiet", "--flush", "--return", "--command", &command, "/dev/null"])
            .env("SHELL", "/bin/sh")
            .env("TERM", "xterm")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        if child.is_err() {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "there is no `script`");
            println!("skipped: there is no `script`");
        }
        Some(Run { child: child.ok()? })
    }

    /// Types keys in the terminal of the run.
    pub fn type_in(&mut self, keys: &[u8]) {
        self.child.stdin.as_mut().expect("it has a terminal").write_all(keys).expect("it reads");
    }

    /// Ends the standard input of the run.
    pub fn close_stdin(&mut self) {
        self.child.stdin = None;
    }

    pub fn signal(&self, name: &str) {
        kill(name, &self.child.id().to_string());
    }

    /// Signals all processes of a run that was started in a group of its own.
    pub fn signal_group(&self, name: &str) {
        kill(name, &format!("-{}", self.child.id()));
    }

    /// Signals them twice, in less than a millisecond.
    pub fn signal_group_twice(&self, name: &str) {
        let once = format!("kill -s {name} -- -{}", self.child.id());
        let status = Command::new("sh").args(["-c", &format!("{once} && {once}")]).status();
        assert!(status.is_ok_and(|status| status.success()), "{once}");
    }

    /// Waits until the process ends, or kills it after the limit.
    #[track_caller]
    pub fn end(mut self) -> Ended {
        let (send, received) = mpsc::channel();
        let mut stdout = self.child.stdout.take().expect("it is piped");
        let mut stderr = self.child.stderr.take().expect("it is piped");
        let errors = thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            text
        });
        thread::spawn(move || {
            let mut text = String::new();
            let _ = stdout.read_to_string(&mut text);
            let _ = send.send(text);
        });
        let Ok(stdout) = received.recv_timeout(LIMIT) else {
            let _ = self.child.kill();
            panic!("the run did not end: {}", errors.join().unwrap_or_default());
        };
        let status = self.child.wait().expect("it is our child");
        Ended { code: status.code(), stdout, stderr: errors.join().expect("it only reads") }
    }
}

fn kill(name: &str, target: &str) {
    let status = Command::new("kill").args(["-s", name, "--", target]).status();
    assert!(status.is_ok_and(|status| status.success()), "kill -s {name} {target}");
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// Checks the exit status and parses the JSON object on stdout.
    #[track_caller]
    pub fn json(&self, code: i32) -> Value {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stdout, self.stderr);
        let value: Value = serde_json::from_str(&self.stdout).expect("one object and nothing else");
        assert_eq!(value["exit"], code);
        value
    }
}

/// A `bucle serve` process. Dropping it kills the process.
pub struct Served {
    child: Child,
    pub port: u16,
    /// With `--http`: the port of the second line.
    web_port: Option<u16>,
}

impl Served {
    /// Starts `bucle serve` and waits until it prints its address.
    pub fn start(args: &[&str]) -> Served {
        let child = Command::new(env!("CARGO_BIN_EXE_bucle"))
            .arg("serve")
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the command starts");
        let mut served = Served { child, port: 0, web_port: None };
        let mut stdout = BufReader::new(served.child.stdout.take().expect("it is piped"));
        served.port = port_in_line(&mut stdout);
        served.web_port = args.contains(&"--http").then(|| port_in_line(&mut stdout));
        served
    }

    /// The port of its HTTP server.
    pub fn web_port(&self) -> u16 {
        self.web_port.expect("it was started with --http")
    }
}

/// The port at the end of the next line: `listening on 127.0.0.1:8080` or `listening on ws://127.0.0.1:8081`.
fn port_in_line(stdout: &mut impl BufRead) -> u16 {
    let mut line = String::new();
    stdout.read_line(&mut line).expect("the server prints its address or exits");
    let port = line.trim_end().trim_end_matches('/').rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    port.unwrap_or_else(|| panic!("no port in {line:?}"))
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
