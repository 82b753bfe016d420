//! Telnet options: requested, agreed to, refused, and kept.

use super::*;

#[test]
fn options_are_requested_and_settled() {
    // Name, what the client sends, the events, what the server sends.
    type Row = (&'static str, &'static [u8], &'static [&'static str], &'static [u8]);
    let table: &[Row] = &[
        (
            "a password",
            b"echo\r\n\xff\xfd\x01secret\r\nno echo\r\n\xff\xfe\x01",
            &["echo", "<Us 1 true>", "secret", "no echo", "<Us 1 false>"],
            b"\xff\xfb\x01\xff\xfc\x01",
        ),
        ("a client that refuses", b"echo\r\n\xff\xfe\x01", &["echo", "<Us 1 false>"], b"\xff\xfb\x01"),
        ("a client that does not answer", b"echo\r\nno echo\r\n", &["echo", "no echo"], b"\xff\xfb\x01"),
        (
            "the size of the window, RFC 1073, with a 255 in it",
            b"size\r\n\xff\xfb\x1f\xff\xfa\x1f\0\x50\0\x18\xff\xf0\xff\xfa\x1f\0\xff\xff\0\x20\xff\xf0",
            &["size", "<Him 31 true>", r"<31: \x00P\x00\x18>", r"<31: \x00\xff\x00 >"],
            b"\xff\xfd\x1f",
        ),
        (
            "the type of the terminal, RFC 1091",
            b"type\r\n\xff\xfb\x18\xff\xfa\x18\0XTERM\xff\xf0",
            &["type", "<Him 24 true>", r"<24: \x00XTERM>"],
            b"\xff\xfd\x18\xff\xfa\x18\x01\xff\xf0",
        ),
        ("no terminal", b"type\r\n\xff\xfc\x18", &["type", "<Him 24 false>"], b"\xff\xfd\x18"),
        (
            "an option that was not requested is refused, and its details are not delivered",
            b"\xff\xfb\x1f\xff\xfa\x1f\0\x50\0\x18\xff\xf0.\r\n",
            &["."],
            b"\xff\xfe\x1f",
        ),
    ];
    for (name, bytes, want, answer) in table {
        for cut in 0..bytes.len() {
            let mut talk = Talk::new(Options::default());
            if cut > 0 {
                talk.send(&bytes[..cut]);
            }
            talk.send(&bytes[cut..]);
            talk.until(name, |talk| talk.story.borrow().len() >= want.len() && talk.received.len() >= answer.len());
            assert_eq!(*talk.story.borrow(), *want, "{name}, cut at {cut}");
            assert_eq!(talk.received, *answer, "{name}, cut at {cut}");
        }
    }
}

/// Debian's telnet in a terminal (made by `script`): a password that is typed is not shown.
#[test]
fn a_real_telnet_hides_a_password() {
    if !is_there("telnet") || !is_there("script") {
        return;
    }
    let steps = [
        ("echo\r", "<Us 1 true>"),
        ("secret\r", "secret"),
        ("no echo\r", "<Us 1 false>"),
        ("visible\r", "visible"),
        ("end\r", "<close>"),
    ];
    let shown = in_terminal("telnet 127.0.0.1", &steps);
    assert!(shown.contains("visible") && !shown.contains("secret"), "{shown:?}");
}

#[test]
fn options_that_the_policy_allows_are_agreed_to() {
    let policy = Policy::REFUSE_ALL.allow(Side::Him, option::NAWS).allow(Side::Us, option::SGA);
    let mut talk = Talk::new(Options { policy, ..Options::default() });
    talk.send(b"\xff\xfb\x1f\xff\xfb\x18\xff\xfd\x03\xff\xfd\x01\xff\xfb\x1f");
    talk.expect_received(b"\xff\xfd\x1f\xff\xfe\x18\xff\xfb\x03\xff\xfc\x01");
    talk.send(b"\xff\xfc\x1f\xff\xfe\x03");
    talk.expect_received(b"\xff\xfd\x1f\xff\xfe\x18\xff\xfb\x03\xff\xfc\x01\xff\xfe\x1f\xff\xfc\x03");
    talk.expect_story("plink's size", &["<Him 31 true>", "<Us 3 true>", "<Him 31 false>", "<Us 3 false>"]);
}

#[test]
fn a_truncated_subnegotiation_is_not_delivered() {
    let mut talk = Talk::new(Options::default());
    talk.send(b"size\r\n\xff\xfb\x1f");
    let mut wire = Vec::new();
    codec::subnegotiation(option::NAWS, &[b'x'; codec::SUBNEGOTIATION_LIMIT + 1], &mut wire);
    codec::subnegotiation(option::NAWS, b"whole", &mut wire);
    talk.send(&wire);
    talk.expect_story("the second", &["size", "<Him 31 true>", "<31: whole>"]);
}

/// A pause does not change options, and a subnegotiation behind the pause waits with the lines.
#[test]
fn options_are_kept_during_a_pause() {
    let mut talk = Talk::new(Options::default());
    let client = talk.client();
    talk.send(b"size\r\n\xff\xfb\x1fpause\r\n\xff\xfa\x1f1234\xff\xf0hola\r\n");
    talk.expect_story("paused", &["size", "<Him 31 true>", "pause"]);
    talk.event_loop.enter(|lp| client.resume(lp));
    talk.expect_story("resumed", &["size", "<Him 31 true>", "pause", "<31: 1234>", "hola"]);
    assert!(talk.event_loop.enter(|lp| client.is_enabled(lp, Side::Him, option::NAWS)));
    talk.peer.shutdown(Shutdown::Both).expect("it is open");
    talk.until("the close", |talk| talk.story.borrow().iter().any(|what| what == "<close>"));
    assert!(!talk.event_loop.enter(|lp| client.is_enabled(lp, Side::Him, option::NAWS)));
    talk.event_loop.enter(|lp| client.enable(lp, Side::Us, option::ECHO));
}

/// A peer that answers each refusal with the same request again.
#[test]
fn an_endless_negotiation_ends_and_the_connection_goes_on() {
    // Name, what the peer sends again and again, our refusal.
    let table: &[(&str, &[u8], &[u8])] = &[
        ("DO", b"\xff\xfd\x18", b"\xff\xfc\x18"),
        ("WILL", b"\xff\xfb\x18", b"\xff\xfe\x18"),
        ("withdrawn in between", b"\xff\xfd\x18\xff\xfe\x18", b"\xff\xfc\x18"),
    ];
    for (name, request, refusal) in table {
        let mut talk = Talk::new(Options::default());
        let mut refusals = 0;
        while refusals < 64 {
            talk.peer.write_all(request).expect("the kernel takes a little");
            refusals += 1;
            talk.until(name, |talk| talk.received.len() >= refusals * refusal.len());
        }
        talk.send(&request.repeat(1000));
        talk.settle();
        assert_eq!(talk.received, refusal.repeat(64), "{name}");
        // Another option, a timing mark, a line.
        talk.received.clear();
        talk.send(b"\xff\xfd\x1f\xff\xfd\x06hola\r\n");
        talk.expect_received(b"\xff\xfc\x1f\xff\xfc\x06");
        talk.expect_story(name, &["hola"]);
    }
}

/// DO and WILL of one option are counted together.
#[test]
fn requests_that_come_in_one_read_are_refused_64_times() {
    let mut talk = Talk::new(Options::default());
    talk.send(&b"\xff\xfd\x01\xff\xfb\x01\xff\xfd\x03".repeat(500));
    talk.send(b"hola\r\n");
    talk.expect_story("a line", &["hola"]);
    let echo = b"\xff\xfc\x01\xff\xfe\x01\xff\xfc\x03".repeat(32);
    assert_eq!(talk.received, [&echo[..], &b"\xff\xfc\x03".repeat(32)].concat());
}
