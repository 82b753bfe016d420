//! Our server: one loop in a thread, with one endpoint for each set of options.
//!
//! It sends every message back, except that a text may be a command:
//!
//! | the client sends | the server |
//! |---|---|
//! | `please close CODE REASON` | closes |
//! | `please ping PAYLOAD` | sends a ping; the answer `pong PAYLOAD` follows when the pong has arrived |
//! | `please count` | answers `count READ WRITTEN`, the bytes of the connection so far |
//! | `please answer` | answers with the header `X-Question` of the request, which is also `X-Answer` in the response |

use std::collections::{HashMap, HashSet};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use bucle::http::{HeaderMap, Request, StatusCode};
use bucle::websocket::{self, Accept, CloseCode, Handler, Handshake, Message, Options, WebSocket};
use bucle::{EventLoop, Loop, Remote};

use crate::LIMIT;

struct Echo {
    /// Gets a line for every connection that has closed: its code and its reason.
    closed: Sender<String>,
    /// The header `X-Question` of each connection that has it.
    questions: HashMap<WebSocket, String>,
    /// The connections that have asked for a ping.
    pinged: HashSet<WebSocket>,
}

impl Echo {
    fn new(closed: Sender<String>) -> Echo {
        Echo { closed, questions: HashMap::new(), pinged: HashSet::new() }
    }

    fn obey(&mut self, lp: &mut Loop, ws: WebSocket, command: &str) {
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
        match verb {
            "close" => {
                let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
                ws.close(lp, CloseCode(code.parse().expect("a number")), reason);
            }
            "ping" => {
                self.pinged.insert(ws);
                ws.ping(lp, rest);
            }
            "count" => {
                let info = ws.socket().info(lp).expect("the connection exists");
                ws.send(lp, &format!("count {} {}", info.bytes_read, info.bytes_written));
            }
            "answer" => {
                ws.send(lp, self.questions.get(&ws).map_or("none", String::as_str));
            }
            _ => panic!("unknown command: {command:?}"),
        }
    }
}

impl Handler for Echo {
    fn on_handshake(&mut self, lp: &mut Loop, handshake: Handshake<Self>, request: &Request) {
        if request.path() == "/refused" {
            return handshake.refuse(lp, StatusCode::FORBIDDEN, "not for you\n");
        }
        let question = request.headers().get("x-question");
        let headers = question.map(|value| ("x-answer".parse().expect("a name"), value.clone()));
        let accept = Accept { headers: HeaderMap::from_iter(headers), ..Accept::default() };
        let Some(ws) = handshake.accept_with(lp, accept) else { return };
        if let Some(question) = question.and_then(|value| value.to_str().ok()) {
            self.questions.insert(ws, question.to_owned());
        }
    }

    fn on_message(&mut self, lp: &mut Loop, ws: WebSocket, message: Message<'_>) {
        match message {
            Message::Text(text) if text.starts_with("please ") => self.obey(lp, ws, &text["please ".len()..]),
            _ => {
                ws.send(lp, message);
            }
        }
    }

    fn on_pong(&mut self, lp: &mut Loop, ws: WebSocket, payload: &[u8]) {
        if self.pinged.remove(&ws) {
            ws.send(lp, &format!("pong {}", String::from_utf8_lossy(payload)));
        }
    }

    fn on_close(&mut self, _: &mut Loop, ws: WebSocket, code: CloseCode, reason: &str) {
        self.questions.remove(&ws);
        self.pinged.remove(&ws);
        // The test may be over.
        let _ = self.closed.send(format!("{} {reason}", code.0));
    }
}

/// The running server.
pub struct Running {
    /// One for each set of options.
    pub ports: Vec<u16>,
    closed: Receiver<String>,
    remote: Remote,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub fn new(endpoints: Vec<Options>) -> Running {
        let (closed, received) = mpsc::channel();
        let (ready, started) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut event_loop = EventLoop::new().expect("a loop");
            event_loop.enter(|lp| {
                let ports = endpoints.into_iter().map(|options| {
                    let echo = Echo::new(closed.clone());
                    let server = websocket::listen(lp, ("127.0.0.1", 0), options, echo).expect("a server");
                    server.port(lp).expect("it is bound")
                });
                let ports = ports.collect();
                ready.send((ports, lp.remote())).expect("the test waits");
            });
            event_loop.run().expect("it runs");
        });
        let (ports, remote) = started.recv_timeout(LIMIT).expect("the server starts");
        Running { ports, closed: received, remote, thread: Some(thread) }
    }

    /// The code and the reason of the next connection that has closed.
    pub fn closed(&self) -> String {
        self.closed.recv_timeout(LIMIT).expect("a connection closes")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.remote.post(|lp| lp.stop());
        let result = self.thread.take().map(JoinHandle::join);
        assert!(thread::panicking() || matches!(result, Some(Ok(()))), "the loop has panicked");
    }
}
