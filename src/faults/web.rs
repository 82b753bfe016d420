//! HTTP and WebSocket on the simulated kernel: what their handlers are promised, whatever the kernel answers.
//!
//! A [`Book`] records what the program does with each request and each WebSocket, and which events they get. It panics
//! at the first event that must not come. At the end it reads both directions of every connection again (`end`, with
//! the parsers of [`wire`]) and compares:
//!
//! ```text
//!   what the peer has sent   ─ wire ─▶ requests, messages  ──▶ the events are a prefix of these
//!   what the loop has written ─ wire ─▶ answers, messages  ──▶ these are a prefix of what the program has sent
//! ```
//!
//! * `replays`: recorded sessions, as in `faults/replays.rs`.
//! * `chance`: programs, peers and a kernel whose actions are chosen by bytes.
//! * `sessions`: servers of Engine.IO and Socket.IO, recorded and by chance.
//! * `clients`: clients of Socket.IO, by chance.
//! * `found`: a regression test for each bug that these two have found.

pub mod chance;
#[cfg(feature = "socket-io")]
pub mod clients;
mod end;
#[cfg(test)]
mod found;
#[cfg(test)]
mod replays;
#[cfg(feature = "socket-io")]
pub mod sessions;
mod watched;
mod wire;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::Loop;
use crate::http::head::{HeadLimits, Method, ResponseHead, parse_request};
use crate::http::{self, Exchange, Request, Response, StatusCode};
use crate::net::simulated::{Kernel, Peer};
use crate::net::{Error, Socket};
use crate::websocket::frame::Role;
use crate::websocket::{self, CloseCode, Endpoint, Handshake, Message, WebSocket, handshake};
use wire::{Frames, Part};

/// Whether a peer that is to answer a handshake must still wait for the end of the request.
pub(super) fn must_wait(kernel: &Kernel, peer: Peer) -> bool {
    kernel.is_open(peer) && key_of(kernel, peer).is_none()
}

/// Answers the request of a WebSocket client, and sends `behind` with the answer.
pub(super) fn switch(kernel: &Kernel, peer: Peer, behind: &[u8]) {
    let Some((key, extensions)) = key_of(kernel, peer) else { return };
    let extensions = extensions.then_some(DEFLATE);
    let mut bytes = handshake::response(&handshake::accept_key(&key), None, extensions, &http::HeaderMap::new());
    bytes.extend_from_slice(behind);
    kernel.send(peer, &bytes);
}

/// Compression without context, in both directions.
const DEFLATE: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// The key in the request that the loop has written, and whether it offers an extension.
fn key_of(kernel: &Kernel, peer: Peer) -> Option<(String, bool)> {
    let mut key = None;
    kernel.with_bytes(peer, |taken, _| {
        let head = parse_request(taken, &HeadLimits::default()).expect("a correct request");
        key = head.and_then(|(request, _, _)| {
            let offers = request.header("sec-websocket-extensions").is_some();
            Some((request.header("sec-websocket-key")?.to_owned(), offers))
        });
    });
    key
}

/// An event of a request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum OnExchange {
    Head,
    Request,
    Drain,
    End,
    GoingAway,
    Abort,
}

/// One request and its answer.
#[derive(Debug)]
struct Account {
    peer: Option<Peer>,
    method: Method,
    target: String,
    body: Vec<u8>,
    events: Vec<OnExchange>,
    progress: Progress,
    /// `None`: the layer has answered.
    status: Option<StatusCode>,
    answer: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Progress {
    None,
    Begun,
    Whole,
    /// The connection speaks WebSocket now.
    Upgraded,
}

/// An event of a WebSocket.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum OnWebSocket {
    Open,
    Message,
    Ping,
    Pong,
    Drain,
    GoingAway,
    Refused,
    Error,
    Close,
}

/// One WebSocket.
#[derive(Debug, Default)]
struct Connection {
    peer: Option<Peer>,
    is_client: bool,
    deflate: bool,
    events: Vec<OnWebSocket>,
    received: Vec<Part>,
    sent: Vec<Part>,
    /// The program has paused it.
    is_paused: bool,
    /// The program has closed it.
    is_closed: bool,
    code: Option<CloseCode>,
    error: Option<String>,
}

#[derive(Default, Debug)]
struct Pages {
    /// In the order of the requests.
    exchanges: Vec<(Exchange, Account)>,
    connections: BTreeMap<WebSocket, Connection>,
}

/// The records of all requests and WebSockets.
#[derive(Clone)]
pub(crate) struct Book {
    kernel: Kernel,
    pages: Rc<RefCell<Pages>>,
}

impl Book {
    pub fn new(kernel: Kernel) -> Book {
        Book { kernel, pages: Rc::default() }
    }

    fn with<T>(&self, ws: WebSocket, f: impl FnOnce(&mut Connection) -> T) -> T {
        f(self.pages.borrow_mut().connections.entry(ws).or_default())
    }

    fn with_exchange<T>(&self, exchange: Exchange, f: impl FnOnce(&mut Account) -> T) -> T {
        let pages = &mut *self.pages.borrow_mut();
        let account = pages.exchanges.iter_mut().rev().find(|(other, _)| *other == exchange);
        f(&mut account.expect("it was recorded when its request came").1)
    }

    /// All WebSockets so far, open or closed.
    fn connections(&self) -> Vec<WebSocket> {
        self.pages.borrow().connections.keys().copied().collect()
    }

    /// All requests so far.
    fn exchanges(&self) -> Vec<Exchange> {
        self.pages.borrow().exchanges.iter().map(|(exchange, _)| *exchange).collect()
    }
}

/// The program's actions on requests.
impl Book {
    /// [`Exchange::respond`].
    pub fn respond(&self, lp: &mut Loop, exchange: Exchange, status: StatusCode, body: &[u8]) {
        if self.is_unanswered(lp, exchange) {
            self.with_exchange(exchange, |account| {
                (account.status, account.progress) = (Some(status), Progress::Whole);
                account.answer = body.to_vec();
            });
        }
        let mut response = Response::new(body);
        *response.status_mut() = status;
        exchange.respond(lp, response);
    }

    /// [`Exchange::begin`].
    pub fn begin(&self, lp: &mut Loop, exchange: Exchange, status: StatusCode) {
        if self.is_unanswered(lp, exchange) {
            self.with_exchange(exchange, |account| {
                (account.status, account.progress) = (Some(status), Progress::Begun);
            });
        }
        let mut response = Response::new(());
        *response.status_mut() = status;
        exchange.begin(lp, response);
    }

    /// [`Exchange::write`].
    pub fn write(&self, lp: &mut Loop, exchange: Exchange, part: &[u8]) -> bool {
        if exchange.is_open(lp) && self.with_exchange(exchange, |account| account.progress) == Progress::Begun {
            self.with_exchange(exchange, |account| account.answer.extend_from_slice(part));
        }
        exchange.write(lp, part)
    }

    /// [`Exchange::end`].
    pub fn end(&self, lp: &mut Loop, exchange: Exchange) {
        if exchange.is_open(lp) && self.with_exchange(exchange, |account| account.progress) == Progress::Begun {
            self.with_exchange(exchange, |account| account.progress = Progress::Whole);
        }
        exchange.end(lp);
    }

    fn is_unanswered(&self, lp: &Loop, exchange: Exchange) -> bool {
        exchange.is_open(lp) && self.with_exchange(exchange, |account| account.progress) == Progress::None
    }

    /// [`Endpoint::handshake`].
    pub fn handshake<H: websocket::Handler>(
        &self,
        lp: &mut Loop,
        endpoint: Endpoint<H>,
        exchange: Exchange,
        request: &Request,
    ) -> Option<Handshake<H>> {
        let is_unanswered = self.is_unanswered(lp, exchange);
        let handshake = endpoint.handshake(lp, exchange, request);
        if handshake.is_none() && is_unanswered {
            self.with_exchange(exchange, |account| account.progress = Progress::Whole);
        }
        handshake
    }

    /// [`Handshake::accept`].
    pub fn accept<H: websocket::Handler>(&self, lp: &mut Loop, handshake: Handshake<H>) {
        let exchange = handshake.exchange();
        let is_unanswered = self.is_unanswered(lp, exchange);
        let Some(ws) = handshake.accept(lp) else {
            // The endpoint was released: the layer has answered.
            if is_unanswered {
                self.with_exchange(exchange, |account| account.progress = Progress::Whole);
            }
            return;
        };
        assert!(is_unanswered, "{ws} was accepted after an answer");
        self.with_exchange(exchange, |account| account.progress = Progress::Upgraded);
        let (peer, deflate) = (peer_of(lp, exchange.socket()), ws.is_compressing(lp));
        self.with(ws, |connection| (connection.peer, connection.deflate) = (peer, deflate));
    }

    /// [`Handshake::refuse`].
    pub fn refuse<H: websocket::Handler>(
        &self,
        lp: &mut Loop,
        handshake: Handshake<H>,
        status: StatusCode,
        text: &str,
    ) {
        let exchange = handshake.exchange();
        if self.is_unanswered(lp, exchange) {
            self.with_exchange(exchange, |account| {
                (account.status, account.progress) = (Some(status), Progress::Whole);
                account.answer = text.as_bytes().to_vec();
            });
        }
        handshake.refuse(lp, status, text);
    }

    fn record_exchange(&self, lp: &Loop, exchange: Exchange, event: OnExchange, request: Option<&Request>) {
        let is_new = !self.pages.borrow().exchanges.iter().any(|(other, _)| *other == exchange);
        if is_new {
            let request = request.unwrap_or_else(|| panic!("{exchange:?} gets {event:?} before its request"));
            let account = Account {
                peer: peer_of(lp, exchange.socket()),
                method: request.method().clone(),
                target: request.target().to_owned(),
                body: Vec::new(),
                events: Vec::new(),
                progress: Progress::None,
                status: None,
                answer: Vec::new(),
            };
            self.pages.borrow_mut().exchanges.push((exchange, account));
        }
        let is_destroyed = exchange.socket().look(lp).is_none_or(|look| look.is_destroyed);
        self.with_exchange(exchange, |account| {
            let has = |other| account.events.contains(&other);
            let table = [
                (event < OnExchange::Abort && is_destroyed, "after the destroy"),
                (has(OnExchange::Abort), "after the abort"),
                (matches!(account.progress, Progress::Whole | Progress::Upgraded), "after the answer"),
                (event == OnExchange::Head && !is_new, "after its first event"),
                (event == OnExchange::Request && has(OnExchange::Request), "twice"),
                (event > OnExchange::Request && is_new, "before its request"),
                (event == OnExchange::End && has(OnExchange::End), "twice"),
                (event == OnExchange::GoingAway && has(OnExchange::GoingAway), "twice"),
            ];
            if let Some((_, why)) = table.iter().find(|(is_wrong, _)| *is_wrong) {
                panic!("{exchange:?} gets {event:?} {why}: {account:?}");
            }
            account.events.push(event);
            if let (OnExchange::Request, Some(request)) = (event, request) {
                account.body = request.body().to_vec();
            }
        });
    }
}

/// The program's actions on WebSockets.
impl Book {
    /// Records a client that [`Endpoint::connect`] has made.
    pub fn connected(&self, ws: WebSocket) {
        self.with(ws, |connection| connection.is_client = true);
    }

    /// [`WebSocket::send`].
    pub fn send(&self, lp: &mut Loop, ws: WebSocket, message: Message<'_>) -> bool {
        self.note_sent(lp, ws, message.into());
        ws.send(lp, message)
    }

    /// [`WebSocket::ping`], with a payload.
    pub fn ping(&self, lp: &mut Loop, ws: WebSocket, payload: &[u8]) {
        self.note_sent(lp, ws, Part::Ping(payload.to_vec()));
        ws.ping(lp, payload);
    }

    fn note_sent(&self, lp: &Loop, ws: WebSocket, part: Part) {
        if ws.is_open(lp) {
            self.with(ws, |connection| connection.sent.push(part));
        }
    }

    /// [`Endpoint::publish`], or [`WebSocket::publish`] if there is a sender.
    pub fn publish<H: websocket::Handler>(
        &self,
        lp: &mut Loop,
        endpoint: Endpoint<H>,
        sender: Option<WebSocket>,
        topic: &str,
        message: Message<'_>,
    ) {
        // A connection that is gone publishes nothing.
        let is_gone = sender.is_some_and(|sender| !sender.socket().exists(lp));
        let is_receiver = |ws: &WebSocket| !is_gone && ws.is_subscribed(lp, topic) && Some(*ws) != sender;
        let subscribers: Vec<WebSocket> = self.connections().into_iter().filter(is_receiver).collect();
        for ws in &subscribers {
            self.note_sent(lp, *ws, message.into());
        }
        let published = match sender {
            Some(sender) => sender.publish(lp, topic, message),
            None => endpoint.publish(lp, topic, message),
        };
        // The message may be too much for a receiver: it is disconnected.
        let open = subscribers.iter().filter(|ws| ws.is_open(lp)).count();
        let range = open..=subscribers.len();
        assert!(range.contains(&published.receivers), "{published:?}, but {open} of {subscribers:?} are open");
    }

    /// [`WebSocket::close`].
    pub fn close(&self, lp: &mut Loop, ws: WebSocket, code: CloseCode, reason: &str) {
        self.with(ws, |connection| (connection.is_closed, connection.is_paused) = (true, false));
        ws.close(lp, code, reason);
        assert!(!ws.is_open(lp));
    }

    /// [`WebSocket::terminate`].
    pub fn terminate(&self, lp: &mut Loop, ws: WebSocket) {
        self.with(ws, |connection| connection.is_closed = true);
        ws.terminate(lp);
    }

    /// [`WebSocket::pause`].
    pub fn pause(&self, lp: &mut Loop, ws: WebSocket) {
        self.with(ws, |connection| connection.is_paused = !connection.is_closed);
        ws.pause(lp);
    }

    /// [`WebSocket::resume`].
    pub fn resume(&self, lp: &mut Loop, ws: WebSocket) {
        self.with(ws, |connection| connection.is_paused = false);
        ws.resume(lp);
    }

    fn record(&self, lp: &Loop, ws: WebSocket, event: OnWebSocket) {
        log::trace!(target: "bucle::faults", "{ws} gets {event:?}");
        let (peer, deflate) = (peer_of(lp, ws.socket()), ws.is_compressing(lp));
        let is_recorded = self.pages.borrow().connections.contains_key(&ws);
        assert!(is_recorded, "{ws} gets {event:?} and was never accepted or connected");
        self.with(ws, |connection| {
            connection.peer = peer.or(connection.peer);
            connection.deflate |= deflate;
            let has = |other| connection.events.contains(&other);
            let (is_data, is_open) = (event == OnWebSocket::Message, has(OnWebSocket::Open));
            let table = [
                (has(OnWebSocket::Close), "after its close"),
                (event == OnWebSocket::Open && is_open, "twice"),
                (event == OnWebSocket::Error && has(OnWebSocket::Error), "twice"),
                (matches!(event, OnWebSocket::Refused) && is_open, "when it is open"),
                (event > OnWebSocket::Open && event < OnWebSocket::Refused && !is_open, "before it is open"),
                (is_data && connection.is_paused, "while it is paused"),
                (is_data && connection.is_closed, "after it was closed"),
                (event == OnWebSocket::Open && connection.is_client && connection.is_closed, "after it was closed"),
                (event < OnWebSocket::Error && has(OnWebSocket::Error), "after its error"),
            ];
            if let Some((_, why)) = table.iter().find(|(is_wrong, _)| *is_wrong) {
                panic!("{ws} gets {event:?} {why}: {connection:?}");
            }
            connection.events.push(event);
        });
    }

    fn received(&self, ws: WebSocket, part: Part) {
        self.with(ws, |connection| connection.received.push(part));
    }
}

fn peer_of(lp: &Loop, socket: Socket) -> Option<Peer> {
    socket.look(lp).and_then(|look| look.peer)
}
