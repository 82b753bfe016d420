//! `bucle serve` as a child process that is looked at from outside: its memory, its log, its end.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::vitals::Vitals;

/// Nobody waits longer than this for something that has to come; only a test that fails does.
pub const LIMIT: Duration = Duration::from_secs(60);

/// How much of stderr is kept to look at.
const LOG_LIMIT: usize = 4 * 1024 * 1024;

/// A server as a child process. What it says on stderr is read and kept.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    log: Arc<Mutex<Vec<u8>>>,
    log_reader: Option<thread::JoinHandle<()>>,
}

impl Server {
    /// `bucle serve` with these arguments, on a free port.
    pub fn start(args: &[&str]) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bucle"));
        command.arg("serve").args(args).args(["--port", "0"]).stderr(Stdio::piped());
        Server::spawn(&mut command)
    }

    /// Any command that becomes a server, its stderr wherever the caller wants it.
    pub fn spawn(command: &mut Command) -> Server {
        command.env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let log = Arc::<Mutex<Vec<u8>>>::default();
        let log_reader = child.stderr.take().map(|stderr| {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                    let mut log = log.lock().expect("nobody panics with it");
                    if log.len() < LOG_LIMIT {
                        log.extend_from_slice(&line);
                        log.push(b'\n');
                    }
                }
            })
        });
        let stdout = child.stdout.take().expect("it is piped");
        let mut server = Server { child, address: (Ipv4Addr::LOCALHOST, 0).into(), log, log_reader };
        let (said, heard) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(stdout).read_line(&mut line);
            said.send(line)
        });
        let line = heard.recv_timeout(LIMIT).expect("a line on stdout");
        let port = line.trim_end().rsplit_once("127.0.0.1:").and_then(|(_, port)| port.parse().ok());
        server.address.set_port(port.unwrap_or_else(|| panic!("{line:?} names no port; {}", server.log())));
        server
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn vitals(&self) -> Vitals {
        Vitals::of(self.pid())
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&self.log.lock().expect("nobody panics with it")).into_owned()
    }

    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Waits for its end: how it ended, and all that it said.
    pub fn end(mut self) -> (Option<i32>, String) {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                break status;
            }
            assert!(began.elapsed() < LIMIT, "it does not end; {}", self.log());
            thread::sleep(Duration::from_millis(5));
        };
        if let Some(reader) = self.log_reader.take() {
            reader.join().expect("it only reads");
        }
        (status.code(), self.log())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal by its name, as in kill(1).
pub fn signal(pid: u32, name: &str) {
    let kill = Command::new("kill").args(["-s", name, &pid.to_string()]).status();
    assert!(kill.expect("kill is there").success(), "{name} to {pid}");
}
