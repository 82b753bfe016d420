//! A Redis server for a test: on a free port of this machine, without files, ended with the test.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to start. Only a failing test waits this long.
const LIMIT: Duration = Duration::from_secs(30);

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
        // Another process may take the port before the server does.
        while server.child.is_none() {
            server.port = free_port();
            server.restart();
        }
        Some(server)
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

    /// Starts the server again, on the same port, and waits until it answers.
    pub fn restart(&mut self) {
        self.kill();
        let child = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(&self.options)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(child.expect("redis-server is installed"));
        let begin = Instant::now();
        while begin.elapsed() < LIMIT {
            let ended = self.child.as_mut().map(|child| child.try_wait().expect("it is a child of this process"));
            if ended.flatten().is_some() {
                self.child = None;
                return;
            }
            if self.answers() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("redis-server does not start");
    }

    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let is_sent = stream.write_all(b"PING\r\n").is_ok() && stream.set_read_timeout(Some(LIMIT)).is_ok();
        // `+PONG`, or `-NOAUTH`.
        is_sent && stream.read(&mut [0; 64]).is_ok_and(|len| len > 0)
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
