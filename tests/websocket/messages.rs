//! Messages and pings: every length, every cut, fragments, the fast path and the other.

use super::*;
use bucle::websocket::frame::Opcode;

#[test]
fn messages_of_every_form_of_length_are_echoed() {
    let mut talk = Talk::new(Options::default());
    // The forms of length change at 126 and 65,536 (RFC 6455, 5.2). 64 KiB is also one read of the loop.
    for len in [0, 1, 125, 126, 127, 65_535, 65_536, 65_537, 200_000, 1024 * 1024] {
        for first in [TEXT, BINARY] {
            let name = format!("{first:x}, {len} bytes");
            let payload = if first == TEXT { "\u{f1}".repeat(len / 2) + &"x".repeat(len % 2) } else { String::new() };
            let payload = if first == TEXT { payload.into_bytes() } else { noise(len) };
            talk.send(0, masked(first, &payload));
            let frame = talk.frame(0);
            assert!(frame == Frame { first, mask: None, payload }, "{name}: {frame:?}");
        }
    }
    assert_eq!(talk.story.borrow().len(), 21);
}

/// The length that the frame says, in the shortest form (RFC 6455, 5.2: "the minimal number of bytes MUST be used").
#[test]
fn lengths_are_sent_in_the_shortest_form() {
    let mut talk = Talk::new(Options::default());
    for (len, head) in [
        (125_usize, &[0x82, 125][..]),
        (126, &[0x82, 126, 0, 126]),
        (65_535, &[0x82, 126, 0xff, 0xff]),
        (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
    ] {
        talk.send(0, masked(BINARY, vec![7; len]));
        talk.until("the echo", |talk| talk.peers[0].rest().len() >= head.len() + len);
        assert_eq!(&talk.peers[0].rest()[..head.len()], head, "{len}");
        talk.frame(0);
    }
}

#[test]
fn frames_may_be_cut_anywhere() {
    let bytes = [masked(TEXT, "a\u{f1}\u{20ac}"), masked(PING, "p"), masked(BINARY, [9; 130])].concat();
    let mut talk = Talk::new(Options::default());
    for cut in 0..=bytes.len() {
        let name = format!("cut at {cut}");
        talk.send_alone(0, &bytes[..cut]);
        talk.send_alone(0, &bytes[cut..]);
        talk.expect_frame(0, &name, TEXT, "a\u{f1}\u{20ac}");
        talk.expect_frame(0, &name, PONG, "p");
        talk.expect_frame(0, &name, BINARY, [9; 130]);
    }
    for byte in &bytes {
        talk.send_alone(0, [*byte]);
    }
    talk.expect_frame(0, "single bytes", TEXT, "a\u{f1}\u{20ac}");
    talk.expect_frame(0, "single bytes", PONG, "p");
    talk.expect_frame(0, "single bytes", BINARY, [9; 130]);
}

#[test]
fn a_large_message_in_many_reads_is_echoed() {
    let mut talk = Talk::new(Options::default());
    let payload = noise(300_000);
    for piece in masked(BINARY, &payload).chunks(7_001) {
        talk.send_alone(0, piece);
    }
    talk.expect_frame(0, "the echo", BINARY, payload);
}

/// The peer sends without waiting, so several messages and parts of others are in one read.
#[test]
fn many_messages_in_flight_are_answered_in_order() {
    let mut talk = Talk::new(Options::default());
    let messages: Vec<Vec<u8>> = (0..2_000).map(|number| noise(number * 7 % 3_000)).collect();
    let bytes: Vec<u8> = messages.iter().flat_map(|message| masked(BINARY, message)).collect();
    talk.send(0, bytes);
    for (number, message) in messages.iter().enumerate() {
        talk.expect_frame(0, &format!("message {number}"), BINARY, message);
    }
}

#[test]
fn fragments_become_one_message_and_control_frames_come_between() {
    let euro = "\u{20ac}".as_bytes();
    let bytes = [
        masked(FIRST_TEXT, [b"a", &euro[..1]].concat()),
        masked(PING, "1"),
        masked(MIDDLE, ""),
        masked(MIDDLE, &euro[1..2]),
        masked(PONG, "2"),
        masked(LAST, [&euro[2..], b"z"].concat()),
        masked(FIRST_BINARY, ""),
        masked(LAST, ""),
    ]
    .concat();
    let mut talk = Talk::new(Options::default());
    talk.story.borrow_mut().clear();
    for cut in 0..=bytes.len() {
        let name = format!("cut at {cut}");
        talk.send_alone(0, &bytes[..cut]);
        talk.send_alone(0, &bytes[cut..]);
        // The ping is answered at once, not behind the message.
        talk.expect_frame(0, &name, PONG, "1");
        talk.expect_frame(0, &name, TEXT, "a\u{20ac}z");
        talk.expect_frame(0, &name, BINARY, "");
        talk.expect_story(&name, &["0 ping 1", "0 pong 2", "0 text a\u{20ac}z", "0 binary "]);
    }
}

/// Autobahn's cases 9.3.1 and 9.4.1 have 65,536 fragments; an attacker sends more, and empty ones.
#[test]
fn a_message_of_very_many_fragments_is_delivered() {
    let mut talk = Talk::new(Options::default());
    let mut bytes = masked(FIRST_BINARY, "a");
    (0..65_536).for_each(|_| bytes.extend_from_slice(&masked(MIDDLE, "")));
    (0..65_536).for_each(|_| bytes.extend_from_slice(&masked(MIDDLE, "b")));
    bytes.extend_from_slice(&masked(LAST, "c"));
    talk.send(0, bytes);
    let mut payload = vec![b'b'; 65_538];
    (payload[0], payload[65_537]) = (b'a', b'c');
    talk.expect_frame(0, "the message", BINARY, payload);
}

#[test]
fn pings_of_every_length_are_answered() {
    let mut talk = Talk::new(Options::default());
    for len in [0, 1, 124, 125] {
        let payload = noise(len);
        talk.send(0, masked(PING, &payload));
        talk.expect_frame(0, "the pong", PONG, payload);
    }
    // A pong that answers nothing is legal (RFC 6455, 5.5.3).
    talk.send(0, masked(PONG, "?"));
    talk.expect_alive(0, "after a pong");
    assert!(talk.story.borrow().contains(&"0 pong ?".to_owned()));
}

#[test]
fn pings_of_the_program_are_answered_with_a_pong_that_it_sees() {
    let mut talk = Talk::new(Options::default());
    let ws = talk.ws(0);
    talk.story.borrow_mut().clear();
    talk.enter(|lp| {
        assert!(ws.ping(lp, "a"));
        // A control frame has at most 125 bytes (RFC 6455, 5.5).
        assert!(ws.ping(lp, [b'x'; 126]));
    });
    talk.expect_frame(0, "a ping", PING, "a");
    talk.expect_frame(0, "a ping that is too long", PING, [b'x'; 125]);
    talk.send(0, masked(PONG, "a"));
    talk.expect_story("the pong", &["0 pong a"]);
}

#[test]
fn a_message_at_the_limit_is_delivered() {
    let mut talk = Talk::new(Options { max_message: 1000, ..Options::default() });
    talk.send(0, masked(BINARY, [1; 1000]));
    talk.expect_frame(0, "one frame", BINARY, [1; 1000]);
    talk.send(0, [masked(FIRST_BINARY, [1; 999]), masked(LAST, [1; 1])].concat());
    talk.expect_frame(0, "two frames", BINARY, [1; 1000]);
}

/// A length in a header must not cost its bytes.
#[test]
fn a_claimed_length_allocates_nothing() {
    let mut talk = Talk::new(Options { max_message: usize::MAX >> 1, ..Options::default() });
    talk.send_alone(0, [0x82, 0xff, 0x3f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4, 5]);
    let (peer, _) = talk.open("");
    talk.expect_alive(peer, "another connection");
}

#[test]
fn delivery_stops_with_a_pause_and_goes_on_where_it_stopped() {
    let frames = [
        masked(TEXT, "one"),
        masked(TEXT, "pause"),
        masked(TEXT, "two"),
        masked(PING, "p"),
        masked(FIRST_TEXT, "th"),
        masked(LAST, "ree"),
    ];
    let bytes = frames.concat();
    for cut in 0..=bytes.len() {
        let name = format!("cut at {cut}");
        let mut talk = Talk::new(Options::default());
        let ws = talk.ws(0);
        talk.send(0, &bytes[..cut]);
        talk.settle();
        talk.send(0, &bytes[cut..]);
        talk.expect_story(&name, &["0 open", "0 text one", "0 text pause"]);
        talk.settle();
        talk.enter(|lp| ws.resume(lp));
        talk.expect_story(&name, &["0 text two", "0 ping p", "0 text three"]);
        talk.expect_frame(0, &name, TEXT, "one");
        talk.expect_frame(0, &name, TEXT, "two");
        talk.expect_frame(0, &name, PONG, "p");
        talk.expect_frame(0, &name, TEXT, "three");
    }
}

#[test]
fn a_socket_that_changes_its_protocol_takes_the_rest_of_the_bytes_along() {
    let bytes = [masked(TEXT, "one"), masked(TEXT, "subscribe news"), masked(TEXT, "shout"), b"more".to_vec()].concat();
    for cut in 0..=bytes.len() {
        let name = format!("cut at {cut}");
        let mut talk = Talk::new(Options::default());
        talk.send_alone(0, &bytes[..cut]);
        talk.send(0, &bytes[cut..]);
        talk.expect_frame(0, &name, TEXT, "one");
        talk.until("the new protocol", |talk| talk.peers[0].rest().len() >= 9);
        talk.send(0, "!");
        talk.until("the new protocol", |talk| talk.peers[0].rest().len() >= 10);
        talk.settle();
        assert_eq!(show_rest(&talk.peers[0]), "HEAD,MORE!", "{name}");
        talk.expect_story(&name, &["0 open", "0 text one", "0 text subscribe news", "0 text shout"]);
        let endpoint = talk.endpoint();
        talk.enter(|lp| {
            assert_eq!(endpoint.subscribers(lp, "news"), 0, "{name}: it is no WebSocket any longer");
            assert_eq!(endpoint.publish(lp, "news", "x").receivers, 0, "{name}");
        });
    }
}

#[test]
fn a_panic_in_a_callback_destroys_only_that_connection() {
    silence_expected_panics();
    let mut talk = Talk::new(Options::default());
    talk.event_loop.catch_panics(true);
    let (other, _) = talk.open("");
    talk.story.borrow_mut().clear();
    talk.send(0, [masked(TEXT, "panic"), masked(TEXT, "never delivered")].concat());
    talk.until("the end", |talk| talk.peers[0].end.is_some());
    talk.expect_story("the first is closed", &["0 text panic", "0 error E_PANIC", "0 closed 1006"]);
    talk.expect_alive(other, "the other one");
    let (third, _) = talk.open("");
    talk.expect_alive(third, "a later one");
    // In a message that was put together from parts, too.
    talk.send(other, [masked(FIRST_TEXT, "pa"), masked(LAST, "nic")].concat());
    talk.until("the end", |talk| talk.peers[other].end.is_some());
    talk.expect_alive(third, "a later one");
}

/// The opcodes of the wire are those of the RFC (5.2), not only the same on both sides.
#[test]
fn opcodes_are_those_of_the_rfc() {
    let opcodes = [Opcode::Continuation, Opcode::Text, Opcode::Binary, Opcode::Close, Opcode::Ping, Opcode::Pong];
    assert_eq!(opcodes.map(|opcode| opcode as u8), [0, 1, 2, 8, 9, 10]);
}

/// Pings are handled beside the fast path of messages, and inside a message that is not complete.
#[test]
fn a_callback_of_a_ping_may_pause_close_or_destroy_the_connection() {
    for (word, told) in [
        ("pause", &["0 open", "0 ping pause"][..]),
        ("close", &["0 open", "0 ping close"]),
        ("terminate", &["0 open", "0 ping terminate", "0 closed 1006"]),
        ("shout", &["0 open", "0 ping shout"]),
    ] {
        let bytes = [masked(FIRST_TEXT, "on"), masked(PING, word), masked(LAST, "e"), masked(TEXT, "two")].concat();
        for cut in 0..=bytes.len() {
            let name = format!("{word}, cut at {cut}");
            let mut talk = Talk::new(Options::default());
            let ws = talk.ws(0);
            talk.send(0, &bytes[..cut]);
            talk.settle();
            talk.send(0, &bytes[cut..]);
            talk.expect_story(&name, told);
            match word {
                "pause" => {
                    talk.enter(|lp| ws.resume(lp));
                    talk.expect_story(&name, &["0 text one", "0 text two"]);
                    talk.expect_frame(0, &name, PONG, word);
                    talk.expect_frame(0, &name, TEXT, "one");
                    talk.expect_frame(0, &name, TEXT, "two");
                }
                "close" => {
                    talk.expect_frame(0, &name, PONG, word);
                    talk.expect_frame(0, &name, CLOSE, close(4000, ""));
                    talk.send(0, masked(CLOSE, ""));
                    talk.expect_end(0, &name, End::Fin);
                }
                "terminate" => talk.until("the end", |talk| talk.peers[0].end.is_some()),
                _ => {
                    talk.expect_frame(0, &name, PONG, word);
                    let rest = [masked(LAST, "e"), masked(TEXT, "two")].concat().to_ascii_uppercase();
                    talk.until("the new protocol", |talk| talk.peers[0].rest().len() >= rest.len());
                    assert_eq!(talk.peers[0].rest(), rest, "{name}");
                }
            }
        }
    }
}

#[test]
fn a_message_with_the_fin_behind_it_is_answered() {
    for bytes in [masked(TEXT, "hola"), [masked(FIRST_TEXT, "ho"), masked(LAST, "la")].concat()] {
        let mut talk = Talk::new(Options::default());
        talk.peers[0].stream.write_all(&bytes).expect("the kernel takes a little");
        talk.peers[0].stream.shutdown(std::net::Shutdown::Write).expect("a socket");
        talk.expect_frame(0, "the echo", TEXT, "hola");
        talk.expect_end(0, "the end", End::Fin);
        talk.expect_story("a FIN", &["0 open", "0 text hola", "0 closed 1006"]);
    }
}

#[test]
fn a_panic_in_any_callback_closes_one_connection_and_leaves_the_endpoint_intact() {
    silence_expected_panics();
    let deflated = b"\x2a\x48\xcc\xcb\x4c\x06\x00"; // "panic", RFC 7692, 7.2.1.
    let options = || Options { deflate: Some(websocket::DeflateOptions::default()), ..Options::default() };
    let table: &[(&str, Vec<u8>)] = &[
        ("on_ping", masked(PING, "panic")),
        ("on_ping inside a message", [masked(FIRST_TEXT, "a"), masked(PING, "panic"), masked(LAST, "b")].concat()),
        ("on_message, compressed", masked(TEXT | RSV1, deflated)),
        ("on_close", masked(CLOSE, close(4000, "panic"))),
    ];
    for (name, bytes) in table {
        let mut talk = Talk::server(options(), Scribe::default());
        talk.event_loop.catch_panics(true);
        talk.open("Sec-WebSocket-Extensions: permessage-deflate\r\n");
        let (other, _) = talk.open("Sec-WebSocket-Extensions: permessage-deflate\r\n");
        let (first, endpoint) = (talk.ws(0), talk.endpoint());
        talk.enter(|lp| assert!(first.subscribe(lp, "news")));
        talk.send(0, bytes);
        talk.until("the end", |talk| talk.peers[0].end.is_some());
        talk.peers[0].stream.shutdown(std::net::Shutdown::Both).ok();
        talk.until("the close", |talk| talk.story.borrow().iter().any(|line| line.starts_with("0 closed")));
        assert_eq!(talk.enter(|lp| lp.caught_panics()), 1, "{name}");
        talk.expect_alive(other, name);
        let (third, _) = talk.open("");
        talk.expect_alive(third, name);
        talk.enter(|lp| assert_eq!(endpoint.subscribers(lp, "news"), 0, "{name}"));
    }
    let mut talk = Talk::server(options(), Scribe { at_open: Some(|_, _| panic!("on purpose")), ..Scribe::default() });
    talk.event_loop.catch_panics(true);
    for number in 0..3 {
        let (peer, _) = talk.open("");
        talk.until("the end", |talk| talk.peers[peer].end.is_some());
        talk.until_told(&format!("{number} closed 1006"));
    }
}
