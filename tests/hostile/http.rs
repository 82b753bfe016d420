//! Faults in HTTP: requests that are slow, endless, ambiguous or no requests at all, and answers that are not read.

use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use super::harness::{Harness, faults, scaled};
use super::peer::{Peer, reset};
use super::web_peer::{BINARY, WebPeer, frame, request};

faults! {
    heads_that_come_byte_by_byte on "chat --http 0 --handshake-timeout 3s" within 8 MiB;
    upgrades_that_are_half_open on "echo --http 0 --handshake-timeout 3s" within 8 MiB;
    endless_heads on "chat --http 0" within 4 MiB;
    endless_bodies on "chat --http 0" within 4 MiB;
    many_unfinished_bodies on "echo --http 0" within 32 MiB;
    answers_that_are_not_read on "chat --http 0" within 8 MiB;
    many_readers_that_do_not_read on "chat --http 0" within 16 MiB;
    smuggled_requests on "chat --http 0" within 4 MiB;
    bytes_of_another_protocol on "chat --http 0" within 4 MiB;
    a_handshake_cut_at_every_byte on "echo --http 0" within 8 MiB;
    resets_at_every_byte_of_a_handshake on "chat --http 0" within 8 MiB;
    thousands_of_requests_on_connections_of_their_own on "chat --http 0" within 8 MiB;
}

/// The longest head, and the longest body (`bucle::http::Options`).
const HEAD_LIMIT: usize = 16 * 1024;
const BODY_LIMIT: usize = 1024 * 1024;

/// A request that every server here answers with an error, and that does not close the connection.
fn wrong_request(to: SocketAddr) -> String {
    format!("GET /nothing HTTP/1.1\r\nHost: {to}\r\n\r\n")
}

/// Reads a response. Returns its status and its body.
pub fn response(peer: &mut Peer) -> (u16, Vec<u8>) {
    let status = peer.line();
    let text = String::from_utf8_lossy(&status).into_owned();
    let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest[..3].parse().ok());
    let mut len = 0;
    loop {
        let line = String::from_utf8(peer.line()).expect("headers are text");
        match line.to_ascii_lowercase().strip_prefix("content-length: ") {
            Some(value) => len = value.parse().expect("a number"),
            None if line.is_empty() => break,
            None => {}
        }
    }
    (status.unwrap_or_else(|| panic!("{text:?} is no status line")), peer.bytes(len))
}

/// Sends as much as the server takes before it closes. How much that is depends on the kernels.
pub fn send_all_that_fits(peer: &Peer, bytes: &[u8]) {
    match peer.stream().write_all(bytes) {
        Ok(()) => {}
        Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {}
        Err(error) => panic!("{error}"),
    }
}

/// Reads everything. The last response must have this status, and the server must have closed behind it.
fn assert_refused(peer: &mut Peer, status: &str, what: &str) {
    let received = String::from_utf8_lossy(&peer.read_to_end()).into_owned();
    // A reset may have destroyed the answer: this peer was still sending.
    if !received.is_empty() {
        assert!(received.starts_with(&format!("HTTP/1.1 {status}")), "{what}: {received}");
        assert_eq!(received.matches("HTTP/1.1 ").count(), 1, "{what}: {received}");
    }
}

/// Slowloris: many connections, each with one byte now and then. None is ever complete.
fn heads_that_come_byte_by_byte(harness: &Harness) {
    let head = wrong_request(harness.web());
    let mut slow: Vec<Peer> = (0..scaled(1_000)).map(|_| Peer::connect(harness.web())).collect();
    for byte in head.as_bytes()[..20].chunks(1) {
        slow.iter().for_each(|peer| peer.send(byte));
        thread::sleep(Duration::from_millis(20));
    }
    harness.wait_for_healthy_lines(10);
    // One that becomes complete is served.
    let last = slow.last_mut().expect("there are some");
    last.send(&head.as_bytes()[20..]);
    assert!(response(last).0 >= 400);
    slow.pop();
    for mut peer in slow {
        assert_refused(&mut peer, "408", "an unfinished head");
    }
}

/// Requests for WebSockets that are never complete; that are complete and have a FIN behind them; and whose client
/// does not read the answer.
fn upgrades_that_are_half_open(harness: &Harness) {
    let many = scaled(300);
    let unfinished: Vec<Peer> = (0..many).map(|_| Peer::connect(harness.web())).collect();
    let ended: Vec<Peer> = (0..many).map(|_| Peer::connect(harness.web())).collect();
    let unread: Vec<Peer> = (0..many).map(|_| Peer::connect(harness.web())).collect();
    let request = request(harness.web());
    unfinished.iter().for_each(|peer| peer.send(&request));
    for peer in ended.iter().chain(&unread) {
        peer.send(format!("{request}\r\n"));
    }
    ended.iter().for_each(Peer::send_fin);
    harness.wait_for_healthy_lines(10);
    for mut peer in ended {
        let received = peer.read_to_end();
        assert!(received.starts_with(b"HTTP/1.1 101 "), "{:?}", String::from_utf8_lossy(&received));
    }
    unread.into_iter().for_each(Peer::reset);
    for mut peer in unfinished {
        assert_refused(&mut peer, "408", "an unfinished request");
    }
}

/// Every part of a head that may go on without end.
fn endless_heads(harness: &Harness) {
    let to = harness.web();
    let start = format!("GET / HTTP/1.1\r\nHost: {to}\r\n");
    let table: &[(&str, String, &[u8], &str)] = &[
        ("a field", format!("{start}X: "), b"x", "431"),
        ("fields", start.clone(), b"A: b\r\n", "431"),
        ("the name of a field", start.clone(), b"x", "431"),
        ("the target", "GET /".to_owned(), b"x", "4"),
        ("the method", String::new(), b"G", "501"),
        ("empty lines", String::new(), b"\r\n", "4"),
        ("blanks", String::new(), b" ", "4"),
    ];
    for (what, start, more, status) in table {
        let mut peer = Peer::connect(to);
        peer.send(start);
        send_all_that_fits(&peer, &more.repeat(4 * 1024 * 1024 / more.len()));
        assert_refused(&mut peer, status, what);
        // Exactly so much that the limit is reached, so that no reset can destroy the answer.
        let mut peer = Peer::connect(to);
        peer.send(start);
        peer.send(more.repeat((HEAD_LIMIT + 1 - start.len()).div_ceil(more.len())));
        let received = peer.read_to_end();
        assert!(received.starts_with(format!("HTTP/1.1 {status}").as_bytes()), "{what}: {received:?}");
    }
}

/// A length that is too large is refused before a byte of the body, and a chunked body when it is too large.
fn endless_bodies(harness: &Harness) {
    let to = harness.web();
    for length in [BODY_LIMIT as u64 + 1, 1 << 32, 1 << 63, u64::MAX] {
        let mut peer = Peer::connect(to);
        peer.send(format!("POST / HTTP/1.1\r\nHost: {to}\r\nContent-Length: {length}\r\n\r\n"));
        assert_eq!(response(&mut peer).0, 413, "{length}");
        peer.read_to_end();
    }
    let head = format!("POST / HTTP/1.1\r\nHost: {to}\r\nTransfer-Encoding: chunked\r\n\r\n");
    let table: &[(&str, Vec<u8>, &str)] = &[
        ("chunks", [b"10000\r\n", &[b'x'; 0x10000][..], b"\r\n"].concat(), "413"),
        ("tiny chunks", b"1\r\nx\r\n".to_vec(), "413"),
        ("the extension of a chunk", b"1;xxxxxxxxxxxxxxx".to_vec(), "4"),
        ("trailers", b"0\r\nA: b\r\n".to_vec(), "4"),
    ];
    for (what, more, status) in table {
        let mut peer = Peer::connect(to);
        peer.send(&head);
        let count = 16 * BODY_LIMIT / more.len();
        let bytes = if *what == "trailers" {
            [b"0\r\n".to_vec(), b"A: b\r\n".repeat(count)].concat()
        } else if *what == "the extension of a chunk" {
            [b"1;".to_vec(), vec![b'x'; 16 * BODY_LIMIT]].concat()
        } else {
            more.repeat(count)
        };
        send_all_that_fits(&peer, &bytes);
        assert_refused(&mut peer, status, what);
    }
}

/// A body costs the bytes that have arrived, as long as its connection is open.
fn many_unfinished_bodies(harness: &Harness) {
    let to = harness.web();
    let head = format!("POST / HTTP/1.1\r\nHost: {to}\r\nContent-Length: {BODY_LIMIT}\r\n\r\n");
    let peers: Vec<Peer> = (0..scaled(300)).map(|_| Peer::connect(to)).collect();
    peers.iter().for_each(|peer| peer.send(&head));
    for peer in &peers[..peers.len() / 10] {
        peer.send(vec![b'x'; BODY_LIMIT - 1]);
    }
    harness.wait_for_healthy_lines(20);
    peers.into_iter().for_each(Peer::reset);
}

/// Requests are not received while the answers before them are not read. Nothing is lost.
fn answers_that_are_not_read(harness: &Harness) {
    let request = wrong_request(harness.web());
    let mut peer = Peer::with_small_window(harness.web());
    let requests = request.repeat(24 * 1024 * 1024 / request.len());
    let sent = peer.send_until_stuck(requests.as_bytes(), Duration::from_millis(500));
    assert!(sent < requests.len(), "the server went on reading");
    peer.open_window();
    let whole = sent.div_ceil(request.len());
    thread::scope(|scope| {
        let stream = peer.stream().try_clone().expect("a descriptor");
        let rest = &requests.as_bytes()[sent..whole * request.len()];
        scope.spawn(move || (&stream).write_all(rest).expect("the server reads it later"));
        for _ in 0..whole {
            assert!(response(&mut peer).0 >= 400);
        }
    });
}

/// Each has asked for many answers.
fn many_readers_that_do_not_read(harness: &Harness) {
    let requests = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", harness.web()).repeat(1_000);
    let peers: Vec<Peer> = (0..scaled(200)).map(|_| Peer::with_small_window(harness.web())).collect();
    for peer in &peers {
        peer.send_until_stuck(requests.as_bytes(), Duration::from_millis(5));
    }
    harness.wait_for_healthy_lines(20);
    peers.into_iter().for_each(Peer::reset);
}

/// A proxy in front of the server may read these requests in another way, and take the second request for a part of
/// the first. So the first is refused, and the second must not be reached (RFC 9112, 11.2).
fn smuggled_requests(harness: &Harness) {
    let to = harness.web();
    let second = format!("GET /second HTTP/1.1\r\nHost: {to}\r\n\r\n");
    let post = |fields: &str, body: &str| format!("POST /first HTTP/1.1\r\nHost: {to}\r\n{fields}\r\n{body}");
    let len = second.len();
    let table: &[(&str, String)] = &[
        ("a length and chunks", post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")),
        ("chunks and a length", post(&format!("Transfer-Encoding: chunked\r\nContent-Length: {len}\r\n"), "0\r\n\r\n")),
        ("two lengths", post(&format!("Content-Length: 0\r\nContent-Length: {len}\r\n"), "")),
        ("a list of lengths", post(&format!("Content-Length: 0, {len}\r\n"), "")),
        ("a length with a sign", post("Content-Length: +0\r\n", "")),
        ("a negative length", post("Content-Length: -1\r\n", "")),
        ("a hexadecimal length", post("Content-Length: 0x0\r\n", "")),
        ("an empty length", post("Content-Length: \r\n", "")),
        ("another coding", post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n")),
        ("chunked twice", post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n")),
        ("chunked is not the last coding", post("Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n")),
        ("a blank before the colon", post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n")),
        ("a folded field", post("X: y\r\n Transfer-Encoding: chunked\r\n", "0\r\n\r\n")),
        ("a bare CR in a field", post("X: y\rContent-Length: 9\r\n", "")),
        ("a bare LF in a field", post("X: y\nContent-Length: 9\r\n", "")),
        ("a nul in a field", post("X: \0\r\n", "")),
        ("two hosts", post("Host: evil\r\n", "")),
        ("a chunk size with a prefix", post("Transfer-Encoding: chunked\r\n", "0x0\r\n\r\n")),
        ("a chunk size with a sign", post("Transfer-Encoding: chunked\r\n", "+0\r\n\r\n")),
        ("a chunk size that overflows", post("Transfer-Encoding: chunked\r\n", "10000000000000000\r\n\r\n")),
        ("a bare LF behind a chunk size", post("Transfer-Encoding: chunked\r\n", "0\n\r\n")),
        ("a chunk that is longer than its size", post("Transfer-Encoding: chunked\r\n", "1\r\nxx\r\n0\r\n\r\n")),
        ("chunks in HTTP/1.0", post("Transfer-Encoding: chunked\r\n", "0\r\n\r\n").replace("HTTP/1.1", "HTTP/1.0")),
        ("another version", post("", "").replace("HTTP/1.1", "HTTP/2.0")),
        ("no version", "GET /first\r\n\r\n".to_owned()),
    ];
    for (name, first) in table {
        let mut peer = Peer::connect(to);
        peer.send(format!("{first}{second}"));
        peer.send_fin();
        let received = String::from_utf8_lossy(&peer.read_to_end()).into_owned();
        let status: u16 = received.strip_prefix("HTTP/1.1 ").and_then(|rest| rest[..3].parse().ok()).unwrap_or(0);
        assert!([400, 413, 431, 501, 505].contains(&status), "{name}: {received}");
        assert_eq!(received.matches("HTTP/1.1 ").count(), 1, "{name}: the second request was reached: {received}");
        assert!(received.to_ascii_lowercase().contains("\r\nconnection: close\r\n"), "{name}: {received}");
    }
    // A request behind an upgrade is no request: it belongs to the new protocol, and is no correct frame there.
    let mut peer = Peer::connect(to);
    peer.send(format!("{}\r\n{second}", request(to)));
    let received = peer.read_to_end();
    let received = String::from_utf8_lossy(&received);
    assert_eq!(received.matches("HTTP/1.1 ").count(), 1, "{received}");
    assert!(received.starts_with("HTTP/1.1 101 "), "{received}");
}

/// TLS, telnet, SSH, HTTP/2 and noise on the HTTP port, and HTTP, TLS and frames on the other port.
fn bytes_of_another_protocol(harness: &Harness) {
    let noise = (0..4096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8);
    // A chat shows tabs as they are.
    let noise: Vec<u8> = noise.filter(|byte| *byte != b'\t').collect();
    let tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 the rest of a ClientHello";
    let table: &[(&str, &[u8])] = &[
        ("a TLS hello", tls),
        ("telnet options", b"\xff\xfd\x01\xff\xfb\x1f\xff\xfa\x18\x00xterm\xff\xf0"),
        ("a telnet line", b"hola a todos\r\n"),
        ("SSH", b"SSH-2.0-OpenSSH_9.7\r\n"),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("a frame", &frame(BINARY, b"hola")),
        ("nul", &[0; 100]),
        ("noise", &noise),
    ];
    for (name, bytes) in table {
        let mut peer = Peer::connect(harness.web());
        peer.send(bytes);
        let received = String::from_utf8_lossy(&peer.read_to_end()).into_owned();
        // After the answer the server still reads what this peer has sent, so no reset can destroy it.
        assert!(received.starts_with("HTTP/1.1 400") || received.starts_with("HTTP/1.1 505"), "{name}: {received}");
    }
    for bytes in [request(harness.web()).as_bytes(), tls, &frame(BINARY, b"hola"), &noise] {
        let mut peer = harness.peer();
        peer.send(bytes);
        peer.send("\n\n");
        peer.send_and_wait("it was no request");
    }
}

/// The first frame comes behind the request. Wherever the bytes are cut into two packets, the same must come back.
fn a_handshake_cut_at_every_byte(harness: &Harness) {
    let mut bytes = format!("{}\r\n", request(harness.web())).into_bytes();
    bytes.extend_from_slice(&frame(0x81, b"hola"));
    bytes.extend_from_slice(&super::web_peer::close(1000));
    let peers: Vec<Peer> = (1..bytes.len()).map(|_| Peer::connect(harness.web())).collect();
    for (peer, cut) in peers.iter().zip(1..) {
        peer.send(&bytes[..cut]);
    }
    // When another connection is open, the server has read the first parts.
    WebPeer::open(harness.web()).peer.reset();
    for (mut peer, cut) in peers.into_iter().zip(1..) {
        peer.send(&bytes[cut..]);
        let received = String::from_utf8_lossy(&peer.read_to_end()).into_owned();
        assert!(received.starts_with("HTTP/1.1 101 "), "cut at {cut}: {received:?}");
        if !harness.is_chat() {
            assert!(
                received.ends_with("\r\n\r\n\u{fffd}\u{4}hola\u{fffd}\u{2}\u{3}\u{fffd}"),
                "cut at {cut}: {received:?}"
            );
        }
    }
}

fn resets_at_every_byte_of_a_handshake(harness: &Harness) {
    let mut bytes = format!("{}\r\n", request(harness.web())).into_bytes();
    bytes.extend_from_slice(&frame(0x81, b"never"));
    let end = bytes.len() - 1;
    for cut in 1..end {
        let peer = Peer::connect(harness.web());
        peer.send(&bytes[..cut]);
        if cut % 2 == 0 { peer.reset() } else { drop(peer) }
    }
}

fn thousands_of_requests_on_connections_of_their_own(harness: &Harness) {
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", harness.web());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for at in 0..scaled(6_000) / 4 {
                    let mut peer = Peer::connect(harness.web());
                    peer.send(&request);
                    match at % 4 {
                        0 => reset(peer.stream().try_clone().expect("a descriptor")),
                        1 => peer.send_fin(),
                        2 => drop(response(&mut peer)),
                        _ => {}
                    }
                }
            });
        }
    });
}
