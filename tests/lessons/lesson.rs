//! A lesson as a child process.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

/// How long a test waits for bytes, or for the end of a process, before it fails.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A running lesson. It is killed when it is dropped.
pub struct Lesson {
    name: &'static str,
    pub child: Child,
    pub stdin: Option<ChildStdin>,
    pub stdout: Receiver<String>,
    pub stderr: Receiver<String>,
}

impl Lesson {
    pub fn start(name: &'static str, args: &[&str]) -> Lesson {
        Lesson::start_logging("off", name, args)
    }

    pub fn start_logging(level: &str, name: &'static str, args: &[&str]) -> Lesson {
        let program = examples_dir().join(name);
        // `cargo test` builds the examples, but `cargo test --test lessons` does not.
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(format!("{name}.rs"));
        let [built, changed] =
            [&program, &source].map(|file| file.metadata().and_then(|file| file.modified()).unwrap_or(UNIX_EPOCH));
        assert!(built >= changed, "{} is missing or old: run `cargo build --examples`", program.display());
        let mut command = Command::new(program);
        command.args(args).env("RUST_LOG", level).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the example starts");
        let stdin = child.stdin.take();
        let stdout = lines_of(child.stdout.take().expect("the pipe was requested"));
        let stderr = lines_of(child.stderr.take().expect("the pipe was requested"));
        Lesson { name, child, stdin, stdout, stderr }
    }

    /// Starts a server lesson on a free port, and returns the port.
    pub fn serve(name: &'static str) -> (Lesson, u16) {
        let lesson = Lesson::start(name, &["0"]);
        let line = lesson.next_line();
        let port = line.strip_prefix("listening on 127.0.0.1:").and_then(|port| port.parse().ok());
        (lesson, port.unwrap_or_else(|| panic!("{name}: the first line is {line:?}")))
    }

    pub fn next_line(&self) -> String {
        match self.stdout.recv_timeout(LIMIT) {
            Ok(line) => line,
            Err(error) => {
                let stderr: Vec<String> = self.stderr.try_iter().collect();
                panic!("{}: no line on stdout: {error}; stderr: {stderr:?}", self.name)
            }
        }
    }

    /// Waits for the line `wanted`, and skips the lines before it.
    pub fn wait_for_line(&self, wanted: &str) {
        while self.next_line() != wanted {}
    }

    /// Waits until the lesson ends. Returns the rest of its stdout and stderr, and whether it exited with success.
    pub fn finish(mut self) -> (String, String, bool) {
        drop(self.stdin.take());
        // Both pipes are closed when the process ends.
        let [stdout, stderr] = [&self.stdout, &self.stderr].map(|pipe| {
            let mut text = String::new();
            loop {
                match pipe.recv_timeout(LIMIT) {
                    Ok(line) => text += &(line + "\n"),
                    Err(mpsc::RecvTimeoutError::Disconnected) => return text,
                    Err(mpsc::RecvTimeoutError::Timeout) => panic!("{} does not end; its output: {text}", self.name),
                }
            }
        });
        let status = self.child.wait().expect("the lesson is a child process");
        (stdout, stderr, status.success())
    }
}

impl Drop for Lesson {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn examples_dir() -> PathBuf {
    let test = std::env::current_exe().expect("the test binary has a path");
    let profile = test.parent().and_then(Path::parent).expect("the test binary is target/PROFILE/deps/lessons-…");
    profile.join("examples")
}

/// Reads a pipe on a thread, so that the process never waits for the test.
fn lines_of(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (lines, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines() {
            if line.map_or(true, |line| lines.send(line).is_err()) {
                return;
            }
        }
    });
    receiver
}
