//! A Redis server for a test: on a free port of this machine, without files, ended with the test.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// How long a server may take to start. Only a failing test waits this long.
const LIMIT: Duration = Duration::from_secs(60);

/// In the line of the log when the server accepts connections.
const READY: &[u8] = b"Ready to accept connections";

pub struct RedisServer {
    port: u16,
    options: Vec<String>,
    child: Option<Child>,
}

impl RedisServer {
    /// Starts a server. `None`, with a note, if the program is not installed; with `CI=true` the test fails.
    pub fn start(options: &[&str]) -> Option<RedisServer> {
        if Command::new("redis-server").arg("--version").output().is_err() {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "not installed: redis-server");
            eprintln!("skipped, not installed: redis-server");
            return None;
        }
        let options = options.iter().map(|&option| option.to_owned()).collect();
        let mut server = RedisServer { port: 0, options, child: None };
        let begin = Instant::now();
        loop {
            server.port = free_port();
            // Another process may take the port before the server does.
            if server.try_start() {
                return Some(server);
            }
            assert!(begin.elapsed() < LIMIT, "redis-server does not start");
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sends a signal by name, as kill(1) does.
    #[allow(dead_code, reason = "not all tests that share this file need it")]
    pub fn signal(&self, name: &str) {
        let pid = self.child.as_ref().expect("it runs").id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().expect("kill is there").success());
    }

    /// The process. 0: it does not run.
    #[allow(dead_code, reason = "not all that share this file need it")]
    pub fn id(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Ends the server with SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it is a child of this process");
            child.wait().expect("it was killed");
        }
    }

    /// Starts the server again, on the same port, and waits until it is ready.
    pub fn restart(&mut self) {
        self.kill();
        let begin = Instant::now();
        // Another process may have the port for a moment, as that of a client.
        while !self.try_start() {
            assert!(begin.elapsed() < LIMIT, "redis-server does not start");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Starts the process. Returns `false` if it ends because another process has the port. An answer from the port is
    /// no proof: it could come from the other process. So this waits for a line of the server's own log.
    fn try_start(&mut self) -> bool {
        let child = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(&self.options)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let child = self.child.insert(child.expect("redis-server is installed"));
        let log = BufReader::new(child.stdout.take().expect("it is piped"));
        let (ready, is_ready) = mpsc::channel();
        thread::spawn(move || {
            // All lines are read: otherwise the pipe would get full, and the server would wait.
            for line in log.split(b'\n').map_while(Result::ok) {
                if line.windows(READY.len()).any(|words| words == READY) {
                    let _ = ready.send(());
                }
            }
        });
        match is_ready.recv_timeout(LIMIT) {
            Ok(()) => true,
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                self.kill();
                false
            }
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("redis-server does not start"),
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port on which nothing listens.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("it is bound").port()
}
