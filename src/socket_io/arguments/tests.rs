use std::collections::BTreeMap;

use serde_json::json;
use serde_json::value::RawValue;

use super::*;
use crate::socket_io::binary::Reconstructor;
use crate::socket_io::packet::Limits;

/// The text and the attachments of an event.
fn event(name: &str, arguments: impl IntoArguments) -> Result<(String, Vec<Vec<u8>>), EncodeError> {
    let (mut text, mut attachments) = (String::new(), Vec::new());
    encode_event(&mut text, &mut attachments, &Header::new("/", None), name, &arguments, None)?;
    Ok((text, attachments))
}

/// The text of an event without attachments.
fn plain(arguments: impl IntoArguments) -> String {
    let (text, attachments) = event("a", arguments).expect("it can be sent");
    assert!(attachments.is_empty());
    text
}

/// Decodes an event or an acknowledgement without attachments.
fn received(text: &str) -> (Cow<'_, str>, Arguments<'_>) {
    let packet = packet::parse(text, &Limits::default()).expect("a packet");
    match packet.kind {
        PacketType::Ack => ("".into(), Arguments::of_ack(&packet, None)),
        _ => Arguments::of_event(&packet, None),
    }
}

/// Decodes a packet with attachments.
fn received_with(text: &str, attachments: &[&[u8]]) -> OwnedArguments {
    let mut reconstructor = Reconstructor::default();
    assert_eq!(reconstructor.text(text, &Limits::default()), Ok(None));
    let mut whole = None;
    for &attachment in attachments {
        whole = reconstructor.binary(attachment).expect("it is in order");
    }
    let whole = whole.expect("all attachments came");
    let packet = whole.packet();
    match packet.kind {
        PacketType::BinaryAck => Arguments::of_ack(&packet, Some(whole.attachments())).to_owned(),
        _ => Arguments::of_event(&packet, Some(whole.attachments())).1.to_owned(),
    }
}

const MIXED: &str = r#"2["a", "b\n" ,{"x":[1,2]} ,1.5,null]"#;

#[test]
fn an_event_has_a_name_and_arguments() {
    let table = [
        (MIXED, "a", r#""b\n" ,{"x":[1,2]} ,1.5,null"#, 4),
        (r#"2["echo"]"#, "echo", "", 0),
        (r#"2[ "echo" ] "#, "echo", "", 0),
        (r#"27["echo",{"a":1}]"#, "echo", r#"{"a":1}"#, 1),
        (r#"2["\u00e9\\",[]]"#, "é\\", "[]", 1),
        (r#"2["\ud800"]"#, "\u{fffd}", "", 0),
        ("2[7,8]", "7", "8", 1),
        ("2[1e21]", "1e+21", "", 0),
        (r#"2[" connect"]"#, " connect", "", 0),
    ];
    for (text, name, json, len) in table {
        let (found, arguments) = received(text);
        assert_eq!((&*found, arguments.as_json(), arguments.len()), (name, json, len), "{text}");
        assert_eq!(arguments.is_empty(), len == 0, "{text}");
    }
}

#[test]
fn all_items_of_an_acknowledgement_are_arguments() {
    for (text, json) in [("31[]", ""), ("31[ ]", ""), (r#"31["a", 1]"#, r#""a", 1"#)] {
        assert_eq!(received(text).1.as_json(), json);
    }
}

#[test]
fn single_arguments_can_be_read() {
    let (_, arguments) = received(MIXED);
    assert_eq!(arguments.iter().collect::<Vec<_>>(), [r#""b\n""#, r#"{"x":[1,2]}"#, "1.5", "null"]);
    assert_eq!((arguments.raw(0), arguments.raw(3), arguments.raw(4)), (Some(r#""b\n""#), Some("null"), None));
    assert_eq!(arguments.text(0).as_deref(), Some("b\n"));
    assert_eq!((arguments.text(1), arguments.text(4)), (None, None));
    assert_eq!(arguments.get::<String>(0).expect("a string"), "b\n");
    assert_eq!(arguments.get::<BTreeMap<String, Vec<u8>>>(1).expect("an object")["x"], [1, 2]);
    assert_eq!(arguments.get::<Value>(1).expect("any value"), json!({"x": [1, 2]}));
    assert_eq!(arguments.get::<Box<RawValue>>(1).expect("any value").get(), r#"{"x":[1,2]}"#);
    assert_eq!(arguments.get::<f64>(2).expect("a number"), 1.5);
    assert_eq!(arguments.get::<Option<u8>>(3).expect("null"), None);
    assert_eq!((arguments.binary(1), arguments.attachments().len()), (None, 0));
}

#[test]
fn errors_of_single_arguments_name_the_argument() {
    let (_, arguments) = received(MIXED);
    let error = |result: Result<u8, ArgumentError>| result.expect_err("it is no small integer").to_string();
    assert_eq!(error(arguments.get(4)), "there is no argument 4, counted from 0: the packet has 4");
    let want = "argument 0: invalid type: string \"b\\n\", expected u8 at line 1 column 5";
    assert_eq!(error(arguments.get(0)), want);
    let lone_surrogate = received(r#"2["a","\ud800"]"#).1.get::<String>(0);
    assert!(matches!(lone_surrogate, Err(ArgumentError::Invalid { index: 0, .. })));
    assert!(error::Error::source(&arguments.get::<u8>(0).expect_err("a string")).is_some());
}

#[test]
fn all_arguments_can_be_read_as_a_tuple() {
    let (_, arguments) = received(MIXED);
    type All = (String, BTreeMap<String, Vec<u8>>, f64, Option<u8>);
    let (first, second, third, fourth) = arguments.parse::<All>().expect("the types are right");
    assert_eq!((&*first, &second["x"][..], third, fourth), ("b\n", &[1, 2][..], 1.5, None));
    assert_eq!(arguments.parse::<Vec<Value>>().expect("any values").len(), 4);
    received(r#"2["a"]"#).1.parse::<()>().expect("no arguments");
    assert_eq!(received("31[7]").1.parse::<(u8,)>().expect("a number"), (7,));

    #[derive(serde::Deserialize)]
    struct Point {
        x: i32,
        y: i32,
    }
    #[derive(serde::Deserialize)]
    struct Points(Vec<i32>);
    let (_, arguments) = received("31[3,4]");
    let Point { x, y } = arguments.parse().expect("a struct is a sequence, too");
    let Points(points) = arguments.parse().expect("and a newtype is what it has inside");
    assert_eq!((x, y, points), (3, 4, vec![3, 4]));
}

#[test]
fn errors_of_all_arguments_tell_the_difference() {
    let (_, arguments) = received(r#"2["a",1,"b"]"#);
    let error = arguments.parse::<(u8,)>().expect_err("there are two");
    assert_eq!(error.to_string(), "too many arguments: 2 instead of 1");
    let error = arguments.parse::<()>().expect_err("there are two");
    assert_eq!(error.to_string(), "too many arguments: 2 instead of 0");
    let error = arguments.parse::<(u8, String, u8)>().expect_err("there are two");
    assert_eq!(error.to_string(), "the 2 arguments together: invalid length 2, expected a tuple of size 3");
    let error = arguments.parse::<(u8, u8)>().expect_err("the second is a string");
    let want = "argument 1: invalid type: string \"b\", expected u8 at line 1 column 3";
    assert_eq!(error.to_string(), want);
    let error = arguments.parse::<u8>().expect_err("one value cannot be two arguments");
    assert_eq!(error.to_string(), "the 2 arguments together: invalid type: sequence, expected u8");
}

#[test]
fn every_value_is_sent_as_json_stringify_writes_it() {
    let (string, array, kept) = ("b".to_owned(), json!([1, 2]), received(MIXED).1.to_owned());
    let table = [
        (plain(()), r#"2["a"]"#),
        (plain("é\"\n"), r#"2["a","é\"\n"]"#),
        (plain(string.clone()), r#"2["a","b"]"#),
        (plain(&string), r#"2["a","b"]"#),
        (plain(true), r#"2["a",true]"#),
        (plain(-7_i8), r#"2["a",-7]"#),
        (plain(u64::MAX), r#"2["a",18446744073709551615]"#),
        (plain(0.1), r#"2["a",0.1]"#),
        (plain(f32::NAN), r#"2["a",null]"#),
        (plain(f64::INFINITY), r#"2["a",null]"#),
        (plain(json!({"b": [1], "__proto__": null})), r#"2["a",{"b":[1],"__proto__":null}]"#),
        (plain(&array), r#"2["a",[1,2]]"#),
        (plain((1,)), r#"2["a",1]"#),
        (plain((1, "b")), r#"2["a",1,"b"]"#),
        (
            plain((1, "b", [2, 3], None::<u8>, f64::NAN, (), 'c', json!({}))),
            r#"2["a",1,"b",[2,3],null,null,null,"c",{}]"#,
        ),
        (plain(Raw { json: r#" 1, {"b":2} "#, attachments: &[] }), r#"2["a",1, {"b":2}]"#),
        (plain(Raw::default()), r#"2["a"]"#),
        (plain(received(MIXED).1), r#"2["a","b\n" ,{"x":[1,2]} ,1.5,null]"#),
        (plain(&kept), r#"2["a","b\n" ,{"x":[1,2]} ,1.5,null]"#),
        (plain(&1 as &dyn IntoArguments), r#"2["a",1]"#),
    ];
    for (text, want) in table {
        assert_eq!(text, want);
    }
}

#[test]
fn the_header_is_as_socket_io_parser_writes_it() {
    let (mut text, mut attachments) = (String::new(), Vec::new());
    let admin = Header::new("/admin", Some(12));
    encode_event(&mut text, &mut attachments, &admin, "a", &1, None).expect("it can be sent");
    assert_eq!(text, r#"2/admin,12["a",1]"#);
    text.clear();
    encode_ack(&mut text, &mut attachments, &admin, &()).expect("it can be sent");
    assert_eq!(text, "3/admin,12[]");
    text.clear();
    encode_ack(&mut text, &mut attachments, &admin, &(Binary::from([1]), Binary::from([2, 3])))
        .expect("it can be sent");
    assert_eq!(text, r#"62-/admin,12[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#);
    assert_eq!(attachments, [&[1][..], &[2, 3]]);
    text.clear();
    attachments.clear();
    let arguments = (BTreeMap::from([("b", Binary::from([1]))]),);
    encode_event(&mut text, &mut attachments, &Header::new("/", Some(0)), "a", &arguments, None)
        .expect("it can be sent");
    assert_eq!(text, r#"51-0["a",{"b":{"_placeholder":true,"num":0}}]"#);
}

#[test]
fn packets_are_appended() {
    let (mut text, mut attachments) = ("before|".to_owned(), vec![vec![9]]);
    let header = Header::new("/", None);
    encode_event(&mut text, &mut attachments, &header, "a", &Binary::from([1]), None).expect("it can be sent");
    text.push('|');
    encode_event(&mut text, &mut attachments, &header, "b", &Binary::from([2]), None).expect("it can be sent");
    let packet = |name| format!(r#"51-["{name}",{{"_placeholder":true,"num":0}}]"#);
    assert_eq!(text, format!("before|{}|{}", packet("a"), packet("b")));
    assert_eq!(attachments, [[9], [1], [2]]);
}

#[test]
fn the_offset_is_the_last_argument() {
    let (mut text, mut attachments) = (String::new(), Vec::new());
    let header = Header::new("/", None);
    encode_event(&mut text, &mut attachments, &header, "a", &(1, 2), Some("x1")).expect("it can be sent");
    assert_eq!(text, r#"2["a",1,2,"x1"]"#);
    text.clear();
    encode_event(&mut text, &mut attachments, &header, "a", &Binary::from([]), Some("\"")).expect("it can be sent");
    assert_eq!(text, r#"51-["a",{"_placeholder":true,"num":0},"\""]"#);
}

#[test]
fn received_arguments_are_sent_again_byte_for_byte() {
    let text = r#"52-["a", {"_placeholder":true,"num":1} ,[ {"num":0,"_placeholder":true}]]"#;
    let arguments = received_with(text, &[b"one", b"two"]);
    assert_eq!(arguments.as_arguments().attachments(), [b"one", b"two"]);
    let (sent, attachments) = event("a", &arguments).expect("it can be sent");
    assert_eq!(sent, text.replacen(", ", ",", 1));
    assert_eq!(attachments, [b"one", b"two"]);
    // Attachments without placeholders, too.
    let (sent, attachments) = event("a", received_with(r#"62-[1]"#, &[b"", b"x"])).expect("it can be sent");
    assert_eq!((&*sent, attachments.len()), (r#"52-["a",1]"#, 2));
}

#[test]
fn binary_arguments_can_be_read() {
    let text =
        r#"53-["a",{"_placeholder":true,"num":1},{"b":{"_placeholder":true,"num":0}},1,{"_placeholder":true,"num":1}]"#;
    let arguments = received_with(text, &[b"zero", b"one", b"two"]);
    let arguments = arguments.as_arguments();
    let bytes: Vec<_> = (0..5).map(|index| arguments.binary(index)).collect();
    assert_eq!(bytes, [Some(&b"one"[..]), None, None, Some(b"one"), None]);
    assert_eq!(arguments.get::<Binary>(0).expect("bytes").0, b"one");
    assert_eq!(arguments.get::<BTreeMap<String, Binary>>(1).expect("bytes inside")["b"].0, b"zero");
    let (first, _, _, last) = arguments.parse::<(Binary, Value, u8, Binary)>().expect("the types are right");
    assert_eq!(first, last);
    let value = arguments.get::<Value>(0).expect("any value");
    assert_eq!(value, json!({"_placeholder": true, "num": 1}), "a Value has the placeholder");
    let error = arguments.get::<Binary>(2).expect_err("a number");
    assert_eq!(error.to_string(), "argument 2: invalid type: integer `1`, expected a binary value at line 1 column 1");
}

#[test]
fn in_a_packet_without_attachments_a_placeholder_is_data() {
    let text = r#"2["a",{"_placeholder":true,"num":0}]"#;
    let (_, arguments) = received(text);
    assert_eq!(arguments.binary(0), None);
    assert!(arguments.get::<Binary>(0).is_err());
    assert_eq!(plain(arguments), text);
}

#[test]
fn arguments_from_elsewhere_are_checked() {
    let new = |list: &str, attachments: &[&[u8]]| {
        OwnedArguments::new(list.to_owned(), attachments.iter().map(|bytes| bytes.to_vec()).collect())
    };
    let arguments = new(r#" 1,{"_placeholder":true,"num":0} "#, &[b"x"]).expect("they are right");
    assert_eq!(arguments.as_arguments().binary(1), Some(&b"x"[..]));
    assert_eq!(arguments.as_arguments().as_json(), r#"1,{"_placeholder":true,"num":0}"#);
    assert!(new("", &[]).expect("no arguments").as_arguments().is_empty());
    assert!(new("1,", &[]).is_err());
    assert!(new("1],[2", &[]).is_err());
    assert!(new(r#"{"_placeholder":true,"num":1}"#, &[b"x"]).is_err());
    assert!(new(r#"{"_placeholder":true,"num":1}"#, &[]).is_ok(), "data");
}

/// Otherwise a client could make the server send packets that close the connections of others.
#[test]
fn data_that_looks_like_a_placeholder_is_not_sent_beside_binary_values() {
    let data = json!({"deep": [{"_placeholder": true, "num": 1}]});
    assert!(event("a", (&data,)).is_ok(), "alone it is data");
    let error = event("a", (Binary::from([1]), &data)).expect_err("the peer would look for attachment 1");
    let want = "the peer would refuse this packet: malformed Socket.IO packet: a placeholder has no attachment";
    assert_eq!(error.to_string(), want);
}

#[test]
fn after_an_error_nothing_was_appended() {
    struct Late;
    impl IntoArguments for Late {
        fn write(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
            out.argument(&Binary::from([1]))?;
            out.raw(r#"{"_placeholder":true,"num":0}"#, [&b"x"[..]])
        }
    }
    let many = |count: usize| (vec![Binary::from([1]); count],);
    let deep = |depth: usize| (0..depth).fold(json!(1), |inner, _| json!([inner]));
    let map_with_other_keys = (Binary::from([1]), BTreeMap::from([((1, 2), 3)]));
    let table: [(&str, &dyn IntoArguments, &str); 4] = [
        ("a", &map_with_other_keys, "an argument cannot be sent as JSON: key must be a string"),
        ("a", &many(11), "11 binary values in one packet: the peer accepts at most 10"),
        ("a", &Late, "raw arguments with attachments come after other attachments"),
        (
            "a",
            &(Binary::from([1]), deep(64)),
            "the peer would refuse this packet: malformed Socket.IO packet: the data is nested too deeply",
        ),
    ];
    let (mut text, mut attachments) = ("before".to_owned(), vec![vec![9]]);
    for (name, arguments, want) in table {
        let header = Header::new("/admin", Some(1));
        let result = encode_event(&mut text, &mut attachments, &header, name, arguments, None);
        assert_eq!(result.expect_err(want).to_string(), want);
        assert_eq!((&*text, &attachments[..]), ("before", &[vec![9]][..]), "{want}");
        let result = encode_ack(&mut text, &mut attachments, &header, arguments);
        assert_eq!(result.expect_err(want).to_string(), want);
        assert_eq!((&*text, &attachments[..]), ("before", &[vec![9]][..]), "{want}");
    }
    assert!(event("a", many(10)).is_ok());
    assert!(event("a", (deep(100),)).is_ok(), "only a packet with attachments is checked");
}

#[test]
fn the_limit_of_attachments_can_be_another_one() {
    let (mut text, mut attachments) = (String::new(), Vec::new());
    let arguments = (vec![Binary::from([1]); 11],);
    for (max_attachments, is_sent) in [(11, true), (10, false)] {
        let header = Header { max_attachments, ..Header::new("/", None) };
        let result = encode_event(&mut text, &mut attachments, &header, "a", &arguments, None);
        assert_eq!(result.is_ok(), is_sent);
    }
    assert!(text.starts_with("511-["));
    let packet = packet::parse(&text, &Limits { max_attachments: 11, ..Limits::default() });
    assert_eq!(packet.map(|packet| packet.attachments), Ok(11));
}

#[test]
fn reserved_names_are_not_sent() {
    for name in RESERVED_EVENTS {
        let error = event(name, ()).expect_err("it is reserved");
        assert_eq!(error.to_string(), "the name of the event is reserved");
    }
    assert!(event("Connect", ()).is_ok());
}

#[test]
fn raw_arguments_bring_their_attachments() {
    let json = r#"{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}"#;
    let (text, attachments) = event("a", Raw { json, attachments: &[b"zero", b"one"] }).expect("it can be sent");
    assert_eq!(text, format!(r#"52-["a",{json}]"#));
    assert_eq!(attachments, [&b"zero"[..], b"one"]);

    // Binary values may come after them.
    struct Both;
    impl IntoArguments for Both {
        fn write(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
            out.raw(r#"{"_placeholder":true,"num":0}"#, [vec![1]])?;
            out.raw("7", None::<Vec<u8>>)?;
            out.argument(&Binary::from([2]))
        }
    }
    let (text, attachments) = event("a", Both).expect("it can be sent");
    assert_eq!(text, r#"52-["a",{"_placeholder":true,"num":0},7,{"_placeholder":true,"num":1}]"#);
    assert_eq!(attachments, [[1], [2]]);
}

#[test]
fn arguments_can_be_kept_and_given_to_another_thread() {
    let kept = received_with(r#"51-["a",{"_placeholder":true,"num":0}]"#, &[b"x"]);
    let attachments = kept.as_arguments().attachments().as_ptr();
    let copy = kept.as_arguments().to_owned();
    assert_eq!(copy.as_arguments().attachments().as_ptr(), attachments, "attachments are not copied");
    fn can_be_given<T: Send + 'static>(_: &T) {}
    can_be_given(&copy);
}

#[test]
fn the_last_argument_can_be_left_out() {
    let table =
        [("", ""), ("1", ""), ("1,2", "1"), (r#" {"a":[1,2]} , "x,y" "#, r#"{"a":[1,2]}"#), ("1,2,[3,4]", "1,2")];
    for (all, want) in table {
        let arguments = OwnedArguments::new(all.to_owned(), Vec::new()).expect("good JSON");
        assert_eq!(arguments.as_arguments().without_last().as_json(), want, "{all}");
    }
}
