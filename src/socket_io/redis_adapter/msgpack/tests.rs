use super::*;
use proptest::prelude::*;

/// Reads one value. Returns its JSON and its attachments.
fn read(bytes: &[u8]) -> Result<(String, Vec<Vec<u8>>), Malformed> {
    let (mut reader, mut out, mut attachments) = (Reader::new(bytes), String::new(), Vec::new());
    reader.json(&mut out, &mut attachments)?;
    reader.finish()?;
    Ok((out, attachments))
}

fn json_of(bytes: &[u8]) -> String {
    let (json, attachments) = read(bytes).expect("a value");
    assert!(attachments.is_empty());
    json
}

fn written(json: &str) -> Vec<u8> {
    let mut out = Vec::new();
    push_json(&mut out, json, &[]);
    out
}

#[test]
fn every_width_of_an_integer_is_read_and_the_shortest_is_written() {
    let table: &[(&[u8], &str)] = &[
        (b"\x00", "0"),
        (b"\x7f", "127"),
        (b"\xcc\x80", "128"),
        (b"\xcc\xff", "255"),
        (b"\xcd\x01\x00", "256"),
        (b"\xce\x00\x01\x00\x00", "65536"),
        (b"\xcf\x00\x00\x00\x01\x00\x00\x00\x00", "4294967296"),
        (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "18446744073709551615"),
        (b"\xff", "-1"),
        (b"\xe0", "-32"),
        (b"\xd0\xdf", "-33"),
        (b"\xd1\xff\x7f", "-129"),
        (b"\xd2\xff\xff\x7f\xff", "-32769"),
        (b"\xd3\xff\xff\xff\xff\x7f\xff\xff\xff", "-2147483649"),
    ];
    for (bytes, json) in table {
        assert_eq!(json_of(bytes), *json);
        assert_eq!(written(json), *bytes, "{json}");
    }
    // Longer than necessary.
    for bytes in [
        &b"\xcc\x01"[..],
        b"\xcd\0\x01",
        b"\xce\0\0\0\x01",
        b"\xcf\0\0\0\0\0\0\0\x01",
        b"\xd0\x01",
        b"\xd3\0\0\0\0\0\0\0\x01",
    ] {
        assert_eq!(json_of(bytes), "1");
    }
}

#[test]
fn a_number_that_javascript_takes_for_an_integer_is_written_as_one() {
    assert_eq!(written("1.5"), b"\xcb\x3f\xf8\0\0\0\0\0\0");
    assert_eq!(written("1e3"), written("1000"));
    assert_eq!(written("-2.0"), written("-2"));
    assert_eq!(written("-0"), b"\0");
    assert_eq!(written("1e300")[0], 0xcb);
    assert_eq!(json_of(b"\xca\x3f\xc0\0\0"), "1.5");
    assert_eq!(json_of(b"\xcb\x40\x08\0\0\0\0\0\0"), "3");
    assert_eq!(json_of(b"\xcb\x7f\xf0\0\0\0\0\0\0"), "null", "infinity");
    assert_eq!(json_of(b"\xcb\x7f\xf8\0\0\0\0\0\0"), "null", "not a number");
}

#[test]
fn texts_arrays_and_objects_of_every_width_are_read() {
    let text = "é".repeat(20);
    assert_eq!(json_of(&[&[0xd9, 40], text.as_bytes()].concat()), format!("\"{text}\""));
    assert_eq!(json_of(&[&[0xda, 0, 40], text.as_bytes()].concat()), format!("\"{text}\""));
    assert_eq!(json_of(&[&[0xdb, 0, 0, 0, 40], text.as_bytes()].concat()), format!("\"{text}\""));
    assert_eq!(json_of(b"\xa3a\"\n"), r#""a\"\n""#);
    assert_eq!(json_of(b"\xa1\xff"), "\"\u{fffd}\"");
    assert_eq!(json_of(b"\xdc\0\x02\x01\xc0"), "[1,null]");
    assert_eq!(json_of(b"\xdd\0\0\0\x01\xc3"), "[true]");
    assert_eq!(json_of(b"\xde\0\x01\xa1a\xc2"), r#"{"a":false}"#);
    assert_eq!(json_of(b"\xdf\0\0\0\x01\x07\x08"), r#"{"7":8}"#, "a number is a name");
}

#[test]
fn dates_are_those_of_json_stringify() {
    let table: &[(&[u8], &str)] = &[
        (b"\xd6\xff\0\0\0\0", "1970-01-01T00:00:00.000Z"),
        (b"\xd7\xff\x1d\x53\x53\x00\x5e\x0b\xe1\x00", "2020-01-01T00:00:00.123Z"),
        (b"\xc7\x0c\xff\x3b\x8b\x87\xc0\xff\xff\xff\xff\xff\xff\xff\xff", "1969-12-31T23:59:59.999Z"),
        (b"\xd7\x00\0\0\x01\x6f\x5e\x66\xe8\x7b", "2020-01-01T00:00:00.123Z"),
        (b"\xd7\x00\0\x1e\xb2\x08\xc2\xdc\0\0", "+275760-09-13T00:00:00.000Z"),
        (b"\xd7\x00\xff\xff\xc7\x6e\x39\x4a\x74\x00", "-000001-01-01T00:00:00.000Z"),
    ];
    for (bytes, date) in table {
        assert_eq!(json_of(bytes), format!("\"{date}\""));
    }
    assert_eq!(json_of(b"\xd7\x00\x7f\xff\xff\xff\xff\xff\xff\xff"), "null", "no Date is so late");
}

#[test]
fn undefined_is_null_in_an_array_and_no_member_of_an_object() {
    assert_eq!(json_of(b"\xd4\0\0"), "null");
    assert_eq!(json_of(b"\x93\x01\xd4\0\0\x02"), "[1,null,2]");
    assert_eq!(json_of(b"\x83\xa1a\xd4\0\0\xa1b\x01\xa1c\xd4\0\0"), r#"{"b":1}"#);
}

#[test]
fn binary_values_become_attachments_and_back() {
    let bytes = b"\x92\xc4\x02\x01\x02\x81\xa1f\xc5\0\x01\x03";
    let (json, attachments) = read(bytes).expect("a value");
    let want = r#"[{"_placeholder":true,"num":0},{"f":{"_placeholder":true,"num":1}}]"#;
    assert_eq!((json.as_str(), &attachments), (want, &vec![vec![1, 2], vec![3]]));
    let mut out = Vec::new();
    push_json(&mut out, &json, &attachments);
    assert_eq!(out, b"\x92\xc4\x02\x01\x02\x81\xa1f\xc4\x01\x03");
    // Without attachments a placeholder is an object.
    assert_eq!(written(r#"{"_placeholder":true,"num":0}"#)[0], 0x82);
    // An `ArrayBuffer` of old versions, and an extension that is not known.
    assert_eq!(read(b"\xc7\x01\0\x09").expect("a value").1, [vec![9]]);
    assert_eq!(read(b"\xd5\x07\x01\x02").expect("a value").0, r#"[7,{"_placeholder":true,"num":0}]"#);
}

#[test]
fn objects_are_written_member_by_member() {
    let json = r#" {"a" : [ ] , "b\u00e9":{"c":"\ud83d\ude00"},"":null} "#.trim();
    assert_eq!(written(json), b"\x83\xa1a\x90\xa3b\xc3\xa9\x81\xa1c\xa4\xf0\x9f\x98\x80\xa0\xc0");
    assert_eq!(written("{}"), b"\x80");
    assert_eq!(written("{ }"), b"\x80");
}

#[test]
fn claims_and_nesting_are_refused() {
    assert!(read(b"").is_err());
    assert!(read(b"\xc1").is_err(), "a reserved type");
    assert!(read(b"\x01\x02").is_err(), "a second value");
    for bytes in [
        &b"\xdd\xff\xff\xff\xff"[..],
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xffa",
        b"\xc6\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\0",
    ] {
        assert!(read(bytes).is_err());
    }
    let nested = |depth: usize| [vec![0x91; depth], vec![0xc0]].concat();
    assert!(read(&nested(MAX_DEPTH as usize - 1)).is_ok());
    assert!(read(&nested(MAX_DEPTH as usize)).is_err());
    assert!(read(&nested(1_000_000)).is_err());
}

/// Values that JSON and MessagePack both have.
fn any_value() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Value::from),
            prop::collection::btree_map(".{0,4}", inner, 0..20)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn a_value_is_read_as_it_was_written(value in any_value()) {
        prop_assert_eq!(json_of(&written(&value.to_string())), value.to_string());
    }

    #[test]
    fn any_bytes_are_read_as_json_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok((json, _)) = read(&bytes) {
            prop_assert!(json::check(&json).is_ok(), "{}", json);
        }
    }
}
