//! `bucle serve` as a child process, and a client for it.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

/// How long a test waits for something that must come.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A running `bucle serve`. Dropping it kills the process.
pub struct Served {
    pub child: Child,
    pub line: String,
}

impl Served {
    /// Starts a server on a free port and waits until it prints that it listens.
    pub fn start(args: &[&str]) -> Served {
        let mut all = vec!["serve"];
        all.extend_from_slice(args);
        if !args.contains(&"--unix") {
            all.extend_from_slice(&["--port", "0"]);
        }
        Served::of(bucle(&all))
    }

    /// Starts a command that becomes a server, and waits until it prints that it listens.
    pub fn of(mut command: Command) -> Served {
        let mut child = command.spawn().expect("the program starts");
        let stdout = child.stdout.take().expect("it is piped");
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(stdout).read_line(&mut line);
            sender.send(line)
        });
        let mut served = Served { child, line: String::new() };
        served.line = receiver.recv_timeout(LIMIT).expect("a line on stdout").trim_end().to_owned();
        assert!(served.line.contains("listening on "), "{}", served.line);
        served
    }

    pub fn port(&self) -> u16 {
        let (_, port) = self.line.rsplit_once(':').expect("an address");
        port.parse().expect("a port")
    }

    pub fn connect(&self) -> Peer {
        let stream = TcpStream::connect(("127.0.0.1", self.port())).expect("it listens");
        stream.set_read_timeout(Some(LIMIT)).expect("a socket");
        Peer(stream)
    }

    /// Connects to the chat or the tutorial, and reads the greeting.
    pub fn greeted(&self) -> Peer {
        let mut peer = self.connect();
        let greeting = peer.line();
        assert!(greeting.contains("¡Bienvenido"), "{greeting}");
        peer
    }

    pub fn signal(&self, name: &str) {
        let kill = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(kill.expect("kill is there").success());
    }

    /// The lines that the server writes to stderr, as they come.
    pub fn heard(&mut self) -> Receiver<String> {
        let stderr = self.child.stderr.take().expect("it is piped");
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            BufReader::new(stderr).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        receiver
    }

    /// Waits for the end of the process. Returns the exit status and its stderr.
    pub fn end(mut self) -> (Option<i32>, String) {
        let mut stderr = self.child.stderr.take().expect("it is piped");
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            sender.send(text)
        });
        let text = receiver.recv_timeout(LIMIT).expect("it ends");
        (self.child.wait().expect("it has ended").code(), text)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client with a blocking socket of the standard library.
pub struct Peer(pub TcpStream);

impl Peer {
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).expect("the server reads");
    }

    pub fn finish(&mut self) {
        self.0.shutdown(Shutdown::Write).expect("it is open");
    }

    /// Reads exactly `count` bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).expect("an answer");
        bytes
    }

    /// Reads the next line, and removes its line break.
    pub fn line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.extend(self.bytes(1));
        }
        line.truncate(line.len() - 2);
        String::from_utf8(line).expect("the server writes UTF-8")
    }

    /// Reads everything up to the server's FIN or RST.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.0.read_to_end(&mut bytes) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "after {bytes:?}"),
        }
        bytes
    }
}

pub fn bucle(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bucle"));
    command.args(args).env_remove("RUST_LOG");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}
