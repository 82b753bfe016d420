//! Faults in WebSockets: frames that are endless, tiny, wrong or never complete, echoes and broadcasts that are not
//! read, and connections that vanish.

use std::io::Write;
use std::net::SocketAddr;
use std::thread;

use super::harness::{Harness, faults, scaled};
use super::healthy::HealthyClient;
use super::peer::{Peer, without_nick};
use super::server::Server;
use super::web_peer::{BEGIN, BINARY, CLOSE, LAST, MIDDLE, PING, PONG, TEXT, WebPeer, close, frame, header, request};

faults! {
    echoes_that_are_not_read on "echo --http 0" within 8 MiB;
    pings_whose_pongs_are_not_read on "echo --http 0" within 8 MiB;
    a_storm_of_pings on "echo --http 0" within 4 MiB;
    a_storm_of_pongs on "chat --http 0" within 4 MiB;
    a_message_of_tiny_fragments on "echo --http 0" within 8 MiB;
    many_empty_fragments on "echo --http 0" within 4 MiB;
    fragments_without_end on "echo --http 0" within 4 MiB;
    lengths_that_are_only_claimed on "echo --http 0" within 4 MiB;
    a_message_byte_by_byte on "echo --http 0" within 4 MiB;
    frames_that_break_a_rule on "echo --http 0" within 4 MiB;
    frames_behind_a_close on "echo --http 0" within 4 MiB;
    resets_in_the_middle_of_a_message on "echo --http 0" within 64 MiB;
    a_thousand_connections_that_vanish on "chat --http 0" within 8 MiB;
    members_that_do_not_read_a_broadcast on "chat --http 0" within 96 MiB;
    members_that_leave_in_a_broadcast on "chat --http 0" within 80 MiB;
    messages_that_are_no_lines on "chat --http 0" within 4 MiB;
}

/// The longest message of an echo and of a chat.
const MESSAGE_LIMIT: usize = 1024 * 1024;
const LINE_LIMIT: usize = 64 * 1024;

fn message_limit(harness: &Harness) -> usize {
    if harness.is_chat() { LINE_LIMIT } else { MESSAGE_LIMIT }
}

/// Sends on another thread, because the server may not read everything before the peer reads.
fn sending<T>(peer: &mut WebPeer, bytes: &[u8], read: impl FnOnce(&mut WebPeer) -> T) -> T {
    thread::scope(|scope| {
        let stream = peer.peer.stream().try_clone().expect("a descriptor");
        scope.spawn(move || (&stream).write_all(bytes).expect("the server reads it later"));
        read(peer)
    })
}

/// The server stops reading from a peer that does not read. When it reads, nothing is lost.
fn echoes_that_are_not_read(harness: &Harness) {
    let mut peer = WebPeer::with_small_window(harness.web());
    let payload = "unread.".repeat(1000);
    let message = frame(TEXT, payload.as_bytes());
    let messages = message.repeat(4 * 1024);
    let sent = peer.send_until_stuck(&messages);
    assert!(sent < messages.len(), "the server went on reading");
    peer.peer.open_window();
    let whole = sent.div_ceil(message.len());
    sending(&mut peer, &messages[sent..whole * message.len()], |peer| {
        (0..whole).for_each(|_| assert!(peer.text() == payload, "the echo is another one"));
    });
    // Many of them, which are then reset.
    let peers: Vec<WebPeer> = (0..scaled(100)).map(|_| WebPeer::with_small_window(harness.web())).collect();
    for peer in &peers {
        peer.peer.send_until_stuck(&message.repeat(20), std::time::Duration::from_millis(5));
    }
    harness.wait_for_healthy_lines(10);
    peers.into_iter().for_each(|peer| peer.peer.reset());
}

/// The pongs would wait in the server.
fn pings_whose_pongs_are_not_read(harness: &Harness) {
    let pings = frame(PING, &[b'?'; 125]).repeat(128 * 1024);
    let peer = WebPeer::with_small_window(harness.web());
    let sent = peer.send_until_stuck(&pings);
    assert!(sent < pings.len(), "the server went on reading");
    peer.peer.reset();
}

/// A peer that reads gets every pong, in order.
fn a_storm_of_pings(harness: &Harness) {
    let count = scaled(300_000);
    let pings: Vec<u8> = (0..count).flat_map(|at| frame(PING, &(at as u32).to_be_bytes())).collect();
    let mut peer = WebPeer::open(harness.web());
    sending(&mut peer, &pings, |peer| {
        for at in 0..count {
            assert_eq!(peer.frame(), (PONG, (at as u32).to_be_bytes().to_vec()));
        }
    });
}

fn a_storm_of_pongs(harness: &Harness) {
    let mut peer = WebPeer::open(harness.web());
    let pongs = frame(PONG, b"nobody has asked").repeat(scaled(1_000_000));
    let last = [pongs, frame(TEXT, b"that was all")].concat();
    sending(&mut peer, &last, |peer| peer.wait_for_text("that was all"));
}

/// A fragment costs its byte. The message comes back whole.
fn a_message_of_tiny_fragments(harness: &Harness) {
    let count = scaled(600_000);
    let mut bytes = frame(BEGIN, b"0");
    bytes.extend_from_slice(&frame(MIDDLE, b"1").repeat(count));
    bytes.extend_from_slice(&frame(LAST, b"2"));
    let mut peer = WebPeer::open(harness.web());
    let (first, message) = sending(&mut peer, &bytes, WebPeer::frame);
    assert_eq!((first, message.len()), (BINARY, count + 2));
}

/// With a ping between two of them.
fn many_empty_fragments(harness: &Harness) {
    let empty = frame(MIDDLE, b"").repeat(65_536);
    let bytes = [frame(BEGIN, b""), empty.clone(), frame(PING, b"?"), empty, frame(LAST, b"end")].concat();
    let mut peer = WebPeer::open(harness.web());
    sending(&mut peer, &bytes, |peer| {
        assert_eq!(peer.frame(), (PONG, b"?".to_vec()));
        assert_eq!(peer.frame(), (BINARY, b"end".to_vec()));
    });
}

/// The limit of a message holds for all of its fragments together.
fn fragments_without_end(harness: &Harness) {
    for part in [1000, 60_000] {
        let peer = WebPeer::open(harness.web());
        let middle = frame(MIDDLE, &vec![b'x'; part]);
        let fits = (message_limit(harness) / part).saturating_sub(1);
        peer.send([frame(BEGIN, b"x"), middle.repeat(fits), header(MIDDLE, message_limit(harness) as u64)].concat());
        assert_eq!(peer.close_code(), 1009, "{part}");
    }
    // Empty ones cost nothing, also without end.
    let peer = WebPeer::open(harness.web());
    peer.send([frame(BEGIN, b""), frame(MIDDLE, b"").repeat(scaled(1_000_000))].concat());
    harness.wait_for_healthy_lines(3);
    peer.peer.reset();
}

/// Nothing is allocated for bytes that have not arrived. A length over the limit is refused with its header.
fn lengths_that_are_only_claimed(harness: &Harness) {
    let limit = message_limit(harness) as u64;
    let table: &[(&str, u64, u16)] = &[
        ("one byte more than the limit", limit + 1, 1009),
        ("4 GiB", 1 << 32, 1009),
        ("one byte less than 4 GiB", u32::MAX.into(), 1009),
        ("the largest legal length", (1 << 63) - 1, 1009),
        ("the highest bit", 1 << 63, 1002),
        ("all bits", u64::MAX, 1002),
    ];
    for (name, len, code) in table {
        for first in [TEXT, BINARY, BEGIN] {
            let peer = WebPeer::open(harness.web());
            peer.send(header(first, *len));
            assert_eq!(peer.close_code(), *code, "{name}");
        }
    }
    let claims: Vec<WebPeer> = (0..scaled(500)).map(|_| WebPeer::open(harness.web())).collect();
    for peer in &claims {
        peer.send([header(BINARY, limit), b"x".to_vec()].concat());
    }
    harness.wait_for_healthy_lines(10);
    claims.into_iter().for_each(|peer| peer.peer.reset());
}

fn a_message_byte_by_byte(harness: &Harness) {
    let mut peer = WebPeer::open(harness.web());
    for at in 0..20 {
        let text = format!("letra por letra, ñ, €, {at}");
        for byte in frame(TEXT, text.as_bytes()) {
            peer.send([byte]);
        }
        peer.wait_for_text(&text);
    }
}

/// Each gets a close frame with its code, and then the FIN.
fn frames_that_break_a_rule(harness: &Harness) {
    let table: &[(&str, Vec<u8>, u16)] = &[
        ("no mask", b"\x81\x04hola".to_vec(), 1002),
        ("no mask on a ping", b"\x89\x00".to_vec(), 1002),
        ("RSV1", frame(TEXT | 0x40, b"hola"), 1002),
        ("RSV2", frame(TEXT | 0x20, b"hola"), 1002),
        ("RSV3 on a ping", frame(PING | 0x10, b""), 1002),
        ("opcode 3", frame(0x83, b""), 1002),
        ("opcode 11", frame(0x8b, b""), 1002),
        ("a ping in fragments", frame(PING & 0x7f, b""), 1002),
        ("a ping of 126 bytes", frame(PING, &[0; 126]), 1002),
        ("a continuation of nothing", frame(LAST, b"hola"), 1002),
        ("a new message in a message", [frame(BEGIN, b"a"), frame(TEXT, b"b")].concat(), 1002),
        ("a length that is longer than it needs to be", b"\x81\xfe\x00\x7d\0\0\0\0".to_vec(), 1002),
        ("text that is no UTF-8", frame(TEXT, b"\xc0\xaf"), 1007),
        ("text with a surrogate", frame(TEXT, b"\xed\xa0\x80"), 1007),
        ("text that ends in a character", frame(TEXT, b"\xe2\x82"), 1007),
        ("a close with half a code", frame(CLOSE, b"\x03"), 1002),
        ("a close with a code that is not sent", close(1005), 1002),
        ("a close with a code that does not exist", close(2999), 1002),
        ("a close whose reason is no UTF-8", frame(CLOSE, b"\x03\xe8\xff"), 1007),
    ];
    for _ in 0..scaled(30) {
        for (name, bytes, code) in table {
            let peer = WebPeer::open(harness.web());
            peer.send(bytes);
            // The peer goes on: nothing of this is received.
            peer.send(frame(TEXT, b"never"));
            assert_eq!(peer.close_code(), *code, "{name}");
        }
    }
}

/// A close frame is answered with its code, once. What comes behind it is not received.
fn frames_behind_a_close(harness: &Harness) {
    for _ in 0..scaled(100) {
        let peer = WebPeer::open(harness.web());
        peer.send([close(3333), frame(TEXT, b"never"), frame(PING, b"?"), close(1000), b"garbage".to_vec()].concat());
        assert_eq!(peer.close_code(), 3333);
    }
    // Peers that never close, and go on sending.
    let peers: Vec<WebPeer> = (0..scaled(50)).map(|_| WebPeer::open(harness.web())).collect();
    for peer in &peers {
        peer.send([close(1000), frame(TEXT, b"never").repeat(1000)].concat());
    }
    peers.into_iter().for_each(|peer| assert_eq!(peer.close_code(), 1000));
}

/// At every length of the first bytes, and with half of a long message.
fn resets_in_the_middle_of_a_message(harness: &Harness) {
    let message = frame(BINARY, &[7; 300]);
    for cut in 1..20 {
        let peer = WebPeer::open(harness.web());
        peer.send(&message[..cut]);
        if cut % 2 == 0 { peer.peer.reset() } else { drop(peer) }
    }
    let half = [header(BINARY, message_limit(harness) as u64), vec![7; message_limit(harness) / 2]].concat();
    let peers: Vec<WebPeer> = (0..scaled(100)).map(|_| WebPeer::open(harness.web())).collect();
    peers.iter().for_each(|peer| peer.send(&half));
    harness.wait_for_healthy_lines(3);
    peers.into_iter().for_each(|peer| peer.peer.reset());
}

/// They are all open, and then all gone, in four ways.
fn a_thousand_connections_that_vanish(harness: &Harness) {
    for _ in 0..2 {
        // A chat notifies every member of each new one.
        let peers: Vec<WebPeer> =
            (0..scaled(if harness.is_chat() { 400 } else { 2_000 })).map(|_| WebPeer::open(harness.web())).collect();
        for (at, peer) in peers.into_iter().enumerate() {
            match at % 4 {
                0 => peer.peer.reset(),
                1 => peer.peer.send_fin(),
                2 => peer.send(close(1001)),
                _ => drop(peer),
            }
        }
    }
}

/// A member over the limit of waiting bytes is disconnected; all others get every line, by telnet and by WebSocket.
fn members_that_do_not_read_a_broadcast(harness: &Harness) {
    let stuck: Vec<WebPeer> = (0..scaled(100)).map(|_| WebPeer::with_small_window(harness.web())).collect();
    let stuck_by_telnet: Vec<Peer> = (0..scaled(20)).map(|_| harness.stuck_member()).collect();
    let talk = scaled(16 * 1024 * 1024);
    harness.talk(talk, &[]);
    for mut peer in stuck {
        assert!(peer.peer.read_to_end().len() < talk, "a stuck member got everything");
    }
    drop(stuck_by_telnet);
}

/// Half of the members leave while each line goes to all of them.
fn members_that_leave_in_a_broadcast(harness: &Harness) {
    for _ in 0..2 {
        let members: Vec<WebPeer> = (0..100).map(|_| WebPeer::open(harness.web())).collect();
        thread::scope(|scope| {
            scope.spawn(|| harness.talk(scaled(1024 * 1024), &[]));
            for (at, member) in members.into_iter().enumerate() {
                match at % 4 {
                    0 => member.peer.reset(),
                    1 => member.peer.send_fin(),
                    2 => member.send(close(1000)),
                    _ => drop(member),
                }
            }
        });
    }
}

/// One message is one line for telnet members, whatever is in it; and bytes are refused.
fn messages_that_are_no_lines(harness: &Harness) {
    let mut listener = harness.member();
    let mut peer = WebPeer::open(harness.web());
    let table = [
        ("a\r\nguest1: b", "a␍␊guest1: b"),
        ("a\nb", "a␊b"),
        ("the end\r", "the end␍"),
        ("\u{1b}[2J", "␛[2J"),
        ("a nul \0", "a nul ␀"),
        ("a 255 \u{ff}", "a 255 ÿ"),
    ];
    for (text, want) in table {
        peer.send_text(&format!("it is {text}."));
        let received = loop {
            let line = listener.line();
            if without_nick(&line).starts_with(b"it is ") {
                break line;
            }
        };
        assert_eq!(String::from_utf8_lossy(without_nick(&received)), format!("it is {want}."));
    }
    peer.wait_for_text("it is a 255 ÿ.");
    let bytes = WebPeer::open(harness.web());
    bytes.send(frame(BINARY, b"hola"));
    assert_eq!(bytes.close_code(), 1003);
    let long = WebPeer::open(harness.web());
    long.send(header(TEXT, LINE_LIMIT as u64 + 1));
    assert_eq!(long.close_code(), 1009);
}

/// Peers in every state in which a connection may be at a signal.
fn peers_in_every_state(to: SocketAddr) -> Vec<Peer> {
    let half_head = Peer::connect(to);
    half_head.send(&request(to)[..40]);
    let half_body = Peer::connect(to);
    half_body.send(format!("POST / HTTP/1.1\r\nHost: {to}\r\nContent-Length: 100\r\n\r\nhalf"));
    let mut kept_alive = Peer::connect(to);
    kept_alive.send(format!("GET /nothing HTTP/1.1\r\nHost: {to}\r\n\r\n"));
    assert!(kept_alive.line().starts_with(b"HTTP/1.1 4"));
    let unread = Peer::with_small_window(to);
    let requests = format!("GET /nothing HTTP/1.1\r\nHost: {to}\r\n\r\n").repeat(200_000);
    unread.send_until_stuck(requests.as_bytes(), std::time::Duration::from_millis(100));
    let half_message = WebPeer::open(to);
    half_message.send(&frame(TEXT, b"never sent to the end")[..12]);
    let stuck = WebPeer::with_small_window(to);
    stuck.send_until_stuck(&frame(TEXT, &[b'x'; 10_000]).repeat(2_000));
    let silent = WebPeer::open(to);
    vec![Peer::connect(to), half_head, half_body, kept_alive, unread, half_message.peer, stuck.peer, silent.peer]
}

/// The server ends although no peer answers its close frames, and well-behaved ones get 1001.
#[test]
fn a_signal_while_peers_of_every_kind_are_connected() {
    for args in [["echo", "--http", "0"], ["chat", "--http", "0"]] {
        let server = Server::start(&args);
        let web = server.web.expect("it has --http");
        let peers = peers_in_every_state(web);
        let good: Vec<WebPeer> = (0..20).map(|_| WebPeer::open(web)).collect();
        server.signal("TERM");
        for peer in good {
            assert_eq!(peer.close_code(), 1001);
        }
        let (status, log) = server.end();
        assert_eq!(status, Some(0), "{args:?}: {log}");
        assert!(!log.contains("panic"), "{args:?}: {log}");
        drop(peers);
    }
}

/// Clients go on upgrading while the server drains.
#[test]
fn a_signal_in_a_storm_of_upgrades() {
    let server = Server::start(&["chat", "--http", "0"]);
    let web = server.web.expect("it has --http");
    let telnet = HealthyClient::of(server.address, true);
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let upgrades = std::sync::atomic::AtomicUsize::new(0);
    let (status, log) = thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(std::sync::atomic::Ordering::Acquire) {
                    if let Ok(stream) = std::net::TcpStream::connect(web) {
                        let _ = (&stream).write_all(format!("{}\r\n", request(web)).as_bytes());
                        upgrades.fetch_add(1, std::sync::atomic::Ordering::Release);
                    }
                }
            });
        }
        super::harness::wait_until("clients upgrade", || upgrades.load(std::sync::atomic::Ordering::Acquire) >= 100);
        telnet.end();
        server.signal("TERM");
        let end = server.end();
        is_over.store(true, std::sync::atomic::Ordering::Release);
        end
    });
    assert_eq!(status, Some(0), "{log}");
    assert!(!log.contains("panic"), "{log}");
}
