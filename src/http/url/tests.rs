use proptest::prelude::*;

use super::*;

#[test]
fn urls_are_taken_apart() {
    let table = [
        ("http://a", ("a", 80, "a", "/")),
        ("HTTP://a/", ("a", 80, "a", "/")),
        ("http://A.example:80/x", ("A.example", 80, "A.example", "/x")),
        ("http://a:8080/x?y=1&z=%20", ("a", 8080, "a:8080", "/x?y=1&z=%20")),
        ("http://a?y=1", ("a", 80, "a", "/?y=1")),
        ("http://a:/", ("a", 80, "a", "/")),
        ("http://a:65535", ("a", 65535, "a:65535", "/")),
        ("http://127.0.0.1:1/", ("127.0.0.1", 1, "127.0.0.1:1", "/")),
        ("http://[::1]", ("::1", 80, "[::1]", "/")),
        ("http://[2001:db8::1]:8080/x", ("2001:db8::1", 8080, "[2001:db8::1]:8080", "/x")),
        ("http://a/x@y:z", ("a", 80, "a", "/x@y:z")),
        ("http://a/x?y=http://b/", ("a", 80, "a", "/x?y=http://b/")),
        ("http://a/x#top", ("a", 80, "a", "/x")),
        ("http://a#top", ("a", 80, "a", "/")),
        ("http://a/?x#y#z?", ("a", 80, "a", "/?x")),
        ("http://a/#\r\nX: y", ("a", 80, "a", "/")),
    ];
    for (url, (host, port, authority, path)) in table {
        let want =
            Target { host: host.to_owned(), port, authority: authority.to_owned(), path_and_query: path.to_owned() };
        assert_eq!(parse_url(url), Ok(want), "{url}");
    }
}

#[test]
fn other_urls_are_refused() {
    use BadUrl::*;
    let table = [
        ("", Scheme),
        ("/x", Scheme),
        ("a:80/x", Scheme),
        ("http:a", Scheme),
        ("http:/a", Scheme),
        (" http://a", Scheme),
        ("ws://a", Scheme),
        ("unix://a", Scheme),
        ("https://a", Tls),
        ("HTTPS://a", Tls),
        ("http://", Malformed),
        ("http:///x", Malformed),
        ("http://:80", Malformed),
        ("http://[]", Malformed),
        ("http://[::1", Malformed),
        ("http://#top", Malformed),
        ("http://a b", Malformed),
        ("http://a/b c", Malformed),
        ("http://a\r\nX: y", Malformed),
        ("http://a/\r\nX: y", Malformed),
        ("http://a/\n", Malformed),
        ("http://a/\0", Malformed),
        ("http://a/ñ", Malformed),
        ("http://ñ", Malformed),
        ("http://a:0", Port),
        ("http://a:65536", Port),
        ("http://a:99999999999", Port),
        ("http://user@a", UserInfo),
        ("http://user:password@a:80", UserInfo),
        ("http://@a", UserInfo),
    ];
    for (url, want) in table {
        assert_eq!(parse_url(url), Err(want), "{url}");
    }
    for url in ["http://a:x", "http://a:+80", "http://a:-1", "http://a:80:80", "http://[::1]80", "http://[::1]:x"] {
        assert!(matches!(parse_url(url), Err(Port | Malformed)), "{url}: {:?}", parse_url(url));
    }
    let too_long = format!("http://a/{}", "x".repeat(100_000));
    assert_eq!(parse_url(&too_long), Err(Malformed), "a URL that is too long");
}

proptest! {
    /// Any text: no panic, and nothing in the parts that could break a request.
    #[test]
    fn a_url_cannot_break_the_request(rest in "[ -~\\r\\n\\t\\x00ñ]{0,30}") {
        if let Ok(target) = parse_url(&format!("http://{rest}")) {
            let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
            prop_assert!(is_plain(&target.authority) && is_plain(&target.path_and_query));
            prop_assert!(target.path_and_query.starts_with('/') && !target.path_and_query.contains('#'));
            prop_assert!(!target.host.is_empty() && target.port > 0);
        }
    }
}
