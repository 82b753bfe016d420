//! Lesson 25: a small web site: a page, JSON, and events that the server sends without a request.
//!
//! HTTP is lines, a blank line and a body. `http::listen` reads them, and refuses a request that two programs could
//! understand in two ways. The handler gets whole requests. An `Exchange` is the handle of one request and its answer:
//!
//! ```text
//!   GET /          ─▶ serve            a file in memory; a browser that has it already gets 304
//!   GET /status    ─▶ respond          a whole answer, with its length
//!   POST /say      ─▶ respond_text     plain text
//!   GET /events    ─▶ begin_events     an answer without an end
//!                     send_event …     a piece of it, whenever there is something to send
//! ```
//!
//! An answer may be sent in the callback or later. Requests that a client sends ahead wait for it, so answers cannot
//! overtake each other. An event stream is a broadcast: a listener that does not read is skipped until it has read what
//! is queued for it (lesson 17).
//!
//! Run: `cargo run --example 25_http_page` (another port as an argument; 0 is any free one). Open
//! http://localhost:8080 in a browser, or use two terminals: `curl -N localhost:8080/events` in one, and in the other
//! `curl localhost:8080/status` and `curl -d hola localhost:8080/say`.
//!
//! Expect in the two terminals:
//!
//! ```text
//! data: hola                          {"visits":0,"listeners":1}
//!                                     1 listeners, 0 of them skipped
//! ```
//!
//! Why: one handler serves all connections, so a request of one client can become an event for the others.

use bucle::http::{self, Asset, Exchange, HeaderValue, Method, Options, Request, Response, StatusCode};
use bucle::{Error, Loop, Result};
use std::collections::HashSet;

/// Each event becomes a text node: what a visitor sends is never read as HTML.
const PAGE: &str = "<!doctype html><meta charset=utf-8><title>bucle</title><h1>Events</h1>
<script>new EventSource('/events').onmessage = event => document.body.append(event.data, document.createElement('br'))
</script>\n";

struct Site {
    page: Asset,
    visits: u32,
    listeners: HashSet<Exchange>,
}

impl Site {
    /// Sends an event to all listeners that keep up. Returns how many do not.
    fn say(&self, lp: &mut Loop, text: &str) -> usize {
        let mut skipped = 0;
        for listener in &self.listeners {
            if listener.socket().needs_drain(lp) {
                skipped += 1;
            } else {
                listener.send_event(lp, "", text);
            }
        }
        skipped
    }
}

impl http::Handler for Site {
    fn on_request(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        match (request.method(), request.path()) {
            (_, "/") => {
                self.visits += 1;
                exchange.serve(lp, request, &self.page);
            }
            (&Method::GET, "/status") => {
                let json = format!("{{\"visits\":{},\"listeners\":{}}}\n", self.visits, self.listeners.len());
                let mut response = Response::new(json);
                response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
                exchange.respond(lp, response);
            }
            (&Method::GET, "/events") => {
                exchange.begin_events(lp);
                self.listeners.insert(exchange);
            }
            (&Method::POST, "/say") => {
                let skipped = self.say(lp, &String::from_utf8_lossy(request.body()));
                let answer = format!("{} listeners, {skipped} of them skipped\n", self.listeners.len());
                exchange.respond_text(lp, StatusCode::OK, answer);
            }
            _ => _ = exchange.respond_text(lp, StatusCode::NOT_FOUND, "not found\n"),
        }
    }

    /// The client has ended its side. A stream would go on; here it ends, too.
    fn on_end(&mut self, lp: &mut Loop, exchange: Exchange) {
        if self.listeners.remove(&exchange) {
            exchange.end(lp);
        }
    }

    /// The connection is gone before the answer was complete: the usual end of a stream.
    fn on_abort(&mut self, _: &mut Loop, exchange: Exchange) {
        self.listeners.remove(&exchange);
    }
}

fn main() -> Result<()> {
    let port = std::env::args().nth(1).map_or(Ok(8080), |text| text.parse::<u16>());
    let port = port.map_err(|_| Error::custom("E_USAGE", "usage: 25_http_page [PORT]"))?;
    bucle::run(|lp| {
        let site = Site { page: Asset::new("text/html; charset=utf-8", PAGE), visits: 0, listeners: HashSet::new() };
        let options = Options { max_body: 64 * 1024, ..Options::default() };
        let server = http::listen(lp, ("127.0.0.1", port), options, site)?;
        server.address(lp).inspect(|address| println!("listening on {address}"));
        Ok(())
    })
}
