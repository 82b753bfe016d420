//! `bucle serve` as a child process, with its memory, its log and its exit status.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::vitals::Vitals;

/// How long a test waits for something that must come. Only a failing test waits this long.
pub const LIMIT: Duration = Duration::from_secs(60);

/// How much of stderr is stored.
const LOG_LIMIT: usize = 4 * 1024 * 1024;

/// A server as a child process. Its stderr is read and stored.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    /// The address of `--http`.
    pub web: Option<SocketAddr>,
    log: Arc<Mutex<Vec<u8>>>,
    log_reader: Option<thread::JoinHandle<()>>,
}

impl Server {
    /// Starts `bucle serve` with these arguments on a free port.
    pub fn start(args: &[&str]) -> Server {
        Server::spawn(&mut Server::command(args))
    }

    /// The command of [`start`](Self::start).
    pub fn command(args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bucle"));
        command.arg("serve").args(args).args(["--port", "0"]).stderr(Stdio::piped());
        command
    }

    /// Starts any command that becomes a server. The caller chooses where its stderr goes.
    pub fn spawn(command: &mut Command) -> Server {
        command.env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let log = Arc::<Mutex<Vec<u8>>>::default();
        let log_reader = child.stderr.take().map(|stderr| {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                    let mut log = log.lock().expect("no thread panics while it holds the lock");
                    if log.len() < LOG_LIMIT {
                        log.extend_from_slice(&line);
                        log.push(b'\n');
                    }
                }
            })
        });
        let stdout = child.stdout.take().expect("it is piped");
        let mut server = Server { child, address: (Ipv4Addr::LOCALHOST, 0).into(), web: None, log, log_reader };
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // Later lines are read, too, so that the server can write them.
                let _ = sender.send(line);
            }
        });
        let next_address = || {
            let line = lines.recv_timeout(LIMIT).expect("a line on stdout");
            let port = line.rsplit_once("127.0.0.1:").and_then(|(_, port)| port.parse::<u16>().ok());
            let port = port.unwrap_or_else(|| panic!("{line:?} contains no port; {}", server.log()));
            SocketAddr::from((Ipv4Addr::LOCALHOST, port))
        };
        let address = next_address();
        let has_web = command.get_args().any(|arg| arg == "--http");
        let web = has_web.then(next_address);
        (server.address, server.web) = (address, web);
        server
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn vitals(&self) -> Vitals {
        Vitals::of(self.pid())
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&self.log.lock().expect("no thread panics while it holds the lock")).into_owned()
    }

    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Waits for the end of the process. Returns its exit status and its log.
    pub fn end(mut self) -> (Option<i32>, String) {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                break status;
            }
            assert!(began.elapsed() < LIMIT, "the server does not end; {}", self.log());
            thread::sleep(Duration::from_millis(5));
        };
        if let Some(reader) = self.log_reader.take() {
            reader.join().expect("the reader does not panic");
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

/// Sends a signal by name, as kill(1) does.
pub fn signal(pid: u32, name: &str) {
    let kill = Command::new("kill").args(["-s", name, &pid.to_string()]).status();
    assert!(kill.expect("kill is there").success(), "{name} to {pid}");
}
