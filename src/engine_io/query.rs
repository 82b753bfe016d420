//! Query strings, as Node's `URLSearchParams` reads them (WHATWG URL, `application/x-www-form-urlencoded` parsing).
//!
//! ```text
//!   EIO=4&transport=polling&t=Pkg0&name=Ana%20B+C
//! ```
//!
//! The keys that Engine.IO uses are `EIO`, `transport`, `sid`, `t` (a different value for each request, against
//! caches), `b64` (the client takes no binary frames) and `j` (the callback of JSONP). All other keys are the
//! program's.

use std::borrow::Cow;

/// The keys and values of a query, without its `?`, in their order.
///
/// `+` and percent-encoded bytes are decoded; bytes that are not UTF-8 become U+FFFD. A key without `=` has an empty
/// value. Empty parts are skipped. A percent sign without two hexadecimal digits stays.
pub fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    form_urlencoded::parse(query.as_bytes())
}

/// The value of a key. The last one wins, as in Engine.IO for Node, which makes an object of the pairs.
///
/// ```
/// use bucle::engine_io::query;
///
/// assert_eq!(query::get("EIO=4&transport=polling", "EIO").as_deref(), Some("4"));
/// assert_eq!(query::get("EIO=4&transport=polling", "sid"), None);
/// assert_eq!(query::get("room=a&room=b+c", "room").as_deref(), Some("b c"));
/// ```
pub fn get<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    pairs(query).filter(|(key, _)| key == name).last().map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pairs are those that Node 20 prints for `new URL(…).searchParams.entries()`.
    #[test]
    fn pairs_are_those_of_node() {
        let table: &[(&str, &[(&str, &str)])] = &[
            ("", &[]),
            ("EIO=4&EIO=3&a=1", &[("EIO", "4"), ("EIO", "3"), ("a", "1")]),
            ("a=b%20c+d&x", &[("a", "b c d"), ("x", "")]),
            ("__proto__=1&sid=", &[("__proto__", "1"), ("sid", "")]),
            ("a=%zz&b=%ff&c=é&d=%", &[("a", "%zz"), ("b", "\u{fffd}"), ("c", "é"), ("d", "%")]),
            ("=v&&a", &[("", "v"), ("a", "")]),
            ("a=1=2", &[("a", "1=2")]),
            ("A=1&a=2", &[("A", "1"), ("a", "2")]),
            ("a=1;b=2", &[("a", "1;b=2")]),
            ("%45IO=4", &[("EIO", "4")]),
            ("a=%E2%82%AC%2B", &[("a", "€+")]),
        ];
        for (query, want) in table {
            let got: Vec<_> = pairs(query).map(|(key, value)| (key.into_owned(), value.into_owned())).collect();
            let want: Vec<_> = want.iter().map(|(key, value)| (str::to_owned(key), str::to_owned(value))).collect();
            assert_eq!(got, want, "{query}");
        }
    }

    #[test]
    fn the_last_of_several_values_wins() {
        assert_eq!(get("EIO=4&EIO=3", "EIO").as_deref(), Some("3"));
        assert_eq!(get("sid=a&sid", "sid").as_deref(), Some(""));
    }

    #[test]
    fn keys_are_compared_after_decoding_and_by_case() {
        assert_eq!(get("%73id=x", "sid").as_deref(), Some("x"));
        assert_eq!(get("SID=x", "sid"), None);
    }

    #[test]
    fn a_name_that_javascript_objects_inherit_is_a_name_like_any_other() {
        for name in ["__proto__", "constructor", "toString", "hasOwnProperty"] {
            assert_eq!(get("sid=x", name), None, "{name}");
            assert_eq!(get(&format!("{name}=1"), name).as_deref(), Some("1"), "{name}");
        }
    }
}
