//! HTTP and WebSocket on the simulated kernel: what their handlers are promised, whatever the kernel answers.
//!
//! A [`Book`] records what the program does with each request and each WebSocket, and which events they get. It panics
//! at the first event that must not come. At the end it reads both directions of every connection again
//! ([`wire`]) and compares:
//!
//! ```text
//!   what the peer has sent   ─ wire ─▶ requests, messages  ──▶ the events are a prefix of these
//!   what the loop has written ─ wire ─▶ answers, messages  ──▶ these are a prefix of what the program has sent
//! ```
//!
//! * `replays`: recorded sessions, as in `faults/replays.rs`.
//! * `chance`: programs, peers and a kernel whose actions are chosen by bytes.
//! * `found`: a regression test for each bug that these two have found.

pub mod chance;
#[cfg(test)]
mod found;
#[cfg(test)]
mod replays;
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

/// What the program does with requests.
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

/// What the program does with WebSockets.
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

/// The checks at the end.
impl Book {
    /// Reads all connections again, and compares them with the records.
    pub fn check_at_the_end(&self) {
        let pages = &*self.pages.borrow();
        for peer in self.kernel.peers() {
            self.kernel.with_bytes(peer, |taken, sent| check_requests(pages, peer, taken, sent));
        }
        for (exchange, account) in &pages.exchanges {
            let aborts = account.events.iter().filter(|event| **event == OnExchange::Abort).count();
            let is_whole = matches!(account.progress, Progress::Whole | Progress::Upgraded);
            let was_called = account.events.contains(&OnExchange::Request) || account.progress == Progress::Begun;
            assert_eq!(aborts, usize::from(!is_whole && was_called), "{exchange:?}: {account:?}");
        }
        for (ws, connection) in &pages.connections {
            let closes = connection.events.iter().filter(|event| **event == OnWebSocket::Close).count();
            assert_eq!(closes, 1, "{ws}: {connection:?}");
            self.check_messages(pages, *ws, connection);
        }
    }

    fn check_messages(&self, pages: &Pages, ws: WebSocket, connection: &Connection) {
        let Some(peer) = connection.peer else { return assert!(connection.sent.is_empty(), "{ws}: {connection:?}") };
        self.kernel.with_bytes(peer, |taken, sent| {
            let (taken, sent) = if connection.is_client {
                (behind_request(taken), behind_response(sent))
            } else {
                // This side has answered all requests but the last, which became the WebSocket.
                let number = pages.exchanges.iter().filter(|(_, account)| account.peer == Some(peer)).count();
                let end = wire::requests(sent).get(number - 1).map_or(sent.len(), |asked| asked.end);
                (behind_switch(taken), &sent[end..])
            };
            let (ours, theirs) =
                if connection.is_client { (Role::Client, Role::Server) } else { (Role::Server, Role::Client) };
            let written = wire::frames(taken, theirs, connection.deflate);
            let arrived = wire::frames(sent, ours, connection.deflate);
            check_written(ws, connection, &written);
            assert!(
                arrived.parts.starts_with(&connection.received),
                "{ws} delivered other messages than {arrived:?}: {connection:?}"
            );
            let end = arrived.violation.map(|violation| violation.code).or(arrived.close);
            let code = connection.code.expect("it was closed");
            assert!(code == CloseCode::ABNORMAL || Some(code) == end, "{ws} closed with {code}, not {end:?}");
        });
    }

    /// What happened to each request and each WebSocket, as text: the same for all harmless answers of the kernel.
    #[cfg(test)]
    fn results(&self) -> Vec<String> {
        let pages = &*self.pages.borrow();
        let exchanges = pages.exchanges.iter().map(|(_, account)| {
            let events: std::collections::BTreeSet<_> =
                account.events.iter().filter(|event| **event != OnExchange::Drain).collect();
            let body = String::from_utf8_lossy(&account.body);
            format!("{} {} {body:?}: {events:?}, {:?}", account.method, account.target, account.progress)
        });
        let connections = pages.connections.values().map(|connection| {
            let events: std::collections::BTreeSet<_> =
                connection.events.iter().filter(|event| **event != OnWebSocket::Drain).collect();
            format!(
                "{events:?} {:?}, sent {:?}, code {:?}, error {:?}",
                connection.received, connection.sent, connection.code, connection.error
            )
        });
        let mut written = Vec::new();
        for peer in self.kernel.peers() {
            self.kernel.with_bytes(peer, |taken, _| {
                let is_client = pages.connections.values().any(|other| other.is_client && other.peer == Some(peer));
                let frames = if is_client {
                    wire::frames(behind_request(taken), Role::Server, false)
                } else {
                    wire::frames(behind_switch(taken), Role::Client, false)
                };
                written.push(format!("{frames:?}"));
            });
        }
        exchanges.chain(connections).chain(written).collect()
    }
}

fn peer_of(lp: &Loop, socket: Socket) -> Option<Peer> {
    socket.look(lp).and_then(|look| look.peer)
}

/// The frames behind a client's request.
fn behind_request(bytes: &[u8]) -> &[u8] {
    wire::requests(bytes).first().map_or(&[], |asked| &bytes[asked.end..])
}

/// The frames behind the answer that a client gets, which may come behind interim answers.
fn behind_response(mut bytes: &[u8]) -> &[u8] {
    loop {
        match wire::response(&mut bytes, &Method::GET) {
            Some(answered) if answered.status == StatusCode::SWITCHING_PROTOCOLS => return bytes,
            Some(answered) if answered.status.is_informational() => {}
            _ => return &[],
        }
    }
}

/// The frames behind the answer of a server, which comes behind the answers to earlier requests.
fn behind_switch(bytes: &[u8]) -> &[u8] {
    const ANSWER: &[u8] = b"HTTP/1.1 101 ";
    let Some(start) = bytes.windows(ANSWER.len()).position(|window| window == ANSWER) else { return &[] };
    behind_response(&bytes[start..])
}

/// The frames that this side has written: what the program has sent, in order, and the answers to pings.
fn check_written(ws: WebSocket, connection: &Connection, written: &Frames) {
    assert_eq!(written.violation, None, "{ws} breaks a rule: {connection:?}");
    assert_eq!(written.behind, 0, "{ws} sends bytes behind its close frame");
    let is_own = |part: &&Part| !matches!(part, Part::Pong(_)) && **part != Part::Ping(Vec::new());
    let own: Vec<&Part> = written.parts.iter().filter(is_own).collect();
    let sent: Vec<&Part> = connection.sent.iter().collect();
    assert!(sent.starts_with(&own), "{ws} wrote {own:?}, the program sent {sent:?}");
    let pongs: Vec<&[u8]> = written.parts.iter().filter_map(|part| payload(part, false)).collect();
    let pings: Vec<&[u8]> = connection.received.iter().filter_map(|part| payload(part, true)).collect();
    // A client whose server does not read answers the latest ping only.
    let mut unanswered = pings.iter();
    let is_in_order = pongs.iter().all(|pong| unanswered.any(|ping| ping == pong));
    let is_whole = connection.is_client || pings.starts_with(&pongs);
    assert!(is_in_order && is_whole, "{ws} answered {pings:?} with {pongs:?}");
    if written.close.is_some() {
        assert_eq!(own.len(), sent.len(), "{ws} lost messages in front of its close frame: {connection:?}");
        let is_whole = connection.is_client || pongs.len() == pings.len();
        assert!(is_whole, "{ws} lost pongs in front of its close frame: {connection:?}");
    }
}

/// The payload of a ping or of a pong.
fn payload(part: &Part, is_ping: bool) -> Option<&[u8]> {
    match part {
        Part::Ping(payload) if is_ping => Some(payload),
        Part::Pong(payload) if !is_ping => Some(payload),
        _ => None,
    }
}

/// The requests and answers of one connection: each request once and in order, each answer at its place.
fn check_requests(pages: &Pages, peer: Peer, mut taken: &[u8], sent: &[u8]) {
    let accounts: Vec<&Account> =
        pages.exchanges.iter().map(|(_, account)| account).filter(|account| account.peer == Some(peer)).collect();
    // A client has written a request.
    if taken.first() == Some(&b'G') {
        return assert!(accounts.is_empty());
    }
    let asked = wire::requests(sent);
    assert!(asked.len() >= accounts.len(), "{peer:?}: requests that were never sent: {accounts:?}");
    for (asked, account) in asked.iter().zip(&accounts) {
        assert_eq!((&asked.method, &asked.target), (&account.method, &account.target), "{peer:?}");
        if account.events.contains(&OnExchange::Request) {
            assert_eq!(asked.body.as_ref(), Some(&account.body), "{peer:?}: {account:?}");
        }
    }
    for account in &accounts {
        let answered = loop {
            match wire::response(&mut taken, &account.method) {
                Some(answered) if answered.status == StatusCode::CONTINUE => {}
                answered => break answered,
            }
        };
        let Some(answered) = answered else { return };
        match account.progress {
            Progress::Upgraded => return assert_eq!(answered.status, StatusCode::SWITCHING_PROTOCOLS, "{account:?}"),
            // A refusal by the layer: of the body, or because it came too late.
            Progress::None => assert!(answered.status.is_client_error(), "{answered:?}: {account:?}"),
            Progress::Begun | Progress::Whole => {}
        }
        if let (Some(status), Progress::Begun | Progress::Whole) = (account.status, account.progress) {
            assert_eq!(answered.status, status, "{account:?}");
            let has_body = account.method != Method::HEAD && status != StatusCode::NO_CONTENT;
            let want: &[u8] = if has_body { &account.answer } else { &[] };
            let is_right = if answered.is_whole && account.progress == Progress::Whole {
                answered.body == want
            } else {
                want.starts_with(&answered.body)
            };
            assert!(is_right, "{answered:?}: {account:?}");
        }
        if !answered.is_whole {
            return assert!(taken.is_empty(), "{peer:?}: bytes behind a part of an answer: {account:?}");
        }
    }
    if let Some(refusal) = wire::response(&mut taken, &Method::GET) {
        assert!(refusal.status.is_client_error() || refusal.status.is_server_error(), "{peer:?}: {refusal:?}");
        assert!(taken.is_empty(), "{peer:?}: bytes behind the last answer {refusal:?}");
    }
}

/// An HTTP handler whose events are recorded.
pub(crate) struct WatchedSite<H> {
    book: Book,
    handler: H,
}

impl<H> WatchedSite<H> {
    pub fn new(book: Book, handler: H) -> Self {
        WatchedSite { book, handler }
    }
}

impl<H: http::Handler> http::Handler for WatchedSite<H> {
    fn on_request(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        self.book.record_exchange(lp, exchange, OnExchange::Request, Some(request));
        self.handler.on_request(lp, exchange, request);
    }
    fn on_head(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        self.book.record_exchange(lp, exchange, OnExchange::Head, Some(request));
        self.handler.on_head(lp, exchange, request);
    }
    fn on_upgrade(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        self.book.record_exchange(lp, exchange, OnExchange::Request, Some(request));
        self.handler.on_upgrade(lp, exchange, request);
    }
    fn on_drain(&mut self, lp: &mut Loop, exchange: Exchange) {
        self.book.record_exchange(lp, exchange, OnExchange::Drain, None);
        self.handler.on_drain(lp, exchange);
    }
    fn on_end(&mut self, lp: &mut Loop, exchange: Exchange) {
        self.book.record_exchange(lp, exchange, OnExchange::End, None);
        self.handler.on_end(lp, exchange);
    }
    fn on_abort(&mut self, lp: &mut Loop, exchange: Exchange) {
        self.book.record_exchange(lp, exchange, OnExchange::Abort, None);
        assert!(!exchange.is_open(lp), "{exchange:?} is aborted and open");
        self.handler.on_abort(lp, exchange);
    }
    fn on_going_away(&mut self, lp: &mut Loop, exchange: Exchange) {
        self.book.record_exchange(lp, exchange, OnExchange::GoingAway, None);
        self.handler.on_going_away(lp, exchange);
    }
    fn on_error(&mut self, lp: &mut Loop, socket: Socket, error: Error) {
        self.handler.on_error(lp, socket, error);
    }
}

/// A WebSocket handler whose events are recorded.
pub(crate) struct WatchedRoom<H> {
    book: Book,
    handler: H,
}

impl<H> WatchedRoom<H> {
    pub fn new(book: Book, handler: H) -> Self {
        WatchedRoom { book, handler }
    }
}

impl<H: websocket::Handler> websocket::Handler for WatchedRoom<H> {
    fn on_open(&mut self, lp: &mut Loop, ws: WebSocket) {
        self.book.record(lp, ws, OnWebSocket::Open);
        self.handler.on_open(lp, ws);
    }
    fn on_message(&mut self, lp: &mut Loop, ws: WebSocket, message: Message<'_>) {
        self.book.record(lp, ws, OnWebSocket::Message);
        self.book.received(ws, message.into());
        self.handler.on_message(lp, ws, message);
    }
    fn on_ping(&mut self, lp: &mut Loop, ws: WebSocket, payload: &[u8]) {
        self.book.record(lp, ws, OnWebSocket::Ping);
        self.book.received(ws, Part::Ping(payload.to_vec()));
        self.handler.on_ping(lp, ws, payload);
    }
    fn on_pong(&mut self, lp: &mut Loop, ws: WebSocket, payload: &[u8]) {
        self.book.record(lp, ws, OnWebSocket::Pong);
        self.book.received(ws, Part::Pong(payload.to_vec()));
        self.handler.on_pong(lp, ws, payload);
    }
    fn on_drain(&mut self, lp: &mut Loop, ws: WebSocket) {
        self.book.record(lp, ws, OnWebSocket::Drain);
        assert!(ws.is_open(lp), "{ws} drains and is not open");
        self.handler.on_drain(lp, ws);
    }
    fn on_close(&mut self, lp: &mut Loop, ws: WebSocket, code: CloseCode, reason: &str) {
        self.book.record(lp, ws, OnWebSocket::Close);
        self.book.with(ws, |connection| connection.code = Some(code));
        assert!(!ws.is_open(lp) && ws.topics(lp).is_empty(), "{ws} is closed");
        self.handler.on_close(lp, ws, code, reason);
    }
    fn on_error(&mut self, lp: &mut Loop, ws: WebSocket, error: Error) {
        self.book.record(lp, ws, OnWebSocket::Error);
        self.book.with(ws, |connection| connection.error = Some(error.code().to_owned()));
        self.handler.on_error(lp, ws, error);
    }
    fn on_going_away(&mut self, lp: &mut Loop, ws: WebSocket) {
        self.book.record(lp, ws, OnWebSocket::GoingAway);
        self.handler.on_going_away(lp, ws);
    }
    fn on_unexpected_response(&mut self, lp: &mut Loop, ws: WebSocket, response: &ResponseHead, body: &[u8]) {
        self.book.record(lp, ws, OnWebSocket::Refused);
        self.handler.on_unexpected_response(lp, ws, response, body);
    }
}
