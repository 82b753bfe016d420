//! The end of a connection: the closing handshake (RFC 6455, 7), violations, lost connections, drain.

use super::*;
use bucle::net::Drain;
use bucle::websocket::CLOSE_TIMEOUT;
use std::net::Shutdown;

/// Fills the kernel's buffers for a peer that does not read, and a little more. Returns how many messages were sent.
fn fill(talk: &mut Talk) -> usize {
    talk.peers[0].reads = false;
    let ws = talk.ws(0);
    for sent in 1.. {
        talk.enter(|lp| ws.send(lp, &[b'x'; 100_000][..]));
        talk.settle();
        if talk.enter(|lp| ws.buffered_amount(lp)) > 0 {
            return sent;
        }
    }
    unreachable!("the kernel takes everything")
}

#[test]
fn a_peer_that_reads_slowly_gets_every_message_and_the_close_frame() {
    for is_violation in [false, true] {
        let mut talk = Talk::new(Options::default());
        let sent = fill(&mut talk);
        let ws = talk.ws(0);
        if is_violation {
            // The server reads on, for little waits.
            talk.send(0, plain(TEXT, "not masked"));
        } else {
            talk.enter(|lp| ws.close(lp, CloseCode::NORMAL, "bye"));
        }
        for _ in 0..3 {
            talk.settle();
            talk.clock.advance(CLOSE_TIMEOUT);
        }
        talk.settle();
        talk.peers[0].reads = true;
        for number in 0..sent {
            talk.expect_frame(0, &format!("message {number}"), BINARY, [b'x'; 100_000]);
        }
        let frame = talk.frame(0);
        assert_eq!(frame.first, CLOSE, "violation: {is_violation}");
        talk.expect_end(0, "the end", End::Fin);
    }
}

#[test]
fn a_peer_that_does_not_read_its_close_frame_is_disconnected() {
    let mut talk = Talk::new(Options::default());
    fill(&mut talk);
    let ws = talk.ws(0);
    talk.enter(|lp| ws.close(lp, CloseCode::NORMAL, "bye"));
    for _ in 0..40 {
        talk.settle();
        talk.clock.advance(Duration::from_secs(1));
    }
    talk.settle();
    talk.enter(|lp| assert!(!ws.socket().exists(lp)));
}

#[test]
fn a_violation_is_answered_with_its_code_and_a_fin() {
    let cut_euro = &"\u{20ac}".as_bytes()[..2];
    let options = || Options { max_message: 1000, ..Options::default() };
    let table: &[(&str, Vec<u8>, u16)] = &[
        ("not masked (5.1)", plain(TEXT, "hola"), 1002),
        ("an empty frame that is not masked", plain(TEXT, ""), 1002),
        ("RSV1 without compression (5.2)", masked(TEXT | RSV1, "x"), 1002),
        ("RSV2", masked(TEXT | 0x20, "x"), 1002),
        ("RSV3", masked(TEXT | 0x10, "x"), 1002),
        ("RSV1 on a ping", masked(PING | RSV1, "x"), 1002),
        ("opcode 3", masked(0x83, "x"), 1002),
        ("opcode 7", masked(0x87, "x"), 1002),
        ("opcode 11", masked(0x8b, "x"), 1002),
        ("opcode 15", masked(0x8f, "x"), 1002),
        ("a length of 125 in the 16-bit form", [0x82, 0xfe, 0, 125].to_vec(), 1002),
        ("a length of 65,535 in the 64-bit form", [0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff].to_vec(), 1002),
        ("a length with its highest bit", [0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0].to_vec(), 1002),
        ("a ping of 126 bytes (5.5)", masked(PING, [0; 126]), 1002),
        ("a ping in fragments", masked(0x09, "x"), 1002),
        ("a close in fragments", masked(0x08, close(1000, "")), 1002),
        ("a continuation of nothing (5.4)", masked(LAST, "x"), 1002),
        ("a first continuation of nothing", masked(MIDDLE, "x"), 1002),
        ("a message inside a message", [masked(FIRST_TEXT, "a"), masked(TEXT, "b")].concat(), 1002),
        ("no UTF-8 (8.1)", masked(TEXT, b"\xff"), 1007),
        ("a surrogate", masked(TEXT, b"\xed\xa0\x80"), 1007),
        ("a text that ends in a character", masked(TEXT, cut_euro), 1007),
        ("fragments that end in one", [masked(FIRST_TEXT, cut_euro), masked(LAST, "")].concat(), 1007),
        ("the first byte of an unfinished frame", [0x81, 0x85, 0, 0, 0, 0, 0xff].to_vec(), 1007),
        ("a byte of an unfinished message", masked(FIRST_TEXT, b"a\xf5"), 1007),
        ("over the limit, in the header only", [0x82, 0xfe, 3, 233].to_vec(), 1009),
        ("4 GiB", [0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0].to_vec(), 1009),
        ("fragments over the limit", [masked(FIRST_BINARY, [0; 1000]), masked(LAST, "x")].concat(), 1009),
        ("a close of one byte (5.5.1)", masked(CLOSE, [3]), 1002),
        ("a close of 126 bytes", masked(CLOSE, close(1000, &"x".repeat(124))), 1002),
        ("a reason that is no UTF-8", masked(CLOSE, b"\x03\xe8\xff"), 1007),
    ];
    let codes = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535];
    let codes = codes.map(|code| (format!("close {code} (7.4)"), masked(CLOSE, close(code, "")), 1002));
    let rows = table.iter().map(|(name, bytes, code)| (name.to_string(), bytes.clone(), *code)).chain(codes);
    for (name, bytes, code) in rows {
        // With a good message before it, in the same chunk, and bytes behind it that nothing must answer.
        let mut talk = Talk::new(options());
        talk.send(0, [masked(TEXT, "good"), bytes, masked(TEXT, "ignored"), masked(PING, "ignored")].concat());
        talk.expect_frame(0, &name, TEXT, "good");
        let frame = talk.frame(0);
        assert!(frame.first == CLOSE && frame.payload.get(..2) == Some(&code.to_be_bytes()), "{name}: {frame:?}");
        let reason = String::from_utf8(frame.payload[2..].to_vec()).expect("a reason");
        assert!(!reason.is_empty(), "{name}");
        talk.expect_end(0, &name, End::Fin);
        talk.peers.clear();
        talk.expect_story(&name, &["0 open", "0 text good", &format!("0 closed {code} {reason}")]);
    }
}

#[test]
fn a_violation_is_found_wherever_the_reads_fall() {
    let bytes = [masked(FIRST_TEXT, "a"), masked(PING, "p"), masked(LAST, b"\xc3\xc3"), masked(TEXT, "b")].concat();
    for cut in 0..=bytes.len() {
        let name = format!("cut at {cut}");
        let mut talk = Talk::new(Options::default());
        talk.send_alone(0, &bytes[..cut]);
        talk.send(0, &bytes[cut..]);
        talk.expect_frame(0, &name, PONG, "p");
        assert_eq!(talk.frame(0).payload[..2], 1007_u16.to_be_bytes(), "{name}");
        talk.expect_end(0, &name, End::Fin);
    }
}

#[test]
fn a_close_of_the_peer_is_answered_with_its_code_and_a_fin() {
    let longest = "x".repeat(123);
    let table: &[(&str, u16, &str)] = &[
        ("normal", 1000, "bye"),
        ("no reason", 1001, ""),
        ("the longest reason", 1000, &longest),
        ("a reason beyond ASCII", 3000, "adi\u{f3}s"),
        ("of a program", 4999, "x"),
        ("1003", 1003, ""),
        ("1007", 1007, ""),
        ("1011", 1011, ""),
        ("1014", 1014, ""),
        ("4000", 4000, ""),
    ];
    for (name, code, reason) in table {
        let mut talk = Talk::new(Options::default());
        talk.send(0, [masked(CLOSE, close(*code, reason)), masked(TEXT, "ignored")].concat());
        talk.expect_frame(0, name, CLOSE, close(*code, ""));
        talk.expect_end(0, name, End::Fin);
        talk.peers.clear();
        talk.expect_story(name, &["0 open", format!("0 closed {code} {reason}").trim_end()]);
    }
    let mut talk = Talk::new(Options::default());
    talk.send(0, masked(CLOSE, ""));
    talk.expect_frame(0, "no code", CLOSE, "");
    talk.expect_end(0, "no code", End::Fin);
    talk.peers.clear();
    talk.expect_story("no code is 1005", &["0 open", "0 closed 1005"]);
}

#[test]
fn a_close_inside_a_fragmented_message_ends_the_connection() {
    let mut talk = Talk::new(Options::default());
    talk.send(0, [masked(FIRST_TEXT, "a"), masked(CLOSE, close(1000, "")), masked(LAST, "b")].concat());
    talk.expect_frame(0, "the answer", CLOSE, close(1000, ""));
    talk.expect_end(0, "the end", End::Fin);
    talk.peers.clear();
    talk.expect_story("no message", &["0 open", "0 closed 1000"]);
}

#[test]
fn a_close_of_the_program_waits_for_the_answer_and_delivers_nothing() {
    // The arguments of the close, and the contents of the frame.
    let long = "\u{f1}".repeat(100);
    let cut = "\u{f1}".repeat(61);
    let table: &[(&str, u16, &str, Vec<u8>)] = &[
        ("normal", 1000, "bye", close(1000, "bye")),
        ("1001", 1001, "", close(1001, "")),
        ("3000", 3000, "x", close(3000, "x")),
        ("4999", 4999, "x", close(4999, "x")),
        ("1005 is an empty frame", 1005, "lost", Vec::new()),
        ("1006 cannot be sent", 1006, "x", close(1000, "x")),
        ("0 cannot be sent", 0, "", close(1000, "")),
        ("5000 cannot be sent", 5000, "", close(1000, "")),
        ("a reason that is too long is cut between characters", 1000, &long, close(1000, &cut)),
    ];
    for (name, code, reason, payload) in table {
        let mut talk = Talk::new(Options::default());
        talk.send(0, [masked(TEXT, format!("close {code} {reason}")), masked(TEXT, "ignored")].concat());
        talk.expect_frame(0, name, CLOSE, payload);
        // RFC 6455, 5.5.1: no frame after the close frame, so no pong either.
        talk.send(0, [masked(PING, "p"), masked(BINARY, "ignored"), masked(FIRST_TEXT, "ign")].concat());
        let ws = talk.ws(0);
        talk.enter(|lp| {
            assert!(!ws.is_open(lp) && !ws.send(lp, "no") && !ws.ping(lp, "no") && !ws.subscribe(lp, "no"), "{name}");
            ws.close(lp, CloseCode(4000), "a second close does nothing");
        });
        talk.settle();
        assert_eq!(talk.peers[0].end, None, "{name}: it waits for the answer");
        talk.send(0, masked(CLOSE, close(4321, "mine")));
        talk.expect_end(0, name, End::Fin);
        talk.peers.clear();
        let told = talk.story.borrow().clone();
        assert_eq!(told.len(), 2, "{name}: {told:?}");
        talk.until_told("0 closed 4321 mine");
    }
}

#[test]
fn messages_before_a_close_are_sent() {
    let mut talk = Talk::new(Options::default());
    talk.send(0, [masked(TEXT, "flood 20 50000"), masked(TEXT, "close 1000")].concat());
    for number in 0..20 {
        talk.expect_frame(0, &format!("message {number}"), BINARY, [b'x'; 50_000]);
    }
    talk.expect_frame(0, "the close", CLOSE, close(1000, ""));
}

#[test]
fn both_sides_may_close_at_once() {
    let mut talk = Talk::new(Options::default());
    let ws = talk.ws(0);
    talk.send(0, masked(CLOSE, close(4001, "peer")));
    talk.enter(|lp| ws.close(lp, CloseCode(4002), "program"));
    talk.expect_frame(0, "only one frame", CLOSE, close(4002, "program"));
    talk.expect_end(0, "the end", End::Fin);
    talk.peers.clear();
    talk.expect_story("the peer's code", &["0 open", "0 closed 4001 peer"]);
}

#[test]
fn a_peer_that_never_answers_a_close_is_disconnected_after_the_timeout() {
    let mut talk = Talk::new(Options::default());
    talk.text(0, "close 1000");
    talk.expect_frame(0, "the close", CLOSE, close(1000, ""));
    talk.clock.advance(CLOSE_TIMEOUT - Duration::from_millis(10));
    // Other frames do not count as an answer.
    talk.send_alone(0, masked(TEXT, "hola"));
    talk.settle();
    assert_eq!(talk.peers[0].end, None);
    talk.clock.advance(Duration::from_millis(10));
    talk.until("the end", |talk| talk.peers[0].end.is_some());
    talk.expect_story("no close frame", &["0 open", "0 text close 1000", "0 closed 1006"]);
}

/// Not even a socket that stays open after the server's FIN.
#[test]
fn a_peer_that_never_ends_the_connection_is_disconnected() {
    for bytes in [masked(CLOSE, close(1000, "")), plain(TEXT, "a violation")] {
        let mut talk = Talk::new(Options::default());
        talk.send(0, bytes);
        talk.until("the end", |talk| talk.peers[0].end == Some(End::Fin));
        talk.clock.advance(Duration::from_millis(900));
        talk.settle();
        assert_eq!(*talk.story.borrow(), ["0 open"], "it may still read");
        talk.clock.advance(Duration::from_millis(100));
        talk.until("the close", |talk| talk.story.borrow().len() == 2);
    }
}

/// Closing early would reset the connection, and the peer's kernel would discard the close frame.
#[test]
fn a_peer_that_goes_on_sending_still_gets_the_close_frame() {
    let mut talk = Talk::new(Options { max_message: 1000, ..Options::default() });
    talk.peers[0].reads = false;
    talk.send(0, masked(BINARY, vec![0; 3_000_000]));
    talk.until("all is read", |talk| talk.peers[0].unsent.is_empty());
    talk.settle();
    talk.peers[0].reads = true;
    let frame = talk.frame(0);
    assert!(frame.first == CLOSE && frame.payload[..2] == 1009_u16.to_be_bytes(), "{frame:?}");
    talk.expect_end(0, "no reset", End::Fin);
}

#[test]
fn a_fin_without_a_close_frame_is_1006() {
    for (name, before) in
        [("alone", &b""[..]), ("in a frame", &[0x81, 0x85, 1, 2]), ("in a message", &[1, 0x80, 1, 2, 3, 4])]
    {
        let mut talk = Talk::new(Options::default());
        talk.send_alone(0, before);
        talk.peers[0].stream.shutdown(Shutdown::Write).expect("a socket");
        talk.expect_end(0, name, End::Fin);
        talk.expect_story(name, &["0 open", "0 closed 1006"]);
    }
}

/// The program does not know yet that the peer has ended when it sends, and that is no error.
#[test]
fn sending_to_a_peer_that_has_ended_is_no_error() {
    let mut talk = Talk::new(Options::default());
    let (ws, endpoint) = (talk.ws(0), talk.endpoint());
    talk.peers[0].reads = false;
    talk.enter(|lp| assert!(ws.subscribe(lp, "news")));
    // So much that the end of the connection waits for the peer.
    let mut sent = 1;
    while talk.enter(|lp| ws.send(lp, &[b'x'; 25_000])) {
        sent += 1;
        talk.turn();
        assert!(sent < 10_000, "send never returns false");
    }
    talk.peers[0].stream.shutdown(Shutdown::Write).expect("a socket");
    talk.until("the end of the peer", |talk| talk.enter(|lp| !ws.is_open(lp)));
    talk.enter(|lp| {
        assert!(!ws.send(lp, "late"));
        assert!(!ws.ping(lp, "late"));
        ws.close(lp, CloseCode::NORMAL, "late");
        assert_eq!(endpoint.publish(lp, "news", "late").receivers, 0);
    });
    talk.settle();
    talk.peers[0].reads = true;
    for number in 0..sent {
        talk.expect_frame(0, &format!("message {number}"), BINARY, [b'x'; 25_000]);
    }
    talk.expect_end(0, "all was sent", End::Fin);
    let story = talk.story.borrow().clone();
    assert!(!story.iter().any(|line| line.contains("error")), "{story:?}");
    assert_eq!(story.last().map(String::as_str), Some("0 closed 1006"));
}

#[test]
fn a_reset_is_1006_and_an_error() {
    let mut talk = Talk::new(Options::default());
    socket2::SockRef::from(&talk.peers[0].stream).set_linger(Some(Duration::ZERO)).expect("a socket");
    talk.peers.clear();
    talk.expect_story("a reset", &["0 open", "0 error ECONNRESET", "0 closed 1006"]);
}

/// The peer does not read the answer to its close frame: its system then resets the connection.
#[test]
fn a_reset_after_the_close_frame_is_no_error() {
    let server = |talk: &mut Talk| talk.send(0, masked(CLOSE, close(1000, "bye")));
    let client = |talk: &mut Talk| talk.send(0, plain(CLOSE, close(1000, "bye")));
    type Closes<'a> = &'a dyn Fn(&mut Talk);
    let table: [(&str, Talk, Closes<'_>); 2] =
        [("a server", Talk::new(Options::default()), &server), ("a client", client::usual(), &client)];
    for (name, mut talk, closes) in table {
        closes(&mut talk);
        let answer = talk.frame(0);
        assert_eq!((answer.first, &*answer.payload), (CLOSE, &b"\x03\xe8"[..]), "{name}");
        socket2::SockRef::from(&talk.peers[0].stream).set_linger(Some(Duration::ZERO)).expect("a socket");
        talk.peers.clear();
        let is_closed = |talk: &mut Talk| talk.story.borrow().iter().any(|line| line == "0 closed 1000 bye");
        talk.until("the close", is_closed);
        let story = talk.story.borrow();
        assert!(!story.iter().any(|line| line.contains("error")), "{name}: {story:?}");
    }
}

#[test]
fn a_terminated_connection_is_1006() {
    let mut talk = Talk::new(Options::default());
    talk.send(0, [masked(TEXT, "terminate"), masked(TEXT, "ignored")].concat());
    talk.until("the end", |talk| talk.peers[0].end.is_some());
    assert_eq!(show_rest(&talk.peers[0]), "", "no close frame");
    talk.expect_story("terminated", &["0 open", "0 text terminate", "0 closed 1006"]);
}

#[test]
fn a_close_before_a_pause_is_lifted_is_noticed_after_it() {
    let mut talk = Talk::new(Options::default());
    let ws = talk.ws(0);
    talk.send(0, [masked(TEXT, "pause"), masked(CLOSE, close(1000, "")), masked(TEXT, "ignored")].concat());
    talk.settle();
    assert_eq!(*talk.story.borrow(), ["0 open", "0 text pause"]);
    talk.enter(|lp| ws.resume(lp));
    talk.expect_frame(0, "the answer", CLOSE, close(1000, ""));
    talk.expect_end(0, "the end", End::Fin);
    talk.peers.clear();
    talk.until_told("0 closed 1000");
}

/// A connection that is paused must still see the answer to its close.
#[test]
fn a_paused_connection_can_be_closed() {
    let mut talk = Talk::new(Options::default());
    let ws = talk.ws(0);
    talk.send(0, [masked(TEXT, "pause"), masked(TEXT, "held back")].concat());
    talk.until("the pause", |talk| talk.story.borrow().len() == 2);
    talk.enter(|lp| ws.close(lp, CloseCode::NORMAL, ""));
    talk.expect_frame(0, "the close", CLOSE, close(1000, ""));
    talk.send(0, masked(CLOSE, close(1000, "")));
    talk.expect_end(0, "the end", End::Fin);
    talk.peers.clear();
    talk.expect_story("closed", &["0 open", "0 text pause", "0 closed 1000"]);
}

#[test]
fn a_drain_closes_with_1001_and_finishes_when_all_have_answered() {
    let mut talk = Talk::new(Options::default());
    let (second, _) = talk.open("");
    let (waiting, server) = (talk.connect(), talk.server.expect("a server"));
    talk.settle();
    talk.enter(|lp| server.drain(lp, Drain::default()));
    for peer in [0, second] {
        talk.expect_frame(peer, "going away", CLOSE, close(1001, ""));
    }
    for _ in 0..20 {
        talk.clock.advance(Duration::from_millis(10));
        talk.settle();
    }
    talk.expect_end(waiting, "no handshake yet", End::Fin);
    assert_eq!(talk.peers[0].end, None, "it waits for the answers");
    for peer in [0, second] {
        talk.send(peer, masked(CLOSE, close(1001, "")));
        talk.expect_end(peer, "answered", End::Fin);
    }
    talk.peers.clear();
    // Nothing else keeps the loop running.
    talk.event_loop.run().expect("it ends");
    let closed = talk.story.borrow().iter().filter(|line| line.ends_with("closed 1001")).count();
    assert_eq!(closed, 2);
}

#[test]
fn a_connection_without_pending_work_leaves_no_timer() {
    let mut talk = Talk::new(Options::default());
    let server = talk.server.expect("a server");
    talk.send(0, masked(CLOSE, close(1000, "")));
    talk.until("the end", |talk| talk.peers[0].end.is_some());
    talk.peers.clear();
    talk.until("the close", |talk| talk.story.borrow().len() == 2);
    talk.enter(|lp| server.close(lp));
    talk.event_loop.run().expect("it ends");
    let callbacks = talk.enter(|lp| lp.metrics().callbacks);
    talk.clock.advance(Duration::from_secs(1000));
    talk.settle();
    assert_eq!(talk.enter(|lp| lp.metrics().callbacks), callbacks);
}

#[test]
fn a_drain_does_not_wait_for_peers_that_do_not_answer() {
    let mut talk = Talk::new(Options::default());
    let server = talk.server.expect("a server");
    talk.enter(|lp| server.drain(lp, Drain::default()));
    talk.expect_frame(0, "going away", CLOSE, close(1001, ""));
    for _ in 0..50 {
        talk.clock.advance(Duration::from_millis(100));
        talk.settle();
    }
    talk.expect_story("the end", &["0 open", "0 closed 1006"]);
    talk.event_loop.run().expect("it ends");
}

/// Its client was not told by the server that accepts it.
#[test]
fn a_handshake_that_is_accepted_during_a_drain_is_closed_with_1001() {
    let pending = Rc::<RefCell<Vec<_>>>::default();
    let scribe = Scribe { pending: Some(pending.clone()), ..Scribe::default() };
    let mut talk = Talk::server(Options::default(), scribe);
    let (peer, server) = (talk.connect(), talk.server.expect("a server"));
    talk.send(peer, request(""));
    talk.until("a handshake", |_| !pending.borrow().is_empty());
    talk.enter(|lp| server.drain(lp, Drain::default()));
    talk.settle();
    let handshake = pending.borrow()[0];
    talk.enter(|lp| handshake.accept(lp)).expect("the client is there");
    assert!(talk.head(peer).starts_with("HTTP/1.1 101 "));
    talk.expect_frame(peer, "going away", CLOSE, close(1001, ""));
    talk.send(peer, masked(CLOSE, close(1001, "")));
    talk.expect_end(peer, "the end", End::Fin);
    talk.peers.clear();
    talk.expect_story("opened and closed", &["0 open", "0 closed 1001"]);
}

#[test]
fn a_violation_after_this_side_s_close_frame_ends_the_connection_without_a_second_one() {
    let mut talk = Talk::new(Options::default());
    talk.text(0, "close 1000");
    talk.expect_frame(0, "the close", CLOSE, close(1000, ""));
    talk.send(0, [plain(TEXT, "not masked"), masked(CLOSE, close(1000, ""))].concat());
    talk.expect_end(0, "nothing else", End::Fin);
    talk.peers.clear();
    talk.until("the close", |talk| talk.story.borrow().len() == 3);
    assert!(talk.story.borrow()[2].starts_with("0 closed 1002 "), "{:?}", talk.story.borrow());
}
