//! The chat's door for browsers: a page, and a WebSocket on which each text message is one line, in both directions.

use bucle::Loop;
use bucle::http::{self, Asset, Exchange, Request, StatusCode};
use bucle::net::{Error, Socket};
use bucle::telnet::lines::printable;
use bucle::websocket::{self, CloseCode, Endpoint, Message, WebSocket};

use super::Chat;
use super::members::Member;
use crate::cli::serve::errors::log_error;
use crate::cli::serve::web::OwnHost;

/// The page's rights: to load its own script and style sheet, and to connect to this server.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The handler of the chat's WebSocket connections.
pub(crate) struct WebDoor {
    chat: Chat,
}

impl WebDoor {
    pub(crate) fn new(chat: Chat) -> WebDoor {
        WebDoor { chat }
    }
}

impl websocket::Handler for WebDoor {
    fn on_open(&mut self, lp: &mut Loop, ws: WebSocket) {
        self.chat.enter(lp, Member::Web(ws));
    }

    fn on_message(&mut self, lp: &mut Loop, ws: WebSocket, message: Message<'_>) {
        let Message::Text(line) = message else {
            return ws.close(lp, CloseCode::UNSUPPORTED_DATA, "this chat takes text messages");
        };
        // A line break inside becomes a visible sign: a message can never be two lines for telnet clients.
        self.chat.receive_line(lp, Member::Web(ws), &printable(line.as_bytes()));
    }

    fn on_close(&mut self, lp: &mut Loop, ws: WebSocket, _code: CloseCode, _reason: &str) {
        self.chat.leave(lp, Member::Web(ws));
    }

    fn on_error(&mut self, _: &mut Loop, ws: WebSocket, error: Error) {
        log_error(ws.socket(), &error);
    }
}

/// The HTTP server of `serve chat --http`.
pub(crate) struct ChatSite {
    endpoint: Endpoint<WebDoor>,
    own_host: OwnHost,
    page: Asset,
    style: Asset,
    script: Asset,
}

impl ChatSite {
    pub(crate) fn new(endpoint: Endpoint<WebDoor>, own_host: OwnHost) -> ChatSite {
        let asset = |content_type, text: &'static str| {
            let asset = Asset::new(content_type, text).header("content-security-policy", POLICY);
            asset.header("referrer-policy", "no-referrer")
        };
        ChatSite {
            endpoint,
            own_host,
            page: asset("text/html; charset=utf-8", include_str!("page/index.html")),
            style: asset("text/css; charset=utf-8", include_str!("page/chat.css")),
            script: asset("text/javascript; charset=utf-8", include_str!("page/chat.js")),
        }
    }
}

impl http::Handler for ChatSite {
    fn on_request(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        if !self.own_host.accepts(lp, exchange, request) {
            return;
        }
        match request.path() {
            "/" => exchange.serve(lp, request, &self.page),
            "/chat.css" => exchange.serve(lp, request, &self.style),
            "/chat.js" => exchange.serve(lp, request, &self.script),
            // No upgrade was asked for: this answers 426.
            "/ws" => self.endpoint.handshake(lp, exchange, request).is_some(),
            _ => exchange.respond_text(lp, StatusCode::NOT_FOUND, "there is nothing here; the chat is at /\n"),
        };
    }

    fn on_upgrade(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        if request.path() != "/ws" {
            return self.on_request(lp, exchange, request);
        }
        if self.own_host.accepts(lp, exchange, request)
            && let Some(handshake) = self.endpoint.handshake(lp, exchange, request)
        {
            handshake.accept(lp);
        }
    }

    fn on_error(&mut self, _: &mut Loop, socket: Socket, error: Error) {
        log_error(socket, &error);
    }
}
