//! Strangers and bad clients: refused by the table, and the watched loop does not notice them.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use bucle::inspect::{self, Options};
use bucle::net::Listen;
use serde_json::json;

use crate::client::{Page, Watched, connect};

/// A request without the cookie.
fn stranger(page: &Page, method: &str, target: &str, headers: &str) -> u16 {
    page.send(&format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n")).status
}

const TARGETS: [(&str, &str); 9] = [
    ("GET", "/"),
    ("GET", "/inspect.js"),
    ("GET", "/state.json"),
    ("GET", "/events"),
    ("GET", "/trace.json?last=1s"),
    ("GET", "/metrics"),
    ("GET", "/nothing"),
    ("POST", "/control"),
    ("DELETE", "/state.json"),
];

#[test]
fn everything_is_refused_without_the_right_host_origin_and_token() {
    let watched = Watched::start();
    let page = &watched.page;
    let (port, host, cookie) = (page.address.port(), page.address, page.cookie());
    let wrong_cookie = format!("Cookie: bucle_inspect_{port}={}\r\n", "0".repeat(32));
    let table = [
        ("another name", format!("Host: evil.example:{port}\r\n{cookie}"), 421),
        ("a rebound name", format!("Host: 127.0.0.1.evil.example:{port}\r\n{cookie}"), 421),
        ("another port", format!("Host: 127.0.0.1:{}\r\n{cookie}", port ^ 1), 421),
        ("no port", format!("Host: 127.0.0.1\r\n{cookie}"), 421),
        ("another address", format!("Host: 127.0.0.2:{port}\r\n{cookie}"), 421),
        ("an address in octal", format!("Host: 0177.0.0.1:{port}\r\n{cookie}"), 421),
        ("a foreign origin", format!("Host: {host}\r\nOrigin: http://evil.example\r\n{cookie}"), 403),
        ("the origin null", format!("Host: {host}\r\nOrigin: null\r\n{cookie}"), 403),
        (
            "two origins",
            format!("Host: {host}\r\nOrigin: http://{host}\r\nOrigin: http://evil.example\r\n{cookie}"),
            403,
        ),
        ("a page on another port", format!("Host: {host}\r\nSec-Fetch-Site: same-site\r\n{cookie}"), 403),
        ("a page of another site", format!("Host: {host}\r\nSec-Fetch-Site: cross-site\r\n{cookie}"), 403),
        ("no token", format!("Host: {host}\r\n"), 401),
        ("a guessed token", format!("Host: {host}\r\n{wrong_cookie}"), 401),
        ("a guessed header", format!("Host: {host}\r\nAuthorization: Bearer 0\r\n"), 401),
    ];
    for (name, headers, want) in &table {
        for (method, target) in TARGETS {
            assert_eq!(stranger(page, method, target, headers), *want, "{name}: {method} {target}");
        }
    }
    let no_host = page.send("GET /state.json HTTP/1.1\r\nConnection: close\r\n\r\n").status;
    assert_eq!(no_host, 400, "HTTP/1.1 wants a host");
    let old = page.send(&format!("GET /state.json HTTP/1.0\r\n{cookie}\r\n")).status;
    assert_eq!(old, 421, "HTTP/1.0 does not, and the inspector does");
    for (target, name, want) in [
        (format!("http://{host}/state.json"), "evil.example".to_owned(), 421),
        ("http://evil.example/state.json".to_owned(), host.to_string(), 421),
        (format!("http://{host}/state.json"), host.to_string(), 200),
    ] {
        assert_eq!(stranger(page, "GET", &target, &format!("Host: {name}\r\n{cookie}")), want, "{target} and {name}");
    }
    let absolute = page.send(&format!("GET http://{host}/state.json HTTP/1.0\r\n{cookie}\r\n")).status;
    assert_eq!(absolute, 421, "a target is no Host");
    let guess = stranger(page, "GET", &format!("/?t={}", "0".repeat(32)), &format!("Host: {host}\r\n"));
    assert_eq!(guess, 401);
    assert_eq!(stranger(page, "GET", "/state.json", &format!("Host: localhost:{port}\r\n{cookie}")), 200);
    assert_eq!(
        stranger(page, "GET", "/state.json", &format!("Host: {host}\r\nOrigin: http://{host}\r\n{cookie}")),
        200
    );
}

#[test]
fn the_printed_url_gives_a_cookie_and_leads_to_the_page() {
    let watched = Watched::start();
    let page = &watched.page;
    let answer =
        page.send(&format!("GET /?t={} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", page.token, page.address));
    assert_eq!(answer.status, 303, "{}", answer.head);
    let head = answer.head.to_ascii_lowercase();
    assert!(head.contains("location: /\r\n"), "{head}");
    let cookie = format!("set-cookie: bucle_inspect_{}={}; ", page.address.port(), page.token);
    assert!(head.contains(&cookie) && head.contains("httponly") && head.contains("samesite=strict"), "{head}");
    let answer = page.get("/");
    let head = answer.head.to_ascii_lowercase();
    assert_eq!(answer.status, 200);
    assert!(head.contains("content-security-policy: default-src 'self'; frame-ancestors 'none'"), "{head}");
    assert!(head.contains("x-content-type-options: nosniff") && !head.contains("access-control"), "{head}");
}

#[test]
fn every_answer_tells_the_browser_how_little_it_may_do() {
    let watched = Watched::start();
    let page = &watched.page;
    let token = format!("/?t={}", page.token);
    let table = [
        ("GET", "/", "", "", 200),
        ("GET", "/inspect.js", "", "", 200),
        ("GET", &*token, "", "", 303),
        ("GET", "/state.json", "", "", 200),
        ("GET", "/metrics", "", "", 200),
        ("GET", "/lessons.json", "", "", 200),
        ("GET", "/state.json", "Origin: http://evil.example\r\n", "", 403),
        ("GET", "/nothing", "", "", 404),
        ("GET", "/trace.json?last=x", "", "", 400),
        ("POST", "/", "", "", 405),
        ("POST", "/state.json", "", "", 405),
        ("POST", "/control", "", "{}", 400),
        ("POST", "/control", "", r#"{"do":"step","unit":"turn"}"#, 409),
        ("POST", "/lesson", "", r#"{"lesson":0,"order":[]}"#, 400),
    ];
    let mut answers: Vec<_> = table
        .iter()
        .map(|(method, target, headers, body, want)| (page.request(method, target, headers, body), *want))
        .collect();
    let refused = |host: &str| page.send(&format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
    answers.extend([(refused("evil.example"), 421), (refused(&page.address.to_string()), 401)]);
    let read_only = Watched::with(Options { read_only: true, ..Options::default() }, |_| {});
    answers.push((read_only.page.control(&json!({ "do": "pause" })), 403));
    let mut viewers: Vec<_> = (0..4).map(|_| page.watch()).collect();
    viewers.iter_mut().for_each(|viewer| drop(viewer.next()));
    answers.push((page.get("/events"), 503));
    for (answer, want) in answers {
        let head = answer.head.to_ascii_lowercase();
        assert_eq!(answer.status, want, "{head}");
        assert!(head.contains("\r\ncontent-security-policy: default-src 'self'; frame-ancestors 'none'"), "{head}");
        assert!(head.contains("\r\nx-content-type-options: nosniff"), "{head}");
    }
}

#[test]
fn methods_that_an_endpoint_does_not_have_are_refused() {
    let watched = Watched::start();
    for (method, target, want) in [
        ("POST", "/state.json", 405),
        ("GET", "/control", 405),
        ("PUT", "/control", 405),
        ("POST", "/", 405),
        ("GET", "/../Cargo.toml", 404),
        ("GET", "/trace.json?last=x", 400),
    ] {
        assert_eq!(watched.page.request(method, target, "", "").status, want, "{method} {target}");
    }
}

#[test]
fn a_giant_command_is_refused() {
    let watched = Watched::start();
    let body = format!("{{\"do\":\"pause\",\"x\":\"{}\"}}", "x".repeat(1024 * 1024));
    let answer = watched.page.request("POST", "/control", "", &body);
    assert!(answer.status == 413 || answer.status == 0, "{answer:?}");
    assert_eq!(watched.page.state()["state"], "running");
}

#[test]
fn an_inspector_that_only_shows_takes_no_command() {
    let watched = Watched::with(Options { read_only: true, ..Options::default() }, |_| {});
    for command in [json!({ "do": "pause" }), json!({ "do": "resume" })] {
        assert_eq!(watched.page.control(&command).status, 403);
    }
    let state = watched.page.state();
    assert_eq!((&state["state"], &state["read_only"]), (&json!("running"), &json!(true)));
}

#[test]
fn an_address_that_other_machines_reach_must_be_allowed() {
    bucle::run(|lp| {
        let address = ([0, 0, 0, 0], 0).into();
        let refused = inspect::start(lp, Options { address, ..Options::default() }).expect_err("not loopback");
        assert_eq!(refused.code(), "ERR_INVALID_ARG_VALUE");
        let allowed = inspect::start(lp, Options { address, allow_remote: true, ..Options::default() })?;
        assert!(allowed.url().starts_with("http://localhost:"), "{}", allowed.url());
        Ok(())
    })
    .expect("it runs");
}

#[test]
fn a_socket_that_was_bound_elsewhere_must_be_tcp_and_not_reachable_for_other_machines() {
    let bind = |address: &str| TcpListener::bind(address).expect("a free port");
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("inspect-{}.sock", std::process::id()));
    bucle::run(|lp| {
        for listen in [Listen::from(bind("0.0.0.0:0")), UnixListener::bind(&path).expect("a free path").into()] {
            let options = Options { listen: Some(listen), ..Options::default() };
            let refused = inspect::start(lp, options).expect_err("it is not for this machine, or not TCP");
            assert_eq!(refused.code(), "ERR_INVALID_ARG_VALUE");
        }
        let bound = bind("127.0.0.1:0");
        let address = bound.local_addr().expect("it is bound");
        let inspector = inspect::start(lp, Options { listen: Some(bound.into()), ..Options::default() })?;
        assert_eq!(inspector.address(), address);
        assert!(inspector.url().starts_with(&format!("http://{address}/?t=")), "{}", inspector.url());
        Ok(())
    })
    .expect("it runs");
    std::fs::remove_file(path).expect("it belongs to the one who has bound it");
}

#[test]
fn clients_without_the_token_keep_nobody_out() {
    let watched = Watched::start();
    let page = &watched.page;
    let refused = |_| {
        let mut stream = connect(page.address);
        stream.write_all(b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n").expect("it is connected");
        stream
    };
    let mut viewer = page.watch();
    let mut kept = page.open();
    for _ in 0..3 {
        let _silent: Vec<_> = (0..40).map(|_| connect(page.address)).collect();
        assert_eq!(page.get("/state.json").status, 200, "they say nothing");
        let _refused: Vec<_> = (0..40).map(refused).collect();
        assert_eq!(page.get("/state.json").status, 200, "they are refused, and do not close");
        viewer.next();
        kept.send("GET", "/state.json", "");
        assert_eq!(kept.answer().status, 200, "who has shown the token stays");
    }
}

#[test]
fn a_refusal_closes_the_connection() {
    let watched = Watched::start();
    for (host, want) in [("evil.example".to_owned(), 421), (watched.page.address.to_string(), 401)] {
        let answer = watched.page.send(&format!("GET /state.json HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(answer.status, want);
        assert!(answer.head.to_ascii_lowercase().contains("connection: close"), "{}", answer.head);
    }
}

#[test]
fn a_fifth_viewer_and_a_seventeenth_connection_are_refused() {
    let watched = Watched::start();
    let mut viewers: Vec<_> = (0..4).map(|_| watched.page.watch()).collect();
    viewers.iter_mut().for_each(|viewer| drop(viewer.next()));
    assert_eq!(watched.page.get("/events").status, 503);
    let mut others: Vec<_> = (0..12).map(|_| watched.page.open()).collect();
    let mut crowd: Vec<_> = (0..80).map(|_| connect(watched.page.address)).collect();
    for stream in &mut crowd {
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("the message of a full server");
        assert!(text.starts_with("HTTP/1.1 503"), "{text}");
    }
    // The watched server answers, and those who have a place go on.
    let mut peer = connect(watched.echo);
    peer.write_all(b"hola").expect("it is connected");
    peer.read_exact(&mut [0; 4]).expect("it is answered");
    viewers.iter_mut().for_each(|viewer| drop(viewer.next()));
    for other in &mut others {
        other.send("GET", "/state.json", "");
        assert_eq!(other.answer().status, 200);
    }
    drop((crowd, viewers.pop()));
    // A place is free when the loop has noticed.
    while watched.page.get("/state.json").status != 200 {}
}

#[test]
fn a_viewer_that_does_not_read_gets_no_queue_and_stops_nobody() {
    let watched = Watched::start();
    let _silent = watched.page.watch();
    let mut reader = watched.page.watch();
    for _ in 0..5 {
        reader.next();
    }
    let before = watched.page.pause();
    for _ in 0..200 {
        watched.page.state();
    }
    assert_eq!(watched.page.state()["callbacks"], before["callbacks"]);
    watched.page.resume();
    let mut peer = connect(watched.echo);
    peer.write_all(b"hola").expect("it is connected");
    peer.read_exact(&mut [0; 4]).expect("it is answered");
}
