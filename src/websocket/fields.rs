//! Header fields: lists of tokens, and fields that may occur only once.

use ::http::HeaderMap;
use ::http::header::{HeaderName, HeaderValue};

/// Whether `text` is a token (RFC 9110, 5.6.2): at least one character, and no blank or delimiter.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The elements of a comma-separated list, which may be spread over several fields of the same name (RFC 9110, 5.6.1).
///
/// Blanks around an element are removed, and empty elements are skipped. A field that is not ASCII text is one element
/// `None`.
pub(super) fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = Option<&'a str>> {
    headers.get_all(name).iter().flat_map(|value| {
        let text = value.to_str().ok();
        let is_text = text.is_some();
        let elements = text.unwrap_or_default().split(',').map(|element| element.trim_matches([' ', '\t']));
        elements.filter(move |element| !element.is_empty() || !is_text).map(move |element| is_text.then_some(element))
    })
}

/// Whether the list in the fields `name` contains `token`, in any case of letters.
pub(super) fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    list(headers, name).flatten().any(|element| element.eq_ignore_ascii_case(token))
}

/// The value of a field that must occur exactly once. `None` if there is no such field, or more than one.
pub(super) fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::http::header::CONNECTION;

    fn headers(values: &[&'static [u8]]) -> HeaderMap {
        values.iter().map(|value| (CONNECTION, HeaderValue::from_bytes(value).expect("a legal value"))).collect()
    }

    #[test]
    fn a_list_may_be_spread_over_several_fields() {
        type Row<'a> = (&'a str, &'a [&'static [u8]], &'a [Option<&'a str>]);
        let table: &[Row] = &[
            ("no field", &[], &[]),
            ("one element", &[b"upgrade"], &[Some("upgrade")]),
            ("blanks and tabs", &[b" keep-alive\t,\t Upgrade "], &[Some("keep-alive"), Some("Upgrade")]),
            ("two fields", &[b"keep-alive", b"upgrade"], &[Some("keep-alive"), Some("upgrade")]),
            ("empty elements", &[b",, a ,,", b""], &[Some("a")]),
            ("not ASCII", &[b"a", b"\xff, upgrade"], &[Some("a"), None]),
        ];
        for (name, fields, want) in table {
            assert_eq!(list(&headers(fields), &CONNECTION).collect::<Vec<_>>(), *want, "{name}");
        }
    }

    #[test]
    fn a_token_is_compared_as_a_whole() {
        assert!(has_token(&headers(&[b"close", b"x,UPGRADE"]), &CONNECTION, "upgrade"));
        assert!(!has_token(&headers(&[b"no-upgrade, upgrades, up grade"]), &CONNECTION, "upgrade"));
    }

    #[test]
    fn only_refuses_a_repeated_field() {
        assert_eq!(only(&headers(&[]), &CONNECTION), None);
        assert_eq!(only(&headers(&[b"a"]), &CONNECTION), Some(&HeaderValue::from_static("a")));
        assert_eq!(only(&headers(&[b"a", b"a"]), &CONNECTION), None);
    }

    #[test]
    fn tokens_have_no_blanks_and_no_delimiters() {
        assert!(is_token("chat.v2-beta_1!"));
        for text in ["", " ", "a b", "a,b", "a;b", "a=b", "a\"b", "a/b", "a\rb", "ñ", "\u{7f}"] {
            assert!(!is_token(text), "{text:?}");
        }
    }
}
