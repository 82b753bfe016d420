//! The client, as servers see it: scripted ones, of the standard library, and the server of this crate. The client's
//! time is driven by hand.

use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bucle::http::{
    self, Client, ClientOptions, ClientRequest, Exchange, HeaderValue, Method, Request, RequestId, Response,
};
use bucle::{EventLoop, Loop, ManualClock, net};

use super::{LIMIT, Running};

const SECOND: Duration = Duration::from_secs(1);

/// A response that leaves the connection open.
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhola";

/// The server's side of a connection.
struct Peer {
    /// `None` after a reset.
    stream: Option<TcpStream>,
    received: Vec<u8>,
    /// Either side has closed the connection.
    is_closed: bool,
    /// It reads received bytes.
    reads: bool,
}

/// A client on a loop in this thread, and a server by hand.
struct Talk {
    event_loop: EventLoop,
    clock: ManualClock,
    client: Client,
    listener: TcpListener,
    peers: Vec<Peer>,
    /// The results of the requests, with their names.
    results: Rc<RefCell<Vec<String>>>,
}

impl Talk {
    fn new(options: ClientOptions) -> Talk {
        let clock = ManualClock::new();
        let mut event_loop = EventLoop::with_clock(clock.clone()).expect("a loop");
        let client = event_loop.enter(|lp| Client::new(lp, options));
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        listener.set_nonblocking(true).expect("a socket");
        Talk { event_loop, clock, client, listener, peers: Vec::new(), results: Rc::default() }
    }

    fn usual() -> Talk {
        Talk::new(ClientOptions::default())
    }

    fn enter<R>(&mut self, f: impl FnOnce(&mut Loop) -> R) -> R {
        self.event_loop.enter(f)
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.listener.local_addr().expect("it is bound").port())
    }

    /// Makes a request whose name is its path.
    fn request(&mut self, path: &str, request: impl FnOnce(String) -> ClientRequest) -> RequestId {
        let (client, request, note) = (self.client, request(self.url(path)), self.note(path));
        self.enter(|lp| client.request(lp, request, move |_, result| note(result)).expect("a good request"))
    }

    fn get(&mut self, path: &str) -> RequestId {
        self.request(path, ClientRequest::get)
    }

    fn post(&mut self, path: &str, body: &str) -> RequestId {
        self.request(path, |url| ClientRequest::post(url, body))
    }

    /// A function that writes a result down.
    fn note(&self, name: &str) -> impl FnOnce(bucle::Result<http::ClientResponse>) + use<> {
        let (results, name) = (self.results.clone(), name.to_owned());
        move |result| {
            let text = match result {
                Ok(response) => {
                    let body = match response.body.len() {
                        0..=60 => String::from_utf8_lossy(&response.body).into_owned(),
                        len => format!("{len} bytes"),
                    };
                    format!("{name}: {} {body}", response.status().as_u16())
                }
                Err(error) => format!("{name}: {}", error.code()),
            };
            results.borrow_mut().push(text.trim_end().to_owned());
        }
    }

    /// Turns the loop once. The server accepts and reads.
    fn turn(&mut self) {
        self.event_loop.turn(Some(Duration::from_millis(2))).expect("the poll works");
        self.serve();
    }

    fn serve(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            stream.set_nonblocking(true).expect("a socket");
            stream.set_nodelay(true).expect("a socket");
            self.peers.push(Peer { stream: Some(stream), received: Vec::new(), is_closed: false, reads: true });
        }
        let mut buf = [0; 64 * 1024];
        for peer in &mut self.peers {
            while let Some(stream) = &mut peer.stream
                && peer.reads
                && !peer.is_closed
            {
                match stream.read(&mut buf) {
                    Ok(0) => peer.is_closed = true,
                    Ok(n) => peer.received.extend_from_slice(&buf[..n]),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(_) => peer.is_closed = true,
                }
            }
        }
    }

    fn until(&mut self, what: &str, mut is_there: impl FnMut(&mut Talk) -> bool) {
        let limit = Instant::now() + LIMIT;
        while !is_there(self) {
            assert!(Instant::now() < limit, "waited for {what}; the results are {:?}", self.results.borrow());
            self.turn();
        }
    }

    /// Some more turns, in which something that must not happen could happen.
    fn settle(&mut self) {
        for _ in 0..5 {
            self.turn();
        }
    }

    fn after(&mut self, time: Duration) {
        self.clock.advance(time);
        self.settle();
    }

    /// The next request on a connection: its head and its body.
    fn requested(&mut self, peer: usize) -> String {
        let mut request = String::new();
        self.until("a request", |talk| {
            let Some(Peer { received, .. }) = talk.peers.get_mut(peer) else { return false };
            let text = String::from_utf8_lossy(received).into_owned();
            let Some((head, rest)) = text.split_once("\r\n\r\n") else { return false };
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            let length: usize = length.map_or(0, |length| length.parse().expect("a length"));
            if rest.len() < length {
                return false;
            }
            received.drain(..head.len() + 4 + length);
            request = text[..head.len() + 4 + length].to_owned();
            true
        });
        request
    }

    /// The path of the next request on a connection.
    fn path(&mut self, peer: usize) -> String {
        let request = self.requested(peer);
        request.split(' ').nth(1).expect("a target").to_owned()
    }

    fn stream(&mut self, peer: usize) -> &mut TcpStream {
        self.peers[peer].stream.as_mut().expect("it was not reset")
    }

    fn send(&mut self, peer: usize, bytes: impl AsRef<[u8]>) {
        self.stream(peer).write_all(bytes.as_ref()).expect("the kernel takes it");
    }

    fn fin(&mut self, peer: usize) {
        self.stream(peer).shutdown(Shutdown::Write).expect("a socket");
    }

    /// Closes the connection with a reset.
    fn reset(&mut self, peer: usize) {
        socket2::SockRef::from(&*self.stream(peer)).set_linger(Some(Duration::ZERO)).expect("a socket");
        self.peers[peer].stream = None;
        self.peers[peer].is_closed = true;
    }

    /// Waits for the next results.
    fn expect(&mut self, name: &str, results: &[&str]) {
        self.until(name, |talk| talk.results.borrow().len() >= results.len());
        assert_eq!(std::mem::take(&mut *self.results.borrow_mut()), results, "{name}");
    }

    fn expect_nothing(&mut self, name: &str) {
        self.settle();
        assert!(self.results.borrow().is_empty(), "{name}: {:?}", self.results.borrow());
    }

    fn expect_closed(&mut self, peer: usize) {
        self.until("a close by the client", |talk| talk.peers[peer].is_closed);
    }

    /// Makes a connection that has carried one request and is idle.
    fn make_idle_connection(&mut self) {
        self.get("/first");
        assert_eq!(self.path(0), "/first");
        self.send(0, OK);
        self.expect("the first", &["/first: 200 hola"]);
    }
}

#[test]
fn a_response_is_received_wherever_the_reads_fall() {
    let table = [
        ("by length", OK, "200 hola", false),
        (
            "in chunks",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nho\r\n2\r\nla\r\n0\r\n\r\n",
            "200 hola",
            false,
        ),
        ("until the end", "HTTP/1.1 200 OK\r\n\r\nhola", "200 hola", true),
        ("without a body", "HTTP/1.1 204 No Content\r\n\r\n", "204", false),
        ("an error of the server", "HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n", "500", false),
        (
            "behind interim responses",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nho",
            "200 ho",
            false,
        ),
    ];
    for (name, response, want, ends) in table {
        let mut talk = Talk::usual();
        let mut peer = 0;
        for cut in 0..=response.len() {
            talk.get("/x");
            assert_eq!(talk.path(peer), "/x");
            talk.send(peer, &response[..cut]);
            talk.turn();
            talk.send(peer, &response[cut..]);
            if ends {
                talk.fin(peer);
                peer += 1;
            }
            talk.expect(&format!("{name}, cut at {cut}"), &[&format!("/x: {want}")]);
        }
        let connections = if ends { response.len() + 1 } else { 1 };
        assert_eq!(talk.peers.len(), connections, "{name}");
    }
}

#[test]
fn a_request_has_a_host_the_length_of_its_body_and_the_headers_of_the_program() {
    let mut talk = Talk::usual();
    let host = talk.url("").replace("http://", "");
    talk.request("/a?b=c#d", |url| {
        let mut request = ClientRequest::post(url, "hola");
        request.headers.insert("x-a", HeaderValue::from_static("b"));
        request.headers.insert("content-length", HeaderValue::from_static("9"));
        request
    });
    let want = format!("POST /a?b=c HTTP/1.1\r\nHost: {host}\r\nx-a: b\r\nContent-Length: 4\r\n\r\nhola");
    assert_eq!(talk.requested(0), want);
    talk.send(0, OK);
    talk.expect("the response", &["/a?b=c#d: 200 hola"]);
    talk.request("/", |url| ClientRequest::new(Method::HEAD, url));
    assert_eq!(talk.requested(0), format!("HEAD / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    talk.send(0, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    talk.expect("a response without a body", &["/: 200"]);
}

#[test]
fn requests_to_the_server_of_this_crate_are_answered() {
    let running = Running::with_defaults();
    let talk = Talk::usual();
    let mut event_loop = EventLoop::new().expect("a loop");
    let body = "x".repeat(300_000);
    event_loop.enter(|lp| {
        let client = Client::new(lp, ClientOptions::default());
        let url = |host: &str, path: &str| format!("http://{host}:{}{path}", running.port);
        let requests = [
            ("by name", ClientRequest::get(url("localhost", "/twice"))),
            ("a path that is not there", ClientRequest::get(url("127.0.0.1", "/no"))),
            ("a short body", ClientRequest::post(url("127.0.0.1", "/echo"), "hola")),
            ("a long body", ClientRequest::post(url("127.0.0.1", "/echo"), body.clone())),
            ("an empty body", ClientRequest::post(url("127.0.0.1", "/echo"), "")),
            ("no content", ClientRequest::get(url("127.0.0.1", "/empty"))),
            ("a stream", ClientRequest::get(url("127.0.0.1", "/stream"))),
            ("later", ClientRequest::get(url("127.0.0.1", "/later?1"))),
            ("only the head", ClientRequest::new(Method::HEAD, url("127.0.0.1", "/large"))),
            ("a large response", ClientRequest::get(url("127.0.0.1", "/large"))),
        ];
        for (name, request) in requests {
            let note = talk.note(name);
            client.request(lp, request, move |_, result| note(result)).expect("a good request");
        }
    });
    // It ends although connections are idle.
    event_loop.run().expect("it runs");
    let mut results = talk.results.take();
    results.sort_unstable();
    let mut want = [
        "by name: 200 once",
        "a path that is not there: 404 no /no",
        "a short body: 200 hola",
        "a long body: 200 300000 bytes",
        "an empty body: 200",
        "no content: 204",
        "a stream: 200 onethree",
        "later: 200 /later?1",
        "only the head: 200",
        "a large response: 200 300000 bytes",
    ];
    want.sort_unstable();
    assert_eq!(results, want);
}

#[test]
fn a_request_that_cannot_be_made_is_refused_by_the_call() {
    let mut talk = Talk::usual();
    let client = talk.client;
    let table = [
        ("TLS", Method::GET, "https://localhost/", "ERR_INVALID_URL"),
        ("another scheme", Method::GET, "ws://localhost/", "ERR_INVALID_URL"),
        ("no URL", Method::GET, "/path", "ERR_INVALID_URL"),
        ("a second line", Method::GET, "http://localhost/\r\nX: y", "ERR_INVALID_URL"),
        ("a user", Method::GET, "http://user@localhost/", "ERR_INVALID_URL"),
        ("a tunnel", Method::CONNECT, "http://localhost/", "ERR_INVALID_ARG_VALUE"),
    ];
    for (name, method, url, code) in table {
        let request = ClientRequest::new(method, url);
        let refused = talk.enter(|lp| client.request(lp, request, |_, _| panic!("it was refused")));
        assert_eq!(refused.expect_err(name).code(), code, "{name}");
    }
    talk.settle();
    assert!(!talk.event_loop.is_alive());
}

#[test]
fn a_connection_that_cannot_be_made_is_an_error() {
    let mut talk = Talk::usual();
    let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr()).expect("a port").port();
    let (client, note) = (talk.client, talk.note("refused"));
    let request = ClientRequest::get(format!("http://127.0.0.1:{port}/"));
    talk.enter(|lp| client.request(lp, request, move |_, result| note(result)).expect("a good request"));
    talk.expect("an error", &["refused: ECONNREFUSED"]);
    assert!(!talk.event_loop.is_alive());
}

#[test]
fn a_bad_response_is_an_error_and_the_connection_is_closed() {
    let large = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 17 * 1024 * 1024);
    let table = [
        ("no HTTP", "SSH-2.0-x\r\n", "E_BAD_RESPONSE"),
        ("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "E_BAD_RESPONSE"),
        ("a bad chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "E_BAD_RESPONSE"),
        ("another protocol", "HTTP/1.1 101 x\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", "E_BAD_RESPONSE"),
        ("too large", &large, "E_BODY_TOO_LARGE"),
    ];
    for (name, response, code) in table {
        // Also on a connection that was used before: nothing is sent again.
        for is_reused in [false, true] {
            let mut talk = Talk::usual();
            if is_reused {
                talk.make_idle_connection();
            }
            talk.get("/x");
            assert_eq!(talk.path(0), "/x");
            talk.send(0, response);
            talk.expect(name, &[&format!("/x: {code}")]);
            talk.expect_closed(0);
            assert_eq!(talk.peers.len(), 1, "{name}");
            assert!(!talk.event_loop.is_alive(), "{name}");
        }
    }
}

#[test]
fn a_body_that_grows_over_the_limit_is_an_error() {
    let mut talk = Talk::new(ClientOptions { max_body: 10, ..ClientOptions::default() });
    talk.get("/x");
    assert_eq!(talk.path(0), "/x");
    talk.send(0, "HTTP/1.1 200 OK\r\n\r\n1234567890");
    talk.expect_nothing("as long as the limit");
    talk.send(0, "1");
    talk.expect("one byte more", &["/x: E_BODY_TOO_LARGE"]);
    talk.expect_closed(0);
}

#[test]
fn a_server_that_closes_before_its_response_is_complete_is_an_error() {
    for sent in
        ["", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhola"]
    {
        for resets in [false, true] {
            let mut talk = Talk::usual();
            talk.get("/x");
            assert_eq!(talk.path(0), "/x");
            talk.send(0, sent);
            talk.turn();
            if resets {
                talk.reset(0)
            } else {
                talk.fin(0)
            }
            talk.expect(sent, &["/x: ECONNRESET"]);
            talk.settle();
            assert_eq!(talk.peers.len(), 1, "nothing is sent again on account of a new connection");
        }
    }
}

/// The client notices the close only after it has sent the request.
#[test]
fn an_idempotent_request_on_a_connection_that_was_closed_meanwhile_is_sent_once_more() {
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS] {
        for resets in [false, true] {
            let name = format!("{method}, by a reset: {resets}");
            let mut talk = Talk::usual();
            talk.make_idle_connection();
            if resets {
                talk.reset(0)
            } else {
                talk.fin(0)
            }
            let body = if method == Method::PUT { "a body" } else { "" };
            let request = talk
                .request("/x", |url| ClientRequest { body: body.into(), ..ClientRequest::new(method.clone(), url) });
            let sent = talk.requested(1);
            assert!(sent.starts_with(&format!("{method} /x ")) && sent.ends_with(body), "{name}: {sent}");
            assert!(talk.enter(|lp| request.is_pending(lp)), "{name}");
            talk.send(1, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            talk.expect(&name, &["/x: 200"]);
            assert_eq!(talk.peers.len(), 2, "{name}");
        }
    }
}

#[test]
fn a_post_on_a_connection_that_was_closed_meanwhile_is_an_error() {
    for resets in [false, true] {
        let mut talk = Talk::usual();
        talk.make_idle_connection();
        if resets {
            talk.reset(0)
        } else {
            talk.fin(0)
        }
        talk.post("/x", "hola");
        let result = if resets { ["/x: ECONNRESET", "/x: EPIPE"] } else { ["/x: ECONNRESET"; 2] };
        talk.until("an error", |talk| talk.results.borrow().len() == 1);
        assert!(result.contains(&talk.results.take()[0].as_str()));
        talk.settle();
        assert_eq!(talk.peers.len(), 1, "it is not sent again");
    }
}

#[test]
fn a_request_is_sent_once_more_only_once_and_not_after_a_response_has_begun() {
    let mut talk = Talk::usual();
    talk.make_idle_connection();
    talk.fin(0);
    talk.get("/x");
    assert_eq!(talk.path(1), "/x");
    talk.fin(1);
    talk.expect("the second connection was new", &["/x: ECONNRESET"]);
    let mut talk = Talk::usual();
    talk.make_idle_connection();
    talk.get("/x");
    assert_eq!(talk.path(0), "/x");
    talk.send(0, "H");
    talk.turn();
    talk.fin(0);
    talk.expect("a byte has arrived", &["/x: ECONNRESET"]);
    talk.settle();
    assert_eq!(talk.peers.len(), 1);
}

#[test]
fn a_connection_is_used_again_unless_either_side_does_not_want_it() {
    let table = [
        ("by length", OK, 1),
        ("the server closes", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nhola", 3),
        ("HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nhola", 3),
        ("HTTP/1.0 that stays", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 4\r\n\r\nhola", 1),
        ("bytes behind the response", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nholaHTTP/1.1 200 OK\r\n", 3),
        (
            "it would be closed in a second",
            "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 4\r\n\r\nhola",
            3,
        ),
    ];
    for (name, response, connections) in table {
        let mut talk = Talk::usual();
        for number in 0..3 {
            talk.get("/x");
            let peer = if connections == 1 { 0 } else { number };
            assert_eq!(talk.path(peer), "/x", "{name}");
            talk.send(peer, response);
            talk.expect(name, &["/x: 200 hola"]);
            if connections > 1 {
                talk.expect_closed(peer);
            }
        }
        assert_eq!(talk.peers.len(), connections, "{name}");
    }
    let mut talk = Talk::new(ClientOptions { keep_alive: Duration::ZERO, ..ClientOptions::default() });
    talk.get("/x");
    assert!(talk.requested(0).ends_with("\r\nConnection: close\r\n\r\n"));
    talk.send(0, OK);
    talk.expect("the program does not want it", &["/x: 200 hola"]);
    talk.expect_closed(0);
}

#[test]
fn a_callback_may_use_the_connection_of_its_response() {
    fn poll(lp: &mut Loop, client: Client, url: String, left: usize, results: Rc<RefCell<Vec<String>>>) {
        let next = url.clone();
        let on_response = move |lp: &mut Loop, result: bucle::Result<http::ClientResponse>| {
            results.borrow_mut().push(result.expect("a response").status().to_string());
            if left > 1 {
                poll(lp, client, next, left - 1, results);
            }
        };
        client.request(lp, ClientRequest::get(url), on_response).expect("a good request");
    }
    let mut talk = Talk::usual();
    let (client, url, results) = (talk.client, talk.url("/poll"), talk.results.clone());
    talk.enter(|lp| poll(lp, client, url, 200, results));
    for _ in 0..200 {
        assert_eq!(talk.path(0), "/poll");
        talk.send(0, OK);
    }
    talk.until("the last response", |talk| talk.results.borrow().len() == 200);
    assert_eq!(talk.peers.len(), 1);
}

#[test]
fn an_idle_connection_is_closed_after_its_time_and_does_not_keep_the_loop_running() {
    let table = [
        ("as the option says", "", 4),
        ("as the server says, a second earlier", "Keep-Alive: timeout=3\r\n", 2),
        ("the server would wait longer", "Keep-Alive: timeout=60\r\n", 4),
    ];
    for (name, field, seconds) in table {
        let mut talk = Talk::usual();
        for _ in 0..2 {
            talk.get("/x");
            assert_eq!(talk.path(0), "/x");
            assert!(talk.event_loop.is_alive(), "{name}: a request keeps the loop running");
            talk.send(0, format!("HTTP/1.1 200 OK\r\n{field}Content-Length: 0\r\n\r\n"));
            talk.expect(name, &["/x: 200"]);
            assert!(!talk.event_loop.is_alive(), "{name}");
            talk.after(seconds * SECOND - Duration::from_millis(1));
            assert!(!talk.peers[0].is_closed, "{name}");
        }
        talk.after(Duration::from_millis(1));
        talk.expect_closed(0);
    }
}

#[test]
fn an_idle_connection_that_the_server_ends_or_writes_to_is_closed() {
    for (name, bytes) in [("ended", ""), ("bytes without a request", "HTTP/1.1 408 Request Timeout\r\n\r\n")] {
        let mut talk = Talk::usual();
        talk.make_idle_connection();
        talk.send(0, bytes);
        if bytes.is_empty() {
            talk.fin(0);
        }
        talk.expect_closed(0);
        talk.post("/x", "hola");
        assert_eq!(talk.path(1), "/x", "{name}: the next request has a new connection");
        talk.send(1, OK);
        talk.expect(name, &["/x: 200 hola"]);
    }
}

#[test]
fn a_request_ends_when_its_time_is_over_however_slowly_bytes_arrive() {
    let mut talk = Talk::usual();
    talk.request("/ten", |url| ClientRequest { timeout: 10 * SECOND, ..ClientRequest::get(url) });
    talk.get("/sixty");
    talk.request("/never", |url| ClientRequest { timeout: Duration::ZERO, ..ClientRequest::get(url) });
    talk.request("/longest", |url| ClientRequest { timeout: Duration::MAX, ..ClientRequest::get(url) });
    for peer in 0..4 {
        talk.path(peer);
    }
    for byte in "HTTP/1.1 ".bytes() {
        for peer in 0..4 {
            talk.send(peer, [byte]);
        }
        talk.after(SECOND);
    }
    talk.expect_nothing("after nine seconds");
    talk.after(SECOND);
    talk.expect("after ten", &["/ten: ETIMEDOUT"]);
    talk.after(49 * SECOND);
    talk.expect_nothing("after 59 seconds");
    talk.after(SECOND);
    talk.expect("after sixty", &["/sixty: ETIMEDOUT"]);
    talk.after(24 * 60 * 60 * SECOND);
    talk.expect_nothing("after a day");
    assert_eq!(talk.peers.iter().filter(|peer| peer.is_closed).count(), 2);
    assert!(talk.event_loop.is_alive());
}

#[test]
fn the_time_includes_the_wait_for_a_connection() {
    let mut talk = Talk::new(ClientOptions { max_connections: Some(1), ..ClientOptions::default() });
    for path in ["/first", "/second", "/third"] {
        let seconds = if path == "/second" { 5 } else { 60 };
        talk.request(path, |url| ClientRequest { timeout: seconds * SECOND, ..ClientRequest::get(url) });
    }
    assert_eq!(talk.path(0), "/first");
    talk.after(5 * SECOND);
    talk.expect("it has waited", &["/second: ETIMEDOUT"]);
    talk.send(0, OK);
    assert_eq!(talk.path(0), "/third");
    talk.send(0, OK);
    talk.expect("the others", &["/first: 200 hola", "/third: 200 hola"]);
}

#[test]
fn an_aborted_request_is_not_reported_and_its_connection_is_closed() {
    let mut talk = Talk::usual();
    let (client, request) = (talk.client, ClientRequest::get(talk.url("/at-once")));
    talk.enter(|lp| {
        let request = client.request(lp, request, |_, _| panic!("it was aborted")).expect("a good request");
        assert!(request.is_pending(lp));
        request.abort(lp);
        assert!(!request.is_pending(lp));
        request.abort(lp);
    });
    talk.expect_nothing("aborted before the connect");
    assert!(!talk.event_loop.is_alive() && talk.peers.is_empty());

    for sent in ["", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhola"] {
        let mut talk = Talk::usual();
        let request = talk.get("/x");
        assert_eq!(talk.path(0), "/x");
        talk.send(0, sent);
        talk.settle();
        talk.enter(|lp| request.abort(lp));
        talk.expect_closed(0);
        talk.expect_nothing("aborted before its response was complete");
        assert!(!talk.event_loop.is_alive());
    }

    let mut talk = Talk::usual();
    talk.make_idle_connection();
    let request = talk.get("/x");
    talk.enter(|lp| request.abort(lp));
    talk.expect_closed(0);
    talk.expect_nothing("aborted on a connection that was used before");
}

#[test]
fn an_abort_of_a_request_that_is_over_changes_nothing() {
    let mut talk = Talk::usual();
    let first = talk.get("/first");
    assert_eq!(talk.path(0), "/first");
    talk.send(0, OK);
    talk.expect("the first", &["/first: 200 hola"]);
    // The next one uses the same connection.
    talk.get("/second");
    talk.enter(|lp| {
        first.abort(lp);
        first.unref(lp);
    });
    assert!(talk.event_loop.is_alive());
    assert_eq!(talk.path(0), "/second");
    talk.send(0, OK);
    talk.expect("the second", &["/second: 200 hola"]);
}

#[test]
fn requests_wait_for_a_connection_and_are_sent_in_their_order() {
    let mut talk = Talk::new(ClientOptions { max_connections: Some(2), ..ClientOptions::default() });
    let paths = ["/1", "/2", "/3", "/4", "/5", "/6"];
    let requests = paths.map(|path| talk.get(path));
    assert_eq!([talk.path(0), talk.path(1)], ["/1", "/2"]);
    talk.settle();
    assert_eq!(talk.peers.len(), 2);
    // One that waits is aborted. One that is under way is aborted: another connection takes its place.
    talk.enter(|lp| requests[3].abort(lp));
    talk.send(1, OK);
    assert_eq!(talk.path(1), "/3");
    talk.enter(|lp| requests[0].abort(lp));
    talk.expect_closed(0);
    assert_eq!(talk.path(2), "/5");
    talk.send(2, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(talk.path(3), "/6");
    talk.send(1, OK);
    talk.expect("three are answered", &["/2: 200 hola", "/5: 200", "/3: 200 hola"]);
    // A request that is made now uses the idle connection.
    talk.get("/7");
    assert_eq!(talk.path(1), "/7");
    talk.send(1, "hola");
    talk.send(3, OK);
    talk.expect("the rest", &["/7: E_BAD_RESPONSE", "/6: 200 hola"]);
    assert_eq!(talk.peers.len(), 4);
    assert!(!talk.event_loop.is_alive());
}

/// A request that is made in a callback does not overtake those that wait.
#[test]
fn a_request_of_a_callback_waits_behind_the_others() {
    let mut talk = Talk::new(ClientOptions { max_connections: Some(0), ..ClientOptions::default() });
    let (client, url, note) = (talk.client, talk.url("/third"), talk.note("/third"));
    let request = ClientRequest::get(talk.url("/first"));
    talk.enter(|lp| {
        let on_response = move |lp: &mut Loop, _| {
            client.request(lp, ClientRequest::get(url), move |_, result| note(result)).expect("a good request");
        };
        client.request(lp, request, on_response).expect("a good request");
    });
    talk.get("/second");
    for path in ["/first", "/second", "/third"] {
        assert_eq!(talk.path(0), path, "a limit of 0 is taken for 1");
        talk.send(0, OK);
    }
    talk.expect("in their order", &["/second: 200 hola", "/third: 200 hola"]);
}

#[test]
fn many_requests_to_one_host_are_all_answered() {
    struct Numbers;
    impl http::Handler for Numbers {
        fn on_request(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
            exchange.respond(lp, Response::new(request.target().to_owned()));
        }
    }
    for max_connections in [Some(1), Some(7), None] {
        let mut event_loop = EventLoop::new().expect("a loop");
        let answered: Rc<RefCell<Vec<usize>>> = Rc::default();
        let (server, port) = event_loop.enter(|lp| {
            let server = http::listen(lp, ("127.0.0.1", 0), http::Options::default(), Numbers).expect("a server");
            server.unref(lp);
            (server, server.port(lp).expect("it is bound"))
        });
        event_loop.enter(|lp| {
            let client = Client::new(lp, ClientOptions { max_connections, ..ClientOptions::default() });
            for number in 0..300 {
                let answered = answered.clone();
                let on_response = move |lp: &mut Loop, result: bucle::Result<http::ClientResponse>| {
                    assert_eq!(result.expect("a response").body, format!("/{number}").as_bytes());
                    answered.borrow_mut().push(number);
                    assert!(server.sockets(lp).len() <= max_connections.unwrap_or(300));
                };
                let request = ClientRequest::get(format!("http://127.0.0.1:{port}/{number}"));
                client.request(lp, request, on_response).expect("a good request");
            }
            // The server's side of an idle connection would keep the loop running.
            client.release(lp);
        });
        event_loop.run().expect("it runs");
        let mut answered = answered.take();
        if max_connections == Some(1) {
            assert!(answered.is_sorted());
        }
        answered.sort_unstable();
        assert_eq!(answered, Vec::from_iter(0..300));
    }
}

#[test]
fn a_request_may_be_left_behind_when_the_loop_ends() {
    let mut talk = Talk::usual();
    let request = talk.get("/x");
    assert_eq!(talk.path(0), "/x");
    assert!(talk.event_loop.is_alive());
    talk.enter(|lp| request.unref(lp));
    assert!(!talk.event_loop.is_alive());
    talk.enter(|lp| request.ref_(lp));
    assert!(talk.event_loop.is_alive());
    talk.enter(|lp| request.unref(lp));
    talk.send(0, OK);
    talk.expect("it is answered all the same", &["/x: 200 hola"]);
    // The next request on the connection keeps the loop running, and one that was let go before it was sent does not.
    talk.get("/y");
    assert_eq!(talk.path(0), "/y");
    assert!(talk.event_loop.is_alive());
    let request = talk.get("/z");
    talk.enter(|lp| request.unref(lp));
    talk.send(0, OK);
    assert_eq!(talk.path(1), "/z");
    talk.expect("the other one", &["/y: 200 hola"]);
    assert!(!talk.event_loop.is_alive());
}

#[test]
fn a_released_client_answers_what_it_has_and_takes_no_further_requests() {
    let mut talk = Talk::new(ClientOptions { max_connections: Some(1), ..ClientOptions::default() });
    talk.get("/first");
    talk.get("/second");
    assert_eq!(talk.path(0), "/first");
    let (client, request) = (talk.client, ClientRequest::get(talk.url("/third")));
    talk.enter(|lp| {
        client.release(lp);
        let refused = client.request(lp, request, |_, _| panic!("it was refused"));
        assert!(matches!(refused, Err(net::Error::Gone)));
        client.release(lp);
    });
    talk.send(0, OK);
    talk.expect_closed(0);
    assert_eq!(talk.path(1), "/second");
    talk.send(1, OK);
    talk.expect("both", &["/first: 200 hola", "/second: 200 hola"]);
    talk.expect_closed(1);
    // Idle connections are closed at once.
    let mut talk = Talk::usual();
    talk.make_idle_connection();
    let client = talk.client;
    talk.enter(|lp| client.release(lp));
    talk.expect_closed(0);
}

/// A server may refuse a request before it has read it.
#[test]
fn a_response_that_comes_before_the_whole_request_is_sent_is_received() {
    let mut talk = Talk::usual();
    talk.request("/large", |url| ClientRequest::post(url, vec![b'x'; 32 * 1024 * 1024]));
    talk.until("a connection", |talk| {
        talk.peers.iter_mut().for_each(|peer| peer.reads = false);
        !talk.peers.is_empty()
    });
    talk.settle();
    talk.send(0, "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 0\r\n\r\n");
    talk.expect("the refusal", &["/large: 413"]);
    talk.get("/next");
    assert_eq!(talk.path(1), "/next", "the connection is not used again");
}

#[test]
fn a_server_that_takes_no_bytes_is_given_up() {
    let mut talk = Talk::usual();
    let body = vec![b'x'; 32 * 1024 * 1024];
    talk.request("/large", |url| ClientRequest { timeout: Duration::ZERO, ..ClientRequest::post(url, body) });
    talk.until("a connection", |talk| {
        talk.peers.iter_mut().for_each(|peer| peer.reads = false);
        !talk.peers.is_empty()
    });
    talk.settle();
    // The kernels may still move bytes between their buffers.
    for _ in 0..3 {
        talk.after(30 * SECOND);
    }
    talk.expect("an error", &["/large: E_TOO_SLOW"]);
}

#[test]
fn a_callback_that_panics_harms_no_other_request() {
    let mut talk = Talk::new(ClientOptions { max_connections: Some(1), ..ClientOptions::default() });
    talk.event_loop.catch_panics(true);
    let (client, request) = (talk.client, ClientRequest::get(talk.url("/panics")));
    talk.enter(|lp| client.request(lp, request, |_, _| panic!("on purpose")).expect("a good request"));
    talk.post("/second", "");
    talk.post("/third", "");
    assert_eq!(talk.path(0), "/panics");
    talk.send(0, OK);
    // Its connection is closed. The request that waits has another one.
    talk.expect_closed(0);
    assert_eq!(talk.path(1), "/second");
    talk.send(1, OK);
    assert_eq!(talk.path(1), "/third");
    talk.send(1, OK);
    talk.expect("the others", &["/second: 200 hola", "/third: 200 hola"]);
}
