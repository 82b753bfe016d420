//! Received bytes become requests, and the handler gets them. The time limits of a connection.
//!
//! | while it waits for | limit | when it is reached |
//! |---|---|---|
//! | the first head, or the rest of a head | [`Options::head_timeout`](super::Options::head_timeout) | 408, close |
//! | the next request | [`Options::keep_alive`](super::Options::keep_alive) | close |
//! | the rest of a body | [`Options::body_timeout`](super::Options::body_timeout) | 408, close |
//! | an answer | none: the handler's business | |
//! | the client's FIN after a close | a second after this side's FIN | destroyed |
//!
//! A connection has one timer, which begins anew with each of these.

use std::mem;
use std::time::Duration;

use super::connection::{Connection, Event, KEPT, REQUESTS_AT_ONCE, asks_for_upgrade, is_blank};
use super::head::{Request, StatusCode};
use super::{Exchange, Handler, Http, Refusal, answer};
use crate::net::Socket;
use crate::{Kind, Loop};

/// The bit of a socket's tag that is set when its server drains: further answers close the connection.
pub(super) const GOING_AWAY: u16 = 1;

/// The numbers of requests on connections that come from another protocol.
struct Numbers {
    /// The first one of the next such connection.
    next: u32,
}

impl Default for Numbers {
    fn default() -> Self {
        // Other connections begin with 0.
        Numbers { next: 1 << 31 }
    }
}

/// How many requests such a connection may have before its numbers are those of the next one, which is on another
/// socket in nearly all cases.
const NUMBERS_APART: u32 = 1 << 16;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

impl<H: Handler> Http<H> {
    /// A connection is made: its first head must arrive in time.
    pub(super) fn begin(&mut self, lp: &mut Loop, socket: Socket) {
        self.begin_with(lp, socket, 0);
    }

    /// As [`begin`](Self::begin), for a connection that comes from another protocol. It may have been one of HTTP
    /// before: exchanges of that time must not name a request of this one.
    pub(super) fn begin_again(&mut self, lp: &mut Loop, socket: Socket) {
        let Numbers { next } = lp.layer_mut();
        let number = *next;
        *next = next.wrapping_add(NUMBERS_APART);
        self.begin_with(lp, socket, number);
    }

    fn begin_with(&mut self, lp: &mut Loop, socket: Socket, number: u32) {
        socket.set_entry(lp, Connection::new(number, self.options.keep_alive, go_on::<H>, timed_out::<H>));
        start_head_timer(lp, socket, self.options.head_timeout);
    }

    /// Bytes have arrived, or an answer is complete and the bytes that are kept may be received.
    pub(super) fn receive(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
        let Some(connection) = socket.entry_mut::<Connection>(lp) else { return };
        if connection.is_closing() {
            return;
        }
        let was_idle = connection.is_idle();
        connection.is_receiving = true;
        // Most chunks begin with a head and are parsed where they are.
        let mut joined = mem::take(&mut connection.kept);
        let mut rest = chunk;
        if !joined.is_empty() {
            joined.reserve_exact(chunk.len());
            joined.extend_from_slice(chunk);
            rest = &joined;
        }
        if was_idle && !is_blank(rest) {
            start_head_timer(lp, socket, self.options.head_timeout);
        }
        let is_interrupted = self.parse(lp, socket, &mut rest);
        // The handler may have upgraded the socket: then the entry is gone.
        let Some(connection) = socket.entry_mut::<Connection>(lp) else { return };
        connection.is_receiving = false;
        if connection.is_closing() {
            return;
        }
        // An upgrade may have been refused; then `kept` holds the rest already.
        if !rest.is_empty() {
            connection.kept = if joined.is_empty() {
                rest.to_vec()
            } else {
                let used = joined.len() - rest.len();
                joined.drain(..used);
                joined
            };
        }
        let is_full = connection.kept.len() >= KEPT && (is_interrupted || !connection.is_reading());
        if is_full || socket.needs_drain(lp) {
            throttle(lp, socket);
        } else {
            end_throttle(lp, socket);
        }
        if is_interrupted {
            return go_on_next_turn(lp, socket);
        }
        // The next head has begun in the same read as an earlier request, or while that was being answered.
        let connection = socket.entry::<Connection>(lp);
        if connection.is_some_and(|connection| connection.is_in_head() && !connection.is_head_timed) {
            start_head_timer(lp, socket, self.options.head_timeout);
        }
    }

    /// Calls the handler for each request in `rest` until one must wait for its answer. Returns whether it has stopped
    /// because there were many.
    fn parse(&mut self, lp: &mut Loop, socket: Socket, rest: &mut &[u8]) -> bool {
        for _ in 0..REQUESTS_AT_ONCE {
            // A client that does not read its answers gets no further ones, and one that is gone gets none.
            if socket.needs_drain(lp) || socket.write_refusal(lp).is_some() {
                return false;
            }
            let Some(connection) = socket.entry_mut::<Connection>(lp) else { return false };
            if !connection.kept.is_empty() {
                // The program has answered a request for an upgrade in another way. See `call`.
                go_on_later(lp, socket);
                return false;
            }
            let in_body = exchange_in_body(connection, socket);
            match connection.next(rest, &self.options) {
                Ok(None) => return false,
                Ok(Some(Event::Head(request))) => self.receive_head(lp, socket, request, rest),
                Ok(Some(Event::Request(request))) => self.call(lp, socket, &request, rest),
                Err(refusal) => {
                    refuse(lp, socket, &refusal);
                    self.abort(lp, in_body);
                    return false;
                }
            }
        }
        true
    }

    /// The head of a request with a body has arrived.
    fn receive_head(&mut self, lp: &mut Loop, socket: Socket, request: Box<Request>, rest: &[u8]) {
        let Some(number) = socket.entry::<Connection>(lp).map(Connection::number) else { return };
        let exchange = Exchange { socket, number };
        lp.in_layer_callback(Kind::OnRequest, socket.serial(), 0, |lp| self.handler.on_head(lp, exchange, &request));
        let Some(connection) = socket.entry_mut::<Connection>(lp) else { return };
        if !connection.is_in_body() {
            return;
        }
        let must_continue = request.expects_continue() && rest.is_empty() && !connection.is_too_large();
        connection.expect_body(request);
        start_timer(lp, socket, self.options.body_timeout);
        // RFC 9110, 10.1.1: not needed if the body is on its way already.
        if must_continue {
            socket.write(lp, CONTINUE);
        }
    }

    /// A whole request has arrived.
    fn call(&mut self, lp: &mut Loop, socket: Socket, request: &Request, rest: &mut &[u8]) {
        stop_timer(lp, socket);
        let Some(connection) = socket.entry_mut::<Connection>(lp) else { return };
        let exchange = Exchange { socket, number: connection.number() };
        let asks_for_upgrade = asks_for_upgrade(request);
        if asks_for_upgrade {
            // The bytes behind the head may be the first of another protocol. They are stored where an upgrade finds
            // them, now or later.
            connection.kept = mem::take(rest).to_vec();
        }
        log::debug!(target: "bucle::http", "{socket} {} {}", request.method(), request.target());
        lp.in_layer_callback(Kind::OnRequest, socket.serial(), request.body().len(), |lp| {
            if asks_for_upgrade && request.body().is_empty() {
                self.handler.on_upgrade(lp, exchange, request);
            } else {
                self.handler.on_request(lp, exchange, request);
            }
        });
        // The client ended before this request was received.
        if socket.entry::<Connection>(lp).is_some_and(|connection| connection.has_ended) && exchange.is_open(lp) {
            self.handler.on_end(lp, exchange);
        }
    }

    /// The client has read its answers.
    pub(super) fn drained(&mut self, lp: &mut Loop, socket: Socket) {
        let Some(connection) = socket.entry_mut::<Connection>(lp) else { return };
        if let Some(exchange) = open_exchange(connection, socket) {
            self.handler.on_drain(lp, exchange);
        }
        let Some(connection) = socket.entry_mut::<Connection>(lp) else { return };
        if connection.is_reading() {
            go_on_later(lp, socket);
        }
    }

    /// The client has sent its FIN. What it has sent before is answered.
    pub(super) fn end(&mut self, lp: &mut Loop, socket: Socket) {
        let Some(connection) = socket.entry_mut::<Connection>(lp) else { return };
        connection.has_ended = true;
        match open_exchange(connection, socket) {
            Some(exchange) => self.handler.on_end(lp, exchange),
            None => self.close_if_done(lp, socket),
        }
    }

    /// Closes the connection if the client has sent its FIN and all of its requests are answered. A body that is not
    /// complete by then never will be.
    fn close_if_done(&mut self, lp: &mut Loop, socket: Socket) {
        let needs_drain = socket.needs_drain(lp);
        let Some(connection) = socket.entry_mut::<Connection>(lp) else { return };
        // Its next requests are received when it has read the answers.
        let waits_for_client = needs_drain && !is_blank(&connection.kept);
        if connection.has_ended && connection.is_reading() && !connection.is_yielding && !waits_for_client {
            let in_body = exchange_in_body(connection, socket);
            leave(lp, socket, &[]);
            self.abort(lp, in_body);
        }
    }

    /// The handler knows the head of this request, and will not get the request.
    fn abort(&mut self, lp: &mut Loop, in_body: Option<Exchange>) {
        if let Some(exchange) = in_body {
            self.handler.on_abort(lp, exchange);
        }
    }

    /// Starts the time limit of the connection's stage again.
    fn restart_timer(&mut self, lp: &mut Loop, socket: Socket) {
        let Some(connection) = socket.entry::<Connection>(lp) else { return };
        if connection.is_in_body() {
            start_timer(lp, socket, self.options.body_timeout);
        } else if connection.is_in_head() || !connection.has_requested {
            start_head_timer(lp, socket, self.options.head_timeout);
        } else {
            start_timer(lp, socket, self.options.keep_alive);
        }
    }

    /// The connection is gone.
    pub(super) fn closed(&mut self, lp: &mut Loop, socket: Socket) {
        stop_timer(lp, socket);
        let Some(connection) = socket.entry::<Connection>(lp) else { return };
        let number = connection.number();
        if connection.is_answerable(number) {
            self.handler.on_abort(lp, Exchange { socket, number });
        }
    }

    /// The server drains: answers from now on close their connections.
    pub(super) fn going_away(&mut self, lp: &mut Loop, socket: Socket) {
        socket.change_tag(lp, GOING_AWAY, 0);
        if let Some(connection) = socket.entry_mut::<Connection>(lp)
            && let Some(exchange) = open_exchange(connection, socket)
        {
            self.handler.on_going_away(lp, exchange);
        }
    }
}

/// The exchange whose answer is due.
fn open_exchange(connection: &mut Connection, socket: Socket) -> Option<Exchange> {
    let number = connection.number();
    (!connection.is_reading() && connection.answer(number).is_some()).then_some(Exchange { socket, number })
}

/// The exchange whose body is being received.
fn exchange_in_body(connection: &Connection, socket: Socket) -> Option<Exchange> {
    connection.is_in_body().then_some(Exchange { socket, number: connection.number() })
}

/// Stops reading from the client until it has read its answers, and few bytes of further requests are left.
fn throttle(lp: &mut Loop, socket: Socket) {
    if let Some(connection) = socket.entry_mut::<Connection>(lp) {
        connection.is_throttled = true;
        socket.pause(lp);
    }
}

/// The client is read again, if it was throttled.
fn end_throttle(lp: &mut Loop, socket: Socket) {
    if let Some(connection) = socket.entry_mut::<Connection>(lp)
        && mem::take(&mut connection.is_throttled)
    {
        socket.resume(lp);
    }
}

/// Goes on with the bytes that are kept, in a tick. Only when few of them are left the client is read again: otherwise
/// each answer would add a read to them.
pub(super) fn go_on_later(lp: &mut Loop, socket: Socket) {
    let Some(connection) = socket.entry::<Connection>(lp) else { return };
    let go_on = connection.go_on;
    socket.layer_tick(lp, go_on);
}

/// Goes on with the bytes that are kept when other connections have had their turn.
fn go_on_next_turn(lp: &mut Loop, socket: Socket) {
    let Some(connection) = socket.entry_mut::<Connection>(lp) else { return };
    if mem::replace(&mut connection.is_yielding, true) {
        return;
    }
    lp.set_immediate(move |lp| {
        if let Some(connection) = socket.entry_mut::<Connection>(lp) {
            connection.is_yielding = false;
            go_on_later(lp, socket);
        }
    });
}

/// The tick of [`go_on_later`].
fn go_on<H: Handler>(lp: &mut Loop, socket: Socket) {
    socket.call_layer::<Http<H>>(lp, |http, lp| {
        http.receive(lp, socket, &[]);
        http.close_if_done(lp, socket);
    });
}

/// Starts the time limit of a head. Zero: no limit.
fn start_head_timer(lp: &mut Loop, socket: Socket, limit: Duration) {
    start_timer(lp, socket, limit);
    if let Some(connection) = socket.entry_mut::<Connection>(lp) {
        connection.is_head_timed = true;
    }
}

/// Starts the time limit of the connection's stage. Zero: no limit.
pub(super) fn start_timer(lp: &mut Loop, socket: Socket, limit: Duration) {
    stop_timer(lp, socket);
    let Some(connection) = socket.entry::<Connection>(lp).filter(|_| !limit.is_zero()) else { return };
    let timed_out = connection.timed_out;
    let timer = socket.start_layer_timer(lp, limit, timed_out);
    match socket.entry_mut::<Connection>(lp) {
        Some(connection) => connection.timer = Some(timer),
        None => lp.clear(timer),
    }
}

fn stop_timer(lp: &mut Loop, socket: Socket) {
    let Some(connection) = socket.entry_mut::<Connection>(lp) else { return };
    connection.is_head_timed = false;
    if let Some(timer) = connection.timer.take() {
        lp.clear(timer);
    }
}

/// The time limit of a stage is reached.
fn timed_out<H: Handler>(lp: &mut Loop, socket: Socket) {
    let is_unsent = socket.unsent_length(lp) > 0;
    let Some(connection) = socket.entry_mut::<Connection>(lp) else { return };
    connection.timer = None;
    if !connection.is_reading() {
        return;
    }
    if is_unsent || connection.is_throttled || connection.is_yielding {
        // The client has not got its answer yet, or it is this side that does not read. A client that does not take
        // its answers has a limit of its own.
        return socket.call_layer::<Http<H>>(lp, |http, lp| http.restart_timer(lp, socket));
    }
    let has_begun = !connection.is_idle() || !connection.has_requested;
    let in_body = exchange_in_body(connection, socket);
    connection.close();
    if !has_begun {
        log::debug!(target: "bucle::http", "{socket} sent no further request, closing");
        return leave(lp, socket, &[]);
    }
    let reason = "the request did not arrive in time";
    refuse(lp, socket, &Refusal { status: StatusCode::REQUEST_TIMEOUT, reason });
    if in_body.is_some() {
        socket.call_layer::<Http<H>>(lp, |http, lp| http.abort(lp, in_body));
    }
}

/// Answers a request that is refused, and closes the connection.
fn refuse(lp: &mut Loop, socket: Socket, refusal: &Refusal) {
    log::debug!(target: "bucle::http", "{socket}: {} {}", refusal.status, refusal.reason);
    let bytes = answer::refusal(lp, refusal);
    leave(lp, socket, &bytes);
}

/// The last answer of a connection is complete.
pub(super) fn close_after_answer(lp: &mut Loop, socket: Socket) {
    leave(lp, socket, &[]);
}

/// Sends `last` and a FIN, discards what the client still sends, and destroys the connection a second after the FIN.
fn leave(lp: &mut Loop, socket: Socket, last: &[u8]) {
    stop_timer(lp, socket);
    let timer = lp.close_when_sent(socket, last);
    if let Some(connection) = socket.entry_mut::<Connection>(lp) {
        connection.close();
        connection.timer = timer;
    } else if let Some(timer) = timer {
        lp.clear(timer);
    }
}
