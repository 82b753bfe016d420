//! A WebSocket client sends more than the kernel's buffers hold, and the server answers each message: both sides have
//! bytes that wait, and both go on.
#![cfg(feature = "websocket")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use bucle::net::Shared;
use bucle::websocket::handshake::accept_key;
use bucle::websocket::{self, ClientOptions, CloseCode, Endpoint, Handler, Message, Options, WebSocket};
use bucle::{EventLoop, Loop};

/// More than the buffers of both kernels' sockets.
const TOTAL: usize = 32 << 20;

const MESSAGE: usize = 16 << 10;

/// No test waits this long when it passes.
const LIMIT: Duration = Duration::from_secs(60);

struct Echo;

impl Handler for Echo {
    fn on_message(&mut self, lp: &mut Loop, ws: WebSocket, message: Message<'_>) {
        ws.send(lp, message);
    }
}

/// What the client has seen.
#[derive(Default)]
struct Seen {
    bytes: usize,
    had_to_wait: bool,
    code: Option<CloseCode>,
}

struct Client {
    left: usize,
    seen: Shared<Seen>,
}

impl Client {
    fn send(&mut self, lp: &mut Loop, ws: WebSocket) {
        while self.left > 0 {
            self.left -= MESSAGE.min(self.left);
            if !ws.send(lp, &[b'x'; MESSAGE]) {
                self.seen.with(lp, |seen, _| seen.had_to_wait = true);
                return;
            }
        }
    }
}

impl Handler for Client {
    fn on_open(&mut self, lp: &mut Loop, ws: WebSocket) {
        self.send(lp, ws);
    }

    fn on_drain(&mut self, lp: &mut Loop, ws: WebSocket) {
        self.send(lp, ws);
    }

    fn on_message(&mut self, lp: &mut Loop, ws: WebSocket, message: Message<'_>) {
        let bytes = self.seen.with(lp, |seen, _| {
            seen.bytes += message.as_bytes().len();
            seen.bytes
        });
        if bytes == Some(TOTAL) {
            ws.close(lp, CloseCode::NORMAL, "");
        }
    }

    fn on_close(&mut self, lp: &mut Loop, _: WebSocket, code: CloseCode, _: &str) {
        self.seen.with(lp, |seen, _| seen.code = Some(code));
        lp.stop();
    }
}

#[test]
fn a_client_reads_while_its_own_messages_wait() -> bucle::Result<()> {
    let mut event_loop = EventLoop::new()?;
    let seen = event_loop.enter(|lp| -> bucle::Result<_> {
        let seen = Shared::new(lp, Seen::default());
        let server = websocket::listen(lp, ("127.0.0.1", 0), Options::default(), Echo)?;
        let url = format!("ws://127.0.0.1:{}/", server.port(lp).expect("it is bound"));
        let client = Endpoint::new(lp, Options::default(), Client { left: TOTAL, seen });
        client.connect(lp, &url, &ClientOptions::default())?;
        lp.set_timeout(LIMIT, |lp| lp.stop());
        Ok(seen)
    })?;
    event_loop.run()?;
    let seen = event_loop.enter(|lp| seen.with(lp, |seen, _| std::mem::take(seen))).expect("no callback is running");
    assert_eq!((seen.bytes, seen.code), (TOTAL, Some(CloseCode::NORMAL)));
    assert!(seen.had_to_wait, "the kernel refused bytes, or this test proves nothing");
    Ok(())
}

/// Reads a request, and answers it and sends three pings with one write. When the client's messages wait, reads
/// everything, and returns the payloads of the pongs.
fn ping_three_times(stream: TcpStream, client_waits: &Receiver<()>) -> std::io::Result<Vec<String>> {
    stream.set_read_timeout(Some(LIMIT))?;
    let mut reader = BufReader::new(&stream);
    let mut key = String::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("sec-websocket-key") => value.clone_into(&mut key),
            None if line.trim_end().is_empty() => break,
            _ => {}
        }
    }
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n\x09\x01a\x09\x01b\x09\x01c",
        accept_key(&key)
    );
    // FIN and the opcode 9 (RFC 6455, 5.2); `\x89` alone is not UTF-8.
    let answer: Vec<u8> = answer.bytes().map(|byte| if byte == 9 { 0x89 } else { byte }).collect();
    (&stream).write_all(&answer)?;
    client_waits.recv_timeout(LIMIT).expect("the client sends more than the kernel takes");
    let mut pongs = Vec::new();
    loop {
        let mut head = [0; 2];
        reader.read_exact(&mut head)?;
        let len = match head[1] & 0x7f {
            126 => {
                let mut len = [0; 2];
                reader.read_exact(&mut len)?;
                u16::from_be_bytes(len)
            }
            len => len.into(),
        };
        let (mut mask, mut payload) = ([0; 4], vec![0; len.into()]);
        reader.read_exact(&mut mask)?;
        reader.read_exact(&mut payload)?;
        match head[0] {
            0x8a => {
                payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
                pongs.push(String::from_utf8_lossy(&payload).into_owned());
            }
            0x88 => return Ok(pongs),
            _ => {}
        }
    }
}

/// Sends more than the server's kernel takes, and closes when it is sent.
struct Flood(Sender<()>);

impl Handler for Flood {
    fn on_open(&mut self, lp: &mut Loop, ws: WebSocket) {
        while ws.send(lp, &[b'x'; MESSAGE]) {}
        let _ = self.0.send(());
    }

    fn on_drain(&mut self, lp: &mut Loop, ws: WebSocket) {
        ws.close(lp, CloseCode::NORMAL, "");
    }
}

#[test]
fn of_the_pings_that_arrive_while_messages_wait_the_latest_is_answered() -> bucle::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let url = format!("ws://{}/", listener.local_addr()?);
    let (waits, client_waits) = mpsc::channel();
    let server = thread::spawn(move || ping_three_times(listener.accept()?.0, &client_waits));
    let mut event_loop = EventLoop::new()?;
    event_loop.enter(|lp| websocket::connect(lp, &url, Flood(waits)))?;
    event_loop.run()?;
    let pongs = server.join().expect("the server does not panic")?;
    assert_eq!(pongs, ["c"]);
    Ok(())
}
