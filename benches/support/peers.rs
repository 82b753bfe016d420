//! The servers of the comparison, each in a process of its own: the bench program itself, started again with
//! arguments, or `node`.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::machine;

mod bucle;
mod floor;
mod tokio;
mod tungstenite;

/// The job of a server: its reaction to the bytes that it reads. No server sends a greeting; all set `TCP_NODELAY`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Sends every byte back.
    Echo,
    /// Sends every line back in a write of its own.
    Lines,
    /// Sends every line to all members, including the sender.
    Relay,
    /// Sends every WebSocket message back.
    Messages,
    /// Acknowledges every event `echo` of Socket.IO with its argument.
    Events,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peer {
    /// mio and nothing else, written for the role: the minimum for any loop on mio.
    Floor,
    Bucle,
    /// The current-thread runtime with a task per connection.
    Tokio,
    /// The same with a `BufWriter` that is flushed when everything that was read has been answered.
    TokioBuffered,
    Node,
    /// tungstenite on mio, for messages.
    Tungstenite,
    /// npm `ws`, for messages.
    Ws,
    /// npm `socket.io`, for events.
    SocketIo,
}

const PEERS: [Peer; 8] = [
    Peer::Floor,
    Peer::Bucle,
    Peer::Tokio,
    Peer::TokioBuffered,
    Peer::Node,
    Peer::Tungstenite,
    Peer::Ws,
    Peer::SocketIo,
];
const ROLES: [Role; 5] = [Role::Echo, Role::Lines, Role::Relay, Role::Messages, Role::Events];

impl Peer {
    pub fn name(self) -> &'static str {
        match self {
            Peer::Floor => "mio",
            Peer::Bucle => "bucle",
            Peer::Tokio => "tokio",
            Peer::TokioBuffered => "tokio, buffered",
            Peer::Node => "node",
            Peer::Tungstenite => "tungstenite on mio",
            Peer::Ws => "npm ws",
            Peer::SocketIo => "npm socket.io",
        }
    }

    /// The script, if the peer runs in Node.
    fn script(self) -> Option<&'static str> {
        match self {
            Peer::Node => Some(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/support/peers/node.js")),
            Peer::Ws => Some(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/support/peers/ws.js")),
            Peer::SocketIo => Some(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/support/peers/socketio.js")),
            _ => None,
        }
    }

    pub fn is_installed(self) -> bool {
        let version = || Command::new("node").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        // They are installed with the packages of `tests/interop`.
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/node_modules"));
        let has_packages = match self {
            Peer::Ws => folder.join("ws").exists(),
            Peer::SocketIo => folder.join("socket.io").exists(),
            _ => true,
        };
        self.script().is_none() || has_packages && version().is_ok_and(|status| status.success())
    }

    fn command(self, role: Role) -> Command {
        if let Some(script) = self.script() {
            let mut command = Command::new("node");
            command.arg(script).arg(format!("{role:?}"));
            return command;
        }
        let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
        command.args(["--serve", &format!("{self:?}"), &format!("{role:?}")]);
        command
    }
}

/// A running server. Dropping it kills the process.
pub struct Served {
    child: Child,
    pub port: u16,
}

impl Served {
    /// Starts the server and waits until it listens.
    pub fn start(peer: Peer, role: Role) -> Served {
        Served::run(peer, role, peer.command(role))
    }

    /// The same under a program that watches it and reports on stderr, such as valgrind.
    pub fn start_under(watcher: &[&str], peer: Peer, role: Role) -> Served {
        let server = peer.command(role);
        let mut command = Command::new(watcher[0]);
        command.args(&watcher[1..]).arg(server.get_program()).args(server.get_args()).stderr(Stdio::piped());
        Served::run(peer, role, command)
    }

    fn run(peer: Peer, role: Role, mut command: Command) -> Served {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the server starts");
        machine::pin(child.id(), machine::Side::Server);
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let port = line.trim_end().rsplit(' ').next().and_then(|port| port.parse().ok());
        let port = port.unwrap_or_else(|| panic!("{peer:?}, to {role:?}, printed {line:?} instead of its port"));
        Served { child, port }
    }

    /// The processor time that the server has used so far.
    pub fn cpu(&self) -> Duration {
        machine::cpu(self.child.id())
    }

    /// The bytes of the server's anonymous memory.
    pub fn memory(&self) -> Option<usize> {
        machine::memory(self.child.id())
    }

    /// Ends the server in an orderly way, and returns the report of its watcher.
    pub fn end(mut self) -> String {
        drop(self.child.stdin.take());
        let mut report = String::new();
        let stderr = self.child.stderr.as_mut().expect("it is watched");
        stderr.read_to_string(&mut report).expect("a report");
        report
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves until the parent process ends, if this process was started as a server.
pub fn is_server() -> bool {
    let args: Vec<String> = std::env::args().collect();
    let [_, serve, peer, role] = &args[..] else { return false };
    if serve != "--serve" {
        return false;
    }
    let peer = PEERS.into_iter().find(|known| format!("{known:?}") == *peer).expect("a peer");
    let role = ROLES.into_iter().find(|known| format!("{known:?}") == *role).expect("a role");
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    match peer {
        Peer::Floor => floor::serve(role),
        Peer::Bucle => bucle::serve(role),
        Peer::Tokio => tokio::serve(role, false),
        Peer::TokioBuffered => tokio::serve(role, true),
        Peer::Tungstenite => tungstenite::serve(role),
        Peer::Node | Peer::Ws | Peer::SocketIo => unreachable!("node is its own program"),
    }
    true
}

/// Prints the line that every server prints when it is ready.
fn announce(port: u16) {
    println!("listening on {port}");
}
