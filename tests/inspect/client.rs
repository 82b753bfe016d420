//! A client of the inspector that blocks, and a watched loop in a thread of its own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use bucle::inspect::{self, Inspector, Lessons, Options};
use bucle::net::{self, LocalAddress, on};
use bucle::{EventLoop, Loop, Remote};
use serde_json::{Value, json};

/// So that a test that fails does not hang.
pub const GUARD: Duration = Duration::from_secs(30);

/// Where an inspector is, and its token.
#[derive(Clone, Debug)]
pub struct Page {
    pub address: SocketAddr,
    pub token: String,
}

/// An answer of the inspector.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{}{}", self.head, self.body);
        serde_json::from_str(&self.body).expect("it is JSON")
    }
}

impl Page {
    /// The address and the token of a printed URL.
    pub fn of_url(url: &str) -> Page {
        let (address, token) =
            url.trim().strip_prefix("http://").and_then(|url| url.split_once("/?t=")).expect("a URL");
        Page { address: address.parse().expect("an address"), token: token.to_owned() }
    }

    pub fn cookie(&self) -> String {
        format!("Cookie: bucle_inspect_{}={}\r\n", self.address.port(), self.token)
    }

    /// Sends these bytes on a new connection and reads the answer to its end.
    pub fn send(&self, request: &str) -> Answer {
        let mut stream = connect(self.address);
        stream.write_all(request.as_bytes()).expect("it is connected");
        let mut answer = Vec::new();
        // The end may be a reset, if the request was refused before all of it was read.
        let _ = stream.read_to_end(&mut answer);
        parse(&String::from_utf8_lossy(&answer))
    }

    /// A request with the cookie and these further headers.
    pub fn request(&self, method: &str, target: &str, headers: &str, body: &str) -> Answer {
        let (host, cookie, length) = (self.address, self.cookie(), body.len());
        self.send(&format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\n{cookie}{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        ))
    }

    pub fn get(&self, target: &str) -> Answer {
        self.request("GET", target, "", "")
    }

    pub fn state(&self) -> Value {
        self.get("/state.json").json()
    }

    pub fn control(&self, command: &Value) -> Answer {
        self.request("POST", "/control", "", &command.to_string())
    }

    pub fn pause(&self) -> Value {
        let snapshot = self.control(&json!({ "do": "pause" })).json();
        assert_eq!(snapshot["state"], "paused");
        snapshot
    }

    pub fn resume(&self) {
        assert_eq!(self.control(&json!({ "do": "resume" })).json()["state"], "running");
    }

    pub fn step(&self, unit: &str) -> Value {
        self.control(&json!({ "do": "step", "unit": unit })).json()
    }

    /// Opens a connection for several requests, one after another. It has been accepted when this returns.
    pub fn open(&self) -> Kept {
        let mut kept = Kept { page: self.clone(), stream: connect(self.address) };
        kept.send("GET", "/icon.svg", "");
        assert_eq!(kept.answer().status, 200);
        kept
    }

    /// Opens an event stream. Returns it behind its head.
    pub fn watch(&self) -> Events {
        let mut stream = connect(self.address);
        let request = format!("GET /events HTTP/1.1\r\nHost: {}\r\n{}\r\n", self.address, self.cookie());
        stream.write_all(request.as_bytes()).expect("it is connected");
        Events { stream, text: String::new() }
    }
}

/// A connection that stays open behind an answer.
pub struct Kept {
    page: Page,
    stream: TcpStream,
}

impl Kept {
    /// Sends a request with the cookie, and does not wait for its answer.
    pub fn send(&mut self, method: &str, target: &str, body: &str) {
        let (host, cookie, length) = (self.page.address, self.page.cookie(), body.len());
        let head = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{cookie}Content-Length: {length}\r\n\r\n");
        self.stream.write_all((head + body).as_bytes()).expect("it is connected");
    }

    pub fn send_command(&mut self, command: &Value) {
        self.send("POST", "/control", &command.to_string());
    }

    /// Waits for the next answer, whose length is stated.
    pub fn answer(&mut self) -> Answer {
        let mut bytes = Vec::new();
        let end = |bytes: &[u8]| bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
        let body_at = loop {
            if let Some(end) = end(&bytes) {
                break end;
            }
            let mut byte = [0];
            self.stream.read_exact(&mut byte).expect("it is answered");
            bytes.push(byte[0]);
        };
        let head = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        bytes.resize(body_at + length, 0);
        self.stream.read_exact(&mut bytes[body_at..]).expect("it is answered");
        parse(&String::from_utf8_lossy(&bytes))
    }
}

/// An event stream.
pub struct Events {
    pub stream: TcpStream,
    text: String,
}

impl Events {
    /// Waits for the next snapshot.
    pub fn next(&mut self) -> Value {
        loop {
            // The chunks of the transfer coding contain no line break inside of an event's line.
            if let Some((line, rest)) = self.text.split_once("\n\n") {
                let event = line.rsplit_once("data: ").expect("an event").1.to_owned();
                self.text = rest.to_owned();
                return serde_json::from_str(&event).expect("it is JSON");
            }
            let mut bytes = [0; 4096];
            let count = self.stream.read(&mut bytes).expect("it is open");
            assert!(count > 0, "the stream has ended: {}", self.text);
            self.text.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
    }
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(GUARD)).expect("it is a socket");
    stream
}

fn parse(answer: &str) -> Answer {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// A loop with an echo server and an inspector, in a thread of its own. It stops when this is dropped.
pub struct Watched {
    pub page: Page,
    pub echo: SocketAddr,
    remote: Remote,
    thread: Option<thread::JoinHandle<()>>,
}

impl Watched {
    pub fn start() -> Watched {
        Watched::with(Options::default(), |_| {})
    }

    /// A loop in which `main` has run, too.
    pub fn with(options: Options, main: impl FnOnce(&mut Loop) + Send + 'static) -> Watched {
        Watched::inspected_by(options, |lp, options| {
            main(lp);
            inspect::start(lp, options).expect("a free port")
        })
    }

    /// A loop with lessons, in which `main` has run.
    pub fn with_lessons(lessons: impl Lessons + Send, main: impl FnOnce(&mut Loop) + Send + 'static) -> Watched {
        Watched::inspected_by(Options::default(), |lp, options| {
            main(lp);
            inspect::start_with_lessons(lp, options, Box::new(lessons)).expect("a free port")
        })
    }

    fn inspected_by(options: Options, start: impl FnOnce(&mut Loop, Options) -> Inspector + Send + 'static) -> Watched {
        let (sender, receiver) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            let mut event_loop = EventLoop::new().expect("a loop");
            event_loop.enter(|lp| {
                let handler = on().data(|lp, socket, chunk| {
                    socket.write(lp, chunk);
                });
                let server = net::listen(lp, ("127.0.0.1", 0), handler).expect("a free port");
                let Some(LocalAddress::Ip(echo)) = server.address(lp) else { panic!("it is bound") };
                let options = Options { address: ([127, 0, 0, 1], 0).into(), ..options };
                let inspector = start(lp, options);
                let page = Page { address: inspector.address(), token: inspector.token().to_owned() };
                sender.send((page, echo, lp.remote())).expect("it is awaited");
            });
            event_loop.run().expect("the poll works");
        });
        let (page, echo, remote) = receiver.recv_timeout(GUARD).expect("it starts");
        Watched { page, echo, remote, thread: Some(thread) }
    }

    /// Runs `f` on the watched loop.
    pub fn post<R: Send + 'static>(&self, f: impl FnOnce(&mut Loop) -> R + Send + 'static) -> R {
        let (sender, receiver) = std::sync::mpsc::channel();
        self.remote.post(move |lp| sender.send(f(lp)).expect("it is awaited"));
        receiver.recv_timeout(GUARD).expect("the loop runs")
    }

    /// Runs `f` while a callback of the watched loop does not return. What `f` sends has all arrived when the loop waits
    /// for the kernel again.
    pub fn while_busy<R>(&self, f: impl FnOnce() -> R) -> R {
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let (is_busy, began) = std::sync::mpsc::channel();
        self.remote.post(move |_| {
            is_busy.send(()).expect("it is awaited");
            // The end of the sender ends the callback.
            let _ = receiver.recv();
        });
        began.recv_timeout(GUARD).expect("the loop runs");
        let result = f();
        drop(sender);
        result
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // A loop that is paused would not see the post.
        let _ = self.page.control(&json!({ "do": "resume" }));
        self.remote.post(Loop::stop);
        if let Some(thread) = self.thread.take()
            && let Err(panic) = thread.join()
            && !thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}
