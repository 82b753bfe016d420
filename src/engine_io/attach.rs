//! An engine beside another HTTP handler, on one server.

use super::polling::Serves;
use super::{Engine, Handler};
use crate::Loop;
use crate::http::{self, Exchange, Request, StatusCode};
use crate::net::{Dropped, Error, ServerId, Socket};

/// An HTTP handler that gives the requests of an engine to the engine, and all others to `F`. From
/// [`Engine::attach`].
pub struct Attached<H, F> {
    engine: Engine<H>,
    handler: F,
}

impl<H: Handler, F: http::Handler> Attached<H, F> {
    pub(super) fn new(engine: Engine<H>, handler: F) -> Self {
        Attached { engine, handler }
    }

    /// The engine.
    pub fn engine(&self) -> Engine<H> {
        self.engine
    }

    /// The handler of all other requests.
    pub fn handler(&mut self) -> &mut F {
        &mut self.handler
    }
}

/// Whether the engine has a request on this connection that waits for its answer.
fn is_of_engine(lp: &Loop, exchange: Exchange) -> bool {
    exchange.socket().entry::<Serves>(lp).is_some()
}

impl<H: Handler, F: http::Handler> http::Handler for Attached<H, F> {
    fn on_request(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        match self.engine.serves(lp, request) {
            true => self.engine.serve_request(lp, exchange, request),
            false => self.handler.on_request(lp, exchange, request),
        }
    }

    fn on_head(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        match self.engine.serves(lp, request) {
            true => self.engine.serve_head(lp, exchange, request),
            false => self.handler.on_head(lp, exchange, request),
        }
    }

    fn on_upgrade(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        match self.engine.serves(lp, request) {
            true => self.engine.serve_upgrade(lp, exchange, request),
            false => self.handler.on_upgrade(lp, exchange, request),
        }
    }

    fn on_drain(&mut self, lp: &mut Loop, exchange: Exchange) {
        if !is_of_engine(lp, exchange) {
            self.handler.on_drain(lp, exchange);
        }
    }

    fn on_end(&mut self, lp: &mut Loop, exchange: Exchange) {
        match is_of_engine(lp, exchange) {
            // As in Node, whose HTTP server destroys a connection whose client has ended.
            true => {
                self.engine.abort(lp, exchange);
                exchange.socket().destroy(lp);
            }
            false => self.handler.on_end(lp, exchange),
        }
    }

    fn on_abort(&mut self, lp: &mut Loop, exchange: Exchange) {
        match is_of_engine(lp, exchange) {
            true => self.engine.abort(lp, exchange),
            false => self.handler.on_abort(lp, exchange),
        }
    }

    fn on_going_away(&mut self, lp: &mut Loop, exchange: Exchange) {
        match is_of_engine(lp, exchange) {
            true => self.engine.going_away(lp, exchange),
            false => self.handler.on_going_away(lp, exchange),
        }
    }

    fn on_error(&mut self, lp: &mut Loop, socket: Socket, error: Error) {
        self.handler.on_error(lp, socket, error);
    }

    fn on_listening(&mut self, lp: &mut Loop, server: ServerId) {
        self.handler.on_listening(lp, server);
    }

    fn on_drop(&mut self, lp: &mut Loop, server: ServerId, dropped: Dropped) {
        self.handler.on_drop(lp, server, dropped);
    }

    fn on_server_error(&mut self, lp: &mut Loop, server: ServerId, error: Error) {
        self.handler.on_server_error(lp, server, error);
    }

    fn on_server_close(&mut self, lp: &mut Loop, server: ServerId) {
        self.handler.on_server_close(lp, server);
    }
}

/// The handler of [`listen`](super::listen) for all other paths: 404.
#[derive(Clone, Copy, Debug, Default)]
pub struct NotFound;

impl http::Handler for NotFound {
    fn on_request(&mut self, lp: &mut Loop, exchange: Exchange, _: &Request) {
        exchange.respond_text(lp, StatusCode::NOT_FOUND, "not found\n");
    }
}
