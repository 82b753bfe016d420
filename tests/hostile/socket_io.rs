//! Faults in Socket.IO: guessed ids, requests that overlap, bodies and packets that lie, sessions that nobody uses.

use std::thread;

use super::harness::{Harness, faults, scaled};
use super::http::{response, send_all_that_fits};
use super::peer::Peer;
use super::web_peer::{BINARY, CLOSE, TEXT, WebPeer, frame};

faults! {
    ids_that_are_guessed on "chat --http 0" within 4 MiB;
    sessions_that_never_poll on "chat --http 0" within 8 MiB;
    sessions_over_websocket_that_join_nothing on "chat --http 0" within 16 MiB;
    two_polls_at_a_time on "chat --http 0" within 4 MiB;
    two_posts_at_a_time on "chat --http 0" within 4 MiB;
    polls_that_are_cut_off on "chat --http 0" within 8 MiB;
    posts_over_the_limit on "chat --http 0" within 8 MiB;
    payloads_that_are_malformed on "chat --http 0" within 4 MiB;
    twenty_thousand_packets_in_a_post on "chat --http 0" within 8 MiB;
    upgrades_that_race on "chat --http 0" within 8 MiB;
    packets_that_lie on "chat --http 0" within 4 MiB;
    attachments_that_never_come on "chat --http 0" within 24 MiB;
    acknowledgements_that_nobody_waits_for on "chat --http 0" within 4 MiB;
    namespaces_that_do_not_exist on "chat --http 0" within 8 MiB;
    names_of_objects on "chat --http 0" within 4 MiB;
    members_that_never_poll_a_broadcast on "chat --http 0" within 64 MiB;
    frames_that_are_not_read on "chat --http 0" within 8 MiB;
}

/// The path and the parameters that all requests have.
const PATH: &str = "/socket.io/?EIO=4&transport=";

/// The longest body of a POST: six times the longest line, and a bit.
const BODY_LIMIT: usize = 6 * 64 * 1024 + 64;

fn get(harness: &Harness, sid: &str) -> String {
    format!("GET {PATH}polling&sid={sid} HTTP/1.1\r\nHost: {}\r\n\r\n", harness.web())
}

fn post_head(harness: &Harness, sid: &str, framing: &str) -> String {
    format!("POST {PATH}polling&sid={sid} HTTP/1.1\r\nHost: {}\r\n{framing}\r\n\r\n", harness.web())
}

fn post(harness: &Harness, sid: &str, body: &str) -> String {
    post_head(harness, sid, &format!("Content-Length: {}", body.len())) + body
}

/// Sends a request and reads its answer.
fn ask(peer: &mut Peer, request: impl AsRef<[u8]>) -> (u16, String) {
    peer.send(request);
    let (status, body) = response(peer);
    (status, String::from_utf8(body).expect("text"))
}

/// A session that polls. Returns its id.
fn open(harness: &Harness, peer: &mut Peer) -> String {
    let request = format!("GET {PATH}polling HTTP/1.1\r\nHost: {}\r\n\r\n", harness.web());
    let (status, body) = ask(peer, request);
    assert_eq!(status, 200, "{body}");
    body.split('"').nth(3).expect("an id").to_owned()
}

/// A session over WebSocket, in the chat if `joins`.
fn open_websocket(harness: &Harness, joins: bool) -> WebPeer {
    let mut peer = WebPeer::open_at(harness.web(), &format!("{PATH}websocket"));
    assert!(peer.text().starts_with("0{"));
    if joins {
        peer.send_text("40");
        while !peer.text().starts_with("40{") {}
    }
    peer
}

/// Reads frames up to the close frame, and ends the connection.
#[track_caller]
fn assert_closed(mut peer: WebPeer, what: &str) {
    loop {
        match peer.frame() {
            (TEXT | BINARY, _) => {}
            (CLOSE, _) => return,
            other => panic!("{what}: {other:?}"),
        }
    }
}

/// An id cannot be found by trying: each attempt is one answer, and the server is not slower for it.
fn ids_that_are_guessed(harness: &Harness) {
    let mut peer = Peer::connect(harness.web());
    let known = open(harness, &mut peer);
    for number in 0..scaled(10_000) {
        let sid = format!("{}{:04}", &known[..16], number % 10_000);
        if sid != known {
            let (status, body) = ask(&mut peer, get(harness, &sid));
            assert_eq!((status, &*body), (400, r#"{"code":1,"message":"Session ID unknown"}"#));
        }
    }
    assert_eq!(ask(&mut peer, post(harness, &known, "1")).0, 200);
}

/// A session costs its state and no descriptor. It ends without polls.
fn sessions_that_never_poll(harness: &Harness) {
    let mut peer = Peer::connect(harness.web());
    let sids: Vec<String> = (0..scaled(3_000)).map(|_| open(harness, &mut peer)).collect();
    harness.wait_for_healthy_lines(3);
    for sid in sids {
        assert_eq!(ask(&mut peer, post(harness, &sid, "1")), (200, "ok".to_owned()));
    }
}

fn sessions_over_websocket_that_join_nothing(harness: &Harness) {
    let peers: Vec<WebPeer> = (0..scaled(1000)).map(|_| open_websocket(harness, false)).collect();
    harness.wait_for_healthy_lines(3);
    peers.into_iter().for_each(|peer| peer.peer.reset());
}

fn two_polls_at_a_time(harness: &Harness) {
    let (mut one, mut other) = (Peer::connect(harness.web()), Peer::connect(harness.web()));
    for _ in 0..scaled(500) {
        let sid = open(harness, &mut one);
        one.send(get(harness, &sid));
        other.send(get(harness, &sid));
        // One waits and gets the close packet, the other one is refused: which is which depends on their order.
        let mut statuses = [response(&mut one).0, response(&mut other).0];
        statuses.sort();
        assert_eq!(statuses, [200, 400]);
        assert_eq!(ask(&mut one, get(harness, &sid)).0, 400);
    }
}

fn two_posts_at_a_time(harness: &Harness) {
    for _ in 0..scaled(200) {
        let (mut one, mut other) = (Peer::connect(harness.web()), Peer::connect(harness.web()));
        let sid = open(harness, &mut one);
        let request = post(harness, &sid, "42[\"nothing\"]");
        let (first, second) = request.split_at(request.len() - 5);
        one.send(first);
        other.send(&request);
        // The second one is refused, or both have come one after the other.
        let status = response(&mut other).0;
        assert!(matches!(status, 200 | 400), "{status}");
        one.send(second);
        response(&mut one);
    }
}

/// A session whose waiting poll is lost is over.
fn polls_that_are_cut_off(harness: &Harness) {
    let mut control = Peer::connect(harness.web());
    let lost: Vec<(Peer, String)> = (0..scaled(1000))
        .map(|_| {
            let mut peer = Peer::connect(harness.web());
            let sid = open(harness, &mut peer);
            peer.send(get(harness, &sid));
            (peer, sid)
        })
        .collect();
    harness.wait_for_healthy_lines(3);
    let sids: Vec<String> = lost
        .into_iter()
        .map(|(peer, sid)| {
            peer.reset();
            sid
        })
        .collect();
    for sid in sids {
        // Until the server has seen the reset, a second poll ends the session.
        assert_eq!(ask(&mut control, get(harness, &sid)).0, 400);
    }
}

/// By its length, by chunks, by chunks with extensions, and without an end.
fn posts_over_the_limit(harness: &Harness) {
    let body = format!("4{}", "x".repeat(BODY_LIMIT));
    let chunk = |extension: &str| format!("{:x}{extension}\r\n{body}\r\n0\r\n\r\n", body.len());
    // The server itself refuses bodies of more than twice the limit.
    let small = |extension: &str| format!("4{extension}\r\n4xxx\r\n").repeat(BODY_LIMIT / 2 + 1);
    let long_extension = format!("4;{}\r\n4xxx\r\n0\r\n\r\n", "x".repeat(100_000));
    let table = [
        ("a length", format!("Content-Length: {}", body.len()), body.clone(), "413"),
        ("a length alone", format!("Content-Length: {}", body.len()), String::new(), "413"),
        ("a huge length", "Content-Length: 18446744073709551615".to_owned(), String::new(), "413"),
        ("a length that overflows", "Content-Length: 99999999999999999999".to_owned(), String::new(), "413"),
        ("a chunk", "Transfer-Encoding: chunked".to_owned(), chunk(""), "413"),
        ("a chunk with an extension", "Transfer-Encoding: chunked".to_owned(), chunk(";a=b"), "413"),
        ("many small chunks", "Transfer-Encoding: chunked".to_owned(), small(""), "413"),
        ("many extensions", "Transfer-Encoding: chunked".to_owned(), small(";extension=\"of a chunk\""), "400"),
        ("an endless extension", "Transfer-Encoding: chunked".to_owned(), long_extension, "400"),
        ("both framings", "Content-Length: 5\r\nTransfer-Encoding: chunked".to_owned(), String::new(), "400"),
    ];
    for (name, framing, body, status) in table {
        let mut peer = Peer::connect(harness.web());
        let sid = open(harness, &mut peer);
        peer.send(post_head(harness, &sid, &framing));
        send_all_that_fits(&peer, body.as_bytes());
        let received = String::from_utf8_lossy(&peer.read_to_end()).into_owned();
        // A reset may have destroyed the answer: this peer was still sending.
        let is_refused = received.is_empty() || received.starts_with(&format!("HTTP/1.1 {status} "));
        assert!(is_refused, "{name}: {received}");
    }
}

fn payloads_that_are_malformed(harness: &Harness) {
    let long = "x".repeat(10_000);
    for body in ["", "x", "9", "\x1e", "4\x1e\x1e", "b!!!", "2", "7\x1e4", &long] {
        let mut peer = Peer::connect(harness.web());
        let sid = open(harness, &mut peer);
        peer.send(post(harness, &sid, body));
        let (status, _) = response(&mut peer);
        // A ping is a packet, but of the wrong side.
        assert_eq!(status, if body == "2" { 200 } else { 400 }, "{body:?}");
        let mut control = Peer::connect(harness.web());
        assert_eq!(ask(&mut control, get(harness, &sid)).0, 400, "{body:?}");
    }
}

/// They are delivered a thousand at a time, and other clients are served between them.
fn twenty_thousand_packets_in_a_post(harness: &Harness) {
    let mut peer = Peer::connect(harness.web());
    for packet in ["3", "42[\"nothing\"]", "42[\"nothing\",{\"a\":[1,2,3]}]"] {
        let sid = open(harness, &mut peer);
        assert_eq!(ask(&mut peer, post(harness, &sid, "40")).0, 200);
        let count = 20_000.min(BODY_LIMIT / (packet.len() + 1));
        let body = vec![packet; count].join("\x1e");
        assert_eq!(ask(&mut peer, post(harness, &sid, &body)), (200, "ok".to_owned()), "{packet}");
        assert_eq!(ask(&mut peer, post(harness, &sid, "1")).0, 200);
    }
}

fn upgrades_that_race(harness: &Harness) {
    let mut poller = Peer::connect(harness.web());
    for round in 0..scaled(200) {
        let sid = open(harness, &mut poller);
        let target = format!("{PATH}websocket&sid={sid}");
        let open = || WebPeer::open_at(harness.web(), &target);
        let (mut first, second) = (open(), open());
        first.send_text("2probe");
        assert_eq!(first.text(), "3probe");
        assert_closed(second, "a second connection of a session");
        match round % 4 {
            0 => {
                first.send_text("5");
                first.send_text("40");
                // The server knows the upgrade when it answers.
                while !first.text().starts_with("40{") {}
                assert_eq!(ask(&mut poller, get(harness, &sid)).0, 400);
                assert_closed(open(), "a connection behind the upgrade");
                first.peer.reset();
            }
            1 => {
                first.send_text("4too early");
                assert_closed(first, "a message instead of the confirmation");
                assert_eq!(ask(&mut poller, post(harness, &sid, "1")).0, 200);
            }
            2 => {
                first.peer.reset();
                assert_eq!(ask(&mut poller, post(harness, &sid, "1")).0, 200);
            }
            _ => {
                assert_eq!(ask(&mut poller, post(harness, &sid, "1")).0, 200);
                assert_closed(first, "a session that ends during its upgrade");
            }
        }
    }
}

/// A packet that is not what it says closes its session, and no other.
fn packets_that_lie(harness: &Harness) {
    let deep = format!("42[\"message\",{}{}]", "[".repeat(60_000), "]".repeat(60_000));
    let deep_objects = format!("42[\"message\",{}1{}]", "{\"a\":".repeat(10_000), "}".repeat(10_000));
    let packets = [
        "42[\"message\"",
        "42",
        "42[]",
        "42{}",
        "42[\"disconnect\"]",
        "42[null]",
        "42[\"message\",\"\\ud800\\u00zz\"]",
        "4299999999999999999999[\"message\"]",
        "429007199254740992[\"message\"]",
        "42-1[\"message\"]",
        "45[\"message\"]",
        "45-[\"message\"]",
        "450-[\"message\",{\"_placeholder\":true,\"num\":0}]",
        "451-[\"message\",{\"_placeholder\":true,\"num\":1}]",
        "451-[\"message\",{\"_placeholder\":true,\"num\":-1}]",
        "451-[\"message\",{\"_placeholder\":true,\"num\":1e99}]",
        "451-[\"message\",{\"_placeholder\":true}]",
        "4511-[\"message\"]",
        "4599999999999999999999-[\"message\"]",
        "40",
        "44{\"message\":\"no\"}",
        "49",
        "4",
        "7",
        "x",
        &deep,
        &deep_objects,
    ];
    for packet in packets {
        let peer = open_websocket(harness, true);
        peer.send_text(packet);
        let shown = &packet[..packet.len().min(60)];
        assert_closed(peer, shown);
    }
    // Wide is not deep.
    let mut peer = open_websocket(harness, true);
    peer.send_text(&format!("427[\"nothing\",{}1]", "[],".repeat(60_000)));
    peer.send_text("428[\"chat message\",\"hola\"]");
    while !peer.text().starts_with("438[") {}
    peer.peer.reset();
}

/// Only what has come is stored, and of that no more than a message may have.
fn attachments_that_never_come(harness: &Harness) {
    let packet = format!(
        "4510-[\"message\",{}1]",
        (0..10).map(|n| format!("{{\"_placeholder\":true,\"num\":{n}}},")).collect::<String>()
    );
    let waiting: Vec<WebPeer> = (0..scaled(300))
        .map(|_| {
            let peer = open_websocket(harness, true);
            peer.send_text(&packet);
            peer.send(frame(BINARY, &[0; 20_000]));
            peer
        })
        .collect();
    harness.wait_for_healthy_lines(3);
    for (number, peer) in waiting.into_iter().enumerate() {
        match number % 3 {
            0 => peer.peer.reset(),
            1 => {
                peer.send_text("42[\"message\",\"instead\"]");
                assert_closed(peer, "a text instead of an attachment");
            }
            _ => {
                // The attachments together are more than a message may have.
                let part = frame(BINARY, &[0; 60_000]);
                send_all_that_fits(&peer.peer, &part.repeat(9));
                assert_closed(peer, "attachments that are too large");
            }
        }
    }
}

fn acknowledgements_that_nobody_waits_for(harness: &Harness) {
    let mut peer = open_websocket(harness, true);
    for id in ["0", "1", "9007199254740991"] {
        peer.send_text(&format!("43{id}[\"nobody has asked\"]"));
    }
    let acks: Vec<u8> = (0..scaled(20_000)).flat_map(|id| frame(TEXT, format!("43{id}[]").as_bytes())).collect();
    peer.send(acks);
    // An event with the largest number is acknowledged.
    peer.send_text("429007199254740991[\"chat message\",\"hola\"]");
    while !peer.text().starts_with("439007199254740991[") {}
    peer.peer.reset();
}

fn namespaces_that_do_not_exist(harness: &Harness) {
    let mut peer = open_websocket(harness, true);
    let count = scaled(20_000);
    let connects: Vec<u8> = (0..count).flat_map(|n| frame(TEXT, format!("40/namespace-{n},").as_bytes())).collect();
    thread::scope(|scope| {
        let stream = peer.peer.stream().try_clone().expect("a descriptor");
        scope.spawn(move || std::io::Write::write_all(&mut &stream, &connects).expect("the server reads it"));
        let mut refused = 0;
        while refused < count {
            let text = peer.text();
            refused += usize::from(text.starts_with("44/namespace-"));
            assert!(text.starts_with('4'), "{text}");
        }
    });
    // A name that is too long is no name.
    peer.send_text(&format!("40/{},", "x".repeat(10_000)));
    assert_closed(peer, "a name of 10,000 bytes");
}

/// Names that every object of JavaScript has.
fn names_of_objects(harness: &Harness) {
    let mut control = Peer::connect(harness.web());
    for name in ["__proto__", "constructor", "hasOwnProperty", "toString"] {
        assert_eq!(ask(&mut control, get(harness, name)).0, 400, "{name}");
        let request = format!("GET /socket.io/?EIO=4&transport={name} HTTP/1.1\r\nHost: {}\r\n\r\n", harness.web());
        assert_eq!(ask(&mut control, request).0, 400, "{name}");
        let mut peer = open_websocket(harness, true);
        peer.send_text(&format!("40/{name},{{\"__proto__\":{{\"admin\":true}}}}"));
        while !peer.text().starts_with("44/") {}
        peer.send_text(&format!("42[\"{name}\",{{\"__proto__\":{{\"admin\":true}},\"constructor\":null}}]"));
        peer.send_text("427[\"chat message\",\"hola\"]");
        while !peer.text().starts_with("437[") {}
        peer.peer.reset();
    }
}

/// The packets that wait for the polls of a member have a limit. The member is disconnected, and the others get
/// everything.
fn members_that_never_poll_a_broadcast(harness: &Harness) {
    let mut peer = Peer::connect(harness.web());
    let members: Vec<String> = (0..12)
        .map(|_| {
            let sid = open(harness, &mut peer);
            assert_eq!(ask(&mut peer, post(harness, &sid, "40")).0, 200);
            sid
        })
        .collect();
    harness.talk(3 << 20, &[]);
    let mut control = Peer::connect(harness.web());
    for sid in members {
        assert_eq!(ask(&mut control, get(harness, &sid)).0, 400, "it takes any amount");
    }
}

/// The server stops reading from a client that does not read its acknowledgements.
fn frames_that_are_not_read(harness: &Harness) {
    let mut peer = WebPeer::with_small_window_at(harness.web(), &format!("{PATH}websocket"));
    assert!(peer.text().starts_with("0{"));
    peer.send_text("40");
    while !peer.text().starts_with("40{") {}
    let flood = frame(TEXT, b"40/nothing,").repeat(2_000_000);
    let sent = peer.send_until_stuck(&flood);
    assert!(sent < flood.len(), "the server went on reading");
    harness.wait_for_healthy_lines(3);
    peer.peer.reset();
}
