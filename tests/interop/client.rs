//! Our client: a loop in a thread. The test sends and waits for events in its own thread, one after the other.

use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bucle::http::head::ResponseHead;
use bucle::net::Error;
use bucle::websocket::{ClientOptions, CloseCode, Endpoint, Handler, Message, Options, WebSocket};
use bucle::{EventLoop, Loop, Remote};

use crate::LIMIT;

/// An event of a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// With the subprotocol, and whether messages may be compressed.
    Open(Option<String>, bool),
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(u16, String),
    /// The status and the body.
    Refused(u16, String),
}

/// The client's reaction to events, besides reporting them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Report,
    /// Messages are sent back and not reported.
    Echo,
}

struct Reporter {
    mode: Mode,
    events: Sender<(WebSocket, Event)>,
}

impl Reporter {
    fn report(&self, ws: WebSocket, event: Event) {
        // The test may be over.
        let _ = self.events.send((ws, event));
    }
}

impl Handler for Reporter {
    fn on_open(&mut self, lp: &mut Loop, ws: WebSocket) {
        self.report(ws, Event::Open(ws.protocol(lp).map(str::to_owned), ws.is_compressing(lp)));
    }

    fn on_message(&mut self, lp: &mut Loop, ws: WebSocket, message: Message<'_>) {
        match (self.mode, message) {
            (Mode::Echo, message) => {
                ws.send(lp, message);
            }
            (Mode::Report, Message::Text(text)) => self.report(ws, Event::Text(text.to_owned())),
            (Mode::Report, Message::Binary(bytes)) => self.report(ws, Event::Binary(bytes.to_vec())),
        }
    }

    fn on_ping(&mut self, _: &mut Loop, ws: WebSocket, payload: &[u8]) {
        self.report(ws, Event::Ping(payload.to_vec()));
    }

    fn on_pong(&mut self, _: &mut Loop, ws: WebSocket, payload: &[u8]) {
        self.report(ws, Event::Pong(payload.to_vec()));
    }

    fn on_close(&mut self, _: &mut Loop, ws: WebSocket, code: CloseCode, reason: &str) {
        self.report(ws, Event::Close(code.0, reason.to_owned()));
    }

    /// `on_close` reports it.
    fn on_error(&mut self, _: &mut Loop, _: WebSocket, _: Error) {}

    fn on_unexpected_response(&mut self, _: &mut Loop, ws: WebSocket, response: &ResponseHead, body: &[u8]) {
        self.report(ws, Event::Refused(response.status().as_u16(), String::from_utf8_lossy(body).into_owned()));
    }
}

/// The running client.
pub struct Client {
    endpoint: Endpoint<Reporter>,
    events: Receiver<(WebSocket, Event)>,
    remote: Remote,
    thread: Option<JoinHandle<()>>,
}

impl Client {
    pub fn new(options: Options, mode: Mode) -> Client {
        let (events, received) = mpsc::channel();
        let (ready, started) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut event_loop = EventLoop::new().expect("a loop");
            // Keeps the loop running between two connections.
            let hold = event_loop.enter(|lp| {
                let endpoint = Endpoint::new(lp, options, Reporter { mode, events });
                ready.send((endpoint, lp.remote())).expect("the test waits");
                lp.remote().hold()
            });
            event_loop.run().expect("it runs");
            drop(hold);
        });
        let (endpoint, remote) = started.recv_timeout(LIMIT).expect("the client starts");
        Client { endpoint, events: received, remote, thread: Some(thread) }
    }

    /// Begins to connect.
    pub fn connect(&self, url: &str, options: ClientOptions) {
        let (endpoint, url) = (self.endpoint, url.to_owned());
        self.run(move |lp| {
            endpoint.connect(lp, &url, &options).expect("a valid URL");
        });
    }

    /// The next event of any connection.
    pub fn event(&self) -> (WebSocket, Event) {
        self.event_within(LIMIT)
    }

    pub fn event_within(&self, limit: Duration) -> (WebSocket, Event) {
        self.events.recv_timeout(limit).expect("an event")
    }

    /// The next event, when there is only one connection.
    pub fn next(&self) -> Event {
        self.event().1
    }

    /// How many bytes the connection has sent and received.
    pub fn count(&self, ws: WebSocket) -> [u64; 2] {
        let (sender, received) = mpsc::channel();
        self.run(move |lp| {
            let info = ws.socket().info(lp).expect("the connection exists");
            sender.send([info.bytes_written, info.bytes_read]).expect("the test waits");
        });
        received.recv_timeout(LIMIT).expect("the loop runs")
    }

    pub fn run(&self, f: impl FnOnce(&mut Loop) + Send + 'static) {
        assert!(self.remote.post(f), "the loop runs");
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.remote.post(|lp| lp.stop());
        let result = self.thread.take().map(JoinHandle::join);
        assert!(thread::panicking() || matches!(result, Some(Ok(()))), "the loop has panicked");
    }
}
