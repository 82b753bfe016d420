//! Clients, from the view of a server that is written by hand.

use super::*;
use bucle::http::{HeaderMap, HeaderValue};
use bucle::websocket::{CLOSE_TIMEOUT, DeflateOptions};
use std::collections::HashSet;

/// A client whose connection is open. `headers` are those of the answer.
fn opened(options: Options, client_options: &ClientOptions, headers: &str) -> (Talk, String) {
    let mut talk = call(options, client_options);
    let request = talk.head(0);
    talk.send(0, answer(&request, headers));
    talk.until("the connection", |talk| talk.story.borrow().len() == 1);
    (talk, request)
}

pub fn usual() -> Talk {
    let (talk, _) = opened(Options::default(), &ClientOptions::default(), "");
    talk.story.borrow_mut().clear();
    talk
}

#[test]
fn the_request_is_a_correct_handshake() {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::from_static("Basic x"));
    headers.insert("sec-websocket-key", HeaderValue::from_static("own"));
    headers.insert("host", HeaderValue::from_static("own"));
    let protocols = vec!["v2".to_owned(), "v1".to_owned()];
    let options = Options { deflate: Some(DeflateOptions::default()), ..Options::default() };
    let mut talk = call(options, &ClientOptions { headers, protocols, ..ClientOptions::default() });
    let request = talk.head(0);
    assert!(request.starts_with("GET /chat?a=b HTTP/1.1\r\n"), "{request}");
    let port = talk.port;
    let want = [
        ("Host", format!("127.0.0.1:{port}")),
        ("Upgrade", "websocket".to_owned()),
        ("Connection", "Upgrade".to_owned()),
        ("Sec-WebSocket-Version", "13".to_owned()),
        ("Sec-WebSocket-Protocol", "v2, v1".to_owned()),
        ("Authorization", "Basic x".to_owned()),
    ];
    for (name, value) in want {
        assert_eq!(header(&request, name), Some(value.as_str()), "{request}");
        assert_eq!(request.to_ascii_lowercase().matches(&format!("\n{}:", name.to_ascii_lowercase())).count(), 1);
    }
    assert!(header(&request, "Sec-WebSocket-Extensions").is_some_and(|value| value.starts_with("permessage-deflate")));
    let key = header(&request, "Sec-WebSocket-Key").expect("a key");
    assert!(key.len() == 24 && key.ends_with("=="), "{key}");
    // Another connection has another key (RFC 6455, 4.1).
    let mut other = call(Options::default(), &ClientOptions::default());
    let request = other.head(0);
    assert_ne!(header(&request, "Sec-WebSocket-Key"), Some(key));
    assert_eq!(header(&request, "Sec-WebSocket-Extensions"), None);
    assert_eq!(header(&request, "Origin"), None);
}

#[test]
fn messages_are_masked_and_no_mask_comes_twice() {
    let mut talk = usual();
    let ws = talk.ws(0);
    let mut masks = HashSet::new();
    for len in [0, 1, 125, 126, 65_535, 65_536, 1024 * 1024] {
        let payload = noise(len);
        talk.enter(|lp| ws.send(lp, &payload));
        let frame = talk.frame(0);
        assert!(frame.first == BINARY && frame.payload == payload, "{frame:?}");
        masks.insert(frame.mask.expect("a client masks (5.1)"));
    }
    for _ in 0..2_000 {
        talk.enter(|lp| ws.send(lp, "x"));
    }
    talk.enter(|lp| ws.ping(lp, "p"));
    talk.send(0, plain(PING, "q"));
    for number in 0..2_002 {
        let frame = talk.frame(0);
        let want = if number < 2_000 { TEXT } else { [PING, PONG][number - 2_000] };
        assert_eq!(frame.first, want);
        masks.insert(frame.mask.expect("a client masks"));
    }
    // Of 2,009 random numbers of 32 bits two are equal in one run of two thousand, three in fewer than in 10^9.
    assert!(masks.len() >= 2_008, "{} masks", masks.len());
    assert!(!masks.contains(&[0; 4]));
}

#[test]
fn messages_of_the_server_are_delivered_wherever_the_reads_fall() {
    let frames =
        [plain(TEXT, "hola"), plain(PING, "p"), plain(FIRST_BINARY, "a"), plain(LAST, "b"), plain(TEXT, "quiet")];
    let bytes = frames.concat();
    for cut in 0..=bytes.len() {
        let name = format!("cut at {cut}");
        let mut talk = usual();
        talk.send_alone(0, &bytes[..cut]);
        talk.send_alone(0, &bytes[cut..]);
        talk.expect_frame(0, &name, TEXT, "hola");
        talk.expect_frame(0, &name, PONG, "p");
        talk.expect_frame(0, &name, BINARY, "ab");
        talk.expect_story(&name, &["0 text hola", "0 ping p", "0 binary ab", "0 text quiet"]);
    }
}

/// A server may send right behind its answer, so the first frames are in the same read.
#[test]
fn frames_behind_the_answer_are_delivered_after_on_open() {
    let mut first = call(Options::default(), &ClientOptions::default());
    let len = answer(&first.head(0), "").len() + plain(TEXT, "one").len() + plain(TEXT, "two").len();
    for cut in 0..=len {
        let mut talk = call(Options::default(), &ClientOptions::default());
        let request = talk.head(0);
        let bytes = [answer(&request, "").as_bytes(), &plain(TEXT, "one"), &plain(TEXT, "two")].concat();
        talk.send_alone(0, &bytes[..cut]);
        talk.send_alone(0, &bytes[cut..]);
        talk.expect_story(&format!("cut at {cut}"), &["0 open", "0 text one", "0 text two"]);
    }
}

#[test]
fn interim_responses_are_skipped() {
    let mut talk = call(Options::default(), &ClientOptions::default());
    let request = talk.head(0);
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let bytes = [interim.as_bytes(), answer(&request, "").as_bytes(), &plain(TEXT, "hola")].concat();
    for byte in bytes {
        talk.send(0, [byte]);
        talk.turn();
    }
    talk.expect_story("after two", &["0 open", "0 text hola"]);
    // As many as fit in a read.
    let mut talk = call(Options::default(), &ClientOptions::default());
    let request = talk.head(0);
    talk.send(0, "HTTP/1.1 100 Continue\r\n\r\n".repeat(100_000) + &answer(&request, ""));
    talk.expect_story("after very many", &["0 open"]);
}

#[test]
fn a_bad_answer_is_an_error_and_a_close() {
    let options = || ClientOptions { protocols: vec!["a".to_owned()], ..ClientOptions::default() };
    type Row = (&'static str, fn(&str) -> String);
    let table: &[Row] = &[
        ("no HTTP", |_| "hola\r\n\r\n".to_owned()),
        ("no Upgrade", |request| answer(request, "").replace("Upgrade: websocket\r\n", "")),
        ("no Connection", |request| answer(request, "").replace("Connection: Upgrade\r\n", "")),
        ("another key's answer", |request| answer(&request.replace("Key: ", "Key: x"), "")),
        ("no accept key", |request| answer(request, "").replace("Accept", "Refuse")),
        ("two accept keys", |request| answer(request, &format!("Sec-WebSocket-Accept: {ACCEPT}\r\n"))),
        ("a subprotocol that was not offered", |request| answer(request, "Sec-WebSocket-Protocol: b\r\n")),
        ("an extension that was not offered", |request| {
            answer(request, "Sec-WebSocket-Extensions: permessage-deflate\r\n")
        }),
        ("an endless head", |request| answer(request, &format!("x: {}\r\n", "y".repeat(20_000)))),
    ];
    for (name, answer) in table {
        let mut talk = call(Options::default(), &options());
        let request = talk.head(0);
        talk.send(0, answer(&request) + "\u{1}\u{1}");
        talk.expect_story(name, &["- error E_BAD_RESPONSE", "- closed 1006"]);
    }
}

#[test]
fn a_subprotocol_and_compression_are_agreed_on() {
    let client_options = ClientOptions { protocols: vec!["b".to_owned(), "a".to_owned()], ..ClientOptions::default() };
    let options = Options { deflate: Some(DeflateOptions::default()), ..Options::default() };
    let extensions = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n";
    let headers = format!("Sec-WebSocket-Protocol: a\r\n{extensions}");
    let (talk, _) = opened(options, &client_options, &headers);
    assert_eq!(*talk.story.borrow(), ["0 open a compressing"]);
}

#[test]
fn a_refusal_is_reported_with_its_status_and_body() {
    let long = "x".repeat(10_000);
    let head = "HTTP/1.1 404 Not Found\r\n";
    let table: &[(&str, String, String)] = &[
        ("with a length", format!("{head}Content-Length: 8\r\n\r\nnot here"), "- 404 not here".to_owned()),
        ("chunked", format!("{head}Transfer-Encoding: chunked\r\n\r\n3\r\nnot\r\n0\r\n\r\n"), "- 404 not".to_owned()),
        ("without a body", format!("{head}Content-Length: 0\r\n\r\n"), "- 404 ".to_owned()),
        ("a long body", format!("{head}Content-Length: 10000\r\n\r\n{long}"), format!("- 404 {}", &long[..4096])),
        (
            "a redirect",
            "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n".to_owned(),
            "- 302 ".to_owned(),
        ),
        ("200", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned(), "- 200 ok".to_owned()),
    ];
    for (name, answer, want) in table {
        let mut talk = call(Options::default(), &ClientOptions::default());
        talk.head(0);
        for piece in answer.as_bytes().chunks(17) {
            talk.send(0, piece);
            talk.turn();
        }
        talk.expect_story(name, &[want, "- error E_UNEXPECTED_RESPONSE", "- closed 1006"]);
        talk.until("the end", |talk| talk.peers[0].end.is_some());
    }
}

#[test]
fn a_refusal_whose_body_never_ends_is_reported() {
    for is_end in [true, false] {
        let mut talk = call(Options::default(), &ClientOptions::default());
        talk.head(0);
        let until_close = "HTTP/1.1 500 Internal Server Error\r\n\r\noh";
        talk.send_alone(0, until_close);
        talk.settle();
        assert!(talk.story.borrow().is_empty());
        if is_end {
            talk.peers.clear();
        } else {
            talk.clock.advance(Options::default().handshake_timeout);
        }
        talk.expect_story("the end or the time", &["- 500 oh", "- error E_UNEXPECTED_RESPONSE", "- closed 1006"]);
    }
}

#[test]
fn a_server_that_closes_or_says_nothing_is_an_error() {
    for before in ["", "HTTP/1.1 101 Switch"] {
        let mut talk = call(Options::default(), &ClientOptions::default());
        talk.head(0);
        talk.send_alone(0, before);
        talk.peers.clear();
        talk.expect_story("it closes", &["- error E_BAD_RESPONSE", "- closed 1006"]);
        let mut talk = call(Options::default(), &ClientOptions::default());
        talk.head(0);
        talk.send_alone(0, before);
        talk.clock.advance(Options::default().handshake_timeout);
        talk.expect_story("it says nothing", &["- error ETIMEDOUT", "- closed 1006"]);
    }
}

#[test]
fn a_server_that_does_not_listen_is_an_error() {
    let mut talk = Talk::empty();
    let scribe = Scribe { story: talk.story.clone(), connections: talk.connections.clone(), ..Scribe::default() };
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    drop(listener);
    talk.enter(|lp| websocket::connect(lp, &format!("ws://127.0.0.1:{port}/"), scribe)).expect("a good URL");
    talk.expect_story("refused", &["- error ECONNREFUSED", "- closed 1006"]);
}

#[test]
fn bad_urls_and_protocols_are_refused_at_once() {
    let mut talk = Talk::empty();
    for url in
        ["wss://localhost/", "http://localhost/", "ws://", "ws://a:0/", "ws://a:x/", "ws://u@a/", "ws://a/#b", ""]
    {
        let error = talk.enter(|lp| websocket::connect(lp, url, Scribe::default())).expect_err(url);
        assert_eq!(error.code(), "ERR_INVALID_URL", "{url}");
        assert!(!url.starts_with("wss") || error.to_string().contains("TLS"), "{error}");
    }
    let protocols = vec!["a b".to_owned()];
    let error = talk.enter(|lp| {
        let endpoint = Endpoint::new(lp, Options::default(), Scribe::default());
        endpoint.connect(lp, "ws://localhost/", &ClientOptions { protocols, ..ClientOptions::default() })
    });
    assert_eq!(error.expect_err("no token").code(), "ERR_INVALID_URL");
    talk.event_loop.run().expect("nothing keeps the loop running");
}

#[test]
fn the_address_may_differ_from_the_url() {
    let mut talk = Talk::empty();
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let address = Some(("127.0.0.1".to_owned(), port));
    talk.enter(|lp| {
        let endpoint = Endpoint::new(lp, Options::default(), Scribe::default());
        let options = ClientOptions { address, ..ClientOptions::default() };
        endpoint.connect(lp, "ws://chat.example/x", &options).expect("a good URL");
    });
    accept(&mut talk, &listener);
    let request = talk.head(0);
    assert_eq!(header(&request, "Host"), Some("chat.example"));
}

#[test]
fn a_masked_frame_of_a_server_is_a_violation() {
    let mut talk = usual();
    talk.send(0, masked(TEXT, "hola"));
    let frame = talk.frame(0);
    assert_eq!((frame.first, &frame.payload[..2]), (CLOSE, &1002_u16.to_be_bytes()[..]));
    assert!(frame.mask.is_some());
    talk.until("the end", |talk| talk.peers[0].end.is_some());
    talk.peers.clear();
    talk.until("the close", |talk| talk.story.borrow().iter().any(|line| line.starts_with("0 closed 1002 ")));
}

/// RFC 6455, 7.1.1: the server ends the TCP connection.
#[test]
fn a_client_waits_for_the_server_to_end_the_connection() {
    for is_server_first in [true, false] {
        for ends in [true, false] {
            let mut talk = usual();
            let ws = talk.ws(0);
            if is_server_first {
                talk.send(0, plain(CLOSE, close(4000, "server")));
                talk.expect_frame(0, "the answer", CLOSE, close(4000, ""));
            } else {
                talk.enter(|lp| ws.close(lp, CloseCode::NORMAL, "client"));
                talk.expect_frame(0, "the close", CLOSE, close(1000, "client"));
                talk.send(0, plain(CLOSE, close(4000, "server")));
            }
            talk.settle();
            assert_eq!(talk.peers[0].end, None, "it waits");
            assert!(talk.story.borrow().is_empty());
            if ends {
                talk.peers[0].stream.shutdown(std::net::Shutdown::Write).expect("a socket");
            } else {
                talk.clock.advance(CLOSE_TIMEOUT);
            }
            talk.expect_story("the server's code", &["0 closed 4000 server"]);
        }
    }
}

#[test]
fn a_client_that_is_closed_before_it_is_open_is_destroyed() {
    let mut talk = Talk::empty();
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let scribe = Scribe { story: talk.story.clone(), connections: talk.connections.clone(), ..Scribe::default() };
    let ws = talk.enter(|lp| websocket::connect(lp, &format!("ws://127.0.0.1:{port}/"), scribe)).expect("a good URL");
    accept(&mut talk, &listener);
    talk.head(0);
    talk.enter(|lp| {
        assert!(!ws.is_open(lp) && !ws.send(lp, "no") && !ws.ping(lp, "no") && !ws.subscribe(lp, "no"));
        ws.close(lp, CloseCode::NORMAL, "");
    });
    talk.expect_story("closed", &["- closed 1006"]);
    talk.event_loop.run().expect("no timer is left");
}

#[test]
fn a_client_may_connect_again_in_on_close_with_the_same_endpoint() {
    let mut talk = Talk::empty();
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let scribe = Scribe { story: talk.story.clone(), connections: talk.connections.clone(), ..Scribe::default() };
    let url = format!("ws://127.0.0.1:{port}/");
    let endpoint = talk.enter(|lp| {
        let endpoint = Endpoint::new(lp, Options::default(), scribe);
        endpoint.with(lp, |scribe, _| scribe.reconnects = Some((endpoint, url.clone(), 3)));
        endpoint.connect(lp, &url, &ClientOptions::default()).expect("a good URL");
        endpoint
    });
    for round in 0..4 {
        accept(&mut talk, &listener);
        let request = talk.head(round);
        talk.send(round, answer(&request, ""));
        talk.until_told(&format!("{round} open"));
        talk.send(round, plain(TEXT, "hola"));
        talk.expect_frame(round, "it works", TEXT, "hola");
        let ws = talk.ws(round);
        talk.enter(|lp| assert!(ws.subscribe(lp, "news") && endpoint.subscribers(lp, "news") == 1));
        // In order, or not.
        if round % 2 == 0 {
            talk.send(round, plain(CLOSE, close(1000, "")));
        }
        talk.until("the answer", |talk| round % 2 == 1 || parse(talk.peers[round].rest()).is_some());
        talk.peers[round].stream.shutdown(std::net::Shutdown::Both).expect("a socket");
        talk.until_told(&format!("{round} closed {}", if round % 2 == 0 { 1000 } else { 1006 }));
    }
    talk.enter(|lp| {
        endpoint.release(lp);
        // A released endpoint takes no connections.
        assert!(endpoint.connect(lp, &url, &ClientOptions::default()).is_err());
        assert!(endpoint.with(lp, |_, _| ()).is_none());
    });
}

#[test]
fn frames_behind_the_answer_respect_what_on_open_does() {
    type Row = (&'static str, fn(&mut Loop, WebSocket), &'static [&'static str]);
    let table: &[Row] = &[
        ("pause", |lp, ws| ws.pause(lp), &["0 open"]),
        ("close", |lp, ws| ws.close(lp, CloseCode(4000), ""), &["0 open"]),
        ("terminate", |lp, ws| ws.terminate(lp), &["0 open", "0 closed 1006"]),
        ("shout", |lp, ws| ws.socket().upgrade(lp, shouting(), ""), &["0 open"]),
    ];
    for (name, f, story) in table {
        let scribe = Scribe { at_open: Some(*f), ..Scribe::default() };
        let mut talk = call_with(Options::default(), &ClientOptions::default(), scribe);
        let request = talk.head(0);
        talk.send(0, [answer(&request, "").as_bytes(), &plain(TEXT, "hola")].concat());
        talk.expect_story(name, story);
        match *name {
            "pause" => {
                let ws = talk.ws(0);
                talk.enter(|lp| ws.resume(lp));
                talk.expect_frame(0, name, TEXT, "hola");
                talk.expect_story(name, &["0 text hola"]);
            }
            "close" => {
                talk.expect_frame(0, name, CLOSE, close(4000, ""));
                talk.send(0, plain(CLOSE, close(4000, "")));
                talk.peers.clear();
                talk.expect_story(name, &["0 closed 4000"]);
            }
            "terminate" => talk.until("the end", |talk| talk.peers[0].end.is_some()),
            _ => {
                let want = plain(TEXT, "HOLA");
                talk.until("the new protocol", |talk| talk.peers[0].rest().len() >= want.len());
                assert_eq!(talk.peers[0].rest(), want);
            }
        }
    }
}
