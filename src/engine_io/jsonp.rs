//! JSONP: long-polling for pages that cannot read answers of other origins.
//!
//! The page loads each answer as a script, and posts its packets as a form:
//!
//! ```text
//!   GET  …&j=0    ───▶    ___eio[0]("4hola");
//!   POST …&j=0    d=4hola%5Cn    ───▶    the payload "4hola" and a line feed
//! ```
//!
//! The client writes a line feed as `\n`, because forms change line breaks, and `\n` as `\\n`. So a backslash in front
//! of a line feed arrives as `\n`, in Node too. JSON text has no line feeds.
//!
//! Every payload is text: a script can carry no bytes.

use super::error::Malformed;

/// The number of the callback, from the value of `j` in the query: its ASCII digits, as in Node.
///
/// `None` if there is no digit. Node answers such a request with a script that is not JavaScript. Clients send a number
/// that they count up.
pub fn callback(j: &str) -> Option<String> {
    let digits: String = j.chars().filter(char::is_ascii_digit).collect();
    (!digits.is_empty()).then_some(digits)
}

/// The script that calls `callback` (from [`callback`](callback())) with a payload.
///
/// ```
/// use bucle::engine_io::jsonp;
///
/// assert_eq!(jsonp::wrap("0", r#"42["say","hola"]"#), r#"___eio[0]("42[\"say\",\"hola\"]");"#);
/// ```
pub fn wrap(callback: &str, payload: &str) -> String {
    // JavaScript before ES2019 does not allow these two characters in a string, JSON does.
    let json = serde_json::to_string(payload).expect("text can always be written as JSON");
    let json = json.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029");
    format!("___eio[{callback}]({json});")
}

/// The payload of a form: the value of `d`, with its line feeds.
///
/// Percent-encoded bytes that are not UTF-8 become U+FFFD, as in Node.
///
/// # Errors
///
/// The form has no `d`, or more than one. Node ignores such a form.
///
/// ```
/// use bucle::engine_io::jsonp;
///
/// assert_eq!(jsonp::unwrap_form(br"d=4one%5Cntwo")?, "4one\ntwo");
/// assert_eq!(jsonp::unwrap_form(br"d=4one%5C%5Cntwo")?, r"4one\ntwo");
/// # Ok::<(), bucle::engine_io::Malformed>(())
/// ```
pub fn unwrap_form(body: &[u8]) -> Result<String, Malformed> {
    let mut values = form_urlencoded::parse(body).filter(|(key, _)| key == "d").map(|(_, value)| value);
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(unescape(&value)),
        (None, _) => Err(Malformed::new("the form has no field d")),
        (Some(_), Some(_)) => Err(Malformed::new("the form has more than one field d")),
    }
}

/// Replaces `\n` by a line feed, and `\\n` by `\n`. Every other backslash stays.
fn unescape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let (replacement, len) = match &rest.as_bytes()[at..] {
            [b'\\', b'\\', b'n', ..] => ("\\n", 3),
            [b'\\', b'n', ..] => ("\n", 2),
            _ => ("\\", 1),
        };
        out.push_str(replacement);
        rest = &rest[at + len..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// How the clients of engine.io-client 3 and 4 write a payload into the form, without the percent-encoding.
    fn escape(payload: &str) -> String {
        payload.replace("\\n", "\\\n").replace('\n', "\\n")
    }

    #[test]
    fn the_callback_is_the_digits_of_j() {
        let table: &[(&str, Option<&str>)] = &[
            ("0", Some("0")),
            ("12", Some("12")),
            ("a1b2", Some("12")),
            ("-1", Some("1")),
            ("1](alert(2))//", Some("12")),
            ("007", Some("007")),
            ("", None),
            ("x", None),
            ("٣", None),
        ];
        for (j, want) in table {
            assert_eq!(callback(j).as_deref(), *want, "{j:?}");
        }
    }

    /// The script is what engine.io 6.6 writes.
    #[test]
    fn a_script_is_that_of_node() {
        assert_eq!(
            wrap("12", "a\"b\\\n\u{2028}\u{2029}\u{1e}\u{7f}/é</script>"),
            "___eio[12](\"a\\\"b\\\\\\n\\u2028\\u2029\\u001e\u{7f}/é</script>\");",
        );
        assert_eq!(wrap("0", ""), r#"___eio[0]("");"#);
        assert_eq!(wrap("0", "\0\u{8}\t\u{c}\r\u{1f}"), r#"___eio[0]("\u0000\b\t\f\r\u001f");"#);
    }

    /// The payloads are those that engine.io 6.6 reads.
    #[test]
    fn a_form_is_read_as_in_node() {
        let table: &[(&str, &str)] = &[
            ("d=4a", "4a"),
            ("d=4a%1E4b", "4a\u{1e}4b"),
            ("d=4a+b%2B", "4a b+"),
            ("d=2%3A4a", "2:4a"),
            ("d=", ""),
            ("d", ""),
            ("x=1&d=4a&y", "4a"),
            ("d=4%5Cn", "4\n"),
            ("d=4%5C%5Cn", r"4\n"),
            ("d=4%5C%5C%5Cn", r"4\\n"),
            ("d=4%5C%5C%5C%5Cn", r"4\\\n"),
            ("d=4%5C", r"4\"),
            ("d=4%5Cr", r"4\r"),
            ("d=4%5Cn%5Cn", "4\n\n"),
            ("d=4%5C%5Cn%5Cn", "4\\n\n"),
            ("d=4%5C%5C%5Cnn", r"4\\nn"),
            ("d=4\n", "4\n"),
            ("d=4%zz", "4%zz"),
            ("d=4%ff", "4\u{fffd}"),
            ("d=4%C3%A9", "4é"),
            ("d=4é", "4é"),
            ("d=4=5", "4=5"),
        ];
        for (form, want) in table {
            assert_eq!(unwrap_form(form.as_bytes()).as_deref(), Ok(*want), "{form:?}");
        }
    }

    #[test]
    fn a_form_without_exactly_one_payload_is_refused() {
        for form in ["", "x=1", "D=4a", "d=4a&d=4b"] {
            assert!(unwrap_form(form.as_bytes()).is_err(), "{form:?}");
        }
    }

    proptest! {
        #[test]
        fn any_payload_comes_through_a_form(payload in "(\\\\|n|\n|\r|é|[&=+% a-c]|\u{1e}){0,20}") {
            prop_assume!(!payload.contains("\\\n"), "the client's form has no other text for it");
            let form: String = form_urlencoded::Serializer::new(String::new()).append_pair("d", &escape(&payload)).finish();
            prop_assert_eq!(unwrap_form(form.as_bytes()), Ok(payload));
        }

        #[test]
        fn any_payload_comes_through_a_script(payload in any::<String>()) {
            let script = wrap("7", &payload);
            let json = script.strip_prefix("___eio[7](").and_then(|rest| rest.strip_suffix(");"));
            let has_line_break = script.contains(['\u{2028}', '\u{2029}', '\n']);
            prop_assert!(!has_line_break);
            prop_assert_eq!(serde_json::from_str::<String>(json.unwrap_or_default()).ok(), Some(payload));
        }
    }
}
