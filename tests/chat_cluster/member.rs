//! A member of the chat, through any door. A thread reads its lines.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use tungstenite::protocol::Role;
use tungstenite::{Message, WebSocket, client::client};

use super::server::{LIMIT, Server};

/// The lines that a member is sent when its node cannot reach the others, and when it can again.
pub const ALONE: &str =
    "-- the other nodes of this chat cannot be reached; only members on this node read your lines for now";
pub const TOGETHER: &str = "-- the other nodes of this chat can be reached again";

/// The answer to `/nick` when Redis is lost before it has answered.
const TRY_AGAIN: &str = "-- nicks cannot be changed now; try again later";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Door {
    Telnet,
    Web,
    SocketIo,
}

pub struct Member {
    pub nick: String,
    writer: Writer,
    lines: Receiver<String>,
}

enum Writer {
    Telnet(TcpStream),
    Web(WebSocket<Shared>),
    SocketIo(WebSocket<Shared>),
}

/// A connection with two writers: the test, and the thread that reads and answers pings. The lock keeps their frames
/// whole.
struct Shared {
    stream: TcpStream,
    writes: Arc<Mutex<()>>,
}

impl Shared {
    fn try_clone(&self) -> io::Result<Shared> {
        Ok(Shared { stream: self.stream.try_clone()?, writes: self.writes.clone() })
    }
}

impl Read for Shared {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buf)
    }
}

impl Write for Shared {
    fn write(&mut self, frames: &[u8]) -> io::Result<usize> {
        let _guard = self.writes.lock().expect("no thread panics");
        self.stream.write_all(frames)?;
        Ok(frames.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Member {
    /// Connects, and reads the greeting.
    pub fn enter(node: &Server, door: Door) -> Member {
        let (sender, lines) = mpsc::channel();
        let web = || node.web.expect("--http");
        let writer = match door {
            Door::Telnet => {
                let stream = TcpStream::connect(node.address).expect("it listens");
                let reader = stream.try_clone().expect("a descriptor");
                thread::spawn(move || {
                    let lines = BufReader::new(reader).lines().map_while(Result::ok);
                    lines.map(|line| line.trim_end_matches('\r').to_owned()).try_for_each(|line| sender.send(line))
                });
                Writer::Telnet(stream)
            }
            Door::Web => Writer::Web(open(&format!("ws://{}/ws", web()), |text, _| Some(text), sender)),
            Door::SocketIo => {
                let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket", web());
                Writer::SocketIo(open(&url, line_of_packet, sender))
            }
        };
        let mut member = Member { nick: String::new(), writer, lines };
        let greeting = member.line();
        let nick = greeting.split_once("You are ").and_then(|(_, rest)| rest.split_once(','));
        member.nick = nick.unwrap_or_else(|| panic!("no greeting: {greeting}")).0.to_owned();
        member
    }

    pub fn say(&mut self, line: &str) {
        match &mut self.writer {
            Writer::Telnet(stream) => stream.write_all(format!("{line}\r\n").as_bytes()).expect("it reads"),
            Writer::Web(ws) => ws.send(Message::text(line)).expect("it reads"),
            Writer::SocketIo(ws) => {
                let event = serde_json::json!(["chat message", line]);
                ws.send(Message::text(format!("42{event}"))).expect("it reads");
            }
        }
    }

    /// Closes a telnet connection behind what was written.
    pub fn finish(&mut self) {
        let Writer::Telnet(stream) = &self.writer else { panic!("it is no telnet client") };
        stream.shutdown(Shutdown::Write).expect("it is open");
    }

    /// The next line.
    #[track_caller]
    pub fn line(&mut self) -> String {
        match self.lines.recv_timeout(LIMIT) {
            Ok(line) => line,
            Err(error) => panic!("{} gets no line: {error}", self.nick),
        }
    }

    /// Whether the connection ends, perhaps behind more lines.
    pub fn ends(&mut self) -> bool {
        loop {
            match self.lines.recv_timeout(LIMIT) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) => return false,
            }
        }
    }

    /// Reads up to this line. Returns the lines before it.
    #[track_caller]
    pub fn until(&mut self, want: &str) -> Vec<String> {
        let mut before: Vec<String> = Vec::new();
        loop {
            match self.lines.recv_timeout(LIMIT) {
                Ok(line) if line == want => return before,
                Ok(line) => before.push(line),
                Err(error) => {
                    let last = &before[before.len().saturating_sub(5)..];
                    panic!("{} does not get {want:?}: {error}; its last lines: {last:?}", self.nick);
                }
            }
        }
    }

    /// Says a line again and again until another member has it. A line is lost if a node takes the other node for gone
    /// at that moment.
    pub fn say_at_last(&mut self, line: &str, to: &mut Member) {
        let want = format!("{}: {line}", self.nick);
        super::wait_until(&want, || {
            self.say(line);
            to.lines_so_far().contains(&want)
        });
    }

    /// Says a command, and returns the answer: the next line that begins so.
    pub fn ask(&mut self, command: &str, begin: &str) -> String {
        self.say(command);
        loop {
            let line = self.line();
            if line.starts_with(begin) {
                return line;
            }
        }
    }

    /// Takes a nick that is free. Redis may be lost meanwhile: then the node asks to try again.
    pub fn rename_at_last(&mut self, nick: &str) {
        let done = format!("-- {} is now called {nick}", self.nick);
        let begin = Instant::now();
        while begin.elapsed() < LIMIT {
            self.say(&format!("/nick {nick}"));
            let answer = loop {
                match self.line() {
                    line if line == done || line == TRY_AGAIN => break line,
                    _ => {}
                }
            };
            if answer == done {
                self.nick = nick.to_owned();
                return;
            }
        }
        panic!("{} is asked again and again to try later", self.nick);
    }

    /// Takes a nick that is free.
    #[track_caller]
    pub fn rename(&mut self, nick: &str) {
        self.say(&format!("/nick {nick}"));
        self.until(&format!("-- {} is now called {nick}", self.nick));
        self.nick = nick.to_owned();
    }

    /// Asks until these nicks, and no others, are in the room.
    #[track_caller]
    pub fn wait_for_members(&mut self, nicks: &[&str]) {
        let mut want: Vec<&str> = nicks.to_vec();
        want.sort_unstable();
        super::wait_until(&format!("{want:?} as members of the room"), || {
            let answer = self.ask("/who", "-- in ");
            let mut listed: Vec<&str> = answer.split_once(": ").map_or("", |(_, list)| list).split(", ").collect();
            listed.sort_unstable();
            listed == want
        });
    }

    /// The lines that have come, up to the answer to a command that is sent now.
    pub fn lines_so_far(&mut self) -> Vec<String> {
        self.say("/nick");
        self.until("-- /nick NAME        change your name to NAME")
    }
}

impl Drop for Member {
    /// The thread that reads has the connection, too.
    fn drop(&mut self) {
        let stream = match &self.writer {
            Writer::Telnet(stream) => stream,
            Writer::Web(ws) | Writer::SocketIo(ws) => &ws.get_ref().stream,
        };
        let _ = stream.shutdown(Shutdown::Both);
    }
}

/// Opens a WebSocket connection. `line` reads a message, and may answer it.
fn open(
    url: &str,
    line: impl Fn(String, &mut WebSocket<Shared>) -> Option<String> + Send + 'static,
    sender: Sender<String>,
) -> WebSocket<Shared> {
    let address = url.split('/').nth(2).expect("a host");
    let stream = Shared { stream: TcpStream::connect(address).expect("it listens"), writes: Arc::default() };
    let writer = stream.try_clone().expect("a descriptor");
    let (mut reader, _) = client(url, stream).expect("a correct handshake");
    thread::spawn(move || {
        while let Ok(message) = reader.read() {
            if let Message::Text(text) = message
                && let Some(line) = line(text.to_string(), &mut reader)
                && sender.send(line).is_err()
            {
                return;
            }
        }
    });
    WebSocket::from_raw_socket(writer, Role::Client, None)
}

/// The line of a packet of Socket.IO. The session is opened, and pings are answered.
fn line_of_packet(packet: String, ws: &mut WebSocket<Shared>) -> Option<String> {
    if let Some(event) = packet.strip_prefix("42") {
        let event: Vec<String> = serde_json::from_str(event).expect("an event with texts");
        assert_eq!(event[0], "chat message");
        return Some(event[1].clone());
    }
    match packet.as_bytes().first() {
        Some(b'0') => ws.send(Message::text("40")).expect("it reads"),
        Some(b'2') => ws.send(Message::text("3")).expect("it reads"),
        _ => {}
    }
    None
}
