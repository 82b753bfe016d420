//! Handlers whose events are recorded in a [`Book`] before the program gets them.

use super::*;

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
    pub(super) handler: H,
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
    fn on_upgrade(&mut self, lp: &mut Loop, ws: WebSocket, response: &ResponseHead) {
        self.handler.on_upgrade(lp, ws, response);
    }
    fn on_unexpected_response(&mut self, lp: &mut Loop, ws: WebSocket, response: &ResponseHead, body: &[u8]) {
        self.book.record(lp, ws, OnWebSocket::Refused);
        self.handler.on_unexpected_response(lp, ws, response, body);
    }
}
