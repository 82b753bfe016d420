use super::*;
use PacketType::{Close, Message, Noop, Open, Ping, Pong, Upgrade};
use Revision::{V3, V4};

fn malformed<T: std::fmt::Debug>(result: Result<T, Malformed>) -> &'static str {
    result.expect_err("it is malformed").reason
}

#[test]
fn only_the_value_4_means_revision_4() {
    assert_eq!(Revision::from_query(Some("4")), V4);
    for eio in [None, Some("3"), Some(""), Some("5"), Some("04"), Some(" 4"), Some("4 ")] {
        assert_eq!(Revision::from_query(eio), V3, "{eio:?}");
    }
    assert_eq!((V3.number(), V4.number()), (3, 4));
}

#[test]
fn types_have_the_digits_of_the_protocol() {
    let table = [(Open, '0'), (Close, '1'), (Ping, '2'), (Pong, '3'), (Message, '4'), (Upgrade, '5'), (Noop, '6')];
    for (number, (kind, digit)) in (0..).zip(table) {
        assert_eq!((kind.number(), kind.digit()), (number, digit));
        assert_eq!(PacketType::from_number(number), Some(kind));
        assert_eq!(PacketType::from_digit(digit as u8), Some(kind));
    }
    for byte in 0..=u8::MAX {
        assert_eq!(PacketType::from_number(byte).is_some(), byte <= 6);
        assert_eq!(PacketType::from_digit(byte).is_some(), (b'0'..=b'6').contains(&byte));
    }
}

/// The packets are those of engine.io-parser 5.2.3 and of `parser-v3` in engine.io 6.6.13.
#[test]
fn text_is_a_type_and_data() {
    let table: &[(&str, PacketType, &str)] = &[
        ("4", Message, ""),
        ("4hola", Message, "hola"),
        ("4€😀", Message, "€😀"),
        ("44b", Message, "4b"),
        ("2probe", Ping, "probe"),
        ("3probe", Pong, "probe"),
        ("0{}", Open, "{}"),
        ("1", Close, ""),
        ("5", Upgrade, ""),
        ("6", Noop, ""),
        ("4\0\u{1e}", Message, "\0\u{1e}"),
    ];
    for revision in [V3, V4] {
        for &(text, kind, data) in table {
            let packet = Packet { kind, data: Data::Text(data) };
            assert_eq!(parse_text(revision, text, &mut Vec::new()), Ok(packet), "{text:?}");
        }
    }
}

#[test]
fn text_without_a_known_type_is_refused() {
    for revision in [V3, V4] {
        assert_eq!(malformed(parse_text(revision, "", &mut Vec::new())), "the packet is empty");
        for text in ["7", "9", "/", ":", "x", "B", " 4", "-1", "\u{feff}4a", "é", "٤"] {
            assert_eq!(malformed(parse_text(revision, text, &mut Vec::new())), "the packet type is unknown", "{text}");
        }
    }
}

#[test]
fn bytes_in_text_are_base64() {
    let table: &[(Revision, &str, PacketType, &[u8])] = &[
        (V4, "bAQIDBA==", Message, &[1, 2, 3, 4]),
        (V4, "bAQID", Message, &[1, 2, 3]),
        (V4, "b+/+/", Message, &[0xfb, 0xff, 0xbf]),
        (V4, "b", Message, &[]),
        // In revision 4 the digit belongs to the data.
        (V4, "b4AQI", Message, &[0xe0, 0x04, 0x08]),
        (V3, "b4AQIDBA==", Message, &[1, 2, 3, 4]),
        (V3, "b4", Message, &[]),
        (V3, "b2AQ==", Ping, &[1]),
    ];
    let mut decoded = b"of an earlier packet".to_vec();
    for &(revision, text, kind, bytes) in table {
        let packet = Packet { kind, data: Data::Binary(bytes) };
        assert_eq!(parse_text(revision, text, &mut decoded), Ok(packet), "{text}");
    }
}

#[test]
fn base64_needs_no_padding_and_may_have_line_breaks() {
    let long = (0..60).collect::<Vec<u8>>();
    // The client for Java breaks lines after 76 characters, and ends the last one.
    let mut lines = format!("b{}", BASE64.encode(&long));
    lines.insert(77, '\n');
    lines.push('\n');
    let table: &[(&str, &[u8])] = &[
        ("bYQ", b"a"),
        ("bYQ=", b"a"),
        ("bYWI", b"ab"),
        ("bYW\r\nJj\r\n", b"abc"),
        ("bYQ=\n=", b"a"),
        (&lines, &long),
    ];
    for (text, bytes) in table {
        let mut decoded = Vec::new();
        let packet = parse_text(V4, text, &mut decoded).expect("it is base64");
        assert_eq!(packet.data, Data::Binary(bytes), "{text:?}");
    }
}

#[test]
fn what_is_not_base64_is_refused() {
    let table = [
        ("a character outside the alphabet", "b!!"),
        ("the alphabet for URLs", "b-_-_"),
        ("a blank", "bYW I"),
        ("half a byte", "bY"),
        ("data after padding", "bYQ==YQ=="),
        ("padding alone", "b="),
        ("too much padding", "bYQ==="),
        ("padding after whole bytes", "bYWJj="),
        ("bits after the last byte", "bYR=="),
        ("not ASCII", "bé"),
    ];
    for (name, text) in table {
        assert_eq!(malformed(parse_text(V4, text, &mut Vec::new())), "the packet is not base64", "{name}");
    }
    for text in ["b", "b9AQ==", "bx", "bé"] {
        assert_eq!(malformed(parse_text(V3, text, &mut Vec::new())), "the packet type is unknown", "{text}");
    }
}

#[test]
fn a_binary_frame_is_a_message_or_begins_with_its_type() {
    for bytes in [&b""[..], b"\x04", b"\x02p", b"\xff"] {
        assert_eq!(parse_binary(V4, bytes), Ok(Packet { kind: Message, data: Data::Binary(bytes) }));
    }
    let table: &[(&[u8], PacketType, &[u8])] =
        &[(b"\x04", Message, b""), (b"\x04\x01\x02", Message, b"\x01\x02"), (b"\x02p", Ping, b"p")];
    for &(bytes, kind, data) in table {
        assert_eq!(parse_binary(V3, bytes), Ok(Packet { kind, data: Data::Binary(data) }));
    }
    assert_eq!(malformed(parse_binary(V3, b"")), "the packet is empty");
    for bytes in [b"\x074", b"4\x04", b"\xff\x04"] {
        assert_eq!(malformed(parse_binary(V3, bytes)), "the packet type is unknown", "{bytes:?}");
    }
}

#[test]
fn frames_are_those_of_node() {
    let (text, empty) = (Queued::text(Message, "a€😀"), Queued::text(Noop, ""));
    let (bytes, no_bytes) = (Queued::binary([1, 2]), Queued::binary([]));
    let table: &[(Revision, bool, &Queued, Data)] = &[
        (V4, true, &text, Data::Text("4a€😀")),
        (V3, true, &text, Data::Text("4a€😀")),
        (V4, false, &empty, Data::Text("6")),
        (V4, true, &bytes, Data::Binary(&[1, 2])),
        (V4, true, &no_bytes, Data::Binary(&[])),
        (V3, true, &bytes, Data::Binary(&[4, 1, 2])),
        (V3, true, &no_bytes, Data::Binary(&[4])),
        (V4, false, &bytes, Data::Text("bAQI=")),
        (V3, false, &bytes, Data::Text("b4AQI=")),
        (V3, false, &no_bytes, Data::Text("b4")),
    ];
    let mut buffer = FrameBuffer::default();
    for &(revision, supports_binary, packet, frame) in table {
        assert_eq!(packet.frame(revision, supports_binary, &mut buffer), frame, "{revision:?} {packet:?}");
    }
}

#[test]
fn the_size_is_that_of_the_data() {
    assert_eq!(Queued::text(Message, "a€😀").size(), 8);
    assert_eq!(Queued::text(Ping, "").size(), 0);
    assert_eq!(Queued::binary([1, 2, 3]).size(), 3);
}

#[test]
fn clones_of_a_queued_packet_share_its_data() {
    let packet = Queued::text(Message, "hola");
    let (QueuedData::Text(one), QueuedData::Text(other)) = (&packet.data, &packet.clone().data) else {
        panic!("both are text");
    };
    assert!(Rc::ptr_eq(one, other));
}

#[test]
fn a_frame_buffer_that_was_large_is_freed() {
    let mut buffer = FrameBuffer::default();
    let large = Queued::binary(vec![0; 10 * FrameBuffer::KEPT]);
    large.frame(V3, true, &mut buffer);
    large.frame(V3, false, &mut buffer);
    Queued::text(Ping, "").frame(V3, true, &mut buffer);
    assert!(buffer.text.capacity() <= FrameBuffer::KEPT, "{}", buffer.text.capacity());
    assert!(buffer.bytes.capacity() <= FrameBuffer::KEPT, "{}", buffer.bytes.capacity());
}

/// The keys and their order are those of engine.io 6.6.13, for both revisions.
#[test]
fn an_open_packet_has_the_keys_of_node_in_their_order() {
    assert_eq!(
        open_packet("a\"b", &[], 300, 200, None),
        r#"{"sid":"a\"b","upgrades":[],"pingInterval":300,"pingTimeout":200}"#
    );
    let json = open_packet("abc", &["websocket"], 25_000, 20_000, Some(1_000_000));
    assert_eq!(
        json,
        r#"{"sid":"abc","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#,
    );
    let open = OpenPacket {
        sid: "abc".into(),
        upgrades: vec!["websocket".into()],
        ping_interval: Duration::from_secs(25),
        ping_timeout: Duration::from_secs(20),
        max_payload: Some(1_000_000),
    };
    assert_eq!(OpenPacket::parse(&json), Ok(open));
}

#[test]
fn an_open_packet_may_lack_the_limit_and_have_more_keys() {
    let json = r#" {"x":[{}], "pingTimeout":1, "pingInterval":2, "upgrades":["websocket","webtransport"], "sid":"é"} "#;
    let open = OpenPacket::parse(json).expect("it is complete");
    assert_eq!((open.sid.as_str(), open.max_payload), ("é", None));
    assert_eq!(open.upgrades, ["websocket", "webtransport"]);
    assert_eq!((open.ping_interval, open.ping_timeout), (Duration::from_millis(2), Duration::from_millis(1)));
    let with_null = r#"{"sid":"a","upgrades":[],"pingInterval":1,"pingTimeout":1,"maxPayload":null}"#;
    assert_eq!(OpenPacket::parse(with_null).map(|open| open.max_payload), Ok(None));
}

#[test]
fn an_open_packet_with_a_wrong_key_is_refused() {
    let valid = r#"{"sid":"a","upgrades":[],"pingInterval":1,"pingTimeout":1,"maxPayload":1}"#;
    assert!(OpenPacket::parse(valid).is_ok());
    let table = [
        ("a session id that is empty", r#""sid":"a""#, r#""sid":"""#),
        ("a session id that is a number", r#""sid":"a""#, r#""sid":1"#),
        ("no session id", r#""sid":"a","#, ""),
        ("no upgrades", r#""upgrades":[],"#, ""),
        ("upgrades that are text", "[]", r#""websocket""#),
        ("an upgrade that is a number", "[]", "[1]"),
        ("a negative time", r#""pingInterval":1"#, r#""pingInterval":-1"#),
        ("a time that is no integer", r#""pingTimeout":1"#, r#""pingTimeout":1.5"#),
        ("a time that is text", r#""pingTimeout":1"#, r#""pingTimeout":"1""#),
        ("a time that is too large", r#""pingInterval":1"#, r#""pingInterval":1e99"#),
        ("a limit that is text", r#""maxPayload":1"#, r#""maxPayload":"1""#),
        ("a negative limit", r#""maxPayload":1"#, r#""maxPayload":-1"#),
        ("more after the object", "}", "}}"),
        ("an object that is not complete", "}", ""),
    ];
    for (name, from, to) in table {
        let json = valid.replacen(from, to, 1);
        assert_ne!(json, valid, "{name}");
        assert!(OpenPacket::parse(&json).is_err(), "{name}");
    }
    for json in ["", "null", "[]", "1", "\"sid\"", &"[".repeat(100_000)] {
        assert!(OpenPacket::parse(json).is_err(), "{:.20}", json);
    }
}
