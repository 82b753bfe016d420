//! The opening handshake (RFC 6455, 4), from the view of clients of a server.

use super::*;
use bucle::http::{self, Exchange, HeaderMap, HeaderValue, Response, StatusCode};
use bucle::websocket::Origins;

/// Sends a request that is refused, and returns the whole answer.
fn refused(talk: &mut Talk, request: &str) -> String {
    let peer = talk.connect();
    // A FIN behind the request: the server closes after its answer.
    talk.send(peer, request);
    talk.peers[peer].stream.shutdown(std::net::Shutdown::Write).expect("a socket");
    talk.until("the end", |talk| talk.peers[peer].end.is_some());
    String::from_utf8_lossy(&talk.peers[peer].received).into_owned()
}

/// The handshake without the headers of this name.
fn without(name: &str) -> String {
    request("").split_inclusive("\r\n").filter(|line| !line.starts_with(name)).collect()
}

#[test]
fn a_request_that_is_no_correct_handshake_is_answered_with_the_right_status() {
    let plain = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let all = || request("");
    let table: &[(&str, String, &str)] = &[
        ("POST", all().replace("GET", "POST"), "405"),
        ("HEAD", all().replace("GET", "HEAD"), "405"),
        ("HTTP/1.0", all().replace("HTTP/1.1", "HTTP/1.0"), "505"),
        ("a page is asked for", plain.to_owned(), "426"),
        ("another protocol", all().replace("websocket", "h2c"), "426"),
        ("a protocol whose name only begins so", all().replace("websocket", "websockets"), "426"),
        ("no Upgrade", without("Upgrade"), "426"),
        ("no Connection", without("Connection"), "400"),
        ("Connection without upgrade", all().replace("Connection: Upgrade", "Connection: keep-alive"), "400"),
        ("a token that contains upgrade", all().replace("Connection: Upgrade", "Connection: no-upgrade"), "400"),
        ("no Host", without("Host"), "400"),
        ("an empty Host", all().replace("Host: a", "Host: "), "400"),
        ("two Hosts", request("Host: a\r\n"), "400"),
        ("no version", without("Sec-WebSocket-Version"), "426"),
        ("version 8", all().replace("Version: 13", "Version: 8"), "426"),
        ("two versions", request("Sec-WebSocket-Version: 13\r\n"), "426"),
        ("no key", without("Sec-WebSocket-Key"), "400"),
        ("two keys", request(&format!("Sec-WebSocket-Key: {KEY}\r\n")), "400"),
        ("a key of 15 bytes", all().replace(KEY, "dGhlIHNhbXBsZSBub25j"), "400"),
        ("a key of 17 bytes", all().replace(KEY, "dGhlIHNhbXBsZSBub25jZWU="), "400"),
        ("a key that is no base64", all().replace(KEY, "dGhlIHNhbXBsZSBub25j!Q=="), "400"),
        ("malformed extensions", request("Sec-WebSocket-Extensions: a;;b\r\n"), "400"),
        ("a subprotocol twice", request("Sec-WebSocket-Protocol: a, a\r\n"), "400"),
        ("a body", request("Content-Length: 2\r\n") + "ab", "400"),
        ("a chunked body", request("Transfer-Encoding: chunked\r\n") + "1\r\na\r\n0\r\n\r\n", "400"),
        ("another origin", request("Origin: http://b\r\n"), "403"),
        ("another port of the host", request("Origin: http://a:81\r\n"), "403"),
        ("the origin null", request("Origin: null\r\n"), "403"),
        ("two origins", request("Origin: http://a\r\nOrigin: http://a\r\n"), "403"),
    ];
    let mut talk = Talk::server(Options::default(), Scribe::default());
    for (name, request, status) in table {
        let answer = refused(&mut talk, request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{name}: {answer}");
        assert_eq!(header(&answer, "Sec-WebSocket-Accept"), None, "{name}");
        // RFC 9110, 15.5.22: an answer 426 must name the protocol, and its Connection the header.
        let is_426 = *status == "426";
        assert_eq!(header(&answer, "Upgrade").is_some_and(|value| value == "websocket"), is_426, "{name}: {answer}");
        let connection = header(&answer, "Connection").unwrap_or_default().to_ascii_lowercase();
        assert_eq!(connection.contains("upgrade"), is_426, "{name}: {answer}");
        // RFC 6455, 4.2.2: so the client learns which version is spoken.
        let is_about_version = name.contains("version");
        assert_eq!(header(&answer, "Sec-WebSocket-Version") == Some("13"), is_about_version, "{name}: {answer}");
        assert_eq!(header(&answer, "Allow").is_some(), *status == "405", "{name}: {answer}");
    }
    talk.expect_story("no handler was called", &[]);
}

#[test]
fn a_correct_handshake_is_answered_with_101_and_the_accept_key() {
    let table: &[(&str, String)] = &[
        ("the usual", request("")),
        (
            "names in lower case",
            request("")
                .to_ascii_lowercase()
                .replace("get /", "GET /")
                .replace("http/1.1", "HTTP/1.1")
                .replace(&KEY.to_ascii_lowercase(), KEY),
        ),
        (
            "values in other letters",
            request("").replace("websocket\r", "WebSocket\r").replace("n: Upgrade", "n: UPGRADE"),
        ),
        ("Connection as a list", request("").replace("n: Upgrade", "n: keep-alive\t,\t Upgrade")),
        ("two headers Connection", request("Connection: keep-alive\r\n")),
        (
            "two headers Connection, the other way round",
            request("Connection: upgrade\r\n").replacen("Upgrade\r\nSec", "keep-alive\r\nSec", 1),
        ),
        ("Upgrade as a list", request("").replace("websocket\r", "h2c, websocket\r")),
        ("no body, in words", request("Content-Length: 0\r\n")),
        ("its own origin", request("Origin: http://a\r\n")),
        ("its own origin, with the usual port", request("Origin: https://A:443\r\n")),
    ];
    let mut talk = Talk::server(Options::default(), Scribe::default());
    for (name, request) in table {
        let peer = talk.connect();
        talk.send(peer, request);
        let answer = talk.head(peer);
        assert!(answer.starts_with("HTTP/1.1 101 "), "{name}: {answer}");
        assert_eq!(header(&answer, "Sec-WebSocket-Accept"), Some(ACCEPT), "{name}");
        assert_eq!(header(&answer, "Upgrade"), Some("websocket"), "{name}");
        assert_eq!(header(&answer, "Connection"), Some("Upgrade"), "{name}");
        assert_eq!(header(&answer, "Sec-WebSocket-Protocol"), None, "{name}");
        assert_eq!(header(&answer, "Sec-WebSocket-Extensions"), None, "{name}");
        talk.expect_alive(peer, name);
    }
}

#[test]
fn origins_can_be_listed_and_all_can_be_allowed() {
    let list = Origins::List(vec!["https://b.example".to_owned(), "null".to_owned()]);
    let table = [
        ("listed", list.clone(), "https://b.example", true),
        ("null, listed", list.clone(), "null", true),
        ("the host itself", list.clone(), "http://a", true),
        ("another scheme than listed", list, "http://b.example", false),
        ("any", Origins::Any, "null", true),
    ];
    for (name, origins, origin, is_allowed) in table {
        let mut talk = Talk::server(Options { origins, ..Options::default() }, Scribe::default());
        let peer = talk.connect();
        talk.send(peer, request(&format!("Origin: {origin}\r\n")));
        assert_eq!(talk.head(peer).starts_with("HTTP/1.1 101 "), is_allowed, "{name}");
    }
}

#[test]
fn a_handshake_in_single_bytes_is_accepted() {
    let mut talk = Talk::server(Options::default(), Scribe::default());
    let peer = talk.connect();
    let bytes = [request("").as_bytes(), &masked(TEXT, "hola")].concat();
    for byte in bytes {
        talk.send_alone(peer, [byte]);
    }
    assert!(talk.head(peer).starts_with("HTTP/1.1 101 "));
    talk.expect_frame(peer, "the frame behind it", TEXT, "hola");
}

/// RFC 6455, 4.1: a client must wait for the answer, but some do not.
#[test]
fn bytes_behind_the_request_are_frames_wherever_the_reads_fall() {
    let frames = [masked(TEXT, "hola"), masked(PING, "p"), masked(BINARY, "adi\u{f3}s")].concat();
    for is_deferred in [false, true] {
        for cut in 0..=frames.len() {
            let pending = is_deferred.then(Rc::default);
            let mut talk = Talk::server(Options::default(), Scribe { pending: pending.clone(), ..Scribe::default() });
            let peer = talk.connect();
            talk.send_alone(peer, [request("").as_bytes(), &frames[..cut]].concat());
            if let Some(pending) = pending {
                talk.until("the handshake", |_| !pending.borrow().is_empty());
                talk.send_alone(peer, &frames[cut..]);
                let handshake = pending.borrow()[0];
                talk.enter(|lp| handshake.accept(lp)).expect("the client is there");
            } else {
                talk.send(peer, &frames[cut..]);
            }
            let name = format!("cut at {cut}, deferred: {is_deferred}");
            assert!(talk.head(peer).starts_with("HTTP/1.1 101 "), "{name}");
            talk.expect_frame(peer, &name, TEXT, "hola");
            talk.expect_frame(peer, &name, PONG, "p");
            talk.expect_frame(peer, &name, BINARY, "adi\u{f3}s");
            talk.expect_story(&name, &["0 open", "0 text hola", "0 ping p", "0 binary adi\\xc3\\xb3s"]);
        }
    }
}

/// A server that decides later. The handshakes are in the second value.
fn deferring() -> (Talk, Rc<RefCell<Vec<Handshake<Scribe>>>>) {
    let pending = Rc::<RefCell<Vec<_>>>::default();
    let options = Options { protocols: vec!["chat".to_owned()], ..Options::default() };
    (Talk::server(options, Scribe { pending: Some(pending.clone()), ..Scribe::default() }), pending)
}

fn next_handshake(talk: &mut Talk, pending: &RefCell<Vec<Handshake<Scribe>>>) -> Handshake<Scribe> {
    talk.until("a handshake", |_| !pending.borrow().is_empty());
    pending.borrow_mut().remove(0)
}

#[test]
fn a_handshake_may_be_accepted_by_a_timer() {
    let (mut talk, pending) = deferring();
    let peer = talk.connect();
    talk.send(peer, request("Sec-WebSocket-Protocol: x, chat\r\n"));
    let handshake = next_handshake(&mut talk, &pending);
    assert_eq!(talk.enter(|lp| handshake.protocols(lp)), ["x", "chat"]);
    talk.enter(|lp| {
        lp.set_timeout(Duration::from_secs(60), move |lp| {
            handshake.accept(lp);
        })
    });
    talk.settle();
    assert!(talk.enter(|lp| handshake.is_open(lp)), "no time limit while the program decides");
    talk.clock.advance(Duration::from_secs(60));
    let answer = talk.head(peer);
    assert_eq!(header(&answer, "Sec-WebSocket-Protocol"), Some("chat"));
    talk.expect_story("it is open", &["0 open chat"]);
    // The handshake is decided.
    talk.enter(|lp| {
        assert!(!handshake.is_open(lp));
        assert!(handshake.accept(lp).is_none());
        handshake.refuse(lp, StatusCode::FORBIDDEN, "no");
    });
    talk.expect_alive(0, "after a second decision");
}

#[test]
fn a_handshake_may_be_refused_later() {
    let (mut talk, pending) = deferring();
    let peer = talk.connect();
    talk.send(peer, request(""));
    let handshake = next_handshake(&mut talk, &pending);
    talk.enter(|lp| handshake.refuse(lp, StatusCode::UNAUTHORIZED, "who are you?\n"));
    let answer = talk.head(peer);
    assert!(answer.starts_with("HTTP/1.1 401 ") && header(&answer, "Content-Length") == Some("13"), "{answer}");
    talk.until("the body", |talk| talk.peers[peer].rest() == b"who are you?\n");
    talk.peers[peer].taken += 13;
    // The connection can be used again. A decision about the first request is not one about the second.
    talk.send(peer, request(""));
    let second = next_handshake(&mut talk, &pending);
    talk.enter(|lp| {
        assert!(!handshake.is_open(lp) && handshake.accept(lp).is_none());
        handshake.refuse(lp, StatusCode::FORBIDDEN, "no");
        assert!(second.is_open(lp), "the second request waits");
        let response = Response::builder().status(302).header("location", "/else").body("");
        second.refuse_with(lp, response.expect("a response"));
    });
    let answer = talk.head(peer);
    assert!(answer.starts_with("HTTP/1.1 302 ") && header(&answer, "Location") == Some("/else"), "{answer}");
    talk.send(peer, request(""));
    let third = next_handshake(&mut talk, &pending);
    talk.enter(|lp| {
        assert!(handshake.accept(lp).is_none());
        assert!(third.accept(lp).is_some(), "the decision about the first request has used up nothing");
    });
    assert!(talk.head(peer).starts_with("HTTP/1.1 101 "));
}

#[test]
fn a_client_that_is_gone_makes_the_decision_harmless() {
    for is_reset in [false, true] {
        let (mut talk, pending) = deferring();
        let peer = talk.connect();
        talk.send(peer, request(""));
        let handshake = next_handshake(&mut talk, &pending);
        if is_reset {
            // Zero seconds of linger: the close sends a reset.
            let socket = socket2::SockRef::from(&talk.peers[peer].stream);
            socket.set_linger(Some(Duration::ZERO)).expect("a socket");
        }
        talk.peers.clear();
        if is_reset {
            talk.until("the reset", |talk| talk.enter(|lp| !handshake.is_open(lp)));
            assert!(talk.enter(|lp| handshake.accept(lp)).is_none());
            talk.expect_story("never opened", &[]);
        } else {
            // A client that has closed only its side could still read.
            talk.settle();
            talk.enter(|lp| handshake.accept(lp));
            talk.until("the end", |talk| talk.story.borrow().len() >= 2);
            assert_eq!(talk.story.borrow()[0], "0 open");
            assert!(talk.story.borrow().last().is_some_and(|last| last == "0 closed 1006"));
        }
        talk.settle();
        let server = talk.server.expect("a server");
        assert_eq!(talk.enter(|lp| server.connections(lp)), 0);
    }
}

#[test]
fn accept_with_sets_the_protocol_and_headers() {
    let mut headers = HeaderMap::new();
    headers.append("set-cookie", HeaderValue::from_static("a=1"));
    headers.append("set-cookie", HeaderValue::from_static("b=2"));
    // Those of the handshake cannot be set.
    headers.insert("sec-websocket-accept", HeaderValue::from_static("x"));
    headers.insert("content-length", HeaderValue::from_static("5"));
    let accept = Accept { protocol: Some("v2".to_owned()), headers };
    let options = Options { protocols: vec!["v1".to_owned()], ..Options::default() };
    let mut talk = Talk::server(options, Scribe { accept, ..Scribe::default() });
    let (peer, answer) = talk.open("Sec-WebSocket-Protocol: v1, v2\r\n");
    assert_eq!(header(&answer, "Sec-WebSocket-Protocol"), Some("v2"));
    assert_eq!(answer.matches("set-cookie: ").count(), 2, "{answer}");
    assert_eq!(answer.matches("ccept: ").count(), 1, "{answer}");
    assert_eq!(header(&answer, "Content-Length"), None);
    talk.expect_alive(peer, "it is open");
    assert_eq!(talk.story.borrow()[0], "0 open v2");
}

#[test]
fn a_subprotocol_that_the_client_has_not_offered_is_a_mistake_of_the_server() {
    for protocol in ["v3", "V2", "v2\r\nSet-Cookie: a=1", ""] {
        let accept = Accept { protocol: Some(protocol.to_owned()), ..Accept::default() };
        let mut talk = Talk::server(Options::default(), Scribe { accept, ..Scribe::default() });
        let answer = refused(&mut talk, &request("Sec-WebSocket-Protocol: v1, v2\r\n"));
        assert!(answer.starts_with("HTTP/1.1 500 "), "{protocol:?}: {answer}");
        assert!(!answer.contains("Set-Cookie"), "{protocol:?}: {answer}");
    }
}

#[test]
fn the_body_of_a_request_is_not_waited_for() {
    let mut talk = Talk::server(Options::default(), Scribe::default());
    for head in
        [request("Content-Length: 999999\r\n"), "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n".into()]
    {
        let answer = refused(&mut talk, &head);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
}

#[test]
fn the_client_s_first_subprotocol_that_the_server_speaks_is_chosen() {
    let table: &[(&str, &str, Option<&str>)] = &[
        ("none offered", "", None),
        ("none known", "Sec-WebSocket-Protocol: x\r\n", None),
        ("the client's order", "Sec-WebSocket-Protocol: x, b, a\r\n", Some("b")),
        ("in two headers", "Sec-WebSocket-Protocol: x\r\nSec-WebSocket-Protocol: a\r\n", Some("a")),
        ("letters matter", "Sec-WebSocket-Protocol: A\r\n", None),
    ];
    for (name, headers, want) in table {
        let options = Options { protocols: ["a", "b"].map(str::to_owned).to_vec(), ..Options::default() };
        let mut talk = Talk::server(options, Scribe::default());
        let (_, answer) = talk.open(headers);
        assert_eq!(header(&answer, "Sec-WebSocket-Protocol"), *want, "{name}");
        let ws = talk.ws(0);
        assert_eq!(talk.enter(|lp| ws.protocol(lp).map(str::to_owned)).as_deref(), *want, "{name}");
    }
}

#[test]
fn a_handshake_that_takes_too_long_is_answered_with_408() {
    let options = Options { handshake_timeout: Duration::from_secs(2), ..Options::default() };
    let mut talk = Talk::server(options, Scribe::default());
    let peer = talk.connect();
    talk.send_alone(peer, &request("").as_bytes()[..50]);
    talk.clock.advance(Duration::from_secs(2));
    assert!(talk.head(peer).starts_with("HTTP/1.1 408 "));
    talk.expect_story("no handler was called", &[]);
}

#[test]
fn an_endpoint_that_was_released_answers_503_and_keeps_its_connections() {
    let mut talk = Talk::new(Options::default());
    let endpoint = talk.endpoint();
    talk.enter(|lp| endpoint.release(lp));
    let answer = refused(&mut talk, &request(""));
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    talk.expect_alive(0, "a connection from before");
    talk.send(0, masked(CLOSE, close(1000, "")));
    talk.expect_frame(0, "the handler's last connection", CLOSE, close(1000, ""));
    talk.until("the end", |talk| talk.peers[0].end.is_some());
    let answer = refused(&mut talk, &request(""));
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
}

/// A site with two endpoints and a page.
struct Site {
    upper: Endpoint<Scribe>,
    lower: Endpoint<Scribe>,
}

impl http::Handler for Site {
    fn on_request(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        match request.path() {
            "/" => exchange.respond_text(lp, StatusCode::OK, "a page"),
            _ => exchange.respond_text(lp, StatusCode::NOT_FOUND, "no"),
        };
    }
    fn on_upgrade(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        let endpoint = match request.path() {
            "/upper" => self.upper,
            "/lower" => self.lower,
            _ => return self.on_request(lp, exchange, request),
        };
        if let Some(handshake) = endpoint.handshake(lp, exchange, request) {
            handshake.accept(lp);
        }
    }
}

#[test]
fn a_server_may_have_several_endpoints_and_a_page() {
    let mut talk = Talk::empty();
    let stories = [talk.story.clone(), Rc::default()];
    let [upper, lower] = stories.clone().map(|story| {
        let scribe = Scribe { story, connections: talk.connections.clone(), ..Scribe::default() };
        talk.enter(|lp| Endpoint::new(lp, Options::default(), scribe))
    });
    talk.port = talk.enter(|lp| {
        let server = http::listen(lp, ("127.0.0.1", 0), http::Options::default(), Site { upper, lower });
        server.expect("a free port").port(lp).expect("it is bound")
    });
    for (path, status) in [("/upper", "101"), ("/lower", "101"), ("/", "200"), ("/x", "404")] {
        let peer = talk.connect();
        talk.send(peer, request("").replace("/chat", path));
        let answer = talk.head(peer);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
        if status == "101" {
            talk.expect_alive(peer, path);
        }
    }
    assert_eq!(*stories[0].borrow(), ["0 open", "0 text still there?"]);
    assert_eq!(*stories[1].borrow(), ["1 open", "1 text still there?"]);
}

#[test]
fn a_panic_in_on_handshake_destroys_only_that_connection() {
    silence_expected_panics();
    let mut talk = Talk::new(Options::default());
    talk.event_loop.catch_panics(true);
    let peer = talk.connect();
    talk.send(peer, request("").replace("/chat", "/panic"));
    talk.until("the end", |talk| talk.peers[peer].end.is_some());
    assert_eq!(talk.peers[peer].received, b"");
    talk.expect_alive(0, "an open connection");
    let (peer, _) = talk.open("");
    talk.expect_alive(peer, "a later connection");
}

/// Several requests on one connection, also sent together.
#[test]
fn a_connection_with_an_earlier_request_can_be_upgraded() {
    let bytes = "GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned() + &request("Origin: http://b\r\n") + &request("");
    let bytes = [bytes.as_bytes(), &masked(TEXT, "hola")].concat();
    for cut in (0..=bytes.len()).step_by(7) {
        let mut talk = Talk::server(Options::default(), Scribe::default());
        let peer = talk.connect();
        talk.send_alone(peer, &bytes[..cut]);
        talk.send(peer, &bytes[cut..]);
        for (status, body) in
            [("426", "this address is for WebSocket connections\n"), ("403", "this origin is not allowed\n")]
        {
            let answer = talk.head(peer);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "cut at {cut}: {answer}");
            assert_eq!(header(&answer, "Content-Length"), Some(body.len().to_string().as_str()));
            talk.until("the body", |talk| talk.peers[peer].rest().len() >= body.len());
            assert!(talk.peers[peer].rest().starts_with(body.as_bytes()));
            talk.peers[peer].taken += body.len();
        }
        assert!(talk.head(peer).starts_with("HTTP/1.1 101 "), "cut at {cut}");
        talk.expect_frame(peer, "the echo", TEXT, "hola");
    }
}

/// A client that does not wait for the answer costs a bounded amount of memory, and loses nothing.
#[test]
fn many_frames_behind_a_request_wait_for_the_decision() {
    let (mut talk, pending) = deferring();
    let peer = talk.connect();
    let frames = masked(BINARY, noise(5_000)).repeat(4_000);
    talk.send(peer, [request("").as_bytes(), &frames].concat());
    let handshake = next_handshake(&mut talk, &pending);
    talk.settle();
    let read = talk.enter(|lp| lp.metrics().bytes_read);
    assert!(read < 500_000, "{read} bytes were read");
    talk.enter(|lp| handshake.accept(lp)).expect("the client is there");
    assert!(talk.head(peer).starts_with("HTTP/1.1 101 "));
    for number in 0..4_000 {
        talk.expect_frame(peer, &format!("message {number}"), BINARY, noise(5_000));
    }
}

#[test]
fn frames_and_a_fin_behind_a_request_wait_for_the_decision() {
    let (mut talk, pending) = deferring();
    let peer = talk.connect();
    talk.send(peer, [request("").as_bytes(), &masked(TEXT, "hola")].concat());
    talk.peers[peer].stream.shutdown(std::net::Shutdown::Write).expect("a socket");
    let handshake = next_handshake(&mut talk, &pending);
    talk.settle();
    talk.enter(|lp| handshake.accept(lp)).expect("it may still read");
    assert!(talk.head(peer).starts_with("HTTP/1.1 101 "));
    talk.expect_frame(peer, "the echo", TEXT, "hola");
    talk.expect_end(peer, "the end", End::Fin);
    talk.expect_story("all of it", &["0 open", "0 text hola", "0 closed 1006"]);
}

#[test]
fn the_program_may_use_the_connection_right_after_the_accept() {
    type Row = (&'static str, fn(&mut Loop, WebSocket), &'static [(u8, &'static [u8])], &'static [&'static str]);
    let table: &[Row] = &[
        (
            "send",
            |lp, ws| {
                assert!(ws.is_open(lp) && ws.send(lp, "welcome") && ws.subscribe(lp, "news") && ws.ping(lp, ""));
                ws.publish(lp, "news", "to the others");
            },
            &[(TEXT, b"welcome"), (PING, b""), (TEXT, b"hola")],
            &["0 open", "0 text hola"],
        ),
        ("pause", |lp, ws| ws.pause(lp), &[], &["0 open"]),
        ("close", |lp, ws| ws.close(lp, CloseCode(4000), "no"), &[(CLOSE, b"\x0f\xa0no")], &["0 open"]),
        ("terminate", |lp, ws| ws.terminate(lp), &[], &["0 open", "0 closed 1006"]),
    ];
    for is_at_open in [false, true] {
        for (name, f, frames, story) in table {
            let (after_accept, at_open) = if is_at_open { (None, Some(*f)) } else { (Some(*f), None) };
            let mut talk = Talk::server(Options::default(), Scribe { after_accept, at_open, ..Scribe::default() });
            let peer = talk.connect();
            talk.send(peer, [request("").as_bytes(), &masked(TEXT, "hola")].concat());
            talk.expect_story(name, story);
            if *name == "terminate" {
                talk.until("the end", |talk| talk.peers[peer].end.is_some());
                continue;
            }
            assert!(talk.head(peer).starts_with("HTTP/1.1 101 "), "{name}");
            for (first, payload) in *frames {
                talk.expect_frame(peer, name, *first, payload);
            }
            talk.settle();
            assert_eq!(show_rest(&talk.peers[peer]), "", "{name}");
            if *name == "pause" {
                let ws = talk.ws(0);
                talk.enter(|lp| ws.resume(lp));
                talk.expect_frame(peer, name, TEXT, "hola");
            }
        }
    }
}
