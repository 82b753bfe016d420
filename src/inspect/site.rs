//! The HTTP server of the page, on the inner loop. It checks who asks, serves the page's files, and queues every other
//! request for the observer, which alone can look at the watched loop.

use std::time::Duration;

use super::access::{Access, Claim, Refused, Verdict, query_value};
use super::answers::{self, JSON};
use super::control;
use super::lessons::{self, Failure, Lessons, Shelf, Wanted};
use super::pacing::Command;
use crate::Loop;
use crate::http::{self, Asset, Exchange, Http, Method, Request, StatusCode};
use crate::net::{Error, Server, Socket};

/// How many connections the inspector accepts.
pub(super) const MAX_CONNECTIONS: usize = 16;

/// How many pages may watch at the same time.
pub(super) const VIEWERS: usize = 4;

/// How much of the past `/trace.json` shows without `last`.
const LAST: Duration = Duration::from_secs(5);

/// How many records `/trace.json` has at most, the newest ones. Writing one takes about a microsecond, and the watched
/// loop waits meanwhile.
const TRACE_RECORDS: u64 = 16 * 1024;

/// A request that the observer answers.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Ask {
    State,
    Events,
    Trace { last: Duration, most: u64 },
    Metrics,
    Lessons(Wanted),
}

impl Ask {
    /// Whether the answer takes the watched loop milliseconds.
    pub fn is_long(&self) -> bool {
        matches!(self, Ask::Trace { .. } | Ask::Lessons(_))
    }
}

/// A page that gets the snapshots as events.
#[derive(Clone, Copy)]
pub(super) struct Viewer {
    pub exchange: Exchange,
    /// It has read the snapshots that it was sent. A snapshot for a viewer that has not is dropped.
    pub has_read: bool,
    /// The last snapshot for it was dropped.
    pub has_missed: bool,
}

/// The handler of the server.
pub(super) struct Site {
    access: Access,
    is_read_only: bool,
    shelf: Shelf,
    files: Vec<(&'static str, Asset)>,
    /// Requests that the observer has not answered yet, in the order of their arrival.
    pub asks: Vec<(Exchange, Ask)>,
    /// Commands that the observer has not carried out yet.
    pub commands: Vec<(Exchange, Command)>,
    pub viewers: Vec<Viewer>,
    /// The connections that have shown the token. Closed ones are removed in `make_room`.
    known: Vec<Socket>,
    /// SIGINT or SIGTERM has arrived.
    pub has_signal: bool,
}

impl Site {
    pub fn new(access: Access, is_read_only: bool, lessons: Option<Box<dyn Lessons>>) -> Site {
        let file = |path, content_type, text| (path, answers::file(content_type, text));
        let files = vec![
            file("/", "text/html; charset=utf-8", include_str!("page/index.html")),
            file("/inspect.css", "text/css; charset=utf-8", include_str!("page/inspect.css")),
            file("/inspect.js", "text/javascript; charset=utf-8", include_str!("page/inspect.js")),
            file("/words.js", "text/javascript; charset=utf-8", include_str!("page/words.js")),
            file("/icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
        ];
        let (asks, commands, viewers, known) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let shelf = Shelf::new(lessons);
        Site { access, is_read_only, shelf, files, asks, commands, viewers, known, has_signal: false }
    }

    /// Sets who may see the page, when the server's port is known.
    pub fn set_access(&mut self, access: Access) {
        self.access = access;
    }

    /// Answers a request about lessons.
    pub fn answer_lessons(&mut self, lp: &mut Loop, exchange: Exchange, wanted: &Wanted) {
        match self.shelf.answer(wanted) {
            Ok(json) => answers::answer(lp, exchange, JSON, json),
            Err(Failure::Request(sentence)) => bad_request(lp, exchange, &format!("{sentence}\n")),
            Err(Failure::Program) => {
                answers::say(lp, exchange, StatusCode::INTERNAL_SERVER_ERROR, "the lesson has failed\n");
            }
        }
    }

    /// Makes a place for the next connection, if the server is full: destroys the oldest one that has not shown the
    /// token. So clients without the token keep nobody out. The only one without the token may still show it. To be
    /// called after every turn, which accepts one connection at most.
    pub fn make_room(&mut self, lp: &mut Loop, server: Server<Http<Site>>) {
        let is_full = server.connections(lp) >= MAX_CONNECTIONS;
        if !is_full && self.known.len() <= MAX_CONNECTIONS {
            return;
        }
        let (known, mut others): (Vec<_>, Vec<_>) =
            server.sockets(lp).into_iter().partition(|socket| self.known.contains(socket));
        self.known = known;
        others.sort_unstable();
        if let (true, [oldest, _, ..]) = (is_full, &*others) {
            oldest.destroy(lp);
        }
    }

    /// Notes that a connection has shown the token.
    fn note_token(&mut self, socket: Socket) {
        if !self.known.contains(&socket) {
            self.known.push(socket);
        }
    }

    /// Begins a stream of snapshots, unless there are too many.
    fn add_viewer(&mut self, lp: &mut Loop, exchange: Exchange) {
        if self.viewers.len() == VIEWERS {
            let text = format!("{VIEWERS} pages are watching already\n");
            answers::say(lp, exchange, StatusCode::SERVICE_UNAVAILABLE, &text);
            return;
        }
        exchange.begin(lp, answers::response(StatusCode::OK, &[("content-type", "text/event-stream")], ()));
        self.viewers.push(Viewer { exchange, has_read: true, has_missed: false });
        self.asks.push((exchange, Ask::Events));
    }

    fn forget(&mut self, exchange: Exchange) {
        self.viewers.retain(|viewer| viewer.exchange != exchange);
        self.asks.retain(|(asking, _)| *asking != exchange);
        self.commands.retain(|(asking, _)| *asking != exchange);
    }

    /// Whether the request may be answered. If not, it is refused here.
    fn is_allowed(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) -> bool {
        // Two origins are no origin of this server.
        let joined =
            |name| Some(text_of(request, name)).filter(|values| !values.is_empty()).map(|values| values.join(" "));
        let (origin, fetch_site) = (joined("origin"), joined("sec-fetch-site"));
        let cookies = text_of(request, "cookie").join(";");
        let claim = Claim {
            host: request.header("host"),
            // Without an absolute target this is the field again.
            target_host: request.host(),
            origin: origin.as_deref(),
            fetch_site: fetch_site.as_deref(),
            cookie: Some(&cookies),
            authorization: request.header("authorization"),
            query: request.query(),
            is_for_page: request.path() == "/" && request.method() == Method::GET,
        };
        let verdict = self.access.verdict(claim);
        if !matches!(verdict, Verdict::Refused(_)) {
            self.note_token(exchange.socket());
        }
        match verdict {
            Verdict::Allowed => true,
            Verdict::GivesCookie => {
                let headers = [("location", "/"), ("set-cookie", &*self.access.cookie())];
                exchange.respond(lp, answers::response(StatusCode::SEE_OTHER, &headers, ""));
                false
            }
            Verdict::Refused(refused) => {
                refuse(lp, exchange, refused);
                false
            }
        }
    }
}

impl http::Handler for Site {
    fn on_head(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        // Before the body is received.
        self.is_allowed(lp, exchange, request);
    }

    fn on_request(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        if !self.is_allowed(lp, exchange, request) {
            return;
        }
        if let Some((_, file)) = self.files.iter().find(|(path, _)| *path == request.path()) {
            match *request.method() {
                Method::GET | Method::HEAD => {
                    exchange.serve(lp, request, file);
                }
                _ => answers::only(lp, exchange, "GET, HEAD"),
            }
            return;
        }
        let wanted = match request.path() {
            "/state.json" | "/events" | "/trace.json" | "/metrics" | "/lessons.json" => Method::GET,
            "/control" | "/lesson" => Method::POST,
            _ => {
                let sentence = "there is nothing here; the page is at /\n";
                return answers::say(lp, exchange, StatusCode::NOT_FOUND, sentence);
            }
        };
        if *request.method() != wanted {
            return answers::only(lp, exchange, wanted.as_str());
        }
        let ask = match request.path() {
            "/events" => return self.add_viewer(lp, exchange),
            "/lessons.json" => Ask::Lessons(Wanted::List { lang: lang_of(request) }),
            "/lesson" => match lessons::parse(request.body()) {
                Some((lesson, order)) => Ask::Lessons(Wanted::Check { lesson, order, lang: lang_of(request) }),
                None => {
                    let sentence = "\"lesson\" must be a number and \"order\" a list of numbers\n";
                    return bad_request(lp, exchange, sentence);
                }
            },
            "/state.json" => Ask::State,
            "/metrics" => Ask::Metrics,
            "/trace.json" => match trace_of(request.query()) {
                Ok(ask) => ask,
                Err(sentence) => return bad_request(lp, exchange, sentence),
            },
            _ if self.is_read_only => {
                let sentence = "this inspector only shows: --inspect-read-only\n";
                return answers::say(lp, exchange, StatusCode::FORBIDDEN, sentence);
            }
            _ => match control::parse(request.body()) {
                Ok(command) => return self.commands.push((exchange, command)),
                Err(sentence) => return bad_request(lp, exchange, sentence),
            },
        };
        self.asks.push((exchange, ask));
    }

    fn on_drain(&mut self, _: &mut Loop, exchange: Exchange) {
        if let Some(viewer) = self.viewers.iter_mut().find(|viewer| viewer.exchange == exchange) {
            viewer.has_read = true;
            if viewer.has_missed {
                // A loop that stands is shown once. That snapshot may be the one that was dropped.
                self.asks.push((exchange, Ask::Events));
            }
        }
    }

    fn on_end(&mut self, lp: &mut Loop, exchange: Exchange) {
        if self.viewers.iter().any(|viewer| viewer.exchange == exchange) {
            self.forget(exchange);
            exchange.end(lp);
        }
    }

    fn on_abort(&mut self, _: &mut Loop, exchange: Exchange) {
        self.forget(exchange);
    }

    fn on_error(&mut self, _: &mut Loop, _: Socket, error: Error) {
        // A page that was closed, or does not read.
        log::debug!(target: "bucle::inspect", "a viewer: {error}");
    }
}

/// Refuses a request. Its connection is closed, so that it takes no place.
fn refuse(lp: &mut Loop, exchange: Exchange, refused: Refused) {
    let status = StatusCode::from_u16(refused.status()).unwrap_or(StatusCode::FORBIDDEN);
    answers::say_and_close(lp, exchange, status, refused.text());
}

fn bad_request(lp: &mut Loop, exchange: Exchange, sentence: &str) {
    answers::say(lp, exchange, StatusCode::BAD_REQUEST, sentence);
}

/// All values of a header. A value that is no text is one that matches nothing.
fn text_of<'a>(request: &'a Request, name: &str) -> Vec<&'a str> {
    request.headers().get_all(name).iter().map(|value| value.to_str().unwrap_or("?")).collect()
}

/// The language of a request about lessons.
fn lang_of(request: &Request) -> String {
    query_value(request.query(), "lang").unwrap_or("en").to_owned()
}

/// What a query such as `last=5s&records=100` wants of the trace.
fn trace_of(query: Option<&str>) -> Result<Ask, &'static str> {
    let last = query_value(query, "last").map_or(Ok(LAST), seconds)?;
    let most = query_value(query, "records").map_or(Ok(TRACE_RECORDS), str::parse);
    match most {
        Ok(most @ 1..=TRACE_RECORDS) => Ok(Ask::Trace { last, most }),
        _ => Err("\"records\" must be a number from 1 to 16384\n"),
    }
}

/// A time such as `5s`, `1.5s` or `200ms`; at most an hour.
fn seconds(text: &str) -> Result<Duration, &'static str> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s').unwrap_or(text), 1.0),
    };
    let seconds = number.parse::<f64>().ok().map(|number| number * unit);
    match seconds.filter(|seconds| (0.0..=3600.0).contains(seconds)) {
        Some(seconds) => Ok(Duration::from_secs_f64(seconds)),
        None => Err("\"last\" must be a time such as 5s or 200ms\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_small_and_names_no_other_site() {
        let files = [
            include_str!("page/index.html"),
            include_str!("page/inspect.css"),
            include_str!("page/inspect.js"),
            include_str!("page/words.js"),
            include_str!("page/icon.svg"),
        ];
        assert!(files.iter().map(|file| file.len()).sum::<usize>() < 80_000);
        for file in files {
            // The name of the language of SVG is not loaded from anywhere.
            assert!(!file.replace("http://www.w3.org/2000/svg", "").contains("//www") && !file.contains("https:"));
            assert!(!file.contains("innerHTML") && !file.contains("style=\""), "the policy of the page forbids it");
        }
    }

    #[test]
    fn a_query_says_how_much_of_the_trace_is_wanted() {
        let ask = |ms, most| Some(Ask::Trace { last: Duration::from_millis(ms), most });
        let table = [
            (None, ask(5000, TRACE_RECORDS)),
            (Some("last=10s"), ask(10_000, TRACE_RECORDS)),
            (Some("last=1s&records=100"), ask(1000, 100)),
            (Some("records=16384"), ask(5000, 16_384)),
            (Some("records=16385"), None),
            (Some("records=0"), None),
            (Some("records=-1"), None),
            (Some("records="), None),
            (Some("last=x"), None),
        ];
        for (query, want) in table {
            assert_eq!(trace_of(query).ok(), want, "{query:?}");
        }
    }

    #[test]
    fn a_time_has_a_unit() {
        let table = [
            ("5s", Some(5000)),
            ("0.5s", Some(500)),
            ("200ms", Some(200)),
            ("3", Some(3000)),
            ("", None),
            ("s", None),
            ("-1s", None),
            ("NaNs", None),
            ("1e9s", None),
            ("5m", None),
        ];
        for (text, want) in table {
            assert_eq!(seconds(text).ok(), want.map(Duration::from_millis), "{text:?}");
        }
    }
}
