use super::*;

const LIMITS: Limits = Limits { max_attachments: 10, max_namespace: 20, max_bytes: 1000 };

fn packet(text: &str) -> Result<Packet<'_>, Malformed> {
    parse(text, &LIMITS)
}

fn reason(text: &str) -> &'static str {
    packet(text).expect_err(text).reason
}

/// A message, and what `socket.io-parser` 4.2.7 makes of it; its types 5 and 6 become 2 and 3 there.
type Row = (&'static str, PacketType, usize, &'static str, Option<u64>, Option<&'static str>);

#[rustfmt::skip]
const PACKETS: &[Row] = &[
    ("0", PacketType::Connect, 0, "/", None, None),
    (r#"0{"a":1}"#, PacketType::Connect, 0, "/", None, Some(r#"{"a":1}"#)),
    ("0/admin", PacketType::Connect, 0, "/admin", None, None),
    ("0/admin,", PacketType::Connect, 0, "/admin", None, None),
    (r#"0/admin,{"token":"x"}"#, PacketType::Connect, 0, "/admin", None, Some(r#"{"token":"x"}"#)),
    ("0/admin?token=x,", PacketType::Connect, 0, "/admin?token=x", None, None),
    ("1", PacketType::Disconnect, 0, "/", None, None),
    ("1/admin", PacketType::Disconnect, 0, "/admin", None, None),
    ("1/admin,", PacketType::Disconnect, 0, "/admin", None, None),
    (r#"2["a"]"#, PacketType::Event, 0, "/", None, Some(r#"["a"]"#)),
    (r#"2/,["a"]"#, PacketType::Event, 0, "/", None, Some(r#"["a"]"#)),
    (r#"2/admin,["a",1]"#, PacketType::Event, 0, "/admin", None, Some(r#"["a",1]"#)),
    (r#"2/admin,456["a"]"#, PacketType::Event, 0, "/admin", Some(456), Some(r#"["a"]"#)),
    (r#"212["a"]"#, PacketType::Event, 0, "/", Some(12), Some(r#"["a"]"#)),
    (r#"20["a"]"#, PacketType::Event, 0, "/", Some(0), Some(r#"["a"]"#)),
    (r#"29007199254740991["a"]"#, PacketType::Event, 0, "/", Some(9_007_199_254_740_991), Some(r#"["a"]"#)),
    ("2[\"a\"] \n", PacketType::Event, 0, "/", None, Some(r#"["a"]"#)),
    (r#"2[ "a" ]"#, PacketType::Event, 0, "/", None, Some(r#"[ "a" ]"#)),
    ("2[1]", PacketType::Event, 0, "/", None, Some("[1]")),
    ("2[-1.50,2]", PacketType::Event, 0, "/", None, Some("[-1.50,2]")),
    (r#"2["Connect"]"#, PacketType::Event, 0, "/", None, Some(r#"["Connect"]"#)),
    (r#"2[""]"#, PacketType::Event, 0, "/", None, Some(r#"[""]"#)),
    (r#"2["__proto__",{"__proto__":1}]"#, PacketType::Event, 0, "/", None, Some(r#"["__proto__",{"__proto__":1}]"#)),
    (r#"2["\ud800"]"#, PacketType::Event, 0, "/", None, Some(r#"["\ud800"]"#)),
    (r#"2["a",1e999]"#, PacketType::Event, 0, "/", None, Some(r#"["a",1e999]"#)),
    (r#"2/é,["a"]"#, PacketType::Event, 0, "/é", None, Some(r#"["a"]"#)),
    ("3[]", PacketType::Ack, 0, "/", None, Some("[]")),
    ("31[]", PacketType::Ack, 0, "/", Some(1), Some("[]")),
    (r#"31["x",{}]"#, PacketType::Ack, 0, "/", Some(1), Some(r#"["x",{}]"#)),
    ("3/admin,1[null]", PacketType::Ack, 0, "/admin", Some(1), Some("[null]")),
    (r#"4{"message":"x"}"#, PacketType::ConnectError, 0, "/", None, Some(r#"{"message":"x"}"#)),
    (r#"4"x""#, PacketType::ConnectError, 0, "/", None, Some(r#""x""#)),
    (r#"4/x,{"message":"Invalid namespace"}"#, PacketType::ConnectError, 0, "/x", None,
        Some(r#"{"message":"Invalid namespace"}"#)),
    (r#"51-["a",{"_placeholder":true,"num":0}]"#, PacketType::BinaryEvent, 1, "/", None,
        Some(r#"["a",{"_placeholder":true,"num":0}]"#)),
    (r#"510-["a"]"#, PacketType::BinaryEvent, 10, "/", None, Some(r#"["a"]"#)),
    (r#"51-/admin,["a"]"#, PacketType::BinaryEvent, 1, "/admin", None, Some(r#"["a"]"#)),
    (r#"52-/admin,7["a"]"#, PacketType::BinaryEvent, 2, "/admin", Some(7), Some(r#"["a"]"#)),
    (r#"61-1[{"_placeholder":true,"num":0}]"#, PacketType::BinaryAck, 1, "/", Some(1),
        Some(r#"[{"_placeholder":true,"num":0}]"#)),
    ("61-[{}]", PacketType::BinaryAck, 1, "/", None, Some("[{}]")),
    // In a packet without attachments this is data.
    (r#"2["a",{"_placeholder":true,"num":0}]"#, PacketType::Event, 0, "/", None,
        Some(r#"["a",{"_placeholder":true,"num":0}]"#)),
];

#[test]
fn reads_packets_as_socket_io_parser_does() {
    for &(text, kind, attachments, namespace, id, data) in PACKETS {
        assert_eq!(packet(text), Ok(Packet { kind, attachments, namespace, id, data }), "{text}");
    }
}

/// All of them are refused by `socket.io-parser` 4.2.7, too.
#[test]
fn refuses_what_socket_io_parser_refuses() {
    let table: &[(&str, &[&str])] = &[
        ("the type is unknown", &["7", "a", r#"9["a"]"#, "-1", "\u{ff12}[\"a\"]", "/admin,"]),
        (
            "the data has not the form that the type requires",
            &[
                "0[]",
                "0null",
                r#"0"x""#,
                "1{}",
                r#"1"x""#,
                "1/admin,x",
                "2[]",
                "2[ ]",
                "2{}",
                "2[null]",
                "2[{}]",
                "2[[]]",
                "2[true]",
                r#"2"a""#,
                "31{}",
                "31\"x\"",
                "4[]",
                "4null",
                r#"2-1["a"]"#,
                r#"21-["a"]"#,
                "2é",
                r#"21.5["a"]"#,
                r#"21e1["a"]"#,
                r#"2/admin["a",1]"#,
            ],
        ),
        (
            "the data is not JSON",
            &[
                r#"2["a""#,
                r#"2["a"]]"#,
                r#"2["a"]x"#,
                r#"2["a",01]"#,
                "2[\"a\",'b']",
                r#"2["a",]"#,
                r#"2["a",NaN]"#,
                "2[\"a\u{1}\"]",
                r#"0{"a"}"#,
                r#"4"x"#,
                "4{}x",
                "2[",
            ],
        ),
        (
            "the name of the event is reserved",
            &[
                r#"2["connect"]"#,
                r#"2["connect_error"]"#,
                r#"2["disconnect"]"#,
                r#"2["disconnecting"]"#,
                r#"2["newListener"]"#,
                r#"2["removeListener"]"#,
                r#"2["\u0063onnect"]"#,
                r#"2/admin,7[ "connect" ,1]"#,
                r#"51-["connect"]"#,
            ],
        ),
        (
            "the number of attachments is not a number from 1 on",
            &[r#"50-["a"]"#, r#"5["a"]"#, r#"5-["a"]"#, r#"51.5-["a"]"#, r#"5-1-["a"]"#, "5", "51", r#"5/a,1-["a"]"#],
        ),
        ("there are too many attachments", &[r#"511-["a"]"#, r#"69007199254740991-["a"]"#]),
    ];
    for (want, texts) in table {
        for text in *texts {
            assert_eq!(reason(text), *want, "{text}");
        }
    }
}

/// Node reads these; the table at the top of the module says how.
#[test]
fn refuses_what_no_encoder_writes() {
    let id = "the acknowledgement id is too large, or begins with a zero";
    let form = "the data has not the form that the type requires";
    let attachments = "the number of attachments is not a number from 1 on";
    let table = [
        ("the message is empty", ""),
        (form, "2"),
        (form, "21"),
        (form, "2/admin"),
        (form, r#"2/admin["a"]"#),
        (form, "31"),
        (form, "51-"),
        (form, "4"),
        (form, "4/admin,"),
        (form, r#"2 ["a"]"#),
        (form, "2\t[\"a\"]"),
        (form, "0 {}"),
        (form, "0 "),
        (form, "1 "),
        (id, r#"2012["a"]"#),
        (id, r#"200["a"]"#),
        (id, r#"29007199254740992["a"]"#),
        (id, r#"2299999999999999999999999["a"]"#),
        (id, r#"218446744073709551616["a"]"#),
        (attachments, r#"501-["a"]"#),
        (attachments, r#"51e0-["a"]"#),
        (attachments, r#"5 1-["a"]"#),
        (attachments, r#"59007199254740992-["a"]"#),
    ];
    for (want, text) in table {
        assert_eq!(reason(text), want, "{text}");
    }
}

#[test]
fn attachments_and_namespaces_are_limited() {
    let limits = Limits { max_attachments: 3, max_namespace: 4, max_bytes: 10 };
    assert!(parse(r#"53-/abc,["a"]"#, &limits).is_ok());
    assert_eq!(parse(r#"54-["a"]"#, &limits), Err(Malformed::new("there are too many attachments")));
    assert!(parse("0/abc", &limits).is_ok());
    assert!(parse("0/abé", &limits).is_err(), "bytes are counted");
    for text in ["0/abcd", "0/abcd,", r#"2/abcd,["a"]"#, &format!("0/{}", "a".repeat(1_000_000))] {
        assert_eq!(parse(text, &limits), Err(Malformed::new("the namespace is too long")));
    }
}

#[test]
fn the_array_of_arguments_is_the_first_of_64_levels() {
    let nested = |levels: usize| format!(r#"2["a",{}{}]"#, "[".repeat(levels), "]".repeat(levels));
    assert!(packet(&nested(63)).is_ok());
    assert_eq!(reason(&nested(64)), "the data is nested too deeply");
}

#[test]
fn writes_headers_as_socket_io_parser_does() {
    // Printed by its `Encoder`.
    let table = [
        (r#"2["a"]"#, PacketType::Event, 0, "/", None),
        (r#"2/admin,7["a",1]"#, PacketType::Event, 0, "/admin", Some(7)),
        (r#"51-0["a",{"b":{"_placeholder":true,"num":0}}]"#, PacketType::BinaryEvent, 1, "/", Some(0)),
        (
            r#"62-/admin,12[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#,
            PacketType::BinaryAck,
            2,
            "/admin",
            Some(12),
        ),
        ("33[]", PacketType::Ack, 0, "/", Some(3)),
        (r#"0{"sid":"x"}"#, PacketType::Connect, 0, "/", None),
        ("0/admin,", PacketType::Connect, 0, "/admin", None),
        ("1", PacketType::Disconnect, 0, "/", None),
        ("1/admin,", PacketType::Disconnect, 0, "/admin", None),
        (r#"4/x,{"message":"Invalid namespace"}"#, PacketType::ConnectError, 0, "/x", None),
    ];
    for (text, kind, attachments, namespace, id) in table {
        let mut out = String::new();
        push_header(&mut out, kind, attachments, namespace, id);
        assert!(text.starts_with(&out), "{out}");
        let data = packet(text).expect("it is a packet").data.unwrap_or_default();
        assert_eq!(out + data, text);
    }
}

#[test]
fn a_written_id_is_read_again() {
    for id in [0, 9, 10, 99, 100, 1_234_567_890, MAX_SAFE_INTEGER] {
        let mut out = String::new();
        push_header(&mut out, PacketType::Ack, 0, "/a", Some(id));
        assert_eq!(out, format!("3/a,{id}"));
        out.push_str("[]");
        assert_eq!(packet(&out).map(|packet| packet.id), Ok(Some(id)));
    }
}

#[test]
fn types_are_the_digits_from_0_to_6() {
    for character in 0..=255 {
        let digit = PacketType::of(character).map(PacketType::digit);
        assert_eq!(digit, ('0'..='6').find(|&digit| digit == char::from(character)));
    }
}

#[test]
fn an_error_names_the_rule() {
    let error = packet("7").expect_err("it is malformed");
    assert_eq!(error.to_string(), "malformed Socket.IO packet: the type is unknown");
}
