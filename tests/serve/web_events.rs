//! What the log and the trace show of a WebSocket connection: its life, messages, pings, pongs and close codes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Command};
use std::sync::mpsc;
use std::thread;

use super::served::{LIMIT, bucle};

/// A server with `--http`. Dropping it kills the process.
pub struct WebServed {
    child: Child,
    port: u16,
    tcp_port: u16,
}

impl WebServed {
    /// Starts a server on free ports and waits until both of its listeners are ready.
    pub fn start(args: &[&str]) -> WebServed {
        let mut all = vec!["serve"];
        all.extend(args);
        all.extend(["--port", "0", "--http", "0"]);
        let mut child = bucle(&all).spawn().expect("the program starts");
        let stdout = child.stdout.take().expect("it is piped");
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || sender.send(BufReader::new(stdout).lines().take(2).collect::<Result<Vec<_>, _>>()));
        let mut served = WebServed { child, port: 0, tcp_port: 0 };
        let lines = receiver.recv_timeout(LIMIT).expect("two lines on stdout").expect("text");
        let port = |line: &str| line.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port");
        (served.tcp_port, served.port) = (port(&lines[0]), port(&lines[1]));
        served
    }

    /// Opens a WebSocket on `/x`.
    pub fn open(&self) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        stream.set_read_timeout(Some(LIMIT)).expect("a socket");
        // Without the port, so that its length does not depend on it.
        let request = "GET /x HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(bytes(&mut stream, 1));
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        stream
    }

    /// Sends SIGTERM, and waits for the end of the process. Returns its stderr.
    pub fn end(mut self) -> String {
        let kill = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(kill.expect("kill is there").success());
        let mut stderr = self.child.stderr.take().expect("it is piped");
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            sender.send(text)
        });
        let text = receiver.recv_timeout(LIMIT).expect("it ends");
        assert!(self.child.wait().expect("it has ended").success(), "{text}");
        text
    }
}

impl Drop for WebServed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn bytes(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).expect("an answer");
    bytes
}

/// Sends frames, reads the answer, and ends the connection as a client does: after the server.
pub fn talk(mut stream: TcpStream, frames: &[u8], answer: &[u8]) {
    stream.write_all(frames).expect("it reads");
    let mut received = Vec::new();
    stream.read_to_end(&mut received).expect("the server ends the connection");
    assert_eq!(received, answer);
    stream.shutdown(Shutdown::Write).expect("it is open");
}

/// A text message, a ping, a pong and a close frame with the code 4000, each with a mask of zeros (RFC 6455, 5.2).
pub const FRAMES: &[u8] = b"\x81\x84\0\0\0\0hola\x89\x82\0\0\0\0hi\x8a\x80\0\0\0\0\x88\x85\0\0\0\0\x0f\xa0bye";

/// The echo, a pong, and a close frame with the same code.
pub const ANSWER: &[u8] = b"\x81\x04hola\x8a\x02hi\x88\x02\x0f\xa0";

/// The lines of the log about the first connection, without times, levels and ports. The listeners are #1 and #2.
fn lines_about_the_connection(log: &str) -> Vec<String> {
    let texts = log.lines().filter_map(|line| line.strip_prefix('[')?.split_once("] ").map(|(_, text)| text));
    let lines = texts.filter(|text| text.starts_with("#3") && !text.contains("slow callback"));
    lines.map(|line| line.rsplit_once("127.0.0.1:").map_or(line, |(start, _)| start).to_owned()).collect()
}

#[test]
fn two_v_log_the_life_of_a_websocket() {
    let server = WebServed::start(&["echo", "-vv"]);
    talk(server.open(), FRAMES, ANSWER);
    assert_eq!(
        lines_about_the_connection(&server.end()),
        [
            "#3 accepted from ",
            "#3 GET /x",
            "#3 is open",
            "#3 received close 4000 \"bye\"",
            "#3 sends close 4000 \"\"",
            "#3 has ended: FIN sent",
            "#3 was ended by its peer: FIN read",
            "#3 closed: 184 bytes read, 143 written",
        ]
    );
}

#[test]
fn three_v_log_messages_and_control_frames() {
    let server = WebServed::start(&["echo", "-vvv"]);
    talk(server.open(), FRAMES, ANSWER);
    let lines = lines_about_the_connection(&server.end());
    let frames: Vec<_> =
        lines.iter().filter(|line| ["a text ", "a ping ", "a pong "].iter().any(|part| line.contains(part))).collect();
    assert_eq!(
        frames,
        [
            "#3 received a text message of 4 bytes",
            "#3 received a ping of 2 bytes",
            "#3 sends a pong of 2 bytes",
            "#3 received a pong of 0 bytes",
        ]
    );
}

#[test]
fn two_v_name_the_rule_that_a_client_breaks_and_the_end_of_the_server() {
    let server = WebServed::start(&["echo", "-vv"]);
    // A frame without a mask, and its close code 1002.
    let mut stream = server.open();
    stream.write_all(b"\x81\x04hola").expect("it reads");
    let answer = bytes(&mut stream, 4);
    assert_eq!((answer[0], &answer[2..]), (0x88, &b"\x03\xea"[..]));
    drop(stream);
    let mut stream = server.open();
    let end = thread::spawn(move || server.end());
    assert_eq!(bytes(&mut stream, 4), b"\x88\x02\x03\xe9");
    drop(stream);
    let log = end.join().expect("no panic");
    for part in
        ["#3: 1002 (protocol error): ", "#3 sends close 1002 (protocol error) ", "sends close 1001 (going away) "]
    {
        assert!(log.contains(part), "{part:?} is not in {log}");
    }
}

#[test]
fn max_connections_counts_those_of_both_listeners() {
    let server = WebServed::start(&["echo", "--max-connections", "2"]);
    let _web = server.open();
    let mut plain = TcpStream::connect(("127.0.0.1", server.tcp_port)).expect("it listens");
    plain.set_read_timeout(Some(LIMIT)).expect("a socket");
    plain.write_all(b"hola").expect("it reads");
    assert_eq!(bytes(&mut plain, 4), b"hola");
    let mut third = TcpStream::connect(("127.0.0.1", server.port)).expect("it listens");
    third.set_read_timeout(Some(LIMIT)).expect("a socket");
    let mut answer = String::new();
    third.read_to_string(&mut answer).expect("an answer and its end");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
}
