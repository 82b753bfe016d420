use super::*;
use crate::socket_io::packet::PacketType;

const LIMITS: Limits = Limits { max_attachments: 10, max_namespace: 256, max_bytes: 1000 };
const MISSING: Malformed = Malformed::new("a placeholder has no attachment");

/// The result for an event with the arguments `list` and one attachment.
fn event(list: &str) -> Result<(), Malformed> {
    Reconstructor::default().text(&format!(r#"51-["a",{list}]"#), &LIMITS).map(|packet| assert_eq!(packet, None))
}

#[test]
fn accepts_the_placeholders_that_socket_io_parser_accepts() {
    let table = [
        ("one", r#"{"_placeholder":true,"num":0}"#),
        ("blanks", r#" { "_placeholder" : true , "num" : 0 } "#),
        ("a number with a fraction of zero", r#"{"_placeholder":true,"num":0.0}"#),
        ("a negative zero", r#"{"_placeholder":true,"num":-0}"#),
        ("the same twice", r#"{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}"#),
        ("none", "1"),
        ("other members", r#"{"x":1,"num":0,"_placeholder":true,"y":{}}"#),
        ("names with escapes", r#"{"\u005fplaceholder":true,"\u006eum":0}"#),
        ("the last of two members counts", r#"{"_placeholder":false,"_placeholder":true,"num":9,"num":0}"#),
        ("the last of two members counts, and is false", r#"{"_placeholder":true,"_placeholder":false,"num":9}"#),
        ("false is data", r#"{"_placeholder":false,"num":5}"#),
        ("1 is data", r#"{"_placeholder":1,"num":5}"#),
        ("a string is data", r#"{"_placeholder":"true","num":5}"#),
        ("an object is data", r#"{"_placeholder":{},"num":9}"#),
        ("an array is data", r#"{"_placeholder":[true],"num":9}"#),
        ("at depth", r#"{"a":[{"b":{"_placeholder":true,"num":0}}]}"#),
        ("in __proto__", r#"{"__proto__":{"_placeholder":true,"num":0}}"#),
        ("strings that look like names", r#"["_placeholder",true,"num",9]"#),
        ("members of different objects", r#"{"_placeholder":0,"x":{"_placeholder":false},"num":9}"#),
    ];
    for (name, list) in table {
        assert_eq!(event(list), Ok(()), "{name}");
    }
}

#[test]
fn refuses_placeholders_without_an_attachment() {
    let table = [
        ("one too many", r#"{"_placeholder":true,"num":1}"#),
        ("negative", r#"{"_placeholder":true,"num":-1}"#),
        ("a string", r#"{"_placeholder":true,"num":"0"}"#),
        ("absent", r#"{"_placeholder":true}"#),
        ("null", r#"{"_placeholder":true,"num":null}"#),
        ("an array", r#"{"_placeholder":true,"num":[0]}"#),
        ("too large for an integer", r#"{"_placeholder":true,"num":1e300}"#),
        ("the last of two members counts", r#"{"_placeholder":true,"num":0,"num":1}"#),
        ("the second of two placeholders", r#"{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}"#),
        ("at depth", r#"[[{"a":[{"_placeholder":true,"num":1}]}]]"#),
        ("in __proto__", r#"{"__proto__":{"_placeholder":true,"num":9}}"#),
        ("the number is in another object", r#"{"_placeholder":true,"x":{"num":0}}"#),
        // Node reads these two: the first as `undefined`, and of the second only the outer one.
        ("a fraction", r#"{"_placeholder":true,"num":0.5}"#),
        ("inside another placeholder", r#"{"_placeholder":true,"num":0,"x":{"_placeholder":true,"num":9}}"#),
    ];
    for (name, list) in table {
        assert_eq!(event(list), Err(MISSING), "{name}");
    }
}

#[test]
fn a_placeholder_in_a_packet_without_attachments_is_data() {
    let text = r#"2["a",{"_placeholder":true,"num":7}]"#;
    let packet = Reconstructor::default().text(text, &LIMITS).map(|packet| packet.and_then(|packet| packet.data));
    assert_eq!(packet, Ok(Some(&text[1..])));
}

#[test]
fn a_packet_waits_for_all_its_attachments() {
    let mut reconstructor = Reconstructor::default();
    let text = r#"52-/admin,7["a",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]"#;
    assert_eq!(reconstructor.text(text, &LIMITS), Ok(None));
    assert!(reconstructor.is_waiting());
    assert_eq!(reconstructor.binary(&b"one"[..]), Ok(None));
    assert!(reconstructor.is_waiting());
    let whole = reconstructor.binary(b"".to_vec()).expect("it is in order").expect("it is the last one");
    assert!(!reconstructor.is_waiting());
    let packet = whole.packet();
    assert_eq!(packet, packet::parse(text, &LIMITS).expect("a packet"));
    assert_eq!((packet.kind, packet.namespace, packet.id), (PacketType::BinaryEvent, "/admin", Some(7)));
    assert_eq!(whole.attachments()[..], [b"one".to_vec(), Vec::new()]);

    // The next packets.
    let ack = reconstructor.text("31[]", &LIMITS).expect("a packet").expect("without attachments");
    assert_eq!(ack.kind, PacketType::Ack);
    assert_eq!(reconstructor.text(r#"61-1[{"_placeholder":true,"num":0}]"#, &LIMITS), Ok(None));
    assert_eq!(reconstructor.binary(&b"x"[..]).expect("it is in order").expect("the last one").attachments().len(), 1);
}

#[test]
fn nothing_comes_between_a_packet_and_its_attachments() {
    let mut reconstructor = Reconstructor::default();
    let waiting = |reconstructor: &mut Reconstructor| {
        assert_eq!(reconstructor.text(r#"51-["a",{"_placeholder":true,"num":0}]"#, &LIMITS), Ok(None));
    };
    waiting(&mut reconstructor);
    let error = Malformed::new("a text came instead of an attachment");
    assert_eq!(reconstructor.text(r#"2["b"]"#, &LIMITS), Err(error));

    let error = Malformed::new("an attachment came without a packet");
    assert_eq!(reconstructor.binary(&b"x"[..]), Err(error), "the packet was dropped");
    waiting(&mut reconstructor);
    assert!(reconstructor.binary(&b"x"[..]).is_ok_and(|whole| whole.is_some()));
    assert_eq!(reconstructor.binary(&b"y"[..]), Err(error), "one too many");
    assert_eq!(Reconstructor::default().binary(&b"x"[..]), Err(error), "the first message");
}

#[test]
fn the_bytes_of_a_packet_with_attachments_are_limited() {
    let text = r#"53-["a"]"#;
    let limits = |max_bytes| Limits { max_bytes, ..LIMITS };
    let mut reconstructor = Reconstructor::default();
    assert_eq!(reconstructor.text(text, &limits(text.len() - 1)), Err(TOO_LARGE));
    for (len, fits) in [(10, true), (11, false)] {
        assert_eq!(reconstructor.text(text, &limits(text.len() + 20)), Ok(None));
        assert_eq!(reconstructor.binary(vec![0; 10]), Ok(None));
        assert_eq!(reconstructor.binary(vec![0; 0]), Ok(None));
        let last = reconstructor.binary(vec![0; len]);
        assert_eq!(last.map(|whole| whole.is_some()), if fits { Ok(true) } else { Err(TOO_LARGE) });
        assert!(!reconstructor.is_waiting());
    }
    assert!(reconstructor.text(&format!(r#"2["{}"]"#, "a".repeat(2000)), &LIMITS).is_ok_and(|packet| packet.is_some()));
}

/// Values as a program has them.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(tag = "type")]
enum Upload {
    File {
        file: Binary,
        #[serde(flatten)]
        more: Thumbnails,
    },
    Link {
        url: String,
    },
}

#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
struct Thumbnails {
    thumbnails: Vec<Option<Binary>>,
}

fn upload() -> Vec<Upload> {
    let more = Thumbnails { thumbnails: vec![Some([2].into()), None, Some([].into())] };
    let file = Binary::from(&[0, 255][..]);
    vec![Upload::Link { url: "a".to_owned() }, Upload::File { file, more }]
}

const UPLOAD: &str = concat!(
    r#"[{"type":"Link","url":"a"},{"type":"File","file":{"_placeholder":true,"num":0},"#,
    r#""thumbnails":[{"_placeholder":true,"num":1},null,{"_placeholder":true,"num":2}]}]"#
);

#[test]
fn binary_values_are_serialized_as_placeholders_at_any_depth() {
    let mut attachments = vec![b"of another packet".to_vec()];
    let text = collect(&mut attachments, 1, || serde_json::to_string(&upload())).expect("it can be serialized");
    assert_eq!(text, UPLOAD);
    assert_eq!(attachments, [&b"of another packet"[..], &[0, 255], &[2], &[]]);
}

#[test]
fn binary_values_are_deserialized_from_placeholders_at_any_depth() {
    let attachments: Attachments = [vec![0, 255], vec![2], vec![]].into();
    let value = lend(Some(&attachments), || serde_json::from_str::<Vec<Upload>>(UPLOAD));
    assert_eq!(value.expect("it can be deserialized"), upload());
    // The same attachment twice.
    let twice = r#"[{"_placeholder":true,"num":1},{"num":1,"x":{"a":[]},"_placeholder":true}]"#;
    let value = lend(Some(&attachments), || serde_json::from_str::<[Binary; 2]>(twice));
    assert_eq!(value.expect("it can be deserialized"), [Binary::from([2]), Binary::from([2])]);
}

#[test]
fn other_values_are_no_binary_values() {
    let attachments: Attachments = [vec![1]].into();
    let table = [
        ("1", "invalid type: integer `1`, expected a binary value at line 1 column 1"),
        (r#""a""#, "invalid type: string \"a\", expected a binary value at line 1 column 3"),
        ("[1]", "invalid type: sequence, expected a binary value at line 1 column 0"),
        ("null", "invalid type: null, expected a binary value at line 1 column 4"),
        ("{}", "expected a binary value, found an object at line 1 column 2"),
        (r#"{"_placeholder":false,"num":0}"#, "expected a binary value, found an object at line 1 column 30"),
        (r#"{"_placeholder":true}"#, "expected a binary value, found an object at line 1 column 21"),
        (r#"{"_placeholder":true,"num":0.5}"#, "expected a binary value, found an object at line 1 column 31"),
        (r#"{"_placeholder":true,"num":1}"#, "there is no attachment of this number"),
    ];
    for (text, want) in table {
        let error = lend(Some(&attachments), || serde_json::from_str::<Binary>(text)).expect_err(text);
        assert_eq!(error.to_string(), want, "{text}");
    }
}

#[test]
fn outside_of_arguments_a_binary_value_is_an_error() {
    let error = serde_json::to_string(&Binary::from([1])).expect_err("no packet is encoded");
    let want = "a Binary can be serialized only as part of the arguments of an event or acknowledgement";
    assert_eq!(error.to_string(), want);

    let placeholder = r#"{"_placeholder":true,"num":0}"#;
    let want = "a Binary can be deserialized only from the arguments of an event or acknowledgement with attachments";
    let attachments: Attachments = [vec![1]].into();
    for name in ["outside", "without attachments", "inside of others"] {
        let decode = || serde_json::from_str::<Binary>(placeholder);
        let result = match name {
            "outside" => decode(),
            "without attachments" => lend(None, decode),
            _ => lend(Some(&attachments), || lend(None, decode)),
        };
        assert_eq!(result.expect_err(name).to_string(), want, "{name}");
    }
}

#[test]
fn attachments_come_back_after_a_panic() {
    let mut attachments = vec![vec![1]];
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        collect(&mut attachments, 1, || {
            serde_json::to_string(&Binary::from([2])).expect("a packet is encoded");
            panic!("a bug of the program");
        })
    }));
    assert!(outcome.is_err());
    assert_eq!(attachments, [[1], [2]]);
    assert!(serde_json::to_string(&Binary::default()).is_err(), "no packet is encoded");
}

#[test]
fn one_value_can_be_encoded_while_another_one_is() {
    let (mut outer, mut inner) = (Vec::new(), Vec::new());
    let serialize = |byte| serde_json::to_string(&Binary::from([byte])).expect("a packet is encoded");
    collect(&mut outer, 0, || {
        serialize(1);
        assert_eq!(collect(&mut inner, 0, || serialize(2)), r#"{"_placeholder":true,"num":0}"#);
        assert_eq!(serialize(3), r#"{"_placeholder":true,"num":1}"#);
    });
    assert_eq!((outer, inner), (vec![vec![1], vec![3]], vec![vec![2]]));
}

#[test]
fn an_argument_is_a_placeholder_or_has_one_inside() {
    let table = [
        (r#"{"_placeholder":true,"num":3}"#, Some(3)),
        (r#"{"x":{"_placeholder":false,"num":1},"num":3,"_placeholder":true}"#, Some(3)),
        (r#"{"x":{"_placeholder":true,"num":3}}"#, None),
        (r#"[{"_placeholder":true,"num":3}]"#, None),
        (r#""{""#, None),
        ("{}", None),
        ("", None),
        ("}", None),
    ];
    for (text, want) in table {
        assert_eq!(placeholder(text), want, "{text}");
    }
}

#[test]
fn texts_that_were_not_checked_cause_no_panic() {
    for text in ["]]]", "{{{", &"[".repeat(100), r#""_placeholder":true,"num":"#, r#"{"num":}"#] {
        let _ = (check_placeholders(text, 1), placeholder(text));
    }
}

#[test]
fn a_connection_that_does_not_wait_needs_eight_bytes() {
    assert_eq!(size_of::<Reconstructor>(), 8);
}
