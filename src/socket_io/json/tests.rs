use serde_json::value::RawValue;

use super::*;

const JSON: &[(&str, &str)] = &[
    ("an empty array", "[]"),
    ("an empty object", "{}"),
    ("blanks", " \t\n\r[ \t1 , 2\n]\r "),
    ("words", "[true,false,null]"),
    ("numbers", "[0,-0,1,-10,0.5,1e5,1E+5,1e-05,-0.0e0,123456789012345678901234567890,1e999]"),
    ("strings", r#"["","a","\"","\\","\/\b\f\n\r\t","\u0041\uABCD\uabcd","é€😀","\u007f"]"#),
    ("a long string", r#""aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaé\n""#),
    ("half a surrogate pair", r#"["\ud800","\udc00x"]"#),
    ("the same name twice", r#"{"a":1,"a":2}"#),
    ("names that JavaScript treats specially", r#"{"__proto__":{"constructor":null},"":0}"#),
    ("nested", r#"{"a":[{"b":{}},[[]],{"c":[0]}],"d":[{},{}]}"#),
    ("a string alone", r#" "a" "#),
    ("a number alone", "7"),
    ("separators of lines of Unicode", "\"\u{2028}\u{7f}\""),
];

const NOT_JSON_TEXTS: &[(&str, &str)] = &[
    ("nothing", ""),
    ("blanks alone", " \n"),
    ("two values", "1 2"),
    ("a comma at the end of an array", "[1,]"),
    ("a comma at the end of an object", r#"{"a":1,}"#),
    ("a comma alone", "[,]"),
    ("two commas", "[1,,2]"),
    ("no comma", "[1 2]"),
    ("no comma after an object", "[{}{}]"),
    ("a comma after the value", "1,"),
    ("an array that does not end", "[1"),
    ("an array that does not begin", "]"),
    ("an object that does not end", r#"{"a":1"#),
    ("a name that does not end", r#"{"a"#),
    ("no colon", r#"{"a" 1}"#),
    ("no value", r#"{"a":}"#),
    ("a name without a value", r#"{"a"}"#),
    ("a number as a name", "{1:2}"),
    ("no quotation marks around a name", "{a:1}"),
    ("a member of an array", r#"["a":1]"#),
    ("brackets of different kinds", "[}"),
    ("brackets of different kinds, nested", r#"{"a":[}]"#),
    ("one bracket too many", "[]]"),
    ("a string that does not end", r#""a"#),
    ("a string that ends with an escape", r#""a\""#),
    ("a long string that does not end", r#""aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"#),
    ("an unknown escape", r#""\x""#),
    ("too few hexadecimal digits", r#""\u12""#),
    ("a sign among hexadecimal digits", r#""\u+123""#),
    ("letters that are not hexadecimal", r#""\u12g4""#),
    ("a line break in a string", "\"a\nb\""),
    ("a line break in a long string", "\"aaaaaaaaaaaaaaaaaa\nb\""),
    ("NUL in a string", "\"\0\""),
    ("single quotation marks", "'a'"),
    ("a leading zero", "01"),
    ("a negative leading zero", "-01"),
    ("a minus alone", "-"),
    ("a plus", "+1"),
    ("a point without digits after it", "1."),
    ("a point without digits before it", ".5"),
    ("an exponent without digits", "1e"),
    ("an exponent with a sign only", "1e+"),
    ("a hexadecimal number", "0x1"),
    ("NaN", "NaN"),
    ("Infinity", "-Infinity"),
    ("undefined", "undefined"),
    ("a word that is cut off", "tru"),
    ("a word that goes on", "nulls"),
    ("a word in capitals", "TRUE"),
    ("a comment", "[/**/]"),
    ("a byte order mark", "\u{feff}1"),
    ("a blank that JSON does not have", "\u{a0}1"),
    ("letters", "é"),
];

#[test]
fn accepts_json() {
    for (name, text) in JSON {
        assert_eq!(check(text), Ok(()), "{name}");
    }
}

#[test]
fn refuses_other_text() {
    for (name, text) in NOT_JSON_TEXTS {
        assert_eq!(check(text), Err(NOT_JSON), "{name}");
        assert_eq!(check(&format!("[{text}]")).is_ok(), text.trim().is_empty(), "{name}, in an array");
    }
}

/// The same tables, decided by serde_json.
#[test]
fn the_tables_are_right() {
    for (name, text) in JSON {
        assert!(serde_json::from_str::<&RawValue>(text.trim()).is_ok(), "{name}");
    }
    for (name, text) in NOT_JSON_TEXTS {
        assert!(serde_json::from_str::<&RawValue>(text.trim_matches(is_blank)).is_err(), "{name}");
    }
}

#[test]
fn levels_are_limited_to_64() {
    let nested = |open: &str, inner: &str, close: &str, levels: usize| {
        format!("{}{inner}{}", open.repeat(levels), close.repeat(levels))
    };
    for (open, inner, close) in
        [("[", "", "]"), (r#"{"a":"#, "{}", "}"), (r#"[[],{"a":"#, "1", "}]"), ("[ ", "1", " ]")]
    {
        let inner_levels = usize::from(inner == "{}");
        let per_unit = if open.starts_with("[[]") { 2 } else { 1 };
        let most = (64 - inner_levels) / per_unit;
        assert_eq!(check(&nested(open, inner, close, most)), Ok(()), "{open}");
        assert_eq!(check(&nested(open, inner, close, most + 1)), Err(TOO_DEEP), "{open}");
        assert_eq!(check(&nested(open, inner, close, 100_000)), Err(TOO_DEEP), "{open}");
        // The brackets around a list are a level.
        let most = (63 - inner_levels) / per_unit;
        assert_eq!(check_items(&nested(open, inner, close, most)), Ok(()), "{open}");
        assert_eq!(check_items(&nested(open, inner, close, most + 1)), Err(TOO_DEEP), "{open}");
    }
    assert_eq!(check(&"[".repeat(1_000_000)), Err(TOO_DEEP));
    let many_after_each_other = format!("[{}1]", "[[]],".repeat(1000));
    assert_eq!(check(&many_after_each_other), Ok(()), "levels that ended do not count");
}

#[test]
fn a_list_is_an_array_without_brackets() {
    for (list, is_one) in [
        ("", true),
        (" ", true),
        ("1", true),
        (" 1 , {} ,[2]", true),
        (",", false),
        ("1,", false),
        (",1", false),
        ("1 2", false),
        ("1]", false),
        ("],[", false),
    ] {
        assert_eq!(check_items(list).is_ok(), is_one, "{list}");
        assert_eq!(check(&format!("[{list}]")).is_ok() && list != "],[", is_one, "{list}");
    }
}

#[test]
fn finds_the_items_of_an_array() {
    let table: &[(&str, &[&str])] = &[
        ("[]", &[]),
        (" [ ] ", &[]),
        (r#"["echo",{"a":1}]"#, &[r#""echo""#, r#"{"a":1}"#]),
        ("[1]", &["1"]),
        (" [ 1 , true\n,null ] ", &["1", "true", "null"]),
        (r#"[[1,[2]],{"a":[",","]"]},"]\"",-1.5e3]"#, &["[1,[2]]", r#"{"a":[",","]"]}"#, r#""]\"""#, "-1.5e3"]),
        (r#"["\\","\\\"",""]"#, &[r#""\\""#, r#""\\\"""#, r#""""#]),
        (r#"["é€",{"é":"😀"}]"#, &[r#""é€""#, r#"{"é":"😀"}"#]),
        ("{}", &[]),
        ("7", &[]),
    ];
    for (text, want) in table {
        assert_eq!(items(text).collect::<Vec<_>>(), *want, "{text}");
    }
}

#[test]
fn the_rest_after_some_items_is_a_list() {
    let mut found = items(r#"["a", 1 , [2] ]"#);
    for rest in [r#""a", 1 , [2]"#, "1 , [2]", "[2]", ""] {
        assert_eq!(found.rest(), rest);
        assert_eq!(Items::new(rest).count(), found.clone().count());
        found.next();
    }
}

#[test]
fn decodes_strings_as_json_parse_does() {
    let table = [
        (r#""""#, Some("")),
        (r#""echo""#, Some("echo")),
        (r#""é😀""#, Some("é😀")),
        (r#""a\"b""#, Some("a\"b")),
        (r#""\\\/\b\f\n\r\t\"""#, Some("\\/\u{8}\u{c}\n\r\t\"")),
        (r#""\u0041\u00e9\u20AC""#, Some("Aé€")),
        (r#""\ud83d\ude00!""#, Some("😀!")),
        (r#""\u0063onnect""#, Some("connect")),
        (r#""\u0000""#, Some("\0")),
        (r#""\\u0041""#, Some("\\u0041")),
        // Checked against `JSON.parse(text).toWellFormed()`.
        (r#""\ud800""#, Some("\u{fffd}")),
        (r#""\ud800x""#, Some("\u{fffd}x")),
        (r#""\ude00\ud83d""#, Some("\u{fffd}\u{fffd}")),
        (r#""\ud83d\ud83d\ude00""#, Some("\u{fffd}😀")),
        (r#""\ud83d\n""#, Some("\u{fffd}\n")),
        ("1", None),
        ("{}", None),
        ("", None),
    ];
    for (text, want) in table {
        assert_eq!(string(text).as_deref(), want, "{text}");
    }
    assert!(matches!(string(r#""echo""#), Some(Cow::Borrowed(_))), "without escapes nothing is copied");
}

#[test]
fn writes_strings_as_json_stringify_does() {
    let table = [
        ("", r#""""#),
        ("echo", r#""echo""#),
        // Printed by `JSON.stringify`.
        ("é\"\\\n\u{1}\u{2028}\u{7f}\u{8}\u{c}/\u{1f}", "\"é\\\"\\\\\\n\\u0001\u{2028}\u{7f}\\b\\f/\\u001f\""),
    ];
    for (text, want) in table {
        let mut out = "before ".to_owned();
        push_string(&mut out, text);
        assert_eq!(out, format!("before {want}"));
    }
}

#[test]
fn writes_numbers_that_json_does_not_have_as_null() {
    let mut out = String::new();
    push_value(&mut out, &(f64::NAN, f64::INFINITY, f32::NEG_INFINITY, 0.1)).expect("numbers can be written");
    assert_eq!(out, "[null,null,null,0.1]");
}

#[test]
fn writes_numbers_as_strings_as_javascript_does() {
    // Printed by `String(JSON.parse(text))`.
    let table = [
        ("0", "0"),
        ("1", "1"),
        ("1.50", "1.5"),
        ("1e3", "1000"),
        ("1E2", "100"),
        ("-5", "-5"),
        ("-0", "0"),
        ("0.1", "0.1"),
        ("0.000001", "0.000001"),
        ("1e-7", "1e-7"),
        ("-1.25e-7", "-1.25e-7"),
        ("5e-324", "5e-324"),
        ("123456789012345", "123456789012345"),
        ("123456789012345680000", "123456789012345680000"),
        ("1e21", "1e+21"),
        ("12345678901234567890123", "1.2345678901234568e+22"),
        ("1.5e300", "1.5e+300"),
        ("1e999", "Infinity"),
        ("-1e999", "-Infinity"),
    ];
    for (text, want) in table {
        assert_eq!(number(text), want, "{text}");
    }
}

#[test]
fn text_is_a_series_of_tokens() {
    use Token::{Close, Name, Open, Value};
    let found: Vec<_> = tokens(r#" [ "a" ,{"b" : [1.5,true], "c:":":"}, {} ] "#).collect();
    let want = [
        Open,
        Value(r#""a""#),
        Open,
        Name(r#""b""#),
        Open,
        Value("1.5"),
        Value("true"),
        Close,
        Name(r#""c:""#),
        Value(r#"":""#),
        Close,
        Open,
        Close,
        Close,
    ];
    assert_eq!(found, want);
}

/// Each position of each special byte, at all distances from the beginning and the end of a string.
#[test]
fn special_bytes_are_found_at_every_position() {
    let is_special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    for len in 0..20 {
        for at in 0..len {
            for byte in 0..=255 {
                let mut bytes = vec![0xbf; len];
                bytes[at] = byte;
                assert_eq!(plain_end(&bytes, 0), if is_special(byte) { at } else { len }, "{byte:#x} at {at} of {len}");
                let mut bytes = vec![b'!'; len];
                bytes[at] = byte;
                bytes[len - 1] = b'"';
                let first = if at < len - 1 && is_special(byte) { at } else { len - 1 };
                assert_eq!(plain_end(&bytes, 0), first, "{byte:#x} at {at} of {len}");
            }
        }
    }
}

/// These functions expect JSON, and must not panic without it.
#[test]
fn no_text_causes_a_panic() {
    let texts = JSON.iter().chain(NOT_JSON_TEXTS).map(|(_, text)| *text);
    for text in texts.chain([r#"["\é","\"#, r#""\uéééé""#, "[}]é", r#""\ud800\u"#, "[:é:]", "\\", "\"", "[\"]"])
    {
        for cut in (0..=text.len()).filter(|&cut| text.is_char_boundary(cut)) {
            for text in [&text[..cut], &text[cut..]] {
                let _ = (check(text), check_items(text), string(text), number(text));
                assert!(items(text).chain(Items::new(text)).count() <= text.len());
                assert!(tokens(text).count() <= text.len());
            }
        }
    }
}
